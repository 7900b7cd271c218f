/* Others' keys and tokens. First byte, modulo 3: the rest is
 *   0 a key set      1 a token      2 head, line end, claims; both are signed here
 * A token of the second kind never passes (nobody signed it); of the third, what passes has a header and claims
 * that keep the promises of jwk.h, and claims that are accepted are those that were expected. */
#include "crypt/jwk.h"
#include "crypt/secret.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { NOW = 1000000, SKEW = 60 };
static char seed[] = "thirty-two bytes of a fixed seed";
static const char es256[] = "eyJhbGciOiJFUzI1NiJ9.e30.DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";

static void add64(struct buf *b, struct str s)
{
    auto_free char *text = mem_alloc(s.n * 2 + 8);
    buf_add(b, text, base64url_encode(text, s.p, s.n));
}

/* Our own Ed25519 key and RFC 7515's P-256 key. */
static struct jwks *our_set(const struct sign_key *key)
{
    static struct jwks *set;
    struct buf b;
    if (set != NULL)
        return set;
    buf_init(&b, 4096);
    buf_cstr(&b, "{\"keys\":[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"a\",\"x\":\"");
    add64(&b, (struct str){(const char *)key->pub, sizeof key->pub});
    buf_cstr(&b, "\"},{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
                 "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}]}");
    BUG_ON(jwks_parse(buf_view(&b), &set, NULL) != 0);
    buf_release(&b);
    return set;
}

static void check_set(struct str text)
{
    struct jwks *set = NULL;
    struct jwt t;
    struct err err = {0};
    int rc = jwks_parse(text, &set, &err);
    if (rc != 0) {
        BUG_ON((rc != ERR_INVALID && rc != ERR_TOO_LARGE) || set != NULL || err.text[0] == '\0');
        return;
    }
    BUG_ON(jwks_count(set) > JWKS_KEYS_MAX);
    BUG_ON(jwt_verify(set, str_of(es256), JWT_ALGS_ALL, &t, &err) != ERR_UNAUTHORIZED); /* of other claims */
    jwks_free(set);
}

static void check_claims(const json_t *claims)
{
    static const struct jwt_expect want = {.iss = "i", .aud = "hub", .azp = "hub", .now = NOW, .skew = SKEW, .max_age = 600};
    struct err err = {0};
    int rc = jwt_claims_check(claims, &want, &err);
    BUG_ON(rc != 0 && (rc != ERR_UNAUTHORIZED || err.text[0] == '\0'));
    if (rc != 0)
        return;
    double exp = json_number_value(json_object_get(claims, "exp")), iat = json_number_value(json_object_get(claims, "iat"));
    BUG_ON(exp + SKEW <= NOW || iat > NOW + SKEW || iat + 600 + SKEW < NOW);
    BUG_ON(strcmp(json_string_value(json_object_get(claims, "iss")), "i") != 0 || json_string_length(json_object_get(claims, "sub")) == 0);
}

static void check_token(const struct jwks *set, struct str token, bool ours)
{
    struct jwt t = {NULL, NULL};
    struct err err = {0};
    int rc = jwt_verify(set, token, JWT_ALGS_ALL, &t, &err);
    if (rc != 0) {
        BUG_ON((rc != ERR_UNAUTHORIZED && rc != ERR_NOT_FOUND) || t.header != NULL || t.claims != NULL || err.text[0] == '\0');
        return;
    }
    BUG_ON(!ours || token.n > JWT_BYTES_MAX || !json_is_object(t.header) || !json_is_object(t.claims));
    BUG_ON(strcmp(json_string_value(json_object_get(t.header, "alg")), "EdDSA") != 0 || json_object_get(t.header, "crit") != NULL);
    check_claims(t.claims);
    jwt_release(&t);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sign_key key;
    if (size == 0)
        return 0;
    BUG_ON(secret_setup(NULL) < 0);
    sign_key_from_seed(&key, (const uint8_t *)seed);
    struct str rest = {(const char *)data + 1, size - 1}, head;
    if (data[0] % 3 == 0) {
        check_set(rest);
        return 0;
    }
    if (data[0] % 3 == 1) {
        check_token(our_set(&key), rest, false);
        return 0;
    }
    struct buf b;
    uint8_t sig[64];
    (void)str_split(&rest, '\n', &head);
    buf_init(&b, 2 * size + 256);
    add64(&b, head);
    buf_char(&b, '.');
    add64(&b, rest);
    sign_make(&key, buf_view(&b), sig);
    buf_char(&b, '.');
    add64(&b, (struct str){(char *)sig, sizeof sig});
    check_token(our_set(&key), buf_view(&b), true);
    buf_release(&b);
    return 0;
}
