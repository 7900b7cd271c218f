/* A command's end: speak to the running server, or be it for a moment. */
#include "app/control_io.h"
#include "base/log.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

/* *ret_sock -1: nobody listens. */
static int connect_to(const char *dir, int *ret_sock, struct err *err)
{
    struct sockaddr_un name;
    auto_fd int d = -1;
    *ret_sock = -1;
    if (control_address(dir, &name, &d, NULL) < 0)
        return 0;
    auto_fd int s = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (s < 0)
        return err_sys(err, ERR_IO, "cannot make a socket");
    if (connect(s, (struct sockaddr *)&name, sizeof name) == 0)
        *ret_sock = take_fd(&s);
    else if (errno == EACCES || errno == EPERM)
        return err_sys(err, ERR_DENIED, "cannot reach the server at %s/berth.sock: run as its user or root", dir);
    return 0;
}

/* Passes lines on until "done" or "error". */
static int follow(int sock, const struct control_out *out, struct err *err)
{
    struct buf pending;
    int rc = 0, fd = -1;
    json_t *line = NULL;
    buf_init(&pending, CONTROL_LINE_MAX);
    bool done = false;
    while (!done && (rc = control_read(sock, &pending, &line, &fd, err)) == 1) {
        if (fd >= 0)
            close(fd);
        const char *kind = json_object_iter_key(json_object_iter(line));
        json_t *body = kind ? json_incref(json_object_get(line, kind)) : NULL;
        if (kind && strcmp(kind, "error") == 0) {
            const char *text = json_string_value(json_object_get(body, "message"));
            rc = err_set(err, ERR_UNAVAILABLE, "%s", text ? text : "failed");
            json_decref(body);
            json_decref(line);
            buf_release(&pending);
            return rc;
        }
        done = kind && strcmp(kind, "done") == 0;
        rc = kind ? out->line(out->arg, kind, body, err) : 0;
        json_decref(line);
        if (rc < 0)
            break;
    }
    buf_release(&pending);
    if (rc == 0 && !done)
        return err_set(err, ERR_UNAVAILABLE, "the server went away before the command was done");
    return rc < 0 ? rc : 0;
}

static int run_here(struct config *config, const struct control_op *op, json_t *args, int fd,
                    const struct control_out *out, struct err *err)
{
    struct app *a = NULL;
    if (op->needs_server) {
        config_free(config);
        return err_set(err, ERR_UNAVAILABLE, "no server runs on this data directory");
    }
    log_setup(LOG_WARN, LOG_HUMAN); /* of what a server would log, only what is wrong concerns who types */
    int rc = app_become_owner(config_text(config, DATA), err);
    if (rc < 0) {
        config_free(config);
        return rc;
    }
    rc = app_open(&a, config, APP_COMMAND, false, err);
    if (rc < 0)
        return rc;
    json_object_set_new(args, "fd", json_integer(fd));
    rc = op->run(a, args, out, err);
    app_close(a);
    return rc;
}

int control_call(struct config *config, const char *name, json_t *args, int fd,
                 const struct control_out *out, struct err *err)
{
    const struct control_op *op = control_find(name);
    BUG_ON(op == NULL);
    auto_fd int sock = -1;
    int rc = connect_to(config_text(config, DATA), &sock, err);
    if (rc < 0 || sock < 0)
        return rc < 0 ? (config_free(config), rc) : run_here(config, op, args, fd, out, err);
    config_free(config);
    rc = control_send(sock, json_pack("{s:s,s:O}", "op", name, "args", args), fd, err);
    return rc < 0 ? rc : follow(sock, out, err);
}
