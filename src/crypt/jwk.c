/* Key sets: from JSON to OpenSSL's keys. See jwk.h. */
#include "crypt/jwk_int.h"

#include <stdlib.h>

static const struct json_caps set_caps = {JWKS_BYTES_MAX, 8, 4096};
enum { NUMBER_MAX = RSA_BITS_MAX / 8 + 1 };

static const char *const alg_names[JWT_ALG_COUNT] = {
    [JWT_RS256] = "RS256", [JWT_RS384] = "RS384", [JWT_RS512] = "RS512", [JWT_PS256] = "PS256",
    [JWT_ES256] = "ES256", [JWT_ES384] = "ES384", [JWT_EDDSA] = "EdDSA",
};

int jwt_alg_of(struct str name, enum jwt_alg *ret)
{
    for (int i = 0; i < JWT_ALG_COUNT; i++)
        if (str_is(name, alg_names[i])) {
            *ret = (enum jwt_alg)i;
            return 0;
        }
    return -1;
}

static struct str text_of(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return (struct str){json_string_value(v), json_string_length(v)};
}

/* Member `name` as bytes; out holds NUMBER_MAX. */
static bool number_of(const json_t *o, const char *name, uint8_t out[NUMBER_MAX], struct str *ret)
{
    struct str text = text_of(o, name);
    long n = text.p ? base64url_decode(out, NUMBER_MAX, text) : -1;
    *ret = (struct str){(const char *)out, n > 0 ? (size_t)n : 0};
    return n > 0;
}

/* Is this a kind of key that can be used here? */
static bool type_of(const json_t *o, enum pubkey_type *ret)
{
    struct str kty = text_of(o, "kty"), crv = text_of(o, "crv");
    static const struct {
        const char *kty, *crv;
        enum pubkey_type type;
    } known[] = {
        {"RSA", "", PUBKEY_RSA}, {"EC", "P-256", PUBKEY_P256}, {"EC", "P-384", PUBKEY_P384}, {"OKP", "Ed25519", PUBKEY_ED25519},
    };
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_is(kty, known[i].kty) && (known[i].crv[0] == '\0' || str_is(crv, known[i].crv))) {
            *ret = known[i].type;
            return true;
        }
    return false;
}

/* "use" and "key_ops" (RFC 7517 §4.2, 4.3): for signatures, or not said. */
static bool is_for_signatures(const json_t *o)
{
    const json_t *use = json_object_get(o, "use"), *ops = json_object_get(o, "key_ops"), *op;
    size_t i;
    if (use != NULL && !str_is(text_of(o, "use"), "sig"))
        return false;
    if (ops == NULL)
        return true;
    json_array_foreach(ops, i, op)
    {
        if (json_is_string(op) && strcmp(json_string_value(op), "verify") == 0)
            return true;
    }
    return false;
}

/* "alg": the only one that the key serves, if it is said. */
static unsigned algs_of(const json_t *o, enum pubkey_type type)
{
    unsigned bits = 0;
    enum jwt_alg only;
    bool said = json_object_get(o, "alg") != NULL, known = jwt_alg_of(text_of(o, "alg"), &only) == 0;
    for (int a = 0; a < JWT_ALG_COUNT; a++)
        if (pubkey_type_of((enum jwt_alg)a) == type && (!said || (known && a == (int)only)))
            bits |= JWT_ALG_BIT(a);
    return bits;
}

static EVP_PKEY *key_of(const json_t *o, enum pubkey_type type, const char **why)
{
    uint8_t a[NUMBER_MAX], b[NUMBER_MAX];
    struct str x, y = {NULL, 0};
    bool rsa = type == PUBKEY_RSA, pair = type != PUBKEY_ED25519;
    if (!number_of(o, rsa ? "n" : "x", a, &x) || (pair && !number_of(o, rsa ? "e" : "y", b, &y))) {
        *why = "a number is missing, too long or not base64url";
        return NULL;
    }
    return rsa ? pubkey_rsa(x, y, why) : pair ? pubkey_ec(type == PUBKEY_P384, x, y, why) : pubkey_ed25519(x, why);
}

static bool is_private(const json_t *o)
{
    static const char *const parts[] = {"d", "p", "q", "dp", "dq", "qi", "oth"};
    for (size_t i = 0; i < ARRAY_LEN(parts); i++)
        if (json_object_get(o, parts[i]) != NULL)
            return true;
    return false;
}

static bool kid_is_taken(const struct jwks *set, const struct jwk *k)
{
    for (size_t i = 0; k->has_kid && i < set->n; i++)
        if (set->key[i].has_kid && set->key[i].type == k->type && strcmp(set->key[i].kid, k->kid) == 0)
            return true;
    return false;
}

/* Adds one key, or passes it over; NULL or what is wrong with it. */
static const char *take_key(struct jwks *set, const json_t *o)
{
    struct jwk *k = &set->key[set->n];
    const json_t *kid = json_object_get(o, "kid");
    const char *why = NULL;
    if (!json_is_object(o) || !json_is_string(json_object_get(o, "kty")))
        return "it is no key: kty is missing";
    if (!type_of(o, &k->type) || !is_for_signatures(o))
        return NULL;
    if (is_private(o))
        return "it is a private key; only the public part belongs here";
    if (kid != NULL && (!json_is_string(kid) || json_string_length(kid) > JWT_KID_MAX))
        return "kid is no text of at most 256 bytes";
    k->algs = algs_of(o, k->type);
    if (k->algs == 0)
        return NULL;
    k->has_kid = kid != NULL;
    text_copy(k->kid, sizeof k->kid, text_of(o, "kid"));
    if (kid_is_taken(set, k))
        return "its kid is another key's, too";
    k->key = key_of(o, k->type, &why);
    if (k->key != NULL)
        set->n++;
    return why;
}

static int take_all(struct jwks *set, const json_t *doc, struct err *err)
{
    const json_t *keys = json_object_get(doc, "keys"), *o;
    size_t i;
    if (!json_is_array(keys))
        return err_set(err, ERR_INVALID, "a key set is an object with an array \"keys\"");
    if (json_array_size(keys) > JWKS_KEYS_MAX)
        return err_set(err, ERR_INVALID, "a key set of %zu keys; at most %d are taken", json_array_size(keys), JWKS_KEYS_MAX);
    json_array_foreach(keys, i, o)
    {
        const char *why = take_key(set, o);
        if (why != NULL)
            return err_set(err, ERR_INVALID, "key %zu of the set: %s", i + 1, why);
    }
    return 0;
}

int jwks_parse(struct str text, struct jwks **ret, struct err *err)
{
    json_t *doc = NULL;
    int rc = json_strict(text, set_caps, &doc, err);
    if (rc < 0)
        return rc;
    struct jwks *set = mem_zalloc(sizeof *set);
    rc = take_all(set, doc, err);
    json_decref(doc);
    if (rc < 0)
        jwks_free(set);
    else
        *ret = set;
    return rc;
}

void jwks_free(struct jwks *set)
{
    for (size_t i = 0; set != NULL && i < set->n; i++)
        EVP_PKEY_free(set->key[i].key);
    free(set);
}

size_t jwks_count(const struct jwks *set) { return set->n; }
