/* Private to the room: the table of windows, the plans in memory. */
#ifndef POLICY_POLICY_INT_H
#define POLICY_POLICY_INT_H
#include "policy/policy.h"

#include "base/network.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- window.c ---- */
enum {
    WINDOW_SLOTS = 15,         /* of a bucket: 4 cache lines */
    WINDOW_BUCKETS = 1 << 15,
    WINDOW_PARTS = 64,         /* units of saving; divides the number of buckets */
    WINDOW_RECORD = 16         /* bytes of a saved window */
};
struct window_bucket {
    /* Odd while a newcomer takes a place. Even and unchanged over a look at all places: the key is in
     * none of them. */
    _Alignas(64) _Atomic uint64_t version;
    _Atomic uint64_t state[WINDOW_SLOTS]; /* end, count, incarnation, whose and what; see window.c */
    _Atomic uint64_t id[WINDOW_SLOTS];    /* written in odd versions only, while the state is 0 or busy */
};
struct windows {
    void *memory;
    size_t n; /* buckets, a power of two */
    struct window_bucket *buckets;
};
void windows_init(struct windows *t, size_t buckets);
void windows_release(struct windows *t);
/* now in microseconds; count: one more, if it fits. */
void window_use(struct windows *t, struct policy_key key, enum policy_kind kind, struct policy_limit limit, int64_t now,
                bool count, struct policy_verdict *ret);
/* Live windows of buckets first..last-1 as records; and back (malformed and ended ones are passed over,
 * of two for one key the later end and then the higher count stands). */
void windows_encode(struct windows *t, size_t first, size_t last, int64_t now, struct buf *out);
void windows_decode(struct windows *t, struct str records, int64_t now);

/* ---- window_sql.c ---- */
int window_tx_put(struct db_tx *tx, int64_t part, struct str records, struct err *err);
int window_tx_each(struct db_tx *tx, int (*fn)(void *arg, int64_t part, struct str records), void *arg, struct err *err);

/* ---- window_save.c ---- */
struct window_parts { /* what the database holds of each part */
    uint64_t hash[WINDOW_PARTS];
    bool known[WINDOW_PARTS];
};
int windows_load(struct windows *t, struct window_parts *parts, struct db *db, int64_t now, struct err *err);
/* Writes the parts that changed, in one transaction. Returns how many. */
int windows_save(struct windows *t, struct window_parts *parts, struct db *db, int64_t now, struct err *err);

/* ---- policy.c ---- */
struct plan_table { /* immutable once published */
    struct plan_table *older; /* kept: somebody may still look at it */
    size_t n;
    struct plan plans[];
};
struct policy {
    struct db *db;
    struct windows windows;
    struct window_parts parts; /* under lock */
    _Atomic(struct plan_table *) plans;
    _Atomic(struct networks *) exempt;
    _Atomic bool read_only, stale; /* stale: plans must be read again */
    int64_t save_every;            /* microseconds */
    pthread_mutex_t lock;          /* of saves and publishers */
    pthread_t thread;
    pthread_mutex_t stop_lock;
    pthread_cond_t stop_cond;
    bool running, stop;
};
#endif
