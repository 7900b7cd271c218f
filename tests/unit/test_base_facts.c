/* JSON, caches, generations, logs, metrics, time. */
#include "base/cache.h"
#include "base/clock.h"
#include "base/gen.h"
#include "base/hashkey.h"
#include "base/json.h"
#include "base/log.h"
#include "base/metric.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static struct err err;
static uint64_t seed = 88172645463325252u;
static uint64_t rnd(void)
{
    seed ^= seed << 13;
    seed ^= seed >> 7;
    seed ^= seed << 17;
    return seed;
}

/* --- JSON */

static int strict(struct str text, struct json_caps caps)
{
    json_t *j = NULL;
    int rc = json_strict(text, caps, &j, &err);
    assert_true((rc == 0) == (j != NULL));
    json_decref(j);
    return rc;
}

static void json_grammar(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{}", "[]", " [ ] ", "{\"a\":1}", "[1,-0,0.5,1e9,1E+2,-1.25e-3]", "[true,false,null]", "{\"a\":{\"a\":[{}]}}",
        "[\"\\u00e9\\ud83d\\ude00\\\"\\\\\\/\\b\\f\\n\\r\\t\"]", "[\"\xc3\xa9\xf0\x9f\x98\x80\"]", "\t[\r\n0]\n", "[[],{}]",
    };
    static const char *const bad[] = {
        "", " ", "1", "\"a\"", "null", "{", "[", "}", "[1", "[1,", "[1,]", "[,1]", "{,}", "{\"a\"}", "{\"a\":}", "{\"a\":1,}",
        "{a:1}", "{1:1}", "{\"a\" 1}", "[1 2]", "[1]]", "[1] x", "[1][2]", "{}{}", "[}", "{]", "[01]", "[00]", "[-]", "[-01]", "[+1]",
        "[.5]", "[1.]", "[1e]", "[1e+]", "[0x1]", "[NaN]", "[Infinity]", "[tru]", "[truex]", "[nul]", "['a']", "[\"a]", "[\"\\x\"]",
        "[\"\\u12\"]", "[\"\\u12g4\"]", "[\"\\ud800\"]", "[\"\\ud800x\"]", "[\"\\udc00\"]", "[\"\\ud800\\u0041\"]", "[\"\\u0000\"]",
        "[\"a\tb\"]", "[\"a\nb\"]", "[\"\x80\"]", "[\"\xc0\xaf\"]", "[\"\xed\xa0\x80\"]", "[\"\xf4\x90\x80\x80\"]", "[\"\xe2\x82\"]",
        "// c\n[]", "[/**/]", "\xef\xbb\xbf[]", "\xa0[]", "[1e999]", "[99999999999999999999999]",
        "{\"a\":1,\"a\":2}", "{\"a\":1,\"b\":2,\"\\u0061\":3}", "[{\"x\":{\"y\":1,\"y\":1}}]",
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int rc = strict(str_of(good[i]), JSON_CAPS_DEFAULT);
        if (rc != 0)
            print_error("%s: %s\n", good[i], err.text);
        assert_int_equal(rc, 0);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int rc = strict(str_of(bad[i]), JSON_CAPS_DEFAULT);
        if (rc != ERR_INVALID)
            print_error("accepted: %s\n", bad[i]);
        assert_int_equal(rc, ERR_INVALID);
        assert_non_null(strstr(err.text, "at byte"));
    }
    assert_int_equal(strict(STR_LIT("[1]\0"), JSON_CAPS_DEFAULT), ERR_INVALID);
    assert_int_equal(strict((struct str){NULL, 0}, JSON_CAPS_DEFAULT), ERR_INVALID);
}

static struct str repeated(struct buf *b, const char *head, const char *bit, size_t n, const char *tail)
{
    buf_reset(b);
    buf_cstr(b, head);
    for (size_t i = 0; i < n; i++)
        buf_cstr(b, bit);
    buf_cstr(b, tail);
    assert_false(b->overflow);
    return buf_view(b);
}

/* T38: caps hold before anything is allocated for the document. */
static void json_caps_hold(void **state)
{
    (void)state;
    struct buf b;
    struct json_caps caps = {1 << 20, 8, 100};
    buf_init(&b, 4 << 20);
    assert_int_equal(strict(repeated(&b, "", "[", 8, "]]]]]]]]"), caps), 0);
    assert_int_equal(strict(repeated(&b, "", "[", 9, "]]]]]]]]]"), caps), ERR_INVALID);
    assert_non_null(strstr(err.text, "deep"));
    assert_int_equal(strict(repeated(&b, "", "{\"a\":", 9, "1}}}}}}}}}"), caps), ERR_INVALID);
    assert_int_equal(strict(repeated(&b, "", "[", 1000000, ""), caps), ERR_INVALID);
    assert_int_equal(strict(repeated(&b, "", "[", 2000000, ""), (struct json_caps){4 << 20, 100000, 4 << 20}), ERR_INVALID);
    assert_int_equal(strict(repeated(&b, "[0", ",0", 98, "]"), caps), 0); /* 99 numbers and the array */
    assert_int_equal(strict(repeated(&b, "[0", ",0", 99, "]"), caps), ERR_INVALID);
    assert_non_null(strstr(err.text, "too many"));
    caps.bytes = 10;
    assert_int_equal(strict(STR_LIT("[\"123456\"]"), caps), 0);
    assert_int_equal(strict(STR_LIT("[\"1234567\"]"), caps), ERR_TOO_LARGE);
    caps = JSON_CAPS_DEFAULT;
    assert_int_equal(strict(repeated(&b, "[1", "0", 80, "]"), caps), ERR_INVALID); /* endless number */
    buf_release(&b);
}

/* Differential: what passes the scan, jansson reads; what jansson takes strictly, we may only refuse by rule. */
static void json_agrees_with_jansson(void **state)
{
    (void)state;
    static const char bits[] = "{}[]\",:0123.eE+-\\u9dab tfn\x80\xc3\xa9";
    int taken = 0;
    for (int i = 0; i < 200000; i++) {
        char text[24];
        size_t n = rnd() % sizeof text;
        for (size_t k = 0; k < n; k++)
            text[k] = bits[rnd() % (sizeof bits - 1)];
        if (n > 2 && i % 2) {
            text[0] = '[';
            text[n - 1] = ']';
        }
        json_t *j = json_loadb(text, n, JSON_REJECT_DUPLICATES, NULL);
        int rc = strict((struct str){text, n}, JSON_CAPS_DEFAULT);
        if ((rc == 0) != (j != NULL))
            print_error("%.*s: %s\n", (int)n, text, rc ? err.text : "accepted");
        assert_int_equal(rc == 0, j != NULL);
        taken += rc == 0;
        json_decref(j);
    }
    assert_true(taken > 1000);
}

/* --- cache and generations */

struct fact {
    struct shared head;
    int value;
};
static int freed;
static void fact_free(struct shared *s)
{
    freed++;
    free(s);
}
static struct shared *fact(int value, size_t cost)
{
    struct fact *f = mem_alloc(sizeof *f);
    shared_init(&f->head, cost, fact_free);
    f->value = value;
    return &f->head;
}
static int value_of(struct shared *s) { return s ? ((struct fact *)(void *)s)->value : -1; }

static void put(struct cache *c, struct str key, uint64_t gen, int value, size_t cost)
{
    struct shared *s = fact(value, cost);
    cache_put(c, key, gen, s);
    shared_unref(s);
}

static void cache_keeps_and_drops(void **state)
{
    (void)state;
    struct cache *c = cache_new(10000);
    freed = 0;
    assert_null(cache_get(c, STR_LIT("a"), 1));
    put(c, STR_LIT("a"), 1, 10, 100);
    put(c, STR_LIT(""), 1, 11, 100);
    assert_int_equal(value_of(cache_get(c, STR_LIT("a"), 1)), 10);
    assert_int_equal(value_of(cache_get(c, STR_LIT(""), 1)), 11);
    put(c, STR_LIT("a"), 1, 12, 100); /* replaced */
    assert_int_equal(freed, 1);
    assert_int_equal(value_of(cache_get(c, STR_LIT("a"), 1)), 12);
    assert_null(cache_get(c, STR_LIT("a"), GEN_BUSY)); /* nothing matches while a writer is there */
    assert_int_equal(value_of(cache_get(c, STR_LIT("a"), 1)), 12);
    assert_null(cache_get(c, STR_LIT("a"), 2)); /* another generation: gone for good */
    assert_null(cache_get(c, STR_LIT("a"), 1));
    assert_int_equal(freed, 2);
    struct shared *kept = shared_ref(cache_get(c, STR_LIT(""), 1));
    cache_drop(c, STR_LIT(""));
    cache_drop(c, STR_LIT("never"));
    assert_int_equal(freed, 2);
    assert_int_equal(value_of(kept), 11);
    shared_unref(kept);
    assert_int_equal(freed, 3);
    assert_int_equal(cache_bytes(c), 0);
    put(c, STR_LIT("big"), 1, 1, 10001); /* larger than the cache: not kept, nothing evicted */
    assert_int_equal(cache_bytes(c), 0);
    put(c, STR_LIT("last"), 1, 1, 10);
    cache_free(c);
    assert_int_equal(freed, 5);
    cache_free(NULL);
    shared_unref(NULL);
}

static void cache_stays_below_its_cap(void **state)
{
    (void)state;
    enum { CAP = 50000, KEYS = 500 };
    struct cache *c = cache_new(CAP);
    int have[KEYS];
    memset(have, -1, sizeof have);
    int hits = 0;
    for (int i = 0; i < 50000; i++) {
        int k = (int)(rnd() % KEYS);
        char key[16];
        snprintf(key, sizeof key, "key-%d", k);
        if (rnd() % 2) {
            put(c, str_of(key), 7, i, rnd() % 1000);
            have[k] = i;
        } else if (rnd() % 20 == 0) {
            cache_drop(c, str_of(key));
            have[k] = -1;
        } else {
            int got = value_of(cache_get(c, str_of(key), 7));
            assert_true(got == -1 || got == have[k]); /* absent or the newest, never an older one */
            hits += got >= 0;
        }
        assert_true(cache_bytes(c) <= CAP);
    }
    assert_true(hits > 1000);
    cache_free(c);
}

static void cache_spares_what_is_used(void **state)
{
    (void)state;
    struct cache *c = cache_new(20000);
    put(c, STR_LIT("hot"), 0, 1, 100);
    for (int i = 0; i < 1000; i++) {
        char key[16];
        snprintf(key, sizeof key, "cold-%d", i);
        put(c, str_of(key), 0, i, 1000);
        assert_int_equal(value_of(cache_get(c, STR_LIT("hot"), 0)), 1);
    }
    assert_null(cache_get(c, STR_LIT("cold-0"), 0));
    cache_free(c);
}

static void generations(void **state)
{
    (void)state;
    struct str a = STR_LIT("library/a");
    uint64_t g = gen_now(GEN_REPO, a), user = gen_now(GEN_USER, a);
    assert_true(g != GEN_BUSY && gen_now(GEN_REPO, a) == g);
    gen_begin(GEN_REPO, a);
    assert_true(gen_now(GEN_REPO, a) == GEN_BUSY);
    gen_begin(GEN_REPO, a); /* two writers */
    gen_end(GEN_REPO, a);
    assert_true(gen_now(GEN_REPO, a) == GEN_BUSY);
    gen_end(GEN_REPO, a);
    uint64_t after = gen_now(GEN_REPO, a);
    assert_true(after != GEN_BUSY && after != g);
    assert_true(gen_now(GEN_USER, a) == user); /* spaces do not mix */
}

/* A reader that caches under gen_now-before-read never serves an old value after a newer was seen. */
static _Atomic int truth, stop;
static void *write_truth(void *arg)
{
    (void)arg;
    for (int i = 1; i <= 200000; i++) {
        gen_begin(GEN_REPO, STR_LIT("race"));
        truth = i;
        gen_end(GEN_REPO, STR_LIT("race"));
    }
    stop = 1;
    return NULL;
}

static void generations_keep_facts_in_order(void **state)
{
    (void)state;
    pthread_t t;
    struct cache *c = cache_new(1 << 20);
    int last = 0, cached = 0;
    stop = 0;
    assert_int_equal(pthread_create(&t, NULL, write_truth, NULL), 0);
    while (!stop) {
        uint64_t g = gen_now(GEN_REPO, STR_LIT("race"));
        int v = value_of(cache_get(c, STR_LIT("race"), g));
        if (v >= 0) {
            cached++;
        } else {
            v = truth;
            if (g != GEN_BUSY)
                put(c, STR_LIT("race"), g, v, 10);
        }
        assert_true(v >= last);
        last = v;
    }
    pthread_join(t, NULL);
    cache_free(c);
    print_message("%d hits of the cache\n", cached);
}

static void hash_keys(void **state)
{
    (void)state;
    assert_true(hashkey(STR_LIT("a")) == hashkey(STR_LIT("a")) && hashkey(STR_LIT("a")) != hashkey(STR_LIT("b")));
    assert_true(hashkey((struct str){NULL, 0}) != hashkey(STR_LIT("\0")));
    uint64_t seen[64];
    char bytes[64] = {0};
    for (size_t n = 0; n < 64; n++) { /* every length counts */
        seen[n] = hashkey((struct str){bytes, n});
        for (size_t k = 0; k < n; k++)
            assert_true(seen[k] != seen[n]);
    }
}

/* --- logs */

static int saved = -1, log_fd = -1;

static void log_begin(enum log_level min, enum log_format format)
{
    char name[] = "/tmp/berth-log-XXXXXX";
    log_fd = mkstemp(name);
    assert_true(log_fd >= 0);
    unlink(name);
    fflush(stderr);
    saved = dup(STDERR_FILENO);
    dup2(log_fd, STDERR_FILENO);
    log_setup(min, format);
}

static struct str log_end(struct buf *b)
{
    dup2(saved, STDERR_FILENO);
    close(saved);
    struct stat st;
    assert_int_equal(fstat(log_fd, &st), 0);
    buf_init(b, 64 << 20);
    auto_free char *p = mem_alloc((size_t)st.st_size);
    assert_int_equal(pread(log_fd, p, (size_t)st.st_size, 0), st.st_size);
    buf_add(b, p, (size_t)st.st_size);
    close(log_fd);
    log_setup(LOG_INFO, LOG_AUTO);
    return buf_view(b);
}

/* T53: whatever the bytes, each record is one line, it parses, and nothing in it acts on a terminal. */
static void log_records_cannot_be_forged(void **state)
{
    (void)state;
    enum { RECORDS = 400 };
    for (int format = LOG_JSON; format <= LOG_HUMAN; format++) {
        struct buf b;
        log_begin(LOG_INFO, (enum log_format)format);
        for (int i = 0; i < RECORDS; i++) {
            static const char evil[] = "x\n{\"time\":\"2026\",\"level\":\"error\",\"msg\":\"forged\"}\r\n\x1b]0;t\x07\x9b" "31m\xc2\x9b" "2J\x7f \"=";
            char bytes[300];
            size_t n = i % 3 ? rnd() % sizeof bytes : sizeof evil - 1;
            for (size_t k = 0; k < n; k++)
                bytes[k] = i % 3 ? (char)rnd() : evil[k];
            struct str s = {bytes, n};
            log_line(i % 2 ? LOG_INFO : LOG_ERROR, "request", F_STR("agent", s), F_INT("n", i), F_STR("ref", s));
        }
        log_text(LOG_WARN, "text with %s", "a\nline\x1b[2J\xc2\x9b" "1m");
        struct str rest = log_end(&b), line;
        int lines = 0;
        while (str_split(&rest, '\n', &line) && (line.n > 0 || rest.n > 0)) {
            for (size_t k = 0; k < line.n; k++)
                assert_true((uint8_t)line.p[k] >= 0x20 && line.p[k] != 0x7f &&
                            !((uint8_t)line.p[k] == 0xc2 && (uint8_t)line.p[k + 1] < 0xa0));
            if (format == LOG_JSON) {
                json_t *j = json_loadb(line.p, line.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, NULL);
                assert_non_null(j);
                assert_true(json_is_string(json_object_get(j, "level")));
                assert_int_equal(json_integer_value(json_object_get(j, "n")), lines < RECORDS ? lines : 0);
                json_decref(j);
            } else {
                assert_true(line.n > 24 && line.p[4] == '-' && line.p[10] == ' ');
            }
            lines++;
        }
        assert_int_equal(lines, RECORDS + 1);
        buf_release(&b);
    }
}

static void log_fields_are_capped(void **state)
{
    (void)state;
    static char big[100000];
    struct buf b;
    memset(big, '\x01', sizeof big);
    struct str s = {big, sizeof big};
    log_begin(LOG_INFO, LOG_JSON);
    log_start();
    log_line(LOG_INFO, "long", F_STR("a", s), F_STR("b", s), F_STR("c", s), F_STR("d", s), F_STR("e", s), F_STR("f", s),
             F_STR("g", s), F_STR("h", s));
    memset(big, 'a', sizeof big);
    log_line(LOG_INFO, "long", F_STR("a", s), F_STR("b", s));
    log_stop();
    struct str rest = log_end(&b), line;
    assert_true(str_split(&rest, '\n', &line));
    assert_true(line.n > 8 * 4000 && line.n < 8 * 4200);
    assert_int_equal(strict(line, JSON_CAPS_DEFAULT), 0);
    assert_true(str_split(&rest, '\n', &line));
    assert_true(line.n > 2 * 2048 && line.n < 2 * 2048 + 200);
    assert_int_equal(strict(line, JSON_CAPS_DEFAULT), 0);
    assert_int_equal(rest.n, 0);
    buf_release(&b);
}

static void *log_much(void *arg)
{
    for (int i = 0; i < 500; i++)
        log_line(LOG_INFO, "line", F_INT("thread", *(int *)arg), F_INT("i", i));
    return NULL;
}

/* Lines of threads that ended before the flush are not lost, and each thread's stay in order. */
static void log_of_threads(void **state)
{
    (void)state;
    pthread_t t[4];
    int number[4], next[4] = {0};
    struct buf b;
    log_begin(LOG_INFO, LOG_JSON);
    log_start();
    for (int i = 0; i < 4; i++) {
        number[i] = i;
        assert_int_equal(pthread_create(&t[i], NULL, log_much, &number[i]), 0);
    }
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    log_line(LOG_DEBUG, "below the level", F_INT("thread", 9));
    log_stop();
    log_line(LOG_INFO, "after the stop", F_INT("thread", 9));
    struct str rest = log_end(&b), line;
    int lines = 0;
    while (str_split(&rest, '\n', &line) && line.n > 0) {
        json_t *j = json_loadb(line.p, line.n, 0, NULL);
        assert_non_null(j);
        json_int_t n = json_integer_value(json_object_get(j, "thread"));
        if (n < 4) {
            assert_int_equal(json_integer_value(json_object_get(j, "i")), next[n]);
            next[n]++;
        }
        json_decref(j);
        lines++;
    }
    assert_int_equal(lines, 2001);
    buf_release(&b);
    assert_true(log_enabled(LOG_INFO) && !log_enabled(LOG_DEBUG));
}

/* A reader that does not read: lines are dropped whole and counted, memory stays bounded. */
static void log_drops_whole_lines(void **state)
{
    (void)state;
    static char big[2048];
    struct buf b;
    memset(big, 'x', sizeof big);
    log_begin(LOG_INFO, LOG_JSON);
    log_start();
    for (int i = 0; i < 20000; i++) /* 40 MB against a 1 MiB buffer */
        log_line(LOG_INFO, "burst", F_STR("fill", ((struct str){big, sizeof big})), F_INT("i", i));
    log_stop();
    struct str rest = log_end(&b), line;
    json_int_t lines = 0, dropped = 0;
    while (str_split(&rest, '\n', &line) && line.n > 0) {
        json_t *j = json_loadb(line.p, line.n, 0, NULL);
        assert_non_null(j);
        if (json_object_get(j, "lines") != NULL)
            dropped += json_integer_value(json_object_get(j, "lines"));
        else
            lines++;
        json_decref(j);
    }
    assert_int_equal(lines + dropped, 20000);
    assert_true(lines > 100);
    buf_release(&b);
}

/* --- metrics and time */

static void *count_some(void *arg)
{
    (void)arg;
    for (int i = 0; i < 1000; i++)
        metric_add(METRIC_PULLS, 2);
    metric_observe(METRIC_HTTP_LATENCY, 100);
    metric_observe(METRIC_HTTP_LATENCY, 101);
    metric_observe(METRIC_HTTP_LATENCY, INT64_C(3600000000));
    metric_gauge_add(METRIC_HTTP_CONNS, 1);
    return NULL;
}

static void metrics_sum_up(void **state)
{
    (void)state;
    pthread_t t[4];
    struct buf b;
    count_some(NULL);
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, count_some, NULL), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(metric_value(METRIC_PULLS), 10000); /* ended threads count */
    assert_int_equal(metric_value(METRIC_HTTP_CONNS), 5);
    metric_set(METRIC_HTTP_CONNS, -3);
    assert_int_equal((int64_t)metric_value(METRIC_HTTP_CONNS), -3);
    buf_init(&b, 1 << 20);
    metric_render(&b);
    assert_false(b.overflow);
    assert_non_null(strstr(b.p, "\nberth_manifest_pulls_total 10000\n"));
    assert_non_null(strstr(b.p, "\nberth_http_connections -3\n"));
    assert_non_null(strstr(b.p, "_bucket{le=\"0.0001\"} 5\n"));
    assert_non_null(strstr(b.p, "_bucket{le=\"0.00025\"} 10\n"));
    assert_non_null(strstr(b.p, "_bucket{le=\"60\"} 10\n"));
    assert_non_null(strstr(b.p, "_bucket{le=\"+Inf\"} 15\n"));
    assert_non_null(strstr(b.p, "berth_http_request_duration_seconds_count 15\n"));
    /* one HELP and one TYPE for a family, before its samples; every line is a comment or a sample */
    struct str rest = buf_view(&b), line;
    char types[128][80];
    size_t n = 0;
    while (str_split(&rest, '\n', &line) && line.n > 0) {
        char name[80], kind[16];
        double v;
        char text[512];
        text_copy(text, sizeof text, line);
        if (sscanf(text, "# TYPE %79s %15s", name, kind) == 2) {
            for (size_t i = 0; i < n; i++)
                assert_string_not_equal(types[i], name);
            assert_true(n < ARRAY_LEN(types));
            snprintf(types[n++], sizeof types[0], "%s", name);
        } else if (line.p[0] != '#') {
            assert_true(n > 0 && strncmp(text, types[n - 1], strlen(types[n - 1])) == 0);
            assert_int_equal(sscanf(strrchr(text, ' '), " %lf", &v), 1);
        }
    }
    buf_release(&b);
}

static void times_as_text(void **state)
{
    (void)state;
    char text[64];
    memset(text, 'z', sizeof text);
    clock_rfc3339(text, INT64_C(784111777123456));
    assert_string_equal(text, "1994-11-06T08:49:37.123456Z");
    assert_int_equal(text[28], 'z');
    clock_http(text, INT64_C(784111777000000));
    assert_string_equal(text, "Sun, 06 Nov 1994 08:49:37 GMT"); /* RFC 9110 §5.6.7 */
    clock_rfc3339(text, 0);
    assert_string_equal(text, "1970-01-01T00:00:00.000000Z");
    clock_rfc3339(text, INT64_C(951782400000001));
    assert_string_equal(text, "2000-02-29T00:00:00.000001Z");
    clock_rfc3339(text, INT64_MAX); /* cut, never overrun */
    clock_http(text, INT64_MAX);
    int64_t a = clock_mono(), b = clock_mono();
    assert_true(b >= a && clock_now() > INT64_C(1700000000000000));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_grammar), cmocka_unit_test(json_caps_hold), cmocka_unit_test(json_agrees_with_jansson),
        cmocka_unit_test(cache_keeps_and_drops), cmocka_unit_test(cache_stays_below_its_cap),
        cmocka_unit_test(cache_spares_what_is_used), cmocka_unit_test(generations),
        cmocka_unit_test(generations_keep_facts_in_order), cmocka_unit_test(hash_keys),
        cmocka_unit_test(log_records_cannot_be_forged), cmocka_unit_test(log_fields_are_capped),
        cmocka_unit_test(log_of_threads), cmocka_unit_test(log_drops_whole_lines), cmocka_unit_test(metrics_sum_up),
        cmocka_unit_test(times_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
