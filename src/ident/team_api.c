/* /api/v1: teams of an organization. */
#include "ident/api.h"

static const struct rest_schema team = {
    "Team", "A team of an organization.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .about = "unique in the organization"},
        {"description", REST_STRING, .required = true},
        {"members", REST_INT, .required = true, .about = "how many"},
        {"created_at", REST_TIME, .required = true},
        {0}}};
static const struct rest_schema team_new = {
    "TeamNew", "A team to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"description", REST_STRING, .max = 400, .check = &check_line},
        {0}}};
static const struct rest_schema team_patch = {
    "TeamPatch", "What to change of a team.", (const struct rest_field[]){
        {"name", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"description", REST_STRING, .max = 400, .check = &check_line},
        {0}}};
static const struct rest_schema team_member = {
    "TeamMember", "A member of a team.", (const struct rest_field[]){
        {"user", REST_STRING, .required = true}, {"joined_at", REST_TIME, .required = true}, {0}}};
static const struct rest_schema team_repo = {
    "TeamRepository", "A repository that a team has access to.", (const struct rest_field[]){
        {"repository", REST_STRING, .required = true}, {"level", REST_ENUM, .required = true, .words = words_level}, {0}}};

static const char REPOS[] = "SELECT r.name, g.level FROM team_grants g JOIN repos r ON r.id = g.repo_id "
                            "WHERE g.team_id = $1 AND r.name > $2 ORDER BY r.name LIMIT $3";

enum { REPOS_LOOKED = 10000 };
struct team_job {
    struct rest_call *c;
    struct str name;
    struct team_row row;
    int64_t joined_at;
};

static json_t *team_json(const struct team_row *t)
{
    return json_pack("{s:s,s:s,s:I,s:o}", "name", t->name, "description", t->description, "members", (json_int_t)t->members,
                     "created_at", rest_json_time(t->created_at));
}

/* --- reading */

static int list_add(void *arg, const struct team_row *t)
{
    rest_add(arg, team_json(t), json_pack("[s]", t->name));
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    int64_t n = rest_page(c);
    return team_tx_each(tx, req_account(c->r)->id, rest_after_text(c, 0), n, list_add, c, err);
}

static int team_list(struct rest_call *c, struct err *err)
{
    int rc = account_is_org(req_account(c->r), err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct team_job *j = arg;
    return team_tx_get(tx, req_account(j->c->r), j->name, &j->row, err);
}

static int team_get(struct rest_call *c, struct err *err)
{
    struct team_job j = {.c = c, .name = c->r->parts[1]};
    int rc = db_read(ident_of(c->r)->db, get_read, &j, err);
    return rc < 0 ? rc : rest_send(c, team_json(&j.row));
}

static int members_add(void *arg, struct str user, int64_t joined_at)
{
    rest_add(arg, json_pack("{s:s%,s:o}", "user", user.p, user.n, "joined_at", rest_json_time(joined_at)),
             json_pack("[s%]", user.p, user.n));
    return 0;
}

static int members_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    struct team_row t;
    int64_t n = rest_page(c);
    int rc = team_tx_get(tx, req_account(c->r), c->r->parts[1], &t, err);
    return rc < 0 ? rc : team_member_tx_each(tx, t.id, rest_after_text(c, 0), n, members_add, c, err);
}

/* Only what the caller may read himself: a team's grants tell the names of private repositories. */
static int repos_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    struct team_job j = {.c = c, .name = c->r->parts[1]};
    auto_rows struct db_rows *rows = NULL;
    (void)rest_page(c);
    int rc = team_tx_get(tx, req_account(c->r), j.name, &j.row, err);
    if (rc == 0)
        rc = db_query(tx, REPOS, DB_ARGS(DB_I(j.row.id), DB_T(rest_after_text(c, 0)), DB_I(REPOS_LOOKED)), &rows, err);
    while (rc == 0 && !rest_full(c) && (rc = db_next(rows, err)) == 1) {
        struct str name = str_of(str_dup(&c->r->arena, db_text(rows, 0)));
        rc = ident_tx_may(tx, req_principal(c->r), RIGHT_REPO_READ, name, err);
        if (rc == 0)
            rest_add(c, json_pack("{s:s,s:s}", "repository", name.p, "level", level_name((int)db_int(rows, 1))),
                     json_pack("[s]", name.p));
        else if (rc == ERR_DENIED)
            rc = 0;
    }
    return rc < 0 ? rc : 0;
}

static int member_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, members_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int repo_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, repos_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

/* --- changing */

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct team_job *j = ch->arg;
    return team_tx_add(tx, ch, j->name, api_text(j->c->body, "description", ""), &j->row, err);
}

static int team_add(struct rest_call *c, struct err *err)
{
    struct team_job j = {.c = c, .name = rest_text(c->body, "name")};
    struct change ch = {.fn = add, .arg = &j, .action = "org.team.create", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    if (rc < 0)
        return rc;
    rest_location(c, "/api/v1/orgs/%.*s/teams/%s", STR_FMT(c->r->parts[0]), j.row.name);
    return rest_send(c, team_json(&j.row));
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct team_job *j = ch->arg;
    int rc = team_tx_get(tx, &ch->now.account, j->name, &j->row, err);
    if (rc == 0)
        rc = api_match(j->c, team_json(&j->row), err);
    return rc < 0 ? rc : team_tx_set(tx, ch, &j->row, rest_text(j->c->body, "name"), api_text(j->c->body, "description", NULL), err);
}

static int team_patch_run(struct rest_call *c, struct err *err)
{
    struct team_job j = {.c = c, .name = c->r->parts[1]};
    struct change ch = {.fn = patch, .arg = &j, .action = "org.team.update", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, team_json(&j.row));
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct team_job *j = ch->arg;
    int rc = team_tx_get(tx, &ch->now.account, j->name, &j->row, err);
    return rc < 0 ? rc : team_tx_drop(tx, &j->row, err);
}

static int team_drop(struct rest_call *c, struct err *err)
{
    struct team_job j = {.c = c, .name = c->r->parts[1]};
    struct change ch = {.fn = drop, .arg = &j, .action = "org.team.delete", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int member_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct team_job *j = ch->arg;
    int rc = team_tx_get(tx, &ch->now.account, j->name, &j->row, err);
    return rc < 0 ? rc : team_tx_member(tx, ch, &j->row, ch->r->parts[2], ch->r->method == HTTP_PUT, err);
}

static int member_change(struct rest_call *c, struct err *err)
{
    struct team_job j = {.c = c, .name = c->r->parts[1]};
    bool adds = c->r->method == HTTP_PUT;
    struct change ch = {.fn = member_write, .arg = &j, .accounts = {c->r->parts[2]},
                        .action = adds ? "org.team.member.add" : "org.team.member.remove", .object = c->r->parts[2]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

#define TEAM "/orgs/{org}/teams/{team}"
const struct rest_route team_routes[] = {
    {REST_GET("/orgs/{org}/teams", "team_list", RIGHT_TEAMS_READ), team_list, "List teams", "teams", .answer = &team, .cursor = "s"},
    {REST_POST("/orgs/{org}/teams", "team_create", RIGHT_TEAMS), team_add, "Make a team", "teams", .body = &team_new, .answer = &team,
     .status = 201, .also = {409}},
    {REST_GET(TEAM, "team_get", RIGHT_TEAMS_READ), team_get, "Read a team", "teams", .answer = &team},
    {REST_PATCH(TEAM, "team_update", RIGHT_TEAMS), team_patch_run, "Change a team", "teams", .body = &team_patch, .answer = &team,
     .also = {409}, .match = true},
    {REST_DELETE(TEAM, "team_remove", RIGHT_TEAMS), team_drop, "Remove a team and what it was granted", "teams"},
    {REST_GET(TEAM "/members", "team_members", RIGHT_TEAMS_READ), member_list, "List the members of a team", "teams",
     .answer = &team_member, .cursor = "s"},
    {REST_PUT(TEAM "/members/{user}", "team_member_add", RIGHT_TEAMS), member_change, "Put a member into a team", "teams", .also = {409}},
    {REST_DELETE(TEAM "/members/{user}", "team_member_remove", RIGHT_TEAMS), member_change, "Take a member out of a team", "teams"},
    {REST_GET(TEAM "/repositories", "team_repositories", RIGHT_TEAMS_READ), repo_list, "List repositories that a team has access to",
     "teams", .answer = &team_repo, .cursor = "s"},
};
const size_t n_team_routes = ARRAY_LEN(team_routes);
