/* The program's wiring (app/app.c), for programs that link rooms below it: nothing there asks for it. A
 * program that does has its own, which stands in the place of these. */
#include <stddef.h>

struct http_req;
struct ident *ident_of(const struct http_req *r) __attribute__((weak));
struct registry *registry_of(const struct http_req *r) __attribute__((weak));
struct rest *rest_of(const struct http_req *r) __attribute__((weak));

struct ident *ident_of(const struct http_req *r)
{
    (void)r;
    return NULL;
}

struct registry *registry_of(const struct http_req *r)
{
    (void)r;
    return NULL;
}

struct rest *rest_of(const struct http_req *r)
{
    (void)r;
    return NULL;
}
