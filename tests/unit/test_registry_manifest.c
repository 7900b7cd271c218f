/* The strict manifest model: what it accepts, what it refuses, and some 300 ambiguous documents
 * (T21). */
#include "registry/registry_int.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define HEX_A "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define HEX_B "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define IMAGE "application/vnd.oci.image.manifest.v1+json"
#define INDEX "application/vnd.oci.image.index.v1+json"
#define DOCKER "application/vnd.docker.distribution.manifest.v2+json"
#define LIST "application/vnd.docker.distribution.manifest.list.v2+json"
#define CONFIG_TYPE "application/vnd.oci.image.config.v1+json"
#define LAYER_TYPE "application/vnd.oci.image.layer.v1.tar+gzip"
#define CONFIG \
    "\"config\":{\"mediaType\":\"" CONFIG_TYPE "\",\"digest\":\"sha256:" HEX_A "\",\"size\":2}"
#define LAYER "{\"mediaType\":\"" LAYER_TYPE "\",\"digest\":\"sha256:" HEX_B "\",\"size\":3}"
#define LAYERS "\"layers\":[" LAYER "]"
#define CHILD "{\"mediaType\":\"" IMAGE "\",\"digest\":\"sha256:" HEX_A "\",\"size\":4}"
#define V2 "\"schemaVersion\":2"
#define SUBJECT \
    "\"subject\":{\"mediaType\":\"" IMAGE "\",\"digest\":\"sha256:" HEX_B "\",\"size\":4}"

static struct arena arena;
static struct manifest model;
static struct err why;

static int parse_n(const char *doc, size_t n, const char *type)
{
    why = (struct err){0};
    return manifest_parse(&arena, (struct str){doc, n}, str_of(type), 4u << 20, &model, &why);
}

static int parse(const char *doc, const char *type)
{
    return parse_n(doc, strlen(doc), type);
}

static int setup(void **state)
{
    (void)state;
    arena_init(&arena);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    arena_release(&arena);
    return 0;
}

static void test_accepts(void **state)
{
    (void)state;
    static const struct {
        const char *doc, *type;
        size_t refs;
    } good[] = {
        {"{" V2 "," CONFIG "," LAYERS "}", IMAGE, 2},
        {"{" V2 "," CONFIG "," LAYERS "}", DOCKER, 2},
        {"{" V2 "," CONFIG "," LAYERS "}", IMAGE "; charset=utf-8", 2},
        {"{" V2 ",\"mediaType\":\"" IMAGE "\"," CONFIG "," LAYERS "}", IMAGE, 2},
        {"{" V2 "," CONFIG ",\"layers\":[]}", IMAGE, 1},
        {"{" V2 "," CONFIG ",\"layers\":null}", IMAGE, 1},
        {"{" V2 "," CONFIG ",\"layers\":[" LAYER "," LAYER "]}", IMAGE, 2},
        {"{" V2 "," CONFIG "," LAYERS ",\"org.example.x\":{\"deep\":[1,2.5,null]}}", IMAGE, 2},
        {"{" V2 "," CONFIG "," LAYERS "," SUBJECT "}", IMAGE, 2},
        {"{" V2 ",\"manifests\":[]}", INDEX, 0},
        {"{" V2 ",\"manifests\":[" CHILD "," CHILD "]}", INDEX, 1},
        {"{" V2 ",\"manifests\":[" CHILD "]}", LIST, 1},
        {"{" V2 ",\"artifactType\":\"a/b\",\"manifests\":[" CHILD "]," SUBJECT "}", INDEX, 1},
        {" \n{" V2 "," CONFIG "," LAYERS ",\"annotations\":{\"k\":\"v\"}}\n", IMAGE, 2},
    };
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        if (parse(good[i].doc, good[i].type) < 0)
            fail_msg("case %zu refused: %s", i, why.text);
        assert_int_equal(model.n_refs, good[i].refs);
    }
}

static void test_reads_what_referrers_report(void **state)
{
    (void)state;
    assert_int_equal(parse("{" V2 "," CONFIG "," LAYERS "," SUBJECT
                           ",\"annotations\":{\"b\":\"\\u00e9\",\"a\":\"\"}}",
                           IMAGE),
                     0);
    assert_true(model.has_subject);
    assert_int_equal(model.subject.bytes[0], 0xbb);
    assert_true(str_is(model.artifact_type, CONFIG_TYPE)); /* falls back to the config's type */
    assert_true(str_is(model.annotations, "{\"b\":\"\xc3\xa9\",\"a\":\"\"}"));
    assert_int_equal(parse("{" V2 ",\"artifactType\":\"x/y\"," CONFIG "," LAYERS "}", IMAGE), 0);
    assert_true(str_is(model.artifact_type, "x/y"));
    assert_false(model.has_subject);
    assert_int_equal(parse("{" V2 ",\"manifests\":[]}", INDEX), 0);
    assert_int_equal(model.artifact_type.n, 0); /* an index has no fallback */
    assert_int_equal(model.annotations.n, 0);
}

static void test_kinds_of_references(void **state)
{
    (void)state;
    assert_int_equal(parse("{" V2 "," CONFIG "," LAYERS "}", IMAGE), 0);
    assert_int_equal(model.refs[0].kind, REF_CONFIG); /* sorted by digest: a before b */
    assert_int_equal(model.refs[1].kind, REF_BLOB);
    assert_int_equal(model.refs[1].size, 3);
    /* An index may list blobs (buildkit's cache manifests): they are blobs, not children. */
    assert_int_equal(parse("{" V2 ",\"manifests\":[" CHILD "," LAYER "]}", INDEX), 0);
    assert_int_equal(model.refs[0].kind, REF_CHILD);
    assert_int_equal(model.refs[1].kind, REF_BLOB);
}

static void test_embedded_data(void **state)
{
    (void)state;
    /* sha256 of "{}" */
    static const char ok[] =
        "{" V2 ",\"config\":{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":"
        "\"sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\","
        "\"size\":2,\"data\":\"%s\"},\"layers\":[]}";
    char doc[1024];
    (void)snprintf(doc, sizeof doc, ok, "e30=");
    assert_int_equal(parse(doc, IMAGE), 0);
    static const char *const bad[] = {"e30", "e31=", "e30g", "!!!!", "e30= ", ""};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(doc, sizeof doc, ok, bad[i]);
        assert_int_equal(parse(doc, IMAGE), ERR_MANIFEST_INVALID);
    }
}

static void refused(const char *doc, const char *type)
{
    if (parse(doc, type) != ERR_MANIFEST_INVALID)
        fail_msg("accepted as %s: %s", type, doc);
    assert_true(strlen(why.text) > 10);
}

static void test_refuses(void **state)
{
    (void)state;
    static const char *const image[] = {
        "",
        "{",
        "[]",
        "null",
        "1",
        "\"x\"",
        "{}",
        "{" V2 "}",
        "{" V2 "," CONFIG "}",
        "{" V2 "," LAYERS "}",
        "{\"schemaVersion\":1," CONFIG "," LAYERS "}",
        "{\"schemaVersion\":\"2\"," CONFIG "," LAYERS "}",
        "{\"schemaVersion\":2.0," CONFIG "," LAYERS "}",
        "{" CONFIG "," LAYERS "}",
        "{" V2 ",\"mediaType\":\"" INDEX "\"," CONFIG "," LAYERS "}",
        "{" V2 ",\"mediaType\":7," CONFIG "," LAYERS "}",
        "{" V2 "," CONFIG "," LAYERS ",\"manifests\":[]}",
        "{" V2 "," CONFIG "," LAYERS ",\"manifests\":null}",
        "{" V2 "," CONFIG "," LAYERS ",\"fsLayers\":[]}",
        "{" V2 ",\"manifests\":[" CHILD "]}",
        "{" V2 "," CONFIG ",\"layers\":{}}",
        "{" V2 "," CONFIG ",\"layers\":[null]}",
        "{" V2 "," CONFIG ",\"layers\":[1]}",
        "{" V2 "," CONFIG "," LAYERS "} x",
        "{" V2 "," CONFIG "," LAYERS "}{}",
        "{" V2 "," CONFIG "," LAYERS ",}",
        "{" V2 "," CONFIG "," LAYERS ",\"annotations\":[]}",
        "{" V2 "," CONFIG "," LAYERS ",\"annotations\":{\"a\":1}}",
        "{" V2 "," CONFIG "," LAYERS ",\"artifactType\":1}",
        "{" V2 "," CONFIG "," LAYERS ",\"artifactType\":\"a b\"}",
        "{" V2 "," CONFIG "," LAYERS ",\"subject\":\"sha256:" HEX_A "\"}",
        "{" V2 "," CONFIG "," LAYERS ",\"subject\":{}}",
    };
    for (size_t i = 0; i < ARRAY_LEN(image); i++)
        refused(image[i], IMAGE);
    static const char *const index[] = {
        "{" V2 "}",
        "{" V2 ",\"manifests\":1}",
        "{" V2 ",\"manifests\":[" CHILD "]," LAYERS "}",
        "{" V2 ",\"manifests\":[" CHILD "]," CONFIG "}",
        "{" V2 "," CONFIG "," LAYERS "}",
        "{" V2 ",\"manifests\":[" CHILD "],\"fsLayers\":[]}",
        "{" V2 ",\"mediaType\":\"" LIST "\",\"manifests\":[]}",
    };
    for (size_t i = 0; i < ARRAY_LEN(index); i++)
        refused(index[i], INDEX);
    static const char *const types[] = {"",
                                        "application/json",
                                        "application/octet-stream",
                                        "text/plain",
                                        ";",
                                        "application/vnd.docker.distribution.manifest.v1+json",
                                        "application/vnd.docker.distribution.manifest.v1+prettyjws",
                                        CONFIG_TYPE,
                                        IMAGE "x",
                                        IMAGE "," INDEX};
    for (size_t i = 0; i < ARRAY_LEN(types); i++)
        refused("{" V2 "," CONFIG "," LAYERS "}", types[i]);
}

/* A descriptor with one field replaced by `field`; every place a descriptor stands in. */
static unsigned descriptor_everywhere(const char *descriptor)
{
    char doc[4096];
    (void)snprintf(doc, sizeof doc, "{" V2 ",\"config\":%s," LAYERS "}", descriptor);
    refused(doc, IMAGE);
    (void)snprintf(doc, sizeof doc, "{" V2 "," CONFIG ",\"layers\":[" LAYER ",%s]}", descriptor);
    refused(doc, IMAGE);
    (void)snprintf(doc, sizeof doc, "{" V2 ",\"manifests\":[%s]}", descriptor);
    refused(doc, INDEX);
    (void)snprintf(doc, sizeof doc, "{" V2 ",\"manifests\":[],\"subject\":%s}", descriptor);
    refused(doc, INDEX);
    return 4;
}

static unsigned bad_descriptors(void)
{
    static const char *const digests[] = {
        "1",
        "null",
        "\"\"",
        "\"sha256:\"",
        "\"sha256:" HEX_A "a\"",
        "\"SHA256:" HEX_A "\"",
        "\"sha256-" HEX_A "\"",
        "\"sha512:" HEX_A "\"",
        "\"md5:d41d8cd98f00b204e9800998ecf8427e\"",
        "\" sha256:" HEX_A "\"",
        "\"sha256:" HEX_A " \"",
        "\"sha256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\"",
        "\"sha256:Aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
    };
    static const char *const sizes[] = {
        "-1", "1.0", "1e3", "\"1\"", "null", "true", "9007199254740992", "9223372036854775808",
        "01", "+1",  "0x1"};
    static const char *const types[] = {
        "1", "null", "\"\"", "\"a b\"", "\"a\\u0000b\"", "\"a\\nb\"", "\"\xc3\xa9\""};
    static const char *const extra[] = {
        "\"urls\":1",      "\"urls\":[1]", "\"annotations\":[]",  "\"annotations\":{\"a\":null}",
        "\"platform\":[]", "\"data\":1",   "\"artifactType\":[]", "\"size\":3"};
    char d[2048];
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(digests); i++) {
        (void)snprintf(d, sizeof d, "{\"mediaType\":\"a/b\",\"digest\":%s,\"size\":1}", digests[i]);
        n += descriptor_everywhere(d);
    }
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
        (void)snprintf(d, sizeof d,
                       "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_A "\",\"size\":%s}",
                       sizes[i]);
        n += descriptor_everywhere(d);
    }
    for (size_t i = 0; i < ARRAY_LEN(types); i++) {
        (void)snprintf(d, sizeof d, "{\"mediaType\":%s,\"digest\":\"sha256:" HEX_A "\",\"size\":1}",
                       types[i]);
        n += descriptor_everywhere(d);
    }
    for (size_t i = 0; i < ARRAY_LEN(extra); i++) {
        (void)snprintf(d, sizeof d,
                       "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_A "\",\"size\":1,%s}",
                       extra[i]);
        n += descriptor_everywhere(d);
    }
    return n;
}

/* Keys that Go's reader takes for the known field: any case, U+017F for s, U+212A for k; and the
 * same key twice. */
static unsigned confusing_keys(void)
{
    static const char *const top[] = {"SchemaVersion",
                                      "schemaversion",
                                      "MEDIATYPE",
                                      "mediatype",
                                      "ArtifactType",
                                      "artifacttype",
                                      "Config",
                                      "CONFIG",
                                      "Layers",
                                      "LAYERS",
                                      "layer\xc5\xbf",
                                      "Manifests",
                                      "manifest\xc5\xbf",
                                      "Subject",
                                      "\xc5\xbfubject",
                                      "Annotations",
                                      "annotation\xc5\xbf",
                                      "FSLayers",
                                      "fslayers",
                                      "\\u017fubject",
                                      "\\u004cayers",
                                      "con\\u0046ig"};
    static const char *const inner[] = {
        "MediaType",    "mediatype",    "Digest",     "DIGEST",
        "Size",         "\xc5\xbfize",  "Urls",       "URLs",
        "url\xc5\xbf",  "Annotations",  "Data",       "Platform",
        "ArtifactType", "\\u0044igest", "\\u0053ize", "medi\\u0041Type",
        "digesT",       "sIze",         "siZe",       "plaTform",
        "datA",         "dATA",         "urlS",       "annOtations"};
    static const char *const twice[] = {V2, CONFIG, LAYERS, "\"mediaType\":\"" IMAGE "\"",
                                        "\"\\u006cayers\":[]"};
    char doc[4096];
    unsigned n = 0;
    for (size_t i = 0; i < ARRAY_LEN(top); i++) {
        (void)snprintf(doc, sizeof doc, "{" V2 "," CONFIG "," LAYERS ",\"%s\":null}", top[i]);
        refused(doc, IMAGE);
        (void)snprintf(doc, sizeof doc, "{" V2 ",\"manifests\":[],\"%s\":[]}", top[i]);
        refused(doc, INDEX);
        n += 2;
    }
    for (size_t i = 0; i < ARRAY_LEN(inner); i++) {
        char d[1024];
        (void)snprintf(d, sizeof d,
                       "{\"mediaType\":\"a/b\",\"digest\":\"sha256:" HEX_A
                       "\",\"size\":1,\"%s\":null}",
                       inner[i]);
        n += descriptor_everywhere(d);
    }
    for (size_t i = 0; i < ARRAY_LEN(twice); i++) {
        (void)snprintf(doc, sizeof doc,
                       "{" V2 ",\"mediaType\":\"" IMAGE "\"," CONFIG "," LAYERS ",%s}", twice[i]);
        refused(doc, IMAGE);
        n++;
    }
    return n;
}

static void test_ambiguous_documents(void **state)
{
    (void)state;
    unsigned n = bad_descriptors() + confusing_keys();
    print_message("%u ambiguous documents refused\n", n);
    assert_true(n >= 300);
}

/* Every proper prefix of a good document is refused, and so is a byte after it. */
static void test_prefixes(void **state)
{
    (void)state;
    static const char doc[] = "{" V2 "," CONFIG "," LAYERS "}";
    for (size_t n = 0; n < sizeof doc - 1; n++)
        assert_int_equal(parse_n(doc, n, IMAGE), ERR_MANIFEST_INVALID);
    assert_int_equal(parse_n(doc, sizeof doc, IMAGE), ERR_MANIFEST_INVALID); /* the NUL */
}

static void test_large(void **state)
{
    (void)state;
    struct buf b;
    buf_init(&b, 8u << 20);
    buf_cstr(&b, "{" V2 "," CONFIG "," LAYERS ",\"annotations\":{");
    for (int i = 0; i < 390; i++) {
        buf_printf(&b, "%s\"large-%d\":\"", i ? "," : "", i);
        for (int k = 0; k < 1000; k++)
            buf_cstr(&b, "AAAAAAAAAA");
        buf_char(&b, '"');
    }
    buf_cstr(&b, "}}");
    assert_int_equal(parse_n(b.p, b.n, IMAGE), 0);
    assert_true(model.annotations.n > 3900000);
    buf_release(&b);
    buf_init(&b, 8u << 20);
    buf_cstr(&b, "{" V2 ",\"manifests\":[");
    for (int i = 0; i <= MANIFEST_REFS_MAX; i++)
        buf_printf(&b, "%s{\"mediaType\":\"a/b\",\"digest\":\"sha256:%064x\",\"size\":1}",
                   i ? "," : "", (unsigned)i);
    buf_cstr(&b, "]}");
    assert_int_equal(parse_n(b.p, b.n, INDEX), ERR_MANIFEST_INVALID);
    assert_non_null(strstr(why.text, "10000"));
    buf_release(&b);
}

static void test_tags(void **state)
{
    (void)state;
    static const char *const good[] = {
        "a", "A", "_", "0", "latest", "v1.2.3-rc_1", "sha256-aa.sig", "list"};
    static const char *const bad[] = {"",    ".",   "-a",       ".a",  "a/b", "a b",
                                      "a:b", "a@b", "\xc3\xa9", "a\n", "a%20"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(tag_valid(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(tag_valid(str_of(bad[i])));
    char longest[130];
    memset(longest, 'x', sizeof longest);
    assert_true(tag_valid((struct str){longest, 128}));
    assert_false(tag_valid((struct str){longest, 129}));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepts),
        cmocka_unit_test(test_reads_what_referrers_report),
        cmocka_unit_test(test_kinds_of_references),
        cmocka_unit_test(test_embedded_data),
        cmocka_unit_test(test_refuses),
        cmocka_unit_test(test_ambiguous_documents),
        cmocka_unit_test(test_prefixes),
        cmocka_unit_test(test_large),
        cmocka_unit_test(test_tags),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
