/* /api/v1: an organization's trust rules. */
#include "ident/api.h"
#include "ident/outside.h"

#include <stdlib.h>

enum { LIFE_MIN_S = 60, LIFE_MAX_S = 15 * 60 };

/* --- shapes */

static bool claim_name_fits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || s.p[i] == 0x7f)
            return false;
    return s.n > 0 && !str_is(s, "iss") && !str_is(s, "aud") && !str_is(s, "exp") && !str_is(s, "nbf") && !str_is(s, "iat");
}

static bool word_fits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || (unsigned char)s.p[i] >= 0x7f)
            return false;
    return s.n > 0;
}

static const struct rest_check check_claim = {claim_name_fits, "must be the name of a claim; iss, aud and times are always looked at", NULL};
static const struct rest_check check_word = {word_fits, "must be printable ASCII without spaces", NULL};
static const struct rest_schema bound = {
    "TrustBound", "Where a keyless token may do what. A higher scope includes the lower ones.", (const struct rest_field[]){
        {"pattern", REST_STRING, .required = true, .max = NAME_MAX_BYTES, .check = &check_pattern,
         .about = "*, NAMESPACE/*, NAMESPACE/PREFIX* or NAMESPACE/NAME"},
        {"scope", REST_ENUM, .required = true, .words = words_scope},
        {0}}};
static const struct rest_schema claim = {
    "TrustClaim", "What a claim of the token must be.", (const struct rest_field[]){
        {"claim", REST_STRING, .required = true, .min = 1, .max = 100, .check = &check_claim},
        {"pattern", REST_STRING, .required = true, .min = 1, .max = CLAIM_PATTERN_MAX, .check = &check_line,
         .about = "* stands for any characters but / and :"},
        {0}}};
static const struct rest_schema rule = {
    "TrustRule", "Whose tokens an organization takes, and for what.", (const struct rest_field[]){
        {"id", REST_INT, .required = true}, {"name", REST_STRING, .required = true}, {"issuer", REST_STRING, .required = true},
        {"audience", REST_STRING, .required = true}, {"claims", REST_ARRAY, .required = true, .max = CLAIMS_MAX, .schema = &claim},
        {"bounds", REST_ARRAY, .required = true, .max = BOUNDS_MAX, .schema = &bound},
        {"life_seconds", REST_INT, .required = true}, {"jwks", REST_STRING, .required = true, .nullable = true},
        {"created_at", REST_TIME, .required = true}, {"updated_at", REST_TIME, .required = true}, {0}}};
#define RULE_SETTINGS(must)                                                                                                    \
    {"name", REST_STRING, .required = (must), .max = ACCOUNT_NAME_MAX, .check = &check_account_name},                              \
        {"issuer", REST_STRING, .required = (must), .min = 1, .max = ISSUER_MAX, .check = &check_word,                             \
         .about = "iss, to the letter: https://token.actions.githubusercontent.com"},                                          \
        {"audience", REST_STRING, .min = 1, .max = AUDIENCE_MAX, .check = &check_word,                                         \
         .about = "one of aud, to the letter; default: this hub's URL, a slash, the organization's name"},                     \
        {"claims", REST_ARRAY, .required = (must), .min = 1, .max = CLAIMS_MAX, .schema = &claim, .about = "all must fit"},       \
        {"bounds", REST_ARRAY, .required = (must), .min = 1, .max = BOUNDS_MAX, .schema = &bound},                                \
        {"life_seconds", REST_INT, .min = LIFE_MIN_S, .max = LIFE_MAX_S, .about = "default and longest 900"},                  \
        {"jwks", REST_STRING, .nullable = true, .max = RULE_JWKS_MAX, .about = "the issuer's key set (JSON) when this hub cannot ask it"}
static const struct rest_schema rule_new = {"TrustRuleNew", "A trust rule to be made.", (const struct rest_field[]){RULE_SETTINGS(true), {0}}};
static const struct rest_schema rule_patch = {"TrustRulePatch", "What to change of a trust rule.",
                                              (const struct rest_field[]){RULE_SETTINGS(false), {0}}};

static const char LIST[] = "SELECT " TRUST_COLUMNS " FROM trust_rules t JOIN accounts a ON a.id = t.org_id WHERE t.org_id = $1 AND t.id > $2 "
                           "ORDER BY t.id LIMIT $3";
static const char COUNT[] = "SELECT count(*) FROM trust_rules WHERE org_id = $1";
static const char TAKEN[] = "SELECT id FROM trust_rules WHERE org_id = $1 AND name = $2";
static const char ADD[] = "INSERT INTO trust_rules (org_id, name, issuer, audience, claims, bounds, life, jwks, created_by, created_at, "
                          "updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $10)";
static const char SET[] = "UPDATE trust_rules SET name = $2, issuer = $3, audience = $4, claims = $5, bounds = $6, life = $7, jwks = $8, "
                          "updated_at = $9 WHERE id = $1";
static const char DROP[] = "DELETE FROM trust_rules WHERE id = $1";

struct trust_job {
    struct rest_call *c;
    int64_t id;
    struct trust_rule row;
    json_t *doc;
};

static json_t *rule_json(const struct trust_rule *t)
{
    return json_pack("{s:I,s:s,s:s,s:s,s:O,s:O,s:I,s:o,s:o,s:o}", "id", (json_int_t)t->id, "name", t->name, "issuer", t->issuer, "audience",
                     t->audience, "claims", t->claims, "bounds", t->bounds, "life_seconds", (json_int_t)(t->life / 1000000), "jwks",
                     t->jwks[0] ? json_string(t->jwks) : json_null(), "created_at", rest_json_time(t->created_at), "updated_at",
                     rest_json_time(t->updated_at));
}

/* --- reading */

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    auto_rows struct db_rows *rows = NULL;
    int64_t n = rest_page(c);
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(req_account(c->r)->id), DB_I(rest_after_int(c, 0, 0)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct trust_rule t = {0};
        trust_rule_map(rows, &t);
        rest_add(c, rule_json(&t), json_pack("[I]", (json_int_t)t.id));
        trust_rule_release(&t);
        rc = 0;
    }
    return rc;
}

static int trust_list(struct rest_call *c, struct err *err)
{
    int rc = account_is_org(req_account(c->r), err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int find(struct db_tx *tx, struct trust_job *j, const struct account *org, struct err *err)
{
    uint64_t id;
    int rc = account_is_org(org, err);
    trust_rule_release(&j->row);
    if (rc < 0)
        return rc;
    if (str_u64(j->c->r->parts[1], &id) && id <= INT64_MAX)
        rc = trust_tx_by_id(tx, org->id, j->id = (int64_t)id, &j->row, err);
    return rc < 0 ? rc : rc == 1 ? 0 : err_set(err, ERR_NOT_FOUND, "there is no such trust rule");
}

static int show(struct db_tx *tx, struct trust_job *j, const struct account *org, struct err *err)
{
    trust_rule_release(&j->row);
    int rc = trust_tx_by_id(tx, org->id, j->id, &j->row, err);
    json_decref(j->doc);
    j->doc = rc == 1 ? rule_json(&j->row) : NULL;
    return rc < 0 ? rc : 0;
}

static int finish(struct trust_job *j, int rc)
{
    trust_rule_release(&j->row);
    if (rc == 0)
        return rest_send(j->c, j->doc);
    json_decref(j->doc);
    return rc;
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct trust_job *j = arg;
    int rc = find(tx, j, req_account(j->c->r), err);
    return rc < 0 ? rc : show(tx, j, req_account(j->c->r), err);
}

static int trust_get(struct rest_call *c, struct err *err)
{
    struct trust_job j = {.c = c};
    return finish(&j, db_read(ident_of(c->r)->db, get_read, &j, err));
}

/* --- changing: what the body says over what there was */

static int check_bounds(struct trust_job *j, const struct account *org, const json_t *bounds, struct err *err)
{
    const char *inside = arena_printf(&j->c->r->arena, "%s/", org->name);
    const json_t *one;
    size_t at;
    json_array_foreach(bounds, at, one)
    {
        struct str pattern = rest_text(one, "pattern");
        if (!str_is(pattern, "*") && !str_starts(pattern, str_of(inside)))
            return rest_wrong(j->c, err, "bounds", "reach beyond the organization: \"%.*s\"", STR_FMT(pattern));
    }
    return 0;
}

/* A rule that every token of a shared issuer fits would be an open door. */
static int check_claims(struct trust_job *j, const json_t *claims, struct err *err)
{
    const json_t *one;
    size_t at;
    bool says = false;
    json_array_foreach(claims, at, one)
    {
        struct str pattern = rest_text(one, "pattern");
        says = says || pattern.p[0] != '*';
    }
    return says ? 0 : rest_wrong(j->c, err, "claims", "let everybody in: one pattern must begin with what it asks for");
}

static int check_keys(struct trust_job *j, struct str issuer, struct str jwks, struct err *err)
{
    struct jwks *set = NULL;
    struct err why = {0};
    if (jwks.n > 0) {
        if (jwks_parse(jwks, &set, &why) < 0)
            return rest_wrong(j->c, err, "jwks", "%s", why.text);
        size_t n = jwks_count(set);
        jwks_free(set);
        return n > 0 ? 0 : rest_wrong(j->c, err, "jwks", "has no key that can be used");
    }
    struct net_end end = {.url = str_dup(&j->c->r->arena, issuer), .who = NET_TENANT};
    if (net_end_check(ident_of(j->c->r)->net, &end, NET_HTTP, NULL, &why) < 0)
        return rest_wrong(j->c, err, "issuer", "%s", why.text);
    return 0;
}

struct wanted {
    struct str name, issuer, audience, jwks;
    const json_t *claims, *bounds;
    int64_t life;
};

static struct str text_or(const json_t *body, const char *name, const char *keep)
{
    return rest_has(body, name) ? rest_text(body, name) : str_of(keep);
}

static int wanted_of(struct trust_job *j, const struct account *org, struct wanted *w, struct err *err)
{
    const json_t *b = j->c->body, *claims = json_object_get(b, "claims"), *bounds = json_object_get(b, "bounds");
    const struct trust_rule *old = &j->row;
    const char *audience = old->id ? old->audience : arena_printf(&j->c->r->arena, "%s/%s", ident_of(j->c->r)->url, org->name);
    *w = (struct wanted){.name = text_or(b, "name", old->name), .issuer = text_or(b, "issuer", old->issuer),
                         .audience = text_or(b, "audience", audience), .jwks = api_text(b, "jwks", old->id ? old->jwks : ""),
                         .claims = claims ? claims : old->claims, .bounds = bounds ? bounds : old->bounds,
                         .life = rest_int(b, "life_seconds", old->id ? old->life / 1000000 : LIFE_MAX_S) * 1000000};
    int rc = check_bounds(j, org, w->bounds, err);
    if (rc == 0)
        rc = check_claims(j, w->claims, err);
    return rc < 0 ? rc : check_keys(j, w->issuer, w->jwks, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int name_free(struct db_tx *tx, const struct trust_job *j, const struct account *org, struct str name, struct err *err)
{
    int64_t id = 0;
    int rc = db_one(tx, TAKEN, DB_ARGS(DB_I(org->id), DB_T(name)), map_int, &id, err);
    return rc == 1 && id != j->row.id ? err_set(err, ERR_EXISTS, "there is a trust rule \"%.*s\" already", STR_FMT(name)) : rc < 0 ? rc : 0;
}

static struct str dumped(struct trust_job *j, const json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT);
    struct str s = str_of(str_dup(&j->c->r->arena, str_of(text ? text : "[]")));
    free(text);
    return s;
}

static int write_rule(struct db_tx *tx, struct trust_job *j, const struct change *ch, const struct wanted *w, struct err *err)
{
    const struct account *org = &ch->now.account;
    struct str claims = dumped(j, w->claims), bounds = dumped(j, w->bounds);
    int64_t now = clock_now();
    int rc = name_free(tx, j, org, w->name, err);
    if (rc == 0 && j->row.id)
        rc = db_exec(tx, SET,
                     DB_ARGS(DB_I(j->row.id), DB_T(w->name), DB_T(w->issuer), DB_T(w->audience), DB_T(claims), DB_T(bounds), DB_I(w->life),
                             DB_T(w->jwks), DB_I(now > j->row.updated_at ? now : j->row.updated_at + 1)),
                     NULL, err);
    else if (rc == 0)
        rc = db_exec(tx, ADD,
                     DB_ARGS(DB_I(org->id), DB_T(w->name), DB_T(w->issuer), DB_T(w->audience), DB_T(claims), DB_T(bounds), DB_I(w->life),
                             DB_T(w->jwks), DB_I(ch->who->user_id), DB_I(now)),
                     NULL, err);
    if (rc == 0 && !j->row.id)
        rc = db_one(tx, TAKEN, DB_ARGS(DB_I(org->id), DB_T(w->name)), map_int, &j->id, err);
    return rc < 0 ? rc : show(tx, j, org, err);
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct trust_job *j = ch->arg;
    struct wanted w;
    int64_t n = 0;
    trust_rule_release(&j->row);
    j->row = (struct trust_rule){0};
    int rc = account_is_org(&ch->now.account, err);
    if (rc == 0)
        rc = db_one(tx, COUNT, DB_ARGS(DB_I(ch->now.account.id)), map_int, &n, err);
    if (rc < 0)
        return rc;
    if (n >= RULES_MAX)
        return err_set(err, ERR_EXISTS, "there are %d trust rules already: remove one first", RULES_MAX);
    return (rc = wanted_of(j, &ch->now.account, &w, err)) < 0 ? rc : write_rule(tx, j, ch, &w, err);
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct trust_job *j = ch->arg;
    struct wanted w;
    int rc = find(tx, j, &ch->now.account, err);
    if (rc < 0 || (rc = wanted_of(j, &ch->now.account, &w, err)) < 0 || (rc = keyless_tx_end(tx, ch->now.account.id, err)) < 0)
        return rc;
    return write_rule(tx, j, ch, &w, err);
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct trust_job *j = ch->arg;
    int rc = find(tx, j, &ch->now.account, err);
    if (rc == 0)
        rc = keyless_tx_end(tx, ch->now.account.id, err);
    return rc < 0 ? rc : db_exec(tx, DROP, DB_ARGS(DB_I(j->row.id)), NULL, err);
}

static int change_rule(struct rest_call *c, int (*fn)(struct db_tx *tx, struct change *ch, struct err *err), const char *action,
                       struct str object, struct err *err)
{
    struct trust_job j = {.c = c};
    struct change ch = {.fn = fn, .arg = &j, .action = action, .object = object};
    return finish(&j, change_run(c->r, &ch, err));
}

static int trust_add(struct rest_call *c, struct err *err) { return change_rule(c, add, "org.trust_rule.create", rest_text(c->body, "name"), err); }
static int trust_patch(struct rest_call *c, struct err *err) { return change_rule(c, patch, "org.trust_rule.update", c->r->parts[1], err); }
static int trust_drop(struct rest_call *c, struct err *err) { return change_rule(c, drop, "org.trust_rule.delete", c->r->parts[1], err); }

#define ALL "/orgs/{org}/trust-rules"
const struct rest_route trust_routes[] = {
    {REST_GET(ALL, "trust_rule_list", RIGHT_ORG_TOKENS), trust_list, "List trust rules", "tokens", .answer = &rule, .cursor = "i"},
    {REST_POST(ALL, "trust_rule_create", RIGHT_ORG_TOKENS), trust_add, "Make a trust rule for keyless CI", "tokens", .body = &rule_new,
     .answer = &rule, .status = 201, .also = {409}},
    {REST_GET(ALL "/{id}", "trust_rule_get", RIGHT_ORG_TOKENS), trust_get, "Read a trust rule", "tokens", .answer = &rule},
    {REST_PATCH(ALL "/{id}", "trust_rule_update", RIGHT_ORG_TOKENS), trust_patch, "Change a trust rule; keyless tokens end", "tokens",
     .body = &rule_patch, .answer = &rule, .also = {409}},
    {REST_DELETE(ALL "/{id}", "trust_rule_delete", RIGHT_ORG_TOKENS), trust_drop, "Remove a trust rule; keyless tokens end", "tokens"},
};
const size_t n_trust_routes = ARRAY_LEN(trust_routes);
