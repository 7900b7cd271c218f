/* Statements of trust rules and of what they give. */
#include "ident/outside.h"

#include <stdlib.h>

static const char BY_ID[] = "SELECT " TRUST_COLUMNS " FROM trust_rules t JOIN accounts a ON a.id = t.org_id WHERE t.org_id = $1 AND t.id = $2";
static const char FIND[] = "SELECT " TRUST_COLUMNS " FROM trust_rules t JOIN accounts a ON a.id = t.org_id WHERE t.issuer = $1 "
                           "AND t.audience = $2 AND a.state = 0 AND ($3 = '' OR a.name = $3) AND ($4 = '' OR t.name = $4) "
                           "ORDER BY t.id LIMIT $5";
static const char END[] = "DELETE FROM credentials WHERE account_id = $1 AND kind = 3 AND state <> 2";
static const char EXPIRE[] = "DELETE FROM credentials WHERE kind = 3 AND expires_at < $1 AND (state = 0 OR expires_at < $2)";
static const char LIVE[] = "SELECT count(*) FROM credentials WHERE account_id = $1 AND kind = 3";
static const char ADD[] = "INSERT INTO credentials (account_id, kind, name, hash, old_until, state, created_by, created_at, "
                          "created_from, expires_at, used_at, used_from) VALUES ($1, 3, $2, $3, 0, 0, $1, $4, $5, $6, 0, '')";
static const char RENEW[] = "UPDATE credentials SET expires_at = $2, name = $3 WHERE id = $1";
static const char UNBOUND[] = "DELETE FROM credential_bounds WHERE credential_id = $1";
static const char BOUND[] = "INSERT INTO credential_bounds (credential_id, pattern, scope) VALUES ($1, $2, $3) ON CONFLICT "
                            "(credential_id, pattern) DO UPDATE SET scope = CASE WHEN credential_bounds.scope < excluded.scope THEN "
                            "excluded.scope ELSE credential_bounds.scope END";
/* A revoked row is kept for as long as the issuer's token may still be shown. */
#define KEEP_US ((int64_t)7 * 86400 * 1000000)

void trust_rule_release(struct trust_rule *t)
{
    json_decref(t->claims);
    json_decref(t->bounds);
    free(t->jwks);
    t->claims = t->bounds = NULL;
    t->jwks = NULL;
}

static json_t *stored(struct str text)
{
    json_t *doc = json_loadb(text.p ? text.p : "", text.n, 0, NULL);
    return doc ? doc : json_array();
}

void trust_rule_map(const struct db_rows *row, void *out)
{
    struct trust_rule *t = out;
    t->id = db_int(row, 0);
    t->org_id = db_int(row, 1);
    t->life = db_int(row, 2);
    t->created_at = db_int(row, 3);
    t->updated_at = db_int(row, 4);
    text_copy(t->name, sizeof t->name, db_text(row, 5));
    text_copy(t->issuer, sizeof t->issuer, db_text(row, 6));
    text_copy(t->audience, sizeof t->audience, db_text(row, 7));
    t->claims = stored(db_text(row, 8));
    t->bounds = stored(db_text(row, 9));
    struct str jwks = db_text(row, 10);
    t->jwks = mem_strndup(jwks.p ? jwks.p : "", jwks.n);
    text_copy(t->org, sizeof t->org, db_text(row, 11));
}

int trust_tx_by_id(struct db_tx *tx, int64_t org_id, int64_t id, struct trust_rule *ret, struct err *err)
{
    return db_one(tx, BY_ID, DB_ARGS(DB_I(org_id), DB_I(id)), trust_rule_map, ret, err);
}

int trust_tx_find(struct db_tx *tx, struct str issuer, struct str audience, struct str org, struct str name, struct trust_rule *ret,
                  size_t max, size_t *n, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = *n >= max ? 0 : db_query(tx, FIND, DB_ARGS(DB_T(issuer), DB_T(audience), DB_T(org), DB_T(name), DB_I(max - *n)), &rows, err);
    while (rc == 0 && rows != NULL && (rc = db_next(rows, err)) == 1) {
        trust_rule_map(rows, &ret[(*n)++]);
        rc = 0;
    }
    return rc;
}

int keyless_tx_end(struct db_tx *tx, int64_t org_id, struct err *err) { return db_exec(tx, END, DB_ARGS(DB_I(org_id)), NULL, err); }

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int add(struct db_tx *tx, int64_t org_id, struct str name, struct str hash, int64_t now, int64_t expires, struct str from, struct err *err)
{
    int64_t live = 0;
    int rc = db_exec(tx, EXPIRE, DB_ARGS(DB_I(now), DB_I(now - KEEP_US)), NULL, err);
    if (rc == 0)
        rc = db_one(tx, LIVE, DB_ARGS(DB_I(org_id)), map_int, &live, err);
    if (rc < 0)
        return rc;
    if (live >= KEYLESS_LIVE_MAX)
        return err_set(err, ERR_TOOMANYREQUESTS, "the organization has %d keyless tokens: some must end first", KEYLESS_LIVE_MAX);
    return db_exec(tx, ADD, DB_ARGS(DB_I(org_id), DB_T(name), DB_B(hash), DB_I(now), DB_T(from), DB_I(expires)), NULL, err);
}

int keyless_tx_put(struct db_tx *tx, int64_t org_id, struct str name, const uint8_t hash[32], int64_t now, int64_t expires,
                   struct str from, int64_t *ret_id, struct err *err)
{
    struct credential_row row;
    struct str key = {(const char *)hash, 32};
    int rc = credential_tx_by_hash(tx, hash, now, &row, err);
    if (rc == 1 && (row.state != 0 || row.account_id != org_id))
        return err_set(err, ERR_UNAUTHORIZED, "the token was revoked");
    if (rc == 0 && (rc = add(tx, org_id, name, key, now, expires, from, err)) == 0)
        rc = credential_tx_by_hash(tx, hash, now, &row, err);
    else if (rc == 1 && (rc = db_exec(tx, RENEW, DB_ARGS(DB_I(row.id), DB_I(expires), DB_T(name)), NULL, err)) == 0)
        rc = db_exec(tx, UNBOUND, DB_ARGS(DB_I(row.id)), NULL, err);
    if (rc < 0)
        return rc;
    *ret_id = row.id;
    return 0;
}

int keyless_tx_bound(struct db_tx *tx, int64_t credential_id, struct str pattern, enum scope scope, struct err *err)
{
    return db_exec(tx, BOUND, DB_ARGS(DB_I(credential_id), DB_T(pattern), DB_I(scope)), NULL, err);
}
