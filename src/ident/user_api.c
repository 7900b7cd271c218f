/* /api/v1: log in, the own account, and the administration of users. */
#include "crypt/token_text.h"
#include "ident/api.h"

static const char *const roles[] = {"none", "admin", "auditor", NULL};
static const char *const states[] = {"active", "removed", "disabled", NULL};
static const char *const settable_states[] = {"active", "disabled", NULL};
static const char *const kinds[] = {"user", "org", "local", NULL};

static const struct rest_schema user = {
    "User", "A user of the hub.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .about = "unique among users and organizations; never given again"},
        {"full_name", REST_STRING, .required = true},
        {"email", REST_STRING, .required = true, .about = "empty: none"},
        {"site_role", REST_ENUM, .required = true, .words = roles, .about = "admin: everything; auditor: reads everything, changes nothing"},
        {"state", REST_ENUM, .required = true, .words = states},
        {"created_at", REST_TIME, .required = true},
        {"last_login_at", REST_TIME, .required = true, .nullable = true},
        {0}}};
static const struct rest_schema user_new = {
    "UserNew", "A user to be made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"password", REST_STRING, .required = true, .min = 8, .max = PASSWORD_MAX},
        {"full_name", REST_STRING, .max = FULL_NAME_MAX, .check = &check_line},
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email},
        {"site_role", REST_ENUM, .words = roles},
        {0}}};
static const struct rest_schema user_patch = {
    "UserPatch", "What to change of a user.", (const struct rest_field[]){
        {"full_name", REST_STRING, .max = FULL_NAME_MAX, .check = &check_line},
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email},
        {"site_role", REST_ENUM, .words = roles},
        {"state", REST_ENUM, .words = settable_states, .about = "disabled: no login, and every token of the user ends"},
        {0}}};
static const struct rest_schema me_patch = {
    "MePatch", "What to change of the own account.", (const struct rest_field[]){
        {"full_name", REST_STRING, .max = FULL_NAME_MAX, .check = &check_line},
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email},
        {0}}};
static const struct rest_schema password_set = {
    "PasswordSet", "A password.", (const struct rest_field[]){
        {"password", REST_STRING, .required = true, .min = 8, .max = PASSWORD_MAX}, {0}}};
static const struct rest_schema password_change = {
    "PasswordChange", "The old password and the new one.", (const struct rest_field[]){
        {"old_password", REST_STRING, .required = true, .max = PASSWORD_MAX},
        {"password", REST_STRING, .required = true, .min = 8, .max = PASSWORD_MAX},
        {0}}};
static const struct rest_schema me = {
    "Me", "Who the credential speaks for.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true, .about = "empty: the administrator of the machine"},
        {"kind", REST_ENUM, .required = true, .words = kinds},
        {"site_role", REST_ENUM, .required = true, .words = roles},
        {"full_name", REST_STRING, .required = true},
        {"email", REST_STRING, .required = true},
        {"email_verified", REST_BOOL, .required = true, .about = "mail goes to this address"},
        {"second_factor", REST_BOOL, .required = true, .about = "the account has one"},
        {"token_id", REST_INT, .required = true, .nullable = true, .about = "the token that was shown, or that stands behind what was"},
        {0}}};
static json_t *account_json(const struct account *a)
{
    return json_pack("{s:s,s:s,s:s,s:s,s:s,s:o,s:o}", "name", a->name, "full_name", a->full_name, "email", a->email,
                     "site_role", roles[a->role], "state", states[a->state], "created_at", rest_json_time(a->created_at),
                     "last_login_at", rest_json_time(a->last_login_at));
}

static const char USERS[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts a WHERE a.kind = 0 AND a.name > $1 ORDER BY a.name LIMIT $2";
static const char SET_TEXTS[] = "UPDATE accounts SET full_name = $2, email_verified_at = CASE WHEN email = $3 THEN email_verified_at ELSE 0 END, "
    "email = $3, updated_at = $4 WHERE id = $1";
static const char SET_ROLE[] = "UPDATE accounts SET role = $2, state = $3, epoch = epoch + 1, updated_at = $4 WHERE id = $1";
static const char SET_PASSWORD[] = "UPDATE accounts SET pw_hash = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1";
static const char SET_REMOVED[] =
    "UPDATE accounts SET state = 1, pw_hash = '', email = '', epoch = epoch + 1, updated_at = $2 WHERE id = $1";

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    auto_rows struct db_rows *rows = NULL;
    int64_t n = rest_page(c);
    int rc = db_query(tx, USERS, DB_ARGS(DB_T(rest_after_text(c, 0)), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct account a;
        account_map(rows, &a);
        rest_add(c, account_json(&a), json_pack("[s]", a.name));
        rc = 0;
    }
    return rc;
}

static int user_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

/* --- one user */

struct user_job {
    struct rest_call *c;
    struct str name;
    char hash[PASSWORD_HASH_MAX];
    struct account account; /* as it was, then as it is */
};

static int find(struct db_tx *tx, struct user_job *j, struct err *err)
{
    int rc = account_tx_find(tx, j->name, &j->account, err);
    if (rc == 0 || (rc == 1 && (j->account.kind != ACCOUNT_USER || j->account.state == ACCOUNT_REMOVED)))
        return err_set(err, ERR_NOT_FOUND, "there is no such account, or you may not read it");
    return rc < 0 ? rc : 0;
}

static int again(struct db_tx *tx, struct user_job *j, struct err *err)
{
    int rc = account_tx_by_id(tx, j->account.id, &j->account, err);
    return rc < 0 ? rc : 0;
}

static int user_get(struct rest_call *c, struct err *err)
{
    const struct account *a = req_account(c->r);
    return a->kind == ACCOUNT_USER ? rest_send(c, account_json(a)) : api_absent(err, "account");
}

/* Whoever waits for his turn at hashing keeps no worker from others. */
static int hash_aside(struct rest_call *c, char ret[PASSWORD_HASH_MAX], struct err *err)
{
    http_aside(c->r->server, true);
    int rc = password_hash(rest_text(c->body, "password"), ret, err);
    http_aside(c->r->server, false);
    return rc;
}

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct user_job *j = ch->arg;
    const json_t *b = j->c->body;
    struct str role = rest_text(b, "site_role"), full = api_text(b, "full_name", ""), email = api_text(b, "email", "");
    enum site_role site = str_is(role, "admin") ? SITE_ADMIN : str_is(role, "auditor") ? SITE_AUDITOR : SITE_NONE;
    int rc = account_tx_name_free(tx, j->name, err);
    if (rc < 0 || (rc = account_tx_add(tx, ACCOUNT_USER, j->name, j->hash, site, &j->account.id, err)) < 0)
        return rc;
    if (full.n + email.n > 0)
        rc = db_exec(tx, SET_TEXTS, DB_ARGS(DB_I(j->account.id), DB_T(full), DB_T(email), DB_I(clock_now())), NULL, err);
    return rc < 0 ? rc : again(tx, j, err);
}

static int user_add(struct rest_call *c, struct err *err)
{
    struct user_job j = {.c = c, .name = rest_text(c->body, "name")};
    struct change ch = {.fn = add, .arg = &j, .accounts = {j.name}, .action = "user.create", .object = j.name};
    int rc = ident_account_name_check(j.name, err);
    if (rc < 0)
        return rest_wrong(c, err, "name", "%s", err->text);
    if ((rc = hash_aside(c, j.hash, err)) < 0 || (rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    rest_location(c, "/api/v1/users/%s", j.account.name);
    return rest_send(c, account_json(&j.account));
}

static int set_texts(struct db_tx *tx, struct user_job *j, struct err *err)
{
    const json_t *b = j->c->body;
    struct str full = api_text(b, "full_name", j->account.full_name), email = api_text(b, "email", j->account.email);
    return db_exec(tx, SET_TEXTS, DB_ARGS(DB_I(j->account.id), DB_T(full), DB_T(email), DB_I(clock_now())), NULL, err);
}

/* Role and state end what was given before: logins by the epoch, tokens for good. */
static int set_role(struct db_tx *tx, struct user_job *j, struct err *err)
{
    struct str role = rest_text(j->c->body, "site_role"), state = rest_text(j->c->body, "state");
    int64_t r = role.p == NULL ? j->account.role : str_is(role, "admin") ? SITE_ADMIN : str_is(role, "auditor") ? SITE_AUDITOR : SITE_NONE;
    int64_t s = state.p == NULL ? j->account.state : str_is(state, "disabled") ? ACCOUNT_DISABLED : ACCOUNT_ACTIVE;
    int rc = 0;
    if (r == j->account.role && s == j->account.state)
        return 0;
    if (r != SITE_ADMIN || s != ACCOUNT_ACTIVE)
        rc = account_tx_spare_admin(tx, &j->account, err);
    if (rc == 0 && s != ACCOUNT_ACTIVE)
        rc = credential_tx_end_all(tx, j->account.id, err);
    if (rc == 0)
        rc = account_tx_end_logins(tx, j->account.id, err);
    return rc < 0 ? rc : db_exec(tx, SET_ROLE, DB_ARGS(DB_I(j->account.id), DB_I(r), DB_I(s), DB_I(clock_now())), NULL, err);
}

static int patch(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct user_job *j = ch->arg;
    int rc = find(tx, j, err);
    if (rc == 0)
        rc = api_match(j->c, account_json(&j->account), err);
    if (rc == 0)
        rc = set_texts(tx, j, err);
    if (rc == 0)
        rc = set_role(tx, j, err);
    return rc < 0 ? rc : again(tx, j, err);
}

static int user_patch_run(struct rest_call *c, struct err *err)
{
    struct user_job j = {.c = c, .name = c->r->parts[0]};
    struct change ch = {.fn = patch, .arg = &j, .accounts = {j.name}, .action = "user.update", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, account_json(&j.account));
}

/* The row stays, so that the name is never given again; what the user could do goes. */
static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct user_job *j = ch->arg;
    char org[ACCOUNT_NAME_MAX + 1];
    int rc = find(tx, j, err);
    if (rc < 0 || (rc = account_tx_spare_admin(tx, &j->account, err)) < 0)
        return rc;
    if ((rc = member_tx_sole_owner(tx, j->account.id, org, err)) == 1)
        return err_set(err, ERR_EXISTS, "\"%s\" is the last owner of the organization \"%s\": make somebody else an owner first",
                       j->account.name, org);
    if (rc < 0 || (rc = member_tx_remove_all(tx, j->account.id, err)) < 0 ||
        (rc = credential_tx_end_all(tx, j->account.id, err)) < 0 || (rc = account_tx_end_logins(tx, j->account.id, err)) < 0)
        return rc;
    return db_exec(tx, SET_REMOVED, DB_ARGS(DB_I(j->account.id), DB_I(clock_now())), NULL, err);
}

static int user_drop(struct rest_call *c, struct err *err)
{
    struct user_job j = {.c = c, .name = c->r->parts[0]};
    struct change ch = {.fn = drop, .arg = &j, .accounts = {j.name}, .action = "user.remove", .object = j.name};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int set_password(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct user_job *j = ch->arg;
    int rc = find(tx, j, err);
    if (rc == 0)
        rc = account_tx_end_logins(tx, j->account.id, err);
    return rc < 0 ? rc
                  : db_exec(tx, SET_PASSWORD, DB_ARGS(DB_I(j->account.id), DB_T(str_of(j->hash)), DB_I(clock_now())), NULL, err);
}

static int password_run(struct rest_call *c, struct str name, struct err *err)
{
    struct user_job j = {.c = c, .name = name};
    struct change ch = {.fn = set_password, .arg = &j, .accounts = {name}, .action = "user.password", .object = name};
    int rc = hash_aside(c, j.hash, err);
    if (rc == 0)
        rc = change_run(c->r, &ch, err);
    secret_wipe(j.hash, sizeof j.hash);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int user_password(struct rest_call *c, struct err *err)
{
    int rc = api_fresh(c->r, err);
    return rc < 0 ? rc : password_run(c, c->r->parts[0], err);
}

/* --- the own account */

struct me_read {
    const struct principal *p;
    struct account account;
};

static int me_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct me_read *m = arg;
    int rc = account_tx_by_id(tx, m->p->user_id, &m->account, err);
    return rc < 0 ? rc : 0;
}

static int me_get(struct rest_call *c, struct err *err)
{
    struct me_read m = {.p = req_principal(c->r)};
    const char *kind = m.p->kind == WHO_LOCAL ? "local" : m.p->kind == WHO_ORG ? "org" : "user";
    int rc = db_read(ident_of(c->r)->db, me_read, &m, err);
    if (rc < 0)
        return rc;
    json_t *token = m.p->credential_id != 0 ? json_integer(m.p->credential_id) : json_null();
    return rest_send(c, json_pack("{s:s,s:s,s:s,s:s,s:s,s:b,s:b,s:o}", "name", m.p->name, "kind", kind, "site_role", roles[m.p->role],
                                  "full_name", m.account.full_name, "email", m.account.email, "email_verified", m.account.email_verified,
                                  "second_factor", m.p->second_factor, "token_id", token));
}

static int patch_me(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct user_job *j = ch->arg;
    int rc = find(tx, j, err);
    if (rc == 0)
        rc = set_texts(tx, j, err);
    return rc < 0 ? rc : again(tx, j, err);
}

static int me_patch_run(struct rest_call *c, struct err *err)
{
    struct user_job j = {.c = c, .name = str_of(req_principal(c->r)->name)};
    struct change ch = {.fn = patch_me, .arg = &j, .accounts = {j.name}, .action = "user.update", .object = j.name};
    int rc = rest_has(c->body, "email") ? api_fresh(c->r, err) : 0; /* links to new passwords go there */
    if (rc == 0)
        rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, account_json(&j.account));
}

static int me_password(struct rest_call *c, struct err *err)
{
    const struct principal *p = req_principal(c->r);
    struct principal *again_p = NULL;
    struct str old = rest_text(c->body, "old_password");
    if (p->kind != WHO_USER)
        return err_set(err, ERR_DENIED, "only a user has a password");
    int rc = p->second_factor ? api_fresh(c->r, err) : 0; /* the password alone is no proof then, and a page logs in anew by this */
    if (rc < 0)
        return rc;
    rc = token_text_looks(old) ? ERR_UNAUTHORIZED : credential_password(ident_of(c->r), c->r, str_of(p->name), old, &again_p, err);
    if (rc == ERR_UNAUTHORIZED)
        return rest_wrong(c, err, "old_password", "is not your password");
    if (rc < 0)
        return rc;
    bool outside = again_p->expires != 0;
    shared_unref(&again_p->shared);
    if (outside) /* a password here would outlive the one there */
        return err_set(err, ERR_CONFLICT, "your password is the directory's: change it there");
    return password_run(c, str_of(p->name), err);
}

const struct rest_route user_routes[] = {
    {REST_GET("/me", "me_get", RIGHT_SIGNED_IN), me_get, "Who am I", "login", .answer = &me},
    {REST_PATCH("/me", "me_update", RIGHT_OWN), me_patch_run, "Change the own account", "login", .body = &me_patch, .answer = &user},
    {REST_PUT("/me/password", "me_password", RIGHT_OWN), me_password, "Change the own password", "login",
     .body = &password_change, .also = {409}},
    {REST_GET("/users", "user_list", RIGHT_USERS_READ), user_list, "List users", "users", .answer = &user, .cursor = "s"},
    {REST_POST("/users", "user_create", RIGHT_USER_CREATE), user_add, "Make a user", "users", .body = &user_new, .answer = &user,
     .status = 201, .also = {409}},
    {REST_GET("/users/{user}", "user_get", RIGHT_ACCOUNT_READ), user_get, "Read a user", "users", .answer = &user},
    {REST_PATCH("/users/{user}", "user_update", RIGHT_USER), user_patch_run, "Change a user", "users", .body = &user_patch,
     .answer = &user, .also = {409}, .match = true},
    {REST_DELETE("/users/{user}", "user_remove", RIGHT_USER), user_drop, "Remove a user; the name is never given again", "users",
     .also = {409}},
    {REST_PUT("/users/{user}/password", "user_password", RIGHT_USER), user_password, "Set a user's password", "users",
     .body = &password_set},
};
const size_t n_user_routes = ARRAY_LEN(user_routes);
