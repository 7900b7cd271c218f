/* Fields that have a grammar of their own: queries and forms, cookies, conditions. */
#include "http/http_int.h"

/* The next value of a name in a=b&c=d. */
static int next_value(struct http_req *r, struct str text, const char *name, size_t *iter, struct str *ret)
{
    if (text.p == NULL || *iter > text.n)
        return 0;
    struct str rest = {text.p + *iter, text.n - *iter}, pair, key;
    while (str_split(&rest, '&', &pair)) {
        *iter = rest.p ? (size_t)(rest.p - text.p) : text.n + 1;
        struct str value = pair;
        str_split(&value, '=', &key);
        if (url_decode(&r->arena, key, true, &key) != 0)
            return -1;
        if (!str_is(key, name))
            continue;
        if (value.p == NULL)
            value = STR_LIT("");
        return url_decode(&r->arena, value, true, ret) != 0 ? -1 : 1;
    }
    return 0;
}

int http_query(struct http_req *r, const char *name, size_t *iter, struct str *ret)
{
    return next_value(r, r->query, name, iter, ret);
}

bool http_is_type(const struct http_req *r, const char *type)
{
    struct str value, first;
    if (http_header_count(r, "Content-Type") != 1 || !http_header(r, "Content-Type", &value))
        return false;
    return str_split(&value, ';', &first) && str_ieq(str_trim(first), str_of(type));
}

int http_form(struct http_req *r, const char *name, size_t *iter, struct str *ret)
{
    if (!http_is_type(r, "application/x-www-form-urlencoded"))
        return -1;
    return next_value(r, r->body, name, iter, ret);
}

/* RFC 6265 section 4.1.1, cookie-octet. */
static bool cookie_valid(struct str v)
{
    for (size_t i = 0; i < v.n; i++) {
        unsigned char c = (unsigned char)v.p[i];
        if (c <= 0x20 || c >= 0x7f || c == '"' || c == ',' || c == ';' || c == '\\')
            return false;
    }
    return true;
}

int http_cookie(const struct http_req *r, const char *name, struct str *ret)
{
    int found = 0;
    struct str mine = {NULL, 0};
    for (unsigned i = 0; i < r->n_headers; i++) {
        struct str rest = r->headers[i].value, pair, key;
        if (!str_ieq(r->headers[i].name, STR_LIT("Cookie")))
            continue;
        while (str_split(&rest, ';', &pair)) { /* other cookies of this host are not ours to judge */
            struct str value = str_trim(pair);
            if (memchr(value.p, '=', value.n) == NULL || !str_split(&value, '=', &key) || !str_is(key, name))
                continue;
            found++;
            mine = value;
        }
    }
    if (found == 0)
        return 0;
    if (found > 1 || !cookie_valid(mine))
        return -1;
    *ret = mine;
    return 1;
}

/* Whether a list of entity tags names this one; a weak one is equal to it only when weak counts. -1 malformed. */
static int tags_name(struct str list, const char *etag, bool weak)
{
    bool found = false;
    if (str_is(list, "*"))
        return etag != NULL;
    while (list.n != 0) {
        bool is_weak = str_starts(list, STR_LIT("W/"));
        if (is_weak)
            list = (struct str){list.p + 2, list.n - 2};
        const char *end = list.n > 1 && list.p[0] == '"' ? memchr(list.p + 1, '"', list.n - 1) : NULL;
        if (end == NULL)
            return -1;
        struct str tag = {list.p, (size_t)(end + 1 - list.p)};
        found |= etag != NULL && (weak || !is_weak) && str_is(tag, etag);
        list = str_trim((struct str){end + 1, list.n - tag.n});
        if (list.n == 0)
            break;
        if (list.p[0] != ',')
            return -1;
        list = str_trim((struct str){list.p + 1, list.n - 1});
    }
    return found;
}

/* Several header lines are one list. */
static bool list_of(const struct http_req *r, const char *name, const char *etag, bool weak, bool *ret_named)
{
    bool any = false;
    *ret_named = false;
    for (unsigned i = 0; i < r->n_headers; i++)
        if (str_ieq(r->headers[i].name, str_of(name))) {
            any = true;
            *ret_named |= tags_name(r->headers[i].value, etag, weak) == 1;
        }
    return any;
}

enum http_match http_match(const struct http_req *r, const char *etag)
{
    bool named, reads = r->method == HTTP_GET || r->method == HTTP_HEAD;
    if (list_of(r, "If-Match", etag, false, &named) && !named)
        return HTTP_MATCH_FAILED;
    if (list_of(r, "If-None-Match", etag, true, &named) && named)
        return reads ? HTTP_MATCH_NOT_MODIFIED : HTTP_MATCH_FAILED;
    return HTTP_MATCH_GO;
}
