/* Connections: bytes in and out, and the loop's side of the state machine. */
#include "http/http_int.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

enum { LINGER_US = 5000000 };

static long ssl_result(struct http_conn *c, int rc)
{
    if (rc > 0)
        return rc;
    int e = SSL_get_error(c->ssl, rc);
    if (e == SSL_ERROR_WANT_READ || e == SSL_ERROR_WANT_WRITE)
        return -1;
    return e == SSL_ERROR_ZERO_RETURN ? 0 : -2;
}

long conn_read(struct http_conn *c, void *p, size_t n)
{
    long got;
    if (c->ssl != NULL) {
        ERR_clear_error();
        got = ssl_result(c, SSL_read(c->ssl, p, (int)n));
    } else {
        do
            got = recv(c->fd, p, n, 0);
        while (got < 0 && errno == EINTR);
        if (got < 0)
            got = errno == EAGAIN ? -1 : -2;
    }
    if (got > 0)
        metric_add(METRIC_HTTP_BYTES_IN, (uint64_t)got);
    return got;
}

long conn_write(struct http_conn *c, const void *p, size_t n)
{
    long put;
    if (c->ssl != NULL) {
        ERR_clear_error();
        put = ssl_result(c, SSL_write(c->ssl, p, (int)n));
        if (put == 0)
            put = -2;
    } else {
        do
            put = send(c->fd, p, n, MSG_NOSIGNAL);
        while (put < 0 && errno == EINTR);
        if (put < 0)
            put = errno == EAGAIN ? -1 : -2;
    }
    if (put > 0)
        metric_add(METRIC_HTTP_BYTES_OUT, (uint64_t)put);
    return put;
}

/* Over TLS a small answer becomes one record: head and body meet in the loop's scratch. */
static long ssl_write2(struct http_conn *c, struct str a, struct str b)
{
    if (a.n == 0 || b.n == 0 || a.n >= SEND_CHUNK)
        return a.n ? conn_write(c, a.p, a.n) : conn_write(c, b.p, b.n < SEND_CHUNK ? b.n : SEND_CHUNK);
    size_t of_b = b.n < SEND_CHUNK - a.n ? b.n : SEND_CHUNK - a.n;
    memcpy(c->loop->scratch, a.p, a.n);
    memcpy(c->loop->scratch + a.n, b.p, of_b);
    return conn_write(c, c->loop->scratch, a.n + of_b);
}

long conn_write2(struct http_conn *c, struct str a, struct str b)
{
    if (c->ssl != NULL)
        return ssl_write2(c, a, b);
    struct iovec v[2] = {{(void *)(uintptr_t)a.p, a.n}, {(void *)(uintptr_t)b.p, b.n}};
    bool skip = a.n == 0;
    struct msghdr m = {.msg_iov = v + skip, .msg_iovlen = (size_t)(b.n != 0) + !skip};
    long put;
    do
        put = sendmsg(c->fd, &m, MSG_NOSIGNAL);
    while (put < 0 && errno == EINTR);
    if (put < 0)
        return errno == EAGAIN ? -1 : -2;
    metric_add(METRIC_HTTP_BYTES_OUT, (uint64_t)put);
    return put;
}

int conn_handshake(struct http_conn *c)
{
    ERR_clear_error();
    int rc = SSL_accept(c->ssl);
    if (rc == 1)
        return 0;
    return ssl_result(c, rc) == -1 ? -1 : -2;
}

struct http_conn *conn_new(struct http_loop *l, int fd)
{
    struct http_conn *c = mem_zalloc(sizeof *c);
    c->loop = l;
    c->fd = fd;
    c->state = CONN_WORK; /* until its loop registers it */
    return c;
}

void conn_close(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    if (c->req != NULL)
        request_give(l, take(&c->req));
    if (c->ssl != NULL) {
        ERR_clear_error();
        if (SSL_is_init_finished(c->ssl))
            SSL_shutdown(c->ssl);
        SSL_free(take(&c->ssl));
    }
    if (c->registered) {
        *(c->prev ? &c->prev->next : &l->conns) = c->next;
        if (c->next != NULL)
            c->next->prev = c->prev;
    }
    close(c->fd);
    limit_disconnect(l->server, c);
    atomic_fetch_sub(&l->server->n_conns, 1);
    metric_gauge_add(METRIC_HTTP_CONNS, -1);
    c->dead = true;
    loop_ready(c); /* freed there: whoever called may still look at it */
}

static void go_idle(struct http_conn *c)
{
    if (c->req != NULL)
        request_give(c->loop, take(&c->req));
    c->state = CONN_IDLE;
    c->deadline = c->loop->now + server_num(c->loop->server, IDLE_TIMEOUT);
}

/* Room behind what is there: the buffer doubles up to the head's cap. */
static void grow(struct request *q, size_t max)
{
    if (q->n < q->size)
        return;
    size_t size = q->size ? q->size * 2 : HEAD_FIRST;
    if (size > max && q->n < max)
        size = max;
    q->buf = mem_realloc(q->buf, size);
    q->size = size;
}

/* One read into the head's buffer: 1 bytes came, 0 none yet, -1 the connection is gone. */
static int read_head(struct http_conn *c, struct request *q)
{
    grow(q, (size_t)server_num(c->loop->server, MAX_HEADER) + 1);
    size_t room = q->size - q->n;
    long n = conn_read(c, q->buf + q->n, room);
    if (n == -1) {
        c->edge_in = false;
        return 0;
    }
    if (n <= 0)
        return -1;
    if (c->ssl == NULL && (size_t)n < room && !c->hup)
        c->edge_in = false; /* a short read emptied the socket; new bytes bring a new edge */
    q->n += (size_t)n;
    return 1;
}

/* Between requests: reads and parses a head, starts the request. False when nothing more can be done now. */
static bool step_head(struct http_conn *c)
{
    struct http_server *s = c->loop->server;
    if (c->req == NULL) {
        c->req = request_take(c->loop);
        c->req->pub.conn = c;
        head_reset(c->req);
    }
    struct request *q = c->req;
    if (q->at == q->n) {
        int rc = c->edge_in ? read_head(c, q) : 0;
        if (rc < 0) {
            conn_close(c);
            return false;
        }
        if (rc == 0) {
            if (q->n == 0)
                go_idle(c);
            return false;
        }
    }
    if (c->state == CONN_IDLE) {
        c->state = CONN_HEAD;
        c->deadline = c->loop->now + server_num(s, HEADER_TIMEOUT);
    }
    struct err err = {0};
    int rc = head_parse(q, (size_t)server_num(s, MAX_HEADER), &err);
    if (rc == 0)
        return true;
    if (rc < 0) {
        metric_add(METRIC_HTTP_MALFORMED, 1);
        q->keep = false;
        q->complete = false;
        request_fail(q, &err);
        request_send(c);
        return false;
    }
    request_start(c);
    return !c->dead;
}

/* The rest of a body that was answered early, read away. */
static bool step_drain(struct http_conn *c)
{
    struct request *q = c->req;
    struct err err = {0};
    size_t used = 0;
    if (q->at < q->n) {
        if (body_feed(q, q->buf + q->at, q->n - q->at, &used, &err) < 0) {
            conn_close(c);
            return false;
        }
        q->at += used;
    } else {
        long n = conn_read(c, c->loop->scratch, SEND_CHUNK);
        if (n == -1)
            return false;
        if (n <= 0 || body_feed(q, c->loop->scratch, (size_t)n, &used, &err) < 0) {
            conn_close(c);
            return false;
        }
        if (used < (size_t)n)
            buf_add(&q->rest, c->loop->scratch + used, (size_t)n - used);
    }
    if (q->complete) {
        request_sent(c);
        return !c->dead;
    }
    return true;
}

static bool step_linger(struct http_conn *c)
{
    long n = conn_read(c, c->loop->scratch, SEND_CHUNK);
    if (n == -1)
        return false;
    if (n > 0)
        return true;
    conn_close(c);
    return false;
}

static bool step_handshake(struct http_conn *c)
{
    int rc = conn_handshake(c);
    if (rc == -1)
        return false;
    if (rc < 0) {
        conn_close(c);
        return false;
    }
    c->edge_in = true; /* TLS may hold bytes already */
    go_idle(c);
    return true;
}

static bool step_send(struct http_conn *c)
{
    int rc = send_some(c);
    if (rc == 0)
        return false;
    if (rc < 0) {
        conn_close(c);
        return false;
    }
    if (rc == 2) {
        loop_ready(c);
        return false;
    }
    request_sent(c);
    return !c->dead;
}

/* Back to a worker, now that the socket has bytes or room. */
static bool to_worker(struct http_conn *c)
{
    *(c->state == CONN_BODY ? &c->edge_in : &c->edge_out) = false;
    c->state = CONN_WORK;
    work_push(c);
    return false;
}

static bool step(struct http_conn *c)
{
    switch ((enum conn_state)c->state) {
    case CONN_HANDSHAKE:
        return step_handshake(c);
    case CONN_IDLE:
    case CONN_HEAD:
        return step_head(c);
    case CONN_BODY:
    case CONN_PULL:
        return to_worker(c);
    case CONN_SEND:
        return step_send(c);
    case CONN_DRAIN:
        return step_drain(c);
    case CONN_LINGER:
        return step_linger(c);
    case CONN_WORK:
        break;
    }
    return false;
}

void conn_event(struct http_conn *c)
{
    for (int turn = 0; turn < INLINE_TURN; turn++)
        if (!step(c))
            return;
    loop_ready(c);
}

static void conn_register(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = c};
    c->registered = true;
    c->prev = NULL;
    c->next = l->conns;
    if (c->next != NULL)
        c->next->prev = c;
    l->conns = c;
    c->deadline = l->now + server_num(l->server, HEADER_TIMEOUT);
    if (epoll_ctl(l->epoll, EPOLL_CTL_ADD, c->fd, &e) != 0)
        conn_close(c);
}

void conn_posted(struct http_conn *c)
{
    c->state = c->next_state;
    if (!c->registered) {
        conn_register(c);
        return;
    }
    if (c->req != NULL && c->req->cut) {
        conn_close(c);
        return;
    }
    switch ((enum conn_state)c->state) {
    case CONN_SEND:
        request_send(c);
        break;
    case CONN_BODY:
        if (c->edge_in || c->hup)
            to_worker(c);
        break;
    case CONN_PULL:
        if (c->edge_out || c->hup)
            to_worker(c);
        break;
    case CONN_HANDSHAKE:
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_WORK:
    case CONN_DRAIN:
    case CONN_LINGER:
    default:
        BUG_ON(true);
    }
}

static bool too_slow(const struct http_conn *c, int64_t now)
{
    const struct http_server *s = c->loop->server;
    int64_t grace = server_num(s, BODY_GRACE), rate = server_num(s, BODY_MIN_RATE), age = now - c->since;
    return rate > 0 && age > grace && c->moved / (age / 1000000 + 1) < rate;
}

static void time_out(struct http_conn *c)
{
    metric_add(METRIC_HTTP_TIMEOUTS, 1);
    struct err err = {0};
    if (c->state == CONN_HEAD && c->req != NULL) {
        err_set(&err, ERR_TIMEOUT, "the request head did not arrive in time");
        c->req->keep = false;
        c->req->complete = false;
        request_fail(c->req, &err);
        request_send(c);
        return;
    }
    conn_close(c);
}

void conn_sweep(struct http_conn *c, int64_t now)
{
    switch ((enum conn_state)c->state) {
    case CONN_WORK:
        break;
    case CONN_BODY:
        if (too_slow(c, now)) {
            struct err err = {0};
            metric_add(METRIC_HTTP_TIMEOUTS, 1);
            err_set(&err, ERR_TIMEOUT, "the body arrives too slowly");
            c->req->keep = false;
            request_fail(c->req, &err);
            request_send(c);
        }
        break;
    case CONN_SEND:
    case CONN_PULL:
        if (too_slow(c, now))
            time_out(c);
        break;
    case CONN_HANDSHAKE:
    case CONN_IDLE:
    case CONN_HEAD:
    case CONN_DRAIN:
    case CONN_LINGER:
        if (c->deadline != 0 && now > c->deadline)
            time_out(c);
        else if (atomic_load(&c->loop->server->draining) && c->state == CONN_IDLE)
            conn_close(c);
    }
}
