/* The loops' caches of the pull path: immutable objects under the repository's generation. */
#include "registry/manifest_cache.h"

#include <stdlib.h>

struct str cache_key(char out[CACHE_KEY_MAX], char kind, struct str name, struct str reference)
{
    BUG_ON(name.n + reference.n + 2 > CACHE_KEY_MAX);
    size_t n = 0;
    out[n++] = kind;
    memcpy(out + n, name.p, name.n);
    n += name.n;
    out[n++] = 0;
    memcpy(out + n, reference.p, reference.n);
    return (struct str){out, n + reference.n};
}

static void ready_free(struct shared *s)
{
    free(s);
}

struct ready_manifest *ready_manifest_new(const struct manifest_row *row)
{
    char text[DIGEST_TEXT_MAX];
    struct buf head;
    buf_init(&head, 4096);
    digest_text(&row->digest, text);
    buf_printf(&head,
               "Content-Type: %.*s\r\nDocker-Content-Digest: %s\r\nETag: \"%s\"\r\nCache-Control: "
               "private, no-cache\r\n",
               STR_FMT(row->media_type), text, text);
    BUG_ON(head.overflow);
    size_t size = size_add(sizeof(struct ready_manifest), size_add(head.n, row->bytes.n));
    struct ready_manifest *m = mem_alloc(size);
    char *tail = (char *)(m + 1);
    memcpy(tail, head.p, head.n);
    if (row->bytes.n > 0)
        memcpy(tail + head.n, row->bytes.p, row->bytes.n);
    shared_init(&m->shared, size, ready_free);
    m->digest = row->digest;
    m->image = media_type_is_image(row->media_type);
    m->head = (struct str){tail, head.n};
    m->body = (struct str){tail + head.n, row->bytes.n};
    buf_release(&head);
    return m;
}

struct remember {
    struct cache *cache;
    struct shared *obj;
    uint64_t gen;
    size_t n;
    char key[];
};

/* On the loop's thread. */
static void remember_run(void *arg)
{
    struct remember *m = arg;
    cache_put(m->cache, (struct str){m->key, m->n}, m->gen, m->obj);
    shared_unref(m->obj);
    free(m);
}

void cache_remember(struct http_req *r, struct registry *g, char kind, struct str reference,
                    struct shared *obj, uint64_t gen)
{
    char key[CACHE_KEY_MAX];
    if (gen == GEN_BUSY)
        return;
    struct str k = cache_key(key, kind, req_repo(r)->name, reference);
    struct remember *m = mem_alloc(sizeof *m + k.n);
    *m = (struct remember){
        .cache = g->caches[r->loop_index], .obj = shared_ref(obj), .gen = gen, .n = k.n};
    memcpy(m->key, k.p, k.n);
    http_on_loop(r, remember_run, m);
}

void manifest_remember(struct http_req *r, struct registry *g, struct str reference,
                       struct ready_manifest *m, uint64_t gen)
{
    char text[DIGEST_TEXT_MAX];
    struct str digest = str_of(digest_text(&m->digest, text));
    cache_remember(r, g, 'm', reference, &m->shared, gen);
    if (!str_eq(digest, reference))
        cache_remember(r, g, 'm', digest, &m->shared, gen);
}
