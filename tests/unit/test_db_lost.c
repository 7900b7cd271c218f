/* Lost connections, collisions and owners on PostgreSQL; injected failures of a commit on both. */
#include "db_box.h"

#include <stdatomic.h>
#include <sys/wait.h>

/* ---- PostgreSQL only ---- */
/* Programs may share the database, so only this box's connections go. */
static void kill_all(struct box *b)
{
    admin(b, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = '%s'",
          b->schema);
}

/* A read in a read in a read: as many connections. */
struct depth {
    struct box *box;
    int left;
};
static int read_deeper(struct db_tx *tx, void *arg, struct err *err)
{
    struct depth *d = arg;
    int64_t n = 0;
    int rc = db_one(tx, COUNT_USERS, DB_NO_ARGS, map_int, &n, err);
    return rc >= 0 && --d->left > 0 ? db_read(d->box->db, read_deeper, d, err) : rc;
}

static void test_pg_killed(void **state)
{
    START(b);
    box_open(&b);
    add_user(&b, "a");
    for (int i = 0; i < 3; i++) {
        struct depth d = {&b, 4};
        ok(&b, db_read(b.db, read_deeper, &d, &b.err));
        assert_int_equal(d.left, 0);
        assert_int_equal(number(&b, COUNT_USERS), 1 + i);
        kill_all(&b);
        assert_int_equal(number(&b, COUNT_USERS), 1 + i);
        kill_all(&b);
        add_user(&b, i == 0 ? "b" : i == 1 ? "c" : "d");
    }
    kill_all(&b);
    box_release(&b);
}

struct killer {
    struct box *box;
    int calls;
    const char *name;
};
static int killed_inside(struct db_tx *tx, void *arg, struct err *err)
{
    struct killer *k = arg;
    int rc = insert_user(tx, NAME(k->name), err);
    if (rc == 0 && k->calls++ == 0) {
        kill_all(k->box);
        rc = db_exec(tx, TOUCH_USER, DB_ARGS(DB_I(1)), NULL, err);
        assert_true(rc < 0);
    }
    return rc;
}

static int killed_after_a_row(struct db_tx *tx, void *arg, struct err *err)
{
    struct killer *k = arg;
    int64_t n = 0;
    k->calls++;
    int rc = db_one(tx, COUNT_USERS, DB_NO_ARGS, map_int, &n, err);
    kill_all(k->box);
    return rc < 0 ? rc : db_one(tx, COUNT_USERS, DB_NO_ARGS, map_int, &n, err);
}

static void test_pg_killed_inside(void **state)
{
    START(b);
    struct killer k = {&b, 0, "x"}, r = {&b, 0, NULL};
    box_open(&b);
    add_user(&b, "a");
    ok(&b, db_write(b.db, killed_inside, &k, &b.err));
    assert_int_equal(k.calls, 2);
    assert_int_equal(named(&b, "x"), 1);
    /* A read that has handed out a row is not run again behind its caller's back. */
    assert_int_equal(db_read(b.db, killed_after_a_row, &r, &b.err), ERR_UNAVAILABLE);
    assert_int_equal(r.calls, 1);
    box_release(&b);
}

static void make_trigger(struct box *b, const char *when, const char *body)
{
    admin(b, "CREATE SEQUENCE IF NOT EXISTS turns; CREATE FUNCTION %s.f() RETURNS trigger LANGUAGE "
             "plpgsql AS $f$ BEGIN %s RETURN NULL; END $f$; CREATE CONSTRAINT TRIGGER f AFTER INSERT "
             "ON accounts DEFERRABLE INITIALLY %s FOR EACH ROW EXECUTE FUNCTION %s.f()",
          b->schema, body, when, b->schema);
}

static void test_pg_lost_at_commit(void **state)
{
    START(b);
    box_open(&b);
    make_trigger(&b, "DEFERRED",
                 "IF NEW.name = 'bad' THEN PERFORM pg_terminate_backend(pg_backend_pid()); END IF;");
    struct caller c[] = {{.fn = insert_user, .arg = NAME("good")},
                         {.fn = insert_user, .arg = NAME("bad")},
                         {.fn = fail_bare}};
    one_batch(&b, c, ARRAY_LEN(c));
    assert_int_equal(c[0].rc, ERR_UNAVAILABLE);
    assert_int_equal(c[1].rc, ERR_UNAVAILABLE);
    assert_non_null(strstr(c[1].err.text, "outcome is unknown"));
    assert_int_equal(c[2].rc, ERR_DENIED);
    assert_false(db_failed(b.db));
    add_user(&b, "next");
    assert_int_equal(number(&b, COUNT_USERS), 1);
    box_release(&b);
}

static void pg_serialization(void **state, const char *when)
{
    START(b);
    box_open(&b);
    make_trigger(&b, when,
                 "IF NEW.name = 'twice' AND nextval('turns') <= 2 OR NEW.name = 'never' THEN "
                 "RAISE EXCEPTION 'collision' USING ERRCODE = '40001'; END IF;");
    uint64_t retries = metric_value(METRIC_DB_RETRIES);
    add_user(&b, "twice");
    assert_int_equal(metric_value(METRIC_DB_RETRIES) - retries, 2);
    assert_int_equal(db_write(b.db, insert_user, NAME("never"), &b.err), ERR_UNAVAILABLE);
    struct caller c[] = {{.fn = insert_user, .arg = NAME("u1")},
                         {.fn = insert_user, .arg = NAME("never")},
                         {.fn = insert_user, .arg = NAME("u2")}};
    one_batch(&b, c, ARRAY_LEN(c));
    assert_int_equal(c[0].rc, 0);
    assert_int_equal(c[1].rc, ERR_UNAVAILABLE);
    assert_int_equal(c[2].rc, 0);
    assert_int_equal(number(&b, COUNT_USERS), 3);
    box_release(&b);
}

static void test_pg_collision(void **state)
{
    pg_serialization(state, "IMMEDIATE");
}

static void test_pg_collision_at_commit(void **state)
{
    pg_serialization(state, "DEFERRED");
}

static void test_pg_owner(void **state)
{
    START(b);
    struct db *second = NULL;
    box_open(&b);
    assert_int_equal(db_open(&second, b.dir, b.url, 1, true, &b.err), ERR_UNAVAILABLE);
    assert_non_null(strstr(b.err.text, "another server"));
    assert_int_equal(number(&b, "SELECT 1 WHERE current_setting('synchronous_commit') = 'on'"), 1);
    box_reopen(&b); /* the lock goes with its owner */
    box_release(&b);
}

static void test_pg_refused(void **state)
{
    START(b);
    struct db *db = NULL;
    char url[600];
    (void)snprintf(url, sizeof url, "postgresql://u:secret%%zz@h/x");
    assert_int_equal(db_open(&db, b.dir, url, 1, true, &b.err), ERR_USAGE);
    assert_null(strstr(b.err.text, "secret"));
    (void)snprintf(url, sizeof url, "postgresql://u:secret@127.0.0.1:1/x");
    assert_int_equal(db_open(&db, b.dir, url, 1, true, &b.err), ERR_UNAVAILABLE);
    assert_null(strstr(b.err.text, "secret"));
    admin(&b, "CREATE DATABASE %s_latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' "
              "TEMPLATE template0", b.schema);
    (void)snprintf(url, sizeof url, "%s&dbname=%s_latin", b.url, b.schema);
    assert_int_equal(db_open(&db, b.dir, url, 1, true, &b.err), ERR_USAGE);
    assert_non_null(strstr(b.err.text, "LATIN1"));
    admin(&b, "DROP DATABASE %s_latin", b.schema);
    assert_null(db);
    box_release(&b);
}

static _Atomic bool entered;

static int insert_blocked(struct db_tx *tx, void *arg, struct err *err)
{
    atomic_store(&entered, true);
    return insert_user(tx, arg, err);
}

/* A server that does not answer: the close gives up after a while, the write hears of it. */
static void test_pg_blocked(void **state)
{
    START(b);
    box_open(&b);
    char sql[128];
    PGconn *c = admin_connect();
    (void)snprintf(sql, sizeof sql, "BEGIN; LOCK TABLE %s.accounts", b.schema);
    PQclear(PQexec(c, sql));
    struct caller w = {.box = &b, .fn = insert_blocked, .arg = NAME("x")};
    pthread_create(&w.thread, NULL, call_write, &w);
    while (!atomic_load(&entered)) /* taken by the writer: waiting for the lock, or about to */
        usleep(1000);
    usleep(50000);
    db_close(b.db);
    pthread_join(w.thread, NULL);
    b.db = NULL;
    assert_int_equal(w.rc, ERR_UNAVAILABLE);
    PQclear(PQexec(c, "ROLLBACK"));
    PQfinish(c);
    box_release(&b);
}
/* ---- faults ---- */
#ifdef BERTH_FAULTS
/* The plan is read once a process, so each runs in a child, before the parent has read its own. */
static int child_result(const char *plan, bool postgres, int (*fn)(struct box *))
{
    int status;
    pid_t pid = fork();
    if (pid == 0) {
        struct box b;
        setenv("BERTH_FAULT", plan, 1);
        box_init(&b, postgres);
        box_open(&b);
        int rc = fn(&b);
        box_release(&b);
        _exit(rc);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static int fault_full(struct box *b)
{
    add_user(b, "a");
    return db_write(b->db, insert_user, NAME("b"), &b->err) == ERR_STORAGE_FULL &&
                   !db_failed(b->db) && db_write(b->db, insert_user, NAME("b"), &b->err) == 0 &&
                   number(b, COUNT_USERS) == 2
               ? 42
               : 1;
}

static int fault_io(struct box *b)
{
    add_user(b, "a");
    return db_write(b->db, insert_user, NAME("b"), &b->err) == ERR_IO && db_failed(b->db) &&
                   db_write(b->db, insert_user, NAME("c"), &b->err) == ERR_READ_ONLY &&
                   number(b, COUNT_USERS) == 1
               ? 42
               : 1;
}

static int fault_after(struct box *b)
{
    add_user(b, "a");
    return db_write(b->db, insert_user, NAME("b"), &b->err) == ERR_IO && db_failed(b->db) &&
                   number(b, COUNT_USERS) == 2
               ? 42
               : 1;
}

static void test_faults(void **state)
{
    if (need_postgres(state))
        skip();
    bool pg = wants_postgres(state);
    assert_int_equal(child_result("fail:db.commit:2:28", pg, fault_full), 42);
    assert_int_equal(child_result("fail:db.commit:2:5", pg, fault_io), 42);
    assert_int_equal(child_result("fail:db.commit.done:2:5", pg, fault_after), 42);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
#ifdef BERTH_FAULTS
        BOTH(test_faults),
#endif
        POSTGRES(test_pg_killed),
        POSTGRES(test_pg_killed_inside),
        POSTGRES(test_pg_lost_at_commit),
        POSTGRES(test_pg_collision),
        POSTGRES(test_pg_collision_at_commit),
        POSTGRES(test_pg_owner),
        POSTGRES(test_pg_refused),
        POSTGRES(test_pg_blocked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
