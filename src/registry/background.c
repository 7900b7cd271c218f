/* The two threads beside the requests. `upkeep`: expired uploads, the queue's reviews, the trash.
 * `scrub`: re-hashing, and the search for files that belong to nothing. Two, so that a long file
 * being hashed never holds up the collector. Both run at low priority and end within a second. */
#include "registry/upkeep.h"

#include <linux/ioprio.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    PASS_MAX = 4096,        /* rows of a pass */
    WAIT_MAX_US = 60000000, /* a wake-up that came too early costs so much */
    REAP_EVERY_US = 60000000,
    SCRUB_IDLE_US = 60000000,
    ERROR_PAUSE_US = 10000000,
    CLOCK_STEP_US = 60000000,
    UPKEEP_NICE = 10
};
static const int64_t ORPHANS_EVERY_US = INT64_C(86400) * 1000000;

/* Said once, and once a minute while it lasts. */
struct complaint {
    int code;
    int64_t at;
};

struct background {
    struct registry *g;
    struct scrub *scrub;
    pthread_t upkeep_thread, scrub_thread;
    bool upkeep_runs, scrub_runs;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    uint64_t wakes;
    _Atomic bool stop;
    /* The upkeep thread's own. */
    struct gc_sweep sweep;
    int64_t reap_at; /* monotonic us */
    struct clock_watch clock;
    struct complaint upkeep_error, scrub_error;
};

bool background_wait(struct background *b, int64_t us)
{
    if (us <= 0)
        return atomic_load(&b->stop);
    int64_t at = clock_mono() + (us < WAIT_MAX_US ? us : WAIT_MAX_US);
    struct timespec until = {.tv_sec = at / 1000000, .tv_nsec = at % 1000000 * 1000};
    pthread_mutex_lock(&b->lock);
    uint64_t wakes = b->wakes;
    int rc = 0;
    while (!atomic_load(&b->stop) && b->wakes == wakes && rc == 0)
        rc = pthread_cond_clockwait(&b->cond, &b->lock, CLOCK_MONOTONIC, &until);
    pthread_mutex_unlock(&b->lock);
    return atomic_load(&b->stop);
}

void background_wake(struct background *b)
{
    if (!b)
        return;
    pthread_mutex_lock(&b->lock);
    b->wakes++;
    pthread_cond_broadcast(&b->cond);
    pthread_mutex_unlock(&b->lock);
}

struct scrub *background_scrub(struct background *b)
{
    return b->scrub;
}

static void complain(struct background *b, struct complaint *c, const char *what, int rc,
                     const struct err *err)
{
    int64_t now = clock_mono();
    if (atomic_load(&b->stop) || (c->code == rc && now - c->at < WAIT_MAX_US))
        return;
    *c = (struct complaint){rc, now};
    log_line(LOG_WARN, what, F_CSTR("error", err->text));
}

/* Nothing is changed while the operator or a failed disk says so. */
static bool may_write(struct registry *g)
{
    return registry_num(g, READ_ONLY) == 0 && !db_failed(g->db) && !store_failed(g->store);
}

/* ---- upkeep ---- */
int64_t clock_watch_look(struct clock_watch *w, int64_t wall, int64_t mono)
{
    int64_t jump = w->looked ? wall - mono - w->offset : 0;
    w->offset = wall - mono;
    w->looked = true;
    if (jump <= CLOCK_STEP_US)
        return 0;
    w->stepped = true;
    w->step_at = mono;
    return jump;
}

bool clock_watch_settled(const struct clock_watch *w, int64_t mono, int64_t delay)
{
    return !w->stepped || mono - w->step_at >= delay;
}

static void watch_clock(struct background *b)
{
    int64_t jump = clock_watch_look(&b->clock, clock_now(), clock_mono());
    if (jump > 0)
        log_line(LOG_WARN, "the clock jumped ahead: collection waits",
                 F_INT("seconds", jump / 1000000));
}

static bool clock_settled(const struct background *b, int64_t delay)
{
    return clock_watch_settled(&b->clock, clock_mono(), delay);
}

static int reap(struct background *b, struct err *err)
{
    struct registry *g = b->g;
    int64_t removed, expiry = registry_num(g, UPLOAD_EXPIRY), every = expiry / 2;
    if (clock_mono() < b->reap_at || !clock_settled(b, expiry))
        return 0;
    b->reap_at = clock_mono() + (every < REAP_EVERY_US ? every : REAP_EVERY_US);
    return upload_reap(g, clock_now(), &removed, err);
}

static int collect(struct background *b, struct err *err)
{
    struct registry *g = b->g;
    int64_t now = clock_now();
    int rc = gc_sweep_step(g, &b->sweep, err);
    if (rc == 0 && clock_settled(b, registry_num(g, GC_DELAY))) {
        struct gc_run run = {.g = g, .due = now, .max = PASS_MAX, .stop = &b->stop};
        rc = gc_pass(&run, err);
    }
    if (rc == 0 && clock_settled(b, trash_hold(g)))
        rc = trash_purge(g, now, &b->stop, NULL, err);
    return rc;
}

static void upkeep_once(struct background *b)
{
    struct err err = {0};
    watch_clock(b);
    if (!may_write(b->g))
        return;
    int rc = reap(b, &err);
    if (rc < 0)
        complain(b, &b->upkeep_error, "expired uploads not removed", rc, &err);
    rc = repo_drain(b->g, &b->stop, &err);
    if (rc < 0)
        complain(b, &b->upkeep_error, "deleted repositories not removed", rc, &err);
    rc = registry_num(b->g, GC) ? collect(b, &err) : 0;
    if (rc == 0)
        rc = gc_gauges(b->g, false, &err);
    if (rc < 0)
        complain(b, &b->upkeep_error, "garbage collection interrupted", rc, &err);
}

static void *upkeep_main(void *arg)
{
    struct background *b = arg;
    int64_t last = clock_mono();
    /* Not the idle class: while it holds a digest's lock, pushes of that digest wait. */
    (void)setpriority(PRIO_PROCESS, (id_t)gettid(), UPKEEP_NICE);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_BE, 7));
    watch_clock(b);
    while (!atomic_load(&b->stop)) {
        /* Asked anew after each wake-up: a reload may have changed it. */
        int64_t left = last + registry_num(b->g, GC_INTERVAL) - clock_mono();
        if (left > 0) {
            (void)background_wait(b, left);
            continue;
        }
        upkeep_once(b);
        last = clock_mono();
    }
    return NULL;
}

/* ---- scrub ---- */
/* At the start, again when what was too young then has come of age, else once a day. */
static int64_t look_for_orphans(struct background *b)
{
    struct registry *g = b->g;
    struct err err = {0};
    int64_t young = 0;
    if (!registry_num(g, GC) || !may_write(g))
        return clock_mono() + WAIT_MAX_US;
    int rc = orphans_collect(g, clock_now(), &b->stop, &young, &err);
    if (rc < 0)
        complain(b, &b->scrub_error, "search for stray files interrupted", rc, &err);
    if (rc < 0 || young == 0)
        return clock_mono() + (rc < 0 ? WAIT_MAX_US : ORPHANS_EVERY_US);
    return clock_mono() + trash_hold(g) + 1000000;
}

/* How long the scrub may sleep when nothing is due: a short period must not be slept through. */
static int64_t scrub_idle(const struct background *b)
{
    int64_t period = registry_num(b->g, SCRUB_PERIOD) / 8;
    return period < SCRUB_IDLE_US ? period : SCRUB_IDLE_US;
}

static void *scrub_main(void *arg)
{
    struct background *b = arg;
    int64_t orphans_at = 0;
    struct sched_param none = {0};
    (void)pthread_setschedparam(pthread_self(), SCHED_IDLE, &none);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0, IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
    while (!atomic_load(&b->stop)) {
        struct err err = {0};
        if (clock_mono() >= orphans_at)
            orphans_at = look_for_orphans(b);
        int rc = db_failed(b->g->db) || store_failed(b->g->store) ? 0 : scrub_step(b->scrub, &err);
        if (rc < 0)
            complain(b, &b->scrub_error, "scrub interrupted", rc, &err);
        if (rc == 1)
            continue;
        int64_t left = orphans_at - clock_mono(), idle = rc < 0 ? ERROR_PAUSE_US : scrub_idle(b);
        (void)background_wait(b, left < idle ? left : idle);
    }
    return NULL;
}

/* ---- life ---- */
static int start_threads(struct background *b, struct err *err)
{
    sigset_t all, old;
    sigfillset(&all); /* signals are for the threads that wait for them */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&b->upkeep_thread, NULL, upkeep_main, b);
    b->upkeep_runs = rc == 0;
    if (rc == 0) {
        rc = pthread_create(&b->scrub_thread, NULL, scrub_main, b);
        b->scrub_runs = rc == 0;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return rc == 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "no thread for upkeep: %s", strerror(rc));
}

int registry_background_start(struct registry *g, struct err *err)
{
    BUG_ON(g->background);
    struct background *b = mem_zalloc(sizeof *b);
    b->g = g;
    pthread_mutex_init(&b->lock, NULL);
    pthread_cond_init(&b->cond, NULL);
    b->scrub = scrub_new(g, b);
    g->background = b;
    int rc = start_threads(b, err);
    if (rc < 0)
        registry_background_stop(g);
    return rc;
}

void registry_background_stop(struct registry *g)
{
    struct background *b = g->background;
    if (!b)
        return;
    atomic_store(&b->stop, true);
    background_wake(b);
    if (b->upkeep_runs)
        pthread_join(b->upkeep_thread, NULL);
    if (b->scrub_runs)
        pthread_join(b->scrub_thread, NULL);
    g->background = NULL;
    scrub_free(b->scrub);
    pthread_cond_destroy(&b->cond);
    pthread_mutex_destroy(&b->lock);
    free(b);
}
