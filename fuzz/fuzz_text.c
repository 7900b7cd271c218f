/* Encodings: decoders accept the one canonical form, encoders give what their decoder takes back, and
 * a JSON string made of any bytes is one string. */
#include "base/json.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_base64(struct str s)
{
    auto_free char *text = mem_alloc(s.n * 2 + 8);
    auto_free uint8_t *raw = mem_alloc(s.n + 8);
    size_t n = base64_encode(text, s.p, s.n);
    BUG_ON(base64_decode(raw, s.n, (struct str){text, n}) != (long)s.n);
    BUG_ON(s.n != 0 && memcmp(raw, s.p, s.n) != 0);
    n = base64url_encode(text, s.p, s.n);
    BUG_ON(base64url_decode(raw, s.n, (struct str){text, n}) != (long)s.n);
    BUG_ON(s.n != 0 && memcmp(raw, s.p, s.n) != 0);

    long got = base64_decode(raw, s.n, s);
    if (got >= 0)
        BUG_ON(!str_eq((struct str){text, base64_encode(text, raw, (size_t)got)}, s));
    got = base64url_decode(raw, s.n, s);
    if (got >= 0)
        BUG_ON(!str_eq((struct str){text, base64url_encode(text, raw, (size_t)got)}, s));
}

static void check_base32(struct str s)
{
    auto_free char *text = mem_alloc(s.n * 2 + 8);
    auto_free uint8_t *raw = mem_alloc(s.n + 8);
    for (int i = 0; i < 2; i++) {
        char first = "aA"[i];
        size_t n = base32_encode(text, s.p, s.n, first);
        BUG_ON(n != (8 * s.n + 4) / 5 || base32_decode(raw, s.n, (struct str){text, n}, first) != (long)s.n);
        BUG_ON(s.n != 0 && memcmp(raw, s.p, s.n) != 0);
        long got = base32_decode(raw, s.n, s, first);
        if (got >= 0)
            BUG_ON(!str_eq((struct str){text, base32_encode(text, raw, (size_t)got, first)}, s));
    }
}

static void check_hex(struct str s)
{
    auto_free char *text = mem_alloc(s.n * 2 + 1);
    auto_free uint8_t *raw = mem_alloc(s.n + 1);
    hex_encode(text, (const uint8_t *)s.p, s.n);
    BUG_ON(hex_decode(raw, (struct str){text, 2 * s.n}) != 0);
    BUG_ON(s.n != 0 && memcmp(raw, s.p, s.n) != 0);
    if (hex_decode(raw, s) == 0) {
        hex_encode(text, raw, s.n / 2);
        BUG_ON(!str_eq(str_of(text), s));
    }
}

static void check_json(struct str s)
{
    struct buf b;
    json_t *doc = NULL;
    struct err err = {0};
    buf_init(&b, 8 * s.n + 64);
    buf_char(&b, '[');
    buf_json(&b, s);
    buf_char(&b, ']');
    BUG_ON(b.overflow);
    for (size_t i = 0; i < b.n; i++)
        BUG_ON((unsigned char)b.p[i] < 0x20 || b.p[i] == 0x7f);
    /* NUL is refused on reading, so it is the one thing that may not come back. */
    bool nul = s.n != 0 && memchr(s.p, '\0', s.n) != NULL;
    int rc = json_strict(buf_view(&b), JSON_CAPS_DEFAULT, &doc, &err);
    BUG_ON(rc != 0 && !nul);
    json_t *plain = json_stringn(s.p ? s.p : "", s.n); /* NULL: not UTF-8 */
    if (rc == 0 && plain != NULL)
        BUG_ON(!json_equal(plain, json_array_get(doc, 0)));
    json_decref(plain);
    json_decref(doc);
    buf_release(&b);
}

static void check_url(struct str s)
{
    struct arena a;
    struct str back;
    struct buf b;
    arena_init(&a);
    buf_init(&b, 3 * s.n + 8);
    url_encode(&b, s);
    int rc = url_decode(&a, buf_view(&b), false, &back);
    bool nul = s.n != 0 && memchr(s.p, '\0', s.n) != NULL;
    BUG_ON(b.overflow || (rc == 0) == nul || (rc == 0 && !str_eq(back, s)));
    buf_release(&b);
    for (int plus = 0; plus < 2; plus++)
        if (url_decode(&a, s, plus == 1, &back) == 0)
            BUG_ON(back.n > s.n || (!nul && back.n != 0 && memchr(back.p, '\0', back.n) != NULL));
    arena_release(&a);
}

static void check_numbers(struct str s)
{
    uint64_t v;
    struct buf b;
    buf_init(&b, 32);
    if (str_u64(s, &v)) {
        size_t zeros = 0;
        while (zeros + 1 < s.n && s.p[zeros] == '0')
            zeros++;
        buf_u64(&b, v);
        BUG_ON(!str_eq(buf_view(&b), (struct str){s.p + zeros, s.n - zeros}));
    }
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str s = {(const char *)data, size};
    check_base64(s);
    check_base32(s);
    check_hex(s);
    check_json(s);
    check_url(s);
    check_numbers(s);
    return 0;
}
