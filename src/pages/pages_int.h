/* Private: a page in the making. */
#ifndef PAGES_PAGES_INT_H
#define PAGES_PAGES_INT_H
#include "ident/ident.h"
#include "pages/pages.h"

#include <jansson.h>

struct asset {
    const char *text;
    size_t n;
};
extern const struct asset asset_css, asset_js, asset_svg; /* generated */

struct page {
    struct http_req *r;
    struct principal *who;      /* of the session; NULL: nobody */
    struct str cookie;          /* its text */
    struct buf b;
    bool script;                /* the page needs the script of WebAuthn */
    bool open;                  /* main is open in b */
    char csrf[33];
    json_t *answer;             /* of the last page_api */
    const char *fault;          /* what was wrong with the form; arena */
};
typedef int (*page_fn)(struct page *p, struct err *err);
/* Runs a page: session, checks of a form, and errors as a page. */
enum { PAGE_OPEN = 0, PAGE_LOGIN = 1, PAGE_FRESH = 2 }; /* who must be logged in; and that lately */
int page_run(struct http_req *r, unsigned need, page_fn get, page_fn post, struct err *err);

/* Appends; each %s is a C string and is escaped, NULL gives nothing; %% is a percent sign. */
void page_add(struct page *p, const char *fmt, ...);
void page_title(struct page *p, const char *title);       /* head, navigation, <main>; the fault, if there is one */
int page_send(struct page *p, unsigned status);           /* takes what was added */
int page_go(struct page *p, const char *path);            /* 303 to a path of these pages: a constant */
void page_form(struct page *p, const char *action);       /* <form> with the session's token */
void page_end_form(struct page *p, const char *button);
const char *page_field(struct page *p, const char *name); /* of the form, "" when absent; arena */
const char *page_time(struct page *p, const json_t *time); /* for people */
void page_cookie(struct page *p, const char *text);       /* "": away with it */

/* Asks /api/v1 as who is logged in; body is taken. 0 when it was done (p->answer, or NULL for none), else the error in the
 * API's words with its code; ERR_FRESH_LOGIN_REQUIRED as such. */
int page_api(struct page *p, enum http_method method, const char *target, json_t *body, struct err *err);
const char *page_text(const json_t *o, const char *name); /* "" when absent */
int64_t page_int(const json_t *o, const char *name);
/* For a form that was refused: shows `get` again with the error. */
int page_again(struct page *p, const struct err *err, page_fn get);
void page_codes(struct page *p, const json_t *codes);     /* recovery codes, shown once */
void page_proof(struct page *p, const char *action, const char *ticket); /* forms for a second factor */

int account_get(struct page *p, struct err *err);
int account_run(struct http_req *r, struct err *err);
int account_profile_run(struct http_req *r, struct err *err);
int account_password_run(struct http_req *r, struct err *err);
int account_totp_run(struct http_req *r, struct err *err);
int account_confirm_run(struct http_req *r, struct err *err);
int account_key_run(struct http_req *r, struct err *err);
int account_factor_remove_run(struct http_req *r, struct err *err);
int account_codes_run(struct http_req *r, struct err *err);
int account_session_end_run(struct http_req *r, struct err *err);
int account_sessions_end_run(struct http_req *r, struct err *err);
int account_token_run(struct http_req *r, struct err *err);
int account_token_revoke_run(struct http_req *r, struct err *err);
int account_verify_run(struct http_req *r, struct err *err);
int invite_run(struct http_req *r, struct err *err);
int reset_run(struct http_req *r, struct err *err);
int reset_code_run(struct http_req *r, struct err *err);
int verify_run(struct http_req *r, struct err *err);
int signup_run(struct http_req *r, struct err *err);
#endif
