/* The database room: schema, values, failures, batches, cursors and the pool, on both engines; and
 * what is SQLite's own: its file, its log, a full or failing disk. */
#include "db_box.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/stat.h>

/* ---- schema ---- */
static void test_open(void **state)
{
    START(b);
    box_open(&b);
    assert_int_equal(db_schema_version(b.db), db_schema_newest());
    assert_int_equal(db_is_postgres(b.db), b.postgres);
    add_user(&b, "ann");
    box_reopen(&b);
    assert_int_equal(number(&b, COUNT_USERS), 1);
    assert_int_equal(number(&b, "SELECT count(*) FROM schema_version"), db_schema_newest());
    box_release(&b);
}

static void test_newer_schema(void **state)
{
    START(b);
    char newest[32];
    box_open(&b);
    run(&b, "INSERT INTO schema_version (version, applied_at) VALUES (4711, 0)");
    db_close(b.db);
    b.db = NULL;
    assert_int_equal(db_open(&b.db, b.dir, b.url, 4, true, &b.err), ERR_USAGE);
    (void)snprintf(newest, sizeof newest, "(%lld)", (long long)db_schema_newest());
    assert_non_null(strstr(b.err.text, "4711"));
    assert_non_null(strstr(b.err.text, newest));
    assert_null(b.db);
    box_release(&b);
}

static void test_tables(void **state)
{
    (void)state;
    static const char *const want[] = {"users",     "namespaces", "repos",         "blobs",
                                       "repo_blobs", "manifests", "manifest_refs", "tags",
                                       "uploads",   "gc_queue",   "trash",         "events"};
    struct arena a;
    struct db_table *tables;
    size_t n;
    arena_init(&a);
    schema_tables(1, &a, &tables, &n);
    assert_int_equal(n, ARRAY_LEN(want));
    for (size_t i = 0; i < n; i++)
        assert_true(str_is(tables[i].name, want[i]));
    assert_true(str_is(tables[0].id, "id"));
    assert_int_equal(tables[3].id.n, 0);
    assert_true(str_is(tables[11].id, "seq"));
    arena_release(&a);
}

static void test_rewrite(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a $1 b $12", "a ?1 b ?12"},
        {"'$1' \"$2\" $3", "'$1' \"$2\" ?3"},
        {"-- $1\n$2", "-- $1\n?2"},
        {"'it''s $1' $2", "'it''s $1' ?2"},
        {"$ $a $1", "$ $a ?1"},
        {"'open $1", "'open $1"},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *text = stmt_rewrite(cases[i][0]);
        assert_string_equal(text, cases[i][1]);
        free(text);
    }
}

/* An id is never given again, not even when the newest row goes. */
static void test_ids(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "a");
    add_user(&b, "b");
    int64_t last = number(&b, "SELECT max(id) FROM accounts");
    run(&b, "DELETE FROM accounts WHERE name = 'b'");
    add_user(&b, "c");
    assert_true(number(&b, "SELECT max(id) FROM accounts") > last);
    box_release(&b);
}
/* ---- values ---- */
static const char VALUES_TABLE[] =
    "CREATE TABLE vals (id BIGINT PRIMARY KEY, i BIGINT, t TEXT, b BYTEA)";
static const char VALUES_INSERT[] = "INSERT INTO vals (b, t, i, id) VALUES ($4, $3, $2, $1)";
static const char VALUES_SELECT[] = "SELECT i, t, b FROM vals WHERE id = $1";

struct value_case {
    int64_t id;
    struct db_value i, t, b;
    struct box *box;
};

static int put_values(struct db_tx *tx, void *arg, struct err *err)
{
    const struct value_case *v = arg;
    int64_t changed = 0;
    int rc = db_exec(tx, VALUES_INSERT, DB_ARGS(DB_I(v->id), v->i, v->t, v->b), &changed, err);
    assert_int_equal(changed, 1);
    return rc;
}

static int get_values(struct db_tx *tx, void *arg, struct err *err)
{
    const struct value_case *v = arg;
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, VALUES_SELECT, DB_ARGS(DB_I(v->id)), &rows, err);
    if (rc < 0 || (rc = db_next(rows, err)) != 1)
        return ERR_DB;
    const struct db_value *want[] = {&v->i, &v->t, &v->b};
    for (int c = 0; c < 3; c++)
        assert_int_equal(db_is_null(rows, c), want[c]->type == DB_NULL);
    assert_true(db_int(rows, 0) == v->i.i);
    assert_true(str_eq(db_text(rows, 1), v->t.s));
    assert_true(str_eq(db_bytes(rows, 2), v->b.s));
    assert_int_equal(db_next(rows, err), 0);
    assert_int_equal(db_next(rows, err), 0);
    return 0;
}

static void test_values(void **state)
{
    START(b);
    box_open(&b);
    run(&b, VALUES_TABLE);
    size_t n = 3 << 20;
    char *big = mem_alloc(n);
    for (size_t i = 0; i < n; i++)
        big[i] = (char)(i * 7);
    struct value_case cases[] = {
        {1, DB_N, DB_N, DB_N, &b},
        {2, DB_I(0), DB_T(((struct str){NULL, 0})), DB_B(((struct str){NULL, 0})), &b},
        {3, DB_I(INT64_MAX), DB_T(STR_LIT("gr\xc3\xbc\xc3\x9f 'x' \"y\" \\ $1")),
         DB_B(((struct str){"\0\xff\\x00'", 7})), &b},
        {4, DB_I(INT64_MIN), DB_T(STR_LIT("")), DB_B(STR_LIT("")), &b},
        {5, DB_I(-1), DB_N, DB_B(((struct str){big, n})), &b},
        {6, DB_N, DB_T(STR_LIT("x")), DB_N, &b},
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        ok(&b, db_write(b.db, put_values, &cases[i], &b.err));
        ok(&b, db_read(b.db, get_values, &cases[i], &b.err));
    }
    assert_int_equal(number(&b, "SELECT count(*) FROM vals WHERE t IS NULL"), 2);
    assert_int_equal(number(&b, "SELECT count(*) FROM vals WHERE b IS NULL"), 2);
    assert_int_equal(number(&b, "SELECT sum(id * 100000000001) FROM vals"), 2100000000021);
    assert_int_equal(number(&b, "SELECT sum(-id) FROM vals"), -21);
    assert_int_equal(number(&b, "SELECT 7"), 7);
    free(big);
    box_release(&b);
}
/* ---- failures ---- */
static int swallow(struct db_tx *tx, void *arg, struct err *err)
{
    (void)err;
    struct err mine;
    int rc = insert_user(tx, arg, &mine);
    assert_int_equal(rc, ERR_EXISTS);
    assert_int_equal(insert_user(tx, NAME("other"), &mine), ERR_EXISTS);
    return 0;
}

static int give_seven(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = insert_user(tx, arg, err);
    return rc < 0 ? rc : 7;
}

static void test_failing(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "ann");
    assert_int_equal(db_write(b.db, insert_user, NAME("ann"), &b.err), ERR_EXISTS);
    assert_int_equal(b.err.code, ERR_EXISTS);
    assert_int_equal(db_write(b.db, insert_user_and_fail, NAME("bob"), &b.err),
                     ERR_QUOTA);
    assert_string_equal(b.err.text, "no room for bob");
    assert_int_equal(db_write(b.db, fail_bare, NULL, &b.err), ERR_DENIED);
    assert_int_equal(b.err.code, ERR_DENIED);
    assert_int_equal(db_read(b.db, fail_bare, NULL, NULL), ERR_DENIED);
    assert_int_equal(
        db_write(b.db, run_text, NAME(
                     "INSERT INTO repos (namespace_id, name, public, created_at) VALUES (77, 'x', 0, 0)"),
                 &b.err),
        ERR_DB);
    assert_int_equal(db_write(b.db, run_text, NAME("SELEC 1"), &b.err), ERR_DB);
    /* A statement that failed fails the callback, whatever that says. */
    assert_int_equal(db_write(b.db, swallow, NAME("ann"), &b.err), ERR_EXISTS);
    assert_int_equal(number(&b, COUNT_USERS), 1);
    /* Success leaves the error alone and passes the callback's result on. */
    struct err err = {.code = 12345};
    assert_int_equal(db_write(b.db, give_seven, NAME("cid"), &err), 7);
    assert_int_equal(err.code, 12345);
    box_release(&b);
}
/* ---- batches ---- */
static void test_batch(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "ann");
    uint64_t commits = metric_value(METRIC_DB_COMMITS), writes = metric_value(METRIC_DB_WRITES);
    struct caller c[] = {
        {.fn = insert_user, .arg = NAME("u1")},  {.fn = insert_user_and_fail, .arg = NAME("f1")},
        {.fn = insert_user, .arg = NAME("ann")}, {.fn = fail_bare},
        {.fn = insert_user, .arg = NAME("u2")},  {.fn = insert_user, .arg = NAME("u1")},
        {.fn = swallow, .arg = NAME("ann")},     {.fn = insert_user, .arg = NAME("u3")},
    };
    static const int want[] = {0, ERR_QUOTA, ERR_EXISTS, ERR_DENIED, 0, ERR_EXISTS, ERR_EXISTS, 0};
    one_batch(&b, c, ARRAY_LEN(c));
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        if (c[i].rc != want[i])
            fail_msg("caller %zu: %d, want %d", i, c[i].rc, want[i]);
    }
    assert_string_equal(c[1].err.text, "no room for f1");
    assert_int_equal(metric_value(METRIC_DB_COMMITS) - commits, 2); /* the gate's and the batch's */
    assert_int_equal(metric_value(METRIC_DB_WRITES) - writes, 4);
    box_reopen(&b);
    assert_int_equal(number(&b, COUNT_USERS), 4);
    assert_int_equal(named(&b, "u1") + named(&b, "u2") + named(&b, "u3"), 3);
    assert_int_equal(named(&b, "f1"), 0);
    box_release(&b);
}

/* More than one batch holds. */
static void test_long_queue(void **state)
{
    START(b);
    box_open(&b);
    enum { N = DB_BATCH_MAX + 20 };
    static struct caller c[N];
    static char names[N][16];
    memset(c, 0, sizeof c);
    for (int i = 0; i < N; i++) {
        (void)snprintf(names[i], sizeof names[i], "user%d", i);
        c[i].fn = insert_user;
        c[i].arg = names[i];
    }
    uint64_t commits = metric_value(METRIC_DB_COMMITS);
    one_batch(&b, c, N);
    for (int i = 0; i < N; i++)
        assert_int_equal(c[i].rc, 0);
    assert_int_equal(metric_value(METRIC_DB_COMMITS) - commits, 3);
    assert_int_equal(number(&b, COUNT_USERS), N);
    box_release(&b);
}

enum { THREADS = 16, EACH = 40 };
static void *write_many(void *arg)
{
    struct caller *c = arg;
    char name[32];
    for (int i = 0; i < EACH && c->rc == 0; i++) {
        (void)snprintf(name, sizeof name, "t%ld-%d", (long)(c - (struct caller *)c->arg), i);
        c->rc = db_write(c->box->db, insert_user, name, &c->err);
    }
    return NULL;
}

static void test_threads(void **state)
{
    START(b);
    box_open(&b);
    struct caller c[THREADS];
    memset(c, 0, sizeof c);
    uint64_t commits = metric_value(METRIC_DB_COMMITS), writes = metric_value(METRIC_DB_WRITES);
    for (int i = 0; i < THREADS; i++) {
        c[i].box = &b;
        c[i].arg = c;
        pthread_create(&c[i].thread, NULL, write_many, &c[i]);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(c[i].thread, NULL);
        assert_int_equal(c[i].rc, 0);
    }
    commits = metric_value(METRIC_DB_COMMITS) - commits;
    assert_int_equal(metric_value(METRIC_DB_WRITES) - writes, THREADS * EACH);
    print_message("%d writes in %d commits\n", THREADS * EACH, (int)commits);
    assert_true(commits <= THREADS * EACH);
    box_reopen(&b);
    assert_int_equal(number(&b, COUNT_USERS), THREADS * EACH);
    box_release(&b);
}
/* ---- reading ---- */
static const char LIST[] = "SELECT id, name FROM accounts WHERE id > $1 ORDER BY id";

static int nest(struct db_tx *tx, int depth, int64_t after, int64_t *visits, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(after)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        int64_t id = db_int(rows, 0);
        ++*visits;
        if (depth > 1)
            rc = nest(tx, depth - 1, id, visits, err);
        assert_int_equal(db_int(rows, 0), id); /* the inner ones did not move this one */
    }
    return rc;
}

static int nested(struct db_tx *tx, void *arg, struct err *err)
{
    *(int64_t *)arg = 0;
    return nest(tx, DB_CURSORS, 0, arg, err);
}

static int touch_each(struct db_tx *tx, void *arg, struct err *err)
{
    int64_t ids[8];
    size_t n = 0;
    struct db_rows *rows = NULL;
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(0)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1 && n < ARRAY_LEN(ids)) {
        ids[n++] = db_int(rows, 0);
        int64_t changed = 0;
        if (n == 2 && (rc = db_exec(tx, TOUCH_USER, DB_ARGS(DB_I(ids[0])), &changed, err)) == 0)
            *(int64_t *)arg += changed;
        if (n == 3)
            break; /* closed early */
    }
    db_rows_cleanup(&rows);
    return rc < 0 ? rc : 0;
}

static void test_cursors(void **state)
{
    START(b);
    int64_t visits = 0, changed = 0;
    box_open(&b);
    add_user(&b, "a");
    add_user(&b, "b");
    add_user(&b, "c");
    add_user(&b, "d");
    ok(&b, db_read(b.db, nested, &visits, &b.err));
    assert_int_equal(visits, 4 + 6 + 4 + 1);
    ok(&b, db_write(b.db, touch_each, &changed, &b.err));
    assert_int_equal(changed, 1);
    assert_int_equal(number(&b, "SELECT sum(epoch) FROM accounts"), 1);
    box_release(&b);
}

static int snapshot(struct db_tx *tx, void *arg, struct err *err)
{
    struct box *b = arg;
    int64_t before = -1, after = -1;
    int rc = db_one(tx, COUNT_USERS, DB_NO_ARGS, map_int, &before, err);
    add_user(b, "meanwhile");
    if (rc >= 0)
        rc = db_one(tx, COUNT_USERS, DB_NO_ARGS, map_int, &after, err);
    assert_int_equal(before, after);
    return rc;
}

static int write_in_read(struct db_tx *tx, void *arg, struct err *err)
{
    return db_exec(tx, INSERT_USER, DB_ARGS(DB_T(str_of(arg))), NULL, err);
}

static void test_snapshot(void **state)
{
    START(b);
    box_open(&b);
    ok(&b, db_read(b.db, snapshot, &b, &b.err));
    assert_int_equal(number(&b, COUNT_USERS), 1); /* a read that starts later sees it */
    assert_true(db_read(b.db, write_in_read, NAME("x"), &b.err) < 0);
    assert_int_equal(number(&b, COUNT_USERS), 1);
    box_release(&b);
}

static void *read_many(void *arg)
{
    struct caller *c = arg;
    for (int i = 0; i < 100 && c->rc >= 0; i++) {
        struct number q = {COUNT_USERS, -1};
        c->rc = db_read(c->box->db, read_number, &q, &c->err);
        if (q.n != 1)
            c->rc = ERR_INTERNAL;
    }
    return NULL;
}

static void test_pool(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "a");
    struct caller c[12];
    memset(c, 0, sizeof c);
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        c[i].box = &b;
        pthread_create(&c[i].thread, NULL, read_many, &c[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(c); i++) {
        pthread_join(c[i].thread, NULL);
        assert_true(c[i].rc >= 0);
    }
    assert_true(b.db->readers >= 1 && b.db->readers <= 4);
    box_release(&b);
}
/* ---- SQLite only ---- */
static void test_file(void **state)
{
    START(b);
    struct stat st;
    box_open(&b);
    assert_int_equal(stat(path_of(&b, "berth.db"), &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(number(&b, "SELECT synchronous FROM pragma_synchronous"), 2);
    assert_int_equal(number(&b, "SELECT foreign_keys FROM pragma_foreign_keys"), 1);
    box_release(&b);
    assert_int_equal(db_open(&b.db, "/nonexistent/dir", "", 1, true, &b.err), ERR_IO);
}

/* The log of the database is written back while nobody reads: it stays small however much is
 * written. */
static int rewrite(struct db_tx *tx, void *arg, struct err *err)
{
    return db_exec(tx, "UPDATE vals SET b = $1 WHERE id = 1", DB_ARGS(DB_B(*(struct str *)arg)),
                   NULL, err);
}

static void test_wal_bounded(void **state)
{
    START(b);
    static char big[400000];
    struct stat st;
    struct str bytes = {big, sizeof big};
    box_open(&b);
    run(&b, VALUES_TABLE);
    run(&b, "INSERT INTO vals (id) VALUES (1)");
    for (int i = 0; i < 200; i++) { /* 80 MB */
        memset(big, i, sizeof big);
        ok(&b, db_write(b.db, rewrite, &bytes, &b.err));
    }
    assert_int_equal(stat(path_of(&b, "berth.db-wal"), &st), 0);
    assert_true(st.st_size > 0 && st.st_size < 24 << 20);
    box_release(&b);
}

static int fill_up(struct db_tx *tx, void *arg, struct err *err)
{
    static char big[1000000];
    return db_exec(tx, "INSERT INTO vals (id, b) VALUES ($1, $2)",
                   DB_ARGS(DB_I(*(int64_t *)arg), DB_B(((struct str){big, sizeof big}))), NULL,
                   err);
}

static void test_full(void **state)
{
    START(b);
    int64_t id = 5;
    box_open(&b);
    run(&b, VALUES_TABLE);
    run(&b, "PRAGMA max_page_count = 80");
    struct caller c[] = {{.fn = insert_user, .arg = NAME("u1")},
                         {.fn = fill_up, .arg = &id},
                         {.fn = insert_user, .arg = NAME("u2")}};
    one_batch(&b, c, ARRAY_LEN(c));
    assert_int_equal(c[0].rc, 0);
    assert_int_equal(c[1].rc, ERR_STORAGE_FULL);
    assert_int_equal(c[2].rc, 0);
    assert_false(db_failed(b.db));
    run(&b, "PRAGMA max_page_count = 100000");
    ok(&b, db_write(b.db, fill_up, &id, &b.err));
    assert_int_equal(number(&b, COUNT_USERS), 2);
    box_release(&b);
}

/* A write that fails with an I/O error: the caller hears it, nothing is written any more, reads go
 * on, and what was promised is there after a restart. */
static void io_error(void **state, const char *prepare)
{
    START(b);
    int64_t id = 1;
    struct rlimit old, small;
    box_open(&b);
    run(&b, VALUES_TABLE);
    run(&b, prepare);
    add_user(&b, "before");
    (void)signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    small = (struct rlimit){300000, old.rlim_max};
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    int rc = db_write(b.db, fill_up, &id, &b.err);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    assert_int_equal(rc, ERR_IO);
    assert_true(db_failed(b.db));
    assert_int_equal(db_write(b.db, insert_user, NAME("after"), &b.err), ERR_READ_ONLY);
    assert_int_equal(number(&b, COUNT_USERS), 1);
    box_reopen(&b);
    assert_false(db_failed(b.db));
    add_user(&b, "after");
    assert_int_equal(number(&b, COUNT_USERS), 2);
    assert_int_equal(number(&b, "SELECT count(*) FROM vals"), 0);
    box_release(&b);
}
static void test_io_error(void **state)
{
    io_error(state, "PRAGMA cache_size = -8192"); /* the commit fails */
}

static void test_io_error_early(void **state)
{
    io_error(state, "PRAGMA cache_size = 10"); /* the statement fails, as its pages go out early */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        SQLITE(test_tables),
        SQLITE(test_rewrite),
        BOTH(test_open),
        BOTH(test_newer_schema),
        BOTH(test_ids),
        BOTH(test_values),
        BOTH(test_failing),
        BOTH(test_batch),
        BOTH(test_long_queue),
        BOTH(test_threads),
        BOTH(test_cursors),
        BOTH(test_snapshot),
        BOTH(test_pool),
        SQLITE(test_file),
        SQLITE(test_wal_bounded),
        SQLITE(test_full),
        SQLITE(test_io_error),
        SQLITE(test_io_error_early),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
