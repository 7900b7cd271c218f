/* Accepting connections, on the first loop; the loops get them in turn. Out of descriptors, a spare one
 * is given up to accept and close, and accepting rests for a moment: no spin. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPT_TURN = 64, REST_US = 200000, UNSENT_MAX = 128 << 10 };

static void watch(struct http_loop *l, int op)
{
    struct http_server *s = l->server;
    for (int i = 0; i < s->n_listeners; i++) {
        struct epoll_event e = {.events = op == EPOLL_CTL_MOD ? EPOLLIN : 0,
                                .data.u64 = (uint64_t)i << 1 | 1};
        epoll_ctl(l->epoll, EPOLL_CTL_MOD, s->listeners[i], &e);
    }
}

static void rest(struct http_loop *l, int listener)
{
    struct http_server *s = l->server;
    if (s->spare_fd >= 0) {
        close(s->spare_fd);
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
        if (fd >= 0)
            close(fd);
        s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    }
    metric_add(METRIC_HTTP_REFUSED, 1);
    s->accept_pause = l->now + REST_US;
    watch(l, EPOLL_CTL_DEL);
}

void accept_resume(struct http_loop *l)
{
    struct http_server *s = l->server;
    if (s->accept_pause != 0 && l->now >= s->accept_pause) {
        s->accept_pause = 0;
        watch(l, EPOLL_CTL_MOD);
    }
}

static void address(const struct sockaddr_storage *a, uint8_t out[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (a->ss_family == AF_INET6) {
        memcpy(out, &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr, 16);
    } else {
        memcpy(out, mapped, 12);
        memcpy(out + 12, &((const struct sockaddr_in *)(const void *)a)->sin_addr, 4);
    }
}

static void refuse(int fd)
{
    static const char text[] =
        "HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 5\r\n"
        "Connection: close\r\nContent-Length: 88\r\n\r\n"
        "{\"errors\":[{\"code\":\"UNAVAILABLE\",\"message\":\"too many open connections\",\"detail\":null}]}\n";
    ssize_t ignored = send(fd, text, sizeof text - 1, MSG_NOSIGNAL | MSG_DONTWAIT);
    (void)ignored;
    shutdown(fd, SHUT_WR);
    close(fd);
    metric_add(METRIC_HTTP_REFUSED, 1);
}

static SSL *new_ssl(struct http_server *s, int fd)
{
    pthread_mutex_lock(&s->tls_lock);
    SSL *ssl = s->tls ? SSL_new(s->tls) : NULL;
    pthread_mutex_unlock(&s->tls_lock);
    if (ssl != NULL)
        SSL_set_fd(ssl, fd);
    return ssl;
}

static void adopt(struct http_loop *l, int fd, const struct sockaddr_storage *from)
{
    struct http_server *s = l->server;
    int one = 1, unsent = UNSENT_MAX;
    uint8_t addr[16];
    address(from, addr);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    /* Unsent bytes of slow readers are the kernel's memory, which all connections share. */
    setsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &unsent, sizeof unsent);
    struct http_conn *c = conn_new(&s->loops[s->next_loop++ % (unsigned)s->n_loops], fd);
    if (atomic_load(&s->n_conns) >= atomic_load(&s->max_conns) || !limit_connection(s, c, addr)) {
        refuse(fd);
        free(c);
        return;
    }
    atomic_fetch_add(&s->n_conns, 1);
    metric_gauge_add(METRIC_HTTP_CONNS, 1);
    metric_add(METRIC_HTTP_ACCEPTS, 1);
    c->ssl = new_ssl(s, fd);
    c->next_state = c->ssl ? CONN_HANDSHAKE : CONN_IDLE;
    loop_post(c);
}

void accept_all(struct http_loop *l, int listener)
{
    for (int i = 0; i < ACCEPT_TURN; i++) {
        struct sockaddr_storage from;
        socklen_t n = sizeof from;
        int fd = accept4(listener, (struct sockaddr *)&from, &n, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            adopt(l, fd, &from);
            continue;
        }
        if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM)
            rest(l, listener);
        if (errno != EINTR && errno != ECONNABORTED)
            return;
    }
}
