/* Statements on manifests and their references. */
#include "registry/registry_int.h"

#include <stdlib.h>

/* `bytes` is the last column and comes only when the row is small enough: the CASE keeps the
 * engine from copying megabytes for a narrow read. */
static const char MANIFEST_BY_DIGEST[] =
    "SELECT id, size, digest, media_type, CASE WHEN size <= $3 THEN bytes END FROM manifests "
    "WHERE repo_id = $1 AND digest = $2";
static const char MANIFEST_BY_TAG[] =
    "SELECT m.id, m.size, m.digest, m.media_type, CASE WHEN m.size <= $3 THEN m.bytes END FROM "
    "tags t "
    "JOIN manifests m ON m.id = t.manifest_id WHERE t.repo_id = $1 AND t.name = $2";
static const char MANIFEST_SLICE[] =
    "SELECT substr(bytes, CAST(CAST($2 AS BIGINT) AS INTEGER), CAST(CAST($3 AS BIGINT) AS "
    "INTEGER)) FROM manifests WHERE id = $1";
static const char MANIFEST_STORED[] =
    "SELECT id, media_type, bytes FROM manifests WHERE repo_id = $1 AND digest = $2";
static const char MANIFEST_INSERT[] =
    "INSERT INTO manifests (repo_id, digest, media_type, artifact_type, subject, annotations, "
    "size, created_at, bytes) "
    "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";
static const char MANIFEST_REPAIR[] = "UPDATE manifests SET media_type = $2, artifact_type = $3, "
                                      "subject = $4, annotations = $5, size = $6, bytes = $7 "
                                      "WHERE id = $1";
static const char MANIFEST_DELETE[] = "DELETE FROM manifests WHERE id = $1";
static const char MANIFEST_ID[] =
    "SELECT id, media_type FROM manifests WHERE repo_id = $1 AND digest = $2";
static const char REF_INSERT[] =
    "INSERT INTO manifest_refs (repo_id, target, manifest_id, kind) VALUES ($1, $2, $3, $4) "
    "ON CONFLICT (repo_id, target, manifest_id) DO NOTHING";
static const char REFS_MISSING[] =
    "SELECT count(*) FROM manifest_refs f WHERE f.manifest_id = $1 AND f.kind IN (1, 2) AND NOT "
    "EXISTS (SELECT 1 FROM repo_blobs l WHERE l.repo_id = f.repo_id AND l.digest = f.target) AND NOT "
    "EXISTS (SELECT 1 FROM manifests c WHERE c.repo_id = f.repo_id AND c.digest = f.target)";
/* What a manifest held: its targets, and the referrers that lived by it. */
static const char REFS_HELD[] = "SELECT target, 1 FROM manifest_refs WHERE manifest_id = $1 UNION ALL "
                                "SELECT digest, 0 FROM manifests WHERE repo_id = $2 AND subject = $3 ORDER BY 1";
static const char REFS_DELETE[] = "DELETE FROM manifest_refs WHERE manifest_id = $1";
static const char TAGS_OF[] =
    "SELECT name FROM tags WHERE manifest_id = $1 ORDER BY name LIMIT 100";

struct row_out {
    struct arena *arena;
    struct manifest_row *row;
    bool broken;
};

static void map_row(const struct db_rows *row, void *out)
{
    struct row_out *o = out;
    o->row->id = db_int(row, 0);
    o->row->size = db_int(row, 1);
    o->broken = digest_from_key(db_bytes(row, 2), &o->row->digest) < 0;
    o->row->media_type = str_of(str_dup(o->arena, db_text(row, 3)));
    o->row->bytes = (struct str){NULL, 0};
    if (!db_is_null(row, 4)) {
        struct str b = db_bytes(row, 4);
        o->row->bytes = (struct str){arena_strndup(o->arena, b.p, b.n), b.n};
    }
}

static int find(struct db_tx *tx, const char *sql, struct arena *a, int64_t repo_id,
                struct db_value what, int64_t max_bytes, struct manifest_row *ret, struct err *err)
{
    struct row_out out = {a, ret, false};
    int rc = db_one(tx, sql, DB_ARGS(DB_I(repo_id), what, DB_I(max_bytes)), map_row, &out, err);
    if (rc == 1 && out.broken)
        return err_set(err, ERR_CORRUPT, "manifest row %lld has a malformed digest",
                       (long long)ret->id);
    return rc;
}

int manifest_tx_by_digest(struct db_tx *tx, struct arena *a, int64_t repo_id,
                          const struct digest *d, int64_t max_bytes, struct manifest_row *ret,
                          struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return find(tx, MANIFEST_BY_DIGEST, a, repo_id, DB_B(key_str(d, key)), max_bytes, ret, err);
}

int manifest_tx_by_tag(struct db_tx *tx, struct arena *a, int64_t repo_id, struct str tag,
                       int64_t max_bytes, struct manifest_row *ret, struct err *err)
{
    return find(tx, MANIFEST_BY_TAG, a, repo_id, DB_T(tag), max_bytes, ret, err);
}

struct slice_out {
    void *p;
    size_t cap, n;
};

static void map_slice(const struct db_rows *row, void *out)
{
    struct slice_out *o = out;
    struct str b = db_bytes(row, 0);
    o->n = b.n < o->cap ? b.n : o->cap;
    if (o->n > 0)
        memcpy(o->p, b.p, o->n);
}

int manifest_tx_slice(struct db_tx *tx, int64_t id, int64_t offset, void *p, size_t cap,
                      size_t *ret_n, struct err *err)
{
    if (cap > 1 << 20)
        cap = 1 << 20;
    struct slice_out out = {p, cap, 0};
    int rc = db_one(tx, MANIFEST_SLICE, DB_ARGS(DB_I(id), DB_I(offset + 1), DB_I(cap)), map_slice,
                    &out, err);
    if (rc < 0)
        return rc;
    *ret_n = out.n;
    return 0;
}

struct stored_out {
    const struct manifest_put *put;
    int64_t id;
    bool same;
};

static void map_stored(const struct db_rows *row, void *out)
{
    struct stored_out *o = out;
    o->id = db_int(row, 0);
    o->same = str_eq(db_text(row, 1), o->put->model->media_type) &&
              str_eq(db_bytes(row, 2), o->put->bytes);
}

static int find_stored(struct db_tx *tx, const struct manifest_put *p, struct stored_out *out,
                       struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    *out = (struct stored_out){p, 0, false};
    return db_one(tx, MANIFEST_STORED, DB_ARGS(DB_I(p->repo_id), DB_B(key_str(&p->digest, key))),
                  map_stored, out, err);
}

static struct db_value subject_value(const struct manifest *m, uint8_t key[DIGEST_KEY_MAX])
{
    return m->has_subject ? DB_B(key_str(&m->subject, key)) : DB_N;
}

static int insert_row(struct db_tx *tx, const struct manifest_put *p, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX], subject[DIGEST_KEY_MAX];
    const struct manifest *m = p->model;
    return db_exec(tx, MANIFEST_INSERT,
                   DB_ARGS(DB_I(p->repo_id), DB_B(key_str(&p->digest, key)), DB_T(m->media_type),
                           DB_T(m->artifact_type), subject_value(m, subject), DB_T(m->annotations),
                           DB_I(p->bytes.n), DB_I(clock_now()), DB_B(p->bytes)),
                   NULL, err);
}

static int repair_row(struct db_tx *tx, const struct manifest_put *p, int64_t id, struct err *err)
{
    uint8_t subject[DIGEST_KEY_MAX];
    const struct manifest *m = p->model;
    return db_exec(tx, MANIFEST_REPAIR,
                   DB_ARGS(DB_I(id), DB_T(m->media_type), DB_T(m->artifact_type),
                           subject_value(m, subject), DB_T(m->annotations), DB_I(p->bytes.n),
                           DB_B(p->bytes)),
                   NULL, err);
}

/* The row with exactly these bytes, read back before the commit; *ret_new tells whether it was made
 * now. */
static int put_row(struct db_tx *tx, const struct manifest_put *p, int64_t *ret_id, bool *ret_new,
                   struct err *err)
{
    struct stored_out stored;
    int rc = find_stored(tx, p, &stored, err);
    if (rc < 0)
        return rc;
    bool fresh = rc == 0;
    if (!stored.same) {
        rc = fresh ? insert_row(tx, p, err) : repair_row(tx, p, stored.id, err);
        if (rc < 0 || (rc = find_stored(tx, p, &stored, err)) < 0)
            return rc;
        if (rc == 0 || !stored.same)
            return err_set(err, ERR_CORRUPT, "the database gave back other bytes than were stored");
    }
    *ret_id = stored.id;
    *ret_new = fresh;
    return 0;
}

static int put_refs(struct db_tx *tx, const struct manifest_put *p, int64_t id, struct err *err)
{
    for (size_t i = 0; i < p->model->n_refs; i++) {
        uint8_t key[DIGEST_KEY_MAX];
        const struct manifest_ref *ref = &p->model->refs[i];
        int rc = db_exec(
            tx, REF_INSERT,
            DB_ARGS(DB_I(p->repo_id), DB_B(key_str(&ref->target, key)), DB_I(id), DB_I(ref->kind)),
            NULL, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int manifest_event(struct db_tx *tx, const char *kind, int64_t actor_id, int64_t repo_id,
                          const struct digest *d, struct str media_type, const struct str *tags,
                          size_t n_tags, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    struct buf b;
    buf_init(&b, 64 << 10);
    buf_printf(&b, "{\"digest\":\"%s\",\"mediaType\":", digest_text(d, text));
    buf_json(&b, media_type);
    buf_cstr(&b, ",\"tags\":[");
    for (size_t i = 0; i < n_tags; i++) {
        if (i > 0)
            buf_char(&b, ',');
        buf_json(&b, tags[i]);
    }
    buf_cstr(&b, "]}");
    BUG_ON(b.overflow);
    int rc = event_tx_append(tx, kind, actor_id, repo_id, buf_view(&b), err);
    buf_release(&b);
    return rc;
}

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

int manifest_tx_put(struct db_tx *tx, const struct manifest_put *p, int64_t *ret_missing,
                    struct err *err)
{
    int64_t id = 0, missing = 0;
    bool fresh = false;
    int rc = put_row(tx, p, &id, &fresh, err);
    if (rc == 0 && fresh)
        rc = charge_tx_link(tx, p->repo_id, &p->digest, (int64_t)p->bytes.n, err);
    if (rc < 0 || (rc = put_refs(tx, p, id, err)) < 0)
        return rc;
    for (size_t i = 0; i < p->n_tags; i++) {
        if ((rc = tag_tx_set(tx, p->repo_id, p->tags[i], id, &p->digest, p->actor_id, err)) < 0)
            return rc;
    }
    if ((rc = gc_enqueue(tx, GC_MANIFEST, p->repo_id, &p->digest, "manifest_push", err)) < 0 ||
        (rc = manifest_event(tx, "manifest.pushed", p->actor_id, p->repo_id, &p->digest,
                             p->model->media_type, p->tags, p->n_tags, err)) < 0 ||
        (rc = db_one(tx, REFS_MISSING, DB_ARGS(DB_I(id)), map_int, &missing, err)) < 0)
        return rc;
    *ret_missing = missing;
    return 0;
}

/* ---- deletion ---- */
struct held {
    struct digest digest;
    bool target; /* named: it may be a manifest, a blob or both */
};
struct held_list {
    struct held *v;
    size_t n, size;
};

/* Collected before anything is written: a cursor and a change do not share a table. */
static int collect_held(struct db_tx *tx, int64_t repo_id, int64_t id, struct str key,
                        struct held_list *list, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, REFS_HELD, DB_ARGS(DB_I(id), DB_I(repo_id), DB_B(key)), &rows, err);
    if (rc < 0)
        return rc;
    while ((rc = db_next(rows, err)) == 1) {
        if (list->n == list->size) {
            list->size = list->size ? size_mul(list->size, 2) : 16;
            list->v = mem_realloc(list->v, size_mul(list->size, sizeof *list->v));
        }
        struct held *h = &list->v[list->n];
        h->target = db_int(rows, 1) == 1;
        if (digest_from_key(db_bytes(rows, 0), &h->digest) == 0)
            list->n++;
    }
    return rc;
}

static int enqueue_held(struct db_tx *tx, int64_t repo_id, int64_t id, struct str key,
                        struct err *err)
{
    struct held_list list = {NULL, 0, 0};
    int rc = collect_held(tx, repo_id, id, key, &list, err);
    for (size_t i = 0; rc == 0 && i < list.n; i++) {
        const struct held *h = &list.v[i];
        rc = gc_enqueue(tx, GC_MANIFEST, repo_id, &h->digest, "manifest_delete", err);
        if (rc == 0 && h->target)
            rc = gc_enqueue(tx, GC_LINK, repo_id, &h->digest, "manifest_delete", err);
    }
    free(list.v);
    return rc;
}

struct tag_list {
    struct arena *arena;
    struct str v[100];
    size_t n;
};

/* Tags go in rounds of 100, so that a manifest with any number of tags costs bounded memory. */
static int delete_tags(struct db_tx *tx, int64_t repo_id, int64_t id, int64_t actor_id,
                       struct err *err)
{
    struct arena arena;
    arena_init(&arena);
    struct tag_list *list = arena_alloc(&arena, sizeof *list);
    int rc;
    do {
        struct db_rows *rows = NULL;
        list->n = 0;
        rc = db_query(tx, TAGS_OF, DB_ARGS(DB_I(id)), &rows, err);
        while (rc >= 0 && (rc = db_next(rows, err)) == 1 && list->n < ARRAY_LEN(list->v))
            list->v[list->n++] = str_of(str_dup(&arena, db_text(rows, 0)));
        db_rows_cleanup(&rows);
        for (size_t i = 0; rc >= 0 && i < list->n; i++)
            rc = tag_tx_delete(tx, repo_id, list->v[i], actor_id, err);
    } while (rc >= 0 && list->n > 0);
    arena_release(&arena);
    return rc < 0 ? rc : 0;
}

struct id_out {
    int64_t id;
    char media_type[MEDIA_TYPE_MAX + 1];
};

static void map_id(const struct db_rows *row, void *out)
{
    struct id_out *o = out;
    o->id = db_int(row, 0);
    text_copy(o->media_type, sizeof o->media_type, db_text(row, 1));
}

int manifest_tx_delete(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t actor_id,
                       struct err *err)
{
    uint8_t buf[DIGEST_KEY_MAX];
    struct str key = key_str(d, buf);
    struct id_out found;
    int rc = db_one(tx, MANIFEST_ID, DB_ARGS(DB_I(repo_id), DB_B(key)), map_id, &found, err);
    if (rc <= 0)
        return rc;
    if ((rc = delete_tags(tx, repo_id, found.id, actor_id, err)) < 0 ||
        (rc = enqueue_held(tx, repo_id, found.id, key, err)) < 0 ||
        (rc = db_exec(tx, REFS_DELETE, DB_ARGS(DB_I(found.id)), NULL, err)) < 0 ||
        (rc = db_exec(tx, MANIFEST_DELETE, DB_ARGS(DB_I(found.id)), NULL, err)) < 0 ||
        (rc = charge_tx_unlink(tx, repo_id, d, err)) < 0 ||
        (rc = manifest_event(tx, "manifest.deleted", actor_id, repo_id, d, str_of(found.media_type),
                             NULL, 0, err)) < 0)
        return rc;
    return 1;
}
