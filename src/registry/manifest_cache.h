/* Private: manifests ready to be sent, and how they get into a loop's cache. */
#ifndef REGISTRY_MANIFEST_CACHE_H
#define REGISTRY_MANIFEST_CACHE_H
#include "registry/registry_int.h"

struct ready_manifest {
    struct shared shared;
    struct digest digest;
    bool image; /* no index */
    struct str head; /* header lines, ready */
    struct str body;
};
struct ready_manifest *
ready_manifest_new(const struct manifest_row *row); /* one reference, the caller's */

enum { CACHE_KEY_MAX = 1 + NAME_MAX_BYTES + 16 + 1 + DIGEST_TEXT_MAX };
/* "<kind><name>\0<reference>" in `out`. */
struct str cache_key(char out[CACHE_KEY_MAX], char kind, struct str name, struct str reference);
/* After the answer, on the request's loop: puts obj under kind, name and reference as of gen. */
void cache_remember(struct http_req *r, struct registry *g, char kind, struct str reference,
                    struct shared *obj, uint64_t gen);
/* A manifest under the reference asked for and under its digest. */
void manifest_remember(struct http_req *r, struct registry *g, struct str reference,
                       struct ready_manifest *m, uint64_t gen);
#endif
