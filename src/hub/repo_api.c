/* Repositories: of a namespace, one, made, changed, deleted. The paths below /namespaces/ are Hub's newer ones; those
 * below /repositories/ and /users/ answer alike. */
#include "hub/repo.h"

#include <stdlib.h>

enum { ABOUT_MAX = 100, FULL_TEXT_MAX = 25000, NAMES_MAX = 10000 };
static const struct rest_schema category = {
    "HubCategory", "A category: this hub gives none.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true}, {"slug", REST_STRING, .required = true}, {0}}};
static const struct rest_schema permissions = {
    "HubPermissions", "What the caller may.", (const struct rest_field[]){
        {"read", REST_BOOL, .required = true}, {"write", REST_BOOL, .required = true}, {"admin", REST_BOOL, .required = true}, {0}}};
static const struct rest_schema immutable = {
    "HubImmutableTags", "Which tags stay what they are.", (const struct rest_field[]){
        {"enabled", REST_BOOL, .required = true}, {"rules", REST_ARRAY, .required = true, .of = REST_STRING, .max = 5}, {0}}};
#define REPO_FIELDS                                                                                                        \
    {"name", REST_STRING, .required = true}, {"namespace", REST_STRING, .required = true},                                  \
        {"repository_type", REST_STRING, .required = true, .nullable = true}, {"status", REST_INT, .required = true},        \
        {"status_description", REST_STRING, .required = true, .about = "active; inactive: archived"},                       \
        {"description", REST_STRING, .required = true}, {"is_private", REST_BOOL, .required = true},                        \
        {"star_count", REST_INT, .required = true}, {"pull_count", REST_INT, .required = true},                             \
        {"last_updated", REST_TIME, .required = true}, {"last_modified", REST_TIME, .required = true},                      \
        {"date_registered", REST_TIME, .required = true}, {"affiliation", REST_STRING, .required = true},                   \
        {"media_types", REST_ARRAY, .required = true, .of = REST_STRING, .max = 20},                                        \
        {"content_types", REST_ARRAY, .required = true, .of = REST_STRING, .max = 20},                                      \
        {"categories", REST_ARRAY, .required = true, .schema = &category, .max = 3},                                        \
        {"storage_size", REST_INT, .required = true}
static const struct rest_schema item = {"HubRepositoryItem", "A repository in a list.", (const struct rest_field[]){REPO_FIELDS, {0}}};
static const struct rest_schema items = {"HubRepositoryPage", "A page of repositories.", (const struct rest_field[]){HUB_PAGE_OF("count", item), {0}}};
static const struct rest_schema repo = {
    "HubRepository", "A repository.", (const struct rest_field[]){
        REPO_FIELDS,
        {"user", REST_STRING, .required = true},
        {"hub_user", REST_STRING, .required = true},
        {"is_automated", REST_BOOL, .required = true},
        {"collaborator_count", REST_INT, .required = true},
        {"has_starred", REST_BOOL, .required = true},
        {"full_description", REST_STRING, .required = true},
        {"permissions", REST_OBJECT, .required = true, .schema = &permissions},
        {"immutable_tags_settings", REST_OBJECT, .required = true, .schema = &immutable},
        {"source", REST_STRING, .required = true, .nullable = true},
        {"can_edit", REST_BOOL, .required = true},
        {"is_migrated", REST_BOOL, .required = true},
        {0}}};
#define TEXT_FIELDS                                                                                                      \
    {"description", REST_STRING, .nullable = true, .max = ABOUT_MAX, .check = &check_line},                               \
        {"full_description", REST_STRING, .nullable = true, .max = FULL_TEXT_MAX}
static const struct rest_schema repo_new = {
    "HubRepositoryNew", "A repository to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .min = 2, .max = NAME_MAX_BYTES, .check = &check_repo_name},
        {"namespace", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"is_private", REST_BOOL, .about = "as the account says, when absent"},
        TEXT_FIELDS, {0}}};
static const struct rest_schema repo_patch = {"HubRepositoryPatch", "What to change of a repository.", (const struct rest_field[]){TEXT_FIELDS, {0}}};
static const struct rest_schema privacy = {
    "HubPrivacy", "Who sees a repository.", (const struct rest_field[]){{"is_private", REST_BOOL, .required = true}, {0}}};
static const struct rest_field list_query[] = {
    HUB_PAGE_QUERY, {"name", REST_STRING, .max = NAME_MAX_BYTES}, {"ordering", REST_STRING, .max = 40}, {0}};

/* --- shapes */

static bool is_image(struct str media_type)
{
    return text_has(media_type, STR_LIT("image.manifest")) || text_has(media_type, STR_LIT("image.index")) ||
           text_has(media_type, STR_LIT("distribution.manifest"));
}

const char *hub_content_type(struct str media_type, struct str artifact_type)
{
    static const struct {
        const char *part, *type;
    } each[] = {{"vnd.oci.image.config", "image"}, {"vnd.docker.container.image", "image"}, {"vnd.cncf.helm", "helm"},
                {"vnd.docker.plugin", "plugin"},   {"vnd.wasm", "wasm"},                   {"compose", "compose"},
                {"vnd.docker.ai", "model"},        {"volume", "volume"}};
    for (size_t i = 0; i < ARRAY_LEN(each); i++)
        if (text_has(artifact_type, str_of(each[i].part)))
            return each[i].type;
    return artifact_type.n == 0 && is_image(media_type) ? "image" : "unrecognized";
}

static void add_once(json_t *list, json_t *text)
{
    size_t i;
    const json_t *one;
    json_array_foreach(list, i, one)
    {
        if (json_equal(one, text)) {
            json_decref(text);
            return;
        }
    }
    json_array_append_new(list, text);
}

static const char *affiliation(unsigned standing)
{
    return standing & (IS_SELF | IS_ORG_OWNER | IS_ORG_TOKEN)                      ? "owner"
           : standing & IS_MEMBER                                                  ? "member"
           : standing & (BY_COLLABORATION_READ | BY_COLLABORATION_WRITE)           ? "collaborator"
                                                                                   : "";
}

static void add_detail(json_t *doc, const struct principal *p, const struct gate *g, const struct repo_texts *t)
{
    int level = gate_level(p, g);
    const char *owner = g->account.name;
    json_object_update_new(doc, json_pack("{s:s,s:s,s:b,s:i,s:b,s:s%,s:{s:b,s:b,s:b},s:{s:b,s:[]},s:n,s:b,s:b}", "user", owner, "hub_user",
                                          owner, "is_automated", 0, "collaborator_count", 0, "has_starred", 0, "full_description",
                                          t->full.p, t->full.n, "permissions", "read", level >= RANK_READ, "write", level >= RANK_WRITE,
                                          "admin", level >= RANK_ADMIN, "immutable_tags_settings", "enabled", 0, "rules", "source",
                                          "can_edit", level >= RANK_ADMIN, "is_migrated", 0));
}

static int show(struct db_tx *tx, struct arena *a, const struct principal *p, const struct gate *g, bool detail, json_t **ret, struct err *err)
{
    struct repo_texts t = {.about = STR_LIT("")};
    struct repo_view v;
    const struct repo_fact *f = g->repo.fact;
    struct str name = g->repo.name, owner;
    int rc = repo_tx_texts(tx, a, f->id, &t, err);
    if (rc < 0 || (rc = view_tx_repo(tx, a, f->id, &v, err)) < 0)
        return rc;
    json_t *media = json_array(), *content = json_array();
    for (size_t i = 0; i < v.n_kinds; i++) {
        add_once(media, json_stringn(v.kinds[i].media_type.p, v.kinds[i].media_type.n));
        add_once(content, json_string(hub_content_type(v.kinds[i].media_type, v.kinds[i].artifact_type)));
    }
    str_split(&name, '/', &owner);
    json_decref(*ret);
    *ret = json_pack("{s:s%,s:s%,s:s,s:i,s:s,s:s%,s:b,s:i,s:i,s:o,s:o,s:o,s:s,s:o,s:o,s:[],s:I}", "name", name.p, name.n, "namespace",
                     owner.p, owner.n, "repository_type", "image", "status", f->archived ? 0 : 1, "status_description",
                     f->archived ? "inactive" : "active", "description", t.about.p, t.about.n, "is_private", !f->public, "star_count", 0,
                     "pull_count", 0, "last_updated", rest_json_time(t.updated_at), "last_modified", rest_json_time(t.updated_at),
                     "date_registered", rest_json_time(t.created_at), "affiliation", affiliation(g->standing), "media_types", media,
                     "content_types", content, "categories", "storage_size", (json_int_t)v.bytes);
    if (detail)
        add_detail(*ret, p, g, &t);
    return 0;
}

/* --- a namespace's: the names that the caller may read, in the order asked for; then those of the page, each as he sees it */

struct name {
    struct str text;
    int64_t at;
};
struct list {
    struct rest_call *c;
    struct str prefix, part;
    struct name *names;
    size_t n, size;
    struct hub_page page;
};

static int keep_name(void *arg, struct str name)
{
    struct list *l = arg;
    if (!str_starts(name, l->prefix) || l->n == NAMES_MAX)
        return 1;
    if (!text_has((struct str){name.p + l->prefix.n, name.n - l->prefix.n}, l->part))
        return 0;
    if (l->n == l->size) {
        l->size = l->size ? size_mul(l->size, 2) : 64;
        l->names = mem_realloc(l->names, size_mul(l->size, sizeof *l->names));
    }
    l->names[l->n++] = (struct name){str_of(str_dup(&l->c->r->arena, name)), 0};
    return 0;
}

static int older(const void *a, const void *b)
{
    const struct name *x = a, *y = b;
    return x->at != y->at ? (x->at < y->at ? -1 : 1) : str_cmp(x->text, y->text);
}

static void turn(struct list *l)
{
    for (size_t i = 0; i < l->n / 2; i++) {
        struct name n = l->names[i];
        l->names[i] = l->names[l->n - 1 - i];
        l->names[l->n - 1 - i] = n;
    }
}

/* By name they are already. All have been pulled equally often: pulls are not counted yet. */
static int order(struct db_tx *tx, struct list *l, struct err *err)
{
    struct str by = rest_text(l->c->query, "ordering");
    bool down = by.n > 0 && by.p[0] == '-';
    if (text_has(by, STR_LIT("last_updated")) && by.n > 0) {
        for (size_t i = 0; i < l->n; i++) {
            int rc = hub_tx_updated(tx, l->names[i].text, &l->names[i].at, err);
            if (rc < 0)
                return rc;
        }
        if (l->n > 0)
            qsort(l->names, l->n, sizeof *l->names, older);
    }
    if (down)
        turn(l);
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct list *l = arg;
    const struct principal *p = req_principal(l->c->r);
    hub_page_start(&l->page, l->c);
    int rc = order(tx, l, err);
    for (size_t i = 0; rc == 0 && i < l->n; i++) {
        struct gate g = {.repo.name = l->names[i].text};
        json_t *doc = NULL;
        if (!hub_page_takes(&l->page))
            continue;
        rc = gate_tx_find(tx, p, OBJECT_REPO, &g, err);
        if (rc == 0 && g.repo.fact != NULL)
            rc = show(tx, &l->c->r->arena, p, &g, false, &doc, err);
        if (doc != NULL)
            hub_page_add(&l->page, doc);
        if (g.repo.fact != NULL)
            shared_unref(&g.repo.fact->shared);
    }
    return rc;
}

static int repo_list(struct rest_call *c, struct err *err)
{
    struct list l = {.c = c, .prefix = str_of(arena_printf(&c->r->arena, "%.*s/", STR_FMT(c->r->parts[0]))),
                     .part = rest_text(c->query, "name")};
    int rc = name_valid(c->r->parts[0]) ? ident_catalog(ident_of(c->r), req_principal(c->r), l.prefix, NAMES_MAX, keep_name, &l, err) : 0;
    if (rc >= 0)
        rc = db_read(hub_db(c->r), list_read, &l, err);
    free(l.names);
    return hub_page_send(&l.page, rc, err);
}

/* --- one */

struct job {
    struct rest_call *c;
    struct str name;
    struct repo_set set;
    json_t *doc;
};

static int finish(struct job *j, int rc)
{
    if (rc < 0) {
        json_decref(j->doc);
        return rc;
    }
    return rest_send(j->c, j->doc);
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    return show(tx, &j->c->r->arena, req_principal(j->c->r), j->c->r->gate, true, &j->doc, err);
}

static int repo_get(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    return finish(&j, db_read(hub_db(c->r), get_read, &j, err));
}

static struct str text_of(const json_t *body, const char *name) /* absent: stays; null: empty */
{
    struct str s = rest_text(body, name);
    return s.p == NULL && rest_has(body, name) ? STR_LIT("") : s;
}

static struct repo_set set_of(const json_t *b)
{
    return (struct repo_set){text_of(b, "description"), text_of(b, "full_description"),
                             rest_has(b, "is_private") ? !rest_bool(b, "is_private", true) : -1, -1};
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    int rc = repo_tx_set(tx, ch->now.repo.fact, &j->set, err);
    return rc < 0 ? rc : show(tx, &j->c->r->arena, ch->who, &ch->now, true, &j->doc, err);
}

static int repo_patch_run(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c, .set = set_of(c->body)};
    struct change ch = {.fn = patch, .arg = &j, .action = "repo.update"};
    return finish(&j, change_run(c->r, &ch, err));
}

static int repo_drop(struct rest_call *c, struct err *err)
{
    int rc = registry_repo_delete(c->r, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    struct gate g = {.repo.name = j->name};
    int rc = repo_tx_make(tx, ch, &j->set, &g, err);
    if (rc == 0)
        rc = show(tx, &j->c->r->arena, ch->who, &g, true, &j->doc, err);
    if (g.repo.fact != NULL)
        shared_unref(&g.repo.fact->shared);
    return rc;
}

/* The oldest path has the namespace in the body only. */
static int repo_add(struct rest_call *c, struct err *err)
{
    bool by_path = c->r->parts[0].p != NULL;
    struct str owner = rest_text(c->body, "namespace"), name = rest_text(c->body, "name");
    char *full = arena_alloc(&c->r->arena, LIBRARY_MAX);
    struct job j = {.c = c, .set = set_of(c->body)};
    if (by_path && owner.p != NULL && !str_eq(owner, c->r->parts[0]))
        return rest_wrong(c, err, "namespace", "is another one than the path's");
    if (by_path)
        owner = c->r->parts[0];
    if (owner.p == NULL)
        return rest_wrong(c, err, "namespace", "is missing");
    struct str both = str_of(arena_printf(&c->r->arena, "%.*s/%.*s", STR_FMT(owner), STR_FMT(name)));
    if (canonical_name(both, full, err) < 0)
        return rest_wrong(c, err, "name", "%s", err->text);
    j.name = str_of(full);
    struct change ch = {.right = RIGHT_REPO_CREATE, .account_name = owner, .fn = add, .arg = &j, .repos = {j.name},
                        .action = "repo.create", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    if (rc == ERR_NOT_FOUND && !by_path) /* nobody learns here which accounts there are */
        rc = err_set(err, ERR_DENIED, "you may not make a repository there");
    return finish(&j, rc);
}

#define READ (HTTP_GET | HTTP_HEAD)
#define OLD "/repositories/{namespace}/{repo}"
#define NEW "/namespaces/{namespace}/repositories"
#define LIST(path, label) {HUB_ROW(READ, path, label, RIGHT_LOOK), repo_list, "Repositories of a namespace", "hub", .query = list_query, .answer = &items}
#define CREATE(path, label, right)                                                                                          \
    {HUB_ROW(HTTP_POST, path, label, right), repo_add, "Make a repository", "hub", .body = &repo_new, .answer = &repo, .status = 201}
#define GET(path, label) {HUB_ROW(READ, path, label, RIGHT_REPO_READ), repo_get, "A repository", "hub", .answer = &repo}
#define PATCH(path, label)                                                                                                  \
    {HUB_ROW(HTTP_PATCH, path, label, RIGHT_REPO_SETTINGS), repo_patch_run, "Change a repository", "hub", .body = &repo_patch,  \
     .answer = &repo, .also = {409}}
#define DROP(path, label)                                                                                                   \
    {HUB_ROW(HTTP_DELETE, path, label, RIGHT_REPO_DELETE), repo_drop, "Delete a repository", "hub", .status = 202}
const struct rest_route hub_repo_routes[] = {
    LIST(NEW, "hub_repositories"),
    LIST("/repositories/{namespace}", "hub_repositories_old"),
    LIST("/users/{user}/repositories", "hub_repositories_user"),
    CREATE(NEW, "hub_repository_create", RIGHT_REPO_CREATE),
    CREATE("/repositories/{namespace}", "hub_repository_create_old", RIGHT_REPO_CREATE),
    CREATE("/repositories", "hub_repository_create_body", RIGHT_SIGNED_IN),
    GET(NEW "/{repo}", "hub_repository"),
    GET(OLD, "hub_repository_old"),
    PATCH(NEW "/{repo}", "hub_repository_update"),
    PATCH(OLD, "hub_repository_update_old"),
    DROP(NEW "/{repo}", "hub_repository_delete"),
    DROP(OLD, "hub_repository_delete_old"),
    {HUB_ROW(HTTP_POST, OLD "/privacy", "hub_repository_privacy", RIGHT_REPO_SETTINGS), repo_patch_run, "Make it private or public", "hub",
     .body = &privacy, .answer = &repo},
};
const size_t n_hub_repo_routes = ARRAY_LEN(hub_repo_routes);
