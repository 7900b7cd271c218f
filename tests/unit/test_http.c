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

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(routes_need_a_right_and_a_handler)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
