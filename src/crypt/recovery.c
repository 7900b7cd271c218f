/* Recovery codes. See recovery.h. */
#include "crypt/recovery.h"
#include "crypt/secret.h"

#include <sodium.h>

enum { RAW = 10, CHARS = 16, GROUP = 4, TYPED_MAX = 64 };

/* The purpose stands in front, so that the key may serve for tokens as well. */
static void hash_raw(const uint8_t key[RECOVERY_KEY], const uint8_t raw[RAW], uint8_t hash[RECOVERY_HASH])
{
    static const char purpose[8] = "recovery";
    crypto_generichash_state st;
    (void)crypto_generichash_init(&st, key, RECOVERY_KEY, RECOVERY_HASH);
    (void)crypto_generichash_update(&st, (const uint8_t *)purpose, sizeof purpose);
    (void)crypto_generichash_update(&st, raw, RAW);
    (void)crypto_generichash_final(&st, hash, RECOVERY_HASH);
    secret_wipe(&st, sizeof st);
}

void recovery_make(const uint8_t key[RECOVERY_KEY], struct recovery_code codes[RECOVERY_CODES])
{
    for (int i = 0; i < RECOVERY_CODES; i++) {
        uint8_t raw[RAW];
        char plain[CHARS + 1], *out = codes[i].text;
        secret_random(raw, sizeof raw);
        (void)base32_encode(plain, raw, sizeof raw, 'a');
        for (int c = 0; c < CHARS; c++) {
            if (c > 0 && c % GROUP == 0)
                *out++ = '-';
            *out++ = plain[c];
        }
        *out = '\0';
        hash_raw(key, raw, codes[i].hash);
        secret_wipe(raw, sizeof raw);
        secret_wipe(plain, sizeof plain);
    }
}

int recovery_hash(const uint8_t key[RECOVERY_KEY], struct str typed, uint8_t hash[RECOVERY_HASH], struct err *err)
{
    char plain[CHARS];
    uint8_t raw[RAW];
    size_t n = 0;
    bool good = typed.n <= TYPED_MAX;
    for (size_t i = 0; good && i < typed.n; i++) {
        char c = typed.p[i];
        if (c == ' ' || c == '-')
            continue;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((good = n < CHARS))
            plain[n++] = c == '0' ? 'o' : c == '1' ? 'l' : c;
    }
    good = good && n == CHARS && base32_decode(raw, sizeof raw, (struct str){plain, n}, 'a') == RAW;
    if (good)
        hash_raw(key, raw, hash);
    secret_wipe(plain, sizeof plain);
    secret_wipe(raw, sizeof raw);
    return good ? 0 : err_set(err, ERR_UNAUTHORIZED, "a recovery code has four groups of four letters and digits");
}
