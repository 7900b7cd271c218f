/* Configuration: precedence, units, bounds, and error texts that say where, what and what is allowed. */
#include "base/config.h"
#include "base/config_int.h"
#include "base/json.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static char dir[64], path[96];
static struct err err;

extern char **environ;

static int set_up(void **state)
{
    (void)state;
    for (char **e = environ; *e != NULL;) {
        char name[64];
        size_t n = strcspn(*e, "=");
        if (strncmp(*e, "BERTH_", 6) != 0 || n >= sizeof name) {
            e++;
            continue;
        }
        memcpy(name, *e, n);
        name[n] = '\0';
        unsetenv(name);
        e = environ;
    }
    unsetenv("CREDENTIALS_DIRECTORY");
    snprintf(dir, sizeof dir, "/tmp/berth-conf-XXXXXX");
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/berth.conf", dir);
    setenv("BERTH_DATA", dir, 1);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
    return system(cmd);
}

static void spill(const char *name, const char *text)
{
    char at[160];
    snprintf(at, sizeof at, "%s/%s", dir, name);
    FILE *f = fopen(at, "w");
    assert_non_null(f);
    fputs(text, f);
    fclose(f);
}

static struct config *load(const char *const *flags)
{
    struct config *c = NULL;
    int rc = config_load(&c, NULL, flags, &err);
    if (rc != 0)
        print_error("%s\n", err.text);
    assert_int_equal(rc, 0);
    return c;
}

/* The load fails with ERR_USAGE (ERR_NOT_FOUND: unknown key) and a text with each of the parts. */
static void refused(const char *file, const char *const *flags, const char *const *parts)
{
    struct config *c = NULL;
    int rc = config_load(&c, file, flags, &err);
    assert_true(rc == ERR_USAGE || rc == ERR_NOT_FOUND);
    assert_null(c);
    for (; *parts != NULL; parts++) {
        if (strstr(err.text, *parts) == NULL)
            print_error("\"%s\" is missing in \"%s\"\n", *parts, err.text);
        assert_non_null(strstr(err.text, *parts));
    }
}
#define REFUSED(file, flags, ...) refused(file, flags, (const char *const[]){__VA_ARGS__, NULL})
#define FLAGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static void defaults(void **state)
{
    (void)state;
    struct config *c = load(NULL);
    assert_string_equal(config_text(c, LISTEN), "127.0.0.1:5000");
    assert_int_equal(config_num(c, MAX_MANIFEST), 4 << 20);
    assert_int_equal(config_num(c, GC_DELAY), INT64_C(86400000000));
    assert_true(config_num(c, GC) == 1 && config_num(c, READ_ONLY) == 0);
    assert_int_equal(config_num(c, LOG_LEVEL), 1);
    assert_string_equal(c->origin[CONFIG_LISTEN], "default");
    assert_string_equal(c->origin[CONFIG_DATA], "environment");
    assert_string_equal(config_text(c, DATABASE), "");
    config_free(c);
    config_free(NULL);
}

static void who_wins(void **state)
{
    (void)state;
    spill("berth.conf", "# comment\n\nmax_header = 8K\nlog_level=warn\r\n  log-format =  \"json\"  \nadmin_user = \"from file\"\n"
                        "trusted_proxies =\n");
    setenv("BERTH_LOG_LEVEL", "error", 1);
    setenv("BERTH_MAX_HEADER", "12K", 1);
    struct config *c = load(FLAGS("--max-header=16384", "--gc=false"));
    char place[128];
    snprintf(place, sizeof place, "file %s:5", path);
    assert_int_equal(config_num(c, MAX_HEADER), 16384);
    assert_string_equal(c->origin[CONFIG_MAX_HEADER], "flag");
    assert_int_equal(config_num(c, LOG_LEVEL), 3);
    assert_string_equal(c->origin[CONFIG_LOG_LEVEL], "environment");
    assert_int_equal(config_num(c, LOG_FORMAT), 1);
    assert_string_equal(c->origin[CONFIG_LOG_FORMAT], place);
    assert_string_equal(config_text(c, ADMIN_USER), "from file");
    assert_string_equal(config_text(c, TRUSTED_PROXIES), "");
    assert_int_equal(config_num(c, GC), 0);
    config_free(c);
}

static void where_the_file_is(void **state)
{
    (void)state;
    struct config *c = NULL;
    char other[128];
    snprintf(other, sizeof other, "%s/other.conf", dir);
    spill("berth.conf", "log_level = debug\n");
    spill("other.conf", "log_level = error\n");
    c = load(NULL); /* DATA/berth.conf */
    assert_int_equal(config_num(c, LOG_LEVEL), 0);
    config_free(c);
    setenv("BERTH_CONFIG", other, 1);
    c = load(NULL);
    assert_int_equal(config_num(c, LOG_LEVEL), 3);
    config_free(c);
    assert_int_equal(config_load(&c, path, NULL, &err), 0); /* asked for by name */
    assert_int_equal(config_num(c, LOG_LEVEL), 0);
    config_free(c);
    REFUSED("/no/such/file.conf", NULL, "/no/such/file.conf", "does not exist");
    unsetenv("BERTH_CONFIG");
    setenv("BERTH_DATA", "/no/such/place", 1);
    snprintf(other, sizeof other, "--data=%s", dir); /* the flag's directory has the file */
    c = load(FLAGS(other));
    assert_int_equal(config_num(c, LOG_LEVEL), 0);
    config_free(c);
}

static void values(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        int index;
        int64_t want; /* -1: refused */
    } rows[] = {
        {"--max_upload=0", CONFIG_MAX_UPLOAD, 0}, {"--max_upload=5", CONFIG_MAX_UPLOAD, 5},
        {"--max_upload=1K", CONFIG_MAX_UPLOAD, 1024}, {"--max_upload=3M", CONFIG_MAX_UPLOAD, 3 << 20},
        {"--max_upload=2G", CONFIG_MAX_UPLOAD, INT64_C(2) << 30}, {"--max_upload=1T", CONFIG_MAX_UPLOAD, INT64_C(1) << 40},
        {"--max_upload=1048576T", CONFIG_MAX_UPLOAD, INT64_C(1) << 60}, {"--max_upload=1048577T", CONFIG_MAX_UPLOAD, -1},
        {"--max_upload=99999999999999999999", CONFIG_MAX_UPLOAD, -1}, {"--max_upload=16777216T", CONFIG_MAX_UPLOAD, -1},
        {"--max_upload=1k", CONFIG_MAX_UPLOAD, -1}, {"--max_upload=1KB", CONFIG_MAX_UPLOAD, -1},
        {"--max_upload=K", CONFIG_MAX_UPLOAD, -1}, {"--max_upload=-1", CONFIG_MAX_UPLOAD, -1},
        {"--max_upload=1.5G", CONFIG_MAX_UPLOAD, -1}, {"--max_upload=", CONFIG_MAX_UPLOAD, -1},
        {"--max_upload= 1", CONFIG_MAX_UPLOAD, -1}, {"--max_header=4095", CONFIG_MAX_HEADER, -1},
        {"--max_header=256K", CONFIG_MAX_HEADER, 262144}, {"--max_header=262145", CONFIG_MAX_HEADER, -1},
        {"--idle_timeout=90", CONFIG_IDLE_TIMEOUT, 90000000}, {"--idle_timeout=100ms", CONFIG_IDLE_TIMEOUT, 100000},
        {"--idle_timeout=99ms", CONFIG_IDLE_TIMEOUT, -1}, {"--idle_timeout=2m", CONFIG_IDLE_TIMEOUT, 120000000},
        {"--idle_timeout=24h", CONFIG_IDLE_TIMEOUT, INT64_C(86400000000)}, {"--idle_timeout=1d", CONFIG_IDLE_TIMEOUT, INT64_C(86400000000)},
        {"--idle_timeout=2d", CONFIG_IDLE_TIMEOUT, -1}, {"--idle_timeout=10S", CONFIG_IDLE_TIMEOUT, -1},
        {"--loops=256", CONFIG_LOOPS, 256}, {"--loops=257", CONFIG_LOOPS, -1}, {"--loops=1K", CONFIG_LOOPS, -1},
        {"--gc=true", CONFIG_GC, 1}, {"--gc=True", CONFIG_GC, -1}, {"--gc=1", CONFIG_GC, -1}, {"--gc=yes", CONFIG_GC, -1},
        {"--log_level=debug", CONFIG_LOG_LEVEL, 0}, {"--log_level=warning", CONFIG_LOG_LEVEL, -1}, {"--log_level=", CONFIG_LOG_LEVEL, -1},
        {"--log_level=debug|info", CONFIG_LOG_LEVEL, -1},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *c = NULL;
        int rc = config_load(&c, NULL, FLAGS(rows[i].flag), &err);
        if ((rc == 0) != (rows[i].want >= 0))
            print_error("%s: %s\n", rows[i].flag, rc ? err.text : "accepted");
        assert_int_equal(rc, rows[i].want < 0 ? ERR_USAGE : 0);
        if (rc == 0)
            assert_int_equal(c->v[rows[i].index].num, rows[i].want);
        config_free(c);
    }
}

static void addresses_and_urls(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        bool good;
    } rows[] = {
        {"--listen=0.0.0.0:80", true}, {"--listen=[::]:443,127.0.0.1:5000", true}, {"--listen=[::1]:65535", true},
        {"--listen=localhost:5000", false}, {"--listen=127.0.0.1", false}, {"--listen=:5000", false},
        {"--listen=1.2.3.4:65536", false}, {"--listen=1.2.3.4:", false}, {"--listen=1.2.3:80", false},
        {"--listen=127.0.0.1:80,", false}, {"--listen=", false}, {"--listen=1.2.3.4:80:80", false},
        {"--public_url=https://hub.example:8443", true}, {"--public_url=http://[::1]:5000", true}, {"--public_url=", true},
        {"--public_url=ftp://x", false}, {"--public_url=hub.example", false}, {"--public_url=https://", false},
        {"--public_url=https://a/b", false}, {"--public_url=https://u@h", false}, {"--public_url=https://a\r\nX: y", false},
        {"--trusted_proxies=10.0.0.0/8, 192.168.1.1,fd00::/8", true}, {"--trusted_proxies=10.0.0.0/33", false},
        {"--trusted_proxies=::/129", false}, {"--trusted_proxies=10.0.0/8", false}, {"--trusted_proxies=proxy", false},
        {"--trusted_proxies=10.0.0.0/", false}, {"--trusted_proxies=10.0.0.0/8,,", false},
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct config *c = NULL;
        int rc = config_load(&c, NULL, FLAGS(rows[i].flag), &err);
        if (rc != (rows[i].good ? 0 : ERR_USAGE))
            print_error("%s: %s\n", rows[i].flag, rc ? err.text : "accepted");
        assert_int_equal(rc, rows[i].good ? 0 : ERR_USAGE);
        config_free(c);
    }
}

static void errors_tell_where_and_what(void **state)
{
    (void)state;
    char place[128];
    snprintf(place, sizeof place, "file %s:3", path);
    spill("berth.conf", "\n# x\nlog_level = loud\n");
    REFUSED(NULL, NULL, place, "log_level", "\"loud\"", "debug|info|warn|error");
    spill("berth.conf", "\n\nmax_header = 1M\n");
    REFUSED(NULL, NULL, place, "max_header", "\"1M\"", "4K to 256K", "bytes");
    spill("berth.conf", "\n\nmax_headr = 8K\n");
    REFUSED(NULL, NULL, place, "unknown key \"max_headr\"", "did you mean \"max_header\"?");
    spill("berth.conf", "\n\nentirely_else = 8K\n");
    REFUSED(NULL, NULL, place, "unknown key \"entirely_else\"", "berth config --help");
    spill("berth.conf", "\n\njust words\n");
    REFUSED(NULL, NULL, place, "expected `key = value`");
    spill("berth.conf", "\n\nadmin_password = hunter22\n");
    REFUSED(NULL, NULL, place, "admin_password is a secret", "credential");
    assert_null(strstr(err.text, "hunter22"));
    spill("berth.conf", "");
    REFUSED(NULL, FLAGS("--log-level=loud"), "flag: log_level", "\"loud\"");
    REFUSED(NULL, FLAGS("--log-levle=info"), "flag: unknown key", "log_level");
    REFUSED(NULL, FLAGS("--gc"), "--key=value");
    REFUSED(NULL, FLAGS("--admin-password=hunter22"), "admin-password", "secrets are never flags");
    assert_null(strstr(err.text, "hunter22"));
    setenv("BERTH_GC", "maybe", 1);
    REFUSED(NULL, NULL, "environment: gc", "\"maybe\"", "true or false");
    unsetenv("BERTH_GC");
    setenv("BERTH_MAX_UPLAOD", "1", 1);
    REFUSED(NULL, NULL, "environment BERTH_MAX_UPLAOD", "max_upload");
    unsetenv("BERTH_MAX_UPLAOD");
    setenv("BERTH_gc", "false", 1); /* a variable of another case is not the key */
    REFUSED(NULL, NULL, "environment BERTH_gc");
    unsetenv("BERTH_gc");
    setenv("BERTH_DATABASE", "mysql://u:hunter22@h", 1);
    REFUSED(NULL, NULL, "database", "postgresql://");
    assert_null(strstr(err.text, "hunter22"));
    unsetenv("BERTH_DATABASE");
    REFUSED(NULL, FLAGS("--tls-cert=a.pem"), "tls_key is not set");
    REFUSED(NULL, FLAGS("--tls-cert=a", "--tls-key=b", "--tls-self-signed=true"), "exclude each other");
}

static void secrets(void **state)
{
    (void)state;
    char at[128];
    struct buf out;
    buf_init(&out, 1 << 20);
    spill("pw", "from a file\r\n\n");
    snprintf(at, sizeof at, "%s/pw", dir);
    setenv("BERTH_ADMIN_PASSWORD_FILE", at, 1);
    struct config *c = load(NULL);
    assert_string_equal(config_text(c, ADMIN_PASSWORD), "from a file");
    assert_string_equal(c->origin[CONFIG_ADMIN_PASSWORD], "file from BERTH_ADMIN_PASSWORD_FILE");
    config_print(c, false, &out);
    assert_null(strstr(out.p, "from a file\n"));
    assert_non_null(strstr(out.p, "********"));
    config_free(c);
    setenv("BERTH_ADMIN_PASSWORD", "also here", 1);
    REFUSED(NULL, NULL, "admin_password", "not both");
    unsetenv("BERTH_ADMIN_PASSWORD_FILE");
    c = load(NULL);
    assert_string_equal(config_text(c, ADMIN_PASSWORD), "also here");
    buf_reset(&out);
    config_print(c, true, &out);
    assert_null(strstr(out.p, "also here"));
    config_free(c);
    unsetenv("BERTH_ADMIN_PASSWORD");
    setenv("BERTH_ADMIN_PASSWORD_FILE", "/no/such/file", 1);
    REFUSED(NULL, NULL, "BERTH_ADMIN_PASSWORD_FILE", "/no/such/file", "does not exist");
    unsetenv("BERTH_ADMIN_PASSWORD_FILE");
    setenv("BERTH_GC_FILE", at, 1); /* only secrets come from files */
    REFUSED(NULL, NULL, "BERTH_GC_FILE");
    unsetenv("BERTH_GC_FILE");
    spill("berth.admin_password", "credential\n");
    setenv("CREDENTIALS_DIRECTORY", dir, 1);
    c = load(NULL);
    assert_string_equal(config_text(c, ADMIN_PASSWORD), "credential");
    assert_string_equal(c->origin[CONFIG_ADMIN_PASSWORD], "credential");
    config_free(c);
    setenv("BERTH_ADMIN_PASSWORD", "environment", 1); /* over the credential */
    c = load(NULL);
    assert_string_equal(config_text(c, ADMIN_PASSWORD), "environment");
    config_free(c);
    buf_release(&out);
}

/* What is printed can be read back and gives the same values. */
static void printed_values_read_back(void **state)
{
    (void)state;
    size_t n;
    const struct config_key *keys = config_keys(&n);
    assert_int_equal(n, CONFIG_COUNT);
    struct buf b;
    buf_init(&b, 4096);
    for (size_t k = 0; k < n; k++) {
        assert_int_equal(config_find(str_of(keys[k].name)), (int)k);
        assert_true(keys[k].help[0] != '\0' && keys[k].allowed[0] != '\0');
        if (keys[k].type == CONFIG_TEXT || keys[k].type == CONFIG_SECRET)
            continue;
        static const int64_t odd[] = {0, 1, 999, 1000, 1024, 1500000, 61000000, 3600000000, 90000000000, 1 << 20, 5000000000};
        for (size_t i = 0; i < ARRAY_LEN(odd) + 2; i++) {
            int64_t v = i < ARRAY_LEN(odd) ? odd[i] : i == ARRAY_LEN(odd) ? keys[k].min : keys[k].max, got = -1;
            if (keys[k].type == CONFIG_BOOL || keys[k].type == CONFIG_ENUM)
                v &= 1;
            else if (v < keys[k].min || v > keys[k].max || (keys[k].type == CONFIG_TIME && v % 1000 != 0))
                continue;
            buf_reset(&b);
            config_value_print(&keys[k], v, &b);
            int rc = config_value_check(&keys[k], buf_view(&b), "here", &got, &err);
            if (rc != 0 || got != v)
                print_error("%s: %lld printed as %s\n", keys[k].name, (long long)v, b.p);
            assert_true(rc == 0 && got == v);
        }
    }
    struct config *c = load(NULL);
    buf_release(&b);
    buf_init(&b, 1 << 20);
    config_print(c, true, &b);
    json_t *doc = NULL;
    assert_int_equal(json_strict(buf_view(&b), JSON_CAPS_DEFAULT, &doc, &err), 0);
    assert_int_equal(json_array_size(doc), CONFIG_COUNT);
    json_decref(doc);
    config_free(c);
    buf_release(&b);
    assert_int_equal(config_find(STR_LIT("max-header")), CONFIG_MAX_HEADER);
    assert_int_equal(config_find(STR_LIT("max_heade")), -1);
    assert_int_equal(config_find(STR_LIT("")), -1);
}

static void distances(void **state)
{
    (void)state;
    assert_int_equal(config_distance(STR_LIT("kitten"), STR_LIT("sitting")), 3);
    assert_int_equal(config_distance(STR_LIT(""), STR_LIT("abc")), 3);
    assert_int_equal(config_distance(STR_LIT("same"), STR_LIT("same")), 0);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        T(defaults), T(who_wins), T(where_the_file_is), T(values), T(addresses_and_urls), T(errors_tell_where_and_what),
        T(secrets), T(printed_values_read_back), T(distances),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
