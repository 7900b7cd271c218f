/* /api/v1: what is in a repository. */
#include "registry/view_int.h"

static const struct rest_schema image = {
    "Image", "What a tag means for one platform.", (const struct rest_field[]){
        {"digest", REST_STRING, .required = true},
        {"os", REST_STRING, .required = true, .about = "empty: unknown"},
        {"architecture", REST_STRING, .required = true},
        {"variant", REST_STRING, .required = true},
        {"size", REST_INT, .required = true, .about = "bytes of its layers, compressed"},
        {0}}};
static const struct rest_schema tag = {
    "Tag", "A tag, and the images it names.", (const struct rest_field[]){
        {"name", REST_STRING, .required = true},
        {"digest", REST_STRING, .required = true},
        {"media_type", REST_STRING, .required = true},
        {"artifact_type", REST_STRING, .required = true, .about = "empty: none"},
        {"size", REST_INT, .required = true, .about = "of all its images"},
        {"created_at", REST_TIME, .required = true},
        {"pushed_at", REST_TIME, .required = true, .about = "when it last got an image"},
        {"images", REST_ARRAY, .required = true, .max = VIEW_IMAGES_MAX, .schema = &image},
        {0}}};

static json_t *tag_json(const struct tag_view *t)
{
    char text[DIGEST_TEXT_MAX];
    json_t *images = json_array();
    for (size_t i = 0; i < t->n_images; i++) {
        const struct image_view *im = &t->images[i];
        json_array_append_new(images, json_pack("{s:s,s:s,s:s,s:s,s:I}", "digest", digest_text(&im->digest, text), "os", im->os.p ? im->os.p : "",
                                                "architecture", im->architecture.p ? im->architecture.p : "", "variant",
                                                im->variant.p ? im->variant.p : "", "size", (json_int_t)im->size));
    }
    return json_pack("{s:s,s:s,s:s%,s:s%,s:I,s:o,s:o,s:o}", "name", t->name, "digest", digest_text(&t->digest, text), "media_type",
                     t->media_type.p, t->media_type.n, "artifact_type", t->artifact_type.p, t->artifact_type.n, "size",
                     (json_int_t)t->size, "created_at", rest_json_time(t->created_at), "pushed_at", rest_json_time(t->pushed_at),
                     "images", images);
}

struct names {
    struct arena *arena;
    struct str *v;
    size_t n;
};

static int keep_name(void *arg, struct str name)
{
    struct names *l = arg;
    l->v[l->n++] = str_of(str_dup(l->arena, name));
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct rest_call *c = arg;
    int64_t n = rest_page(c), repo_id = req_repo(c->r)->fact->id;
    struct names l = {&c->r->arena, arena_alloc(&c->r->arena, size_mul((size_t)n, sizeof *l.v)), 0};
    int rc = tag_tx_page(tx, repo_id, rest_after_text(c, 0), n, keep_name, &l, err);
    for (size_t i = 0; rc >= 0 && i < l.n; i++) {
        struct tag_view t;
        rc = view_tx_tag(tx, registry_of(c->r), &c->r->arena, repo_id, l.v[i], false, &t, err);
        if (rc == 1)
            rest_add(c, tag_json(&t), json_pack("[s]", t.name));
    }
    return rc < 0 ? rc : 0;
}

static int tag_list(struct rest_call *c, struct err *err)
{
    int rc = db_read(registry_of(c->r)->db, list_read, c, err);
    return rc < 0 ? rc : rest_send_page(c);
}

struct one {
    struct rest_call *c;
    struct tag_view tag;
    bool found;
};

static int one_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct one *o = arg;
    const struct http_req *r = o->c->r;
    int rc = view_tx_tag(tx, registry_of(r), &o->c->r->arena, req_repo(r)->fact->id, r->parts[2], false, &o->tag, err);
    o->found = rc == 1;
    return rc < 0 ? rc : 0;
}

static int tag_get(struct rest_call *c, struct err *err)
{
    struct one o = {.c = c};
    int rc = db_read(registry_of(c->r)->db, one_read, &o, err);
    if (rc == 0 && !o.found)
        rc = err_set(err, ERR_NOT_FOUND, "there is no tag \"%.*s\"", STR_FMT(c->r->parts[2]));
    return rc < 0 ? rc : rest_send(c, tag_json(&o.tag));
}

static int tag_drop(struct rest_call *c, struct err *err)
{
    int rc = registry_tag_delete(c->r, c->r->parts[2], err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

static int repo_drop(struct rest_call *c, struct err *err)
{
    int rc = registry_repo_delete(c->r, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

#define REPO "/repositories/{namespace}/{repo}"
const struct rest_route content_routes[] = {
    {REST_DELETE(REPO, "repository_delete", RIGHT_REPO_DELETE), repo_drop, "Delete a repository with all that is in it", "repositories"},
    {REST_GET(REPO "/tags", "tag_list", RIGHT_REPO_READ), tag_list, "List tags and their images", "repositories", .answer = &tag,
     .cursor = "s"},
    {REST_GET(REPO "/tags/{tag}", "tag_get", RIGHT_REPO_READ), tag_get, "Read a tag", "repositories", .answer = &tag},
    {REST_DELETE(REPO "/tags/{tag}", "tag_delete", RIGHT_REPO_CONTENT), tag_drop, "Delete a tag", "repositories"},
};
const size_t n_content_routes = ARRAY_LEN(content_routes);
