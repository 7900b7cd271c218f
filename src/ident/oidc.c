/* Sign-on by OpenID Connect: authorization code with PKCE (S256), state and nonce, one provider that the operator names.
 *
 * What the way to the provider and back needs stands sealed in a cookie of ten minutes, so that only the browser that set out can come back
 * (login CSRF, code injection), and nothing is kept here. The provider's word is its ID token: signed by the keys of its issuer, for this
 * client, with this nonce, not older than ten minutes; the access token that came with it must be its own (at_hash). `iss` of the
 * answer (RFC 9207) is compared when it is there, and must be there when the provider says that it sends it (mix-up).
 *
 * Who that is: (issuer's name here, sub). An e-mail address is none (T11): see outsider.c. */
#include "crypt/hash.h"
#include "ident/api.h"
#include "ident/outside.h"

#include <stdlib.h>

enum { ANSWER_MAX = 64 << 10, ID_TOKEN_AGE_S = 600, SKEW_S = 60, RANDOM = 32, RANDOM_TEXT = 43, GROUPS_MAX = 1000, SCOPES_TEXT_MAX = 500 };
#define WAY_US ((int64_t)10 * 60 * 1000000)
#define TOKEN_US ((int64_t)10 * 1000000)
#define CALLBACK "/login/oidc/callback"
/* at_hash is half of the hash of the token's alg: SHA-256 of these. */
#define ALGS (JWT_ALG_BIT(JWT_RS256) | JWT_ALG_BIT(JWT_PS256) | JWT_ALG_BIT(JWT_ES256))

struct provider {
    char *issuer, *client, *secret, *scopes, *groups, *name;
};
struct way { /* what the cookie keeps */
    char state[RANDOM_TEXT + 1], nonce[RANDOM_TEXT + 1], verifier[RANDOM_TEXT + 1];
    int64_t end;
};
static const struct seal_place place = {"cookie", "oidc", 0};

int provider_new(struct provider **ret, const struct net *net, const struct config *c, struct err *err)
{
    struct net_end end = {.url = config_text(c, OIDC_ISSUER), .who = NET_OPERATOR};
    *ret = NULL;
    if (end.url[0] == 0)
        return 0;
    if (strlen(end.url) > ISSUER_MAX || net_end_check(net, &end, NET_HTTP, NULL, err) < 0)
        return err_set(err, ERR_USAGE, "oidc_issuer: \"%s\" is no https:// URL of an issuer", end.url);
    if (config_text(c, OIDC_CLIENT_ID)[0] == 0)
        return err_set(err, ERR_USAGE, "oidc_client_id is missing beside oidc_issuer");
    struct provider *p = mem_zalloc(sizeof *p);
    p->issuer = mem_strdup(end.url);
    p->client = mem_strdup(config_text(c, OIDC_CLIENT_ID));
    p->secret = mem_strdup(config_text(c, OIDC_CLIENT_SECRET));
    p->scopes = mem_strdup(config_text(c, OIDC_SCOPES));
    p->groups = mem_strdup(config_text(c, OIDC_GROUPS_CLAIM));
    p->name = mem_strdup("oidc:sso");
    *ret = p;
    return 0;
}

void provider_free(struct provider *p)
{
    if (!p)
        return;
    secret_wipe(p->secret, strlen(p->secret));
    char *const all[] = {p->issuer, p->client, p->secret, p->scopes, p->groups, p->name};
    for (size_t k = 0; k < ARRAY_LEN(all); k++)
        free(all[k]);
    free(p);
}

static int no_provider(struct err *err) { return err_set(err, ERR_NOT_FOUND, "no identity provider is configured"); }
static int refused(struct err *err, const char *why) { return err_set(err, ERR_UNAUTHORIZED, "the sign-on is refused: %s", why); }

static const char *endpoint(const struct issuer_keys *k, const char *name, struct err *err)
{
    const char *url = json_string_value(json_object_get(k->configuration, name));
    if (url == NULL || strncmp(url, "https://", 8) != 0) {
        err_set(err, ERR_UNAVAILABLE, "the identity provider's configuration has no https:// URL as %s", name);
        return NULL;
    }
    return url;
}

/* --- cookies: __Host- binds them to this host and to TLS; over http:// there is only the plain name */

static bool secure(const struct ident *i) { return strncmp(i->url, "https://", 8) == 0; }

static void set_cookie(struct http_req *r, const char *name, struct str value, int64_t seconds)
{
    bool tls = secure(ident_of(r));
    http_addf(r, "Set-Cookie", "%s%s=%.*s; Path=/; HttpOnly; SameSite=Lax%s; Max-Age=%lld", tls ? "__Host-" : "", name, STR_FMT(value),
              tls ? "; Secure" : "", (long long)seconds);
}

static void redirect(struct http_req *r, struct str url)
{
    http_status(r, 303);
    http_add(r, "Location", url);
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_add(r, "Referrer-Policy", STR_LIT("no-referrer"));
    http_send(r, STR_LIT(""));
}

/* --- setting out */

static void random_text(char out[RANDOM_TEXT + 1])
{
    uint8_t raw[RANDOM];
    secret_random(raw, sizeof raw);
    (void)base64url_encode(out, raw, sizeof raw);
}

static void add(struct buf *b, const char *name, struct str value)
{
    buf_printf(b, "%s%s=", strchr(b->p, '?') && b->p[b->n - 1] != '?' ? "&" : strchr(b->p, '?') ? "" : "?", name);
    url_encode(b, value);
    buf_char(b, 0);
    b->n--; /* stays a text for strchr */
}

static struct str challenge(const struct way *w, char out[RANDOM_TEXT + 1])
{
    struct digest d;
    hash_bytes(DIGEST_SHA256, w->verifier, RANDOM_TEXT, &d);
    return (struct str){out, base64url_encode(out, d.bytes, 32)};
}

static int seal_way(struct ident *i, const struct way *w, struct http_req *r, struct str *ret, struct err *err)
{
    struct buf b;
    buf_init(&b, sizeof *w + SEAL_OVERHEAD);
    (void)pthread_mutex_lock(&i->seal_lock);
    int rc = seal_close(&i->seal, place, (struct str){(const char *)w, sizeof *w}, &b, err);
    (void)pthread_mutex_unlock(&i->seal_lock);
    char *text = arena_alloc(&r->arena, 2 * b.n + 4);
    *ret = (struct str){text, base64url_encode(text, b.p, b.n)};
    buf_release(&b);
    return rc;
}

static int start_run(struct http_req *r, struct err *err)
{
    struct ident *i = ident_of(r);
    const struct provider *p = i->provider;
    struct issuer_keys *keys = NULL;
    struct way w = {.end = clock_now() + WAY_US};
    char code[RANDOM_TEXT + 1];
    struct str cookie, to;
    struct buf b;
    if (p == NULL)
        return no_provider(err);
    int rc = issuer_keys(i->issuers, r->server, NET_OPERATOR, p->issuer, false, &keys, err);
    if (rc < 0)
        return rc;
    random_text(w.state);
    random_text(w.nonce);
    random_text(w.verifier);
    const char *url = endpoint(keys, "authorization_endpoint", err);
    if (url == NULL || (rc = seal_way(i, &w, r, &cookie, err)) < 0) {
        shared_unref(&keys->shared);
        return url == NULL ? ERR_UNAVAILABLE : rc;
    }
    buf_init(&b, 16 << 10);
    buf_printf(&b, "%s", url);
    shared_unref(&keys->shared);
    add(&b, "response_type", STR_LIT("code"));
    add(&b, "client_id", str_of(p->client));
    add(&b, "redirect_uri", str_of(arena_printf(&r->arena, "%s" CALLBACK, i->url)));
    add(&b, "scope", str_of(p->scopes));
    add(&b, "state", str_of(w.state));
    add(&b, "nonce", str_of(w.nonce));
    add(&b, "code_challenge", challenge(&w, code));
    add(&b, "code_challenge_method", STR_LIT("S256"));
    to = str_of(str_dup(&r->arena, buf_view(&b)));
    buf_release(&b);
    set_cookie(r, "berth-oidc", cookie, WAY_US / 1000000);
    redirect(r, to);
    secret_wipe(&w, sizeof w);
    return 0;
}

/* --- coming back */

static bool open_way(struct http_req *r, struct way *ret)
{
    struct ident *i = ident_of(r);
    struct str cookie;
    struct buf b;
    if (http_cookie(r, secure(i) ? "__Host-berth-oidc" : "berth-oidc", &cookie) != 1 || cookie.n > 1024)
        return false;
    uint8_t *raw = arena_alloc(&r->arena, cookie.n + 1);
    long n = base64url_decode(raw, cookie.n, cookie);
    if (n <= 0)
        return false;
    buf_init(&b, sizeof *ret);
    (void)pthread_mutex_lock(&i->seal_lock);
    int rc = seal_open(&i->seal, place, (struct str){(const char *)raw, (size_t)n}, &b, NULL);
    (void)pthread_mutex_unlock(&i->seal_lock);
    bool good = rc == 0 && b.n == sizeof *ret;
    if (good)
        memcpy(ret, b.p, sizeof *ret);
    if (b.p)
        secret_wipe(b.p, b.n);
    buf_release(&b);
    return good && clock_now() < ret->end;
}

static int parameter(struct http_req *r, const char *name, struct str *ret)
{
    size_t at = 0;
    struct str again;
    *ret = (struct str){NULL, 0};
    int rc = http_query(r, name, &at, ret);
    return rc == 1 && http_query(r, name, &at, &again) != 0 ? -1 : rc; /* twice: whose is which? */
}

static int check_answer(struct http_req *r, const struct provider *p, const struct issuer_keys *keys, const struct way *w, struct str *ret_code,
                        struct err *err)
{
    struct str state, iss, error;
    int has_state = parameter(r, "state", &state), has_iss = parameter(r, "iss", &iss), has_error = parameter(r, "error", &error),
        has_code = parameter(r, "code", ret_code);
    if (has_state != 1 || state.n != RANDOM_TEXT || !secret_equal(state.p, w->state, RANDOM_TEXT))
        return refused(err, "this browser did not begin it, or began another one meanwhile");
    if (has_iss < 0 || (has_iss == 1 && !str_is(iss, p->issuer)))
        return refused(err, "the answer is of another provider");
    if (has_iss == 0 && json_is_true(json_object_get(keys->configuration, "authorization_response_iss_parameter_supported")))
        return refused(err, "the answer does not say of which provider it is");
    if (has_error != 0)
        return refused(err, "the provider did not log you in");
    return has_code == 1 && ret_code->n > 0 && ret_code->n < 2048 ? 0 : refused(err, "the answer has no code");
}

static char *credentials(struct http_req *r, const struct provider *p)
{
    struct buf b;
    buf_init(&b, 8 << 10);
    url_encode(&b, str_of(p->client));
    buf_char(&b, ':');
    url_encode(&b, str_of(p->secret));
    char *text = arena_alloc(&r->arena, 2 * b.n + 16);
    memcpy(text, "Basic ", 6);
    (void)base64_encode(text + 6, b.p, b.n);
    secret_wipe(b.p, b.n);
    buf_release(&b);
    return text;
}

/* The code for tokens: an object with id_token and access_token. */
static int redeem(struct http_req *r, const struct provider *p, const char *url, struct str code, const struct way *w, json_t **ret, struct err *err)
{
    struct ident *i = ident_of(r);
    struct net_end end = {.url = url, .who = NET_OPERATOR};
    struct net_header headers[] = {{"Content-Type", "application/x-www-form-urlencoded"}, {"Accept", "application/json"}, {"Authorization", NULL}};
    struct net_answer a = {0};
    struct err why = {0};
    struct buf b;
    buf_init(&b, 16 << 10);
    buf_cstr(&b, "grant_type=authorization_code&code=");
    url_encode(&b, code);
    buf_cstr(&b, "&redirect_uri=");
    url_encode(&b, str_of(arena_printf(&r->arena, "%s" CALLBACK, i->url)));
    buf_printf(&b, "&code_verifier=%s&client_id=", w->verifier);
    url_encode(&b, str_of(p->client));
    if (p->secret[0])
        headers[2].value = credentials(r, p);
    struct net_call call = {.method = "POST", .headers = headers, .n_headers = p->secret[0] ? 3 : 2, .body = buf_view(&b), .cap = ANSWER_MAX,
                            .timeout = TOKEN_US};
    http_aside(r->server, true);
    int rc = net_http(i->net, &end, &call, &a, &why);
    http_aside(r->server, false);
    secret_wipe(b.p, b.n);
    buf_release(&b);
    if (rc < 0) {
        log_line(LOG_WARN, "the identity provider cannot be asked", F_CSTR("error", why.text));
        return err_set(err, ERR_UNAVAILABLE, "the identity provider cannot be asked at the moment");
    }
    rc = a.status != 200 ? refused(err, "the provider does not take its code back")
                         : json_strict(buf_view(&a.body), (struct json_caps){ANSWER_MAX, 8, 4096}, ret, NULL);
    net_answer_release(&a);
    return rc < 0 ? refused(err, "the provider does not take its code back") : 0;
}

/* The access token that came beside the ID token is the one that the provider made with it. */
static bool own_access_token(const json_t *claims, const json_t *answer)
{
    const json_t *hash = json_object_get(claims, "at_hash"), *access = json_object_get(answer, "access_token");
    struct digest d;
    char text[RANDOM_TEXT + 1];
    if (hash == NULL)
        return true;
    if (!json_is_string(hash) || !json_is_string(access))
        return false;
    hash_bytes(DIGEST_SHA256, json_string_value(access), json_string_length(access), &d);
    size_t n = base64url_encode(text, d.bytes, 16);
    return json_string_length(hash) == n && secret_equal(json_string_value(hash), text, n);
}

static struct str claim(const json_t *claims, const char *name, size_t most)
{
    const json_t *v = json_object_get(claims, name);
    return json_is_string(v) && json_string_length(v) <= most ? (struct str){json_string_value(v), json_string_length(v)} : STR_LIT("");
}

static int come(struct http_req *r, const struct provider *p, const json_t *claims, struct account *ret, struct err *err)
{
    const json_t *list = json_object_get(claims, p->groups), *one;
    struct str *groups = arena_zalloc(&r->arena, size_mul(json_array_size(list) + 1, sizeof *groups));
    struct outsider o = {.provider = p->name, .subject = claim(claims, "sub", 255), .name = claim(claims, "preferred_username", 255),
                         .full_name = claim(claims, "name", FULL_NAME_MAX), .email = claim(claims, "email", EMAIL_MAX), .groups = groups,
                         .groups_known = json_is_array(list) && json_array_size(list) <= GROUPS_MAX};
    size_t at;
    json_array_foreach(list, at, one)
    {
        if (json_is_string(one) && o.groups_known)
            groups[o.n_groups++] = (struct str){json_string_value(one), json_string_length(one)};
    }
    if (o.name.n == 0)
        o.name = o.email.n > 0 ? o.email : o.subject;
    return outsider_login(ident_of(r), r, &o, ret, err);
}

static int finish(struct http_req *r, const struct provider *p, const json_t *answer, const struct way *w, struct account *ret, struct err *err)
{
    struct ident *i = ident_of(r);
    struct jwt t = {NULL, NULL};
    struct jwt_expect want = {.iss = p->issuer, .aud = p->client, .azp = p->client, .nonce = w->nonce, .now = clock_now() / 1000000,
                              .skew = SKEW_S, .max_age = ID_TOKEN_AGE_S};
    const json_t *id = json_object_get(answer, "id_token");
    if (!json_is_string(id))
        return refused(err, "the provider sent no ID token");
    int rc = issuer_verify(i->issuers, r->server, NET_OPERATOR, p->issuer, (struct str){json_string_value(id), json_string_length(id)}, ALGS, &t, err);
    if (rc == 0)
        rc = jwt_claims_check(t.claims, &want, err);
    if (rc == 0 && !own_access_token(t.claims, answer))
        rc = refused(err, "its access token is another one's");
    if (rc == 0)
        rc = come(r, p, t.claims, ret, err);
    jwt_release(&t);
    return rc;
}

static int sign_on(struct http_req *r, struct account *ret, struct err *err)
{
    struct ident *i = ident_of(r);
    const struct provider *p = i->provider;
    struct issuer_keys *keys = NULL;
    json_t *answer = NULL;
    struct way w;
    struct str code;
    const char *url;
    if (p == NULL)
        return no_provider(err);
    if (!open_way(r, &w))
        return refused(err, "this browser did not begin it, or it took longer than ten minutes");
    int rc = issuer_keys(i->issuers, r->server, NET_OPERATOR, p->issuer, false, &keys, err);
    if (rc < 0)
        return rc;
    rc = check_answer(r, p, keys, &w, &code, err);
    if (rc == 0 && (url = endpoint(keys, "token_endpoint", err)) == NULL)
        rc = ERR_UNAVAILABLE;
    if (rc == 0)
        rc = redeem(r, p, url, code, &w, &answer, err);
    shared_unref(&keys->shared);
    if (rc == 0)
        rc = finish(r, p, answer, &w, ret, err);
    json_decref(answer);
    secret_wipe(&w, sizeof w);
    return rc;
}

static int callback_run(struct http_req *r, struct err *err)
{
    struct account a = {0};
    char text[TOKEN_TEXT_LEN + 1];
    int rc = sign_on(r, &a, err);
    set_cookie(r, "berth-oidc", STR_LIT(""), 0);
    if (rc == 0)
        rc = session_of_account(r, a.id, text, err);
    record_login(ident_of(r), r, NULL, str_of(rc == 0 ? a.name : "oidc"), rc == 0 ? AUDIT_DONE : AUDIT_REFUSED);
    if (rc == ERR_UNAUTHORIZED)
        return err->code = ERR_DENIED; /* no challenge would help a browser */
    if (rc < 0)
        return rc;
    set_cookie(r, "berth", str_of(str_dup(&r->arena, str_of(text))), SESSION_LIFE_US / 1000000);
    secret_wipe(text, sizeof text);
    redirect(r, STR_LIT("/account"));
    return 0;
}

/* --- back-channel logout (OpenID Connect Back-Channel Logout 1.0): the provider says that somebody left */

static int left(struct db_tx *tx, void *arg, struct err *err)
{
    const struct account *a = arg;
    return identity_tx_left(tx, a->id, err);
}

static int check_logout(const json_t *claims, const struct provider *p, struct err *err)
{
    struct jwt_expect want = {.iss = p->issuer, .aud = p->client, .now = clock_now() / 1000000, .skew = SKEW_S, .max_age = ID_TOKEN_AGE_S};
    const json_t *events = json_object_get(claims, "events");
    int rc = jwt_claims_check(claims, &want, err);
    if (rc == 0 && (!json_is_object(json_object_get(events, "http://schemas.openid.net/event/backchannel-logout")) ||
                    json_object_get(claims, "nonce") != NULL))
        rc = refused(err, "it is no logout token");
    return rc;
}

static int logout_run(struct http_req *r, struct err *err)
{
    struct ident *i = ident_of(r);
    const struct provider *p = i->provider;
    struct jwt t = {NULL, NULL};
    struct str token;
    struct account a = {0};
    size_t at = 0;
    if (p == NULL)
        return no_provider(err);
    if (!http_is_type(r, "application/x-www-form-urlencoded") || http_form(r, "logout_token", &at, &token) != 1)
        return err_set(err, ERR_INVALID, "a form with logout_token is expected");
    int rc = issuer_verify(i->issuers, r->server, NET_OPERATOR, p->issuer, token, ALGS, &t, err);
    if (rc == 0)
        rc = check_logout(t.claims, p, err);
    if (rc == 0)
        rc = outsider_find(i, p->name, claim(t.claims, "sub", 255), &a, err);
    jwt_release(&t);
    if (rc == 1) {
        gen_begin(GEN_USER, str_of(a.name));
        rc = db_write(i->db, left, &a, err);
        gen_end(GEN_USER, str_of(a.name));
    }
    if (rc < 0)
        return rc == ERR_UNAUTHORIZED ? (err->code = ERR_INVALID) : rc;
    http_status(r, 200);
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send(r, STR_LIT(""));
    return 0;
}

const struct http_route oidc_routes[] = {
    {.methods = HTTP_GET, .pattern = "/login/oidc", .label = "oidc_start", .right = RIGHT_PUBLIC, .dialect = HTTP_PROBLEM, .body = HTTP_NONE, .run = start_run},
    {.methods = HTTP_GET, .pattern = CALLBACK, .label = "oidc_callback", .right = RIGHT_PUBLIC, .dialect = HTTP_PROBLEM, .body = HTTP_NONE,
     .run = callback_run},
    {.methods = HTTP_POST, .pattern = "/login/oidc/logout", .label = "oidc_logout", .right = RIGHT_PUBLIC, .dialect = HTTP_PROBLEM, .body = HTTP_BUFFER,
     .cap_key = -1, .too_large = ERR_TOO_LARGE, .run = logout_run},
};
const size_t n_oidc_routes = ARRAY_LEN(oidc_routes);
