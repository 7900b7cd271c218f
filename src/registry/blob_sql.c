/* Statements on blobs and on their links to repositories. The link is the right (T18, T56). */
#include "registry/registry_int.h"

static const char BLOB_LINKED[] = "SELECT b.size, b.state, b.verified_at, b.ino, b.ctime FROM "
                                  "repo_blobs l JOIN blobs b ON b.digest = l.digest "
                                  "WHERE l.repo_id = $1 AND l.digest = $2";
/* created_at keeps the first push's time; everything else describes the file that is there now. */
static const char BLOB_UPSERT[] = "INSERT INTO blobs (digest, size, state, verified_at, ino, "
                                  "ctime, created_at) VALUES ($1, $2, 0, $3, $4, $5, $3) "
                                  "ON CONFLICT (digest) DO UPDATE SET size = excluded.size, state "
                                  "= 0, verified_at = excluded.verified_at, "
                                  "ino = excluded.ino, ctime = excluded.ctime";
static const char BLOB_LINK[] =
    "INSERT INTO repo_blobs (repo_id, digest, linked_at) VALUES ($1, $2, $3) "
    "ON CONFLICT (repo_id, digest) DO UPDATE SET linked_at = excluded.linked_at";
static const char BLOB_LINKS[] = "SELECT b.size, (SELECT count(*) FROM repo_blobs l WHERE l.repo_id = $2 AND "
                                 "l.digest = b.digest) FROM blobs b WHERE b.digest = $1";
static const char BLOB_UNLINK[] = "DELETE FROM repo_blobs WHERE repo_id = $1 AND digest = $2";
static const char BLOB_VERIFIED[] = "UPDATE blobs SET verified_at = $2, ino = $3, ctime = $4 "
                                    "WHERE digest = $1 AND state = 0 AND size = $5";
static const char BLOB_QUARANTINE[] = "UPDATE blobs SET state = 1 WHERE digest = $1 AND state = 0";
static const char HOLDER[] = "SELECT n.owner_id, a.plan_id FROM repos r JOIN namespaces n ON n.id = r.namespace_id "
                             "LEFT JOIN accounts a ON a.id = n.owner_id WHERE r.id = $1";
/* Rights that SQL can see narrow the list; ident decides on each row. */
static const char BLOB_HOLDERS[] =
    "SELECT r.name FROM (SELECT repo_id FROM repo_blobs WHERE digest = $1 ORDER BY repo_id LIMIT $4) l "
    "JOIN repos r ON r.id = l.repo_id JOIN namespaces n ON n.id = r.namespace_id "
    "WHERE r.public = 1 OR n.owner_id = $2 OR $3 = CAST(1 AS BIGINT) "
    "OR EXISTS (SELECT 1 FROM members m WHERE m.org_id = n.owner_id AND m.user_id = $2) "
    "OR EXISTS (SELECT 1 FROM collaborators c WHERE c.repo_id = r.id AND c.user_id = $2)";

static void map_blob(const struct db_rows *row, void *out)
{
    *(struct blob_row *)out = (struct blob_row){
        .size = db_int(row, 0),
        .state = db_int(row, 1),
        .verified_at = db_int(row, 2),
        .ino = db_int(row, 3),
        .ctime_ns = db_int(row, 4),
    };
}

int blob_tx_linked(struct db_tx *tx, int64_t repo_id, const struct digest *d, struct blob_row *ret,
                   struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_one(tx, BLOB_LINKED, DB_ARGS(DB_I(repo_id), DB_B(key_str(d, key))), map_blob, ret,
                  err);
}

int blob_tx_upsert(struct db_tx *tx, const struct digest *d, const struct blob_stat *st,
                   struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_exec(tx, BLOB_UPSERT,
                   DB_ARGS(DB_B(key_str(d, key)), DB_I(st->size), DB_I(clock_now()), DB_I(st->ino),
                           DB_I(st->ctime_ns)),
                   NULL, err);
}

static void map_holder(const struct db_rows *row, void *out)
{
    struct holder *h = out;
    h->account = db_is_null(row, 0) ? 0 : db_int(row, 0);
    h->plan = db_is_null(row, 1) ? 0 : db_int(row, 1);
}

int holder_tx_find(struct db_tx *tx, int64_t repo_id, struct holder *ret, struct err *err)
{
    *ret = (struct holder){0, 0};
    int rc = db_one(tx, HOLDER, DB_ARGS(DB_I(repo_id)), map_holder, ret, err);
    return rc < 0 ? rc : 0;
}

struct links {
    int64_t size, here;
};

static void map_links(const struct db_rows *row, void *out)
{
    *(struct links *)out = (struct links){db_int(row, 0), db_int(row, 1)};
}

int blob_tx_link(struct db_tx *tx, int64_t repo_id, const struct digest *d, const char *event,
                 struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    struct links links = {0, 1};
    int rc = db_one(tx, BLOB_LINKS, DB_ARGS(DB_B(key_str(d, key)), DB_I(repo_id)), map_links, &links, err);
    if (rc >= 0 && links.here == 0)
        rc = charge_tx_link(tx, repo_id, d, links.size, err);
    if (rc >= 0)
        rc = db_exec(tx, BLOB_LINK, DB_ARGS(DB_I(repo_id), DB_B(key_str(d, key)), DB_I(clock_now())), NULL, err);
    return rc < 0 ? rc : gc_enqueue(tx, GC_LINK, repo_id, d, event, err);
}

int blob_tx_unlink(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t actor_id,
                   struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    char text[DIGEST_TEXT_MAX], data[DIGEST_TEXT_MAX + 16];
    int64_t changed = 0;
    int rc = db_exec(tx, BLOB_UNLINK, DB_ARGS(DB_I(repo_id), DB_B(key_str(d, key))), &changed, err);
    if (rc < 0 || changed == 0)
        return rc;
    if ((rc = charge_tx_unlink(tx, repo_id, d, err)) < 0 ||
        (rc = gc_enqueue(tx, GC_BLOB, 0, d, "blob_delete", err)) < 0)
        return rc;
    (void)snprintf(data, sizeof data, "{\"digest\":\"%s\"}", digest_text(d, text));
    rc = event_tx_append(tx, "blob.deleted", actor_id, repo_id, str_of(data), err);
    return rc < 0 ? rc : 1;
}

int blob_tx_verified(struct db_tx *tx, const struct digest *d, const struct blob_stat *st,
                     struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_exec(tx, BLOB_VERIFIED,
                   DB_ARGS(DB_B(key_str(d, key)), DB_I(clock_now()), DB_I(st->ino),
                           DB_I(st->ctime_ns), DB_I(st->size)),
                   NULL, err);
}

int blob_tx_quarantine(struct db_tx *tx, const struct digest *d, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    int64_t changed = 0;
    int rc = db_exec(tx, BLOB_QUARANTINE, DB_ARGS(DB_B(key_str(d, key))), &changed, err);
    return rc < 0 ? rc : changed > 0;
}

int blob_tx_readable_somewhere(struct db_tx *tx, const struct principal *p, const struct digest *d,
                               struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, BLOB_HOLDERS,
                      DB_ARGS(DB_B(key_str(d, key)), DB_I(p->user_id), DB_I(p->role != SITE_NONE),
                              DB_I(MOUNT_CANDIDATES_MAX)),
                      &rows, err);
    if (rc < 0)
        return rc;
    while ((rc = db_next(rows, err)) == 1) {
        rc = ident_tx_may(tx, p, RIGHT_PULL, db_text(rows, 0), NULL);
        if (rc != ERR_DENIED)
            return rc < 0 ? rc : 1;
    }
    return rc;
}
