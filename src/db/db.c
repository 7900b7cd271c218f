/* The database room's front: opening, the pool of readers and the statements of a transaction.
 * What differs between the engines stands behind db->engine. */
#include "db/db_int.h"
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- opening and closing ---- */
/* Made here and not by SQLite, for its mode. The directory needs no sync of ours: SQLite syncs it
 * with the first sync of a new WAL, before the first commit, and that covers this entry too. O_EXCL:
 * the close of a second descriptor of a file in use would drop SQLite's locks. */
static int create_file(struct db *db, bool create, struct err *err)
{
    if (!create && access(db->path, F_OK) != 0)
        return err_sys(err, ERR_NOT_FOUND, "cannot open the database %s", db->path);
    auto_fd int fd = open(db->path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0 && errno == EEXIST)
        return 0;
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot create %s", db->path);
    return 0;
}

static void free_db(struct db *db)
{
    while (db->idle != NULL) {
        struct db_conn *c = db->idle;
        db->idle = c->next;
        db->engine->disconnect(c);
    }
    if (db->writer.conn != NULL)
        db->engine->disconnect(db->writer.conn);
    pthread_mutex_destroy(&db->pool_lock);
    pthread_cond_destroy(&db->pool_free);
    pthread_mutex_destroy(&db->writer.lock);
    pthread_cond_destroy(&db->writer.some);
    free(db->dir);
    free(db->path);
    free(db->url);
    free(db);
}

int db_new(struct db **ret, const char *dir, const char *url, int max_readers, bool create,
           struct err *err)
{
    struct db *db = mem_zalloc(sizeof *db);
    bool postgres = url != NULL && url[0] != 0;
    db->engine = postgres ? &db_engine_postgres : &db_engine_sqlite;
    db->dir = mem_strdup(dir ? dir : ".");
    size_t size = size_add(strlen(db->dir), sizeof "/berth.db");
    db->path = mem_alloc(size);
    (void)snprintf(db->path, size, "%s/berth.db", db->dir);
    db->url = mem_strdup(postgres ? url : "");
    db->max_readers = max_readers > 0 ? max_readers : 1;
    pthread_mutex_init(&db->pool_lock, NULL);
    pthread_cond_init(&db->pool_free, NULL);
    writer_init(db);
    int rc = postgres ? 0 : create_file(db, create, err);
    if (rc == 0)
        rc = db->engine->connect(db, DB_WRITER, &db->writer.conn, err);
    if (rc < 0) {
        free_db(db);
        return rc;
    }
    *ret = db;
    return 0;
}

static int has_schema(struct db *db, struct err *err)
{
    int64_t version = 0;
    int rc = schema_read(db, &version, err);
    if (rc < 0 || version > 0)
        return rc;
    return err_set(err, ERR_NOT_FOUND, "the database is empty");
}

int db_open(struct db **ret, const char *dir, const char *url, int max_readers, bool create,
            struct err *err)
{
    struct db *db;
    int rc = db_new(&db, dir, url, max_readers, create, err);
    if (rc < 0)
        return rc;
    rc = create ? 0 : has_schema(db, err);
    if (rc < 0 || (rc = migrate(db, db_schema_newest(), false, err)) < 0) {
        db_close(db);
        return rc;
    }
    writer_start(db);
    *ret = db;
    return 0;
}

void db_close(struct db *db)
{
    if (db == NULL)
        return;
    atomic_store(&db->deadline, clock_mono() + DB_CLOSE_WAIT_US);
    writer_stop(db);
    int out = db->readers;
    for (const struct db_conn *c = db->idle; c != NULL; c = c->next)
        out--;
    BUG_ON(out != 0); /* a read is still running */
    free_db(db);
}

bool db_is_postgres(const struct db *db)
{
    return db->engine->postgres;
}

int64_t db_schema_version(const struct db *db)
{
    return db->version;
}

int64_t db_schema_newest(void)
{
    return (int64_t)db_schemas_n;
}

bool db_failed(const struct db *db)
{
    return atomic_load_explicit(&db->failed, memory_order_relaxed);
}

void db_fail(struct db *db)
{
    atomic_store(&db->failed, true);
}

/* ---- readers ---- */
static int reader_get(struct db *db, struct db_conn **ret, struct err *err)
{
    pthread_mutex_lock(&db->pool_lock);
    while (db->idle == NULL && db->readers >= db->max_readers)
        pthread_cond_wait(&db->pool_free, &db->pool_lock);
    struct db_conn *c = db->idle;
    if (c != NULL)
        db->idle = c->next;
    else
        db->readers++;
    pthread_mutex_unlock(&db->pool_lock);
    if (c != NULL) {
        *ret = c;
        return 0;
    }
    int rc = db->engine->connect(db, DB_READER, ret, err);
    if (rc < 0) {
        pthread_mutex_lock(&db->pool_lock);
        db->readers--;
        pthread_cond_signal(&db->pool_free);
        pthread_mutex_unlock(&db->pool_lock);
    }
    return rc;
}

/* Connections that were lost together (a restarted server) go together: the next reader then
 * meets a fresh one and not the next dead one. */
static void reader_put(struct db *db, struct db_conn *c)
{
    struct db_conn *dead = NULL;
    pthread_mutex_lock(&db->pool_lock);
    if (c->lost) {
        c->next = db->idle;
        dead = c;
        db->idle = NULL;
        for (c = dead; c != NULL; c = c->next)
            db->readers--;
        pthread_cond_broadcast(&db->pool_free);
    } else {
        c->next = db->idle;
        db->idle = c;
        pthread_cond_signal(&db->pool_free);
    }
    pthread_mutex_unlock(&db->pool_lock);
    while (dead != NULL) {
        c = dead;
        dead = c->next;
        db->engine->disconnect(c);
    }
}

/* One try; *ret_again tells that the failure was the connection's or a collision, and that the
 * callback has seen no row yet. */
static int read_once(struct db *db, db_callback fn, void *arg, bool *ret_again, struct err *err)
{
    struct db_conn *c;
    struct db_tx tx;
    *ret_again = false;
    int rc = reader_get(db, &c, err);
    if (rc < 0)
        return rc;
    db_tx_init(&tx, db, c);
    rc = db->engine->begin(c, DB_READER, err);
    if (rc == 0) {
        rc = db_tx_run(&tx, fn, arg, err);
        struct err ignored;
        if (!c->lost && db->engine->commit(c, &ignored) < 0 && !c->lost)
            db->engine->rollback(c);
    }
    *ret_again = rc < 0 && !tx.returned && (c->lost || rc == ERR_RETRY);
    reader_put(db, c);
    return rc;
}

int db_read(struct db *db, db_callback fn, void *arg, struct err *err)
{
    struct err mine; /* a first failure that the second try heals must not show */
    bool again;
    int rc = read_once(db, fn, arg, &again, &mine);
    if (rc < 0 && again)
        rc = read_once(db, fn, arg, &again, &mine);
    if (rc == ERR_RETRY)
        rc = mine.code = ERR_UNAVAILABLE;
    if (rc < 0 && err != NULL)
        *err = mine;
    return rc;
}

/* ---- statements of a transaction ---- */
void db_tx_init(struct db_tx *tx, struct db *db, struct db_conn *conn)
{
    tx->db = db;
    tx->conn = conn;
    tx->broken = 0;
    tx->returned = false;
    for (int i = 0; i < DB_CURSORS; i++)
        tx->rows[i].open = false;
}

int db_tx_run(struct db_tx *tx, db_callback fn, void *arg, struct err *err)
{
    struct err mine = {.code = 0};
    int rc = fn(tx, arg, &mine);
    for (int i = 0; i < DB_CURSORS; i++)
        BUG_ON(tx->rows[i].open); /* a callback left a cursor open */
    if (tx->broken < 0 && (rc >= 0 || tx->broken == ERR_RETRY)) {
        /* PostgreSQL would refuse the commit; SQLite would not: the same on both. */
        rc = tx->broken;
        if (mine.code != rc)
            (void)err_set(&mine, rc, "a statement of the transaction failed");
    }
    if (rc < 0) {
        if (mine.code == 0)
            (void)err_set(&mine, rc, "the database operation was given up");
        if (err != NULL)
            *err = mine;
    }
    return rc;
}

static int usable(const struct db_tx *tx, struct err *err)
{
    if (tx->broken < 0)
        return err_set(err, tx->broken, "an earlier statement of the transaction failed");
    return 0;
}

int db_exec(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n,
            int64_t *ret_changed, struct err *err)
{
    int rc = usable(tx, err);
    if (rc < 0)
        return rc;
    rc = tx->db->engine->exec(tx->conn, sql, args, n, ret_changed, err);
    if (rc < 0)
        tx->broken = rc;
    return rc;
}

static int query(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n,
                 bool stream, struct db_rows **ret, struct err *err)
{
    int rc = usable(tx, err);
    if (rc < 0)
        return rc;
    int i = 0;
    while (i < DB_CURSORS && tx->rows[i].open)
        i++;
    BUG_ON(i == DB_CURSORS);
    struct db_rows *rows = &tx->rows[i];
    *rows = (struct db_rows){.tx = tx, .at = -1, .stream = stream};
    rc = tx->db->engine->query(tx->conn, rows, sql, args, n, err);
    if (rc < 0) {
        tx->broken = rc;
        return rc;
    }
    rows->open = true;
    *ret = rows;
    return 0;
}

int db_query(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n,
             struct db_rows **ret, struct err *err)
{
    return query(tx, sql, args, n, false, ret, err);
}

int db_stream(struct db_tx *tx, const char *sql, struct db_rows **ret, struct err *err)
{
    return query(tx, sql, DB_NO_ARGS, true, ret, err);
}

int db_next(struct db_rows *rows, struct err *err)
{
    int rc = usable(rows->tx, err);
    if (rc < 0)
        return rc;
    rc = rows->tx->db->engine->next(rows, err);
    if (rc < 0)
        rows->tx->broken = rc;
    else if (rc > 0)
        rows->tx->returned = true;
    return rc;
}

int64_t db_int(const struct db_rows *rows, int column)
{
    return rows->tx->db->engine->integer(rows, column);
}

struct str db_text(const struct db_rows *rows, int column)
{
    return rows->tx->db->engine->text(rows, column);
}

struct str db_bytes(const struct db_rows *rows, int column)
{
    return rows->tx->db->engine->bytes(rows, column);
}

bool db_is_null(const struct db_rows *rows, int column)
{
    return rows->tx->db->engine->type(rows, column) == DB_NULL;
}

int db_columns(const struct db_rows *rows)
{
    return rows->tx->db->engine->columns(rows);
}

int db_type(const struct db_rows *rows, int column)
{
    return rows->tx->db->engine->type(rows, column);
}

void db_rows_close(struct db_rows *rows)
{
    if (rows == NULL || !rows->open)
        return;
    rows->tx->db->engine->close(rows);
    rows->open = false;
}

void db_rows_cleanup(struct db_rows **rows)
{
    db_rows_close(*rows);
    *rows = NULL;
}

int db_one(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n, db_map map,
           void *out, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, sql, args, n, &rows, err);
    if (rc < 0)
        return rc;
    rc = db_next(rows, err);
    if (rc == 1)
        map(rows, out);
    return rc;
}
