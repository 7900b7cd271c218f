/* URLs of ends: a small strict subset, so that no other parser can read another host in it. */
#include "net/egress.h"

#include <arpa/inet.h>

struct scheme {
    const char *name;
    enum net_kind kind;
    bool tls;
    uint16_t port;
};
static const struct scheme schemes[] = {
    {"https", NET_HTTP, true, 443},      {"http", NET_HTTP, false, 80},
    {"smtps", NET_SMTP, true, 465},      {"smtp", NET_SMTP, false, 587},
    {"ldaps", NET_LDAP, true, 636},      {"ldap", NET_LDAP, false, 389},
    {"syslogs", NET_SYSLOG, true, 6514}, {"syslog", NET_SYSLOG, false, 514},
};

static int malformed(struct err *err, const char *why)
{
    return err_set(err, ERR_INVALID, "malformed URL: %s", why);
}

static const struct scheme *scheme_of(struct str *rest)
{
    for (size_t i = 0; i < ARRAY_LEN(schemes); i++) {
        size_t n = strlen(schemes[i].name);
        if (rest->n > n + 3 && memcmp(rest->p, schemes[i].name, n) == 0 && memcmp(rest->p + n, "://", 3) == 0) {
            *rest = (struct str){rest->p + n + 3, rest->n - n - 3};
            return &schemes[i];
        }
    }
    return NULL;
}

static bool digit(char c) { return c >= '0' && c <= '9'; }
static bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

static bool label_ok(struct str l)
{
    if (l.n == 0 || l.n > 63 || l.p[0] == '-' || l.p[l.n - 1] == '-')
        return false;
    for (size_t i = 0; i < l.n; i++)
        if (!letter(l.p[i]) && !digit(l.p[i]) && l.p[i] != '-' && l.p[i] != '_')
            return false;
    return true;
}

/* What inet_aton would take for an address: the last label is a number, decimal or hex. */
static bool number_like(struct str last)
{
    if (last.n >= 2 && last.p[0] == '0' && (last.p[1] | 0x20) == 'x')
        return true;
    for (size_t i = 0; i < last.n; i++)
        if (!digit(last.p[i]))
            return false;
    return true;
}

static int host_of(struct str host, struct net_url *u, struct err *err)
{
    uint8_t raw[16];
    if (host.n == 0 || host.n >= sizeof u->host)
        return malformed(err, "the host is empty or longer than 253 bytes");
    text_copy(u->host, sizeof u->host, host);
    for (char *c = u->host; *c; c++)
        if (*c >= 'A' && *c <= 'Z')
            *c = (char)(*c | 0x20);
    if (u->v6) {
        u->literal = true;
        return inet_pton(AF_INET6, u->host, raw) == 1 ? 0 : malformed(err, "no IPv6 address between [ and ]");
    }
    struct str rest = host, label = {NULL, 0};
    while (str_split(&rest, '.', &label))
        if (!label_ok(label))
            return malformed(err, "the host may have letters, digits, '-' and single dots only");
    u->literal = number_like(label);
    if (u->literal && inet_pton(AF_INET, u->host, raw) != 1)
        return malformed(err, "an IPv4 address is written as four decimal numbers");
    return 0;
}

static int port_of(struct str text, struct net_url *u, struct err *err)
{
    uint64_t port;
    if (text.n > 5 || !str_u64(text, &port) || port == 0 || port > 65535 || text.p[0] == '0')
        return malformed(err, "the port is a number from 1 to 65535");
    u->port = (uint16_t)port;
    return 0;
}

/* authority: host, [v6], either with :port */
static int authority_of(struct str a, struct net_url *u, struct err *err)
{
    struct str host = a, port = {NULL, 0};
    if (a.n != 0 && memchr(a.p, '@', a.n) != NULL)
        return malformed(err, "no user name or password may stand in it");
    if (a.n != 0 && a.p[0] == '[') {
        const char *end = memchr(a.p, ']', a.n);
        if (end == NULL)
            return malformed(err, "no IPv6 address between [ and ]");
        u->v6 = true;
        host = (struct str){a.p + 1, (size_t)(end - a.p) - 1};
        port = (struct str){end + 1, a.n - host.n - 2};
        if (port.n != 0 && port.p[0] != ':')
            return malformed(err, "only a port may follow ]");
    } else {
        const char *colon = a.n != 0 ? memchr(a.p, ':', a.n) : NULL;
        if (colon != NULL) {
            host.n = (size_t)(colon - a.p);
            port = (struct str){colon, a.n - host.n};
        }
    }
    int rc = host_of(host, u, err);
    if (rc < 0 || port.n == 0)
        return rc;
    return port_of((struct str){port.p + 1, port.n - 1}, u, err);
}

int net_url_parse(struct str url, struct net_url *ret, struct err *err)
{
    struct net_url u = {.kind = NET_HTTP};
    if (url.n == 0 || url.n > NET_URL_MAX)
        return malformed(err, "it is empty or longer than 2048 bytes");
    for (size_t i = 0; i < url.n; i++)
        if (url.p[i] <= 0x20 || url.p[i] >= 0x7f || memchr("\\#<>\"^`{|}", url.p[i], 10) != NULL)
            return malformed(err, "a byte that must be escaped, or a fragment");
    struct str rest = url;
    const struct scheme *s = scheme_of(&rest);
    if (s == NULL)
        return malformed(err, "it must begin with https://, http://, smtp(s)://, ldap(s):// or syslog(s)://");
    size_t n = 0;
    while (n < rest.n && rest.p[n] != '/' && rest.p[n] != '?')
        n++;
    u.kind = s->kind;
    u.tls = s->tls;
    u.port = s->port;
    text_copy(u.scheme, sizeof u.scheme, str_of(s->name));
    u.path = (struct str){rest.p + n, rest.n - n};
    int rc = authority_of((struct str){rest.p, n}, &u, err);
    if (rc < 0)
        return rc;
    if (u.kind != NET_HTTP && u.path.n != 0 && !str_is(u.path, "/"))
        return malformed(err, "a path makes sense for https:// only");
    *ret = u;
    return 0;
}
