/* The rules of plans. */
#include "policy/plan_int.h"

static const struct plan_field fields[] = {
#define X(name, least, most, help) {#name, help, offsetof(struct plan_limits, name), least, most},
    PLAN_LIMITS(X)
#undef X
};
_Static_assert(ARRAY_LEN(fields) == PLAN_FIELDS, "plan_sql.c has a parameter for each");

const struct plan_field *plan_fields(size_t *ret_n)
{
    *ret_n = ARRAY_LEN(fields);
    return fields;
}

static bool name_ok(struct str name)
{
    if (name.n == 0 || name.n > PLAN_NAME_MAX || name.p[0] == '-' || name.p[name.n - 1] == '-')
        return false;
    for (size_t i = 0; i < name.n; i++) {
        char c = name.p[i];
        if (!(c >= 'a' && c <= 'z') && !(c >= '0' && c <= '9') && c != '-')
            return false;
    }
    return true;
}

static int check_limits(const struct plan_limits *limits, struct err *err)
{
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        const struct plan_field *f = &fields[i];
        int64_t v = plan_value(limits, f);
        if (v < f->least || v > f->most)
            return err_set(err, ERR_INVALID, "%s (%s): %lld is not from %lld%s to %lld", f->name, f->help, (long long)v,
                           (long long)f->least, f->least < 0 ? " (unlimited)" : "", (long long)f->most);
    }
    return 0;
}

static int no_plan(struct err *err)
{
    return err_set(err, ERR_NOT_FOUND, "there is no such plan");
}

int policy_tx_plan(struct db_tx *tx, int64_t id, struct plan *ret, struct err *err)
{
    int rc = id == 0 ? plan_tx_get_default(tx, ret, err) : plan_tx_get(tx, id, ret, err);
    return rc < 0 ? rc : rc == 0 ? no_plan(err) : 0;
}

int plan_tx_find(struct db_tx *tx, struct str name, struct plan *ret, struct err *err)
{
    int rc = plan_tx_get_named(tx, name, ret, err);
    return rc < 0 ? rc : rc == 0 ? no_plan(err) : 0;
}

int plan_tx_add(struct db_tx *tx, struct str name, const struct plan_limits *limits, int64_t *ret_id, struct err *err)
{
    struct plan plan;
    if (!name_ok(name))
        return err_set(err, ERR_INVALID, "a plan's name has a-z, 0-9 and - (not at an end), at most %d", PLAN_NAME_MAX);
    int rc = check_limits(limits, err);
    if (rc == 0 && (rc = plan_tx_get_named(tx, name, &plan, err)) == 1)
        rc = err_set(err, ERR_EXISTS, "there is a plan %s", plan.name);
    if (rc == 0 && (rc = plan_tx_insert(tx, name, limits, err)) == 0)
        rc = plan_tx_find(tx, name, &plan, err);
    if (rc == 0)
        *ret_id = plan.id;
    return rc;
}

/* A plan that may change. */
static int find_own(struct db_tx *tx, struct str name, struct plan *ret, struct err *err)
{
    int rc = plan_tx_find(tx, name, ret, err);
    if (rc == 0 && strcmp(ret->name, "unlimited") == 0)
        rc = err_set(err, ERR_DENIED, "the plan unlimited stays as it is: make another one");
    return rc;
}

int plan_tx_change(struct db_tx *tx, struct str name, const struct plan_limits *limits, struct err *err)
{
    struct plan plan;
    int rc = find_own(tx, name, &plan, err);
    if (rc == 0)
        rc = check_limits(limits, err);
    return rc < 0 ? rc : plan_tx_update(tx, plan.id, limits, err);
}

int plan_tx_default(struct db_tx *tx, struct str name, struct err *err)
{
    struct plan plan;
    int rc = plan_tx_find(tx, name, &plan, err);
    return rc < 0 ? rc : plan_tx_set_default(tx, plan.id, err);
}

int plan_tx_remove(struct db_tx *tx, struct str name, int64_t accounts, struct err *err)
{
    struct plan plan;
    int rc = find_own(tx, name, &plan, err);
    if (rc == 0 && plan.site_default)
        rc = err_set(err, ERR_DENIED, "the plan %s is the site's default: make another one the default first", plan.name);
    if (rc == 0 && accounts > 0)
        rc = err_set(err, ERR_DENIED, "the plan %s is in use by %lld accounts: give them another one first", plan.name,
                     (long long)accounts);
    return rc < 0 ? rc : plan_tx_delete(tx, plan.id, err);
}
