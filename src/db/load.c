/* Loads a dump (db_load in db.h): one transaction that makes the dump's schema and its rows, then
 * the newer migrations. */
#include "db/db_int.h"

#include <jansson.h>
#include <stdlib.h>

enum { COLUMNS_MAX = DB_PARAMS_MAX };

struct load {
    struct db *db;
    struct db_tx tx;
    struct arena arena; /* table list and statements; outlives the connection */
    struct db_table *tables;
    const char **inserts; /* of each table; made at its first row */
    size_t *columns, n_tables;
    int64_t rows;
    bool ended; /* the closing line was seen */
    uint8_t *bytes[COLUMNS_MAX];
};

static int bad(const struct load *l, const char *what, struct err *err)
{
    return err_set(err, ERR_INVALID, "dump, line %lld: %s", (long long)(l->rows + 2), what);
}

/* {"b":base64} or {"x":base64}. */
static int coded(struct load *l, size_t i, const json_t *v, struct db_value *ret, struct err *err)
{
    const json_t *b = json_object_get(v, "b"), *x = json_object_get(v, "x"), *s = b ? b : x;
    if (!json_is_string(s) || json_object_size(v) != 1)
        return bad(l, "a value of unknown form", err);
    struct str text = {json_string_value(s), json_string_length(s)};
    l->bytes[i] = mem_alloc(size_add(text.n, 1));
    long n = base64_decode(l->bytes[i], text.n, text);
    if (n < 0)
        return bad(l, "a value is not base64", err);
    struct str bytes = {(const char *)l->bytes[i], (size_t)n};
    *ret = b ? DB_B(bytes) : DB_T(bytes);
    return 0;
}

static int value(struct load *l, size_t i, const json_t *v, struct db_value *ret, struct err *err)
{
    if (json_is_integer(v))
        *ret = DB_I(json_integer_value(v));
    else if (json_is_null(v))
        *ret = DB_N;
    else if (json_is_string(v))
        *ret = DB_T(((struct str){json_string_value(v), json_string_length(v)}));
    else
        return coded(l, i, v, ret, err);
    return 0;
}

static int find_table(const struct load *l, const char *name, size_t *ret)
{
    for (size_t i = 0; name != NULL && i < l->n_tables; i++) {
        if (str_is(l->tables[i].name, name)) {
            *ret = i;
            return 0;
        }
    }
    return -1;
}

static const char *insert_text(struct load *l, size_t table, size_t columns)
{
    if (l->inserts[table] != NULL)
        return l->inserts[table];
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "INSERT INTO %.*s VALUES (", STR_FMT(l->tables[table].name));
    for (size_t i = 1; i <= columns; i++)
        buf_printf(&b, "%s$%zu", i > 1 ? ", " : "", i);
    buf_char(&b, ')');
    BUG_ON(b.overflow);
    l->inserts[table] = str_dup(&l->arena, buf_view(&b));
    l->columns[table] = columns;
    buf_release(&b);
    return l->inserts[table];
}

static int insert(struct load *l, const json_t *line, struct err *err)
{
    struct db_value args[COLUMNS_MAX];
    const json_t *row = json_object_get(line, "r");
    size_t table = 0, n = json_array_size(row);
    if (find_table(l, json_string_value(json_object_get(line, "t")), &table) < 0)
        return bad(l, "unknown table", err);
    if (n == 0 || n > COLUMNS_MAX)
        return bad(l, "a row of a wrong number of columns", err);
    const char *sql = insert_text(l, table, n);
    if (l->columns[table] != n)
        return bad(l, "a row of a wrong number of columns", err);
    memset(l->bytes, 0, sizeof l->bytes);
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = value(l, i, json_array_get(row, i), &args[i], err);
    if (rc == 0)
        rc = db_exec(&l->tx, sql, args, n, NULL, err);
    for (size_t i = 0; i < n; i++)
        free(l->bytes[i]);
    l->rows++;
    return rc;
}

static int load_line(struct load *l, struct str text, struct err *err)
{
    json_error_t e;
    json_t *line =
        json_loadb(text.p ? text.p : "", text.n, JSON_REJECT_DUPLICATES | JSON_ALLOW_NUL, &e);
    const json_t *rows = json_object_get(line, "rows");
    int rc = 0;
    if (!json_is_object(line) || l->ended)
        rc = bad(l, l->ended ? "more behind the closing line" : "no JSON object", err);
    else if (rows == NULL)
        rc = insert(l, line, err);
    else if (json_integer_value(rows) != l->rows)
        rc = bad(l, "rows are missing", err);
    else
        l->ended = true;
    json_decref(line);
    return rc;
}

static int first_line(db_load_next next, void *arg, int64_t *ret, struct err *err)
{
    struct str text;
    int rc = next(arg, &text, err);
    if (rc < 0)
        return rc;
    json_t *line = rc > 0 ? json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, NULL) : NULL;
    int64_t version = json_integer_value(json_object_get(line, "schema"));
    json_decref(line);
    if (version < 1)
        return err_set(err, ERR_INVALID, "this is no dump: its first line names no schema version");
    if (version > db_schema_newest())
        return err_set(err, ERR_USAGE,
                       "the dump has schema version %lld, newer than this program knows (%lld): "
                       "use the newer program",
                       (long long)version, (long long)db_schema_newest());
    *ret = version;
    return 0;
}

/* PostgreSQL's identities do not notice ids that were given to them. */
static int set_identities(struct load *l, struct err *err)
{
    for (size_t i = 0; l->db->engine->postgres && i < l->n_tables; i++) {
        const struct db_table *t = &l->tables[i];
        if (t->id.n == 0)
            continue;
        const char *sql = arena_printf(&l->arena,
                                       "SELECT setval(pg_get_serial_sequence('%.*s', '%.*s'), "
                                       "coalesce(max(%.*s), 1), max(%.*s) IS NOT NULL) FROM %.*s",
                                       STR_FMT(t->name), STR_FMT(t->id), STR_FMT(t->id),
                                       STR_FMT(t->id), STR_FMT(t->name));
        int rc = l->db->engine->script(l->tx.conn, sql, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Rows that migrations brought: the dump has them as they are by now. */
static int clear(struct load *l, struct err *err)
{
    int rc = 0;
    for (size_t i = l->n_tables; rc == 0 && i-- > 0;) {
        const char *sql = arena_printf(&l->arena, "DELETE FROM %.*s", STR_FMT(l->tables[i].name));
        rc = l->db->engine->script(l->tx.conn, sql, err);
    }
    return rc;
}

static int load_rows(struct load *l, int64_t version, db_load_next next, void *arg,
                     struct err *err)
{
    int rc = migrate(l->db, version, true, err);
    if (rc < 0)
        return rc;
    schema_tables(version, &l->arena, &l->tables, &l->n_tables);
    if ((rc = clear(l, err)) < 0)
        return rc;
    l->inserts = arena_zalloc(&l->arena, size_mul(l->n_tables, sizeof *l->inserts));
    l->columns = arena_zalloc(&l->arena, size_mul(l->n_tables, sizeof *l->columns));
    struct str line;
    while ((rc = next(arg, &line, err)) == 1) {
        if ((rc = load_line(l, line, err)) < 0)
            return rc;
    }
    if (rc == 0 && !l->ended)
        rc = bad(l, "the dump ends early", err);
    return rc < 0 ? rc : set_identities(l, err);
}

static int load_tx(struct load *l, db_load_next next, void *arg, struct err *err)
{
    struct db *db = l->db;
    int64_t version = 0;
    int rc = schema_read(db, &version, err);
    if (rc < 0)
        return rc;
    if (version > 0)
        return err_set(err, ERR_EXISTS, "the database is not empty (schema version %lld)",
                       (long long)version);
    if ((rc = first_line(next, arg, &version, err)) < 0 ||
        (rc = db->engine->begin(db->writer.conn, DB_WRITER, err)) < 0)
        return rc;
    db_tx_init(&l->tx, db, db->writer.conn);
    if ((rc = load_rows(l, version, next, arg, err)) < 0) {
        db->engine->rollback(db->writer.conn);
        return rc;
    }
    return writer_commit(db, db->writer.conn, err);
}

static int bind_loaded(struct load *l, struct str store_id, struct err *err)
{
    struct db *db = l->db;
    int rc = db->engine->begin(db->writer.conn, DB_WRITER, err);
    if (rc < 0)
        return rc;
    db_tx_init(&l->tx, db, db->writer.conn);
    if ((rc = bind_anew(&l->tx, store_id, err)) < 0) {
        db->engine->rollback(db->writer.conn);
        return rc;
    }
    return writer_commit(db, db->writer.conn, err);
}

int db_load(const char *dir, const char *url, struct str store_id, db_load_next next, void *arg,
            struct err *err)
{
    struct load l = {.rows = 0};
    int rc = db_new(&l.db, dir, url, 1, true, err);
    if (rc < 0)
        return rc;
    arena_init(&l.arena);
    rc = load_tx(&l, next, arg, err);
    if (rc == 0)
        rc = migrate(l.db, db_schema_newest(), false, err);
    if (rc == 0)
        rc = bind_loaded(&l, store_id, err);
    db_close(l.db);
    arena_release(&l.arena);
    return rc;
}
