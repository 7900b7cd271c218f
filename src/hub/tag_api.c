/* Tags and their images. */
#include "hub/repo.h"

#include "crypt/hash.h"

static const int64_t active_us = INT64_C(30) * 86400 * 1000000; /* pushed within a month */
static const char *const statuses[] = {"active", "inactive", NULL};
#define IMAGE_FIELDS                                                                                                     \
    {"architecture", REST_STRING, .required = true}, {"features", REST_STRING, .required = true},                         \
        {"variant", REST_STRING, .required = true, .nullable = true}, {"digest", REST_STRING, .required = true},           \
        {"os", REST_STRING, .required = true}, {"os_features", REST_STRING, .required = true},                            \
        {"os_version", REST_STRING, .required = true, .nullable = true}, {"size", REST_INT, .required = true},             \
        {"status", REST_ENUM, .required = true, .words = statuses},                                                       \
        {"last_pulled", REST_TIME, .required = true, .nullable = true}, {"last_pushed", REST_TIME, .required = true, .nullable = true}
static const struct rest_schema image = {"HubImage", "An image of a tag.", (const struct rest_field[]){IMAGE_FIELDS, {0}}};
static const struct rest_schema tag = {
    "HubTag", "A tag.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"name", REST_STRING, .required = true},
        {"images", REST_ARRAY, .required = true, .schema = &image, .max = VIEW_IMAGES_MAX},
        {"creator", REST_INT, .required = true},
        {"last_updated", REST_TIME, .required = true},
        {"last_updater", REST_INT, .required = true},
        {"last_updater_username", REST_STRING, .required = true},
        {"repository", REST_INT, .required = true},
        {"full_size", REST_INT, .required = true},
        {"v2", REST_BOOL, .required = true},
        {"tag_status", REST_ENUM, .required = true, .words = statuses},
        {"status", REST_ENUM, .required = true, .words = statuses},
        {"tag_last_pulled", REST_TIME, .required = true, .nullable = true},
        {"tag_last_pushed", REST_TIME, .required = true},
        {"media_type", REST_STRING, .required = true},
        {"content_type", REST_STRING, .required = true},
        {"digest", REST_STRING, .required = true},
        {"image_id", REST_STRING, .required = true, .nullable = true},
        {0}}};
static const struct rest_schema tags = {"HubTagPage", "A page of tags.", (const struct rest_field[]){HUB_PAGE_OF("count", tag), {0}}};
static const struct rest_field list_query[] = {
    HUB_PAGE_QUERY, {"name", REST_STRING, .max = TAG_NAME_MAX}, {"ordering", REST_STRING, .max = 40}, {0}};

/* --- shapes */

/* Tags have no number here: one that stays the same for the same name in the same repository. */
static int64_t tag_id(int64_t repo_id, const char *name)
{
    char text[TAG_NAME_MAX + 32];
    struct digest d;
    int64_t id = 0;
    int n = snprintf(text, sizeof text, "%lld:%s", (long long)repo_id, name);
    hash_bytes(DIGEST_SHA256, text, (size_t)n, &d);
    for (size_t i = 0; i < 6; i++)
        id = id << 8 | d.bytes[i];
    return id;
}

static const char *status_of(const struct tag_view *t) { return t->pushed_at > clock_now() - active_us ? "active" : "inactive"; }
static json_t *text_json(struct str s) { return json_stringn(s.p ? s.p : "", s.n); }
static json_t *text_or_null(struct str s) { return s.n > 0 ? text_json(s) : json_null(); }

static json_t *image_json(const struct tag_view *t, const struct image_view *im)
{
    char text[DIGEST_TEXT_MAX];
    return json_pack("{s:o,s:s,s:o,s:s,s:o,s:s,s:o,s:I,s:s,s:n,s:o}", "architecture", text_json(im->architecture), "features", "", "variant",
                     text_or_null(im->variant), "digest", digest_text(&im->digest, text), "os", text_json(im->os), "os_features", "",
                     "os_version", text_or_null(im->os_version), "size", (json_int_t)im->size, "status", status_of(t), "last_pulled",
                     "last_pushed", rest_json_time(t->pushed_at));
}

static json_t *layers_json(const struct image_view *im)
{
    char text[DIGEST_TEXT_MAX];
    json_t *list = json_array();
    for (size_t i = 0; i < im->n_layers; i++) {
        const struct layer_view *l = &im->layers[i];
        json_t *o = json_pack("{s:I,s:o}", "size", (json_int_t)l->size, "instruction", text_json(l->instruction));
        if (l->digest.alg != DIGEST_NONE)
            json_object_set_new(o, "digest", json_string(digest_text(&l->digest, text)));
        json_array_append_new(list, o);
    }
    return list;
}

static json_t *images_json(const struct tag_view *t, bool layers)
{
    json_t *list = json_array();
    for (size_t i = 0; i < t->n_images; i++) {
        json_t *o = image_json(t, &t->images[i]);
        if (layers)
            json_object_set_new(o, "layers", layers_json(&t->images[i]));
        json_array_append_new(list, o);
    }
    return list;
}

/* Who pushed a tag is in the audit log, not in its row. */
static json_t *tag_json(int64_t repo_id, const struct tag_view *t)
{
    char text[DIGEST_TEXT_MAX];
    return json_pack("{s:I,s:s,s:o,s:i,s:o,s:i,s:s,s:I,s:I,s:b,s:s,s:s,s:n,s:o,s:o,s:s,s:s,s:n}", "id",
                     (json_int_t)tag_id(repo_id, t->name), "name", t->name, "images", images_json(t, false), "creator", 0, "last_updated",
                     rest_json_time(t->pushed_at), "last_updater", 0, "last_updater_username", "", "repository", (json_int_t)repo_id,
                     "full_size", (json_int_t)t->size, "v2", 1, "tag_status", status_of(t), "status", status_of(t), "tag_last_pulled",
                     "tag_last_pushed", rest_json_time(t->pushed_at), "media_type", text_json(t->media_type), "content_type",
                     hub_content_type(t->media_type, t->artifact_type), "digest", digest_text(&t->digest, text), "image_id");
}

/* --- reading */

struct job {
    struct rest_call *c;
    struct hub_page page;
    struct str names[HUB_PAGE_MAX];
    size_t n;
    json_t *doc;
};

static int keep_name(void *arg, struct str name)
{
    struct job *j = arg;
    if (text_has(name, rest_text(j->c->query, "name")) && hub_page_takes(&j->page))
        j->names[j->n++] = str_of(str_dup(&j->c->r->arena, name));
    return 0;
}

/* In Hub's list of tags `last_updated` is newest first, as without any. */
static enum view_order order_of(struct str by)
{
    return str_is(by, "name")            ? VIEW_BY_NAME
           : str_is(by, "-name")         ? VIEW_BY_NAME_DOWN
           : str_is(by, "-last_updated") ? VIEW_BY_TIME
                                         : VIEW_BY_TIME_DOWN;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct job *j = arg;
    struct http_req *r = j->c->r;
    int64_t repo_id = req_repo(r)->fact->id;
    hub_page_start(&j->page, j->c);
    j->n = 0;
    int rc = view_tx_tags(tx, repo_id, order_of(rest_text(j->c->query, "ordering")), keep_name, j, err);
    for (size_t i = 0; rc >= 0 && i < j->n; i++) {
        struct tag_view t;
        rc = view_tx_tag(tx, registry_of(r), &r->arena, repo_id, j->names[i], false, &t, err);
        if (rc == 1)
            hub_page_add(&j->page, tag_json(repo_id, &t));
    }
    return rc < 0 ? rc : 0;
}

static int tag_list(struct rest_call *c, struct err *err)
{
    struct job *j = arena_zalloc(&c->r->arena, sizeof *j);
    j->c = c;
    int rc = db_read(hub_db(c->r), list_read, j, err);
    return hub_page_send(&j->page, rc, err);
}

static int one_read(struct db_tx *tx, struct job *j, bool layers, struct err *err)
{
    struct http_req *r = j->c->r;
    struct tag_view t;
    int64_t repo_id = req_repo(r)->fact->id;
    int rc = view_tx_tag(tx, registry_of(r), &r->arena, repo_id, r->parts[2], layers, &t, err);
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "tag '%.*s' not found", STR_FMT(r->parts[2]));
    if (rc < 0)
        return rc;
    json_decref(j->doc);
    j->doc = layers ? images_json(&t, true) : tag_json(repo_id, &t);
    return 0;
}

static int tag_read(struct db_tx *tx, void *arg, struct err *err) { return one_read(tx, arg, false, err); }
static int images_read(struct db_tx *tx, void *arg, struct err *err) { return one_read(tx, arg, true, err); }

static int tag_get(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), tag_read, &j, err);
    if (rc < 0)
        json_decref(j.doc);
    return rc < 0 ? rc : rest_send(c, j.doc);
}

/* A bare array. */
static int images_get(struct rest_call *c, struct err *err)
{
    struct job j = {.c = c};
    int rc = db_read(hub_db(c->r), images_read, &j, err);
    auto_free char *text = rc < 0 ? NULL : json_dumps(j.doc, JSON_COMPACT);
    json_decref(j.doc);
    if (rc < 0)
        return rc;
    BUG_ON(text == NULL);
    http_status(c->r, 200);
    http_add(c->r, "Content-Type", STR_LIT("application/json"));
    http_add(c->r, "Cache-Control", STR_LIT("no-store"));
    http_send(c->r, str_of(str_dup(&c->r->arena, str_of(text))));
    return 0;
}

static int tag_drop(struct rest_call *c, struct err *err)
{
    int rc = registry_tag_delete(c->r, c->r->parts[2], err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

#define READ (HTTP_GET | HTTP_HEAD)
#define OLD "/repositories/{namespace}/{repo}/tags"
#define NEW "/namespaces/{namespace}/repositories/{repo}/tags"
#define TAGS(path, label)                                                                                                   \
    {HUB_ROW(READ, path, label "s", RIGHT_REPO_READ), tag_list, "Tags", "hub", .query = list_query, .answer = &tags},         \
        {HUB_ROW(READ, path "/{tag}", label, RIGHT_REPO_READ), tag_get, "A tag", "hub", .answer = &tag},                      \
        {HUB_ROW(READ, path "/{tag}/images", label "_images", RIGHT_REPO_READ), images_get, "A tag's images with layers",     \
         "hub", .media = "application/json"},                                                                               \
        {HUB_ROW(HTTP_DELETE, path "/{tag}", label "_delete", RIGHT_REPO_CONTENT), tag_drop, "Delete a tag", "hub"}
const struct rest_route hub_tag_routes[] = {TAGS(NEW, "hub_tag"), TAGS(OLD, "hub_old_tag")};
const size_t n_hub_tag_routes = ARRAY_LEN(hub_tag_routes);
