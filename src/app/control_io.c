/* Lines of JSON over the control socket. */
#include "app/control_io.h"

#include "base/json.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

int control_address(const char *dir, struct sockaddr_un *ret, int *ret_dir, struct err *err)
{
    int fd = open(dir, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(err, ERR_NOT_FOUND, "cannot open the data directory %s", dir);
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    int n = snprintf(ret->sun_path, sizeof ret->sun_path, "%s/berth.sock", dir);
    if (n < 0 || (size_t)n >= sizeof ret->sun_path) /* too long; the other way needs /proc */
        (void)snprintf(ret->sun_path, sizeof ret->sun_path, "/proc/self/fd/%d/berth.sock", fd);
    *ret_dir = fd;
    return 0;
}

/* Receives some bytes, and keeps the one descriptor that may come. */
static long receive(int sock, char *p, size_t n, int *fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control;
    struct iovec v = {p, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
    long got;
    do
        got = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (got < 0 && errno == EINTR);
    for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); got >= 0 && c != NULL; c = CMSG_NXTHDR(&m, c)) {
        int sent;
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS || c->cmsg_len != CMSG_LEN(sizeof sent))
            continue;
        memcpy(&sent, CMSG_DATA(c), sizeof sent);
        if (*fd >= 0)
            close(*fd);
        *fd = sent;
    }
    return got;
}

static int take_line(struct buf *pending, size_t at, json_t **ret, struct err *err)
{
    struct json_caps caps = {CONTROL_LINE_MAX, 32, 100000};
    int rc = json_strict((struct str){pending->p, at}, caps, ret, err);
    size_t rest = pending->n - at - 1;
    memmove(pending->p, pending->p + at + 1, rest);
    explicit_bzero(pending->p + rest, pending->n - rest); /* a password may have been here */
    pending->n = rest;
    return rc < 0 ? rc : 1;
}

int control_read(int sock, struct buf *pending, json_t **ret, int *ret_fd, struct err *err)
{
    char chunk[4096];
    int fd = -1, rc = 0;
    for (;;) {
        const char *end = pending->n ? memchr(pending->p, '\n', pending->n) : NULL;
        if (end != NULL) {
            rc = take_line(pending, (size_t)(end - pending->p), ret, err);
            break;
        }
        long n = receive(sock, chunk, sizeof chunk, &fd);
        if (n <= 0) {
            rc = n == 0 ? 0 : err_sys(err, ERR_IO, "control socket");
            break;
        }
        buf_add(pending, chunk, (size_t)n);
        explicit_bzero(chunk, sizeof chunk);
        if (pending->overflow) {
            rc = err_set(err, ERR_TOO_LARGE, "control socket: line above %d bytes", CONTROL_LINE_MAX);
            break;
        }
    }
    if (rc == 1)
        *ret_fd = fd;
    else if (fd >= 0)
        close(fd);
    return rc;
}

static long send_first(int sock, const char *p, size_t n, int fd)
{
    union {
        struct cmsghdr head;
        char room[CMSG_SPACE(sizeof(int))];
    } control = {0};
    struct iovec v = {(void *)(uintptr_t)p, n};
    struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1};
    if (fd >= 0) {
        m.msg_control = &control;
        m.msg_controllen = sizeof control;
        control.head.cmsg_level = SOL_SOCKET;
        control.head.cmsg_type = SCM_RIGHTS;
        control.head.cmsg_len = CMSG_LEN(sizeof fd);
        memcpy(CMSG_DATA(&control.head), &fd, sizeof fd);
    }
    return sendmsg(sock, &m, MSG_NOSIGNAL);
}

int control_send(int sock, json_t *object, int fd, struct err *err)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    if (text == NULL)
        return err_set(err, ERR_INTERNAL, "control socket: no JSON to send");
    size_t n = strlen(text), at = 0;
    text[n++] = '\n'; /* in the place of the NUL */
    while (at < n) {
        long k = send_first(sock, text + at, n - at, at == 0 ? fd : -1);
        if (k < 0 && errno == EINTR)
            continue;
        if (k < 0)
            break;
        at += (size_t)k;
    }
    int rc = at == n ? 0 : err_sys(err, ERR_IO, "control socket");
    explicit_bzero(text, n);
    free(text);
    return rc;
}

int control_write(int sock, const char *kind, json_t *body, struct err *err)
{
    return control_send(sock, json_pack("{s:o}", kind, body), -1, err);
}

const struct control_op *control_find(const char *name)
{
    for (size_t i = 0; i < n_control_ops; i++)
        if (strcmp(control_ops[i].name, name) == 0)
            return &control_ops[i];
    return NULL;
}
