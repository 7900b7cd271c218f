/* The JSON frame, through rows of its own and http_inner: bodies, queries, answers, pages, conditions,
 * Idempotency-Key, the document. */
#include "rest/rest.h"

#include "base/config.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

static struct rest *rest;
static struct config *config;
static struct http_server *server;
static struct http_inner in;
static const char *person = "ann";
static int made;

struct rest *rest_of(const struct http_req *r)
{
    (void)r;
    return rest;
}

static bool fits_name(struct str s)
{
    for (size_t i = 0; i < s.n; i++)
        if (s.p[i] < 'a' || s.p[i] > 'z')
            return false;
    return s.n >= 2;
}

static const struct rest_check name_check = {fits_name, "must be two small letters or more", "^[a-z]{2,}$"};
static const char *const scopes[] = {"read", "write", NULL};
static const struct rest_field bound_fields[] = {
    {"pattern", REST_STRING, .required = true, .min = 1, .max = 10},
    {"scope", REST_ENUM, .required = true, .words = scopes},
    {0}};
static const struct rest_schema bound = {"Bound", "Where a token holds.", bound_fields};
static const struct rest_field thing_fields[] = {
    {"name", REST_STRING, .required = true, .max = 8, .check = &name_check, .about = "unique"},
    {"days", REST_INT, .min = 1, .max = 90},
    {"public", REST_BOOL, .about = "seen by all"},
    {"at", REST_TIME, .nullable = true},
    {"bounds", REST_ARRAY, .min = 1, .max = 2, .schema = &bound},
    {"words", REST_ARRAY, .max = 3, .of = REST_ENUM, .words = scopes},
    {"first", REST_OBJECT, .nullable = true, .schema = &bound},
    {0}};
static const struct rest_schema thing = {"Thing", "A thing.", thing_fields};
static const struct rest_field row_fields[] = {{"n", REST_INT, .required = true}, {0}};
static const struct rest_schema row_schema = {"Row", "A row.", row_fields};
static const struct rest_field filters[] = {
    {"public", REST_BOOL, .about = "seen by all"}, {"days", REST_INT, .min = 1, .max = 90}, {"scope", REST_ENUM, .words = scopes}, {"at", REST_TIME, .about = "when"}, {0}};

static int echo(struct rest_call *c, struct err *err)
{
    (void)err;
    return rest_send(c, json_incref(c->body));
}

static int make(struct rest_call *c, struct err *err)
{
    if (str_is(rest_text(c->body, "name"), "taken"))
        return rest_wrong(c, err, "name", "is taken");
    if (str_is(rest_text(c->body, "name"), "broken"))
        return err_set(err, ERR_CONFLICT, "not now");
    rest_location(c, "/api/v1/things/%d", ++made);
    return rest_send(c, json_pack("{s:s%,s:i}", "name", rest_text(c->body, "name").p, rest_text(c->body, "name").n, "days", made % 90 + 1));
}

static int show(struct rest_call *c, struct err *err)
{
    (void)err;
    return rest_send(c, json_pack("{s:s%}", "name", c->r->parts[0].p, c->r->parts[0].n));
}

static int change(struct rest_call *c, struct err *err)
{
    json_t *now = json_pack("{s:s%}", "name", c->r->parts[0].p, c->r->parts[0].n);
    int rc = rest_match(c, now, err);
    json_decref(now);
    return rc < 0 ? rc : rest_send(c, json_pack("{s:s}", "name", "new"));
}

static int removed(struct rest_call *c, struct err *err)
{
    (void)err;
    return rest_send(c, NULL);
}

enum { ROWS = 7 };
static int list(struct rest_call *c, struct err *err)
{
    (void)err;
    for (int again = 0; again < 2; again++) { /* as a transaction that runs twice */
        int64_t n = rest_page(c), from = rest_after_int(c, 0, 0);
        for (int64_t i = from + 1; i <= ROWS && n-- > 0; i++)
            rest_add(c, json_pack("{s:I}", "n", (json_int_t)i), json_pack("[I]", (json_int_t)i));
    }
    return rest_send_page(c);
}

static int query(struct rest_call *c, struct err *err)
{
    (void)err;
    return rest_send(c, json_pack("{s:I,s:b,s:s,s:o}", "days", (json_int_t)rest_int(c->query, "days", 7), "public",
                                  rest_bool(c->query, "public", true), "name", rest_has(c->query, "scope") ? "some" : "none", "at",
                                  rest_json_time(rest_time(c->query, "at", 0))));
}

static int lie(struct rest_call *c, struct err *err)
{
    if (str_is(c->r->parts[0], "status"))
        return rest_send_status(c, 202, json_pack("{s:i}", "n", 1));
    if (str_is(c->r->parts[0], "error"))
        return err_set(err, ERR_CONFLICT, "not documented");
    return rest_send(c, json_pack("{s:s}", "n", "one"));
}

static int hub(struct rest_call *c, struct err *err)
{
    (void)err;
    return rest_send(c, json_incref(c->body));
}

static const struct rest_route rows[] = {
    {REST_ASK("/echo", "echo", 2), echo, "Echo", "test", .body = &thing, .answer = &thing},
    {REST_POST("/things", "make", 2), make, "Make", "test", .body = &thing, .answer = &thing, .status = 201},
    {REST_GET("/things/{thing}", "show", 2), show, "Show", "test", .answer = &thing},
    {REST_PATCH("/things/{thing}", "change", 2), change, "Change", "test", .answer = &thing, .match = true},
    {REST_DELETE("/things/{thing}", "removed", 2), removed, "Remove", "test"},
    {REST_GET("/rows", "list", 2), list, "List", "test", .answer = &row_schema, .cursor = "i", .limit_max = 5},
    {REST_GET("/query", "query", 1), query, "Query", "test", .query = filters, .answer = &thing},
    {REST_GET("/lie/{how}", "lie", 2), lie, "Lie", "test", .answer = &row_schema},
    {REST_GET("/openapi.json", "openapi", 1), rest_document_run, "This", "test", .media = "application/json"},
    {HUB_ROW(HTTP_POST, "/hub", "hub", 2), hub, "Hub", "hub", .body = &bound, .answer = &bound},
};

static int local(struct http_req *r, void *who, struct err *err)
{
    (void)r;
    (void)who;
    (void)err;
    return 0;
}

static void release(struct http_req *r) { (void)r; }

static struct str principal(const struct http_req *r)
{
    (void)r;
    return str_of(person);
}

static int seal(const struct rest_route *r, size_t n, struct err *err)
{
    static const char *const flags[] = {"--listen=127.0.0.1:0", "--log-level=error", NULL};
    assert_int_equal(config_load(&config, NULL, flags, err), 0);
    struct http_options o = {.config = config, .gate = {.local = local, .release = release}};
    assert_int_equal(http_new(&server, &o, err), 0);
    struct rest_options ro = {.title = "Test", .version = "1", .public_right = 1, .principal = principal};
    rest = rest_new(&ro);
    rest_routes_add(rest, server, r, n);
    return rest_seal(rest, err);
}

static void unseal(void)
{
    http_free(server);
    rest_free(rest);
    config_free(config);
}

static int open_all(void **state)
{
    struct err err = {0};
    (void)state;
    assert_int_equal(seal(rows, ARRAY_LEN(rows), &err), 0);
    buf_init(&in.lines, 4096);
    buf_init(&in.answer, 64 << 10);
    return 0;
}

static int close_all(void **state)
{
    (void)state;
    unseal();
    buf_release(&in.lines);
    buf_release(&in.answer);
    return 0;
}

static unsigned ask_as(enum http_method method, const char *target, const char *body, const char *name, const char *value)
{
    struct http_header h[] = {{STR_LIT("Content-Type"), STR_LIT("application/json")}, {str_of(name), str_of(value)}};
    struct err err = {0};
    buf_reset(&in.lines);
    buf_reset(&in.answer);
    in.method = method;
    in.target = str_of(target);
    in.body = str_of(body);
    in.headers = h;
    in.n_headers = name ? 2 : 1;
    assert_int_equal(http_inner(server, &in, &err), 0);
    return in.status;
}

static unsigned ask(enum http_method method, const char *target, const char *body) { return ask_as(method, target, body, NULL, NULL); }

static void has(const char *text)
{
    if (in.answer.p == NULL || strstr(in.answer.p, text) == NULL)
        fail_msg("%s lacks %s", in.answer.p, text);
}

/* The value of a header line; empty when there is none. */
static const char *line(const char *name)
{
    static char out[200];
    const char *p = in.lines.n ? strstr(in.lines.p, name) : NULL;
    text_copy(out, sizeof out, p ? (struct str){p + strlen(name) + 2, strcspn(p + strlen(name) + 2, "\r")} : STR_LIT(""));
    return out;
}

static void bodies_are_checked(void **state)
{
    (void)state;
    static const char *const good[] = {
        "{\"name\":\"abc\"}",
        "{\"name\":\"abc\",\"days\":90,\"public\":false,\"at\":null,\"bounds\":[{\"pattern\":\"*\",\"scope\":\"read\"}],\"words\":[],\"first\":null}",
        "{\"name\":\"abc\",\"at\":\"2026-01-02T03:04:05.123456Z\",\"words\":[\"read\",\"write\",\"read\"],\"first\":{\"pattern\":\"\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\xc3\xa4\",\"scope\":\"write\"}}"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        assert_int_equal(ask(HTTP_POST, "/api/v1/echo", good[i]), 200);
        assert_string_equal(in.answer.p, good[i]);
    }
    static const struct {
        const char *body, *field, *message;
    } bad[] = {
        {"{}", "name", "is needed"},
        {"[]", "", "must be an object"},
        {"{\"name\":null}", "name", "must be a string"},
        {"{\"name\":7}", "name", "must be a string"},
        {"{\"name\":\"A\"}", "name", "must be two small letters or more"},
        {"{\"name\":\"abcdefghi\"}", "name", "has 9 characters; at most 8 are allowed"},
        {"{\"name\":\"abc\",\"nam\":1}", "nam", "is not known here; allowed: name, days, public, at, bounds, words, first"},
        {"{\"name\":\"abc\",\"days\":0}", "days", "must be a whole number from 1 to 90"},
        {"{\"name\":\"abc\",\"days\":91}", "days", "must be a whole number from 1 to 90"},
        {"{\"name\":\"abc\",\"days\":1.0}", "days", "must be a whole number"},
        {"{\"name\":\"abc\",\"days\":\"1\"}", "days", "must be a whole number"},
        {"{\"name\":\"abc\",\"public\":1}", "public", "must be true or false"},
        {"{\"name\":\"abc\",\"at\":\"yesterday\"}", "at", "must be a time like 2026-01-02T03:04:05Z (RFC 3339)"},
        {"{\"name\":\"abc\",\"at\":1}", "at", "must be a time (RFC 3339) or null"},
        {"{\"name\":\"abc\",\"bounds\":[]}", "bounds", "has 0 items; 1 to 2 are allowed"},
        {"{\"name\":\"abc\",\"bounds\":[1]}", "bounds[0]", "must be an object"},
        {"{\"name\":\"abc\",\"bounds\":[{\"pattern\":\"*\",\"scope\":\"read\"},{\"pattern\":\"\",\"scope\":\"read\"}]}", "bounds[1].pattern", "may not be empty"},
        {"{\"name\":\"abc\",\"bounds\":[{\"pattern\":\"*\",\"scope\":\"root\"}]}", "bounds[0].scope", "must be one of read, write"},
        {"{\"name\":\"abc\",\"first\":{\"pattern\":\"*\"}}", "first.scope", "is needed"},
        {"{\"name\":\"abc\",\"words\":[\"read\",null]}", "words[1]", "must be a string"},
        {"{\"name\":\"abc\",\"words\":[\"read\",\"x\"]}", "words[1]", "must be one of read, write"},
    };
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char want[300];
        (void)snprintf(want, sizeof want, "\"errors\":[{\"field\":\"%s\",\"message\":\"%s\"}]}", bad[i].field, bad[i].message);
        if (ask(HTTP_POST, "/api/v1/echo", bad[i].body) != 400)
            fail_msg("accepted: %s", bad[i].body);
        has(want);
        has("\"code\":\"fields\"");
    }
    static const char *const malformed[] = {"{", "{\"name\":\"abc\",\"name\":\"abd\"}", "{\"name\":\"abc\"}x", "null", "{\"name\":\"a\\u0000b\"}"};
    for (size_t i = 0; i < ARRAY_LEN(malformed); i++) {
        assert_int_equal(ask(HTTP_POST, "/api/v1/echo", malformed[i]), 400);
        has("\"code\":\"invalid\"");
    }
    assert_int_equal(ask(HTTP_POST, "/api/v1/echo", ""), 400);
    has("\"field\":\"name\",\"message\":\"is needed\"");
    assert_int_equal(ask(HTTP_PATCH, "/api/v1/things/ab", "{\"x\":1}"), 400); /* a row that takes none */
    has("\"message\":\"is not known here\"");
}

static void bodies_are_json(void **state)
{
    (void)state;
    struct http_header h = {STR_LIT("Content-Type"), STR_LIT("text/plain")};
    struct err err = {0};
    ask(HTTP_POST, "/api/v1/echo", "{}");
    in.headers = &h;
    in.n_headers = 1;
    assert_int_equal(http_inner(server, &in, &err), 0);
    assert_int_equal(in.status, 415);
    h.value = STR_LIT("application/merge-patch+json; charset=utf-8");
    assert_int_equal(http_inner(server, &in, &err), 0);
    assert_int_equal(in.status, 400);
}

static void many_faults_are_told_at_once(void **state)
{
    (void)state;
    assert_int_equal(ask(HTTP_POST, "/api/v1/echo?x=1", "{\"name\":\"A\",\"days\":0}"), 400);
    has("\"detail\":\"x is not known here; and more\"");
    has("{\"field\":\"name\",");
    has("{\"field\":\"days\",");
    struct buf b;
    buf_init(&b, 64 << 10);
    buf_cstr(&b, "{");
    for (int i = 0; i < 500; i++)
        buf_printf(&b, "%s\"k%d\":1", i ? "," : "", i);
    buf_cstr(&b, "}");
    assert_int_equal(ask(HTTP_POST, "/api/v1/echo", b.p), 400);
    has("\"k19\"");
    assert_null(strstr(in.answer.p, "\"k20\""));
    buf_release(&b);
}

static void queries_are_checked_and_typed(void **state)
{
    (void)state;
    assert_int_equal(ask(HTTP_GET, "/api/v1/query", NULL), 200);
    assert_string_equal(in.answer.p, "{\"days\":7,\"public\":true,\"name\":\"none\",\"at\":null}");
    assert_int_equal(ask(HTTP_GET, "/api/v1/query?days=9&public=false&scope=read&at=2026-01-01T01:00:00%2B01:00", NULL), 200);
    assert_string_equal(in.answer.p, "{\"days\":9,\"public\":false,\"name\":\"some\",\"at\":\"2026-01-01T00:00:00.000000Z\"}");
    static const char *const bad[] = {"days=x", "days=0", "days=-1", "days=", "public=1", "scope=root", "at=1", "other=1", "days=1&days=1", "limit=1", "after="};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        char target[100];
        (void)snprintf(target, sizeof target, "/api/v1/query?%s", bad[i]);
        if (ask(HTTP_GET, target, NULL) != 400)
            fail_msg("accepted: %s", bad[i]);
        has("\"code\":\"fields\"");
    }
    assert_int_equal(ask(HTTP_GET, "/api/v1/query?days=%zz", NULL), 400);
    assert_int_equal(ask(HTTP_GET, "/api/v1/query?scope=%ff", NULL), 400);
}

static void pages_follow_the_key(void **state)
{
    (void)state;
    char target[300] = "/api/v1/rows?limit=3";
    int seen = 0, pages = 0;
    for (;;) {
        assert_int_equal(ask(HTTP_GET, target, NULL), 200);
        json_t *doc = json_loads(in.answer.p, 0, NULL), *next = json_object_get(doc, "next"), *item;
        size_t i;
        json_array_foreach(json_object_get(doc, "items"), i, item) assert_int_equal(rest_int(item, "n", 0), ++seen);
        pages++;
        bool more = json_is_string(next);
        if (more)
            (void)snprintf(target, sizeof target, "/api/v1/rows?limit=3&after=%s", json_string_value(next));
        else
            assert_true(json_is_null(next));
        json_decref(doc);
        if (!more)
            break;
    }
    assert_int_equal(seen, ROWS);
    assert_int_equal(pages, 3);
    assert_int_equal(ask(HTTP_GET, "/api/v1/rows", NULL), 200); /* 5 are its most */
    has("{\"n\":5}],\"next\":\"");
    assert_int_equal(ask(HTTP_GET, "/api/v1/rows?limit=5&after=Wzdd", NULL), 200); /* [7] */
    assert_string_equal(in.answer.p, "{\"items\":[],\"next\":null}");
    static const char *const bad[] = {"limit=0", "limit=6", "limit=x", "limit=+1", "after=", "after=x", "after=Wzdd=", "after=WyI3Il0", "after=Wzcs",
                                      "after=WzcsN10", "after=e30", "after=Wzdd&after=Wzdd", "after=WzcuMF0", "after=WzcgXQ"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        (void)snprintf(target, sizeof target, "/api/v1/rows?%s", bad[i]);
        if (ask(HTTP_GET, target, NULL) != 400)
            fail_msg("accepted: %s", bad[i]);
    }
}

static void conditions(void **state)
{
    (void)state;
    assert_int_equal(ask(HTTP_GET, "/api/v1/things/ab", NULL), 200);
    char etag[100], other[100];
    text_copy(etag, sizeof etag, str_of(line("ETag")));
    assert_int_equal(strlen(etag), 24);
    assert_int_equal(ask(HTTP_GET, "/api/v1/things/cd", NULL), 200);
    text_copy(other, sizeof other, str_of(line("ETag")));
    assert_string_not_equal(etag, other);
    assert_int_equal(ask_as(HTTP_GET, "/api/v1/things/ab", NULL, "If-None-Match", etag), 304);
    assert_int_equal(in.answer.n, 0);
    assert_string_equal(line("ETag"), etag);
    assert_int_equal(ask_as(HTTP_GET, "/api/v1/things/ab", NULL, "If-None-Match", other), 200);
    assert_int_equal(ask_as(HTTP_PATCH, "/api/v1/things/ab", "{}", "If-Match", etag), 200);
    assert_int_equal(ask_as(HTTP_PATCH, "/api/v1/things/ab", "{}", "If-Match", other), 412);
    has("\"code\":\"precondition\"");
    assert_int_equal(ask(HTTP_PATCH, "/api/v1/things/ab", "{}"), 200);
    assert_int_equal(ask(HTTP_DELETE, "/api/v1/things/ab", NULL), 204);
    assert_int_equal(in.answer.n, 0);
    assert_int_equal(ask(HTTP_GET, "/api/v1/rows", NULL), 200);
    assert_string_equal(line("ETag"), "");
}

static unsigned make_with(const char *key, const char *body) { return ask_as(HTTP_POST, "/api/v1/things", body, "Idempotency-Key", key); }

static void idempotency_keys(void **state)
{
    (void)state;
    char first[200];
    made = 0;
    assert_int_equal(make_with("k1", "{\"name\":\"ab\"}"), 201);
    text_copy(first, sizeof first, buf_view(&in.answer));
    assert_int_equal(made, 1);
    assert_int_equal(make_with("k1", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(made, 1);
    assert_string_equal(in.answer.p, first);
    assert_string_equal(line("Location"), "/api/v1/things/1");
    assert_string_equal(line("Content-Type"), "application/json");
    assert_int_equal(make_with("k1", "{\"name\":\"cd\"}"), 422);
    has("\"code\":\"idempotency\"");
    assert_int_equal(made, 1);
    person = "bob"; /* his keys are his own */
    assert_int_equal(make_with("k1", "{\"name\":\"cd\"}"), 201);
    assert_int_equal(made, 2);
    person = ""; /* nobody's are not kept */
    assert_int_equal(make_with("k1", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(make_with("k1", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(made, 4);
    person = "ann";
    /* what failed may be tried again */
    assert_int_equal(make_with("k2", "{\"name\":\"broken\"}"), 409);
    assert_int_equal(make_with("k2", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(made, 5);
    assert_int_equal(make_with("k3", "{\"name\":\"taken\"}"), 400);
    has("{\"field\":\"name\",\"message\":\"is taken\"}");
    assert_int_equal(make_with("", "{\"name\":\"ab\"}"), 400);
    assert_int_equal(make_with("a b", "{\"name\":\"ab\"}"), 400);
    assert_int_equal(made, 5);
    /* the oldest of one's own go first, others' stay */
    for (int i = 0; i < 300; i++) {
        char key[20];
        (void)snprintf(key, sizeof key, "n%d", i);
        assert_int_equal(make_with(key, "{\"name\":\"ab\"}"), 201);
    }
    made = 1000;
    assert_int_equal(make_with("n299", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(make_with("n60", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(made, 1000);
    assert_int_equal(make_with("k1", "{\"name\":\"ab\"}"), 201);
    assert_int_equal(made, 1001);
    person = "bob";
    assert_int_equal(make_with("k1", "{\"name\":\"cd\"}"), 201);
    assert_int_equal(made, 1001);
    person = "ann";
}

static void the_hub_drops_what_it_does_not_know(void **state)
{
    (void)state;
    assert_int_equal(ask(HTTP_POST, "/v2/hub/?x=1", "{\"pattern\":\"*\",\"scope\":\"read\",\"more\":[1]}"), 200);
    assert_string_equal(in.answer.p, "{\"pattern\":\"*\",\"scope\":\"read\"}");
    assert_int_equal(ask(HTTP_POST, "/v2/hub", "{\"pattern\":\"*\"}"), 400);
    assert_string_equal(in.answer.p, "{\"fields\":{\"scope\":[\"is needed\"]},\"text\":\"scope is needed\"}\n");
}

static void times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t us;
    } good[] = {{"1970-01-01T00:00:00Z", 0}, {"1970-01-01T00:00:00.000001Z", 1}, {"1969-12-31T23:59:59z", -1000000}, {"2000-02-29t12:00:00.5+00:00", 951825600500000},
                {"2026-01-02T03:04:05-23:59", 1767409385000000}, {"2026-12-31T23:59:59.999999Z", 1798761599999999}, {"9999-12-31T00:00:00Z", 253402214400000000}};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        int64_t us;
        assert_true(rest_time_parse(str_of(good[i].text), &us));
        if (us != good[i].us)
            fail_msg("%s: %lld", good[i].text, (long long)us);
    }
    static const char *const bad[] = {"", "2026-01-02", "2026-01-02T03:04:05", "2026-1-02T03:04:05Z", "2026-02-29T00:00:00Z", "1900-02-29T00:00:00Z", "2026-13-01T00:00:00Z",
                                      "2026-00-01T00:00:00Z", "2026-01-00T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z", "2026-01-01T00:00:00.Z",
                                      "2026-01-01T00:00:00.1234567Z", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+0100", "2026-01-01T00:00:00Zx", "2026-01-01 00:00:00Z", "+026-01-01T00:00:00Z"};
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        int64_t us;
        if (rest_time_parse(str_of(bad[i]), &us))
            fail_msg("accepted: %s", bad[i]);
    }
}

#ifdef BERTH_FAULTS
/* Answers that the document does not know end the program, in builds for tests. */
static void a_lie_is_a_bug(void **state)
{
    (void)state;
    static const char *const how[] = {"field", "status", "error"};
    for (size_t i = 0; i < ARRAY_LEN(how); i++) {
        char target[100];
        (void)snprintf(target, sizeof target, "/api/v1/lie/%s", how[i]);
        (void)fflush(NULL);
        pid_t child = fork();
        if (child == 0) {
            const struct rlimit none = {0, 0};
            setrlimit(RLIMIT_CORE, &none);
            (void)signal(SIGABRT, SIG_DFL);
            ask(HTTP_GET, target, NULL);
            _exit(0);
        }
        int status = 0;
        assert_int_equal(waitpid(child, &status, 0), child);
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGABRT)
            fail_msg("%s: lived", how[i]);
    }
}
#endif

static void the_document_says_what_is_checked(void **state)
{
    (void)state;
    json_t *doc = json_loads(rest_document(rest).p, 0, NULL);
    assert_non_null(doc);
    json_t *paths = json_object_get(doc, "paths");
    assert_null(json_object_get(paths, "/v2/hub")); /* another dialect */
    json_t *post = json_object_get(json_object_get(paths, "/api/v1/things"), "post");
    json_t *answers = json_object_get(post, "responses");
    assert_string_equal(json_string_value(json_object_get(post, "operationId")), "make");
    static const char *const there[] = {"201", "400", "401", "403", "409", "413", "415", "422", "429", "500", "503", "507"};
    assert_int_equal(json_object_size(answers), ARRAY_LEN(there));
    for (size_t i = 0; i < ARRAY_LEN(there); i++)
        assert_non_null(json_object_get(answers, there[i]));
    json_t *open = json_object_get(json_object_get(paths, "/api/v1/query"), "get");
    assert_int_equal(json_array_size(json_object_get(open, "security")), 0);
    assert_non_null(json_object_get(open, "security"));
    assert_null(json_object_get(json_object_get(open, "responses"), "401"));
    json_t *schema = json_object_get(json_object_get(json_object_get(doc, "components"), "schemas"), "Thing");
    char *text = json_dumps(json_object_get(json_object_get(schema, "properties"), "name"), JSON_COMPACT);
    assert_string_equal(text, "{\"type\":\"string\",\"maxLength\":8,\"pattern\":\"^[a-z]{2,}$\",\"description\":\"unique\"}");
    free(text);
    text = json_dumps(json_object_get(json_object_get(schema, "properties"), "first"), JSON_COMPACT);
    assert_string_equal(text, "{\"oneOf\":[{\"$ref\":\"#/components/schemas/Bound\"},{\"type\":\"null\"}]}");
    free(text);
    json_decref(doc);
    assert_int_equal(ask(HTTP_GET, "/api/v1/openapi.json", NULL), 200);
    assert_true(str_eq(buf_view(&in.answer), rest_document(rest)));
}

static void unsound_rows_stop_the_start(void **state)
{
    (void)state;
    static const struct rest_field endless_fields[] = {{"text", REST_STRING, .about = "no bound"}, {0}};
    static const struct rest_schema endless = {"Endless", "", endless_fields}, same = {"Thing", "", thing_fields};
    static const struct rest_field no_words_fields[] = {{"scope", REST_ENUM, .about = "no words"}, {0}};
    static const struct rest_schema no_words = {"Words", "", no_words_fields};
    static const struct rest_route bad[][2] = {
        {{REST_POST("/a", "a", 2), make, "A", "a", .body = &endless}, {REST_GET("/b", "b", 2), show, "B", "b"}},
        {{REST_POST("/a", "a", 2), make, "A", "a"}, {REST_GET("/b", "a", 2), show, "B", "b"}},
        {{REST_POST("/a", "a", 2), make, "A", "a", .body = &thing, .answer = &same}, {REST_GET("/b", "b", 2), show, "B", "b"}},
        {{REST_POST("/a", "a", 2), make, "A", "a", .answer = &no_words}, {REST_GET("/b", "b", 2), show, "B", "b"}},
        {{REST_POST("/a", "a", 2), make, "A", NULL}, {REST_GET("/b", "b", 2), show, "B", "b"}},
        {{REST_GET("/a", "a", 2), make, "A", "a", .cursor = "s"}, {REST_GET("/b", "b", 2), show, "B", "b"}},
        {{REST_GET("/a", "a", 2), make, "A", "a", .answer = &thing, .cursor = "x"}, {REST_GET("/b", "b", 2), show, "B", "b"}},
    };
    static const struct rest_route good[] = {{REST_POST("/a", "a", 2), make, "A", "a", .body = &thing, .answer = &endless}};
    struct err err = {0};
    assert_int_equal(seal(good, 1, &err), 0);
    unseal();
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        if (seal(bad[i], 2, &err) != ERR_INTERNAL)
            fail_msg("accepted: %zu", i);
        unseal();
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(bodies_are_checked, open_all, close_all),
        cmocka_unit_test_setup_teardown(bodies_are_json, open_all, close_all),
        cmocka_unit_test_setup_teardown(many_faults_are_told_at_once, open_all, close_all),
        cmocka_unit_test_setup_teardown(queries_are_checked_and_typed, open_all, close_all),
        cmocka_unit_test_setup_teardown(pages_follow_the_key, open_all, close_all),
        cmocka_unit_test_setup_teardown(conditions, open_all, close_all),
        cmocka_unit_test_setup_teardown(idempotency_keys, open_all, close_all),
        cmocka_unit_test_setup_teardown(the_hub_drops_what_it_does_not_know, open_all, close_all),
        cmocka_unit_test(times),
#ifdef BERTH_FAULTS
        cmocka_unit_test_setup_teardown(a_lie_is_a_bug, open_all, close_all),
#endif
        cmocka_unit_test_setup_teardown(the_document_says_what_is_checked, open_all, close_all),
        cmocka_unit_test(unsound_rows_stop_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
