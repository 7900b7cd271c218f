/* Files whose blob is gone: from blobs/ to trash/ to nothing; and files that never became blobs. */
#include "registry/upkeep.h"

#include <pthread.h>
#include <stdlib.h>

enum { PAGE = 64 };
static const int64_t HOLD_MAX_US = INT64_C(3600000000);

int64_t trash_hold(const struct registry *g)
{
    int64_t grace = registry_num(g, GC_GRACE);
    return grace < HOLD_MAX_US ? grace : HOLD_MAX_US;
}

/* Held for one unlink, and by whoever puts the trash on hold: after registry_trash_hold no unlink
 * is on its way. */
static pthread_mutex_t unlinking = PTHREAD_MUTEX_INITIALIZER;

void registry_trash_hold(struct registry *g, bool hold)
{
    pthread_mutex_lock(&unlinking);
    int holds = atomic_fetch_add(&g->trash_holds, hold ? 1 : -1);
    pthread_mutex_unlock(&unlinking);
    BUG_ON(!hold && holds <= 0);
    if (!hold)
        background_wake(g->background);
}

struct adopt {
    struct digest digest;
    int64_t size, unlink_after;
    bool adopted;
};

static int adopt_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct adopt *q = arg;
    int rc = trash_tx_adopt(tx, &q->digest, q->size, q->unlink_after, err);
    q->adopted = rc == 1;
    return rc < 0 ? rc : 0;
}

/* With the digest's lock held: moves a file to the trash unless it has a row. Asked in a WRITE: its
 * transaction comes after every commit whose outcome the caller could not know. */
static int adopt(struct registry *g, struct adopt *q, struct err *err)
{
    int rc = db_write(g->db, adopt_write, q, err);
    return rc == 0 && q->adopted ? store_trash(g->store, &q->digest, err) : rc;
}

static bool in_blobs(struct registry *g, const struct digest *d, struct blob_stat *st)
{
    auto_fd int fd = -1;
    return store_open_blob(g->store, d, &fd, st, NULL) == 0;
}

/* ---- purge ---- */
struct page_read {
    int64_t due;
    struct raw_key after;
    struct trash_row rows[PAGE];
    size_t n;
    size_t done; /* of rows, unlinked */
};

static int page_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct page_read *q = arg;
    return trash_tx_page(tx, q->due, &q->after, q->rows, PAGE, &q->n, err);
}

/* The row goes after the file: killed in between, the next purge unlinks nothing and drops it. */
static int drop_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct page_read *q = arg;
    for (size_t i = 0; i < q->done; i++) {
        int rc = trash_tx_drop(tx, &q->rows[i].key, q->due, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* A file still in blobs/ has a row again, or was left there by a crash after the commit. */
static int purge_one(struct registry *g, const struct trash_row *row, struct err *err)
{
    const struct digest *d = &row->digest;
    struct blob_stat st;
    int rc = 0;
    if (d->alg == DIGEST_NONE)
        return 0; /* never had a file */
    store_lock(g->store, d);
    if (in_blobs(g, d, &st)) {
        struct adopt q = {*d, row->size, row->unlink_after, false};
        rc = adopt(g, &q, err);
    }
    if (rc == 0)
        rc = store_trash_purge(g->store, d, err);
    store_unlock(g->store, d);
    return rc;
}

/* 1 done, 0 on hold. */
static int purge_held(struct registry *g, const struct trash_row *row, struct err *err)
{
    int rc = 0;
    pthread_mutex_lock(&unlinking);
    bool held = atomic_load(&g->trash_holds) > 0;
    if (!held)
        rc = purge_one(g, row, err);
    pthread_mutex_unlock(&unlinking);
    return rc < 0 ? rc : !held;
}

static int purge_page(struct registry *g, struct page_read *q, const _Atomic bool *stop,
                      struct err *err)
{
    int rc = 1;
    uint64_t bytes = 0;
    for (q->done = 0; q->done < q->n && rc == 1 && !(stop && atomic_load(stop));) {
        rc = purge_held(g, &q->rows[q->done], err);
        if (rc == 1)
            bytes += (uint64_t)q->rows[q->done++].size;
    }
    if (q->done == 0)
        return rc;
    struct err why = {0};
    int dropped = db_write(g->db, drop_write, q, &why);
    if (dropped == 0)
        metric_add(METRIC_GC_BYTES, bytes);
    if (rc < 0 || dropped == 0)
        return rc;
    return err_set(err, dropped, "%s", why.text);
}

int trash_purge(struct registry *g, int64_t due, const _Atomic bool *stop, int64_t *ret_files,
                struct err *err)
{
    auto_free struct page_read *q = mem_zalloc(sizeof *q);
    int64_t files = 0;
    int rc;
    q->due = due;
    do {
        rc = db_read(g->db, page_read, q, err);
        if (rc < 0 || q->n == 0)
            break;
        q->after = q->rows[q->n - 1].key;
        rc = purge_page(g, q, stop, err);
        files += (int64_t)q->done;
    } while (rc == 1 && q->n == PAGE && q->done == PAGE);
    if (ret_files)
        *ret_files = files;
    return rc < 0 ? rc : 0;
}

/* ---- orphans ---- */
struct orphan_page {
    struct registry *g;
    const char *where; /* "blobs" or "trash" */
    const _Atomic bool *stop;
    int (*fn)(void *arg, const struct digest *d, const struct blob_stat *st, struct err *err);
    void *arg;
    struct err *err;
    size_t n;
    struct {
        struct digest digest;
        struct blob_stat stat;
        bool known;
    } file[PAGE];
};

static int known_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct orphan_page *q = arg;
    for (size_t i = 0; i < q->n; i++) {
        struct blob_row row;
        bool blobs = q->where[0] == 'b';
        int rc = blobs ? blob_tx_row(tx, &q->file[i].digest, &row, err) : 0;
        if (rc == 0)
            rc = trash_tx_has(tx, &q->file[i].digest, err);
        if (rc < 0)
            return rc;
        q->file[i].known = rc == 1;
    }
    return 0;
}

static int flush_page(struct orphan_page *q)
{
    int rc = db_read(q->g->db, known_read, q, q->err);
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        if (!q->file[i].known)
            rc = q->fn(q->arg, &q->file[i].digest, &q->file[i].stat, q->err);
    }
    q->n = 0;
    return rc;
}

static int see_file(void *arg, const char *name, const struct blob_stat *st)
{
    struct orphan_page *q = arg;
    if (q->stop && atomic_load(q->stop))
        return err_set(q->err, ERR_UNAVAILABLE, "stopping");
    if (digest_parse(str_of(name), &q->file[q->n].digest, NULL) < 0)
        return 0;
    q->file[q->n++].stat = *st;
    return q->n == PAGE ? flush_page(q) : 0;
}

int orphans_walk(struct registry *g, const char *where, const _Atomic bool *stop,
                 int (*fn)(void *arg, const struct digest *d, const struct blob_stat *st,
                           struct err *err),
                 void *arg, struct err *err)
{
    auto_free struct orphan_page *q = mem_zalloc(sizeof *q);
    q->g = g;
    q->where = where;
    q->stop = stop;
    q->fn = fn;
    q->arg = arg;
    q->err = err;
    int rc = store_walk(g->store, where, see_file, q, err);
    return rc == 0 ? flush_page(q) : rc;
}

int orphan_trash(struct registry *g, const struct digest *d, int64_t now, struct err *err)
{
    struct adopt q = {.digest = *d, .unlink_after = now + trash_hold(g)};
    struct blob_stat st;
    int rc = 0;
    store_lock(g->store, d);
    if (in_blobs(g, d, &st)) {
        q.size = st.size;
        rc = adopt(g, &q, err);
    }
    store_unlock(g->store, d);
    return rc < 0 ? rc : q.adopted;
}

/* An unlink that a power cut undid after its row was dropped. A file in the trash has its row
 * first, so one without is past its time; under the lock none is on its way. One whose blob lives
 * came here by no way of ours (a database put back to an older state): it goes home. */
struct has_read {
    struct digest digest;
    bool trash, blob;
};

static int has_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct has_read *q = arg;
    struct blob_row row;
    int rc = trash_tx_has(tx, &q->digest, err);
    q->trash = rc == 1;
    if (rc >= 0)
        rc = blob_tx_row(tx, &q->digest, &row, err);
    q->blob = rc == 1;
    return rc < 0 ? rc : 0;
}

static int unlink_stray(struct registry *g, const struct has_read *q, struct err *err)
{
    struct blob_stat st;
    if (q->trash)
        return 0;
    if (q->blob && !in_blobs(g, &q->digest, &st))
        return store_untrash(g->store, &q->digest, err);
    return store_trash_purge(g->store, &q->digest, err);
}

int trash_unlink_stray(struct registry *g, const struct digest *d, struct err *err)
{
    struct has_read q = {.digest = *d};
    pthread_mutex_lock(&unlinking);
    store_lock(g->store, d);
    int rc = atomic_load(&g->trash_holds) > 0 ? 1 : db_read(g->db, has_read, &q, err);
    if (rc == 0)
        rc = unlink_stray(g, &q, err);
    store_unlock(g->store, d);
    pthread_mutex_unlock(&unlinking);
    return rc < 0 ? rc : 0;
}

struct collect {
    struct registry *g;
    int64_t now, young;
};

static int collect_one(void *arg, const struct digest *d, const struct blob_stat *st,
                       struct err *err)
{
    struct collect *c = arg;
    char text[DIGEST_TEXT_MAX];
    if (st->ctime_ns / 1000 > c->now - trash_hold(c->g)) {
        c->young++;
        return 0;
    }
    int rc = orphan_trash(c->g, d, c->now, err);
    if (rc == 1) {
        metric_add(METRIC_GC_DELETES, 1);
        log_line(LOG_INFO, "file of an interrupted push moved to the trash",
                 F_CSTR("digest", digest_text(d, text)), F_INT("size", st->size));
    }
    return rc < 0 ? rc : 0;
}

static int unlink_one(void *arg, const struct digest *d, const struct blob_stat *st,
                      struct err *err)
{
    struct collect *c = arg;
    (void)st;
    return trash_unlink_stray(c->g, d, err);
}

int orphans_collect(struct registry *g, int64_t now, const _Atomic bool *stop, int64_t *ret_young,
                    struct err *err)
{
    struct collect c = {g, now, 0};
    int rc = orphans_walk(g, "blobs", stop, collect_one, &c, err);
    if (rc == 0)
        rc = orphans_walk(g, "trash", stop, unlink_one, &c, err);
    if (ret_young)
        *ret_young = c.young;
    return rc;
}
