/* The running part: rings, keys and the thread that drains and seals. */
#include "audit/audit_int.h"
#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { TICK_US = 1000000, COMPLAIN_US = 60000000, LOOPS_MAX = 256 };

static struct audit_options defaults(const struct audit_options *o)
{
    struct audit_options d = *o;
    BUG_ON(d.loops < 0 || d.loops > LOOPS_MAX);
    d.window_us = d.window_us > 0 ? d.window_us : 10000000;
    d.seal_us = d.seal_us > 0 ? d.seal_us : 60000000;
    d.seal_rows = d.seal_rows > 0 ? d.seal_rows : 1000;
    d.ring_bytes = d.ring_bytes > 0 ? d.ring_bytes : 1 << 20;
    return d;
}

/* ---- rings ---- */
static int open_dir(struct store *store, struct err *err)
{
    char path[4200];
    int n = snprintf(path, sizeof path, "%s/audit", store_dir(store));
    if (n < 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_USAGE, "data: the path is too long");
    if (mkdir(path, 0700) < 0 && errno != EEXIST)
        return err_sys(err, ERR_IO, "cannot make %s", path);
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd >= 0 ? fd : err_sys(err, ERR_IO, "cannot open %s", path);
}

static int open_ring(struct audit *a, int dir, size_t number, struct err *err)
{
    int rc = ring_open(&a->rings[number], dir, (int)number, a->o.window_us, a->o.ring_bytes, err);
    return rc < 0 ? rc : drain_recover(a, number, err);
}

/* Rings of a process that had more loops: written, then removed. */
static int open_left_over(struct audit *a, int dir, struct err *err)
{
    int rc = 0;
    for (size_t i = a->n_rings; rc == 0 && i <= LOOPS_MAX; i++) {
        char name[32];
        (void)snprintf(name, sizeof name, "ring-%zu", i);
        if (faccessat(dir, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            break;
        if ((rc = open_ring(a, dir, i, err)) == 0 && unlinkat(dir, name, 0) < 0)
            rc = err_sys(err, ERR_IO, "cannot remove audit/%s", name);
        ring_close(a->rings[i]);
        a->rings[i] = NULL;
    }
    return rc;
}

static int open_rings(struct audit *a, struct err *err)
{
    auto_fd int dir = open_dir(a->store, err);
    int rc = dir < 0 ? dir : 0;
    for (size_t i = 0; rc == 0 && i < a->n_rings; i++)
        rc = open_ring(a, dir, i, err);
    return rc < 0 ? rc : open_left_over(a, dir, err);
}

void audit_count(struct audit *a, int loop, const struct audit_row *row)
{
    BUG_ON(loop < AUDIT_SHARED || loop >= a->o.loops);
    if (loop != AUDIT_SHARED) {
        ring_count(a->rings[loop], row);
        return;
    }
    pthread_mutex_lock(&a->shared);
    ring_count(a->rings[a->o.loops], row);
    pthread_mutex_unlock(&a->shared);
}

/* ---- the thread ---- */
static int drain_all(struct audit *a, bool all, struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < a->n_rings; i++)
        rc = drain_ring(a, i, all, err);
    return rc;
}

int audit_flush(struct audit *a, struct err *err)
{
    pthread_mutex_lock(&a->work);
    int rc = drain_all(a, true, err);
    if (rc == 0)
        rc = seal_all(a, err);
    pthread_mutex_unlock(&a->work);
    return rc;
}

static int pass(struct audit *a, struct err *err)
{
    pthread_mutex_lock(&a->work);
    int rc = db_failed(a->db) ? 0 : drain_all(a, false, err);
    if (rc == 0 && !db_failed(a->db))
        rc = seal_due(a, err);
    pthread_mutex_unlock(&a->work);
    return rc;
}

static bool wait_tick(struct audit *a)
{
    int64_t at = clock_mono() + TICK_US;
    struct timespec until = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
    pthread_mutex_lock(&a->lock);
    int rc = 0;
    while (!a->stop && rc == 0)
        rc = pthread_cond_clockwait(&a->cond, &a->lock, CLOCK_MONOTONIC, &until);
    bool stop = a->stop;
    pthread_mutex_unlock(&a->lock);
    return !stop;
}

static void *sealer_main(void *arg)
{
    struct audit *a = arg;
    int64_t complained = 0;
    (void)pthread_setname_np(pthread_self(), "audit-sealer");
    while (wait_tick(a)) {
        struct err err = {0};
        int rc = pass(a, &err);
        if (rc < 0 && (complained == 0 || clock_mono() - complained > COMPLAIN_US)) {
            complained = clock_mono();
            log_line(LOG_WARN, "the audit log waits", F_CSTR("error", err.text));
        }
    }
    return NULL;
}

int audit_start(struct audit *a, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&a->thread, NULL, sealer_main, a);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    a->runs = rc == 0;
    return rc == 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "no thread for the audit log: %s", strerror(rc));
}

void audit_stop(struct audit *a)
{
    struct err err = {0};
    if (!a->runs)
        return;
    pthread_mutex_lock(&a->lock);
    a->stop = true;
    pthread_cond_signal(&a->cond);
    pthread_mutex_unlock(&a->lock);
    pthread_join(a->thread, NULL);
    a->runs = false;
    if (!db_failed(a->db) && audit_flush(a, &err) < 0) /* the next start writes what the rings hold */
        log_line(LOG_WARN, "the audit log is not sealed to its end", F_CSTR("error", err.text));
}

/* ---- life ---- */
int audit_new(struct audit **ret, struct db *db, struct store *store, const struct audit_options *o, struct err *err)
{
    struct audit *a = mem_zalloc(sizeof *a);
    a->db = db;
    a->store = store;
    a->o = defaults(o);
    a->n_rings = (size_t)a->o.loops + 1;
    a->rings = mem_zalloc((LOOPS_MAX + 1) * sizeof(struct ring *));
    a->sealed_at = clock_mono();
    pthread_mutex_init(&a->shared, NULL);
    pthread_mutex_init(&a->work, NULL);
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->cond, NULL);
    int rc = keys_setup(store, &a->keys, err);
    if (rc == 0)
        rc = seal_load_anchor(a, err);
    if (rc == 0)
        rc = open_rings(a, err);
    if (rc < 0) {
        audit_free(a);
        return rc;
    }
    *ret = a;
    return 0;
}

void audit_free(struct audit *a)
{
    if (!a)
        return;
    audit_stop(a);
    for (size_t i = 0; i <= LOOPS_MAX; i++)
        ring_close(a->rings[i]);
    free(a->rings);
    keys_wipe(&a->keys);
    pthread_mutex_destroy(&a->shared);
    pthread_mutex_destroy(&a->work);
    pthread_mutex_destroy(&a->lock);
    pthread_cond_destroy(&a->cond);
    free(a);
}

int audit_rotate(struct audit *a, struct err *err)
{
    pthread_mutex_lock(&a->work);
    int rc = keys_rotate(a->store, &a->keys, err);
    pthread_mutex_unlock(&a->work);
    return rc;
}
