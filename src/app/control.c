/* The running server's end of the control socket. */
#include "app/control_io.h"
#include "base/log.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PEERS_MAX = 8 };

struct control {
    struct app *app;
    int listener, stop, dir;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t left;
    int n_peers;
    int peers[PEERS_MAX]; /* sockets at work; -1 free */
};
struct peer {
    struct control *control;
    int sock, slot;
};

static int emit(void *arg, const char *kind, json_t *body, struct err *err)
{
    return control_write(((struct peer *)arg)->sock, kind, body, err);
}

static int run_request(struct peer *p, json_t *request, int fd, struct err *err)
{
    const char *name = json_string_value(json_object_get(request, "op"));
    const struct control_op *op = name ? control_find(name) : NULL;
    json_t *args = json_object_get(request, "args");
    if (op == NULL)
        return err_set(err, ERR_USAGE, "unknown operation");
    json_t *own = json_is_object(args) ? json_incref(args) : json_object();
    json_object_set_new(own, "fd", json_integer(fd));
    struct control_out out = {emit, p};
    log_line(LOG_INFO, "administration", F_CSTR("op", op->name));
    int rc = op->run(p->control->app, own, &out, err);
    json_decref(own);
    return rc;
}

static void answer(struct peer *p)
{
    struct err err = {0};
    struct buf pending;
    json_t *request = NULL;
    int fd = -1;
    buf_init(&pending, CONTROL_LINE_MAX);
    int rc = control_read(p->sock, &pending, &request, &fd, &err);
    if (rc == 1)
        rc = run_request(p, request, fd, &err);
    if (rc < 0)
        (void)control_write(p->sock, "error",
                            json_pack("{s:s,s:s}", "code", err_name(err.code), "message", err.text), NULL);
    json_decref(request);
    if (fd >= 0)
        close(fd);
    buf_release(&pending);
}

static void *peer_main(void *arg)
{
    struct peer *p = arg;
    struct control *k = p->control;
    answer(p);
    pthread_mutex_lock(&k->lock);
    k->peers[p->slot] = -1;
    k->n_peers--;
    close(p->sock);
    pthread_cond_signal(&k->left);
    pthread_mutex_unlock(&k->lock);
    free(p);
    return NULL;
}

static bool may(int sock)
{
    struct ucred who;
    socklen_t n = sizeof who;
    return getsockopt(sock, SOL_SOCKET, SO_PEERCRED, &who, &n) == 0 && (who.uid == 0 || who.uid == geteuid());
}

static int free_slot(struct control *k)
{
    for (int i = 0; i < PEERS_MAX; i++)
        if (k->peers[i] < 0)
            return i;
    return -1;
}

static void take_peer(struct control *k, int sock)
{
    pthread_t t;
    pthread_mutex_lock(&k->lock);
    int slot = may(sock) ? free_slot(k) : -1;
    struct peer *p = mem_zalloc(sizeof *p);
    *p = (struct peer){k, sock, slot};
    if (slot >= 0) {
        k->peers[slot] = sock;
        k->n_peers++;
    }
    if (slot < 0 || pthread_create(&t, NULL, peer_main, p) != 0) {
        if (slot >= 0) {
            k->peers[slot] = -1;
            k->n_peers--;
        }
        (void)control_write(sock, "error", json_pack("{s:s,s:s}", "code", "DENIED", "message", "not allowed, or too many commands at once"), NULL);
        close(sock);
        free(p);
    } else {
        pthread_detach(t);
    }
    pthread_mutex_unlock(&k->lock);
}

static void *control_main(void *arg)
{
    struct control *k = arg;
    struct pollfd fds[2] = {{.fd = k->listener, .events = POLLIN}, {.fd = k->stop, .events = POLLIN}};
    for (;;) {
        if (poll(fds, 2, -1) < 0 && errno != EINTR)
            return NULL;
        if (fds[1].revents != 0)
            return NULL;
        int sock = fds[0].revents ? accept4(k->listener, NULL, NULL, SOCK_CLOEXEC) : -1;
        if (sock >= 0)
            take_peer(k, sock);
        else if (fds[0].revents && errno == EMFILE)
            (void)poll(NULL, 0, 200); /* no descriptor: come back instead of spinning */
    }
}

int control_start(struct app *a, struct err *err)
{
    struct control *k = mem_zalloc(sizeof *k);
    struct sockaddr_un name;
    a->control = k;
    k->app = a;
    k->listener = k->stop = k->dir = -1;
    for (int i = 0; i < PEERS_MAX; i++)
        k->peers[i] = -1;
    pthread_mutex_init(&k->lock, NULL);
    pthread_cond_init(&k->left, NULL);
    int rc = control_address(store_dir(a->store), &name, &k->dir, err);
    if (rc < 0)
        return rc;
    k->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    k->stop = eventfd(0, EFD_CLOEXEC);
    (void)unlink(name.sun_path); /* left by a crash: we hold the lock */
    mode_t mask = umask(077);
    bool ok = k->listener >= 0 && k->stop >= 0 && bind(k->listener, (struct sockaddr *)&name, sizeof name) == 0 &&
              chmod(name.sun_path, 0600) == 0 && listen(k->listener, PEERS_MAX) == 0;
    (void)umask(mask);
    if (!ok)
        return err_sys(err, ERR_IO, "cannot listen on %s/berth.sock", store_dir(a->store));
    if (pthread_create(&k->thread, NULL, control_main, k) != 0)
        return err_set(err, ERR_INTERNAL, "cannot start the control thread");
    return 0;
}

void control_stop(struct app *a)
{
    struct control *k = a->control;
    if (!k)
        return;
    a->control = NULL;
    if (k->thread) {
        uint64_t one = 1;
        (void)!write(k->stop, &one, sizeof one);
        pthread_join(k->thread, NULL);
    }
    pthread_mutex_lock(&k->lock);
    for (int i = 0; i < PEERS_MAX; i++)
        if (k->peers[i] >= 0) /* the next line it writes fails, and the command ends */
            (void)shutdown(k->peers[i], SHUT_RDWR);
    while (k->n_peers > 0)
        pthread_cond_wait(&k->left, &k->lock);
    pthread_mutex_unlock(&k->lock);
    if (k->dir >= 0)
        (void)unlinkat(k->dir, "berth.sock", 0);
    for (int i = 0; i < 3; i++) {
        int fd = i == 0 ? k->listener : i == 1 ? k->stop : k->dir;
        if (fd >= 0)
            close(fd);
    }
    pthread_mutex_destroy(&k->lock);
    pthread_cond_destroy(&k->left);
    free(k);
}
