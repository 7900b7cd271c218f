/* Limits by client address, and whom to believe about that address. */
#include "http/http_int.h"

#include "base/hashkey.h"

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

/* One customer is one entry. */
static void key_of(const uint8_t addr[16], uint8_t key[16])
{
    memcpy(key, addr, 16);
    address_customer(key);
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

static bool is_proxy(struct http_server *s, const uint8_t addr[16])
{
    return networks_have(atomic_load(&s->proxies), addr);
}

bool limit_connection(struct http_server *s, struct http_conn *c, const uint8_t addr[16])
{
    uint8_t key[16];
    memcpy(c->addr, addr, 16);
    address_text(addr, c->peer);
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
    if (c->proxied && !address_parse(c->req->pub.client, addr))
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
    return address_parse(text, out) || address_parse(without_port(text), out);
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
        char *text = arena_alloc(&r->arena, ADDRESS_TEXT_MAX);
        address_text(addr, text);
        r->client = str_of(text);
    }
    if (http_header(r, "X-Forwarded-Proto", &v))
        r->tls = str_ieq(v, STR_LIT("https"));
}
