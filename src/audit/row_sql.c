/* Rows of the log. Every statement that reads pages is one range of one index. */
#include "audit/audit_int.h"
#include "base/clock.h"

/* ---- storing ---- */
static const char ADD[] =
    "INSERT INTO audit (at, account_id, actor_id, actor, credential_id, action, object, address, client, "
    "result, count, data) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

static size_t utf8_len(const uint8_t *p, size_t left)
{
    size_t n = p[0] >= 0xC2 && p[0] <= 0xDF ? 2 : (p[0] & 0xF0) == 0xE0 ? 3 : p[0] >= 0xF0 && p[0] <= 0xF4 ? 4 : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    if ((p[0] == 0xE0 && p[1] < 0xA0) || (p[0] == 0xED && p[1] > 0x9F) || (p[0] == 0xF0 && p[1] < 0x90) ||
        (p[0] == 0xF4 && p[1] > 0x8F) || (p[0] == 0xC2 && p[1] < 0xA0)) /* the last: C1 controls */
        return 0;
    return n;
}

/* Whole characters up to max bytes; '?' for control bytes and for what is no UTF-8: PostgreSQL would
 * refuse the row, and with it the change that it tells of. */
static struct str clean(struct str s, size_t max, char *out)
{
    size_t o = 0;
    for (size_t i = 0; i < s.n && o < max;) {
        const uint8_t *p = (const uint8_t *)s.p + i;
        size_t n = *p >= 0x20 && *p < 0x7F ? 1 : utf8_len(p, s.n - i);
        if (o + n > max)
            break;
        if (n == 0)
            out[o++] = '?';
        else
            memcpy(out + o, p, n);
        o += n;
        i += n > 0 ? n : 1;
    }
    return (struct str){out, o};
}

int audit_tx_add(struct db_tx *tx, const struct audit_row *row, struct err *err)
{
    char actor[AUDIT_NAME_MAX], action[AUDIT_NAME_MAX], object[AUDIT_OBJECT_MAX], address[AUDIT_NAME_MAX],
        client[AUDIT_CLIENT_MAX];
    if (row->data.n > AUDIT_DATA_MAX)
        return err_set(err, ERR_TOO_LARGE, "an audit row's data is above %d bytes", AUDIT_DATA_MAX);
    return db_exec(tx, ADD,
                   DB_ARGS(DB_I(row->at ? row->at : clock_now()), DB_I(row->account_id), DB_I(row->actor_id),
                           DB_T(clean(row->actor, sizeof actor, actor)), DB_I(row->credential_id),
                           DB_T(clean(row->action, sizeof action, action)),
                           DB_T(clean(row->object, sizeof object, object)),
                           DB_T(clean(row->address, sizeof address, address)),
                           DB_T(clean(row->client, sizeof client, client)), DB_I(row->result),
                           DB_I(row->count ? row->count : 1), DB_T(row->data)),
                   NULL, err);
}

/* ---- reading ---- */
#define COLUMNS                                                                                              \
    "SELECT seq, at, account_id, actor_id, actor, credential_id, action, object, address, client, result, " \
    "count, data FROM audit "
#define BEHIND "at >= $1 AND (at, seq) < ($2, $3) ORDER BY at DESC, seq DESC LIMIT $4"
const char *const row_pages[] = {
    [AUDIT_BY_TIME] = COLUMNS "WHERE " BEHIND,
    [AUDIT_BY_ACCOUNT] = COLUMNS "WHERE account_id = $5 AND " BEHIND,
    [AUDIT_BY_ACTOR] = COLUMNS "WHERE actor_id = $5 AND " BEHIND,
    [AUDIT_BY_OBJECT] = COLUMNS "WHERE object = $5 AND " BEHIND,
};
static const char RANGE[] = COLUMNS "WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT $3";
static const char COUNT[] = "SELECT count(*) FROM audit WHERE seq >= $1 AND seq <= $2";
static const char LAST[] = "SELECT seq FROM audit ORDER BY seq DESC LIMIT 1";
static const char DELETE[] = "DELETE FROM audit WHERE seq >= $1 AND seq <= $2";

static void row_of(const struct db_rows *r, struct audit_row *ret)
{
    *ret = (struct audit_row){
        .seq = db_int(r, 0), .at = db_int(r, 1), .account_id = db_int(r, 2), .actor_id = db_int(r, 3),
        .actor = db_text(r, 4), .credential_id = db_int(r, 5), .action = db_text(r, 6), .object = db_text(r, 7),
        .address = db_text(r, 8), .client = db_text(r, 9), .result = db_int(r, 10), .count = db_int(r, 11),
        .data = db_text(r, 12)};
}

/* object: the filter's, which the rows borrow until they are closed. */
static int open_page(struct db_tx *tx, const struct audit_filter *f, struct str object, const struct audit_cursor *c,
                     int64_t max, struct db_rows **ret, struct err *err)
{
    const struct db_value args[] = {
        DB_I(f->from), DB_I(c->at), DB_I(c->seq), DB_I(max),
        f->by == AUDIT_BY_OBJECT ? DB_T(object) : DB_I(f->by == AUDIT_BY_ACTOR ? f->actor_id : f->account_id)};
    return db_query(tx, row_pages[f->by], args, f->by == AUDIT_BY_TIME ? 4 : 5, ret, err);
}

static bool compares(const struct audit_filter *f)
{
    return f->action.n > 0 || (f->has_account && f->by != AUDIT_BY_ACCOUNT) ||
           (f->has_actor && f->by != AUDIT_BY_ACTOR);
}

static bool passes(const struct audit_filter *f, const struct audit_row *row)
{
    bool kind = f->action.n > 0 && f->action.p[f->action.n - 1] == '.';
    if (f->action.n > 0 && !(kind ? str_starts(row->action, f->action) : str_eq(row->action, f->action)))
        return false;
    return (!f->has_account || row->account_id == f->account_id) && (!f->has_actor || row->actor_id == f->actor_id);
}

static struct audit_cursor begin(const struct audit_filter *f, const struct audit_cursor *c)
{
    int64_t to = f->to > 0 ? f->to : INT64_MAX;
    if (c->at == 0 && c->seq == 0)
        return (struct audit_cursor){to, 0};
    return c->at < to ? *c : (struct audit_cursor){to, 0};
}

int audit_tx_page(struct db_tx *tx, const struct audit_filter *f, struct audit_cursor *cursor, int n,
                  audit_row_fn fn, void *arg, struct err *err)
{
    n = n < 1 ? 1 : n > AUDIT_PAGE_MAX ? AUDIT_PAGE_MAX : n;
    int64_t max = compares(f) ? AUDIT_READ_MAX : n, read = 0;
    struct audit_cursor at = begin(f, cursor);
    char text[AUDIT_OBJECT_MAX];
    struct str object = clean(f->object, sizeof text, text);
    auto_rows struct db_rows *rows = NULL; /* behind text: closed before it goes */
    int rc = open_page(tx, f, object, &at, max, &rows, err);
    int shown = 0;
    while (rc >= 0 && shown < n && (rc = db_next(rows, err)) == 1) {
        struct audit_row row;
        row_of(rows, &row);
        at = (struct audit_cursor){row.at, row.seq};
        read++;
        if (!passes(f, &row))
            continue;
        shown++;
        rc = fn(arg, &row, err);
    }
    if (rc < 0)
        return rc;
    *cursor = at;
    return shown == n || read == max;
}

static int each(struct db_rows *rows, audit_row_fn fn, void *arg, struct err *err)
{
    int rc;
    while ((rc = db_next(rows, err)) == 1) {
        struct audit_row row;
        row_of(rows, &row);
        if ((rc = fn(arg, &row, err)) < 0)
            return rc;
    }
    return rc;
}

int row_tx_range(struct db_tx *tx, int64_t first, int64_t last, int64_t max, audit_row_fn fn, void *arg,
                 struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, RANGE, DB_ARGS(DB_I(first), DB_I(last), DB_I(max)), &rows, err);
    return rc < 0 ? rc : each(rows, fn, arg, err);
}

int audit_tx_follow(struct db_tx *tx, int64_t after, int n, audit_row_fn fn, void *arg, struct err *err)
{
    n = n < 1 ? 1 : n > AUDIT_PAGE_MAX ? AUDIT_PAGE_MAX : n;
    return row_tx_range(tx, after + 1, INT64_MAX, n, fn, arg, err);
}

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

int row_tx_count(struct db_tx *tx, int64_t first, int64_t last, int64_t *ret, struct err *err)
{
    int rc = db_one(tx, COUNT, DB_ARGS(DB_I(first), DB_I(last)), map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int row_tx_last(struct db_tx *tx, int64_t *ret, struct err *err)
{
    *ret = 0;
    int rc = db_one(tx, LAST, DB_NO_ARGS, map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int row_tx_delete(struct db_tx *tx, int64_t first, int64_t last, struct err *err)
{
    return db_exec(tx, DELETE, DB_ARGS(DB_I(first), DB_I(last)), NULL, err);
}
