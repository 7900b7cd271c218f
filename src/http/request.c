/* The life of a request: start on the loop, work on a worker, answer on the loop. */
#include "http/http_int.h"

#include <stdlib.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { LINES_CAP = 64 << 10, HEAD_CAP = 128 << 10, FAST_READ = 16 << 10,
       FAST_WAIT_MS = 1, LINGER_TIME = 5000000, BODY_DEFAULT_CAP = 64 << 10 };

struct request *request_new(void)
{
    struct request *q = mem_zalloc(sizeof *q);
    q->file = -1;
    arena_init(&q->pub.arena);
    buf_init(&q->lines, LINES_CAP);
    buf_init(&q->head, HEAD_CAP);
    buf_init(&q->body, 0);
    buf_init(&q->owned, 0);
    buf_init(&q->rest, READ_CHUNK);
    return q;
}

struct request *request_take(struct http_loop *l)
{
    struct request *q = l->free;
    if (q == NULL)
        return request_new();
    l->free = q->free_next;
    l->n_free--;
    return q;
}

/* The room lets go of what the request held there. */
static void done(struct request *q)
{
    if (q->called && q->pub.route->done != NULL)
        q->pub.route->done(&q->pub);
    q->called = false;
}

void request_later(struct request *q)
{
    while (q->later != NULL) {
        struct on_loop *o = q->later;
        q->later = o->next;
        o->fn(o->arg);
    }
}

/* Drops all that the request holds; the next request of the connection starts clean. */
static void clear(struct request *q)
{
    struct http_req *r = &q->pub;
    done(q);
    request_later(q); /* closures release references: they run on every path */
    if (r->who != NULL || r->gate != NULL)
        r->server->gate.release(r);
    if (q->file >= 0 && q->owner == NULL) /* else it is the owner's */
        close(q->file);
    shared_unref(q->owner);
    q->owner = NULL;
    q->file = -1;
    buf_release(&q->owned);
    body_release(q);
    buf_reset(&q->lines);
    buf_reset(&q->head);
    arena_release(&r->arena);
    r->route = NULL;
    r->n_headers = 0;
    r->query = r->path = r->body = r->client = (struct str){NULL, 0};
    for (size_t i = 0; i < HTTP_PARTS_MAX; i++)
        r->parts[i] = (struct str){NULL, 0};
    r->content_length = -1;
    r->body_received = 0;
    r->who = r->gate = r->ctx = NULL;
    r->log_user = NULL;
    r->faults = NULL;
    r->ticket = NULL;
    r->status = 0;
    r->method = (enum http_method)0;
    q->head_n = q->head_sent = 0;
    q->complete = q->gate_slow = q->expect = q->expect_sent = q->keep = false;
    q->answered = q->cut = false;
    q->error = (struct err){0};
    q->out = OUT_NONE;
    q->length = q->sent = q->overhead = q->started = 0;
    q->shared_head = q->bytes = (struct str){NULL, 0};
}

void request_give(struct http_loop *l, struct request *q)
{
    clear(q);
    q->n = q->at = 0;
    buf_reset(&q->rest);
    if (l->n_free < SPARE_REQUESTS && q->size <= 4 * HEAD_FIRST && q->rest.size == 0) {
        q->free_next = l->free;
        l->free = q;
        l->n_free++;
        return;
    }
    request_free(q);
}

void request_free(struct request *q)
{
    clear(q);
    free(q->buf);
    buf_release(&q->lines);
    buf_release(&q->head);
    buf_release(&q->rest);
    free(q);
}

static void make_id(struct http_loop *l, char out[17])
{
    static const char digits[] = "0123456789abcdef";
    uint64_t id = l->next_id += 0x9e3779b97f4a7c15u; /* a walk through all values, start random */
    for (int i = 0; i < 16; i++, id <<= 4)
        out[i] = digits[id >> 60];
    out[16] = '\0';
}

void request_fail(struct request *q, const struct err *err)
{
    struct http_req *r = &q->pub;
    if (r->id[0] == '\0' || q->started == 0) { /* the parser's own refusals come before request_start */
        make_id(r->conn->loop, r->id);
        q->started = r->conn->loop->now;
        r->server = r->conn->loop->server;
        r->client = str_of(r->conn->peer);
    }
    if (q->answered)
        return;
    body_release(q);
    if (err_status(err->code) >= 500)
        log_line(LOG_ERROR, "request failed", F_CSTR("id", r->id), F_CSTR("code", err_name(err->code)),
                 F_CSTR("error", err->text));
    http_error(r, err);
}

static void fail_and_send(struct http_conn *c, const struct err *err)
{
    request_fail(c->req, err);
    request_send(c);
}

static void add_allow(struct http_req *r, unsigned allow)
{
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    struct buf b;
    buf_init(&b, 64);
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if ((allow >> i & 1) != 0) {
            buf_cstr(&b, b.n ? ", " : "");
            buf_cstr(&b, names[i]);
        }
    http_add(r, "Allow", buf_view(&b));
    buf_release(&b);
}

int request_admit(struct request *q, struct err *err)
{
    struct http_req *r = &q->pub;
    struct http_server *s = r->server;
    unsigned allow = 0;
    r->route = route_find(s, r, &allow, err);
    if (r->route == NULL) {
        if (err->code == ERR_METHOD)
            add_allow(r, allow);
        return err->code;
    }
    const char *why = r->route->writes ? atomic_load(&s->read_only) : NULL;
    if (why != NULL)
        return err_set(err, ERR_READ_ONLY, "read-only: %s", why);
    return 0;
}

/* Everything that can refuse before the gate. */
static int admit(struct http_conn *c, struct err *err)
{
    const struct http_req *r = &c->req->pub;
    if (!limit_request(c->loop->server, c, c->loop->now)) {
        metric_add(METRIC_HTTP_REFUSED, 1);
        return err_set(err, ERR_TOOMANYREQUESTS, "too many requests from %.*s; try again in a few seconds",
                       STR_FMT(r->client));
    }
    return request_admit(c->req, err);
}

void request_start(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    struct http_server *s = l->server;
    struct request *q = c->req;
    struct http_req *r = &q->pub;
    struct err err = {0};
    make_id(l, r->id);
    q->started = clock_mono();
    r->server = s;
    r->loop_index = l->index;
    client_address(s, q);
    if (atomic_load_explicit(&s->draining, memory_order_relaxed))
        q->keep = false;
    if (admit(c, &err) < 0) {
        fail_and_send(c, &err);
        return;
    }
    enum http_gate gate = s->gate.fast(r);
    if (gate == GATE_GO && r->route->fast != NULL && r->route->fast(r))
        gate = GATE_STOP;
    if (gate == GATE_STOP) {
        BUG_ON(!q->answered);
        request_send(c);
        return;
    }
    q->gate_slow = gate == GATE_WORKER;
    q->phase = PHASE_GATE;
    c->edge_out = false;
    if (r->route->body != HTTP_NONE)
        c->edge_in = false; /* the worker reads; what it leaves is looked at when the request ends */
    c->state = CONN_WORK;
    work_push(c);
}

/* --- on a worker */

int request_begin(struct request *q, struct err *err)
{
    struct http_req *r = &q->pub;
    const struct http_route *row = r->route;
    if (row->body == HTTP_BUFFER) {
        size_t cap = row->cap_key >= 0 ? (size_t)atomic_load(&r->server->num[row->cap_key]) : BODY_DEFAULT_CAP;
        buf_init(&q->body, cap);
        if (r->content_length > (int64_t)cap)
            return err_set(err, row->too_large, "the body has %ld bytes; at most %zu are allowed",
                           (long)r->content_length, cap);
        if (row->cap_key >= 0) /* at once, so that of many some come through */
            return body_reserve(q, r->content_length, err);
    }
    if (row->body == HTTP_STREAM && row->begin != NULL) {
        q->called = true;
        return row->begin(r, err);
    }
    return 0;
}

static void send_continue(struct http_conn *c)
{
    static const char text[] = "HTTP/1.1 100 Continue\r\n\r\n";
    struct request *q = c->req;
    if (!q->expect || q->expect_sent || q->at < q->n)
        return;
    q->expect_sent = true;
    conn_write(c, text, sizeof text - 1); /* lost when the socket is full: the client sends anyway */
}

/* Waits a moment for a client that is fast, so that it pays no hand-over. */
static bool more_soon(struct http_conn *c, long last)
{
    if (last < FAST_READ || c->ssl != NULL)
        return false;
    struct pollfd p = {.fd = c->fd, .events = POLLIN};
    return poll(&p, 1, FAST_WAIT_MS) > 0;
}

/* 1 body complete, 0 parked, negative error. */
static int phase_body(struct http_conn *c, struct err *err)
{
    struct request *q = c->req;
    char *p = work_buffer();
    long last = 0;
    while (!q->complete) {
        size_t used = 0;
        if (q->at < q->n) {
            int rc = body_feed(q, q->buf + q->at, q->n - q->at, &used, err);
            if (rc < 0)
                return rc;
            q->at += used;
            continue;
        }
        long n = conn_read(c, p, READ_CHUNK);
        if (n == -1) {
            if (more_soon(c, last))
                continue;
            return 0;
        }
        if (n <= 0) {
            q->cut = true;
            return err_set(err, ERR_INVALID, "the client went away");
        }
        last = n;
        c->moved += n;
        int rc = body_feed(q, p, (size_t)n, &used, err);
        if (rc < 0)
            return rc;
        if (used < (size_t)n)
            buf_add(&q->rest, p + used, (size_t)n - used);
    }
    return 1;
}

static void post(struct http_conn *c, enum conn_state state)
{
    c->next_state = (uint8_t)state;
    loop_post(c);
}

/* Runs the phases; 1 answered (or cut), 0 parked for body bytes. */
static int run_phases(struct http_conn *c, struct err *err)
{
    struct request *q = c->req;
    struct http_req *r = &q->pub;
    int rc = 0;
    if (q->phase == PHASE_GATE) {
        rc = q->gate_slow ? r->server->gate.slow(r, err) : 0;
        q->phase = PHASE_BEGIN;
        if (rc < 0 || q->answered)
            return rc < 0 ? rc : 1;
    }
    if (q->phase == PHASE_BEGIN) {
        rc = request_begin(q, err);
        if (rc < 0 || q->answered)
            return rc < 0 ? rc : 1;
        q->phase = PHASE_BODY;
        c->since = clock_mono();
        c->moved = 0;
        if (r->route->body != HTTP_NONE)
            send_continue(c);
    }
    if (q->phase == PHASE_BODY && r->route->body != HTTP_NONE) {
        rc = phase_body(c, err);
        if (rc <= 0)
            return rc;
        r->body = buf_view(&q->body);
    }
    q->phase = PHASE_RUN;
    q->called = true;
    rc = r->route->run(r, err);
    if (rc < 0)
        return rc;
    BUG_ON(!q->answered);
    return 1;
}

static void work_pull(struct http_conn *c)
{
    struct request *q = c->req;
    int rc = pull_run(c);
    if (rc < 0)
        q->cut = true;
    post(c, rc == 0 ? CONN_PULL : CONN_SEND);
}

void request_work(struct http_conn *c)
{
    struct request *q = c->req;
    struct err err = {0};
    if (q->phase == PHASE_PULL) {
        work_pull(c);
        return;
    }
    int rc = run_phases(c, &err);
    if (rc == 0) {
        post(c, CONN_BODY);
        return;
    }
    if (rc < 0 && !q->cut)
        request_fail(q, &err);
    post(c, CONN_SEND);
}

/* --- the answer, on the loop */

/* Whether the connection can be kept although the body was not read to its end. */
static bool rest_is_small(const struct request *q)
{
    int64_t left = q->pub.content_length - q->pub.body_received;
    return q->pub.content_length >= 0 && left <= DRAIN_MAX && !(q->expect && !q->expect_sent);
}

void request_send(struct http_conn *c)
{
    struct request *q = c->req;
    if (q->phase == PHASE_PULL && q->out == OUT_PULL && q->sent > 0) {
        request_sent(c); /* a worker pulled it all */
        return;
    }
    request_later(q);
    if ((!q->complete && q->keep && !rest_is_small(q)) || atomic_load_explicit(&c->loop->server->draining, memory_order_relaxed))
        q->keep = false;
    reply_head(q);
    c->since = c->loop->now;
    c->moved = 0;
    if (q->out == OUT_PULL && q->length > 0) {
        q->phase = PHASE_PULL;
        c->edge_out = false;
        c->state = CONN_WORK;
        work_push(c);
        return;
    }
    c->state = CONN_SEND;
    int rc = send_some(c);
    if (rc == 1)
        request_sent(c);
    else if (rc < 0)
        conn_close(c);
    else if (rc == 2)
        loop_ready(c);
}

void request_account(struct request *q)
{
    struct http_req *r = &q->pub;
    int64_t us = clock_mono() - q->started;
    unsigned class = r->status / 100;
    metric_add(class == 2   ? METRIC_HTTP_2XX
               : class == 3 ? METRIC_HTTP_3XX
               : class == 4 ? METRIC_HTTP_4XX
                            : METRIC_HTTP_5XX,
               1);
    metric_observe(METRIC_HTTP_LATENCY, us);
    if (server_num(r->server, ACCESS_LOG) == 0)
        return;
    static const char *const names[] = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"};
    const char *method = r->method ? names[__builtin_ctz((unsigned)r->method)] : "-";
    struct str agent = {NULL, 0};
    http_header(r, "User-Agent", &agent);
    log_line(LOG_INFO, "request", F_CSTR("id", r->id), F_STR("client", r->client),
             F_CSTR("user", r->log_user ? r->log_user : ""), F_CSTR("method", method),
             F_STR("path", r->route && r->route->secret ? str_of(r->route->pattern) : r->path), F_INT("status", r->status), F_INT("bytes", q->sent),
             F_INT("us", us), F_STR("agent", agent));
}

/* The next request's bytes, if they are here already, move to the front of the buffer. */
static void keep_rest(struct request *q)
{
    size_t left = q->n - q->at, behind = q->rest.n;
    if (left != 0)
        memmove(q->buf, q->buf + q->at, left);
    if (left + behind > q->size) {
        q->size = left + behind;
        q->buf = mem_realloc(q->buf, q->size);
    }
    if (behind != 0)
        memcpy(q->buf + left, q->rest.p, behind);
    q->n = left + behind;
    q->at = 0;
    buf_release(&q->rest);
}

void request_sent(struct http_conn *c)
{
    struct http_loop *l = c->loop;
    struct request *q = c->req;
    if (c->state != CONN_DRAIN)
        request_account(q);
    done(q); /* not when the rest of a refused body is through: that may take seconds */
    if (!q->complete && q->keep) {
        c->state = CONN_DRAIN;
        c->deadline = l->now + LINGER_TIME;
        c->edge_in = true;
        loop_ready(c);
        return;
    }
    if (!q->keep) {
        if (q->complete) {
            conn_close(c);
            return;
        }
        shutdown(c->fd, SHUT_WR);
        c->state = CONN_LINGER;
        c->deadline = l->now + LINGER_TIME;
        loop_ready(c);
        return;
    }
    if (q->pub.route != NULL && q->pub.route->body != HTTP_NONE)
        c->edge_in = true;
    clear(q);
    keep_rest(q);
    c->state = CONN_IDLE;
    c->deadline = l->now + server_num(l->server, IDLE_TIMEOUT);
    if (q->n == 0)
        request_give(l, take(&c->req));
    else
        head_reset(q);
    if (c->req != NULL || c->edge_in || c->hup)
        loop_ready(c);
}
