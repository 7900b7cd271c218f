/* A load client for `make bench`: blocking sockets, a thread each, as little of its own as can be.
 *
 *   load storm HOST PORT AUTH THREADS IMAGES PREFIX   small images, all distinct; prints seconds
 *   load put   HOST PORT AUTH BYTES REPO [patch]      one blob; prints seconds
 *   load get   HOST PORT AUTH PATH                    one GET to nowhere; prints seconds and bytes
 *   load idle  HOST PORT AUTH N PATH [tls]            N connections, one request each, then waits for EOF on
 *                                                     standard input; prints how many stand, and "held"
 *   load slow  HOST PORT AUTH N PATH                  N readers of one byte a second, likewise
 *   load many  HOST PORT AUTH THREADS BYTES REPO      a blob from each thread at once; prints seconds
 * AUTH: value of the Authorization header, or "-". Any answer that is not expected ends it with 1. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/rand.h>
#include <openssl/sha.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { REPLY_MAX = 16384, CHUNK = 1 << 20, LAYER = 4096 };

static struct {
    const char *host, *port, *auth;
    struct addrinfo *address;
    SSL_CTX *tls;
} opt;

struct link {
    int fd;
    SSL *ssl;
    char reply[REPLY_MAX];
    size_t n; /* bytes of the reply read so far */
};

static void die(const char *fmt, ...) __attribute__((format(printf, 1, 2), noreturn));
static void die(const char *fmt, ...)
{
    va_list ap;
    va_start(ap, fmt);
    (void)vfprintf(stderr, fmt, ap);
    va_end(ap);
    (void)fputc('\n', stderr);
    exit(1);
}

static double now(void)
{
    struct timespec t;
    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void link_open(struct link *l, int receive_buffer)
{
    int one = 1;
    l->fd = socket(opt.address->ai_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (l->fd < 0)
        die("socket: %m");
    if (receive_buffer)
        (void)setsockopt(l->fd, SOL_SOCKET, SO_RCVBUF, &receive_buffer, sizeof receive_buffer);
    if (connect(l->fd, opt.address->ai_addr, opt.address->ai_addrlen) != 0)
        die("connect: %m");
    (void)setsockopt(l->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    l->n = 0;
    l->ssl = NULL;
    if (opt.tls) {
        l->ssl = SSL_new(opt.tls);
        (void)SSL_set_fd(l->ssl, l->fd);
        if (SSL_connect(l->ssl) != 1)
            die("TLS handshake failed");
    }
}

static void put_all(struct link *l, const void *p, size_t n)
{
    const char *at = p;
    while (n > 0) {
        long k = l->ssl ? SSL_write(l->ssl, at, (int)(n > CHUNK ? CHUNK : n)) : send(l->fd, at, n, MSG_NOSIGNAL);
        if (k <= 0)
            die("send: %m");
        at += k;
        n -= (size_t)k;
    }
}

static long get_some(struct link *l, void *p, size_t n)
{
    long k = l->ssl ? SSL_read(l->ssl, p, (int)n) : recv(l->fd, p, n, 0);
    if (k < 0)
        die("recv: %m");
    return k;
}

static void request(struct link *l, const char *method, const char *path, int64_t length, const char *more)
{
    char head[4096];
    int n = snprintf(head, sizeof head, "%s %s HTTP/1.1\r\nHost: %s:%s\r\n%s%s%s", method, path, opt.host, opt.port,
                     opt.auth ? "Authorization: " : "", opt.auth ? opt.auth : "", opt.auth ? "\r\n" : "");
    if (length >= 0)
        n += snprintf(head + n, sizeof head - (size_t)n, "Content-Length: %lld\r\n", (long long)length);
    n += snprintf(head + n, sizeof head - (size_t)n, "%s\r\n", more);
    put_all(l, head, (size_t)n);
}

/* Reads the head of a reply; returns its status. What came behind it stays in reply[used..n). */
static int reply_head(struct link *l, size_t *used, int64_t *length)
{
    l->n = 0;
    for (;;) {
        long k = get_some(l, l->reply + l->n, sizeof l->reply - 1 - l->n);
        if (k == 0)
            die("connection closed");
        l->n += (size_t)k;
        l->reply[l->n] = '\0';
        char *end = strstr(l->reply, "\r\n\r\n");
        if (!end)
            continue;
        char *cl = strcasestr(l->reply, "\r\nContent-Length:");
        *length = cl && cl < end ? strtoll(cl + 17, NULL, 10) : 0;
        *used = (size_t)(end + 4 - l->reply);
        return (int)strtol(l->reply + 9, NULL, 10);
    }
}

/* Whole reply; the body is dropped. head_only: an answer to HEAD. */
static int reply(struct link *l, bool head_only)
{
    size_t used;
    int64_t length;
    static __thread char drop[CHUNK];
    int status = reply_head(l, &used, &length);
    int64_t left = head_only ? 0 : length - (int64_t)(l->n - used);
    while (left > 0) {
        long k = get_some(l, drop, left < CHUNK ? (size_t)left : CHUNK);
        if (k == 0)
            die("connection closed in a body");
        left -= k;
    }
    return status;
}

static void want(struct link *l, int status, int expected, const char *what)
{
    if (status != expected)
        die("%s: %d instead of %d\n%s", what, status, expected, l->reply);
}

static void hex_digest(char out[72], const void *p, size_t n)
{
    unsigned char d[32];
    (void)SHA256(p, n, d);
    memcpy(out, "sha256:", 7);
    for (int i = 0; i < 32; i++)
        (void)snprintf(out + 7 + 2 * i, 3, "%02x", d[i]);
}

/* POST; *location gets the path of the session with '?' or '&' at its end. */
static void start_upload(struct link *l, const char *repo, char *location, size_t cap)
{
    char path[512];
    (void)snprintf(path, sizeof path, "/v2/%s/blobs/uploads/", repo);
    request(l, "POST", path, 0, "");
    want(l, reply(l, false), 202, "POST");
    char *at = strcasestr(l->reply, "\r\nLocation:");
    if (!at)
        die("no Location");
    at += 11;
    while (*at == ' ')
        at++;
    char *scheme = strncmp(at, "http", 4) == 0 ? strchr(at + 8, '/') : at;
    size_t n = strcspn(scheme, "\r\n");
    (void)snprintf(location, cap, "%.*s%c", (int)n, scheme, memchr(scheme, '?', n) ? '&' : '?');
}

static void push_blob(struct link *l, const char *repo, const void *p, size_t n, const char *digest)
{
    char path[1024], location[1024], full[1400];
    (void)snprintf(path, sizeof path, "/v2/%s/blobs/%s", repo, digest);
    request(l, "HEAD", path, -1, "");
    want(l, reply(l, true), 404, "HEAD");
    start_upload(l, repo, location, sizeof location);
    (void)snprintf(full, sizeof full, "%sdigest=%s", location, digest);
    request(l, "PUT", full, (int64_t)n, "Content-Type: application/octet-stream\r\n");
    put_all(l, p, n);
    want(l, reply(l, false), 201, "PUT blob");
}

/* --- storm */
static atomic_int next_image;
static struct {
    int images;
    const char *prefix;
} storm;

static void push_image(struct link *l, int i)
{
    unsigned char layer[LAYER];
    char config[600], repo[128], dl[72], dc[72], manifest[1200], path[256];
    (void)RAND_bytes(layer, sizeof layer);
    hex_digest(dl, layer, sizeof layer);
    int cn = snprintf(config, sizeof config,
                      "{\"architecture\":\"amd64\",\"os\":\"linux\",\"config\":{\"Labels\":{\"n\":\"%d\"}},"
                      "\"rootfs\":{\"type\":\"layers\",\"diff_ids\":[\"%s\"]},\"history\":[]}", i, dl);
    hex_digest(dc, config, (size_t)cn);
    (void)snprintf(repo, sizeof repo, "%s/r%d", storm.prefix, i / 10);
    push_blob(l, repo, layer, sizeof layer, dl);
    push_blob(l, repo, config, (size_t)cn, dc);
    int mn = snprintf(manifest, sizeof manifest,
                      "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"config\":{"
                      "\"mediaType\":\"application/vnd.oci.image.config.v1+json\",\"digest\":\"%s\",\"size\":%d},"
                      "\"layers\":[{\"mediaType\":\"application/vnd.oci.image.layer.v1.tar\",\"digest\":\"%s\","
                      "\"size\":%d}]}", dc, cn, dl, LAYER);
    (void)snprintf(path, sizeof path, "/v2/%s/manifests/v%d", repo, i % 10);
    request(l, "PUT", path, mn, "Content-Type: application/vnd.oci.image.manifest.v1+json\r\n");
    put_all(l, manifest, (size_t)mn);
    want(l, reply(l, false), 201, "PUT manifest");
}

static void *storm_thread(void *arg)
{
    struct link *l = malloc(sizeof *l);
    (void)arg;
    link_open(l, 0);
    for (int i; (i = atomic_fetch_add(&next_image, 1)) < storm.images;)
        push_image(l, i);
    close(l->fd);
    free(l);
    return NULL;
}

static void threads(int n, void *(*fn)(void *))
{
    pthread_t *t = calloc((size_t)n, sizeof *t);
    double from = now();
    for (int i = 0; i < n; i++)
        if (pthread_create(&t[i], NULL, fn, (void *)(intptr_t)i) != 0)
            die("no thread");
    for (int i = 0; i < n; i++)
        (void)pthread_join(t[i], NULL);
    printf("%.4f\n", now() - from);
    free(t);
}

/* --- big blobs */
static struct {
    int64_t bytes;
    const char *repo;
    bool patch;
    unsigned char *chunk;
} big;

/* A stream of `bytes` that differs for each seed: one random MiB, stamped with its number. */
static void stamp(unsigned char *chunk, uint64_t seed, uint64_t k)
{
    memcpy(chunk, &seed, sizeof seed);
    memcpy(chunk + 8, &k, sizeof k);
}

static void stream_digest(uint64_t seed, char out[72])
{
    SHA256_CTX c;
    unsigned char d[32], *chunk = malloc(CHUNK);
    memcpy(chunk, big.chunk, CHUNK);
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    (void)SHA256_Init(&c);
    for (int64_t k = 0; k < big.bytes / CHUNK; k++) {
        stamp(chunk, seed, (uint64_t)k);
        (void)SHA256_Update(&c, chunk, CHUNK);
    }
    (void)SHA256_Final(d, &c);
#pragma GCC diagnostic pop
    memcpy(out, "sha256:", 7);
    for (int i = 0; i < 32; i++)
        (void)snprintf(out + 7 + 2 * i, 3, "%02x", d[i]);
    free(chunk);
}

static void stream_send(struct link *l, uint64_t seed)
{
    unsigned char *chunk = malloc(CHUNK);
    memcpy(chunk, big.chunk, CHUNK);
    for (int64_t k = 0; k < big.bytes / CHUNK; k++) {
        stamp(chunk, seed, (uint64_t)k);
        put_all(l, chunk, CHUNK);
    }
    free(chunk);
}

static double push_stream(struct link *l, uint64_t seed, const char *digest)
{
    char location[1024], full[1400];
    double from = now();
    start_upload(l, big.repo, location, sizeof location);
    if (big.patch) {
        char path[1024];
        (void)snprintf(path, sizeof path, "%.*s", (int)(strlen(location) - 1), location);
        request(l, "PATCH", path, big.bytes, "Content-Type: application/octet-stream\r\n");
        stream_send(l, seed);
        want(l, reply(l, false), 202, "PATCH");
        char *at = strcasestr(l->reply, "\r\nLocation:") + 11;
        while (*at == ' ')
            at++;
        char *scheme = strncmp(at, "http", 4) == 0 ? strchr(at + 8, '/') : at;
        size_t n = strcspn(scheme, "\r\n");
        (void)snprintf(full, sizeof full, "%.*s%cdigest=%s", (int)n, scheme, memchr(scheme, '?', n) ? '&' : '?', digest);
        request(l, "PUT", full, 0, "");
    } else {
        (void)snprintf(full, sizeof full, "%sdigest=%s", location, digest);
        request(l, "PUT", full, big.bytes, "Content-Type: application/octet-stream\r\n");
        stream_send(l, seed);
    }
    want(l, reply(l, false), 201, "PUT");
    return now() - from;
}

static uint64_t random_seed(void)
{
    uint64_t seed;
    (void)RAND_bytes((unsigned char *)&seed, sizeof seed);
    return seed;
}

static void run_put(void)
{
    struct link *l = malloc(sizeof *l);
    char digest[72];
    uint64_t seed = random_seed();
    stream_digest(seed, digest);
    link_open(l, 0);
    double took = push_stream(l, seed, digest);
    printf("%.4f %s\n", took, digest);
    free(l);
}

static pthread_barrier_t together;

static void *many_thread(void *arg)
{
    struct link *l = malloc(sizeof *l);
    char digest[72];
    uint64_t seed = random_seed();
    (void)arg;
    stream_digest(seed, digest);
    link_open(l, 0);
    (void)pthread_barrier_wait(&together);
    (void)push_stream(l, seed, digest);
    free(l);
    return NULL;
}

static void run_get(const char *path)
{
    struct link *l = malloc(sizeof *l);
    size_t used;
    int64_t length, got;
    char *sink = malloc(CHUNK);
    link_open(l, 0);
    double from = now();
    request(l, "GET", path, -1, "");
    want(l, reply_head(l, &used, &length), 200, "GET");
    for (got = (int64_t)(l->n - used); got < length;) {
        /* MSG_TRUNC: the kernel drops the bytes, so that the client's copy is not what is measured */
        long k = l->ssl ? get_some(l, sink, CHUNK) : recv(l->fd, sink, CHUNK, MSG_TRUNC);
        if (k <= 0)
            die("GET broke off");
        got += k;
    }
    printf("%.4f %lld\n", now() - from, (long long)got);
    free(sink);
    free(l);
}

/* --- connections that stand */
static void wait_for_end(void)
{
    char c;
    while (read(STDIN_FILENO, &c, 1) > 0)
        ;
}

static void run_idle(int n, const char *path)
{
    struct link *l = malloc(sizeof *l);
    int *fds = calloc((size_t)n, sizeof *fds), standing = 0;
    for (int i = 0; i < n; i++) {
        link_open(l, 0);
        request(l, "GET", path, -1, "");
        want(l, reply(l, false), 200, "GET");
        fds[i] = l->fd;
    }
    printf("held\n");
    (void)fflush(stdout);
    wait_for_end();
    for (int i = 0; i < n; i++) {
        struct pollfd p = {.fd = fds[i], .events = POLLIN};
        standing += poll(&p, 1, 0) == 0 || opt.tls != NULL;
    }
    printf("%d standing\n", standing);
}

static void run_slow(int n, const char *path)
{
    struct link *l = calloc((size_t)n, sizeof *l);
    for (int i = 0; i < n; i++) {
        link_open(&l[i], 4096);
        request(&l[i], "GET", path, -1, "");
    }
    printf("held\n");
    (void)fflush(stdout);
    for (int alive = n; alive > 0;) {
        char c;
        struct pollfd end = {.fd = STDIN_FILENO, .events = POLLIN};
        alive = 0;
        for (int i = 0; i < n; i++)
            alive += recv(l[i].fd, &c, 1, MSG_DONTWAIT) == 1 || errno == EAGAIN;
        if (poll(&end, 1, 1000) != 0) {
            printf("%d standing\n", alive);
            return;
        }
    }
    printf("0 standing\n");
}

static void set_up(char **argv)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
    struct rlimit lim = {1 << 16, 1 << 16};
    opt.host = argv[2];
    opt.port = argv[3];
    opt.auth = strcmp(argv[4], "-") == 0 ? NULL : argv[4];
    (void)setrlimit(RLIMIT_NOFILE, &lim);
    if (getaddrinfo(opt.host, opt.port, &hints, &opt.address) != 0)
        die("unknown host %s", opt.host);
    big.chunk = malloc(CHUNK);
    (void)RAND_bytes(big.chunk, CHUNK);
}

int main(int argc, char **argv)
{
    if (argc < 6)
        die("usage: load storm|put|get|idle|slow|many HOST PORT AUTH ...");
    const char *what = argv[1];
    set_up(argv);
    if (strcmp(argv[argc - 1], "tls") == 0) {
        opt.tls = SSL_CTX_new(TLS_client_method());
        argc--;
    }
    if (strcmp(what, "storm") == 0 && argc == 8) {
        storm.images = atoi(argv[6]);
        storm.prefix = argv[7];
        threads(atoi(argv[5]), storm_thread);
    } else if (strcmp(what, "put") == 0 && argc >= 7) {
        big.bytes = atoll(argv[5]);
        big.repo = argv[6];
        big.patch = argc > 7;
        run_put();
    } else if (strcmp(what, "many") == 0 && argc == 8) {
        big.bytes = atoll(argv[6]);
        big.repo = argv[7];
        (void)pthread_barrier_init(&together, NULL, (unsigned)atoi(argv[5]));
        threads(atoi(argv[5]), many_thread);
    } else if (strcmp(what, "get") == 0) {
        run_get(argv[5]);
    } else if (strcmp(what, "idle") == 0 && argc == 7) {
        run_idle(atoi(argv[5]), argv[6]);
    } else if (strcmp(what, "slow") == 0 && argc == 7) {
        run_slow(atoi(argv[5]), argv[6]);
    } else {
        die("wrong arguments");
    }
    return 0;
}
