/* The registry object, its settings, and the table of its routes. */
#include "registry/blob_io.h"
#include "registry/registry_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

void registry_reload(struct registry *g, const struct config *c)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n && i < CONFIG_COUNT; i++) {
        if (keys[i].type != CONFIG_TEXT && keys[i].type != CONFIG_SECRET)
            atomic_store_explicit(&g->num[i], c->v[i].num, memory_order_relaxed);
    }
    gc_setup(g);
}

int registry_new(struct registry **ret, const struct registry_options *o, struct err *err)
{
    BUG_ON(o->loops < 1);
    struct registry *g = mem_zalloc(sizeof *g);
    g->db = o->db;
    g->store = o->store;
    g->policy = o->policy;
    g->loops = o->loops;
    registry_reload(g, o->config);
    g->caches = mem_zalloc(size_mul((size_t)g->loops, sizeof *g->caches));
    for (int i = 0; i < g->loops; i++)
        g->caches[i] = cache_new(o->cache_bytes / (size_t)g->loops);
    g->files = blob_files_new((size_t)g->loops);
    int rc = upload_table_new(g, err);
    if (rc < 0) {
        registry_free(g);
        return rc;
    }
    *ret = g;
    return 0;
}

void registry_free(struct registry *g)
{
    if (!g)
        return;
    registry_background_stop(g);
    upload_table_free(g);
    for (int i = 0; i < g->loops; i++)
        cache_free(g->caches[i]);
    free(g->caches);
    free(g->files);
    free(g);
}

/* 'Warning: 299 - "text"': quotes and backslashes do not occur in our texts, control bytes neither.
 */
void registry_warn(struct http_req *r, const char *fmt, ...)
{
    enum {
        WARNING_MAX = 512
    }; /* one each; 8 of them stay below the 4096 bytes of the specification */
    char text[WARNING_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text - 16, fmt, ap);
    va_end(ap);
    http_addf(r, "Warning", "299 - \"%s\"", text);
}

#define NAME "/v2/{name}"
/* Uploads stand before blobs: "uploads" is not a digest. */
const struct http_route registry_routes[] = {
    {.methods = HTTP_POST,
     .pattern = NAME "/blobs/uploads/",
     .label = "upload_start",
     .right = RIGHT_PUSH,
     .body = HTTP_STREAM,
     .writes = true,
     .begin = upload_post_begin,
     .sink = upload_sink,
     .run = upload_post_run,
     .done = upload_done},
    {.methods = HTTP_POST,
     .pattern = NAME "/blobs/uploads",
     .label = "upload_start",
     .right = RIGHT_PUSH,
     .body = HTTP_STREAM,
     .writes = true,
     .begin = upload_post_begin,
     .sink = upload_sink,
     .run = upload_post_run,
     .done = upload_done},
    {.methods = HTTP_PATCH,
     .pattern = NAME "/blobs/uploads/{id}",
     .label = "upload_chunk",
     .right = RIGHT_PUSH,
     .body = HTTP_STREAM,
     .writes = true,
     .begin = upload_patch_begin,
     .sink = upload_sink,
     .run = upload_patch_run,
     .done = upload_done},
    {.methods = HTTP_PUT,
     .pattern = NAME "/blobs/uploads/{id}",
     .label = "upload_finish",
     .right = RIGHT_PUSH,
     .body = HTTP_STREAM,
     .writes = true,
     .begin = upload_put_begin,
     .sink = upload_sink,
     .run = upload_put_run,
     .done = upload_done},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = NAME "/blobs/uploads/{id}",
     .label = "upload_status",
     .right = RIGHT_PUSH,
     .body = HTTP_NONE,
     .run = upload_status_run},
    {.methods = HTTP_DELETE,
     .pattern = NAME "/blobs/uploads/{id}",
     .label = "upload_cancel",
     .right = RIGHT_PUSH,
     .body = HTTP_NONE,
     .writes = true,
     .run = upload_cancel_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = NAME "/blobs/{digest}",
     .label = "blob",
     .right = RIGHT_PULL,
     .body = HTTP_NONE,
     .fast = blob_fast,
     .run = blob_get_run,
     .done = blob_get_done},
    {.methods = HTTP_DELETE,
     .pattern = NAME "/blobs/{digest}",
     .label = "blob_delete",
     .right = RIGHT_DELETE,
     .body = HTTP_NONE,
     .writes = true,
     .run = blob_delete_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = NAME "/manifests/{reference}",
     .label = "manifest",
     .right = RIGHT_PULL,
     .body = HTTP_NONE,
     .fast = manifest_fast,
     .run = manifest_get_run},
    {.methods = HTTP_PUT,
     .pattern = NAME "/manifests/{reference}",
     .label = "manifest_put",
     .right = RIGHT_PUSH,
     .body = HTTP_BUFFER,
     .cap_key = CONFIG_MAX_MANIFEST,
     .too_large = ERR_MANIFEST_TOO_LARGE,
     .writes = true,
     .run = manifest_put_run},
    {.methods = HTTP_DELETE,
     .pattern = NAME "/manifests/{reference}",
     .label = "manifest_delete",
     .right = RIGHT_DELETE,
     .body = HTTP_NONE,
     .writes = true,
     .run = manifest_delete_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = NAME "/tags/list",
     .label = "tags",
     .right = RIGHT_PULL,
     .body = HTTP_NONE,
     .run = tags_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = NAME "/referrers/{digest}",
     .label = "referrers",
     .right = RIGHT_PULL,
     .body = HTTP_NONE,
     .run = referrers_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = "/v2/ratelimitpreview/test/manifests/latest",
     .label = "rate_preview",
     .right = RIGHT_CHALLENGE,
     .body = HTTP_NONE,
     .run = rate_preview_run},
    {.methods = HTTP_GET | HTTP_HEAD,
     .pattern = "/v2/_catalog",
     .label = "catalog",
     .right = RIGHT_CATALOG,
     .body = HTTP_NONE,
     .run = catalog_run},
};
const size_t n_registry_routes = ARRAY_LEN(registry_routes);
