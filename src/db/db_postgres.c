/* PostgreSQL behind `struct db_engine`: transactions, statements and rows. Results come in binary
 * and whole, as four cursors may be open at once and statements run between their rows; statements
 * are paged by design. Streams (db_stream) come row by row. */
#include "db/pg_int.h"

#include <endian.h>
#include <stdio.h>
#include <stdlib.h>

enum { OID_BOOL = 16, OID_BYTEA = 17, OID_INT8 = 20, OID_INT2 = 21, OID_INT4 = 23, OID_TEXT = 25 };
enum { OID_OID = 26, OID_NUMERIC = 1700 };
enum { PATIENCE_SCRIPT_US = 2000000000 }; /* a migration may build an index */

struct stmt {
    char name[24];
};

static struct pg_conn *conn_of(struct db_conn *c)
{
    return (struct pg_conn *)c;
}

/* ---- transactions ---- */
static int begin(struct db_conn *base, enum db_role role, struct err *err)
{
    struct pg_conn *c = conn_of(base);
    BUG_ON(c->n_controls != 0);
    c->begun = c->marked = false;
    return pg_control(c,
                      role == DB_WRITER ? "BEGIN ISOLATION LEVEL SERIALIZABLE"
                                        : "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
                      err);
}

/* The end of a read is sent and not waited for: the connection's next user meets the answer. */
static int end_read(struct pg_conn *c, struct err *err)
{
    c->n_controls = 0;
    if (!c->begun)
        return 0;
    if (!PQsendQueryParams(c->h, "COMMIT", 0, NULL, NULL, NULL, NULL, 0) ||
        !PQpipelineSync(c->h) || PQflush(c->h) < 0)
        return pg_lost(c, "COMMIT", err);
    c->draining = true;
    return 0;
}

static int commit(struct db_conn *base, struct err *err)
{
    struct pg_conn *c = conn_of(base);
    PGresult *res = NULL;
    if (c->role == DB_READER)
        return end_read(c, err);
    int rc = pg_control(c, "COMMIT", err);
    if (rc == 0)
        rc = pg_flush(c, "COMMIT", &res, err);
    if (c->base.lost)
        return err_set(err, ERR_UNAVAILABLE,
                       "the database connection was lost at the commit; its outcome is unknown");
    c->begun = false; /* done or undone: nothing is left to roll back */
    if (rc == 0 && strcmp(PQcmdStatus(res), "COMMIT") != 0)
        rc = err_set(err, ERR_DB, "database: the commit became a rollback");
    PQclear(res);
    return rc;
}

static void rollback(struct db_conn *base)
{
    struct pg_conn *c = conn_of(base);
    struct err ignored;
    c->n_controls = 0;
    if (!c->begun || c->base.lost)
        return;
    if (pg_control(c, "ROLLBACK", &ignored) < 0 || pg_flush(c, "ROLLBACK", NULL, &ignored) < 0)
        c->base.lost = true;
}

static int mark(struct db_conn *base, struct err *err)
{
    struct pg_conn *c = conn_of(base);
    int rc = c->marked ? pg_control(c, "RELEASE SAVEPOINT job", err) : 0;
    if (rc == 0)
        rc = pg_control(c, "SAVEPOINT job", err);
    c->marked = true;
    return rc;
}

static int rewind_mark(struct db_conn *base, struct err *err)
{
    return pg_control(conn_of(base), "ROLLBACK TO SAVEPOINT job", err);
}

static int script(struct db_conn *base, const char *text, struct err *err)
{
    struct pg_conn *c = conn_of(base);
    int64_t patience = c->patience;
    c->patience = PATIENCE_SCRIPT_US;
    int rc = pg_script(c, "SET LOCAL statement_timeout = 0", NULL, err);
    if (rc == 0)
        rc = pg_script(c, text, NULL, err);
    c->patience = patience;
    return rc;
}

/* ---- statements ---- */
struct params {
    Oid types[DB_PARAMS_MAX];
    const char *values[DB_PARAMS_MAX];
    int lengths[DB_PARAMS_MAX], formats[DB_PARAMS_MAX];
    char numbers[DB_PARAMS_MAX][24];
};

/* Numbers go as text, which fits whatever integer type the server infers; the rest in binary. */
static void set_params(struct params *p, const struct db_value *args, size_t n)
{
    BUG_ON(n > DB_PARAMS_MAX);
    for (size_t i = 0; i < n; i++) {
        const struct db_value *v = &args[i];
        p->types[i] = v->type == DB_INT    ? OID_INT8
                      : v->type == DB_TEXT ? OID_TEXT
                      : v->type == DB_BYTES ? OID_BYTEA
                                            : 0;
        p->values[i] = NULL;
        p->lengths[i] = 0;
        p->formats[i] = v->type != DB_INT;
        if (v->type == DB_INT) {
            (void)snprintf(p->numbers[i], sizeof p->numbers[i], "%lld", (long long)v->i);
            p->values[i] = p->numbers[i];
        } else if (v->type != DB_NULL) {
            BUG_ON(v->s.n > INT32_MAX);
            p->values[i] = v->s.p ? v->s.p : "";
            p->lengths[i] = (int)v->s.n;
        }
    }
}

static int send_statement(struct pg_conn *c, const char *sql, const struct stmt *s, bool fresh,
                          const struct params *p, size_t n, struct err *err)
{
    int rc = pg_drain(c, err);
    if (rc < 0 || (rc = pg_send_controls(c, err)) < 0)
        return rc;
    if ((fresh && !PQsendPrepare(c->h, s->name, sql, (int)n, p->types)) ||
        !PQsendQueryPrepared(c->h, s->name, (int)n, p->values, p->lengths, p->formats, 1) ||
        !PQpipelineSync(c->h))
        return pg_lost(c, sql, err);
    return 0;
}

static int run(struct pg_conn *c, const char *sql, const struct db_value *args, size_t n,
               PGresult **ret, struct err *err)
{
    struct params p;
    struct stmt *s = stmt_find(&c->map, sql);
    bool fresh = s == NULL;
    if (fresh) {
        s = mem_zalloc(sizeof *s);
        (void)snprintf(s->name, sizeof s->name, "s%llu", (unsigned long long)++c->names);
    }
    set_params(&p, args, n);
    int rc = send_statement(c, sql, s, fresh, &p, n, err);
    if (rc == 0)
        rc = pg_collect(c, sql, ret, err);
    /* After a failure it is not known whether the name was taken; the next try uses another. */
    if (fresh && rc < 0)
        free(s);
    else if (fresh)
        stmt_add(&c->map, sql, s);
    return rc;
}

static int exec(struct db_conn *base, const char *sql, const struct db_value *args, size_t n,
                int64_t *ret_changed, struct err *err)
{
    PGresult *res = NULL;
    int rc = run(conn_of(base), sql, args, n, &res, err);
    if (rc < 0)
        return rc;
    if (ret_changed != NULL)
        *ret_changed = strtoll(PQcmdTuples(res), NULL, 10);
    PQclear(res);
    return 0;
}

static int start_stream(struct pg_conn *c, const char *sql, struct err *err)
{
    int rc = pg_flush(c, sql, NULL, err);
    if (rc < 0)
        return rc;
    if (!PQexitPipelineMode(c->h) ||
        !PQsendQueryParams(c->h, sql, 0, NULL, NULL, NULL, NULL, 1) ||
        !PQsetSingleRowMode(c->h))
        return pg_lost(c, sql, err);
    return 0;
}

static int query(struct db_conn *base, struct db_rows *rows, const char *sql,
                 const struct db_value *args, size_t n, struct err *err)
{
    struct pg_conn *c = conn_of(base);
    if (rows->stream)
        return start_stream(c, sql, err);
    PGresult *res = NULL;
    int rc = run(c, sql, args, n, &res, err);
    if (rc < 0)
        return rc;
    rows->p = res;
    rows->n = PQntuples(res);
    return 0;
}

/* rows->n: 1 after the end of a stream, when libpq has no more results. */
static int next_streamed(struct db_rows *rows, struct err *err)
{
    struct pg_conn *c = conn_of(rows->tx->conn);
    PQclear(rows->p);
    rows->p = NULL;
    if (rows->n != 0)
        return 0;
    int rc = pg_wait(c, err);
    if (rc < 0)
        return rc;
    PGresult *res = PQgetResult(c->h);
    ExecStatusType status = PQresultStatus(res);
    rows->p = res;
    rows->at = 0;
    if (status == PGRES_SINGLE_TUPLE)
        return 1;
    if (status == PGRES_TUPLES_OK) {
        rows->n = 1;
        return 0;
    }
    return pg_fail(c, res, "stream", err);
}

static int next(struct db_rows *rows, struct err *err)
{
    if (rows->stream)
        return next_streamed(rows, err);
    if (rows->at + 1 >= rows->n)
        return 0;
    rows->at++;
    return 1;
}

/* What was not read of a stream must be, before the connection can go on; a long rest is cut off by
 * giving the connection up. */
static void end_stream(struct pg_conn *c, bool ended)
{
    struct err ignored;
    PGresult *res = NULL;
    int rest = 0;
    do {
        PQclear(res);
        res = NULL;
        if (c->base.lost || pg_wait(c, &ignored) < 0)
            return;
        res = PQgetResult(c->h);
        if (!ended && rest++ > 10000)
            c->base.lost = true;
    } while (res != NULL);
    /* The empty round makes libpq 15 forget the single-row mode, which else sticks to the next
     * query. */
    if (!PQenterPipelineMode(c->h) || pg_flush(c, "stream", NULL, &ignored) < 0)
        c->base.lost = true;
}

static void close_rows(struct db_rows *rows)
{
    PQclear(rows->p);
    rows->p = NULL;
    if (rows->stream)
        end_stream(conn_of(rows->tx->conn), rows->n != 0);
}

/* ---- columns ---- */
static bool null_at(const struct db_rows *rows, int column)
{
    return PQgetisnull(rows->p, (int)rows->at, column) != 0;
}

static int columns(const struct db_rows *rows)
{
    return PQnfields(rows->p);
}

static int type(const struct db_rows *rows, int column)
{
    if (null_at(rows, column))
        return DB_NULL;
    switch (PQftype(rows->p, column)) {
    case OID_BOOL:
    case OID_INT2:
    case OID_INT4:
    case OID_INT8:
    case OID_OID:
    case OID_NUMERIC:
        return DB_INT;
    case OID_BYTEA:
        return DB_BYTES;
    default:
        return DB_TEXT;
    }
}

static uint16_t be16(const char *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return be16toh(v);
}

/* NUMERIC on the wire: digits, weight, sign, scale, then digits of base 10000; sum() of BIGINT is
 * such a number. What stands behind the point is cut off. */
static int64_t numeric(const char *p, int n)
{
    if (n < 8)
        return 0;
    int digits = be16(p), weight = (int16_t)be16(p + 2);
    uint16_t sign = be16(p + 4);
    int64_t v = 0;
    for (int i = 0; i <= weight; i++) {
        int64_t d = i < digits && 8 + 2 * i + 2 <= n ? be16(p + 8 + 2 * i) : 0;
        if (__builtin_mul_overflow(v, (int64_t)10000, &v) || __builtin_add_overflow(v, d, &v))
            return sign == 0x4000 ? INT64_MIN : INT64_MAX;
    }
    return sign == 0x4000 ? -v : v;
}

static int64_t integer(const struct db_rows *rows, int column)
{
    const char *p = PQgetvalue(rows->p, (int)rows->at, column);
    int n = PQgetlength(rows->p, (int)rows->at, column);
    if (null_at(rows, column))
        return 0;
    if (PQftype(rows->p, column) == OID_NUMERIC)
        return numeric(p, n);
    uint32_t four;
    uint64_t eight;
    switch (n) {
    case 1:
        return p[0];
    case 2:
        return (int16_t)be16(p);
    case 4:
        memcpy(&four, p, sizeof four);
        return (int32_t)be32toh(four);
    case 8:
        memcpy(&eight, p, sizeof eight);
        return (int64_t)be64toh(eight);
    default:
        BUG_ON(true); /* the statement's column is no number */
    }
}

static struct str bytes(const struct db_rows *rows, int column)
{
    if (null_at(rows, column))
        return (struct str){NULL, 0};
    return (struct str){PQgetvalue(rows->p, (int)rows->at, column),
                        (size_t)PQgetlength(rows->p, (int)rows->at, column)};
}

static int idle(struct db_conn *base, struct err *err)
{
    (void)base;
    (void)err;
    return 0;
}

/* ---- check ---- */
/* The server keeps its foreign keys; after a crash of hardware or a wrong restore they can lie. */
static const char FOREIGN_KEYS[] =
    "SELECT format('SELECT count(*) FROM %s c WHERE c.%I IS NOT NULL AND NOT EXISTS "
    "(SELECT 1 FROM %s p WHERE p.%I = c.%I)', k.conrelid::regclass, a.attname, "
    "k.confrelid::regclass, b.attname, a.attname), "
    "format('%s.%I refers to a missing row of %s', k.conrelid::regclass, a.attname, "
    "k.confrelid::regclass) FROM pg_catalog.pg_constraint k "
    "JOIN pg_catalog.pg_attribute a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1] "
    "JOIN pg_catalog.pg_attribute b ON b.attrelid = k.confrelid AND b.attnum = k.confkey[1] "
    "WHERE k.contype = 'f' AND array_length(k.conkey, 1) = 1 AND "
    "pg_catalog.pg_table_is_visible(k.conrelid) ORDER BY 1";

static int count_stream(struct db_tx *tx, const char *sql, int64_t *ret, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_stream(tx, sql, &rows, err);
    if (rc == 0 && (rc = db_next(rows, err)) == 1)
        *ret = db_int(rows, 0);
    return rc < 0 ? rc : 0;
}

static int check(struct db_tx *tx, struct buf *report, int64_t *faults, struct err *err)
{
    auto_rows struct db_rows *keys = NULL;
    int rc = db_query(tx, FOREIGN_KEYS, DB_NO_ARGS, &keys, err);
    while (rc >= 0 && (rc = db_next(keys, err)) == 1) {
        int64_t n = 0;
        struct str sql = db_text(keys, 0), what = db_text(keys, 1);
        auto_free char *copy = mem_strndup(sql.p, sql.n);
        if ((rc = count_stream(tx, copy, &n, err)) < 0)
            break;
        if (n > 0)
            buf_printf(report, "foreign key: %.*s, %lld times\n", STR_FMT(what), (long long)n);
        *faults += n;
    }
    return rc;
}

const struct db_engine db_engine_postgres = {
    .postgres = true,
    .connect = pg_connect,
    .disconnect = pg_disconnect,
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
    .text = bytes,
    .bytes = bytes,
    .idle = idle,
    .check = check,
};
