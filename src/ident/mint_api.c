/* GET and POST /token as registry clients ask for tokens, and the version check at /v2/.
 *
 * GET: Basic credentials or none; `scope` repeats, each may hold several parted by spaces. POST: a
 * form with grant_type=password. What is granted is the intersection of what was asked for and what
 * the caller may do at this moment; less than asked is not an error.
 *
 * POST /api/v1/token (RFC 8693): a token of an issuer that an organization trusts, for a keyless token. */
#include "ident/ident_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKEN_BODY_MAX = 32 << 10 };

struct scope_ask {
    char name[LIBRARY_MAX]; /* canonical; "*" the catalog */
    unsigned actions;
};
struct token_ask {
    struct ident *ident;
    struct principal *who; /* referenced */
    struct scope_ask asked[SCOPES_MAX];
    size_t n_asked;
    struct token_scope granted[SCOPES_MAX];
    size_t n_granted;
};

static unsigned actions_parse(struct str list)
{
    struct str a;
    unsigned set = 0;
    while (str_split(&list, ',', &a)) {
        if (str_is(a, "pull"))
            set |= ACTION_PULL;
        else if (str_is(a, "push"))
            set |= ACTION_PUSH;
        else if (str_is(a, "delete"))
            set |= ACTION_DELETE;
        else if (str_is(a, "*"))
            set |= ACTION_PULL | ACTION_PUSH | ACTION_DELETE;
    }
    return set;
}

/* type[(class)]:name:actions; the name may hold colons. What is not understood, or too much, is not granted:
 * less than was asked for is no error, the client asks again for what it then lacks. */
static void ask_parse(struct token_ask *t, struct str scope)
{
    const char *first = scope.n ? memchr(scope.p, ':', scope.n) : NULL;
    const char *last = scope.n ? memrchr(scope.p, ':', scope.n) : NULL;
    if (first == NULL || first == last || t->n_asked == SCOPES_MAX)
        return;
    struct str type = {scope.p, (size_t)(first - scope.p)};
    struct str name = {first + 1, (size_t)(last - first - 1)};
    struct str list = {last + 1, (size_t)(scope.p + scope.n - last - 1)};
    struct scope_ask *a = &t->asked[t->n_asked];
    const char *class = memchr(type.p, '(', type.n);
    if (class != NULL)
        type.n = (size_t)(class - type.p);
    if (str_is(type, "registry") && str_is(name, "catalog") && str_is(list, "*"))
        (void)snprintf(a->name, sizeof a->name, "*");
    else if (!str_is(type, "repository") || canonical_name(name, a->name, NULL) < 0)
        return;
    a->actions = actions_parse(list);
    t->n_asked++;
}

static void asks_parse(struct token_ask *t, struct str list)
{
    struct str one;
    while (str_split(&list, ' ', &one))
        ask_parse(t, one);
}

/* What the principal may do at this moment, as a set of ACTION_*. */
static int actions_live(struct db_tx *tx, const struct principal *p, struct str name, unsigned *ret, struct err *err)
{
    static const struct {
        enum right right;
        unsigned action;
    } each[] = {{RIGHT_PULL, ACTION_PULL}, {RIGHT_PUSH, ACTION_PUSH}, {RIGHT_DELETE, ACTION_DELETE}};
    struct gate g = {.repo.name = name};
    int rc = gate_tx_find(tx, p, OBJECT_REPO, &g, err);
    *ret = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(each); i++)
        if (gate_verdict(p, &g, each[i].right).answer == RIGHT_YES)
            *ret |= each[i].action;
    if (g.repo.fact)
        shared_unref(&g.repo.fact->shared);
    return rc;
}

static int grant(struct db_tx *tx, void *arg, struct err *err)
{
    struct token_ask *t = arg;
    t->n_granted = 0;
    for (size_t k = 0; k < t->n_asked; k++) {
        struct scope_ask *a = &t->asked[k];
        struct str name = str_of(a->name);
        unsigned have = 0;
        if (!str_is(name, "*")) {
            int rc = actions_live(tx, t->who, name, &have, err);
            if (rc < 0)
                return rc;
            have &= a->actions;
            if (have == 0)
                continue;
        }
        t->granted[t->n_granted++] = (struct token_scope){name, have};
    }
    return 0;
}

static void answer(struct http_req *r, struct token_ask *t)
{
    struct buf token, body;
    int64_t now = clock_now(), life = atomic_load(&t->ident->token_life);
    char issued[28];
    if (t->who->expires != 0 && t->who->expires - now < life) /* it ends with what it stems from */
        life = t->who->expires > now ? t->who->expires - now : 0;
    buf_init(&token, TOKEN_BODY_MAX);
    token_make(t->ident, t->who, t->granted, t->n_granted, now, &token);
    clock_rfc3339(issued, now);
    buf_init(&body, 2 * TOKEN_BODY_MAX);
    buf_cstr(&body, "{\"token\":");
    buf_json(&body, buf_view(&token));
    buf_cstr(&body, ",\"access_token\":");
    buf_json(&body, buf_view(&token));
    buf_printf(&body, ",\"expires_in\":%lld,\"issued_at\":\"%s\"}\n",
               (long long)(life / 1000000), issued);
    metric_add(METRIC_TOKENS, 1);
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send_buf(r, &body);
    secret_wipe(token.p, token.n);
    buf_release(&token);
}

static int finish(struct http_req *r, struct token_ask *t, int rc, struct err *err)
{
    if (rc == 0)
        rc = db_read(t->ident->db, grant, t, err);
    if (rc == 0) {
        r->log_user = t->who->name[0] ? str_dup(&r->arena, str_of(t->who->name)) : NULL;
        answer(r, t);
    } else if (rc == ERR_UNAUTHORIZED) {
        http_add(r, "WWW-Authenticate", STR_LIT("Basic realm=\"berth\""));
    }
    if (t->who)
        shared_unref(&t->who->shared);
    return rc;
}

static struct token_ask *ask_new(struct http_req *r)
{
    struct token_ask *t = arena_zalloc(&r->arena, sizeof *t);
    t->ident = ident_of(r);
    return t;
}

static int token_get(struct http_req *r, struct err *err)
{
    struct token_ask *t = ask_new(r);
    struct credential c = credential_of(r);
    struct str scope;
    size_t at = 0;
    int rc, more;
    while ((more = http_query(r, "scope", &at, &scope)) == 1)
        asks_parse(t, scope);
    if (more < 0)
        return err_set(err, ERR_INVALID, "the query is not well encoded");
    if (c.kind == CREDENTIAL_NONE) {
        t->who = principal_new((struct str){NULL, 0}, 0);
        rc = 0;
    } else if (c.kind == CREDENTIAL_BASIC) {
        rc = credential_verify(t->ident, r, &c, &t->who, err);
    } else {
        rc = err_set(err, ERR_UNAUTHORIZED, "the token endpoint takes Basic credentials or none");
    }
    return finish(r, t, rc, err);
}

/* 1 with the next value of a field, 0 none. */
static int form_next(struct http_req *r, const char *name, size_t *at, struct str *ret, struct err *err)
{
    int rc = http_form(r, name, at, ret);
    return rc < 0 ? err_set(err, ERR_INVALID, "the form is not well encoded") : rc;
}

/* First value of a form field; empty when absent. */
static int form_field(struct http_req *r, const char *name, struct str *ret, struct err *err)
{
    size_t at = 0;
    *ret = STR_LIT("");
    int rc = form_next(r, name, &at, ret, err);
    return rc < 0 ? rc : 0;
}

static int token_post(struct http_req *r, struct err *err)
{
    struct token_ask *t = ask_new(r);
    struct str grant_type, user, password, scope;
    size_t at = 0;
    int rc;
    if (!http_is_type(r, "application/x-www-form-urlencoded"))
        return err_set(err, ERR_INVALID,
                       "Content-Type must be application/x-www-form-urlencoded");
    if ((rc = form_field(r, "grant_type", &grant_type, err)) < 0 ||
        (rc = form_field(r, "username", &user, err)) < 0 ||
        (rc = form_field(r, "password", &password, err)) < 0)
        return rc;
    while ((rc = form_next(r, "scope", &at, &scope, err)) == 1)
        asks_parse(t, scope);
    if (rc < 0)
        return rc;
    if (!str_is(grant_type, "password"))
        return err_set(err, ERR_INVALID, "grant_type must be password; or use GET with Basic credentials");
    rc = credential_password(t->ident, r, user, password, &t->who, err);
    if (rc == 0 && t->who->second_factor && t->who->credential_id == 0)
        rc = second_factor_missing(t->ident, r, t->who, err);
    return finish(r, t, rc, err);
}

static int token_run(struct http_req *r, struct err *err)
{
    return r->method == HTTP_POST ? token_post(r, err) : token_get(r, err);
}

/* --- exchange. Errors as RFC 6749 5.2 has them. */

static int exchange_error(struct http_req *r, unsigned status, const char *code, const char *text)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "{\"error\":\"%s\",\"error_description\":", code);
    buf_json(&body, str_of(text));
    buf_cstr(&body, "}\n");
    http_status(r, status);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send_buf(r, &body);
    return 0;
}

static void exchange_answer(struct http_req *r, const char *text, int64_t expires)
{
    struct buf body;
    buf_init(&body, 4096);
    buf_printf(&body, "{\"access_token\":\"%s\",\"issued_token_type\":\"urn:ietf:params:oauth:token-type:access_token\","
               "\"token_type\":\"Bearer\",\"expires_in\":%lld}\n", text, (long long)((expires - clock_now()) / 1000000));
    metric_add(METRIC_TOKENS, 1);
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send_buf(r, &body);
}

static int exchange_run(struct http_req *r, struct err *err)
{
    struct str grant_type, token, type, rule;
    char text[TOKEN_TEXT_LEN + 1];
    struct err why = {0};
    int64_t expires = 0;
    if (!http_is_type(r, "application/x-www-form-urlencoded") || form_field(r, "grant_type", &grant_type, &why) < 0 ||
        form_field(r, "subject_token", &token, &why) < 0 || form_field(r, "subject_token_type", &type, &why) < 0 ||
        form_field(r, "rule", &rule, &why) < 0)
        return exchange_error(r, 400, "invalid_request", "a form (application/x-www-form-urlencoded) is expected");
    if (!str_is(grant_type, "urn:ietf:params:oauth:grant-type:token-exchange"))
        return exchange_error(r, 400, "unsupported_grant_type", "grant_type must be urn:ietf:params:oauth:grant-type:token-exchange");
    if (!str_is(type, "urn:ietf:params:oauth:token-type:jwt") && !str_is(type, "urn:ietf:params:oauth:token-type:id_token"))
        return exchange_error(r, 400, "invalid_request", "subject_token_type must be urn:ietf:params:oauth:token-type:jwt or :id_token");
    int rc = credential_exchange(ident_of(r), r, rule, token, text, &expires, err);
    if (rc == ERR_UNAUTHORIZED)
        return exchange_error(r, 400, "invalid_grant", err->text);
    if (rc < 0)
        return rc;
    exchange_answer(r, text, expires);
    secret_wipe(text, sizeof text);
    return 0;
}

/* --- /v2/ */

static bool ping_fast(struct http_req *r)
{
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_send(r, STR_LIT("{}\n"));
    return true;
}

static int ping_run(struct http_req *r, struct err *err)
{
    (void)err;
    (void)ping_fast(r);
    return 0;
}

const struct http_route ident_routes[] = {
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/v2/", .label = "ping", .right = RIGHT_CHALLENGE,
     .body = HTTP_NONE, .fast = ping_fast, .run = ping_run},
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/v2", .label = "ping", .right = RIGHT_CHALLENGE,
     .body = HTTP_NONE, .fast = ping_fast, .run = ping_run},
    {.methods = HTTP_GET | HTTP_POST, .pattern = "/token", .label = "token", .right = RIGHT_PUBLIC,
     .body = HTTP_BUFFER, .cap_key = -1, .too_large = ERR_TOO_LARGE, .run = token_run},
    {.methods = HTTP_POST, .pattern = "/api/v1/token", .label = "token_exchange", .right = RIGHT_PUBLIC, .dialect = HTTP_PROBLEM,
     .body = HTTP_BUFFER, .cap_key = -1, .too_large = ERR_TOO_LARGE, .run = exchange_run},
};
const size_t n_ident_routes = ARRAY_LEN(ident_routes);
