/* The server's part: plans in memory, exempt networks, the thread that saves. */
#include "policy/policy_int.h"

#include "base/clock.h"
#include "base/log.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>

#define SAVE_EVERY_US INT64_C(30000000)

/* ---- plans ---- */
struct plan_read {
    struct plan_table *table;
    size_t room;
};

static int take_plan(void *arg, const struct plan *plan, struct err *err)
{
    struct plan_read *q = arg;
    (void)err;
    if (q->table->n == q->room) {
        q->room *= 2;
        q->table = mem_realloc(q->table, size_add(sizeof *q->table, size_mul(q->room, sizeof *plan)));
    }
    q->table->plans[q->table->n++] = *plan;
    return 0;
}

static int read_plans(struct db_tx *tx, void *arg, struct err *err)
{
    struct plan_read *q = arg;
    q->table->n = 0;
    return plan_tx_each(tx, take_plan, q, err);
}

/* Under the lock, so that what was read last is published last. */
static int publish_plans(struct policy *p, struct err *err)
{
    struct plan_read q = {mem_zalloc(sizeof *q.table + 8 * sizeof q.table->plans[0]), 8};
    int rc = db_read(p->db, read_plans, &q, err);
    if (rc < 0) {
        free(q.table);
        return rc;
    }
    q.table->older = atomic_load(&p->plans);
    atomic_store(&p->plans, q.table);
    return 0;
}

int policy_plans_refresh(struct policy *p, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    int rc = publish_plans(p, err);
    atomic_store(&p->stale, rc < 0);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

void policy_plan(struct policy *p, int64_t id, struct plan *ret)
{
    const struct plan_table *t = atomic_load(&p->plans);
    const struct plan *best = NULL;
    for (size_t i = 0; i < t->n; i++) {
        if (t->plans[i].id == id) {
            best = &t->plans[i];
            break;
        }
        if (t->plans[i].site_default)
            best = &t->plans[i];
    }
    BUG_ON(best == NULL); /* plan_tx_remove keeps the default */
    *ret = *best;
}

/* ---- exempt networks ---- */
void policy_reload(struct policy *p, const struct config *c)
{
    atomic_store(&p->read_only, config_num(c, READ_ONLY) != 0);
    pthread_mutex_lock(&p->lock);
    networks_publish(&p->exempt, str_of(config_text(c, PULL_EXEMPT)));
    pthread_mutex_unlock(&p->lock);
}

bool policy_exempt(struct policy *p, const uint8_t addr[16])
{
    return networks_have(atomic_load(&p->exempt), addr);
}

/* ---- windows ---- */
struct policy_key policy_key_account(int64_t id)
{
    return (struct policy_key){(uint64_t)id, POLICY_ACCOUNT};
}

/* IPv4 as ::ffff:a.b.c.d has it in its lower half; no /64 that is routed looks so. */
#define V4_MARK UINT64_C(0x0000ffff00000000)

struct policy_key policy_key_address(const uint8_t addr[16])
{
    uint64_t id = 0;
    const uint8_t *half = address_is_v4(addr) ? addr + 8 : addr;
    for (int i = 0; i < 8; i++)
        id = id << 8 | half[i];
    return (struct policy_key){id, POLICY_ADDRESS};
}

struct policy_limit policy_pull_limit(const struct plan_limits *l, enum policy_who who)
{
    return (struct policy_limit){who == POLICY_ACCOUNT ? l->pulls : l->anonymous_pulls, l->pull_window};
}

struct policy_limit policy_push_limit(const struct plan_limits *l)
{
    return (struct policy_limit){l->pushes, l->push_window};
}

void policy_count(struct policy *p, struct policy_key key, enum policy_kind kind, struct policy_limit limit,
                  int64_t now, struct policy_verdict *ret)
{
    window_use(&p->windows, key, kind, limit, now, true, ret);
}

void policy_peek(struct policy *p, struct policy_key key, enum policy_kind kind, struct policy_limit limit,
                 int64_t now, struct policy_verdict *ret)
{
    window_use(&p->windows, key, kind, limit, now, false, ret);
}

int policy_save(struct policy *p, struct err *err)
{
    pthread_mutex_lock(&p->lock);
    int rc = windows_save(&p->windows, &p->parts, p->db, clock_now(), err);
    pthread_mutex_unlock(&p->lock);
    return rc;
}

/* ---- the thread ---- */
static void save_once(struct policy *p, bool *failing)
{
    struct err err = {0};
    int rc = atomic_load(&p->stale) ? policy_plans_refresh(p, &err) : 0;
    if (rc == 0 && !atomic_load(&p->read_only) && !db_failed(p->db))
        rc = policy_save(p, &err);
    if (rc < 0 && !*failing)
        log_line(LOG_WARN, "pull windows or plans: the database does not answer; counting goes on in memory",
                 F_CSTR("error", err.text));
    *failing = rc < 0;
}

static bool wait_for_stop(struct policy *p)
{
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += p->save_every / 1000000;
    until.tv_nsec += p->save_every % 1000000 * 1000;
    if (until.tv_nsec >= 1000000000) {
        until.tv_sec++;
        until.tv_nsec -= 1000000000;
    }
    pthread_mutex_lock(&p->stop_lock);
    while (!p->stop && pthread_cond_timedwait(&p->stop_cond, &p->stop_lock, &until) != ETIMEDOUT) {
    }
    bool stop = p->stop;
    pthread_mutex_unlock(&p->stop_lock);
    return stop;
}

static void *save_main(void *arg)
{
    struct policy *p = arg;
    bool failing = false, stop;
    do {
        stop = wait_for_stop(p);
        save_once(p, &failing);
    } while (!stop);
    return NULL;
}

int policy_start(struct policy *p, struct err *err)
{
    sigset_t all, old;
    BUG_ON(p->running);
    sigfillset(&all); /* signals are for the threads that wait for them */
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int rc = pthread_create(&p->thread, NULL, save_main, p);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    p->running = rc == 0;
    return rc == 0 ? 0 : err_set(err, ERR_UNAVAILABLE, "no thread to save pull windows: %s", strerror(rc));
}

/* ---- life ---- */
int policy_open(struct policy **ret, struct db *db, const struct config *c, struct err *err)
{
    struct policy *p = mem_zalloc(sizeof *p);
    pthread_condattr_t mono;
    pthread_condattr_init(&mono);
    pthread_condattr_setclock(&mono, CLOCK_MONOTONIC);
    pthread_cond_init(&p->stop_cond, &mono);
    pthread_condattr_destroy(&mono);
    pthread_mutex_init(&p->lock, NULL);
    pthread_mutex_init(&p->stop_lock, NULL);
    p->db = db;
    p->save_every = SAVE_EVERY_US;
    windows_init(&p->windows, WINDOW_BUCKETS);
    policy_reload(p, c);
    int rc = policy_plans_refresh(p, err);
    if (rc == 0)
        rc = windows_load(&p->windows, &p->parts, db, clock_now(), err);
    if (rc < 0) {
        policy_close(p);
        return rc;
    }
    *ret = p;
    return 0;
}

void policy_close(struct policy *p)
{
    if (p == NULL)
        return;
    if (p->running) {
        pthread_mutex_lock(&p->stop_lock);
        p->stop = true;
        pthread_cond_signal(&p->stop_cond);
        pthread_mutex_unlock(&p->stop_lock);
        pthread_join(p->thread, NULL);
    }
    for (struct plan_table *t = atomic_load(&p->plans), *older; t != NULL; t = older) {
        older = t->older;
        free(t);
    }
    networks_free(atomic_load(&p->exempt));
    windows_release(&p->windows);
    pthread_cond_destroy(&p->stop_cond);
    pthread_mutex_destroy(&p->stop_lock);
    pthread_mutex_destroy(&p->lock);
    free(p);
}
