/* Slices, buffers, encodings, digests, errors and arenas. Random cases come from a fixed seed. */
#include "base/digest.h"
#include "base/json.h"

#include <errno.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static uint64_t seed;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

static void random_bytes(uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = (uint8_t)(rnd() >> 11);
}

static int set_up(void **state)
{
    (void)state;
    seed = 88172645463325252u;
    return 0;
}

static void slices(void **state)
{
    (void)state;
    struct str none = {NULL, 0}, rest, part;
    assert_true(str_eq(none, STR_LIT("")) && str_ieq(none, none) && str_of(NULL).n == 0);
    assert_true(str_ieq(STR_LIT("Content-TYPE"), STR_LIT("content-type")));
    assert_false(str_ieq(STR_LIT("[a"), STR_LIT("{a")) || str_ieq(STR_LIT("a"), STR_LIT("ab")));
    assert_true(str_starts(STR_LIT("abc"), STR_LIT("ab")) && !str_starts(STR_LIT("a"), STR_LIT("ab")));
    assert_true(str_ends(STR_LIT("abc"), STR_LIT("bc")) && !str_ends(STR_LIT("c"), STR_LIT("bc")));
    assert_true(str_starts(none, none) && str_ends(none, none));
    assert_true(str_is(str_trim(STR_LIT(" \t a b\t ")), "a b") && str_trim(STR_LIT(" \t ")).n == 0);
    assert_int_equal(str_trim(none).n, 0);
    assert_true(str_cmp(STR_LIT("a"), STR_LIT("b")) < 0 && str_cmp(STR_LIT("ab"), STR_LIT("a")) > 0 &&
                str_cmp(STR_LIT("\xff"), STR_LIT("a")) > 0 && str_cmp(none, none) == 0);
    const char *const parts[] = {"a", "", "b", ""};
    rest = STR_LIT("a,,b,");
    for (size_t i = 0; i < 4; i++) {
        assert_true(str_split(&rest, ',', &part));
        assert_true(str_is(part, parts[i]));
    }
    assert_false(str_split(&rest, ',', &part));
    rest = STR_LIT("");
    assert_true(str_split(&rest, ',', &part) && part.n == 0);
    assert_false(str_split(&rest, ',', &part));
}

static void decimals(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "+1", "-1", " 1", "1 ", "0x1", "1e3", "18446744073709551616",
                                      "99999999999999999999999", "1_0", "\xd9\xa1"};
    uint64_t v = 7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(str_u64(str_of(bad[i]), &v));
    assert_int_equal(v, 7);
    assert_true(str_u64(STR_LIT("18446744073709551615"), &v) && v == UINT64_MAX);
    assert_true(str_u64(STR_LIT("000"), &v) && v == 0);
    struct buf b;
    buf_init(&b, 64);
    for (int i = 0; i < 2000; i++) {
        uint64_t x = rnd() >> rnd() % 64;
        buf_reset(&b);
        buf_u64(&b, x);
        assert_true(str_u64(buf_view(&b), &v));
        assert_int_equal(v, x);
        char text[32];
        buf_reset(&b);
        buf_i64(&b, (int64_t)x);
        snprintf(text, sizeof text, "%lld", (long long)x);
        assert_string_equal(b.p, text);
    }
    buf_reset(&b);
    buf_i64(&b, INT64_MIN);
    assert_string_equal(b.p, "-9223372036854775808");
    buf_release(&b);
}

static void buffers_keep_their_cap(void **state)
{
    (void)state;
    struct buf b;
    for (int round = 0; round < 3000; round++) {
        size_t cap = rnd() % 200, n = 0;
        bool over = false;
        char want[256];
        buf_init(&b, cap);
        for (int i = 0; i < 12; i++) {
            size_t add = rnd() % 40;
            char piece[40];
            memset(piece, 'a' + i, sizeof piece);
            unsigned how = (unsigned)(rnd() % 3);
            size_t size = how == 2 ? 2 * add : add; /* hex doubles */
            if (how == 1)
                buf_printf(&b, "%.*s", (int)add, piece);
            else if (how == 2)
                buf_hex(&b, piece, add);
            else
                buf_add(&b, piece, add);
            over = over || n + size > cap;
            for (size_t k = 0; !over && k < size; k++)
                want[n++] = how == 2 ? "0123456789abcdef"[k % 2 ? piece[0] & 15 : piece[0] >> 4] : piece[0];
        }
        assert_true(b.n <= b.cap && b.overflow == over && b.n == n);
        assert_memory_equal(b.p ? b.p : "", want, n);
        assert_true(b.p == NULL || b.p[b.n] == '\0');
        buf_reset(&b);
        assert_true(b.n == 0 && !b.overflow);
        buf_release(&b);
        assert_null(b.p);
    }
    buf_init(&b, 3);
    buf_cstr(&b, "abc");
    assert_false(b.overflow);
    buf_char(&b, 'd');
    assert_true(b.overflow);
    buf_str(&b, (struct str){NULL, 0}); /* sticky */
    assert_true(b.overflow);
    assert_string_equal(b.p, "abc");
    buf_release(&b);
}

static void hex_is_strict(void **state)
{
    (void)state;
    uint8_t in[64], out[64];
    char text[129];
    for (int i = 0; i < 2000; i++) {
        size_t n = rnd() % 65;
        random_bytes(in, n);
        hex_encode(text, in, n);
        assert_int_equal(strlen(text), 2 * n);
        assert_int_equal(hex_decode(out, (struct str){text, 2 * n}), 0);
        assert_memory_equal(in, out, n);
        if (n == 0)
            continue;
        assert_int_equal(hex_decode(out, (struct str){text, 2 * n - 1}), -1);
        size_t at = rnd() % (2 * n);
        char was = text[at];
        text[at] = (char)rnd();
        bool good = memchr("0123456789abcdef", text[at], 16) != NULL;
        assert_int_equal(hex_decode(out, (struct str){text, 2 * n}), good ? 0 : -1);
        text[at] = was;
    }
    assert_int_equal(hex_decode(out, STR_LIT("AB")), -1);
}

typedef size_t (*encoder)(char *, const void *, size_t);
typedef long (*decoder)(uint8_t *, size_t, struct str);

/* Roundtrip, and: whatever is accepted is the one canonical form of its bytes. */
static void check64(encoder enc, decoder dec, const char *alphabet)
{
    uint8_t in[100], out[100];
    char text[150], again[150];
    for (int i = 0; i < 20000; i++) {
        size_t n = rnd() % 70;
        random_bytes(in, n);
        size_t len = enc(text, in, n);
        assert_int_equal(len, strlen(text));
        assert_int_equal(dec(out, n, (struct str){text, len}), n);
        assert_memory_equal(in, out, n);
        assert_int_equal(n > 0 ? dec(out, n - 1, (struct str){text, len}) : -1, -1); /* too little room */
        if (len == 0)
            continue;
        size_t at = rnd() % len, change = rnd() % 3;
        if (change == 0)
            text[at] = alphabet[rnd() % strlen(alphabet)];
        else if (change == 1)
            text[at] = (char)rnd();
        else
            len = at;
        long got = dec(out, sizeof out, (struct str){text, len});
        if (got >= 0) {
            assert_int_equal(enc(again, out, (size_t)got), len);
            assert_memory_equal(again, text, len);
        }
    }
}

static void base64_is_strict(void **state)
{
    (void)state;
    check64(base64url_encode, base64url_decode, "AQgw_-=+/Zz09");
    check64(base64_encode, base64_decode, "AQgw_-=+/Zz09");
    uint8_t out[8];
    char text[16];
    base64_encode(text, "foobar", 6);
    assert_string_equal(text, "Zm9vYmFy"); /* RFC 4648 §10 */
    base64_encode(text, "foob", 4);
    assert_string_equal(text, "Zm9vYg==");
    base64url_encode(text, "foob", 4);
    assert_string_equal(text, "Zm9vYg");
    static const char *const bad[] = {"Zg", "Zg=", "Zg===", "Zh==", "Z===", "=", "====", "Zg==\n", "Z g=", "Zg==Zg=="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(base64_decode(out, sizeof out, str_of(bad[i])), -1);
    static const char *const bad_url[] = {"Zg==", "Zh", "Z", "Z+", "Z/", "Zg\n", "A B"};
    for (size_t i = 0; i < ARRAY_LEN(bad_url); i++)
        assert_int_equal(base64url_decode(out, sizeof out, str_of(bad_url[i])), -1);
}

static void url_parts(void **state)
{
    (void)state;
    struct arena a;
    struct str got;
    struct buf b;
    uint8_t in[60];
    arena_init(&a);
    buf_init(&b, 1024);
    for (int i = 0; i < 3000; i++) {
        size_t n = rnd() % 60;
        random_bytes(in, n);
        for (size_t k = 0; k < n; k++)
            in[k] = in[k] ? in[k] : 1;
        buf_reset(&b);
        url_encode(&b, (struct str){(char *)in, n});
        for (size_t k = 0; k < b.n; k++)
            assert_true(strchr("-._~/%", b.p[k]) != NULL || (b.p[k] >= '0' && b.p[k] <= '9') ||
                        ((b.p[k] | 32) >= 'a' && (b.p[k] | 32) <= 'z'));
        for (int plus = 0; plus < 2; plus++) {
            assert_int_equal(url_decode(&a, buf_view(&b), plus, &got), 0);
            assert_true(str_eq(got, (struct str){(char *)in, n}));
        }
    }
    static const char *const bad[] = {"%", "%4", "a%", "%zz", "%0", "%00", "x%00y", "%%41", "%-1", "% 1", "%4\xc3"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        size_t n = strlen(bad[i]);
        auto_free char *exact = mem_alloc(n); /* no NUL behind it: ASan sees a step too far */
        memcpy(exact, bad[i], n);
        assert_int_equal(url_decode(&a, (struct str){exact, n}, false, &got), -1);
    }
    assert_int_equal(url_decode(&a, STR_LIT("a+b%2Bc%2f%2F"), false, &got), 0);
    assert_true(str_is(got, "a+b+c//"));
    assert_int_equal(url_decode(&a, STR_LIT("a+b%2Bc"), true, &got), 0);
    assert_true(str_is(got, "a b+c"));
    assert_int_equal(url_decode(&a, (struct str){NULL, 0}, true, &got), 0);
    assert_int_equal(got.n, 0);
    buf_release(&b);
    arena_release(&a);
}

/* Whatever the bytes: one JSON string of printable characters that jansson reads back. */
static void json_strings_hold_anything(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 4096);
    for (int i = 0; i < 20000; i++) {
        static const char *const bits[] = {"\xc3\xa9", "\xe2\x82\xac", "\xf0\x9f\x90\xb3", "\xc2\x9b", "\xe2\x80\xae",
                                           "\xed\xa0\x80", "\xc0\xaf", "\xf5\x80\x80\x80", "\x1b[31m", "\"\\\r\n"};
        char in[160];
        size_t n = 0;
        while (n < 100 && rnd() % 20 != 0) {
            const char *bit = bits[rnd() % ARRAY_LEN(bits)];
            if (rnd() % 2) {
                memcpy(in + n, bit, strlen(bit));
                n += strlen(bit);
            } else {
                in[n] = (char)rnd();
                n += in[n] != '\0'; /* jansson's C strings hold no NUL */
            }
        }
        buf_reset(&b);
        buf_json(&b, (struct str){in, n});
        for (size_t k = 0; k < b.n; k++)
            assert_true((uint8_t)b.p[k] >= 0x20 && b.p[k] != 0x7f &&
                        !((uint8_t)b.p[k] == 0xc2 && (uint8_t)b.p[k + 1] < 0xa0));
        json_t *j = json_loadb(b.p, b.n, JSON_DECODE_ANY, NULL);
        assert_non_null(j);
        assert_true(json_is_string(j));
        if (strstr(b.p, "\\ufffd") == NULL) { /* all of it was valid */
            assert_int_equal(json_string_length(j), n);
            assert_memory_equal(json_string_value(j), in, n);
        }
        json_decref(j);
    }
    buf_reset(&b);
    buf_json(&b, (struct str){NULL, 0});
    buf_json(&b, (struct str){"\0\xff\xc3", 3});
    assert_string_equal(b.p, "\"\"\"\\u0000\\ufffd\\ufffd\"");
    buf_release(&b);
}

static void digests(void **state)
{
    (void)state;
    struct err err;
    struct digest d, e;
    char text[DIGEST_TEXT_MAX], hex[200];
    uint8_t key[DIGEST_KEY_MAX];
    for (int i = 0; i < 1000; i++) {
        struct digest in = {.alg = i % 2 ? DIGEST_SHA512 : DIGEST_SHA256, .len = i % 2 ? 64 : 32};
        random_bytes(in.bytes, in.len);
        assert_ptr_equal(digest_text(&in, text), text);
        assert_int_equal(strlen(text), i % 2 ? 135 : 71);
        assert_int_equal(digest_parse(str_of(text), &d, &err), 0);
        assert_true(digest_eq(&in, &d));
        size_t n = digest_key(&in, key);
        assert_int_equal(digest_from_key((struct str){(char *)key, n}, &e), 0);
        assert_true(digest_eq(&in, &e));
        assert_int_equal(digest_from_key((struct str){(char *)key, n - 1}, &e), -1);
        key[0] ^= 3; /* the other algorithm: another length */
        assert_int_equal(digest_from_key((struct str){(char *)key, n}, &e), -1);
        e = in;
        e.bytes[rnd() % in.len] ^= 1;
        assert_false(digest_eq(&in, &e));
    }
    memset(hex, 'a', sizeof hex);
    static const struct {
        const char *head;
        int n;
    } bad[] = {{"", 64}, {"sha256", 64}, {"sha256:", 63}, {"sha256:", 65}, {"sha256:", 128}, {"sha512:", 64}, {"sha256:", 0},
               {"SHA256:", 64}, {"sha384:", 96}, {"md5:", 32}, {":", 64}, {" sha256:", 64}, {"sha256: ", 63}, {"sha256:A", 63},
               {"sha256:g", 63}, {"sha256:/", 63}, {"sha256::", 63}, {"", 0}};
    d.alg = 99;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char buf[256];
        snprintf(buf, sizeof buf, "%s%.*s", bad[i].head, bad[i].n, hex);
        err.text[0] = '\0';
        assert_int_equal(digest_parse(str_of(buf), &d, &err), ERR_DIGEST_INVALID);
        assert_non_null(strstr(err.text, "sha")); /* says what is allowed */
    }
    assert_int_equal(d.alg, 99);
    assert_int_equal(digest_from_key((struct str){NULL, 0}, &d), -1);
    assert_int_equal(digest_alg_parse(STR_LIT("sha512")), DIGEST_SHA512);
    assert_int_equal(digest_alg_parse(STR_LIT("")), DIGEST_NONE);
    assert_string_equal(digest_alg_name(DIGEST_SHA256), "sha256");
}

static void errors_gather_context(void **state)
{
    (void)state;
    struct err err = {0};
    assert_int_equal(err_set(&err, ERR_TAG_INVALID, "tag %d", 5), ERR_TAG_INVALID);
    assert_int_equal(err_wrap(&err, "repository %s", "a/b"), ERR_TAG_INVALID);
    assert_string_equal(err.text, "repository a/b: tag 5");
    assert_int_equal(err_set(NULL, ERR_TAG_INVALID, "x"), ERR_TAG_INVALID);
    static const struct {
        int sys, code;
    } rows[] = {{ENOSPC, ERR_STORAGE_FULL}, {EDQUOT, ERR_STORAGE_FULL}, {EROFS, ERR_READ_ONLY}, {EIO, ERR_IO}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        errno = rows[i].sys;
        assert_int_equal(err_sys(&err, ERR_IO, "cannot write"), rows[i].code);
        assert_int_equal(err.sys, rows[i].sys);
        errno = rows[i].sys;
        assert_int_equal(err_sys(NULL, ERR_IO, "cannot write"), rows[i].code);
    }
    assert_string_equal(err.text, "cannot write: Input/output error");
    errno = ENOSPC;
    assert_int_equal(err_sys(&err, ERR_DB, "x"), ERR_DB);
    /* any length is cut, never overrun (ASan watches) */
    char big[2000];
    memset(big, 'x', sizeof big - 1);
    big[sizeof big - 1] = '\0';
    for (int n = ERR_TEXT_MAX - 8; n < ERR_TEXT_MAX + 8; n++) {
        err_set(&err, ERR_IO, "%.*s", n, big);
        err_wrap(&err, "%s", "outer");
        err_wrap(&err, "%.*s", n, big);
        errno = EIO;
        err_sys(&err, ERR_IO, "%.*s", n, big);
        assert_true(strlen(err.text) < ERR_TEXT_MAX);
    }
    assert_int_equal(err_status(ERR_STORAGE_FULL), 507);
    assert_int_equal(err_status(12345), 500);
    assert_string_equal(err_name(ERR_DIGEST_INVALID), "DIGEST_INVALID");
    assert_string_equal(err_oci(ERR_DIGEST_INVALID), "DIGEST_INVALID");
    for (int i = 0; i < ERR_INDEX_COUNT; i++) {
        assert_true(err_status(-1 - i) >= 400 && err_status(-1 - i) < 600);
        assert_true(err_oci(-1 - i)[0] != '\0' && err_name(-1 - i)[0] != '\0');
    }
}

static int crashes(void (*fn)(void))
{
    fflush(NULL);
    pid_t pid = fork();
    if (pid == 0) {
        if (freopen("/dev/null", "w", stderr) == NULL)
            _exit(0);
        fn();
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void overflow_add(void) { (void)size_add(SIZE_MAX, 1); }
static void overflow_mul(void) { (void)size_mul(SIZE_MAX / 2, 3); }

static void memory(void **state)
{
    (void)state;
    struct arena a;
    arena_init(&a);
    assert_null(a.head);
    for (int i = 0; i < 3000; i++) {
        size_t n = rnd() % (i % 100 == 0 ? 200000 : 300);
        uint8_t *p = arena_alloc(&a, n);
        assert_int_equal((uintptr_t)p % 16, 0);
        memset(p, 0xa5, n);
        uint8_t *z = arena_zalloc(&a, n % 100);
        for (size_t k = 0; k < n % 100; k++)
            assert_int_equal(z[k], 0);
    }
    assert_string_equal(arena_printf(&a, "%s-%d", "x", 7), "x-7");
    assert_string_equal(arena_strndup(&a, "abcdef", 3), "abc");
    assert_string_equal(arena_strndup(&a, NULL, 0), "");
    assert_string_equal(str_dup(&a, STR_LIT("dup")), "dup");
    arena_release(&a);
    assert_null(a.head);
    assert_int_equal(a.used, 0);
    assert_int_equal(size_add(SIZE_MAX - 1, 1), SIZE_MAX);
    assert_true(crashes(overflow_add) && crashes(overflow_mul));
    auto_free char *p = mem_strndup("hello", 4), *empty = mem_alloc(0);
    assert_string_equal(p, "hell");
    assert_non_null(empty);
    char *moved = take(&p);
    assert_null(p);
    free(moved);
    int fd = dup(0), kept = take_fd(&fd);
    assert_true(fd == -1 && kept >= 0);
    {
        auto_fd int closing = kept;
        (void)closing;
    }
    assert_true(write(kept, "", 0) < 0 && errno == EBADF);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, set_up)
    const struct CMUnitTest tests[] = {
        T(slices), T(decimals), T(buffers_keep_their_cap), T(hex_is_strict), T(base64_is_strict), T(url_parts),
        T(json_strings_hold_anything), T(digests), T(errors_gather_context), T(memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
