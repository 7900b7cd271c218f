/* Finding the row of a path. {name} is the one part that spans segments, so a pattern is matched
 * from both ends: what stands before it from the left, what stands behind it from the right. */
#include "http/http_int.h"

enum { SEGMENTS_MAX = 160 };

struct path {
    struct str seg[SEGMENTS_MAX];
    size_t n;
};

static bool split(struct str path, struct path *ret)
{
    struct str part;
    ret->n = 0;
    path = (struct str){path.p + 1, path.n - 1}; /* without the leading slash */
    while (str_split(&path, '/', &part)) {
        if (ret->n == SEGMENTS_MAX)
            return false;
        ret->seg[ret->n++] = part;
    }
    return true;
}

static bool is_name(struct str pattern) { return str_is(pattern, "{name}"); }

static bool segment_fits(struct str pattern, struct str seg)
{
    if (pattern.n != 0 && pattern.p[0] == '{')
        return seg.n != 0;
    return str_eq(pattern, seg);
}

/* The raw run of segments from..to of the path as one slice. */
static struct str run_of(const struct path *p, size_t from, size_t to)
{
    const char *end = p->seg[to - 1].p + p->seg[to - 1].n;
    return (struct str){p->seg[from].p, (size_t)(end - p->seg[from].p)};
}

static bool fits(const char *pattern, const struct path *p, struct str parts[HTTP_PARTS_MAX],
                 size_t *ret_n)
{
    struct path pat;
    if (!split(str_of(pattern), &pat))
        return false;
    size_t name = 0, n = 0;
    while (name < pat.n && !is_name(pat.seg[name]))
        name++;
    bool wide = name < pat.n;
    if (wide ? p->n < pat.n : p->n != pat.n)
        return false;
    size_t extra = wide ? p->n - pat.n : 0;
    for (size_t i = 0; i < pat.n; i++) {
        size_t at = i > name ? i + extra : i;
        if (wide && i == name) {
            parts[n++] = run_of(p, name, name + 1 + extra);
            continue;
        }
        if (!segment_fits(pat.seg[i], p->seg[at]))
            return false;
        if (pat.seg[i].n != 0 && pat.seg[i].p[0] == '{')
            parts[n++] = p->seg[at];
    }
    *ret_n = n;
    return true;
}

static int decode_parts(struct http_req *r, struct str *parts, size_t n, struct err *err)
{
    for (size_t i = 0; i < n; i++)
        if (url_decode(&r->arena, parts[i], false, &r->parts[i]) != 0)
            return err_set(err, ERR_INVALID, "bad percent-encoding in the path");
    return 0;
}

static bool table_find(const struct route_table *t, struct http_req *r, const struct path *p,
                       unsigned *allow, const struct http_route **ret, struct str *parts, size_t *n)
{
    for (size_t i = 0; i < t->n; i++) {
        const struct http_route *row = &t->rows[i];
        if (!fits(row->pattern, p, parts, n))
            continue;
        *allow |= row->methods;
        if ((row->methods & (unsigned)r->method) != 0) {
            *ret = row;
            return true;
        }
    }
    return false;
}

const struct http_route *route_find(struct http_server *s, struct http_req *r, unsigned *ret_allow,
                                    struct err *err)
{
    struct path p;
    struct str parts[HTTP_PARTS_MAX] = {{NULL, 0}};
    const struct http_route *row = NULL;
    size_t n = 0;
    unsigned allow = 0;
    if (!split(r->path, &p)) {
        err_set(err, ERR_NOT_FOUND, "no such path");
        return NULL;
    }
    for (size_t i = 0; i < s->n_tables; i++)
        if (table_find(&s->tables[i], r, &p, &allow, &row, parts, &n))
            break;
    *ret_allow = allow;
    if (row == NULL) {
        if (allow != 0)
            err_set(err, ERR_METHOD, "this path does not offer the method");
        else
            err_set(err, ERR_NOT_FOUND, "no such path");
        return NULL;
    }
    return decode_parts(r, parts, n, err) < 0 ? NULL : row;
}

int route_check(const struct http_server *s, struct err *err)
{
    for (size_t t = 0; t < s->n_tables; t++)
        for (size_t i = 0; i < s->tables[t].n; i++) {
            const struct http_route *row = &s->tables[t].rows[i];
            if (row->right == 0)
                return err_set(err, ERR_INTERNAL, "route %s has no right", row->pattern);
            if (row->run == NULL || (row->body == HTTP_STREAM && row->sink == NULL))
                return err_set(err, ERR_INTERNAL, "route %s lacks a handler", row->pattern);
        }
    return 0;
}
