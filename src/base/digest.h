/* Digest = (algorithm, bytes). Text form `sha256:<64 lower-case hex>` or `sha512:<128>`;
 * image-spec descriptor.md "Digests". The algorithms are never aliases of one another. */
#ifndef BASE_DIGEST_H
#define BASE_DIGEST_H
#include "base/err.h"

enum digest_alg { DIGEST_NONE = 0, DIGEST_SHA256 = 1, DIGEST_SHA512 = 2 };
enum { DIGEST_TEXT_MAX = 7 + 128 + 1, DIGEST_KEY_MAX = 65 };
struct digest {
    uint8_t alg;      /* enum digest_alg */
    uint8_t len;      /* 32 or 64 */
    uint8_t bytes[64];
};
/* ERR_DIGEST_INVALID with what is allowed. Unknown algorithms are refused. */
int digest_parse(struct str text, struct digest *ret, struct err *err);
const char *digest_text(const struct digest *d, char out[DIGEST_TEXT_MAX]); /* returns out */
bool digest_eq(const struct digest *a, const struct digest *b);
/* Database key: one byte algorithm, then the bytes (33 or 65). */
size_t digest_key(const struct digest *d, uint8_t out[DIGEST_KEY_MAX]);
int digest_from_key(struct str key, struct digest *ret);     /* -1 when malformed */
const char *digest_alg_name(enum digest_alg alg);            /* "sha256" */
enum digest_alg digest_alg_parse(struct str name);           /* DIGEST_NONE when unknown */
#endif
