/* Request heads and body framing on llhttp, with the refusals that llhttp lacks.
 *
 * llhttp judges grammar and framing; the slices of request line and headers are cut from the
 * contiguous head here, line by line, and that pass refuses what llhttp lets through: bare LF,
 * obs-fold, white space before the colon, empty field names, HTTP/0.9, doubled spaces in the request line.
 * RFC 9112 sections 2.2, 3, 5, 6. */
#include "http/http_int.h"

enum { OVERHEAD_FREE = 1 << 20 };

static int on_headers_complete(llhttp_t *p)
{
    (void)p;
    return HPE_PAUSED;
}

/* Whole bodies share one budget, so that many large ones at once cannot take all memory (T27). */
int body_reserve(struct request *q, int64_t total, struct err *err)
{
    struct http_server *s = q->pub.server;
    int64_t max = server_num(s, MAX_BUFFERED), more = total - q->buffered;
    if (q->pub.route->cap_key < 0) /* a form that anybody may send leaves room for what users push */
        max /= 4;
    if (more <= 0)
        return 0;
    if (atomic_fetch_add(&s->buffered, more) + more > max) {
        atomic_fetch_sub(&s->buffered, more);
        return err_set(err, ERR_UNAVAILABLE, "too many large bodies at once (max_buffered); try again in a few seconds");
    }
    q->buffered = total;
    return 0;
}

void body_release(struct request *q)
{
    buf_release(&q->body);
    if (q->buffered != 0)
        atomic_fetch_sub(&q->pub.server->buffered, q->buffered);
    q->buffered = 0;
}

static int buffer(struct request *q, const char *at, size_t n)
{
    int rc = body_reserve(q, q->pub.body_received, &q->error);
    if (rc < 0)
        return rc;
    buf_add(&q->body, at, n);
    return q->body.overflow ? err_set(&q->error, q->pub.route->too_large, "the body is larger than %zu bytes", q->body.cap) : 0;
}

static int on_body(llhttp_t *p, const char *at, size_t n)
{
    struct request *q = p->data;
    struct http_req *r = &q->pub;
    r->body_received += (int64_t)n;
    q->overhead -= (int64_t)n;
    const struct http_route *row = r->route;
    if (row == NULL || row->body == HTTP_NONE || q->answered)
        return 0; /* drained */
    if (row->body == HTTP_BUFFER)
        return buffer(q, at, n) < 0 ? -1 : 0;
    return row->sink(r, (struct str){at, n}, &q->error) < 0 ? -1 : 0;
}

static int on_message_complete(llhttp_t *p)
{
    struct request *q = p->data;
    q->complete = true;
    return HPE_PAUSED;
}

static const llhttp_settings_t settings = {
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
};

/* Trailers are dropped, but what is no header line is no trailer either: llhttp takes an empty name. */
static int on_trailer_name(llhttp_t *p, const char *at, size_t n)
{
    (void)at;
    ((struct request *)p->data)->trailer_name |= n != 0;
    return 0;
}

static int on_trailer_name_end(llhttp_t *p)
{
    struct request *q = p->data;
    if (!q->trailer_name)
        return err_set(&q->error, ERR_INVALID, "malformed request: a trailer line is Name: value");
    q->trailer_name = false;
    return 0;
}

static const llhttp_settings_t body_settings = {
    .on_headers_complete = on_headers_complete,
    .on_body = on_body,
    .on_message_complete = on_message_complete,
    .on_header_field = on_trailer_name,
    .on_header_field_complete = on_trailer_name_end,
};

void head_reset(struct request *q)
{
    q->trailer_name = false;
    llhttp_init(&q->parser, HTTP_REQUEST, &settings);
    q->parser.data = q;
}

static bool alnum_or(unsigned char c, const char *others)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
           (c != 0 && strchr(others, c) != NULL);
}

static bool token_char(unsigned char c) { return alnum_or(c, "!#$%&'*+-.^_`|~"); }

static int bad(struct err *err, const char *why)
{
    return err_set(err, ERR_INVALID, "malformed request: %s", why);
}

/* "METHOD SP target SP HTTP/1.x" */
static int request_line(struct request *q, struct str line, struct err *err)
{
    struct str rest = line, method, target;
    if (!str_split(&rest, ' ', &method) || !str_split(&rest, ' ', &target) || rest.p == NULL)
        return bad(err, "the request line is METHOD SP target SP HTTP/1.1");
    if (!str_is(rest, "HTTP/1.1") && !str_is(rest, "HTTP/1.0"))
        return bad(err, "the version is HTTP/1.1 or HTTP/1.0");
    for (size_t i = 0; i < target.n; i++)
        if ((unsigned char)target.p[i] <= 0x20 || (unsigned char)target.p[i] >= 0x7f)
            return bad(err, "bytes in the target that must be percent-encoded");
    if (str_starts(target, STR_LIT("http://")) || str_starts(target, STR_LIT("https://"))) {
        const char *after = (const char *)memchr(target.p, ':', target.n) + 3;
        size_t left = target.n - (size_t)(after - target.p);
        const char *slash = memchr(after, '/', left);
        target = slash ? (struct str){slash, target.n - (size_t)(slash - target.p)} : STR_LIT("/");
    }
    if (target.n == 0 || target.p[0] != '/' || memchr(target.p, '#', target.n) != NULL)
        return bad(err, "the target is an absolute path");
    q->pub.query = target;
    str_split(&q->pub.query, '?', &q->pub.path);
    return 0;
}

static int header_line(struct request *q, struct str line, struct err *err)
{
    struct str value = line, name;
    if (line.p[0] == ' ' || line.p[0] == '\t')
        return bad(err, "folded header line");
    if (memchr(line.p, ':', line.n) == NULL || !str_split(&value, ':', &name) || name.n == 0)
        return bad(err, "a header line is Name: value");
    for (size_t i = 0; i < name.n; i++)
        if (!token_char((unsigned char)name.p[i]))
            return bad(err, "character in a header name that is not allowed");
    value = str_trim(value);
    for (size_t i = 0; i < value.n; i++) {
        unsigned char c = (unsigned char)value.p[i];
        if ((c < 0x20 && c != '\t') || c == 0x7f)
            return bad(err, "control character in a header value");
    }
    if (q->pub.n_headers == HTTP_HEADERS_MAX)
        return err_set(err, ERR_HEADERS_TOO_LARGE, "more than %d header lines", HTTP_HEADERS_MAX);
    q->pub.headers[q->pub.n_headers++] = (struct http_header){name, value};
    return 0;
}

static int cut_lines(struct request *q, struct err *err)
{
    struct str rest = {q->buf, q->head_n};
    for (bool first = true; rest.n != 0; first = false) {
        const char *lf = memchr(rest.p, '\n', rest.n);
        size_t n = lf ? (size_t)(lf - rest.p) : 0;
        if (lf == NULL || n == 0 || lf[-1] != '\r')
            return bad(err, "lines end with CR LF");
        struct str line = {rest.p, n - 1};
        rest = (struct str){lf + 1, rest.n - n - 1};
        if (memchr(line.p, '\r', line.n) != NULL || memchr(line.p, '\0', line.n) != NULL)
            return bad(err, "CR or NUL inside a line");
        if (line.n == 0)
            return rest.n == 0 && !first ? 0 : bad(err, "empty line");
        int rc = first ? request_line(q, line, err) : header_line(q, line, err);
        if (rc < 0)
            return rc;
    }
    return bad(err, "the head has no end");
}

/* RFC 3986: host [":" port]. A value that is none must be refused (RFC 9112 section 3.2). */
static bool host_valid(struct str v)
{
    for (size_t i = 0; i < v.n; i++)
        if (!alnum_or((unsigned char)v.p[i], "-._~%!$&'()*+,;=:[]"))
            return false;
    return true;
}

static int framing(struct request *q, struct err *err)
{
    struct http_req *r = &q->pub;
    struct str v = {NULL, 0};
    unsigned lengths = http_header_count(r, "Content-Length");
    unsigned codings = http_header_count(r, "Transfer-Encoding");
    bool v11 = q->parser.http_minor == 1;
    unsigned hosts = http_header_count(r, "Host");
    if (hosts > 1 || (v11 && hosts == 0))
        return bad(err, "exactly one Host header is needed");
    if (http_header(r, "Host", &v) && !host_valid(v))
        return bad(err, "Host is a name or address and a port");
    if (lengths > 1 || codings > 1 || (lengths && codings))
        return bad(err, "one Content-Length or one Transfer-Encoding, not both");
    r->content_length = -1;
    if (codings != 0) {
        http_header(r, "Transfer-Encoding", &v);
        if (!v11)
            return bad(err, "Transfer-Encoding in HTTP/1.0");
        if (!str_ieq(v, STR_LIT("chunked")))
            return err_set(err, ERR_NOT_IMPLEMENTED, "the only transfer coding is chunked");
    } else if (lengths != 0) {
        uint64_t n;
        http_header(r, "Content-Length", &v);
        if (!str_u64(v, &n) || n > INT64_MAX)
            return bad(err, "Content-Length is a decimal number");
        r->content_length = (int64_t)n;
    }
    q->complete = codings == 0 && r->content_length <= 0;
    if (http_header(r, "Expect", &v)) {
        if (!str_ieq(v, STR_LIT("100-continue")))
            return err_set(err, ERR_EXPECT, "the only expectation is 100-continue");
        q->expect = v11 && !q->complete;
    }
    return 0;
}

static enum http_method method_named(struct str line)
{
    static const struct {
        const char *name;
        enum http_method method;
    } known[] = {{"GET ", HTTP_GET}, {"HEAD ", HTTP_HEAD}, {"POST ", HTTP_POST},
                 {"PUT ", HTTP_PUT}, {"PATCH ", HTTP_PATCH}, {"DELETE ", HTTP_DELETE}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (str_starts(line, str_of(known[i].name)))
            return known[i].method;
    return (enum http_method)0;
}

int head_parse(struct request *q, size_t max, struct err *err)
{
    /* The request line may not hold the head up: a line longer than the cap is a URI too long. */
    size_t feed = q->n - q->at;
    llhttp_errno_t e = llhttp_execute(&q->parser, q->buf + q->at, feed);
    if (e == HPE_OK) {
        q->at = q->n;
        if (q->n < max)
            return 0;
        if (memchr(q->buf, '\n', q->n) == NULL)
            return err_set(err, ERR_URI_TOO_LONG, "the request line is longer than %zu bytes", max);
        return err_set(err, ERR_HEADERS_TOO_LARGE, "the request head is larger than %zu bytes", max);
    }
    bool ended = e == HPE_PAUSED || e == HPE_PAUSED_UPGRADE;
    if (!ended)
        return bad(err, llhttp_get_error_reason(&q->parser));
    q->head_n = (size_t)(llhttp_get_error_pos(&q->parser) - q->buf);
    q->at = q->head_n;
    if (q->head_n > max)
        return err_set(err, ERR_HEADERS_TOO_LARGE, "the request head is larger than %zu bytes", max);
    q->pub.method = method_named((struct str){q->buf, q->head_n});
    int rc = cut_lines(q, err);
    if (rc == 0)
        rc = framing(q, err);
    if (rc < 0)
        return rc;
    if (e == HPE_PAUSED_UPGRADE)
        return err_set(err, ERR_NOT_IMPLEMENTED, "CONNECT and Upgrade are not offered");
    q->keep = llhttp_should_keep_alive(&q->parser) != 0;
    llhttp_resume(&q->parser);
    q->parser.settings = (void *)(uintptr_t)&body_settings;
    return 1;
}

int body_feed(struct request *q, const char *p, size_t n, size_t *ret_used, struct err *err)
{
    q->overhead += (int64_t)n;
    llhttp_errno_t e = llhttp_execute(&q->parser, p, n);
    if (e == HPE_OK) {
        *ret_used = n;
        if (q->overhead > OVERHEAD_FREE + 8 * q->pub.body_received)
            return bad(err, "too much chunk framing for so little body");
        return 0;
    }
    if (e == HPE_PAUSED && q->complete) {
        *ret_used = (size_t)(llhttp_get_error_pos(&q->parser) - p);
        return 0;
    }
    if (q->error.code != 0) {
        *err = q->error;
        return q->error.code;
    }
    return bad(err, llhttp_get_error_reason(&q->parser));
}
