/* The own account: profile, password, second factors, browsers, tokens. */
#include "pages/pages_int.h"

static void line(struct page *p, const char *label, const char *name, const char *type, const char *value, const char *more)
{
    page_add(p, "<label>%s<input name=\"%s\" type=\"%s\" value=\"%s\" autocomplete=\"%s\"></label>", label, name, type, value, more);
}

/* A form of one button that names a row. */
static void button(struct page *p, const char *action, int64_t id, const char *text)
{
    page_form(p, action);
    page_add(p, "<input type=\"hidden\" name=\"id\" value=\"%s\">", arena_printf(&p->r->arena, "%lld", (long long)id));
    page_end_form(p, text);
}

static int show_profile(struct page *p, struct err *err)
{
    int rc = page_api(p, HTTP_GET, "/me", NULL, err);
    if (rc < 0)
        return rc;
    page_add(p, "<section><h2>Profile</h2>");
    page_form(p, "/account/profile");
    line(p, "Full name", "full_name", "text", page_text(p->answer, "full_name"), "name");
    line(p, "E-mail", "email", "email", page_text(p->answer, "email"), "email");
    page_end_form(p, "Save");
    if (ident_mails(p->r) && page_text(p->answer, "email")[0] != 0 && !json_is_true(json_object_get(p->answer, "email_verified"))) {
        page_add(p, "<p class=\"quiet\">This address is not proved: nothing is mailed to it.</p>");
        page_form(p, "/account/email/verify");
        page_end_form(p, "Mail me a link that proves it");
    }
    page_add(p, "</section><section><h2>Password</h2>");
    page_form(p, "/account/password");
    line(p, "Old password", "old_password", "password", "", "current-password");
    line(p, "New password, at least 8 characters", "password", "password", "", "new-password");
    page_end_form(p, "Change password");
    page_add(p, "<p class=\"quiet\">This logs all browsers and API logins out, but this one.</p></section>");
    return 0;
}

static int show_factors(struct page *p, struct err *err)
{
    size_t at;
    const json_t *one;
    int rc = page_api(p, HTTP_GET, "/me/factors?limit=100", NULL, err);
    if (rc < 0)
        return rc;
    const json_t *items = json_object_get(p->answer, "items");
    page_add(p, "<section><h2>Second factors</h2><p>With one of these your password alone opens nothing. "
                "For <code>docker login</code> make a token below.</p><ul class=\"rows\">");
    json_array_foreach(items, at, one)
    {
        bool key = strcmp(page_text(one, "kind"), "webauthn") == 0;
        page_add(p, "<li><span><b>%s</b> %s<br><small>added %s, last used %s</small></span>", page_text(one, "name"),
                 key ? "(security key)" : "(authenticator app)", page_time(p, json_object_get(one, "created_at")),
                 page_time(p, json_object_get(one, "last_used_at")));
        button(p, "/account/factors/remove", page_int(one, "id"), "Remove");
        page_add(p, "</li>");
    }
    bool any = json_array_size(items) > 0;
    page_add(p, "</ul><div class=\"side\">");
    page_form(p, "/account/factors/totp");
    page_end_form(p, "Add an authenticator app");
    page_add(p, "<a class=\"button\" href=\"/account/factors/key\">Add a security key or passkey</a>");
    if (any) {
        page_form(p, "/account/recovery-codes");
        page_end_form(p, "New recovery codes");
    }
    page_add(p, "</div></section>");
    return 0;
}

static int show_sessions(struct page *p, struct err *err)
{
    size_t at;
    const json_t *one;
    int rc = page_api(p, HTTP_GET, "/me/sessions?limit=100", NULL, err);
    if (rc < 0)
        return rc;
    page_add(p, "<section><h2>Browsers</h2><ul class=\"rows\">");
    json_array_foreach(json_object_get(p->answer, "items"), at, one)
    {
        bool current = json_is_true(json_object_get(one, "current"));
        page_add(p, "<li><span><b>%s</b>%s<br><small>%s, last used %s</small></span>", page_text(one, "address"), current ? " (this one)" : "",
                 page_text(one, "client"), page_time(p, json_object_get(one, "last_used_at")));
        button(p, "/account/sessions/end", page_int(one, "id"), "Log out");
        page_add(p, "</li>");
    }
    page_add(p, "</ul>");
    page_form(p, "/account/sessions/end-all");
    page_end_form(p, "Log out everywhere");
    page_add(p, "</section>");
    return 0;
}

static int show_tokens(struct page *p, struct err *err)
{
    size_t at, k;
    const json_t *one, *bound;
    int rc = page_api(p, HTTP_GET, "/tokens?limit=100", NULL, err);
    if (rc < 0)
        return rc;
    page_add(p, "<section><h2>Tokens</h2><p>For <code>docker login</code>, scripts and CI, in the password's place.</p><ul class=\"rows\">");
    json_array_foreach(json_object_get(p->answer, "items"), at, one)
    {
        page_add(p, "<li><span><b>%s</b> (%s)", page_text(one, "name"), page_text(one, "state"));
        json_array_foreach(json_object_get(one, "bounds"), k, bound)
            page_add(p, " <code>%s</code> on <code>%s</code>", page_text(bound, "scope"), page_text(bound, "pattern"));
        page_add(p, "<br><small>ends %s, last used %s %s</small></span>", page_time(p, json_object_get(one, "expires_at")),
                 page_time(p, json_object_get(one, "last_used_at")), page_text(one, "last_used_from"));
        button(p, "/account/tokens/revoke", page_int(one, "id"), "Revoke");
        page_add(p, "</li>");
    }
    page_add(p, "</ul>");
    page_form(p, "/account/tokens");
    line(p, "Name", "name", "text", "", "off");
    line(p, "Repositories: *, namespace/*, or namespace/name", "pattern", "text", "*", "off");
    page_add(p, "<label>It may<select name=\"scope\"><option value=\"read\">pull</option><option value=\"write\">pull and push</option>"
                "<option value=\"delete\">pull, push and delete</option><option value=\"admin\">administer</option>"
                "<option value=\"public-read\">pull what is public</option></select></label>"
                "<label>Days until it ends<input name=\"days\" type=\"number\" min=\"1\" max=\"3650\" value=\"90\"></label>");
    page_end_form(p, "Make a token");
    page_add(p, "</section>");
    return 0;
}

int account_get(struct page *p, struct err *err)
{
    int rc;
    page_title(p, "Your account");
    if ((rc = show_profile(p, err)) < 0 || (rc = show_factors(p, err)) < 0 || (rc = show_sessions(p, err)) < 0 ||
        (rc = show_tokens(p, err)) < 0)
        return rc;
    return page_send(p, p->fault ? 400 : 200);
}

static int to_account(struct page *p, struct err *err)
{
    (void)err;
    return page_go(p, "/account");
}

/* After a form: back to the account, or the account with what was wrong. */
static int done(struct page *p, int rc, struct err *err) { return rc < 0 ? page_again(p, err, account_get) : page_go(p, "/account"); }

static int profile_post(struct page *p, struct err *err)
{
    json_t *body = json_pack("{s:s,s:s}", "full_name", page_field(p, "full_name"), "email", page_field(p, "email"));
    return done(p, page_api(p, HTTP_PATCH, "/me", body, err), err);
}

static int verify_post(struct page *p, struct err *err) { return done(p, page_api(p, HTTP_POST, "/me/email/verification", NULL, err), err); }

/* Every session ends with the old password; this browser shows the new one's right to a fresh one. */
static int password_post(struct page *p, struct err *err)
{
    json_t *body = json_pack("{s:s,s:s}", "old_password", page_field(p, "old_password"), "password", page_field(p, "password"));
    char text[TOKEN_TEXT_LEN + 1];
    int rc = page_api(p, HTTP_PUT, "/me/password", body, err);
    if (rc < 0)
        return page_again(p, err, account_get);
    if ((rc = ident_session_renew(p->r, p->who, text, err)) < 0)
        return rc;
    page_cookie(p, text);
    return page_go(p, "/account");
}

/* --- factors */

static void ask_code(struct page *p, const char *id)
{
    page_form(p, "/account/factors/confirm");
    page_add(p, "<input type=\"hidden\" name=\"id\" value=\"%s\"><label>The app's code of now<input name=\"code\" inputmode=\"numeric\" "
                "pattern=\"[0-9]{6}\" maxlength=\"6\" autocomplete=\"one-time-code\" required autofocus></label>", id);
    page_end_form(p, "Confirm");
}

static int totp_post(struct page *p, struct err *err)
{
    int rc = page_api(p, HTTP_POST, "/me/factors/totp", json_object(), err);
    if (rc < 0)
        return page_again(p, err, account_get);
    page_title(p, "Add an authenticator app");
    page_add(p, "<p>Type this secret into the app, or open the link on the device that has it. It is shown this once.</p>"
                "<p class=\"secret\"><code>%s</code></p><p><a href=\"%s\">Open in the app</a></p>",
             page_text(p->answer, "secret"), page_text(p->answer, "uri"));
    ask_code(p, arena_printf(&p->r->arena, "%lld", (long long)page_int(p->answer, "id")));
    return page_send(p, 200);
}

/* What a factor that was just made leaves to be said. */
static int added(struct page *p)
{
    page_title(p, "The second factor is on");
    page_codes(p, json_object_get(p->answer, "recovery_codes"));
    page_add(p, "<p><a class=\"button\" href=\"/account\">Back to your account</a></p>");
    return page_send(p, 200);
}

/* Only digits may become a part of a path. */
static const char *id_field(struct page *p)
{
    uint64_t id;
    const char *text = page_field(p, "id");
    return str_u64(str_of(text), &id) ? text : "0";
}

static int confirm_post(struct page *p, struct err *err)
{
    const char *id = id_field(p), *path = arena_printf(&p->r->arena, "/me/factors/%s/confirm", id);
    int rc = page_api(p, HTTP_POST, path, json_pack("{s:s}", "code", page_field(p, "code")), err);
    if (rc == ERR_INVALID) {
        p->fault = str_dup(&p->r->arena, str_of(err->text));
        page_title(p, "Add an authenticator app");
        ask_code(p, id);
        return page_send(p, 400);
    }
    return rc < 0 ? rc : added(p);
}

static int key_get(struct page *p, struct err *err)
{
    int rc = page_api(p, HTTP_POST, "/me/factors/webauthn/options", NULL, err);
    if (rc < 0)
        return rc;
    p->script = true;
    page_title(p, "Add a security key or passkey");
    page_form(p, "/account/factors/key");
    page_add(p, "<div id=\"webauthn\" data-what=\"create\" data-options=\"%s\"></div><input type=\"hidden\" name=\"ticket\" value=\"%s\">"
                "<input type=\"hidden\" name=\"webauthn\">",
             page_text(p->answer, "options"), page_text(p->answer, "ticket"));
    line(p, "Name of the key", "name", "text", "", "off");
    page_add(p, "<p id=\"webauthn-says\" role=\"status\">This takes a browser with scripts switched on.</p>");
    page_end_form(p, "Register the key");
    return page_send(p, p->fault ? 400 : 200);
}

static int key_post(struct page *p, struct err *err)
{
    json_t *body = json_pack("{s:s,s:s,s:s}", "ticket", page_field(p, "ticket"), "credential", page_field(p, "webauthn"), "name", page_field(p, "name"));
    int rc = page_api(p, HTTP_POST, "/me/factors/webauthn", body, err);
    return rc < 0 ? page_again(p, err, key_get) : added(p);
}

static int factor_remove_post(struct page *p, struct err *err)
{
    const char *path = arena_printf(&p->r->arena, "/me/factors/%s", id_field(p));
    return done(p, page_api(p, HTTP_DELETE, path, NULL, err), err);
}

static int codes_post(struct page *p, struct err *err)
{
    int rc = page_api(p, HTTP_POST, "/me/recovery-codes", NULL, err);
    if (rc < 0)
        return page_again(p, err, account_get);
    page_title(p, "New recovery codes");
    page_codes(p, json_object_get(p->answer, "recovery_codes"));
    page_add(p, "<p><a class=\"button\" href=\"/account\">Back to your account</a></p>");
    return page_send(p, 200);
}

/* --- browsers and tokens */

static int session_end_post(struct page *p, struct err *err)
{
    const char *path = arena_printf(&p->r->arena, "/me/sessions/%s", id_field(p));
    return done(p, page_api(p, HTTP_DELETE, path, NULL, err), err);
}

static int sessions_end_post(struct page *p, struct err *err)
{
    int rc = page_api(p, HTTP_DELETE, "/me/sessions", NULL, err);
    if (rc < 0)
        return rc;
    page_cookie(p, "");
    return page_go(p, "/login");
}

static int token_post(struct page *p, struct err *err)
{
    uint64_t days = 90;
    (void)str_u64(str_of(page_field(p, "days")), &days);
    json_t *body = json_pack("{s:s,s:I,s:[{s:s,s:s}]}", "name", page_field(p, "name"), "expires_in_days", (json_int_t)(days < 10000 ? days : 10000),
                             "bounds", "pattern", page_field(p, "pattern"), "scope", page_field(p, "scope"));
    int rc = page_api(p, HTTP_POST, "/tokens", body, err);
    if (rc < 0)
        return page_again(p, err, account_get);
    page_title(p, "Your new token");
    page_add(p, "<p>Copy it now: it is shown this once.</p><p class=\"secret\"><code>%s</code></p><p>Use it as the password of "
                "<code>docker login -u %s</code>.</p><p><a class=\"button\" href=\"/account\">Back to your account</a></p>",
             page_text(p->answer, "token"), p->who->name);
    return page_send(p, 200);
}

static int token_revoke_post(struct page *p, struct err *err)
{
    const char *path = arena_printf(&p->r->arena, "/tokens/%s", id_field(p));
    return done(p, page_api(p, HTTP_DELETE, path, NULL, err), err);
}

int account_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, account_get, NULL, err); }
int account_profile_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, profile_post, err); }
int account_verify_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, to_account, verify_post, err); }
int account_password_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, to_account, password_post, err); }
int account_totp_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, totp_post, err); }
int account_confirm_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, confirm_post, err); }
int account_key_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, key_get, key_post, err); }
int account_factor_remove_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, factor_remove_post, err); }
int account_codes_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, codes_post, err); }
int account_session_end_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, to_account, session_end_post, err); }
int account_sessions_end_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, to_account, sessions_end_post, err); }
int account_token_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_FRESH, to_account, token_post, err); }
int account_token_revoke_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, to_account, token_revoke_post, err); }
