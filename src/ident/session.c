/* Sessions of browsers: see ident.h. */
#include "ident/api.h"
#include "ident/outside.h"

enum { USED_EACH_US = 60000000 };

static const char ADD[] = "INSERT INTO sessions (hash, account_id, auth_at, created_at, used_at, expires_at, address, client) "
                          "VALUES ($1, $2, $3, $3, $3, $4, $5, $6)";
static const char EXPIRED[] = "DELETE FROM sessions WHERE expires_at < $1";
static const char FIND[] = "SELECT s.id, s.auth_at, s.used_at, a.name FROM sessions s JOIN accounts a ON a.id = s.account_id "
                           "WHERE s.hash = $1 AND s.expires_at > $2 AND s.used_at > $3 AND a.state = 0";
static const char USED[] = "UPDATE sessions SET used_at = $2, address = $3 WHERE id = $1 AND used_at < $2";
static const char DROP[] = "DELETE FROM sessions WHERE id = $1 AND account_id = $2";
static const char RENEW[] = "UPDATE sessions SET hash = $2, auth_at = $3 WHERE id = $1";
static const char END_SESSIONS[] = "DELETE FROM sessions WHERE account_id = $1";
static const char END_CODES[] = "DELETE FROM one_time WHERE account_id = $1 AND kind IN (0, 1, 3)";
static const char END_EPOCH[] = "UPDATE accounts SET epoch = epoch + 1 WHERE id = $1";
static const char LIST[] = "SELECT id, auth_at, created_at, used_at, expires_at, address, client FROM sessions "
                           "WHERE account_id = $1 AND expires_at > $2 AND used_at > $3 AND id > $4 ORDER BY id LIMIT $5";

int account_tx_end_logins(struct db_tx *tx, int64_t account_id, struct err *err)
{
    int rc = db_exec(tx, END_SESSIONS, DB_ARGS(DB_I(account_id)), NULL, err);
    return rc < 0 ? rc : db_exec(tx, END_CODES, DB_ARGS(DB_I(account_id)), NULL, err);
}

/* --- making and renewing */

struct session_job {
    struct http_req *r;
    struct ident *ident;
    int64_t id, account_id, auth_at, used_at;
    uint8_t hash[TOKEN_HASH];
    struct str client;
    char name[ACCOUNT_NAME_MAX + 1];
    bool found;
};

static void text_make(struct session_job *j, char ret_text[TOKEN_TEXT_LEN + 1])
{
    token_text_make(TOKEN_SESSION, j->ident->credential_key, ret_text, j->hash);
}

static struct db_value hash_of(const struct session_job *j) { return DB_B(((struct str){(const char *)j->hash, sizeof j->hash})); }

static int add_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct session_job *j = arg;
    int64_t now = clock_now();
    struct str agent = {NULL, 0};
    http_header(j->r, "User-Agent", &agent);
    if (agent.n > 200)
        agent.n = 200;
    for (size_t k = 0; k < agent.n; k++)
        if ((unsigned char)agent.p[k] > 0x7e) /* a piece of UTF-8 would be none */
            agent.n = k;
    int rc = db_exec(tx, EXPIRED, DB_ARGS(DB_I(now)), NULL, err);
    return rc < 0 ? rc
                  : db_exec(tx, ADD,
                            DB_ARGS(hash_of(j), DB_I(j->account_id), DB_I(now), DB_I(now + SESSION_LIFE_US), DB_T(j->r->client), DB_T(agent)),
                            NULL, err);
}

static int add(struct http_req *r, int64_t account_id, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    struct session_job j = {.r = r, .ident = ident_of(r), .account_id = account_id};
    text_make(&j, ret_text);
    return db_write(j.ident->db, add_write, &j, err);
}

int session_of_account(struct http_req *r, int64_t account_id, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    return add(r, account_id, ret_text, err);
}

int ident_session_login(struct http_req *r, struct str name, struct str password, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    struct principal *p = NULL;
    int rc = token_text_looks(password) ? err_set(err, ERR_UNAUTHORIZED, "a token is not taken here: log in with the password")
                                        : login_password(r, name, password, &p, err);
    if (rc < 0)
        return rc;
    if (p->kind != WHO_USER || p->credential_id != 0) /* a token of another issuer as the password of `oidc` */
        rc = err_set(err, ERR_UNAUTHORIZED, "a token is not taken here: log in with the password");
    else
        rc = add(r, p->user_id, ret_text, err);
    shared_unref(&p->shared);
    return rc;
}

int ident_session_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, char ret_text[TOKEN_TEXT_LEN + 1],
                         struct err *err)
{
    struct principal *p = NULL;
    int rc = login_factor(r, ticket, proof, &p, err);
    if (rc < 0)
        return rc;
    rc = add(r, p->user_id, ret_text, err);
    shared_unref(&p->shared);
    return rc;
}

static int renew_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct session_job *j = arg;
    int64_t n = 0;
    int rc = db_exec(tx, RENEW, DB_ARGS(DB_I(j->id), hash_of(j), DB_I(clock_now())), &n, err);
    return rc == 0 && n != 1 ? err_set(err, ERR_UNAUTHORIZED, "the session has ended: log in again") : rc;
}

static int renew(struct http_req *r, const struct principal *p, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    struct session_job j = {.r = r, .ident = ident_of(r), .id = p->session_id};
    text_make(&j, ret_text);
    return db_write(j.ident->db, renew_write, &j, err);
}

int ident_session_renew(struct http_req *r, const struct principal *p, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    return add(r, p->user_id, ret_text, err);
}

int ident_session_ticket(struct http_req *r, const struct principal *p, char ret_ticket[TOKEN_TEXT_LEN + 1], struct err *err)
{
    return login_ticket(r, p->user_id, ret_ticket, err);
}

int ident_session_prove(struct http_req *r, const struct principal *p, struct str ticket, const struct login_proof *proof,
                        struct str password, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err)
{
    struct principal *again = NULL;
    struct account a = {0};
    int rc;
    if (ticket.n > 0) {
        rc = factor_prove(r, ticket, proof, &a, err);
    } else {
        rc = token_text_looks(password) ? err_set(err, ERR_UNAUTHORIZED, "that is not your password")
                                        : credential_password(ident_of(r), r, str_of(p->name), password, &again, err);
        if (rc == 0 && again->second_factor)
            rc = err_set(err, ERR_UNAUTHORIZED, "your second factor is asked for");
        a.id = rc == 0 ? again->user_id : 0;
        if (again)
            shared_unref(&again->shared);
    }
    if (rc == 0 && a.id != p->user_id)
        rc = err_set(err, ERR_UNAUTHORIZED, "that was a proof for another account");
    return rc < 0 ? rc : renew(r, p, ret_text, err);
}

/* --- finding */

static void map_found(const struct db_rows *row, void *out)
{
    struct session_job *j = out;
    j->id = db_int(row, 0);
    j->auth_at = db_int(row, 1);
    j->used_at = db_int(row, 2);
    text_copy(j->name, sizeof j->name, db_text(row, 3));
}

static int find_read(struct db_tx *tx, void *arg, struct err *err)
{
    int64_t now = clock_now();
    return db_one(tx, FIND, DB_ARGS(hash_of(arg), DB_I(now), DB_I(now - SESSION_IDLE_US)), map_found, arg, err);
}

static int used_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct session_job *j = arg;
    return db_exec(tx, USED, DB_ARGS(DB_I(j->id), DB_I(clock_now()), DB_T(j->client)), NULL, err);
}

struct principal_read {
    struct principal *p;
    bool found;
};

static int principal_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct principal_read *q = arg;
    struct account a;
    char hash[PASSWORD_HASH_MAX] = "";
    uint64_t gen = q->p->gen;
    int rc = account_tx_find(tx, str_of(q->p->name), &a, err);
    q->found = rc == 1 && a.state == ACCOUNT_ACTIVE && a.kind == ACCOUNT_USER;
    if (rc < 0 || !q->found)
        return rc < 0 ? rc : 0;
    principal_fill(q->p, &a, gen);
    rc = account_tx_password(tx, a.id, hash, err);
    q->p->expires = rc == 1 && hash[0] == 0 ? clock_now() + OUTSIDER_LIFE_US : 0; /* by a directory's word */
    secret_wipe(hash, sizeof hash);
    if (rc < 0 || (rc = factor_tx_any(tx, a.id, err)) < 0)
        return rc;
    q->p->second_factor = rc == 1;
    return 0;
}

int principal_of_user(struct ident *i, struct str name, struct principal **ret, struct err *err)
{
    struct principal_read q = {.p = principal_new(name, 0)};
    q.p->gen = gen_now(GEN_USER, name);
    int rc = db_read(i->db, principal_read, &q, err);
    if (rc == 0 && !q.found)
        rc = err_set(err, ERR_UNAUTHORIZED, "there is no such account any more");
    if (rc < 0)
        shared_unref(&q.p->shared);
    else
        *ret = q.p;
    return rc;
}

int ident_session_find(struct http_req *r, struct str text, struct principal **ret, struct err *err)
{
    struct session_job j = {.r = r, .ident = ident_of(r), .client = r->client};
    enum token_kind kind;
    struct err ignored = {0};
    if (token_text_parse(text, &kind, &ignored) < 0 || kind != TOKEN_SESSION)
        return 0;
    token_text_hash(j.ident->credential_key, text, j.hash);
    int rc = db_read(j.ident->db, find_read, &j, err);
    if (rc != 1)
        return rc;
    if ((rc = principal_of_user(j.ident, str_of(j.name), ret, err)) < 0)
        return rc == ERR_UNAUTHORIZED ? 0 : rc;
    (*ret)->session_id = j.id;
    (*ret)->auth_at = j.auth_at;
    if (clock_now() - j.used_at > USED_EACH_US)
        (void)db_write(j.ident->db, used_write, &j, &ignored); /* the next use tells again */
    return 1;
}

static int drop_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct session_job *j = arg;
    return db_exec(tx, DROP, DB_ARGS(DB_I(j->id), DB_I(j->account_id)), NULL, err);
}

int ident_session_end(struct http_req *r, const struct principal *p, struct err *err)
{
    struct session_job j = {.id = p->session_id, .account_id = p->user_id};
    return db_write(ident_of(r)->db, drop_write, &j, err);
}

/* --- /api/v1 */

const struct rest_schema session_shape = {
    "Session", "A browser that is logged in.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"current", REST_BOOL, .required = true, .about = "it is the one that asks"},
        {"created_at", REST_TIME, .required = true},
        {"proved_at", REST_TIME, .required = true, .about = "when password or factor were last shown"},
        {"last_used_at", REST_TIME, .required = true},
        {"expires_at", REST_TIME, .required = true},
        {"address", REST_STRING, .required = true},
        {"client", REST_STRING, .required = true, .about = "what the browser calls itself"},
        {0}}};

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    const struct principal *p = req_principal(c->r);
    auto_rows struct db_rows *rows = NULL;
    int64_t now = clock_now(), n = rest_page(c);
    int rc = db_query(tx, LIST, DB_ARGS(DB_I(p->user_id), DB_I(now), DB_I(now - SESSION_IDLE_US), DB_I(rest_after_int(c, 0, 0)), DB_I(n)),
                      &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        int64_t id = db_int(rows, 0);
        rest_add(c,
                 json_pack("{s:I,s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "id", (json_int_t)id, "current", id == p->session_id, "proved_at",
                           rest_json_time(db_int(rows, 1)), "created_at", rest_json_time(db_int(rows, 2)), "last_used_at",
                           rest_json_time(db_int(rows, 3)), "expires_at", rest_json_time(db_int(rows, 4)), "address",
                           rest_json_text(db_text(rows, 5)), "client", rest_json_text(db_text(rows, 6))),
                 json_pack("[I]", (json_int_t)id));
        rc = 0;
    }
    return rc;
}

int session_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int drop_one(struct db_tx *tx, struct change *ch, struct err *err)
{
    int64_t *id = ch->arg, n = 0;
    int rc = db_exec(tx, DROP, DB_ARGS(DB_I(*id), DB_I(ch->who->user_id)), &n, err);
    return rc == 0 && n == 0 ? err_set(err, ERR_NOT_FOUND, "there is no such session") : rc;
}

int session_drop(struct rest_call *c, struct err *err)
{
    uint64_t id = 0;
    if (!str_u64(c->r->parts[0], &id) || id > INT64_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no such session");
    int64_t number = (int64_t)id;
    struct change ch = {.fn = drop_one, .arg = &number, .action = "session.end", .object = str_of(req_principal(c->r)->name)};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int drop_all(struct db_tx *tx, struct change *ch, struct err *err)
{
    int rc = account_tx_end_logins(tx, ch->who->user_id, err);
    return rc < 0 ? rc : db_exec(tx, END_EPOCH, DB_ARGS(DB_I(ch->who->user_id)), NULL, err);
}

int session_drop_all(struct rest_call *c, struct err *err)
{
    struct str name = str_of(req_principal(c->r)->name);
    struct change ch = {.fn = drop_all, .accounts = {name}, .action = "session.end_all", .object = name};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}
