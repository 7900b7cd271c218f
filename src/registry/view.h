/* What is in a repository, as people and the APIs look at it: tags, and the images that each names. For read
 * transactions; texts live in the arena that is given. And what an API may delete of it. */
#ifndef REGISTRY_VIEW_H
#define REGISTRY_VIEW_H
#include "base/digest.h"
#include "ident/account.h"
#include "registry/registry.h"

enum { TAG_NAME_MAX = 128, VIEW_IMAGES_MAX = 100, VIEW_LAYERS_MAX = 500 };
struct layer_view {
    struct digest digest;          /* alg DIGEST_NONE: an instruction that made no layer */
    int64_t size;
    struct str instruction;        /* "" unknown */
};
struct image_view {
    struct digest digest;          /* of its manifest */
    int64_t size;                  /* of its layers as they are stored; 0 too when the manifest is not here */
    struct str os, os_version, architecture, variant; /* "" unknown */
    struct layer_view *layers;     /* when asked for */
    size_t n_layers;
};
struct tag_view {
    char name[TAG_NAME_MAX + 1];
    struct digest digest;
    struct str media_type, artifact_type; /* of the manifest; artifact_type "" none: of an image its config's */
    int64_t created_at, pushed_at, size;  /* size: of all its images */
    struct image_view *images;     /* the first VIEW_IMAGES_MAX */
    size_t n_images;
};
enum view_order { VIEW_BY_NAME, VIEW_BY_NAME_DOWN, VIEW_BY_TIME, VIEW_BY_TIME_DOWN };
/* Names of all tags in that order; fn returns 0, or anything else to stop. */
int view_tx_tags(struct db_tx *tx, int64_t repo_id, enum view_order order, int (*fn)(void *arg, struct str tag), void *arg,
                 struct err *err);
int view_tx_tag(struct db_tx *tx, struct registry *g, struct arena *a, int64_t repo_id, struct str tag, bool layers,
                struct tag_view *ret, struct err *err); /* 1, 0 none */
struct repo_view {
    int64_t bytes;                 /* of the blobs that it links, each once */
    struct kind_view {
        struct str media_type, artifact_type;
    } kinds[20];                   /* of its manifests, distinct */
    size_t n_kinds;
};
int view_tx_repo(struct db_tx *tx, struct arena *a, int64_t repo_id, struct repo_view *ret, struct err *err);

/* The route's repository (RIGHT_REPO_CONTENT, RIGHT_REPO_DELETE). ERR_NOT_FOUND: no such tag. A deleted repository is gone
 * at once, for everybody; what it held is removed behind the answer, and by the next server if this one dies. */
int registry_tag_delete(struct http_req *r, struct str tag, struct err *err);
int registry_repo_delete(struct http_req *r, struct err *err);
#endif
