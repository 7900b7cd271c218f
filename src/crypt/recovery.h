/* Recovery codes: ten, each good for one login without the second factor.
 *
 *   k3vd-7m2a-zq5x-hn4t    80 random bits in base32, four groups of four
 *
 * Why 80 bits when a login counts tries: what is stored is a fast keyed hash, and whoever holds both the
 * database and its key must not find a code by trying all (2^40 takes seconds). 80 is also what fills
 * four groups without a loose bit (T14). Used up by deleting the row of the hash: the database decides
 * who of two at once was first. */
#ifndef CRYPT_RECOVERY_H
#define CRYPT_RECOVERY_H
#include "base/err.h"
enum { RECOVERY_CODES = 10, RECOVERY_TEXT = 19, RECOVERY_KEY = 32, RECOVERY_HASH = 32 };
struct recovery_code {
    char text[RECOVERY_TEXT + 1]; /* shown once */
    uint8_t hash[RECOVERY_HASH];  /* kept */
};
void recovery_make(const uint8_t key[RECOVERY_KEY], struct recovery_code codes[RECOVERY_CODES]);
/* Hash of what a person typed: case, spaces and hyphens do not matter, 0 is read as o and 1 as l (base32
 * has neither digit). ERR_UNAUTHORIZED when it can be no recovery code. */
int recovery_hash(const uint8_t key[RECOVERY_KEY], struct str typed, uint8_t hash[RECOVERY_HASH], struct err *err);
#endif
