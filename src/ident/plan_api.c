/* /api/v1: plans, which account has which, and what accounts use of them. */
#include "ident/api.h"
#include "policy/quota.h"

#include <stdlib.h>

enum { CSV_MAX = 256 << 20, QUOTA_KINDS = QUOTA_BUILDS };

static bool plan_name_fits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (!(s.p[i] >= 'a' && s.p[i] <= 'z') && !(s.p[i] >= '0' && s.p[i] <= '9') && s.p[i] != '-')
            return false;
    return s.n > 0 && s.p[0] != '-' && s.p[s.n - 1] != '-';
}
static const struct rest_check check_plan_name = {plan_name_fits, "must be a-z, 0-9 and - between", "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"};

#define LIMIT_FIELD(name_, least, most, help) {#name_, REST_INT, .min = (least), .max = (most), .about = help},
#define LIMIT_ANSWER(name_, least, most, help) {#name_, REST_INT, .required = true, .about = help},
static const struct rest_schema plan_answer = {
    "Plan", "What an account may have and do. -1 in a limit: unlimited. Windows are in seconds.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true},
        {"default", REST_BOOL, .required = true, .about = "that of accounts that name none, and of strangers"},
        PLAN_LIMITS(LIMIT_ANSWER) {0}}};
static const struct rest_schema plan_new = {
    "PlanNew", "A plan to be made. What is left out is unlimited, a window has six hours.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = PLAN_NAME_MAX, .check = &check_plan_name},
        PLAN_LIMITS(LIMIT_FIELD) {0}}};
static const struct rest_schema plan_patch = {"PlanPatch", "What to change of a plan. -1 in a limit: unlimited.",
                                              (const struct rest_field[]){PLAN_LIMITS(LIMIT_FIELD) {0}}};
static const struct rest_schema plan_set = {
    "AccountPlanSet", "Which plan.", (const struct rest_field[]){
        {"plan", REST_STRING, .required = true, .nullable = true, .max = PLAN_NAME_MAX, .check = &check_plan_name, .about = "null: the default one"},
        {0}}};
static const struct rest_schema account_plan = {
    "AccountPlan", "The plan of an account.", (const struct rest_field[]){
        {"account", REST_STRING, .required = true}, {"plan", REST_STRING, .required = true, .nullable = true, .about = "null: the default one"}, {0}}};
static const struct rest_schema quota = {
    "Quota", "What an account has of what its plan allows.", (const struct rest_field[]){
        {"used", REST_INT, .required = true},
        {"reserved", REST_INT, .required = true, .about = "bytes: for uploads that go on"},
        {"limit", REST_INT, .required = true, .about = "-1: unlimited"},
        {"warning", REST_BOOL, .required = true, .about = "80 % were reached"},
        {"why", REST_STRING, .required = true, .nullable = true, .about = "why no more fits"},
        {0}}};
static const struct rest_schema window = {
    "Window", "Pulls or pushes in a window.", (const struct rest_field[]){
        {"used", REST_INT, .required = true},
        {"remaining", REST_INT, .required = true, .about = "-1: unlimited"},
        {"limit", REST_INT, .required = true, .about = "-1: unlimited"},
        {"window", REST_INT, .required = true, .about = "seconds"},
        {"resets_at", REST_TIME, .required = true, .nullable = true, .about = "null: none has begun"},
        {"warning", REST_BOOL, .required = true, .about = "80 % were reached"},
        {"why", REST_STRING, .required = true, .nullable = true, .about = "why the next is refused, until resets_at"},
        {0}}};
static const struct rest_schema usage_answer = {
    "Usage", "What an account uses of its plan.", (const struct rest_field[]){
        {"account", REST_STRING, .required = true},
        {"plan", REST_STRING, .required = true},
        {"bytes", REST_OBJECT, .required = true, .schema = &quota, .about = "stored, each blob once"},
        {"private_repos", REST_OBJECT, .required = true, .schema = &quota},
        {"collaborators", REST_OBJECT, .required = true, .schema = &quota, .about = "on private repositories"},
        {"seats", REST_OBJECT, .required = true, .schema = &quota, .about = "members"},
        {"builds", REST_OBJECT, .required = true, .schema = &quota, .about = "at once"},
        {"pulls", REST_OBJECT, .required = true, .schema = &window},
        {"pushes", REST_OBJECT, .required = true, .schema = &window},
        {0}}};

static const char ACCOUNTS_WITH[] = "SELECT count(*) FROM accounts WHERE plan_id = $1 AND state <> 1";
static const char SET_PLAN[] = "UPDATE accounts SET plan_id = $2, updated_at = $3 WHERE id = $1";
#define USED(column, kind) "coalesce((SELECT " column " FROM usage u WHERE u.account_id = a.id AND u.kind = " kind "), 0)"
static const char ALL_USAGE[] =
    "SELECT a.id, a.name, coalesce(a.plan_id, 0), " USED("used", "1") ", " USED("reserved", "1") ", " USED("used", "2") ", " USED(
        "used", "3") ", " USED("used", "4") " FROM accounts a WHERE a.state <> 1 ORDER BY a.name";

static int64_t *limit_of(struct plan_limits *l, const struct plan_field *f) { return (int64_t *)(void *)((char *)l + f->offset); }

static json_t *plan_json(struct plan *p)
{
    size_t n;
    const struct plan_field *f = plan_fields(&n);
    json_t *doc = json_pack("{s:s,s:b}", "name", p->name, "default", p->site_default);
    for (size_t i = 0; i < n; i++)
        json_object_set_new(doc, f[i].name, json_integer(*limit_of(&p->limits, &f[i])));
    return doc;
}

/* What the body names; the rest stays. */
static void take_limits(const json_t *body, struct plan_limits *l)
{
    size_t n;
    const struct plan_field *f = plan_fields(&n);
    for (size_t i = 0; i < n; i++)
        *limit_of(l, &f[i]) = rest_int(body, f[i].name, *limit_of(l, &f[i]));
}

/* --- plans */

struct plan_job {
    struct rest_call *c;
    struct plan plan;
};

static int list_one(void *arg, const struct plan *plan, struct err *err)
{
    struct rest_call *c = arg;
    struct plan copy = *plan;
    (void)err;
    if (str_cmp(str_of(plan->name), rest_after_text(c, 0)) > 0)
        rest_add(c, plan_json(&copy), json_pack("[s]", plan->name));
    return rest_full(c);
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    (void)rest_page(arg);
    int rc = plan_tx_each(tx, list_one, arg, err);
    return rc < 0 ? rc : 0;
}

static int plan_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct plan_job *j = arg;
    return plan_tx_find(tx, j->c->r->parts[0], &j->plan, err);
}

static int plan_get(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    int rc = db_read(ident_of(c->r)->db, get_read, &j, err);
    return rc < 0 ? rc : rest_send(c, plan_json(&j.plan));
}

/* The change is in the database already: should memory not learn of it now, it does within 30 s. */
static int change_plans(struct rest_call *c, struct change *ch, struct err *err)
{
    struct ident *i = ident_of(c->r);
    struct err late = {0};
    int rc = change_run(c->r, ch, err);
    if (rc == 0)
        gen_move_all(GEN_REPO); /* other repositories may be over their quota now */
    if (rc == 0 && policy_plans_refresh(i->policy, &late) < 0)
        log_line(LOG_WARN, "plans in memory are older than the database's", F_CSTR("error", late.text));
    return rc;
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct plan_job *j = ch->arg;
    const json_t *b = j->c->body;
    struct plan_limits limits = {-1, -1, -1, -1, -1, -1, -1, 21600, -1, 21600};
    int64_t id;
    take_limits(b, &limits);
    int rc = plan_tx_add(tx, rest_text(b, "name"), &limits, &id, err);
    return rc < 0 ? rc : policy_tx_plan(tx, id, &j->plan, err);
}

static int plan_add(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    struct change ch = {.fn = add, .arg = &j, .action = "plan.create", .object = rest_text(c->body, "name")};
    int rc = change_plans(c, &ch, err);
    if (rc < 0)
        return rc;
    rest_location(c, "/api/v1/plans/%s", j.plan.name);
    return rest_send(c, plan_json(&j.plan));
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct plan_job *j = ch->arg;
    struct str name = j->c->r->parts[0];
    int rc = plan_tx_find(tx, name, &j->plan, err);
    if (rc < 0)
        return rc;
    take_limits(j->c->body, &j->plan.limits);
    return plan_tx_change(tx, name, &j->plan.limits, err);
}

static int plan_update(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    struct change ch = {.fn = patch, .arg = &j, .action = "plan.update", .object = c->r->parts[0]};
    int rc = change_plans(c, &ch, err);
    return rc < 0 ? rc : rest_send(c, plan_json(&j.plan));
}

static int set_default(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct plan_job *j = ch->arg;
    int rc = plan_tx_default(tx, j->c->r->parts[0], err);
    return rc < 0 ? rc : plan_tx_find(tx, j->c->r->parts[0], &j->plan, err);
}

static int plan_default(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    struct change ch = {.fn = set_default, .arg = &j, .action = "plan.default", .object = c->r->parts[0]};
    int rc = change_plans(c, &ch, err);
    return rc < 0 ? rc : rest_send(c, plan_json(&j.plan));
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct plan_job *j = ch->arg;
    int64_t accounts = 0;
    int rc = plan_tx_find(tx, j->c->r->parts[0], &j->plan, err);
    if (rc < 0 || (rc = db_one(tx, ACCOUNTS_WITH, DB_ARGS(DB_I(j->plan.id)), map_int, &accounts, err)) < 0)
        return rc;
    return plan_tx_remove(tx, j->c->r->parts[0], accounts, err);
}

static int plan_remove(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    struct change ch = {.fn = drop, .arg = &j, .action = "plan.remove", .object = c->r->parts[0]};
    int rc = change_plans(c, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

/* --- whose plan */

static int set_plan(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct plan_job *j = ch->arg;
    struct str name = rest_text(j->c->body, "plan");
    int rc = account_tx_find(tx, j->c->r->parts[0], &ch->now.account, err);
    if (rc == 0 || (rc == 1 && ch->now.account.state == ACCOUNT_REMOVED))
        return api_absent(err, "account");
    if (rc == 1 && name.p != NULL)
        rc = plan_tx_find(tx, name, &j->plan, err);
    if (rc == ERR_NOT_FOUND)
        return rest_wrong(j->c, err, "plan", "is no plan");
    if (rc < 0)
        return rc;
    json_decref(ch->data);
    ch->data = json_pack("{s:s?}", "plan", name.p ? j->plan.name : NULL);
    return db_exec(tx, SET_PLAN, DB_ARGS(DB_I(ch->now.account.id), name.p ? DB_I(j->plan.id) : DB_N, DB_I(clock_now())), NULL, err);
}

static int plan_of_account(struct rest_call *c, struct err *err)
{
    struct plan_job j = {.c = c};
    struct change ch = {.fn = set_plan, .arg = &j, .accounts = {c->r->parts[0]}, .action = "account.plan", .object = c->r->parts[0]};
    int rc = change_run(c->r, &ch, err);
    if (rc < 0)
        return rc;
    struct str name = c->r->parts[0];
    return rest_send(c, json_pack("{s:s%,s:s?}", "account", name.p, name.n, "plan", rest_text(c->body, "plan").p ? j.plan.name : NULL));
}

/* --- usage */

struct usage_job {
    struct rest_call *c;
    struct plan plan;
    struct quota_usage used[QUOTA_KINDS + 1]; /* by enum quota_kind */
};

static int usage_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct usage_job *j = arg;
    const struct account *a = req_account(j->c->r);
    int rc = policy_tx_plan(tx, a->plan_id, &j->plan, err);
    for (int k = QUOTA_BYTES; rc == 0 && k <= QUOTA_KINDS; k++)
        rc = quota_tx_usage(tx, a->id, (enum quota_kind)k, &j->used[k], err);
    return rc;
}

static json_t *quota_json(struct http_req *r, const struct usage_job *j, enum quota_kind kind)
{
    const struct quota_usage *u = &j->used[kind];
    int64_t limit = quota_limit(&j->plan.limits, kind);
    const char *why = NULL;
    if (limit >= 0 && u->used + u->reserved >= limit)
        why = arena_printf(&r->arena, "the plan %s allows %lld, all are used or reserved", j->plan.name, (long long)limit);
    return json_pack("{s:I,s:I,s:I,s:b,s:s?}", "used", (json_int_t)u->used, "reserved", (json_int_t)u->reserved, "limit",
                     (json_int_t)limit, "warning", limit > 0 && u->used >= limit - limit / 5, "why", why);
}

static json_t *window_json(struct http_req *r, const struct usage_job *j, enum policy_kind kind)
{
    struct policy_limit limit = kind == POLICY_PULL ? policy_pull_limit(&j->plan.limits, POLICY_ACCOUNT) : policy_push_limit(&j->plan.limits);
    struct policy_verdict v;
    const char *why = NULL;
    policy_peek(ident_of(r)->policy, policy_key_account(req_account(r)->id), kind, limit, clock_now(), &v);
    if (!v.limited)
        return json_pack("{s:i,s:i,s:i,s:I,s:n,s:b,s:n}", "used", 0, "remaining", -1, "limit", -1, "window", (json_int_t)limit.window,
                         "resets_at", "warning", false, "why");
    int64_t used = v.limit - v.remaining;
    if (!v.allowed)
        why = arena_printf(&r->arena, "the plan %s allows %lld %s in %lld seconds, all are used", j->plan.name, (long long)v.limit,
                           kind == POLICY_PULL ? "pulls" : "pushes", (long long)v.window);
    return json_pack("{s:I,s:I,s:I,s:I,s:o,s:b,s:s?}", "used", (json_int_t)used, "remaining", (json_int_t)v.remaining, "limit",
                     (json_int_t)v.limit, "window", (json_int_t)v.window, "resets_at", used > 0 ? rest_json_time(v.reset) : json_null(),
                     "warning", v.limit > 0 && used >= v.limit - v.limit / 5, "why", why);
}

static int usage_get(struct rest_call *c, struct err *err)
{
    struct usage_job j = {.c = c};
    int rc = db_read(ident_of(c->r)->db, usage_read, &j, err);
    if (rc < 0)
        return rc;
    json_t *doc = json_pack("{s:s,s:s}", "account", req_account(c->r)->name, "plan", j.plan.name);
    for (int k = QUOTA_BYTES; k <= QUOTA_KINDS; k++)
        json_object_set_new(doc, quota_name((enum quota_kind)k), quota_json(c->r, &j, (enum quota_kind)k));
    json_object_set_new(doc, "pulls", window_json(c->r, &j, POLICY_PULL));
    json_object_set_new(doc, "pushes", window_json(c->r, &j, POLICY_PUSH));
    return rest_send(c, doc);
}

/* --- all of it as CSV. Names of accounts and plans need no quotes. */

struct csv_job {
    struct policy *policy;
    struct buf out;
};

static void csv_window(struct csv_job *j, int64_t account, enum policy_kind kind, struct policy_limit limit)
{
    struct policy_verdict v;
    policy_peek(j->policy, policy_key_account(account), kind, limit, clock_now(), &v);
    buf_printf(&j->out, ",%lld,%lld", v.limited ? (long long)(v.limit - v.remaining) : 0LL, (long long)limit.max);
}

static int csv_read(struct db_tx *tx, void *arg, struct err *err)
{
    static const enum quota_kind kinds[] = {QUOTA_PRIVATE_REPOS, QUOTA_COLLABORATORS, QUOTA_SEATS};
    struct csv_job *j = arg;
    auto_rows struct db_rows *rows = NULL;
    buf_reset(&j->out);
    buf_cstr(&j->out, "account,plan,bytes_used,bytes_reserved,bytes_limit,private_repos_used,private_repos_limit,collaborators_used,"
                      "collaborators_limit,seats_used,seats_limit,pulls_used,pulls_limit,pushes_used,pushes_limit\r\n");
    int rc = db_query(tx, ALL_USAGE, DB_NO_ARGS, &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct plan plan;
        int64_t account = db_int(rows, 0);
        policy_plan(j->policy, db_int(rows, 2), &plan);
        buf_printf(&j->out, "%.*s,%s,%lld,%lld,%lld", STR_FMT(db_text(rows, 1)), plan.name, (long long)db_int(rows, 3),
                   (long long)db_int(rows, 4), (long long)plan.limits.bytes);
        for (size_t k = 0; k < ARRAY_LEN(kinds); k++)
            buf_printf(&j->out, ",%lld,%lld", (long long)db_int(rows, (int)(5 + k)), (long long)quota_limit(&plan.limits, kinds[k]));
        csv_window(j, account, POLICY_PULL, policy_pull_limit(&plan.limits, POLICY_ACCOUNT));
        csv_window(j, account, POLICY_PUSH, policy_push_limit(&plan.limits));
        buf_cstr(&j->out, "\r\n");
        rc = j->out.overflow ? err_set(err, ERR_TOO_LARGE, "too many accounts for one answer") : 0;
    }
    return rc;
}

static int usage_csv(struct rest_call *c, struct err *err)
{
    struct ident *i = ident_of(c->r);
    struct csv_job j = {.policy = i->policy};
    buf_init(&j.out, CSV_MAX);
    int rc = db_read(i->db, csv_read, &j, err);
    if (rc == 0) {
        http_status(c->r, 200);
        http_add(c->r, "Content-Type", STR_LIT("text/csv; charset=utf-8"));
        http_add(c->r, "Content-Disposition", STR_LIT("attachment; filename=\"usage.csv\""));
        http_send_buf(c->r, &j.out);
    }
    buf_release(&j.out);
    return rc;
}

static const char *const formats[] = {"csv", NULL};
static const struct rest_field csv_query[] = {{"format", REST_ENUM, .required = true, .words = formats}, {0}};
const struct rest_route plan_routes[] = {
    {REST_GET("/plans", "plan_list", RIGHT_PLANS_READ), plan_list, "List plans", "plans", .answer = &plan_answer, .cursor = "s"},
    {REST_POST("/plans", "plan_create", RIGHT_PLANS), plan_add, "Make a plan", "plans", .body = &plan_new, .answer = &plan_answer,
     .status = 201},
    {REST_GET("/plans/{plan}", "plan_get", RIGHT_PLANS_READ), plan_get, "Read a plan", "plans", .answer = &plan_answer},
    {REST_PATCH("/plans/{plan}", "plan_update", RIGHT_PLANS), plan_update, "Change a plan", "plans", .body = &plan_patch,
     .answer = &plan_answer},
    {REST_DELETE("/plans/{plan}", "plan_remove", RIGHT_PLANS), plan_remove, "Remove a plan that nobody has", "plans"},
    {REST_PUT("/plans/{plan}/default", "plan_default", RIGHT_PLANS), plan_default, "Make a plan the default", "plans",
     .answer = &plan_answer},
    {REST_PUT("/accounts/{account}/plan", "account_plan_set", RIGHT_PLANS), plan_of_account, "Give an account a plan", "plans",
     .body = &plan_set, .answer = &account_plan},
    {REST_GET("/usage/{account}", "usage_get", RIGHT_USAGE), usage_get, "What an account uses of its plan", "plans",
     .answer = &usage_answer},
    {REST_GET("/usage", "usage_csv", RIGHT_PLANS), usage_csv, "What all accounts use", "plans", .query = csv_query, .media = "text/csv"},
};
const size_t n_plan_routes = ARRAY_LEN(plan_routes);
