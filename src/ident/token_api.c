/* /api/v1: random tokens: own ones, an organization's, and what owners see of their members'. */
#include "crypt/token_text.h"
#include "ident/api.h"

enum { DAYS_DEFAULT = 90, DAYS_MAX = 3650, OVERLAP_HOURS = 24, OVERLAP_HOURS_MAX = 24 * 30 };
#define DAY_US ((int64_t)86400 * 1000000)
static const char *const kinds[] = {"personal", "organization", "keyless", NULL};
static const char *const states[] = {"active", "disabled", "expired", NULL};
static const char *const settable[] = {"active", "disabled", NULL};
static const struct rest_schema bound = {
    "TokenBound", "Where a token may do what. A higher scope includes the lower ones.", (const struct rest_field[]){
        {"pattern", REST_STRING, .required = true, .max = NAME_MAX_BYTES, .check = &check_pattern,
         .about = "*, NAMESPACE/*, NAMESPACE/PREFIX* or NAMESPACE/NAME"},
        {"scope", REST_ENUM, .required = true, .words = words_scope},
        {0}}};
#define TOKEN_FIELDS                                                                                                       \
    {"id", REST_INT, .required = true}, {"name", REST_STRING, .required = true},                                            \
        {"kind", REST_ENUM, .required = true, .words = kinds},                                                              \
        {"bounds", REST_ARRAY, .required = true, .max = BOUNDS_MAX, .schema = &bound},                                      \
        {"state", REST_ENUM, .required = true, .words = states}, {"created_at", REST_TIME, .required = true},               \
        {"expires_at", REST_TIME, .required = true, .nullable = true},                                                      \
        {"last_used_at", REST_TIME, .required = true, .nullable = true},                                                    \
        {"last_used_from", REST_STRING, .required = true, .about = "address"}
static const struct rest_schema token = {"Token", "A token, without its text.", (const struct rest_field[]){TOKEN_FIELDS, {0}}};
static const struct rest_schema token_made = {
    "TokenMade", "A token with its text, which is not shown again.", (const struct rest_field[]){
        TOKEN_FIELDS, {"token", REST_STRING, .required = true}, {0}}};
static const struct rest_schema member_token = {
    "MemberToken", "A member's token that reaches the organization's repositories.", (const struct rest_field[]){
        {"user", REST_STRING, .required = true}, TOKEN_FIELDS, {0}}};
static const struct rest_schema token_new = {
    "TokenNew", "A token to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .min = 1, .max = 100, .check = &check_line},
        {"bounds", REST_ARRAY, .min = 1, .max = BOUNDS_MAX, .schema = &bound, .about = "default: read everything that the owner may"},
        {"expires_in_days", REST_INT, .min = 0, .max = DAYS_MAX, .about = "default 90; 0: never"},
        {0}}};
static const struct rest_schema token_patch = {
    "TokenPatch", "What to change of a token.", (const struct rest_field[]){
        {"name", REST_STRING, .min = 1, .max = 100, .check = &check_line}, {"state", REST_ENUM, .words = settable}, {0}}};
static const struct rest_schema rotation = {
    "TokenRotation", "How long the old text still works.", (const struct rest_field[]){
        {"overlap_hours", REST_INT, .min = 0, .max = OVERLAP_HOURS_MAX, .about = "default 24"}, {0}}};
static const struct rest_schema token_text = {
    "TokenText", "The text of a token.", (const struct rest_field[]){
        {"token", REST_STRING, .required = true, .max = 200}, {0}}};

static const char ROTATE[] = "UPDATE credentials SET old_hash = CASE WHEN $3 > 0 THEN hash ELSE NULL END, old_until = $3, hash = $2, "
                             "created_at = $4, expires_at = $5 WHERE id = $1";
static const char MEMBERS[] =
    "SELECT c.id, c.account_id, c.kind, c.state, c.created_by, c.created_at, c.expires_at, c.used_at, c.old_until, c.name, "
    "c.created_from, c.used_from, a.name FROM members m JOIN credentials c ON c.account_id = m.user_id JOIN accounts a "
    "ON a.id = m.user_id WHERE m.org_id = $1 AND c.kind = 1 AND c.state < 2 AND c.id > $2 AND EXISTS (SELECT 1 FROM "
    "credential_bounds b WHERE b.credential_id = c.id AND (b.pattern = '*' OR substr(b.pattern, 1, length($3)) = $3)) "
    "ORDER BY c.id LIMIT $4";
static const char MEMBERS_ONE[] =
    "SELECT a.name FROM members m JOIN credentials c ON c.account_id = m.user_id JOIN accounts a ON a.id = m.user_id "
    "WHERE m.org_id = $1 AND c.id = $2 AND c.kind = 1 AND c.state < 2 AND EXISTS (SELECT 1 FROM credential_bounds b "
    "WHERE b.credential_id = c.id AND (b.pattern = '*' OR substr(b.pattern, 1, length($3)) = $3))";

struct token_job {
    struct rest_call *c;
    bool org;
    int64_t id;
    struct credential_row row;
    json_t *doc;
    char text[TOKEN_TEXT_LEN + 1];
    uint8_t hash[TOKEN_HASH];
    char owner[ACCOUNT_NAME_MAX + 1];
};

static enum credential_kind kind_of(const struct token_job *j) { return j->org ? CREDENTIAL_ORG : CREDENTIAL_PERSONAL; }
static int64_t account_of(const struct token_job *j, const struct account *org, const struct principal *p)
{
    return j->org ? org->id : p->user_id;
}

static const char *state_name(const struct credential_row *c, int64_t now)
{
    return c->state != 0 ? "disabled" : c->expires_at != 0 && c->expires_at <= now ? "expired" : "active";
}

/* Of the bounds only `*` and what begins with prefix: what a member's token reaches elsewhere is not his organization's to
 * know. */
static int show_within(struct db_tx *tx, const struct credential_row *c, struct str prefix, json_t **ret, struct err *err)
{
    struct principal *bounds = principal_new((struct str){NULL, 0}, 0);
    json_t *list = json_array();
    int rc = credential_tx_bounds(tx, c->id, bounds, err);
    for (size_t i = 0; rc == 0 && i < bounds->n_bounds; i++) {
        struct str pattern = bounds->bounds[i].pattern;
        if (str_is(pattern, "*") || str_starts(pattern, prefix))
            json_array_append_new(list, json_pack("{s:s%,s:s}", "pattern", pattern.p, pattern.n, "scope", scope_name(bounds->bounds[i].scope)));
    }
    shared_unref(&bounds->shared);
    json_decref(*ret);
    *ret = json_pack("{s:I,s:s,s:s,s:o,s:s,s:o,s:o,s:o,s:s}", "id", (json_int_t)c->id, "name", c->name, "kind",
                     kinds[c->kind - CREDENTIAL_PERSONAL], "bounds", list, "state", state_name(c, clock_now()), "created_at",
                     rest_json_time(c->created_at), "expires_at", rest_json_time(c->expires_at), "last_used_at",
                     rest_json_time(c->used_at), "last_used_from", c->used_from);
    return rc;
}

static int show(struct db_tx *tx, const struct credential_row *c, json_t **ret, struct err *err)
{
    return show_within(tx, c, STR_LIT(""), ret, err);
}

/* --- reading */

struct list {
    struct token_job *j;
    struct db_tx *tx;
    struct err *err;
};

static int list_add(void *arg, const struct credential_row *row)
{
    struct list *l = arg;
    json_t *doc = NULL;
    int rc = show(l->tx, row, &doc, l->err);
    rest_add(l->j->c, doc, json_pack("[I]", (json_int_t)row->id));
    return rc;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct token_job *j = arg;
    struct rest_call *c = j->c;
    struct list l = {j, tx, err};
    int64_t n = rest_page(c), account = account_of(j, req_account(c->r), req_principal(c->r));
    return credential_tx_each(tx, account, kind_of(j), rest_after_int(c, 0, 0), n, list_add, &l, err);
}

static int list_run(struct rest_call *c, bool org, struct err *err)
{
    struct token_job j = {.c = c, .org = org};
    int rc = org ? account_is_org(req_account(c->r), err) : 0;
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, list_read, &j, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int parse_id(struct str text, int64_t *ret, struct err *err)
{
    uint64_t id;
    if (!str_u64(text, &id) || id > INT64_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no such token");
    *ret = (int64_t)id;
    return 0;
}

static int find(struct db_tx *tx, struct token_job *j, int64_t account, struct err *err)
{
    int rc = parse_id(j->c->r->parts[j->org ? 1 : 0], &j->id, err);
    return rc < 0 ? rc : credential_tx_get(tx, account, kind_of(j), j->id, &j->row, err);
}

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct token_job *j = arg;
    int rc = find(tx, j, account_of(j, req_account(j->c->r), req_principal(j->c->r)), err);
    return rc < 0 ? rc : show(tx, &j->row, &j->doc, err);
}

static int get_run(struct rest_call *c, bool org, struct err *err)
{
    struct token_job j = {.c = c, .org = org};
    int rc = db_read(ident_of(c->r)->db, get_read, &j, err);
    return credential_answer(c, j.doc, j.text, rc);
}

/* --- making */

/* What the body names, in the request's arena; by itself a token reads everything that its owner may. */
static size_t bounds_of(struct rest_call *c, struct bound **ret)
{
    const json_t *list = json_object_get(c->body, "bounds"), *one;
    size_t at, n = list ? json_array_size(list) : 1;
    *ret = arena_alloc(&c->r->arena, size_mul(n, sizeof **ret));
    (*ret)[0] = (struct bound){STR_LIT("*"), SCOPE_READ};
    json_array_foreach(list, at, one)
    {
        (*ret)[at] = (struct bound){rest_text(one, "pattern"), SCOPE_READ};
        (void)scope_parse(rest_text(one, "scope"), &(*ret)[at].scope);
    }
    return n;
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    struct rest_call *c = j->c;
    struct bound *bounds;
    size_t n_bounds = bounds_of(c, &bounds);
    int64_t days = rest_int(c->body, "expires_in_days", DAYS_DEFAULT);
    struct credential_new n = {.kind = kind_of(j), .name = rest_text(c->body, "name"), .bounds = bounds, .n_bounds = n_bounds,
                               .expires_at = days ? clock_now() + days * DAY_US : 0, .hash = j->hash, .call = c,
                               .bounds_field = "bounds", .life_field = "expires_in_days"};
    int rc = credential_tx_make(tx, ch, &n, &j->row, err);
    return rc < 0 ? rc : show(tx, &j->row, &j->doc, err);
}

static void make_text(struct token_job *j)
{
    ident_token_text(ident_of(j->c->r), kind_of(j), j->text, j->hash);
}

static int add_run(struct rest_call *c, bool org, struct err *err)
{
    struct token_job j = {.c = c, .org = org};
    struct change ch = {.fn = add, .arg = &j, .action = org ? "org.access_token.create" : "token.create",
                        .object = rest_text(c->body, "name")};
    make_text(&j);
    int rc = change_run(c->r, &ch, err);
    return credential_answer(c, j.doc, j.text, rc);
}

/* --- changing */

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    const json_t *b = j->c->body;
    struct str name = rest_text(b, "name"), state = rest_text(b, "state");
    int rc = find(tx, j, account_of(j, &ch->now.account, ch->who), err);
    if (rc < 0)
        return rc;
    bool disabled = state.p == NULL ? j->row.state != 0 : str_is(state, "disabled");
    rc = credential_tx_set(tx, j->id, name.p ? name : str_of(j->row.name), disabled, err);
    if (rc < 0 || (rc = find(tx, j, j->row.account_id, err)) < 0)
        return rc;
    return show(tx, &j->row, &j->doc, err);
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    int rc = find(tx, j, account_of(j, &ch->now.account, ch->who), err);
    return rc < 0 ? rc : credential_tx_revoke(tx, j->id, err);
}

/* The new text has the old life before it; the old text works on for a while, so that nobody waits. */
static int rotate(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    int64_t now = clock_now(), hours = rest_int(j->c->body, "overlap_hours", OVERLAP_HOURS);
    int rc = find(tx, j, account_of(j, &ch->now.account, ch->who), err);
    if (rc < 0)
        return rc;
    int64_t life = j->row.expires_at ? j->row.expires_at - j->row.created_at : 0;
    rc = db_exec(tx, ROTATE,
                 DB_ARGS(DB_I(j->id), DB_B(((struct str){(char *)j->hash, sizeof j->hash})),
                         DB_I(hours ? now + hours * 3600 * 1000000 : 0), DB_I(now), DB_I(life ? now + life : 0)),
                 NULL, err);
    if (rc < 0 || (rc = find(tx, j, j->row.account_id, err)) < 0)
        return rc;
    return show(tx, &j->row, &j->doc, err);
}

static int change_token(struct rest_call *c, bool org, int (*fn)(struct db_tx *tx, struct change *ch, struct err *err),
                        const char *action, struct err *err)
{
    struct token_job j = {.c = c, .org = org};
    struct change ch = {.fn = fn, .arg = &j, .action = action, .object = c->r->parts[org ? 1 : 0]};
    if (!org)
        ch.accounts[0] = str_of(req_principal(c->r)->name);
    if (fn == rotate)
        make_text(&j);
    int rc = change_run(c->r, &ch, err);
    return credential_answer(c, j.doc, j.text, rc);
}

static int own_list(struct rest_call *c, struct err *err) { return list_run(c, false, err); }
static int own_get(struct rest_call *c, struct err *err) { return get_run(c, false, err); }
static int own_add(struct rest_call *c, struct err *err) { return add_run(c, false, err); }
static int own_patch(struct rest_call *c, struct err *err) { return change_token(c, false, patch, "token.update", err); }
static int own_drop(struct rest_call *c, struct err *err) { return change_token(c, false, drop, "token.revoke", err); }
static int own_rotate(struct rest_call *c, struct err *err) { return change_token(c, false, rotate, "token.rotate", err); }
static int org_list(struct rest_call *c, struct err *err) { return list_run(c, true, err); }
static int org_get(struct rest_call *c, struct err *err) { return get_run(c, true, err); }
static int org_add(struct rest_call *c, struct err *err) { return add_run(c, true, err); }
static int org_patch(struct rest_call *c, struct err *err) { return change_token(c, true, patch, "org.access_token.update", err); }
static int org_drop(struct rest_call *c, struct err *err) { return change_token(c, true, drop, "org.access_token.delete", err); }
static int org_rotate(struct rest_call *c, struct err *err) { return change_token(c, true, rotate, "org.access_token.rotate", err); }

/* --- by its text: whoever holds it may end it. As RFC 7009 has it, one that is dead already is a success. */

static int owner_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct token_job *j = arg;
    struct account a;
    int rc = credential_tx_by_hash(tx, j->hash, clock_now(), &j->row, err);
    j->owner[0] = 0;
    if (rc == 1 && j->row.state != 2 && (rc = account_tx_by_id(tx, j->row.account_id, &a, err)) == 1)
        text_copy(j->owner, sizeof j->owner, str_of(a.name));
    return rc < 0 ? rc : 0;
}

static int revoke(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    int rc = owner_read(tx, j, err);
    return rc < 0 || j->owner[0] == 0 ? rc : credential_tx_revoke(tx, j->row.id, err);
}

static int revoke_run(struct rest_call *c, struct err *err)
{
    struct token_job j = {.c = c};
    struct str text = rest_text(c->body, "token");
    enum token_kind kind;
    struct change ch = {.right = RIGHT_PUBLIC, .fn = revoke, .arg = &j, .action = "token.revoke"};
    if (token_text_parse(text, &kind, err) < 0)
        return rest_wrong(c, err, "token", "%s", err->text);
    token_text_hash(ident_of(c->r)->credential_key, text, j.hash);
    int rc = db_read(ident_of(c->r)->db, owner_read, &j, err);
    if (rc < 0 || j.owner[0] == 0)
        return rc < 0 ? rc : rest_send(c, NULL);
    ch.accounts[0] = ch.object = str_of(j.owner);
    rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

/* --- members' tokens, as owners see them */

static struct str org_prefix(struct rest_call *c, const struct account *org)
{
    return str_of(arena_printf(&c->r->arena, "%s/", org->name));
}

static int members_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    auto_rows struct db_rows *rows = NULL;
    const struct account *org = req_account(c->r);
    int64_t n = rest_page(c);
    int rc = db_query(tx, MEMBERS, DB_ARGS(DB_I(org->id), DB_I(rest_after_int(c, 0, 0)), DB_T(org_prefix(c, org)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct credential_row row;
        json_t *doc = NULL;
        credential_map(rows, &row);
        rc = show_within(tx, &row, org_prefix(c, org), &doc, err);
        json_object_set_new(doc, "user", rest_json_text(db_text(rows, 12)));
        rest_add(c, doc, json_pack("[I]", (json_int_t)row.id));
    }
    return rc;
}

static int member_list(struct rest_call *c, struct err *err)
{
    int rc = account_is_org(req_account(c->r), err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, members_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static void map_name(const struct db_rows *row, void *out) { text_copy(out, ACCOUNT_NAME_MAX + 1, db_text(row, 0)); }

struct member_read {
    struct token_job *j;
    const struct account *org;
};

static int member_find(struct db_tx *tx, void *arg, struct err *err)
{
    const struct member_read *m = arg;
    int rc = db_one(tx, MEMBERS_ONE, DB_ARGS(DB_I(m->org->id), DB_I(m->j->id), DB_T(org_prefix(m->j->c, m->org))), map_name, m->j->owner, err);
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "there is no such token") : rc < 0 ? rc : 0;
}

static int member_revoke(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct token_job *j = ch->arg;
    struct member_read m = {j, &ch->now.account};
    int rc = member_find(tx, &m, err);
    return rc < 0 ? rc : credential_tx_revoke(tx, j->id, err);
}

static int member_drop(struct rest_call *c, struct err *err)
{
    struct token_job j = {.c = c, .org = true};
    struct member_read m = {&j, req_account(c->r)};
    int rc = parse_id(c->r->parts[1], &j.id, err);
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, member_find, &m, err);
    if (rc < 0)
        return rc;
    struct change ch = {.fn = member_revoke, .arg = &j, .accounts = {str_of(j.owner)}, .action = "org.member.token.revoke", .object = str_of(j.owner)};
    rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

#define ONE "/tokens/{id}"
#define ORG "/orgs/{org}"
const struct rest_route token_routes[] = {
    {REST_GET("/tokens", "token_list", RIGHT_OWN), own_list, "List own tokens", "tokens", .answer = &token, .cursor = "i"},
    {REST_POST("/tokens", "token_create", RIGHT_OWN), own_add, "Make a token", "tokens", .body = &token_new, .answer = &token_made,
     .status = 201, .also = {409}},
    {REST_POST("/tokens/revoke", "token_revoke_text", RIGHT_PUBLIC), revoke_run, "End a token by its text", "tokens", .body = &token_text,
     .also = {404}},
    {REST_GET(ONE, "token_get", RIGHT_OWN), own_get, "Read a token", "tokens", .answer = &token},
    {REST_PATCH(ONE, "token_update", RIGHT_OWN), own_patch, "Change a token", "tokens", .body = &token_patch, .answer = &token},
    {REST_DELETE(ONE, "token_revoke", RIGHT_OWN), own_drop, "Revoke a token", "tokens"},
    {REST_POST(ONE "/rotate", "token_rotate", RIGHT_OWN), own_rotate, "Give a token a new text", "tokens", .body = &rotation,
     .answer = &token_made},
    {REST_GET(ORG "/tokens", "org_token_list", RIGHT_ORG_TOKENS), org_list, "List the organization's tokens", "tokens",
     .answer = &token, .cursor = "i"},
    {REST_POST(ORG "/tokens", "org_token_create", RIGHT_ORG_TOKENS), org_add, "Make a token of the organization", "tokens",
     .body = &token_new, .answer = &token_made, .status = 201, .also = {409}},
    {REST_GET(ORG ONE, "org_token_get", RIGHT_ORG_TOKENS), org_get, "Read a token of the organization", "tokens", .answer = &token},
    {REST_PATCH(ORG ONE, "org_token_update", RIGHT_ORG_TOKENS), org_patch, "Change a token of the organization", "tokens",
     .body = &token_patch, .answer = &token},
    {REST_DELETE(ORG ONE, "org_token_revoke", RIGHT_ORG_TOKENS), org_drop, "Revoke a token of the organization", "tokens"},
    {REST_POST(ORG ONE "/rotate", "org_token_rotate", RIGHT_ORG_TOKENS), org_rotate, "Give a token of the organization a new text",
     "tokens", .body = &rotation, .answer = &token_made},
    {REST_GET(ORG "/member-tokens", "member_token_list", RIGHT_ORG_TOKENS), member_list,
     "List members' tokens that reach the organization", "tokens", .answer = &member_token, .cursor = "i"},
    {REST_DELETE(ORG "/member-tokens/{id}", "member_token_revoke", RIGHT_ORG_TOKENS), member_drop, "Revoke a member's token", "tokens"},
};
const size_t n_token_routes = ARRAY_LEN(token_routes);
