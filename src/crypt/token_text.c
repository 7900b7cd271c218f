/* Text form of random tokens. See token_text.h. */
#include "crypt/token_text.h"
#include "crypt/secret.h"

#include <sodium.h>

enum { PREFIX = 4, RANDOM = 32, SUM = 4 };

static const struct {
    char prefix[PREFIX + 1];
    const char *noun;
} kinds[TOKEN_KIND_COUNT] = {
#define X(name, prefix, noun) {prefix, noun},
    TOKEN_KINDS(X)
#undef X
};

const char *token_kind_noun(enum token_kind kind) { return kinds[kind].noun; }

/* CRC-32 as in zip and PNG, big-endian; bit by bit, for a table would be indexed by secrets. */
static void checksum(enum token_kind kind, const uint8_t random[RANDOM], uint8_t out[SUM])
{
    uint8_t all[PREFIX + RANDOM];
    memcpy(all, kinds[kind].prefix, PREFIX);
    memcpy(all + PREFIX, random, RANDOM);
    uint32_t c = ~0u;
    for (size_t i = 0; i < sizeof all; i++) {
        c ^= all[i];
        for (int bit = 0; bit < 8; bit++)
            c = c >> 1 ^ (0xedb88320u & (0u - (c & 1)));
    }
    c = ~c;
    for (int i = 0; i < SUM; i++)
        out[i] = (uint8_t)(c >> (24 - 8 * i));
    secret_wipe(all, sizeof all);
}

void token_text_hash(const uint8_t key[TOKEN_KEY], struct str text, uint8_t hash[TOKEN_HASH])
{
    (void)crypto_generichash(hash, TOKEN_HASH, (const uint8_t *)text.p, text.n, key, TOKEN_KEY);
}

void token_text_make(enum token_kind kind, const uint8_t key[TOKEN_KEY], char text[TOKEN_TEXT_LEN + 1],
                     uint8_t hash[TOKEN_HASH])
{
    uint8_t raw[RANDOM + SUM];
    secret_random(raw, RANDOM);
    checksum(kind, raw, raw + RANDOM);
    memcpy(text, kinds[kind].prefix, PREFIX);
    (void)base32_encode(text + PREFIX, raw, sizeof raw, 'a');
    token_text_hash(key, (struct str){text, TOKEN_TEXT_LEN}, hash);
    secret_wipe(raw, sizeof raw);
}

static int find_kind(struct str text, enum token_kind *ret)
{
    for (int k = 0; text.n == TOKEN_TEXT_LEN && k < TOKEN_KIND_COUNT; k++)
        if (memcmp(text.p, kinds[k].prefix, PREFIX) == 0) {
            *ret = (enum token_kind)k;
            return 0;
        }
    return -1;
}

int token_text_parse(struct str text, enum token_kind *ret_kind, struct err *err)
{
    enum token_kind kind;
    uint8_t raw[RANDOM + SUM], sum[SUM];
    if (find_kind(text, &kind) < 0)
        return err_set(err, ERR_UNAUTHORIZED, "this is no token of Berth's");
    long n = base32_decode(raw, sizeof raw, (struct str){text.p + PREFIX, text.n - PREFIX}, 'a');
    checksum(kind, raw, sum);
    bool good = n == (long)sizeof raw && secret_equal(sum, raw + RANDOM, SUM);
    secret_wipe(raw, sizeof raw);
    if (!good)
        return err_set(err, ERR_UNAUTHORIZED, "this %s is mistyped or cut: its checksum does not match", kinds[kind].noun);
    *ret_kind = kind;
    return 0;
}
