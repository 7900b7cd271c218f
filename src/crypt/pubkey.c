/* Building public keys from their numbers and checking signatures with them (OpenSSL 3). */
#include "crypt/pubkey_int.h"

#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/rsa.h>

static const struct {
    enum pubkey_type type;
    const char *digest; /* NULL: the scheme hashes by itself */
    bool pss;
} algs[JWT_ALG_COUNT] = {
    [JWT_RS256] = {PUBKEY_RSA, "SHA256", false},  [JWT_RS384] = {PUBKEY_RSA, "SHA384", false},
    [JWT_RS512] = {PUBKEY_RSA, "SHA512", false},  [JWT_PS256] = {PUBKEY_RSA, "SHA256", true},
    [JWT_ES256] = {PUBKEY_P256, "SHA256", false}, [JWT_ES384] = {PUBKEY_P384, "SHA384", false},
    [JWT_EDDSA] = {PUBKEY_ED25519, NULL, false},
};

enum pubkey_type pubkey_type_of(enum jwt_alg alg) { return algs[alg].type; }

/* A key of these parameters; takes build. */
static EVP_PKEY *from_params(const char *type, OSSL_PARAM_BLD *build)
{
    EVP_PKEY *key = NULL;
    OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
    EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
    BUG_ON(params == NULL || ctx == NULL);
    if (EVP_PKEY_fromdata_init(ctx) != 1 || EVP_PKEY_fromdata(ctx, &key, EVP_PKEY_PUBLIC_KEY, params) != 1)
        key = NULL;
    ERR_clear_error(); /* the queue is the thread's: TLS must not find what went wrong here */
    EVP_PKEY_CTX_free(ctx);
    OSSL_PARAM_free(params);
    OSSL_PARAM_BLD_free(build);
    return key;
}

EVP_PKEY *pubkey_rsa(struct str n, struct str e, const char **why)
{
    /* Bounds before arithmetic: a huge exponent is a way to burn a core. */
    const uint8_t *np = (const uint8_t *)n.p, *ep = (const uint8_t *)e.p;
    if (n.n < RSA_BITS_MIN / 8 || n.n > RSA_BITS_MAX / 8 || np[0] == 0 || (np[n.n - 1] & 1) == 0 ||
        (n.n == RSA_BITS_MIN / 8 && (np[0] & 0x80) == 0)) {
        *why = "an RSA modulus is odd, has 2048 to 8192 bits and no leading zero";
        return NULL;
    }
    if (e.n == 0 || e.n > 4 || ep[0] == 0 || (ep[e.n - 1] & 1) == 0 || (e.n == 1 && ep[0] < 3)) {
        *why = "an RSA exponent is odd, at least 3 and has at most 32 bits";
        return NULL;
    }
    BIGNUM *bn = BN_bin2bn(np, (int)n.n, NULL), *be = BN_bin2bn(ep, (int)e.n, NULL);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BUG_ON(bn == NULL || be == NULL || build == NULL || OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn) != 1 ||
           OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, be) != 1);
    EVP_PKEY *key = from_params("RSA", build);
    BN_free(bn);
    BN_free(be);
    *why = key ? NULL : "OpenSSL refuses this RSA key";
    return key;
}

EVP_PKEY *pubkey_ec(bool p384, struct str x, struct str y, const char **why)
{
    size_t size = p384 ? 48 : 32;
    uint8_t point[1 + 2 * EC_COORDINATE_MAX] = {4};
    if (x.n != size || y.n != size) {
        *why = "a coordinate does not have the size of its curve";
        return NULL;
    }
    memcpy(point + 1, x.p, size);
    memcpy(point + 1 + size, y.p, size);
    OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
    BUG_ON(build == NULL ||
           OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, p384 ? "P-384" : "P-256", 0) != 1 ||
           OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, 1 + 2 * size) != 1);
    EVP_PKEY *key = from_params("EC", build);
    *why = key ? NULL : "the point is not on its curve";
    return key;
}

EVP_PKEY *pubkey_ed25519(struct str x, const char **why)
{
    EVP_PKEY *key = x.n == 32 ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, (const uint8_t *)x.p, x.n) : NULL;
    *why = key ? NULL : "an Ed25519 key has 32 bytes";
    return key;
}

/* r and s side by side as ASN.1; NULL when their sizes are wrong. Free with OPENSSL_free. */
static uint8_t *der_of_pair(struct str sig, size_t size, int *ret_n)
{
    uint8_t *der = NULL;
    if (sig.n != 2 * size)
        return NULL;
    ECDSA_SIG *pair = ECDSA_SIG_new();
    BIGNUM *r = BN_bin2bn((const uint8_t *)sig.p, (int)size, NULL), *s = BN_bin2bn((const uint8_t *)sig.p + size, (int)size, NULL);
    BUG_ON(pair == NULL || r == NULL || s == NULL || ECDSA_SIG_set0(pair, r, s) != 1);
    *ret_n = i2d_ECDSA_SIG(pair, &der);
    ECDSA_SIG_free(pair);
    BUG_ON(*ret_n <= 0);
    return der;
}

static bool verify(EVP_PKEY *key, enum jwt_alg alg, struct str msg, struct str sig)
{
    EVP_MD_CTX *ctx = EVP_MD_CTX_new();
    EVP_PKEY_CTX *how = NULL;
    BUG_ON(ctx == NULL);
    bool good = EVP_DigestVerifyInit_ex(ctx, &how, algs[alg].digest, NULL, NULL, key, NULL) == 1;
    if (good && algs[alg].pss)
        good = EVP_PKEY_CTX_set_rsa_padding(how, RSA_PKCS1_PSS_PADDING) == 1 &&
               EVP_PKEY_CTX_set_rsa_pss_saltlen(how, RSA_PSS_SALTLEN_DIGEST) == 1; /* RFC 7518 §3.5 */
    good = good && EVP_DigestVerify(ctx, (const uint8_t *)sig.p, sig.n, (const uint8_t *)msg.p, msg.n) == 1;
    EVP_MD_CTX_free(ctx);
    ERR_clear_error();
    return good;
}

bool pubkey_verify(EVP_PKEY *key, enum jwt_alg alg, bool der, struct str msg, struct str sig)
{
    enum pubkey_type type = algs[alg].type;
    if (der || (type != PUBKEY_P256 && type != PUBKEY_P384))
        return verify(key, alg, msg, sig);
    int n = 0;
    uint8_t *text = der_of_pair(sig, type == PUBKEY_P384 ? 48 : 32, &n);
    bool good = text != NULL && verify(key, alg, msg, (struct str){(const char *)text, (size_t)n});
    OPENSSL_free(text);
    return good;
}
