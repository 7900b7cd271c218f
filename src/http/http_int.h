/* Private contract of the HTTP server: connections, loops, workers, requests in the making.
 *
 * Ownership: a connection is touched by its loop's thread only, unless conn->state is CONN_WORK: then
 * by the worker that took it from the queue. The hand-overs are work_push (loop to worker) and
 * loop_post (worker to loop), both with a lock, so everything written before is seen after. */
#ifndef HTTP_HTTP_INT_H
#define HTTP_HTTP_INT_H
/* llhttp numbers the methods under the names that http.h uses for a set: keep the two apart. */
#define HTTP_DELETE LLHTTP_DELETE
#define HTTP_GET LLHTTP_GET
#define HTTP_HEAD LLHTTP_HEAD
#define HTTP_POST LLHTTP_POST
#define HTTP_PUT LLHTTP_PUT
#define HTTP_PATCH LLHTTP_PATCH
#include <llhttp.h>
#undef HTTP_DELETE
#undef HTTP_GET
#undef HTTP_HEAD
#undef HTTP_POST
#undef HTTP_PUT
#undef HTTP_PATCH

#include "base/clock.h"
#include "base/config.h"
#include "base/log.h"
#include "base/metric.h"
#include "base/network.h"
#include "http/http.h"

#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>

enum { READ_CHUNK = 256 << 10, SEND_CHUNK = 64 << 10, SEND_TURN = 1 << 20, HEAD_FIRST = 4096,
       DRAIN_MAX = 64 << 10, INLINE_TURN = 64,
       SPARE_REQUESTS = 64 };

#define HTTP_METHODS "GET, HEAD, POST, PUT, PATCH, DELETE"

enum conn_state {
    CONN_HANDSHAKE, /* TLS not ready */
    CONN_IDLE,      /* between requests, nothing read */
    CONN_HEAD,      /* part of a head is here */
    CONN_WORK,      /* a worker owns it */
    CONN_BODY,      /* parked: waits for body bytes, then back to a worker */
    CONN_SEND,      /* loop sends the answer */
    CONN_PULL,      /* parked: waits for room, then back to a worker that pulls */
    CONN_DRAIN,     /* answered early: small rest of a body is read away, connection kept */
    CONN_LINGER     /* answered early and shut: read away until the peer closes */
};

struct http_loop;
struct request;

struct http_conn {
    struct http_conn *prev, *next;     /* loop's list */
    struct http_conn *queue_next;      /* inbox or worker queue */
    struct http_conn *ready_next;      /* its own: who waits for a turn may meanwhile go to a worker */
    struct http_loop *loop;
    struct request *req;               /* NULL while idle */
    SSL *ssl;
    int fd;
    uint8_t state;                     /* enum conn_state; written by the loop's thread only */
    uint8_t next_state;                /* what a worker (or the acceptor) wants it to be */
    bool edge_in, edge_out, hup;       /* loop's thread only: edges seen since the last hand-over */
    bool registered, queued, dead, limited, proxied;
    uint8_t addr[16];                  /* IPv4 as ::ffff:a.b.c.d */
    char peer[46];                     /* address as text */
    int64_t deadline;                  /* monotonic us; 0 none */
    int64_t since, moved;              /* start of the body or answer, bytes moved since */
};

enum out_kind { OUT_NONE, OUT_BYTES, OUT_SHARED, OUT_FILE, OUT_PULL };
enum request_phase { PHASE_GATE, PHASE_BEGIN, PHASE_BODY, PHASE_RUN, PHASE_PULL };

struct on_loop {
    struct on_loop *next;
    void (*fn)(void *arg);
    void *arg;
};

struct request {
    struct http_req pub;               /* first: cast from http_req */
    struct request *free_next;
    llhttp_t parser;
    /* input: head, then whatever came behind it */
    char *buf;
    size_t size, n, at;                /* allocated, filled, consumed */
    size_t head_n;                     /* length of the head; 0 until complete */
    bool complete, called, gate_slow, expect, expect_sent, keep, trailer_name;
    struct err error;                  /* of a sink */
    struct buf rest;                   /* read behind the body: the next request */
    struct buf body;                   /* HTTP_BUFFER */
    int64_t buffered;                  /* of it counted by the server */
    enum request_phase phase;
    int64_t started, overhead;
    /* answer */
    bool answered, cut;
    enum out_kind out;
    struct buf lines;                  /* header lines added by the handler */
    struct str shared_head, bytes;
    struct buf owned;                  /* memory of http_send_buf */
    struct shared *owner;
    int file;
    int64_t file_offset, length, sent; /* of the body */
    http_pull pull;
    void *pull_arg;
    struct buf head;                   /* complete head as sent */
    size_t head_sent;
    struct on_loop *later;
};

struct http_loop {
    struct http_server *server;
    int index, epoll, wake;
    pthread_t thread;
    struct http_conn *conns;           /* all of this loop */
    pthread_mutex_t lock;              /* inbox */
    struct http_conn *inbox, **inbox_end;
    struct request *inner;             /* of http_inner, answered: to be let go here */
    struct request *free;              /* a few spare requests */
    unsigned n_free;
    struct http_conn *ready, **ready_end; /* had their turn, have more to do */
    char *scratch;                     /* SEND_CHUNK bytes for TLS file sends */
    int64_t now, swept;                /* monotonic us */
    uint64_t next_id;
};

struct work {
    struct work *next;
    void (*fn)(void *arg);
    void *arg;
};

struct route_node;

struct http_server {
    const struct config *config;       /* of the start; reloads copy numbers into num */
    _Atomic int64_t num[CONFIG_COUNT];
    const struct http_route **rows;
    size_t n_rows;
    struct route_node *tree;           /* made by route_build */
    struct http_gate_hooks gate;
    char *url;
    struct http_loop *loops;
    int n_loops, n_workers;
    int listeners[16];
    int n_listeners;
    int spare_fd;                      /* given up to accept and close when descriptors run out */
    int64_t accept_pause;              /* monotonic us until which accepting rests */
    unsigned next_loop;
    pthread_mutex_t work_lock;
    pthread_cond_t work_cond;
    struct http_conn *work, **work_end;
    struct work *jobs, **jobs_end;
    /* under work_lock */
    bool job_turn;
    int busy, max_busy;                /* workers at work that do not stand aside */
    pthread_t *workers;
    _Atomic bool stopping, draining;
    _Atomic int64_t n_conns;
    _Atomic int64_t buffered;          /* bytes of HTTP_BUFFER bodies in memory */
    _Atomic int64_t max_conns;
    pthread_mutex_t tls_lock;
    SSL_CTX *tls;                      /* under tls_lock */
    _Atomic(const char *) read_only;
    _Atomic(struct networks *) proxies;
    struct limit_table *limits;
    _Atomic bool told_unknown;         /* a proxy that names no client was logged */
};
#define server_num(s, KEY) atomic_load_explicit(&(s)->num[CONFIG_##KEY], memory_order_relaxed)
static inline struct request *request_of(const struct http_req *r)
{
    return (struct request *)(uintptr_t)r;
}

/* --- loop.c */
int loop_init(struct http_loop *l, struct http_server *s, int index, struct err *err);
void loop_release(struct http_loop *l);
void *loop_main(void *arg);
void loop_post(struct http_conn *c);          /* any thread: give the connection back to its loop */
void loop_ready(struct http_conn *c);         /* loop thread: more to do after the others had a turn */
void loop_wake(struct http_loop *l);
void loop_give(struct http_loop *l, struct request *q); /* any thread: ends a request that has no connection */
/* --- accept.c */
void accept_all(struct http_loop *l, int listener);
void accept_resume(struct http_loop *l);
/* --- conn.c: bytes in and out. Results: >0 bytes, 0 end of stream, -1 would block, -2 broken */
long conn_read(struct http_conn *c, void *p, size_t n);
long conn_write(struct http_conn *c, const void *p, size_t n);
long conn_write2(struct http_conn *c, struct str a, struct str b); /* gathers on plain sockets */
int conn_handshake(struct http_conn *c);      /* 0 done, -1 would block, -2 broken */
void conn_close(struct http_conn *c);         /* loop thread; frees it and its request */
struct http_conn *conn_new(struct http_loop *l, int fd);
void conn_event(struct http_conn *c);         /* loop thread: something may have become possible */
void conn_posted(struct http_conn *c);        /* loop thread: it came back from a worker */
void conn_sweep(struct http_conn *c, int64_t now); /* timeouts; may close */
/* --- head.c */
/* Looks at the bytes so far: 1 head complete (pub filled), 0 more needed, negative error code. */
int head_parse(struct request *q, size_t max, struct err *err);
/* Feeds body bytes; returns 0 or a negative code (framing fault, or what the sink returned). */
int body_feed(struct request *q, const char *p, size_t n, size_t *ret_used, struct err *err);
void head_reset(struct request *q);
int body_reserve(struct request *q, int64_t total, struct err *err); /* room for an HTTP_BUFFER body; ERR_UNAVAILABLE */
void body_release(struct request *q);         /* the body and its room */
/* --- route.c */
/* Row for method and path with parts filled; NULL: *ret_allow the methods of that path, 0 none. */
const struct http_route *route_find(const struct http_server *s, struct http_req *r, unsigned *ret_allow, struct err *err);
/* The tree of all rows. ERR_INTERNAL for a row without right or handler, and for two that are ambiguous. */
int route_build(struct http_server *s, struct err *err);
void route_free(struct route_node *n);
/* --- request.c */
struct request *request_new(void);
struct request *request_take(struct http_loop *l);
void request_free(struct request *q);         /* after its closures and the gate's release */
int request_admit(struct request *q, struct err *err); /* the row; and what refuses before the gate */
int request_begin(struct request *q, struct err *err); /* what comes before the body */
void request_account(struct request *q);      /* metrics and access log of an answer that is through */
void request_later(struct request *q);        /* runs the closures of http_on_loop */
void request_give(struct http_loop *l, struct request *q);
void request_start(struct http_conn *c);      /* loop thread: head complete */
void request_work(struct http_conn *c);       /* worker thread: run until answered or parked */
void request_fail(struct request *q, const struct err *err); /* answers with an error, unless answered */
void request_send(struct http_conn *c);       /* loop thread: answered; closures, head, first bytes */
void request_sent(struct http_conn *c);       /* loop thread: all of it is out; next request, drain or close */
/* --- reply.c */
void reply_head(struct request *q);           /* builds q->head from the answer */
/* --- send.c: loop thread (pull_run: worker). 1 all sent, 0 would block, -1 broken, 2 turn used up */
int send_some(struct http_conn *c);
int pull_run(struct http_conn *c);
/* --- tls.c */
int tls_load(struct http_server *s, const struct config *c, struct err *err); /* leaves the old one on error */
/* --- limit.c */
struct limit_table *limit_new(void);
void limit_free(struct limit_table *t);
bool limit_connection(struct http_server *s, struct http_conn *c, const uint8_t addr[16]); /* false: refuse */
void limit_disconnect(struct http_server *s, struct http_conn *c);
bool limit_request(struct http_server *s, const struct http_conn *c, int64_t now);
struct str without_port(struct str authority); /* host of host:port; as it is when there is no port */
void client_address(struct http_server *s, struct request *q);       /* fills pub.client and pub.tls */
/* --- work.c */
int work_start(struct http_server *s, struct err *err);
void work_stop(struct http_server *s);
void work_push(struct http_conn *c);
char *work_buffer(void);                      /* READ_CHUNK bytes of this worker */
#endif
