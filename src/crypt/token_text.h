/* Text of random tokens: bpt_ and 58 characters.
 *
 *   prefix (table below) + base32 in lower case of 32 random bytes and CRC-32 (IEEE) of prefix and bytes
 *
 * The checksum tells a token from a typo and from look-alikes in logs and repositories without a look
 * into the database; it proves nothing. Stored is only BLAKE2b-256 of the whole text under a key from
 * outside the database: 256 random bits need no slow hash (T15, T50), and a hash of one hub is of no use
 * on another. base32: no character that a double click or a shell stops at, one bit pattern a text. */
#ifndef CRYPT_TOKEN_TEXT_H
#define CRYPT_TOKEN_TEXT_H
#include "base/err.h"
#define TOKEN_KINDS(X)                                                                             \
    X(PERSONAL, "bpt_", "personal access token")                                                   \
    X(ORGANIZATION, "bot_", "organization access token")                                           \
    X(KEYLESS, "bkt_", "keyless token")                                                            \
    X(SESSION, "bst_", "session")                                                                  \
    X(REFRESH, "brt_", "refresh token")                                                            \
    X(ONE_TIME, "boc_", "one-time code")
enum token_kind {
#define X(name, prefix, noun) TOKEN_##name,
    TOKEN_KINDS(X)
#undef X
        TOKEN_KIND_COUNT
};
enum { TOKEN_TEXT_LEN = 62, TOKEN_KEY = 32, TOKEN_HASH = 32 };
const char *token_kind_noun(enum token_kind kind);
/* A fresh token: its text, to be shown once, and the hash to keep. */
void token_text_make(enum token_kind kind, const uint8_t key[TOKEN_KEY], char text[TOKEN_TEXT_LEN + 1],
                     uint8_t hash[TOKEN_HASH]);
/* Exactly one token, nothing around it, checksum right; else ERR_UNAUTHORIZED, and no word of the text
 * in the error. Time depends on the length and the prefix only. */
int token_text_parse(struct str text, enum token_kind *ret_kind, struct err *err);
/* Of a text that token_text_parse took. */
void token_text_hash(const uint8_t key[TOKEN_KEY], struct str text, uint8_t hash[TOKEN_HASH]);
#endif
