/* Statements of fsck. */
#include "registry/fsck.h"

#include "policy/quota.h"

#define FLAG(condition) "CAST(CASE WHEN " condition " THEN 1 ELSE 0 END AS BIGINT)"
static const char BLOBS[] =
    "SELECT b.digest, b.size, b.state, " FLAG("EXISTS (SELECT 1 FROM repo_blobs l WHERE l.digest = "
                                              "b.digest)") ", " FLAG(
        "EXISTS (SELECT 1 FROM gc_queue q WHERE q.kind = 3 AND q.repo_id = 0 AND "
        "q.digest = b.digest)") " FROM blobs b WHERE b.digest > $1 ORDER BY b.digest LIMIT $2";
static const char MANIFESTS[] =
    "SELECT m.id, m.repo_id, m.digest, r.name, "
    "(SELECT count(*) FROM manifest_refs f WHERE f.manifest_id = m.id), "
    "(SELECT count(*) FROM manifest_refs f WHERE f.manifest_id = m.id AND f.kind IN (1, 2) AND NOT "
    "EXISTS (SELECT 1 FROM repo_blobs l WHERE l.repo_id = f.repo_id AND l.digest = f.target) AND NOT "
    "EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.target)) "
    "FROM manifests m LEFT JOIN repos r ON r.id = m.repo_id WHERE m.id > $1 ORDER BY m.id LIMIT $2";
static const char HAS_REF[] = "SELECT 1 FROM manifest_refs WHERE repo_id = $1 AND target = $2 AND "
                              "manifest_id = $3 AND kind = $4";
static const char DROP_REFS[] = "DELETE FROM manifest_refs WHERE manifest_id = $1";
static const char PUT_REF[] =
    "INSERT INTO manifest_refs (repo_id, target, manifest_id, kind) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (repo_id, target, manifest_id) DO NOTHING";
static const char TAGS[] =
    "SELECT t.repo_id, t.name, r.name, CAST(CASE WHEN m.id IS NULL OR m.repo_id <> t.repo_id THEN "
    "1 "
    "WHEN m.digest <> t.digest THEN 2 ELSE 0 END AS BIGINT) FROM tags t "
    "LEFT JOIN manifests m ON m.id = t.manifest_id LEFT JOIN repos r ON r.id = t.repo_id "
    "WHERE (t.repo_id, t.name) > ($1, $2) ORDER BY t.repo_id, t.name LIMIT $3";
static const char FIX_TAG[] =
    "UPDATE tags SET digest = (SELECT m.digest FROM manifests m WHERE m.id = tags.manifest_id) "
    "WHERE repo_id = $1 AND name = $2 AND EXISTS (SELECT 1 FROM manifests m WHERE "
    "m.id = tags.manifest_id AND m.repo_id = tags.repo_id)";
static const char DROP_TAG[] =
    "DELETE FROM tags WHERE repo_id = $1 AND name = $2 AND NOT EXISTS (SELECT 1 FROM manifests m "
    "WHERE m.id = tags.manifest_id AND m.repo_id = tags.repo_id)";
static const char LINKS[] = "SELECT l.repo_id, l.digest, r.name, " FLAG("EXISTS (SELECT 1 FROM "
                                                                        "blobs b WHERE b.digest = "
                                                                        "l.digest)") ", " FLAG(
    "EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = l.repo_id AND "
    "f.target = l.digest)") ", " FLAG("EXISTS (SELECT 1 FROM gc_queue q WHERE "
                                                           "q.kind = 2 AND q.repo_id = l.repo_id "
                                                           "AND "
                                                           "q.digest = l.digest)") " FROM "
                                                                                   "repo_blobs l "
                                                                                   "LEFT JOIN "
                                                                                   "repos r ON "
                                                                                   "r.id = "
                                                                                   "l.repo_id "
                                                                                   "WHERE "
                                                                                   "(l.repo_id, "
                                                                                   "l.digest) > "
                                                                                   "($1, $2) ORDER "
                                                                                   "BY l.repo_id, "
                                                                                   "l.digest LIMIT "
                                                                                   "$3";
static const char DROP_LINK[] = "DELETE FROM repo_blobs WHERE repo_id = $1 AND digest = $2 AND NOT "
                                "EXISTS (SELECT 1 FROM blobs b "
                                "WHERE b.digest = repo_blobs.digest)";
static const char UPLOADS[] =
    "SELECT u.id, u.size, u.user_id, r.name FROM uploads u LEFT JOIN repos r ON r.id = u.repo_id "
    "WHERE u.id > $1 ORDER BY u.id LIMIT $2";

static void set_digest(struct raw_key *k, struct digest *d, struct str bytes)
{
    raw_set(k, bytes);
    if (digest_from_key(bytes, d) < 0)
        d->alg = DIGEST_NONE;
}

/* Reads a page: fn fills row i. */
static int read_page(struct db_rows *rows, void (*fn)(const struct db_rows *row, void *out),
                     void *page, size_t size, size_t *ret_n, struct err *err)
{
    size_t n = 0;
    int rc = 0;
    while (n < FSCK_PAGE && (rc = db_next(rows, err)) == 1) {
        void *out = (char *)page + n++ * size;
        memset(out, 0, size);
        fn(rows, out);
    }
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}

static void map_blob(const struct db_rows *row, void *out)
{
    struct fsck_blob *b = out;
    set_digest(&b->key, &b->digest, db_bytes(row, 0));
    b->size = db_int(row, 1);
    b->state = db_int(row, 2);
    b->linked = db_int(row, 3) != 0;
    b->queued = db_int(row, 4) != 0;
}

int fsck_tx_blobs(struct db_tx *tx, const struct raw_key *after, struct fsck_blob *rows,
                  size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    int rc = db_query(tx, BLOBS, DB_ARGS(DB_B(raw_str(after)), DB_I(FSCK_PAGE)), &cursor, err);
    return rc < 0 ? rc : read_page(cursor, map_blob, rows, sizeof *rows, ret_n, err);
}

static void map_manifest(const struct db_rows *row, void *out)
{
    struct fsck_manifest *m = out;
    m->id = db_int(row, 0);
    m->repo_id = db_int(row, 1);
    set_digest(&m->key, &m->digest, db_bytes(row, 2));
    text_copy(m->name, sizeof m->name, db_text(row, 3));
    m->refs = db_int(row, 4);
    m->unlinked = db_int(row, 5);
}

int fsck_tx_manifests(struct db_tx *tx, int64_t after, struct fsck_manifest *rows, size_t *ret_n,
                      struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    int rc = db_query(tx, MANIFESTS, DB_ARGS(DB_I(after), DB_I(FSCK_PAGE)), &cursor, err);
    return rc < 0 ? rc : read_page(cursor, map_manifest, rows, sizeof *rows, ret_n, err);
}

static void map_none(const struct db_rows *row, void *out)
{
    (void)row;
    (void)out;
}

int fsck_tx_has_ref(struct db_tx *tx, const struct fsck_manifest *m, const struct manifest_ref *ref,
                    struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_one(
        tx, HAS_REF,
        DB_ARGS(DB_I(m->repo_id), DB_B(key_str(&ref->target, key)), DB_I(m->id), DB_I(ref->kind)),
        map_none, NULL, err);
}

int fsck_tx_drop_refs(struct db_tx *tx, int64_t manifest_id, struct err *err)
{
    return db_exec(tx, DROP_REFS, DB_ARGS(DB_I(manifest_id)), NULL, err);
}

int fsck_tx_put_ref(struct db_tx *tx, const struct fsck_manifest *m, const struct manifest_ref *ref,
                    struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_exec(
        tx, PUT_REF,
        DB_ARGS(DB_I(m->repo_id), DB_B(key_str(&ref->target, key)), DB_I(m->id), DB_I(ref->kind)),
        NULL, err);
}

static void map_tag(const struct db_rows *row, void *out)
{
    struct fsck_tag *t = out;
    t->repo_id = db_int(row, 0);
    text_copy(t->tag, sizeof t->tag, db_text(row, 1));
    text_copy(t->name, sizeof t->name, db_text(row, 2));
    t->state = (enum fsck_tag_state)db_int(row, 3);
}

int fsck_tx_tags(struct db_tx *tx, const struct fsck_tag *after, struct fsck_tag *rows,
                 size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    int rc =
        db_query(tx, TAGS, DB_ARGS(DB_I(after->repo_id), DB_T(str_of(after->tag)), DB_I(FSCK_PAGE)),
                 &cursor, err);
    return rc < 0 ? rc : read_page(cursor, map_tag, rows, sizeof *rows, ret_n, err);
}

int fsck_tx_fix_tag(struct db_tx *tx, const struct fsck_tag *t, struct err *err)
{
    return db_exec(tx, t->state == TAG_DANGLING ? DROP_TAG : FIX_TAG,
                   DB_ARGS(DB_I(t->repo_id), DB_T(str_of(t->tag))), NULL, err);
}

static void map_link(const struct db_rows *row, void *out)
{
    struct fsck_link *l = out;
    l->repo_id = db_int(row, 0);
    set_digest(&l->key, &l->digest, db_bytes(row, 1));
    text_copy(l->name, sizeof l->name, db_text(row, 2));
    l->blob = db_int(row, 3) != 0;
    l->referenced = db_int(row, 4) != 0;
    l->queued = db_int(row, 5) != 0;
}

int fsck_tx_links(struct db_tx *tx, const struct fsck_link *after, struct fsck_link *rows,
                  size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    int rc = db_query(tx, LINKS,
                      DB_ARGS(DB_I(after->repo_id), DB_B(raw_str(&after->key)), DB_I(FSCK_PAGE)),
                      &cursor, err);
    return rc < 0 ? rc : read_page(cursor, map_link, rows, sizeof *rows, ret_n, err);
}

int fsck_tx_drop_link(struct db_tx *tx, const struct fsck_link *l, struct err *err)
{
    int64_t changed = 0;
    int rc = db_exec(tx, DROP_LINK, DB_ARGS(DB_I(l->repo_id), DB_B(raw_str(&l->key))), &changed, err);
    if (rc < 0 || changed == 0 || l->digest.alg == DIGEST_NONE)
        return rc;
    return charge_tx_unlink(tx, l->repo_id, &l->digest, err);
}

static void map_upload(const struct db_rows *row, void *out)
{
    struct fsck_upload *u = out;
    text_copy(u->id, sizeof u->id, db_text(row, 0));
    u->size = db_int(row, 1);
    u->user_id = db_int(row, 2);
    text_copy(u->name, sizeof u->name, db_text(row, 3));
}

int fsck_tx_uploads(struct db_tx *tx, const char *after, struct fsck_upload *rows, size_t *ret_n,
                    struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    int rc = db_query(tx, UPLOADS, DB_ARGS(DB_T(str_of(after)), DB_I(FSCK_PAGE)), &cursor, err);
    return rc < 0 ? rc : read_page(cursor, map_upload, rows, sizeof *rows, ret_n, err);
}

/* ---- what accounts are charged with, against what their repositories hold ---- */
#define HELD                                                                                              \
    "SELECT n.owner_id, o.digest, max(o.size), count(*) FROM "                                            \
    "(SELECT l.repo_id, l.digest, b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest "          \
    "UNION ALL SELECT repo_id, digest, size FROM manifests) o "                                           \
    "JOIN repos r ON r.id = o.repo_id JOIN namespaces n ON n.id = r.namespace_id "                        \
    "WHERE n.owner_id IS NOT NULL GROUP BY n.owner_id, o.digest"
#define CHARGED "SELECT account_id, digest, size, links FROM account_blobs"
static const char UNCHARGED[] = "SELECT count(*) FROM (" HELD " EXCEPT " CHARGED ") x";
static const char NOT_HELD[] = "SELECT count(*) FROM (" CHARGED " EXCEPT " HELD ") x";
/* Deleted repositories wait under names below '!~'. */
#define PRIVATE_REPOS                                                                                     \
    "SELECT n.owner_id AS account_id, count(*) AS n FROM repos r JOIN namespaces n ON n.id = r.namespace_id " \
    "WHERE r.public = 0 AND r.name > '!~' AND n.owner_id IS NOT NULL GROUP BY n.owner_id"
static const char REPOS_WRONG[] =
    "SELECT count(*) FROM (SELECT account_id, n FROM (" PRIVATE_REPOS ") p EXCEPT SELECT account_id, used FROM usage WHERE kind = 2) x";
static const char REPOS_GONE[] = "SELECT count(*) FROM usage u WHERE u.kind = 2 AND u.used > 0 AND NOT EXISTS "
                                 "(SELECT 1 FROM (" PRIVATE_REPOS ") p WHERE p.account_id = u.account_id)";
static const char *const counts[] = {UNCHARGED, NOT_HELD, REPOS_WRONG, REPOS_GONE};
static const char *const repairs[] = {
    "DELETE FROM account_blobs", "INSERT INTO account_blobs (account_id, digest, size, links) " HELD,
    "UPDATE usage SET used = 0 WHERE kind = 2",
    "INSERT INTO usage (account_id, kind, used, reserved, warned) SELECT account_id, 2, n, 0, 0 FROM (" PRIVATE_REPOS
    ") p WHERE true ON CONFLICT (account_id, kind) DO UPDATE SET used = excluded.used"};

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

int fsck_tx_usage(struct db_tx *tx, int64_t *ret_wrong, struct err *err)
{
    int64_t n = 0;
    int rc = quota_tx_wrong(tx, ret_wrong, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(counts); i++) {
        rc = db_one(tx, counts[i], DB_NO_ARGS, map_int, &n, err);
        *ret_wrong += n;
    }
    return rc < 0 ? rc : 0;
}

int fsck_tx_fix_usage(struct db_tx *tx, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(repairs); i++)
        rc = db_exec(tx, repairs[i], DB_NO_ARGS, NULL, err);
    return rc < 0 ? rc : quota_tx_recount(tx, err);
}
