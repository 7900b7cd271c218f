/* What repositories hold, charged to the account whose namespace they are in (policy/quota.h). Every place
 * that adds or removes a link or a manifest comes through here, inside its transaction. */
#include "ident/account.h"
#include "policy/quota.h"
#include "registry/upload.h"

int charge_tx_link(struct db_tx *tx, int64_t repo_id, const struct digest *d, int64_t size, struct err *err)
{
    struct holder h;
    struct plan plan;
    int rc = holder_tx_find(tx, repo_id, &h, err);
    if (rc < 0 || h.account == 0 || (rc = policy_tx_plan(tx, h.plan, &plan, err)) < 0)
        return rc;
    return quota_tx_link(tx, h.account, &plan.limits, d, size, NULL, err);
}

int charge_tx_unlink(struct db_tx *tx, int64_t repo_id, const struct digest *d, struct err *err)
{
    struct holder h;
    int rc = holder_tx_find(tx, repo_id, &h, err);
    if (rc < 0 || h.account == 0)
        return rc;
    rc = quota_tx_unlink(tx, h.account, d, err);
    return rc < 0 ? rc : 0;
}

/* ---- uploads ---- */
enum { AHEAD_LEAST = 64 << 10, AHEAD_MOST = 16 << 20 };

struct reserve {
    struct upload_io *io;
    int64_t least, want, got;
};

static int reserve_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct reserve *q = arg;
    struct account a;
    struct plan plan;
    q->got = INT64_MAX;
    int rc = account_tx_by_id(tx, q->io->account_id, &a, err);
    if (rc <= 0 || (rc = policy_tx_plan(tx, a.plan_id, &plan, err)) < 0)
        return rc;
    return quota_tx_reserve(tx, a.id, &plan.limits, q->io->u->id, q->least, q->want,
                            clock_now() + registry_num(q->io->g, UPLOAD_EXPIRY), &q->got, err);
}

static int reserve(struct upload_io *io, int64_t least, int64_t want, struct err *err)
{
    struct reserve q = {io, least, want, 0};
    int rc = db_write(io->g->db, reserve_write, &q, err);
    io->over_quota = rc == ERR_QUOTA;
    if (rc < 0)
        return rc;
    io->room = q.got;
    io->u->reserved |= q.got != INT64_MAX;
    return 0;
}

int charge_open(struct upload_io *io, const struct http_req *r, struct err *err)
{
    const struct repo_fact *fact = req_repo(r)->fact;
    const struct account *a = fact ? &fact->owner : req_account(r);
    struct plan plan;
    int64_t end = io->u->size + r->content_length;
    io->account_id = a->id;
    io->room = INT64_MAX;
    policy_plan(io->g->policy, a->plan_id, &plan);
    if (a->id == 0 || plan.limits.bytes < 0) /* of an account that the push makes nothing can be reserved */
        return 0;
    io->room = 0;
    return r->content_length > 0 ? reserve(io, end, end, err) : 0;
}

int charge_more(struct upload_io *io, int64_t end, struct err *err)
{
    int64_t ahead = end < AHEAD_LEAST ? AHEAD_LEAST : end > AHEAD_MOST ? AHEAD_MOST : end;
    return end <= io->room ? 0 : reserve(io, end, end + ahead, err);
}

struct releases {
    int (*fn)(struct db_tx *tx, int64_t now, int max, struct err *err);
    int n;
};
enum { RELEASE_PAGE = 100 };

static int release_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct releases *q = arg;
    q->n = q->fn(tx, clock_now(), RELEASE_PAGE, err);
    return q->n < 0 ? q->n : 0;
}

static int any_read(struct db_tx *tx, void *any, struct err *err)
{
    int rc = quota_tx_any_reserved(tx, err);
    *(bool *)any = rc == 1;
    return rc < 0 ? rc : 0;
}

static int orphans(struct db_tx *tx, int64_t now, int max, struct err *err)
{
    (void)now;
    return quota_tx_orphans(tx, max, err);
}

int charge_release(struct registry *g, bool all_orphans, struct err *err)
{
    struct releases q = {all_orphans ? orphans : quota_tx_expire, RELEASE_PAGE};
    bool any = false;
    int rc = db_read(g->db, any_read, &any, err);
    while (rc == 0 && any && q.n == RELEASE_PAGE)
        rc = db_write(g->db, release_write, &q, err);
    return rc;
}
