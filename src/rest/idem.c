/* Idempotency-Key: what a POST answered, in memory. Bounds: entries and bytes in all, entries of one
 * principal, 24 hours. Only answers below 300 are kept: what failed has changed nothing and may be tried again. Entries lie
 * in one list, oldest first; those of a request that runs are never dropped by another. */
#include "rest/rest_int.h"

#include "base/clock.h"
#include "crypt/hash.h"
#include "crypt/secret.h"

#include <stdlib.h>

enum { ENTRIES_MAX = 4096, OWN_MAX = 256, BYTES_MAX = 16 << 20, KEY_MAX = 128 };
static const int64_t LIFE = 24LL * 3600 * 1000000;

struct idem {
    struct idem *next, *prev;
    char *owner, *key, *location;
    struct digest request;
    struct buf body;
    unsigned status;      /* 0: it runs */
    int64_t made;         /* monotonic us */
};

struct idem_table {
    pthread_mutex_t lock;
    struct idem *first, *last;
    size_t n, bytes;
};

struct idem_table *idem_new(void)
{
    struct idem_table *t = mem_zalloc(sizeof *t);
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

static void entry_drop(struct idem_table *t, struct idem *e)
{
    *(e->prev ? &e->prev->next : &t->first) = e->next;
    *(e->next ? &e->next->prev : &t->last) = e->prev;
    t->n--;
    t->bytes -= e->body.n;
    if (e->body.n > 0)
        secret_wipe(e->body.p, e->body.n); /* may hold a token that was just made */
    buf_release(&e->body);
    free(e->owner);
    free(e->key);
    free(e->location);
    free(e);
}

void idem_free(struct idem_table *t)
{
    while (t->first != NULL)
        entry_drop(t, t->first);
    pthread_mutex_destroy(&t->lock);
    free(t);
}

/* Makes room for one more of the owner's. False: all that could go is running. */
static bool make_room(struct idem_table *t, const char *owner, int64_t now)
{
    size_t own = 0;
    for (const struct idem *e = t->first; e != NULL; e = e->next)
        own += strcmp(e->owner, owner) == 0;
    for (struct idem *e = t->first, *next; e != NULL; e = next) {
        next = e->next;
        bool mine = strcmp(e->owner, owner) == 0;
        bool goes = now - e->made > LIFE || t->n >= ENTRIES_MAX || t->bytes > BYTES_MAX || (mine && own >= OWN_MAX);
        if (!goes || e->status == 0)
            continue;
        own -= mine;
        entry_drop(t, e);
    }
    return t->n < ENTRIES_MAX && own < OWN_MAX;
}

static struct idem *find(const struct idem_table *t, const char *owner, struct str key, int64_t now)
{
    for (struct idem *e = t->first; e != NULL; e = e->next)
        if (str_is(key, e->key) && strcmp(e->owner, owner) == 0 && (e->status == 0 || now - e->made <= LIFE))
            return e;
    return NULL;
}

static void request_hash(const struct http_req *r, struct digest *ret)
{
    struct hash h;
    hash_init(&h, DIGEST_SHA256);
    hash_update(&h, r->path.p, r->path.n);
    hash_update(&h, "?", 1);
    hash_update(&h, r->query.p, r->query.n);
    hash_update(&h, "\n", 1);
    hash_update(&h, r->body.p, r->body.n);
    hash_final(&h, ret);
}

static int replay(struct rest_call *c, const struct idem *e)
{
    struct http_req *r = c->r;
    if (e->location != NULL)
        http_add(r, "Location", str_of(e->location));
    http_add(r, "Cache-Control", STR_LIT("no-store"));
    if (e->body.n > 0)
        http_add(r, "Content-Type", STR_LIT("application/json"));
    http_status(r, e->status);
    http_send(r, (struct str){str_dup(&r->arena, buf_view(&e->body)), e->body.n});
    return 1;
}

/* With the lock held. */
static int begin(struct rest_call *c, struct idem_table *t, const char *owner, struct str key, struct err *err)
{
    struct digest request;
    int64_t now = clock_mono();
    request_hash(c->r, &request);
    struct idem *e = find(t, owner, key, now);
    if (e != NULL && !digest_eq(&e->request, &request))
        return err_set(err, ERR_IDEMPOTENCY, "this Idempotency-Key was used for another request");
    if (e != NULL)
        return e->status != 0 ? replay(c, e) : err_set(err, ERR_CONFLICT, "the request of this Idempotency-Key is still running");
    if (!make_room(t, owner, now))
        return err_set(err, ERR_UNAVAILABLE, "too many requests with an Idempotency-Key are running");
    e = mem_zalloc(sizeof *e);
    *e = (struct idem){.prev = t->last, .owner = mem_strdup(owner), .key = mem_strndup(key.p, key.n), .request = request, .made = now};
    buf_init(&e->body, BYTES_MAX);
    *(t->last ? &t->last->next : &t->first) = e;
    t->last = e;
    t->n++;
    c->idem = e;
    return 0;
}

int idem_begin(struct rest_call *c, struct err *err)
{
    struct rest *x = rest_of(c->r);
    struct str key, owner;
    if (c->r->method != HTTP_POST || !c->row->http.writes || !http_header(c->r, "Idempotency-Key", &key))
        return 0;
    bool good = key.n > 0 && key.n <= KEY_MAX && http_header_count(c->r, "Idempotency-Key") == 1;
    for (size_t i = 0; good && i < key.n; i++)
        good = key.p[i] > 0x20 && key.p[i] < 0x7f;
    if (!good)
        return rest_wrong(c, err, "Idempotency-Key", "must be 1 to %d visible ASCII characters", KEY_MAX);
    owner = x->o.principal(c->r);
    if (owner.n == 0)
        return 0;
    pthread_mutex_lock(&x->keys->lock);
    int rc = begin(c, x->keys, str_dup(&c->r->arena, owner), key, err);
    pthread_mutex_unlock(&x->keys->lock);
    return rc;
}

void idem_keep(struct rest_call *c, unsigned status, struct str body)
{
    struct idem_table *t = rest_of(c->r)->keys;
    struct idem *e = c->idem;
    if (e == NULL || status >= 300)
        return;
    pthread_mutex_lock(&t->lock);
    buf_str(&e->body, body);
    e->location = c->location ? mem_strdup(c->location) : NULL;
    e->status = status;
    t->bytes += e->body.n;
    c->idem = NULL;
    pthread_mutex_unlock(&t->lock);
}

void idem_end(struct rest_call *c)
{
    struct idem_table *t = rest_of(c->r)->keys;
    if (c->idem == NULL)
        return;
    pthread_mutex_lock(&t->lock);
    entry_drop(t, c->idem);
    pthread_mutex_unlock(&t->lock);
    c->idem = NULL;
}
