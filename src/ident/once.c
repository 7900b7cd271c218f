/* One-time codes: random texts of which only the keyed hash is kept, each good for one thing once. */
#include "ident/ident_int.h"

static const char ADD[] = "INSERT INTO one_time (hash, kind, account_id, payload, created_at, expires_at) VALUES ($1, $2, $3, $4, $5, $6)";
static const char EXPIRED[] = "DELETE FROM one_time WHERE expires_at < $1";
static const char FIND[] = "SELECT " ONCE_COLUMNS " FROM one_time WHERE hash = $1 AND kind = $2 AND expires_at > $3";
static const char USE[] = "DELETE FROM one_time WHERE id = $1";
static const char PAYLOAD[] = "UPDATE one_time SET payload = $2 WHERE id = $1";

void once_make(const struct ident *i, struct once_code *ret) { token_text_make(TOKEN_ONE_TIME, i->credential_key, ret->text, ret->hash); }

int once_hash(const struct ident *i, struct str text, uint8_t ret[TOKEN_HASH], struct err *err)
{
    enum token_kind kind;
    if (token_text_parse(text, &kind, err) < 0 || kind != TOKEN_ONE_TIME)
        return err_set(err, ERR_UNAUTHORIZED, "the code is unknown, expired, or was used already");
    token_text_hash(i->credential_key, text, ret);
    return 0;
}

void once_map(const struct db_rows *row, void *out)
{
    struct once *o = out;
    o->id = db_int(row, 0);
    o->kind = db_int(row, 1);
    o->account_id = db_int(row, 2);
    o->created_at = db_int(row, 3);
    o->expires_at = db_int(row, 4);
    text_copy(o->payload, sizeof o->payload, db_text(row, 5));
}

int once_tx_add(struct db_tx *tx, enum once_kind kind, const uint8_t hash[TOKEN_HASH], int64_t account_id, struct str payload,
                int64_t life, struct err *err)
{
    int64_t now = clock_now();
    BUG_ON(payload.n > ONCE_PAYLOAD_MAX);
    int rc = db_exec(tx, EXPIRED, DB_ARGS(DB_I(now)), NULL, err);
    return rc < 0 ? rc
                  : db_exec(tx, ADD,
                            DB_ARGS(DB_B(((struct str){(const char *)hash, TOKEN_HASH})), DB_I(kind),
                                    account_id ? DB_I(account_id) : DB_N, DB_T(payload), DB_I(now), DB_I(now + life)),
                            NULL, err);
}

int once_tx_find(struct db_tx *tx, enum once_kind kind, const uint8_t hash[TOKEN_HASH], struct once *ret, struct err *err)
{
    return db_one(tx, FIND, DB_ARGS(DB_B(((struct str){(const char *)hash, TOKEN_HASH})), DB_I(kind), DB_I(clock_now())), once_map, ret, err);
}

int once_tx_use(struct db_tx *tx, int64_t id, struct err *err)
{
    int64_t n = 0;
    int rc = db_exec(tx, USE, DB_ARGS(DB_I(id)), &n, err);
    return rc < 0 ? rc : n == 1;
}

int once_tx_payload(struct db_tx *tx, int64_t id, struct str payload, struct err *err)
{
    return db_exec(tx, PAYLOAD, DB_ARGS(DB_I(id), DB_T(payload)), NULL, err);
}
