/* What accounts have of what their plan allows, beside bytes: private repositories, their collaborators, members.
 * Called inside the transaction that changes them. Private repositories are counted one by one; collaborators and
 * members, which are few and change in many ways, are counted anew. */
#include "ident/ident_int.h"
#include "policy/quota.h"

#include <stdlib.h>

static const char MEMBERS[] = "SELECT count(*) FROM members WHERE org_id = $1";
static const char COLLABORATORS[] =
    "SELECT count(*) FROM collaborators c JOIN repos r ON r.id = c.repo_id JOIN namespaces n ON n.id = r.namespace_id "
    "WHERE n.owner_id = $1 AND r.public = 0";
static const char ORGS_OF[] = "SELECT org_id FROM members WHERE user_id = $1";
static const char SHARERS_WITH[] =
    "SELECT DISTINCT n.owner_id FROM collaborators c JOIN repos r ON r.id = c.repo_id "
    "JOIN namespaces n ON n.id = r.namespace_id WHERE c.user_id = $1";

int usage_tx_private(struct db_tx *tx, const struct account *owner, int64_t n, struct err *err)
{
    struct plan plan;
    int rc = policy_tx_plan(tx, owner->plan_id, &plan, err);
    return rc < 0 ? rc : quota_tx_add(tx, owner->id, &plan.limits, QUOTA_PRIVATE_REPOS, n, NULL, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int count(struct db_tx *tx, int64_t account_id, enum quota_kind kind, const char *sql, struct err *err)
{
    struct account a;
    struct plan plan;
    struct quota_usage u;
    int64_t n = 0;
    int rc = account_tx_by_id(tx, account_id, &a, err);
    if (rc <= 0 || (rc = policy_tx_plan(tx, a.plan_id, &plan, err)) < 0 || (rc = quota_tx_usage(tx, a.id, kind, &u, err)) < 0 ||
        (rc = db_one(tx, sql, DB_ARGS(DB_I(a.id)), map_int, &n, err)) < 0)
        return rc;
    return n == u.used ? 0 : quota_tx_add(tx, a.id, &plan.limits, kind, n - u.used, NULL, err);
}

int usage_tx_seats(struct db_tx *tx, int64_t org_id, struct err *err) { return count(tx, org_id, QUOTA_SEATS, MEMBERS, err); }

int usage_tx_collaborators(struct db_tx *tx, int64_t account_id, struct err *err)
{
    return count(tx, account_id, QUOTA_COLLABORATORS, COLLABORATORS, err);
}

/* ---- a user goes: whom it concerns must be known before, the counts are taken after ---- */
static int collect(struct db_tx *tx, const char *sql, int64_t user_id, struct usage_ids *ids, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, sql, DB_ARGS(DB_I(user_id)), &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1) {
        ids->v = mem_realloc(ids->v, size_mul(ids->n + 1, sizeof *ids->v));
        ids->v[ids->n++] = db_int(rows, 0);
    }
    return rc;
}

int usage_tx_concerned(struct db_tx *tx, int64_t user_id, struct usage_ids ret[2], struct err *err)
{
    int rc = collect(tx, ORGS_OF, user_id, &ret[0], err);
    return rc < 0 ? rc : collect(tx, SHARERS_WITH, user_id, &ret[1], err);
}

int usage_tx_recount(struct db_tx *tx, const struct usage_ids ids[2], struct err *err)
{
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ids[0].n; i++)
        rc = usage_tx_seats(tx, ids[0].v[i], err);
    for (size_t i = 0; rc == 0 && i < ids[1].n; i++)
        rc = usage_tx_collaborators(tx, ids[1].v[i], err);
    return rc;
}
