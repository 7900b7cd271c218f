/* Digests: what is accepted is the one text form of what was read, and survives the database's key. */
#include "base/digest.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_key(struct str key)
{
    struct digest d;
    uint8_t out[DIGEST_KEY_MAX];
    if (digest_from_key(key, &d) != 0)
        return;
    BUG_ON(!str_eq((struct str){(char *)out, digest_key(&d, out)}, key));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    struct digest d, back;
    struct err err = {0};
    char text[DIGEST_TEXT_MAX];
    uint8_t key[DIGEST_KEY_MAX];
    int rc = digest_parse(s, &d, &err);
    BUG_ON(rc != 0 && (rc != ERR_DIGEST_INVALID || err.text[0] == '\0'));
    if (rc == 0) {
        BUG_ON(d.len != (d.alg == DIGEST_SHA256 ? 32 : 64) || d.alg == DIGEST_NONE);
        BUG_ON(!str_eq(str_of(digest_text(&d, text)), s));
        size_t n = digest_key(&d, key);
        BUG_ON(n != d.len + 1u || digest_from_key((struct str){(char *)key, n}, &back) != 0 ||
               !digest_eq(&d, &back));
        struct str rest = s, alg;
        str_split(&rest, ':', &alg);
        BUG_ON((uint8_t)digest_alg_parse(alg) != d.alg);
    }
    check_key(s);
    return 0;
}
