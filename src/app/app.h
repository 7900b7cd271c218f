/* app: builds every object, wires the rooms together, signals and shutdown. */
#ifndef APP_APP_H
#define APP_APP_H
#include "base/config.h"
#include "db/db.h"
#include "http/http.h"
#include "hub/hub.h"
#include "ident/ident.h"
#include "net/egress.h"
#include "pages/pages.h"
#include "policy/policy.h"
#include "registry/registry.h"
#include "rest/rest.h"
#include "store/store.h"

#include <stdatomic.h>

struct app {
    struct config *config;       /* of the start */
    _Atomic bool read_only;      /* the switch, as of the last reload */
    int lock_fd;                 /* DATA/berth.lock, flock'ed */
    struct store *store;
    struct db *db;
    struct net *net;             /* rules of outbound calls */
    struct audit *audit;         /* NULL in a command run without a server */
    struct policy *policy;
    struct ident *ident;
    struct registry *registry;
    struct rest *rest;           /* likewise */
    struct http_server *http;    /* in a command run without a server: one that does not listen */
    struct forward *forward;     /* forward.c; NULL without a server */
    struct control *control;     /* control.c; NULL without a server */
    int64_t started;             /* microseconds since 1970 */
};
/* What is running. A server listens already when the rooms are built, for they need its URL. */
enum app_mode { APP_COMMAND, APP_SERVER };
/* Opens data directory (making it when `create`), database and rooms. Takes config, also on failure.
 * ERR_UNAVAILABLE when another process holds the lock. */
int app_open(struct app **ret, struct config *config, enum app_mode mode, bool create, struct err *err);
void app_close(struct app *a);
/* DATA/berth.lock: only its holder opens database and store. *ret_fd -1 and ERR_UNAVAILABLE when held. */
int app_lock(const char *dir, bool create, int *ret_fd, struct err *err);
/* A command that root runs becomes the owner of the data directory, so that it leaves no file behind
 * that the server cannot open. Nothing without root, or when root owns it. */
int app_become_owner(const char *dir, struct err *err);
/* berth serve: opens, makes the first administrator, says "ready on URL", reloads, drains. Returns the
 * exit code. Takes config. */
int app_serve(struct config *config, const char *config_file, const char *const *flags);
/* Everything that makes the server refuse changes, worst first; NULL when writable. Static text. */
const char *app_read_only(const struct app *a);

extern const struct http_route app_routes[]; /* /healthz, /readyz, /metrics, / */
extern const size_t n_app_routes;
extern const struct rest_route app_api_routes[]; /* /api/v1/openapi.json */
extern const size_t n_app_api_routes;
#endif
