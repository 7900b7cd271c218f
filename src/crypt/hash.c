/* Streaming sha256 and sha512 over nettle, and a state that survives a restart.
 *
 * The exported state is our own layout, so that it outlives nettle's structs and byte order:
 *   version 1 | algorithm | bytes hashed, 8 bytes | 8 chaining words | pending bytes of the last block
 * all numbers big-endian; the pending length follows from the count. */
#include "crypt/hash.h"

enum { STATE_VERSION = 1, STATE_HEAD = 1 + 1 + 8, CHAIN_WORDS = 8 };

static void put_be(uint8_t *out, uint64_t v, size_t n)
{
    for (size_t i = 0; i < n; i++)
        out[i] = (uint8_t)(v >> (8 * (n - 1 - i)));
}

static uint64_t get_be(const uint8_t *in, size_t n)
{
    uint64_t v = 0;
    for (size_t i = 0; i < n; i++)
        v = v << 8 | in[i];
    return v;
}

static size_t block_size(enum digest_alg alg)
{
    return alg == DIGEST_SHA512 ? SHA512_BLOCK_SIZE : SHA256_BLOCK_SIZE;
}

void hash_init(struct hash *h, enum digest_alg alg)
{
    BUG_ON(alg != DIGEST_SHA256 && alg != DIGEST_SHA512);
    *h = (struct hash){.alg = alg};
    if (alg == DIGEST_SHA256)
        sha256_init(&h->u.s256);
    else
        sha512_init(&h->u.s512);
}

void hash_update(struct hash *h, const void *p, size_t n)
{
    if (h->alg == DIGEST_SHA256)
        sha256_update(&h->u.s256, n, p);
    else
        sha512_update(&h->u.s512, n, p);
    h->bytes += n;
}

void hash_final(const struct hash *h, struct digest *ret)
{
    struct hash copy = *h;
    *ret = (struct digest){.alg = (uint8_t)h->alg};
    if (h->alg == DIGEST_SHA256) {
        ret->len = SHA256_DIGEST_SIZE;
        sha256_digest(&copy.u.s256, ret->len, ret->bytes);
    } else {
        ret->len = SHA512_DIGEST_SIZE;
        sha512_digest(&copy.u.s512, ret->len, ret->bytes);
    }
}

size_t hash_export(const struct hash *h, uint8_t out[HASH_STATE_MAX])
{
    bool wide = h->alg == DIGEST_SHA512;
    size_t word = wide ? 8 : 4, pending = h->bytes % block_size(h->alg), at = STATE_HEAD;
    out[0] = STATE_VERSION;
    out[1] = (uint8_t)h->alg;
    put_be(out + 2, h->bytes, 8);
    for (size_t i = 0; i < CHAIN_WORDS; i++, at += word)
        put_be(out + at, wide ? h->u.s512.state[i] : h->u.s256.state[i], word);
    memcpy(out + at, wide ? h->u.s512.block : h->u.s256.block, pending);
    return at + pending;
}

int hash_import(struct hash *h, struct str state)
{
    const uint8_t *in = (const uint8_t *)state.p;
    if (state.n < STATE_HEAD || in[0] != STATE_VERSION)
        return -1;
    enum digest_alg alg = in[1] == DIGEST_SHA256   ? DIGEST_SHA256
                          : in[1] == DIGEST_SHA512 ? DIGEST_SHA512
                                                   : DIGEST_NONE;
    if (alg == DIGEST_NONE)
        return -1;
    bool wide = alg == DIGEST_SHA512;
    uint64_t bytes = get_be(in + 2, 8);
    size_t word = wide ? 8 : 4, pending = bytes % block_size(alg), at = STATE_HEAD;
    if (state.n != STATE_HEAD + CHAIN_WORDS * word + pending)
        return -1;
    hash_init(h, alg);
    h->bytes = bytes;
    for (size_t i = 0; i < CHAIN_WORDS; i++, at += word) {
        if (wide)
            h->u.s512.state[i] = get_be(in + at, word);
        else
            h->u.s256.state[i] = (uint32_t)get_be(in + at, word);
    }
    memcpy(wide ? h->u.s512.block : h->u.s256.block, in + at, pending);
    if (wide) {
        h->u.s512.count_low = bytes / SHA512_BLOCK_SIZE;
        h->u.s512.index = (unsigned)pending;
    } else {
        h->u.s256.count = bytes / SHA256_BLOCK_SIZE;
        h->u.s256.index = (unsigned)pending;
    }
    return 0;
}

void hash_bytes(enum digest_alg alg, const void *p, size_t n, struct digest *ret)
{
    struct hash h;
    hash_init(&h, alg);
    hash_update(&h, p, n);
    hash_final(&h, ret);
}
