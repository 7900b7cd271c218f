/* The whole database at once: dump, load and check, from each engine into the other. */
#include "db_box.h"

#include <fcntl.h>
#include <sqlite3.h>

/* ---- dump and load ---- */
struct lines {
    char **v;
    size_t n, at;
};
static int keep_line(void *arg, struct str line, struct err *err)
{
    (void)err;
    struct lines *l = arg;
    l->v = mem_realloc(l->v, size_mul(l->n + 1, sizeof *l->v));
    l->v[l->n++] = mem_strndup(line.p, line.n);
    return 0;
}

static int next_line(void *arg, struct str *ret, struct err *err)
{
    (void)err;
    struct lines *l = arg;
    if (l->at == l->n)
        return 0;
    *ret = str_of(l->v[l->at++]);
    return 1;
}

static void lines_release(struct lines *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->v[i]);
    free(l->v);
    *l = (struct lines){NULL, 0, 0};
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static void dump(struct box *b, struct lines *l)
{
    ok(b, db_dump(b->db, keep_line, l, &b->err));
    l->at = 0;
}

static void assert_same(const struct lines *a, const struct lines *b)
{
    assert_int_equal(a->n, b->n);
    char **x = mem_alloc(a->n * sizeof *x), **y = mem_alloc(a->n * sizeof *y);
    memcpy(x, a->v, a->n * sizeof *x);
    memcpy(y, b->v, b->n * sizeof *y);
    qsort(x, a->n, sizeof *x, by_text);
    qsort(y, b->n, sizeof *y, by_text);
    for (size_t i = 0; i < a->n; i++)
        assert_string_equal(x[i], y[i]);
    free(x);
    free(y);
}

/* Plain statements that both engines read alike; bytes come as parameters. */
static int fill_rows(struct db_tx *tx, void *arg, struct err *err)
{
    static const char *const rows[] = {
        "INSERT INTO accounts (id, name, pw_hash, role, state, epoch, created_at) VALUES (41, 'ann', "
        "'$argon2id$x', 1, 0, 9223372036854775807, 5)",
        "INSERT INTO namespaces (id, name, owner_id, created_at) VALUES (7, 'ann', 41, 1)",
        "INSERT INTO namespaces (id, name, owner_id, created_at) VALUES (8, 'library', NULL, 1)",
        "INSERT INTO repos (id, namespace_id, name, public, created_at) VALUES (3, 7, "
        "'ann/gr\xc3\xbc\xc3\x9f\"\\', 1, -9223372036854775807)",
        "INSERT INTO events (at, kind, actor_id, repo_id, data) VALUES (1, 'x', 0, 0, "
        "'{\"a\":\"\n\"}')",
    };
    (void)arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(rows); i++)
        rc = db_exec(tx, rows[i], DB_NO_ARGS, NULL, err);
    if (rc == 0)
        rc = db_exec(tx, "INSERT INTO manifests (repo_id, digest, media_type, artifact_type, subject, "
                         "annotations, size, created_at, bytes) VALUES (3, $1, 'm', '', $2, '', 4, 0, $3)",
                     DB_ARGS(DB_B(((struct str){"\1\0\xff", 3})), DB_N, DB_B(((struct str){"a\0b\n", 4}))),
                     NULL, err);
    if (rc == 0)
        rc = db_exec(tx, "INSERT INTO trash (digest, size, unlink_after) VALUES ($1, 0, 0)",
                     DB_ARGS(DB_B(STR_LIT(""))), NULL, err);
    for (int i = 0; rc == 0 && i < 2500; i++)
        rc = db_exec(tx, "INSERT INTO gc_queue (kind, repo_id, digest, review_after, reviews, event) "
                         "VALUES (1, $1, $2, 0, 0, 'upload')",
                     DB_ARGS(DB_I(i), DB_B(STR_LIT("\1xyz"))), NULL, err);
    return rc;
}

/* state's engine -> the other one (if there is) -> back: the same lines. */
static void test_dump(void **state)
{
    START(b);
    struct box other;
    struct lines one = {NULL, 0, 0}, two = {NULL, 0, 0};
    box_open(&b);
    ok(&b, db_write(b.db, fill_rows, NULL, &b.err));
    ok(&b, db_bind(b.db, STR_LIT("one"), &b.err));
    run(&b, "UPDATE plans SET pulls = 7 WHERE name = 'free'"); /* rows that migrations bring come from the dump */
    run(&b, "DELETE FROM plans WHERE name = 'pro'");
    dump(&b, &one);
    char first[32];
    (void)snprintf(first, sizeof first, "{\"schema\":%lld}", (long long)db_schema_newest());
    assert_string_equal(one.v[0], first);
    assert_string_equal(one.v[one.n - 1], "{\"rows\":2512}"); /* 5 of them are the shipped plans */
    box_init(&other, !b.postgres && getenv("BERTH_TEST_DATABASE") != NULL);
    ok(&other, db_load(other.dir, other.url, STR_LIT("two"), next_line, &one, &other.err));
    box_open(&other);
    /* Bound to its new store, and to no other. */
    assert_int_equal(db_bind(other.db, STR_LIT("one"), &other.err), ERR_USAGE);
    ok(&other, db_bind(other.db, STR_LIT("two"), &other.err));
    run(&other, "UPDATE store SET id = 'one'");
    dump(&other, &two);
    assert_same(&one, &two);
    /* Identities go on behind the loaded ids. */
    add_user(&other, "new");
    assert_true(number(&other, "SELECT id FROM accounts WHERE name = 'new'") > 41);
    run(&other, "INSERT INTO events (at, kind, actor_id, repo_id, data) VALUES (1, 'y', 0, 0, '')");
    assert_int_equal(number(&other, "SELECT count(*) FROM events"), 2);
    box_release(&other);
    lines_release(&one);
    lines_release(&two);
    box_release(&b);
}

static void test_dump_odd_text(void **state)
{
    (void)state;
    struct box b, c;
    struct lines one = {NULL, 0, 0}, two = {NULL, 0, 0};
    box_init(&b, false);
    box_init(&c, false);
    box_open(&b);
    add_user(&b, "bad \xff\xc0\x80 text");
    add_user(&b, "\xed\xa0\x80");
    ok(&b, db_bind(b.db, STR_LIT("one"), &b.err));
    dump(&b, &one);
    ok(&c, db_load(c.dir, "", STR_LIT("one"), next_line, &one, &c.err));
    box_open(&c);
    assert_int_equal(named(&c, "bad \xff\xc0\x80 text"), 1);
    dump(&c, &two);
    assert_same(&one, &two);
    lines_release(&one);
    lines_release(&two);
    box_release(&b);
    box_release(&c);
}

/* A dump of each older schema comes up to the newest. */
static void test_load_older(void **state)
{
    for (int64_t v = 1; v < db_schema_newest(); v++) {
        START(b);
        struct lines l = {NULL, 0, 0};
        char first[64];
        snprintf(first, sizeof first, "{\"schema\":%lld}", (long long)v);
        (void)keep_line(&l, str_of(first), NULL);
        (void)keep_line(&l, STR_LIT("{\"t\":\"trash\",\"r\":[{\"b\":\"AQ==\"},4711,0]}"), NULL);
        (void)keep_line(&l, STR_LIT("{\"rows\":1}"), NULL);
        ok(&b, db_load(b.dir, b.url, STR_LIT("s"), next_line, &l, &b.err));
        box_open(&b);
        assert_int_equal(db_schema_version(b.db), db_schema_newest());
        assert_int_equal(number(&b, "SELECT size FROM trash"), 4711);
        ok(&b, db_bind(b.db, STR_LIT("s"), &b.err));
        lines_release(&l);
        box_release(&b);
    }
}

static void expect_no_load(struct box *b, const char *const *lines, size_t n, int want)
{
    struct lines l = {NULL, 0, 0};
    for (size_t i = 0; i < n; i++)
        (void)keep_line(&l, str_of(lines[i]), NULL);
    int rc = db_load(b->dir, b->url, STR_LIT("s"), next_line, &l, &b->err);
    if (rc != want)
        fail_msg("%s: %d (%s), want %d", lines[n - 1], rc, b->err.text, want);
    lines_release(&l);
}
#define NO_LOAD(b, want, ...)                                                                      \
    expect_no_load(b, (const char *const[]){__VA_ARGS__},                                          \
                   sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *), want)

static void test_load_refused(void **state)
{
    START(b);
    static const char user[] = "{\"t\":\"users\",\"r\":[1,\"a\",\"\",0,0,0,0]}";
    static const char schema[] = "{\"schema\":1}";
    NO_LOAD(&b, ERR_INVALID, "");
    NO_LOAD(&b, ERR_INVALID, user);
    NO_LOAD(&b, ERR_INVALID, "{\"schema\":0}");
    NO_LOAD(&b, ERR_USAGE, "{\"schema\":4711}");
    NO_LOAD(&b, ERR_INVALID, schema, user); /* cut off */
    NO_LOAD(&b, ERR_INVALID, schema, user, "{\"rows\":2}");
    NO_LOAD(&b, ERR_INVALID, schema, user, "{\"rows\":1}", user);
    NO_LOAD(&b, ERR_INVALID, schema, "{\"t\":\"pg_class\",\"r\":[1]}", "{\"rows\":1}");
    NO_LOAD(&b, ERR_INVALID, schema, "{\"t\":\"users\",\"r\":[]}", "{\"rows\":1}");
    NO_LOAD(&b, ERR_INVALID, schema, user, "{\"t\":\"users\",\"r\":[1,2]}", "{\"rows\":2}");
    NO_LOAD(&b, ERR_INVALID, schema, "{\"t\":\"trash\",\"r\":[{\"b\":\"%\"},0,0]}", "{\"rows\":1}");
    NO_LOAD(&b, ERR_INVALID, schema, "{\"t\":\"trash\",\"r\":[{\"q\":\"\"},0,0]}", "{\"rows\":1}");
    NO_LOAD(&b, ERR_EXISTS, schema, user, user, "{\"rows\":2}");
    NO_LOAD(&b, 0, schema, user, "{\"rows\":1}"); /* nothing was left behind by all that */
    NO_LOAD(&b, ERR_EXISTS, schema, "{\"rows\":0}");
    box_open(&b);
    assert_int_equal(number(&b, COUNT_USERS), 1);
    box_release(&b);
}

static int stop_at_3(void *arg, struct str line, struct err *err)
{
    (void)line;
    return ++*(int *)arg == 3 ? err_set(err, ERR_IO, "the sink is full") : 0;
}

static void test_dump_stopped(void **state)
{
    START(b);
    int lines = 0;
    box_open(&b);
    ok(&b, db_write(b.db, fill_rows, NULL, &b.err));
    assert_int_equal(db_dump(b.db, stop_at_3, &lines, &b.err), ERR_IO);
    assert_int_equal(lines, 3);
    assert_string_equal(b.err.text, "the sink is full");
    assert_int_equal(number(&b, COUNT_USERS), 1); /* the connection serves on */
    box_release(&b);
}
/* ---- check ---- */
static void break_reference(struct box *b)
{
    if (b->postgres) {
        admin(b, "ALTER TABLE accounts DISABLE TRIGGER ALL; DELETE FROM accounts WHERE id = 41");
        return;
    }
    sqlite3 *h;
    char path[96];
    (void)snprintf(path, sizeof path, "%s/berth.db", b->dir);
    assert_int_equal(sqlite3_open(path, &h), SQLITE_OK);
    assert_int_equal(sqlite3_exec(h, "DELETE FROM accounts WHERE id = 41", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(h);
}

static void test_check(void **state)
{
    START(b);
    struct buf report;
    buf_init(&report, 1 << 20);
    box_open(&b);
    ok(&b, db_write(b.db, fill_rows, NULL, &b.err));
    assert_int_equal(db_check(b.db, &report, &b.err), 0);
    assert_int_equal(report.n, 0);
    run(&b, "UPDATE manifests SET size = 5");
    assert_int_equal(db_check(b.db, &report, &b.err), 1);
    assert_non_null(strstr(report.p, "1 manifests whose size"));
    run(&b, "UPDATE manifests SET size = 4");
    buf_reset(&report);
    break_reference(&b);
    assert_int_equal(db_check(b.db, &report, &b.err), 1);
    assert_non_null(strstr(report.p, "foreign key"));
    assert_non_null(strstr(report.p, "namespaces"));
    buf_release(&report);
    box_release(&b);
}
static void test_damaged_file(void **state)
{
    START(b);
    struct buf report;
    buf_init(&report, 1 << 20);
    box_open(&b);
    ok(&b, db_write(b.db, fill_rows, NULL, &b.err));
    db_close(b.db);
    b.db = NULL;
    int fd = open(path_of(&b, "berth.db"), O_RDWR);
    char junk[4096];
    memset(junk, 0x5a, sizeof junk);
    off_t size = lseek(fd, 0, SEEK_END);
    off_t at = size / 4096 / 2 * 4096;
    char *page = mem_alloc(4096);
    while (at < size && pread(fd, page, 4096, at) == 4096 && memmem(page, 4096, "xyzupload", 9) == NULL)
        at += 4096;
    assert_true(at < size); /* a page of the long table's rows */
    free(page);
    assert_int_equal(pwrite(fd, junk, sizeof junk, at), sizeof junk);
    close(fd);
    box_open(&b);
    int rc = db_check(b.db, &report, &b.err);
    assert_true(rc == 1 || rc == ERR_DB);
    struct lines l = {NULL, 0, 0};
    assert_int_equal(db_dump(b.db, keep_line, &l, &b.err), ERR_DB);
    lines_release(&l);
    add_user(&b, "still"); /* what is whole serves on */
    buf_release(&report);
    box_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        BOTH(test_dump),
        BOTH(test_load_older),
        BOTH(test_load_refused),
        BOTH(test_dump_stopped),
        SQLITE(test_dump_odd_text),
        BOTH(test_check),
        SQLITE(test_damaged_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
