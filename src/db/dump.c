/* The whole database as JSON lines: see db_dump in db.h. Rows are written in the order of their
 * columns, so the lines of a schema version load into either engine. */
#include "db/db_int.h"

#include <stdlib.h>

enum { LINE_MAX_BYTES = 512 << 20 };

struct dump {
    db_dump_sink sink;
    void *arg;
    int64_t version, rows;
    struct buf line;
};

static int line_out(struct dump *d, struct err *err)
{
    if (d->line.overflow)
        return err_set(err, ERR_TOO_LARGE, "a row is too large for the dump");
    return d->sink(d->arg, buf_view(&d->line), err);
}

static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t n = p[0] < 0x80 ? 1 : p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : (p[0] & 0xF0) == 0xE0 ? 3
             : p[0] >= 0xF0 && p[0] <= 0xF4                   ? 4
                                                              : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) ||
        (p[0] == 0xF0 && p[1] < 0x90) || (p[0] == 0xF4 && p[1] > 0x8F))
        return 0;
    return n;
}

static bool utf8_valid(struct str s)
{
    for (size_t i = 0; i < s.n;) {
        size_t n = utf8_len((const uint8_t *)s.p + i, s.n - i);
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

static void coded(struct dump *d, const char *key, struct str bytes)
{
    size_t need = size_add(size_mul(bytes.n / 3 + 1, 4), 1);
    char *text = mem_alloc(need);
    size_t n = base64_encode(text, bytes.p ? bytes.p : "", bytes.n);
    buf_printf(&d->line, "{\"%s\":\"", key);
    buf_add(&d->line, text, n);
    buf_cstr(&d->line, "\"}");
    free(text);
}

static void value(struct dump *d, const struct db_rows *rows, int column)
{
    struct str s;
    switch (db_type(rows, column)) {
    case DB_INT:
        buf_i64(&d->line, db_int(rows, column));
        break;
    case DB_TEXT:
        s = db_text(rows, column);
        if (utf8_valid(s))
            buf_json(&d->line, s);
        else
            coded(d, "x", s); /* SQLite keeps any bytes as text; a backup must not change them */
        break;
    case DB_BYTES:
        coded(d, "b", db_bytes(rows, column));
        break;
    default:
        buf_cstr(&d->line, "null");
        break;
    }
}

static int dump_row(struct dump *d, const struct db_rows *rows, struct str table, struct err *err)
{
    buf_reset(&d->line);
    buf_printf(&d->line, "{\"t\":\"%.*s\",\"r\":[", STR_FMT(table));
    int n = db_columns(rows);
    for (int i = 0; i < n; i++) {
        if (i > 0)
            buf_char(&d->line, ',');
        value(d, rows, i);
    }
    buf_cstr(&d->line, "]}");
    d->rows++;
    return line_out(d, err);
}

static int dump_table(struct db_tx *tx, struct dump *d, struct str table, struct arena *a,
                      struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_stream(tx, arena_printf(a, "SELECT * FROM %.*s", STR_FMT(table)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = dump_row(d, rows, table, err);
    return rc;
}

static int dump_all(struct db_tx *tx, void *arg, struct err *err)
{
    struct dump *d = arg;
    struct arena a;
    struct db_table *tables;
    size_t n;
    arena_init(&a);
    schema_tables(d->version, &a, &tables, &n);
    tx->returned = true; /* the sink got lines: never run again */
    buf_printf(&d->line, "{\"schema\":%lld}", (long long)d->version);
    int rc = line_out(d, err);
    for (size_t i = 0; rc == 0 && i < n; i++)
        rc = dump_table(tx, d, tables[i].name, &a, err);
    if (rc == 0) {
        buf_reset(&d->line);
        buf_printf(&d->line, "{\"rows\":%lld}", (long long)d->rows);
        rc = line_out(d, err);
    }
    arena_release(&a);
    return rc;
}

int db_dump(struct db *db, db_dump_sink sink, void *arg, struct err *err)
{
    struct dump d = {.sink = sink, .arg = arg, .version = db->version};
    buf_init(&d.line, LINE_MAX_BYTES);
    int rc = db_read(db, dump_all, &d, err);
    buf_release(&d.line);
    return rc;
}
