/* Log in, second factor, log out, step-up. */
#include "pages/pages_int.h"

enum { OPTIONS_MAX = 64 << 10 };

static int login_get(struct page *p, struct err *err)
{
    (void)err;
    if (p->who != NULL)
        return page_go(p, "/account");
    page_title(p, "Log in");
    page_form(p, "/login");
    page_add(p, "<label>User name<input name=\"username\" autocomplete=\"username\" autocapitalize=\"none\" required autofocus value=\"%s\"></label>"
                "<label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required></label>",
             p->r->method == HTTP_POST ? page_field(p, "username") : "");
    page_end_form(p, "Log in");
    page_add(p, "<p class=\"quiet\"><a href=\"/reset\">Forgot your password?</a></p>");
    return page_send(p, p->fault ? 403 : 200);
}

void page_proof(struct page *p, const char *action, const char *ticket)
{
    struct buf options;
    struct err none = {0};
    buf_init(&options, OPTIONS_MAX);
    bool key = ident_login_options(p->r, str_of(ticket), &options, &none) == 0;
    p->script = key;
    page_title(p, "Second factor");
    if (key) {
        page_form(p, action);
        page_add(p, "<div id=\"webauthn\" data-what=\"get\" data-options=\"%s\"></div><input type=\"hidden\" name=\"ticket\" value=\"%s\">"
                    "<input type=\"hidden\" name=\"webauthn\"><p id=\"webauthn-says\" role=\"status\">Use your security key or passkey.</p>",
                 options.p, ticket);
        page_end_form(p, "Use security key");
        page_add(p, "<p class=\"or\">or</p>");
    }
    page_form(p, action);
    page_add(p, "<input type=\"hidden\" name=\"ticket\" value=\"%s\"><label>Code of your authenticator app, or a recovery code"
                "<input name=\"code\" autocomplete=\"one-time-code\" autocapitalize=\"none\" spellcheck=\"false\" required%s></label>",
             ticket, "");
    page_end_form(p, "Go on");
    buf_release(&options);
}

static int ask_factor(struct page *p, const char *ticket, unsigned status)
{
    page_proof(p, "/login/factor", ticket);
    return page_send(p, status);
}

static int login_post(struct page *p, struct err *err)
{
    char text[TOKEN_TEXT_LEN + 1];
    int rc = ident_session_login(p->r, str_of(page_field(p, "username")), str_of(page_field(p, "password")), text, err);
    if (rc == ERR_SECOND_FACTOR_REQUIRED)
        return ask_factor(p, p->r->ticket, 200);
    if (rc == ERR_UNAUTHORIZED)
        return page_again(p, err, login_get);
    if (rc < 0)
        return rc;
    page_cookie(p, text);
    return page_go(p, "/account");
}

static int login_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, login_get, login_post, err); }

static int to_login(struct page *p, struct err *err)
{
    (void)err;
    return page_go(p, "/login");
}

static int factor_post(struct page *p, struct err *err)
{
    struct login_proof proof = {str_of(page_field(p, "code")), str_of(page_field(p, "webauthn"))};
    const char *ticket = page_field(p, "ticket");
    char text[TOKEN_TEXT_LEN + 1];
    int rc = ident_session_factor(p->r, str_of(ticket), &proof, text, err);
    if (rc == ERR_UNAUTHORIZED) {
        p->fault = str_dup(&p->r->arena, str_of(err->text));
        return ask_factor(p, ticket, 403);
    }
    if (rc < 0)
        return rc;
    page_cookie(p, text);
    return page_go(p, "/account");
}

static int factor_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, to_login, factor_post, err); }

static int logout_post(struct page *p, struct err *err)
{
    int rc = p->who ? ident_session_end(p->r, p->who, err) : 0;
    if (rc < 0)
        return rc;
    page_cookie(p, "");
    http_add(p->r, "Clear-Site-Data", STR_LIT("\"cache\", \"storage\""));
    return page_go(p, "/login");
}

static int logout_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, to_login, logout_post, err); }

/* --- step-up */

static int proof_get(struct page *p, struct err *err)
{
    char ticket[TOKEN_TEXT_LEN + 1];
    if (p->who->second_factor) {
        int rc = ident_session_ticket(p->r, p->who, ticket, err);
        if (rc < 0)
            return rc;
        page_proof(p, "/account/proof", ticket);
        return page_send(p, p->fault ? 403 : 200);
    }
    page_title(p, "Confirm it is you");
    page_add(p, "<p>Your login is some time ago. What you are about to do takes your password again.</p>");
    page_form(p, "/account/proof");
    page_add(p, "<label>Password<input name=\"password\" type=\"password\" autocomplete=\"current-password\" required autofocus></label>");
    page_end_form(p, "Go on");
    return page_send(p, p->fault ? 403 : 200);
}

static int proof_post(struct page *p, struct err *err)
{
    struct login_proof proof = {str_of(page_field(p, "code")), str_of(page_field(p, "webauthn"))};
    char text[TOKEN_TEXT_LEN + 1];
    int rc = ident_session_prove(p->r, p->who, str_of(page_field(p, "ticket")), &proof, str_of(page_field(p, "password")), text, err);
    if (rc == ERR_UNAUTHORIZED)
        return page_again(p, err, proof_get);
    if (rc < 0)
        return rc;
    page_cookie(p, text);
    return page_go(p, "/account");
}

static int proof_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_LOGIN, proof_get, proof_post, err); }

/* --- what stands beside the pages */

static int asset(struct http_req *r, const struct asset *a, const char *type)
{
    http_status(r, 200);
    http_add(r, "Content-Type", str_of(type));
    http_add(r, "Cache-Control", STR_LIT("public, max-age=3600"));
    http_send(r, (struct str){a->text, a->n});
    return 0;
}

static int css_run(struct http_req *r, struct err *err)
{
    (void)err;
    return asset(r, &asset_css, "text/css; charset=utf-8");
}

static int js_run(struct http_req *r, struct err *err)
{
    (void)err;
    return asset(r, &asset_js, "text/javascript; charset=utf-8");
}

static int svg_run(struct http_req *r, struct err *err)
{
    (void)err;
    return asset(r, &asset_svg, "image/svg+xml");
}

#define ROW(methods_, path, label_, writes_, fn)                                                                           \
    {.methods = (methods_), .pattern = path, .label = label_, .right = RIGHT_PUBLIC, .writes = (writes_), .cap_key = -1,   \
     .body = ((methods_) & HTTP_POST) ? HTTP_BUFFER : HTTP_NONE, .too_large = ERR_TOO_LARGE, .dialect = HTTP_PROBLEM, .run = fn}
#define SHOWN (HTTP_GET | HTTP_HEAD)
#define SECRET_ROW(path, label_, writes_, fn)                                                                              \
    {.methods = SHOWN | HTTP_POST, .pattern = path, .label = label_, .right = RIGHT_PUBLIC, .writes = (writes_), .cap_key = -1, \
     .body = HTTP_BUFFER, .too_large = ERR_TOO_LARGE, .dialect = HTTP_PROBLEM, .secret = true, .run = fn}
const struct http_route pages_routes[] = {
    ROW(SHOWN, "/assets/berth.css", "page_css", false, css_run),
    ROW(SHOWN, "/assets/berth.svg", "page_svg", false, svg_run),
    ROW(SHOWN, "/assets/webauthn.js", "page_js", false, js_run),
    ROW(SHOWN | HTTP_POST, "/login", "page_login", false, login_run),
    ROW(HTTP_POST, "/login/factor", "page_login_factor", false, factor_run),
    ROW(HTTP_POST, "/logout", "page_logout", false, logout_run),
    ROW(SHOWN, "/account", "page_account", false, account_run),
    ROW(SHOWN | HTTP_POST, "/account/proof", "page_proof", false, proof_run),
    ROW(HTTP_POST, "/account/profile", "page_profile", true, account_profile_run),
    ROW(HTTP_POST, "/account/password", "page_password", true, account_password_run),
    ROW(HTTP_POST, "/account/factors/totp", "page_totp", true, account_totp_run),
    ROW(HTTP_POST, "/account/factors/confirm", "page_totp_confirm", true, account_confirm_run),
    ROW(SHOWN | HTTP_POST, "/account/factors/key", "page_key", false, account_key_run),
    ROW(HTTP_POST, "/account/factors/remove", "page_factor_remove", true, account_factor_remove_run),
    ROW(HTTP_POST, "/account/recovery-codes", "page_codes", true, account_codes_run),
    ROW(HTTP_POST, "/account/sessions/end", "page_session_end", true, account_session_end_run),
    ROW(HTTP_POST, "/account/sessions/end-all", "page_sessions_end", true, account_sessions_end_run),
    ROW(HTTP_POST, "/account/tokens", "page_token", true, account_token_run),
    ROW(HTTP_POST, "/account/tokens/revoke", "page_token_revoke", true, account_token_revoke_run),
    ROW(HTTP_POST, "/account/email/verify", "page_email_verify", true, account_verify_run),
    ROW(SHOWN | HTTP_POST, "/signup", "page_signup", false, signup_run),
    SECRET_ROW("/invite/{code}", "page_invite", false, invite_run),
    ROW(SHOWN | HTTP_POST, "/reset", "page_reset", false, reset_run),
    SECRET_ROW("/reset/{code}", "page_reset_code", false, reset_code_run),
    SECRET_ROW("/verify/{code}", "page_verify", false, verify_run),
};
const size_t n_pages_routes = ARRAY_LEN(pages_routes);
