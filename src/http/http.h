/* The HTTP server: the only code that knows client sockets, llhttp and TLS.
 *
 * Threads: N event loops (epoll) hold idle connections, read heads, run what never blocks and send;
 * a bounded pool of workers runs what may block. A connection belongs to one thread at a time: its
 * loop, or the worker that runs its request. A worker whose client is slow parks the connection back
 * in its loop at EAGAIN, so a slow client holds no thread and no large buffer.
 *
 * Life of a request:
 *   head complete -> route found -> server gate (limits, read-only)          loop thread
 *   -> gate.fast: who is it, may it            GATE_GO | GATE_STOP (answered) | GATE_WORKER
 *   -> route.fast (if any): answer from memory, true when answered           loop thread
 *   otherwise on a worker:
 *   -> gate.slow when fast said WORKER
 *   -> route.begin (STREAM routes): accept or refuse the body before reading it; then 100 Continue
 *   -> body: BUFFER collects it into r->body; STREAM calls route.sink as bytes arrive
 *   -> route.run: makes the answer
 *   -> route.done on every path once begin or run was called: release what the request holds
 * An answer may be made at any moment; when the body has not been read to its end the connection
 * closes after a lingering drain (small rests are drained and the connection is kept).
 * A negative return of begin, sink, run or gate.slow is answered as an error of the route's dialect, by
 * error code and text.
 *
 * Parser: llhttp strict, plus refusals it lacks (house.md 3.1). Every malformed head gets an OCI
 * JSON 400 (414, 431, 408, 501, 505...) and a close. HTTP/1.0 and 1.1 only. */
#ifndef HTTP_HTTP_H
#define HTTP_HTTP_H
#include "base/cache.h"
#include "base/err.h"

enum http_method { HTTP_GET = 1, HTTP_HEAD = 2, HTTP_POST = 4, HTTP_PUT = 8, HTTP_PATCH = 16, HTTP_DELETE = 32 };
enum http_body { HTTP_NONE, HTTP_BUFFER, HTTP_STREAM };
enum http_gate { GATE_GO, GATE_STOP, GATE_WORKER };
/* How errors look. Before a route is known: paths below /api/ speak PROBLEM, all others OCI. */
enum http_dialect {
    HTTP_OCI,     /* {"errors":[{"code","message","detail"}]}; distribution-spec "Error Codes" */
    HTTP_PROBLEM, /* application/problem+json, RFC 9457: type, title, status, detail, code, instance (the
                   * request's id), errors:[{field, message}] */
    HTTP_HUB      /* {"detail","message","errinfo"}; wrong fields: {"fields":{name:[message]},"text"}; 429: {"detail","error"} */
};

struct http_req;
struct http_server;

/* A route row. Pattern segments: literal, {x} one segment (which may hold a%2Fb: the path is split before
 * it is decoded), {name} the one multi-segment part (one or more segments, raw; what stands behind it is
 * matched from the path's end). A literal comes before {x}; {name} comes last, and never takes a segment
 * that belongs to a literal row. A row without a right stops the start (T58), and so do two rows that fit
 * one path with one method when neither is the more precise one. */
struct http_route {
    unsigned methods;          /* HEAD must be named beside GET; its body is dropped by the server */
    const char *pattern;       /* "/v2/{name}/blobs/{digest}" */
    const char *label;         /* for logs: "blob" */
    int right;                 /* enum right (ident/right.h); 0 is refused at start */
    enum http_body body;
    int cap_key;               /* HTTP_BUFFER: config key that holds the cap, or -1: 64 KiB */
    int too_large;             /* error code above the cap (ERR_TOO_LARGE, ERR_MANIFEST_TOO_LARGE) */
    bool secret;               /* the path holds one: logs show the pattern in its place */
    bool writes;               /* refused with 503 when read-only */
    bool either_slash;         /* fits with and without one slash at the end; not with {name} */
    enum http_dialect dialect;
    bool (*fast)(struct http_req *r);
    int (*begin)(struct http_req *r, struct err *err);
    int (*sink)(struct http_req *r, struct str bytes, struct err *err);
    int (*run)(struct http_req *r, struct err *err);
    void (*done)(struct http_req *r);
};

enum { HTTP_PARTS_MAX = 8, HTTP_HEADERS_MAX = 128 };
struct http_header { struct str name, value; };
struct http_fault { struct http_fault *next; const char *field, *message; }; /* arena */

struct http_req {
    /* the request; slices live until the request ends */
    enum http_method method;
    struct str path;                 /* raw path, without query */
    struct str query;                /* raw, without '?' */
    const struct http_route *route;
    struct str parts[HTTP_PARTS_MAX];/* the pattern's {…} parts in order, percent-decoded once */
    struct http_header headers[HTTP_HEADERS_MAX]; /* values trimmed; ASCII control bytes refused */
    unsigned n_headers;
    int64_t content_length;          /* -1: none (chunked or no body) */
    struct str body;                 /* HTTP_BUFFER, whole */
    int64_t body_received;           /* bytes of body delivered so far */
    struct str client;               /* address text, behind listed proxies the forwarded one */
    bool proxied;                    /* the peer is a listed proxy */
    bool client_unknown;             /* ... that did not say for whom: `client` is the proxy */
    bool tls;                        /* the client's side is HTTPS (own TLS or a listed proxy's word) */
    char id[17];                     /* request id, hex; echoed as X-Request-Id */
    struct arena arena;              /* freed with the request */
    /* for the rooms */
    void *who;                       /* principal, set by the gate (ident) */
    void *gate;                      /* what else the gate found; arena */
    void *ctx;                       /* the room's own state of this request; free it in done */
    struct http_server *server;
    struct http_conn *conn;          /* private */
    unsigned status;                 /* of the answer; 0 before */
    struct http_fault *faults;       /* of ERR_FIELDS */
    const char *ticket;              /* of ERR_SECOND_FACTOR_REQUIRED: what goes on to the second step; arena */
    const char *log_user;            /* set by the gate for the access log; arena or static */
    int loop_index;                  /* index of its loop: 0 .. http_loops-1 */
};

/* --- reading the request */
bool http_header(const struct http_req *r, const char *name, struct str *ret); /* first; case-insensitive */
unsigned http_header_count(const struct http_req *r, const char *name);
/* Query parameter, decoded into the arena; *iter starts at 0 and walks repeated ones. 1, 0 none, -1 malformed. */
int http_query(struct http_req *r, const char *name, size_t *iter, struct str *ret);

bool http_is_type(const struct http_req *r, const char *type); /* Content-Type, parameters aside */
/* As http_query, of a form's body (HTTP_BUFFER); -1 also when Content-Type is another one. */
int http_form(struct http_req *r, const char *name, size_t *iter, struct str *ret);
/* A cookie's value, as it came. 1; 0 none; -1 malformed, or named twice: somebody else may have set one. */
int http_cookie(const struct http_req *r, const char *name, struct str *ret);
/* If-Match and If-None-Match against the state that is here, RFC 9110 section 13. etag with its quotes; NULL:
 * there is none. */
enum http_match { HTTP_MATCH_GO, HTTP_MATCH_NOT_MODIFIED, HTTP_MATCH_FAILED };
enum http_match http_match(const struct http_req *r, const char *etag);

/* --- making the answer. Order: http_status, http_add..., then exactly one http_send_*.
 * http_add refuses values with bytes < 0x20 or 0x7f (BUG in debug, dropped otherwise; T31).
 * Server adds: Date, Content-Length, Connection, X-Request-Id, Docker-Distribution-Api-Version,
 * X-Content-Type-Options. HEAD and 204/304 drop the body and keep the headers. */
void http_status(struct http_req *r, unsigned status);
const char *http_reason(unsigned status); /* "Not Found" */
void http_add(struct http_req *r, const char *name, struct str value);
void http_addf(struct http_req *r, const char *name, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void http_send(struct http_req *r, struct str body);  /* body must live until the request ends: arena or static */
void http_send_buf(struct http_req *r, struct buf *body); /* takes the buffer's memory */
/* Headers and body as one prepared piece: `head` holds complete header lines ("A: b\r\n...")
 * without Content-Length; owner is referenced until sent. The fast path's answer. */
void http_send_shared(struct http_req *r, struct str head, struct str body, struct shared *owner);
/* sendfile of [offset, offset+length) of fd; the server closes fd. */
void http_send_file(struct http_req *r, int fd, int64_t offset, int64_t length);
/* As http_send_file, from a descriptor that owner keeps open; owner is referenced until it was sent. */
void http_send_shared_file(struct http_req *r, int fd, int64_t offset, int64_t length, struct shared *owner);
/* `length` bytes made by pull on a worker, random access by offset (it may be asked again for an
 * offset that a slow client had not taken). A negative result cuts the connection. */
typedef int (*http_pull)(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err);
void http_send_pull(struct http_req *r, int64_t length, http_pull pull, void *arg);
/* The error body for code and text in the route's dialect; adds Retry-After for 429/503. */
void http_error(struct http_req *r, const struct err *err);
/* One more wrong field, for an answer of ERR_FIELDS. field: static or arena. */
void http_fault(struct http_req *r, const char *field, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* Runs fn(arg) on this request's loop thread after the answer was made and before the next request of
 * any connection of that loop is looked at: how a worker fills its loop's caches. */
void http_on_loop(struct http_req *r, void (*fn)(void *arg), void *arg);

/* --- the server */
struct http_gate_hooks {
    enum http_gate (*fast)(struct http_req *r);
    int (*slow)(struct http_req *r, struct err *err); /* 0 go on; may also answer itself (status != 0) */
    /* In the place of fast and slow for http_inner: sets the principal that `who` stands for and decides. */
    int (*local)(struct http_req *r, void *who, struct err *err);
    void (*release)(struct http_req *r); /* at the end of each request that came to the gate; loop thread */
    void *ctx;
};
struct http_options {
    const struct config *config;
    const struct http_route *routes;  /* several tables may be added before http_start */
    size_t n_routes;
    struct http_gate_hooks gate;
};
int http_new(struct http_server **ret, const struct http_options *o, struct err *err);
void http_routes_add(struct http_server *s, const struct http_route *rows, size_t n);
/* A request without a socket: row, gate.local, begin, sink, run as for one from outside (route.fast is not
 * asked), on the calling thread; done, gate.release and what http_on_loop was given run on a loop when the
 * server runs, else here before it returns. 0 also when the answer is an error; negative when there is none:
 * a target that is none, a row that is wrong, an answer above the cap. The caller inits and releases lines and
 * answer. Not while http_free runs. */
struct http_inner {
    enum http_method method;
    struct str target;                 /* path and query */
    const struct http_header *headers;
    size_t n_headers;
    struct str body;
    void *who;                         /* for gate.local */
    /* Takes the body of a 2xx in pieces, in the place of `answer`: for what may be long. NULL: none */
    int (*sink)(void *arg, struct str piece, struct err *err);
    void *arg;
    struct str client;                 /* for whom it is asked, an address; empty: "local" */
    unsigned status;                   /* the answer: */
    struct buf lines;                  /* header lines that the handlers added, "A: b\r\n" */
    struct buf answer;                 /* body */
};
int http_inner(struct http_server *s, struct http_inner *in, struct err *err);
int http_listen(struct http_server *s, struct err *err); /* binds all of config listen, loads TLS */
int http_start(struct http_server *s, struct err *err);
void http_reload(struct http_server *s, const struct config *c); /* limits, certificates; running requests keep the old */
void http_drain(struct http_server *s); /* stop accepting, finish requests (drain_timeout), close idle */
void http_free(struct http_server *s);
int http_loops(const struct http_server *s);
const char *http_url(const struct http_server *s);   /* public URL without trailing slash */
void http_set_read_only(struct http_server *s, const char *reason); /* NULL: writable */
void *http_ctx(const struct http_req *r);             /* options.gate.ctx: the app's wiring */
/* Runs fn(arg) on the worker pool. */
void http_work(struct http_server *s, void (*fn)(void *arg), void *arg);
/* A worker that waits for a password's hash or for an identity provider, or computes a hash, stands aside: another
 * thread serves in its place until it says that it is back. At most 64 wait for hashes and 32 for others' answers
 * (crypt/password.c, ident/issuer.c, ident/ldap.c), login_concurrency compute. */
enum { HTTP_ASIDE_MAX = 64 + 32 };
void http_aside(struct http_server *s, bool aside);
#endif
