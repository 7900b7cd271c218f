/* Statements behind view.h. */
#include "registry/view_int.h"

static const char TAGS_UP[] = "SELECT name FROM tags WHERE repo_id = $1 ORDER BY name";
static const char TAGS_DOWN[] = "SELECT name FROM tags WHERE repo_id = $1 ORDER BY name DESC";
static const char TAGS_OLD[] = "SELECT name FROM tags WHERE repo_id = $1 ORDER BY updated_at, name";
static const char TAGS_NEW[] = "SELECT name FROM tags WHERE repo_id = $1 ORDER BY updated_at DESC, name";
static const char TAG[] = "SELECT t.created_at, t.updated_at, m.artifact_type, t.name FROM tags t JOIN manifests m ON m.id = t.manifest_id "
                          "WHERE t.repo_id = $1 AND t.name = $2";
static const char BYTES[] = "SELECT CAST(coalesce(sum(b.size), 0) AS BIGINT) FROM repo_blobs l JOIN blobs b ON b.digest = l.digest "
                            "WHERE l.repo_id = $1";
static const char KINDS[] = "SELECT DISTINCT media_type, artifact_type FROM manifests WHERE repo_id = $1 ORDER BY 1, 2 LIMIT $2";

int view_tx_tags(struct db_tx *tx, int64_t repo_id, enum view_order order, int (*fn)(void *arg, struct str tag), void *arg,
                 struct err *err)
{
    static const char *const orders[] = {TAGS_UP, TAGS_DOWN, TAGS_OLD, TAGS_NEW};
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, orders[order], DB_ARGS(DB_I(repo_id)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = fn(arg, db_text(rows, 0));
    return rc < 0 ? rc : 0;
}

struct tag_out {
    struct arena *arena;
    struct tag_view *tag;
};

static void map_tag(const struct db_rows *row, void *out)
{
    struct tag_out *o = out;
    o->tag->created_at = db_int(row, 0);
    o->tag->pushed_at = db_int(row, 1);
    o->tag->artifact_type = str_of(str_dup(o->arena, db_text(row, 2)));
    text_copy(o->tag->name, sizeof o->tag->name, db_text(row, 3));
}

int view_tx_tag_row(struct db_tx *tx, struct arena *a, int64_t repo_id, struct str tag, struct tag_view *ret, struct err *err)
{
    struct tag_out out = {a, ret};
    return db_one(tx, TAG, DB_ARGS(DB_I(repo_id), DB_T(tag)), map_tag, &out, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int view_tx_repo(struct db_tx *tx, struct arena *a, int64_t repo_id, struct repo_view *ret, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    *ret = (struct repo_view){.n_kinds = 0};
    int rc = db_one(tx, BYTES, DB_ARGS(DB_I(repo_id)), map_int, &ret->bytes, err);
    if (rc >= 0)
        rc = db_query(tx, KINDS, DB_ARGS(DB_I(repo_id), DB_I(ARRAY_LEN(ret->kinds))), &rows, err);
    while (rc >= 0 && ret->n_kinds < ARRAY_LEN(ret->kinds) && (rc = db_next(rows, err)) == 1)
        ret->kinds[ret->n_kinds++] =
            (struct kind_view){str_of(str_dup(a, db_text(rows, 0))), str_of(str_dup(a, db_text(rows, 1)))};
    return rc < 0 ? rc : 0;
}
