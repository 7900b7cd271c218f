/* The subset of CBOR (RFC 8949) that CTAP2's canonical form allows: definite lengths, shortest heads,
 * no tags, no floats; keys are numbers or text, none twice. Nothing is allocated. */
#ifndef CRYPT_CBOR_INT_H
#define CRYPT_CBOR_INT_H
#include "base/text.h"
enum cbor_type { CBOR_UINT, CBOR_NEGATIVE, CBOR_BYTES, CBOR_TEXT, CBOR_ARRAY, CBOR_MAP, CBOR_SIMPLE = 7 };
struct cbor {
    const uint8_t *p;
    size_t n, at;
};
struct cbor_item {
    enum cbor_type type;
    uint64_t v;      /* UINT: the value; NEGATIVE: -1 - value; ARRAY, MAP: items, pairs; SIMPLE: 20, 21, 22 */
    struct str text; /* BYTES, TEXT: in the input */
};
static inline struct cbor cbor_of(struct str s) { return (struct cbor){(const uint8_t *)s.p, s.n, 0}; }
static inline bool cbor_done(const struct cbor *c) { return c->at == c->n; }
/* One item; of an array or a map only its head. False: malformed, or another form than the canonical one. */
bool cbor_next(struct cbor *c, struct cbor_item *ret);
/* One item with all that is in it, checked to its depth of 8; *ret: its bytes, may be NULL. */
bool cbor_skip(struct cbor *c, struct str *ret);
/* A number as CTAP uses them: -2^31 to 2^31 - 1. */
bool cbor_small_int(const struct cbor_item *i, int *ret);
#endif
