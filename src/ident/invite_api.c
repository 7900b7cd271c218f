/* /api/v1: invitations, and accounts that people make themselves. */
#include "ident/api.h"

#include <stdio.h>
#include <stdlib.h>

#define INVITATION_US ((int64_t)7 * 24 * 3600 * 1000000)
enum { INVITATIONS_MAX = 1000 };

static const struct rest_schema invitation = {
    "Invitation", "An invitation that was not taken yet.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"org", REST_STRING, .required = true, .nullable = true, .about = "null: to the hub alone"},
        {"role", REST_ENUM, .required = true, .nullable = true, .words = words_member_role},
        {"user", REST_STRING, .required = true, .nullable = true, .about = "only this user may take it"},
        {"email", REST_STRING, .required = true, .nullable = true, .about = "where it was sent"},
        {"by", REST_STRING, .required = true, .about = "who invited"},
        {"created_at", REST_TIME, .required = true},
        {"expires_at", REST_TIME, .required = true},
        {"link", REST_STRING, .nullable = true, .about = "only when made, and when no mail was sent: to be handed on"},
        {0}}};
static const struct rest_schema invitation_new = {
    "InvitationNew", "Whom to invite: a user by name, or somebody by mail; neither: whoever has the link.", (const struct rest_field[]){
        {"user", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email},
        {"role", REST_ENUM, .words = words_member_role, .about = "default: member"},
        {0}}};
static const struct rest_schema invitation_site = {
    "SiteInvitationNew", "Whom to invite to the hub: by mail, or whoever has the link.", (const struct rest_field[]){
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email}, {0}}};
static const struct rest_schema invitation_code = {
    "InvitationCode", "The code of an invitation.", (const struct rest_field[]){
        {"code", REST_STRING, .required = true, .max = TOKEN_TEXT_LEN}, {0}}};
static const struct rest_schema sign_up = {
    "SignUp", "An account of one's own.", (const struct rest_field[]){
        {"code", REST_STRING, .max = TOKEN_TEXT_LEN, .about = "of an invitation; needed unless the hub is open to everybody"},
        {"name", REST_STRING, .required = true, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},
        {"password", REST_STRING, .required = true, .min = 8, .max = PASSWORD_MAX},
        {"full_name", REST_STRING, .max = FULL_NAME_MAX, .check = &check_line},
        {"email", REST_STRING, .max = EMAIL_MAX, .check = &check_email},
        {0}}};
static const struct rest_schema signed_up = {
    "SignedUp", "The account that was made.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true},
        {"org", REST_STRING, .required = true, .nullable = true, .about = "of which it is a member"},
        {0}}};

static const char LIST[] = "SELECT " ONCE_COLUMNS " FROM one_time WHERE kind = 2 AND account_id = $1 AND expires_at > $2 AND id > $3 ORDER BY id LIMIT $4";
static const char LIST_SITE[] = "SELECT " ONCE_COLUMNS " FROM one_time WHERE kind = 2 AND account_id IS NULL AND expires_at > $1 AND id > $2 ORDER BY id LIMIT $3";
static const char COUNT[] = "SELECT count(*) FROM one_time WHERE kind = 2 AND coalesce(account_id, 0) = $1";
static const char BY_HASH[] = "SELECT " ONCE_COLUMNS " FROM one_time WHERE hash = $1";
static const char DROP[] = "DELETE FROM one_time WHERE id = $1 AND kind = 2 AND coalesce(account_id, 0) = $2";
static const char SET_TEXTS[] = "UPDATE accounts SET full_name = $2, email = $3, email_verified_at = $4 WHERE id = $1";

struct invite_job {
    struct rest_call *c;
    struct ident *ident;
    struct once_code code;
    struct once row;
    struct account org, user;
    char *payload;               /* JSON */
    bool mailed;
    char hash[PASSWORD_HASH_MAX], org_name[ACCOUNT_NAME_MAX + 1], link[EMAIL_MAX + 256];
};

static json_t *null_text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s && s[0] ? json_string(s) : json_null();
}

static json_t *invitation_json(const struct once *o, const char *org)
{
    json_t *p = json_loads(o->payload, 0, NULL);
    json_t *doc = json_pack("{s:I,s:o,s:o,s:o,s:o,s:s,s:o,s:o}", "id", (json_int_t)o->id, "org", org ? json_string(org) : json_null(), "role",
                            org ? json_string(member_role_name(json_integer_value(json_object_get(p, "role")))) : json_null(), "user",
                            null_text(p, "user"), "email", null_text(p, "email"), "by", json_string_value(json_object_get(p, "by")),
                            "created_at", rest_json_time(o->created_at), "expires_at", rest_json_time(o->expires_at));
    json_decref(p);
    return doc;
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

/* --- making */

static int add(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct invite_job *j = ch->arg;
    struct str user = rest_text(j->c->body, "user");
    int64_t org_id = ch->now.account.id, n = 0;
    struct member_row m;
    int rc = org_id ? account_is_org(&ch->now.account, err) : 0;
    text_copy(j->org_name, sizeof j->org_name, str_of(ch->now.account.name));
    if (rc == 0 && user.n > 0) {
        if ((rc = account_tx_user(tx, user, &j->user, err)) < 0 || (rc = member_tx_find(tx, org_id, j->user.id, &m, err)) < 0)
            return rc;
        if (rc == 1)
            return err_set(err, ERR_EXISTS, "\"%s\" is a member already", j->user.name);
    }
    if (rc < 0 || (rc = db_one(tx, COUNT, DB_ARGS(DB_I(org_id)), map_int, &n, err)) < 0)
        return rc;
    if (n >= INVITATIONS_MAX)
        return err_set(err, ERR_CONFLICT, "%d invitations are open: take some back first", INVITATIONS_MAX);
    if ((rc = once_tx_add(tx, ONCE_INVITATION, j->code.hash, org_id, str_of(j->payload), INVITATION_US, err)) < 0)
        return rc;
    rc = db_one(tx, BY_HASH, DB_ARGS(DB_B(((struct str){(char *)j->code.hash, TOKEN_HASH}))), once_map, &j->row, err);
    return rc < 0 ? rc : 0;
}

static void mail_invitation(struct invite_job *j, struct str email)
{
    const char *by = req_principal(j->c->r)->name, *to = j->org_name[0] ? j->org_name : "Berth";
    const char *text = arena_printf(&j->c->r->arena,
                                    "%s invites you to %s on %s.\n\nTo accept, open this link within seven days:\n%s\n\n"
                                    "If you do not know what this is about, do nothing.\n",
                                    by[0] ? by : "An administrator", to, j->ident->origin, j->link);
    mailer_send(j->ident->mailer, email, arena_printf(&j->c->r->arena, "Invitation to %s", to), text);
}

static int add_run(struct rest_call *c, struct err *err)
{
    struct invite_job j = {.c = c, .ident = ident_of(c->r)};
    struct change ch = {.fn = add, .arg = &j, .action = "invitation.create"};
    struct str user = rest_text(c->body, "user"), email = api_text(c->body, "email", ""), role = rest_text(c->body, "role");
    if (user.n > 0 && email.n > 0)
        return rest_wrong(c, err, "email", "must not be there beside user");
    ch.object = user.n > 0 ? user : email.n > 0 ? email : STR_LIT("by link");
    j.mailed = email.n > 0 && j.ident->mailer != NULL;
    once_make(j.ident, &j.code);
    json_t *payload = json_pack("{s:i,s:s%,s:s%,s:s,s:b}", "role", role.n ? (int)member_role_of(role) : MEMBER_MEMBER, "user", user.p ? user.p : "",
                                user.n, "email", email.p ? email.p : "", email.n, "by", req_principal(c->r)->name, "mailed", j.mailed);
    j.payload = json_dumps(payload, JSON_COMPACT);
    json_decref(payload);
    int rc = change_run(c->r, &ch, err);
    free(j.payload);
    if (rc < 0)
        return rc;
    (void)snprintf(j.link, sizeof j.link, "%s/invite/%s", j.ident->origin, j.code.text);
    json_t *doc = invitation_json(&j.row, j.org_name[0] ? j.org_name : NULL);
    json_object_set_new(doc, "link", j.mailed ? json_null() : json_string(j.link));
    if (j.mailed)
        mail_invitation(&j, email);
    if (user.n > 0)
        mail_account(j.ident, &j.user, "An invitation for you", "%s is invited to the organization %s: %s\n", j.user.name, j.org_name, j.link);
    secret_wipe(j.link, sizeof j.link);
    http_add(c->r, "Cache-Control", STR_LIT("no-store"));
    return rest_send(c, doc);
}

/* --- list, take back */

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    const struct account *org = req_account(c->r);
    auto_rows struct db_rows *rows = NULL;
    struct db_value now = DB_I(clock_now()), after = DB_I(rest_after_int(c, 0, 0)), n = DB_I(rest_page(c));
    int rc = org->id ? db_query(tx, LIST, DB_ARGS(DB_I(org->id), now, after, n), &rows, err) : db_query(tx, LIST_SITE, DB_ARGS(now, after, n), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct once o;
        once_map(rows, &o);
        rest_add(c, invitation_json(&o, org->id ? org->name : NULL), json_pack("[I]", (json_int_t)o.id));
        rc = 0;
    }
    return rc;
}

static int list_run(struct rest_call *c, struct err *err)
{
    const struct account *org = req_account(c->r);
    int rc = org->id ? account_is_org(org, err) : 0;
    if (rc == 0)
        rc = db_read(ident_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

static int drop(struct db_tx *tx, struct change *ch, struct err *err)
{
    uint64_t id = 0;
    int64_t n = 0;
    if (!str_u64(ch->object, &id) || id > INT64_MAX)
        return err_set(err, ERR_NOT_FOUND, "there is no such invitation");
    int rc = db_exec(tx, DROP, DB_ARGS(DB_I((int64_t)id), DB_I(ch->now.account.id)), &n, err);
    return rc == 0 && n == 0 ? err_set(err, ERR_NOT_FOUND, "there is no such invitation") : rc;
}

static int drop_at(struct rest_call *c, size_t part, struct err *err)
{
    struct change ch = {.fn = drop, .action = "invitation.delete", .object = c->r->parts[part]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int drop_org(struct rest_call *c, struct err *err) { return drop_at(c, 1, err); }
static int drop_site(struct rest_call *c, struct err *err) { return drop_at(c, 0, err); }

/* --- taking it */

static int gone(struct err *err) { return err_set(err, ERR_NOT_FOUND, "the invitation is unknown, expired, taken back, or was used already"); }

/* The invitation of j->code and its organization; its row is used up. */
static int use_up(struct db_tx *tx, struct invite_job *j, json_t **ret_payload, struct err *err)
{
    int rc = once_tx_find(tx, ONCE_INVITATION, j->code.hash, &j->row, err);
    if (rc == 1)
        rc = once_tx_use(tx, j->row.id, err);
    if (rc != 1)
        return rc < 0 ? rc : gone(err);
    j->org = (struct account){0};
    if (j->row.account_id != 0 && ((rc = account_tx_by_id(tx, j->row.account_id, &j->org, err)) < 0 || j->org.state != ACCOUNT_ACTIVE))
        return rc < 0 ? rc : gone(err);
    *ret_payload = json_loads(j->row.payload, 0, NULL);
    return 0;
}

/* Who invited may have lost the right since; what he may not give any more is not taken. */
static int inviter_stands(struct db_tx *tx, const struct invite_job *j, const json_t *payload, struct err *err)
{
    struct account by;
    struct member_row m;
    struct str name = str_of(json_string_value(json_object_get(payload, "by")));
    if (name.n == 0) /* the machine's administrator */
        return 0;
    int rc = account_tx_find(tx, name, &by, err);
    if (rc < 0 || (rc == 1 && by.state == ACCOUNT_ACTIVE && by.role == SITE_ADMIN))
        return rc < 0 ? rc : 0;
    if (rc == 1 && by.state == ACCOUNT_ACTIVE && j->org.id != 0)
        rc = by.id == j->org.id ? 1 : member_tx_find(tx, j->org.id, by.id, &m, err) == 1 && m.role == MEMBER_OWNER;
    else
        rc = 0;
    return rc == 1 ? 0 : gone(err);
}

static int join(struct db_tx *tx, const struct invite_job *j, const json_t *payload, int64_t user_id, struct err *err)
{
    struct member_row m;
    if (j->org.id == 0)
        return 0;
    int rc = member_tx_find(tx, j->org.id, user_id, &m, err);
    if (rc != 0) /* a member already keeps the role */
        return rc < 0 ? rc : 0;
    return member_tx_set(tx, j->org.id, user_id, (enum member_role)json_integer_value(json_object_get(payload, "role")), "local", err);
}

static int accept(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct invite_job *j = ch->arg;
    json_t *payload = NULL;
    int rc = use_up(tx, j, &payload, err);
    struct str user = str_of(json_string_value(json_object_get(payload, "user")));
    if (rc == 0 && user.n > 0 && !str_is(user, ch->who->name))
        rc = gone(err);
    if (rc == 0)
        rc = inviter_stands(tx, j, payload, err);
    if (rc == 0)
        rc = join(tx, j, payload, ch->who->user_id, err);
    json_decref(payload);
    ch->now.account = j->org;
    return rc;
}

static int accept_run(struct rest_call *c, struct err *err)
{
    struct invite_job j = {.c = c, .ident = ident_of(c->r)};
    const struct principal *p = req_principal(c->r);
    struct change ch = {.fn = accept, .arg = &j, .accounts = {str_of(p->name)}, .action = "invitation.accept", .object = str_of(p->name)};
    if (p->kind != WHO_USER)
        return err_set(err, ERR_DENIED, "only a user can accept an invitation");
    if (once_hash(j.ident, rest_text(c->body, "code"), j.code.hash, NULL) < 0)
        return gone(err);
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, json_pack("{s:s,s:o}", "name", p->name, "org", j.org.id ? json_string(j.org.name) : json_null()));
}

/* --- signing up */

static int make(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct invite_job *j = ch->arg;
    const json_t *b = j->c->body;
    struct str full = api_text(b, "full_name", ""), email = api_text(b, "email", "");
    json_t *payload = NULL;
    int rc = rest_has(b, "code") ? use_up(tx, j, &payload, err) : 0;
    const char *invited = payload ? json_string_value(json_object_get(payload, "email")) : "";
    bool proved = payload && json_is_true(json_object_get(payload, "mailed")) && (email.n == 0 || str_is(email, invited));
    if (rc == 0 && payload && str_of(json_string_value(json_object_get(payload, "user"))).n > 0)
        rc = gone(err);
    if (rc == 0 && payload)
        rc = inviter_stands(tx, j, payload, err);
    if (rc == 0)
        rc = account_tx_name_free(tx, ch->object, err);
    if (rc == 0)
        rc = account_tx_add(tx, ACCOUNT_USER, ch->object, j->hash, SITE_NONE, &j->user.id, err);
    if (rc == 0)
        rc = db_exec(tx, SET_TEXTS, DB_ARGS(DB_I(j->user.id), DB_T(full), DB_T(proved ? str_of(invited) : email), DB_I(proved ? clock_now() : 0)), NULL, err);
    if (rc == 0)
        rc = join(tx, j, payload, j->user.id, err);
    json_decref(payload);
    ch->now.account = j->org;
    return rc;
}

static int sign_up_run(struct rest_call *c, struct err *err)
{
    struct invite_job j = {.c = c, .ident = ident_of(c->r)};
    struct str name = rest_text(c->body, "name");
    struct change ch = {.fn = make, .arg = &j, .accounts = {name}, .action = "user.sign_up", .object = name};
    int64_t how = atomic_load(&j.ident->signup);
    bool coded = rest_has(c->body, "code");
    if (how == SIGNUP_CLOSED || (how == SIGNUP_INVITATION && !coded))
        return err_set(err, ERR_DENIED, how == SIGNUP_CLOSED ? "this hub takes no new accounts" : "this hub takes new accounts by invitation only");
    int rc = fail_address_check(j.ident, c->r, err);
    if (rc == 0 && coded && once_hash(j.ident, rest_text(c->body, "code"), j.code.hash, NULL) < 0)
        rc = gone(err);
    if (rc < 0)
        return rc;
    if (ident_account_name_check(name, err) < 0)
        return rest_wrong(c, err, "name", "%s", err->text);
    http_aside(c->r->server, true);
    rc = password_hash(rest_text(c->body, "password"), j.hash, err);
    http_aside(c->r->server, false);
    if (rc == 0)
        rc = change_run(c->r, &ch, err);
    secret_wipe(j.hash, sizeof j.hash);
    if (rc == ERR_NOT_FOUND || rc == ERR_EXISTS || rc == 0) /* each costs: names and codes are not to be tried, nor made by the thousand */
        fail_address_count(j.ident, c->r);
    return rc < 0 ? rc : rest_send(c, json_pack("{s:s%,s:o}", "name", name.p, name.n, "org", j.org.id ? json_string(j.org.name) : json_null()));
}

const struct rest_route invite_routes[] = {
    {REST_GET("/orgs/{org}/invitations", "invitation_list", RIGHT_MEMBERS), list_run, "List open invitations", "orgs", .answer = &invitation, .cursor = "i"},
    {REST_POST("/orgs/{org}/invitations", "invitation_create", RIGHT_MEMBERS), add_run, "Invite somebody to the organization", "orgs",
     .body = &invitation_new, .answer = &invitation, .status = 201},
    {REST_DELETE("/orgs/{org}/invitations/{id}", "invitation_delete", RIGHT_MEMBERS), drop_org, "Take an invitation back", "orgs"},
    {REST_GET("/invitations", "site_invitation_list", RIGHT_USER_CREATE), list_run, "List open invitations to the hub", "users", .answer = &invitation,
     .cursor = "i"},
    {REST_POST("/invitations", "site_invitation_create", RIGHT_USER_CREATE), add_run, "Invite somebody to the hub", "users", .body = &invitation_site,
     .answer = &invitation, .status = 201},
    {REST_DELETE("/invitations/{id}", "site_invitation_delete", RIGHT_USER_CREATE), drop_site, "Take an invitation to the hub back", "users"},
    {REST_POST("/invitations/accept", "invitation_accept", RIGHT_OWN), accept_run, "Accept an invitation", "login", .body = &invitation_code,
     .answer = &signed_up, .also = {404}},
    {REST_POST("/signup", "sign_up", RIGHT_PUBLIC), sign_up_run, "Make an account of one's own", "login", .body = &sign_up, .answer = &signed_up,
     .status = 201, .also = {403, 404}},
};
const size_t n_invite_routes = ARRAY_LEN(invite_routes);
