/* Secrets (libsodium): randomness, keyed hashes, passwords, signatures. */
#ifndef CRYPT_SECRET_H
#define CRYPT_SECRET_H
#include "base/err.h"
int secret_setup(struct err *err); /* once, at start */
void secret_random(void *out, size_t n);
/* n random bytes as lower-case hex (2n chars + NUL) */
void secret_random_hex(char *out, size_t n);
bool secret_equal(const void *a, const void *b, size_t n); /* constant time */
void secret_wipe(void *p, size_t n);

/* Keyed BLAKE2b-128 under a key made at process start: names a credential in memory only. */
struct secret_tag {
    uint8_t b[16];
};
struct secret_tag secret_tag(struct str bytes);

/* Argon2id, 19 MiB, t=2, p=1, encoded "$argon2id$..."; about 66 ms. At most `concurrency` run at
 * once, further callers wait in line (bounded: above 64 waiting, ERR_TOOMANYREQUESTS at once). */
enum { PASSWORD_HASH_MAX = 128, PASSWORD_MAX = 4096 };
void password_setup(int concurrency);
int password_hash(struct str password, char ret[PASSWORD_HASH_MAX], struct err *err);
/* 0 right, ERR_UNAUTHORIZED wrong. hash NULL: works against a dummy, always wrong, same time (T05). */
int password_verify(const char *hash, struct str password, struct err *err);

/* Ed25519. Seed of 32 bytes; kid = first 8 bytes of SHA-256(public key) as hex. */
struct sign_key {
    uint8_t pub[32], priv[64];
    char kid[17];
};
void sign_key_from_seed(struct sign_key *k, const uint8_t seed[32]);
void sign_make(const struct sign_key *k, struct str msg, uint8_t sig[64]);
bool sign_check(const struct sign_key *k, struct str msg, const uint8_t sig[64]);
#endif
