/* The manifest model: no document is both an image and an index, what is accepted is well-formed
 * JSON for jansson, too, and reading it twice gives the same. First byte of the input: which media
 * type is claimed. */
#include "registry/registry_int.h"

#include <jansson.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *const types[] = {
    "application/vnd.oci.image.manifest.v1+json",
    "application/vnd.oci.image.index.v1+json",
    "application/vnd.docker.distribution.manifest.v2+json",
    "application/vnd.docker.distribution.manifest.list.v2+json",
};

static bool accepted(struct arena *a, struct str doc, const char *type, struct manifest *ret)
{
    struct err err = {0};
    int rc = manifest_parse(a, doc, str_of(type), 4u << 20, ret, &err);
    BUG_ON(rc < 0 && (rc != ERR_MANIFEST_INVALID || err.text[0] == 0));
    return rc == 0;
}

static void check_refs(const struct manifest *m)
{
    for (size_t i = 0; i < m->n_refs; i++) {
        const struct manifest_ref *r = &m->refs[i];
        BUG_ON(r->size < 0 || r->kind < REF_CONFIG || r->kind > REF_CHILD);
        BUG_ON(i > 0 && digest_eq(&r->target, &m->refs[i - 1].target));
        BUG_ON(m->kind == MANIFEST_IMAGE && r->kind == REF_CHILD);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    size_t claim = data[0] % ARRAY_LEN(types);
    struct str doc = {(const char *)data + 1, size - 1};
    struct arena a;
    arena_init(&a);
    struct manifest m, other;
    if (accepted(&a, doc, types[claim], &m)) {
        check_refs(&m);
        BUG_ON(accepted(&a, doc, types[m.kind == MANIFEST_IMAGE ? 1 : 0], &other));
        BUG_ON(!accepted(&a, doc, types[claim], &other) || other.n_refs != m.n_refs);
        json_t *json = json_loadb(doc.p, doc.n, JSON_REJECT_DUPLICATES, NULL);
        BUG_ON(!json);
        json_decref(json);
    }
    (void)tag_valid(doc);
    arena_release(&a);
    return 0;
}
