/* Teams, which Hub calls groups, and what they may do with a repository. */
#include "hub/hub_int.h"

static const char *const levels[] = {"read", "write", "admin", NULL};
static const struct rest_schema group = {
    "HubGroup", "A team of an organization.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"uuid", REST_STRING, .required = true},
        {"name", REST_STRING, .required = true},
        {"description", REST_STRING, .required = true},
        {"member_count", REST_INT, .required = true},
        {0}}};
static const struct rest_schema groups = {"HubGroupPage", "A page of teams.", (const struct rest_field[]){HUB_PAGE_OF("count", group), {0}}};
static const struct rest_schema group_new = {
    "HubGroupNew", "A team to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"description", REST_STRING, .nullable = true, .max = 400, .check = &check_line},
        {0}}};
static const struct rest_schema group_patch = {
    "HubGroupPatch", "What to change of a team.", (const struct rest_field[]){
        {"name", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"description", REST_STRING, .nullable = true, .max = 400, .check = &check_line},
        {0}}};
static const struct rest_schema member_body = {
    "HubGroupMember", "A member to be put into a team.", (const struct rest_field[]){
        {"member", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name}, {0}}};
static const struct rest_schema grant = {
    "HubGrant", "A team's permission on a repository.", (const struct rest_field[]){
        {"group_name", REST_STRING, .required = true},
        {"permission", REST_ENUM, .required = true, .words = levels},
        {"group_id", REST_INT, .required = true},
        {0}}};
static const struct rest_schema grants = {"HubGrantPage", "A page of permissions.", (const struct rest_field[]){HUB_PAGE_OF("count", grant), {0}}};
static const struct rest_schema grant_new = {
    "HubGrantNew", "A permission to be given.", (const struct rest_field[]){
        {"group_id", REST_INT, .required = true}, {"permission", REST_ENUM, .required = true, .words = levels}, {0}}};
static const struct rest_schema grant_patch = {
    "HubGrantPatch", "Another permission.", (const struct rest_field[]){
        {"permission", REST_ENUM, .required = true, .words = levels}, {0}}};
static const struct rest_field groups_query[] = {
    HUB_PAGE_QUERY, {"username", REST_STRING, .max = ACCOUNT_NAME_MAX}, {"search", REST_STRING, .max = 100}, {0}};

static json_t *group_json(const struct team_row *t)
{
    char uuid[HUB_UUID];
    hub_uuid(t->id, uuid);
    return json_pack("{s:I,s:s,s:s,s:s,s:I}", "id", (json_int_t)t->id, "uuid", uuid, "name", t->name, "description", t->description,
                     "member_count", (json_int_t)t->members);
}

/* --- reading */

struct job {
    struct rest_call *c;
    struct db_tx *tx;
    struct err *err;
    struct hub_page page;
    int64_t user_id; /* only his teams; 0 all */
    struct team_row team;
    struct account user;
    int level;
};

static int group_add(void *arg, const struct team_row *t)
{
    struct job *j = arg;
    if (!text_has(str_of(t->name), rest_text(j->c->query, "search")))
        return 0;
    int rc = j->user_id == 0 ? 1 : team_tx_has(j->tx, t->id, j->user_id, j->err);
    if (rc == 1 && hub_page_takes(&j->page))
        hub_page_add(&j->page, group_json(t));
    return rc < 0 ? rc : 0;
}

static int groups_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    const struct account *org = req_account(j->c->r);
    struct str user = rest_text(j->c->query, "username");
    struct account a;
    j->tx = tx;
    j->err = err;
    hub_page_start(&j->page, j->c);
    int rc = account_is_org(org, err);
    if (rc == 0 && user.n > 0) {
        rc = account_tx_find(tx, user, &a, err);
        j->user_id = rc == 1 ? a.id : -1;
    }
    return rc < 0 ? rc : team_tx_each(tx, org->id, STR_LIT(""), INT64_MAX, group_add, j, err);
}

static int group_list(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), groups_read, &j, err);
    return hub_page_send(&j.page, rc, err);
}

static int group_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    return team_tx_get(tx, req_account(j->c->r), j->c->r->parts[1], &j->team, err);
}

static int group_get(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), group_read, &j, err);
    return rc < 0 ? rc : rest_send(c, group_json(&j.team));
}

static int member_add(void *arg, struct str user, int64_t joined_at)
{
    (void)joined_at;
    return hub_user_add(arg, user);
}

struct users_job {
    struct hub_user_job users; /* first */
    struct rest_call *c;
};

static int members_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct users_job *j = arg;
    struct team_row t;
    hub_page_start(&j->users.page, j->c);
    j->users.tx = tx;
    j->users.err = err;
    int rc = team_tx_get(tx, req_account(j->c->r), j->c->r->parts[1], &t, err);
    return rc < 0 ? rc : team_member_tx_each(tx, t.id, STR_LIT(""), INT64_MAX, member_add, &j->users, err);
}

static int member_list(struct rest_call *c, struct err *err)
{
    struct users_job j = {.c = c};
    int rc = db_read(hub_db(c->r), members_read, &j, err);
    return hub_page_send(&j.users.page, rc, err);
}

/* --- changing */

static struct str about_of(const json_t *body) /* null: empty */
{
    struct str s = rest_text(body, "description");
    return s.p == NULL && rest_has(body, "description") ? STR_LIT("") : s;
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    return team_tx_add(tx, ch, rest_text(j->c->body, "name"), about_of(j->c->body), &j->team, err);
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    int rc = team_tx_get(tx, &ch->now.account, ch->r->parts[1], &j->team, err);
    return rc < 0 ? rc : team_tx_set(tx, ch, &j->team, rest_text(j->c->body, "name"), about_of(j->c->body), err);
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    int rc = team_tx_get(tx, &ch->now.account, ch->r->parts[1], &j->team, err);
    return rc < 0 ? rc : team_tx_drop(tx, &j->team, err);
}

static int group_new_run(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    struct change ch = {.fn = add, .arg = &j, .action = "org.team.create", .object = rest_text(c->body, "name")};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, group_json(&j.team));
}

static int group_patch_run(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    struct change ch = {.fn = patch, .arg = &j, .action = "org.team.update", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, group_json(&j.team));
}

static int group_drop(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    struct change ch = {.fn = drop, .arg = &j, .action = "org.team.delete", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static struct str member_of(const struct http_req *r, const json_t *body)
{
    return r->method == HTTP_DELETE ? r->parts[2] : rest_text(body, "member");
}

static int member_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    struct str user = member_of(ch->r, j->c->body);
    int rc = team_tx_get(tx, &ch->now.account, ch->r->parts[1], &j->team, err);
    if (rc == 0)
        rc = team_tx_member(tx, ch, &j->team, user, ch->r->method == HTTP_POST, err);
    return rc < 0 ? rc : account_tx_user(tx, user, &j->user, err);
}

static int member_change(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    struct str user = member_of(c->r, c->body);
    bool adds = c->r->method == HTTP_POST;
    struct change ch = {.fn = member_write, .arg = &j, .accounts = {user}, .action = adds ? "org.team.member.add" : "org.team.member.remove",
                        .object = user};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, adds ? hub_user_json(&j.user, false) : NULL);
}

/* --- permissions on a repository */

static json_t *grant_json(const char *team, int64_t id, int64_t level)
{
    return json_pack("{s:s,s:s,s:I}", "group_name", team, "permission", level_name((int)level), "group_id", (json_int_t)id);
}

static int grant_add(void *arg, const struct grant_row *g)
{
    struct job *j = arg;
    if (hub_page_takes(&j->page))
        hub_page_add(&j->page, grant_json(g->team, g->team_id, g->level));
    return 0;
}

static int grants_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    hub_page_start(&j->page, j->c);
    return grant_tx_each(tx, req_repo(j->c->r)->fact->id, STR_LIT(""), INT64_MAX, grant_add, j, err);
}

static int grant_list(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), grants_read, &j, err);
    return hub_page_send(&j.page, rc, err);
}

static int64_t group_id(const struct rest_call *c)
{
    uint64_t id = 0;
    if (c->r->method == HTTP_POST)
        return rest_int(c->body, "group_id", 0);
    return str_u64(c->r->parts[2], &id) && id <= INT64_MAX ? (int64_t)id : 0;
}

static int grant_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    if (ch->now.account.kind != ACCOUNT_ORG)
        return err_set(err, ERR_EXISTS, "a personal repository has collaborators, not teams");
    int rc = team_tx_by_id(tx, &ch->now.account, group_id(j->c), &j->team, err);
    return rc < 0 ? rc : grant_tx_set(tx, ch, &j->team, j->level, err);
}

static int grant_change(struct rest_call *c, struct err *err)
{
    bool drops = c->r->method == HTTP_DELETE;
    struct job j = {.c = c, .level = RANK_NONE};
    if (!drops)
        (void)level_parse(rest_text(c->body, "permission"), &j.level);
    struct change ch = {.fn = grant_write, .arg = &j, .action = drops ? "repo.team.remove" : "repo.team.set"};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, drops ? NULL : grant_json(j.team.name, j.team.id, j.level));
}

#define READ (HTTP_GET | HTTP_HEAD)
#define GROUPS "/orgs/{org}/groups"
#define GRANTS "/repositories/{namespace}/{repo}/groups"
const struct rest_route hub_team_routes[] = {
    {HUB_ROW(READ, GROUPS, "hub_groups", RIGHT_TEAMS_READ), group_list, "Teams", "hub", .query = groups_query, .answer = &groups},
    {HUB_ROW(HTTP_POST, GROUPS, "hub_group_create", RIGHT_TEAMS), group_new_run, "Make a team", "hub", .body = &group_new,
     .answer = &group, .status = 201},
    {HUB_ROW(READ, GROUPS "/{group}", "hub_group", RIGHT_TEAMS_READ), group_get, "A team", "hub", .answer = &group},
    {HUB_ROW(HTTP_PUT, GROUPS "/{group}", "hub_group_set", RIGHT_TEAMS), group_patch_run, "Change a team", "hub",
     .body = &group_patch, .answer = &group, .also = {409}},
    {HUB_ROW(HTTP_PATCH, GROUPS "/{group}", "hub_group_update", RIGHT_TEAMS), group_patch_run, "Change a team", "hub",
     .body = &group_patch, .answer = &group, .also = {409}},
    {HUB_ROW(HTTP_DELETE, GROUPS "/{group}", "hub_group_remove", RIGHT_TEAMS), group_drop, "Remove a team", "hub"},
    {HUB_ROW(READ, GROUPS "/{group}/members", "hub_group_members", RIGHT_TEAMS_READ), member_list, "Members of a team", "hub",
     .query = hub_page_query, .answer = &hub_user_page},
    {HUB_ROW(HTTP_POST, GROUPS "/{group}/members", "hub_group_member_add", RIGHT_TEAMS), member_change, "Put a member into a team", "hub",
     .body = &member_body, .answer = &hub_user},
    {HUB_ROW(HTTP_DELETE, GROUPS "/{group}/members/{user}", "hub_group_member_remove", RIGHT_TEAMS), member_change,
     "Take a member out of a team", "hub"},
    {HUB_ROW(READ, GRANTS, "hub_grants", RIGHT_GRANTS_READ), grant_list, "Teams with access", "hub", .query = hub_page_query,
     .answer = &grants},
    {HUB_ROW(HTTP_POST, GRANTS, "hub_grant_create", RIGHT_GRANTS), grant_change, "Give a team access", "hub", .body = &grant_new,
     .answer = &grant},
    {HUB_ROW(HTTP_PATCH, GRANTS "/{id}", "hub_grant_update", RIGHT_GRANTS), grant_change, "Change a team's access", "hub",
     .body = &grant_patch, .answer = &grant, .also = {409}},
    {HUB_ROW(HTTP_DELETE, GRANTS "/{id}", "hub_grant_remove", RIGHT_GRANTS), grant_change, "Take a team's access away", "hub",
     .also = {409}},
};
const size_t n_hub_team_routes = ARRAY_LEN(hub_team_routes);
