/* Log in: the two old ways and the one that Docker Hub prefers. */
#include "crypt/secret.h"
#include "hub/hub_int.h"

enum { TOKEN_MAX = 32 << 10 };
static const int64_t login_life = INT64_C(3600) * 1000000, token_life = INT64_C(600) * 1000000;
static const struct rest_field login_query[] = {{"refresh_token", REST_BOOL, .about = "answer with one, too"}, {0}};
static const struct rest_schema login_body = {
    "HubLogin", "Name and password; a token is a password, too.", (const struct rest_field[]){
        {"username", REST_STRING, .required = true, .max = NAME_MAX_BYTES},
        {"password", REST_STRING, .required = true, .max = 1024},
        {0}}};
static const struct rest_schema login_answer = {
    "HubToken", "A token of the API.", (const struct rest_field[]){
        {"token", REST_STRING, .required = true}, {"refresh_token", REST_STRING, .about = "when it was asked for"}, {0}}};
static const struct rest_schema factor_body = {
    "HubFactor", "The second step of a login.", (const struct rest_field[]){
        {"login_2fa_token", REST_STRING, .required = true, .max = 4096}, {"code", REST_STRING, .required = true, .max = 64}, {0}}};
static const struct rest_schema secret_body = {
    "HubIdentifier", "A user or an organization, and a password or token.", (const struct rest_field[]){
        {"identifier", REST_STRING, .required = true, .max = NAME_MAX_BYTES},
        {"secret", REST_STRING, .required = true, .max = 1024},
        {0}}};
static const struct rest_schema secret_answer = {
    "HubAccessToken", "A token of the API that lives ten minutes.", (const struct rest_field[]){
        {"access_token", REST_STRING, .required = true}, {0}}};

/* Sends the token under this name; clients that ask for a refresh token keep it beside: it is the same, and ends with it. */
static int answer(struct rest_call *c, int rc, struct buf *token, const char *member)
{
    if (rc == 0) {
        json_t *doc = json_pack("{s:s%}", member, token->p, token->n);
        if (rest_bool(c->query, "refresh_token", false))
            json_object_set_new(doc, "refresh_token", json_stringn(token->p, token->n));
        rc = rest_send(c, doc);
    }
    if (token->p != NULL)
        secret_wipe(token->p, token->n);
    buf_release(token);
    return rc;
}

static int login_run(struct rest_call *c, struct err *err)
{
    struct buf token;
    int64_t expires;
    buf_init(&token, TOKEN_MAX);
    int rc = ident_login(c->r, rest_text(c->body, "username"), rest_text(c->body, "password"), login_life, &token, &expires, err);
    return answer(c, rc, &token, "token");
}

static int factor_run(struct rest_call *c, struct err *err)
{
    struct buf token;
    int64_t expires;
    struct login_proof proof = {.code = rest_text(c->body, "code")};
    buf_init(&token, TOKEN_MAX);
    int rc = ident_login_factor(c->r, rest_text(c->body, "login_2fa_token"), &proof, login_life, &token, &expires, err);
    return answer(c, rc, &token, "token");
}

static int secret_run(struct rest_call *c, struct err *err)
{
    struct buf token;
    int64_t expires;
    buf_init(&token, TOKEN_MAX);
    int rc = ident_login(c->r, rest_text(c->body, "identifier"), rest_text(c->body, "secret"), token_life, &token, &expires, err);
    return answer(c, rc, &token, "access_token");
}

/* They change nothing, so they go on when the hub is read-only. */
#define LOGIN_ROW(path, label) REST_HTTP(HTTP_POST, "/v2", path, label, RIGHT_PUBLIC, HTTP_HUB, false)
const struct rest_route hub_login_routes[] = {
    {LOGIN_ROW("/users/login", "hub_login"), login_run, "Log in", "hub", .query = login_query, .body = &login_body,
     .answer = &login_answer, .also = {401}},
    {LOGIN_ROW("/users/2fa-login", "hub_login_2fa"), factor_run, "Log in, second step", "hub", .query = login_query,
     .body = &factor_body, .answer = &login_answer, .also = {401}},
    {LOGIN_ROW("/auth/token", "hub_auth_token"), secret_run, "A token of the API", "hub", .body = &secret_body,
     .answer = &secret_answer, .also = {401}},
};
const size_t n_hub_login_routes = ARRAY_LEN(hub_login_routes);
