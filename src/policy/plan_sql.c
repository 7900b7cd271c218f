/* Statements on plans. The limits stand in the order of PLAN_LIMITS. */
#include "policy/plan_int.h"

#define X(name, least, most, help) ", " #name
#define LIMIT_COLUMNS PLAN_LIMITS(X)
#define PLAN_SELECT "SELECT id, name, site_default" LIMIT_COLUMNS " FROM plans "
static const char PLAN_GET[] = PLAN_SELECT "WHERE id = $1";
static const char PLAN_DEFAULT[] = PLAN_SELECT "WHERE site_default = 1";
static const char PLAN_NAMED[] = PLAN_SELECT "WHERE name = $1";
static const char PLAN_ALL[] = PLAN_SELECT "ORDER BY name";
static const char PLAN_INSERT[] = "INSERT INTO plans (name, site_default" LIMIT_COLUMNS ") "
                                  "VALUES ($1, 0, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
static const char PLAN_UPDATE[] =
    "UPDATE plans SET private_repos = $2, collaborators = $3, seats = $4, bytes = $5, builds = $6, pulls = $7, "
    "anonymous_pulls = $8, pull_window = $9, pushes = $10, push_window = $11 WHERE id = $1";
static const char PLAN_SET_DEFAULT[] = "UPDATE plans SET site_default = CASE WHEN id = $1 THEN 1 ELSE 0 END";
static const char PLAN_DELETE[] = "DELETE FROM plans WHERE id = $1";
#undef X

static void map_plan(const struct db_rows *row, void *out)
{
    struct plan *p = out;
    size_t n;
    const struct plan_field *f = plan_fields(&n);
    memset(p, 0, sizeof *p);
    p->id = db_int(row, 0);
    text_copy(p->name, sizeof p->name, db_text(row, 1));
    p->site_default = db_int(row, 2) != 0;
    for (size_t i = 0; i < n; i++)
        *(int64_t *)((char *)&p->limits + f[i].offset) = db_int(row, (int)i + 3);
}

int plan_tx_get(struct db_tx *tx, int64_t id, struct plan *ret, struct err *err)
{
    return db_one(tx, PLAN_GET, DB_ARGS(DB_I(id)), map_plan, ret, err);
}

int plan_tx_get_default(struct db_tx *tx, struct plan *ret, struct err *err)
{
    return db_one(tx, PLAN_DEFAULT, DB_NO_ARGS, map_plan, ret, err);
}

int plan_tx_get_named(struct db_tx *tx, struct str name, struct plan *ret, struct err *err)
{
    return db_one(tx, PLAN_NAMED, DB_ARGS(DB_T(name)), map_plan, ret, err);
}

int plan_tx_each(struct db_tx *tx, plan_sink fn, void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, PLAN_ALL, DB_NO_ARGS, &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct plan plan;
        map_plan(rows, &plan);
        rc = fn(arg, &plan, err);
    }
    return rc < 0 ? rc : 0;
}

/* $1 and the limits. */
static int exec(struct db_tx *tx, const char *sql, struct db_value first, const struct plan_limits *limits, struct err *err)
{
    struct db_value args[1 + PLAN_FIELDS] = {first};
    size_t n;
    const struct plan_field *f = plan_fields(&n);
    for (size_t i = 0; i < n; i++)
        args[i + 1] = DB_I(plan_value(limits, &f[i]));
    return db_exec(tx, sql, args, n + 1, NULL, err);
}

int plan_tx_insert(struct db_tx *tx, struct str name, const struct plan_limits *limits, struct err *err)
{
    return exec(tx, PLAN_INSERT, DB_T(name), limits, err);
}

int plan_tx_update(struct db_tx *tx, int64_t id, const struct plan_limits *limits, struct err *err)
{
    return exec(tx, PLAN_UPDATE, DB_I(id), limits, err);
}

int plan_tx_set_default(struct db_tx *tx, int64_t id, struct err *err)
{
    return db_exec(tx, PLAN_SET_DEFAULT, DB_ARGS(DB_I(id)), NULL, err);
}

int plan_tx_delete(struct db_tx *tx, int64_t id, struct err *err)
{
    return db_exec(tx, PLAN_DELETE, DB_ARGS(DB_I(id)), NULL, err);
}
