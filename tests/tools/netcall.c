/* Calls of the room net for tests/net: a JSON object a line in, one out. {"do":"rules","allow":..,"ca":..} first. */
#include "base/clock.h"
#include "base/json.h"
#include "crypt/secret.h"
#include "net/hook.h"
#include "net/ldap.h"
#include "net/mail.h"
#include "net/syslog.h"

#include <stdio.h>
#include <stdlib.h>

enum { SERVERS_MAX = 8, HEADERS_MAX = 8 };
static struct net *net;
static struct net_syslog *sender;

static const char *text(const json_t *o, const char *key)
{
    const char *s = json_string_value(json_object_get(o, key));
    return s != NULL ? s : "";
}
static struct str bytes(const json_t *o, const char *key)
{
    const json_t *v = json_object_get(o, key);
    return (struct str){json_string_value(v), json_string_length(v)};
}
static int64_t number(const json_t *o, const char *key, int64_t otherwise)
{
    const json_t *v = json_object_get(o, key);
    return v != NULL ? json_integer_value(v) : otherwise;
}
static struct net_end end_of(const json_t *o, const char *url)
{
    return (struct net_end){.url = url,
                            .who = strcmp(text(o, "who"), "tenant") == 0 ? NET_TENANT : NET_OPERATOR,
                            .plain = json_is_true(json_object_get(o, "plain"))};
}
static void put(json_t *out, const char *key, const char *s)
{
    json_t *v = json_string(s);
    json_object_set_new(out, key, v != NULL ? v : json_string("(not UTF-8)"));
}

static int do_rules(const json_t *o, json_t *out, struct err *err)
{
    (void)out;
    net_free(net);
    net = NULL;
    return net_new(&net, text(o, "allow"), text(o, "ca"), err);
}

static int do_check(const json_t *o, json_t *out, struct err *err)
{
    struct net_end end = end_of(o, text(o, "url"));
    struct net_url u;
    int rc = net_end_check(net, &end, (enum net_kind)number(o, "kind", NET_HTTP), &u, err);
    if (rc == 0) {
        put(out, "host", u.host);
        json_object_set_new(out, "port", json_integer(u.port));
    }
    return rc;
}

static int do_http(const json_t *o, json_t *out, struct err *err)
{
    struct net_end end = end_of(o, text(o, "url"));
    struct net_header headers[HEADERS_MAX];
    struct net_answer a;
    const char *key;
    json_t *v;
    size_t n = 0;
    json_object_foreach(json_object_get(o, "headers"), key, v)
        if (n < HEADERS_MAX)
            headers[n++] = (struct net_header){key, json_string_value(v)};
    const char *method = text(o, "method");
    struct net_call call = {.method = method[0] != '\0' ? method : NULL, .headers = headers, .n_headers = n,
                            .body = bytes(o, "body"), .cap = (size_t)number(o, "cap", 65536),
                            .timeout = number(o, "timeout", 10000) * 1000};
    int rc = net_http(net, &end, &call, &a, err);
    if (rc < 0)
        return rc;
    json_object_set_new(out, "status", json_integer(a.status));
    put(out, "body", a.body.p != NULL ? a.body.p : "");
    put(out, "content_type", a.content_type);
    put(out, "cache_control", a.cache_control);
    put(out, "retry_after", a.retry_after);
    net_answer_release(&a);
    return 0;
}

static int do_mail(const json_t *o, json_t *out, struct err *err)
{
    (void)out;
    struct mail_config cfg = {.end = end_of(o, text(o, "url")), .user = text(o, "user"), .password = text(o, "password"),
                              .from = text(o, "from"), .from_name = text(o, "from_name"),
                              .timeout = number(o, "timeout", 20000) * 1000};
    struct mail m = {text(o, "to"), text(o, "subject"), text(o, "text"), json_string_value(json_object_get(o, "html"))};
    return net_mail_send(net, &cfg, &m, err);
}

static int do_address(const json_t *o, json_t *out, struct err *err)
{
    (void)out;
    return net_mail_address_ok(bytes(o, "address")) ? 0 : err_set(err, ERR_INVALID, "no address");
}

static void put_user(const struct ldap_user *u, json_t *out)
{
    json_t *groups = json_array();
    put(out, "dn", u->dn);
    put(out, "uid", u->uid);
    put(out, "mail", u->mail);
    put(out, "name", u->name);
    for (size_t i = 0; i < u->n_groups; i++)
        json_array_append_new(groups, json_string(u->groups[i].name));
    json_object_set_new(out, "groups", groups);
}

static int do_ldap(const json_t *o, json_t *out, struct err *err)
{
    struct net_end servers[SERVERS_MAX];
    struct ldap_user u;
    struct arena arena;
    struct buf told;
    size_t n = 0, i;
    json_t *v;
    json_array_foreach(json_object_get(o, "servers"), i, v)
        if (n < SERVERS_MAX)
            servers[n++] = end_of(o, json_string_value(v));
    struct ldap_config cfg = {
        .servers = servers, .n_servers = n, .bind_dn = text(o, "bind_dn"), .bind_password = text(o, "bind_password"),
        .user_base = text(o, "user_base"), .user_filter = text(o, "user_filter"), .uid_attr = "uid", .mail_attr = "mail",
        .name_attr = "cn", .groups = (enum net_ldap_groups)number(o, "groups", NET_LDAP_SEARCH),
        .group_base = text(o, "group_base"), .group_filter = text(o, "group_filter"), .group_attr = "cn",
        .depth = (int)number(o, "depth", 8), .max_groups = (int)number(o, "max_groups", 1000),
        .timeout = number(o, "timeout", 10000) * 1000};
    arena_init(&arena);
    buf_init(&told, 1 << 20);
    bool test = json_is_true(json_object_get(o, "test"));
    int rc = test ? net_ldap_test(net, &cfg, bytes(o, "user"), bytes(o, "password"), &arena, &u, &told, err)
                  : net_ldap_login(net, &cfg, bytes(o, "user"), bytes(o, "password"), &arena, &u, err);
    if (rc == 0)
        put_user(&u, out);
    put(out, "told", told.p != NULL ? told.p : "");
    buf_release(&told);
    arena_release(&arena);
    return rc;
}

static int do_syslog_open(const json_t *o, json_t *out, struct err *err)
{
    (void)out;
    net_syslog_free(sender);
    sender = NULL;
    struct net_syslog_config cfg = {.end = end_of(o, text(o, "url")), .hostname = text(o, "hostname"), .app = text(o, "app"),
                                    .facility = (int)number(o, "facility", 13),
                                    .timeout = number(o, "timeout", 5000) * 1000};
    return net_syslog_new(&sender, net, &cfg, err);
}

static int do_syslog(const json_t *o, json_t *out, struct err *err)
{
    struct net_syslog_record r = {(int)number(o, "severity", 6), number(o, "time", 1000000), text(o, "msgid"),
                                  bytes(o, "data"), bytes(o, "text")};
    int64_t from = clock_mono();
    int rc = net_syslog_send(sender, &r, err);
    json_object_set_new(out, "ms", json_integer((clock_mono() - from) / 1000));
    json_object_set_new(out, "new", json_boolean(rc == 1));
    return rc == 1 ? 0 : rc;
}

static int do_hook(const json_t *o, json_t *out, struct err *err)
{
    char signature[NET_HOOK_SIGNATURE_MAX];
    int rc = net_hook_sign(bytes(o, "secret"), bytes(o, "id"), number(o, "seconds", 0), bytes(o, "body"), signature, err);
    if (rc == 0)
        put(out, "signature", signature);
    return rc;
}

static const struct {
    const char *name;
    int (*run)(const json_t *o, json_t *out, struct err *err);
} calls[] = {{"rules", do_rules},   {"check", do_check},     {"http", do_http},
             {"mail", do_mail},     {"address", do_address}, {"ldap", do_ldap},
             {"hook", do_hook},     {"syslog", do_syslog},   {"syslog-open", do_syslog_open}};

static void one(const char *line)
{
    json_t *o = json_loads(line, JSON_ALLOW_NUL, NULL), *out = json_object();
    struct err err = {0};
    int rc = ERR_INTERNAL;
    for (size_t i = 0; i < ARRAY_LEN(calls); i++)
        if (strcmp(calls[i].name, text(o, "do")) == 0)
            rc = calls[i].run(o, out, &err);
    put(out, "rc", rc == 0 ? "OK" : err_name(rc));
    put(out, "error", rc == 0 ? "" : err.text);
    auto_free char *answer = json_dumps(out, JSON_COMPACT);
    puts(answer);
    fflush(stdout);
    json_decref(o);
    json_decref(out);
}

int main(void)
{
    char *line = NULL;
    size_t size = 0;
    struct err err = {0};
    BUG_ON(secret_setup(&err) != 0 || net_new(&net, "", "", &err) != 0);
    while (getline(&line, &size, stdin) > 0)
        one(line);
    free(line);
    net_syslog_free(sender);
    net_free(net);
    return 0;
}
