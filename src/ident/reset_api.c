/* /api/v1: forgotten passwords, addresses that are proved, and whether mail goes out. */
#include "ident/api.h"

#include <stdio.h>
#include <stdlib.h>

#define RESET_US ((int64_t)3600 * 1000000)
#define VERIFY_US ((int64_t)24 * 3600 * 1000000)
#define RESET_PAUSE_US ((int64_t)5 * 60 * 1000000) /* between two mails to one account */

static const struct rest_schema reset_ask = {
    "ResetAsk", "Whose password is forgotten.", (const struct rest_field[]){
        {"user", REST_STRING, .required = true, .max = EMAIL_MAX, .check = &check_line, .about = "name, or the account's proved address"}, {0}}};
static const struct rest_schema reset_link = {
    "ResetLink", "A link that sets a new password, once.", (const struct rest_field[]){
        {"link", REST_STRING, .required = true}, {"expires_at", REST_TIME, .required = true}, {0}}};
static const struct rest_schema reset_do = {
    "ResetDo", "The code of a link, and the new password.", (const struct rest_field[]){
        {"code", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN},
        {"password", REST_STRING, .required = true, .min = 8, .max = PASSWORD_MAX},
        {0}}};
static const struct rest_schema verify_do = {
    "VerifyDo", "The code that was mailed.", (const struct rest_field[]){{"code", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN}, {0}}};
static const struct rest_schema mail_test = {
    "MailTest", "Where to send a mail.", (const struct rest_field[]){
        {"to", REST_STRING, .required = true, .min = 3, .max = EMAIL_MAX, .check = &check_email}, {0}}};

static const char BY_EMAIL[] = "SELECT " ACCOUNT_COLUMNS " FROM accounts a WHERE a.kind = 0 AND a.state = 0 AND a.email = $1 AND a.email_verified_at > 0 LIMIT 1";
static const char VERIFIED[] = "SELECT email_verified_at FROM accounts WHERE id = $1";
static const char LATELY[] = "SELECT count(*) FROM one_time WHERE account_id = $1 AND kind = $2 AND created_at > $3";
static const char SET_PASSWORD[] = "UPDATE accounts SET pw_hash = $2, epoch = epoch + 1, updated_at = $3 WHERE id = $1";
static const char SET_VERIFIED[] = "UPDATE accounts SET email_verified_at = $3 WHERE id = $1 AND email = $2";

struct reset_job {
    struct ident *ident;
    struct once_code code;
    struct once row;
    struct account account;
    enum once_kind kind;
    bool found;
    char user[EMAIL_MAX + 1], hash[PASSWORD_HASH_MAX];
};

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

/* A code for the account, unless it had one lately. */
static int code_add(struct db_tx *tx, struct reset_job *j, int64_t life, struct err *err)
{
    int64_t n = 0;
    int rc = db_one(tx, LATELY, DB_ARGS(DB_I(j->account.id), DB_I(j->kind), DB_I(clock_now() - RESET_PAUSE_US)), map_int, &n, err);
    if (rc >= 0 && n > 0) {
        j->found = false;
        return 0;
    }
    return rc < 0 ? rc : once_tx_add(tx, j->kind, j->code.hash, j->account.id, str_of(j->account.email), life, err);
}

/* --- forgotten */

static int reset_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct reset_job *j = arg;
    struct str user = str_of(j->user);
    int64_t verified = 0;
    char hash[PASSWORD_HASH_MAX] = "";
    int rc = user.n > 0 && memchr(user.p, '@', user.n) ? db_one(tx, BY_EMAIL, DB_ARGS(DB_T(user)), account_map, &j->account, err)
                                                       : account_tx_find(tx, user, &j->account, err);
    j->found = rc == 1 && j->account.kind == ACCOUNT_USER && j->account.state == ACCOUNT_ACTIVE && j->account.email[0] != 0;
    if (rc >= 0 && j->found)
        rc = db_one(tx, VERIFIED, DB_ARGS(DB_I(j->account.id)), map_int, &verified, err);
    if (rc >= 0 && j->found) /* who has none here logs in by a directory: a password here would outlive that one */
        rc = account_tx_password(tx, j->account.id, hash, err);
    j->found = j->found && verified > 0 && hash[0] != 0;
    secret_wipe(hash, sizeof hash);
    return rc < 0 || !j->found ? (rc < 0 ? rc : 0) : code_add(tx, j, RESET_US, err);
}

/* Behind the answer, which is the same and as quick for everybody (T05). */
static void reset_mail(void *arg)
{
    struct reset_job *j = arg;
    struct err err = {0};
    char text[1024];
    once_make(j->ident, &j->code);
    if (db_write(j->ident->db, reset_write, j, &err) == 0 && j->found) {
        (void)snprintf(text, sizeof text,
                       "Somebody, hopefully you, asked for a new password for %s.\n\nTo set one, open this link within an hour:\n%s/reset/%s\n\n"
                       "If it was not you, do nothing: your password stays as it is.\n",
                       j->account.name, j->ident->origin, j->code.text);
        mailer_send(j->ident->mailer, str_of(j->account.email), "A new password", text);
        secret_wipe(text, sizeof text);
    }
    secret_wipe(j, sizeof *j);
    free(j);
}

static int ask_run(struct rest_call *c, struct err *err)
{
    struct ident *i = ident_of(c->r);
    int rc = fail_address_check(i, c->r, err);
    if (rc < 0)
        return rc;
    if (i->mailer == NULL)
        return err_set(err, ERR_CONFLICT, "this hub sends no mail: ask an administrator for a link");
    fail_address_count(i, c->r);
    struct reset_job *j = mem_zalloc(sizeof *j);
    j->ident = i;
    j->kind = ONCE_RESET;
    text_copy(j->user, sizeof j->user, rest_text(c->body, "user"));
    http_work(c->r->server, reset_mail, j);
    return rest_send(c, NULL);
}

static int link_add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct reset_job *j = ch->arg;
    int rc = account_tx_user(tx, ch->object, &j->account, err);
    return rc < 0 ? rc : once_tx_add(tx, ONCE_RESET, j->code.hash, j->account.id, STR_LIT(""), RESET_US, err);
}

static int link_run(struct rest_call *c, struct err *err)
{
    struct reset_job j = {.ident = ident_of(c->r)};
    struct change ch = {.fn = link_add, .arg = &j, .action = "user.reset_link", .object = c->r->parts[0]};
    int rc = api_fresh(c->r, err);
    if (rc < 0)
        return rc;
    once_make(j.ident, &j.code);
    if ((rc = change_run(c->r, &ch, err)) < 0)
        return rc;
    http_add(c->r, "Cache-Control", STR_LIT("no-store"));
    return rest_send(c, json_pack("{s:o,s:o}", "link", json_sprintf("%s/reset/%s", j.ident->origin, j.code.text), "expires_at",
                                  rest_json_time(clock_now() + RESET_US)));
}

static int gone(struct err *err) { return err_set(err, ERR_NOT_FOUND, "the link is unknown, expired, or was used already"); }

static int use_up(struct db_tx *tx, struct reset_job *j, enum once_kind kind, struct err *err)
{
    int rc = once_tx_find(tx, kind, j->code.hash, &j->row, err);
    if (rc == 1)
        rc = once_tx_use(tx, j->row.id, err);
    if (rc == 1)
        rc = account_tx_by_id(tx, j->row.account_id, &j->account, err);
    return rc < 0 ? rc : rc == 1 && j->account.state == ACCOUNT_ACTIVE ? 0 : gone(err);
}

static int reset_set(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct reset_job *j = ch->arg;
    int rc = use_up(tx, j, ONCE_RESET, err);
    ch->object = str_of(j->account.name);
    if (rc < 0 || (rc = account_tx_end_logins(tx, j->account.id, err)) < 0)
        return rc;
    return db_exec(tx, SET_PASSWORD, DB_ARGS(DB_I(j->account.id), DB_T(str_of(j->hash)), DB_I(clock_now())), NULL, err);
}

/* Whose link it is must be known before the change, which moves the generation of that account. */
static int whose(struct db_tx *tx, void *arg, struct err *err)
{
    struct reset_job *j = arg;
    int rc = once_tx_find(tx, j->kind, j->code.hash, &j->row, err);
    if (rc == 1)
        rc = account_tx_by_id(tx, j->row.account_id, &j->account, err);
    return rc < 0 ? rc : rc == 1 ? 0 : gone(err);
}

static int code_run(struct rest_call *c, struct reset_job *j, struct change *ch, struct err *err)
{
    char name[ACCOUNT_NAME_MAX + 1];
    int rc = fail_address_check(j->ident, c->r, err);
    if (rc == 0 && once_hash(j->ident, rest_text(c->body, "code"), j->code.hash, NULL) < 0)
        rc = gone(err);
    if (rc == 0)
        rc = db_read(j->ident->db, whose, j, err);
    text_copy(name, sizeof name, str_of(j->account.name));
    ch->arg = j;
    ch->accounts[0] = str_of(name);
    if (rc == 0 && j->kind == ONCE_RESET) {
        http_aside(c->r->server, true);
        rc = password_hash(rest_text(c->body, "password"), j->hash, err);
        http_aside(c->r->server, false);
    }
    if (rc == 0)
        rc = change_run(c->r, ch, err);
    if (rc == ERR_NOT_FOUND)
        fail_address_count(j->ident, c->r);
    secret_wipe(j->hash, sizeof j->hash);
    return rc;
}

static int reset_run(struct rest_call *c, struct err *err)
{
    struct reset_job j = {.ident = ident_of(c->r), .kind = ONCE_RESET};
    struct change ch = {.fn = reset_set, .action = "user.password.reset"};
    int rc = code_run(c, &j, &ch, err);
    if (rc < 0)
        return rc;
    mail_account(j.ident, &j.account, "Your password was changed", "A new password was set for %s by a link, from %.*s.\n", j.account.name, STR_FMT(c->r->client));
    return rest_send(c, NULL);
}

/* --- addresses */

static int verify_add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct reset_job *j = ch->arg;
    int rc = account_tx_by_id(tx, ch->who->user_id, &j->account, err);
    if (rc < 0)
        return rc;
    if (j->account.email[0] == 0)
        return err_set(err, ERR_CONFLICT, "the account has no address: set one first");
    j->found = true;
    return code_add(tx, j, VERIFY_US, err);
}

static int verify_ask(struct rest_call *c, struct err *err)
{
    const struct principal *p = req_principal(c->r);
    struct reset_job j = {.ident = ident_of(c->r), .kind = ONCE_VERIFY};
    struct change ch = {.fn = verify_add, .arg = &j, .action = "user.email.verify", .object = str_of(p->name)};
    char text[1024];
    if (j.ident->mailer == NULL)
        return err_set(err, ERR_CONFLICT, "this hub sends no mail");
    once_make(j.ident, &j.code);
    int rc = change_run(c->r, &ch, err);
    if (rc == 0 && !j.found)
        return err_set(err, ERR_TOOMANYREQUESTS, "a mail was sent just now; try again in five minutes");
    if (rc < 0)
        return rc;
    (void)snprintf(text, sizeof text, "To prove that this address is that of %s on %s, open this link within a day:\n%s/verify/%s\n", p->name,
                   j.ident->origin, j.ident->origin, j.code.text);
    mailer_send(j.ident->mailer, str_of(j.account.email), "Is this your address?", text);
    secret_wipe(text, sizeof text);
    return rest_send(c, NULL);
}

static int verify_set(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct reset_job *j = ch->arg;
    int64_t n = 0;
    int rc = use_up(tx, j, ONCE_VERIFY, err);
    ch->object = str_of(j->account.name);
    if (rc == 0)
        rc = db_exec(tx, SET_VERIFIED, DB_ARGS(DB_I(j->account.id), DB_T(str_of(j->row.payload)), DB_I(clock_now())), &n, err);
    return rc == 0 && n == 0 ? gone(err) : rc; /* the address is another one by now */
}

static int verify_run(struct rest_call *c, struct err *err)
{
    struct reset_job j = {.ident = ident_of(c->r), .kind = ONCE_VERIFY};
    struct change ch = {.fn = verify_set, .action = "user.email.verified"};
    int rc = code_run(c, &j, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int mail_test_run(struct rest_call *c, struct err *err)
{
    struct ident *i = ident_of(c->r);
    char to[EMAIL_MAX + 1];
    text_copy(to, sizeof to, rest_text(c->body, "to"));
    int rc = mailer_now(i->mailer, str_of(to), "A test from Berth", "Mail from this hub arrives.\n", err);
    if (rc == 0)
        return rest_send(c, NULL);
    err->code = ERR_CONFLICT; /* what the mail server said is what was asked for */
    return err->code;
}

const struct rest_route reset_routes[] = {
    {REST_POST("/password-reset", "reset_ask", RIGHT_PUBLIC), ask_run, "Mail a link that sets a new password", "login", .body = &reset_ask},
    {REST_POST("/password-reset/complete", "reset_complete", RIGHT_PUBLIC), reset_run, "Set a new password by a link", "login", .body = &reset_do,
     .also = {404}},
    {REST_POST("/users/{user}/reset-link", "user_reset_link", RIGHT_USER), link_run, "A link that sets a new password, to be handed on", "users",
     .answer = &reset_link},
    {REST_POST("/me/email/verification", "verify_ask", RIGHT_OWN), verify_ask, "Mail a link that proves the own address", "login"},
    {REST_POST("/email-verification", "verify", RIGHT_PUBLIC), verify_run, "Prove an address by the code that was mailed", "login",
     .body = &verify_do, .also = {404}},
    {REST_POST("/mail/test", "mail_test", RIGHT_SITE_SETTINGS), mail_test_run, "Send a mail, and say what went wrong", "site", .body = &mail_test},
};
const size_t n_reset_routes = ARRAY_LEN(reset_routes);
