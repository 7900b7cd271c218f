/* A place for one database, for the tests of the db room. PostgreSQL's half runs when
 * BERTH_TEST_DATABASE holds the URL of a database that the tests may fill (tests/lib/pg start DIR
 * prints one); each test works in a schema of its own. The URL's user must be a superuser. */
#ifndef UNIT_DB_BOX_H
#define UNIT_DB_BOX_H
#include "db/db_int.h"
#include "base/metric.h"
#include "memory.h"

#include <libpq-fe.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

/* ---- fixture: a place for one database ---- */
struct box {
    bool postgres;
    char dir[64], schema[64], url[512];
    struct db *db;
    struct err err;
};
static int box_count;

static inline PGconn *admin_connect(void)
{
    PGconn *c = PQconnectdb(getenv("BERTH_TEST_DATABASE"));
    if (PQstatus(c) != CONNECTION_OK)
        fail_msg("BERTH_TEST_DATABASE: %s", PQerrorMessage(c));
    PGresult *r = PQexec(c, "SET client_min_messages = error");
    PQclear(r);
    return c;
}

static inline void admin(const struct box *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static inline void admin(const struct box *b, const char *fmt, ...)
{
    char sql[4096], path[128];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(sql, sizeof sql, fmt, ap);
    va_end(ap);
    (void)snprintf(path, sizeof path, "SET search_path = %s", b->schema);
    PGconn *c = admin_connect();
    PQclear(PQexec(c, path));
    PGresult *r = PQexec(c, sql);
    if (PQresultStatus(r) != PGRES_COMMAND_OK && PQresultStatus(r) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", sql, PQerrorMessage(c));
    PQclear(r);
    PQfinish(c);
}

static inline void box_init(struct box *b, bool postgres)
{
    memset(b, 0, sizeof *b);
    b->postgres = postgres;
    (void)snprintf(b->dir, sizeof b->dir, "%s/berth-test-db-XXXXXX", memory_dir());
    assert_non_null(mkdtemp(b->dir));
    if (!postgres)
        return;
    const char *url = getenv("BERTH_TEST_DATABASE");
    (void)snprintf(b->schema, sizeof b->schema, "berth_test_%d_%d", (int)getpid(), ++box_count);
    (void)snprintf(b->url, sizeof b->url, "%s%coptions=-csearch_path%%3D%s&application_name=%s",
                   url, strchr(url, '?') ? '&' : '?', b->schema, b->schema);
    admin(b, "CREATE SCHEMA %s", b->schema);
}

static inline void box_release(struct box *b)
{
    char cmd[128];
    db_close(b->db);
    b->db = NULL;
    if (b->postgres)
        admin(b, "DROP SCHEMA %s CASCADE", b->schema);
    (void)snprintf(cmd, sizeof cmd, "rm -rf %s", b->dir);
    assert_int_equal(system(cmd), 0);
}

static inline void ok(const struct box *b, int rc)
{
    if (rc < 0)
        fail_msg("%s: %s", err_name(b->err.code), b->err.text);
}

static inline void box_open(struct box *b)
{
    ok(b, db_open(&b->db, b->dir, b->url, 4, true, &b->err));
}

static inline void box_reopen(struct box *b)
{
    db_close(b->db);
    b->db = NULL;
    box_open(b);
}

static inline bool wants_postgres(void **state)
{
    return *state != NULL;
}

static inline int need_postgres(void **state)
{
    if (wants_postgres(state) && getenv("BERTH_TEST_DATABASE") == NULL) {
        print_message("SKIP: BERTH_TEST_DATABASE is not set\n");
        return 1;
    }
    return 0;
}

#define START(b)                                                                                   \
    struct box b;                                                                                  \
    if (need_postgres(state))                                                                      \
        skip();                                                                                    \
    box_init(&b, wants_postgres(state))
static inline char *path_of(const struct box *b, const char *name)
{
    static char path[128];
    (void)snprintf(path, sizeof path, "%s/%s", b->dir, name);
    return path;
}

/* ---- small statements ---- */
#define NAME(s) ((void *)(uintptr_t)(s)) /* constants as callback arguments */
static const char INSERT_USER[] =
    "INSERT INTO accounts (name, pw_hash, role, state, epoch, created_at) VALUES ($1, '', 0, 0, 0, 0)";
static const char COUNT_USERS[] = "SELECT count(*) FROM accounts";
static const char COUNT_NAMED[] = "SELECT count(*) FROM accounts WHERE name = $1";

static inline void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

static inline int insert_user(struct db_tx *tx, void *arg, struct err *err)
{
    return db_exec(tx, INSERT_USER, DB_ARGS(DB_T(str_of(arg))), NULL, err);
}

static inline int insert_user_and_fail(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = insert_user(tx, arg, err);
    return rc < 0 ? rc : err_set(err, ERR_QUOTA, "no room for %s", (const char *)arg);
}

static const char TOUCH_USER[] = "UPDATE accounts SET epoch = epoch + 1 WHERE id = $1";
static inline int fail_bare(struct db_tx *tx, void *arg, struct err *err)
{
    (void)tx, (void)arg, (void)err;
    return ERR_DENIED;
}

struct number {
    const char *sql;
    int64_t n;
};
static inline int read_number(struct db_tx *tx, void *arg, struct err *err)
{
    struct number *q = arg;
    return db_one(tx, q->sql, DB_NO_ARGS, map_int, &q->n, err);
}

static inline int64_t number(struct box *b, const char *sql)
{
    struct number q = {sql, -1};
    ok(b, db_read(b->db, read_number, &q, &b->err));
    return q.n;
}

static inline int count_named(struct db_tx *tx, void *arg, struct err *err)
{
    struct number *q = arg;
    return db_one(tx, COUNT_NAMED, DB_ARGS(DB_T(str_of(q->sql))), map_int, &q->n, err);
}

static inline int64_t named(struct box *b, const char *name)
{
    struct number q = {name, -1};
    ok(b, db_read(b->db, count_named, &q, &b->err));
    return q.n;
}

#define add_user(b, name) ok(b, db_write((b)->db, insert_user, NAME(name), &(b)->err))

static inline int run_text(struct db_tx *tx, void *arg, struct err *err)
{
    return db_exec(tx, arg, DB_NO_ARGS, NULL, err);
}
#define run(b, sql) ok(b, db_write((b)->db, run_text, NAME(sql), &(b)->err))
/* ---- one batch of many callers ---- */
struct gate {
    sem_t entered, open;
};
static inline int wait_at_gate(struct db_tx *tx, void *arg, struct err *err)
{
    (void)tx, (void)err;
    struct gate *g = arg;
    sem_post(&g->entered);
    sem_wait(&g->open);
    return 0;
}

struct caller {
    struct box *box;
    db_callback fn;
    void *arg;
    int rc;
    struct err err;
    pthread_t thread;
};
static inline void *call_write(void *arg)
{
    struct caller *c = arg;
    c->rc = db_write(c->box->db, c->fn, c->arg, &c->err);
    return NULL;
}

static inline size_t queued(struct db *db)
{
    size_t n = 0;
    pthread_mutex_lock(&db->writer.lock);
    for (const struct db_job *j = db->writer.head; j != NULL; j = j->next)
        n++;
    pthread_mutex_unlock(&db->writer.lock);
    return n;
}

/* Holds the writer in one callback until all of the callers wait in its queue: one batch. */
static inline void one_batch(struct box *b, struct caller *callers, size_t n)
{
    struct gate g;
    sem_init(&g.entered, 0, 0);
    sem_init(&g.open, 0, 0);
    struct caller first = {.box = b, .fn = wait_at_gate, .arg = &g};
    pthread_create(&first.thread, NULL, call_write, &first);
    sem_wait(&g.entered);
    for (size_t i = 0; i < n; i++) {
        callers[i].box = b;
        pthread_create(&callers[i].thread, NULL, call_write, &callers[i]);
        while (queued(b->db) <= i)
            usleep(500);
    }
    sem_post(&g.open);
    pthread_join(first.thread, NULL);
    for (size_t i = 0; i < n; i++)
        pthread_join(callers[i].thread, NULL);
    assert_int_equal(first.rc, 0);
    sem_destroy(&g.entered);
    sem_destroy(&g.open);
}

/* ---- rows of the test list ---- */
#define BOTH(f)                                                                                    \
    {#f " (SQLite)", f, NULL, NULL, NULL},                                                         \
    {                                                                                              \
        #f " (PostgreSQL)", f, NULL, NULL, box_postgres                                             \
    }
#define SQLITE(f)                                                                                  \
    {                                                                                              \
        #f, f, NULL, NULL, NULL                                                                    \
    }
#define POSTGRES(f)                                                                                \
    {                                                                                              \
        #f, f, NULL, NULL, box_postgres                                                             \
    }
static char box_postgres[] = "PostgreSQL";
#endif
