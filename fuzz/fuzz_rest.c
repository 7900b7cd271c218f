/* What clients send to the JSON frame: an accepted body keeps to its table and holds nothing else, an accepted
 * cursor is of its types and the one text of its key, an accepted time is written and read as the same. First
 * byte: which. */
#include "base/clock.h"
#include "rest/rest.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct rest *rest_of(const struct http_req *r) /* app's; nothing here asks for it */
{
    (void)r;
    abort();
}

static bool fits(struct str s) { return s.n > 0 && s.p[0] != '-'; }
static const struct rest_check check = {fits, "must not begin with -", NULL};
static const char *const words[] = {"read", "write", NULL};
static const struct rest_field inner_fields[] = {
    {"p", REST_STRING, .required = true, .min = 1, .max = 5}, {"s", REST_ENUM, .required = true, .words = words}, {0}};
static const struct rest_schema inner = {"Inner", "", inner_fields};
static const struct rest_field fields[] = {
    {"n", REST_STRING, .required = true, .max = 8, .check = &check},
    {"i", REST_INT, .nullable = true, .min = -3, .max = 90},
    {"b", REST_BOOL, .nullable = true},
    {"t", REST_TIME, .nullable = true},
    {"o", REST_OBJECT, .schema = &inner},
    {"a", REST_ARRAY, .max = 3, .schema = &inner},
    {"w", REST_ARRAY, .max = 3, .of = REST_ENUM, .words = words},
    {0}};

static void tell(void *arg, const char *field, const char *message)
{
    ++*(int *)arg;
    BUG_ON(field == NULL || message[0] == '\0' || strlen(field) > 255 || strlen(message) > 255);
}

static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s != '\0'; s++)
        n += ((unsigned char)*s & 0xc0) != 0x80;
    return n;
}

static void check_inner(const json_t *o)
{
    const char *p = json_string_value(json_object_get(o, "p")), *s = json_string_value(json_object_get(o, "s"));
    BUG_ON(json_object_size(o) != 2 || p == NULL || s == NULL || characters(p) < 1 || characters(p) > 5);
    BUG_ON(strcmp(s, "read") != 0 && strcmp(s, "write") != 0);
}

static void check_accepted(json_t *doc)
{
    static const char *const names[] = {"n", "i", "b", "t", "o", "a", "w"};
    size_t known = 0, i;
    json_t *v, *n = json_object_get(doc, "n");
    for (size_t k = 0; k < ARRAY_LEN(names); k++)
        known += json_object_get(doc, names[k]) != NULL;
    BUG_ON(!json_is_object(doc) || json_object_size(doc) != known || !json_is_string(n));
    BUG_ON(characters(json_string_value(n)) > 8 || json_string_value(n)[0] == '-');
    v = json_object_get(doc, "i");
    BUG_ON(json_is_integer(v) ? json_integer_value(v) < -3 || json_integer_value(v) > 90 : v != NULL && !json_is_null(v));
    if ((v = json_object_get(doc, "o")) != NULL)
        check_inner(v);
    BUG_ON(json_array_size(json_object_get(doc, "a")) > 3 || json_array_size(json_object_get(doc, "w")) > 3);
    json_array_foreach(json_object_get(doc, "a"), i, v) check_inner(v);
}

static void body(struct str text, bool lenient)
{
    json_t *doc = NULL;
    int told = 0;
    if (json_strict(text, JSON_CAPS_DEFAULT, &doc, NULL) < 0)
        return;
    static const struct rest_schema s = {"Fuzz", "", fields};
    int faults = rest_check(&s, doc, lenient, tell, &told);
    BUG_ON((faults == 0) != (told == 0) || told > faults);
    if (faults == 0)
        check_accepted(doc);
    json_decref(doc);
}

static void cursor(struct str text, const char *types)
{
    json_t *key = rest_cursor_parse(text, types);
    if (key == NULL)
        return;
    BUG_ON(json_array_size(key) != strlen(types));
    for (size_t i = 0; types[i] != '\0'; i++)
        BUG_ON(types[i] == 'i' ? !json_is_integer(json_array_get(key, i)) : !json_is_string(json_array_get(key, i)));
    struct arena a;
    arena_init(&a);
    struct str again = str_of(rest_cursor_text(&a, key));
    BUG_ON(!str_eq(again, text));
    arena_release(&a);
    json_decref(key);
}

static void time_text(struct str text)
{
    int64_t us, again;
    char out[28];
    if (!rest_time_parse(text, &us) || us < 0 || us > 253402300799999999)
        return;
    clock_rfc3339(out, us);
    BUG_ON(!rest_time_parse(str_of(out), &again) || again != us);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    struct str text = {(const char *)data + 1, size - 1};
    switch (data[0] % 6) {
    case 0:
    case 1:
        body(text, data[0] % 6 == 1);
        break;
    case 2:
        cursor(text, "s");
        break;
    case 3:
        cursor(text, "is");
        break;
    case 4:
        cursor(text, "i");
        break;
    default:
        time_text(text);
    }
    return 0;
}
