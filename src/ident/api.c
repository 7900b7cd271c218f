/* Words, rules and look-ups that the route files share. */
#include "ident/api.h"

const char *const words_level[] = {"read", "write", "admin", NULL};
const char *const words_share[] = {"read", "write", NULL};
const char *const words_access[] = {"none", "read", "write", NULL};
const char *const words_member_role[] = {"member", "editor", "owner", NULL};
const char *const words_visibility[] = {"private", "public", NULL};
const char *const words_scope[] = {"public-read", "read", "write", "delete", "admin", NULL};

static bool account_name_fits(struct str s) { return s.n >= ACCOUNT_NAME_MIN && memchr(s.p, '/', s.n) == NULL && name_valid(s); }
static bool repo_name_fits(struct str s) { return name_valid(s); }
static bool pattern_fine(struct str s) { return pattern_check(s, NULL) == 0; }

static bool line_fits(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] < 0x20 || s.p[i] == 0x7f)
            return false;
    return true;
}

/* Something before and behind one @, no spaces or angles: more is the mail server's to say. Empty: none. */
static bool email_fits(struct str s)
{
    const char *at = s.n ? memchr(s.p, '@', s.n) : NULL;
    if (s.n == 0)
        return true;
    if (at == NULL || at == s.p || at + 1 == s.p + s.n || memchr(at + 1, '@', (size_t)(s.p + s.n - at - 1)) != NULL)
        return false;
    for (size_t i = 0; i < s.n; i++)
        if ((unsigned char)s.p[i] <= ' ' || strchr("<>(),;:\"[]\\\x7f", s.p[i]) != NULL)
            return false;
    return true;
}

const struct rest_check check_account_name = {account_name_fits,
    "must have 2 to 64 characters of a-z and 0-9, joined by one '.', '_', '__' or dashes", "^[a-z0-9]+((\\.|_|__|-+)[a-z0-9]+)*$"};
const struct rest_check check_repo_name = {repo_name_fits, "must be NAMESPACE/NAME of a-z and 0-9, joined by one '.', '_', '__' or dashes",
    NULL};
const struct rest_check check_pattern = {pattern_fine, "must be *, NAMESPACE/*, NAMESPACE/PREFIX* or NAMESPACE/NAME", NULL};
const struct rest_check check_line = {line_fits, "must be one line without control characters", NULL};
const struct rest_check check_email = {email_fits, "must be an e-mail address, or empty", NULL};

int api_match(struct rest_call *c, json_t *doc, struct err *err)
{
    int rc = rest_match(c, doc, err);
    json_decref(doc);
    return rc;
}

struct str api_text(const json_t *body, const char *name, const char *keep)
{
    if (!rest_has(body, name))
        return str_of(keep);
    struct str s = rest_text(body, name);
    return s.p != NULL ? s : STR_LIT("");
}

int api_absent(struct err *err, const char *what)
{
    return err_set(err, ERR_NOT_FOUND, "there is no such %s, or you may not read it", what);
}

int api_fresh(const struct http_req *r, struct err *err)
{
    const struct principal *p = req_principal(r);
    if (p->kind == WHO_LOCAL || p->auth_at >= clock_now() - LOGIN_FRESH_US)
        return 0;
    return err_set(err, ERR_FRESH_LOGIN_REQUIRED, "this takes a login of the last ten minutes: log in again");
}
