/* Drives head_parse and body_feed as conn.c and request.c do: heads are collected in the request's
 * buffer, a body takes first what lies behind its head there, then reads. See head_trace.h. */
#include "head_trace.h"

#include <stdlib.h>

struct trace {
    const struct trace_options *o;
    struct str stream;
    size_t at; /* read so far */
    struct buf *out;
    struct buf body;
    struct request q;
};

/* Only one trace runs at a time in these programs. */
static struct trace *running;

static int sink(struct http_req *r, struct str bytes, struct err *err)
{
    (void)r, (void)err;
    buf_str(&running->body, bytes);
    return 0;
}

static const struct http_route streamed = {.body = HTTP_STREAM, .sink = sink};
static struct http_server server; /* of the budget for bodies only */
static const struct http_route buffered = {.body = HTTP_BUFFER, .too_large = ERR_TOO_LARGE};

static void add_hex(struct buf *out, struct str s)
{
    buf_char(out, ' ');
    buf_hex(out, s.p, s.n);
    if (s.n == 0)
        buf_char(out, '-');
}

static void tell_head(struct trace *t)
{
    const struct http_req *r = &t->q.pub;
    struct str buf = {t->q.buf, t->q.head_n}, method;
    str_split(&buf, ' ', &method);
    BUG_ON(r->path.n == 0 || r->path.p[0] != '/');
    buf_cstr(t->out, "head");
    add_hex(t->out, method);
    add_hex(t->out, r->path);
    add_hex(t->out, r->query);
    buf_printf(t->out, " %d %d", r->query.p != NULL, t->q.keep);
    for (unsigned i = 0; i < r->n_headers; i++) {
        add_hex(t->out, r->headers[i].name);
        add_hex(t->out, r->headers[i].value);
    }
    buf_char(t->out, '\n');
}

static void tell_body(struct trace *t)
{
    const struct http_req *r = &t->q.pub;
    struct str body = buf_view(t->o->body_cap ? &t->q.body : &t->body);
    BUG_ON((int64_t)body.n != r->body_received);
    BUG_ON(r->content_length >= 0 && r->content_length != r->body_received);
    buf_cstr(t->out, "body");
    add_hex(t->out, body);
    buf_char(t->out, '\n');
}

static size_t read_more(struct trace *t)
{
    size_t left = t->stream.n - t->at;
    size_t n = left ? t->o->piece(t->o->arg, left) : 0;
    BUG_ON(n > left || (n == 0 && left > 0));
    t->at += n;
    return n;
}

static void trace_begin(struct trace *t, struct str rest)
{
    struct request *q = &t->q;
    memset(q, 0, sizeof *q);
    arena_init(&q->pub.arena);
    buf_init(&q->body, t->o->body_cap);
    buf_init(&t->body, t->stream.n + 1);
    q->pub.content_length = -1;
    /* Exactly as large as what was read, so that a look behind it is seen. */
    q->size = q->n = rest.n;
    q->buf = mem_alloc(rest.n);
    if (rest.n != 0)
        memcpy(q->buf, rest.p, rest.n);
    head_reset(q);
}

static void trace_end(struct trace *t)
{
    free(t->q.buf);
    buf_release(&t->q.body);
    buf_release(&t->body);
    arena_release(&t->q.pub.arena);
}

/* 1 a head is complete, 0 the stream ended, negative refused. */
static int run_head(struct trace *t, struct err *err)
{
    struct request *q = &t->q;
    for (;;) {
        if (q->at == q->n) {
            size_t from = t->at, n = read_more(t);
            if (n == 0)
                return 0;
            char *grown = mem_alloc(q->n + n);
            if (q->n != 0)
                memcpy(grown, q->buf, q->n);
            memcpy(grown + q->n, t->stream.p + from, n);
            free(q->buf);
            q->buf = grown;
            q->n += n;
            q->size = q->n;
        }
        int rc = head_parse(q, t->o->max_head, err);
        if (rc != 0)
            return rc;
        BUG_ON(q->at != q->n);
    }
}

static int feed(struct request *q, const char *p, size_t n, size_t *used, struct err *err)
{
    auto_free char *copy = mem_alloc(n);
    memcpy(copy, p, n);
    *used = 0;
    int rc = body_feed(q, copy, n, used, err);
    BUG_ON(rc == 0 && !q->complete && *used != n);
    BUG_ON(*used > n);
    return rc;
}

/* 1 the body is complete, 0 the stream ended, negative refused. *ret_rest: read behind it. */
static int run_body(struct trace *t, struct str *ret_rest, struct err *err)
{
    struct request *q = &t->q;
    size_t used;
    while (!q->complete && q->at < q->n) {
        int rc = feed(q, q->buf + q->at, q->n - q->at, &used, err);
        if (rc < 0)
            return rc;
        q->at += used;
    }
    *ret_rest = (struct str){q->buf + q->at, q->n - q->at};
    while (!q->complete) {
        size_t from = t->at, n = read_more(t);
        if (n == 0)
            return 0;
        int rc = feed(q, t->stream.p + from, n, &used, err);
        if (rc < 0)
            return rc;
        *ret_rest = (struct str){t->stream.p + from + used, n - used};
    }
    return 1;
}

static int run_message(struct trace *t, struct str *rest, enum trace_end *ret_end, struct err *err)
{
    struct request *q = &t->q;
    int rc = run_head(t, err);
    *ret_end = rc < 0 ? TRACE_REFUSED : q->n == 0 ? TRACE_BETWEEN : TRACE_IN_HEAD;
    if (rc <= 0)
        return 0;
    BUG_ON(q->pub.n_headers > HTTP_HEADERS_MAX || q->head_n > q->n || q->head_n > t->o->max_head);
    atomic_store(&server.num[CONFIG_MAX_BUFFERED], INT64_MAX);
    q->pub.server = &server;
    q->pub.route = t->o->body_cap ? &buffered : &streamed;
    tell_head(t);
    rc = run_body(t, rest, err);
    *ret_end = rc < 0 ? TRACE_REFUSED : TRACE_IN_BODY;
    if (rc > 0)
        tell_body(t);
    return rc > 0;
}

enum trace_end head_trace(struct str stream, const struct trace_options *o, struct buf *out,
                          struct err *err)
{
    struct trace t = {.o = o, .stream = stream, .out = out};
    auto_free char *keep = NULL;
    struct str rest = {NULL, 0};
    enum trace_end end = TRACE_STOPPED;
    running = &t;
    for (int i = 0; i < TRACE_MESSAGES_MAX; i++) {
        trace_begin(&t, rest);
        bool more = run_message(&t, &rest, &end, err) == 1;
        if (more) { /* the rest lies in what ends now */
            char *copy = mem_alloc(rest.n);
            if (rest.n != 0)
                memcpy(copy, rest.p, rest.n);
            free(keep);
            keep = copy;
            rest.p = copy;
        }
        trace_end(&t);
        if (!more)
            return end;
    }
    return TRACE_STOPPED;
}
