/* A request without a socket (http_inner): the same row, gate and handlers on the caller's thread; the
 * answer is collected. What fills a loop's caches, and the gate's release, run on a loop when there is one. */
#include "http/http_int.h"

#include <errno.h>
#include <unistd.h>

static void name_request(struct http_req *r)
{
    static _Atomic uint64_t count;
    static const char digits[] = "0123456789abcdef";
    uint64_t id = (uint64_t)clock_now() * 0x9e3779b97f4a7c15u + atomic_fetch_add(&count, 1);
    for (int i = 0; i < 16; i++, id <<= 4)
        r->id[i] = digits[id >> 60];
}

static struct str copy(struct http_req *r, struct str s)
{
    return (struct str){str_dup(&r->arena, s), s.n};
}

static int fill(struct request *q, struct http_server *s, const struct http_inner *in, struct err *err)
{
    struct http_req *r = &q->pub;
    if (in->n_headers > HTTP_HEADERS_MAX || in->target.n == 0 || in->target.p[0] != '/')
        return err_set(err, ERR_INVALID, "the target is an absolute path");
    r->server = s;
    r->method = in->method;
    r->query = copy(r, in->target); /* a loop lets go of the request, later than the caller */
    str_split(&r->query, '?', &r->path);
    for (size_t i = 0; i < in->n_headers; i++)
        r->headers[r->n_headers++] = (struct http_header){copy(r, in->headers[i].name), copy(r, in->headers[i].value)};
    r->content_length = (int64_t)in->body.n;
    r->client = in->client.n > 0 ? copy(r, in->client) : STR_LIT("local");
    r->tls = true;
    q->complete = true;
    q->started = clock_mono();
    name_request(r);
    return 0;
}

static int run(struct request *q, const struct http_inner *in, struct err *err)
{
    struct http_req *r = &q->pub;
    int rc = request_admit(q, err);
    if (rc == 0)
        rc = r->server->gate.local(r, in->who, err);
    if (rc < 0 || q->answered)
        return rc;
    const struct http_route *row = r->route;
    rc = request_begin(q, err);
    if (rc < 0 || q->answered)
        return rc;
    r->body_received = (int64_t)in->body.n;
    if (row->body == HTTP_BUFFER) {
        buf_str(&q->body, in->body);
        r->body = buf_view(&q->body);
    }
    if (row->body == HTTP_STREAM && in->body.n > 0)
        rc = row->sink(r, in->body, err);
    if (rc < 0)
        return rc;
    q->called = true;
    return row->run(r, err);
}

/* The next bytes of the body, in p; never 0. */
static int next_bytes(struct request *q, int64_t at, char *p, size_t cap, size_t *ret_n, struct err *err)
{
    if (q->out == OUT_PULL)
        return q->pull(q->pull_arg, at, p, cap, ret_n, err);
    ssize_t n = pread(q->file, p, cap, q->file_offset + at);
    if (n <= 0)
        return n == 0 ? err_set(err, ERR_CORRUPT, "the file is shorter than it was") : err_sys(err, ERR_IO, "cannot read");
    *ret_n = (size_t)n;
    return 0;
}

static int give(struct http_inner *in, struct str piece, struct err *err)
{
    if (in->sink != NULL && in->status >= 200 && in->status < 300)
        return in->sink(in->arg, piece, err);
    buf_str(&in->answer, piece);
    return in->answer.overflow ? err_set(err, ERR_TOO_LARGE, "the answer is larger than %zu bytes", in->answer.cap) : 0;
}

static int collect(struct request *q, struct http_inner *in, struct err *err)
{
    int rc = 0;
    char p[8192];
    in->status = q->pub.status;
    buf_str(&in->lines, q->shared_head);
    buf_str(&in->lines, buf_view(&q->lines));
    bool empty = q->pub.method == HTTP_HEAD || in->status == 204 || in->status == 304;
    if (empty)
        q->length = 0;
    else if (q->out == OUT_BYTES || q->out == OUT_SHARED)
        rc = give(in, q->bytes, err);
    int64_t sent = (int64_t)q->bytes.n;
    while (rc == 0 && (q->out == OUT_FILE || q->out == OUT_PULL) && q->sent < q->length) {
        int64_t left = q->length - q->sent;
        size_t n = 0;
        rc = next_bytes(q, q->sent, p, left < (int64_t)sizeof p ? (size_t)left : sizeof p, &n, err);
        if (rc < 0 || n == 0)
            return rc < 0 ? rc : err_set(err, ERR_INTERNAL, "the answer was cut");
        rc = give(in, (struct str){p, n}, err);
        q->sent += (int64_t)n;
        sent = q->sent;
    }
    q->sent = empty ? 0 : sent;
    return rc;
}

int http_inner(struct http_server *s, struct http_inner *in, struct err *err)
{
    struct err why = {0};
    BUG_ON(s->gate.local == NULL);
    if (s->tree == NULL && route_build(s, err) < 0)
        return err->code;
    struct request *q = request_new();
    int rc = fill(q, s, in, err);
    if (rc == 0 && run(q, in, &why) < 0)
        request_fail(q, &why);
    BUG_ON(rc == 0 && !q->answered);
    if (rc == 0)
        rc = collect(q, in, err);
    if (rc == 0)
        request_account(q);
    if (s->loops != NULL)
        loop_give(&s->loops[0], q);
    else
        request_free(q);
    return rc;
}
