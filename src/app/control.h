/* Administration commands: one table, run either inside the running server (reached by the 0600
 * socket DATA/berth.sock, one JSON line in, JSON lines out) or, when no server holds the data directory,
 * in this process after taking the lock. Commands never touch a running server's database themselves.
 *
 * Protocol: {"op":"gc","args":{...}}\n ; answers {"progress":{...}}\n* {"item":{...}}\n* and last
 * {"done":{...}}\n or {"error":{"code":"DENIED","message":"..."}}\n. */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H
#include "app/app.h"
#include <jansson.h>

struct control_out {
    int (*line)(void *arg, const char *kind, json_t *body, struct err *err); /* steals body */
    void *arg;
};
struct control_op {
    const char *name; /* "gc", "fsck", "backup", "user.add", "user.passwd", "user.list", "user.remove", "repo.visibility", "status" */
    int (*run)(struct app *a, json_t *args, const struct control_out *out, struct err *err); /* emits items; "done" body via out */
};
extern const struct control_op control_ops[];
extern const size_t n_control_ops;
/* Server side: listens on DATA/berth.sock, a thread each (at most 8), peers of the same uid or root only. */
int control_start(struct app *a, struct err *err);
void control_stop(struct app *a);
/* Client side. */
int control_call(const struct config *c, const char *op, json_t *args, const struct control_out *out, struct err *err);
#endif
