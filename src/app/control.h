/* Administration commands: one table, run either inside the running server (reached by the 0600
 * socket DATA/berth.sock, one JSON line in, JSON lines out) or, when no server holds the data directory,
 * in this process after taking the lock. Commands never touch a running server's database themselves.
 *
 * Protocol: {"op":"gc","args":{...}}\n ; answers {"progress":{...}}\n* {"item":{...}}\n* and last
 * {"done":{...}}\n or {"error":{"code":"DENIED","message":"..."}}\n. A descriptor may come with the
 * request's first byte; the operation finds its number as args.fd. */
#ifndef APP_CONTROL_H
#define APP_CONTROL_H
#include "app/app.h"
#include <jansson.h>

struct control_out {
    int (*line)(void *arg, const char *kind, json_t *body, struct err *err); /* steals body */
    void *arg;
};
struct control_op {
    const char *name; /* "gc", "fsck", "backup", "api", ... */
    /* Emits items and progress; the body of "done" goes out the same way, last. */
    int (*run)(struct app *a, json_t *args, const struct control_out *out, struct err *err);
    bool needs_server; /* makes no sense without one */
};
extern const struct control_op control_ops[];
extern const size_t n_control_ops;
/* Server side: listens on DATA/berth.sock, a thread each (at most 8), peers of the same uid or root only. */
int control_start(struct app *a, struct err *err);
void control_stop(struct app *a);
/* Client side: by the socket of a running server, else in this process. config is taken. fd: sent
 * along as args.fd, -1 none. */
int control_call(struct config *config, const char *op, json_t *args, int fd,
                 const struct control_out *out, struct err *err);

/* ---- backup.c: the operation and, for an empty host, restore (takes config) */
int backup_run(struct app *a, json_t *args, const struct control_out *out, struct err *err);
int backup_restore_pending(const char *dir, struct err *err); /* ERR_UNAVAILABLE: a restore broke off here */
int restore_run(struct config *config, int fd, const struct control_out *out, struct err *err);
#endif
