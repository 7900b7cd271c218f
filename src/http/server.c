/* The server object: start, reload, drain, stop. */
#include "http/http_int.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static void take_numbers(struct http_server *s, const struct config *c)
{
    size_t n;
    const struct config_key *keys = config_keys(&n);
    for (size_t i = 0; i < n; i++)
        if (keys[i].type != CONFIG_TEXT && keys[i].type != CONFIG_SECRET)
            atomic_store(&s->num[i], c->v[i].num);
}

/* What the descriptor limit leaves beside files and database. */
static int64_t most_connections(const struct http_server *s)
{
    struct rlimit lim = {0};
    getrlimit(RLIMIT_NOFILE, &lim);
    int64_t fit = (int64_t)lim.rlim_cur * 4 / 5, want = server_num(s, MAX_CONNECTIONS);
    return want > 0 && want < fit ? want : fit;
}

void http_routes_add(struct http_server *s, const struct http_route *rows, size_t n)
{
    BUG_ON(s->tree != NULL);
    s->rows = mem_realloc(s->rows, size_mul(s->n_rows + n, sizeof(const struct http_route *)));
    for (size_t i = 0; i < n; i++)
        s->rows[s->n_rows++] = &rows[i];
}

int http_new(struct http_server **ret, const struct http_options *o, struct err *err)
{
    struct http_server *s = mem_zalloc(sizeof *s);
    s->config = o->config;
    s->gate = o->gate;
    s->work_end = &s->work;
    s->jobs_end = &s->jobs;
    s->spare_fd = -1;
    pthread_mutex_init(&s->work_lock, NULL);
    pthread_mutex_init(&s->tls_lock, NULL);
    pthread_cond_init(&s->work_cond, NULL);
    take_numbers(s, o->config);
    atomic_store(&s->max_conns, most_connections(s));
    s->limits = limit_new();
    networks_publish(&s->proxies, str_of(config_text(o->config, TRUSTED_PROXIES)));
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    if (cores < 1)
        cores = 1;
    s->n_loops = server_num(s, LOOPS) > 0 ? (int)server_num(s, LOOPS) : cores;
    s->max_busy = server_num(s, WORKERS) > 0 ? (int)server_num(s, WORKERS) : 16 + 4 * cores;
    s->n_workers = s->max_busy + HTTP_ASIDE_MAX + (int)server_num(s, LOGIN_CONCURRENCY);
    if (o->n_routes > 0)
        http_routes_add(s, o->routes, o->n_routes);
    (void)err;
    *ret = s;
    return 0;
}

static int split_listen(struct str one, struct sockaddr_storage *a, socklen_t *n)
{
    size_t colon = one.n;
    uint64_t port;
    char host[64];
    while (colon != 0 && one.p[colon - 1] != ':')
        colon--;
    if (colon < 2 || !str_u64((struct str){one.p + colon, one.n - colon}, &port))
        return -1;
    struct str h = {one.p, colon - 1};
    if (h.n > 2 && h.p[0] == '[')
        h = (struct str){h.p + 1, h.n - 2};
    if (h.n >= sizeof host)
        return -1;
    memcpy(host, h.p, h.n);
    host[h.n] = '\0';
    memset(a, 0, sizeof *a);
    struct sockaddr_in *v4 = (void *)a;
    struct sockaddr_in6 *v6 = (void *)a;
    if (inet_pton(AF_INET, host, &v4->sin_addr) == 1) {
        v4->sin_family = AF_INET;
        v4->sin_port = htons((uint16_t)port);
        *n = sizeof *v4;
        return 0;
    }
    if (inet_pton(AF_INET6, host, &v6->sin6_addr) != 1)
        return -1;
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons((uint16_t)port);
    *n = sizeof *v6;
    return 0;
}

static int listen_one(struct http_server *s, struct str one, struct err *err)
{
    struct sockaddr_storage a;
    socklen_t n;
    int on = 1;
    if (s->n_listeners == (int)ARRAY_LEN(s->listeners) || split_listen(one, &a, &n) != 0)
        return err_set(err, ERR_USAGE, "listen: \"%.*s\" is not ADDR:PORT", STR_FMT(one));
    auto_fd int fd = socket(a.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot listen on %.*s", STR_FMT(one));
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (a.ss_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    if (bind(fd, (struct sockaddr *)&a, n) != 0 || listen(fd, 4096) != 0)
        return err_sys(err, ERR_IO, "cannot listen on %.*s", STR_FMT(one));
    s->listeners[s->n_listeners++] = take_fd(&fd);
    return 0;
}

static int bound_port(int fd)
{
    struct sockaddr_storage a = {0};
    socklen_t n = sizeof a;
    if (getsockname(fd, (struct sockaddr *)&a, &n) != 0)
        return 0;
    const void *p = &a;
    return ntohs(a.ss_family == AF_INET6 ? ((const struct sockaddr_in6 *)p)->sin6_port
                                         : ((const struct sockaddr_in *)p)->sin_port);
}

static void make_url(struct http_server *s)
{
    const char *given = config_text(s->config, PUBLIC_URL);
    if (given[0] != '\0') {
        size_t n = strlen(given);
        while (n > 0 && given[n - 1] == '/')
            n--;
        s->url = mem_strndup(given, n);
        return;
    }
    struct str rest = str_of(config_text(s->config, LISTEN)), first = {NULL, 0};
    str_split(&rest, ',', &first);
    while (first.n > 0 && first.p[first.n - 1] != ':')
        first.n--; /* the port is the one that was bound: ":0" means any */
    struct buf b;
    buf_init(&b, 4096);
    buf_cstr(&b, s->tls ? "https://" : "http://");
    if (str_is(first, "0.0.0.0:"))
        first = STR_LIT("127.0.0.1:");
    else if (str_is(first, "[::]:"))
        first = STR_LIT("[::1]:");
    buf_str(&b, first);
    buf_printf(&b, "%d", bound_port(s->listeners[0]));
    s->url = mem_strndup(b.p, b.n);
    buf_release(&b);
}

int http_listen(struct http_server *s, struct err *err)
{
    struct str rest = str_of(config_text(s->config, LISTEN)), one;
    int rc = route_build(s, err);
    if (rc == 0)
        rc = tls_load(s, s->config, err);
    while (rc == 0 && str_split(&rest, ',', &one))
        rc = listen_one(s, one, err);
    if (rc == 0)
        make_url(s);
    return rc;
}

int http_start(struct http_server *s, struct err *err)
{
    s->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    s->loops = mem_zalloc(size_mul((size_t)s->n_loops, sizeof *s->loops));
    int rc = work_start(s, err);
    int want = s->n_loops;
    for (s->n_loops = 0; rc == 0 && s->n_loops < want; s->n_loops++)
        rc = loop_init(&s->loops[s->n_loops], s, s->n_loops, err);
    for (int i = 0; rc == 0 && i < s->n_listeners; i++) {
        struct epoll_event e = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 1 | 1};
        if (epoll_ctl(s->loops[0].epoll, EPOLL_CTL_ADD, s->listeners[i], &e) != 0)
            rc = err_sys(err, ERR_INTERNAL, "cannot watch the listener");
    }
    for (int i = 0; rc == 0 && i < s->n_loops; i++)
        if (pthread_create(&s->loops[i].thread, NULL, loop_main, &s->loops[i]) != 0)
            rc = err_set(err, ERR_INTERNAL, "cannot start event threads");
    return rc;
}

void http_reload(struct http_server *s, const struct config *c)
{
    struct err err = {0};
    take_numbers(s, c);
    atomic_store(&s->max_conns, most_connections(s));
    networks_publish(&s->proxies, str_of(config_text(c, TRUSTED_PROXIES)));
    bool tls = config_text(c, TLS_CERT)[0] != '\0' || config_num(c, TLS_SELF_SIGNED);
    if (tls != (s->tls != NULL)) /* the URL, its realm and tokens say http or https */
        log_line(LOG_WARN, "this key needs a restart", F_CSTR("key", "tls_cert"));
    else if (tls_load(s, c, &err) < 0)
        log_line(LOG_ERROR, "certificates not reloaded, the old ones stay", F_CSTR("error", err.text));
}

void http_set_read_only(struct http_server *s, const char *why) { atomic_store(&s->read_only, why); }

void http_drain(struct http_server *s)
{
    int64_t until = clock_mono() + server_num(s, DRAIN_TIMEOUT);
    atomic_store(&s->draining, true);
    for (int i = 0; i < s->n_listeners; i++) {
        epoll_ctl(s->loops[0].epoll, EPOLL_CTL_DEL, s->listeners[i], NULL);
        close(s->listeners[i]);
    }
    s->n_listeners = 0;
    while (atomic_load(&s->n_conns) > 0 && clock_mono() < until) {
        for (int i = 0; i < s->n_loops; i++)
            loop_wake(&s->loops[i]);
        usleep(20000);
    }
}

void http_free(struct http_server *s)
{
    if (s == NULL)
        return;
    for (int i = 0; i < s->n_listeners; i++)
        close(s->listeners[i]);
    work_stop(s); /* sets stopping: loops end too */
    for (int i = 0; s->loops != NULL && i < s->n_loops; i++) {
        loop_wake(&s->loops[i]);
        if (s->loops[i].thread != 0)
            pthread_join(s->loops[i].thread, NULL);
    }
    for (int i = 0; s->loops != NULL && i < s->n_loops; i++)
        loop_release(&s->loops[i]);
    while (s->jobs != NULL) { /* what releasing the last requests queued */
        struct work *j = s->jobs;
        s->jobs = j->next;
        j->fn(j->arg);
        free(j);
    }
    free(s->loops);
    if (s->spare_fd >= 0)
        close(s->spare_fd);
    limit_free(s->limits);
    networks_free(atomic_load(&s->proxies));
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->work_lock);
    pthread_mutex_destroy(&s->tls_lock);
    pthread_cond_destroy(&s->work_cond);
    route_free(s->tree);
    free(s->rows);
    free(s->url);
    free(s);
}
