/* Who was told lately that something exists: times hashed by (repository, digest), and the
 * sequences by which a reader notices a removal that happens while it looks.
 *
 * Why no push in flight loses a blob. Two words take part: the slot's time T and its sequence S,
 * odd while something in it is being removed.
 *
 *   reader   (gc_touch) store T; load S -> ticket;  read the database: linked;  (gc_undisturbed)
 * load S reviewer S++ (odd);  in the transaction: load T, remove if T is old;  commit;  S++ (even)
 *
 * All of these operations on T and S are sequentially consistent, so there is one order of them.
 * Take the reviewer's load of T, which comes after S became odd:
 *   - It comes after the reader's store: the reviewer sees the touch and leaves the object alone
 * for gc_grace. Whatever the reader was told holds.
 *   - It comes before the store: S became odd before the store, hence before the reader's first
 * load of S. That load gives the odd value, then the reader knows at once that it is disturbed. Or
 * it gives a later one, then the removal is over, its commit happened before that load (the
 * increment releases, the load acquires), and the database read that follows does not find the
 * object. The second load of S catches nothing more in this model; it is there for objects that
 * share the slot of the sequence, and so that the argument does not rest on the first load alone
 * when gc_grace is 0: a removal that begins between the two loads makes them differ, and the reader
 * looks again.
 *
 * A touch does not store when the slot has this very tick already: somebody else's store of the
 * same value is before our load of it, and that takes the place of our store in the order above. T
 * never goes backwards (compare and swap), so a reader that was asleep between clock and store does
 * no harm to others.
 *
 * Times are ticks of TOUCH_STEP_US since the start: 4 bytes a slot, and a hot slot is written ten
 * times a second, not once a request. Monotonic: no step of the wall clock makes anything old. */
#include "registry/upkeep.h"

#include <pthread.h>

enum { TOUCH_SLOTS = 1 << 20, SEQ_SLOTS = 1 << 12, SEQ_SHIFT = 48 };
#define SEQ_MASK (((uint64_t)1 << SEQ_SHIFT) - 1)

static _Atomic uint32_t touched[TOUCH_SLOTS]; /* tick + 1; 0 never */
static _Atomic uint64_t sequence[SEQ_SLOTS];
static _Atomic int64_t started; /* monotonic us */
/* For those who wait for an even sequence. */
static pthread_mutex_t quiet_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t quiet = PTHREAD_COND_INITIALIZER;

static int64_t start_time(void)
{
    int64_t at = atomic_load(&started);
    if (at == 0) {
        int64_t now = clock_mono();
        if (atomic_compare_exchange_strong(&started, &at, now))
            at = now;
    }
    return at;
}

/* Digests are uniform by themselves; whoever grinds one to share a slot delays a review. */
static uint64_t place(int64_t repo_id, const struct digest *d)
{
    uint64_t h;
    memcpy(&h, d->bytes, sizeof h);
    h = (h ^ ((uint64_t)repo_id * 0x9e3779b97f4a7c15u) ^ d->alg) * 0xd6e8feb86659fd93u;
    return h >> 40; /* 24 bits */
}

uint64_t gc_touch(int64_t repo_id, const struct digest *d)
{
    uint64_t at = place(repo_id, d);
    _Atomic uint32_t *t = &touched[at % TOUCH_SLOTS];
    int64_t start = start_time();
    uint32_t tick = (uint32_t)((clock_mono() - start) / TOUCH_STEP_US) + 1;
    uint32_t have = atomic_load(t);
    while (have < tick && !atomic_compare_exchange_weak(t, &have, tick)) {
    }
    uint64_t seq = atomic_load(&sequence[at % SEQ_SLOTS]);
    return (at % SEQ_SLOTS) << SEQ_SHIFT | (seq & SEQ_MASK);
}

bool gc_undisturbed(uint64_t ticket)
{
    uint64_t seq = atomic_load(&sequence[ticket >> SEQ_SHIFT]);
    return (ticket & 1) == 0 && (seq & SEQ_MASK) == (ticket & SEQ_MASK);
}

/* A removal lasts as long as a commit. Whoever waited in vain reads again and is disturbed again.
 */
void gc_wait(uint64_t ticket)
{
    enum { PATIENCE_S = 2 };
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += PATIENCE_S;
    pthread_mutex_lock(&quiet_lock);
    while (atomic_load(&sequence[ticket >> SEQ_SHIFT]) & 1) {
        if (pthread_cond_clockwait(&quiet, &quiet_lock, CLOCK_MONOTONIC, &until) != 0)
            break;
    }
    pthread_mutex_unlock(&quiet_lock);
}

int64_t gc_touched(int64_t repo_id, const struct digest *d)
{
    uint32_t tick = atomic_load(&touched[place(repo_id, d) % TOUCH_SLOTS]);
    int64_t start = start_time(), now = clock_mono();
    if (tick == 0)
        return start;
    /* The end of the tick: what was touched is never taken for older than it is. */
    int64_t end = start + (int64_t)tick * TOUCH_STEP_US;
    return end < now ? end : now;
}

int64_t gc_grace_left(struct registry *g, int64_t repo_id, const struct digest *d)
{
    int64_t seen = gc_touched(repo_id, d); /* before the clock: it is never in the future of that */
    int64_t age = clock_mono() - seen, grace = registry_num(g, GC_GRACE);
    return age < grace ? grace - age : 0;
}

void gc_deleting_begin(int64_t repo_id, const struct digest *d)
{
    uint64_t before = atomic_fetch_add(&sequence[place(repo_id, d) % SEQ_SLOTS], 1);
    BUG_ON(before & 1);
}

void gc_deleting_end(int64_t repo_id, const struct digest *d)
{
    uint64_t before = atomic_fetch_add(&sequence[place(repo_id, d) % SEQ_SLOTS], 1);
    BUG_ON(!(before & 1));
    pthread_mutex_lock(&quiet_lock); /* nobody is between his look and his sleep */
    pthread_cond_broadcast(&quiet);
    pthread_mutex_unlock(&quiet_lock);
}
