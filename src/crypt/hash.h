/* Streaming sha256 and sha512 (nettle), with an exportable state so that an upload resumes
 * after a restart. */
#ifndef CRYPT_HASH_H
#define CRYPT_HASH_H
#include "base/digest.h"
#include <nettle/sha2.h>
enum { HASH_STATE_MAX = 320 };
struct hash {
    enum digest_alg alg;
    uint64_t bytes;
    union {
        struct sha256_ctx s256;
        struct sha512_ctx s512;
    } u;
};
void hash_init(struct hash *h, enum digest_alg alg);
void hash_update(struct hash *h, const void *p, size_t n);
void hash_final(const struct hash *h, struct digest *ret); /* of a copy: h may go on */
/* Portable state: version, algorithm, count, chaining values, pending block. */
size_t hash_export(const struct hash *h, uint8_t out[HASH_STATE_MAX]);
int hash_import(struct hash *h, struct str state); /* -1 when malformed or of another version */
void hash_bytes(enum digest_alg alg, const void *p, size_t n, struct digest *ret);
#endif
