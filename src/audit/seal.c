/* Sealing and retention. The range is read and hashed in a snapshot beside the writer; the writer only
 * puts the seal's row, if the seal before it is still the newest. */
#include "audit/audit_int.h"
#include "base/clock.h"
#include "base/log.h"

static const char ANCHOR_FILE[] = "audit.anchor";
enum { ANCHOR_MAX = 1024 };

/* ---- the anchor beside the database ---- */
int seal_load_anchor(struct audit *a, struct err *err)
{
    struct buf line;
    buf_init(&line, ANCHOR_MAX);
    int rc = store_key_read(a->store, ANCHOR_FILE, &line, err);
    if (rc == 0)
        rc = seal_parse(str_trim(buf_view(&line)), &a->anchor, err);
    buf_release(&line);
    return rc == ERR_NOT_FOUND ? 0 : rc < 0 ? err_wrap(err, "keys/%s", ANCHOR_FILE) : 0;
}

/* A log that no longer holds the anchor was changed behind the server's back: the old anchor stays,
 * as the proof, until the operator removes the file (after a restore that was meant). */
static int keep_anchor(struct audit *a, const struct seal *s, const char *diverged, struct err *err)
{
    if (diverged) {
        if (!a->diverged)
            log_line(LOG_ERROR, "the audit log is not the one that was sealed", F_CSTR("why", diverged));
        a->diverged = true;
        return 0;
    }
    struct buf line;
    buf_init(&line, ANCHOR_MAX);
    seal_text(s, &line);
    int rc = store_key_write(a->store, ANCHOR_FILE, buf_view(&line), err);
    buf_release(&line);
    if (rc == 0)
        a->anchor = *s;
    return rc;
}

/* ---- sealing ---- */
struct sealing {
    struct audit *a;
    struct seal prev, now; /* prev.id 0: none */
    const char *diverged;  /* why the database does not hold the anchor; NULL: it does */
};

static int same(const struct seal *x, const struct seal *y)
{
    return x->id == y->id && memcmp(x->hash, y->hash, SEAL_HASH) == 0;
}

static int read_prev(struct db_tx *tx, struct sealing *s, struct err *err)
{
    s->prev = (struct seal){0};
    s->diverged = NULL;
    int rc = seal_tx_last(tx, &s->prev, err);
    if (rc < 0 || s->a->anchor.id == 0)
        return rc < 0 ? rc : 0;
    const char *why = NULL;
    if ((rc = seal_tx_holds(tx, &s->a->anchor, &why, err)) == 0)
        s->diverged = why;
    return rc < 0 ? rc : 0;
}

static int read_rows(struct db_tx *tx, void *arg, struct err *err)
{
    struct sealing *s = arg;
    struct chain c;
    int rc = read_prev(tx, s, err);
    if (rc < 0)
        return rc;
    chain_start(&c, s->prev.hash);
    rc = row_tx_range(tx, seal_behind(&s->prev), INT64_MAX, s->a->o.seal_rows, chain_row, &c, err);
    if (rc < 0)
        return rc;
    s->now = (struct seal){.id = (int64_t)((uint64_t)s->prev.id + 1), .kind = SEAL_ROWS, .at = clock_now(),
                           .first = seal_behind(&s->prev), .last = c.last, .count = c.count};
    memcpy(s->now.prev, s->prev.hash, SEAL_HASH);
    chain_end(&c, &s->now, s->now.hash);
    return 0;
}

static int write_seal(struct db_tx *tx, void *arg, struct err *err)
{
    const struct sealing *s = arg;
    struct seal last = {0};
    int rc = seal_tx_last(tx, &last, err);
    if (rc >= 0 && !same(&last, &s->prev))
        return err_set(err, ERR_UNAVAILABLE, "another process seals this audit log");
    return rc < 0 ? rc : seal_tx_add(tx, &s->now, err);
}

/* The next range; gives the number of its rows. */
static int seal_next(struct audit *a, int64_t *ret_rows, struct err *err)
{
    struct sealing s = {.a = a};
    int rc = db_read(a->db, read_rows, &s, err);
    if (rc < 0 || s.now.count == 0) {
        *ret_rows = 0;
        return rc;
    }
    keys_sign(&a->keys, &s.now);
    if ((rc = db_write(a->db, write_seal, &s, err)) < 0)
        return rc;
    *ret_rows = s.now.count;
    return keep_anchor(a, &s.now, s.diverged, err);
}

int seal_all(struct audit *a, struct err *err)
{
    int64_t rows = a->o.seal_rows;
    int rc = 0;
    while (rc == 0 && rows == a->o.seal_rows)
        rc = seal_next(a, &rows, err);
    if (rc == 0)
        a->sealed_at = clock_mono();
    return rc;
}

static int read_waiting(struct db_tx *tx, void *arg, struct err *err)
{
    int64_t *waiting = arg, last;
    struct seal s = {0};
    int rc = row_tx_last(tx, &last, err);
    if (rc == 0)
        rc = seal_tx_last(tx, &s, err);
    *waiting = last > s.last ? last - (s.last > 0 ? s.last : 0) : 0;
    return rc < 0 ? rc : 0;
}

int seal_due(struct audit *a, struct err *err)
{
    int64_t waiting = 0;
    int rc = db_read(a->db, read_waiting, &waiting, err);
    if (rc < 0 || waiting <= 0) {
        a->sealed_at = rc < 0 ? a->sealed_at : clock_mono();
        return rc;
    }
    bool due = waiting >= a->o.seal_rows || clock_mono() - a->sealed_at >= a->o.seal_us;
    return due ? seal_all(a, err) : 0;
}

/* ---- retention ---- */
struct expiry {
    struct audit *a;
    int64_t before, rows;
};

/* The oldest range goes, and the tombstone moves up to it. 1 done, 0 none is old enough. */
static int expire_one(struct db_tx *tx, void *arg, struct err *err)
{
    struct expiry *e = arg;
    struct seal old = {0}, s = {0}, last = {0};
    bool match = false;
    e->rows = 0;
    int rc = seal_tx_first(tx, &old, err);
    if (rc == 1 && old.kind == SEAL_TOMBSTONE)
        rc = seal_tx_next(tx, old.id, &s, err);
    else
        s = old;
    if (rc == 1)
        rc = seal_tx_last(tx, &last, err);
    if (rc != 1 || s.id == last.id || s.at >= e->before)
        return rc < 0 ? rc : 0;
    bool tombstone = old.id != s.id, chained = !tombstone || memcmp(s.prev, old.hash, SEAL_HASH) == 0;
    rc = seal_tx_matches(tx, &s, &match, err);
    if (rc < 0)
        return rc;
    if (!match || !chained || s.kind != SEAL_ROWS || !keys_check(&e->a->keys, &s) ||
        (tombstone && !keys_check(&e->a->keys, &old)))
        return err_set(err, ERR_CORRUPT, "the audit rows %lld to %lld are not what was sealed",
                       (long long)s.first, (long long)s.last);
    struct seal t = {.id = s.id, .kind = SEAL_TOMBSTONE, .at = clock_now(), .first = old.first,
                     .last = s.last, .count = s.count + (tombstone ? old.count : 0)};
    memcpy(t.prev, old.prev, SEAL_HASH);
    memcpy(t.hash, s.hash, SEAL_HASH);
    keys_sign(&e->a->keys, &t);
    if ((rc = row_tx_delete(tx, s.first, s.last, err)) < 0 || (rc = seal_tx_delete(tx, s.id, err)) < 0 ||
        (rc = tombstone ? seal_tx_delete(tx, old.id, err) : 0) < 0 || (rc = seal_tx_add(tx, &t, err)) < 0)
        return rc;
    e->rows = s.count;
    return 1;
}

int audit_expire(struct audit *a, int64_t before, int64_t *ret_rows, struct err *err)
{
    struct expiry e = {.a = a, .before = before};
    int64_t rows = 0;
    int rc = 1;
    while (rc == 1) { /* a transaction each: other writers need not wait long */
        pthread_mutex_lock(&a->work);
        rc = db_write(a->db, expire_one, &e, err);
        pthread_mutex_unlock(&a->work);
        if (rc == 1)
            rows += e.rows;
    }
    if (rc == 0)
        *ret_rows = rows;
    return rc;
}
