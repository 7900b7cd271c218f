/* The OpenAPI 3.1 document of all rows (https://spec.openapis.org/oas/v3.1.0), made once at the start. Rows of
 * other dialects than PROBLEM are checked alike, and left out. */
#include "rest/rest_int.h"

#include <stdio.h>
#include <stdlib.h>

static const struct rest_field problem_fault_fields[] = {
    {"field", REST_STRING, .required = true, .about = "where: a field, bounds[0].scope, a parameter"},
    {"message", REST_STRING, .required = true},
    {0}};
static const struct rest_schema problem_fault = {"Fault", "A wrong field.", problem_fault_fields};
static const struct rest_field problem_fields[] = {
    {"type", REST_STRING, .required = true},
    {"title", REST_STRING, .required = true, .about = "what the status means"},
    {"status", REST_INT, .required = true},
    {"detail", REST_STRING, .required = true, .about = "what went wrong and what is allowed, for people"},
    {"code", REST_STRING, .required = true, .about = "for programs: not_found, fields, credential, ..."},
    {"instance", REST_STRING, .required = true, .about = "the request's id, as in X-Request-Id and the log"},
    {"ticket", REST_STRING, .about = "with code second_factor_required: goes to /login/factor"},
    {"errors", REST_ARRAY, .schema = &problem_fault, .about = "with code fields: each wrong one"},
    {0}};
static const struct rest_schema problem = {"Problem", "An error, RFC 9457.", problem_fields};

/* --- what a row may answer */

unsigned success_of(const struct rest_route *row)
{
    return row->status ? row->status : row->answer || row->media ? 200 : 204;
}

static bool is_get(const struct rest_route *row) { return (row->http.methods & HTTP_GET) != 0; }
static bool is_keyed(const struct rest_route *row) { return row->http.methods == HTTP_POST && row->http.writes; }

static bool common(const struct rest *x, const struct rest_route *row, unsigned status)
{
    switch (status) {
    case 400: case 429: case 500: case 503:
        return true;
    case 401: case 403:
        return row->http.right != x->o.public_right;
    case 404:
        return strchr(row->http.pattern, '{') != NULL;
    case 304:
        return is_get(row) && row->cursor == NULL;
    case 409: case 422:
        return is_keyed(row);
    case 412:
        return row->match;
    case 413: case 415:
        return row->http.body == HTTP_BUFFER;
    case 507:
        return row->http.writes;
    default:
        return false;
    }
}

bool documented(const struct rest *x, const struct rest_route *row, unsigned status)
{
    bool listed = status == success_of(row) || common(x, row, status) || status >= 500;
    for (size_t i = 0; i < ARRAY_LEN(row->also); i++)
        listed |= row->also[i] == status;
    return listed;
}

/* --- shapes */

struct make {
    struct rest *x;
    json_t *schemas;
    const struct rest_schema *seen[256]; /* schemas under their names */
    size_t n_seen;
    struct err *err;
    int rc;
};

static void wrong(struct make *m, const char *where, const char *what)
{
    if (m->rc == 0)
        m->rc = err_set(m->err, ERR_INTERNAL, "%s: %s", where, what);
}

static void add_schema(struct make *m, const struct rest_schema *s);

static json_t *ref_to(struct make *m, const struct rest_schema *s)
{
    add_schema(m, s);
    return json_pack("{s:o}", "$ref", json_sprintf("#/components/schemas/%s", s->name));
}

static void set_bound(json_t *o, const char *name, int64_t v)
{
    json_object_set_new(o, name, json_integer(v));
}

static void about(json_t *o, const char *text)
{
    if (text != NULL)
        json_object_set_new(o, "description", json_string(text));
}

static json_t *words_of(const struct rest_field *f, bool null)
{
    json_t *list = json_array();
    for (const char *const *w = f->words; *w != NULL; w++)
        json_array_append_new(list, json_string(*w));
    if (null)
        json_array_append_new(list, json_null());
    return list;
}

static json_t *type_json(const char *name, bool null)
{
    return null ? json_pack("{s:[s,s]}", "type", name, "null") : json_pack("{s:s}", "type", name);
}

static json_t *string_json(const struct rest_field *f, bool lengths, bool null)
{
    json_t *o = type_json("string", null);
    if (lengths && f->min > 0)
        set_bound(o, "minLength", f->min);
    if (lengths && f->max > 0)
        set_bound(o, "maxLength", f->max);
    if (f->check != NULL && f->check->pattern != NULL)
        json_object_set_new(o, "pattern", json_string(f->check->pattern));
    return o;
}

static json_t *value_json(struct make *m, const struct rest_field *f, enum rest_type type, bool item)
{
    bool null = f->nullable && !item;
    json_t *o = NULL;
    switch (type) {
    case REST_STRING:
        return string_json(f, !item, null);
    case REST_INT:
        o = type_json("integer", null);
        if (!item && (f->min != 0 || f->max != 0)) {
            set_bound(o, "minimum", f->min);
            set_bound(o, "maximum", f->max);
        }
        return o;
    case REST_BOOL:
        return type_json("boolean", null);
    case REST_TIME:
        o = type_json("string", null);
        json_object_set_new(o, "format", json_string("date-time"));
        return o;
    case REST_ENUM:
        return json_pack("{s:o}", "enum", words_of(f, null));
    case REST_OBJECT:
        o = ref_to(m, f->schema);
        return null ? json_pack("{s:[o,{s:s}]}", "oneOf", o, "type", "null") : o;
    case REST_ARRAY:
        o = type_json("array", null);
        json_object_set_new(o, "items", value_json(m, f, f->schema ? REST_OBJECT : f->of, true));
        if (f->min > 0)
            set_bound(o, "minItems", f->min);
        if (f->max > 0)
            set_bound(o, "maxItems", f->max);
        return o;
    }
    return json_object();
}

static json_t *field_json(struct make *m, const struct rest_field *f)
{
    json_t *o = value_json(m, f, f->type, false);
    about(o, f->about);
    return o;
}

static bool sound(const struct rest_field *f)
{
    bool array = f->type == REST_ARRAY;
    if (f->type < REST_STRING || f->type > REST_ARRAY)
        return false;
    if ((f->type == REST_ENUM || (array && f->of == REST_ENUM)) && f->words == NULL)
        return false;
    if (f->type == REST_OBJECT && f->schema == NULL)
        return false;
    return !array || f->schema != NULL || f->of == REST_STRING || f->of == REST_INT || f->of == REST_ENUM;
}

static json_t *object_json(struct make *m, const struct rest_schema *s)
{
    json_t *o = json_pack("{s:s,s:b}", "type", "object", "additionalProperties", 0);
    json_t *properties = json_object(), *required = json_array();
    for (const struct rest_field *f = s->fields; f->name != NULL; f++) {
        if (!sound(f)) {
            wrong(m, s->name, f->name);
            continue;
        }
        json_object_set_new(properties, f->name, field_json(m, f));
        if (f->required)
            json_array_append_new(required, json_string(f->name));
    }
    about(o, s->about);
    json_object_set_new(o, "properties", properties);
    if (json_array_size(required) > 0)
        json_object_set(o, "required", required);
    json_decref(required);
    return o;
}

static void add_schema(struct make *m, const struct rest_schema *s)
{
    for (size_t i = 0; i < m->n_seen; i++) {
        if (m->seen[i] == s)
            return;
        if (strcmp(m->seen[i]->name, s->name) == 0)
            wrong(m, s->name, "two schemas have this name");
    }
    if (m->n_seen == ARRAY_LEN(m->seen)) {
        wrong(m, s->name, "too many schemas");
        return;
    }
    m->seen[m->n_seen++] = s;
    json_object_set_new(m->schemas, s->name, json_null()); /* its place; it may be within itself */
    json_object_set_new(m->schemas, s->name, object_json(m, s));
}

static void wrong_bound(struct make *m, const char *where, const char *field)
{
    if (m->rc == 0)
        m->rc = err_set(m->err, ERR_INTERNAL, "%s: field %s has no bound", where, field);
}

/* What clients send has bounds. */
static void check_bounds(struct make *m, const char *where, const struct rest_field *f, int depth)
{
    for (; f != NULL && f->name != NULL && depth < 8; f++) {
        bool open = f->type == REST_STRING || f->type == REST_ARRAY;
        if (open && f->max == 0 && !(f->type == REST_STRING && f->check != NULL))
            wrong_bound(m, where, f->name);
        if (f->schema != NULL)
            check_bounds(m, where, f->schema->fields, depth + 1);
    }
}

/* --- operations */

static void param(json_t *list, const char *in, const char *name, bool required, json_t *schema, const char *text)
{
    json_t *o = json_pack("{s:s,s:s,s:b,s:o}", "name", name, "in", in, "required", required, "schema", schema);
    about(o, text);
    json_array_append_new(list, o);
}

static json_t *params_json(struct make *m, const struct rest_route *row)
{
    json_t *list = json_array();
    struct str rest = str_of(row->http.pattern), seg;
    while (str_split(&rest, '/', &seg))
        if (seg.n > 2 && seg.p[0] == '{') {
            auto_free char *name = mem_strndup(seg.p + 1, seg.n - 2);
            param(list, "path", name, true, type_json("string", false),
                  strcmp(name, "repo") == 0 ? "one segment: a nested name is a%2Fb" : NULL);
        }
    for (const struct rest_field *f = row->query; f != NULL && f->name != NULL; f++)
        param(list, "query", f->name, f->required, value_json(m, f, f->type, false), f->about);
    if (row->cursor != NULL) {
        int64_t max = row->limit_max ? row->limit_max : LIMIT_MAX;
        param(list, "query", "limit", false,
              json_pack("{s:s,s:i,s:I,s:I}", "type", "integer", "minimum", 1, "maximum", (json_int_t)max, "default",
                        (json_int_t)(max < LIMIT_DEFAULT ? max : LIMIT_DEFAULT)), "items of a page");
        param(list, "query", "after", false, json_pack("{s:s,s:i}", "type", "string", "maxLength", CURSOR_MAX),
              "`next` of the page before");
    }
    if (is_keyed(row))
        param(list, "header", "Idempotency-Key", false,
              json_pack("{s:s,s:s}", "type", "string", "pattern", "^[!-~]{1,128}$"),
              "the same key and request within 24 hours give the same answer; forgotten when the server restarts");
    if (row->match)
        param(list, "header", "If-Match", false, type_json("string", false), "the ETag that the object must still have");
    return list;
}

static json_t *answer_json(struct make *m, const struct rest_route *row)
{
    if (row->answer == NULL)
        return json_object();
    json_t *schema = ref_to(m, row->answer);
    if (row->cursor == NULL)
        return schema;
    return json_pack("{s:s,s:b,s:{s:{s:s,s:o},s:{s:[s,s],s:s}},s:[s,s]}", "type", "object", "additionalProperties", 0,
                     "properties", "items", "type", "array", "items", schema, "next", "type", "string", "null",
                     "description", "cursor of the next page; null: this is the last one", "required", "items", "next");
}

static json_t *content(const char *media, json_t *schema)
{
    return json_pack("{s:{s:o}}", media, "schema", schema);
}

static json_t *response_json(struct make *m, const struct rest_route *row, unsigned status)
{
    json_t *o = json_pack("{s:s}", "description", http_reason(status));
    if (status >= 400)
        json_object_set_new(o, "content", content("application/problem+json", ref_to(m, &problem)));
    else if (status != 204 && status != 304 && (row->answer != NULL || row->media != NULL))
        json_object_set_new(o, "content", content(row->media ? row->media : "application/json", answer_json(m, row)));
    return o;
}

static json_t *responses_json(struct make *m, const struct rest_route *row)
{
    json_t *o = json_object();
    for (unsigned status = 200; status < 600; status++) {
        char key[8];
        (void)snprintf(key, sizeof key, "%u", status);
        bool named = status < 500 ? documented(m->x, row, status) : common(m->x, row, status);
        for (size_t i = 0; i < ARRAY_LEN(row->also); i++)
            named |= row->also[i] == status;
        if (named)
            json_object_set_new(o, key, response_json(m, row, status));
    }
    return o;
}

static json_t *operation_json(struct make *m, const struct rest_route *row)
{
    json_t *o = json_pack("{s:s,s:s,s:[s],s:o,s:o}", "operationId", row->http.label, "summary", row->summary, "tags", row->tag,
                          "parameters", params_json(m, row), "responses", responses_json(m, row));
    if (row->body != NULL) {
        bool needed = false;
        for (const struct rest_field *f = row->body->fields; f->name != NULL; f++)
            needed |= f->required;
        json_object_set_new(o, "requestBody",
                            json_pack("{s:b,s:o}", "required", needed, "content", content("application/json", ref_to(m, row->body))));
    }
    if (row->http.right == m->x->o.public_right)
        json_object_set_new(o, "security", json_array());
    return o;
}

static void check_row(struct make *m, const struct rest_route *row)
{
    const char *label = row->http.label;
    for (size_t i = 0; m->x->rows[i] != row; i++)
        if (strcmp(m->x->rows[i]->http.label, label) == 0)
            wrong(m, label, "two rows have this label");
    if (row->run == NULL || row->summary == NULL || row->tag == NULL)
        wrong(m, label, "a row has a handler, a summary and a tag");
    if ((row->http.methods & (row->http.methods - 1)) != 0 && row->http.methods != (HTTP_GET | HTTP_HEAD))
        wrong(m, label, "a row has one method, or GET and HEAD");
    if (row->cursor != NULL && (row->answer == NULL || strspn(row->cursor, "si") != strlen(row->cursor)))
        wrong(m, label, "a list has items and a key of s and i");
    check_bounds(m, label, row->query, 0);
    if (row->body != NULL)
        check_bounds(m, label, row->body->fields, 0);
}

static void add_row(struct make *m, json_t *paths, const struct rest_route *row)
{
    static const char *const names[] = {"get", "head", "post", "put", "patch", "delete"};
    check_row(m, row);
    if (row->http.dialect != HTTP_PROBLEM || m->rc < 0)
        return;
    json_t *path = json_object_get(paths, row->http.pattern);
    if (path == NULL) {
        path = json_object();
        json_object_set_new(paths, row->http.pattern, path);
    }
    json_object_set_new(path, names[__builtin_ctz(row->http.methods)], operation_json(m, row));
}

int document_make(struct rest *x, struct err *err)
{
    struct make m = {.x = x, .schemas = json_object(), .err = err};
    json_t *paths = json_object();
    for (size_t i = 0; i < x->n_rows; i++)
        add_row(&m, paths, x->rows[i]);
    json_t *doc = json_pack(
        "{s:s,s:{s:s,s:s,s:s},s:[{s:[]},{s:[]}],s:o,s:{s:o,s:{s:{s:s,s:s},s:{s:s,s:s}}}}", "openapi", "3.1.0", "info", "title",
        x->o.title, "version", x->o.version, "description",
        "Times are RFC 3339 UTC. Errors are problem+json (RFC 9457). Unknown fields and parameters are refused.", "security", "bearer",
        "basic", "paths", paths, "components", "schemas", m.schemas, "securitySchemes", "bearer", "type", "http", "scheme", "bearer", "basic",
        "type", "http", "scheme", "basic");
    BUG_ON(doc == NULL);
    if (m.rc == 0) {
        char *text = json_dumps(doc, JSON_COMPACT);
        BUG_ON(text == NULL || strlen(text) > DOCUMENT_MAX);
        x->document = text;
    }
    json_decref(doc);
    return m.rc;
}
