/* Statements on upload sessions. */
#include "registry/upload.h"

#include "policy/quota.h"

static const char UPLOAD_FIND[] =
    "SELECT u.user_id, u.alg, u.size, u.created_at, r.name, u.hash_state FROM uploads u "
    "JOIN repos r ON r.id = u.repo_id WHERE u.id = $1";
static const char UPLOAD_SAVE[] =
    "INSERT INTO uploads (id, repo_id, user_id, alg, size, hash_state, created_at, touched_at) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT (id) DO UPDATE SET alg = excluded.alg, "
    "size = excluded.size, hash_state = excluded.hash_state, touched_at = excluded.touched_at";
static const char UPLOAD_DELETE[] = "DELETE FROM uploads WHERE id = $1";
static const char UPLOAD_COUNT[] = "SELECT count(*) FROM uploads WHERE user_id = $1";
static const char UPLOAD_COUNT_ALL[] = "SELECT count(*) FROM uploads";
static const char UPLOAD_EXPIRED[] =
    "SELECT id FROM uploads WHERE touched_at < $1 ORDER BY touched_at LIMIT $2";

static void map_upload(const struct db_rows *row, void *out)
{
    struct upload_row *u = out;
    u->user_id = db_int(row, 0);
    u->alg = db_int(row, 1);
    u->size = db_int(row, 2);
    u->created = db_int(row, 3);
    text_copy(u->name, sizeof u->name, db_text(row, 4));
    struct str state = db_bytes(row, 5);
    u->state_n = state.n <= sizeof u->state ? state.n : 0;
    if (u->state_n > 0)
        memcpy(u->state, state.p, u->state_n);
}

int upload_tx_find(struct db_tx *tx, const char *id, struct upload_row *ret, struct err *err)
{
    return db_one(tx, UPLOAD_FIND, DB_ARGS(DB_T(str_of(id))), map_upload, ret, err);
}

int upload_tx_save(struct db_tx *tx, const struct upload *u, int64_t repo_id, int64_t size,
                   const struct hash *h, struct err *err)
{
    uint8_t state[HASH_STATE_MAX];
    size_t n = hash_export(h, state);
    return db_exec(tx, UPLOAD_SAVE,
                   DB_ARGS(DB_T(str_of(u->id)), DB_I(repo_id), DB_I(u->user_id), DB_I(h->alg),
                           DB_I(size), DB_B(((struct str){(const char *)state, n})),
                           DB_I(u->created), DB_I(clock_now())),
                   NULL, err);
}

int upload_tx_delete(struct db_tx *tx, const char *id, struct err *err)
{
    int rc = quota_tx_release(tx, id, err);
    return rc < 0 ? rc : db_exec(tx, UPLOAD_DELETE, DB_ARGS(DB_T(str_of(id))), NULL, err);
}

static void map_count(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

int upload_tx_count(struct db_tx *tx, int64_t user_id, int64_t *ret, struct err *err)
{
    int rc = user_id ? db_one(tx, UPLOAD_COUNT, DB_ARGS(DB_I(user_id)), map_count, ret, err)
                     : db_one(tx, UPLOAD_COUNT_ALL, DB_NO_ARGS, map_count, ret, err);
    return rc < 0 ? rc : 0;
}

int upload_tx_expired(struct db_tx *tx, int64_t before, char ids[][UPLOAD_ID_LEN + 1], size_t max,
                      size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    size_t n = 0;
    int rc = db_query(tx, UPLOAD_EXPIRED, DB_ARGS(DB_I(before), DB_I(max)), &rows, err);
    if (rc < 0)
        return rc;
    while (n < max && (rc = db_next(rows, err)) == 1) {
        text_copy(ids[n++], UPLOAD_ID_LEN + 1, db_text(rows, 0));
    }
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}
