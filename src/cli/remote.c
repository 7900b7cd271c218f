/* Requests to a hub far away, with the login that hosts.json has for it. */
#include "base/json.h"
#include "cli/cli.h"
#include "net/egress.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { ANSWER_MAX = 16 << 20, AUTH_MAX = 16 << 10 };
static const int64_t TIMEOUT_US = (int64_t)120 * 1000000;

struct remote {
    struct net *net;
    char *url, *user, *authorization; /* "": none */
};

const char *remote_host(const struct cli_args *a)
{
    const char *host = a->host ? a->host : getenv("BERTH_HOST");
    bool data = false;
    for (int i = 0; i < a->n_keys; i++)
        data = data || strncmp(a->keys[i], "--data=", 7) == 0;
    return host && host[0] && (a->host || !data) ? host : NULL;
}

int remote_open_url(struct remote **ret, const char *url, const char *ca, struct err *err)
{
    struct net *net = NULL;
    int rc = net_new(&net, "", ca ? ca : "", err);
    if (rc < 0)
        return rc;
    *ret = mem_zalloc(sizeof **ret);
    **ret = (struct remote){net, mem_strdup(url), mem_strdup(""), mem_strdup("")};
    return 0;
}

static char *join(const char *a, const char *b)
{
    size_t n = strlen(a), m = strlen(b) + 1;
    char *both = mem_alloc(size_add(n, m));
    memcpy(both, a, n);
    memcpy(both + n, b, m);
    return both;
}

/* scheme ends with a space. */
static void set_authorization(struct remote *r, const char *scheme, const char *text)
{
    explicit_bzero(r->authorization, strlen(r->authorization));
    free(r->authorization);
    r->authorization = join(scheme, text);
}

void remote_bearer(struct remote *r, struct str token)
{
    auto_free char *text = mem_strndup(token.p ? token.p : "", token.n);
    set_authorization(r, "Bearer ", text);
    explicit_bzero(text, token.n);
}

/* What docker stored may be a password, and Basic takes both. */
static void set_basic(struct remote *r, const char *user, const char *secret)
{
    struct buf pair;
    buf_init(&pair, AUTH_MAX);
    buf_printf(&pair, "%s:%s", user, secret);
    auto_free char *text = mem_alloc(pair.n * 2 + 8);
    base64_encode(text, pair.p, pair.n);
    set_authorization(r, "Basic ", text);
    explicit_bzero(text, strlen(text));
    password_release(&pair);
}

int remote_open(struct remote **ret, const char *host, const char *ca, bool open, struct err *err)
{
    char name[300], url[320];
    json_t *entry = NULL;
    host_name(host, name);
    int rc = hosts_get(name, &entry, err);
    if (rc < 0)
        return rc;
    if (rc == 0 && !open)
        return err_set(err, ERR_UNAUTHORIZED, "not logged in to %s: run `berth login %s`", name, name);
    const char *at = json_string_value(json_object_get(entry, "url")), *user = json_string_value(json_object_get(entry, "user"));
    const char *token = json_string_value(json_object_get(entry, "token"));
    snprintf(url, sizeof url, "https://%s", name);
    rc = remote_open_url(ret, at ? at : url, ca ? ca : json_string_value(json_object_get(entry, "ca")), err);
    if (rc == 0 && user && token) {
        free((*ret)->user);
        (*ret)->user = mem_strdup(user);
        set_basic(*ret, user, token);
    }
    json_decref(entry);
    return rc;
}

void remote_close(struct remote *r)
{
    if (!r)
        return;
    explicit_bzero(r->authorization, strlen(r->authorization));
    free(r->authorization);
    free(r->user);
    free(r->url);
    net_free(r->net);
    free(r);
}

const char *remote_user(const struct remote *r) { return r->user; }

static int write_piece(void *arg, struct str piece)
{
    while (piece.n > 0) {
        long n = write(*(const int *)arg, piece.p, piece.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -1;
        piece = (struct str){piece.p + n, piece.n - (size_t)n};
    }
    return 0;
}

/* Proxies answer in HTML; their status is all that is said of it. */
static int take_answer(struct net_answer *n, json_t **ret, struct err *err)
{
    struct err why = {0};
    int rc = n->body.n > 0 ? json_strict(buf_view(&n->body), (struct json_caps){ANSWER_MAX, 64, 1000000}, ret, &why) : 0;
    if (rc < 0 && n->status >= 200 && n->status < 300)
        return err_set(err, ERR_INVALID, "the server's answer is no JSON: is it a hub? (%s)", why.text);
    return 0;
}

int remote_send(struct remote *r, const char *method, const char *target, const json_t *body, int fd, int *ret_status,
                json_t **ret, struct err *err)
{
    auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    auto_free char *url = join(r->url, target);
    struct net_header all[3] = {{"Accept", "application/json"}};
    struct net_call call = {.method = method, .headers = all, .n_headers = 1, .body = str_of(text), .cap = ANSWER_MAX, .timeout = TIMEOUT_US,
                            .sink = fd >= 0 ? write_piece : NULL, .arg = &fd};
    struct net_answer answer = {0};
    if (text)
        all[call.n_headers++] = (struct net_header){"Content-Type", "application/json"};
    if (r->authorization[0])
        all[call.n_headers++] = (struct net_header){"Authorization", r->authorization};
    struct net_end end = {.url = url, .who = NET_OPERATOR, .plain = strncmp(url, "http://", 7) == 0};
    int rc = net_http(r->net, &end, &call, &answer, err);
    if (text)
        explicit_bzero(text, strlen(text));
    if (rc < 0)
        return rc;
    *ret_status = answer.status;
    rc = take_answer(&answer, ret, err);
    password_release(&answer.body);
    return rc;
}
