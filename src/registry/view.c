/* A tag as an image of each platform. Sizes and platforms come from the manifests' own bytes, and of a single image
 * from its config; whatever cannot be read is told as unknown: a view is no verification. */
#include "base/json.h"
#include "registry/view_int.h"

#include <unistd.h>

enum { VIEW_MANIFEST_MAX = 4 << 20, VIEW_CONFIG_MAX = 1 << 20 };
static const struct json_caps caps = {VIEW_MANIFEST_MAX, 32, 200000};

struct viewer {
    struct db_tx *tx;
    struct registry *g;
    struct arena *arena;
    int64_t repo_id;
    bool layers;
};

static struct str text_of(struct viewer *v, const json_t *o, const char *name)
{
    const json_t *s = json_object_get(o, name);
    return str_of(str_dup(v->arena, (struct str){json_string_value(s), json_string_length(s)}));
}

static int64_t size_of(const json_t *descriptor)
{
    json_int_t n = json_integer_value(json_object_get(descriptor, "size"));
    return n > 0 && n < INT64_C(1) << 50 ? n : 0;
}

static bool digest_of(const json_t *descriptor, struct digest *ret)
{
    const json_t *s = json_object_get(descriptor, "digest");
    return digest_parse((struct str){json_string_value(s), json_string_length(s)}, ret, NULL) == 0;
}

static json_t *parsed(struct str bytes)
{
    json_t *doc = NULL;
    return bytes.p != NULL && json_strict(bytes, caps, &doc, NULL) == 0 ? doc : NULL;
}

static void platform(struct viewer *v, const json_t *o, struct image_view *im)
{
    im->os = text_of(v, o, "os");
    im->os_version = text_of(v, o, "os.version");
    im->architecture = text_of(v, o, "architecture");
    im->variant = text_of(v, o, "variant");
}

/* The config of an image of this repository: NULL when it cannot be had. */
static json_t *config_of(struct viewer *v, const json_t *manifest)
{
    const json_t *descriptor = json_object_get(manifest, "config");
    struct blob_row row;
    struct blob_stat st;
    struct digest d;
    int fd;
    if (size_of(descriptor) > VIEW_CONFIG_MAX || !digest_of(descriptor, &d) || blob_tx_linked(v->tx, v->repo_id, &d, &row, NULL) != 1 ||
        row.state != 0 || row.size > VIEW_CONFIG_MAX || store_open_blob(v->g->store, &d, &fd, &st, NULL) < 0)
        return NULL;
    auto_free char *bytes = mem_alloc((size_t)row.size + 1);
    ssize_t n = pread(fd, bytes, (size_t)row.size, 0);
    (void)close(fd);
    return n == row.size ? parsed((struct str){bytes, (size_t)n}) : NULL;
}

/* The config's history has an entry for each instruction; those that made a layer stand in the layers' order. */
static void add_layers(struct viewer *v, const json_t *layers, const json_t *config, struct image_view *im)
{
    const json_t *history = json_object_get(config, "history"), *one;
    size_t steps = json_array_size(history), used = 0, max = steps + json_array_size(layers);
    im->layers = arena_alloc(v->arena, size_mul(max < VIEW_LAYERS_MAX ? max + 1 : VIEW_LAYERS_MAX, sizeof *im->layers));
    for (size_t i = 0; (i < steps || used < json_array_size(layers)) && im->n_layers < VIEW_LAYERS_MAX; i++) {
        struct layer_view l = {.instruction = STR_LIT("")};
        one = json_array_get(history, i);
        l.instruction = text_of(v, one, "created_by");
        if (!json_is_true(json_object_get(one, "empty_layer"))) {
            const json_t *layer = json_array_get(layers, used++);
            l.size = size_of(layer);
            if (!digest_of(layer, &l.digest))
                l.digest.alg = DIGEST_NONE;
        }
        im->layers[im->n_layers++] = l;
    }
}

/* bytes: of the image's manifest. platform_known: an index has told it. */
static void image_fill(struct viewer *v, struct str bytes, bool platform_known, struct image_view *im)
{
    json_t *doc = parsed(bytes);
    const json_t *layers = json_object_get(doc, "layers"), *one;
    size_t at;
    json_array_foreach(layers, at, one) im->size += size_of(one);
    json_t *config = doc != NULL && (v->layers || !platform_known) ? config_of(v, doc) : NULL;
    if (config != NULL && !platform_known)
        platform(v, config, im);
    if (v->layers)
        add_layers(v, layers, config, im);
    json_decref(config);
    json_decref(doc);
}

static int index_fill(struct viewer *v, const json_t *children, struct tag_view *t, struct err *err)
{
    const json_t *one;
    size_t at;
    json_array_foreach(children, at, one)
    {
        struct image_view *im = &t->images[t->n_images];
        struct manifest_row row;
        *im = (struct image_view){.size = 0};
        if (t->n_images == VIEW_IMAGES_MAX || !digest_of(one, &im->digest))
            break;
        const json_t *known = json_object_get(one, "platform");
        platform(v, known, im);
        int rc = manifest_tx_by_digest(v->tx, v->arena, v->repo_id, &im->digest, VIEW_MANIFEST_MAX, &row, err);
        if (rc < 0)
            return rc;
        if (rc == 1)
            image_fill(v, row.bytes, known != NULL, im);
        t->n_images++;
    }
    return 0;
}

int view_tx_tag(struct db_tx *tx, struct registry *g, struct arena *a, int64_t repo_id, struct str tag, bool layers,
                struct tag_view *ret, struct err *err)
{
    struct viewer v = {tx, g, a, repo_id, layers};
    struct manifest_row row;
    *ret = (struct tag_view){.size = 0};
    int rc = view_tx_tag_row(tx, a, repo_id, tag, ret, err);
    if (rc != 1 || (rc = manifest_tx_by_tag(tx, a, repo_id, tag, VIEW_MANIFEST_MAX, &row, err)) != 1)
        return rc;
    ret->digest = row.digest;
    ret->media_type = row.media_type;
    json_t *doc = parsed(row.bytes);
    const json_t *children = json_object_get(doc, "manifests");
    size_t n = json_is_array(children) ? json_array_size(children) : 1;
    ret->images = arena_zalloc(a, size_mul((n < VIEW_IMAGES_MAX ? n : VIEW_IMAGES_MAX) + 1, sizeof *ret->images));
    if (json_is_array(children)) {
        rc = index_fill(&v, children, ret, err);
    } else {
        ret->images[0] = (struct image_view){.digest = row.digest, .os = STR_LIT("")};
        ret->n_images = 1;
        image_fill(&v, row.bytes, false, &ret->images[0]);
    }
    json_decref(doc);
    for (size_t i = 0; i < ret->n_images; i++)
        ret->size += ret->images[i].size;
    return rc < 0 ? rc : 1;
}
