/* /healthz: the process answers. /readyz: it can serve. /metrics: Prometheus. /: a word to people. */
#include "app/app.h"
#include "base/metric.h"

enum { METRICS_MAX = 4 << 20 };

static bool health_fast(struct http_req *r)
{
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send(r, STR_LIT("{\"status\":\"ok\"}\n"));
    return true;
}

static int health_run(struct http_req *r, struct err *err)
{
    (void)err;
    (void)health_fast(r);
    return 0;
}

static int nothing(struct db_tx *tx, void *arg, struct err *err)
{
    (void)arg;
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, "SELECT 1", DB_NO_ARGS, &rows, err);
    return rc < 0 ? rc : db_next(rows, err) < 0 ? ERR_DB : 0;
}

/* Read-only is ready: pulls are what most clients want. */
static int ready_run(struct http_req *r, struct err *err)
{
    struct app *a = http_ctx(r);
    const char *why = app_read_only(a);
    struct buf b;
    int rc = db_read(a->db, nothing, NULL, err);
    buf_init(&b, 4096);
    buf_printf(&b, "{\"status\":\"%s\",\"database\":\"%s\",\"writable\":%s", rc < 0 ? "not ready" : "ok",
               rc < 0 ? "away" : "ok", why ? "false" : "true");
    if (why) {
        buf_cstr(&b, ",\"read_only\":");
        buf_json(&b, str_of(why));
    }
    buf_cstr(&b, "}\n");
    http_status(r, rc < 0 ? 503 : 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    http_send_buf(r, &b);
    return 0;
}

static int metrics_run(struct http_req *r, struct err *err)
{
    struct app *a = http_ctx(r);
    int64_t space;
    struct buf b;
    if (store_free_bytes(a->store, &space, err) == 0) /* others fill the volume, too */
        metric_set(METRIC_STORE_FREE, space);
    buf_init(&b, METRICS_MAX);
    metric_render(&b);
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("text/plain; version=0.0.4; charset=utf-8"));
    http_send_buf(r, &b);
    return 0;
}

static int root_run(struct http_req *r, struct err *err)
{
    (void)err;
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("text/plain; charset=utf-8"));
    http_send(r, STR_LIT("Berth: a container registry. Clients speak to it at /v2/, for example:\n"
                         "  docker login HOST && docker pull HOST/namespace/name\n"
                         "People log in at /login. State: /healthz /readyz /metrics\n"));
    return 0;
}

const struct http_route app_routes[] = {
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/healthz", .label = "healthz", .right = RIGHT_PUBLIC,
     .body = HTTP_NONE, .fast = health_fast, .run = health_run},
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/readyz", .label = "readyz", .right = RIGHT_PUBLIC,
     .body = HTTP_NONE, .run = ready_run},
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/metrics", .label = "metrics", .right = RIGHT_METRICS,
     .body = HTTP_NONE, .run = metrics_run},
    {.methods = HTTP_GET | HTTP_HEAD, .pattern = "/", .label = "root", .right = RIGHT_PUBLIC,
     .body = HTTP_NONE, .run = root_run},
};
const size_t n_app_routes = ARRAY_LEN(app_routes);

const struct rest_route app_api_routes[] = {
    {REST_GET("/openapi.json", "openapi", RIGHT_PUBLIC), rest_document_run, "This document", "about",
     .media = "application/json"},
};
const size_t n_app_api_routes = ARRAY_LEN(app_api_routes);
