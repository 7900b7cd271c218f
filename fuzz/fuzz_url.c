/* Paths to routes, and query parameters: a row that is found puts the path together again, and walking
 * a query comes to its end. Input: path, then `?` and the query. */
#include "http/http_int.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int never(struct http_req *r, struct err *err)
{
    (void)r;
    return err_set(err, ERR_INTERNAL, "not called");
}

static const struct http_route rows[] = {
    {.methods = HTTP_GET, .pattern = "/v2/", .right = 1, .run = never},
    {.methods = HTTP_GET, .pattern = "/v2/_catalog", .right = 1, .run = never},
    {.methods = HTTP_POST, .pattern = "/v2/{name}/blobs/uploads/", .right = 1, .run = never},
    {.methods = HTTP_GET, .pattern = "/v2/{name}/blobs/uploads/{id}", .right = 1, .run = never},
    {.methods = HTTP_GET | HTTP_DELETE, .pattern = "/v2/{name}/blobs/{digest}", .right = 1, .run = never},
    {.methods = HTTP_GET | HTTP_PUT, .pattern = "/v2/{name}/manifests/{ref}", .right = 1, .run = never},
    {.methods = HTTP_GET, .pattern = "/v2/{name}/tags/list", .right = 1, .run = never},
    {.methods = HTTP_GET, .pattern = "/v2/{name}/referrers/{digest}", .right = 1, .run = never},
};

/* Decoded parts, where no escape was used, are what the path has at their place. */
static void check_parts(const struct http_req *r)
{
    bool plain = memchr(r->path.p, '%', r->path.n) == NULL;
    struct buf b;
    buf_init(&b, r->path.n + 16);
    struct str pattern = str_of(r->route->pattern), seg;
    size_t part = 0;
    while (str_split(&pattern, '/', &seg)) {
        if (seg.n != 0 && seg.p[0] == '{') {
            struct str v = r->parts[part++];
            BUG_ON(memchr(v.p ? v.p : "", '\0', v.n) != NULL);
            buf_str(&b, v);
        } else {
            buf_str(&b, seg);
        }
        if (pattern.p != NULL)
            buf_char(&b, '/');
    }
    BUG_ON(plain && !str_eq(buf_view(&b), r->path));
    buf_release(&b);
}

static struct http_server *server(void)
{
    static struct http_server *s;
    if (s == NULL) {
        s = mem_zalloc(sizeof *s);
        http_routes_add(s, rows, ARRAY_LEN(rows));
        BUG_ON(route_build(s, NULL) < 0);
    }
    return s;
}

static void check_route(struct http_req *r)
{
    const struct http_server *s = server();
    unsigned allow = 0, other = 0;
    struct err err = {0};
    r->method = HTTP_GET;
    r->route = route_find(s, r, &allow, &err);
    BUG_ON((r->route == NULL) == (err.code == 0));
    if (r->route != NULL)
        check_parts(r);
    BUG_ON(r->route == NULL && err.code == ERR_METHOD && (allow == 0 || (allow & HTTP_GET) != 0));
    r->method = HTTP_PATCH; /* no row has it: either 404, or the methods of the path */
    err = (struct err){0};
    BUG_ON(route_find(s, r, &other, &err) != NULL);
    BUG_ON((err.code == ERR_METHOD) != (other != 0));
}

static void check_query(struct http_req *r, const char *name)
{
    struct str v;
    size_t at = 0, last = 0, n = 0;
    int rc;
    while ((rc = http_query(r, name, &at, &v)) == 1) {
        BUG_ON(at <= last || ++n > r->query.n + 1 || v.n > r->query.n);
        last = at;
    }
    BUG_ON(rc > 1 || rc < -1);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    if (in.n == 0 || in.p[0] != '/')
        return 0;
    for (size_t i = 0; i < in.n; i++) /* the head's parser lets nothing else through */
        if (data[i] <= 0x20 || data[i] >= 0x7f || data[i] == '#')
            return 0;
    struct http_req *r = mem_zalloc(sizeof *r);
    arena_init(&r->arena);
    r->query = in;
    str_split(&r->query, '?', &r->path);
    check_route(r);
    check_query(r, "n");
    check_query(r, "digest");
    check_query(r, "");
    arena_release(&r->arena);
    free(r);
    return 0;
}
