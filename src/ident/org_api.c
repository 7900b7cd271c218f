/* /api/v1: organizations and their members. */
#include "ident/api.h"

static const struct rest_schema org = {
    "Organization", "An organization: a namespace that several people share.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true},
        {"full_name", REST_STRING, .required = true},
        {"default_access", REST_ENUM, .required = true, .words = words_access, .about = "of members on each repository"},
        {"default_visibility", REST_ENUM, .required = true, .words = words_visibility, .about = "of repositories made by a push"},
        {"no_public", REST_BOOL, .required = true, .about = "no repository can be made or become public"},
        {"personal_tokens", REST_BOOL, .required = true, .about = "whether members' own tokens work here"},
        {"token_max_days", REST_INT, .required = true, .about = "longest life of tokens that work here; 0: any"},
        {"need_mfa", REST_BOOL, .required = true, .about = "members without a second factor are as if they were none"},
        {"no_personal_push", REST_BOOL, .required = true, .about = "members push nothing into their own namespaces"},
        {"created_at", REST_TIME, .required = true},
        {"role", REST_ENUM, .required = true, .nullable = true, .words = words_member_role, .about = "the caller's"},
        {0}}};
#define ORG_SETTINGS                                                                                                     \
    {"full_name", REST_STRING, .max = FULL_NAME_MAX, .check = &check_line},                                                \
        {"default_access", REST_ENUM, .words = words_access}, {"default_visibility", REST_ENUM, .words = words_visibility}, \
        {"no_public", REST_BOOL, .about = "no repository can be made or become public"},                                                \
        {"personal_tokens", REST_BOOL, .about = "members' own tokens work here"},                                               \
        {"token_max_days", REST_INT, .min = 0, .max = 3650},                                                               \
        {"need_mfa", REST_BOOL, .about = "members without a second factor are as if they were none"},                        \
        {"no_personal_push", REST_BOOL, .about = "members push nothing into their own namespaces"}
static const struct rest_schema org_new = {
    "OrganizationNew", "An organization to be made; who makes it becomes its owner.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"owner", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name, .about = "another owner; administrators only"},
        ORG_SETTINGS, {0}}};
static const struct rest_schema org_patch = {"OrganizationPatch", "What to change of an organization.",
                                             (const struct rest_field[]){ORG_SETTINGS, {0}}};
static const struct rest_schema member = {
    "Member", "A member of an organization.", (const struct rest_field[]){
        {"user", REST_STRING, .required = true},
        {"role", REST_ENUM, .required = true, .words = words_member_role},
        {"joined_at", REST_TIME, .required = true},
        {0}}};
static const struct rest_schema member_role = {
    "MemberRole", "A member's role.", (const struct rest_field[]){
        {"role", REST_ENUM, .required = true, .words = words_member_role}, {0}}};

static json_t *org_json(const struct account *a, int64_t role)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:b,s:b,s:b,s:b,s:I,s:o,s:o}", "name", a->name, "full_name", a->full_name, "default_access",
                     level_name(a->default_access), "default_visibility", a->default_public ? "public" : "private", "no_public",
                     a->no_public, "need_mfa", a->need_mfa, "no_personal_push", a->no_personal_push, "personal_tokens", a->personal_tokens, "token_max_days", (json_int_t)a->token_max_days,
                     "created_at", rest_json_time(a->created_at), "role",
                     role != MEMBER_NONE ? json_string(member_role_name(role)) : json_null());
}

static const char SET[] = "UPDATE accounts SET full_name = $2, default_access = $3, default_visibility = $4, no_public = $5, "
                          "personal_tokens = $6, token_max_days = $7, updated_at = $8, need_mfa = $9, no_personal_push = $10 WHERE id = $1";
static const char SET_REMOVED[] = "UPDATE accounts SET state = 1, epoch = epoch + 1, updated_at = $2 WHERE id = $1";
static const char ANY_REPO[] = "SELECT r.id FROM repos r JOIN namespaces n ON n.id = r.namespace_id "
                               "WHERE n.owner_id = $1 AND r.name > '!~' LIMIT 1";
static const char DROP_MEMBERS[] = "DELETE FROM members WHERE org_id = $1";
static const char DROP_TEAMS[] = "DELETE FROM teams WHERE org_id = $1";

/* --- lists */

static int list_add(void *arg, const struct account *a, int64_t role)
{
    rest_add(arg, org_json(a, role), json_pack("[s]", a->name));
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    int64_t n = rest_page(c);
    return org_tx_each(tx, req_principal(c->r), rest_after_text(c, 0), n, list_add, c, err);
}

static int org_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

/* --- one organization */

struct org_job {
    struct rest_call *c;
    struct str name;
    struct account account;
    int64_t role; /* the caller's */
};

static int own_role(struct db_tx *tx, struct org_job *j, const struct principal *p, struct err *err)
{
    struct member_row m;
    int rc = member_tx_find(tx, j->account.id, p->user_id, &m, err);
    j->role = rc == 1 ? m.role : MEMBER_NONE;
    return rc < 0 ? rc : 0;
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct org_job *j = arg;
    return own_role(tx, j, req_principal(j->c->r), err);
}

static int org_get(struct rest_call *c, struct err *err)
{
    struct org_job j = {.c = c, .account = *req_account(c->r)};
    int rc = account_is_org(&j.account, err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, get_read, &j, err);
    return rc < 0 ? rc : rest_send(c, org_json(&j.account, j.role));
}

static int set(struct db_tx *tx, struct org_job *j, struct err *err)
{
    const json_t *b = j->c->body;
    struct account *a = &j->account;
    struct str access = rest_text(b, "default_access"), visibility = rest_text(b, "default_visibility");
    struct str full = api_text(b, "full_name", a->full_name);
    int level = a->default_access;
    if (access.p != NULL && level_parse(access, &level) < 0)
        level = RANK_NONE;
    bool public = visibility.p == NULL ? a->default_public : str_is(visibility, "public");
    bool no_public = rest_bool(b, "no_public", a->no_public);
    if (no_public && public)
        return rest_wrong(j->c, err, "default_visibility", "cannot be public in an organization without public repositories");
    const struct principal *p = req_principal(j->c->r);
    bool need = rest_bool(b, "need_mfa", a->need_mfa);
    if (need && !a->need_mfa && p->kind == WHO_USER && p->role != SITE_ADMIN && !p->second_factor)
        return rest_wrong(j->c, err, "need_mfa", "would lock you out: add a second factor to your own account first");
    int rc = db_exec(tx, SET,
                     DB_ARGS(DB_I(a->id), DB_T(full), DB_I(level), DB_I(public), DB_I(no_public),
                             DB_I(rest_bool(b, "personal_tokens", a->personal_tokens)),
                             DB_I(rest_int(b, "token_max_days", a->token_max_days)), DB_I(clock_now()), DB_I(need),
                             DB_I(rest_bool(b, "no_personal_push", a->no_personal_push))),
                     NULL, err);
    if (rc == 0)
        rc = account_tx_by_id(tx, a->id, a, err);
    return rc < 0 ? rc : 0;
}

/* Who owns it: the one named by an administrator, else who makes it; the machine's administrator may
 * leave it without. */
static int first_owner(struct db_tx *tx, struct org_job *j, const struct principal *p, struct err *err)
{
    struct str named = rest_text(j->c->body, "owner");
    struct account owner = {.id = p->user_id};
    int rc = 0;
    if (named.p != NULL && !str_is(named, p->name) && p->role != SITE_ADMIN)
        return rest_wrong(j->c, err, "owner", "can only be named by an administrator");
    if (named.p != NULL && (rc = account_tx_user(tx, named, &owner, err)) < 0)
        return rest_wrong(j->c, err, "owner", "is no user");
    return owner.id == 0 ? 0 : member_tx_set(tx, j->account.id, owner.id, MEMBER_OWNER, "local", err);
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct org_job *j = ch->arg;
    int rc = account_tx_name_free(tx, j->name, err);
    if (rc < 0 || (rc = account_tx_add(tx, ACCOUNT_ORG, j->name, "", SITE_NONE, &j->account.id, err)) < 0 ||
        (rc = account_tx_by_id(tx, j->account.id, &j->account, err)) < 0 || (rc = set(tx, j, err)) < 0 ||
        (rc = first_owner(tx, j, ch->who, err)) < 0)
        return rc;
    return own_role(tx, j, ch->who, err);
}

static int org_add(struct rest_call *c, struct err *err)
{
    struct org_job j = {.c = c, .name = rest_text(c->body, "name")};
    struct str owner = rest_text(c->body, "owner");
    struct change ch = {.fn = add, .arg = &j, .accounts = {j.name, owner.p ? owner : str_of(req_principal(c->r)->name)},
                        .action = "org.create", .object = j.name};
    int rc = ident_account_name_check(j.name, err);
    if (rc < 0)
        return rest_wrong(c, err, "name", "%s", err->text);
    if ((rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    rest_location(c, "/api/v1/orgs/%s", j.account.name);
    return rest_send(c, org_json(&j.account, j.role));
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct org_job *j = ch->arg;
    j->account = ch->now.account;
    int rc = account_is_org(&j->account, err);
    if (rc == 0)
        rc = own_role(tx, j, ch->who, err);
    if (rc == 0)
        rc = api_match(j->c, org_json(&j->account, j->role), err);
    return rc < 0 ? rc : set(tx, j, err);
}

static int org_patch_run(struct rest_call *c, struct err *err)
{
    struct org_job j = {.c = c};
    struct change ch = {.fn = patch, .arg = &j, .action = "org.update"};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, org_json(&j.account, j.role));
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    static const char *const each[] = {DROP_MEMBERS, DROP_TEAMS};
    int64_t id = ch->now.account.id, repo;
    int rc = account_is_org(&ch->now.account, err);
    if (rc < 0)
        return rc;
    if (str_is(ch->now.account_name, "library"))
        return err_set(err, ERR_EXISTS, "library belongs to the hub");
    if ((rc = db_one(tx, ANY_REPO, DB_ARGS(DB_I(id)), map_int, &repo, err)) == 1)
        return err_set(err, ERR_EXISTS, "the organization still has repositories: delete them first");
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(each); i++)
        rc = db_exec(tx, each[i], DB_ARGS(DB_I(id)), NULL, err);
    if (rc < 0 || (rc = credential_tx_end_all(tx, id, err)) < 0)
        return rc;
    return db_exec(tx, SET_REMOVED, DB_ARGS(DB_I(id), DB_I(clock_now())), NULL, err);
}

static int org_drop(struct rest_call *c, struct err *err)
{
    struct change ch = {.fn = drop, .action = "org.remove"};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

/* --- members */

static json_t *member_json(const struct member_row *m)
{
    return json_pack("{s:s,s:s,s:o}", "user", m->user, "role", member_role_name(m->role), "joined_at", rest_json_time(m->created_at));
}

static int members_add(void *arg, const struct member_row *m)
{
    rest_add(arg, member_json(m), json_pack("[s]", m->user));
    return 0;
}

static int members_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    int64_t n = rest_page(c);
    return member_tx_each(tx, req_account(c->r)->id, rest_after_text(c, 0), n, members_add, c, err);
}

static int member_list(struct rest_call *c, struct err *err)
{
    int rc = account_is_org(req_account(c->r), err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, members_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

struct member_job {
    struct rest_call *c;
    enum member_role role; /* MEMBER_NONE: remove */
    struct member_row row;
};

static int member_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct member_job *j = ch->arg;
    return member_tx_change(tx, ch, j->c->r->parts[1], j->role, &j->row, err);
}

static int member_set(struct rest_call *c, struct err *err)
{
    struct member_job j = {.c = c, .role = member_role_of(rest_text(c->body, "role"))};
    struct change ch = {.fn = member_write, .arg = &j, .accounts = {c->r->parts[1]}, .action = "org.member.set", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, member_json(&j.row));
}

/* Members leave; others take an owner to go. */
static int member_drop(struct rest_call *c, struct err *err)
{
    const struct principal *p = req_principal(c->r);
    bool self = p->kind == WHO_USER && str_is(c->r->parts[1], p->name);
    struct member_job j = {.c = c, .role = MEMBER_NONE};
    struct change ch = {.right = self ? RIGHT_LEAVE : RIGHT_MEMBERS, .fn = member_write, .arg = &j, .accounts = {c->r->parts[1]},
                        .action = "org.member.remove", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

const struct rest_route org_routes[] = {
    {REST_GET("/orgs", "org_list", RIGHT_SIGNED_IN), org_list, "List organizations that one may read", "orgs", .answer = &org,
     .cursor = "s"},
    {REST_POST("/orgs", "org_create", RIGHT_ORG_CREATE), org_add, "Make an organization", "orgs", .body = &org_new, .answer = &org,
     .status = 201, .also = {409}},
    {REST_GET("/orgs/{org}", "org_get", RIGHT_ACCOUNT_READ), org_get, "Read an organization", "orgs", .answer = &org},
    {REST_PATCH("/orgs/{org}", "org_update", RIGHT_ORG_SETTINGS), org_patch_run, "Change an organization", "orgs",
     .body = &org_patch, .answer = &org, .match = true},
    {REST_DELETE("/orgs/{org}", "org_remove", RIGHT_ORG_DELETE), org_drop, "Remove an organization without repositories", "orgs",
     .also = {409}},
    {REST_GET("/orgs/{org}/members", "member_list", RIGHT_MEMBERS_READ), member_list, "List members", "orgs", .answer = &member,
     .cursor = "s"},
    {REST_PUT("/orgs/{org}/members/{user}", "member_set", RIGHT_MEMBERS), member_set, "Add a member, or change the role", "orgs",
     .body = &member_role, .answer = &member, .also = {409}},
    {REST_DELETE("/orgs/{org}/members/{user}", "member_remove", RIGHT_LEAVE), member_drop,
     "Remove a member; members remove themselves", "orgs", .also = {409}},
};
const size_t n_org_routes = ARRAY_LEN(org_routes);
