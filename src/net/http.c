/* HTTP calls. */
#include "net/net_int.h"

#include <strings.h>

enum { HEAD_MAX = 64 << 10 };
struct reading {
    struct net_dial *dial;
    struct net_answer *answer;
    const struct net_call *call;
    size_t head; /* bytes of heads so far */
};

static size_t on_body(char *p, size_t size, size_t n, void *arg)
{
    struct reading *r = arg;
    long status = 0;
    curl_easy_getinfo(r->dial->curl, CURLINFO_RESPONSE_CODE, &status);
    if (r->call->sink != NULL && status >= 200 && status < 300)
        return r->call->sink(r->call->arg, (struct str){p, size * n}) == 0 ? size * n : 0;
    buf_add(&r->answer->body, p, size * n);
    if (!r->answer->body.overflow)
        return size * n;
    r->dial->code = ERR_TOO_LARGE;
    return 0;
}

static void keep(struct str line, const char *name, char *out, size_t cap)
{
    struct str key;
    if (!str_split(&line, ':', &key) || !str_ieq(key, str_of(name)))
        return;
    while (line.n != 0 && (line.p[line.n - 1] == '\r' || line.p[line.n - 1] == '\n'))
        line.n--;
    line = str_trim(line);
    text_copy(out, cap, line.n < cap ? line : (struct str){"", 0});
    net_clean(out);
}

static size_t on_header(char *p, size_t size, size_t n, void *arg)
{
    struct reading *r = arg;
    struct str line = {p, size * n};
    r->head += line.n;
    if (r->head > HEAD_MAX) {
        r->dial->code = ERR_TOO_LARGE;
        return 0;
    }
    struct net_answer *a = r->answer;
    keep(line, "content-type", a->content_type, sizeof a->content_type);
    keep(line, "cache-control", a->cache_control, sizeof a->cache_control);
    keep(line, "retry-after", a->retry_after, sizeof a->retry_after);
    return line.n;
}

static bool header_ok(const struct net_header *h)
{
    static const char token[] = "!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    if (h->name[0] == '\0' || h->name[strspn(h->name, token)] != '\0' || strcasecmp(h->name, "host") == 0)
        return false;
    for (const char *c = h->value; *c; c++)
        if ((*c < 0x20 && *c != '\t') || *c == 0x7f)
            return false;
    return h->value[0] != '\0';
}

static int headers_of(const struct net_call *call, struct curl_slist **ret, struct err *err)
{
    struct curl_slist *all = curl_slist_append(NULL, "Expect:"); /* no wait for 100 Continue */
    for (size_t i = 0; i < call->n_headers; i++) {
        const struct net_header *h = &call->headers[i];
        if (!header_ok(h)) {
            curl_slist_free_all(all);
            return err_set(err, ERR_INVALID, "header %zu of the call is malformed", i + 1);
        }
        size_t n = strlen(h->name) + strlen(h->value) + 3;
        auto_free char *line = mem_alloc(n);
        memcpy(line, h->name, strlen(h->name));
        memcpy(line + strlen(h->name), ": ", 2);
        memcpy(line + strlen(h->name) + 2, h->value, strlen(h->value) + 1);
        all = curl_slist_append(all, line);
        explicit_bzero(line, n); /* may be an Authorization */
    }
    *ret = all;
    return 0;
}

static bool method_ok(const char *method)
{
    static const char *const all[] = {"GET", "POST", "PUT", "PATCH", "DELETE"};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (strcmp(method, all[i]) == 0)
            return true;
    return false;
}

int net_http(const struct net *n, const struct net_end *end, const struct net_call *call, struct net_answer *ret,
             struct err *err)
{
    struct net_dial d;
    struct net_answer a = {.status = 0};
    struct reading r = {&d, &a, call, 0};
    struct curl_slist *headers = NULL;
    const char *method = call->method != NULL ? call->method : "GET";
    bool get = strcmp(method, "GET") == 0;
    if (!method_ok(method) || (get && call->body.n != 0))
        return err_set(err, ERR_INVALID, "the call must be GET without body, POST, PUT, PATCH or DELETE");
    int rc = net_dial_open(&d, n, end, NET_HTTP, call->timeout, err);
    if (rc < 0)
        return rc;
    buf_init(&a.body, call->cap);
    rc = headers_of(call, &headers, err);
    if (rc == 0) {
        curl_easy_setopt(d.curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(d.curl, CURLOPT_USERAGENT, "berth/" BERTH_VERSION);
        if (!get) {
            curl_easy_setopt(d.curl, CURLOPT_POST, 1L);
            curl_easy_setopt(d.curl, CURLOPT_CUSTOMREQUEST, method);
            curl_easy_setopt(d.curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)call->body.n);
            curl_easy_setopt(d.curl, CURLOPT_POSTFIELDS, call->body.n != 0 ? call->body.p : "");
        }
        curl_easy_setopt(d.curl, CURLOPT_WRITEFUNCTION, on_body);
        curl_easy_setopt(d.curl, CURLOPT_WRITEDATA, &r);
        curl_easy_setopt(d.curl, CURLOPT_HEADERFUNCTION, on_header);
        curl_easy_setopt(d.curl, CURLOPT_HEADERDATA, &r);
        rc = net_dial_run(&d, err);
    }
    if (rc == 0) {
        long status = 0;
        curl_easy_getinfo(d.curl, CURLINFO_RESPONSE_CODE, &status);
        a.status = (int)status;
        *ret = a;
    } else {
        buf_release(&a.body);
    }
    net_dial_close(&d);
    curl_slist_free_all(headers);
    return rc;
}

void net_answer_release(struct net_answer *a) { buf_release(&a->body); }
