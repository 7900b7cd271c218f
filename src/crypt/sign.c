/* Ed25519 signatures (RFC 8032) with keys derived from a stored seed. */
#include "crypt/hash.h"
#include "crypt/secret.h"

#include <sodium.h>

void sign_key_from_seed(struct sign_key *k, const uint8_t seed[32])
{
    struct digest d;
    (void)crypto_sign_seed_keypair(k->pub, k->priv, seed);
    hash_bytes(DIGEST_SHA256, k->pub, sizeof k->pub, &d);
    hex_encode(k->kid, d.bytes, 8);
}

void sign_make(const struct sign_key *k, struct str msg, uint8_t sig[64])
{
    (void)crypto_sign_detached(sig, NULL, (const uint8_t *)msg.p, msg.n, k->priv);
}

bool sign_check(const struct sign_key *k, struct str msg, const uint8_t sig[64])
{
    return crypto_sign_verify_detached(sig, (const uint8_t *)msg.p, msg.n, k->pub) == 0;
}
