/* Digests as text and as database keys. See digest.h. */
#include "base/digest.h"

static const struct {
    const char *name;
    uint8_t len;
} algs[] = {[DIGEST_NONE] = {"", 0}, [DIGEST_SHA256] = {"sha256", 32}, [DIGEST_SHA512] = {"sha512", 64}};

const char *digest_alg_name(enum digest_alg alg)
{
    BUG_ON((size_t)alg >= ARRAY_LEN(algs));
    return algs[alg].name;
}

enum digest_alg digest_alg_parse(struct str name)
{
    for (size_t i = DIGEST_SHA256; i < ARRAY_LEN(algs); i++)
        if (str_is(name, algs[i].name))
            return (enum digest_alg)i;
    return DIGEST_NONE;
}

int digest_parse(struct str text, struct digest *ret, struct err *err)
{
    struct str hex = text, alg;
    if (text.n == 0 || memchr(text.p, ':', text.n) == NULL || !str_split(&hex, ':', &alg))
        return err_set(err, ERR_DIGEST_INVALID,
                       "a digest is sha256:<64 hex digits> or sha512:<128 hex digits>");
    struct digest d = {0};
    d.alg = (uint8_t)digest_alg_parse(alg);
    if (d.alg == DIGEST_NONE)
        return err_set(err, ERR_DIGEST_INVALID,
                       "unsupported digest algorithm; supported: sha256, sha512");
    d.len = algs[d.alg].len;
    if (hex.n != 2u * d.len || hex_decode(d.bytes, hex) != 0)
        return err_set(err, ERR_DIGEST_INVALID, "a %s digest has %u lower-case hex digits",
                       algs[d.alg].name, 2u * d.len);
    *ret = d;
    return 0;
}

const char *digest_text(const struct digest *d, char out[DIGEST_TEXT_MAX])
{
    BUG_ON(d->alg == DIGEST_NONE || d->alg >= ARRAY_LEN(algs) || d->len != algs[d->alg].len);
    memcpy(out, algs[d->alg].name, 6);
    out[6] = ':';
    hex_encode(out + 7, d->bytes, d->len);
    return out;
}

bool digest_eq(const struct digest *a, const struct digest *b)
{
    return a->alg == b->alg && a->len == b->len && memcmp(a->bytes, b->bytes, a->len) == 0;
}

size_t digest_key(const struct digest *d, uint8_t out[DIGEST_KEY_MAX])
{
    out[0] = d->alg;
    memcpy(out + 1, d->bytes, d->len);
    return 1u + d->len;
}

int digest_from_key(struct str key, struct digest *ret)
{
    if (key.n == 0 || (key.p[0] != DIGEST_SHA256 && key.p[0] != DIGEST_SHA512))
        return -1;
    struct digest d = {.alg = (uint8_t)key.p[0]};
    d.len = algs[d.alg].len;
    if (key.n != 1u + d.len)
        return -1;
    memcpy(d.bytes, key.p + 1, d.len);
    *ret = d;
    return 0;
}
