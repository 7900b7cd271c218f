/* The database: SQLite (WAL, synchronous=FULL) or PostgreSQL 15 (SERIALIZABLE), one text for
 * each statement on both.
 *
 * Statements are named constants in *_sql.c with parameters $1..$n (rewritten to ?n for SQLite);
 * they are prepared once for each connection, keyed by the POINTER of the text, so a statement
 * must be a string constant. Reads run in a snapshot on a pooled connection of the calling thread's
 * choice; writes are callbacks handed to ONE group-commit thread: a savepoint each, one commit for
 * the batch, callers wake after the commit is on stable storage. A write callback may run more than
 * once (serialization failure, reconnect): it must depend only on its argument, set outputs afresh
 * each time, and do nothing that cannot be undone outside the database.
 *
 * The server that opens the database owns it: SQLite by the data directory's lock (app),
 * PostgreSQL by an advisory lock held on the writer's connection (lost connection: writes fail
 * until it is taken again; another owner: ERR_UNAVAILABLE). A schema newer than this binary is
 * refused. SQLite is a file `berth.db`. */
#ifndef DB_DB_H
#define DB_DB_H
#include "base/err.h"

struct db;
struct db_tx; /* a running transaction; valid only inside the callback */

/* url: "" for SQLite at `dir`/berth.db, else postgresql://...; runs outstanding migrations, each in
 * one transaction. max_readers: pooled read connections (opened lazily). Without `create` one that
 * is absent or empty stays so: ERR_NOT_FOUND. */
int db_open(struct db **ret, const char *dir, const char *url, int max_readers, bool create,
            struct err *err);
/* Binds the database to the store of this id, for good, unless it is bound to it; ERR_USAGE when it
 * belongs to another, whose files its rows name: every file of this one would look like an orphan. */
int db_bind(struct db *db, struct str store_id, struct err *err);
void db_close(struct db *db);                    /* waits for queued writes */
bool db_is_postgres(const struct db *db);
int64_t db_schema_version(const struct db *db);
int64_t db_schema_newest(void);

typedef int (*db_callback)(struct db_tx *tx, void *arg, struct err *err);
/* Snapshot read on the calling thread; blocks for a pooled connection. Returns fn's result. fn may
 * run twice when it had seen no row yet (lost connection). */
int db_read(struct db *db, db_callback fn, void *arg, struct err *err);
/* Durable when it returns 0 or more (fn's result). A negative result of fn rolls back that callback
 * only; so does a statement that failed, whatever fn returns. A failed UNIQUE is ERR_EXISTS.
 * ERR_UNAVAILABLE when the database is away (PostgreSQL): nothing was committed, or the outcome is
 * unknown (connection lost at COMMIT; err->text says so). */
int db_write(struct db *db, db_callback fn, void *arg, struct err *err);
/* True once a commit failed in a way that may have lost durability (EIO on SQLite): the
 * database refuses writes from then on (D3). */
bool db_failed(const struct db *db);

/* Parameters. Text and bytes are borrowed until the call returns; of a query, until its rows are closed. */
struct db_value {
    enum { DB_NULL, DB_INT, DB_TEXT, DB_BYTES } type;
    int64_t i;
    struct str s;
};
#define DB_I(v) ((struct db_value){DB_INT, (int64_t)(v), {NULL, 0}})
#define DB_T(v) ((struct db_value){DB_TEXT, 0, (v)})
#define DB_B(v) ((struct db_value){DB_BYTES, 0, (v)})
#define DB_N ((struct db_value){DB_NULL, 0, {NULL, 0}})
#define DB_ARGS(...) (const struct db_value[]){__VA_ARGS__},                                        \
                     sizeof((const struct db_value[]){__VA_ARGS__}) / sizeof(struct db_value)
#define DB_NO_ARGS NULL, 0

/* Runs a statement without rows; *ret_changed (may be NULL) = rows changed. */
int db_exec(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n,
            int64_t *ret_changed, struct err *err);
/* Runs a query; rows are streamed. At most 4 cursors open in a transaction; db_rows_close always
 * (auto_rows does it). */
struct db_rows;
int db_query(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n,
             struct db_rows **ret, struct err *err);
int db_next(struct db_rows *rows, struct err *err);      /* 1 a row, 0 the end, negative an error */
int64_t db_int(const struct db_rows *rows, int column);          /* NULL gives 0 */
struct str db_text(const struct db_rows *rows, int column);      /* borrowed until the next db_next */
struct str db_bytes(const struct db_rows *rows, int column);     /* likewise */
bool db_is_null(const struct db_rows *rows, int column);
void db_rows_close(struct db_rows *rows);
void db_rows_cleanup(struct db_rows **rows);
#define auto_rows __attribute__((cleanup(db_rows_cleanup)))
/* One row wanted: 1 and calls map, 0 none, negative error. */
typedef void (*db_map)(const struct db_rows *row, void *out);
int db_one(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n, db_map map,
           void *out, struct err *err);

/* Whole-database dump for backup: one JSON line a row, {"t":table,"r":[...]} (bytes as
 * {"b":base64}, text that is no UTF-8 as {"x":base64}), tables in an order that satisfies their
 * references, all in one snapshot, first line {"schema":N}, last line {"rows":COUNT} (so a cut-off
 * dump is noticed). Lines come without a newline. Portable between the engines. sink returns 0 or a
 * negative code. */
typedef int (*db_dump_sink)(void *arg, struct str line, struct err *err);
int db_dump(struct db *db, db_dump_sink sink, void *arg, struct err *err);
/* Loads such lines into an empty database of schema N <= newest, migrates, and binds it to store_id; next() gives 1 and a
 * line, 0 at the end. One transaction: all or nothing. ERR_EXISTS: not empty; ERR_INVALID: no dump. */
typedef int (*db_load_next)(void *arg, struct str *ret_line, struct err *err);
int db_load(const char *dir, const char *url, struct str store_id, db_load_next next, void *arg, struct err *err);
/* Engine's own integrity check (PRAGMA integrity_check + foreign_key_check; reference queries).
 * 0 sound, 1 faults (a line each in the report), negative: could not be checked. */
int db_check(struct db *db, struct buf *report, struct err *err);
#endif
