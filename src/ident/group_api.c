/* /api/v1: which groups of a directory or an identity provider are in a team. People come into it when they log in. */
#include "ident/api.h"
#include "ident/outside.h"

enum { GROUPS_MAX = 50, GROUP_NAME_MAX = 255 };

static bool provider_fits(struct str s)
{
    struct str name = s;
    if (str_is(s, "ldap"))
        return true;
    if (!str_starts(s, STR_LIT("oidc:")))
        return false;
    name.p += 5;
    name.n -= 5;
    return name.n > 0 && memchr(name.p, '/', name.n) == NULL && name_valid(name);
}
static const struct rest_check check_provider = {provider_fits, "must be ldap, or oidc: and the name of an identity provider", NULL};
static const struct rest_schema group = {
    "TeamGroup", "A group whose people are in the team.", (const struct rest_field[]){
        {"id", REST_INT, .required = true}, {"provider", REST_STRING, .required = true}, {"group", REST_STRING, .required = true},
        {"created_at", REST_TIME, .required = true}, {0}}};
static const struct rest_schema group_new = {
    "TeamGroupNew", "A group to be taken into the team.", (const struct rest_field[]){
        {"provider", REST_STRING, .required = true, .max = 80, .check = &check_provider},
        {"group", REST_STRING, .required = true, .min = 1, .max = GROUP_NAME_MAX, .check = &check_line, .about = "its name, to the letter"}, {0}}};

static const char LIST[] = "SELECT id, provider, name, created_at FROM team_groups WHERE team_id = $1 AND id > $2 ORDER BY id LIMIT $3";
static const char FIND[] = "SELECT id, provider, name, created_at FROM team_groups WHERE team_id = $1 AND provider = $2 AND name = $3";
static const char COUNT[] = "SELECT count(*) FROM team_groups WHERE team_id = $1";
static const char ADD[] = "INSERT INTO team_groups (team_id, provider, name, created_at) VALUES ($1, $2, $3, $4)";
static const char DROP[] = "DELETE FROM team_groups WHERE team_id = $1 AND id = $2";

struct group_job {
    struct rest_call *c;
    struct team_row team;
    json_t *doc;
};

static void map_group(const struct db_rows *row, void *out)
{
    struct group_job *j = out;
    struct str provider = db_text(row, 1), name = db_text(row, 2);
    json_decref(j->doc);
    j->doc = json_pack("{s:I,s:s%,s:s%,s:o}", "id", (json_int_t)db_int(row, 0), "provider", provider.p, provider.n, "group", name.p, name.n,
                       "created_at", rest_json_time(db_int(row, 3)));
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    struct group_job j = {.c = c};
    auto_rows struct db_rows *rows = NULL;
    int64_t n = rest_page(c);
    int rc = team_tx_get(tx, req_account(c->r), c->r->parts[1], &j.team, err);
    if (rc >= 0)
        rc = db_query(tx, LIST, DB_ARGS(DB_I(j.team.id), DB_I(rest_after_int(c, 0, 0)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        map_group(rows, &j);
        rest_add(c, j.doc, json_pack("[I]", (json_int_t)db_int(rows, 0)));
        j.doc = NULL;
        rc = 0;
    }
    return rc;
}

static int group_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct group_job *j = ch->arg;
    struct str provider = rest_text(j->c->body, "provider"), name = rest_text(j->c->body, "group");
    int64_t n = 0;
    int rc = team_tx_get(tx, &ch->now.account, j->c->r->parts[1], &j->team, err);
    if (rc < 0 || (rc = db_one(tx, COUNT, DB_ARGS(DB_I(j->team.id)), map_int, &n, err)) < 0 ||
        (rc = db_one(tx, FIND, DB_ARGS(DB_I(j->team.id), DB_T(provider), DB_T(name)), map_group, j, err)) < 0)
        return rc;
    if (rc == 1 || n >= GROUPS_MAX)
        return err_set(err, ERR_EXISTS, rc == 1 ? "the group is in the team already" : "a team has at most 50 groups");
    rc = db_exec(tx, ADD, DB_ARGS(DB_I(j->team.id), DB_T(provider), DB_T(name), DB_I(clock_now())), NULL, err);
    if (rc == 0)
        rc = db_one(tx, FIND, DB_ARGS(DB_I(j->team.id), DB_T(provider), DB_T(name)), map_group, j, err);
    return rc < 0 ? rc : 0;
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct group_job *j = ch->arg;
    uint64_t id = 0;
    int64_t n = 0;
    int rc = team_tx_get(tx, &ch->now.account, j->c->r->parts[1], &j->team, err);
    if (rc >= 0 && str_u64(j->c->r->parts[2], &id) && id <= INT64_MAX)
        rc = db_exec(tx, DROP, DB_ARGS(DB_I(j->team.id), DB_I(id)), &n, err);
    return rc < 0 ? rc : n == 1 ? 0 : err_set(err, ERR_NOT_FOUND, "there is no such group in the team");
}

static int group_change(struct rest_call *c, int (*fn)(struct db_tx *tx, struct change *ch, struct err *err), const char *action, struct err *err)
{
    struct group_job j = {.c = c};
    struct change ch = {.fn = fn, .arg = &j, .action = action, .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    if (rc == 0)
        return rest_send(c, j.doc);
    json_decref(j.doc);
    return rc;
}

static int group_add(struct rest_call *c, struct err *err) { return group_change(c, add, "team.group.add", err); }
static int group_drop(struct rest_call *c, struct err *err) { return group_change(c, drop, "team.group.remove", err); }

#define ALL "/orgs/{org}/teams/{team}/groups"
const struct rest_route group_routes[] = {
    {REST_GET(ALL, "team_group_list", RIGHT_TEAMS_READ), group_list, "List a team's groups of directories and identity providers", "teams",
     .answer = &group, .cursor = "i"},
    {REST_POST(ALL, "team_group_add", RIGHT_TEAMS), group_add, "Take the people of a group into a team", "teams", .body = &group_new,
     .answer = &group, .status = 201, .also = {409}},
    {REST_DELETE(ALL "/{id}", "team_group_remove", RIGHT_TEAMS), group_drop, "Take a group out of a team; its people leave at their next login",
     "teams"},
};
const size_t n_group_routes = ARRAY_LEN(group_routes);
