/* Statements on what accounts use. */
#include "policy/quota_int.h"

static const char USAGE_GET[] = "SELECT used, reserved, warned FROM usage WHERE account_id = $1 AND kind = $2";
static const char USAGE_PUT[] =
    "INSERT INTO usage (account_id, kind, used, reserved, warned) VALUES ($1, $2, $3, $4, $5) "
    "ON CONFLICT (account_id, kind) DO UPDATE SET used = excluded.used, reserved = excluded.reserved, "
    "warned = excluded.warned";
#define RESERVATION_SELECT "SELECT r.upload, r.account_id, r.bytes FROM reservations r "
static const char RESERVATION_GET[] = RESERVATION_SELECT "WHERE r.upload = $1";
static const char RESERVATION_PUT[] =
    "INSERT INTO reservations (upload, account_id, bytes, expires_at) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (upload) DO UPDATE SET bytes = excluded.bytes, expires_at = excluded.expires_at";
static const char RESERVATION_DELETE[] = "DELETE FROM reservations WHERE upload = $1";
static const char RESERVATION_EXPIRED[] =
    RESERVATION_SELECT "WHERE r.expires_at <= $1 ORDER BY r.expires_at LIMIT 1";
static const char RESERVATION_ORPHAN[] =
    RESERVATION_SELECT "WHERE NOT EXISTS (SELECT 1 FROM uploads u WHERE u.id = r.upload) LIMIT 1";
static const char RESERVATION_ANY[] = "SELECT bytes FROM reservations LIMIT 1";
static const char BLOB_GET[] = "SELECT size, links FROM account_blobs WHERE account_id = $1 AND digest = $2";
static const char BLOB_PUT[] = "INSERT INTO account_blobs (account_id, digest, size, links) VALUES ($1, $2, $3, $4) "
                               "ON CONFLICT (account_id, digest) DO UPDATE SET links = excluded.links";
static const char BLOB_DELETE[] = "DELETE FROM account_blobs WHERE account_id = $1 AND digest = $2";

/* One row for each account that has anything, with the sums as they should be. */
#define SUMS                                                                                         \
    "(SELECT account_id, CAST(sum(used) AS BIGINT) AS used, CAST(sum(reserved) AS BIGINT) AS reserved FROM (" \
    "SELECT account_id, size AS used, 0 AS reserved FROM account_blobs "                             \
    "UNION ALL SELECT account_id, 0, bytes FROM reservations "                                       \
    "UNION ALL SELECT account_id, 0, 0 FROM usage WHERE kind = 1) rows_of GROUP BY account_id) s "
static const char WRONG[] =
    "SELECT count(*) FROM " SUMS "LEFT JOIN usage u ON u.account_id = s.account_id AND u.kind = 1 "
    "WHERE coalesce(u.used, 0) <> s.used OR coalesce(u.reserved, 0) <> s.reserved";
static const char RECOUNT[] =
    "INSERT INTO usage (account_id, kind, used, reserved, warned) "
    "SELECT s.account_id, 1, s.used, s.reserved, 0 FROM " SUMS "WHERE s.account_id IS NOT NULL "
    "ON CONFLICT (account_id, kind) DO UPDATE SET used = excluded.used, reserved = excluded.reserved";

static void map_usage(const struct db_rows *row, void *out)
{
    *(struct quota_usage *)out = (struct quota_usage){db_int(row, 0), db_int(row, 1), db_int(row, 2) != 0};
}

int usage_tx_get(struct db_tx *tx, int64_t account, enum quota_kind kind, struct quota_usage *ret, struct err *err)
{
    return db_one(tx, USAGE_GET, DB_ARGS(DB_I(account), DB_I(kind)), map_usage, ret, err);
}

int usage_tx_put(struct db_tx *tx, int64_t account, enum quota_kind kind, const struct quota_usage *u, struct err *err)
{
    return db_exec(tx, USAGE_PUT, DB_ARGS(DB_I(account), DB_I(kind), DB_I(u->used), DB_I(u->reserved), DB_I(u->warned)),
                   NULL, err);
}

static void map_reservation(const struct db_rows *row, void *out)
{
    struct quota_reservation *r = out;
    text_copy(r->upload, sizeof r->upload, db_text(row, 0));
    r->account = db_int(row, 1);
    r->bytes = db_int(row, 2);
}

int reservation_tx_get(struct db_tx *tx, const char *upload, struct quota_reservation *ret, struct err *err)
{
    return db_one(tx, RESERVATION_GET, DB_ARGS(DB_T(str_of(upload))), map_reservation, ret, err);
}

int reservation_tx_put(struct db_tx *tx, const struct quota_reservation *r, int64_t expires, struct err *err)
{
    return db_exec(tx, RESERVATION_PUT,
                   DB_ARGS(DB_T(str_of(r->upload)), DB_I(r->account), DB_I(r->bytes), DB_I(expires)), NULL, err);
}

int reservation_tx_delete(struct db_tx *tx, const char *upload, struct err *err)
{
    return db_exec(tx, RESERVATION_DELETE, DB_ARGS(DB_T(str_of(upload))), NULL, err);
}

int reservation_tx_expired(struct db_tx *tx, int64_t now, struct quota_reservation *ret, struct err *err)
{
    return db_one(tx, RESERVATION_EXPIRED, DB_ARGS(DB_I(now)), map_reservation, ret, err);
}

int reservation_tx_orphan(struct db_tx *tx, struct quota_reservation *ret, struct err *err)
{
    return db_one(tx, RESERVATION_ORPHAN, DB_NO_ARGS, map_reservation, ret, err);
}

static void map_blob(const struct db_rows *row, void *out)
{
    *(struct quota_blob *)out = (struct quota_blob){db_int(row, 0), db_int(row, 1)};
}

int account_blob_tx_get(struct db_tx *tx, int64_t account, struct str key, struct quota_blob *ret, struct err *err)
{
    return db_one(tx, BLOB_GET, DB_ARGS(DB_I(account), DB_B(key)), map_blob, ret, err);
}

int account_blob_tx_put(struct db_tx *tx, int64_t account, struct str key, const struct quota_blob *b, struct err *err)
{
    return db_exec(tx, BLOB_PUT, DB_ARGS(DB_I(account), DB_B(key), DB_I(b->size), DB_I(b->links)), NULL, err);
}

int account_blob_tx_delete(struct db_tx *tx, int64_t account, struct str key, struct err *err)
{
    return db_exec(tx, BLOB_DELETE, DB_ARGS(DB_I(account), DB_B(key)), NULL, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int quota_tx_any_reserved(struct db_tx *tx, struct err *err)
{
    int64_t bytes;
    return db_one(tx, RESERVATION_ANY, DB_NO_ARGS, map_int, &bytes, err);
}

int quota_tx_wrong(struct db_tx *tx, int64_t *ret_accounts, struct err *err)
{
    int rc = db_one(tx, WRONG, DB_NO_ARGS, map_int, ret_accounts, err);
    return rc < 0 ? rc : 0;
}

int quota_tx_recount(struct db_tx *tx, struct err *err)
{
    return db_exec(tx, RECOUNT, DB_NO_ARGS, NULL, err);
}
