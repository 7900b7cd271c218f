/* Others' keys and tokens: the RFCs' examples, and what must be refused. (All algorithms: tests/factors.) */
#include "crypt/jwk.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <cmocka.h>

static struct err err;

/* RFC 7515 appendices A.2, A.3 */
#define PAYLOAD "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define RSA_N                                                                                      \
    "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZS-pCgNMsD1W_"       \
    "YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlx"      \
    "vb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"
static const char rs256[] =
    "eyJhbGciOiJSUzI1NiJ9." PAYLOAD
    ".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZcAcQjb"
    "KBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6"
    "BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
static const char es256[] = "eyJhbGciOiJFUzI1NiJ9." PAYLOAD
                            ".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/* RFC 8037 appendix A.4: its payload is a sentence, no claims */
static const char eddsa[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
                            "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";
#define RSA_KEY "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" RSA_N "\""
#define EC_X "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU"
#define EC_Y "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"
#define EC_KEY "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\""
#define OKP_KEY "{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\""
#define SET(keys) "{\"keys\":[" keys "]}"

static struct jwks *set_of(const char *text)
{
    struct jwks *set = NULL;
    if (jwks_parse(str_of(text), &set, &err) != 0)
        fail_msg("%s", err.text);
    return set;
}

static int check(const char *keys, const char *token, unsigned algs)
{
    struct jwks *set = set_of(keys);
    struct jwt t = {NULL, NULL};
    err.text[0] = '\0';
    int rc = jwt_verify(set, str_of(token), algs, &t, &err);
    if (rc == 0)
        assert_string_equal(json_string_value(json_object_get(t.claims, "iss")), "joe");
    else
        assert_true(t.header == NULL && t.claims == NULL && err.text[0] != '\0');
    jwt_release(&t);
    jwks_free(set);
    return rc;
}

static void refused(const char *keys, const char *token, unsigned algs, int code, const char *why)
{
    assert_int_equal(check(keys, token, algs), code);
    if (strstr(err.text, why) == NULL)
        fail_msg("\"%s\", not \"%s\"", err.text, why);
}

static void rfc_vectors(void **state)
{
    (void)state;
    static const char all[] = SET(RSA_KEY "}," EC_KEY "}," OKP_KEY "}");
    assert_int_equal(check(all, rs256, JWT_ALGS_ALL), 0);
    assert_int_equal(check(all, es256, JWT_ALGS_ALL), 0);
    assert_int_equal(check(all, es256, JWT_ALG_BIT(JWT_ES256)), 0);
    refused(all, eddsa, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "malformed JSON"); /* after the signature */
    char wrong[sizeof eddsa];
    memcpy(wrong, eddsa, sizeof eddsa);
    wrong[sizeof eddsa - 20] ^= 1;
    refused(all, wrong, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "signature is wrong");
}

/* Every bit of a token matters. */
static void bit_flips(void **state)
{
    (void)state;
    struct jwks *set = set_of(SET(EC_KEY "}"));
    char token[sizeof es256];
    for (size_t bit = 0; bit < 8 * (sizeof es256 - 1); bit++) {
        struct jwt t = {NULL, NULL};
        memcpy(token, es256, sizeof es256);
        token[bit / 8] = (char)(token[bit / 8] ^ (1 << bit % 8));
        if (jwt_verify(set, (struct str){token, sizeof es256 - 1}, JWT_ALGS_ALL, &t, &err) == 0)
            fail_msg("bit %zu", bit);
    }
    for (size_t n = 0; n < sizeof es256 - 1; n++) {
        struct jwt t = {NULL, NULL};
        assert_true(jwt_verify(set, (struct str){es256, n}, JWT_ALGS_ALL, &t, &err) < 0);
    }
    jwks_free(set);
}

static void key_choice(void **state)
{
    (void)state;
    static const char other[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"kid\":\"o\",\"x\":\"MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4\","
                                "\"y\":\"4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM\"}";
    char two[1024];
    refused(SET(), es256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    refused(SET(EC_KEY "}"), es256, JWT_ALGS_ALL & ~JWT_ALG_BIT(JWT_ES256), ERR_UNAUTHORIZED, "alg is not allowed");
    refused(SET(RSA_KEY "}"), es256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    refused(SET(RSA_KEY ",\"alg\":\"RS512\"}"), rs256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    refused(SET(RSA_KEY ",\"alg\":\"RSA-OAEP\"}"), rs256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    refused(SET(RSA_KEY ",\"use\":\"enc\"}"), rs256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    refused(SET(RSA_KEY ",\"key_ops\":[\"encrypt\"]}"), rs256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "does not fit the key");
    assert_int_equal(check(SET(RSA_KEY ",\"alg\":\"RS256\",\"use\":\"sig\",\"key_ops\":[\"verify\"],\"kid\":\"1\",\"x5t\":\"x\"}"), rs256, JWT_ALGS_ALL), 0);
    snprintf(two, sizeof two, SET(EC_KEY ",\"kid\":\"1\"},%s"), other); /* no kid in the token */
    refused(two, es256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "several fit");
    snprintf(two, sizeof two, SET("%s"), other);
    refused(two, es256, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "signature is wrong");
}

/* Header, claims and signature as they come; nothing of it is signed. */
static void bad_tokens(void **state)
{
    (void)state;
    static const struct {
        const char *header, *why;
    } v[] = {
        {"{\"alg\":\"none\"}", "alg is not allowed"},          {"{\"alg\":\"None\"}", "alg is not allowed"},
        {"{\"alg\":\"HS256\"}", "alg is not allowed"},         {"{\"alg\":\"\"}", "alg is not allowed"},
        {"{\"alg\":\"es256\"}", "alg is not allowed"},         {"{\"alg\":7}", "no alg"},
        {"{}", "no alg"},                                      {"[]", "are objects"},
        {"{\"alg\":\"ES256\",\"alg\":\"none\"}", "duplicate"}, {"{\"alg\":\"ES256\",\"crit\":[\"exp\"]}", "crit"},
        {"{\"alg\":\"ES256\",\"b64\":false}", "b64"},          {"{\"alg\":\"ES256\",\"jwk\":{}}", "jwk"},
        {"{\"alg\":\"ES256\",\"jku\":\"https://e\"}", "jku"},  {"{\"alg\":\"ES256\",\"x5u\":\"https://e\"}", "x5u"},
        {"{\"alg\":\"ES256\",\"x5c\":[]}", "x5c"},             {"{\"alg\":\"ES256\",\"kid\":7}", "kid"},
        {"{\"alg\":\"ES256\"} x", "malformed JSON"},           {"", "malformed JSON"},
    };
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char token[1024], head[256];
        (void)base64url_encode(head, v[i].header, strlen(v[i].header));
        snprintf(token, sizeof token, "%s%s", head, strchr(es256, '.'));
        refused(SET(EC_KEY "}"), token, JWT_ALGS_ALL, ERR_UNAUTHORIZED, v[i].why);
    }
    static char token[JWT_BYTES_MAX + 2];
    (void)base64url_encode(token, "{\"alg\":\"ES256\",\"kid\":\"x\"}", 25);
    strcat(token, strchr(es256, '.'));
    refused(SET(EC_KEY ",\"kid\":\"y\"}"), token, JWT_ALGS_ALL, ERR_NOT_FOUND, "does not hold");
    memset(token, 'a', sizeof token - 1);
    token[sizeof token - 1] = '\0';
    refused(SET(EC_KEY "}"), token, JWT_ALGS_ALL, ERR_UNAUTHORIZED, "16 KiB");
    static const char *const shapes[] = {"", ".", "..", "...", "a.b", "a.b.c.d", "e30=.e30.", "e30.e30.", "eyJhbGciOiJFUzI1NiJ9..",
                                         "eyJhbGciOiJFUzI1NiJ9.e30.AA==", "eyJhbGciOiJFUzI1NiJ9.e30.", "eyJhbGciOiJFUzI1NiJ8.e30.AA"};
    for (size_t i = 0; i < ARRAY_LEN(shapes); i++)
        refused(SET(EC_KEY "}"), shapes[i], JWT_ALGS_ALL, ERR_UNAUTHORIZED, "refused");
}

static void set_refused(const char *text, const char *why)
{
    struct jwks *set = NULL;
    if (jwks_parse(str_of(text), &set, &err) == 0 || strstr(err.text, why) == NULL)
        fail_msg("%s: \"%s\", not \"%s\"", text, set ? "taken" : err.text, why);
    assert_null(set);
}

static void bad_sets(void **state)
{
    (void)state;
    set_refused("", "malformed");
    set_refused("[]", "\"keys\"");
    set_refused("{}", "\"keys\"");
    set_refused("{\"keys\":{}}", "\"keys\"");
    set_refused(SET("7"), "key 1 of the set: it is no key");
    set_refused(SET("{}"), "kty");
    set_refused(SET(OKP_KEY "}," OKP_KEY ",\"x\":\"\"}"), "duplicate");
    set_refused(SET(OKP_KEY ",\"d\":\"nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A\"}"), "private");
    set_refused(SET(OKP_KEY ",\"kid\":\"1\"}," OKP_KEY ",\"kid\":\"1\"}"), "key 2 of the set: its kid");
    set_refused(SET(OKP_KEY ",\"kid\":1}"), "kid is no text");
    set_refused(SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\"}"), "missing");
    set_refused(SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}"), "32 bytes");
    set_refused(SET("{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo=\"}"), "base64url");
    set_refused(SET("{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"" EC_X "\",\"y\":\"" EC_X "\"}"), "not on its curve");
    set_refused(SET("{\"kty\":\"EC\",\"crv\":\"P-384\",\"x\":\"" EC_X "\",\"y\":\"" EC_Y "\"}"), "size of its curve");
    set_refused(SET("{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"AQAB\"}"), "2048");
    set_refused(SET("{\"kty\":\"RSA\",\"e\":\"AQ\",\"n\":\"" RSA_N "\"}"), "exponent");
    set_refused(SET("{\"kty\":\"RSA\",\"e\":\"AAEAAQ\",\"n\":\"" RSA_N "\"}"), "exponent");
    set_refused(SET("{\"kty\":\"RSA\",\"e\":\"AQABAQAB\",\"n\":\"" RSA_N "\"}"), "exponent");
    set_refused(SET("{\"kty\":\"RSA\",\"e\":\"AQAC\",\"n\":\"" RSA_N "\"}"), "exponent");
    /* Passed over: kinds that Berth does not take, among them secrets for HMAC. */
    struct jwks *set = set_of(SET("{\"kty\":\"oct\",\"k\":\"AAAA\"},{\"kty\":\"EC\",\"crv\":\"P-521\"},{\"kty\":\"new\"}," OKP_KEY "}"));
    assert_int_equal(jwks_count(set), 1);
    jwks_free(set);
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_cstr(&b, "{\"keys\":[{\"kty\":\"oct\"}");
    for (int i = 0; i < JWKS_KEYS_MAX; i++)
        buf_cstr(&b, ",{\"kty\":\"oct\"}");
    buf_cstr(&b, "]}");
    set_refused(b.p, "at most 64");
    buf_release(&b);
}

/* --- claims */

static void claim_case(const char *text, const struct jwt_expect *want, const char *why)
{
    json_t *doc = json_loads(text, 0, NULL);
    assert_non_null(doc);
    err.text[0] = '\0';
    int rc = jwt_claims_check(doc, want, &err);
    if (rc != (why ? ERR_UNAUTHORIZED : 0) || (why && strstr(err.text, why) == NULL))
        fail_msg("%s: %d \"%s\", not \"%s\"", text, rc, err.text, why ? why : "taken");
    json_decref(doc);
}

static void claims(void **state)
{
    (void)state;
#define WHO "\"iss\":\"https://i\",\"sub\":\"s\","
    struct jwt_expect w = {.iss = "https://i", .aud = "hub", .now = 1000, .skew = 60};
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100}", &w, NULL);
    claim_case("{" WHO "\"aud\":[\"x\",\"hub\"],\"exp\":1100.5,\"nbf\":1060,\"iat\":1060}", &w, NULL);
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":941}", &w, NULL);
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":940}", &w, "exp has passed");
    claim_case("{" WHO "\"aud\":\"hub\"}", &w, "exp is missing");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":\"1100\"}", &w, "exp is no time");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1e300}", &w, "exp is no time");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":-1}", &w, "exp is no time");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":null}", &w, "exp is no time");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"nbf\":1061}", &w, "nbf is not reached");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"nbf\":true}", &w, "nbf is no time");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"iat\":1061}", &w, "iat lies in the future");
    claim_case("{" WHO "\"aud\":\"Hub\",\"exp\":1100}", &w, "aud does not name");
    claim_case("{" WHO "\"aud\":[],\"exp\":1100}", &w, "aud does not name");
    claim_case("{" WHO "\"aud\":[\"hub\",7],\"exp\":1100}", &w, "aud is neither");
    claim_case("{" WHO "\"aud\":{\"hub\":\"hub\"},\"exp\":1100}", &w, "aud does not name");
    claim_case("{" WHO "\"exp\":1100}", &w, "aud does not name");
    claim_case("{\"iss\":\"https://i/\",\"sub\":\"s\",\"aud\":\"hub\",\"exp\":1100}", &w, "iss");
    claim_case("{\"sub\":\"s\",\"aud\":\"hub\",\"exp\":1100}", &w, "iss");
    claim_case("{\"iss\":\"https://i\",\"aud\":\"hub\",\"exp\":1100}", &w, "sub");
    claim_case("{\"iss\":\"https://i\",\"sub\":\"\",\"aud\":\"hub\",\"exp\":1100}", &w, "sub");
    claim_case("{\"iss\":\"https://i\",\"sub\":7,\"aud\":\"hub\",\"exp\":1100}", &w, "sub");
    w.nonce = "n1";
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"nonce\":\"n1\"}", &w, NULL);
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"nonce\":\"n2\"}", &w, "nonce");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"nonce\":\"n11\"}", &w, "nonce");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100}", &w, "nonce");
    w.nonce = NULL;
    w.azp = "hub";
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"azp\":\"hub\"}", &w, NULL);
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"azp\":\"evil\"}", &w, "azp is another");
    claim_case("{" WHO "\"aud\":[\"hub\",\"x\"],\"exp\":1100}", &w, "azp is missing");
    w.max_age = 100;
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"iat\":840}", &w, NULL);
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100,\"iat\":839}", &w, "iat is too long ago");
    claim_case("{" WHO "\"aud\":\"hub\",\"exp\":1100}", &w, "iat is missing");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_vectors), cmocka_unit_test(bit_flips), cmocka_unit_test(key_choice),
        cmocka_unit_test(bad_tokens),  cmocka_unit_test(bad_sets),  cmocka_unit_test(claims),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
