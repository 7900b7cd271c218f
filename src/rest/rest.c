/* A call from its query to its answer. */
#include "rest/rest_int.h"

#include "base/clock.h"
#include "crypt/hash.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static const struct rest_field no_fields[] = {{0}};
static const struct json_caps body_caps = {4u << 20, 16, 20000}; /* the row's own cap is smaller */

/* --- what comes in */

static void tell_fault(void *arg, const char *field, const char *message)
{
    struct rest_call *c = arg;
    http_fault(c->r, str_dup(&c->r->arena, str_of(field)), "%s", message);
}

static int wrong_fields(const struct rest_call *c, struct err *err)
{
    const struct http_fault *f = c->r->faults;
    return err_set(err, ERR_FIELDS, f->field[0] ? "%s %s%s" : "%sthe body %s%s", f->field, f->message,
                   f->next ? "; and more" : "");
}

int rest_wrong(struct rest_call *c, struct err *err, const char *field, const char *fmt, ...)
{
    char text[ERR_TEXT_MAX];
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    tell_fault(c, field, text);
    return wrong_fields(c, err);
}

static bool is_list(const struct rest_route *row) { return row->cursor != NULL; }
static bool lenient(const struct rest_call *c) { return c->row->http.dialect == HTTP_HUB; }
static int64_t limit_max(const struct rest_route *row) { return row->limit_max ? row->limit_max : LIMIT_MAX; }

/* The type that the table wants, when the text has it; else text, which the check then names. */
static json_t *typed(const struct rest_field *f, struct str s)
{
    uint64_t n;
    bool minus = s.n > 1 && s.p[0] == '-';
    if (f != NULL && f->type == REST_INT && str_u64((struct str){s.p + minus, s.n - minus}, &n) && n <= INT64_MAX)
        return json_integer(minus ? -(json_int_t)n : (json_int_t)n);
    if (f != NULL && f->type == REST_BOOL && (str_is(s, "true") || str_is(s, "false")))
        return json_boolean(str_is(s, "true"));
    return json_stringn(s.p ? s.p : "", s.n); /* NULL when it is no UTF-8 */
}

static const struct rest_field *param_named(const struct rest_route *row, struct str name)
{
    for (const struct rest_field *f = row->query; f != NULL && f->name != NULL; f++)
        if (str_is(name, f->name))
            return f;
    return NULL;
}

static void take_limit(struct rest_call *c, struct str value)
{
    uint64_t n;
    if (str_u64(value, &n) && n >= 1 && n <= (uint64_t)limit_max(c->row))
        c->limit = (int64_t)n;
    else
        http_fault(c->r, "limit", "must be a whole number from 1 to %lld", (long long)limit_max(c->row));
}

static void take_param(struct rest_call *c, struct str name, struct str value)
{
    const char *key = str_dup(&c->r->arena, name);
    if (json_object_get(c->query, key) != NULL) {
        http_fault(c->r, key, "is given twice");
        return;
    }
    json_t *v = typed(param_named(c->row, name), value);
    if (v == NULL || json_object_set_new(c->query, key, v) != 0)
        http_fault(c->r, key, "is not UTF-8");
    if (!is_list(c->row) || v == NULL)
        return;
    if (str_is(name, "limit")) {
        take_limit(c, value);
    } else if (str_is(name, "after")) {
        c->after = rest_cursor_parse(value, c->row->cursor);
        if (c->after == NULL)
            http_fault(c->r, "after", "is no cursor of this list");
    }
}

static int read_query(struct rest_call *c, struct err *err)
{
    struct str rest = c->r->query, pair, name, value;
    c->query = json_object();
    c->limit = limit_max(c->row) < LIMIT_DEFAULT ? limit_max(c->row) : LIMIT_DEFAULT;
    while (rest.n != 0 && str_split(&rest, '&', &pair)) {
        value = pair;
        if (pair.n == 0)
            continue;
        str_split(&value, '=', &name);
        if (value.p == NULL)
            value = STR_LIT("");
        if (url_decode(&c->r->arena, name, true, &name) != 0 || url_decode(&c->r->arena, value, true, &value) != 0)
            return err_set(err, ERR_INVALID, "the query is not well encoded");
        take_param(c, name, value);
    }
    if (is_list(c->row)) { /* they are looked at */
        json_object_del(c->query, "limit");
        json_object_del(c->query, "after");
    }
    rest_check_fields(c->row->query ? c->row->query : no_fields, c->query, lenient(c), tell_fault, c);
    return 0;
}

static int read_body(struct rest_call *c, struct err *err)
{
    struct http_req *r = c->r;
    if (c->row->http.body != HTTP_BUFFER)
        return 0;
    if (r->body.n == 0) {
        c->body = json_object();
    } else {
        if (!http_is_type(r, "application/json") && !http_is_type(r, "application/merge-patch+json"))
            return err_set(err, ERR_MEDIA_TYPE, "Content-Type must be application/json");
        int rc = json_strict(r->body, body_caps, &c->body, err);
        if (rc < 0)
            return rc;
    }
    rest_check_fields(c->row->body ? c->row->body->fields : no_fields, c->body, lenient(c), tell_fault, c);
    return 0;
}

int rest_run(struct http_req *r, struct err *err)
{
    struct rest_call *c = arena_zalloc(&r->arena, sizeof *c);
    *c = (struct rest_call){.r = r, .row = (const struct rest_route *)(const void *)r->route};
    r->ctx = c;
    int rc = read_query(c, err);
    if (rc == 0)
        rc = read_body(c, err);
    if (rc == 0 && r->faults != NULL)
        rc = wrong_fields(c, err);
    if (rc == 0)
        rc = idem_begin(c, err);
    if (rc == 0)
        rc = c->row->run(c, err);
    idem_end(c);
#ifdef BERTH_FAULTS
    BUG_ON(rc < 0 && !documented(rest_of(r), c->row, (unsigned)err_status(rc)));
#endif
    return rc < 0 ? rc : 0;
}

void rest_done(struct http_req *r)
{
    struct rest_call *c = r->ctx;
    if (c == NULL)
        return;
    json_decref(c->body);
    json_decref(c->query);
    json_decref(c->after);
    json_decref(c->items);
    json_decref(c->last);
    r->ctx = NULL;
}

struct str rest_text(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return (struct str){json_string_value(v), json_string_length(v)};
}

int64_t rest_int(const json_t *o, const char *name, int64_t fallback)
{
    const json_t *v = json_object_get(o, name);
    return json_is_integer(v) ? json_integer_value(v) : fallback;
}

bool rest_bool(const json_t *o, const char *name, bool fallback)
{
    const json_t *v = json_object_get(o, name);
    return json_is_boolean(v) ? json_is_true(v) : fallback;
}

int64_t rest_time(const json_t *o, const char *name, int64_t fallback)
{
    int64_t us;
    struct str s = rest_text(o, name);
    return s.p != NULL && rest_time_parse(s, &us) ? us : fallback;
}

bool rest_has(const json_t *o, const char *name) { return json_object_get(o, name) != NULL; }

/* --- what goes out */

json_t *rest_json_time(int64_t us)
{
    char text[28];
    if (us == 0)
        return json_null();
    clock_rfc3339(text, us);
    return json_string(text);
}

json_t *rest_json_text(struct str s)
{
    json_t *v = s.p ? json_stringn(s.p, s.n) : NULL;
    return v ? v : json_null();
}

static void etag_of(struct str body, char out[ETAG_MAX])
{
    struct digest d;
    hash_bytes(DIGEST_SHA256, body.p, body.n, &d);
    out[0] = '"';
    size_t n = base64url_encode(out + 1, d.bytes, 16);
    out[n + 1] = '"';
    out[n + 2] = '\0';
}

static char *text_of(const json_t *doc)
{
    char *text = json_dumps(doc, JSON_COMPACT);
    BUG_ON(text == NULL);
    return text;
}

int rest_match(struct rest_call *c, const json_t *doc, struct err *err)
{
    char etag[ETAG_MAX];
    auto_free char *text = doc ? text_of(doc) : NULL;
    BUG_ON(!c->row->match);
    if (text != NULL)
        etag_of(str_of(text), etag);
    if (http_match(c->r, text ? etag : NULL) == HTTP_MATCH_GO)
        return 0;
    return err_set(err, ERR_PRECONDITION, "it is not in the state that If-Match names: read it again");
}

void rest_location(struct rest_call *c, const char *fmt, ...)
{
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0 || (size_t)n >= sizeof text);
    c->location = str_dup(&c->r->arena, str_of(text));
}

#ifdef BERTH_FAULTS
static void tell_bug(void *arg, const char *field, const char *message)
{
    const struct rest_call *c = arg;
    fprintf(stderr, "BUG: the answer of %s is not what its row says: %s %s\n", c->row->http.label, field, message);
    abort();
}

static void check_answer(struct rest_call *c, unsigned status, json_t *doc)
{
    const struct rest_schema *s = c->row->answer;
    BUG_ON(!documented(rest_of(c->r), c->row, status));
    BUG_ON((doc != NULL) != (s != NULL && status != 204));
    size_t i;
    json_t *item;
    if (doc == NULL || !is_list(c->row))
        doc ? rest_check(s, doc, false, tell_bug, c) : 0;
    else
        json_array_foreach(json_object_get(doc, "items"), i, item) rest_check(s, item, false, tell_bug, c);
}
#endif

static void send_text(struct rest_call *c, unsigned status, struct str text)
{
    struct http_req *r = c->r;
    char etag[ETAG_MAX];
    bool tagged = status == 200 && (r->method == HTTP_GET || r->method == HTTP_HEAD) && !is_list(c->row);
    http_add(r, "Cache-Control", tagged ? STR_LIT("private, no-cache") : STR_LIT("no-store"));
    if (c->location != NULL)
        http_add(r, "Location", str_of(c->location));
    if (text.n != 0)
        http_add(r, "Content-Type", STR_LIT("application/json"));
    if (tagged) {
        etag_of(text, etag);
        http_add(r, "ETag", str_of(etag));
        if (http_match(r, etag) == HTTP_MATCH_NOT_MODIFIED)
            status = 304;
    }
    http_status(r, status);
    http_send(r, status == 304 ? (struct str){NULL, 0} : text);
}

int rest_send_status(struct rest_call *c, unsigned status, json_t *doc)
{
#ifdef BERTH_FAULTS
    check_answer(c, status, doc);
#endif
    auto_free char *text = doc ? text_of(doc) : NULL;
    json_decref(doc);
    struct str body = {text ? str_dup(&c->r->arena, str_of(text)) : NULL, text ? strlen(text) : 0};
    idem_keep(c, status, body);
    send_text(c, status, body);
    return 0;
}

int rest_send(struct rest_call *c, json_t *doc) { return rest_send_status(c, success_of(c->row), doc); }

/* --- the room */

struct rest *rest_new(const struct rest_options *o)
{
    struct rest *x = mem_zalloc(sizeof *x);
    x->o = *o;
    x->keys = idem_new();
    return x;
}

void rest_free(struct rest *x)
{
    if (x == NULL)
        return;
    idem_free(x->keys);
    free(x->document);
    free(x->rows);
    free(x);
}

void rest_routes_add(struct rest *x, struct http_server *s, const struct rest_route *rows, size_t n)
{
    x->rows = mem_realloc(x->rows, size_mul(x->n_rows + n, sizeof(const struct rest_route *)));
    for (size_t i = 0; i < n; i++) {
        x->rows[x->n_rows++] = &rows[i];
        http_routes_add(s, &rows[i].http, 1);
    }
}

struct str rest_document(const struct rest *x) { return str_of(x->document); }

int rest_seal(struct rest *x, struct err *err) { return document_make(x, err); }

int rest_document_run(struct rest_call *c, struct err *err)
{
    (void)err;
    send_text(c, 200, rest_document(rest_of(c->r)));
    return 0;
}
