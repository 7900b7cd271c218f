/* Rows as text, and the export that streams them. */
#include "audit/audit_int.h"
#include "base/clock.h"

enum { PIECE_MAX = 64 << 20 };
static const char *const results[] = {"done", "refused", "failed"};

static const char *result_name(int64_t r)
{
    return r >= 0 && r < (int64_t)ARRAY_LEN(results) ? results[r] : "unknown";
}

static void json_text(struct buf *b, const char *key, struct str s)
{
    buf_printf(b, ",\"%s\":", key);
    buf_json(b, s);
}

static void json_line(struct buf *b, const struct audit_row *r)
{
    char at[28];
    clock_rfc3339(at, r->at);
    buf_printf(b, "{\"seq\":%lld,\"at\":\"%s\",\"account_id\":%lld,\"actor_id\":%lld", (long long)r->seq, at,
               (long long)r->account_id, (long long)r->actor_id);
    json_text(b, "actor", r->actor);
    buf_printf(b, ",\"credential_id\":%lld", (long long)r->credential_id);
    json_text(b, "action", r->action);
    json_text(b, "object", r->object);
    json_text(b, "address", r->address);
    json_text(b, "client", r->client);
    buf_printf(b, ",\"result\":\"%s\",\"count\":%lld", result_name(r->result), (long long)r->count);
    json_text(b, "data", r->data); /* as text: the line stays sound whatever stands in it */
    buf_cstr(b, "}\n");
}

/* What a spreadsheet may take for a formula, or skip before one. */
static bool starts_formula(struct str s)
{
    return s.n > 0 && memchr("=+-@\t\r\n|%", s.p[0], 9) != NULL;
}

static void cell(struct buf *b, struct str s)
{
    buf_cstr(b, ",\"");
    if (starts_formula(s))
        buf_char(b, '\'');
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] == '"')
            buf_char(b, '"');
        buf_char(b, (unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7F ? ' ' : s.p[i]);
    }
    buf_char(b, '"');
}

static void csv_line(struct buf *b, const struct audit_row *r)
{
    char at[28];
    clock_rfc3339(at, r->at);
    buf_printf(b, "%lld,%s,%lld,%lld", (long long)r->seq, at, (long long)r->account_id, (long long)r->actor_id);
    cell(b, r->actor);
    buf_printf(b, ",%lld", (long long)r->credential_id);
    cell(b, r->action);
    cell(b, r->object);
    cell(b, r->address);
    cell(b, r->client);
    buf_printf(b, ",%s,%lld", result_name(r->result), (long long)r->count);
    cell(b, r->data);
    buf_cstr(b, "\r\n");
}

void audit_line(struct buf *out, enum audit_format format, const struct audit_row *row)
{
    if (format == AUDIT_CSV)
        csv_line(out, row);
    else
        json_line(out, row);
}

void audit_head(struct buf *out, enum audit_format format)
{
    if (format == AUDIT_CSV)
        buf_cstr(out, "seq,at,account_id,actor_id,actor,credential_id,action,object,address,client,result,count,data\r\n");
}

/* ---- export ---- */
struct export {
    const struct audit_filter *filter;
    enum audit_format format;
    struct audit_cursor from, to;
    struct buf piece;
};

static int add_row(void *arg, const struct audit_row *row, struct err *err)
{
    struct export *e = arg;
    (void)err;
    audit_line(&e->piece, e->format, row);
    return 0;
}

static int read_piece(struct db_tx *tx, void *arg, struct err *err)
{
    struct export *e = arg;
    e->to = e->from;
    buf_reset(&e->piece);
    if (e->from.at == 0 && e->from.seq == 0)
        audit_head(&e->piece, e->format);
    return audit_tx_page(tx, e->filter, &e->to, AUDIT_PAGE_MAX, add_row, e, err);
}

int audit_export(struct db *db, const struct audit_filter *filter, enum audit_format format, audit_sink sink,
                 void *arg, struct err *err)
{
    struct export e = {.filter = filter, .format = format};
    int rc = 1;
    buf_init(&e.piece, PIECE_MAX);
    while (rc == 1) {
        rc = db_read(db, read_piece, &e, err);
        e.from = e.to;
        if (rc >= 0 && e.piece.overflow)
            rc = err_set(err, ERR_TOO_LARGE, "a piece of the export is too large");
        int sent = rc >= 0 && e.piece.n > 0 ? sink(arg, buf_view(&e.piece), err) : 0;
        if (sent < 0)
            rc = sent;
    }
    buf_release(&e.piece);
    return rc;
}
