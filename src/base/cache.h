/* A single-threaded map from bytes to immutable, reference-counted objects, capped in bytes.
 *
 * Each event thread owns its caches, so a lookup takes no lock and shares no cache line. Second-
 * chance eviction. A hit is valid only when its generation still stands (gen.h): the caller
 * passes the current one. */
#ifndef BASE_CACHE_H
#define BASE_CACHE_H
#include "base/text.h"

struct shared {                      /* head of every cached object */
    void (*free)(struct shared *);   /* called when the last reference goes */
    size_t cost;                     /* bytes it occupies, for the cap */
    _Atomic uint32_t refs;           /* references may be dropped on any thread */
};
void shared_init(struct shared *s, size_t cost, void (*free)(struct shared *)); /* refs = 1 */
struct shared *shared_ref(struct shared *s);
void shared_unref(struct shared *s); /* NULL-safe */

struct cache *cache_new(size_t cap_bytes);
void cache_free(struct cache *c);
/* Borrowed until the next cache_put or cache_free on this cache (take a ref to keep longer);
 * NULL when absent or when gen differs from the stored one (the stale entry is dropped). */
struct shared *cache_get(struct cache *c, struct str key, uint64_t gen);
void cache_put(struct cache *c, struct str key, uint64_t gen, struct shared *obj); /* takes a ref of its own */
void cache_drop(struct cache *c, struct str key);
size_t cache_bytes(const struct cache *c);
#endif
