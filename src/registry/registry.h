/* registry: OCI distribution (spec 1.1 + dev at 967efdc) over db and store: blobs, uploads,
 * manifests, tags, referrers, garbage collection, scrub. Rights were decided by the gate. */
#ifndef REGISTRY_REGISTRY_H
#define REGISTRY_REGISTRY_H
#include "db/db.h"
#include "http/http.h"
#include "policy/policy.h"
#include "rest/rest.h"
#include "store/store.h"

#include <jansson.h>

struct registry;
struct registry_options {
    struct db *db;
    struct store *store;
    struct policy *policy;
    const struct config *config;
    int loops;
    size_t cache_bytes;
};
int registry_new(struct registry **ret, const struct registry_options *o, struct err *err);
void registry_free(struct registry *g);            /* stops background threads first */
void registry_reload(struct registry *g, const struct config *c);
struct registry *registry_of(const struct http_req *r); /* defined in app/app.c */
extern const struct http_route registry_routes[];
extern const size_t n_registry_routes;
extern const struct rest_route content_routes[]; /* /api/v1 */
extern const size_t n_content_routes;

/* Background: upload reaper, gc reviewer, trash purge, scrub; one low-priority thread. */
int registry_background_start(struct registry *g, struct err *err);
void registry_background_stop(struct registry *g);
/* A backup holds trash in place while it copies a snapshot: once this returned with hold, nothing is
 * unlinked until each holder has let go. */
void registry_trash_hold(struct registry *g, bool hold);

/* Administration. Each reports through out, one JSON object a call with "kind": "progress", "item" or
 * last "summary" (gc_run.c, fsck.c say with what members). `line` is handed over: out frees it.
 * Anything but 0 from out ends the run with that code.
 * gc: now ignores the queue's delays (gc_delay), but neither gc_grace, what was pushed or seen by HEAD
 * within it stays and trash is unlinked when its time has come, nor untagged_expiry.
 * fsck: the database's own check (db_check), then everything against everything. *ret_problems counts what upkeep does not heal by itself, repaired or not. */
typedef int (*registry_report)(void *arg, json_t *line, struct err *err);
int registry_gc(struct registry *g, bool dry_run, bool now, registry_report out, void *arg, struct err *err);
int registry_fsck(struct registry *g, bool full, bool repair, registry_report out, void *arg, int64_t *ret_problems, struct err *err);
#endif
