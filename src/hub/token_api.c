/* Access tokens: personal ones, whose scopes hold everywhere, and organizations', which name resources. */
#include "crypt/secret.h"
#include "hub/hub_int.h"

enum { SCOPES_MAX = 20, RESOURCES_MAX = BOUNDS_MAX };
static const char *const types[] = {"TYPE_REPO", "TYPE_ORG", NULL};
static const char *const pat_scopes[] = {"repo:public_read", "repo:read", "repo:write", "repo:admin", NULL};
static const struct rest_schema pat = {
    "HubPat", "A personal access token.", (const struct rest_field[]){
        {"uuid", REST_STRING, .required = true},
        {"client_id", REST_STRING, .required = true},
        {"creator_ip", REST_STRING, .required = true},
        {"creator_ua", REST_STRING, .required = true},
        {"created_at", REST_TIME, .required = true},
        {"last_used", REST_TIME, .required = true, .nullable = true},
        {"generated_by", REST_STRING, .required = true},
        {"is_active", REST_BOOL, .required = true},
        {"token", REST_STRING, .required = true, .about = "only when made"},
        {"token_label", REST_STRING, .required = true},
        {"scopes", REST_ARRAY, .required = true, .of = REST_STRING, .max = SCOPES_MAX},
        {"expires_at", REST_TIME, .required = true, .nullable = true},
        {0}}};
static const struct rest_schema pats = {
    "HubPatPage", "A page of personal access tokens.", (const struct rest_field[]){
        HUB_PAGE_OF("count", pat), {"active_count", REST_INT, .required = true}, {0}}};
static const struct rest_schema pat_new = {
    "HubPatNew", "A personal access token to be made.", (const struct rest_field[]){
        {"token_label", REST_STRING, .required = true, .min = 1, .max = 100, .check = &check_line},
        {"scopes", REST_ARRAY, .required = true, .of = REST_ENUM, .words = pat_scopes, .min = 1, .max = SCOPES_MAX},
        {"expires_at", REST_TIME, .nullable = true},
        {0}}};
static const struct rest_schema pat_patch = {
    "HubPatPatch", "What to change of a personal access token.", (const struct rest_field[]){
        {"token_label", REST_STRING, .min = 1, .max = 100, .check = &check_line}, {"is_active", REST_BOOL, .about = "false: it is of no use until it is true again"}, {0}}};
#define RESOURCE_FIELDS                                                                                         \
    {"type", REST_ENUM, .required = true, .words = types}, {"path", REST_STRING, .required = true, .max = NAME_MAX_BYTES},      \
        {"scopes", REST_ARRAY, .required = true, .of = REST_STRING, .max = SCOPES_MAX, .check = &check_line}
static const struct rest_schema resource = {
    "HubResource", "What a token may do where.", (const struct rest_field[]){RESOURCE_FIELDS, {0}}};
#define OAT_FIELDS                                                                                                       \
    {"id", REST_STRING, .required = true}, {"label", REST_STRING, .required = true}, {"description", REST_STRING, .required = true}, \
        {"created_by", REST_STRING, .required = true}, {"is_active", REST_BOOL, .required = true},                          \
        {"created_at", REST_TIME, .required = true}, {"expires_at", REST_TIME, .required = true, .nullable = true},         \
        {"last_used_at", REST_TIME, .required = true, .nullable = true}, {"token", REST_STRING, .about = "only when made"}, \
        {"resources", REST_ARRAY, .required = true, .schema = &resource, .max = RESOURCES_MAX}
static const struct rest_schema oat = {"HubOat", "An organization's access token.", (const struct rest_field[]){OAT_FIELDS, {0}}};
static const struct rest_schema oats = {"HubOatPage", "A page of organizations' access tokens.", (const struct rest_field[]){HUB_PAGE_OF("total", oat), {0}}};
static const struct rest_schema oat_new = {
    "HubOatNew", "An organization's access token to be made.", (const struct rest_field[]){
        {"label", REST_STRING, .required = true, .min = 1, .max = 100, .check = &check_line},
        {"description", REST_STRING, .nullable = true, .max = 1000},
        {"resources", REST_ARRAY, .required = true, .schema = &resource, .min = 1, .max = RESOURCES_MAX},
        {"expires_at", REST_TIME, .nullable = true},
        {0}}};
static const struct rest_schema oat_patch = {
    "HubOatPatch", "What to change of an organization's access token.", (const struct rest_field[]){
        {"label", REST_STRING, .min = 1, .max = 100, .check = &check_line},
        {"is_active", REST_BOOL, .about = "false: it is of no use until it is true again"},
        {"resources", REST_ARRAY, .schema = &resource, .max = RESOURCES_MAX},
        {0}}};

/* --- scopes and bounds */

static const struct {
    const char *word;
    enum scope scope;
} oat_scopes[] = {{"scope-image-pull", SCOPE_READ},    {"scope-repository-read", SCOPE_READ}, {"scope-image-push", SCOPE_WRITE},
                  {"scope-image-delete", SCOPE_DELETE}, {"scope-repository-admin", SCOPE_ADMIN}};

static enum scope pat_scope(struct str word)
{
    enum scope s = SCOPE_PUBLIC_READ;
    for (int i = 0; pat_scopes[i] != NULL; i++)
        if (str_is(word, pat_scopes[i]))
            s = i == 3 ? SCOPE_ADMIN : (enum scope)(SCOPE_PUBLIC_READ + i);
    return s;
}

/* The widest word that says no more than the scope. */
static const char *pat_word(enum scope s)
{
    return s >= SCOPE_ADMIN ? pat_scopes[3] : s >= SCOPE_WRITE ? pat_scopes[2] : s >= SCOPE_READ ? pat_scopes[1] : pat_scopes[0];
}

/* Only what can be held to: a word that would have to give more than it says is refused. */
static int resource_bound(struct rest_call *c, const json_t *one, struct bound *ret, struct err *err)
{
    struct str path = rest_text(one, "path");
    const json_t *word;
    size_t at;
    if (!str_is(rest_text(one, "type"), "TYPE_REPO"))
        return rest_wrong(c, err, "resources", "of an organization itself are not offered: TYPE_REPO is");
    *ret = (struct bound){path, SCOPE_ANY};
    if (str_is(path, "*/*/public"))
        *ret = (struct bound){STR_LIT("*"), SCOPE_PUBLIC_READ};
    else if (pattern_check(path, err) < 0)
        return rest_wrong(c, err, "resources", "%s", err->text);
    bool public = ret->scope == SCOPE_PUBLIC_READ;
    json_array_foreach(json_object_get(one, "scopes"), at, word)
    {
        struct str text = {json_string_value(word), json_string_length(word)};
        enum scope s = SCOPE_ANY;
        for (size_t i = 0; i < ARRAY_LEN(oat_scopes); i++)
            if (str_is(text, oat_scopes[i].word))
                s = oat_scopes[i].scope;
        if (s == SCOPE_ANY || (public && s != SCOPE_READ))
            return rest_wrong(c, err, "resources", "cannot have the scope \"%.*s\" here", STR_FMT(text));
        if (!public && s > ret->scope)
            ret->scope = s;
    }
    return ret->scope == SCOPE_ANY ? rest_wrong(c, err, "resources", "must have a scope") : 0;
}

/* --- shapes */

struct job {
    struct rest_call *c;
    bool org;
    struct db_tx *tx;
    struct err *err;
    struct hub_page page;
    int64_t active;
    struct credential_row row;
    struct credential_new make;
    json_t *doc;
    char text[TOKEN_TEXT_LEN + 1];
    uint8_t hash[TOKEN_HASH];
};

static enum credential_kind kind_of(const struct job *j) { return j->org ? CREDENTIAL_ORG : CREDENTIAL_PERSONAL; }

static int add_resource(void *arg, struct str pattern, enum scope scope)
{
    json_t *scopes = json_array();
    bool public = scope == SCOPE_PUBLIC_READ && str_is(pattern, "*");
    for (size_t i = 0; i < ARRAY_LEN(oat_scopes); i++)
        if (oat_scopes[i].scope <= scope || (public && oat_scopes[i].scope == SCOPE_READ))
            json_array_append_new(scopes, json_string(oat_scopes[i].word));
    if (public)
        pattern = STR_LIT("*/*/public");
    json_array_append_new(arg, json_pack("{s:s,s:s%,s:o}", "type", "TYPE_REPO", "path", pattern.p, pattern.n, "scopes", scopes));
    return 0;
}

static int most(void *arg, struct str pattern, enum scope scope)
{
    enum scope *s = arg;
    (void)pattern;
    if (scope > *s)
        *s = scope;
    return 0;
}

static bool is_active(const struct credential_row *c) { return credential_lives(c, clock_now()); }

static int pat_show(struct db_tx *tx, const struct credential_row *c, json_t **ret, struct err *err)
{
    char uuid[HUB_UUID];
    enum scope scope = SCOPE_ANY;
    int rc = credential_tx_each_bound(tx, c->id, most, &scope, err);
    hub_uuid(c->id, uuid);
    json_decref(*ret);
    *ret = json_pack("{s:s,s:s,s:s,s:s,s:o,s:o,s:s,s:b,s:s,s:s,s:[s],s:o}", "uuid", uuid, "client_id", "", "creator_ip", c->created_from,
                     "creator_ua", "", "created_at", rest_json_time(c->created_at), "last_used", rest_json_time(c->used_at),
                     "generated_by", "manual", "is_active", is_active(c), "token", "", "token_label", c->name, "scopes", pat_word(scope),
                     "expires_at", rest_json_time(c->expires_at));
    return rc;
}

static int oat_show(struct db_tx *tx, const struct credential_row *c, json_t **ret, struct err *err)
{
    char uuid[HUB_UUID];
    struct account by;
    json_t *resources = json_array();
    int rc = credential_tx_each_bound(tx, c->id, add_resource, resources, err);
    int known = rc < 0 ? rc : account_tx_by_id(tx, c->created_by, &by, err);
    hub_uuid(c->id, uuid);
    json_decref(*ret);
    *ret = json_pack("{s:s,s:s,s:s,s:s,s:b,s:o,s:o,s:o,s:o}", "id", uuid, "label", c->name, "description", "", "created_by",
                     known == 1 ? by.name : "", "is_active", is_active(c), "created_at", rest_json_time(c->created_at), "expires_at",
                     rest_json_time(c->expires_at), "last_used_at", rest_json_time(c->used_at), "resources", resources);
    return known < 0 ? known : 0;
}

static int show(struct db_tx *tx, struct job *j, const struct credential_row *c, json_t **ret, struct err *err)
{
    return j->org ? oat_show(tx, c, ret, err) : pat_show(tx, c, ret, err);
}

/* --- reading */

static int list_add(void *arg, const struct credential_row *row)
{
    struct job *j = arg;
    json_t *doc = NULL;
    j->active += is_active(row);
    if (!hub_page_takes(&j->page))
        return 0;
    int rc = show(j->tx, j, row, &doc, j->err);
    hub_page_add(&j->page, doc);
    return rc;
}

static int64_t account_of(const struct job *j) { return j->org ? req_account(j->c->r)->id : req_principal(j->c->r)->user_id; }

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    j->tx = tx;
    j->err = err;
    j->active = 0;
    hub_page_start(&j->page, j->c);
    int rc = j->org ? account_is_org(req_account(j->c->r), err) : 0;
    return rc < 0 ? rc : credential_tx_each(tx, account_of(j), kind_of(j), 0, INT64_MAX, list_add, j, err);
}

static int pat_list(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), list_read, &j, err);
    return hub_page_finish(&j.page, "count", json_pack("{s:I}", "active_count", (json_int_t)j.active), rc, err);
}

static int oat_list(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c, .org = true};
    int rc = db_read(hub_db(c->r), list_read, &j, err);
    return hub_page_finish(&j.page, "total", NULL, rc, err);
}

static int find(struct db_tx *tx, struct job *j, int64_t account, struct err *err)
{
    int64_t id;
    if (!hub_uuid_parse(j->c->r->parts[j->org], &id))
        return err_set(err, ERR_NOT_FOUND, "there is no such token");
    return credential_tx_get(tx, account, kind_of(j), id, &j->row, err);
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    int rc = find(tx, j, account_of(j), err);
    return rc < 0 ? rc : show(tx, j, &j->row, &j->doc, err);
}

static int get_run(struct rest_call *c, bool org, struct err *err)
{
    struct job j = {.c = c, .org = org};
    int rc = db_read(hub_db(c->r), get_read, &j, err);
    return credential_answer(c, j.doc, j.text, rc);
}

/* --- changing */

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    int rc = credential_tx_make(tx, ch, &j->make, &j->row, err);
    return rc < 0 ? rc : show(tx, j, &j->row, &j->doc, err);
}

/* null, or none: for ever, as Hub has it; an organization may have a rule against it. */
static int add_run(struct job *j, struct bound *bounds, size_t n, struct err *err)
{
    struct rest_call *c = j->c;
    struct str name = rest_text(c->body, j->org ? "label" : "token_label");
    int64_t expires = rest_time(c->body, "expires_at", 0);
    if (rest_text(c->body, "expires_at").p != NULL && expires <= clock_now())
        return rest_wrong(c, err, "expires_at", "must be in the future");
    j->make = (struct credential_new){.kind = kind_of(j), .name = name, .bounds = bounds, .n_bounds = n, .expires_at = expires, .hash = j->hash,
                                      .call = c, .bounds_field = j->org ? "resources" : "scopes", .life_field = "expires_at"};
    struct change ch = {.fn = add, .arg = j, .action = j->org ? "org.access_token.create" : "token.create", .object = name};
    ident_token_text(ident_of(c->r), kind_of(j), j->text, j->hash);
    int rc = change_run(c->r, &ch, err);
    return credential_answer(j->c, j->doc, j->text, rc);
}

static int pat_add(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    struct bound bound = {STR_LIT("*"), SCOPE_ANY};
    const json_t *word;
    size_t at;
    json_array_foreach(json_object_get(c->body, "scopes"), at, word)
    {
        enum scope s = pat_scope((struct str){json_string_value(word), json_string_length(word)});
        bound.scope = s > bound.scope ? s : bound.scope;
    }
    return add_run(&j, &bound, 1, err);
}

static int oat_add(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c, .org = true};
    const json_t *list = json_object_get(c->body, "resources"), *one;
    struct bound *bounds = arena_zalloc(&c->r->arena, size_mul(json_array_size(list), sizeof *bounds));
    size_t at;
    json_array_foreach(list, at, one)
    {
        int rc = resource_bound(c, one, &bounds[at], err);
        if (rc < 0)
            return rc;
    }
    return add_run(&j, bounds, json_array_size(list), err);
}

static int64_t account_in(const struct job *j, const struct change *ch) { return j->org ? ch->now.account.id : ch->who->user_id; }

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    struct str name = rest_text(j->c->body, j->org ? "label" : "token_label");
    int rc = find(tx, j, account_in(j, ch), err);
    if (rc < 0)
        return rc;
    bool disabled = !rest_bool(j->c->body, "is_active", j->row.state == 0);
    rc = credential_tx_set(tx, j->row.id, name.p ? name : str_of(j->row.name), disabled, err);
    if (rc < 0 || (rc = find(tx, j, account_in(j, ch), err)) < 0)
        return rc;
    return show(tx, j, &j->row, &j->doc, err);
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct job *j = ch->arg;
    int rc = find(tx, j, account_in(j, ch), err);
    return rc < 0 ? rc : credential_tx_revoke(tx, j->row.id, err);
}

static int change_token(struct rest_call *c, bool org, int (*fn)(struct db_tx *tx, struct change *ch, struct err *err), const char *action,
                        struct err *err)
{
    struct job j = {.c = c, .org = org};
    struct change ch = {.fn = fn, .arg = &j, .action = action, .object = c->r->parts[org]};
    if (!org)
        ch.accounts[0] = str_of(req_principal(c->r)->name);
    if (rest_has(c->body, "resources"))
        return rest_wrong(c, err, "resources", "stay what they were: make another token");
    int rc = change_run(c->r, &ch, err);
    return credential_answer(c, j.doc, j.text, rc);
}

static int pat_get(struct rest_call *c, struct err *err) { return get_run(c, false, err); }
static int oat_get(struct rest_call *c, struct err *err) { return get_run(c, true, err); }
static int pat_patch_run(struct rest_call *c, struct err *err) { return change_token(c, false, patch, "token.update", err); }
static int pat_drop(struct rest_call *c, struct err *err) { return change_token(c, false, drop, "token.revoke", err); }
static int oat_patch_run(struct rest_call *c, struct err *err) { return change_token(c, true, patch, "org.access_token.update", err); }
static int oat_drop(struct rest_call *c, struct err *err) { return change_token(c, true, drop, "org.access_token.delete", err); }

#define READ (HTTP_GET | HTTP_HEAD)
#define OAT "/orgs/{org}/access-tokens"
#define PAT(path, label, gone)                                                                                              \
    {HUB_ROW(READ, path, label "s", RIGHT_OWN), pat_list, "Own tokens", "hub", .query = hub_page_query, .answer = &pats, .also = {404}}, \
        {HUB_ROW(HTTP_POST, path, label "_create", RIGHT_OWN), pat_add, "Make a token", "hub", .body = &pat_new, .answer = &pat,  \
         .status = 201},                                                                                                   \
        {HUB_ROW(READ, path "/{uuid}", label, RIGHT_OWN), pat_get, "A token", "hub", .answer = &pat},                         \
        {HUB_ROW(HTTP_PATCH, path "/{uuid}", label "_update", RIGHT_OWN), pat_patch_run, "Change a token", "hub",             \
         .body = &pat_patch, .answer = &pat},                                                                              \
        {HUB_ROW(HTTP_DELETE, path "/{uuid}", label "_revoke", RIGHT_OWN), pat_drop, "Revoke a token", "hub", .status = (gone)}
const struct rest_route hub_token_routes[] = {
    PAT("/access-tokens", "hub_pat", 204),
    PAT("/api_tokens", "hub_old_pat", 202),
    {HUB_ROW(READ, OAT, "hub_oats", RIGHT_ORG_TOKENS), oat_list, "Tokens of an organization", "hub", .query = hub_page_query, .answer = &oats},
    {HUB_ROW(HTTP_POST, OAT, "hub_oat_create", RIGHT_ORG_TOKENS), oat_add, "Make a token of an organization", "hub", .body = &oat_new,
     .answer = &oat, .status = 201},
    {HUB_ROW(READ, OAT "/{id}", "hub_oat", RIGHT_ORG_TOKENS), oat_get, "A token of an organization", "hub", .answer = &oat},
    {HUB_ROW(HTTP_PATCH, OAT "/{id}", "hub_oat_update", RIGHT_ORG_TOKENS), oat_patch_run, "Change a token of an organization", "hub",
     .body = &oat_patch, .answer = &oat},
    {HUB_ROW(HTTP_DELETE, OAT "/{id}", "hub_oat_revoke", RIGHT_ORG_TOKENS), oat_drop, "Revoke a token of an organization", "hub"},
};
const size_t n_hub_token_routes = ARRAY_LEN(hub_token_routes);
