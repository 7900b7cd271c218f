/* Seals, and the last batch of each ring. */
#include "audit/audit_int.h"

#define COLUMNS "SELECT id, kind, at, first, last, count, prev, hash, key, sig FROM audit_seal "
static const char FIRST[] = COLUMNS "ORDER BY id LIMIT 1";
static const char LAST[] = COLUMNS "ORDER BY id DESC LIMIT 1";
static const char GET[] = COLUMNS "WHERE id = $1";
static const char NEXT[] = COLUMNS "WHERE id > $1 ORDER BY id LIMIT 1";
static const char ADD[] = "INSERT INTO audit_seal (id, kind, at, first, last, count, prev, hash, key, sig) "
                          "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
static const char DELETE[] = "DELETE FROM audit_seal WHERE id = $1";
static const char BATCH[] = "SELECT batch FROM audit_ring WHERE ring = $1";
static const char SET_BATCH[] = "INSERT INTO audit_ring (ring, batch) VALUES ($1, $2) "
                                "ON CONFLICT (ring) DO UPDATE SET batch = excluded.batch";

static void bytes_of(struct seal *s, struct str from, void *to, size_t n)
{
    if (from.n == n)
        memcpy(to, from.p, n);
    else
        s->malformed = true;
}

static void map_seal(const struct db_rows *r, void *out)
{
    struct seal *s = out;
    *s = (struct seal){.id = db_int(r, 0), .kind = db_int(r, 1), .at = db_int(r, 2),
                       .first = db_int(r, 3), .last = db_int(r, 4), .count = db_int(r, 5)};
    bytes_of(s, db_bytes(r, 6), s->prev, SEAL_HASH);
    bytes_of(s, db_bytes(r, 7), s->hash, SEAL_HASH);
    bytes_of(s, db_text(r, 8), s->key, SEAL_KID);
    bytes_of(s, db_bytes(r, 9), s->sig, SEAL_SIG);
}

int seal_tx_first(struct db_tx *tx, struct seal *ret, struct err *err)
{
    return db_one(tx, FIRST, DB_NO_ARGS, map_seal, ret, err);
}

int seal_tx_last(struct db_tx *tx, struct seal *ret, struct err *err)
{
    return db_one(tx, LAST, DB_NO_ARGS, map_seal, ret, err);
}

int seal_tx_get(struct db_tx *tx, int64_t id, struct seal *ret, struct err *err)
{
    return db_one(tx, GET, DB_ARGS(DB_I(id)), map_seal, ret, err);
}

int seal_tx_next(struct db_tx *tx, int64_t after, struct seal *ret, struct err *err)
{
    return db_one(tx, NEXT, DB_ARGS(DB_I(after)), map_seal, ret, err);
}

int seal_tx_add(struct db_tx *tx, const struct seal *s, struct err *err)
{
    const struct str prev = {(const char *)s->prev, SEAL_HASH}, hash = {(const char *)s->hash, SEAL_HASH},
                     sig = {(const char *)s->sig, SEAL_SIG};
    return db_exec(tx, ADD,
                   DB_ARGS(DB_I(s->id), DB_I(s->kind), DB_I(s->at), DB_I(s->first), DB_I(s->last), DB_I(s->count),
                           DB_B(prev), DB_B(hash), DB_T(str_of(s->key)), DB_B(sig)),
                   NULL, err);
}

int seal_tx_delete(struct db_tx *tx, int64_t id, struct err *err)
{
    return db_exec(tx, DELETE, DB_ARGS(DB_I(id)), NULL, err);
}

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

int ring_tx_batch(struct db_tx *tx, int64_t ring, int64_t *ret, struct err *err)
{
    *ret = 0;
    int rc = db_one(tx, BATCH, DB_ARGS(DB_I(ring)), map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int ring_tx_set_batch(struct db_tx *tx, int64_t ring, int64_t batch, struct err *err)
{
    return db_exec(tx, SET_BATCH, DB_ARGS(DB_I(ring), DB_I(batch)), NULL, err);
}
