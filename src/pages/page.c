/* What all pages have in common: session, checks of forms, escaping, the frame, the way to /api/v1. */
#include "base/clock.h"
#include "base/json.h"
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "pages/pages_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { PAGE_MAX = 1 << 20, API_ANSWER_MAX = 1 << 20, API_HEADERS_MAX = 64 << 10 };

/* --- adding text */

static void escape(struct buf *b, const char *s)
{
    for (; s != NULL && *s != 0; s++) {
        unsigned char c = (unsigned char)*s;
        if (c == '&')
            buf_cstr(b, "&amp;");
        else if (c == '<')
            buf_cstr(b, "&lt;");
        else if (c == '>')
            buf_cstr(b, "&gt;");
        else if (c == '"')
            buf_cstr(b, "&quot;");
        else if (c == '\'')
            buf_cstr(b, "&#39;");
        else
            buf_char(b, c < 0x20 || c == 0x7f ? ' ' : *s);
    }
}

void page_add(struct page *p, const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    for (; *fmt != 0; fmt++) {
        if (*fmt != '%') {
            buf_char(&p->b, *fmt);
            continue;
        }
        fmt++;
        BUG_ON(*fmt != 's' && *fmt != '%');
        if (*fmt == 's')
            escape(&p->b, va_arg(ap, const char *));
        else
            buf_char(&p->b, '%');
    }
    va_end(ap);
}

void page_title(struct page *p, const char *title)
{
    page_add(p, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>%s · Berth</title>"
                "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">"
                "<link rel=\"icon\" href=\"/assets/berth.svg\"><link rel=\"stylesheet\" href=\"/assets/berth.css\">", title);
    if (p->script)
        page_add(p, "<script src=\"/assets/webauthn.js\" defer></script>");
    page_add(p, "</head><body><header><a class=\"brand\" href=\"/account\">Berth</a>");
    if (p->who != NULL) {
        page_add(p, "<span class=\"who\">%s</span>", p->who->name);
        page_form(p, "/logout");
        page_end_form(p, "Log out");
    }
    page_add(p, "</header><main><h1>%s</h1>", title);
    if (p->fault != NULL)
        page_add(p, "<p class=\"fault\" role=\"alert\">%s</p>", p->fault);
    p->open = true;
}

void page_form(struct page *p, const char *action)
{
    page_add(p, "<form method=\"post\" action=\"%s\">", action);
    if (p->who != NULL)
        page_add(p, "<input type=\"hidden\" name=\"csrf\" value=\"%s\">", p->csrf);
}

void page_end_form(struct page *p, const char *button) { page_add(p, "<button type=\"submit\">%s</button></form>", button); }

void page_codes(struct page *p, const json_t *codes)
{
    size_t at;
    const json_t *one;
    if (!json_is_array(codes))
        return;
    page_add(p, "<section><h2>Recovery codes</h2><p>Each is good for one login without your second factor. They are shown this once: "
                "print them, or keep them in a safe place.</p><ul class=\"codes\">");
    json_array_foreach(codes, at, one)
        page_add(p, "<li><code>%s</code></li>", json_string_value(one));
    page_add(p, "</ul></section>");
}

const char *page_time(struct page *p, const json_t *time)
{
    const char *s = json_string_value(time);
    return s == NULL || strlen(s) < 16 ? "never" : arena_printf(&p->r->arena, "%.10s %.5s UTC", s, s + 11);
}

/* --- answers */

static bool is_https(const struct http_req *r) { return strncmp(http_url(r->server), "https://", 8) == 0; }
static const char *cookie_name(const struct http_req *r) { return is_https(r) ? "__Host-berth" : "berth"; }

void page_cookie(struct page *p, const char *text)
{
    http_addf(p->r, "Set-Cookie", "%s=%s; Path=/; HttpOnly; SameSite=Lax%s; Max-Age=%lld", cookie_name(p->r), text,
              is_https(p->r) ? "; Secure" : "", text[0] ? (long long)(SESSION_LIFE_US / 1000000) : 0);
}

static void headers(struct page *p)
{
    http_addf(p->r, "Content-Security-Policy",
              "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'%s",
              p->script ? "; script-src 'self'" : "");
    http_add(p->r, "Cache-Control", STR_LIT("no-store"));
    http_add(p->r, "Referrer-Policy", STR_LIT("no-referrer")); /* a path may hold a code */
    http_add(p->r, "X-Frame-Options", STR_LIT("DENY"));
    http_add(p->r, "Cross-Origin-Opener-Policy", STR_LIT("same-origin"));
    http_add(p->r, "Cross-Origin-Resource-Policy", STR_LIT("same-origin"));
    if (is_https(p->r))
        http_add(p->r, "Strict-Transport-Security", STR_LIT("max-age=31536000"));
}

int page_send(struct page *p, unsigned status)
{
    page_add(p, "</main><footer>Berth, a hub for container images</footer></body></html>\n");
    http_status(p->r, status);
    headers(p);
    http_add(p->r, "Content-Type", STR_LIT("text/html; charset=utf-8"));
    http_send_buf(p->r, &p->b);
    return 0;
}

int page_go(struct page *p, const char *path)
{
    http_status(p->r, 303);
    headers(p);
    http_add(p->r, "Location", str_of(path));
    http_send(p->r, (struct str){NULL, 0});
    return 0;
}

/* --- forms */

const char *page_field(struct page *p, const char *name)
{
    struct str v;
    size_t at = 0;
    if (http_form(p->r, name, &at, &v) != 1 || (v.n > 0 && memchr(v.p, 0, v.n) != NULL))
        return "";
    return str_dup(&p->r->arena, v);
}

/* Browsers say where a form comes from; who says nothing is no browser and bears no cookie of one. */
static bool from_here(const struct http_req *r)
{
    struct str v;
    if (http_header(r, "Sec-Fetch-Site", &v))
        return str_is(v, "same-origin") || str_is(v, "none");
    return !http_header(r, "Origin", &v) || str_is(v, http_url(r->server));
}

static bool csrf_fits(struct page *p)
{
    struct str shown = str_of(page_field(p, "csrf"));
    return p->who == NULL || (shown.n == 32 && secret_equal(shown.p, p->csrf, 32));
}

/* The form's token is made of the session's text, which only the browser and its requests hold. */
static void csrf_make(struct page *p)
{
    static const char use[] = "berth form ";
    char text[sizeof use + TOKEN_TEXT_LEN];
    struct digest d;
    memcpy(text, use, sizeof use - 1);
    memcpy(text + sizeof use - 1, p->cookie.p, p->cookie.n);
    hash_bytes(DIGEST_SHA256, text, sizeof use - 1 + p->cookie.n, &d);
    hex_encode(p->csrf, d.bytes, 16);
}

/* --- running */

static int find_session(struct page *p, struct err *err)
{
    int rc = http_cookie(p->r, cookie_name(p->r), &p->cookie);
    if (rc != 1 || p->cookie.n != TOKEN_TEXT_LEN)
        return 0;
    rc = ident_session_find(p->r, p->cookie, &p->who, err);
    if (rc == 1) {
        p->r->log_user = str_dup(&p->r->arena, str_of(p->who->name));
        csrf_make(p);
    }
    return rc < 0 ? rc : 0;
}

static bool is_form(const struct http_req *r) { return http_is_type(r, "application/x-www-form-urlencoded"); }

static int show_error(struct page *p, const struct err *err)
{
    int status = err_status(err->code);
    if (err->code == ERR_FRESH_LOGIN_REQUIRED && p->who != NULL)
        return page_go(p, "/account/proof");
    buf_reset(&p->b);
    p->script = false;
    p->fault = NULL;
    page_title(p, http_reason((unsigned)status));
    page_add(p, "<p>%s</p><p><a href=\"/account\">Back to your account</a></p>", err->text);
    if (status == 429 || status == 503)
        http_add(p->r, "Retry-After", STR_LIT("60"));
    if (status == 401) { /* a page has no challenge: browsers would ask with a window of their own */
        status = 403;
    }
    return page_send(p, (unsigned)status);
}

static int page_do(struct page *p, unsigned need, page_fn get, page_fn post, struct err *err)
{
    struct http_req *r = p->r;
    bool is_post = r->method == HTTP_POST;
    if (is_post && (!from_here(r) || !is_form(r)))
        return err_set(err, ERR_DENIED, "the form came from another site: open this hub at %s", http_url(r->server));
    int rc = find_session(p, err);
    if (rc < 0)
        return rc;
    if (p->who == NULL && need != PAGE_OPEN)
        return page_go(p, "/login");
    if (is_post && !csrf_fits(p))
        return err_set(err, ERR_DENIED, "the form is of an older login: go back, and load the page again");
    if (need == PAGE_FRESH && p->who->auth_at < clock_now() - LOGIN_FRESH_US)
        return err_set(err, ERR_FRESH_LOGIN_REQUIRED, "show who you are again");
    return is_post ? post(p, err) : get(p, err);
}

int page_run(struct http_req *r, unsigned need, page_fn get, page_fn post, struct err *err)
{
    struct page p = {.r = r};
    buf_init(&p.b, PAGE_MAX);
    int rc = page_do(&p, need, get, post, err);
    if (rc < 0 && r->status == 0)
        rc = show_error(&p, err);
    if (p.b.p != NULL)
        secret_wipe(p.b.p, p.b.n);
    buf_release(&p.b);
    json_decref(p.answer);
    if (p.who != NULL)
        shared_unref(&p.who->shared);
    return rc;
}

int page_again(struct page *p, const struct err *err, page_fn get)
{
    struct err other = {0};
    if (err->code == ERR_FRESH_LOGIN_REQUIRED || err_status(err->code) >= 500)
        return err->code;
    p->fault = str_dup(&p->r->arena, str_of(err->text));
    return get(p, &other);
}

/* --- /api/v1 */

const char *page_text(const json_t *o, const char *name)
{
    const char *s = json_string_value(json_object_get(o, name));
    return s ? s : "";
}

int64_t page_int(const json_t *o, const char *name) { return json_integer_value(json_object_get(o, name)); }

/* The API's error in its own words; of wrong fields the first. */
static int api_error(const struct page *p, unsigned status, struct err *err)
{
    const json_t *first = json_array_get(json_object_get(p->answer, "errors"), 0);
    const char *code = page_text(p->answer, "code"), *text = page_text(p->answer, "detail");
    int rc = status == 404 ? ERR_NOT_FOUND : status == 409 ? ERR_EXISTS : status == 429 ? ERR_TOOMANYREQUESTS : status >= 500 ? ERR_UNAVAILABLE
             : status == 403 ? ERR_DENIED : ERR_INVALID;
    if (strcmp(code, "fresh_login_required") == 0)
        rc = ERR_FRESH_LOGIN_REQUIRED;
    if (first != NULL)
        return err_set(err, rc, "%s %s", page_text(first, "field"), page_text(first, "message"));
    return err_set(err, rc, "%s", text);
}

int page_api(struct page *p, enum http_method method, const char *target, json_t *body, struct err *err)
{
    struct http_header head[2] = {{STR_LIT("Content-Type"), STR_LIT("application/json")}, {STR_LIT("User-Agent"), {NULL, 0}}};
    char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    const char *path = arena_printf(&p->r->arena, "/api/v1%s", target);
    struct http_inner in = {.method = method, .target = str_of(path), .headers = head, .n_headers = 1, .body = str_of(text),
                            .who = p->who ? p->who : p->r->who, .client = p->r->client}; /* never NULL: that is the machine itself */
    if (body && text == NULL)
        return err_set(err, ERR_INVALID, "the form is not UTF-8");
    if (http_header(p->r, "User-Agent", &head[1].value))
        in.n_headers = 2;
    BUG_ON(in.who == NULL);
    json_decref(body);
    json_decref(p->answer);
    p->answer = NULL;
    buf_init(&in.lines, API_HEADERS_MAX);
    buf_init(&in.answer, API_ANSWER_MAX);
    int rc = http_inner(p->r->server, &in, err);
    if (rc == 0 && in.answer.n > 0)
        rc = json_strict(buf_view(&in.answer), JSON_CAPS_DEFAULT, &p->answer, err);
    if (in.answer.p)
        secret_wipe(in.answer.p, in.answer.n);
    if (text)
        secret_wipe(text, strlen(text));
    free(text);
    buf_release(&in.lines);
    buf_release(&in.answer);
    return rc < 0 || in.status < 300 ? rc : api_error(p, in.status, err);
}
