/* The collector: enqueueing, and the reviewer that judges the queue's rows.
 *
 * A pass takes rows in pages. One write settles all rows of a page that need no removal: what is
 * still referenced leaves the queue, what was touched waits longer. Each of the others then gets a
 * small write of its own, where everything is judged again, bracketed by what makes a removal
 * visible to readers (gc_touch.c, gen.h) or by the digest's store lock. A row that fails is put off
 * and never stands in the way of the next. */
#include "registry/upkeep.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    PAGE = 32,
    BLOB_DELAY_US = 5000000,  /* a link removed and made again at once costs no review */
    FAIL_DELAY_US = 60000000, /* doubled for each failure */
    FAIL_SHIFT_MAX = 10,
    TOUCH_SHIFT_MAX = 4, /* a blob that is seen again and again is looked at less often */
    SWEEP_PAGE_ROWS = 500,
    GAUGE_COST_FACTOR = 200
};

static _Atomic int64_t link_delay, manifest_delay;
/* One removal at a time: the sequences of gc_touch.c have one writer. */
static pthread_mutex_t reviewer = PTHREAD_MUTEX_INITIALIZER;

void gc_setup(const struct registry *g)
{
    atomic_store(&link_delay, registry_num(g, GC_DELAY));
    atomic_store(&manifest_delay, registry_num(g, UNTAGGED_EXPIRY));
    background_wake(g->background);
}

const char *gc_kind_name(int64_t kind)
{
    return kind == GC_MANIFEST ? "manifest" : kind == GC_LINK ? "link" : "blob";
}

/* Whoever pushed or mounted was told that the object is there. */
static bool is_push(const char *event)
{
    return strcmp(event, "upload") == 0 || strcmp(event, "mount") == 0 ||
           strcmp(event, "manifest_push") == 0;
}

int gc_enqueue_at(struct db_tx *tx, int kind, int64_t repo_id, const struct digest *d,
                  int64_t review_after, const char *event, struct err *err)
{
    uint8_t key[DIGEST_KEY_MAX];
    return gc_tx_put(tx, kind, kind == GC_BLOB ? 0 : repo_id, key_str(d, key), review_after, event,
                     err);
}

int gc_enqueue(struct db_tx *tx, int kind, int64_t repo_id, const struct digest *d,
               const char *event, struct err *err)
{
    /* Should the transaction fail, a touch too many only delays. */
    if (is_push(event))
        gc_touch(repo_id, d);
    int64_t delay = BLOB_DELAY_US;
    if (kind == GC_LINK)
        delay = atomic_load(&link_delay);
    if (kind == GC_MANIFEST && (delay = atomic_load(&manifest_delay)) == 0)
        return 0;
    return gc_enqueue_at(tx, kind, repo_id, d, clock_now() + delay, event, err);
}

/* ---- judging ---- */
struct review {
    struct gc_run *run;
    struct gc_row *rows;
    size_t n;
    int64_t now;
};

static bool expiry_off(struct registry *g, const struct gc_row *row)
{
    return row->kind == GC_MANIFEST && registry_num(g, UNTAGGED_EXPIRY) == 0;
}

int gc_judge(struct db_tx *tx, struct registry *g, struct gc_row *row, struct err *err)
{
    if (row->digest.alg == DIGEST_NONE) {
        row->verdict = GC_MALFORMED;
        return 0;
    }
    if (expiry_off(g, row)) {
        row->verdict = GC_EXPIRY_OFF;
        return 0;
    }
    int rc = gc_tx_judge(tx, row, &row->verdict, err);
    if (rc == 0 && row->verdict == GC_REMOVE && row->kind != GC_BLOB &&
        gc_grace_left(g, row->repo_id, &row->digest) > 0)
        row->verdict = GC_TOUCHED;
    return rc;
}

/* untagged_expiry is a promise to users, not a delay of the queue: no run cuts it short. */
static int64_t due_of(const struct review *q, const struct gc_row *row)
{
    return row->kind == GC_MANIFEST && q->run->due > q->now ? q->now : q->run->due;
}

static int judge_due(struct db_tx *tx, const struct review *q, struct gc_row *row, struct err *err)
{
    int rc = gc_tx_still_due(tx, row, due_of(q, row), err);
    if (rc == 1)
        return gc_judge(tx, q->run->g, row, err);
    row->verdict = GC_NOT_DUE;
    return rc;
}

/* Again when the touch is old enough, later and later while it is touched time and again. */
static int postpone_touched(struct db_tx *tx, const struct review *q, const struct gc_row *row,
                            struct err *err)
{
    if (row->review_after > q->now)
        return 0; /* looked at before its time: that time stays */
    int64_t left = gc_grace_left(q->run->g, row->repo_id, &row->digest);
    int64_t shift = row->reviews < TOUCH_SHIFT_MAX ? row->reviews : TOUCH_SHIFT_MAX;
    return gc_tx_postpone(tx, row, q->now + (left << shift) + 1, err);
}

/* What a verdict other than removal means for the queue. */
static int settle(struct db_tx *tx, const struct review *q, const struct gc_row *row,
                  struct err *err)
{
    switch (row->verdict) {
    case GC_TOUCHED:
        return postpone_touched(tx, q, row, err);
    case GC_REFERENCED:
    case GC_TAGGED:
    case GC_HAS_PARENT:
    case GC_HAS_SUBJECT:
    case GC_LINKED:
    case GC_ABSENT:
    case GC_EXPIRY_OFF:
    case GC_MALFORMED:
        return gc_tx_drop(tx, row, err);
    case GC_REMOVE:
    case GC_NOT_DUE:
        break;
    }
    return 0;
}

static int settle_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct review *q = arg;
    for (size_t i = 0; i < q->n; i++) {
        int rc = judge_due(tx, q, &q->rows[i], err);
        if (rc < 0 || (rc = settle(tx, q, &q->rows[i], err)) < 0)
            return rc;
    }
    return 0;
}

/* ---- removing ---- */
static int remove_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct review *q = arg;
    struct gc_row *row = q->rows;
    int rc = judge_due(tx, q, row, err);
    if (rc < 0 || row->verdict != GC_REMOVE)
        return rc < 0 ? rc : settle(tx, q, row, err);
    if ((rc = gc_tx_size(tx, row, &row->size, err)) < 0 || (rc = gc_tx_drop(tx, row, err)) < 0)
        return rc;
    if (row->kind == GC_MANIFEST)
        rc = manifest_tx_delete(tx, row->repo_id, &row->digest, 0, err);
    else if (row->kind == GC_LINK)
        rc = blob_tx_unlink(tx, row->repo_id, &row->digest, 0, err);
    else
        rc = trash_tx_move(tx, &row->digest, clock_now() + trash_hold(q->run->g), err);
    return rc < 0 ? rc : 0;
}

static int remove_named(struct review *q, struct err *err)
{
    struct gc_row *row = q->rows;
    gc_deleting_begin(row->repo_id, &row->digest);
    int rc = repo_write(q->run->g, str_of(row->name), remove_write, q, err);
    gc_deleting_end(row->repo_id, &row->digest);
    return rc;
}

/* First the row, then the file: a row never stands without its file. Killed in between, the file
 * lies in blobs/ under a row of the trash, and the purge finds it there. A committer of the same
 * digest waits for the lock, or had it before: then a link is there by now, and the blob stays. */
static int remove_blob(struct review *q, struct err *err)
{
    struct gc_row *row = q->rows;
    struct store *store = q->run->g->store;
    store_lock(store, &row->digest);
    int rc = db_write(q->run->g->db, remove_write, q, err);
    if (rc == 0 && row->verdict == GC_REMOVE)
        rc = store_trash(store, &row->digest, err);
    store_unlock(store, &row->digest);
    return rc;
}

static int remove_one(struct gc_run *run, struct gc_row *row, struct err *err)
{
    struct review q = {run, row, 1, clock_now()};
    pthread_mutex_lock(&reviewer);
    bool file = row->kind == GC_BLOB && row->digest.alg != DIGEST_NONE;
    int rc = file ? remove_blob(&q, err) : remove_named(&q, err);
    pthread_mutex_unlock(&reviewer);
    return rc;
}

/* ---- failures ---- */
/* Not this row's fault: nothing can be written at all. */
static bool is_outage(const struct registry *g, int rc)
{
    return rc == ERR_UNAVAILABLE || rc == ERR_READ_ONLY || db_failed(g->db) ||
           store_failed(g->store);
}

static int fail_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct review *q = arg;
    int64_t shift = q->rows->reviews < FAIL_SHIFT_MAX ? q->rows->reviews : FAIL_SHIFT_MAX;
    return gc_tx_postpone(tx, q->rows, q->now + ((int64_t)FAIL_DELAY_US << shift), err);
}

static int put_off_failed(struct gc_run *run, struct gc_row *row, const struct err *why,
                          struct err *err)
{
    char text[DIGEST_TEXT_MAX] = "malformed";
    struct review q = {run, row, 1, clock_now()};
    if (row->digest.alg != DIGEST_NONE)
        digest_text(&row->digest, text);
    log_line(LOG_WARN, "review failed, put off", F_CSTR("object", gc_kind_name(row->kind)),
             F_CSTR("digest", text), F_CSTR("repository", row->name), F_CSTR("error", why->text));
    run->failed++;
    return db_write(run->g->db, fail_write, &q, err);
}

/* ---- a pass ---- */
static int count(struct gc_run *run, const struct gc_row *row, struct err *err)
{
    run->reviewed++;
    metric_add(METRIC_GC_REVIEWS, 1);
    if (row->verdict == GC_REMOVE) {
        run->deleted++;
        metric_add(METRIC_GC_DELETES, 1);
        return run->removed ? run->removed(run->arg, row, err) : 0;
    }
    if (row->verdict == GC_TOUCHED) {
        run->postponed++;
        metric_add(METRIC_GC_POSTPONED, 1);
    } else {
        run->kept++;
    }
    return 0;
}

static bool stopping(const struct gc_run *run)
{
    return run->stop && atomic_load(run->stop);
}

static int review_page(struct gc_run *run, struct gc_row *rows, size_t n, struct err *err)
{
    struct review q = {run, rows, n, clock_now()};
    struct err why = {0};
    int rc = db_write(run->g->db, settle_write, &q, &why);
    if (rc < 0 && is_outage(run->g, rc))
        return err_set(err, rc, "%s", why.text);
    bool settled = rc == 0; /* else one of them fails: each by itself then */
    for (size_t i = 0; i < n && !stopping(run); i++) {
        struct gc_row *row = &rows[i];
        rc = 0;
        if (!settled || row->verdict == GC_REMOVE)
            rc = remove_one(run, row, &why);
        if (rc == 0)
            rc = count(run, row, err);
        else if (is_outage(run->g, rc))
            rc = err_set(err, rc, "%s", why.text);
        else
            rc = put_off_failed(run, row, &why, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

struct page_read {
    const struct gc_run *run;
    struct gc_row *rows;
    struct gc_row after;
    size_t n;
};

static int page_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct page_read *q = arg;
    return gc_tx_page(tx, q->run->by_key, q->run->due, &q->after, q->rows, PAGE, &q->n, err);
}

int gc_pass(struct gc_run *run, struct err *err)
{
    auto_free struct gc_row *rows = mem_zalloc(PAGE * sizeof *rows);
    struct page_read q = {.run = run, .rows = rows, .after = {.review_after = -1}};
    size_t seen = 0;
    int rc;
    metric_add(METRIC_GC_RUNS, 1);
    do {
        rc = db_read(run->g->db, page_read, &q, err);
        if (rc < 0 || q.n == 0)
            break;
        q.after = rows[q.n - 1];
        seen += q.n;
        rc = review_page(run, rows, q.n, err);
    } while (rc == 0 && q.n == PAGE && seen < run->max && !stopping(run));
    return rc;
}

/* ---- gauges ---- */
struct counts {
    int64_t now, rows, overdue;
};

static int counts_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct counts *q = arg;
    return gc_tx_counts(tx, q->now, &q->rows, &q->overdue, err);
}

int gc_gauges(struct registry *g, bool force, struct err *err)
{
    static _Atomic int64_t next; /* monotonic us */
    int64_t begin = clock_mono();
    if (!force && begin < atomic_load(&next))
        return 0;
    struct counts q = {.now = clock_now()};
    int rc = db_read(g->db, counts_read, &q, err);
    if (rc < 0)
        return rc;
    metric_set(METRIC_GC_QUEUE, q.rows);
    metric_set(METRIC_GC_OVERDUE, q.overdue);
    int64_t end = clock_mono(); /* counting takes half a percent of the time, at most */
    atomic_store(&next, end + (end - begin) * GAUGE_COST_FACTOR);
    return 0;
}

/* ---- the sweep ---- */
struct sweep_page {
    struct registry *g;
    struct gc_sweep *sweep;
    struct sweep_row rows[SWEEP_PAGE_ROWS];
    size_t n;
};

static int sweep_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct sweep_page *q = arg;
    return sweep_tx_page(tx, q->sweep->after, q->rows, SWEEP_PAGE_ROWS, &q->n, err);
}

/* Nobody knows since when they are without a tag: each gets the whole time from now. */
static int sweep_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct sweep_page *q = arg;
    int64_t at = clock_now() + registry_num(q->g, UNTAGGED_EXPIRY);
    for (size_t i = 0; i < q->n; i++) {
        const struct sweep_row *row = &q->rows[i];
        int rc = row->living ? 0
                             : gc_tx_put_absent(tx, GC_MANIFEST, row->repo_id, raw_str(&row->key),
                                                at, "sweep", err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

int gc_sweep_step(struct registry *g, struct gc_sweep *s, struct err *err)
{
    bool on = registry_num(g, UNTAGGED_EXPIRY) > 0;
    if (on != s->on)
        *s = (struct gc_sweep){.on = on};
    if (!on || s->done)
        return 0;
    auto_free struct sweep_page *q = mem_zalloc(sizeof *q);
    q->g = g;
    q->sweep = s;
    int rc = db_read(g->db, sweep_read, q, err);
    bool any = false;
    for (size_t i = 0; rc == 0 && i < q->n; i++)
        any |= !q->rows[i].living;
    if (rc == 0 && any)
        rc = db_write(g->db, sweep_write, q, err);
    if (rc < 0)
        return rc;
    if (q->n > 0)
        s->after = q->rows[q->n - 1].id;
    s->done = q->n < SWEEP_PAGE_ROWS;
    return 0;
}
