/* Errors as bodies, one shape a dialect (http.h). */
#include "http/http_int.h"

#include <stdarg.h>
#include <stdio.h>

enum { ERROR_BODY_MAX = 32 << 10, FAULT_MAX = 256 };

const char *http_reason(unsigned status)
{
    static const struct {
        unsigned status;
        const char *text;
    } known[] = {
        {200, "OK"}, {201, "Created"}, {202, "Accepted"}, {204, "No Content"},
        {206, "Partial Content"}, {301, "Moved Permanently"}, {302, "Found"}, {303, "See Other"}, {304, "Not Modified"}, {307, "Temporary Redirect"},
        {400, "Bad Request"}, {401, "Unauthorized"}, {403, "Forbidden"}, {404, "Not Found"},
        {405, "Method Not Allowed"}, {408, "Request Timeout"}, {409, "Conflict"}, {410, "Gone"},
        {411, "Length Required"}, {412, "Precondition Failed"}, {413, "Content Too Large"}, {414, "URI Too Long"},
        {415, "Unsupported Media Type"}, {422, "Unprocessable Content"},
        {416, "Range Not Satisfiable"}, {417, "Expectation Failed"}, {429, "Too Many Requests"},
        {431, "Request Header Fields Too Large"}, {500, "Internal Server Error"},
        {501, "Not Implemented"}, {503, "Service Unavailable"}, {505, "HTTP Version Not Supported"},
        {507, "Insufficient Storage"}};
    for (size_t i = 0; i < ARRAY_LEN(known); i++)
        if (known[i].status == status)
            return known[i].text;
    return "Status";
}

void http_fault(struct http_req *r, const char *field, const char *fmt, ...)
{
    char text[FAULT_MAX];
    struct http_fault *f = arena_alloc(&r->arena, sizeof *f), **at = &r->faults;
    va_list ap;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    *f = (struct http_fault){NULL, field, str_dup(&r->arena, str_of(text))};
    while (*at != NULL)
        at = &(*at)->next;
    *at = f;
}

static enum http_dialect dialect_of(const struct http_req *r)
{
    if (r->route != NULL)
        return r->route->dialect;
    return str_starts(r->path, STR_LIT("/api/")) ? HTTP_PROBLEM : HTTP_OCI;
}

static void member(struct buf *b, const char *name, const char *value)
{
    buf_printf(b, "%c\"%s\":", b->n ? ',' : '{', name);
    buf_json(b, str_of(value));
}

static void oci(struct buf *b, const struct err *err)
{
    buf_cstr(b, "{\"errors\":[{\"code\":\"");
    buf_cstr(b, err_oci(err->code));
    buf_cstr(b, "\",\"message\":");
    buf_json(b, str_of(err->text));
    buf_cstr(b, ",\"detail\":null}]}\n");
}

/* The error's name in small letters. */
static const char *code_of(const struct err *err, char out[64])
{
    text_copy(out, 64, str_of(err_name(err->code)));
    for (char *p = out; *p != '\0'; p++)
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p + 32);
    return out;
}

static void problem(struct buf *b, const struct http_req *r, const struct err *err)
{
    char code[64];
    unsigned status = (unsigned)err_status(err->code);
    member(b, "type", "about:blank"); /* the title is then the status's, RFC 9457 section 4.2.1 */
    member(b, "title", http_reason(status));
    buf_printf(b, ",\"status\":%u", status);
    member(b, "detail", err->text);
    member(b, "code", code_of(err, code));
    member(b, "instance", r->id);
    if (r->ticket != NULL)
        member(b, "ticket", r->ticket);
    for (const struct http_fault *f = r->faults; f != NULL; f = f->next) {
        struct buf one;
        buf_init(&one, ERROR_BODY_MAX);
        member(&one, "field", f->field);
        member(&one, "message", f->message);
        buf_cstr(b, f == r->faults ? ",\"errors\":[" : ",");
        buf_str(b, buf_view(&one));
        buf_cstr(b, f->next ? "}" : "}]");
        buf_release(&one);
    }
    buf_cstr(b, "}\n");
}

static void hub(struct buf *b, const struct http_req *r, const struct err *err)
{
    if (err->code == ERR_TOOMANYREQUESTS) {
        member(b, "detail", "Rate limit exceeded");
        buf_cstr(b, ",\"error\":false}\n");
        return;
    }
    if (r->faults == NULL) {
        member(b, "detail", err->text);
        member(b, "message", err->text);
        if (r->ticket != NULL)
            member(b, "login_2fa_token", r->ticket);
        buf_cstr(b, ",\"errinfo\":{}}\n");
        return;
    }
    buf_cstr(b, "{\"fields\":");
    struct buf fields;
    buf_init(&fields, ERROR_BODY_MAX);
    for (const struct http_fault *f = r->faults; f != NULL; f = f->next) {
        buf_char(&fields, fields.n ? ',' : '{');
        buf_json(&fields, str_of(f->field));
        buf_cstr(&fields, ":[");
        buf_json(&fields, str_of(f->message));
        buf_char(&fields, ']');
    }
    buf_str(b, buf_view(&fields));
    buf_release(&fields);
    buf_char(b, '}');
    member(b, "text", err->text);
    buf_cstr(b, "}\n");
}

void http_error(struct http_req *r, const struct err *err)
{
    struct buf b;
    enum http_dialect dialect = dialect_of(r);
    int status = err_status(err->code);
    buf_init(&b, ERROR_BODY_MAX);
    if (dialect == HTTP_PROBLEM)
        problem(&b, r, err);
    else if (dialect == HTTP_HUB)
        hub(&b, r, err);
    else
        oci(&b, err);
    http_status(r, (unsigned)status);
    http_add(r, "Content-Type", dialect == HTTP_PROBLEM ? STR_LIT("application/problem+json") : STR_LIT("application/json"));
    if (status == 429 || status == 503)
        http_add(r, "Retry-After", STR_LIT("5"));
    http_send_buf(r, &b);
}
