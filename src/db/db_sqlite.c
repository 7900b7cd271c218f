/* SQLite behind `struct db_engine`: WAL, synchronous=FULL, one writer connection and a pool of
 * readers on one file.
 *
 * Not memory-mapped: a read error of the disk would be SIGBUS instead of an error code. Readers
 * keep 2 MiB of pages each, the kernel's page cache does the rest. */
#include "db/db_int.h"
#include "base/fault.h"

#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>

enum {
    BUSY_MS = 1000,
    READER_CACHE_KIB = 2048,
    WRITER_CACHE_KIB = 8192,
    CHECKPOINT_FRAMES = 4000, /* of 4 KiB: one block of the WAL's index, so look-ups stay short */
    CHECKPOINT_AGAIN = 1000,  /* further frames before another try, when readers held it up */
    RESTART_FRAMES = 16384,   /* 64 MiB: now wait for readers, or the file grows without end */
    RESTART_WAIT_MS = 100
};

enum fixed { BEGIN_READ, BEGIN_WRITE, COMMIT, ROLLBACK, MARK, RELEASE, REWIND, FIXED_COUNT };
static const char *const fixed_text[FIXED_COUNT] = {
    [BEGIN_READ] = "BEGIN",       [BEGIN_WRITE] = "BEGIN IMMEDIATE", [COMMIT] = "COMMIT",
    [ROLLBACK] = "ROLLBACK",      [MARK] = "SAVEPOINT job",          [RELEASE] = "RELEASE job",
    [REWIND] = "ROLLBACK TO job",
};

struct stmt {
    sqlite3_stmt *h;
    bool busy; /* an open cursor is on it */
    bool temp; /* a second cursor on the same text: gone with the cursor */
};
struct conn {
    struct db_conn base;
    sqlite3 *h;
    enum db_role role;
    bool marked;
    struct stmt_map map;
    sqlite3_stmt *fixed[FIXED_COUNT];
    int frames, checkpoint_at; /* of the WAL */
};

static struct conn *conn_of(struct db_conn *c)
{
    return (struct conn *)c;
}

/* ---- errors ---- */
static bool is_read_error(int code)
{
    return code == SQLITE_IOERR_READ || code == SQLITE_IOERR_SHORT_READ ||
           code == SQLITE_IOERR_NOMEM || code == SQLITE_IOERR_FSTAT ||
           code == SQLITE_IOERR_SHMMAP || code == SQLITE_IOERR_SHMOPEN ||
           code == SQLITE_IOERR_LOCK || code == SQLITE_IOERR_RDLOCK;
}

static int io_error(struct conn *c, int code, const char *what, struct err *err)
{
    int sys = sqlite3_system_errno(c->h);
    bool synced = code == SQLITE_IOERR_FSYNC || code == SQLITE_IOERR_DIR_FSYNC;
    if ((sys == ENOSPC || sys == EDQUOT) && !synced)
        return err_set(err, ERR_STORAGE_FULL, "database: %.48s: no space left", what);
    /* The writer could not write: what the kernel holds of the file may be incomplete. */
    if (c->role == DB_WRITER && !is_read_error(code))
        db_fail(c->base.db);
    (void)err_set(err, ERR_IO, "database: %.48s: %s (%d, errno %d)", what, sqlite3_errmsg(c->h),
                  code, sys);
    if (err != NULL)
        err->sys = sys;
    return ERR_IO;
}

static int fail(struct conn *c, const char *what, struct err *err)
{
    int code = sqlite3_extended_errcode(c->h), rc = ERR_DB;
    switch (code & 0xff) {
    case SQLITE_IOERR:
        return io_error(c, code, what, err);
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
    case SQLITE_PROTOCOL:
        rc = ERR_RETRY;
        break;
    case SQLITE_FULL:
        rc = ERR_STORAGE_FULL;
        break;
    case SQLITE_NOMEM:
        rc = ERR_UNAVAILABLE;
        break;
    case SQLITE_READONLY:
        rc = ERR_READ_ONLY;
        break;
    case SQLITE_CONSTRAINT:
        if (code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY ||
            code == SQLITE_CONSTRAINT_ROWID)
            rc = ERR_EXISTS;
        break;
    default:
        break;
    }
    return err_set(err, rc, "database: %.48s: %s", what, sqlite3_errmsg(c->h));
}

/* ---- connections ---- */
static void configure_once(void)
{
    /* Statistics of memory cost a global lock in every allocation. */
    (void)sqlite3_config(SQLITE_CONFIG_MEMSTATUS, 0);
}

static int on_wal(void *arg, sqlite3 *h, const char *name, int frames)
{
    (void)h;
    (void)name;
    struct conn *c = arg;
    if (frames < c->frames)
        c->checkpoint_at = CHECKPOINT_FRAMES; /* it started again from its beginning */
    c->frames = frames;
    return SQLITE_OK;
}

static int script(struct db_conn *base, const char *text, struct err *err)
{
    struct conn *c = conn_of(base);
    return sqlite3_exec(c->h, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(c, "script", err);
}

static int enter_wal(struct conn *c, struct err *err)
{
    sqlite3_stmt *s = NULL;
    int rc = 0;
    if (sqlite3_prepare_v2(c->h, "PRAGMA journal_mode=WAL", -1, &s, NULL) != SQLITE_OK ||
        sqlite3_step(s) != SQLITE_ROW)
        rc = fail(c, "journal_mode", err);
    else if (strcmp((const char *)sqlite3_column_text(s, 0), "wal") != 0)
        rc = err_set(err, ERR_DB, "database: WAL is not possible on the file system of %s",
                     c->base.db->path);
    sqlite3_finalize(s);
    return rc;
}

static int set_up(struct conn *c, struct err *err)
{
    char text[256];
    bool writer = c->role == DB_WRITER;
    sqlite3_busy_timeout(c->h, BUSY_MS);
    (void)sqlite3_db_config(c->h, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    (void)snprintf(text, sizeof text,
                   "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF; PRAGMA mmap_size=0; "
                   "PRAGMA cache_size=-%d; PRAGMA foreign_keys=ON; PRAGMA synchronous=FULL; %s",
                   writer ? WRITER_CACHE_KIB : READER_CACHE_KIB,
                   writer ? "PRAGMA page_size=4096; PRAGMA journal_size_limit=67108864"
                          : "PRAGMA query_only=ON");
    int rc = script(&c->base, text, err);
    if (rc == 0 && writer && (rc = enter_wal(c, err)) == 0) {
        c->checkpoint_at = CHECKPOINT_FRAMES;
        (void)sqlite3_wal_hook(c->h, on_wal, c);
    }
    for (int i = 0; rc == 0 && i < FIXED_COUNT; i++) {
        if (sqlite3_prepare_v3(c->h, fixed_text[i], -1, SQLITE_PREPARE_PERSISTENT, &c->fixed[i],
                               NULL) != SQLITE_OK)
            rc = fail(c, fixed_text[i], err);
    }
    return rc;
}

static void free_stmt(void *arg, void *stmt)
{
    (void)arg;
    struct stmt *s = stmt;
    sqlite3_finalize(s->h);
    free(s);
}

static void disconnect(struct db_conn *base)
{
    struct conn *c = conn_of(base);
    stmt_release(&c->map, free_stmt, NULL);
    for (int i = 0; i < FIXED_COUNT; i++)
        sqlite3_finalize(c->fixed[i]);
    /* The last close checkpoints and deletes the WAL: not when the main file cannot be trusted to
     * take it. */
    if (c->h != NULL && db_failed(base->db))
        (void)sqlite3_db_config(c->h, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    int rc = sqlite3_close(c->h);
    BUG_ON(rc == SQLITE_BUSY);
    free(c);
}

static int connect_file(struct db *db, enum db_role role, struct db_conn **ret, struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, configure_once);
    struct conn *c = mem_zalloc(sizeof *c);
    c->base.db = db;
    c->role = role;
    int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE;
    int rc = sqlite3_open_v2(db->path, &c->h, flags, NULL);
    if (rc != SQLITE_OK && c->h == NULL) {
        free(c);
        return err_set(err, ERR_UNAVAILABLE, "database: out of memory");
    }
    rc = rc != SQLITE_OK ? fail(c, db->path, err) : set_up(c, err);
    if (rc < 0) {
        disconnect(&c->base);
        return rc;
    }
    *ret = &c->base;
    return 0;
}

/* ---- transactions ---- */
static int run_fixed(struct conn *c, enum fixed what, struct err *err)
{
    int rc = sqlite3_step(c->fixed[what]) == SQLITE_DONE ? 0 : fail(c, fixed_text[what], err);
    (void)sqlite3_reset(c->fixed[what]);
    return rc;
}

static int begin(struct db_conn *base, enum db_role role, struct err *err)
{
    struct conn *c = conn_of(base);
    c->marked = false;
    return run_fixed(c, role == DB_WRITER ? BEGIN_WRITE : BEGIN_READ, err);
}

static int commit(struct db_conn *base, struct err *err)
{
    return run_fixed(conn_of(base), COMMIT, err);
}

static void rollback(struct db_conn *base)
{
    struct err ignored; /* a rollback that fails leaves nothing behind: the WAL has no commit */
    if (sqlite3_get_autocommit(conn_of(base)->h) == 0)
        (void)run_fixed(conn_of(base), ROLLBACK, &ignored);
}

static int mark(struct db_conn *base, struct err *err)
{
    struct conn *c = conn_of(base);
    int rc = c->marked ? run_fixed(c, RELEASE, err) : 0;
    if (rc == 0)
        rc = run_fixed(c, MARK, err);
    c->marked = true;
    return rc;
}

static int rewind_mark(struct db_conn *base, struct err *err)
{
    return run_fixed(conn_of(base), REWIND, err);
}

/* A checkpoint copies the WAL into the main file with two syncs. Here, and not in the commit that
 * happens to cross the limit, no caller waits for it. */
static int idle(struct db_conn *base, struct err *err)
{
    struct conn *c = conn_of(base);
    if (c->frames < c->checkpoint_at)
        return 0;
    int fault = FAULT("db.checkpoint");
    if (fault != 0) {
        errno = fault;
        return err_sys(err, ERR_IO, "checkpoint");
    }
    bool restart = c->frames >= RESTART_FRAMES;
    if (restart)
        sqlite3_busy_timeout(c->h, RESTART_WAIT_MS);
    int rc = sqlite3_wal_checkpoint_v2(
        c->h, NULL, restart ? SQLITE_CHECKPOINT_RESTART : SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    if (rc != SQLITE_OK)
        rc = fail(c, "checkpoint", err); /* before the next call replaces the error */
    if (restart)
        sqlite3_busy_timeout(c->h, BUSY_MS);
    c->checkpoint_at = c->frames + CHECKPOINT_AGAIN;
    (void)FAULT("db.checkpoint.done");
    return rc;
}

/* ---- statements ---- */
static int prepare(struct conn *c, const char *sql, bool keep, struct stmt **ret, struct err *err)
{
    auto_free char *text = stmt_rewrite(sql);
    sqlite3_stmt *h = NULL;
    if (sqlite3_prepare_v3(c->h, text, -1, keep ? SQLITE_PREPARE_PERSISTENT : 0, &h, NULL) !=
        SQLITE_OK)
        return fail(c, sql, err);
    struct stmt *s = mem_zalloc(sizeof *s);
    s->h = h;
    s->temp = !keep;
    *ret = s;
    return 0;
}

/* once: the text is not a constant, so its pointer says nothing. */
static int statement(struct conn *c, const char *sql, bool once, struct stmt **ret, struct err *err)
{
    struct stmt *s = once ? NULL : stmt_find(&c->map, sql);
    if (s != NULL && !s->busy) {
        *ret = s;
        return 0;
    }
    bool keep = s == NULL && !once;
    int rc = prepare(c, sql, keep, ret, err);
    if (rc == 0 && keep)
        stmt_add(&c->map, sql, *ret);
    return rc;
}

static void done_with(struct stmt *s)
{
    (void)sqlite3_reset(s->h);
    s->busy = false;
    if (s->temp)
        free_stmt(NULL, s);
}

static int bind_one(sqlite3_stmt *h, int i, const struct db_value *v)
{
    const char *p = v->s.p ? v->s.p : "";
    switch (v->type) {
    case DB_INT:
        return sqlite3_bind_int64(h, i, v->i);
    case DB_TEXT:
        return sqlite3_bind_text64(h, i, p, v->s.n, SQLITE_STATIC, SQLITE_UTF8);
    case DB_BYTES:
        return sqlite3_bind_blob64(h, i, p, v->s.n, SQLITE_STATIC);
    case DB_NULL:
    default:
        return sqlite3_bind_null(h, i);
    }
}

static int bind(struct conn *c, struct stmt *s, const char *sql, const struct db_value *args,
                size_t n, struct err *err)
{
    BUG_ON((size_t)sqlite3_bind_parameter_count(s->h) != n);
    for (size_t i = 0; i < n; i++) {
        int rc = bind_one(s->h, (int)i + 1, &args[i]);
        if (rc == SQLITE_TOOBIG)
            return err_set(err, ERR_TOO_LARGE, "database: a value is too large");
        if (rc != SQLITE_OK)
            return fail(c, sql, err);
    }
    return 0;
}

static int exec(struct db_conn *base, const char *sql, const struct db_value *args, size_t n,
                int64_t *ret_changed, struct err *err)
{
    struct conn *c = conn_of(base);
    struct stmt *s;
    int rc = statement(c, sql, false, &s, err);
    if (rc < 0)
        return rc;
    rc = bind(c, s, sql, args, n, err);
    if (rc == 0) {
        int step;
        do {
            step = sqlite3_step(s->h);
        } while (step == SQLITE_ROW);
        if (step != SQLITE_DONE)
            rc = fail(c, sql, err);
        else if (ret_changed != NULL)
            *ret_changed = sqlite3_changes64(c->h);
    }
    done_with(s);
    return rc;
}

static int query(struct db_conn *base, struct db_rows *rows, const char *sql,
                 const struct db_value *args, size_t n, struct err *err)
{
    struct conn *c = conn_of(base);
    struct stmt *s;
    int rc = statement(c, sql, rows->stream, &s, err);
    if (rc < 0)
        return rc;
    if ((rc = bind(c, s, sql, args, n, err)) < 0) {
        done_with(s);
        return rc;
    }
    s->busy = true;
    rows->p = s;
    return 0;
}

/* rows->n: 1 after the end, when a further step would start the query again. */
static int next(struct db_rows *rows, struct err *err)
{
    struct stmt *s = rows->p;
    if (rows->n != 0)
        return 0;
    int rc = sqlite3_step(s->h);
    if (rc == SQLITE_ROW)
        return 1;
    rows->n = 1;
    if (rc == SQLITE_DONE)
        return 0;
    struct conn *c = conn_of(rows->tx->conn);
    return fail(c, sqlite3_sql(s->h), err);
}

static void close_rows(struct db_rows *rows)
{
    done_with(rows->p);
    rows->p = NULL;
}

static sqlite3_stmt *handle(const struct db_rows *rows)
{
    return ((const struct stmt *)rows->p)->h;
}

static int columns(const struct db_rows *rows)
{
    return sqlite3_column_count(handle(rows));
}

static int type(const struct db_rows *rows, int column)
{
    switch (sqlite3_column_type(handle(rows), column)) {
    case SQLITE_NULL:
        return DB_NULL;
    case SQLITE_INTEGER:
    case SQLITE_FLOAT:
        return DB_INT;
    case SQLITE_BLOB:
        return DB_BYTES;
    default:
        return DB_TEXT;
    }
}

static int64_t integer(const struct db_rows *rows, int column)
{
    return sqlite3_column_int64(handle(rows), column);
}

static struct str text(const struct db_rows *rows, int column)
{
    const void *p = sqlite3_column_text(handle(rows), column);
    int n = sqlite3_column_bytes(handle(rows), column);
    return (struct str){p, p ? (size_t)n : 0};
}

static struct str bytes(const struct db_rows *rows, int column)
{
    const void *p = sqlite3_column_blob(handle(rows), column);
    int n = sqlite3_column_bytes(handle(rows), column);
    return (struct str){p, p ? (size_t)n : 0};
}

/* ---- check ---- */
static const char INTEGRITY[] = "PRAGMA integrity_check(100)";
static const char FOREIGN_KEYS[] = "PRAGMA foreign_key_check";

static int check(struct db_tx *tx, struct buf *report, int64_t *faults, struct err *err)
{
    struct db_rows *rows = NULL;
    int rc = db_query(tx, INTEGRITY, DB_NO_ARGS, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        struct str line = db_text(rows, 0);
        if (str_is(line, "ok"))
            continue;
        buf_printf(report, "integrity: %.*s\n", STR_FMT(line));
        (*faults)++;
    }
    db_rows_cleanup(&rows);
    if (rc < 0 || (rc = db_query(tx, FOREIGN_KEYS, DB_NO_ARGS, &rows, err)) < 0)
        return rc;
    while ((rc = db_next(rows, err)) == 1) {
        struct str child = db_text(rows, 0), parent = db_text(rows, 2);
        buf_printf(report, "foreign key: row %lld of %.*s refers to a missing row of %.*s\n",
                   (long long)db_int(rows, 1), STR_FMT(child), STR_FMT(parent));
        (*faults)++;
    }
    db_rows_cleanup(&rows);
    return rc;
}

const struct db_engine db_engine_sqlite = {
    .postgres = false,
    .connect = connect_file,
    .disconnect = disconnect,
    .begin = begin,
    .commit = commit,
    .rollback = rollback,
    .mark = mark,
    .rewind = rewind_mark,
    .script = script,
    .exec = exec,
    .query = query,
    .next = next,
    .close = close_rows,
    .columns = columns,
    .type = type,
    .integer = integer,
    .text = text,
    .bytes = bytes,
    .idle = idle,
    .check = check,
};
