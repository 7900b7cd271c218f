/* What handlers call: reading a request's parts, making its answer. */
#include "http/http_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

bool http_header(const struct http_req *r, const char *name, struct str *ret)
{
    struct str want = str_of(name);
    for (unsigned i = 0; i < r->n_headers; i++)
        if (str_ieq(r->headers[i].name, want)) {
            *ret = r->headers[i].value;
            return true;
        }
    return false;
}

unsigned http_header_count(const struct http_req *r, const char *name)
{
    unsigned n = 0;
    struct str want = str_of(name);
    for (unsigned i = 0; i < r->n_headers; i++)
        n += str_ieq(r->headers[i].name, want);
    return n;
}

void *http_ctx(const struct http_req *r) { return r->server->gate.ctx; }
int http_loops(const struct http_server *s) { return s->n_loops; }
const char *http_url(const struct http_server *s) { return s->url; }

void http_status(struct http_req *r, unsigned status) { r->status = status; }

void http_add(struct http_req *r, const char *name, struct str value)
{
    struct buf *b = &request_of(r)->lines;
    for (size_t i = 0; i < value.n; i++)
        if ((unsigned char)value.p[i] < 0x20 || value.p[i] == 0x7f)
            return; /* a header may not be split (T31) */
    buf_cstr(b, name);
    buf_add(b, ": ", 2);
    buf_str(b, value);
    buf_add(b, "\r\n", 2);
}

void http_addf(struct http_req *r, const char *name, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0 || (size_t)n >= sizeof text);
    http_add(r, name, (struct str){text, (size_t)n});
}

/* Marks the answer as made; a second one is our fault. */
static struct request *answer(struct http_req *r, enum out_kind kind, int64_t length)
{
    struct request *q = request_of(r);
    BUG_ON(q->answered);
    if (r->status == 0)
        r->status = 200;
    q->answered = true;
    q->out = kind;
    q->length = length;
    q->sent = 0;
    return q;
}

void http_send(struct http_req *r, struct str body)
{
    answer(r, body.n ? OUT_BYTES : OUT_NONE, (int64_t)body.n)->bytes = body;
}

void http_send_buf(struct http_req *r, struct buf *body)
{
    BUG_ON(body->overflow);
    struct request *q = answer(r, body->n ? OUT_BYTES : OUT_NONE, (int64_t)body->n);
    q->owned = *body;
    q->bytes = buf_view(&q->owned);
    buf_init(body, body->cap);
}

void http_send_shared(struct http_req *r, struct str head, struct str body, struct shared *owner)
{
    struct request *q = answer(r, OUT_SHARED, (int64_t)body.n);
    q->shared_head = head;
    q->bytes = body;
    q->owner = shared_ref(owner);
}

void http_send_file(struct http_req *r, int fd, int64_t offset, int64_t length)
{
    struct request *q = answer(r, OUT_FILE, length);
    q->file = fd;
    q->file_offset = offset;
}

void http_send_shared_file(struct http_req *r, int fd, int64_t offset, int64_t length, struct shared *owner)
{
    http_send_file(r, fd, offset, length);
    request_of(r)->owner = shared_ref(owner);
}

void http_send_pull(struct http_req *r, int64_t length, http_pull pull, void *arg)
{
    struct request *q = answer(r, OUT_PULL, length);
    q->pull = pull;
    q->pull_arg = arg;
}

void http_on_loop(struct http_req *r, void (*fn)(void *arg), void *arg)
{
    struct request *q = request_of(r);
    struct on_loop *o = arena_alloc(&r->arena, sizeof *o), **at = &q->later;
    *o = (struct on_loop){NULL, fn, arg};
    while (*at != NULL)
        at = &(*at)->next;
    *at = o;
}

/* Made once a second and thread. */
static const char *date_now(void)
{
    static __thread int64_t second;
    static __thread char text[30];
    int64_t now = clock_now();
    if (now / 1000000 != second) {
        second = now / 1000000;
        clock_http(text, now);
    }
    return text;
}

void reply_head(struct request *q)
{
    struct http_req *r = &q->pub;
    struct buf *b = &q->head;
    buf_reset(b);
    buf_cstr(b, "HTTP/1.1 ");
    buf_u64(b, r->status);
    buf_char(b, ' ');
    buf_cstr(b, http_reason(r->status));
    buf_cstr(b, "\r\nDate: ");
    buf_add(b, date_now(), 29);
    buf_cstr(b, "\r\nX-Request-Id: ");
    buf_add(b, r->id, 16);
    buf_cstr(b, "\r\nDocker-Distribution-Api-Version: registry/2.0\r\n"
                "X-Content-Type-Options: nosniff\r\n");
    if (q->out == OUT_SHARED)
        buf_str(b, q->shared_head);
    buf_str(b, buf_view(&q->lines));
    if (r->status != 204 && r->status != 304) {
        buf_cstr(b, "Content-Length: ");
        buf_i64(b, q->length);
        buf_cstr(b, "\r\n");
    }
    buf_cstr(b, q->keep ? "\r\n" : "Connection: close\r\n\r\n");
    q->head_sent = 0;
    if (r->method == HTTP_HEAD || r->status == 204 || r->status == 304)
        q->length = 0;
}
