/* Repository names: the grammar, the short form of the library, and the reserved first parts. */
#include "ident/outside.h"

#include <stdio.h>

/* First parts that other dialects on this host use, or will: neither accounts nor repositories. */
static const char *const reserved[] = {
    "_catalog", "access-tokens", "admin-api", "api", "api_tokens", "assets", "audit", "auditlogs", "auth", "blobs",
    "build", "builds", "bulk", "explore", "export", "feeds", "health", "healthz", "invites", "keys", "login",
    "logout", "manifests", "metrics", "namespaces", "new", "oauth2", "orgs", "ratelimitpreview", "readyz", "repositories",
    "scan", "scim", "search", "settings", "setup", "signup", "static", "tags", "token", "u",
    "uploads", "user", "users", "v1", "v2", "v3", "webhooks"};

bool name_reserved_first(struct str first)
{
    for (size_t i = 0; i < ARRAY_LEN(reserved); i++)
        if (str_is(first, reserved[i]))
            return true;
    return false;
}

static bool alnum(char c) { return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'); }

/* Length of a separator at p: one '.', one or two '_', any number of '-'; 0 none. */
static size_t separator(const char *p, size_t n)
{
    size_t k = 1;
    if (*p == '.')
        return 1;
    if (*p == '_')
        return n > 1 && p[1] == '_' ? 2 : 1;
    if (*p != '-')
        return 0;
    while (k < n && p[k] == '-')
        k++;
    return k;
}

/* One component: [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)* */
static bool component_valid(struct str s)
{
    size_t i = 0;
    if (s.n == 0 || !alnum(s.p[0]))
        return false;
    while (i < s.n) {
        if (alnum(s.p[i])) {
            i++;
            continue;
        }
        size_t k = separator(s.p + i, s.n - i);
        if (k == 0 || i + k >= s.n || !alnum(s.p[i + k]))
            return false;
        i += k;
    }
    return true;
}

bool name_valid(struct str in)
{
    struct str part;
    if (in.n == 0 || in.n > NAME_MAX_BYTES + 8 || in.p[in.n - 1] == '/')
        return false;
    while (str_split(&in, '/', &part))
        if (!component_valid(part))
            return false;
    return true;
}

int canonical_name(struct str in, char *out, struct err *err)
{
    if (in.n == 0 || in.n > NAME_MAX_BYTES)
        return err_set(err, ERR_NAME_INVALID, "a repository name has 1 to %d bytes", NAME_MAX_BYTES);
    if (!name_valid(in))
        return err_set(err, ERR_NAME_INVALID,
                       "a repository name consists of parts of a-z and 0-9, joined inside a part by one '.', "
                       "'_', '__' or dashes, parts separated by '/'");
    struct str rest = in, first;
    str_split(&rest, '/', &first);
    bool library = str_is(first, "library") && rest.p != NULL && memchr(rest.p, '/', rest.n) == NULL;
    struct str checked = library ? rest : first;
    if (name_reserved_first(checked))
        return err_set(err, ERR_NAME_INVALID, "the name \"%.*s\" is reserved", STR_FMT(checked));
    (void)snprintf(out, LIBRARY_MAX, "%s%.*s", first.n == in.n ? "library/" : "", STR_FMT(in));
    return 0;
}

/* What a provider calls somebody, as a name of here; see outsider.c. */
void outsider_name(struct str in, char ret[ACCOUNT_NAME_MAX + 1])
{
    enum { MOST = ACCOUNT_NAME_MAX - 4 }; /* room for a suffix */
    size_t n = 0;
    for (size_t i = 0; i < in.n && in.p[i] != '@' && n < MOST; i++) {
        char c = in.p[i];
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'))
            ret[n++] = c;
        else if (n > 0 && ret[n - 1] != '-')
            ret[n++] = '-';
    }
    while (n > 0 && ret[n - 1] == '-')
        n--;
    ret[n] = 0;
    if (n < ACCOUNT_NAME_MIN)
        snprintf(ret, ACCOUNT_NAME_MAX + 1, "user%s%s", n ? "-" : "", n ? (char[]){ret[0], 0} : "");
}
