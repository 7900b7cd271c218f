/* Rules of outbound connections, and the curl handle under them. */
#include "net/net_int.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

/* An IPv4 network is kept as the IPv6 network ::ffff:a.b.c.d/96+n: one comparison for both. */
struct network {
    uint8_t addr[16];
    unsigned bits;
};
enum { ALLOW_MAX = 256 };
struct net {
    struct network nets[ALLOW_MAX];
    char *hosts[ALLOW_MAX];
    size_t n_nets, n_hosts;
    char *ca_file;
    X509_STORE *trusted; /* the system's authorities and those of ca_file */
};

/* The IANA special-purpose registries, and the metadata services of clouds that lie outside of them.
 * The first row that holds the address decides. IPv6 outside 2000::/3 that no row names is special. */
enum class { PUBLIC, PRIVATE, SPECIAL };
struct rule {
    const char *addr;
    unsigned bits;
    enum class class;
    const char *what;
};
static const struct rule rules4[] = {
    {"0.0.0.0", 8, SPECIAL, "this host"},
    {"10.0.0.0", 8, PRIVATE, "private"},
    {"100.100.100.200", 32, SPECIAL, "a metadata service"},
    {"100.64.0.0", 10, PRIVATE, "carrier-grade NAT"},
    {"127.0.0.0", 8, PRIVATE, "loopback"},
    {"168.63.129.16", 32, SPECIAL, "a metadata service"},
    {"169.254.0.0", 16, SPECIAL, "link-local"},
    {"172.16.0.0", 12, PRIVATE, "private"},
    {"192.0.0.0", 24, SPECIAL, "reserved"},
    {"192.0.2.0", 24, SPECIAL, "for documentation"},
    {"192.88.99.0", 24, SPECIAL, "6to4"},
    {"192.168.0.0", 16, PRIVATE, "private"},
    {"198.18.0.0", 15, SPECIAL, "for benchmarks"},
    {"198.51.100.0", 24, SPECIAL, "for documentation"},
    {"203.0.113.0", 24, SPECIAL, "for documentation"},
    {"224.0.0.0", 4, SPECIAL, "multicast"},
    {"240.0.0.0", 4, SPECIAL, "reserved"},
    {"0.0.0.0", 0, PUBLIC, "public"},
};
static const struct rule rules6[] = {
    {"::1", 128, PRIVATE, "loopback"},
    {"::ffff:0:0", 96, SPECIAL, "IPv4-mapped"},
    {"64:ff9b::", 96, SPECIAL, "NAT64"},
    {"64:ff9b:1::", 48, SPECIAL, "NAT64"},
    {"fd00:ec2::", 32, SPECIAL, "a metadata service"},
    {"fd20:ce::254", 128, SPECIAL, "a metadata service"},
    {"fc00::", 7, PRIVATE, "private"},
    {"fe80::", 10, SPECIAL, "link-local"},
    {"ff00::", 8, SPECIAL, "multicast"},
    {"2001::", 23, SPECIAL, "reserved"}, /* Teredo, ORCHID, benchmarks */
    {"2001:db8::", 32, SPECIAL, "for documentation"},
    {"2002::", 16, SPECIAL, "6to4"},
    {"3fff::", 20, SPECIAL, "for documentation"},
    {"2000::", 3, PUBLIC, "public"},
    {"::", 0, SPECIAL, "reserved"},
};

static bool network_parse(const char *addr, unsigned bits, struct network *ret)
{
    struct network n = {.bits = bits};
    if (inet_pton(AF_INET6, addr, n.addr) != 1) {
        n.addr[10] = n.addr[11] = 0xff;
        if (inet_pton(AF_INET, addr, n.addr + 12) != 1 || bits > 32)
            return false;
        n.bits += 96;
    }
    *ret = n;
    return n.bits <= 128;
}

static bool network_has(const struct network *n, const uint8_t addr[16])
{
    unsigned whole = n->bits / 8, rest = n->bits % 8;
    return memcmp(n->addr, addr, whole) == 0 &&
           (rest == 0 || ((n->addr[whole] ^ addr[whole]) >> (8 - rest)) == 0);
}

static const struct rule *rule_of(const struct rule *r, const uint8_t addr[16])
{
    struct network n;
    for (;; r++) /* the last row has everything */
        if (network_parse(r->addr, r->bits, &n) && network_has(&n, addr))
            return r;
}

static bool host_allowed(const struct net *n, const char *host)
{
    for (size_t i = 0; i < n->n_hosts; i++)
        if (strcmp(n->hosts[i], host) == 0)
            return true;
    return false;
}

int net_judge(const struct net *n, enum net_who who, const char *host, const struct sockaddr *sa, struct err *err)
{
    uint8_t addr[16] = {0};
    char text[INET6_ADDRSTRLEN] = "";
    const struct rule *r;
    if (sa->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, sa, sizeof v4);
        addr[10] = addr[11] = 0xff;
        memcpy(addr + 12, &v4.sin_addr, 4);
        inet_ntop(AF_INET, &v4.sin_addr, text, sizeof text);
        r = rule_of(rules4, addr);
    } else if (sa->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, sa, sizeof v6);
        memcpy(addr, &v6.sin6_addr, 16);
        inet_ntop(AF_INET6, &v6.sin6_addr, text, sizeof text);
        r = rule_of(rules6, addr);
    } else {
        return err_set(err, ERR_DENIED, "%s is no Internet address", host);
    }
    /* A mapped address is no way around: the socket of AF_INET6 would reach IPv4 by another rule's number. */
    bool mapped = sa->sa_family == AF_INET6 && memcmp(addr, "\0\0\0\0\0\0\0\0\0\0\xff\xff", 12) == 0;
    for (size_t i = 0; i < n->n_nets && !mapped; i++)
        if (network_has(&n->nets[i], addr))
            return 0;
    if (r->class == PUBLIC || (r->class == PRIVATE && (who == NET_OPERATOR || host_allowed(n, host))))
        return 0;
    return err_set(err, ERR_DENIED, "%s is at %s, which is %s: not allowed%s", host, text, r->what,
                   r->class == PRIVATE ? " unless the operator lists it in egress_allow" : "");
}

static int check_literal(const struct net *n, const struct net_end *end, const struct net_url *u, struct err *err)
{
    struct sockaddr_in v4 = {.sin_family = AF_INET};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6};
    struct sockaddr *sa = u->v6 ? (struct sockaddr *)&v6 : (struct sockaddr *)&v4;
    inet_pton(sa->sa_family, u->host, u->v6 ? (void *)&v6.sin6_addr : (void *)&v4.sin_addr);
    return net_judge(n, end->who, u->host, sa, err);
}

int net_end_check(const struct net *n, const struct net_end *end, enum net_kind kind, struct net_url *ret,
                  struct err *err)
{
    struct net_url u;
    int rc = net_url_parse(str_of(end->url), &u, err);
    if (rc < 0)
        return rc;
    if (u.kind != kind)
        return err_set(err, ERR_INVALID, "%s:// is the wrong scheme here", u.scheme);
    if (end->who == NET_TENANT && (kind != NET_HTTP || !u.tls))
        return err_set(err, ERR_DENIED, "only https:// is allowed");
    if (end->who == NET_TENANT && u.port != 443 && u.port < 1024)
        return err_set(err, ERR_DENIED, "port %u is not allowed: 443, or 1024 and above", (unsigned)u.port);
    if (!u.tls && !end->plain && (kind == NET_HTTP || kind == NET_SYSLOG))
        return err_set(err, ERR_DENIED, "%s:// has no TLS: use %ss://", u.scheme, u.scheme);
    if (u.literal && (rc = check_literal(n, end, &u, err)) < 0)
        return rc;
    if (ret != NULL)
        *ret = u;
    return 0;
}

static int allow_one(struct net *n, struct str one, struct err *err)
{
    struct str bits = one, addr;
    char text[NET_HOST_MAX];
    uint64_t wide = 0;
    if (n->n_nets == ALLOW_MAX || n->n_hosts == ALLOW_MAX)
        return err_set(err, ERR_USAGE, "egress_allow: more than %d entries", ALLOW_MAX);
    str_split(&bits, '/', &addr);
    text_copy(text, sizeof text, addr);
    struct network probe;
    if (addr.n < sizeof text && network_parse(text, 0, &probe)) {
        bool v4 = probe.bits == 96;
        if (bits.p == NULL)
            wide = v4 ? 32 : 128;
        else if (!str_u64(bits, &wide) || wide > (v4 ? 32 : 128))
            return err_set(err, ERR_USAGE, "egress_allow: \"%.*s\" is no network", STR_FMT(one));
        network_parse(text, (unsigned)wide, &n->nets[n->n_nets++]);
        return 0;
    }
    struct net_url u;
    auto_free char *url = mem_alloc(one.n + 9);
    memcpy(url, "https://", 8);
    memcpy(url + 8, one.p, one.n);
    url[8 + one.n] = '\0';
    if (net_url_parse(str_of(url), &u, NULL) < 0 || u.literal || u.path.n != 0 || strlen(u.host) != one.n)
        return err_set(err, ERR_USAGE, "egress_allow: \"%.*s\" is neither a host nor a network", STR_FMT(one));
    n->hosts[n->n_hosts++] = mem_strdup(u.host);
    return 0;
}

static pthread_once_t once = PTHREAD_ONCE_INIT;
static void start(void)
{
    BUG_ON(curl_global_init(CURL_GLOBAL_DEFAULT) != 0);
    (void)signal(SIGPIPE, SIG_IGN); /* an end that hangs up is an error, not our end */
    setenv("LDAPNOINIT", "1", 1); /* no ldap.conf, .ldaprc or LDAP* variable changes what ldap.c says */
}

int net_new(struct net **ret, const char *allow, const char *ca_file, struct err *err)
{
    struct str rest = str_of(allow), one;
    struct net *n = mem_zalloc(sizeof *n);
    pthread_once(&once, start);
    n->ca_file = mem_strdup(ca_file);
    while (rest.n != 0 && str_split(&rest, ',', &one)) {
        int rc = allow_one(n, str_trim(one), err);
        if (rc < 0) {
            net_free(n);
            return rc;
        }
    }
    n->trusted = X509_STORE_new();
    BUG_ON(n->trusted == NULL);
    bool good = ca_file[0] == '\0' || X509_STORE_load_file(n->trusted, ca_file) == 1;
    if (good) /* without the system's, TLS trusts ca_file only, or nobody */
        X509_STORE_load_file(n->trusted, NET_SYSTEM_CA);
    ERR_clear_error();
    if (!good) {
        net_free(n);
        return err_set(err, ERR_USAGE, "egress_ca: \"%s\" cannot be read or holds no certificate", ca_file);
    }
    *ret = n;
    return 0;
}

void net_free(struct net *n)
{
    for (size_t i = 0; n != NULL && i < n->n_hosts; i++)
        free(n->hosts[i]);
    if (n != NULL) {
        free(n->ca_file);
        X509_STORE_free(n->trusted);
    }
    free(n);
}

const char *net_ca_file(const struct net *n) { return n->ca_file; }

/* The door: nothing comes between this check and the connection to the address it saw. After one refused
 * address the others of the name are refused too: a name with a private side is not half good. */
static curl_socket_t open_checked(void *arg, curlsocktype purpose, struct curl_sockaddr *a)
{
    struct net_dial *d = arg;
    (void)purpose;
    if (d->refused.code != 0 || net_judge(d->net, d->end->who, d->url.host, &a->addr, &d->refused) < 0)
        return CURL_SOCKET_BAD;
    return socket(a->family, a->socktype | SOCK_CLOEXEC, a->protocol);
}

static CURLcode trust(CURL *c, void *ctx, void *arg)
{
    const struct net_dial *d = arg;
    (void)c;
    SSL_CTX_set1_cert_store(ctx, d->net->trusted);
    return CURLE_OK;
}

static void set_url(struct net_dial *d)
{
    const struct net_url *u = &d->url;
    struct buf b;
    /* Syslog and LDAP only borrow curl's connection: its TLS if it comes first, its TCP otherwise. */
    const char *scheme = u->scheme;
    if (u->kind == NET_SYSLOG)
        scheme = u->tls ? "https" : "http";
    else if (u->kind == NET_LDAP)
        scheme = "http";
    buf_init(&b, 2 * NET_URL_MAX);
    buf_printf(&b, u->v6 ? "%s://[%s]:%u" : "%s://%s:%u", scheme, u->host, (unsigned)u->port);
    if (u->kind == NET_HTTP)
        buf_str(&b, u->path);
    BUG_ON(b.overflow);
    curl_easy_setopt(d->curl, CURLOPT_URL, b.p);
    buf_release(&b);
}

int net_dial_open(struct net_dial *d, const struct net *n, const struct net_end *end, enum net_kind kind,
                  int64_t timeout, struct err *err)
{
    *d = (struct net_dial){.net = n, .end = end};
    int rc = net_end_check(n, end, kind, &d->url, err);
    if (rc < 0)
        return rc;
    CURL *c = d->curl = curl_easy_init();
    BUG_ON(c == NULL || timeout < 1000); /* 0 would be for ever */
    set_url(d);
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https,smtp,smtps");
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PATH_AS_IS, 1L); /* a name ".." is a name, not a way */
    curl_easy_setopt(c, CURLOPT_PROXY, "");
    curl_easy_setopt(c, CURLOPT_NETRC, (long)CURL_NETRC_IGNORED);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_QUICK_EXIT, 1L); /* a timeout does not wait for a slow resolver */
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, (long)(timeout / 1000));
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(c, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(c, CURLOPT_CAINFO, NULL); /* read once, not at each call: trust */
    curl_easy_setopt(c, CURLOPT_CAPATH, NULL);
    curl_easy_setopt(c, CURLOPT_SSL_CTX_FUNCTION, trust);
    curl_easy_setopt(c, CURLOPT_SSL_CTX_DATA, d);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETFUNCTION, open_checked);
    curl_easy_setopt(c, CURLOPT_OPENSOCKETDATA, d);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, d->text);
    return 0;
}

void net_dial_close(struct net_dial *d)
{
    curl_easy_cleanup(d->curl);
    d->curl = NULL;
}

void net_clean(char *text)
{
    for (; *text; text++)
        if (*text < 0x20 || *text >= 0x7f)
            *text = '?';
}

int net_dial_run(struct net_dial *d, struct err *err)
{
    CURLcode rc = curl_easy_perform(d->curl);
    if (rc == CURLE_OK)
        return 0;
    const struct net_url *u = &d->url;
    int code = d->code != 0 ? d->code : rc == CURLE_OPERATION_TIMEDOUT ? ERR_TIMEOUT : ERR_UNAVAILABLE;
    if (d->refused.code != 0)
        return err_set(err, d->refused.code, "%s", d->refused.text);
    net_clean(d->text);
    return err_set(err, code, "%s://%s%s%s:%u: %s", u->scheme, u->v6 ? "[" : "", u->host, u->v6 ? "]" : "",
                   (unsigned)u->port,
                   code == ERR_TOO_LARGE ? "the answer is larger than allowed"
                   : d->text[0] != '\0'  ? d->text
                                         : curl_easy_strerror(rc));
}

int net_dial_connect(struct net_dial *d, struct err *err)
{
    curl_easy_setopt(d->curl, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(d->curl, CURLOPT_SSL_ENABLE_ALPN, 0L);
    return net_dial_run(d, err);
}
