/* Sending answers: heads and bytes gathered in one call, files by sendfile (or through TLS), made
 * bytes pulled on a worker. A turn is bounded, so that one fast reader does not hold a loop. */
#include "http/http_int.h"

#include <errno.h>
#include <sys/sendfile.h>
#include <unistd.h>

static bool head_left(const struct request *q) { return q->head_sent < q->head.n; }

/* Head, and the body's bytes when they are in memory. */
static int send_bytes(struct http_conn *c, bool with_body)
{
    struct request *q = c->req;
    for (;;) {
        struct str head = {q->head.p + q->head_sent, q->head.n - q->head_sent}, body = {NULL, 0};
        if (with_body)
            body = (struct str){q->bytes.p + q->sent, (size_t)(q->length - q->sent)};
        if (head.n == 0 && body.n == 0)
            return 1;
        long n = conn_write2(c, head, body);
        if (n < 0)
            return n == -1 ? 0 : -1;
        size_t of_head = (size_t)n < head.n ? (size_t)n : head.n;
        q->head_sent += of_head;
        q->sent += n - (long)of_head;
        c->moved += n;
    }
}

enum { RECORD = SSL3_RT_MAX_PLAIN_LENGTH };

/* A record at a time: SSL_write takes no more at once, and these bytes are still in the processor's cache. */
static int send_file_tls(struct http_conn *c, int64_t turn)
{
    struct request *q = c->req;
    while (q->sent < q->length && turn > 0) {
        int64_t left = q->length - q->sent;
        size_t want = left < RECORD ? (size_t)left : RECORD;
        ssize_t got = pread(q->file, c->loop->scratch, want, q->file_offset + q->sent);
        if (got <= 0)
            return -1; /* the file is shorter than it was: cut */
        long n = conn_write(c, c->loop->scratch, (size_t)got);
        if (n < 0)
            return n == -1 ? 0 : -1;
        q->sent += n;
        c->moved += n;
        turn -= n;
    }
    return q->sent == q->length ? 1 : 2;
}

static int send_file(struct http_conn *c)
{
    struct request *q = c->req;
    int64_t turn = SEND_TURN;
    if (c->ssl != NULL)
        return send_file_tls(c, turn);
    while (q->sent < q->length && turn > 0) {
        off_t at = q->file_offset + q->sent;
        int64_t left = q->length - q->sent;
        ssize_t n = sendfile(c->fd, q->file, &at, (size_t)(left < turn ? left : turn));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno == EAGAIN ? 0 : -1;
        if (n == 0)
            return -1;
        q->sent += n;
        c->moved += n;
        turn -= n;
        metric_add(METRIC_HTTP_BYTES_OUT, (uint64_t)n);
    }
    return q->sent == q->length ? 1 : 2;
}

int send_some(struct http_conn *c)
{
    struct request *q = c->req;
    bool in_memory = q->out == OUT_BYTES || q->out == OUT_SHARED;
    if (head_left(q) || in_memory) {
        int rc = send_bytes(c, in_memory);
        if (rc <= 0 || in_memory)
            return rc;
    }
    if (q->length == q->sent)
        return 1;
    if (q->out == OUT_FILE)
        return send_file(c);
    return 1;
}

/* Worker: pulls and writes until done (1), the socket is full (0) or something broke (-1). */
int pull_run(struct http_conn *c)
{
    struct request *q = c->req;
    char *p = work_buffer();
    struct err err = {0};
    int rc = send_bytes(c, false);
    if (rc <= 0)
        return rc;
    while (q->sent < q->length) {
        int64_t left = q->length - q->sent;
        size_t got = 0, done = 0, cap = left < SEND_CHUNK ? (size_t)left : SEND_CHUNK;
        if (q->pull(q->pull_arg, q->sent, p, cap, &got, &err) < 0 || got == 0) {
            log_line(LOG_ERROR, "answer cut", F_CSTR("id", q->pub.id), F_CSTR("error", err.text));
            return -1;
        }
        while (done < got) {
            long n = conn_write(c, p + done, got - done);
            if (n < 0) {
                q->sent += (int64_t)done;
                return n == -1 ? 0 : -1;
            }
            done += (size_t)n;
            c->moved += n;
        }
        q->sent += (int64_t)done;
    }
    return 1;
}
