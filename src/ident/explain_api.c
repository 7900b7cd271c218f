/* /api/v1: why somebody may or may not, and the tables that decide. */
#include "ident/api.h"

static bool action_fits(struct str s) { return right_row_named(OBJECT_REPO, s) != NULL; }
static const struct rest_check check_action = {action_fits, "must be a right on a repository as docs/permissions.md lists them: pull, push, ...",
    NULL};
static bool who_fits(struct str s) { return s.n == 0 || check_account_name.fits(s); }
static const struct rest_check check_who = {who_fits, "must be the name of an account, or empty", NULL};
static const char *const verdicts[] = {"yes", "hidden", "no", "token", "archived", "auditor", NULL};
static const struct rest_schema needs = {
    "Needs", "What an action takes.", (const struct rest_field[]){
        {"level", REST_STRING, .required = true, .about = "to be had on the object"},
        {"scope", REST_STRING, .required = true, .about = "of a token; login: no token will do"},
        {0}}};
static const struct rest_schema explanation = {
    "Explanation", "Whether somebody may do something, and why.", (const struct rest_field[]){
        {"allowed", REST_BOOL, .required = true},
        {"answer", REST_ENUM, .required = true, .words = verdicts, .about = "hidden: the repository looks absent to who asked about"},
        {"why", REST_STRING, .required = true, .nullable = true, .about = "what gave the level"},
        {"level", REST_STRING, .required = true, .about = "that is had"},
        {"right", REST_STRING, .required = true},
        {"needs", REST_OBJECT, .required = true, .schema = &needs},
        {0}}};
static const struct rest_schema right_entry = {
    "Right", "A row of the table of rights.", (const struct rest_field[]){
        {"right", REST_STRING, .required = true}, {"what", REST_STRING, .required = true, .about = "in words"},
        {"object", REST_STRING, .required = true}, {"level", REST_STRING, .required = true},
        {"scope", REST_STRING, .required = true}, {"archived", REST_BOOL, .required = true, .about = "also while it is archived"},
        {"auditors", REST_BOOL, .required = true, .about = "whether an auditor may"},
        {0}}};
static const struct rest_schema rank_entry = {
    "Rank", "A row of the table of levels.", (const struct rest_field[]){
        {"who", REST_STRING, .required = true}, {"object", REST_STRING, .required = true}, {"level", REST_STRING, .required = true},
        {0}}};
static const struct rest_schema tables = {
    "Rights", "The tables that decide.", (const struct rest_field[]){
        {"rights", REST_ARRAY, .required = true, .schema = &right_entry},
        {"ranks", REST_ARRAY, .required = true, .schema = &rank_entry},
        {0}}};

struct explain {
    const struct principal *asks, *who; /* who: a login of the account asked about; NULL: to be found */
    struct principal *found;            /* owned */
    struct str name;                    /* of the account; empty: anonymous */
    const struct right_row *row;
    struct gate gate;
    struct right_verdict verdict;
    bool readable;                      /* by who */
};

/* Others are told of by those who see everything, and by the owner of the namespace. */
static int may_ask(struct db_tx *tx, struct explain *e, struct err *err)
{
    int rc = gate_tx_find(tx, e->asks, OBJECT_REPO, &e->gate, err);
    if (rc < 0 || e->who != NULL)
        return rc;
    struct right_verdict v = gate_verdict(e->asks, &e->gate, RIGHT_EXPLAIN);
    return verdict_error(&v, err);
}

static int find_who(struct db_tx *tx, struct explain *e, struct err *err)
{
    struct account a;
    int rc = account_tx_find(tx, e->name, &a, err);
    if (rc == 0 || (rc == 1 && a.state != ACCOUNT_ACTIVE))
        return err_set(err, ERR_NOT_FOUND, "there is no active account \"%.*s\"", STR_FMT(e->name));
    if (rc < 0)
        return rc;
    e->found->kind = a.kind == ACCOUNT_ORG ? WHO_ORG : WHO_USER;
    e->found->user_id = a.id;
    e->found->role = (enum site_role)a.role;
    return 0;
}

static void forget(struct explain *e)
{
    if (e->gate.repo.fact != NULL)
        shared_unref(&e->gate.repo.fact->shared);
    e->gate.repo.fact = NULL;
}

static int explain_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct explain *e = arg;
    forget(e);
    int rc = may_ask(tx, e, err);
    if (rc == 0 && e->who == NULL)
        rc = find_who(tx, e, err);
    forget(e);
    if (rc < 0)
        return rc;
    const struct principal *who = e->who ? e->who : e->found;
    if ((rc = gate_tx_find(tx, who, OBJECT_REPO, &e->gate, err)) < 0)
        return rc;
    e->verdict = gate_verdict(who, &e->gate, e->row->right);
    e->readable = gate_verdict(who, &e->gate, RIGHT_REPO_READ).answer == RIGHT_YES;
    if (e->gate.repo.fact == NULL && e->row->right != RIGHT_PUSH)
        e->verdict.answer = RIGHT_NO_HIDDEN;
    return 0;
}

/* What who may not read is told of as if it were absent. */
static json_t *explain_json(const struct explain *e)
{
    const struct right_verdict *v = &e->verdict;
    bool hidden = v->answer != RIGHT_YES && !e->readable;
    const struct right_row *row = hidden ? e->row : v->row;
    const char *why = v->by && !hidden ? v->by->why : NULL;
    return json_pack("{s:b,s:s,s:s?,s:s,s:s,s:{s:s,s:s}}", "allowed", v->answer == RIGHT_YES, "answer",
                     answer_name(hidden ? RIGHT_NO_HIDDEN : v->answer), "why", why, "level",
                     rank_name(row->object, hidden ? 0 : v->rank), "right", row->name, "needs", "level",
                     rank_name(row->object, row->least), "scope", scope_name(row->scope));
}

static int explain_run(struct rest_call *c, struct err *err)
{
    char *name = arena_alloc(&c->r->arena, LIBRARY_MAX);
    const struct principal *p = req_principal(c->r);
    struct explain e = {.asks = p, .name = rest_text(c->query, "who"), .row = right_row_named(OBJECT_REPO, rest_text(c->query, "action"))};
    struct principal *nobody = principal_new((struct str){NULL, 0}, 0);
    e.found = principal_new((struct str){NULL, 0}, 0);
    if (e.name.n == 0)
        e.who = nobody;
    else if (p->kind != WHO_NOBODY && str_is(e.name, p->name))
        e.who = p;
    int rc = canonical_name(rest_text(c->query, "repository"), name, err);
    if (rc < 0)
        rc = rest_wrong(c, err, "repository", "%s", err->text);
    e.gate.repo.name = str_of(name);
    if (rc == 0 && e.who == NULL && p->kind == WHO_NOBODY) {
        gate_challenge(c->r, NULL);
        rc = err_set(err, ERR_UNAUTHORIZED, "authentication is required");
    }
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, explain_read, &e, err);
    json_t *doc = rc == 0 ? explain_json(&e) : NULL;
    forget(&e);
    shared_unref(&nobody->shared);
    shared_unref(&e.found->shared);
    return rc < 0 ? rc : rest_send(c, doc);
}

static bool auditor_may(const struct right_row *row)
{
    struct right_ask ask = {.right = row->right, .standing = IS_AUDITOR | IS_SIGNED_IN};
    return right_decide(&ask).answer == RIGHT_YES;
}

static int tables_run(struct rest_call *c, struct err *err)
{
    json_t *rights = json_array(), *all = json_array();
    (void)err;
    for (size_t i = 0; i < n_right_rows; i++) {
        const struct right_row *r = &right_rows[i];
        json_array_append_new(rights, json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:b}", "right", r->name, "what", r->what, "object",
                                                object_name(r->object), "level", rank_name(r->object, r->least), "scope",
                                                scope_name(r->scope), "archived", (r->flags & CONTENT) == 0, "auditors", auditor_may(r)));
    }
    for (size_t i = 0; i < n_rank_rows; i++)
        json_array_append_new(all, json_pack("{s:s,s:s,s:s}", "who", rank_rows[i].why, "object", object_name(rank_rows[i].object), "level",
                                             rank_name(rank_rows[i].object, rank_rows[i].rank)));
    return rest_send(c, json_pack("{s:o,s:o}", "rights", rights, "ranks", all));
}

static const struct rest_field explain_query[] = {
    {"who", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_who, .about = "a user or an organization; empty: anonymous"},
    {"repository", REST_STRING, .required = true, .max = NAME_MAX_BYTES, .about = "NAMESPACE/NAME"},
    {"action", REST_STRING, .required = true, .max = 20, .check = &check_action},
    {0}};
const struct rest_route access_routes[] = {
    {REST_GET("/access/explain", "access_explain", RIGHT_LOOK), explain_run,
     "Why somebody may or may not: everybody about himself, owners about their repositories, administrators and auditors about all", "access",
     .query = explain_query, .answer = &explanation, .also = {404}},
    {REST_GET("/access/rights", "access_rights", RIGHT_PUBLIC), tables_run, "The tables of rights", "access", .answer = &tables},
};
const size_t n_access_routes = ARRAY_LEN(access_routes);
