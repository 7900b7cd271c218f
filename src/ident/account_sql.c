/* Statements of accounts. */
#include "ident/ident_int.h"

static const char FIND[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts a WHERE a.name = $1";
static const char BY_ID[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts a WHERE a.id = $1";
static const char PASSWORD[] = "SELECT pw_hash FROM accounts WHERE id = $1";
static const char STANDS[] = "SELECT id FROM accounts WHERE id = $1 AND state = 0 AND epoch = $2 AND role = $3";
static const char ANY_USER[] = "SELECT id FROM accounts WHERE kind = 0 LIMIT 1";
static const char ADMINS[] = "SELECT count(*) FROM accounts WHERE role = 1 AND state = 0";
static const char ADD[] = "INSERT INTO accounts (name, pw_hash, role, state, epoch, created_at, updated_at, kind, "
                          "default_visibility) VALUES ($1, $2, $3, 0, 1, $4, $4, $5, $6)";

void account_map(const struct db_rows *row, void *account)
{
    struct account *a = account;
    a->id = db_int(row, 0);
    a->state = db_int(row, 1);
    a->role = db_int(row, 2);
    a->epoch = db_int(row, 3);
    a->created_at = db_int(row, 4);
    a->last_login_at = db_int(row, 5);
    a->plan_id = db_int(row, 6);
    a->kind = (enum account_kind)db_int(row, 7);
    text_copy(a->name, sizeof a->name, db_text(row, 8));
    text_copy(a->full_name, sizeof a->full_name, db_text(row, 9));
    text_copy(a->email, sizeof a->email, db_text(row, 10));
    a->default_public = db_int(row, 11) != 0;
    a->no_public = db_int(row, 12) != 0;
    a->personal_tokens = db_int(row, 13) != 0;
    a->need_mfa = db_int(row, 14) != 0;
    a->no_personal_push = db_int(row, 15) != 0;
    a->default_access = (int)db_int(row, 16);
    a->token_max_days = db_int(row, 17);
    a->email_verified = db_int(row, 18) != 0;
}

int account_tx_find(struct db_tx *tx, struct str name, struct account *ret, struct err *err)
{
    return db_one(tx, FIND, DB_ARGS(DB_T(name)), account_map, ret, err);
}

int account_tx_by_id(struct db_tx *tx, int64_t id, struct account *ret, struct err *err)
{
    return db_one(tx, BY_ID, DB_ARGS(DB_I(id)), account_map, ret, err);
}

static void map_hash(const struct db_rows *row, void *out) { text_copy(out, PASSWORD_HASH_MAX, db_text(row, 0)); }

int account_tx_password(struct db_tx *tx, int64_t id, char ret[PASSWORD_HASH_MAX], struct err *err)
{
    return db_one(tx, PASSWORD, DB_ARGS(DB_I(id)), map_hash, ret, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int account_tx_admins(struct db_tx *tx, int64_t *ret, struct err *err)
{
    int rc = db_one(tx, ADMINS, DB_NO_ARGS, map_int, ret, err);
    return rc < 0 ? rc : 0;
}

int account_tx_stands(struct db_tx *tx, int64_t id, int64_t epoch, int64_t role, struct err *err)
{
    int64_t ignored;
    return db_one(tx, STANDS, DB_ARGS(DB_I(id), DB_I(epoch), DB_I(role)), map_int, &ignored, err);
}

int account_tx_any(struct db_tx *tx, struct err *err)
{
    int64_t id;
    return db_one(tx, ANY_USER, DB_NO_ARGS, map_int, &id, err);
}

int account_tx_add(struct db_tx *tx, enum account_kind kind, struct str name, const char *hash, enum site_role role,
                   int64_t *ret_id, struct err *err)
{
    struct account a;
    int64_t now = clock_now();
    int rc = db_exec(tx, ADD,
                     DB_ARGS(DB_T(name), DB_T(str_of(hash)), DB_I(role), DB_I(now), DB_I(kind), DB_I(str_is(name, "library"))),
                     NULL, err);
    if (rc < 0 || (rc = account_tx_find(tx, name, &a, err)) < 0)
        return rc;
    *ret_id = a.id;
    return namespace_tx_add(tx, name, a.id, now, err);
}
