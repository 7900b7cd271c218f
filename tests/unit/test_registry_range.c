/* Ranges of a GET, Content-Range of a chunk, the framing of multipart/byteranges, and n of a list.
 */
#include "registry/page.h"
#include "registry/range.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

static void expect_one(const char *header, int64_t size, int64_t first, int64_t last)
{
    struct range_set set = {.n = 0};
    if (range_parse(str_of(header), size, &set) != RANGE_PARTS)
        fail_msg("%s of %lld: no range", header, (long long)size);
    assert_int_equal(set.n, 1);
    assert_int_equal(set.v[0].first, first);
    assert_int_equal(set.v[0].last, last);
}

static void expect(const char *header, int64_t size, enum range_result want)
{
    struct range_set set = {.n = 0};
    enum range_result have = range_parse(str_of(header), size, &set);
    if (have != want)
        fail_msg("%s of %lld: %d, want %d", header, (long long)size, (int)have, (int)want);
}

static void test_single(void **state)
{
    (void)state;
    expect_one("bytes=0-0", 10, 0, 0);
    expect_one("bytes=0-", 10, 0, 9);
    expect_one("bytes=3-5", 10, 3, 5);
    expect_one("bytes=9-", 10, 9, 9);
    expect_one("bytes=-1", 10, 9, 9);
    expect_one("bytes=-500", 10, 0, 9);
    expect_one("bytes=2000-5000", 4000, 2000, 3999);
    expect_one("Bytes = 1-2", 10, 1, 2);
    expect_one("bytes=1-2,", 10, 1, 2);
    expect_one("bytes=,, 1-2", 10, 1, 2);
    expect_one("bytes=0-99999999999999999999999", 10, 0, 9);
    expect_one("bytes=-99999999999999999999999", 10, 0, 9);
    expect_one("bytes=0-9223372036854775807", 10, 0, 9);
    expect_one("bytes=0-4,100-", 10, 0, 4); /* what lies behind the end is left out */
}

static void test_refused(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "bytes=10-",        "bytes=10-20", "bytes=-0",    "bytes=500-0",
        "bytes=5000-10000", "bytes=",      "bytes=a-b",   "bytes=1",
        "bytes=-",          "bytes=--1",   "bytes=1-2-3", "bytes=+1-2",
        "bytes=1-2;3-4",    "bytes=0x1-2", "bytes=1 - 2", "bytes=99999999999999999999999-",
        "bytes=10-,20-"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        expect(bad[i], 10, RANGE_UNSATISFIABLE);
}

static void test_ignored(void **state)
{
    (void)state;
    static const char *const other[] = {"",
                                        "bytes",
                                        "items=0-1",
                                        "0-1",
                                        "bytes 0-1",
                                        "bytesx=0-1",
                                        "bytes=0-1,1-2",
                                        "bytes=4-5,0-1",
                                        "bytes=-2,-3",
                                        "bytes=0-,0-",
                                        "bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7,8-8"};
    for (size_t i = 0; i < ARRAY_LEN(other); i++)
        expect(other[i], 10, RANGE_WHOLE);
    expect("bytes=0-", 0, RANGE_WHOLE);
    expect("bytes=-1", 0, RANGE_WHOLE);
    /* T33: ten thousand overlapping ranges cost one whole answer. */
    struct buf b;
    buf_init(&b, 1 << 20);
    buf_cstr(&b, "bytes=");
    for (int i = 0; i < 10000; i++)
        buf_printf(&b, "%s0-9", i ? "," : "");
    struct range_set set = {.n = 0};
    assert_int_equal(range_parse(buf_view(&b), 10, &set), RANGE_WHOLE);
    buf_release(&b);
}

static void test_many(void **state)
{
    (void)state;
    struct range_set set = {.n = 0};
    assert_int_equal(range_parse(STR_LIT("bytes=0-0, 2-3 ,5-5,-1"), 10, &set), RANGE_PARTS);
    assert_int_equal(set.n, 4);
    assert_int_equal(set.v[3].first, 9);
    assert_int_equal(range_parse(STR_LIT("bytes=0-0,1-1,2-2,3-3,4-4,5-5,6-6,7-7"), 10, &set),
                     RANGE_PARTS);
    assert_int_equal(set.n, 8);
}

static void test_content_range(void **state)
{
    (void)state;
    struct range r;
    struct err err = {0};
    static const char *const good[] = {"5-9", "bytes 5-9/10", "bytes 5-9/*", "bytes=5-9",
                                       "5-9/100"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (content_range_parse(str_of(good[i]), &r, &err) < 0)
            fail_msg("%s refused", good[i]);
        assert_int_equal(r.first, 5);
        assert_int_equal(r.last, 9);
    }
    static const char *const bad[] = {"",
                                      "-",
                                      "5",
                                      "5-",
                                      "-9",
                                      "9-5",
                                      "a-b",
                                      "5-9-10",
                                      "5 - 9",
                                      "+5-9",
                                      "0-9223372036854775807",
                                      "0-18446744073709551616",
                                      "5-9/x",
                                      "5-9/",
                                      "bytes */10",
                                      "5-9,10-11"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (content_range_parse(str_of(bad[i]), &r, &err) != ERR_UPLOAD_RANGE)
            fail_msg("%s accepted", bad[i]);
    }
}

/* The body asked for in pieces of any size is the body, and as long as announced. */
static void test_multipart(void **state)
{
    (void)state;
    struct multipart m = {.set = {.v = {{0, 2}, {5, 5}}, .n = 2}, .size = 10, .boundary = "B"};
    static const char object[] = "0123456789";
    static const char want[] =
        "\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes "
        "0-2/10\r\n\r\n012"
        "\r\n--B\r\nContent-Type: application/octet-stream\r\nContent-Range: bytes 5-5/10\r\n\r\n5"
        "\r\n--B--\r\n";
    assert_int_equal(multipart_length(&m), sizeof want - 1);
    for (size_t piece = 1; piece < sizeof want; piece++) {
        char have[sizeof want + 8];
        size_t n = 0;
        while (n < sizeof want - 1) {
            size_t got;
            int64_t from;
            multipart_at(&m, (int64_t)n, have + n, piece, &got, &from);
            assert_in_range(got, 1, piece);
            if (from >= 0)
                memcpy(have + n, object + from, got);
            n += got;
        }
        assert_int_equal(n, sizeof want - 1);
        assert_memory_equal(have, want, n);
    }
    size_t got;
    int64_t from;
    char p[8];
    multipart_at(&m, (int64_t)sizeof want - 1, p, sizeof p, &got, &from);
    assert_int_equal(got, 0);
}

static void test_page_number(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t want; /* -1: refused */
    } rows[] = {{"0", 0},
                {"1", 1},
                {"007", 7},
                {"1000", 1000},
                {"1001", 1000},
                {"2147483648", 1000},
                {"9223372036854775808", 1000},
                {"99999999999999999999999", 1000},
                {"", -1},
                {"-1", -1},
                {"+1", -1},
                {"1e9", -1},
                {" 1", -1},
                {"1.0", -1},
                {"0x10", -1},
                {"abc", -1}};
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        int64_t n = -1;
        bool ok = page_number(str_of(rows[i].text), &n);
        assert_int_equal(ok, rows[i].want >= 0);
        assert_int_equal(n, rows[i].want);
    }
}

static void test_page_list(void **state)
{
    (void)state;
    struct buf out;
    struct page_list l;
    buf_init(&out, 1 << 16);
    page_list_init(&l, &out, 2);
    assert_int_equal(page_list_add(&l, STR_LIT("a")), 0);
    assert_int_equal(page_list_add(&l, STR_LIT("b\"")), 0);
    assert_false(l.more);
    assert_int_equal(page_list_add(&l, STR_LIT("c")), 1);
    assert_true(l.more);
    assert_true(str_is(l.last, "b\""));
    assert_true(str_is(buf_view(&out), "\"a\",\"b\\\"\""));
    buf_release(&out);
    buf_init(&out, 100); /* bytes run out before entries do */
    page_list_init(&l, &out, INT64_MAX);
    int n = 0;
    while (page_list_add(&l, STR_LIT("aaaa")) == 0)
        n++;
    assert_true(n > 0 && l.more && !out.overflow);
    buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_single),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_ignored),       cmocka_unit_test(test_many),
        cmocka_unit_test(test_content_range), cmocka_unit_test(test_multipart),
        cmocka_unit_test(test_page_number),   cmocka_unit_test(test_page_list),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
