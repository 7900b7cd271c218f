/* Finding the row of a path: a tree over the patterns' segments, made once at the start. At each node a
 * literal comes before {x}; a row that matches the path but not the method is passed over (Allow names
 * its methods). {name} is the one part that spans segments, so what stands behind it is matched from the
 * path's end; it comes last of all, and not at all when the segment belongs to a literal row: in
 * /v2/users/... `users` is never the beginning of a repository's name. */
#include "http/http_int.h"

#include <stdlib.h>

enum { SEGMENTS_MAX = 160, PATTERN_MAX = 16 };

struct path {
    struct str seg[SEGMENTS_MAX];
    size_t n;
};

/* {name} and what stands behind it. */
struct wide {
    const struct http_route *row;
    struct str behind[PATTERN_MAX];
    size_t n;
};

struct route_node {
    struct str literal;                /* "" the end of a path with a trailing slash */
    struct route_node *literals, *next;/* first child by a literal; next one of the parent's */
    struct route_node *part;           /* child for {x} */
    const struct http_route **rows;    /* that end here */
    struct wide *wide;                 /* that go on with {name} here */
    size_t n_rows, n_wide;
};

struct match {
    const struct path *path;
    enum http_method method;
    const struct http_route *row;
    unsigned allow;
    struct str parts[HTTP_PARTS_MAX];
    size_t n_parts;
};

static bool split(struct str path, struct str *seg, size_t max, size_t *ret_n)
{
    struct str part;
    *ret_n = 0;
    path = (struct str){path.p + 1, path.n - 1}; /* without the leading slash */
    while (str_split(&path, '/', &part)) {
        if (*ret_n == max)
            return false;
        seg[(*ret_n)++] = part;
    }
    return true;
}

static bool is_part(struct str pattern) { return pattern.n != 0 && pattern.p[0] == '{'; }
static bool is_name(struct str pattern) { return str_is(pattern, "{name}"); }

static struct route_node *child_of(const struct route_node *n, struct str seg)
{
    struct route_node *c = n->literals;
    while (c != NULL && !str_eq(c->literal, seg))
        c = c->next;
    return c;
}

/* --- finding */

static bool take_row(struct match *m, const struct http_route *row)
{
    m->allow |= row->methods;
    if ((row->methods & (unsigned)m->method) == 0)
        return false;
    m->row = row;
    return true;
}

/* The raw run of segments from..to of the path as one slice. */
static struct str run_of(const struct path *p, size_t from, size_t to)
{
    const char *end = p->seg[to - 1].p + p->seg[to - 1].n;
    return (struct str){p->seg[from].p, (size_t)(end - p->seg[from].p)};
}

static bool wide_fits(struct match *m, const struct wide *w, size_t at)
{
    const struct path *p = m->path;
    size_t n = m->n_parts, from = p->n - w->n;
    if (p->n < at + 1 + w->n)
        return false;
    m->parts[n++] = run_of(p, at, from);
    for (size_t i = 0; i < w->n; i++) {
        struct str seg = p->seg[from + i];
        if (is_part(w->behind[i]) ? seg.n == 0 : !str_eq(w->behind[i], seg))
            return false;
        if (is_part(w->behind[i]))
            m->parts[n++] = seg;
    }
    if (!take_row(m, w->row))
        return false;
    m->n_parts = n;
    return true;
}

static bool find(struct match *m, const struct route_node *n, size_t at)
{
    const struct path *p = m->path;
    if (at == p->n) {
        for (size_t i = 0; i < n->n_rows; i++)
            if (take_row(m, n->rows[i]))
                return true;
        return false;
    }
    struct str seg = p->seg[at];
    const struct route_node *c = child_of(n, seg);
    if (c != NULL && find(m, c, at + 1))
        return true;
    if (n->part != NULL && seg.n != 0) {
        m->parts[m->n_parts++] = seg;
        if (find(m, n->part, at + 1))
            return true;
        m->n_parts--;
    }
    for (size_t i = 0; i < n->n_wide && (c == NULL || seg.n == 0); i++)
        if (wide_fits(m, &n->wide[i], at))
            return true;
    return false;
}

const struct http_route *route_find(const struct http_server *s, struct http_req *r, unsigned *ret_allow,
                                    struct err *err)
{
    struct path p;
    struct match m = {.path = &p, .method = r->method};
    *ret_allow = 0;
    if (!split(r->path, p.seg, SEGMENTS_MAX, &p.n)) {
        err_set(err, ERR_NOT_FOUND, "no such path");
        return NULL;
    }
    if (!find(&m, s->tree, 0)) {
        *ret_allow = m.allow;
        if (m.allow != 0)
            err_set(err, ERR_METHOD, "this path does not offer the method");
        else
            err_set(err, ERR_NOT_FOUND, "no such path");
        return NULL;
    }
    for (size_t i = 0; i < m.n_parts; i++)
        if (url_decode(&r->arena, m.parts[i], false, &r->parts[i]) != 0) {
            err_set(err, ERR_INVALID, "bad percent-encoding in the path");
            return NULL;
        }
    return m.row;
}

/* --- building */

static struct route_node *node_for(struct route_node *n, struct str seg)
{
    struct route_node *c = is_part(seg) ? n->part : child_of(n, seg);
    if (c != NULL)
        return c;
    c = mem_zalloc(sizeof *c);
    c->literal = seg;
    if (is_part(seg)) {
        n->part = c;
    } else {
        c->next = n->literals;
        n->literals = c;
    }
    return c;
}

static void insert(struct route_node *n, const struct http_route *row, const struct str *seg, size_t n_seg)
{
    size_t i = 0;
    for (; i < n_seg && !is_name(seg[i]); i++)
        n = node_for(n, seg[i]);
    if (i == n_seg) {
        n->rows = mem_realloc(n->rows, size_mul(n->n_rows + 1, sizeof(const struct http_route *)));
        n->rows[n->n_rows++] = row;
        return;
    }
    n->wide = mem_realloc(n->wide, size_mul(n->n_wide + 1, sizeof *n->wide));
    struct wide *w = &n->wide[n->n_wide++];
    *w = (struct wide){.row = row};
    for (i++; i < n_seg; i++)
        w->behind[w->n++] = seg[i];
}

/* What each of two patterns says more precisely: bit 0 a, bit 1 b; -1 when no path fits both. */
static int compare(const struct str *a, const struct str *b, size_t n)
{
    int said = 0;
    for (size_t i = 0; i < n; i++) {
        bool pa = is_part(a[i]), pb = is_part(b[i]);
        if (!pa && !pb && !str_eq(a[i], b[i]))
            return -1;
        if (pa != pb && (pa ? b[i] : a[i]).n == 0)
            return -1; /* {x} is never empty */
        said |= !pa && pb ? 1 : pa && !pb ? 2 : 0;
    }
    return said;
}

/* The segments, and how many of them: the row's own, or with the other kind of end. 1 or 2 lengths. */
static int lengths_of(const struct http_route *row, struct str seg[PATTERN_MAX], size_t n[2])
{
    BUG_ON(!split(str_of(row->pattern), seg, PATTERN_MAX - 1, &n[0]));
    seg[n[0]] = STR_LIT("");
    n[1] = seg[n[0] - 1].n == 0 ? n[0] - 1 : n[0] + 1;
    return row->either_slash ? 2 : 1;
}

static size_t find_name(const struct str *seg, size_t n)
{
    size_t i = 0;
    while (i < n && !is_name(seg[i]))
        i++;
    return i;
}

/* Rows with {name} go by what stands behind it; in a table the more precise one comes first. */
static bool wide_ambiguous(const struct str *a, size_t na, const struct str *b, size_t nb)
{
    size_t at = find_name(a, na), la = na - at - 1, lb = nb - at - 1, common = la < lb ? la : lb;
    if (find_name(b, nb) != at || compare(a, b, at) < 0)
        return false;
    int said = compare(a + na - common, b + nb - common, common);
    if (said >= 0 && la != lb)
        said |= la > lb ? 1 : 2;
    return said == 0 || said == 2 || said == 3;
}

/* Two rows are ambiguous when a path fits both with one method and neither is the more precise one. */
static bool ambiguous(const struct http_route *a, const struct http_route *b)
{
    struct str sa[PATTERN_MAX], sb[PATTERN_MAX];
    size_t na[2], nb[2];
    int va = lengths_of(a, sa, na), vb = lengths_of(b, sb, nb);
    bool wide = find_name(sa, na[0]) < na[0];
    if ((a->methods & b->methods) == 0 || wide != (find_name(sb, nb[0]) < nb[0]))
        return false; /* {name} comes last of all */
    if (wide)
        return wide_ambiguous(sa, na[0], sb, nb[0]);
    for (int i = 0; i < va * vb; i++) {
        int said = na[i / vb] == nb[i % vb] ? compare(sa, sb, na[i / vb]) : -1;
        if (said == 0 || said == 3)
            return true;
    }
    return false;
}

static int check_row(const struct http_route *row, struct err *err)
{
    struct str seg[PATTERN_MAX];
    size_t n, parts = 0;
    if (row->right == 0)
        return err_set(err, ERR_INTERNAL, "route %s has no right", row->pattern);
    if (row->run == NULL || (row->body == HTTP_STREAM && row->sink == NULL))
        return err_set(err, ERR_INTERNAL, "route %s lacks a handler", row->pattern);
    if (!split(str_of(row->pattern), seg, PATTERN_MAX - 1, &n))
        return err_set(err, ERR_INTERNAL, "route %s has too many segments", row->pattern);
    for (size_t i = 0; i < n; i++)
        parts += is_part(seg[i]);
    if (parts > HTTP_PARTS_MAX)
        return err_set(err, ERR_INTERNAL, "route %s has too many parts", row->pattern);
    return row->either_slash && find_name(seg, n) < n
               ? err_set(err, ERR_INTERNAL, "route %s: {name} goes with no either_slash", row->pattern) : 0;
}

static void add_row(struct route_node *root, const struct http_route *row)
{
    struct str seg[PATTERN_MAX];
    size_t n[2];
    int kinds = lengths_of(row, seg, n);
    for (int i = 0; i < kinds; i++)
        insert(root, row, seg, n[i]);
}

int route_build(struct http_server *s, struct err *err)
{
    struct route_node *root = mem_zalloc(sizeof *root);
    for (size_t i = 0; i < s->n_rows; i++) {
        int rc = check_row(s->rows[i], err);
        for (size_t k = 0; rc == 0 && k < i; k++)
            if (ambiguous(s->rows[k], s->rows[i]))
                rc = err_set(err, ERR_INTERNAL, "routes %s and %s are ambiguous", s->rows[k]->pattern,
                             s->rows[i]->pattern);
        if (rc < 0) {
            route_free(root);
            return rc;
        }
        add_row(root, s->rows[i]);
    }
    s->tree = root;
    return 0;
}

void route_free(struct route_node *n)
{
    if (n == NULL)
        return;
    while (n->literals != NULL) {
        struct route_node *c = n->literals;
        n->literals = c->next;
        route_free(c);
    }
    route_free(n->part);
    free(n->rows);
    free(n->wide);
    free(n);
}
