/* Tokens' text, one-time and recovery codes, sealed secrets. (WebAuthn: tests/factors.) */
#include "crypt/recovery.h"
#include "crypt/seal.h"
#include "crypt/secret.h"
#include "crypt/token_text.h"
#include "crypt/totp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <setjmp.h>
#include <cmocka.h>

static struct err err;
static const uint8_t key[32] = "a key of thirty-two bytes, fixed";
static const uint8_t other_key[32] = "another key of thirty-two bytes!";

/* RFC 4648 §10, without padding. */
static void base32_vectors(void **state)
{
    (void)state;
    static const char *const want[] = {"", "MY", "MZXQ", "MZXW6", "MZXW6YQ", "MZXW6YTB", "MZXW6YTBOI"};
    for (size_t n = 0; n < ARRAY_LEN(want); n++) {
        char text[17];
        uint8_t back[8];
        assert_int_equal(base32_encode(text, "foobar", n, 'A'), strlen(want[n]));
        assert_string_equal(text, want[n]);
        assert_int_equal(base32_decode(back, n, str_of(text), 'A'), n);
        assert_memory_equal(back, "foobar", n);
        assert_true(n == 0 || base32_decode(back, n - 1, str_of(text), 'A') == -1);
        assert_true(n == 0 || base32_decode(back, n, str_of(text), 'a') == -1);
    }
    static const char *const bad[] = {"M", "MZX", "MZXW6Y", "MZ", "M1", "M=", "M ", "M8", "M\xff", "m@", "MZXW6YTB\n"};
    uint8_t out[8];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(base32_decode(out, sizeof out, str_of(bad[i]), 'A'), -1);
    for (int c = 0; c < 256; c++) { /* exactly 32 characters are digits */
        char two[2] = {(char)c, 'A'};
        bool digit = (c >= 'A' && c <= 'Z') || (c >= '2' && c <= '7');
        assert_int_equal(base32_decode(out, sizeof out, (struct str){two, 2}, 'A'), digit ? 1 : -1);
    }
}

/* --- tokens */

static void token_round_trip(void **state)
{
    (void)state;
    for (int k = 0; k < TOKEN_KIND_COUNT; k++) {
        char text[TOKEN_TEXT_LEN + 1], more[TOKEN_TEXT_LEN + 1];
        uint8_t hash[TOKEN_HASH], again[TOKEN_HASH];
        enum token_kind kind = TOKEN_KIND_COUNT;
        token_text_make((enum token_kind)k, key, text, hash);
        assert_int_equal(strlen(text), TOKEN_TEXT_LEN);
        assert_int_equal(token_text_parse(str_of(text), &kind, &err), 0);
        assert_int_equal(kind, k);
        token_text_hash(key, str_of(text), again);
        assert_memory_equal(hash, again, sizeof hash);
        token_text_hash(other_key, str_of(text), again);
        assert_memory_not_equal(hash, again, sizeof hash);
        token_text_make((enum token_kind)k, key, more, again);
        assert_string_not_equal(text, more);
        assert_non_null(token_kind_noun(kind));
    }
}

static const char known_token[] = "bpt_aaaqeayeaudaocajbifqydiob4ibceqtcqkrmfyydenbwha5dypyhpwqnm";

/* The form is written down in token_text.h; this token was made by Python (zlib.crc32, base64.b32encode). */
static void token_of_another_program(void **state)
{
    (void)state;
    enum token_kind kind = TOKEN_KIND_COUNT;
    assert_int_equal(token_text_parse(str_of(known_token), &kind, &err), 0);
    assert_int_equal(kind, TOKEN_PERSONAL);
}

static void is_no_token(struct str text)
{
    enum token_kind kind = TOKEN_KIND_COUNT;
    err.text[0] = '\0';
    assert_int_equal(token_text_parse(text, &kind, &err), ERR_UNAUTHORIZED);
    assert_int_equal(kind, TOKEN_KIND_COUNT);
    assert_null(strstr(err.text, "aqeayeaud")); /* an error never shows what came */
}

static void token_typos(void **state)
{
    (void)state;
    char text[TOKEN_TEXT_LEN + 3];
    for (size_t i = 0; i < TOKEN_TEXT_LEN; i++) /* any one character changed */
        for (int c = 1; c < 256; c++) {
            memcpy(text, known_token, sizeof known_token);
            if (text[i] == (char)c)
                continue;
            text[i] = (char)c;
            is_no_token((struct str){text, TOKEN_TEXT_LEN});
        }
    for (size_t i = 4; i + 1 < TOKEN_TEXT_LEN; i++) { /* two swapped */
        memcpy(text, known_token, sizeof known_token);
        text[i] = known_token[i + 1];
        text[i + 1] = known_token[i];
        if (text[i] != text[i + 1])
            is_no_token((struct str){text, TOKEN_TEXT_LEN});
    }
    for (size_t n = 0; n < TOKEN_TEXT_LEN; n++)
        is_no_token((struct str){known_token, n});
    snprintf(text, sizeof text, "%s\n", known_token);
    is_no_token(str_of(text));
    snprintf(text, sizeof text, " %s", known_token);
    is_no_token(str_of(text));
    is_no_token((struct str){text, TOKEN_TEXT_LEN});
    is_no_token((struct str){NULL, 0});
}

/* --- one-time codes */

static const uint8_t rfc_secret[TOTP_SECRET] = "12345678901234567890";

/* RFC 6238 appendix B (SHA1), the last six of the eight digits. */
static void totp_vectors(void **state)
{
    (void)state;
    static const struct {
        int64_t at;
        const char *code;
    } v[] = {{59, "287082"},         {1111111109, "081804"}, {1111111111, "050471"},
             {1234567890, "005924"}, {2000000000, "279037"}, {20000000000, "353130"}};
    for (size_t i = 0; i < ARRAY_LEN(v); i++) {
        char code[TOTP_DIGITS + 1];
        int64_t step = -1;
        totp_code(rfc_secret, v[i].at / TOTP_PERIOD, code);
        assert_string_equal(code, v[i].code);
        assert_int_equal(totp_check(rfc_secret, str_of(code), v[i].at, -1, &step, &err), 0);
        assert_int_equal(step, v[i].at / TOTP_PERIOD);
    }
    char text[TOTP_SECRET_TEXT + 1];
    totp_secret_text(rfc_secret, text);
    assert_string_equal(text, "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ");
}

static void totp_steps(void **state)
{
    (void)state;
    const int64_t now = 1700000000, at = now / TOTP_PERIOD;
    for (int64_t d = -3; d <= 3; d++) { /* the steps beside this one, and no others */
        char code[TOTP_DIGITS + 1];
        int64_t step = -7;
        totp_code(rfc_secret, at + d, code);
        int rc = totp_check(rfc_secret, str_of(code), now, -1, &step, &err);
        assert_int_equal(rc, d >= -1 && d <= 1 ? 0 : ERR_UNAUTHORIZED);
        assert_int_equal(step, rc == 0 ? at + d : -7);
        if (rc != 0)
            continue;
        /* Used: never again, nor one of an earlier step. */
        assert_int_equal(totp_check(rfc_secret, str_of(code), now, step, &step, &err), ERR_UNAUTHORIZED);
        assert_non_null(strstr(err.text, "used already"));
        assert_int_equal(totp_check(rfc_secret, str_of(code), now, step + 1, &step, &err), ERR_UNAUTHORIZED);
        assert_int_equal(totp_check(rfc_secret, str_of(code), now, step - 1, &step, &err), 0);
    }
}

static void totp_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "00000", "0000000", "28708", "2870822", "28708a", "287 82", "287083", "387082"};
    int64_t step = -7;
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(totp_check(rfc_secret, str_of(bad[i]), 59, -1, &step, &err), ERR_UNAUTHORIZED);
    assert_int_equal(step, -7);
    uint8_t a[TOTP_SECRET], b[TOTP_SECRET];
    totp_secret_make(a);
    totp_secret_make(b);
    assert_memory_not_equal(a, b, sizeof a);
}

static void totp_uri_text(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 1024);
    totp_uri(&b, rfc_secret, STR_LIT("hub.example"), STR_LIT("jane doe&x=?"));
    assert_string_equal(b.p, "otpauth://totp/hub.example:jane%20doe%26x%3D%3F?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
                             "&issuer=hub.example&algorithm=SHA1&digits=6&period=30");
    buf_release(&b);
}

/* --- recovery codes */

static void recovery_round_trip(void **state)
{
    (void)state;
    struct recovery_code codes[RECOVERY_CODES];
    uint8_t hash[RECOVERY_HASH];
    recovery_make(key, codes);
    for (int i = 0; i < RECOVERY_CODES; i++) {
        char typed[64];
        assert_int_equal(strlen(codes[i].text), RECOVERY_TEXT);
        assert_int_equal(recovery_hash(key, str_of(codes[i].text), hash, &err), 0);
        assert_memory_equal(hash, codes[i].hash, sizeof hash);
        size_t n = 0;
        for (const char *p = codes[i].text; *p; p++) /* as people type: spaces, upper case, 0 and 1 */
            typed[n++] = *p == '-' ? ' ' : *p == 'o' ? '0' : *p == 'l' ? '1' : (char)(*p >= 'a' ? *p - 32 : *p);
        typed[n++] = ' ';
        assert_int_equal(recovery_hash(key, (struct str){typed, n}, hash, &err), 0);
        assert_memory_equal(hash, codes[i].hash, sizeof hash);
        assert_int_equal(recovery_hash(other_key, str_of(codes[i].text), hash, &err), 0);
        assert_memory_not_equal(hash, codes[i].hash, sizeof hash);
        for (int j = 0; j < i; j++)
            assert_memory_not_equal(codes[i].hash, codes[j].hash, sizeof hash);
    }
}

static void recovery_refusals(void **state)
{
    (void)state;
    static const char *const bad[] = {"", "aaaa", "aaaa-aaaa-aaaa-aaa", "aaaa-aaaa-aaaa-aaaaa", "aaaa-aaaa-aaaa-aaa8", "aaaa-aaaa-aaaa-aaa9",
                                      "aaaa_aaaa_aaaa_aaaa", "aaaa-aaaa-aaaa-aaa\n", "aaaa-aaaa-aaaa-aaa\xc3",
                                      "a                                                               aaaaaaaaaaaaaaa"};
    uint8_t hash[RECOVERY_HASH];
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_int_equal(recovery_hash(key, str_of(bad[i]), hash, &err), ERR_UNAUTHORIZED);
}

/* --- sealed secrets */

static const struct seal_place here = {"factor", "secret", 7};

static void seal_round_trip(void **state)
{
    (void)state;
    struct seal_keys k;
    static const size_t sizes[] = {0, 1, 20, 1000, SEAL_SECRET_MAX};
    auto_free char *secret = mem_zalloc(SEAL_SECRET_MAX + 1);
    secret_random(secret, SEAL_SECRET_MAX);
    seal_keys_new(&k);
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        struct buf sealed, open;
        buf_init(&sealed, 2 * SEAL_SECRET_MAX);
        buf_init(&open, 2 * SEAL_SECRET_MAX);
        assert_int_equal(seal_close(&k, here, (struct str){secret, sizes[i]}, &sealed, &err), 0);
        assert_int_equal(sealed.n, sizes[i] + SEAL_OVERHEAD);
        assert_int_equal(seal_open(&k, here, buf_view(&sealed), &open, &err), 0);
        assert_true(str_eq(buf_view(&open), (struct str){secret, sizes[i]}));
        assert_false(seal_needs_reseal(&k, buf_view(&sealed)));
        buf_release(&sealed);
        buf_release(&open);
    }
    struct buf b;
    buf_init(&b, 2 * SEAL_SECRET_MAX);
    assert_int_equal(seal_close(&k, here, (struct str){secret, SEAL_SECRET_MAX + 1}, &b, &err), ERR_TOO_LARGE);
    buf_release(&b);
}

static void opens_not(const struct seal_keys *k, struct seal_place at, struct str sealed, const char *why)
{
    struct buf open;
    buf_init(&open, 1024);
    assert_int_equal(seal_open(k, at, sealed, &open, &err), ERR_CORRUPT);
    assert_non_null(strstr(err.text, why));
    assert_int_equal(open.n, 0);
    buf_release(&open);
}

static void seal_binds(void **state)
{
    (void)state;
    static const struct seal_place others[] = {{"factor", "secret", 8}, {"factor", "secre", 7},  {"facto", "rsecret", 7},
                                               {"factors", "ecret", 7}, {"secret", "factor", 7}, {"factor", "secret", -7}};
    struct seal_keys k, foreign;
    struct buf b;
    seal_keys_new(&k);
    seal_keys_new(&foreign);
    buf_init(&b, 1024);
    assert_int_equal(seal_close(&k, here, STR_LIT("a client's secret"), &b, &err), 0);
    for (size_t i = 0; i < ARRAY_LEN(others); i++) /* a cell that was swapped does not open */
        opens_not(&k, others[i], buf_view(&b), "sealed for another place");
    for (size_t bit = 0; bit < 8 * b.n; bit++) {
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
        opens_not(&k, here, buf_view(&b), bit < 8 ? "version" : bit < 40 ? "does not hold" : "altered");
        b.p[bit / 8] = (char)(b.p[bit / 8] ^ (1 << bit % 8));
    }
    for (size_t n = 0; n < b.n; n++)
        opens_not(&k, here, (struct str){b.p, n}, n < SEAL_OVERHEAD ? "version" : "altered");
    opens_not(&foreign, here, buf_view(&b), "does not hold");
    memcpy(foreign.key[0].id, k.key[0].id, SEAL_ID); /* the right id, another key */
    opens_not(&foreign, here, buf_view(&b), "altered");
    buf_release(&b);
}

static void seal_rotation(void **state)
{
    (void)state;
    struct seal_keys k;
    struct buf old, now, open;
    seal_keys_new(&k);
    buf_init(&old, 256);
    buf_init(&now, 256);
    buf_init(&open, 256);
    assert_int_equal(seal_close(&k, here, STR_LIT("old"), &old, &err), 0);
    assert_int_equal(seal_keys_rotate(&k, &err), 0);
    assert_int_equal(seal_close(&k, here, STR_LIT("new"), &now, &err), 0);
    assert_true(seal_needs_reseal(&k, buf_view(&old)));
    assert_false(seal_needs_reseal(&k, buf_view(&now)));
    assert_int_equal(seal_open(&k, here, buf_view(&old), &open, &err), 0);
    assert_int_equal(seal_open(&k, here, buf_view(&now), &open, &err), 0);
    assert_true(str_is(buf_view(&open), "oldnew"));
    seal_keys_drop_old(&k);
    opens_not(&k, here, buf_view(&old), "does not hold");
    assert_int_equal(seal_open(&k, here, buf_view(&now), &open, &err), 0);
    for (int i = 1; i < SEAL_KEYS_MAX; i++)
        assert_int_equal(seal_keys_rotate(&k, &err), 0);
    assert_int_equal(seal_keys_rotate(&k, &err), ERR_EXISTS);
    assert_int_equal(seal_open(&k, here, buf_view(&now), &open, &err), 0);
    buf_release(&old);
    buf_release(&now);
    buf_release(&open);
}

static void seal_file(void **state)
{
    (void)state;
    struct seal_keys k, again;
    struct buf file, second;
    buf_init(&file, SEAL_FILE_MAX);
    buf_init(&second, SEAL_FILE_MAX);
    seal_keys_new(&k);
    for (int i = 1; i < SEAL_KEYS_MAX; i++)
        assert_int_equal(seal_keys_rotate(&k, &err), 0);
    seal_keys_print(&k, &file);
    assert_false(file.overflow);
    assert_int_equal(seal_keys_parse(buf_view(&file), &again, &err), 0);
    seal_keys_print(&again, &second);
    assert_true(str_eq(buf_view(&file), buf_view(&second)));
    assert_int_equal(again.n, SEAL_KEYS_MAX);
    for (size_t n = 0; n < file.n; n++) /* cut anywhere but at the end of a key's line: refused */
        if (n < 99 || file.p[n - 1] != '\n')
            assert_int_equal(seal_keys_parse((struct str){file.p, n}, &again, &err), ERR_CORRUPT);
    buf_release(&file);
    buf_release(&second);
}

#define HEX64 "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
static void seal_file_refusals(void **state)
{
    (void)state;
    static const char good[] = "berth-seal-keys 1\n0a1b2c3d active " HEX64 "\n11223344 old " HEX64 "\n";
    static const char *const bad[] = {
        "", "\n", "berth-seal-keys 1\n", "berth-seal-keys 1", "berth-seal-keys 2\n0a1b2c3d active " HEX64 "\n",
        "0a1b2c3d active " HEX64 "\n", "berth-seal-keys 1\n0a1b2c3d old " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 "\n11223344 active " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 "\n0a1b2c3d old " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3D active " HEX64 "\n", "berth-seal-keys 1\n0a1b2c3 active " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 " \n", "berth-seal-keys 1\n0a1b2c3d  active " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 "00\n", "berth-seal-keys 1\n0a1b2c3d active 00\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 "\n\n", "berth-seal-keys 1\n\n0a1b2c3d active " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64 "\r\n", "berth-seal-keys 1\n# note\n0a1b2c3d active " HEX64 "\n",
        "berth-seal-keys 1\n0a1b2c3d active " HEX64,
    };
    struct seal_keys k;
    assert_int_equal(seal_keys_parse(str_of(good), &k, &err), 0);
    assert_int_equal(k.n, 2);
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (seal_keys_parse(str_of(bad[i]), &k, &err) != ERR_CORRUPT)
            fail_msg("taken: %s", bad[i]);
        assert_null(strstr(err.text, "00112233")); /* no key in an error */
    }
}

enum { MANY = 100000, NONCE = 24 };
static int nonce_cmp(const void *a, const void *b) { return memcmp(a, b, NONCE); }

/* Tarsnap's lesson: no nonce twice. */
static void seal_nonces(void **state)
{
    (void)state;
    struct seal_keys k;
    struct buf b;
    auto_free char *all = mem_alloc((size_t)MANY * NONCE);
    seal_keys_new(&k);
    buf_init(&b, 256);
    for (size_t i = 0; i < MANY; i++) {
        buf_reset(&b);
        assert_int_equal(seal_close(&k, here, STR_LIT("s"), &b, &err), 0);
        memcpy(all + i * NONCE, b.p + 1 + SEAL_ID, NONCE);
    }
    buf_release(&b);
    qsort(all, MANY, NONCE, nonce_cmp);
    for (size_t i = 1; i < MANY; i++)
        assert_true(memcmp(all + (i - 1) * NONCE, all + i * NONCE, NONCE) < 0);
}

int main(void)
{
    if (secret_setup(&err) < 0)
        return EXIT_FAILURE;
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(base32_vectors),      cmocka_unit_test(token_round_trip), cmocka_unit_test(token_of_another_program),
        cmocka_unit_test(token_typos),         cmocka_unit_test(totp_vectors),     cmocka_unit_test(totp_steps),
        cmocka_unit_test(totp_refusals),       cmocka_unit_test(totp_uri_text),    cmocka_unit_test(recovery_round_trip),
        cmocka_unit_test(recovery_refusals),   cmocka_unit_test(seal_round_trip),  cmocka_unit_test(seal_binds),
        cmocka_unit_test(seal_rotation),       cmocka_unit_test(seal_file),        cmocka_unit_test(seal_file_refusals),
        cmocka_unit_test(seal_nonces),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
