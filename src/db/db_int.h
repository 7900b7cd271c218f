/* Private contract of the db room: what its files share with one another.
 *
 * Who owns what: db.c the object, the readers' pool and statements · writer.c the group-commit
 * thread · migrations.c the schema · bind.c whose it is · dump.c, load.c, check.c the whole database at once ·
 * db_sqlite.c, db_postgres.c (with pg_*.c) the two engines behind `struct db_engine`. */
#ifndef DB_DB_INT_H
#define DB_DB_INT_H
#include "db/db.h"

#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>

enum {
    DB_CURSORS = 4,             /* open at once in a transaction (db.h) */
    DB_PARAMS_MAX = 64,         /* of one statement */
    DB_BATCH_MAX = 128,         /* callbacks in one commit */
    DB_ATTEMPTS = 10,           /* runs of a batch before its callbacks go alone, or fail */
    DB_CLOSE_WAIT_US = 5000000 /* what a silent server may cost at shutdown */
};

struct db_engine;
/* First member of an engine's connection; used by one thread at a time. */
struct db_conn {
    struct db *db;
    struct db_conn *next; /* in the pool of idle readers */
    bool lost;            /* unusable for good: throw it away */
};

struct db_rows {
    struct db_tx *tx;
    void *p;       /* engine: statement or result */
    int64_t at, n; /* engine: row now, rows in all */
    bool open;
    bool stream; /* rows come one by one from the server; nothing else may run meanwhile */
};

struct db_tx {
    struct db *db;
    struct db_conn *conn;
    int broken;    /* error of a statement: the transaction can only be rolled back */
    bool returned; /* a row was seen: the callback must not silently run again */
    struct db_rows rows[DB_CURSORS];
};

enum db_role { DB_READER, DB_WRITER };

/* What an engine does. Functions with err return 0 or a negative code: ERR_RETRY means "run the
 * transaction again"; conn->lost tells that the connection went away in the call. */
struct db_engine {
    bool postgres;
    int (*connect)(struct db *db, enum db_role role, struct db_conn **ret, struct err *err);
    void (*disconnect)(struct db_conn *c);
    int (*begin)(struct db_conn *c, enum db_role role, struct err *err);
    /* ERR_IO: durability may be gone. ERR_UNAVAILABLE: nothing was done, or unknown (text). */
    int (*commit)(struct db_conn *c, struct err *err);
    void (*rollback)(struct db_conn *c);
    /* One named savepoint that moves: mark sets it here, giving up the older one. */
    int (*mark)(struct db_conn *c, struct err *err);
    int (*rewind)(struct db_conn *c, struct err *err); /* back to the mark, which stays */
    /* Text of several statements without parameters or rows, not kept prepared. */
    int (*script)(struct db_conn *c, const char *text, struct err *err);
    int (*exec)(struct db_conn *c, const char *sql, const struct db_value *args, size_t n,
                int64_t *ret_changed, struct err *err);
    int (*query)(struct db_conn *c, struct db_rows *rows, const char *sql,
                 const struct db_value *args, size_t n, struct err *err);
    int (*next)(struct db_rows *rows, struct err *err);
    void (*close)(struct db_rows *rows);
    int (*columns)(const struct db_rows *rows);
    int (*type)(const struct db_rows *rows, int column); /* DB_NULL, DB_INT, DB_TEXT, DB_BYTES */
    int64_t (*integer)(const struct db_rows *rows, int column);
    struct str (*text)(const struct db_rows *rows, int column);
    struct str (*bytes)(const struct db_rows *rows, int column);
    /* The writer's leisure: after the callers of a batch were woken. ERR_IO as for commit. */
    int (*idle)(struct db_conn *c, struct err *err);
    /* The engine's own integrity check; appends a line a fault, *faults counts them. */
    int (*check)(struct db_tx *tx, struct buf *report, int64_t *faults, struct err *err);
};
extern const struct db_engine db_engine_sqlite, db_engine_postgres;

struct db_job { /* a write; lives on its caller's stack */
    struct db_job *next;
    db_callback fn;
    void *arg;
    int rc;
    struct err err; /* meaningful when rc < 0 */
    sem_t done;     /* posted after the commit, as the last touch */
};

struct db {
    const struct db_engine *engine;
    char *dir, *path, *url; /* path: berth.db, url: PostgreSQL */
    int64_t version;
    _Atomic bool failed;
    _Atomic int64_t deadline; /* monotonic us after which waiting for a server ends; 0 none */

    pthread_mutex_t pool_lock;
    pthread_cond_t pool_free;
    struct db_conn *idle; /* last used first: its cache is warm */
    int readers, max_readers;

    struct { /* writer.c */
        pthread_t thread;
        bool started;
        pthread_mutex_t lock;
        pthread_cond_t some;
        struct db_job *head, **tail;
        bool stop;
        struct db_conn *conn;      /* the thread's own after the start */
        int64_t retry_at, backoff; /* monotonic us; reconnecting after a failure */
    } writer;
};

/* ---- db.c ---- */
void db_tx_init(struct db_tx *tx, struct db *db, struct db_conn *conn);
/* Runs fn; a statement that failed fails the callback even when it says otherwise. */
int db_tx_run(struct db_tx *tx, db_callback fn, void *arg, struct err *err);
/* As db_query; rows come one by one and no other statement runs until the close: flat memory. */
int db_stream(struct db_tx *tx, const char *sql, struct db_rows **ret, struct err *err);
int db_columns(const struct db_rows *rows);
int db_type(const struct db_rows *rows, int column);
/* An object with its writer connection and without the writer thread; schema untouched. */
int db_new(struct db **ret, const char *dir, const char *url, int max_readers, bool create,
           struct err *err);
void db_fail(struct db *db); /* durability was lost: no more writes */

/* ---- writer.c ---- */
void writer_init(struct db *db);
void writer_start(struct db *db);
void writer_stop(struct db *db); /* after the queue is empty; NULL-safe parts */
/* COMMIT between its two fault points, with what its failure means. */
int writer_commit(struct db *db, struct db_conn *c, struct err *err);

/* ---- migrations.c ---- */
struct db_schema { /* one migration, from the generated list: schema[0] is version 1 */
    const char *name, *text;
};
extern const struct db_schema db_schemas[];
extern const size_t db_schemas_n;
/* Runs migrations up to `target` on the writer's connection; each in a transaction of its own,
 * or all in the one that is open when `in_tx`. Sets db->version. */
int migrate(struct db *db, int64_t target, bool in_tx, struct err *err);
/* Version of the schema that is there; 0: none. */
int schema_read(struct db *db, int64_t *ret, struct err *err);
/* Tables of a schema version in the order in which they were created. id: the identity column or
 * empty. fn returns 0 to go on. */
struct db_table {
    struct str name, id;
};
int schema_tables(int64_t version, struct arena *a, struct db_table **ret, size_t *ret_n);

/* ---- bind.c ---- */
int bind_anew(struct db_tx *tx, struct str store_id, struct err *err);

/* ---- stmt.c: prepared statements by the pointer of their text ---- */
struct stmt_map {
    struct stmt_slot {
        const char *sql;
        void *stmt;
    } *slots;
    size_t n, size; /* size: a power of two, or 0 */
};
void *stmt_find(const struct stmt_map *m, const char *sql); /* NULL when absent */
void stmt_add(struct stmt_map *m, const char *sql, void *stmt);
void stmt_release(struct stmt_map *m, void (*free_one)(void *arg, void *stmt), void *arg);
/* $n -> ?n outside quotes and comments. Caller frees. */
char *stmt_rewrite(const char *sql);
#endif
