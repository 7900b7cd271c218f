/* Private contract of the audit room.
 *
 * Who owns what: row_sql.c rows · seal_sql.c seals · chain.c what is hashed and signed · keys.c the
 * signing keys · ring.c counting in mapped files · drain.c from the rings into rows · audit.c the
 * running part · seal.c sealing and retention · verify.c the proof · format.c lines and the export. */
#ifndef AUDIT_AUDIT_INT_H
#define AUDIT_AUDIT_INT_H
#include "audit/audit.h"
#include "crypt/hash.h"
#include "crypt/secret.h"

#include <pthread.h>
#include <stdatomic.h>

/* ---- seals ---- */
enum { SEAL_HASH = 32, SEAL_SIG = 64, SEAL_KID = 16 };
enum seal_kind { SEAL_ROWS, SEAL_TOMBSTONE };
struct seal {
    int64_t id, kind, at, first, last, count;
    uint8_t prev[SEAL_HASH], hash[SEAL_HASH];
    char key[SEAL_KID + 1];
    uint8_t sig[SEAL_SIG];
    bool malformed; /* bytes of a wrong length in its row */
};

/* Where the range behind this seal begins; a forged one may say anything. */
static inline int64_t seal_behind(const struct seal *s)
{
    return s->last < INT64_MAX ? s->last + 1 : INT64_MAX;
}

/* ---- row_sql.c ---- */
extern const char *const row_pages[4]; /* the statement of each enum audit_by */
int row_tx_range(struct db_tx *tx, int64_t first, int64_t last, int64_t max, audit_row_fn fn, void *arg,
                 struct err *err); /* ascending */
int row_tx_count(struct db_tx *tx, int64_t first, int64_t last, int64_t *ret, struct err *err);
int row_tx_last(struct db_tx *tx, int64_t *ret, struct err *err); /* newest number, 0 none */
int row_tx_delete(struct db_tx *tx, int64_t first, int64_t last, struct err *err);

/* ---- seal_sql.c: 1 found, 0 none ---- */
int seal_tx_first(struct db_tx *tx, struct seal *ret, struct err *err);
int seal_tx_last(struct db_tx *tx, struct seal *ret, struct err *err);
int seal_tx_get(struct db_tx *tx, int64_t id, struct seal *ret, struct err *err);
int seal_tx_next(struct db_tx *tx, int64_t after, struct seal *ret, struct err *err);
int seal_tx_add(struct db_tx *tx, const struct seal *s, struct err *err);
int seal_tx_delete(struct db_tx *tx, int64_t id, struct err *err);
int ring_tx_batch(struct db_tx *tx, int64_t ring, int64_t *ret, struct err *err); /* 0 none */
int ring_tx_set_batch(struct db_tx *tx, int64_t ring, int64_t batch, struct err *err);

/* ---- keys.c ---- */
enum { KEYS_MAX = 64 };
struct keys {
    struct sign_key now; /* signs; kid empty when only public halves are known */
    struct sign_key old[KEYS_MAX]; /* public halves only */
    size_t n;
};
int keys_read(struct store *store, struct keys *ret, struct err *err);  /* ERR_NOT_FOUND */
int keys_setup(struct store *store, struct keys *ret, struct err *err); /* makes what is missing */
int keys_rotate(struct store *store, struct keys *k, struct err *err);
void keys_wipe(struct keys *k);
void keys_sign(const struct keys *k, struct seal *s); /* sets key and sig */
bool keys_check(const struct keys *k, const struct seal *s);

/* ---- chain.c ---- */
struct chain {
    struct hash h;
    int64_t count, last; /* rows so far, number of the last one */
};
void chain_start(struct chain *c, const uint8_t prev[SEAL_HASH]);
int chain_row(void *arg, const struct audit_row *row, struct err *err); /* an audit_row_fn */
/* The hash of a seal whose id, at, first, last and count are set. */
void chain_end(const struct chain *c, const struct seal *s, uint8_t ret[SEAL_HASH]);
/* What is signed: every field but sig. */
enum { SEAL_MESSAGE = 24 + 6 * 8 + 2 * SEAL_HASH + SEAL_KID };
void seal_message(const struct seal *s, uint8_t ret[SEAL_MESSAGE]);
void seal_text(const struct seal *s, struct buf *out); /* an anchor's line */
int seal_parse(struct str line, struct seal *ret, struct err *err);
/* Whether the rows in the database are those the seal was made for. */
int seal_tx_matches(struct db_tx *tx, const struct seal *s, bool *ret, struct err *err);
/* 1 when the database holds what the anchor tells of, 0 when not; why: a constant text. */
int seal_tx_holds(struct db_tx *tx, const struct seal *anchor, const char **why, struct err *err);

/* ---- verify.c ---- */
struct proof {
    struct keys *keys;
    struct seal anchor; /* id 0: none */
    struct audit_verdict verdict;
    struct buf *report;
    audit_progress progress; /* NULL: none */
    void *arg;
    int faults;
};
int verify_tx(struct db_tx *tx, void *arg, struct err *err); /* arg: the proof; counts its faults */

/* ---- ring.c: one mapped file, a single writer, a single reader ---- */
struct ring;
struct ring_record; /* all alike in one window */
int ring_open(struct ring **ret, int dir, int number, int64_t window_us, size_t bytes, struct err *err);
void ring_close(struct ring *r); /* NULL-safe; the file stays */
void ring_count(struct ring *r, const struct audit_row *row);
/* What the reader takes to the database at once, from halves that are closed or older than the window,
 * or from both with `all`. The file remembers the batch's number until ring_settle: if it is in the
 * database, whatever happened on the way, so are the rows. */
enum { RING_BATCH_MAX = 500 };
struct ring_batch {
    int64_t id; /* random, never 0 */
    int64_t lost;
    size_t n;
    struct {
        const struct ring_record *record;
        int64_t count;
    } part[RING_BATCH_MAX];
};
bool ring_take(struct ring *r, bool all, struct ring_batch *ret); /* false: nothing to write */
int64_t ring_pending(const struct ring *r); /* batch that is not settled; 0 none */
void ring_settle(struct ring *r, bool written);
void ring_row(const struct ring_record *p, struct audit_row *ret); /* borrowed from the file */
/* Begins afresh, when all of an earlier process is written. */
void ring_reset(struct ring *r);

/* ---- the running part ---- */
struct audit {
    struct db *db;
    struct store *store;
    struct audit_options o;
    struct ring **rings; /* o.loops, then the shared one */
    size_t n_rings;
    pthread_mutex_t shared;
    pthread_mutex_t work; /* held while draining, sealing, expiring, rotating */
    struct keys keys;     /* under work */
    int64_t sealed_at;    /* monotonic us, under work */
    struct seal anchor;   /* under work; id 0: none yet */
    bool diverged;        /* said once: the database does not hold the anchor */
    pthread_t thread;
    bool runs;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    bool stop; /* under lock */
};
/* drain.c */
int drain_ring(struct audit *a, size_t number, bool all, struct err *err);
int drain_recover(struct audit *a, size_t number, struct err *err);
/* seal.c; all with work held */
int seal_load_anchor(struct audit *a, struct err *err);
int seal_all(struct audit *a, struct err *err);
int seal_due(struct audit *a, struct err *err);
#endif
