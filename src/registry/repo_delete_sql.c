/* Statements of what deleted repositories held. Each takes out at most a handful of rows, so that no push waits long. */
#include "registry/upkeep.h"
#include "registry/upload.h"

enum { DRAIN_TAGS = 100, DRAIN_MANIFESTS = 20, DRAIN_LINKS = 100, DRAIN_UPLOADS = 100, DRAIN_REVIEWS = 500 };

/* Their names lie between these two (repo_tx_abandon), before all that repositories may have. */
static const char NEXT[] = "SELECT id FROM repos WHERE name > '!' AND name < '!~' ORDER BY name LIMIT 1";
static const char MANIFESTS[] = "SELECT digest FROM manifests WHERE repo_id = $1 LIMIT $2";
static const char LINKS[] = "SELECT digest FROM repo_blobs WHERE repo_id = $1 LIMIT $2";
static const char UPLOADS[] = "SELECT id FROM uploads WHERE repo_id = $1 LIMIT $2";
static const char REVIEWS[] =
    "DELETE FROM gc_queue WHERE (kind, repo_id, digest) IN (SELECT kind, repo_id, digest FROM gc_queue "
    "WHERE kind IN (1, 2) AND repo_id = $1 LIMIT $2)";
static const char ROW[] = "DELETE FROM repos WHERE id = $1";

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int drain_tx_next(struct db_tx *tx, int64_t *ret_id, struct err *err) { return db_one(tx, NEXT, DB_NO_ARGS, map_int, ret_id, err); }

int drain_any(struct db_tx *tx, void *done, struct err *err)
{
    int64_t id;
    int rc = drain_tx_next(tx, &id, err);
    *(bool *)done = rc == 0;
    return rc < 0 ? rc : 0;
}

struct tags {
    char name[DRAIN_TAGS][TAG_MAX + 1];
    size_t n;
};

static int keep_tag(void *arg, struct str tag)
{
    struct tags *t = arg;
    text_copy(t->name[t->n++], sizeof t->name[0], tag);
    return t->n == DRAIN_TAGS;
}

int drain_tx_tags(struct db_tx *tx, int64_t repo_id, struct err *err)
{
    auto_free struct tags *t = mem_zalloc(sizeof *t);
    int rc = tag_tx_page(tx, repo_id, STR_LIT(""), DRAIN_TAGS, keep_tag, t, err);
    for (size_t i = 0; rc >= 0 && i < t->n; i++)
        rc = tag_tx_delete(tx, repo_id, str_of(t->name[i]), 0, err);
    return rc < 0 ? rc : (int)t->n;
}

/* Read before anything is written: a cursor and a change do not share a table. */
static int digests(struct db_tx *tx, const char *sql, int64_t repo_id, struct digest *d, int max, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int n = 0, rc = db_query(tx, sql, DB_ARGS(DB_I(repo_id), DB_I(max)), &rows, err);
    while (rc >= 0 && n < max && (rc = db_next(rows, err)) == 1)
        if (digest_from_key(db_bytes(rows, 0), &d[n++]) < 0)
            return err_set(err, ERR_CORRUPT, "a digest of repository %lld is malformed: run fsck", (long long)repo_id);
    return rc < 0 ? rc : n;
}

int drain_tx_manifests(struct db_tx *tx, int64_t repo_id, struct err *err)
{
    struct digest d[DRAIN_MANIFESTS];
    int rc = 0, n = digests(tx, MANIFESTS, repo_id, d, DRAIN_MANIFESTS, err);
    for (int i = 0; rc >= 0 && i < n; i++)
        rc = manifest_tx_delete(tx, repo_id, &d[i], 0, err);
    return rc < 0 ? rc : n;
}

int drain_tx_links(struct db_tx *tx, int64_t repo_id, struct err *err)
{
    struct digest d[DRAIN_LINKS];
    int rc = 0, n = digests(tx, LINKS, repo_id, d, DRAIN_LINKS, err);
    for (int i = 0; rc >= 0 && i < n; i++)
        rc = blob_tx_unlink(tx, repo_id, &d[i], 0, err);
    return rc < 0 ? rc : n;
}

static int changed(struct db_tx *tx, const char *sql, const struct db_value *args, size_t n, struct err *err)
{
    int64_t rows = 0;
    int rc = db_exec(tx, sql, args, n, &rows, err);
    return rc < 0 ? rc : rows > 0;
}

/* Their files belong to nobody then, and are reaped. */
int drain_tx_uploads(struct db_tx *tx, int64_t repo_id, struct err *err)
{
    char ids[DRAIN_UPLOADS][UPLOAD_ID_LEN + 1];
    struct db_rows *rows = NULL;
    int n = 0, rc = db_query(tx, UPLOADS, DB_ARGS(DB_I(repo_id), DB_I(DRAIN_UPLOADS)), &rows, err);
    while (rc >= 0 && n < DRAIN_UPLOADS && (rc = db_next(rows, err)) == 1)
        text_copy(ids[n++], sizeof ids[0], db_text(rows, 0));
    db_rows_cleanup(&rows);
    for (int i = 0; rc >= 0 && i < n; i++)
        rc = upload_tx_delete(tx, ids[i], err);
    return rc < 0 ? rc : n;
}

int drain_tx_reviews(struct db_tx *tx, int64_t repo_id, struct err *err)
{
    return changed(tx, REVIEWS, DB_ARGS(DB_I(repo_id), DB_I(DRAIN_REVIEWS)), err);
}

int drain_tx_row(struct db_tx *tx, int64_t repo_id, struct err *err) { return changed(tx, ROW, DB_ARGS(DB_I(repo_id)), err); }
