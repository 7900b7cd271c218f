/* A database with a store and an audit log, on either engine. */
#ifndef UNIT_AUDIT_BOX_H
#define UNIT_AUDIT_BOX_H
#include "db_box.h"
#include "audit/audit_int.h"
#include "base/clock.h"

struct abox {
    struct box b;
    struct store *store;
    struct audit *a;
};

static inline void abox_open(struct abox *x, const struct audit_options *o)
{
    /* The server that was killed may hold PostgreSQL's lock for a moment. */
    for (int i = 0; x->b.db == NULL; i++) {
        int rc = db_open(&x->b.db, x->b.dir, x->b.url, 4, true, &x->b.err);
        if (rc < 0 && (rc != ERR_UNAVAILABLE || i > 600))
            ok(&x->b, rc);
        if (rc < 0)
            usleep(50000);
    }
    if (x->store == NULL)
        ok(&x->b, store_open(&x->store, x->b.dir, true, &x->b.err));
    ok(&x->b, audit_new(&x->a, x->b.db, x->store, o, &x->b.err));
}

static inline void abox_close(struct abox *x)
{
    audit_free(x->a);
    db_close(x->b.db);
    store_close(x->store);
    x->a = NULL;
    x->b.db = NULL;
    x->store = NULL;
}

/* In memory where there is some: these tests are not about the disk, and its syncs take a second each. */
static inline void abox_place(struct box *b)
{
    char dir[sizeof b->dir] = "/dev/shm/berth-test-audit-XXXXXX";
    if (mkdtemp(dir) == NULL)
        return;
    assert_int_equal(rmdir(b->dir), 0);
    strcpy(b->dir, dir);
}

#define ASTART(x, options)                                                                         \
    struct abox x = {0};                                                                           \
    if (need_postgres(state))                                                                      \
        skip();                                                                                    \
    box_init(&x.b, wants_postgres(state));                                                         \
    abox_place(&x.b);                                                                              \
    abox_open(&x, options)
#define AEND(x)                                                                                    \
    do {                                                                                           \
        abox_close(&x);                                                                            \
        box_release(&x.b);                                                                         \
    } while (0)

static inline int add_one(struct db_tx *tx, void *arg, struct err *err)
{
    return audit_tx_add(tx, arg, err);
}
static inline void add(struct abox *x, struct audit_row row)
{
    ok(&x->b, db_write(x->b.db, add_one, &row, &x->b.err));
}

/* 0 sound, 1 not; the kept anchor unless one is given. */
static inline int verdict(struct abox *x, const char *anchor, struct audit_verdict *v)
{
    struct buf report;
    struct audit_verdict ignored;
    buf_init(&report, 1 << 20);
    int rc = audit_verify(x->b.db, x->store, str_of(anchor), NULL, NULL, v ? v : &ignored, &report, &x->b.err);
    ok(&x->b, rc);
    assert_int_equal(rc, report.n > 0);
    buf_release(&report);
    return rc;
}
static inline void drop_kept_anchor(struct abox *x)
{
    char path[128];
    (void)snprintf(path, sizeof path, "%s/keys/audit.anchor", x->b.dir);
    (void)unlink(path);
}
#endif
