/* A parsed key set, shared by jwk.c and jwt.c. */
#ifndef CRYPT_JWK_INT_H
#define CRYPT_JWK_INT_H
#include "crypt/pubkey_int.h"
struct jwk {
    EVP_PKEY *key;
    enum pubkey_type type;
    unsigned algs; /* bits of those that it may serve */
    bool has_kid;
    char kid[JWT_KID_MAX + 1];
};
struct jwks {
    size_t n;
    struct jwk key[JWKS_KEYS_MAX];
};
#endif
