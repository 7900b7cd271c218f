/* What the server refuses before it listens. The rest of HTTP is tested from outside (tests/api). */
#include "http/http.h"

#include "base/config.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

static int answer(struct http_req *r, struct err *err)
{
    (void)r;
    return err_set(err, ERR_INTERNAL, "never called");
}

static int listen_with(struct http_route row, struct err *err)
{
    static const char *const flags[] = {"--listen=127.0.0.1:0", NULL};
    struct config *c = NULL;
    struct http_server *s = NULL;
    assert_int_equal(config_load(&c, NULL, flags, err), 0);
    struct http_options o = {.config = c, .routes = &row, .n_routes = 1};
    assert_int_equal(http_new(&s, &o, err), 0);
    int rc = http_listen(s, err);
    http_free(s);
    config_free(c);
    return rc;
}

/* T58: a route that nobody gave a right stops the start. */
static void routes_need_a_right_and_a_handler(void **state)
{
    (void)state;
    struct err err = {0};
    struct http_route row = {.methods = HTTP_GET, .pattern = "/new", .label = "new", .right = 1, .body = HTTP_NONE, .run = answer};
    assert_int_equal(listen_with(row, &err), 0);
    row.right = 0;
    assert_int_equal(listen_with(row, &err), ERR_INTERNAL);
    assert_string_equal(err.text, "route /new has no right");
    row.right = 1;
    row.run = NULL;
    assert_int_equal(listen_with(row, &err), ERR_INTERNAL);
    assert_string_equal(err.text, "route /new lacks a handler");
}

/* --- what needs no socket: http_inner */

struct box {
    struct config *config;
    struct http_server *server;
    struct err err;
    struct http_inner in;
    int released, on_loop, done;
};
static struct box box;

static int local(struct http_req *r, void *who, struct err *err)
{
    assert_ptr_equal(who, &box);
    r->who = who;
    return r->route->right == 2 ? err_set(err, ERR_DENIED, "not for you") : 0;
}

static void release(struct http_req *r)
{
    r->who = NULL;
    __atomic_add_fetch(&box.released, 1, __ATOMIC_SEQ_CST);
}

/* label, then the parts, each in brackets */
static int echo(struct http_req *r, struct err *err)
{
    (void)err;
    struct buf b;
    buf_init(&b, 4096);
    buf_cstr(&b, r->route->label);
    for (size_t i = 0; i < HTTP_PARTS_MAX && r->parts[i].p != NULL; i++)
        buf_printf(&b, "[%.*s]", STR_FMT(r->parts[i]));
    if (r->body.n != 0)
        buf_printf(&b, "=%.*s", STR_FMT(r->body));
    http_add(r, "X-Row", str_of(r->route->label));
    http_send_buf(r, &b);
    return 0;
}

static void box_open(const struct http_route *rows, size_t n, bool run)
{
    static const char *const flags[] = {"--listen=127.0.0.1:0", "--workers=2", "--loops=1", NULL};
    memset(&box, 0, sizeof box);
    assert_int_equal(config_load(&box.config, NULL, flags, &box.err), 0);
    struct http_options o = {.config = box.config, .routes = rows, .n_routes = n, .gate = {.local = local, .release = release, .ctx = &box}};
    assert_int_equal(http_new(&box.server, &o, &box.err), 0);
    if (run) {
        assert_int_equal(http_listen(box.server, &box.err), 0);
        assert_int_equal(http_start(box.server, &box.err), 0);
    }
    buf_init(&box.in.lines, 4096);
    buf_init(&box.in.answer, 4096);
}

static void box_close(void)
{
    http_free(box.server);
    config_free(box.config);
    buf_release(&box.in.lines);
    buf_release(&box.in.answer);
}

static int ask_with(enum http_method method, const char *target, const struct http_header *headers, size_t n, const char *body)
{
    buf_reset(&box.in.lines);
    buf_reset(&box.in.answer);
    box.in.method = method;
    box.in.target = str_of(target);
    box.in.headers = headers;
    box.in.n_headers = n;
    box.in.body = str_of(body);
    box.in.who = &box;
    box.in.status = 0;
    return http_inner(box.server, &box.in, &box.err);
}

static int ask(enum http_method method, const char *target) { return ask_with(method, target, NULL, 0, NULL); }

static void answers(enum http_method method, const char *target, unsigned status, const char *want)
{
    assert_int_equal(ask(method, target), 0);
    if (box.in.status != status || (want != NULL && !str_is(buf_view(&box.in.answer), want)))
        fail_msg("%s: %u %.*s", target, box.in.status, (int)box.in.answer.n, box.in.answer.p);
}

#define ROW(m, p, l) {.methods = (m), .pattern = (p), .label = (l), .right = 1, .body = HTTP_NONE, .run = echo}
#define GET_HEAD (HTTP_GET | HTTP_HEAD)

static const struct http_route tree_rows[] = {
    ROW(HTTP_POST, "/v2/{name}/blobs/uploads/", "start"),
    ROW(GET_HEAD, "/v2/{name}/blobs/uploads/{id}", "upload"),
    ROW(GET_HEAD, "/v2/{name}/blobs/{digest}", "blob"),
    ROW(GET_HEAD, "/v2/{name}/manifests/{reference}", "manifest"),
    ROW(HTTP_DELETE, "/v2/{name}/manifests/{reference}", "manifest_delete"),
    ROW(GET_HEAD, "/v2/{name}/tags/list", "tags"),
    ROW(GET_HEAD, "/v2/_catalog", "catalog"),
    ROW(GET_HEAD, "/v2/", "ping"),
    ROW(GET_HEAD, "/v2", "ping2"),
    ROW(GET_HEAD, "/", "root"),
    {.methods = GET_HEAD, .pattern = "/v2/repositories/{namespace}/{repo}/tags/{tag}", .label = "hub_tag", .right = 1, .run = echo, .either_slash = true},
    {.methods = GET_HEAD, .pattern = "/v2/users/{user}/", .label = "hub_user", .right = 1, .run = echo, .either_slash = true},
    {.methods = HTTP_POST, .pattern = "/v2/users/login", .label = "hub_login", .right = 1, .run = echo, .either_slash = true},
    ROW(GET_HEAD, "/api/v1/tokens/{id}", "token"),
    ROW(HTTP_POST, "/api/v1/tokens/revoke", "revoke"),
    ROW(GET_HEAD, "/api/v1/orgs/{org}/teams/{team}", "team"),
    ROW(GET_HEAD, "/api/v1/orgs/{org}/teams", "teams"),
};

/* accounts.md (a) and (d): first segments of literal rows win before names of repositories; a segment is cut
 * before it is decoded. */
static void paths_find_their_rows(void **state)
{
    (void)state;
    box_open(tree_rows, ARRAY_LEN(tree_rows), false);
    answers(HTTP_GET, "/", 200, "root");
    answers(HTTP_GET, "/v2", 200, "ping2");
    answers(HTTP_GET, "/v2/", 200, "ping");
    answers(HTTP_GET, "/v2/a/manifests/t", 200, "manifest[a][t]");
    answers(HTTP_DELETE, "/v2/a/b/c/manifests/t?x=1", 200, "manifest_delete[a/b/c][t]");
    answers(HTTP_GET, "/v2/a/manifests/manifests/manifests/t", 200, "manifest[a/manifests/manifests][t]");
    answers(HTTP_GET, "/v2/a/tags/list/tags/list", 200, "tags[a/tags/list]");
    answers(HTTP_GET, "/v2/a/blobs/uploads/blobs/sha256:0", 200, "blob[a/blobs/uploads][sha256:0]");
    answers(HTTP_GET, "/v2/a/blobs/uploads/u", 200, "upload[a][u]");
    answers(HTTP_POST, "/v2/a/blobs/uploads/", 200, "start[a]");
    answers(HTTP_POST, "/v2/a/blobs/uploads", 405, NULL);
    answers(HTTP_GET, "/v2/a/blobs/uploads", 200, "blob[a][uploads]");
    answers(HTTP_GET, "/v2/a/manifests/", 404, NULL);
    answers(HTTP_GET, "/v2/manifests/t", 404, NULL);
    answers(HTTP_GET, "/v2//manifests/t", 200, "manifest[][t]");
    answers(HTTP_GET, "/v2/a//manifests/t", 200, "manifest[a/][t]");
    answers(HTTP_GET, "/v2/_catalog", 200, "catalog");
    answers(HTTP_GET, "/v2/_catalog/", 404, NULL);
    /* words of the Hub's dialect are no names */
    answers(HTTP_GET, "/v2/users/manifests/t", 404, NULL);
    answers(HTTP_GET, "/v2/users/x/manifests/t", 404, NULL);
    answers(HTTP_GET, "/v2/userss/manifests/t", 200, "manifest[userss][t]");
    answers(HTTP_GET, "/v2/repositories/a/b/manifests/t", 404, NULL);
    answers(HTTP_GET, "/v2/repositories/ns/a%2Fb/tags/list", 200, "hub_tag[ns][a/b][list]");
    answers(HTTP_GET, "/v2/repositories/ns/a%252Fb/tags/t/", 200, "hub_tag[ns][a%2Fb][t]");
    answers(HTTP_GET, "/v2/repositories/ns/a/b/tags/t", 404, NULL);
    answers(HTTP_GET, "/v2/repositories/ns/a/tags/t//", 404, NULL);
    answers(HTTP_GET, "/v2/users/bob", 200, "hub_user[bob]");
    answers(HTTP_GET, "/v2/users/bob/", 200, "hub_user[bob]");
    answers(HTTP_GET, "/v2/users/", 404, NULL);
    /* a literal before {x}; by method where it does not offer it */
    answers(HTTP_POST, "/v2/users/login/", 200, "hub_login");
    answers(HTTP_GET, "/v2/users/login", 200, "hub_user[login]");
    answers(HTTP_POST, "/api/v1/tokens/revoke", 200, "revoke");
    answers(HTTP_GET, "/api/v1/tokens/7", 200, "token[7]");
    answers(HTTP_GET, "/api/v1/tokens/7/", 404, NULL);
    answers(HTTP_GET, "/api/v1/tokens/", 404, NULL);
    answers(HTTP_GET, "/api/v1/orgs/a/teams/b", 200, "team[a][b]");
    answers(HTTP_GET, "/api/v1/orgs/a/teams", 200, "teams[a]");
    answers(HTTP_GET, "/api/v1/orgs/%zz/teams", 400, NULL);
    answers(HTTP_PUT, "/v2/users/login", 405, NULL);
    assert_non_null(strstr(box.in.lines.p, "Allow: GET, HEAD, POST\r\n"));
    box_close();
}

static int pair(const char *a, bool slash_a, const char *b, bool slash_b)
{
    struct http_route rows[] = {ROW(GET_HEAD, a, "a"), ROW(HTTP_GET, b, "b")};
    rows[0].either_slash = slash_a;
    rows[1].either_slash = slash_b;
    box_open(rows, 2, false);
    int rc = http_listen(box.server, &box.err);
    box_close();
    return rc;
}

static void ambiguous_rows_stop_the_start(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b;
        bool slash_a, slash_b, bad;
    } pairs[] = {
        {"/a/{x}", "/a/{y}", 0, 0, true},
        {"/a/b", "/a/b", 0, 0, true},
        {"/a/{x}/c", "/a/b/{y}", 0, 0, true},
        {"/a/{x}", "/a/{y}/", 1, 0, true},
        {"/a/{x}", "/a/{y}/", 0, 1, true},
        {"/a/{x}/", "/a/{y}", 1, 0, true},
        {"/a/{x}/", "/a/{y}", 1, 1, true},
        {"/v2/{name}/x/{y}", "/v2/{name}/{x}/y", 0, 0, true},
        {"/v2/{name}/x/{y}", "/v2/{name}/x/y", 0, 0, true}, /* the first one would hide the other */
        {"/v2/{name}/x/y", "/v2/{name}/x/{y}", 0, 0, false},
        {"/v2/{name}/x/{y}", "/v2/{name}/z/{y}", 0, 0, false},
        {"/a/{x}", "/a/{y}/", 0, 0, false},
        {"/a/{x}", "/a/b", 0, 0, false},
        {"/a/{x}/c", "/a/b/{y}/", 0, 0, false},
        {"/a/{x}", "/a/", 0, 0, false},
        {"/v2/{name}/x", "/v2/{n}/x", 0, 0, false},
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++)
        if (pair(pairs[i].a, pairs[i].slash_a, pairs[i].b, pairs[i].slash_b) != (pairs[i].bad ? ERR_INTERNAL : 0))
            fail_msg("%s and %s", pairs[i].a, pairs[i].b);
}

static int fail_run(struct http_req *r, struct err *err)
{
    if (str_is(r->query, "fields")) {
        http_fault(r, "name", "is \"taken\"");
        http_fault(r, "bounds[0].scope", "must be one of %s", "read, write");
        return err_set(err, ERR_FIELDS, "name is taken");
    }
    return err_set(err, str_is(r->query, "busy") ? ERR_UNAVAILABLE : ERR_CONFLICT, "no");
}

static void has(const char *text)
{
    if (box.in.answer.p == NULL || strstr(box.in.answer.p, text) == NULL)
        fail_msg("%s lacks %s", box.in.answer.p, text);
}

static void errors_speak_the_dialect_of_the_row(void **state)
{
    (void)state;
    struct http_route rows[] = {ROW(GET_HEAD, "/oci", "oci"), ROW(GET_HEAD, "/problem", "problem"), ROW(GET_HEAD, "/hub", "hub"),
                                ROW(GET_HEAD, "/denied", "denied")};
    rows[0].run = rows[1].run = rows[2].run = fail_run;
    rows[1].dialect = HTTP_PROBLEM;
    rows[2].dialect = HTTP_HUB;
    rows[3].right = 2;
    box_open(rows, ARRAY_LEN(rows), false);
    answers(HTTP_GET, "/oci", 409, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"no\",\"detail\":null}]}\n");
    answers(HTTP_GET, "/hub", 409, "{\"detail\":\"no\",\"message\":\"no\",\"errinfo\":{}}\n");
    answers(HTTP_GET, "/hub?fields", 400,
            "{\"fields\":{\"name\":[\"is \\\"taken\\\"\"],\"bounds[0].scope\":[\"must be one of read, write\"]},\"text\":\"name is taken\"}\n");
    answers(HTTP_GET, "/problem", 409, NULL);
    has("{\"type\":\"about:blank\",\"title\":\"Conflict\",\"status\":409,\"detail\":\"no\",\"code\":\"conflict\",\"instance\":\"");
    assert_non_null(strstr(box.in.lines.p, "Content-Type: application/problem+json\r\n"));
    answers(HTTP_GET, "/problem?fields", 400, NULL);
    has(",\"errors\":[{\"field\":\"name\",\"message\":\"is \\\"taken\\\"\"},{\"field\":\"bounds[0].scope\",\"message\":\"must be one of read, write\"}]}\n");
    answers(HTTP_GET, "/problem?busy", 503, NULL);
    assert_non_null(strstr(box.in.lines.p, "Retry-After: "));
    answers(HTTP_GET, "/denied", 403, "{\"errors\":[{\"code\":\"DENIED\",\"message\":\"not for you\",\"detail\":null}]}\n");
    /* before a row is known */
    answers(HTTP_GET, "/api/none", 404, NULL);
    has("\"code\":\"not_found\"");
    answers(HTTP_GET, "/apis", 404, NULL);
    has("\"code\":\"UNSUPPORTED\"");
    box_close();
}

/* cookie, form and conditions as the handler sees them */
static int fields_run(struct http_req *r, struct err *err)
{
    struct str v = {NULL, 0};
    size_t at = 0;
    struct buf b;
    (void)err;
    buf_init(&b, 4096);
    int rc = http_cookie(r, "sid", &v);
    buf_printf(&b, "cookie %d %.*s", rc, STR_FMT(v));
    while ((rc = http_form(r, "x", &at, &v)) == 1)
        buf_printf(&b, " x %.*s", STR_FMT(v));
    buf_printf(&b, " form %d match %d %d", rc, (int)http_match(r, "\"e\""), (int)http_match(r, NULL));
    http_send_buf(r, &b);
    return 0;
}

static void sees(enum http_method method, const char *name, const char *value, const char *body, const char *want)
{
    struct http_header h[] = {{str_of(name), str_of(value)}, {STR_LIT("Content-Type"), STR_LIT("application/x-www-form-urlencoded; charset=utf-8")}};
    assert_int_equal(ask_with(method, "/fields", h, body ? 2 : 1, body), 0);
    if (!str_is(buf_view(&box.in.answer), want))
        fail_msg("%s: %s: got %s, not %s", name, value, box.in.answer.p, want);
}

static void cookies_forms_and_conditions(void **state)
{
    (void)state;
    struct http_route row = ROW(GET_HEAD | HTTP_POST, "/fields", "fields");
    row.run = fields_run;
    row.body = HTTP_BUFFER;
    row.cap_key = -1;
    row.too_large = ERR_TOO_LARGE;
    box_open(&row, 1, false);
    sees(HTTP_GET, "Cookie", "sid=abc", NULL, "cookie 1 abc form -1 match 0 0");
    sees(HTTP_GET, "Cookie", "a=\"b c\"; sid=x=y; zsid=1", NULL, "cookie 1 x=y form -1 match 0 0");
    sees(HTTP_GET, "Cookie", "Sid=1; xsid=2; sid", NULL, "cookie 0  form -1 match 0 0");
    sees(HTTP_GET, "Cookie", "sid=1; sid=2", NULL, "cookie -1  form -1 match 0 0");
    sees(HTTP_GET, "Cookie", "sid=a b", NULL, "cookie -1  form -1 match 0 0");
    sees(HTTP_GET, "Cookie", "sid=\"a\"", NULL, "cookie -1  form -1 match 0 0");
    sees(HTTP_POST, "X", "", "x=1&y=2&x=a+b%26&x", "cookie 0  x 1 x a b& x  form 0 match 0 0");
    sees(HTTP_POST, "X", "", "x=1&x=%zz", "cookie 0  x 1 form -1 match 0 0");
    sees(HTTP_POST, "Content-Type", "text/plain", NULL, "cookie 0  form -1 match 0 0");
    sees(HTTP_GET, "If-Match", "\"e\"", NULL, "cookie 0  form -1 match 0 2");
    sees(HTTP_GET, "If-Match", "*", NULL, "cookie 0  form -1 match 0 2");
    sees(HTTP_GET, "If-Match", "\"f\", \"e\"", NULL, "cookie 0  form -1 match 0 2");
    sees(HTTP_GET, "If-Match", "W/\"e\"", NULL, "cookie 0  form -1 match 2 2"); /* strong comparison */
    sees(HTTP_GET, "If-Match", "e", NULL, "cookie 0  form -1 match 2 2");
    sees(HTTP_GET, "If-None-Match", "W/\"e\"", NULL, "cookie 0  form -1 match 1 0");
    sees(HTTP_GET, "If-None-Match", "\"f\" , \"e\"", NULL, "cookie 0  form -1 match 1 0");
    sees(HTTP_POST, "If-None-Match", "*", NULL, "cookie 0  form -1 match 2 0");
    sees(HTTP_GET, "If-None-Match", "\"ee\"", NULL, "cookie 0  form -1 match 0 0");
    static char large[(64 << 10) + 2];
    memset(large, 'x', sizeof large - 1);
    assert_int_equal(ask_with(HTTP_POST, "/fields", NULL, 0, large), 0);
    assert_int_equal(box.in.status, 413);
    box_close();
}

static int pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err)
{
    (void)arg;
    (void)err;
    *ret_n = cap < 7 ? cap : 7;
    for (size_t i = 0; i < *ret_n; i++)
        ((char *)p)[i] = (char)('a' + (offset + (int64_t)i) % 26);
    return 0;
}

static void on_loop(void *arg)
{
    (void)arg;
    __atomic_add_fetch(&box.on_loop, 1, __ATOMIC_SEQ_CST);
}

static int pull_run_(struct http_req *r, struct err *err)
{
    uint64_t n = 0;
    (void)err;
    assert_true(str_u64(r->query, &n));
    assert_ptr_equal(r->who, &box);
    http_on_loop(r, on_loop, NULL);
    http_send_pull(r, (int64_t)n, pull, NULL);
    return 0;
}

static void count_done(struct http_req *r)
{
    (void)r;
    __atomic_add_fetch(&box.done, 1, __ATOMIC_SEQ_CST);
}

/* What a request holds is let go: without a server before http_inner returns, with one on its loop. */
static void inner_requests(void **state)
{
    (void)state;
    struct http_route row = ROW(GET_HEAD, "/pull", "pull");
    row.run = pull_run_;
    row.done = count_done;
    for (int run = 0; run < 2; run++) {
        box_open(&row, 1, run == 1);
        answers(HTTP_GET, "/pull?30", 200, "abcdefghijklmnopqrstuvwxyzabcd");
        answers(HTTP_HEAD, "/pull?30", 200, "");
        assert_int_equal(ask(HTTP_GET, "/pull?4096"), 0);
        assert_int_equal(box.in.answer.n, 4096);
        assert_int_equal(ask(HTTP_GET, "/pull?4097"), ERR_TOO_LARGE);
        assert_int_equal(ask(HTTP_GET, "pull"), ERR_INVALID);
        if (run == 0)
            assert_int_equal(box.released, 4);
        http_free(box.server); /* at the latest now */
        box.server = NULL;
        assert_int_equal(box.released, 4);
        assert_int_equal(box.on_loop, 4);
        assert_int_equal(box.done, 4);
        box_close();
    }
}

static void inner_read_only(void **state)
{
    (void)state;
    struct http_route row = ROW(HTTP_POST, "/write", "write");
    row.writes = true;
    box_open(&row, 1, false);
    answers(HTTP_POST, "/write", 200, "write");
    http_set_read_only(box.server, "full");
    answers(HTTP_POST, "/write", 503, NULL);
    box_close();
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(routes_need_a_right_and_a_handler),
                                       cmocka_unit_test(paths_find_their_rows),
                                       cmocka_unit_test(ambiguous_rows_stop_the_start),
                                       cmocka_unit_test(errors_speak_the_dialect_of_the_row),
                                       cmocka_unit_test(cookies_forms_and_conditions),
                                       cmocka_unit_test(inner_requests),
                                       cmocka_unit_test(inner_read_only)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
