/* The loop's cache: chained hashing, second-chance eviction in insertion order. See cache.h. */
#include "base/cache.h"

#include "base/hashkey.h"

#include <stdatomic.h>
#include <stdlib.h>

struct node {
    struct node *chain;          /* next in the bucket */
    struct node *older, *newer;  /* eviction order */
    uint64_t hash, gen;
    struct shared *obj;
    bool used;                   /* looked up since the hand passed */
    uint32_t key_n;
    char key[];
};

struct cache {
    struct node **buckets;
    size_t n_buckets, count, bytes, cap;
    struct node *oldest, *newest;
};

void shared_init(struct shared *s, size_t cost, void (*free_fn)(struct shared *))
{
    s->free = free_fn;
    s->cost = cost;
    atomic_init(&s->refs, 1);
}

struct shared *shared_ref(struct shared *s)
{
    atomic_fetch_add_explicit(&s->refs, 1, memory_order_relaxed);
    return s;
}

void shared_unref(struct shared *s)
{
    if (s != NULL && atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) == 1)
        s->free(s);
}

struct cache *cache_new(size_t cap_bytes)
{
    struct cache *c = mem_zalloc(sizeof *c);
    c->cap = cap_bytes;
    return c;
}

static size_t node_cost(const struct node *n)
{
    return sizeof *n + n->key_n + sizeof(struct node *) + n->obj->cost;
}

static void unlink_order(struct cache *c, struct node *n)
{
    *(n->older ? &n->older->newer : &c->oldest) = n->newer;
    *(n->newer ? &n->newer->older : &c->newest) = n->older;
}

static void link_newest(struct cache *c, struct node *n)
{
    n->older = c->newest;
    n->newer = NULL;
    *(c->newest ? &c->newest->newer : &c->oldest) = n;
    c->newest = n;
}

static void node_remove(struct cache *c, struct node *n)
{
    struct node **at = &c->buckets[n->hash & (c->n_buckets - 1)];
    while (*at != n)
        at = &(*at)->chain;
    *at = n->chain;
    unlink_order(c, n);
    c->bytes -= node_cost(n);
    c->count--;
    shared_unref(n->obj);
    free(n);
}

void cache_free(struct cache *c)
{
    if (c == NULL)
        return;
    while (c->oldest != NULL)
        node_remove(c, c->oldest);
    free(c->buckets);
    free(c);
}

static struct node *find(struct cache *c, struct str key, uint64_t hash)
{
    if (c->n_buckets == 0)
        return NULL;
    struct node *n = c->buckets[hash & (c->n_buckets - 1)];
    while (n != NULL && !(n->hash == hash && str_eq((struct str){n->key, n->key_n}, key)))
        n = n->chain;
    return n;
}

struct shared *cache_get(struct cache *c, struct str key, uint64_t gen)
{
    struct node *n = find(c, key, hashkey(key));
    if (n == NULL)
        return NULL;
    if (n->gen != gen) { /* under GEN_BUSY the entry may still turn out to stand: keep it */
        if (gen != UINT64_MAX)
            node_remove(c, n);
        return NULL;
    }
    n->used = true;
    return n->obj;
}

static void grow(struct cache *c)
{
    size_t n = c->n_buckets ? c->n_buckets * 2 : 64;
    struct node **buckets = mem_zalloc(size_mul(n, sizeof *buckets));
    for (struct node *i = c->oldest; i != NULL; i = i->newer) {
        struct node **at = &buckets[i->hash & (n - 1)];
        i->chain = *at;
        *at = i;
    }
    free(c->buckets);
    c->buckets = buckets;
    c->n_buckets = n;
}

static void evict(struct cache *c, size_t need)
{
    while (c->oldest != NULL && c->bytes + need > c->cap) {
        struct node *n = c->oldest;
        if (n->used) {
            n->used = false;
            unlink_order(c, n);
            link_newest(c, n);
        } else {
            node_remove(c, n);
        }
    }
}

void cache_put(struct cache *c, struct str key, uint64_t gen, struct shared *obj)
{
    uint64_t hash = hashkey(key);
    struct node *n = find(c, key, hash);
    if (n != NULL)
        node_remove(c, n);
    size_t cost = sizeof *n + key.n + sizeof n + obj->cost;
    if (cost > c->cap)
        return;
    evict(c, cost);
    if (c->count >= c->n_buckets)
        grow(c);
    n = mem_alloc(size_add(sizeof *n, key.n));
    *n = (struct node){.hash = hash, .gen = gen, .obj = shared_ref(obj), .key_n = (uint32_t)key.n};
    if (key.n != 0)
        memcpy(n->key, key.p, key.n);
    struct node **at = &c->buckets[hash & (c->n_buckets - 1)];
    n->chain = *at;
    *at = n;
    link_newest(c, n);
    c->count++;
    c->bytes += node_cost(n);
}

void cache_drop(struct cache *c, struct str key)
{
    struct node *n = find(c, key, hashkey(key));
    if (n != NULL)
        node_remove(c, n);
}

size_t cache_bytes(const struct cache *c) { return c->bytes; }
