/* Making an account, accepting an invitation, a forgotten password, proving an address. Codes stand in the path of a link
 * that was mailed; looking at it changes nothing, for mail programs look, too. */
#include "pages/pages_int.h"

/* As the page's visitor, who is nobody: these rows are public. */
static int ask_public(struct page *p, const char *target, json_t *body, struct err *err)
{
    return page_api(p, HTTP_POST, target, body, err);
}

static const char *code_of(struct page *p)
{
    return p->r->parts[0].p != NULL ? str_dup(&p->r->arena, p->r->parts[0]) : "";
}

/* --- sign up, with a code or without */

static void account_form(struct page *p, const char *code)
{
    bool again = p->fault != NULL;
    page_form(p, "/signup");
    page_add(p, "<input type=\"hidden\" name=\"code\" value=\"%s\">"
                "<label>User name<input name=\"name\" autocomplete=\"username\" autocapitalize=\"none\" required value=\"%s\"></label>"
                "<label>Full name<input name=\"full_name\" autocomplete=\"name\" value=\"%s\"></label>"
                "<label>E-mail<input name=\"email\" type=\"email\" autocomplete=\"email\" value=\"%s\"></label>"
                "<label>Password, at least 8 characters<input name=\"password\" type=\"password\" autocomplete=\"new-password\" minlength=\"8\" required></label>",
             code, again ? page_field(p, "name") : "", again ? page_field(p, "full_name") : "", again ? page_field(p, "email") : "");
    page_end_form(p, "Make the account");
}

static int signup_get(struct page *p, struct err *err)
{
    const char *code = p->r->method == HTTP_POST ? page_field(p, "code") : "";
    (void)err;
    page_title(p, "Make an account");
    if (code[0] == 0 && ident_signup(p->r) != SIGNUP_OPEN)
        page_add(p, "<p>This hub takes new accounts by invitation only: ask an administrator, or the owner of an organization.</p>");
    else
        account_form(p, code);
    return page_send(p, p->fault ? 400 : 200);
}

static int signup_post(struct page *p, struct err *err)
{
    const char *code = page_field(p, "code");
    json_t *body = json_pack("{s:s,s:s,s:s,s:s}", "name", page_field(p, "name"), "password", page_field(p, "password"), "full_name",
                             page_field(p, "full_name"), "email", page_field(p, "email"));
    char text[TOKEN_TEXT_LEN + 1];
    if (body != NULL && code[0] != 0)
        json_object_set_new(body, "code", json_string(code));
    int rc = ask_public(p, "/signup", body, err);
    if (rc < 0)
        return page_again(p, err, signup_get);
    if ((rc = ident_session_login(p->r, str_of(page_field(p, "name")), str_of(page_field(p, "password")), text, err)) < 0)
        return rc;
    page_cookie(p, text);
    return page_go(p, "/account");
}

int signup_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, signup_get, signup_post, err); }

static int invite_get(struct page *p, struct err *err)
{
    const char *code = code_of(p);
    (void)err;
    page_title(p, "You are invited");
    if (p->who != NULL) {
        page_add(p, "<p>Accept as <b>%s</b>?</p>", p->who->name);
        page_form(p, arena_printf(&p->r->arena, "/invite/%s", code));
        page_end_form(p, "Accept the invitation");
        return page_send(p, p->fault ? 400 : 200);
    }
    page_add(p, "<p>Make an account to accept. If you have one, <a href=\"/login\">log in</a> first and open the link again.</p>");
    if (ident_signup(p->r) != SIGNUP_CLOSED)
        account_form(p, code);
    return page_send(p, p->fault ? 400 : 200);
}

static int invite_post(struct page *p, struct err *err)
{
    if (p->who == NULL)
        return page_go(p, "/login");
    int rc = page_api(p, HTTP_POST, "/invitations/accept", json_pack("{s:s}", "code", code_of(p)), err);
    return rc < 0 ? page_again(p, err, invite_get) : page_go(p, "/account");
}

int invite_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, invite_get, invite_post, err); }

/* --- a forgotten password */

static int reset_get(struct page *p, struct err *err)
{
    (void)err;
    page_title(p, "Forgot your password?");
    if (!ident_mails(p->r)) {
        page_add(p, "<p>This hub sends no mail: ask an administrator for a link.</p>");
        return page_send(p, 200);
    }
    page_form(p, "/reset");
    page_add(p, "<label>User name or e-mail<input name=\"user\" autocomplete=\"username\" autocapitalize=\"none\" required autofocus></label>");
    page_end_form(p, "Send me a link");
    return page_send(p, p->fault ? 400 : 200);
}

static int reset_post(struct page *p, struct err *err)
{
    int rc = ask_public(p, "/password-reset", json_pack("{s:s}", "user", page_field(p, "user")), err);
    if (rc < 0)
        return page_again(p, err, reset_get);
    page_title(p, "Look into your mail");
    page_add(p, "<p>If there is an account of that name with a proved address, a link is on its way there. It is good for an hour.</p>");
    return page_send(p, 200);
}

int reset_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, reset_get, reset_post, err); }

static int code_get(struct page *p, struct err *err)
{
    (void)err;
    page_title(p, "A new password");
    page_form(p, arena_printf(&p->r->arena, "/reset/%s", code_of(p)));
    page_add(p, "<label>New password, at least 8 characters<input name=\"password\" type=\"password\" autocomplete=\"new-password\" minlength=\"8\" "
                "required autofocus></label>");
    page_end_form(p, "Set the password");
    return page_send(p, p->fault ? 400 : 200);
}

static int code_post(struct page *p, struct err *err)
{
    json_t *body = json_pack("{s:s,s:s}", "code", code_of(p), "password", page_field(p, "password"));
    int rc = ask_public(p, "/password-reset/complete", body, err);
    if (rc < 0)
        return page_again(p, err, code_get);
    page_cookie(p, "");
    return page_go(p, "/login");
}

int reset_code_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, code_get, code_post, err); }

/* --- an address */

static int verify_get(struct page *p, struct err *err)
{
    (void)err;
    page_title(p, "Is this your address?");
    page_form(p, arena_printf(&p->r->arena, "/verify/%s", code_of(p)));
    page_end_form(p, "Yes, it is mine");
    return page_send(p, p->fault ? 400 : 200);
}

static int verify_post(struct page *p, struct err *err)
{
    int rc = ask_public(p, "/email-verification", json_pack("{s:s}", "code", code_of(p)), err);
    if (rc < 0)
        return page_again(p, err, verify_get);
    page_title(p, "Thank you");
    page_add(p, "<p>The address is proved.</p><p><a class=\"button\" href=\"/account\">To your account</a></p>");
    return page_send(p, 200);
}

int verify_run(struct http_req *r, struct err *err) { return page_run(r, PAGE_OPEN, verify_get, verify_post, err); }
