/* The keys of issuers that others run, asked for on workers' threads and remembered. An answer that is slow,
 * huge, a redirect or another issuer's is a failure, and remembered as well: whoever can name an issuer, by a token that
 * nobody has checked yet, makes this hub ask it twice a minute at most. */
#include "ident/outside.h"

#include <stdlib.h>

enum { ISSUERS_MAX = 256, ASKING_MAX = 16, ASKING_EACH = 4, CONFIGURATION_MAX = 64 << 10 };
static const int64_t fresh_us = 600000000, stale_us = 3600000000, newer_us = 60000000, failed_us = 30000000, call_us = 5000000;

struct issuer {
    char *name;
    enum net_who who;
    struct issuer_keys *keys; /* NULL: none came yet */
    int64_t came, failed, renewed; /* clock_mono, 0 never: of the keys, of the last failure, of the last call for newer ones */
    int64_t used;
    bool asking;
    int users;                /* in issuer_keys just now */
};
struct issuers {
    const struct net *net;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    struct issuer *one[ISSUERS_MAX];
    size_t n;
    int users;
};

struct issuers *issuers_new(const struct net *net)
{
    struct issuers *s = mem_zalloc(sizeof *s);
    s->net = net;
    (void)pthread_mutex_init(&s->lock, NULL);
    (void)pthread_cond_init(&s->cond, NULL);
    return s;
}

static void issuer_free(struct issuer *x)
{
    if (x->keys)
        shared_unref(&x->keys->shared);
    free(x->name);
    free(x);
}

void issuers_free(struct issuers *s)
{
    if (!s)
        return;
    for (size_t k = 0; k < s->n; k++)
        issuer_free(s->one[k]);
    (void)pthread_cond_destroy(&s->cond);
    (void)pthread_mutex_destroy(&s->lock);
    free(s);
}

/* --- asking */

static int get(const struct net *net, enum net_who who, const char *url, size_t cap, struct net_answer *ret, struct err *err)
{
    static const struct net_header accept = {"Accept", "application/json"};
    struct net_end end = {.url = url, .who = who};
    struct net_call call = {.headers = &accept, .n_headers = 1, .cap = cap, .timeout = call_us};
    int rc = net_http(net, &end, &call, ret, err);
    if (rc == 0 && ret->status != 200) {
        rc = err_set(err, ERR_UNAVAILABLE, "%s is answered with status %d", url, ret->status);
        net_answer_release(ret);
    }
    return rc;
}

/* OpenID Connect Discovery 4.1: a slash at the issuer's end does not become two. */
static int configuration_url(const char *issuer, char ret[NET_URL_MAX], struct err *err)
{
    size_t n = strlen(issuer);
    if (n > 0 && issuer[n - 1] == '/')
        n--;
    if (n > ISSUER_MAX)
        return err_set(err, ERR_INVALID, "an issuer has at most %d bytes", ISSUER_MAX);
    memcpy(ret, issuer, n);
    memcpy(ret + n, "/.well-known/openid-configuration", sizeof "/.well-known/openid-configuration");
    return 0;
}

int issuer_discover(const struct net *net, enum net_who who, const char *issuer, json_t **ret, struct err *err)
{
    char url[NET_URL_MAX];
    struct net_answer a = {0};
    json_t *doc = NULL;
    int rc = configuration_url(issuer, url, err);
    if (rc < 0 || (rc = get(net, who, url, CONFIGURATION_MAX, &a, err)) < 0)
        return rc;
    rc = json_strict(buf_view(&a.body), (struct json_caps){CONFIGURATION_MAX, 8, 4096}, &doc, err);
    net_answer_release(&a);
    if (rc < 0)
        return err_wrap(err, "%s is no sound JSON", url);
    const char *named = json_string_value(json_object_get(doc, "issuer"));
    if (named == NULL || strcmp(named, issuer) != 0) {
        json_decref(doc);
        return err_set(err, ERR_UNAVAILABLE, "%s names another issuer than \"%s\"", url, issuer);
    }
    *ret = doc;
    return 0;
}

static void keys_free(struct shared *shared)
{
    struct issuer_keys *k = (struct issuer_keys *)shared;
    jwks_free(k->set);
    json_decref(k->configuration);
    free(k);
}

static int ask(const struct issuers *s, enum net_who who, const char *issuer, struct issuer_keys **ret, struct err *err)
{
    json_t *doc = NULL;
    struct net_answer a = {0};
    struct jwks *set = NULL;
    int rc = issuer_discover(s->net, who, issuer, &doc, err);
    if (rc < 0)
        return rc;
    const char *url = json_string_value(json_object_get(doc, "jwks_uri"));
    rc = url == NULL ? err_set(err, ERR_UNAVAILABLE, "the issuer's configuration has no jwks_uri")
                     : get(s->net, who, url, JWKS_BYTES_MAX, &a, err);
    if (rc == 0)
        rc = jwks_parse(buf_view(&a.body), &set, err);
    net_answer_release(&a);
    if (rc < 0) {
        json_decref(doc);
        return rc;
    }
    *ret = mem_zalloc(sizeof **ret);
    shared_init(&(*ret)->shared, sizeof **ret, keys_free);
    (*ret)->set = set;
    (*ret)->configuration = doc;
    return 0;
}

/* --- remembering; with s->lock held */

static struct issuer *find(struct issuers *s, enum net_who who, const char *name)
{
    size_t at = s->n;
    for (size_t k = 0; k < s->n; k++)
        if (s->one[k]->who == who && strcmp(s->one[k]->name, name) == 0)
            return s->one[k];
    if (s->n == ISSUERS_MAX)
        for (size_t k = 0; k < s->n; k++) /* the one that was not used for longest makes room */
            if (s->one[k]->users == 0 && (at == s->n || s->one[k]->used < s->one[at]->used))
                at = k;
    if (at == ISSUERS_MAX)
        return NULL;
    if (at < s->n)
        issuer_free(s->one[at]);
    else
        s->n++;
    struct issuer *x = s->one[at] = mem_zalloc(sizeof *x);
    x->name = mem_strdup(name);
    x->who = who;
    return x;
}

static bool passed(int64_t since, int64_t span) { return since == 0 || clock_mono() - since >= span; }
static bool usable(const struct issuer *x) { return x->keys != NULL && !passed(x->came, stale_us); }

static void ask_now(struct issuers *s, struct issuer *x, bool newer)
{
    struct issuer_keys *keys = NULL;
    struct err why = {0};
    x->asking = true;
    if (newer)
        x->renewed = clock_mono();
    (void)pthread_mutex_unlock(&s->lock);
    int rc = ask(s, x->who, x->name, &keys, &why);
    if (rc < 0)
        log_line(LOG_WARN, "an issuer's keys cannot be had", F_CSTR("issuer", x->name), F_CSTR("error", why.text));
    (void)pthread_mutex_lock(&s->lock);
    x->asking = false;
    x->failed = rc < 0 ? clock_mono() : 0;
    if (rc == 0) {
        if (x->keys)
            shared_unref(&x->keys->shared);
        x->keys = keys;
        x->came = clock_mono();
    }
    (void)pthread_cond_broadcast(&s->cond);
}

/* Without a set that serves, or for a newer one. */
static bool needs(const struct issuer *x, bool newer) { return !usable(x) || (newer && passed(x->renewed, newer_us)); }

static bool must_ask(const struct issuer *x, bool newer)
{
    return x->asking ? needs(x, newer) : (needs(x, newer) || passed(x->came, fresh_us)) && passed(x->failed, failed_us);
}

/* Asks, or waits for who asks already: aside, and only so many. */
static int refresh(struct issuers *s, struct issuer *x, struct http_server *server, bool newer, struct err *err)
{
    if (s->users == ASKING_MAX || x->users == ASKING_EACH)
        return err_set(err, ERR_TOOMANYREQUESTS, "too many logins wait for the token's issuer; try again in a moment");
    s->users++;
    x->users++;
    http_aside(server, true); /* its lock is held for a moment only, and never around ours */
    if (!x->asking)
        ask_now(s, x, newer && usable(x));
    else
        while (x->asking)
            (void)pthread_cond_wait(&s->cond, &s->lock);
    http_aside(server, false);
    s->users--;
    x->users--;
    return 0;
}

int issuer_keys(struct issuers *s, struct http_server *server, enum net_who who, const char *issuer, bool newer,
                struct issuer_keys **ret, struct err *err)
{
    int rc = 0;
    (void)pthread_mutex_lock(&s->lock);
    struct issuer *x = find(s, who, issuer);
    if (x == NULL)
        rc = err_set(err, ERR_TOOMANYREQUESTS, "too many issuers are asked at once; try again in a moment");
    else if (must_ask(x, newer))
        rc = refresh(s, x, server, newer, err);
    if (rc == 0 && !usable(x))
        rc = err_set(err, ERR_UNAVAILABLE, "the keys of the token's issuer cannot be had at the moment");
    if (rc == 0) {
        x->used = clock_mono();
        *ret = (struct issuer_keys *)shared_ref(&x->keys->shared);
    }
    (void)pthread_mutex_unlock(&s->lock);
    return rc;
}

int issuer_verify(struct issuers *s, struct http_server *server, enum net_who who, const char *issuer, struct str token,
                  unsigned algs, struct jwt *ret, struct err *err)
{
    struct issuer_keys *keys = NULL;
    int rc = issuer_keys(s, server, who, issuer, false, &keys, err);
    if (rc < 0)
        return rc;
    rc = jwt_verify(keys->set, token, algs, ret, err);
    shared_unref(&keys->shared);
    if (rc != ERR_NOT_FOUND)
        return rc;
    if ((rc = issuer_keys(s, server, who, issuer, true, &keys, err)) < 0)
        return rc;
    rc = jwt_verify(keys->set, token, algs, ret, err);
    shared_unref(&keys->shared);
    return rc == ERR_NOT_FOUND ? err_set(err, ERR_UNAUTHORIZED, "the token is refused: its issuer has no such key") : rc;
}
