/* Statements on tags. Order is bytewise (the column's collation); pages go by key, never by OFFSET.
 */
#include "registry/registry_int.h"

static const char TAG_FIND[] = "SELECT digest FROM tags WHERE repo_id = $1 AND name = $2";
static const char TAG_SET[] = "INSERT INTO tags (repo_id, name, manifest_id, digest, created_at, "
                              "updated_at) VALUES ($1, $2, $3, $4, $5, $5) "
                              "ON CONFLICT (repo_id, name) DO UPDATE SET manifest_id = "
                              "excluded.manifest_id, digest = excluded.digest, "
                              "updated_at = excluded.updated_at";
static const char REPO_PUSHED[] = "UPDATE repos SET updated_at = $2 WHERE id = $1";
static const char TAG_DELETE[] = "DELETE FROM tags WHERE repo_id = $1 AND name = $2";
static const char TAG_PAGE[] =
    "SELECT name FROM tags WHERE repo_id = $1 AND name > $2 ORDER BY name LIMIT $3";

static void map_digest(const struct db_rows *row, void *out)
{
    struct digest *d = out;
    if (digest_from_key(db_bytes(row, 0), d) < 0)
        d->alg = DIGEST_NONE;
}

static void event_data(struct buf *b, struct str tag, const struct digest *now,
                       const struct digest *old)
{
    char text[DIGEST_TEXT_MAX];
    buf_init(b, 2048);
    buf_cstr(b, "{\"tag\":");
    buf_json(b, tag);
    if (now)
        buf_printf(b, ",\"digest\":\"%s\"", digest_text(now, text));
    if (old)
        buf_printf(b, ",\"old\":\"%s\"", digest_text(old, text));
    buf_char(b, '}');
}

static int tag_event(struct db_tx *tx, const char *kind, int64_t actor_id, int64_t repo_id,
                     struct str tag, const struct digest *now, const struct digest *old,
                     struct err *err)
{
    struct buf data;
    event_data(&data, tag, now, old);
    int rc = event_tx_append(tx, kind, actor_id, repo_id, buf_view(&data), err);
    buf_release(&data);
    return rc;
}

int tag_tx_set(struct db_tx *tx, int64_t repo_id, struct str tag, int64_t manifest_id,
               const struct digest *d, int64_t actor_id, struct err *err)
{
    struct digest old = {0};
    int had = db_one(tx, TAG_FIND, DB_ARGS(DB_I(repo_id), DB_T(tag)), map_digest, &old, err);
    if (had < 0)
        return had;
    bool moved = had == 1 && old.alg != DIGEST_NONE && !digest_eq(&old, d);
    uint8_t key[DIGEST_KEY_MAX];
    int64_t now = clock_now();
    int rc = db_exec(tx, TAG_SET,
                     DB_ARGS(DB_I(repo_id), DB_T(tag), DB_I(manifest_id), DB_B(key_str(d, key)),
                             DB_I(now)),
                     NULL, err);
    if (rc == 0)
        rc = db_exec(tx, REPO_PUSHED, DB_ARGS(DB_I(repo_id), DB_I(now)), NULL, err);
    if (rc == 0 && moved)
        rc = gc_enqueue(tx, GC_MANIFEST, repo_id, &old, "tag_moved", err);
    if (rc == 0)
        rc = tag_event(tx, "tag.set", actor_id, repo_id, tag, d, moved ? &old : NULL, err);
    return rc;
}

int tag_tx_delete(struct db_tx *tx, int64_t repo_id, struct str tag, int64_t actor_id,
                  struct err *err)
{
    struct digest old = {0};
    int had = db_one(tx, TAG_FIND, DB_ARGS(DB_I(repo_id), DB_T(tag)), map_digest, &old, err);
    if (had <= 0)
        return had;
    int rc = db_exec(tx, TAG_DELETE, DB_ARGS(DB_I(repo_id), DB_T(tag)), NULL, err);
    if (rc == 0 && old.alg != DIGEST_NONE)
        rc = gc_enqueue(tx, GC_MANIFEST, repo_id, &old, "tag_delete", err);
    if (rc == 0)
        rc = tag_event(tx, "tag.deleted", actor_id, repo_id, tag, NULL,
                       old.alg != DIGEST_NONE ? &old : NULL, err);
    return rc < 0 ? rc : 1;
}

int tag_tx_page(struct db_tx *tx, int64_t repo_id, struct str last, int64_t n,
                int (*fn)(void *arg, struct str tag), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    struct str after = last.n > 0 ? last : STR_LIT("");
    int rc = db_query(tx, TAG_PAGE, DB_ARGS(DB_I(repo_id), DB_T(after), DB_I(n)), &rows, err);
    if (rc < 0)
        return rc;
    while ((rc = db_next(rows, err)) == 1) {
        if (fn(arg, db_text(rows, 0)) != 0)
            return 0;
    }
    return rc;
}
