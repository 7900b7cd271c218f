/* Logging in: the password, then the second factor of who has one. */
#include "ident/api.h"

static const struct rest_schema login = {
    "Login", "Name and password, or name and token.", (const struct rest_field[]){
        {"username", REST_STRING, .required = true, .max = NAME_MAX_BYTES},
        {"password", REST_STRING, .required = true, .max = PASSWORD_MAX},
        {0}}};
static const struct rest_schema login_answer = {
    "LoginToken", "A short token for the API.", (const struct rest_field[]){
        {"token", REST_STRING, .required = true, .about = "Authorization: Bearer"},
        {"expires_at", REST_TIME, .required = true},
        {0}}};
static const struct rest_schema login_second = {
    "LoginFactor", "The ticket of a login that was right so far, and the second factor: a code, or a key's answer.",
    (const struct rest_field[]){
        {"ticket", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN},
        {"code", REST_STRING, .max = 64, .about = "six digits of the authenticator app, or a recovery code"},
        {"webauthn", REST_STRING, .max = WEBAUTHN_ANSWER_MAX, .about = "JSON of the browser's PublicKeyCredential (toJSON)"},
        {0}}};
static const struct rest_schema ticket_body = {
    "LoginTicket", "The ticket of a login that was right so far.", (const struct rest_field[]){
        {"ticket", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN}, {0}}};
static const struct rest_schema options_answer = {
    "LoginOptions", "What a security key is asked.", (const struct rest_field[]){
        {"options", REST_STRING, .required = true, .about = "JSON for navigator.credentials.get (parseRequestOptionsFromJSON)"}, {0}}};

/* --- tickets */

struct ticket_job {
    struct http_req *r;
    struct ident *ident;
    int64_t account_id;
    struct once_code code;
    struct once ticket;
    struct webauthn_ask ask;
    struct str *ids;
    size_t n_ids;
};

static int ticket_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct ticket_job *j = arg;
    return once_tx_add(tx, ONCE_LOGIN, j->code.hash, j->account_id, STR_LIT(""), LOGIN_TICKET_US, err);
}

int login_ticket(struct http_req *r, int64_t account_id, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    struct ticket_job j = {.ident = ident_of(r), .account_id = account_id};
    once_make(j.ident, &j.code);
    int rc = db_write(j.ident->db, ticket_write, &j, err);
    memcpy(ret_text, j.code.text, sizeof j.code.text);
    secret_wipe(&j.code, sizeof j.code);
    return rc;
}

static int options_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct ticket_job *j = arg;
    char hex[2 * WEBAUTHN_CHALLENGE + 1];
    int rc = once_tx_find(tx, ONCE_LOGIN, j->code.hash, &j->ticket, err);
    if (rc != 1)
        return rc < 0 ? rc : err_set(err, ERR_UNAUTHORIZED, "the login took too long, or was completed: begin again with the password");
    if ((rc = factor_ids(tx, j->ticket.account_id, &j->r->arena, &j->ids, &j->n_ids, err)) < 0)
        return rc;
    hex_encode(hex, j->ask.challenge, sizeof j->ask.challenge);
    return once_tx_payload(tx, j->ticket.id, str_of(hex), err);
}

int ident_login_options(struct http_req *r, struct str ticket, struct buf *ret_json, struct err *err)
{
    struct ticket_job j = {.r = r, .ident = ident_of(r)};
    int rc = once_hash(j.ident, ticket, j.code.hash, err);
    if (rc < 0)
        return rc;
    j.ask.site = factor_site(j.ident);
    secret_random(j.ask.challenge, sizeof j.ask.challenge);
    if ((rc = db_write(j.ident->db, options_write, &j, err)) < 0)
        return rc;
    if (j.n_ids == 0 || j.ident->rp_id[0] == 0)
        return err_set(err, ERR_CONFLICT, "the account has no security key: use a code");
    webauthn_request_json(ret_json, &j.ask, j.ids, j.n_ids);
    return 0;
}

/* --- the steps */

int login_password(struct http_req *r, struct str name, struct str password, struct principal **ret, struct err *err)
{
    struct ident *i = ident_of(r);
    struct principal *p = NULL;
    char ticket[TOKEN_TEXT_LEN + 1];
    int rc = credential_password(i, r, name, password, &p, err);
    if (rc < 0)
        return rc == ERR_UNAUTHORIZED ? err_set(err, rc, "Incorrect authentication credentials") : rc;
    r->log_user = str_dup(&r->arena, str_of(p->name));
    if (!p->second_factor || p->credential_id != 0) {
        *ret = p;
        return 0;
    }
    rc = login_ticket(r, p->user_id, ticket, err);
    shared_unref(&p->shared);
    if (rc < 0)
        return rc;
    r->ticket = str_dup(&r->arena, str_of(ticket));
    return err_set(err, ERR_SECOND_FACTOR_REQUIRED, "Require secondary authentication on MFA enabled account");
}

int login_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, struct principal **ret, struct err *err)
{
    struct ident *i = ident_of(r);
    struct account a = {0};
    int rc = factor_prove(r, ticket, proof, &a, err);
    if (rc < 0 || (rc = principal_of_user(i, str_of(a.name), ret, err)) < 0)
        return rc;
    (*ret)->auth_at = clock_now();
    r->log_user = str_dup(&r->arena, str_of(a.name));
    metric_add(METRIC_AUTH_OK, 1);
    record_login(i, r, *ret, str_of(a.name), AUDIT_DONE);
    return 0;
}

/* RFC 9110 section 15.5.2: no 401 without one. */
static int challenged(struct http_req *r, int rc)
{
    if (rc < 0 && err_status(rc) == 401)
        gate_challenge(r, NULL);
    return rc;
}

static int as_token(struct http_req *r, int rc, struct principal *p, int64_t life, struct buf *ret_token, int64_t *ret_expires)
{
    int64_t now = clock_now();
    if (rc < 0)
        return challenged(r, rc);
    token_make_api(ident_of(r), p, now, life, ret_token);
    *ret_expires = p->expires != 0 && p->expires < now + life ? p->expires : now + life;
    shared_unref(&p->shared);
    return 0;
}

int ident_login(struct http_req *r, struct str name, struct str password, int64_t life, struct buf *ret_token,
                int64_t *ret_expires, struct err *err)
{
    struct principal *p = NULL;
    int rc = login_password(r, name, password, &p, err);
    return as_token(r, rc, p, life, ret_token, ret_expires);
}

int ident_login_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, int64_t life, struct buf *ret_token,
                       int64_t *ret_expires, struct err *err)
{
    struct principal *p = NULL;
    int rc = login_factor(r, ticket, proof, &p, err);
    return as_token(r, rc, p, life, ret_token, ret_expires);
}

/* --- /api/v1 */

static int send_token(struct rest_call *c, int rc, struct buf *token, int64_t expires)
{
    if (rc == 0) {
        http_add(c->r, "Cache-Control", STR_LIT("no-store"));
        rc = rest_send(c, json_pack("{s:s%,s:o}", "token", token->p, token->n, "expires_at", rest_json_time(expires)));
        secret_wipe(token->p, token->n);
    }
    buf_release(token);
    return rc;
}

static int login_run(struct rest_call *c, struct err *err)
{
    struct buf token;
    int64_t expires = 0;
    buf_init(&token, 32 << 10);
    int rc = ident_login(c->r, rest_text(c->body, "username"), rest_text(c->body, "password"), API_TOKEN_LIFE_US, &token, &expires, err);
    return send_token(c, rc, &token, expires);
}

static int factor_run(struct rest_call *c, struct err *err)
{
    struct login_proof proof = {rest_text(c->body, "code"), rest_text(c->body, "webauthn")};
    struct buf token;
    int64_t expires = 0;
    if ((proof.code.n > 0) == (proof.webauthn.n > 0))
        return rest_wrong(c, err, "code", "must be there, or webauthn, not both");
    buf_init(&token, 32 << 10);
    int rc = ident_login_factor(c->r, rest_text(c->body, "ticket"), &proof, API_TOKEN_LIFE_US, &token, &expires, err);
    return send_token(c, rc, &token, expires);
}

static int options_run(struct rest_call *c, struct err *err)
{
    struct buf json;
    buf_init(&json, 64 << 10);
    int rc = ident_login_options(c->r, rest_text(c->body, "ticket"), &json, err);
    if (rc == 0)
        rc = rest_send(c, json_pack("{s:s%}", "options", json.p, json.n));
    buf_release(&json);
    return challenged(c->r, rc);
}

const struct rest_route login_routes[] = {
    {REST_ASK("/login", "login", RIGHT_PUBLIC), login_run, "Log in", "login", .body = &login, .answer = &login_answer,
     .also = {401}},
    {REST_ASK("/login/factor", "login_factor", RIGHT_PUBLIC), factor_run, "Log in: the second factor", "login", .body = &login_second,
     .answer = &login_answer, .also = {401}},
    {REST_ASK("/login/factor/options", "login_factor_options", RIGHT_PUBLIC), options_run, "Log in: what to ask a security key", "login",
     .body = &ticket_body, .answer = &options_answer, .also = {401, 409}},
};
const size_t n_login_routes = ARRAY_LEN(login_routes);
