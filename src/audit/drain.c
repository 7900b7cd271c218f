/* From a ring into the database: the rows and the batch's number in one transaction, so each event
 * is written once, whenever the process dies and whatever became of a commit. */
#include "audit/audit_int.h"

#include <stdio.h>
#include <stdlib.h>

struct drain {
    int64_t number;
    struct ring_batch batch;
};

static int write_batch(struct db_tx *tx, void *arg, struct err *err)
{
    const struct drain *d = arg;
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < d->batch.n; i++) {
        struct audit_row row;
        ring_row(d->batch.part[i].record, &row);
        row.count = d->batch.part[i].count;
        rc = audit_tx_add(tx, &row, err);
    }
    if (rc >= 0 && d->batch.lost > 0) {
        char name[32];
        (void)snprintf(name, sizeof name, "ring-%lld", (long long)d->number);
        struct audit_row row = {.action = STR_LIT("audit.overflow"), .object = str_of(name),
                                .result = AUDIT_FAILED, .count = d->batch.lost};
        rc = audit_tx_add(tx, &row, err);
    }
    return rc < 0 ? rc : ring_tx_set_batch(tx, d->number, d->batch.id, err);
}

struct last_batch {
    int64_t number, batch;
};

static int read_batch(struct db_tx *tx, void *arg, struct err *err)
{
    struct last_batch *l = arg;
    return ring_tx_batch(tx, l->number, &l->batch, err);
}

/* A batch whose outcome is not known: the database knows. */
static int settle(struct audit *a, size_t number, struct err *err)
{
    struct ring *r = a->rings[number];
    struct last_batch l = {.number = (int64_t)number};
    if (ring_pending(r) == 0)
        return 0;
    int rc = db_read(a->db, read_batch, &l, err);
    if (rc == 0)
        ring_settle(r, l.batch == ring_pending(r));
    return rc;
}

int drain_ring(struct audit *a, size_t number, bool all, struct err *err)
{
    struct ring *r = a->rings[number];
    struct drain *d = mem_alloc(sizeof *d);
    d->number = (int64_t)number;
    int rc = settle(a, number, err);
    while (rc == 0 && ring_take(r, all, &d->batch)) {
        if ((rc = db_write(a->db, write_batch, d, err)) < 0)
            break;
        ring_settle(r, true);
        if (d->batch.n < RING_BATCH_MAX)
            break; /* what came since waits for the next time */
    }
    free(d);
    return rc;
}

int drain_recover(struct audit *a, size_t number, struct err *err)
{
    int rc = drain_ring(a, number, true, err);
    if (rc == 0)
        ring_reset(a->rings[number]);
    return rc;
}
