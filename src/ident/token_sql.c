/* Statements of random tokens. */
#include "ident/ident_int.h"

static const char BY_HASH[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE hash = $1";
static const char BY_OLD_HASH[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE old_hash = $1 AND old_until > $2";
static const char BY_ID[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE id = $1";
static const char BOUNDS[] = "SELECT pattern, scope FROM credential_bounds WHERE credential_id = $1 ORDER BY pattern LIMIT $2";
static const char END_ALL[] = "UPDATE credentials SET state = 2 WHERE account_id = $1 AND state <> 2";
static const char REVOKE[] = "UPDATE credentials SET state = 2 WHERE id = $1";
static const char USED[] = "UPDATE credentials SET used_at = $2, used_from = $3 WHERE id = $1 AND used_at < $2";

void credential_map(const struct db_rows *row, void *out)
{
    struct credential_row *c = out;
    c->id = db_int(row, 0);
    c->account_id = db_int(row, 1);
    c->kind = db_int(row, 2);
    c->state = db_int(row, 3);
    c->created_by = db_int(row, 4);
    c->created_at = db_int(row, 5);
    c->expires_at = db_int(row, 6);
    c->used_at = db_int(row, 7);
    c->old_until = db_int(row, 8);
    text_copy(c->name, sizeof c->name, db_text(row, 9));
    text_copy(c->created_from, sizeof c->created_from, db_text(row, 10));
    text_copy(c->used_from, sizeof c->used_from, db_text(row, 11));
}

int credential_tx_by_hash(struct db_tx *tx, const uint8_t hash[32], int64_t now, struct credential_row *ret, struct err *err)
{
    struct str key = {(const char *)hash, 32};
    int rc = db_one(tx, BY_HASH, DB_ARGS(DB_B(key)), credential_map, ret, err);
    return rc != 0 ? rc : db_one(tx, BY_OLD_HASH, DB_ARGS(DB_B(key), DB_I(now)), credential_map, ret, err);
}

int credential_tx_by_id(struct db_tx *tx, int64_t id, struct credential_row *ret, struct err *err)
{
    return db_one(tx, BY_ID, DB_ARGS(DB_I(id)), credential_map, ret, err);
}

int credential_tx_bounds(struct db_tx *tx, int64_t id, struct principal *p, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, BOUNDS, DB_ARGS(DB_I(id), DB_I(BOUNDS_MAX)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        p->bounds = mem_realloc(p->bounds, size_mul(p->n_bounds + 1, sizeof *p->bounds));
        struct str pattern = db_text(rows, 0);
        p->bounds[p->n_bounds++] =
            (struct bound){{mem_strndup(pattern.p ? pattern.p : "", pattern.n), pattern.n}, (enum scope)db_int(rows, 1)};
        rc = 0;
    }
    return rc;
}

bool credential_lives(const struct credential_row *c, int64_t now)
{
    return c->state == 0 && (c->expires_at == 0 || c->expires_at > now);
}

int credential_tx_used(struct db_tx *tx, int64_t id, int64_t now, struct str from, struct err *err)
{
    return db_exec(tx, USED, DB_ARGS(DB_I(id), DB_I(now), DB_T(from)), NULL, err);
}

int credential_tx_end_all(struct db_tx *tx, int64_t account_id, struct err *err)
{
    return db_exec(tx, END_ALL, DB_ARGS(DB_I(account_id)), NULL, err);
}

int credential_tx_revoke(struct db_tx *tx, int64_t id, struct err *err)
{
    return db_exec(tx, REVOKE, DB_ARGS(DB_I(id)), NULL, err);
}
