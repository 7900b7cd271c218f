/* The scrub: re-hashes every blob before its scrub_period is over, those longest unverified first,
 * at scrub_rate; what somebody asked for (scrub_request) goes before. */
#include "registry/upkeep.h"

#include <pthread.h>
#include <stdlib.h>

enum {
    PAGE = 32,
    REQUESTS_MAX = 64,
    FILE_COST = 64 << 10, /* a small file costs the disk as much as so many bytes */
    BURST_US = 100000,
    NOTE_AFTER_US = 10000000, /* progress that a crash may cost */
};
static const int64_t FAILED_RETRY_US = 3600000000; /* files that cannot be read are tried again */

struct scrub {
    struct registry *g;
    struct background *b;
    pthread_mutex_t lock; /* of the requests */
    struct digest request[REQUESTS_MAX];
    size_t n_requests;
    /* The rest is the scrub thread's own. */
    struct scrub_row after;
    int64_t free_at;    /* monotonic us: when the rate allows the next byte */
    int64_t restart_at; /* monotonic us: not from the beginning before */
    bool failures;      /* in this walk */
    struct {
        struct digest digest;
        struct blob_stat stat;
    } good[PAGE];
    size_t n_good;
    int64_t noted_at;
    struct scrub_row page[PAGE];
    size_t n_page;
    int64_t before;
};

struct scrub *scrub_new(struct registry *g, struct background *b)
{
    struct scrub *s = mem_zalloc(sizeof *s);
    s->g = g;
    s->b = b;
    s->after.verified_at = INT64_MIN;
    pthread_mutex_init(&s->lock, NULL);
    return s;
}

void scrub_free(struct scrub *s)
{
    if (!s)
        return;
    pthread_mutex_destroy(&s->lock);
    free(s);
}

/* ---- requests ---- */
void scrub_put(struct scrub *s, const struct digest *d)
{
    if (pthread_mutex_trylock(&s->lock) != 0)
        return;
    bool there = s->n_requests == REQUESTS_MAX;
    for (size_t i = 0; i < s->n_requests && !there; i++)
        there = digest_eq(&s->request[i], d);
    if (!there)
        s->request[s->n_requests++] = *d;
    pthread_mutex_unlock(&s->lock);
}

void scrub_request(struct registry *g, const struct digest *d)
{
    if (!g->background)
        return;
    scrub_put(background_scrub(g->background), d);
    background_wake(g->background);
}

static bool pop(struct scrub *s, struct digest *ret)
{
    pthread_mutex_lock(&s->lock);
    bool any = s->n_requests > 0;
    if (any)
        *ret = s->request[--s->n_requests];
    pthread_mutex_unlock(&s->lock);
    return any;
}

/* ---- the rate ---- */
/* Called after n bytes were read: sleeps until the next may be. A reload changes the rate at once.
 */
static int pace(void *arg, size_t n)
{
    struct scrub *s = arg;
    int64_t rate = registry_num(s->g, SCRUB_RATE), now = clock_mono();
    if (background_wait(s->b, 0))
        return ERR_UNAVAILABLE;
    if (rate <= 0)
        return 0;
    if (s->free_at < now - BURST_US)
        s->free_at = now - BURST_US;
    s->free_at += (int64_t)n * 1000000 / rate;
    while (s->free_at > (now = clock_mono())) {
        if (background_wait(s->b, s->free_at - now))
            return ERR_UNAVAILABLE;
        if (registry_num(s->g, SCRUB_RATE) != rate)
            s->free_at = clock_mono();
    }
    return 0;
}

/* ---- one blob ---- */
static int note_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct scrub *s = arg;
    for (size_t i = 0; i < s->n_good; i++) {
        int rc = blob_tx_verified(tx, &s->good[i].digest, &s->good[i].stat, err);
        if (rc < 0)
            return rc;
    }
    return 0;
}

static int note_good(struct scrub *s, struct err *err)
{
    s->noted_at = clock_mono();
    if (s->n_good == 0)
        return 0;
    int rc = db_write(s->g->db, note_write, s, err);
    s->n_good = 0;
    return rc;
}

static int verify(struct scrub *s, const struct digest *d, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    struct blob_stat st;
    struct err why = {0};
    int rc = store_verify(s->g->store, d, pace, s, &st, &why);
    if (rc == ERR_CORRUPT || rc == ERR_BLOB_UNKNOWN)
        return blob_quarantine(s->g, d, err);
    if (rc == ERR_UNAVAILABLE)
        return err_set(err, rc, "stopping");
    if (rc < 0) { /* unreadable is not known to be wrong: it stays, and the operator hears of it */
        s->failures = true;
        log_line(LOG_ERROR, "blob cannot be verified", F_CSTR("digest", digest_text(d, text)),
                 F_CSTR("error", why.text));
        return 0;
    }
    metric_add(METRIC_SCRUB_BLOBS, 1);
    metric_add(METRIC_SCRUB_BYTES, (uint64_t)st.size);
    s->good[s->n_good].digest = *d;
    s->good[s->n_good++].stat = st;
    if (s->n_good == PAGE || clock_mono() - s->noted_at > NOTE_AFTER_US)
        rc = note_good(s, err);
    if (rc == 0 && st.size < FILE_COST && pace(s, (size_t)(FILE_COST - st.size)) != 0)
        return err_set(err, ERR_UNAVAILABLE, "stopping");
    return rc;
}

/* ---- the walk ---- */
static int page_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct scrub *s = arg;
    return scrub_tx_page(tx, s->before, &s->after, s->page, PAGE, &s->n_page, err);
}

/* The end of the walk: what is due later is found from the beginning. */
static void rewind_walk(struct scrub *s)
{
    if (s->failures && s->restart_at == 0) {
        s->restart_at = clock_mono() + FAILED_RETRY_US;
        return;
    }
    if (clock_mono() < s->restart_at)
        return;
    s->after = (struct scrub_row){.verified_at = INT64_MIN};
    s->restart_at = 0;
    s->failures = false;
}

/* The first of a page waits longest: the walk goes by the time of the last verification. */
static void note_overdue(const struct scrub *s, int64_t period)
{
    if (s->n_page == 0 && s->after.verified_at != INT64_MIN)
        return; /* the end of a walk, not an empty one */
    int64_t late = s->n_page > 0 ? clock_now() - period - s->page[0].verified_at : 0;
    metric_set(METRIC_SCRUB_OVERDUE, late > 0 ? late / 1000000 : 0);
}

static int walk_step(struct scrub *s, struct err *err)
{
    int64_t period = registry_num(s->g, SCRUB_PERIOD);
    s->before = clock_now() - period / 4 * 3; /* the last quarter is for doing it */
    int rc = db_read(s->g->db, page_read, s, err);
    if (rc < 0)
        return rc;
    note_overdue(s, period);
    if (s->n_page == 0) {
        rewind_walk(s);
        return 0;
    }
    for (size_t i = 0; i < s->n_page; i++) {
        if (s->page[i].digest.alg != DIGEST_NONE && (rc = verify(s, &s->page[i].digest, err)) < 0)
            return rc;
        s->after = s->page[i];
    }
    return 1;
}

int scrub_step(struct scrub *s, struct err *err)
{
    struct digest d;
    int rc = 0;
    bool asked = false;
    while (rc == 0 && pop(s, &d)) {
        rc = verify(s, &d, err);
        asked = true;
    }
    if (rc == 0 && registry_num(s->g, SCRUB_RATE) > 0)
        rc = walk_step(s, err);
    else if (rc == 0)
        metric_set(METRIC_SCRUB_OVERDUE, 0); /* switched off */
    struct err why = {0};
    int noted = note_good(s, &why);
    if (rc >= 0 && noted < 0)
        return err_set(err, noted, "%s", why.text);
    return rc != 0 ? rc : asked;
}
