/* What every JSON handler uses: rows that say what they take and answer, so that requests are checked, answers
 * are held to their word and /api/v1/openapi.json is made from one place.
 *
 * A row is a http_route and what a reader needs to know of it. Before its handler runs, the query, the
 * body (JSON, RFC 8259, no key twice) and the Idempotency-Key have been looked at: what is wrong is a 400 that
 * names each field. Unknown fields and parameters are wrong, too, except in rows of HTTP_HUB, where they are
 * dropped: its clients send whatever they have. In builds with -Dfaults an answer that its row does not
 * document is a BUG.
 *
 *     static const struct rest_schema team = {"Team", "A team of an organization.", (const struct rest_field[]){
 *         {"name", REST_STRING, .required = true, .check = &name_check, .about = "unique in the organization"},
 *         {"members", REST_INT, .required = true, .about = "how many"},
 *         {0}}};
 *     static const struct rest_route rows[] = {
 *         {REST_GET("/orgs/{org}/teams", "team_list", RIGHT_X), team_list, "List teams", "teams",
 *          .answer = &team, .cursor = "s"},
 *     };
 *
 * Rows and all they point to are constants. A field without any .member = warns: say what it is .about. */
#ifndef REST_REST_H
#define REST_REST_H
#include "base/json.h"
#include "http/http.h"

/* --- shapes */
enum rest_type { REST_STRING = 1, REST_INT, REST_BOOL, REST_TIME, REST_ENUM, REST_OBJECT, REST_ARRAY };

/* A rule of a string beyond its length. */
struct rest_check {
    bool (*fits)(struct str text);
    const char *says;           /* "must be ...": of the message and the document */
    const char *pattern;        /* ECMA 262, for the document; NULL: none says it all */
};

struct rest_field {
    const char *name;           /* NULL ends a list of fields */
    enum rest_type type;
    bool required;              /* must be there; in an answer: is always there */
    bool nullable;
    int64_t min, max;           /* characters of a string, items of an array; an int's value unless both are 0;
                                 * max 0: no bound of its own, refused at start in what clients send */
    const struct rest_check *check;
    const char *const *words;   /* REST_ENUM: ends with NULL */
    const struct rest_schema *schema; /* REST_OBJECT; REST_ARRAY of objects */
    enum rest_type of;          /* REST_ARRAY without schema: STRING, INT or ENUM, with check or words */
    const char *about;
};
struct rest_schema {
    const char *name;           /* unique: its key in components/schemas */
    const char *about;
    const struct rest_field *fields;
};

/* --- rows */
struct rest_call;
struct rest_route {
    struct http_route http;     /* label: unique, the operation's id */
    int (*run)(struct rest_call *c, struct err *err);
    const char *summary, *tag;
    const struct rest_field *query;   /* parameters; `limit` and `after` of a list come by themselves */
    const struct rest_schema *body;
    const struct rest_schema *answer; /* of a list: an item. NULL: none (204), unless media */
    const char *media;          /* the answer is of this type and not checked: the handler sends it with http_send */
    unsigned status;            /* of success; 0: 200, or 204 without answer */
    /* Further ones. By themselves come 400, 429, 5xx; 401 and 403 unless the right is the public one; 404 where
     * the path has a {part}; 304 of one object; 409 and 422 of REST_POST; 412 with match; 413 and 415 with a body. */
    unsigned also[4];
    const char *cursor;         /* a list; types of its key, a letter each: s text, i int */
    int64_t limit_max;          /* of a list; 0: 100 */
    bool match;                 /* takes If-Match: the handler calls rest_match */
};
int rest_run(struct http_req *r, struct err *err);
void rest_done(struct http_req *r);
#define REST_HTTP(methods_, base_, path_, label_, right_, dialect_, writes_)                                    \
    .http = {.methods = (methods_), .pattern = base_ path_, .label = (label_), .right = (right_),               \
             .body = ((methods_) & (HTTP_POST | HTTP_PUT | HTTP_PATCH)) ? HTTP_BUFFER : HTTP_NONE,              \
             .cap_key = -1, .too_large = ERR_TOO_LARGE, .writes = (writes_), .dialect = (dialect_),             \
             .either_slash = (dialect_) == HTTP_HUB, .run = rest_run, .done = rest_done}
#define REST_API(methods, path, label, right, writes) REST_HTTP(methods, "/api/v1", path, label, right, HTTP_PROBLEM, writes)
#define REST_GET(path, label, right) REST_API(HTTP_GET | HTTP_HEAD, path, label, right, false)
#define REST_POST(path, label, right) REST_API(HTTP_POST, path, label, right, true)
#define REST_ASK(path, label, right) REST_API(HTTP_POST, path, label, right, false) /* a POST that changes nothing */
#define REST_PUT(path, label, right) REST_API(HTTP_PUT, path, label, right, true)
#define REST_PATCH(path, label, right) REST_API(HTTP_PATCH, path, label, right, true)
#define REST_DELETE(path, label, right) REST_API(HTTP_DELETE, path, label, right, true)
#define HUB_ROW(methods, path, label, right) \
    REST_HTTP(methods, "/v2", path, label, right, HTTP_HUB, ((methods) & ~(HTTP_GET | HTTP_HEAD)) != 0)

/* --- a call */
struct rest_call {
    struct http_req *r;
    const struct rest_route *row;
    json_t *body;               /* checked; an object when the row has a schema, else NULL */
    json_t *query;              /* checked, by name, typed; what was not given is absent */
    void *ctx;                  /* the handler's */
    /* private */
    json_t *after, *items, *last;
    int64_t limit;
    bool more;
    const char *location;
    struct idem *idem;
};
/* Values of an object that was checked: absent or null give the empty slice (p NULL) or the fallback. */
struct str rest_text(const json_t *o, const char *name);
int64_t rest_int(const json_t *o, const char *name, int64_t fallback);
bool rest_bool(const json_t *o, const char *name, bool fallback);
int64_t rest_time(const json_t *o, const char *name, int64_t fallback); /* microseconds since 1970 */
bool rest_has(const json_t *o, const char *name);                      /* there, and be it null */
/* One more wrong field, found by the handler: `return rest_wrong(c, err, "name", "is taken")`. ERR_FIELDS. */
int rest_wrong(struct rest_call *c, struct err *err, const char *field, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));

/* --- answers. doc is taken; NULL: no body. 0, so that `return rest_send(c, doc)` ends a handler.
 * A GET of one object bears a strong ETag and may become 304. */
int rest_send(struct rest_call *c, json_t *doc);                       /* with the row's status */
int rest_send_status(struct rest_call *c, unsigned status, json_t *doc);
void rest_location(struct rest_call *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* ERR_PRECONDITION when If-Match or If-None-Match speak against the object as a GET would show it now (NULL: it
 * is absent). doc is not taken. Belongs into the transaction that changes the object. */
int rest_match(struct rest_call *c, const json_t *doc, struct err *err);
json_t *rest_json_time(int64_t us);                                    /* RFC 3339 UTC; 0: null */
json_t *rest_json_text(struct str s);                                  /* not UTF-8, or p NULL: null */

/* --- lists: {"items":[...],"next":cursor|null}, ?limit= (default 50) &after=. The key of a row (its order) is
 * in the cursor. In a transaction that may run again:
 *     int64_t n = rest_page(c);     empties the page; how many rows to ask for: one more than fit
 *     ... WHERE name > $1 ORDER BY name LIMIT $2      with rest_after_text(c, 0) and n
 *     rest_add(c, json_pack(...), json_pack("[s]", name));      item and key are taken
 * and behind it: return rest_send_page(c); */
int64_t rest_page(struct rest_call *c);
bool rest_is_first(const struct rest_call *c);                         /* no cursor was given */
struct str rest_after_text(const struct rest_call *c, size_t k);       /* k-th of the key; "" on the first page */
int64_t rest_after_int(const struct rest_call *c, size_t k, int64_t first);
void rest_add(struct rest_call *c, json_t *item, json_t *key);
bool rest_full(const struct rest_call *c);                             /* no further row is needed */
int rest_send_page(struct rest_call *c);

/* --- the room. Answers to POST with an Idempotency-Key are kept in memory for 24 hours, within bounds in
 * all and for each principal (rest/idem.c): the same key and request give the same answer, another request is
 * a 422. A restart forgets them. */
struct rest_options {
    const char *title, *version;
    int public_right;           /* rows with it need no credentials */
    struct str (*principal)(const struct http_req *r); /* whose keys; empty: nobody's, none are kept */
};
struct rest;
struct rest *rest_new(const struct rest_options *o);
void rest_free(struct rest *x);
void rest_routes_add(struct rest *x, struct http_server *s, const struct rest_route *rows, size_t n);
/* After all rows: ERR_INTERNAL for a row or schema that is not sound; makes the document. */
int rest_seal(struct rest *x, struct err *err);
struct str rest_document(const struct rest *x);
struct rest *rest_of(const struct http_req *r);                        /* defined in app/app.c */
int rest_document_run(struct rest_call *c, struct err *err);           /* answers with it */

/* --- pure parts, for tests and fuzzers */
typedef void (*rest_tell)(void *arg, const char *field, const char *message);
/* How many faults doc has; each is told. lenient: unknown fields are removed instead. */
int rest_check(const struct rest_schema *s, json_t *doc, bool lenient, rest_tell tell, void *arg);
int rest_check_fields(const struct rest_field *fields, json_t *doc, bool lenient, rest_tell tell, void *arg);
/* RFC 3339 date-time, any offset, at most six digits of a second. */
bool rest_time_parse(struct str text, int64_t *ret_us);
/* NULL when it is no cursor of these types. */
json_t *rest_cursor_parse(struct str text, const char *types);
char *rest_cursor_text(struct arena *a, const json_t *key);
#endif
