/* Statements of random tokens. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char BY_HASH[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE hash = $1";
static const char BY_OLD_HASH[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE old_hash = $1 AND old_until > $2";
static const char BY_ID[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE id = $1";
static const char BOUNDS[] = "SELECT pattern, scope FROM credential_bounds WHERE credential_id = $1 ORDER BY pattern LIMIT $2";
static const char END_ALL[] = "UPDATE credentials SET state = 2 WHERE account_id = $1 AND state <> 2";
static const char REVOKE[] = "UPDATE credentials SET state = 2 WHERE id = $1";
static const char USED[] = "UPDATE credentials SET used_at = $2, used_from = $3 WHERE id = $1 AND used_at < $2";

static const char LIST[] = "SELECT " CREDENTIAL_COLUMNS " FROM credentials WHERE account_id = $1 AND kind = $2 AND state < 2 AND id > $3 "
                           "ORDER BY id LIMIT $4";
static const char COUNT[] = "SELECT count(*) FROM credentials WHERE account_id = $1 AND kind = $2 AND state < 2";
static const char ADD[] = "INSERT INTO credentials (account_id, kind, name, hash, old_until, state, created_by, created_at, "
                          "created_from, expires_at, used_at, used_from) VALUES ($1, $2, $3, $4, 0, 0, $5, $6, $7, $8, 0, '')";
static const char ADD_BOUND[] = "INSERT INTO credential_bounds (credential_id, pattern, scope) VALUES ($1, $2, $3)";
static const char SET[] = "UPDATE credentials SET name = $2, state = $3 WHERE id = $1";

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

int credential_tx_each_bound(struct db_tx *tx, int64_t id, int (*fn)(void *arg, struct str pattern, enum scope scope), void *arg,
                             struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, BOUNDS, DB_ARGS(DB_I(id), DB_I(BOUNDS_MAX)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = fn(arg, db_text(rows, 0), (enum scope)db_int(rows, 1));
    return rc < 0 ? rc : 0;
}

static int keep_bound(void *arg, struct str pattern, enum scope scope)
{
    struct principal *p = arg;
    p->bounds = mem_realloc(p->bounds, size_mul(p->n_bounds + 1, sizeof *p->bounds));
    p->bounds[p->n_bounds++] = (struct bound){{mem_strndup(pattern.p ? pattern.p : "", pattern.n), pattern.n}, scope};
    return 0;
}

int credential_tx_bounds(struct db_tx *tx, int64_t id, struct principal *p, struct err *err)
{
    while (p->n_bounds > 0) /* of an earlier run of the transaction */
        free((void *)(uintptr_t)p->bounds[--p->n_bounds].pattern.p);
    return credential_tx_each_bound(tx, id, keep_bound, p, err);
}

int credential_tx_each(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t after, int64_t n,
                       int (*fn)(void *arg, const struct credential_row *c), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(account_id), DB_I(kind), DB_I(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct credential_row row;
        credential_map(rows, &row);
        rc = fn(arg, &row);
    }
    return rc < 0 ? rc : 0;
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int credential_tx_count(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t *ret, struct err *err)
{
    int rc = db_one(tx, COUNT, DB_ARGS(DB_I(account_id), DB_I(kind)), map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int credential_tx_add(struct db_tx *tx, const struct credential_row *c, const uint8_t hash[32], struct err *err)
{
    return db_exec(tx, ADD,
                   DB_ARGS(DB_I(c->account_id), DB_I(c->kind), DB_T(str_of(c->name)), DB_B(((struct str){(const char *)hash, 32})),
                           DB_I(c->created_by), DB_I(c->created_at), DB_T(str_of(c->created_from)), DB_I(c->expires_at)),
                   NULL, err);
}

int credential_tx_add_bound(struct db_tx *tx, int64_t id, struct str pattern, enum scope scope, struct err *err)
{
    return db_exec(tx, ADD_BOUND, DB_ARGS(DB_I(id), DB_T(pattern), DB_I(scope)), NULL, err);
}

int credential_tx_set(struct db_tx *tx, int64_t id, struct str name, bool disabled, struct err *err)
{
    return db_exec(tx, SET, DB_ARGS(DB_I(id), DB_T(name), DB_I(disabled)), NULL, err);
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
