/* fsck: rows of blobs, trash and uploads against the files of the store. */
#include "registry/fsck.h"

#include <stdlib.h>

/* ---- blobs ---- */
struct adopt {
    struct digest digest;
    struct blob_stat stat;
};

static int upsert_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct adopt *q = arg;
    return blob_tx_upsert(tx, &q->digest, &q->stat, err);
}

int fsck_adopt_blob(struct registry *g, const struct digest *d, struct err *err)
{
    struct adopt q = {.digest = *d};
    struct err why = {0};
    store_lock(g->store, d);
    int rc = store_verify(g->store, d, NULL, NULL, &q.stat, &why);
    bool wrong = rc == ERR_CORRUPT || rc == ERR_BLOB_UNKNOWN;
    if (rc == 0)
        rc = db_write(g->db, upsert_write, &q, err);
    else if (!wrong)
        err_set(err, rc, "%s", why.text);
    store_unlock(g->store, d);
    return wrong ? 0 : rc < 0 ? rc : 1;
}

enum damage { SOUND, MISSING, WRONG_SIZE, WRONG_BYTES, QUARANTINED };
static const struct {
    const char *code, *text;
} damages[] = {
    [MISSING] = {"blob_missing", "the file of this blob is missing; push it again"},
    [WRONG_SIZE] = {"blob_size", "the file has another size than the blob's row"},
    [WRONG_BYTES] = {"blob_corrupt", "the file does not match its digest; push it again"},
    [QUARANTINED] = {"blob_quarantined", "was found corrupt or missing earlier; push it again"},
};

struct row_read {
    struct digest digest;
    struct blob_row row;
    bool found;
};

static int row_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct row_read *q = arg;
    int rc = blob_tx_row(tx, &q->digest, &q->row, err);
    q->found = rc == 1;
    return rc < 0 ? rc : 0;
}

/* Against the file as it is now. */
static int look(struct fsck *f, const struct digest *d, int64_t size, int64_t state,
                enum damage *ret, struct err *err)
{
    struct blob_stat st;
    struct err why = {0};
    *ret = SOUND;
    if (state != 0) {
        *ret = QUARANTINED;
        return 0;
    }
    auto_fd int fd = -1;
    int rc = f->full ? store_verify(f->g->store, d, NULL, NULL, &st, &why)
                     : store_open_blob(f->g->store, d, &fd, &st, &why);
    if (rc == ERR_BLOB_UNKNOWN || rc == ERR_CORRUPT)
        *ret = rc == ERR_CORRUPT ? WRONG_BYTES : MISSING;
    else if (rc < 0)
        return err_set(err, rc, "%s", why.text);
    else if (st.size != size)
        *ret = WRONG_SIZE;
    return 0;
}

/* Once more, with nobody between file and row: what it is then, it is. */
static int confirm(struct fsck *f, const struct digest *d, enum damage *ret, struct err *err)
{
    struct row_read q = {.digest = *d};
    store_lock(f->g->store, d);
    int rc = db_read(f->g->db, row_read, &q, err);
    *ret = SOUND;
    if (rc == 0 && q.found)
        rc = look(f, d, q.row.size, q.row.state, ret, err);
    store_unlock(f->g->store, d);
    return rc;
}

struct queue_put {
    struct raw_key key;
    int64_t kind, repo_id, at;
};

static int queue_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct queue_put *q = arg;
    return gc_tx_put_absent(tx, (int)q->kind, q->repo_id, raw_str(&q->key), q->at, "fsck", err);
}

static int report_damage(struct fsck *f, const struct fsck_blob *b, enum damage damage,
                         struct err *err)
{
    struct finding x = {
        .code = damages[damage].code, .text = damages[damage].text, .digest = &b->digest};
    if (f->repair) {
        int rc = fsck_adopt_blob(f->g, &b->digest, err);
        x.repaired = rc == 1;
        /* What cannot be made good is put out of harm's way: no pull gets it, a push repairs it. */
        if (rc == 0 && damage != QUARANTINED)
            rc = blob_quarantine(f->g, &b->digest, err);
        if (rc < 0)
            return rc;
    }
    return fsck_say(f, &x, err);
}

static int check_blob(struct fsck *f, const struct fsck_blob *b, struct err *err)
{
    enum damage damage;
    f->blobs++;
    if (b->digest.alg == DIGEST_NONE)
        return fsck_say(f, &(struct finding){.code = "malformed_digest", .text = "a row of blobs"},
                        err);
    int rc = look(f, &b->digest, b->size, b->state, &damage, err);
    if (rc == 0 && damage != SOUND)
        rc = confirm(f, &b->digest, &damage, err);
    if (rc != 0)
        return rc;
    if (f->full && damage == SOUND)
        f->bytes += b->size;
    if (damage != SOUND && (rc = report_damage(f, b, damage, err)) != 0)
        return rc;
    if (b->linked || b->queued)
        return 0;
    struct finding x = {.code = "blob_not_queued",
                        .text = "no repository links it and no review is planned",
                        .digest = &b->digest};
    struct queue_put put = {b->key, GC_BLOB, 0, clock_now()};
    if (f->repair && (rc = db_write(f->g->db, queue_write, &put, err)) < 0)
        return rc;
    x.repaired = f->repair;
    return fsck_say(f, &x, err);
}

struct blobs_page {
    struct raw_key after;
    struct fsck_blob rows[FSCK_PAGE];
    size_t n;
};

static int blobs_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct blobs_page *q = arg;
    return fsck_tx_blobs(tx, &q->after, q->rows, &q->n, err);
}

int fsck_blobs(struct fsck *f, struct err *err)
{
    auto_free struct blobs_page *q = mem_zalloc(sizeof *q);
    fsck_begin(f, "blobs");
    int rc;
    do {
        rc = db_read(f->g->db, blobs_read, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            rc = check_blob(f, &q->rows[i], err);
            if (rc == 0)
                rc = fsck_progress(f, err);
        }
        if (rc == 0 && q->n > 0)
            q->after = q->rows[q->n - 1].key;
    } while (rc == 0 && q->n == FSCK_PAGE);
    return rc;
}

/* ---- files without a row ---- */
struct known_read {
    struct digest digest;
    bool known;
};

static int known_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct known_read *q = arg;
    struct blob_row row;
    int rc = blob_tx_row(tx, &q->digest, &row, err);
    if (rc == 0)
        rc = trash_tx_has(tx, &q->digest, err);
    q->known = rc == 1;
    return rc < 0 ? rc : 0;
}

static int stray_blob(void *arg, const struct digest *d, const struct blob_stat *st,
                      struct err *err)
{
    struct fsck *f = arg;
    struct known_read q = {.digest = *d};
    struct blob_stat now;
    auto_fd int fd = -1;
    (void)st;
    store_lock(f->g->store, d);
    int rc = db_read(f->g->db, known_read, &q, err);
    if (rc == 0 && store_open_blob(f->g->store, d, &fd, &now, NULL) < 0)
        q.known = true; /* collected meanwhile */
    store_unlock(f->g->store, d);
    if (rc < 0 || q.known)
        return rc;
    struct finding x = {.code = "stray_file",
                        .text = "a file of an interrupted push; the collector removes it",
                        .note = true,
                        .digest = d};
    if (f->repair) {
        rc = orphan_trash(f->g, d, clock_now(), err);
        x.repaired = rc == 1;
    }
    return rc < 0 ? rc : fsck_say(f, &x, err);
}

/* Nowhere but in the trash: a blob that is in blobs/ as well is left to the collector. */
static bool only_in_trash(struct store *s, const struct digest *d)
{
    struct blob_stat st;
    auto_fd int fd = -1, any = -1;
    return store_open_blob(s, d, &fd, &st, NULL) < 0 && store_open_any(s, d, &any, NULL) == 0;
}

static int stray_trash(void *arg, const struct digest *d, const struct blob_stat *st,
                       struct err *err)
{
    struct fsck *f = arg;
    struct known_read q = {.digest = *d};
    (void)st;
    store_lock(f->g->store, d);
    int rc = db_read(f->g->db, known_read, &q, err);
    bool stray = rc == 0 && !q.known && only_in_trash(f->g->store, d);
    store_unlock(f->g->store, d);
    if (rc < 0 || !stray)
        return rc;
    struct finding x = {.code = "stray_trash",
                        .text =
                            "a file in the trash that is past its time; the collector removes it",
                        .note = true,
                        .digest = d,
                        .repaired = f->repair};
    rc = f->repair ? trash_unlink_stray(f->g, d, err) : 0;
    return rc < 0 ? rc : fsck_say(f, &x, err);
}

static int count_file(void *arg, const char *name, const struct blob_stat *st)
{
    struct fsck *f = arg;
    (void)name;
    (void)st;
    f->files++;
    return fsck_progress(f, NULL);
}

/* A row of the trash without a file is what a crash between unlink and commit leaves; the purge
 * drops it without a word, and so do we. */
int fsck_stray_files(struct fsck *f, struct err *err)
{
    fsck_begin(f, "files");
    int rc = store_walk(f->g->store, "blobs", count_file, f, err);
    if (rc == 0)
        rc = orphans_walk(f->g, "blobs", NULL, stray_blob, f, err);
    if (rc == 0)
        rc = orphans_walk(f->g, "trash", NULL, stray_trash, f, err);
    return rc;
}

/* ---- uploads ---- */
struct uploads_page {
    char after[UPLOAD_ID_LEN + 1];
    struct fsck_upload rows[FSCK_PAGE];
    size_t n;
};

static int uploads_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct uploads_page *q = arg;
    return fsck_tx_uploads(tx, q->after, q->rows, &q->n, err);
}

static int by_id(const void *a, const void *b)
{
    return strcmp(a, ((const struct fsck_upload *)b)->id);
}

static int see_upload(void *arg, const char *name, const struct blob_stat *st)
{
    struct uploads_page *q = arg;
    struct fsck_upload *u = bsearch(name, q->rows, q->n, sizeof *q->rows, by_id);
    if (u)
        u->seen = true;
    if (u && st->size >= u->size)
        u->found = true;
    return 0;
}

struct upload_read {
    const char *id;
    struct upload_row row;
    bool found;
};

static int upload_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct upload_read *q = arg;
    int rc = upload_tx_find(tx, q->id, &q->row, err);
    q->found = rc == 1;
    return rc < 0 ? rc : 0;
}

static int upload_write(struct db_tx *tx, void *arg, struct err *err)
{
    return upload_tx_delete(tx, arg, err);
}

/* With the session claimed nobody writes to it, commits it or removes it, the reaper excepted,
 * which drops the row before the file: so the row is asked for last. */
static int confirm_lost(struct fsck *f, struct fsck_upload *u, bool *ret_lost, struct err *err)
{
    struct upload *claimed;
    struct staging *file = NULL;
    auto_free struct upload_read *q = mem_zalloc(sizeof *q);
    struct err why = {0};
    *ret_lost = false;
    int rc = upload_claim(f->g, str_of(u->id), str_of(u->name), u->user_id, &claimed, &why);
    if (rc < 0) /* somebody is at work on it, or it has ended */
        return rc == ERR_UPLOAD_RANGE || rc == ERR_BLOB_UPLOAD_UNKNOWN
                   ? 0
                   : err_set(err, rc, "%s", why.text);
    rc = staging_open(f->g->store, u->id, claimed->size, &file, &why);
    staging_close(file);
    q->id = u->id;
    if (rc == ERR_BLOB_UPLOAD_UNKNOWN && (rc = db_read(f->g->db, upload_read, q, &why)) == 0)
        *ret_lost = q->found;
    if (rc == 0 && *ret_lost && f->repair)
        rc = db_write(f->g->db, upload_write, u->id, &why);
    upload_unclaim(f->g, claimed, *ret_lost && f->repair && rc == 0);
    return rc < 0 ? err_set(err, rc, "%s", why.text) : 0;
}

static int check_upload(struct fsck *f, struct fsck_upload *u, struct err *err)
{
    bool lost = false;
    f->uploads++;
    int rc = u->found ? 0 : confirm_lost(f, u, &lost, err);
    if (rc == 0 && lost && f->repair)
        rc = staging_remove(f->g->store, u->id, err);
    if (rc < 0 || !lost)
        return rc;
    /* The rename of a commit takes the file before the transaction takes the row. Cut in between,
     * the client has no answer and starts again; the reaper drops the row. */
    struct finding cut = {.code = "upload_cut", .text = "the commit of this upload was cut off", .note = true};
    struct finding lost_bytes = {.code = "upload_lost", .text = "acknowledged bytes of an open upload are missing"};
    struct finding *x = u->seen ? &lost_bytes : &cut;
    x->upload = u->id;
    x->repository = u->name;
    x->repaired = f->repair;
    return fsck_say(f, x, err);
}

/* Files of sessions without a row are the reaper's: their bytes were never acknowledged. */
int fsck_uploads(struct fsck *f, struct err *err)
{
    auto_free struct uploads_page *q = mem_zalloc(sizeof *q);
    fsck_begin(f, "uploads");
    int rc;
    do {
        rc = db_read(f->g->db, uploads_read, q, err);
        if (rc == 0 && q->n > 0)
            rc = store_walk(f->g->store, "uploads", see_upload, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            rc = check_upload(f, &q->rows[i], err);
            if (rc == 0)
                rc = fsck_progress(f, err);
        }
        if (rc == 0 && q->n > 0)
            memcpy(q->after, q->rows[q->n - 1].id, sizeof q->after);
    } while (rc == 0 && q->n == FSCK_PAGE);
    return rc;
}
