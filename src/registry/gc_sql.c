/* Statements of the collector: the review queue, what keeps an object, the trash. */
#include "registry/upkeep.h"

/* Never earlier than what is queued: a later event knows better how young the object is. */
static const char QUEUE_PUT[] =
    "INSERT INTO gc_queue (kind, repo_id, digest, review_after, reviews, event) "
    "VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (kind, repo_id, digest) DO UPDATE SET reviews = 0, "
    "event = excluded.event, review_after = CASE WHEN excluded.review_after > "
    "gc_queue.review_after "
    "THEN excluded.review_after ELSE gc_queue.review_after END";
static const char QUEUE_PUT_ABSENT[] =
    "INSERT INTO gc_queue (kind, repo_id, digest, review_after, reviews, event) "
    "VALUES ($1, $2, $3, $4, 0, $5) ON CONFLICT (kind, repo_id, digest) DO NOTHING";
#define QUEUE_COLUMNS                                                                 \
    "SELECT q.kind, q.repo_id, q.digest, q.review_after, q.reviews, q.event, r.name " \
    "FROM gc_queue q LEFT JOIN repos r ON r.id = q.repo_id "
static const char QUEUE_DUE[] =
    QUEUE_COLUMNS "WHERE q.review_after <= $1 AND (q.review_after, q.kind, q.repo_id, q.digest) > "
                  "($2, $3, $4, $5) ORDER BY q.review_after, q.kind, q.repo_id, q.digest LIMIT $6";
static const char QUEUE_ALL[] = QUEUE_COLUMNS "WHERE (q.kind, q.repo_id, q.digest) > ($1, $2, $3) "
                                              "ORDER BY q.kind, q.repo_id, q.digest LIMIT $4";
static const char QUEUE_STILL[] =
    "SELECT review_after FROM gc_queue WHERE kind = $1 AND repo_id = $2 "
    "AND digest = $3 AND review_after <= $4";
static const char QUEUE_DROP[] =
    "DELETE FROM gc_queue WHERE kind = $1 AND repo_id = $2 AND digest = $3";
static const char QUEUE_POSTPONE[] = "UPDATE gc_queue SET reviews = reviews + 1, review_after = $4 "
                                     "WHERE kind = $1 AND repo_id = $2 AND digest = $3";
static const char QUEUE_COUNT[] = "SELECT count(*) FROM gc_queue";
static const char QUEUE_OVERDUE[] = "SELECT count(*) FROM gc_queue WHERE review_after <= $1";

/* The numbers are enum gc_verdict. Any edge keeps what it names, manifest and link alike: a child may have been
 * pushed as a blob, and one digest may be named in both ways. */
static const char JUDGE_LINK[] =
    "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = l.repo_id AND "
    "f.target = l.digest) THEN 1 ELSE 0 END AS BIGINT) "
    "FROM repo_blobs l WHERE l.repo_id = $1 AND l.digest = $2";
#define MANIFEST_LIVING                                                               \
    "CAST(CASE WHEN EXISTS (SELECT 1 FROM tags t WHERE t.manifest_id = m.id) THEN 2 " \
    "WHEN EXISTS (SELECT 1 FROM manifest_refs f WHERE f.repo_id = m.repo_id AND "     \
    "f.target = m.digest AND f.manifest_id <> m.id) THEN 3 "                          \
    "WHEN m.subject IS NOT NULL AND EXISTS (SELECT 1 FROM manifests s WHERE "         \
    "s.repo_id = m.repo_id AND s.digest = m.subject) THEN 4 ELSE 0 END AS BIGINT)"
static const char JUDGE_MANIFEST[] =
    "SELECT " MANIFEST_LIVING " FROM manifests m WHERE m.repo_id = $1 AND m.digest = $2";
static const char JUDGE_BLOB[] =
    "SELECT CAST(CASE WHEN EXISTS (SELECT 1 FROM repo_blobs l WHERE l.digest = b.digest) THEN 5 "
    "ELSE 0 END AS BIGINT) FROM blobs b WHERE b.digest = $1";
static const char SWEEP_PAGE[] = "SELECT m.id, m.repo_id, m.digest, " MANIFEST_LIVING
                                 " FROM manifests m WHERE m.id > $1 ORDER BY m.id LIMIT $2";
static const char SIZE_BLOB[] = "SELECT size FROM blobs WHERE digest = $1";
static const char SIZE_MANIFEST[] = "SELECT size FROM manifests WHERE repo_id = $1 AND digest = $2";

static const char BLOB_ROW[] =
    "SELECT size, state, verified_at, ino, ctime FROM blobs WHERE digest = $1";
static const char BLOB_REMOVE[] = "DELETE FROM blobs WHERE digest = $1";
static const char TRASH_PUT[] =
    "INSERT INTO trash (digest, size, unlink_after) VALUES ($1, $2, $3) ON CONFLICT (digest) "
    "DO UPDATE SET size = excluded.size, unlink_after = excluded.unlink_after";
static const char TRASH_PAGE[] =
    "SELECT digest, size, unlink_after FROM trash "
    "WHERE unlink_after <= $1 AND digest > $2 ORDER BY digest LIMIT $3";
/* A blob that came and went again meanwhile has a later time: its row stays. */
static const char TRASH_DROP[] = "DELETE FROM trash WHERE digest = $1 AND unlink_after <= $2";
static const char TRASH_HAS[] = "SELECT 1 FROM trash WHERE digest = $1";
static const char SCRUB_PAGE[] =
    "SELECT digest, size, verified_at FROM blobs WHERE state = 0 AND verified_at <= $1 AND "
    "(verified_at, digest) > ($2, $3) ORDER BY verified_at, digest LIMIT $4";

void raw_set(struct raw_key *k, struct str bytes)
{
    k->n = (uint8_t)(bytes.n < sizeof k->p ? bytes.n : sizeof k->p);
    if (k->n > 0)
        memcpy(k->p, bytes.p, k->n);
}

static void set_digest(struct raw_key *k, struct digest *d, struct str bytes)
{
    raw_set(k, bytes);
    if (digest_from_key(bytes, d) < 0)
        d->alg = DIGEST_NONE;
}

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

/* ---- the queue ---- */
int gc_tx_put(struct db_tx *tx, int kind, int64_t repo_id, struct str key, int64_t review_after,
              const char *event, struct err *err)
{
    return db_exec(
        tx, QUEUE_PUT,
        DB_ARGS(DB_I(kind), DB_I(repo_id), DB_B(key), DB_I(review_after), DB_T(str_of(event))),
        NULL, err);
}

int gc_tx_put_absent(struct db_tx *tx, int kind, int64_t repo_id, struct str key,
                     int64_t review_after, const char *event, struct err *err)
{
    return db_exec(
        tx, QUEUE_PUT_ABSENT,
        DB_ARGS(DB_I(kind), DB_I(repo_id), DB_B(key), DB_I(review_after), DB_T(str_of(event))),
        NULL, err);
}

static void read_row(const struct db_rows *rows, struct gc_row *r)
{
    *r = (struct gc_row){.kind = db_int(rows, 0),
                         .repo_id = db_int(rows, 1),
                         .review_after = db_int(rows, 3),
                         .reviews = db_int(rows, 4),
                         .has_repo = !db_is_null(rows, 6)};
    set_digest(&r->key, &r->digest, db_bytes(rows, 2));
    text_copy(r->event, sizeof r->event, db_text(rows, 5));
    if (r->has_repo)
        text_copy(r->name, sizeof r->name, db_text(rows, 6));
}

int gc_tx_page(struct db_tx *tx, bool by_key, int64_t due, const struct gc_row *after,
               struct gc_row *rows, size_t max, size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    struct db_value key = DB_B(raw_str(&after->key));
    int rc = by_key ? db_query(tx, QUEUE_ALL,
                               DB_ARGS(DB_I(after->kind), DB_I(after->repo_id), key, DB_I(max)),
                               &cursor, err)
                    : db_query(tx, QUEUE_DUE,
                               DB_ARGS(DB_I(due), DB_I(after->review_after), DB_I(after->kind),
                                       DB_I(after->repo_id), key, DB_I(max)),
                               &cursor, err);
    size_t n = 0;
    while (rc >= 0 && n < max && (rc = db_next(cursor, err)) == 1)
        read_row(cursor, &rows[n++]);
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}

int gc_tx_still_due(struct db_tx *tx, const struct gc_row *row, int64_t due, struct err *err)
{
    int64_t at;
    return db_one(tx, QUEUE_STILL,
                  DB_ARGS(DB_I(row->kind), DB_I(row->repo_id), DB_B(raw_str(&row->key)), DB_I(due)),
                  map_int, &at, err);
}

int gc_tx_drop(struct db_tx *tx, const struct gc_row *row, struct err *err)
{
    return db_exec(tx, QUEUE_DROP,
                   DB_ARGS(DB_I(row->kind), DB_I(row->repo_id), DB_B(raw_str(&row->key))), NULL,
                   err);
}

int gc_tx_postpone(struct db_tx *tx, const struct gc_row *row, int64_t review_after,
                   struct err *err)
{
    return db_exec(
        tx, QUEUE_POSTPONE,
        DB_ARGS(DB_I(row->kind), DB_I(row->repo_id), DB_B(raw_str(&row->key)), DB_I(review_after)),
        NULL, err);
}

int gc_tx_counts(struct db_tx *tx, int64_t now, int64_t *ret_rows, int64_t *ret_overdue,
                 struct err *err)
{
    int rc = db_one(tx, QUEUE_COUNT, DB_NO_ARGS, map_int, ret_rows, err);
    if (rc >= 0)
        rc = db_one(tx, QUEUE_OVERDUE, DB_ARGS(DB_I(now)), map_int, ret_overdue, err);
    return rc < 0 ? rc : 0;
}

/* ---- judgement ---- */
int gc_tx_judge(struct db_tx *tx, const struct gc_row *row, enum gc_verdict *ret, struct err *err)
{
    struct db_value key = DB_B(raw_str(&row->key));
    int64_t v = GC_REMOVE;
    int rc;
    if (row->kind == GC_BLOB)
        rc = db_one(tx, JUDGE_BLOB, DB_ARGS(key), map_int, &v, err);
    else
        rc = db_one(tx, row->kind == GC_LINK ? JUDGE_LINK : JUDGE_MANIFEST,
                    DB_ARGS(DB_I(row->repo_id), key), map_int, &v, err);
    if (rc < 0)
        return rc;
    *ret = rc == 0 ? GC_ABSENT : (enum gc_verdict)v;
    return 0;
}

int gc_tx_size(struct db_tx *tx, const struct gc_row *row, int64_t *ret, struct err *err)
{
    struct db_value key = DB_B(raw_str(&row->key));
    int64_t size = 0;
    int rc = row->kind == GC_MANIFEST
                 ? db_one(tx, SIZE_MANIFEST, DB_ARGS(DB_I(row->repo_id), key), map_int, &size, err)
                 : db_one(tx, SIZE_BLOB, DB_ARGS(key), map_int, &size, err);
    if (rc < 0)
        return rc;
    *ret = size;
    return 0;
}

int sweep_tx_page(struct db_tx *tx, int64_t after, struct sweep_row *rows, size_t max,
                  size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    size_t n = 0;
    int rc = db_query(tx, SWEEP_PAGE, DB_ARGS(DB_I(after), DB_I(max)), &cursor, err);
    for (; rc >= 0 && n < max && (rc = db_next(cursor, err)) == 1; n++) {
        rows[n].id = db_int(cursor, 0);
        rows[n].repo_id = db_int(cursor, 1);
        raw_set(&rows[n].key, db_bytes(cursor, 2));
        rows[n].living = db_int(cursor, 3) != GC_REMOVE;
    }
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}

/* ---- blobs and trash ---- */
static void map_blob(const struct db_rows *row, void *out)
{
    *(struct blob_row *)out = (struct blob_row){.size = db_int(row, 0),
                                                .state = db_int(row, 1),
                                                .verified_at = db_int(row, 2),
                                                .ino = db_int(row, 3),
                                                .ctime_ns = db_int(row, 4)};
}

int blob_tx_row(struct db_tx *tx, const struct digest *d, struct blob_row *ret, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_one(tx, BLOB_ROW, DB_ARGS(DB_B(key_str(d, key))), map_blob, ret, err);
}

static int put_trash(struct db_tx *tx, const struct digest *d, int64_t size, int64_t unlink_after,
                     struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return db_exec(tx, TRASH_PUT, DB_ARGS(DB_B(key_str(d, key)), DB_I(size), DB_I(unlink_after)),
                   NULL, err);
}

int trash_tx_move(struct db_tx *tx, const struct digest *d, int64_t unlink_after, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    struct blob_row row;
    int rc = blob_tx_row(tx, d, &row, err);
    if (rc <= 0)
        return rc;
    if ((rc = put_trash(tx, d, row.size, unlink_after, err)) < 0 ||
        (rc = db_exec(tx, BLOB_REMOVE, DB_ARGS(DB_B(key_str(d, key))), NULL, err)) < 0)
        return rc;
    return 1;
}

int trash_tx_adopt(struct db_tx *tx, const struct digest *d, int64_t size, int64_t unlink_after,
                   struct err *err)
{
    struct blob_row row;
    int rc = blob_tx_row(tx, d, &row, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    rc = put_trash(tx, d, size, unlink_after, err);
    return rc < 0 ? rc : 1;
}

int trash_tx_page(struct db_tx *tx, int64_t due, const struct raw_key *after,
                  struct trash_row *rows, size_t max, size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    size_t n = 0;
    int rc =
        db_query(tx, TRASH_PAGE, DB_ARGS(DB_I(due), DB_B(raw_str(after)), DB_I(max)), &cursor, err);
    for (; rc >= 0 && n < max && (rc = db_next(cursor, err)) == 1; n++) {
        set_digest(&rows[n].key, &rows[n].digest, db_bytes(cursor, 0));
        rows[n].size = db_int(cursor, 1);
        rows[n].unlink_after = db_int(cursor, 2);
    }
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}

int trash_tx_drop(struct db_tx *tx, const struct raw_key *key, int64_t due, struct err *err)
{
    return db_exec(tx, TRASH_DROP, DB_ARGS(DB_B(raw_str(key)), DB_I(due)), NULL, err);
}

int trash_tx_has(struct db_tx *tx, const struct digest *d, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    int64_t one;
    return db_one(tx, TRASH_HAS, DB_ARGS(DB_B(key_str(d, key))), map_int, &one, err);
}

int scrub_tx_page(struct db_tx *tx, int64_t before, const struct scrub_row *after,
                  struct scrub_row *rows, size_t max, size_t *ret_n, struct err *err)
{
    auto_rows struct db_rows *cursor = NULL;
    size_t n = 0;
    int rc = db_query(
        tx, SCRUB_PAGE,
        DB_ARGS(DB_I(before), DB_I(after->verified_at), DB_B(raw_str(&after->key)), DB_I(max)),
        &cursor, err);
    for (; rc >= 0 && n < max && (rc = db_next(cursor, err)) == 1; n++) {
        set_digest(&rows[n].key, &rows[n].digest, db_bytes(cursor, 0));
        rows[n].size = db_int(cursor, 1);
        rows[n].verified_at = db_int(cursor, 2);
    }
    if (rc < 0)
        return rc;
    *ret_n = n;
    return 0;
}
