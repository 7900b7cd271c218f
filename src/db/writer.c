/* Group commit: one thread runs all queued write callbacks in one transaction and wakes their
 * callers after the commit.
 *
 * While a commit waits for the disk new callbacks queue up, so batches grow with the load by
 * themselves; a lone write goes at once. Each callback of a batch has a savepoint and fails alone.
 * What can end a whole batch: a collision (ERR_RETRY) or a lost connection runs it again, a failed
 * commit fails everyone who is in it. After a commit that failed with an I/O error the kernel may
 * have dropped dirty pages, and a later commit could seem to succeed on top of lost ones: no write
 * is accepted any more (db_failed). */
#include "db/db_int.h"
#include "base/clock.h"
#include "base/fault.h"
#include "base/metric.h"

#include <errno.h>
#include <stdlib.h>

struct batch {
    struct db_job *jobs[DB_BATCH_MAX];
    size_t n;
};

#define REFUSED "a write to the database failed; writes are refused until a restart"
enum { BACKOFF_MIN_US = 50000, BACKOFF_MAX_US = 2000000 };

static void job_fail(struct db_job *j, int rc, const struct err *e)
{
    j->rc = rc;
    j->err = *e;
    j->err.code = rc;
}

static void batch_fail(struct batch *b, int rc, const struct err *e)
{
    for (size_t i = 0; i < b->n; i++)
        job_fail(b->jobs[i], rc, e);
}

/* ---- the connection ---- */
static int ensure_conn(struct db *db, struct err *err)
{
    if (db->writer.conn != NULL && db->writer.conn->lost) {
        db->engine->disconnect(db->writer.conn);
        db->writer.conn = NULL;
    }
    if (db->writer.conn != NULL)
        return 0;
    if (db->writer.backoff > 0 && clock_mono() < db->writer.retry_at)
        return err_set(err, ERR_UNAVAILABLE, "the database is away");
    int rc = db->engine->connect(db, DB_WRITER, &db->writer.conn, err);
    if (rc == 0) {
        db->writer.backoff = 0;
        return 0;
    }
    int64_t pause = db->writer.backoff ? db->writer.backoff * 2 : BACKOFF_MIN_US;
    db->writer.backoff = pause < BACKOFF_MAX_US ? pause : BACKOFF_MAX_US;
    db->writer.retry_at = clock_mono() + db->writer.backoff;
    return rc;
}

/* ---- one commit ---- */
static int failed_errno(struct db *db, int sys, const char *when, struct err *err)
{
    errno = sys;
    if (sys != ENOSPC && sys != EDQUOT)
        db_fail(db);
    return err_sys(err, ERR_IO, "%s", when);
}

int writer_commit(struct db *db, struct db_conn *c, struct err *err)
{
    int fault = FAULT("db.commit");
    if (fault != 0) {
        db->engine->rollback(c);
        return failed_errno(db, fault, "the commit failed", err);
    }
    int rc = db->engine->commit(c, err);
    if (rc < 0) {
        if (rc == ERR_IO)
            db_fail(db);
        if (!c->lost)
            db->engine->rollback(c);
        return rc;
    }
    if ((fault = FAULT("db.commit.done")) != 0)
        return failed_errno(db, fault, "the outcome of the commit is unknown", err);
    return 0;
}

/* ---- a batch ---- */
enum outcome { DONE, AGAIN, ALONE };

/* Runs one callback of the transaction; DONE with its result in the job, unless the transaction
 * as a whole is gone. */
static enum outcome run_job(struct db *db, struct db_job *j, bool alone)
{
    struct db_conn *c = db->writer.conn;
    struct db_tx tx;
    struct err e = {.code = 0};
    int rc = alone ? 0 : db->engine->mark(c, &e);
    if (rc == 0) {
        db_tx_init(&tx, db, c);
        rc = db_tx_run(&tx, j->fn, j->arg, &e);
    }
    j->rc = rc;
    if (rc >= 0)
        return DONE;
    job_fail(j, rc, &e);
    if (rc == ERR_RETRY || c->lost)
        return AGAIN;
    if (alone || db_failed(db))
        return DONE;
    /* No way back when SQLite ended the whole transaction by itself, as it may when the disk is
     * full: the others must not suffer. */
    rc = db->engine->rewind(c, &e);
    return rc == 0 ? DONE : rc == ERR_RETRY || c->lost ? AGAIN : ALONE;
}

static void batch_finish(struct batch *b, int rc, const struct err *e)
{
    uint64_t good = 0;
    for (size_t i = 0; i < b->n; i++) {
        if (b->jobs[i]->rc < 0)
            continue;
        if (rc < 0)
            job_fail(b->jobs[i], rc, e);
        else
            good++;
    }
    if (rc == 0) {
        metric_add(METRIC_DB_COMMITS, 1);
        metric_add(METRIC_DB_WRITES, good);
    }
}

/* One transaction over the batch. */
static enum outcome try_batch(struct db *db, struct batch *b, struct err *e)
{
    int rc = ensure_conn(db, e);
    if (rc < 0) {
        batch_fail(b, rc, e);
        return DONE;
    }
    struct db_conn *c = db->writer.conn;
    if ((rc = db->engine->begin(c, DB_WRITER, e)) < 0) {
        batch_fail(b, rc, e);
        return c->lost || rc == ERR_RETRY ? AGAIN : DONE;
    }
    size_t good = 0;
    for (size_t i = 0; i < b->n; i++)
        b->jobs[i]->rc = 0;
    for (size_t i = 0; i < b->n && !db_failed(db); i++) {
        enum outcome o = run_job(db, b->jobs[i], b->n == 1);
        if (o != DONE) {
            *e = b->jobs[i]->err;
            if (!c->lost)
                db->engine->rollback(c);
            return o;
        }
        good += b->jobs[i]->rc >= 0;
    }
    if (good == 0 || db_failed(db)) { /* who has no error of his own hears of the failure */
        db->engine->rollback(c);
        if (db_failed(db))
            batch_finish(b, err_set(e, ERR_READ_ONLY, REFUSED), e);
        return DONE;
    }
    rc = writer_commit(db, c, e);
    if (rc == ERR_RETRY)
        return AGAIN;
    batch_finish(b, rc, e);
    return DONE;
}

static void run_batch(struct db *db, struct batch *b)
{
    struct err e = {.code = 0};
    enum outcome o = AGAIN;
    if (db_failed(db)) {
        batch_fail(b, err_set(&e, ERR_READ_ONLY, REFUSED), &e);
        return;
    }
    for (int i = 0; i < DB_ATTEMPTS && o == AGAIN; i++) {
        if (i > 0)
            metric_add(METRIC_DB_RETRIES, 1);
        o = try_batch(db, b, &e);
    }
    if (o == DONE)
        return;
    if (b->n > 1) { /* whoever disturbs, disturbs only himself */
        for (size_t i = 0; i < b->n; i++) {
            struct batch one = {.jobs = {b->jobs[i]}, .n = 1};
            run_batch(db, &one);
        }
        return;
    }
    (void)err_wrap(&e, "given up after %d attempts", DB_ATTEMPTS);
    batch_fail(b, e.code == ERR_RETRY ? ERR_UNAVAILABLE : e.code, &e);
}

/* ---- the thread ---- */
static bool take_batch(struct db *db, struct batch *b)
{
    b->n = 0;
    pthread_mutex_lock(&db->writer.lock);
    while (db->writer.head == NULL && !db->writer.stop)
        pthread_cond_wait(&db->writer.some, &db->writer.lock);
    while (db->writer.head != NULL && b->n < DB_BATCH_MAX) {
        b->jobs[b->n++] = db->writer.head;
        db->writer.head = db->writer.head->next;
    }
    if (db->writer.head == NULL)
        db->writer.tail = &db->writer.head;
    pthread_mutex_unlock(&db->writer.lock);
    return b->n > 0;
}

static void *writer_main(void *arg)
{
    struct db *db = arg;
    struct batch *b = mem_alloc(sizeof *b);
    pthread_setname_np(pthread_self(), "db-writer");
    while (take_batch(db, b)) {
        run_batch(db, b);
        for (size_t i = 0; i < b->n; i++)
            sem_post(&b->jobs[i]->done); /* the job is gone after this */
        struct err e;
        if (db->writer.conn != NULL && !db->writer.conn->lost && !db_failed(db) &&
            db->engine->idle(db->writer.conn, &e) == ERR_IO)
            db_fail(db);
    }
    free(b);
    return NULL;
}

int db_write(struct db *db, db_callback fn, void *arg, struct err *err)
{
    struct db_job job; /* err is written only on failure, so nothing is cleared here */
    job.next = NULL;
    job.fn = fn;
    job.arg = arg;
    BUG_ON(pthread_equal(pthread_self(), db->writer.thread));
    sem_init(&job.done, 0, 0);
    pthread_mutex_lock(&db->writer.lock);
    BUG_ON(db->writer.stop);
    bool first = db->writer.head == NULL;
    *db->writer.tail = &job;
    db->writer.tail = &job.next;
    if (first) /* under the lock: db_close may follow at once */
        pthread_cond_signal(&db->writer.some);
    pthread_mutex_unlock(&db->writer.lock);
    while (sem_wait(&job.done) != 0)
        BUG_ON(errno != EINTR);
    sem_destroy(&job.done);
    if (job.rc < 0 && err != NULL)
        *err = job.err;
    return job.rc;
}

void writer_init(struct db *db)
{
    pthread_mutex_init(&db->writer.lock, NULL);
    pthread_cond_init(&db->writer.some, NULL);
    db->writer.tail = &db->writer.head;
}

void writer_start(struct db *db)
{
    int rc = pthread_create(&db->writer.thread, NULL, writer_main, db);
    BUG_ON(rc != 0);
    db->writer.started = true;
}

void writer_stop(struct db *db)
{
    if (!db->writer.started)
        return;
    pthread_mutex_lock(&db->writer.lock);
    db->writer.stop = true;
    pthread_mutex_unlock(&db->writer.lock);
    pthread_cond_signal(&db->writer.some);
    pthread_join(db->writer.thread, NULL);
    db->writer.started = false;
}
