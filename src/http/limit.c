/* Limits by client address, and whom to believe about that address. */
#include "http/http_int.h"

#include "base/hashkey.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { BUCKETS = 4096, BURST_S = 5 };

struct entry {
    struct entry *next;
    uint8_t key[16];
    unsigned conns;
    int64_t tokens, at; /* millionths of a request; monotonic us, 0: no request yet, tokens unset */
};
struct limit_table {
    pthread_mutex_t lock;
    struct entry *bucket[BUCKETS];
    size_t swept; /* bucket looked at last */
};
struct cidr {
    uint8_t addr[16];
    int bits;
};
struct proxy_list {
    struct proxy_list *older; /* kept: a request may still look at it */
    size_t n;
    struct cidr net[];
};

struct limit_table *limit_new(void)
{
    struct limit_table *t = mem_zalloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void limit_free(struct limit_table *t)
{
    if (t == NULL)
        return;
    for (size_t i = 0; i < BUCKETS; i++)
        while (t->bucket[i] != NULL) {
            struct entry *e = t->bucket[i];
            t->bucket[i] = e->next;
            free(e);
        }
    pthread_mutex_destroy(&t->lock);
    free(t);
}

static bool is_v4(const uint8_t a[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    return memcmp(a, mapped, 12) == 0;
}

/* One customer of an IPv6 provider is a /64. */
static void key_of(const uint8_t addr[16], uint8_t key[16])
{
    memcpy(key, addr, 16);
    if (!is_v4(addr))
        memset(key + 8, 0, 8);
}

static struct entry **find(struct limit_table *t, const uint8_t key[16])
{
    uint64_t h = hashkey((struct str){(const char *)key, 16});
    struct entry **at = &t->bucket[h % BUCKETS];
    while (*at != NULL && memcmp((*at)->key, key, 16) != 0)
        at = &(*at)->next;
    return at;
}

static struct entry *get(struct limit_table *t, const uint8_t key[16])
{
    struct entry **at = find(t, key);
    if (*at == NULL) {
        *at = mem_zalloc(sizeof **at);
        memcpy((*at)->key, key, 16);
    }
    return *at;
}

static void drop_if_idle(struct limit_table *t, const uint8_t key[16])
{
    struct entry **at = find(t, key), *e = *at;
    if (e != NULL && e->conns == 0) {
        *at = e->next;
        free(e);
    }
}

/* One bucket a request: who has no connection and a full bucket again is forgotten. */
static void sweep(struct limit_table *t, int64_t now)
{
    struct entry **at = &t->bucket[t->swept++ % BUCKETS];
    while (*at != NULL) {
        struct entry *e = *at;
        if (e->conns == 0 && now - e->at > BURST_S * 1000000) {
            *at = e->next;
            free(e);
        } else {
            at = &e->next;
        }
    }
}

static bool in_net(const uint8_t addr[16], const struct cidr *net)
{
    int whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(addr, net->addr, (size_t)whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (addr[whole] & mask) == (net->addr[whole] & mask);
}

static bool is_proxy(struct http_server *s, const uint8_t addr[16])
{
    const struct proxy_list *p = atomic_load(&s->proxies);
    for (size_t i = 0; p != NULL && i < p->n; i++)
        if (in_net(addr, &p->net[i]))
            return true;
    return false;
}

static bool parse_address(struct str text, uint8_t out[16])
{
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    char host[64];
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = (struct str){text.p + 1, text.n - 2};
    if (text.n == 0 || text.n >= sizeof host)
        return false;
    memcpy(host, text.p, text.n);
    host[text.n] = '\0';
    if (inet_pton(AF_INET6, host, out) == 1)
        return true;
    if (inet_pton(AF_INET, host, out + 12) != 1)
        return false;
    memcpy(out, mapped, 12);
    return true;
}

static void format_address(const uint8_t addr[16], char out[46])
{
    if (is_v4(addr))
        inet_ntop(AF_INET, addr + 12, out, 46);
    else
        inet_ntop(AF_INET6, addr, out, 46);
}

int proxies_load(struct http_server *s, const char *text)
{
    size_t max = 1;
    for (const char *p = text; *p != '\0'; p++)
        max += *p == ',';
    struct proxy_list *l = mem_zalloc(size_add(sizeof *l, size_mul(max, sizeof l->net[0])));
    struct str rest = str_of(text), one;
    while (rest.n != 0 && str_split(&rest, ',', &one)) {
        struct str bits = str_trim(one), addr;
        uint64_t n = 128;
        str_split(&bits, '/', &addr);
        struct cidr *c = &l->net[l->n];
        if (!parse_address(addr, c->addr))
            continue; /* config.c refused it already */
        bool dotted = memchr(addr.p, ':', addr.n) == NULL; /* ::ffff:a.b.c.d/n counts all 128 bits itself */
        if (bits.p != NULL && str_u64(bits, &n) && dotted)
            n += 96;
        c->bits = (int)n;
        l->n++;
    }
    l->older = atomic_load(&s->proxies);
    atomic_store(&s->proxies, l);
    return 0;
}

bool limit_connection(struct http_server *s, struct http_conn *c, const uint8_t addr[16])
{
    uint8_t key[16];
    memcpy(c->addr, addr, 16);
    format_address(addr, c->peer);
    c->proxied = is_proxy(s, addr);
    int64_t max = server_num(s, MAX_CONNECTIONS_PER_ADDRESS);
    if (c->proxied || max == 0)
        return true;
    key_of(addr, key);
    pthread_mutex_lock(&s->limits->lock);
    struct entry *e = get(s->limits, key);
    bool ok = e->conns < max;
    e->conns += ok;
    c->limited = ok;
    pthread_mutex_unlock(&s->limits->lock);
    return ok;
}

void limit_disconnect(struct http_server *s, struct http_conn *c)
{
    uint8_t key[16];
    if (!c->limited)
        return;
    key_of(c->addr, key);
    pthread_mutex_lock(&s->limits->lock);
    struct entry *e = *find(s->limits, key);
    BUG_ON(e == NULL || e->conns == 0);
    e->conns--;
    if (server_num(s, MAX_REQUESTS_PER_ADDRESS) == 0)
        drop_if_idle(s->limits, key);
    pthread_mutex_unlock(&s->limits->lock);
}

bool limit_request(struct http_server *s, const struct http_conn *c, int64_t now)
{
    int64_t rate = server_num(s, MAX_REQUESTS_PER_ADDRESS);
    uint8_t key[16], addr[16];
    if (rate == 0 || c->req->pub.client_unknown)
        return true;
    memcpy(addr, c->addr, 16);
    if (c->proxied && !parse_address(c->req->pub.client, addr))
        return true;
    key_of(addr, key);
    int64_t full = rate * BURST_S * 1000000;
    pthread_mutex_lock(&s->limits->lock);
    sweep(s->limits, now);
    struct entry *e = get(s->limits, key);
    e->tokens = e->at != 0 ? e->tokens + (now - e->at) * rate : full;
    if (e->tokens > full)
        e->tokens = full;
    e->at = now;
    bool ok = e->tokens >= 1000000;
    if (ok)
        e->tokens -= 1000000;
    pthread_mutex_unlock(&s->limits->lock);
    return ok;
}

struct str without_port(struct str authority)
{
    size_t n = authority.n;
    while (n != 0 && authority.p[n - 1] >= '0' && authority.p[n - 1] <= '9')
        n--;
    bool port = n != 0 && n < authority.n && authority.p[n - 1] == ':';
    return port ? (struct str){authority.p, n - 1} : authority;
}

/* addr, addr:port, [v6] or [v6]:port (some proxies add the port). */
static bool parse_hop(struct str text, uint8_t out[16])
{
    return parse_address(text, out) || parse_address(without_port(text), out);
}

/* Looks at one line from the right, past listed proxies. True when it came to an end there: at the
 * last address that no listed proxy wrote about itself, or at one that nobody can read. */
static bool hops(struct http_server *s, struct str list, uint8_t out[16], bool *found)
{
    while (list.n != 0) {
        size_t at = list.n;
        while (at != 0 && list.p[at - 1] != ',')
            at--;
        struct str one = str_trim((struct str){list.p + at, list.n - at});
        list.n = at ? at - 1 : 0;
        uint8_t addr[16];
        if (!parse_hop(one, addr))
            return true;
        memcpy(out, addr, 16);
        *found = true;
        if (!is_proxy(s, addr))
            return true;
    }
    return false;
}

/* All lines are one list: each proxy may add its own line behind those that came to it. */
static bool forwarded(struct http_server *s, const struct http_req *r, uint8_t out[16])
{
    bool found = false;
    for (unsigned i = r->n_headers; i-- != 0;)
        if (str_ieq(r->headers[i].name, STR_LIT("X-Forwarded-For")) && hops(s, r->headers[i].value, out, &found))
            break;
    return found;
}

void client_address(struct http_server *s, struct request *q)
{
    struct http_req *r = &q->pub;
    struct http_conn *c = r->conn;
    struct str v;
    uint8_t addr[16];
    r->client = str_of(c->peer);
    r->tls = c->ssl != NULL;
    r->proxied = c->proxied;
    r->client_unknown = false;
    if (!c->proxied)
        return;
    r->client_unknown = !forwarded(s, r, addr);
    if (r->client_unknown && !atomic_exchange(&s->told_unknown, true))
        log_line(LOG_WARN, "a listed proxy sends no X-Forwarded-For: limits by address do not hold for its clients",
                 F_CSTR("proxy", c->peer));
    if (!r->client_unknown) {
        char *text = arena_alloc(&r->arena, 46);
        format_address(addr, text);
        r->client = str_of(text);
    }
    if (http_header(r, "X-Forwarded-Proto", &v))
        r->tls = str_ieq(v, STR_LIT("https"));
}
