/* Others' public keys and signatures (OpenSSL): what WebAuthn and JWT have in common. */
#ifndef CRYPT_PUBKEY_INT_H
#define CRYPT_PUBKEY_INT_H
#include "base/err.h"
#include "crypt/jwk.h"

#include <openssl/evp.h>

enum { RSA_BITS_MIN = 2048, RSA_BITS_MAX = 8192, EC_COORDINATE_MAX = 48 };

/* Each gives NULL with the reason in *why: numbers of the wrong size, a point that is not on its curve. */
EVP_PKEY *pubkey_rsa(struct str n, struct str e, const char **why);
EVP_PKEY *pubkey_ec(bool p384, struct str x, struct str y, const char **why);
EVP_PKEY *pubkey_ed25519(struct str x, const char **why);

/* What a key must be for an algorithm of jwk.h. */
enum pubkey_type { PUBKEY_RSA, PUBKEY_P256, PUBKEY_P384, PUBKEY_ED25519 };
enum pubkey_type pubkey_type_of(enum jwt_alg alg);
/* der: an ECDSA signature as ASN.1 (WebAuthn); otherwise r and s side by side (JWS). */
bool pubkey_verify(EVP_PKEY *key, enum jwt_alg alg, bool der, struct str msg, struct str sig);
#endif
