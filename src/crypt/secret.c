/* Randomness, comparison, wiping and in-memory names of credentials (libsodium). */
#include "crypt/secret.h"

#include <pthread.h>
#include <sodium.h>

static uint8_t tag_key[crypto_generichash_KEYBYTES];
static pthread_once_t tag_once = PTHREAD_ONCE_INIT;

int secret_setup(struct err *err)
{
    if (sodium_init() < 0)
        return err_set(err, ERR_INTERNAL, "libsodium could not be set up (no source of randomness?)");
    return 0;
}

void secret_random(void *out, size_t n) { randombytes_buf(out, n); }

void secret_random_hex(char *out, size_t n)
{
    uint8_t raw[64];
    for (size_t at = 0; at < n; at += sizeof raw) {
        size_t part = n - at < sizeof raw ? n - at : sizeof raw;
        randombytes_buf(raw, part);
        hex_encode(out + 2 * at, raw, part);
    }
    out[2 * n] = 0;
    sodium_memzero(raw, sizeof raw);
}

bool secret_equal(const void *a, const void *b, size_t n) { return sodium_memcmp(a, b, n) == 0; }

void secret_wipe(void *p, size_t n) { sodium_memzero(p, n); }

static void tag_key_make(void) { randombytes_buf(tag_key, sizeof tag_key); }

struct secret_tag secret_tag(struct str bytes)
{
    struct secret_tag t;
    (void)pthread_once(&tag_once, tag_key_make);
    (void)crypto_generichash(t.b, sizeof t.b, (const uint8_t *)bytes.p, bytes.n, tag_key,
                             sizeof tag_key);
    return t;
}
