/* A strict reader of CBOR. See cbor_int.h. */
#include "crypt/cbor_int.h"

enum { DEPTH_MAX = 8, PAIRS_MAX = 32, ITEMS_MAX = 64 };

/* The argument of a head (RFC 8949 §3), in its shortest form. */
static bool argument(struct cbor *c, unsigned low, uint64_t *ret)
{
    if (low < 24) {
        *ret = low;
        return true;
    }
    if (low > 27)
        return false; /* reserved, or of indefinite length */
    size_t size = (size_t)1 << (low - 24);
    uint64_t v = 0;
    if (c->n - c->at < size)
        return false;
    for (size_t i = 0; i < size; i++)
        v = v << 8 | c->p[c->at++];
    *ret = v;
    return v >= (low == 24 ? 24 : UINT64_C(1) << (4 * size));
}

bool cbor_next(struct cbor *c, struct cbor_item *ret)
{
    if (c->at >= c->n)
        return false;
    unsigned head = c->p[c->at++];
    struct cbor_item i = {.type = (enum cbor_type)(head >> 5)};
    if (!argument(c, head & 31, &i.v))
        return false;
    if (head >> 5 == 6 || (i.type == CBOR_SIMPLE && (i.v < 20 || i.v > 22)))
        return false; /* tags; floats and what is not false, true, null */
    if (i.type == CBOR_BYTES || i.type == CBOR_TEXT) {
        if (i.v > c->n - c->at)
            return false;
        i.text = (struct str){(const char *)c->p + c->at, (size_t)i.v};
        c->at += (size_t)i.v;
    }
    *ret = i;
    return true;
}

static bool skip(struct cbor *c, int depth);

/* Canonical forms are equal when their bytes are: a key twice is seen by comparing bytes. */
static bool skip_pairs(struct cbor *c, uint64_t pairs, int depth)
{
    struct str keys[PAIRS_MAX];
    if (pairs > PAIRS_MAX)
        return false;
    for (size_t k = 0; k < pairs; k++) {
        size_t from = c->at;
        struct cbor_item key;
        if (!cbor_next(c, &key) || (key.type != CBOR_UINT && key.type != CBOR_NEGATIVE && key.type != CBOR_TEXT))
            return false;
        keys[k] = (struct str){(const char *)c->p + from, c->at - from};
        for (size_t j = 0; j < k; j++)
            if (str_eq(keys[j], keys[k]))
                return false;
        if (!skip(c, depth))
            return false;
    }
    return true;
}

static bool skip(struct cbor *c, int depth)
{
    struct cbor_item i;
    if (depth > DEPTH_MAX || !cbor_next(c, &i))
        return false;
    if (i.type == CBOR_MAP)
        return skip_pairs(c, i.v, depth + 1);
    if (i.type != CBOR_ARRAY)
        return true;
    if (i.v > ITEMS_MAX)
        return false;
    for (uint64_t k = 0; k < i.v; k++)
        if (!skip(c, depth + 1))
            return false;
    return true;
}

bool cbor_skip(struct cbor *c, struct str *ret)
{
    size_t from = c->at;
    if (!skip(c, 1))
        return false;
    if (ret != NULL)
        *ret = (struct str){(const char *)c->p + from, c->at - from};
    return true;
}

bool cbor_small_int(const struct cbor_item *i, int *ret)
{
    if ((i->type != CBOR_UINT && i->type != CBOR_NEGATIVE) || i->v > INT32_MAX)
        return false;
    *ret = i->type == CBOR_UINT ? (int)i->v : -1 - (int)i->v;
    return true;
}
