/* The table of windows: places in buckets, counted by compare-and-swap. See policy.h. */
#include "policy/policy_int.h"

#include "base/hashkey.h"

#include <sched.h>
#include <stdlib.h>

/* A state: end in seconds since 1970 (32 bits), count (20), incarnation of the place (8), kind and
 * who (2 each); all 0 in the last four: nobody's. The incarnation makes a compare-and-swap fail that
 * began when the place was somebody else's. */
enum { COUNT_SHIFT = 12, END_SHIFT = 32, INCARNATION_SHIFT = 4 };
#define COUNT_MASK UINT64_C(0xfffff)
#define INCARNATION_MASK (UINT64_C(0xff) << INCARNATION_SHIFT)
#define WHAT_MASK UINT64_C(0xf)
#define IDENTITY_MASK (INCARNATION_MASK | WHAT_MASK)
_Static_assert(PLAN_COUNT_MAX <= (1 << 20) - 1, "a count has 20 bits");
_Static_assert(sizeof(struct window_bucket) == 256, "four cache lines");

static int64_t end_of(uint64_t s) { return (int64_t)(s >> END_SHIFT); }
static int64_t count_of(uint64_t s) { return (int64_t)(s >> COUNT_SHIFT & COUNT_MASK); }
static uint64_t what_of(struct policy_key key, enum policy_kind kind) { return (uint64_t)kind << 2 | key.who; }
static bool is_account(uint64_t s) { return (s & 3) == POLICY_ACCOUNT; }

static uint64_t with(uint64_t identity, int64_t end, int64_t count)
{
    return (identity & IDENTITY_MASK) | (uint64_t)end << END_SHIFT | (uint64_t)count << COUNT_SHIFT;
}

/* Seconds that leave room for a window behind them. */
static int64_t seconds(int64_t us)
{
    int64_t s = us / 1000000, most = (int64_t)UINT32_MAX - PLAN_WINDOW_MAX;
    return s < 0 ? 0 : s > most ? most : s;
}

void windows_init(struct windows *t, size_t buckets)
{
    BUG_ON(buckets % WINDOW_PARTS != 0 || (buckets & (buckets - 1)) != 0);
    /* From calloc: pages that no window touched take no memory. */
    t->memory = mem_zalloc(size_add(size_mul(buckets, sizeof *t->buckets), 63));
    t->buckets = (struct window_bucket *)(((uintptr_t)t->memory + 63) & ~(uintptr_t)63);
    t->n = buckets;
}

void windows_release(struct windows *t)
{
    free(take(&t->memory));
}

static struct window_bucket *bucket_of(struct windows *t, uint64_t id, uint64_t what)
{
    uint64_t bytes[2] = {id, what};
    return &t->buckets[hashkey((struct str){(const char *)bytes, sizeof bytes}) & (t->n - 1)];
}

/* The place of a key, with its state; -1: it has none, as of *ret_version. */
static int look(struct window_bucket *b, uint64_t id, uint64_t what, uint64_t *ret_version, uint64_t *ret_state)
{
    for (unsigned tries = 0;; tries++) {
        uint64_t version = atomic_load(&b->version);
        for (int i = 0; i < WINDOW_SLOTS; i++) {
            uint64_t s = atomic_load(&b->state[i]);
            if ((s & WHAT_MASK) != what || atomic_load(&b->id[i]) != id)
                continue;
            if (((s ^ atomic_load(&b->state[i])) & IDENTITY_MASK) == 0) {
                *ret_state = s;
                return i;
            }
        }
        if (version % 2 == 0 && version == atomic_load(&b->version)) {
            *ret_version = version;
            return -1;
        }
        if (tries > 8)
            (void)sched_yield();
    }
}

/* The state after one more look at it, or pull, at `now` (seconds). */
static uint64_t turn(uint64_t s, struct policy_limit limit, int64_t now, bool count, struct policy_verdict *v)
{
    int64_t end = end_of(s), n = count_of(s), latest = now + limit.window;
    if (end <= now) {
        end = latest;
        n = 0;
    } else if (end > latest) {
        end = latest;
    }
    v->allowed = n < limit.max;
    if (count && v->allowed)
        n++;
    v->remaining = n < limit.max ? limit.max - n : 0;
    v->reset = end * 1000000;
    return with(s, end, n);
}

/* Whose place a newcomer takes; -1: nobody's. *ret_state: as it was seen. */
static int choose(struct window_bucket *b, bool account, int64_t now, uint64_t *ret_state)
{
    int best = -1;
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < WINDOW_SLOTS; i++) {
        uint64_t s = atomic_load(&b->state[i]);
        bool vacant = (s & WHAT_MASK) == 0 || end_of(s) <= now;
        if (!vacant && is_account(s) && !account)
            continue;
        uint64_t rank = vacant ? 0
                               : (uint64_t)1 << 62 | (uint64_t)is_account(s) << 61 |
                                     (uint64_t)count_of(s) << 32 | (uint64_t)end_of(s);
        if (rank < least) {
            least = rank;
            best = i;
            *ret_state = s;
        }
    }
    return best;
}

/* Gives a new key a place. False: the bucket changed since `version`, look again. */
static bool settle(struct window_bucket *b, uint64_t version, uint64_t id, uint64_t fresh, int64_t now)
{
    uint64_t seen = 0;
    int i = choose(b, is_account(fresh), now, &seen);
    if (i < 0)
        return true; /* not counted */
    if (!atomic_compare_exchange_strong(&b->version, &version, version + 1))
        return false;
    uint64_t incarnation = (seen + (1 << INCARNATION_SHIFT)) & INCARNATION_MASK;
    bool taken = atomic_compare_exchange_strong(&b->state[i], &seen, incarnation);
    if (taken) {
        atomic_store(&b->id[i], id);
        atomic_store(&b->state[i], (fresh & ~INCARNATION_MASK) | incarnation);
    }
    atomic_store(&b->version, version + 2);
    return taken;
}

void window_use(struct windows *t, struct policy_key key, enum policy_kind kind, struct policy_limit limit, int64_t now,
                bool count, struct policy_verdict *ret)
{
    struct policy_verdict v = {.key = key, .kind = kind, .limited = limit.max >= 0, .limit = limit.max, .window = limit.window};
    v.allowed = !v.limited;
    uint64_t what = what_of(key, kind), version = 0;
    struct window_bucket *b = bucket_of(t, key.id, what);
    now = seconds(now);
    for (bool done = !v.limited; !done;) {
        uint64_t s = what;
        int i = look(b, key.id, what, &version, &s);
        uint64_t next = turn(s, limit, now, count, &v);
        if (!count || next == s || (!v.allowed && end_of(s) <= now))
            done = true; /* a refused pull (of 0) begins no window */
        else if (i < 0)
            done = settle(b, version, key.id, next, now);
        else
            done = atomic_compare_exchange_strong(&b->state[i], &s, next);
    }
    *ret = v;
}

/* ---- records: kind and who, 8 bytes id, 4 end, 3 count; the least byte first ---- */
static void put(struct buf *out, uint64_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_char(out, (char)(v >> 8 * i & 0xff));
}

static uint64_t get(const char *p, int bytes)
{
    uint64_t v = 0;
    for (int i = bytes; i-- > 0;)
        v = v << 8 | (uint8_t)p[i];
    return v;
}

static void encode_one(struct window_bucket *b, int i, int64_t now, struct buf *out)
{
    for (;;) {
        uint64_t s = atomic_load(&b->state[i]), id = atomic_load(&b->id[i]);
        if (((s ^ atomic_load(&b->state[i])) & IDENTITY_MASK) != 0)
            continue;
        if ((s & WHAT_MASK) == 0 || end_of(s) <= now)
            return;
        put(out, s & WHAT_MASK, 1);
        put(out, id, 8);
        put(out, (uint64_t)end_of(s), 4);
        put(out, (uint64_t)count_of(s), 3);
        return;
    }
}

void windows_encode(struct windows *t, size_t first, size_t last, int64_t now, struct buf *out)
{
    for (size_t n = first; n < last; n++)
        for (int i = 0; i < WINDOW_SLOTS; i++)
            encode_one(&t->buckets[n], i, seconds(now), out);
}

static void restore(struct windows *t, uint64_t id, uint64_t fresh, int64_t now)
{
    struct window_bucket *b = bucket_of(t, id, fresh & WHAT_MASK);
    for (bool done = false; !done;) {
        uint64_t s = 0, version = 0;
        int i = look(b, id, fresh & WHAT_MASK, &version, &s);
        if (i < 0)
            done = settle(b, version, id, fresh, now);
        else /* the end is above the count */
            done = (fresh & ~IDENTITY_MASK) <= (s & ~IDENTITY_MASK) ||
                   atomic_compare_exchange_strong(&b->state[i], &s, with(s, end_of(fresh), count_of(fresh)));
    }
}

void windows_decode(struct windows *t, struct str records, int64_t now)
{
    for (; records.n >= WINDOW_RECORD; records.p += WINDOW_RECORD, records.n -= WINDOW_RECORD) {
        uint64_t what = get(records.p, 1), end = get(records.p + 9, 4), count = get(records.p + 13, 3);
        uint64_t kind = what >> 2, who = what & 3;
        bool sound = (kind == POLICY_PULL || kind == POLICY_PUSH) && (who == POLICY_ACCOUNT || who == POLICY_ADDRESS) &&
                     count <= COUNT_MASK;
        if (sound && (int64_t)end > seconds(now))
            restore(t, get(records.p + 1, 8), with(what, (int64_t)end, (int64_t)count), seconds(now));
    }
}
