/* The strict model of a manifest: image manifest and index of OCI and Docker schema 2.
 *
 * A document is read once, by these rules, and stored byte for byte. What two readers could take
 * for two different things is refused (T21): fields of the other kind, a mediaType that is not the
 * Content-Type, keys that a case-folding reader (Go's encoding/json) takes for a known field,
 * numbers beyond 2^53, digests in any but the canonical form. Unknown fields are left alone.
 * Rules: image-spec manifest.md, image-index.md, descriptor.md; distribution-spec "Pushing
 * Manifests". */
#include "registry/registry_int.h"

#include "base/json.h"

#include <stdlib.h>

static const struct media_kind {
    const char *type;
    enum manifest_kind kind;
} media_kinds[] = {
    {"application/vnd.oci.image.manifest.v1+json", MANIFEST_IMAGE},
    {"application/vnd.oci.image.index.v1+json", MANIFEST_INDEX},
    {"application/vnd.docker.distribution.manifest.v2+json", MANIFEST_IMAGE},
    {"application/vnd.docker.distribution.manifest.list.v2+json", MANIFEST_INDEX},
};
#define MEDIA_ALLOWED                                                                       \
    "application/vnd.oci.image.manifest.v1+json, application/vnd.oci.image.index.v1+json, " \
    "application/vnd.docker.distribution.manifest.v2+json or "                              \
    "application/vnd.docker.distribution.manifest.list.v2+json"

static const char *const top_fields[] = {"schemaVersion", "mediaType",   "artifactType",
                                         "config",        "layers",      "manifests",
                                         "subject",       "annotations", "fsLayers"};
static const char *const descriptor_fields[] = {
    "mediaType", "digest", "size", "urls", "annotations", "data", "platform", "artifactType"};
/* 2^53 - 1: every reader's numbers hold it exactly. */
static const int64_t SIZE_MAX_EXACT = (INT64_C(1) << 53) - 1;

static const struct media_kind *media_find(struct str type)
{
    for (size_t i = 0; i < ARRAY_LEN(media_kinds); i++) {
        if (str_ieq(type, str_of(media_kinds[i].type)))
            return &media_kinds[i];
    }
    return NULL;
}

bool media_type_is_manifest(struct str s)
{
    return media_find(s) != NULL;
}

bool media_type_is_image(struct str s)
{
    const struct media_kind *k = media_find(s);
    return k != NULL && k->kind == MANIFEST_IMAGE;
}

bool tag_valid(struct str s)
{
    if (s.n == 0 || s.n > TAG_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        char c = s.p[i];
        bool word =
            (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
        if (!word && (i == 0 || (c != '.' && c != '-')))
            return false;
    }
    return true;
}

static int invalid(struct err *err, const char *where, const char *what)
{
    return err_set(err, ERR_MANIFEST_INVALID, "%s: %s", where, what);
}

/* Folds one key character as Go does: ASCII case, and the two code points outside ASCII that
 * fold into it (U+017F long s, U+212A Kelvin sign). Returns how many bytes it took. */
static size_t fold_char(const char *p, size_t n, char *ret)
{
    if (n >= 2 && memcmp(p, "\xc5\xbf", 2) == 0) {
        *ret = 's';
        return 2;
    }
    if (n >= 3 && memcmp(p, "\xe2\x84\xaa", 3) == 0) {
        *ret = 'k';
        return 3;
    }
    *ret = *p >= 'A' && *p <= 'Z' ? (char)(*p + 32) : *p;
    return 1;
}

static bool fold_eq(struct str key, const char *field)
{
    size_t i = 0;
    for (; i < key.n && *field; field++) {
        char a, b;
        i += fold_char(key.p + i, key.n - i, &a);
        fold_char(field, 1, &b);
        if (a != b)
            return false;
    }
    return i == key.n && *field == 0;
}

static int check_keys(json_t *object, const char *const *fields, size_t n, const char *where,
                      struct err *err)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        struct str k = str_of(key);
        for (size_t i = 0; i < n; i++) {
            if (!str_is(k, fields[i]) && fold_eq(k, fields[i]))
                return err_set(err, ERR_MANIFEST_INVALID,
                               "%s: a key differs from \"%s\" only in case", where, fields[i]);
        }
    }
    return 0;
}

static bool absent(json_t *v)
{
    return !v || json_is_null(v);
}

static bool media_type_shape(struct str s)
{
    if (s.n == 0 || s.n > MEDIA_TYPE_MAX)
        return false;
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] <= 0x20 || s.p[i] >= 0x7f)
            return false;
    }
    return true;
}

/* An optional media type field; *ret stays empty when absent. */
static int get_media_type(json_t *object, const char *field, const char *where, struct str *ret,
                          struct err *err)
{
    json_t *v = json_object_get(object, field);
    if (absent(v))
        return 0;
    struct str s = {json_string_value(v), json_string_length(v)};
    if (json_is_string(v) && s.n == 0)
        return 0;
    if (!json_is_string(v) || !media_type_shape(s))
        return err_set(err, ERR_MANIFEST_INVALID,
                       "%s: \"%s\" must be a media type of 1 to %d printable ASCII characters",
                       where, field, MEDIA_TYPE_MAX);
    *ret = s;
    return 0;
}

static int check_annotations(json_t *object, const char *where, struct err *err)
{
    json_t *map = json_object_get(object, "annotations");
    if (absent(map))
        return 0;
    if (!json_is_object(map))
        return invalid(err, where, "\"annotations\" must be an object of strings");
    const char *key;
    json_t *value;
    json_object_foreach(map, key, value)
    {
        if (!json_is_string(value))
            return invalid(err, where, "every value in \"annotations\" must be a string");
    }
    return 0;
}

static int check_urls(json_t *object, const char *where, struct err *err)
{
    json_t *urls = json_object_get(object, "urls");
    if (absent(urls))
        return 0;
    size_t i;
    json_t *value;
    if (!json_is_array(urls))
        return invalid(err, where, "\"urls\" must be an array of strings");
    json_array_foreach(urls, i, value)
    {
        if (!json_is_string(value))
            return invalid(err, where, "\"urls\" must be an array of strings");
    }
    return 0;
}

/* Embedded content must be what the descriptor names (descriptor.md "Embedded Content"). */
static int check_data(json_t *object, const struct manifest_ref *ref, const char *where,
                      struct err *err)
{
    json_t *data = json_object_get(object, "data");
    if (absent(data))
        return 0;
    if (!json_is_string(data))
        return invalid(err, where, "\"data\" must be a base64 string");
    struct str text = {json_string_value(data), json_string_length(data)};
    size_t cap = text.n / 4 * 3 + 3;
    auto_free uint8_t *raw = mem_alloc(cap);
    long n = base64_decode(raw, cap, text);
    if (n < 0 || n != ref->size)
        return invalid(err, where, "\"data\" must be canonical base64 of \"size\" bytes");
    struct digest d;
    hash_bytes(ref->target.alg == DIGEST_SHA512 ? DIGEST_SHA512 : DIGEST_SHA256, raw, (size_t)n,
               &d);
    if (!digest_eq(&d, &ref->target))
        return invalid(err, where, "\"data\" does not match \"digest\"");
    return 0;
}

static int descriptor_digest(json_t *object, const char *where, struct digest *ret, struct err *err)
{
    json_t *v = json_object_get(object, "digest");
    if (!json_is_string(v))
        return invalid(err, where, "\"digest\" is required and must be a string");
    struct err why = {0};
    if (digest_parse((struct str){json_string_value(v), json_string_length(v)}, ret, &why) < 0)
        return invalid(err, where, why.text);
    return 0;
}

/* Checks one descriptor; *ret_type is borrowed from the document. */
static int descriptor_parse(json_t *object, const char *where, struct manifest_ref *ret,
                            struct str *ret_type, struct err *err)
{
    if (!json_is_object(object))
        return invalid(err, where, "must be a descriptor object");
    struct str type = {NULL, 0};
    int rc = check_keys(object, descriptor_fields, ARRAY_LEN(descriptor_fields), where, err);
    if (rc < 0 || (rc = get_media_type(object, "mediaType", where, &type, err)) < 0)
        return rc;
    if (type.n == 0)
        return invalid(err, where, "\"mediaType\" is required");
    struct manifest_ref ref = {.kind = 0};
    if ((rc = descriptor_digest(object, where, &ref.target, err)) < 0)
        return rc;
    json_t *size = json_object_get(object, "size");
    if (!json_is_integer(size) || json_integer_value(size) < 0 ||
        json_integer_value(size) > SIZE_MAX_EXACT)
        return invalid(err, where, "\"size\" is required and must be an integer from 0 to 2^53-1");
    ref.size = json_integer_value(size);
    json_t *platform = json_object_get(object, "platform");
    if (!absent(platform) && !json_is_object(platform))
        return invalid(err, where, "\"platform\" must be an object");
    struct str artifact = {NULL, 0};
    if ((rc = get_media_type(object, "artifactType", where, &artifact, err)) < 0 ||
        (rc = check_annotations(object, where, err)) < 0 ||
        (rc = check_urls(object, where, err)) < 0 ||
        (rc = check_data(object, &ref, where, err)) < 0)
        return rc;
    *ret = ref;
    *ret_type = type;
    return 0;
}

static int parse_list(json_t *list, const char *field, bool index, struct manifest *m,
                      struct err *err)
{
    size_t i;
    json_t *item;
    json_array_foreach(list, i, item)
    {
        char where[48];
        (void)snprintf(where, sizeof where, "%s[%zu]", field, i);
        struct str type;
        struct manifest_ref *ref = &m->refs[m->n_refs];
        int rc = descriptor_parse(item, where, ref, &type, err);
        if (rc < 0)
            return rc;
        ref->kind = index && media_type_is_manifest(type) ? REF_CHILD : REF_BLOB;
        m->n_refs++;
    }
    return 0;
}

static int ref_cmp(const void *a, const void *b)
{
    const struct manifest_ref *x = a, *y = b;
    if (x->target.alg != y->target.alg)
        return x->target.alg < y->target.alg ? -1 : 1;
    int c = memcmp(x->target.bytes, y->target.bytes, x->target.len);
    return c ? c : (int)x->kind - (int)y->kind;
}

/* Sorted by digest (one lock order for all writers) and without duplicates. */
static void refs_distinct(struct manifest *m)
{
    if (m->n_refs == 0)
        return;
    qsort(m->refs, m->n_refs, sizeof *m->refs, ref_cmp);
    size_t kept = 1;
    for (size_t i = 1; i < m->n_refs; i++) {
        if (!digest_eq(&m->refs[i].target, &m->refs[kept - 1].target))
            m->refs[kept++] = m->refs[i];
    }
    m->n_refs = kept;
}

/* The lists of the other kind, and schema 1's, make a document ambiguous (CVE-2021-41190). */
static int check_kind(json_t *doc, const struct manifest *m, struct err *err)
{
    static const char *const not_image[] = {"manifests", "fsLayers"};
    static const char *const not_index[] = {"config", "layers", "fsLayers"};
    bool image = m->kind == MANIFEST_IMAGE;
    const char *const *no = image ? not_image : not_index;
    for (size_t i = 0; i < (image ? ARRAY_LEN(not_image) : ARRAY_LEN(not_index)); i++) {
        if (json_object_get(doc, no[i]))
            return err_set(err, ERR_MANIFEST_INVALID,
                           "a manifest of type %.*s must not have the field \"%s\"",
                           STR_FMT(m->media_type), no[i]);
    }
    const char *list = image ? "layers" : "manifests";
    json_t *v = json_object_get(doc, list);
    if (!v || !(json_is_array(v) || json_is_null(v)))
        return err_set(err, ERR_MANIFEST_INVALID,
                       "\"%s\" is required and must be an array of descriptors", list);
    if (json_array_size(v) > MANIFEST_REFS_MAX)
        return err_set(err, ERR_MANIFEST_INVALID, "\"%s\" may have at most %d entries", list,
                       MANIFEST_REFS_MAX);
    return 0;
}

static int parse_refs(struct arena *a, json_t *doc, struct manifest *m, struct str *config_type,
                      struct err *err)
{
    bool index = m->kind == MANIFEST_INDEX;
    const char *field = index ? "manifests" : "layers";
    json_t *list = json_object_get(doc, field);
    m->refs = arena_zalloc(a, size_mul(size_add(json_array_size(list), 1), sizeof *m->refs));
    if (!index) {
        int rc = descriptor_parse(json_object_get(doc, "config"), "config", &m->refs[0],
                                  config_type, err);
        if (rc < 0)
            return rc;
        m->refs[0].kind = REF_CONFIG;
        m->n_refs = 1;
    }
    int rc = parse_list(list, field, index, m, err);
    if (rc == 0)
        refs_distinct(m);
    return rc;
}

static int parse_subject(json_t *doc, struct manifest *m, struct err *err)
{
    json_t *subject = json_object_get(doc, "subject");
    if (absent(subject))
        return 0;
    struct manifest_ref ref;
    struct str type;
    int rc = descriptor_parse(subject, "subject", &ref, &type, err);
    if (rc < 0)
        return rc;
    m->has_subject = true;
    m->subject = ref.target;
    return 0;
}

static int copy_annotations(struct arena *a, json_t *doc, struct manifest *m, struct err *err)
{
    int rc = check_annotations(doc, "manifest", err);
    json_t *map = json_object_get(doc, "annotations");
    if (rc < 0 || absent(map) || json_object_size(map) == 0)
        return rc;
    auto_free char *text = json_dumps(map, JSON_COMPACT);
    BUG_ON(!text);
    m->annotations = str_of(str_dup(a, str_of(text)));
    return 0;
}

static int parse_document(struct arena *a, json_t *doc, struct manifest *m, struct err *err)
{
    if (!json_is_object(doc))
        return invalid(err, "manifest", "must be a JSON object");
    int rc = check_keys(doc, top_fields, ARRAY_LEN(top_fields), "manifest", err);
    if (rc < 0)
        return rc;
    json_t *version = json_object_get(doc, "schemaVersion");
    if (!json_is_integer(version) || json_integer_value(version) != 2)
        return invalid(err, "manifest", "\"schemaVersion\" must be 2 (schema 1 is not accepted)");
    struct str type = {NULL, 0}, artifact = {NULL, 0}, config = {NULL, 0};
    if ((rc = get_media_type(doc, "mediaType", "manifest", &type, err)) < 0 ||
        (rc = get_media_type(doc, "artifactType", "manifest", &artifact, err)) < 0)
        return rc;
    if (type.n > 0 && !str_eq(type, m->media_type))
        return err_set(err, ERR_MANIFEST_INVALID,
                       "\"mediaType\" is %.*s but Content-Type says %.*s", STR_FMT(type),
                       STR_FMT(m->media_type));
    if ((rc = check_kind(doc, m, err)) < 0 || (rc = parse_refs(a, doc, m, &config, err)) < 0 ||
        (rc = parse_subject(doc, m, err)) < 0 || (rc = copy_annotations(a, doc, m, err)) < 0)
        return rc;
    if (artifact.n == 0 && m->kind == MANIFEST_IMAGE)
        artifact = config;
    if (artifact.n > 0)
        m->artifact_type = str_of(str_dup(a, artifact));
    return 0;
}

static int parse_content_type(struct str header, struct manifest *m, struct err *err)
{
    struct str rest = header, type = {NULL, 0};
    str_split(&rest, ';', &type);
    type = str_trim(type);
    const struct media_kind *known = media_find(type);
    if (known) {
        m->media_type = str_of(known->type);
        m->kind = known->kind;
        return 0;
    }
    if (type.n == 0)
        return err_set(err, ERR_MANIFEST_INVALID,
                       "Content-Type or \"mediaType\" is required; allowed are " MEDIA_ALLOWED);
    return err_set(err, ERR_MANIFEST_INVALID,
                   "Content-Type \"%.*s\" is not a manifest; allowed are " MEDIA_ALLOWED,
                   type.n > 80 ? 80 : (int)type.n, type.p);
}

int manifest_parse(struct arena *a, struct str bytes, struct str content_type, size_t max_bytes,
                   struct manifest *ret, struct err *err)
{
    /* Empty text, not none: the columns are NOT NULL. */
    struct manifest m = {.artifact_type = STR_LIT(""), .annotations = STR_LIT("")};
    int rc = content_type.n > 0 ? parse_content_type(content_type, &m, err) : 0;
    if (rc < 0)
        return rc;
    struct json_caps caps = JSON_CAPS_DEFAULT;
    caps.bytes = max_bytes;
    struct err why = {0};
    json_t *doc = NULL;
    if (json_strict(bytes, caps, &doc, &why) < 0)
        return err_set(err, ERR_MANIFEST_INVALID, "not acceptable JSON: %s", why.text);
    if (content_type.n == 0) { /* clients SHOULD send it: without, the document's own word counts */
        json_t *own = json_object_get(doc, "mediaType");
        rc = parse_content_type((struct str){json_string_value(own), json_string_length(own)}, &m, err);
    }
    if (rc == 0)
        rc = parse_document(a, doc, &m, err);
    json_decref(doc);
    if (rc == 0)
        *ret = m;
    return rc;
}
