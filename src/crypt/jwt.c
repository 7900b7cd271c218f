/* Others' tokens: a compact JWS, and what its claims must say. See jwk.h. */
#include "crypt/jwk_int.h"
#include "crypt/secret.h"

#include <math.h>

static const struct json_caps part_caps = {JWT_BYTES_MAX, 16, 2048};
enum { SIG_MAX = RSA_BITS_MAX / 8 };

static int refuse(struct err *err, const char *why) { return err_set(err, ERR_UNAUTHORIZED, "the token is refused: %s", why); }

/* --- signature */

static int part_json(struct str part, json_t **ret, struct err *err)
{
    auto_free uint8_t *raw = mem_alloc(part.n + 1);
    long n = base64url_decode(raw, part.n, part);
    struct err why = {0};
    if (n < 0)
        return refuse(err, "a part of it is not base64url");
    json_t *doc = NULL;
    if (json_strict((struct str){(char *)raw, (size_t)n}, part_caps, &doc, &why) < 0)
        return refuse(err, why.text);
    if (!json_is_object(doc)) {
        json_decref(doc);
        return refuse(err, "header and claims are objects");
    }
    *ret = doc;
    return 0;
}

/* Which algorithm; and nothing in the header that would change what the signature means. */
static int check_header(const json_t *header, unsigned algs, enum jwt_alg *ret, struct err *err)
{
    static const char *const refused[] = {"crit", "b64", "jwk", "jku", "x5u", "x5c", "enc", "zip"};
    const json_t *alg = json_object_get(header, "alg");
    if (!json_is_string(alg))
        return refuse(err, "its header has no alg");
    if (jwt_alg_of((struct str){json_string_value(alg), json_string_length(alg)}, ret) < 0 || (algs & JWT_ALG_BIT(*ret)) == 0)
        return refuse(err, "its alg is not allowed");
    for (size_t i = 0; i < ARRAY_LEN(refused); i++)
        if (json_object_get(header, refused[i]) != NULL)
            return err_set(err, ERR_UNAUTHORIZED, "the token is refused: header member %s is not allowed", refused[i]);
    return 0;
}

/* By kid, or the only one that fits. */
static int choose_key(const struct jwks *set, const json_t *header, enum jwt_alg alg, const struct jwk **ret, struct err *err)
{
    const json_t *kid = json_object_get(header, "kid");
    const struct jwk *found = NULL;
    bool named = false;
    if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > JWT_KID_MAX))
        return refuse(err, "its kid is no text of at most 256 bytes");
    for (size_t i = 0; i < set->n; i++) {
        const struct jwk *k = &set->key[i];
        if (kid != NULL && !(k->has_kid && strcmp(k->kid, json_string_value(kid)) == 0))
            continue;
        named = true;
        if ((k->algs & JWT_ALG_BIT(alg)) == 0)
            continue;
        if (found != NULL)
            return refuse(err, "it names no key and several fit");
        found = k;
    }
    if (kid != NULL && !named)
        return err_set(err, ERR_NOT_FOUND, "the token is signed with a key that the issuer's set does not hold");
    if (found == NULL)
        return refuse(err, "its alg does not fit the key");
    *ret = found;
    return 0;
}

static int check_signature(const struct jwks *set, const json_t *header, enum jwt_alg alg, struct str msg, struct str sig64,
                           struct err *err)
{
    const struct jwk *key = NULL;
    uint8_t sig[SIG_MAX];
    int rc = choose_key(set, header, alg, &key, err);
    if (rc < 0)
        return rc;
    long n = base64url_decode(sig, sizeof sig, sig64);
    if (n <= 0)
        return refuse(err, "its signature is empty, too long or not base64url");
    if (!pubkey_verify(key->key, alg, false, msg, (struct str){(char *)sig, (size_t)n}))
        return refuse(err, "its signature is wrong");
    return 0;
}

static int split(struct str token, struct str part[3], struct err *err)
{
    size_t n = 0;
    if (token.n > JWT_BYTES_MAX)
        return refuse(err, "it is longer than 16 KiB");
    while (n < 3 && str_split(&token, '.', &part[n]))
        n++;
    return n == 3 && token.p == NULL ? 0 : refuse(err, "it has not three parts");
}

bool jwt_looks(struct str text)
{
    struct str part[3];
    return str_starts(text, STR_LIT("eyJ")) && split(text, part, NULL) == 0; /* {" */
}

int jwt_peek(struct str token, json_t **ret_claims, struct err *err)
{
    struct str part[3];
    int rc = split(token, part, err);
    return rc < 0 ? rc : part_json(part[1], ret_claims, err);
}

int jwt_verify(const struct jwks *set, struct str token, unsigned algs, struct jwt *ret, struct err *err)
{
    struct str part[3];
    struct jwt t = {NULL, NULL};
    enum jwt_alg alg = JWT_RS256;
    int rc = split(token, part, err);
    if (rc == 0)
        rc = part_json(part[0], &t.header, err);
    if (rc == 0)
        rc = check_header(t.header, algs, &alg, err);
    if (rc == 0)
        rc = check_signature(set, t.header, alg, (struct str){token.p, part[0].n + 1 + part[1].n}, part[2], err);
    if (rc == 0) /* claims are read only when they are the issuer's */
        rc = part_json(part[1], &t.claims, err);
    if (rc == 0)
        *ret = t;
    else
        jwt_release(&t);
    return rc;
}

void jwt_release(struct jwt *t)
{
    json_decref(t->header);
    json_decref(t->claims);
    *t = (struct jwt){NULL, NULL};
}

/* --- claims */

static int wrong(struct err *err, const char *claim, const char *why)
{
    return err_set(err, ERR_UNAUTHORIZED, "the token is refused: %s %s", claim, why);
}

static bool is_text(const json_t *v, const char *want)
{
    return json_is_string(v) && json_string_length(v) == strlen(want) && strcmp(json_string_value(v), want) == 0;
}

static int check_audience(const json_t *claims, const struct jwt_expect *want, struct err *err)
{
    const json_t *aud = json_object_get(claims, "aud"), *azp = json_object_get(claims, "azp"), *one;
    bool found = is_text(aud, want->aud);
    size_t i;
    json_array_foreach(aud, i, one)
    {
        if (!json_is_string(one))
            return wrong(err, "aud", "is neither a text nor a list of texts");
        found = found || is_text(one, want->aud);
    }
    if (!found)
        return wrong(err, "aud", "does not name this service");
    if (want->azp != NULL && azp == NULL && json_array_size(aud) > 1)
        return wrong(err, "azp", "is missing beside several aud");
    if (want->azp != NULL && azp != NULL && !is_text(azp, want->azp))
        return wrong(err, "azp", "is another client");
    return 0;
}

/* NumericDate (RFC 7519 §2): a number, whole or not. 1 there, 0 not, or the error. */
static int date_of(const json_t *claims, const char *name, double *ret, struct err *err)
{
    const json_t *v = json_object_get(claims, name);
    if (v == NULL)
        return 0;
    double d = json_number_value(v);
    if (!json_is_number(v) || !isfinite(d) || d < 0 || d > 253402300799.0 /* year 9999 */)
        return wrong(err, name, "is no time");
    *ret = d;
    return 1;
}

static int check_times(const json_t *claims, const struct jwt_expect *want, struct err *err)
{
    double now = (double)want->now, skew = (double)want->skew, exp = 0, nbf = 0, iat = 0;
    int has_exp = date_of(claims, "exp", &exp, err), has_nbf = has_exp < 0 ? has_exp : date_of(claims, "nbf", &nbf, err),
        has_iat = has_nbf < 0 ? has_nbf : date_of(claims, "iat", &iat, err);
    if (has_iat < 0)
        return has_iat;
    if (has_exp == 0)
        return wrong(err, "exp", "is missing");
    if (now >= exp + skew)
        return wrong(err, "exp", "has passed");
    if (has_nbf == 1 && now < nbf - skew)
        return wrong(err, "nbf", "is not reached");
    if (has_iat == 1 && now < iat - skew)
        return wrong(err, "iat", "lies in the future; is a clock wrong?");
    if (want->max_age > 0 && has_iat == 0)
        return wrong(err, "iat", "is missing");
    if (want->max_age > 0 && now > iat + (double)want->max_age + skew)
        return wrong(err, "iat", "is too long ago");
    return 0;
}

int jwt_claims_check(const json_t *claims, const struct jwt_expect *want, struct err *err)
{
    const json_t *sub = json_object_get(claims, "sub"), *nonce = json_object_get(claims, "nonce");
    if (!is_text(json_object_get(claims, "iss"), want->iss))
        return wrong(err, "iss", "is another issuer");
    int rc = check_audience(claims, want, err);
    if (rc == 0)
        rc = check_times(claims, want, err);
    if (rc < 0)
        return rc;
    if (!json_is_string(sub) || json_string_length(sub) == 0 || json_string_length(sub) > 255)
        return wrong(err, "sub", "is no text of 1 to 255 bytes");
    if (want->nonce != NULL &&
        !(json_is_string(nonce) && json_string_length(nonce) == strlen(want->nonce) &&
          secret_equal(json_string_value(nonce), want->nonce, strlen(want->nonce))))
        return wrong(err, "nonce", "is not the one of this login");
    return 0;
}
