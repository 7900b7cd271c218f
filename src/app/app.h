/* app: builds every object, wires the rooms together, signals and shutdown. */
#ifndef APP_APP_H
#define APP_APP_H
#include "base/config.h"
#include "db/db.h"
#include "http/http.h"
#include "ident/ident.h"
#include "registry/registry.h"
#include "store/store.h"

struct app {
    struct config *config;
    int lock_fd;                 /* DATA/berth.lock, flock'ed */
    struct store *store;
    struct db *db;
    struct ident *ident;
    struct registry *registry;
    struct http_server *http;    /* NULL in a command run without a server */
    void *control;
};
/* Opens data directory (creating it when `create`), database and rooms; no sockets. ERR_UNAVAILABLE when another
 * process holds the lock. */
int app_open(struct app **ret, struct config *config, bool create, struct err *err); /* takes config */
void app_close(struct app *a);
/* berth serve: app_open, first start, listen, "ready on URL", signals, drain. Returns the exit code. */
int app_serve(struct config *config, const char *config_file, const char *const *flags);
#endif
