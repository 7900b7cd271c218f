/* /api/v1: repositories, and who has access to them. Removing one is the registry's (repo_delete.c). */
#include "ident/api.h"

#include <stdlib.h>

enum { FULL_TEXT_MAX = 25000, ABOUT_MAX = 100 };
static const char *const levels[] = {"none", "read", "write", "admin", NULL};
#define REPO_FIELDS                                                                                                    \
    {"name", REST_STRING, .required = true, .about = "NAMESPACE/NAME"},                                                 \
        {"visibility", REST_ENUM, .required = true, .words = words_visibility},                                         \
        {"description", REST_STRING, .required = true}, {"archived", REST_BOOL, .required = true},                      \
        {"created_at", REST_TIME, .required = true}, {"updated_at", REST_TIME, .required = true},                       \
        {"level", REST_ENUM, .required = true, .words = levels, .about = "what the caller may"}
static const struct rest_schema repo_item = {"RepositoryItem", "A repository in a list.", (const struct rest_field[]){REPO_FIELDS, {0}}};
static const struct rest_schema repo = {
    "Repository", "A repository.", (const struct rest_field[]){
        REPO_FIELDS, {"full_description", REST_STRING, .required = true, .about = "Markdown"}, {0}}};
static const struct rest_schema repo_new = {
    "RepositoryNew", "A repository to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = NAME_MAX_BYTES, .check = &check_repo_name},
        {"visibility", REST_ENUM, .words = words_visibility},
        {"description", REST_STRING, .max = ABOUT_MAX, .check = &check_line},
        {"full_description", REST_STRING, .max = FULL_TEXT_MAX},
        {0}}};
static const struct rest_schema repo_patch = {
    "RepositoryPatch", "What to change of a repository.", (const struct rest_field[]){
        {"visibility", REST_ENUM, .words = words_visibility},
        {"description", REST_STRING, .max = ABOUT_MAX, .check = &check_line},
        {"full_description", REST_STRING, .max = FULL_TEXT_MAX},
        {"archived", REST_BOOL, .about = "read-only, still pullable"},
        {0}}};
static const struct rest_schema team_grant = {
    "TeamGrant", "A team's access to a repository.", (const struct rest_field[]){
        {"team", REST_STRING, .required = true}, {"level", REST_ENUM, .required = true, .words = words_level}, {0}}};
static const struct rest_schema collaborator = {
    "Collaborator", "A user's access to a personal repository.", (const struct rest_field[]){
        {"user", REST_STRING, .required = true}, {"level", REST_ENUM, .required = true, .words = words_share}, {0}}};
static const struct rest_schema level_set = {
    "Level", "A level of access.", (const struct rest_field[]){
        {"level", REST_ENUM, .required = true, .words = words_level}, {0}}};
static const struct rest_schema share_set = {
    "ShareLevel", "A level of access.", (const struct rest_field[]){
        {"level", REST_ENUM, .required = true, .words = words_share}, {0}}};

static const char SHARES[] = "SELECT a.name, c.level FROM collaborators c JOIN accounts a ON a.id = c.user_id "
                             "WHERE c.repo_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3";
static const char SHARE_SET[] = "INSERT INTO collaborators (repo_id, user_id, level) VALUES ($1, $2, $3) "
                                "ON CONFLICT (repo_id, user_id) DO UPDATE SET level = excluded.level";
static const char SHARE_DROP[] = "DELETE FROM collaborators WHERE repo_id = $1 AND user_id = $2";

static int show(struct db_tx *tx, struct arena *arena, const struct principal *p, const struct gate *g, bool full, json_t **ret,
                struct err *err)
{
    struct repo_texts t = {.about = STR_LIT("")};
    const struct repo_fact *f = g->repo.fact;
    int rc = repo_tx_texts(tx, arena, f->id, &t, err);
    if (rc < 0)
        return rc;
    json_decref(*ret);
    *ret = json_pack("{s:s%,s:s,s:s%,s:b,s:o,s:o,s:s}", "name", g->repo.name.p, g->repo.name.n, "visibility",
                     f->public ? "public" : "private", "description", t.about.p, t.about.n, "archived", f->archived, "created_at",
                     rest_json_time(t.created_at), "updated_at", rest_json_time(t.updated_at), "level", level_name(gate_level(p, g)));
    if (full)
        json_object_set_new(*ret, "full_description", json_stringn(t.full.p, t.full.n));
    return 0;
}

/* --- the list: names from the catalog, each row then as the caller sees it */

struct list {
    struct rest_call *c;
    struct str prefix;
    char (*names)[NAME_MAX_BYTES + 9];
    size_t n, max;
};

static int keep_name(void *arg, struct str name)
{
    struct list *l = arg;
    if (str_starts(name, l->prefix) && l->n < l->max)
        text_copy(l->names[l->n++], sizeof l->names[0], name);
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct list *l = arg;
    const struct principal *p = req_principal(l->c->r);
    int rc = 0;
    (void)rest_page(l->c);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct gate g = {.repo.name = str_of(l->names[i])};
        json_t *doc = NULL;
        rc = gate_tx_find(tx, p, OBJECT_REPO, &g, err);
        if (rc == 0 && g.repo.fact != NULL)
            rc = show(tx, &l->c->r->arena, p, &g, false, &doc, err);
        if (doc != NULL)
            rest_add(l->c, doc, json_pack("[s]", l->names[i]));
        if (g.repo.fact != NULL)
            shared_unref(&g.repo.fact->shared);
    }
    return rc;
}

static int repo_list(struct rest_call *c, struct err *err)
{
    struct str owner = rest_text(c->query, "owner"), after = rest_after_text(c, 0);
    int64_t n = rest_page(c);
    struct list l = {.c = c, .max = (size_t)n, .prefix = STR_LIT("")};
    l.names = arena_alloc(&c->r->arena, size_mul(l.max, sizeof *l.names));
    if (owner.p != NULL) {
        l.prefix = str_of(arena_printf(&c->r->arena, "%.*s/", STR_FMT(owner)));
        if (str_cmp(after, l.prefix) < 0)
            after = l.prefix;
    }
    int rc = ident_catalog(ident_of(c->r), req_principal(c->r), after, l.max, keep_name, &l, err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, list_read, &l, err);
    return rc < 0 ? rc : rest_send_page(c);
}

/* --- one repository */

struct repo_job {
    struct rest_call *c;
    struct str name;
    json_t *doc;
};

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct repo_job *j = arg;
    const struct gate *g = j->c->r->gate;
    return show(tx, &j->c->r->arena, req_principal(j->c->r), g, true, &j->doc, err);
}

static int finish(struct repo_job *j, int rc)
{
    if (rc < 0) {
        json_decref(j->doc);
        return rc;
    }
    return rest_send(j->c, j->doc);
}

static int repo_get(struct rest_call *c, struct err *err)
{
    struct repo_job j = {.c = c};
    return finish(&j, db_read(ident_of(c->r)->db, get_read, &j, err));
}

static struct repo_set set_of(const json_t *b)
{
    struct str visibility = rest_text(b, "visibility");
    return (struct repo_set){api_text(b, "description", NULL), api_text(b, "full_description", NULL),
                             visibility.p == NULL ? -1 : str_is(visibility, "public"),
                             rest_has(b, "archived") ? rest_bool(b, "archived", false) : -1};
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct repo_job *j = ch->arg;
    struct repo_set set = set_of(j->c->body);
    int rc = show(tx, &j->c->r->arena, ch->who, &ch->now, true, &j->doc, err);
    if (rc == 0)
        rc = api_match(j->c, take(&j->doc), err);
    if (rc == 0)
        rc = repo_tx_set(tx, ch->now.repo.fact, &set, err);
    return rc < 0 ? rc : show(tx, &j->c->r->arena, ch->who, &ch->now, true, &j->doc, err);
}

static int repo_patch_run(struct rest_call *c, struct err *err)
{
    struct repo_job j = {.c = c};
    struct change ch = {.fn = patch, .arg = &j, .action = "repo.update"};
    return finish(&j, change_run(c->r, &ch, err));
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct repo_job *j = ch->arg;
    struct gate g = {.repo.name = j->name};
    struct repo_set set = set_of(j->c->body);
    int rc = repo_tx_make(tx, ch, &set, &g, err);
    if (rc == 0)
        rc = show(tx, &j->c->r->arena, ch->who, &g, true, &j->doc, err);
    if (g.repo.fact != NULL)
        shared_unref(&g.repo.fact->shared);
    return rc;
}

/* Whose namespace it is says the body, so the route lets everybody in and the account is asked here. */
static int repo_add(struct rest_call *c, struct err *err)
{
    char *name = arena_alloc(&c->r->arena, LIBRARY_MAX);
    struct repo_job j = {.c = c};
    if (canonical_name(rest_text(c->body, "name"), name, err) < 0)
        return rest_wrong(c, err, "name", "%s", err->text);
    j.name = str_of(name);
    struct str rest = j.name, first, part;
    str_split(&rest, '/', &first);
    struct change ch = {.right = RIGHT_REPO_CREATE, .account_name = first, .fn = add, .arg = &j, .repos = {j.name},
                        .action = "repo.create", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    if (rc == ERR_NOT_FOUND) /* nobody learns here which accounts there are */
        rc = err_set(err, ERR_DENIED, "you may not make a repository there");
    if (rc == 0) {
        struct buf path;
        buf_init(&path, 2048);
        while (str_split(&rest, '/', &part)) { /* a nested name is one segment */
            buf_cstr(&path, path.n > 0 ? "%2F" : "");
            url_encode(&path, part);
        }
        rest_location(c, "/api/v1/repositories/%.*s/%.*s", STR_FMT(first), (int)path.n, path.p);
        buf_release(&path);
    }
    return finish(&j, rc);
}

/* --- who has access */

static void access_add(struct rest_call *c, const char *what, struct str name, int64_t level)
{
    rest_add(c, json_pack("{s:s%,s:s}", what, name.p, name.n, "level", level_name((int)level)), json_pack("[s%]", name.p, name.n));
}

static int grants_add(void *arg, const struct grant_row *g)
{
    access_add(arg, "team", str_of(g->team), g->level);
    return 0;
}

static int grants_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    int64_t n = rest_page(c);
    return grant_tx_each(tx, req_repo(c->r)->fact->id, rest_after_text(c, 0), n, grants_add, c, err);
}

static int shares_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    auto_rows struct db_rows *rows = NULL;
    int64_t n = rest_page(c);
    int rc = db_query(tx, SHARES, DB_ARGS(DB_I(req_repo(c->r)->fact->id), DB_T(rest_after_text(c, 0)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        access_add(c, "user", db_text(rows, 0), db_int(rows, 1));
        rc = 0;
    }
    return rc;
}

static int grant_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, grants_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int share_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, shares_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int grant_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    const struct http_req *r = ch->r;
    const struct rest_call *c = ch->arg;
    struct team_row team;
    int level = RANK_NONE;
    if (ch->now.account.kind != ACCOUNT_ORG)
        return err_set(err, ERR_EXISTS, "a personal repository has collaborators, not teams");
    int rc = team_tx_get(tx, &ch->now.account, r->parts[2], &team, err);
    if (r->method != HTTP_DELETE)
        (void)level_parse(rest_text(c->body, "level"), &level);
    return rc < 0 ? rc : grant_tx_set(tx, ch, &team, level, err);
}

static int share_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    const struct http_req *r = ch->r;
    const struct rest_call *c = ch->arg;
    struct account user;
    int64_t changed = 0, repo_id = ch->now.repo.fact->id;
    int level = RANK_READ, rc;
    if (ch->now.account.kind != ACCOUNT_USER)
        return err_set(err, ERR_EXISTS, "an organization's repository has teams, not collaborators");
    if ((rc = account_tx_user(tx, r->parts[2], &user, err)) < 0)
        return rc;
    if (user.id == ch->now.account.id)
        return err_set(err, ERR_EXISTS, "the owner has access already");
    if (r->method == HTTP_DELETE) {
        rc = db_exec(tx, SHARE_DROP, DB_ARGS(DB_I(repo_id), DB_I(user.id)), &changed, err);
        if (rc == 0 && changed == 0)
            rc = err_set(err, ERR_NOT_FOUND, "the user has no access to it");
    } else {
        (void)level_parse(rest_text(c->body, "level"), &level);
        rc = db_exec(tx, SHARE_SET, DB_ARGS(DB_I(repo_id), DB_I(user.id), DB_I(level)), NULL, err);
    }
    return rc < 0 ? rc : usage_tx_collaborators(tx, ch->now.account.id, err);
}

static int access_change(struct rest_call *c, bool team, struct err *err)
{
    bool drops = c->r->method == HTTP_DELETE;
    struct change ch = {.fn = team ? grant_write : share_write, .arg = c,
                        .action = team ? (drops ? "repo.team.remove" : "repo.team.set")
                                       : (drops ? "repo.collaborator.remove" : "repo.collaborator.set")};
    int rc = change_run(c->r, &ch, err);
    if (rc < 0 || drops)
        return rc < 0 ? rc : rest_send(c, NULL);
    struct str name = c->r->parts[2], level = rest_text(c->body, "level");
    return rest_send(c, json_pack("{s:s%,s:s%}", team ? "team" : "user", name.p, name.n, "level", level.p, level.n));
}

static int grant_change(struct rest_call *c, struct err *err) { return access_change(c, true, err); }
static int share_change(struct rest_call *c, struct err *err) { return access_change(c, false, err); }

#define REPO "/repositories/{namespace}/{repo}"
static const struct rest_field list_query[] = {
    {"owner", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name, .about = "only of this account"}, {0}};
const struct rest_route repo_routes[] = {
    {REST_GET("/repositories", "repository_list", RIGHT_LOOK), repo_list, "List repositories that one may read", "repositories",
     .query = list_query, .answer = &repo_item, .cursor = "s"},
    {REST_POST("/repositories", "repository_create", RIGHT_SIGNED_IN), repo_add, "Make a repository", "repositories",
     .body = &repo_new, .answer = &repo, .status = 201, .also = {409}},
    {REST_GET(REPO, "repository_get", RIGHT_REPO_READ), repo_get, "Read a repository", "repositories", .answer = &repo},
    {REST_PATCH(REPO, "repository_update", RIGHT_REPO_SETTINGS), repo_patch_run, "Change a repository", "repositories",
     .body = &repo_patch, .answer = &repo, .also = {409}, .match = true},
    {REST_GET(REPO "/teams", "grant_list", RIGHT_GRANTS_READ), grant_list, "List teams with access", "repositories",
     .answer = &team_grant, .cursor = "s"},
    {REST_PUT(REPO "/teams/{team}", "grant_set", RIGHT_GRANTS), grant_change, "Give a team access", "repositories",
     .body = &level_set, .answer = &team_grant, .also = {409}},
    {REST_DELETE(REPO "/teams/{team}", "grant_remove", RIGHT_GRANTS), grant_change, "Take a team's access away", "repositories",
     .also = {409}},
    {REST_GET(REPO "/collaborators", "collaborator_list", RIGHT_GRANTS_READ), share_list, "List collaborators", "repositories",
     .answer = &collaborator, .cursor = "s"},
    {REST_PUT(REPO "/collaborators/{user}", "collaborator_set", RIGHT_GRANTS), share_change, "Share with a user",
     "repositories", .body = &share_set, .answer = &collaborator, .also = {409}},
    {REST_DELETE(REPO "/collaborators/{user}", "collaborator_remove", RIGHT_GRANTS), share_change, "Share no longer",
     "repositories", .also = {409}},
};
const size_t n_repo_routes = ARRAY_LEN(repo_routes);
