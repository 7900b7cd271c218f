/* LDAP logins over libldap; see ldap.h. */
#include "net/ldap.h"
#include "base/clock.h"
#include "net/net_int.h"

#include <errno.h>
#include <fcntl.h>
#include <ldap.h>
#include <openldap.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <unistd.h>

enum { PAGE = 500, FILTER_MAX = 1 << 20, VALUE_MAX = 4096, DEPTH_MAX = 32, ANSWER_MAX = 8 << 20 };

struct session {
    const struct net *net;
    const struct ldap_config *cfg;
    const struct net_end *end;
    struct arena *arena;
    struct buf *told; /* or NULL */
    LDAP *ld;
    int64_t until;    /* monotonic end of this step */
};

static void tell(struct session *s, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void tell(struct session *s, const char *fmt, ...)
{
    char line[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(line, sizeof line, fmt, ap);
    va_end(ap);
    for (char *c = line; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    if (s->told != NULL) {
        buf_cstr(s->told, line);
        buf_char(s->told, '\n');
    }
}

/* The server is no use now; another one may be. */
static bool try_next(int rc)
{
    return rc == LDAP_SERVER_DOWN || rc == LDAP_CONNECT_ERROR || rc == LDAP_TIMEOUT || rc == LDAP_BUSY ||
           rc == LDAP_UNAVAILABLE || rc == LDAP_ENCODING_ERROR || rc == LDAP_DECODING_ERROR;
}

static int failed(struct session *s, int rc, const char *what, struct err *err)
{
    char *more = NULL;
    if (s->ld != NULL)
        ldap_get_option(s->ld, LDAP_OPT_DIAGNOSTIC_MESSAGE, &more);
    int code = rc == LDAP_TIMEOUT ? ERR_TIMEOUT : try_next(rc) ? ERR_UNAVAILABLE : ERR_USAGE;
    struct err e;
    err_set(&e, code, "%.200s: cannot %s: %s%s%.200s", s->end->url, what, ldap_err2string(rc),
            more != NULL && *more ? ": " : "", more != NULL ? more : "");
    ldap_memfree(more);
    net_clean(e.text);
    return err_set(err, code, "%s", e.text);
}

static struct timeval step_time(struct session *s)
{
    s->until = clock_mono() + s->cfg->timeout;
    return (struct timeval){s->cfg->timeout / 1000000, s->cfg->timeout % 1000000};
}

/* --- the bottom of libldap's stack of input and output. libldap's own spins or hangs on a server that falls silent
 * within a TLS handshake or an answer; ours waits, no longer than the step may last. */
static bool wait_ready(Sockbuf_IO_Desc *d, ber_socket_t *fd, short events)
{
    struct session *s = d->sbiod_pvt;
    ber_sockbuf_ctrl(d->sbiod_sb, LBER_SB_OPT_GET_FD, fd);
    for (;;) {
        int64_t left = s->until - clock_mono();
        struct pollfd p = {*fd, events, 0};
        int n = left <= 0 ? 0 : poll(&p, 1, (int)(left / 1000) + 1);
        if (n > 0)
            return true;
        if (n < 0 && errno == EINTR)
            continue;
        errno = ETIMEDOUT; /* not EAGAIN, on which they would try again */
        return false;
    }
}

static ber_slen_t wire_read(Sockbuf_IO_Desc *d, void *p, ber_len_t n)
{
    ber_socket_t fd;
    return wait_ready(d, &fd, POLLIN) ? recv(fd, p, n, 0) : -1;
}

static ber_slen_t wire_write(Sockbuf_IO_Desc *d, void *p, ber_len_t n)
{
    ber_socket_t fd;
    return wait_ready(d, &fd, POLLOUT) ? send(fd, p, n, MSG_NOSIGNAL) : -1;
}

static int wire_setup(Sockbuf_IO_Desc *d, void *arg)
{
    d->sbiod_pvt = arg;
    return 0;
}

static int wire_ctrl(Sockbuf_IO_Desc *d, int opt, void *arg)
{
    (void)d, (void)opt, (void)arg;
    return 0;
}

static int wire_remove(Sockbuf_IO_Desc *d)
{
    (void)d;
    return 0;
}

static int wire_close(Sockbuf_IO_Desc *d)
{
    ber_socket_t fd;
    ber_sockbuf_ctrl(d->sbiod_sb, LBER_SB_OPT_GET_FD, &fd);
    return close(fd);
}

static Sockbuf_IO wire = {wire_setup, wire_remove, wire_ctrl, wire_read, wire_write, wire_close};

/* The connection is made by the one door (egress.c), then handed to libldap. */
static int connect_fd(struct session *s, struct net_url *url, int *ret, struct err *err)
{
    struct net_dial d;
    curl_socket_t fd = CURL_SOCKET_BAD;
    int rc = net_dial_open(&d, s->net, s->end, NET_LDAP, s->cfg->timeout, err);
    if (rc < 0)
        return rc;
    if ((rc = net_dial_connect(&d, err)) == 0) {
        curl_easy_getinfo(d.curl, CURLINFO_ACTIVESOCKET, &fd);
        *ret = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        if (*ret < 0)
            rc = err_sys(err, ERR_IO, "%s: cannot use the socket", s->end->url);
        *url = d.url;
    }
    net_dial_close(&d);
    return rc;
}

static int set_options(struct session *s)
{
    const char *ca = net_ca_file(s->net);
    int version = LDAP_VERSION3, demand = LDAP_OPT_X_TLS_DEMAND, client = 0, deref = LDAP_DEREF_NEVER;
    int tls12 = LDAP_OPT_X_TLS_PROTOCOL_TLS1_2;
    struct timeval t = step_time(s);
    Sockbuf *sb = NULL;
    ber_len_t most = ANSWER_MAX;
    if (ca[0] == '\0')
        ca = NET_SYSTEM_CA;
    int rc = 0;
    rc |= ldap_set_option(s->ld, LDAP_OPT_PROTOCOL_VERSION, &version);
    rc |= ldap_set_option(s->ld, LDAP_OPT_REFERRALS, LDAP_OPT_OFF);
    rc |= ldap_set_option(s->ld, LDAP_OPT_RESTART, LDAP_OPT_ON);
    rc |= ldap_set_option(s->ld, LDAP_OPT_DEREF, &deref);
    rc |= ldap_set_option(s->ld, LDAP_OPT_TIMEOUT, &t);
    rc |= ldap_set_option(s->ld, LDAP_OPT_NETWORK_TIMEOUT, &t);
    rc |= ldap_set_option(s->ld, LDAP_OPT_X_TLS_REQUIRE_CERT, &demand);
    rc |= ldap_set_option(s->ld, LDAP_OPT_X_TLS_CACERTFILE, ca);
    rc |= ldap_set_option(s->ld, LDAP_OPT_X_TLS_PROTOCOL_MIN, &tls12);
    rc |= ldap_get_option(s->ld, LDAP_OPT_SOCKBUF, &sb);
    if (sb != NULL)
        ber_sockbuf_ctrl(sb, LBER_SB_OPT_SET_MAX_INCOMING, &most);
    return rc != 0 ? rc : ldap_set_option(s->ld, LDAP_OPT_X_TLS_NEWCTX, &client);
}

static void hang_up(struct session *s)
{
    step_time(s);
    if (s->ld != NULL)
        ldap_unbind_ext_s(s->ld, NULL, NULL);
    s->ld = NULL;
}

static int put_wire(struct session *s)
{
    Sockbuf *sb = NULL;
    if (ldap_get_option(s->ld, LDAP_OPT_SOCKBUF, &sb) != 0 || sb == NULL)
        return LDAP_LOCAL_ERROR;
    return ber_sockbuf_add_io(sb, &wire, LBER_SBIOD_LEVEL_PROVIDER, s);
}

static int connect_to(struct session *s, struct err *err)
{
    struct net_url url = {.kind = NET_LDAP};
    char text[NET_HOST_MAX + 32];
    auto_fd int fd = -1;
    int rc = connect_fd(s, &url, &fd, err);
    if (rc < 0)
        return rc;
    snprintf(text, sizeof text, url.v6 ? "%s://[%s]:%u" : "%s://%s:%u", url.scheme, url.host, (unsigned)url.port);
    rc = ldap_init_fd(fd, LDAP_PROTO_EXT, text, &s->ld);
    if (rc == 0)
        rc = put_wire(s);
    if (rc != 0)
        return failed(s, rc, "start", err);
    fd = -1; /* closed by wire_close */
    tell(s, "ok: connected to %s", text);
    rc = set_options(s);
    if (rc == 0 && url.tls)
        rc = ldap_install_tls(s->ld);
    else if (rc == 0 && !s->end->plain)
        rc = ldap_start_tls_s(s->ld, NULL, NULL);
    if (rc != 0) /* libldap calls any failure of TLS a connect error or a server down: name it */
        return failed(s, rc, "agree on TLS (is the certificate of this name, by an authority that is trusted?)", err);
    tell(s, "%s", url.tls || !s->end->plain ? "ok: TLS, and the certificate is right" : "note: no TLS, as configured");
    return 0;
}

static int bind_as(struct session *s, const char *dn, struct str password)
{
    char bytes[VALUE_MAX];
    memcpy(bytes, password.n != 0 ? password.p : "", password.n);
    struct berval b = {password.n, bytes};
    step_time(s);
    int rc = ldap_sasl_bind_s(s->ld, dn, LDAP_SASL_SIMPLE, &b, NULL, NULL, NULL);
    explicit_bzero(bytes, password.n);
    return rc;
}

static int bind_service(struct session *s, struct err *err)
{
    const struct ldap_config *c = s->cfg;
    struct str password = str_of(c->bind_password);
    if (password.n > VALUE_MAX || (c->bind_dn[0] != '\0') != (password.n != 0))
        return err_set(err, ERR_USAGE, "the service needs both a DN and a password, or neither");
    int rc = bind_as(s, c->bind_dn, password);
    return rc != 0 ? failed(s, rc, "bind as the service", err) : 0;
}

bool net_ldap_filter(struct buf *out, const char *template, const char *name, struct str value)
{
    size_t n = strlen(name);
    bool found = false;
    for (const char *p = template; *p; p++) {
        if (*p != '{' || strncmp(p + 1, name, n) != 0 || p[n + 1] != '}') {
            buf_char(out, *p);
            continue;
        }
        for (size_t i = 0; i < value.n; i++) {
            unsigned char c = (unsigned char)value.p[i];
            if (c < 0x20 || c >= 0x7f || strchr("*()\\", c) != NULL)
                buf_printf(out, "\\%02x", c);
            else
                buf_char(out, (char)c);
        }
        found = true;
        p += n + 1;
    }
    return found;
}

/* The first value of an attribute in the arena, or NULL; *count: how many there are. */
static char *value_of(struct session *s, LDAPMessage *entry, const char *attr, int *count)
{
    struct berval **v = ldap_get_values_len(s->ld, entry, attr);
    char *text = NULL;
    *count = v != NULL ? ldap_count_values_len(v) : 0;
    if (*count > 0 && v[0]->bv_len <= VALUE_MAX && memchr(v[0]->bv_val, '\0', v[0]->bv_len) == NULL)
        text = arena_strndup(s->arena, v[0]->bv_val, v[0]->bv_len);
    if (v != NULL)
        ldap_value_free_len(v);
    return text;
}

static const char *or_empty(const char *text) { return text != NULL ? text : ""; }

static char *dn_of(struct session *s, LDAPMessage *entry)
{
    char *dn = ldap_get_dn(s->ld, entry);
    char *copy = arena_printf(s->arena, "%s", or_empty(dn));
    ldap_memfree(dn);
    return copy;
}

static int search(struct session *s, const char *base, int scope, const char *filter, const char *const *attrs,
                  int limit, LDAPControl **controls, LDAPMessage **ret)
{
    struct timeval t = step_time(s);
    char *list[8] = {NULL};
    for (size_t i = 0; attrs[i] != NULL && i < ARRAY_LEN(list) - 1; i++)
        list[i] = arena_printf(s->arena, "%s", attrs[i]);
    return ldap_search_ext_s(s->ld, base, scope, filter, list, 0, controls, NULL, &t, limit, ret);
}

static int no_user(struct session *s, struct err *err, const char *why)
{
    tell(s, "failed: %s", why);
    return err_set(err, ERR_UNAUTHORIZED, "unknown user or wrong password");
}

static int user_of(struct session *s, LDAPMessage *entry, struct ldap_user *u, struct err *err)
{
    int uids, n;
    u->dn = dn_of(s, entry);
    u->uid = value_of(s, entry, s->cfg->uid_attr, &uids);
    u->mail = or_empty(value_of(s, entry, s->cfg->mail_attr, &n));
    u->name = or_empty(value_of(s, entry, s->cfg->name_attr, &n));
    if (u->dn[0] == '\0' || u->uid == NULL || uids != 1) {
        tell(s, "failed: %s has %d values of %s, one is needed", u->dn, uids, s->cfg->uid_attr);
        return err_set(err, ERR_USAGE, "the entry of the user has not one value of %s", s->cfg->uid_attr);
    }
    tell(s, "ok: user %s: %s=%s, %s=%s, %s=%s", u->dn, s->cfg->uid_attr, u->uid, s->cfg->mail_attr, u->mail,
         s->cfg->name_attr, u->name);
    return 0;
}

static int find_user(struct session *s, struct str user, struct ldap_user *u, struct err *err)
{
    const struct ldap_config *c = s->cfg;
    const char *attrs[] = {c->uid_attr, c->mail_attr, c->name_attr, NULL};
    LDAPMessage *res = NULL;
    struct buf filter;
    buf_init(&filter, FILTER_MAX);
    if (!net_ldap_filter(&filter, c->user_filter, "user", user)) {
        buf_release(&filter);
        return err_set(err, ERR_USAGE, "the filter of users has no {user}");
    }
    int rc = search(s, c->user_base, LDAP_SCOPE_SUBTREE, filter.p, attrs, 2, NULL, &res);
    int found = rc == 0 || rc == LDAP_SIZELIMIT_EXCEEDED ? ldap_count_entries(s->ld, res) : 0;
    if (rc != 0 && found < 2)
        rc = failed(s, rc, "search the user", err);
    else if (found != 1)
        rc = no_user(s, err, found == 0 ? "the filter finds no entry" : "the filter finds more than one entry");
    else
        rc = user_of(s, ldap_first_entry(s->ld, res), u, err);
    ldap_msgfree(res);
    buf_release(&filter);
    return rc;
}

/* --- groups: breadth first, one search (or read) a level; what was seen is not asked again, so a cycle ends */
static int add_group(struct session *s, struct ldap_user *u, const char *dn, const char *name, struct err *err)
{
    for (size_t i = 0; i < u->n_groups; i++)
        if (strcasecmp(u->groups[i].dn, dn) == 0)
            return 0;
    if (u->n_groups >= (size_t)s->cfg->max_groups)
        return err_set(err, ERR_USAGE, "the user is in more than %d groups", s->cfg->max_groups);
    u->groups[u->n_groups++] = (struct ldap_group){dn, name};
    return 0;
}

static int add_entries(struct session *s, LDAPMessage *res, struct ldap_user *u, struct err *err)
{
    int rc = 0, n;
    for (LDAPMessage *e = ldap_first_entry(s->ld, res); e != NULL && rc == 0; e = ldap_next_entry(s->ld, e)) {
        const char *name = value_of(s, e, s->cfg->group_attr, &n);
        if (name != NULL)
            rc = add_group(s, u, dn_of(s, e), name, err);
    }
    return rc;
}

/* The cookie of the next page; false after the last. */
static bool next_page(struct session *s, LDAPMessage *res, struct berval *cookie)
{
    LDAPControl **answer = NULL, *c;
    ber_int_t estimate;
    int code;
    ber_memfree(cookie->bv_val);
    *cookie = (struct berval){0, NULL};
    if (ldap_parse_result(s->ld, res, &code, NULL, NULL, NULL, &answer, 0) != 0 || answer == NULL)
        return false;
    c = ldap_control_find(LDAP_CONTROL_PAGEDRESULTS, answer, NULL);
    if (c != NULL)
        ldap_parse_pageresponse_control(s->ld, c, &estimate, cookie);
    ldap_controls_free(answer);
    return cookie->bv_len != 0;
}

static int search_groups(struct session *s, const char *filter, struct ldap_user *u, struct err *err)
{
    const char *attrs[] = {s->cfg->group_attr, NULL};
    struct berval cookie = {0, NULL};
    int rc;
    bool more;
    do {
        LDAPControl *page = NULL;
        LDAPMessage *res = NULL;
        rc = ldap_create_page_control(s->ld, PAGE, &cookie, 0, &page);
        if (rc == 0)
            rc = search(s, s->cfg->group_base, LDAP_SCOPE_SUBTREE, filter, attrs, LDAP_NO_LIMIT,
                        (LDAPControl *[]){page, NULL}, &res);
        rc = rc != 0 ? failed(s, rc, "search the groups", err) : add_entries(s, res, u, err);
        more = rc == 0 && next_page(s, res, &cookie);
        ldap_control_free(page);
        ldap_msgfree(res);
    } while (more);
    ber_memfree(cookie.bv_val);
    return rc;
}

/* Groups of which the user (from 0 to 0) or the groups [from, to) are members. */
static int level_by_search(struct session *s, struct ldap_user *u, size_t from, size_t to, struct err *err)
{
    struct buf filter;
    buf_init(&filter, FILTER_MAX);
    buf_cstr(&filter, "(|");
    bool good = to != 0 || net_ldap_filter(&filter, s->cfg->group_filter, "dn", str_of(u->dn));
    for (size_t i = from; i < to; i++)
        good = net_ldap_filter(&filter, s->cfg->group_filter, "dn", str_of(u->groups[i].dn)) && good;
    buf_char(&filter, ')');
    int rc = good && !filter.overflow ? search_groups(s, filter.p, u, err)
                                      : err_set(err, ERR_USAGE, "the filter of groups has no {dn}, or is too long");
    buf_release(&filter);
    return rc;
}

/* A group that the service may not read has no name for Berth: it is left out. */
static int read_group(struct session *s, const struct berval *dn, struct ldap_user *u, struct err *err)
{
    const char *attrs[] = {s->cfg->group_attr, NULL};
    LDAPMessage *res = NULL;
    const char *base = arena_strndup(s->arena, dn->bv_val, dn->bv_len);
    int rc = search(s, base, LDAP_SCOPE_BASE, "(objectClass=*)", attrs, 1, NULL, &res);
    if (rc == LDAP_NO_SUCH_OBJECT || rc == LDAP_INSUFFICIENT_ACCESS || rc == LDAP_REFERRAL)
        rc = 0;
    else
        rc = rc != 0 ? failed(s, rc, "read a group", err) : add_entries(s, res, u, err);
    ldap_msgfree(res);
    return rc;
}

static int member_of(struct session *s, struct ldap_user *u, const char *dn, struct err *err)
{
    const char *attrs[] = {"memberOf", NULL};
    LDAPMessage *res = NULL, *e;
    struct berval **v = NULL;
    int rc = search(s, dn, LDAP_SCOPE_BASE, "(objectClass=*)", attrs, 1, NULL, &res);
    rc = rc != 0 ? failed(s, rc, "read memberOf", err) : 0;
    if (rc == 0 && (e = ldap_first_entry(s->ld, res)) != NULL)
        v = ldap_get_values_len(s->ld, e, "memberOf");
    for (int i = 0; v != NULL && v[i] != NULL && rc == 0; i++)
        rc = read_group(s, v[i], u, err);
    if (v != NULL)
        ldap_value_free_len(v);
    ldap_msgfree(res);
    return rc;
}

static int level_by_attribute(struct session *s, struct ldap_user *u, size_t from, size_t to, struct err *err)
{
    int rc = to == 0 ? member_of(s, u, u->dn, err) : 0;
    for (size_t i = from; i < to && rc == 0; i++)
        rc = member_of(s, u, u->groups[i].dn, err);
    return rc;
}

static int find_groups(struct session *s, struct ldap_user *u, struct err *err)
{
    const struct ldap_config *c = s->cfg;
    size_t from = 0, to = 0;
    int rc = 0;
    u->groups = arena_alloc(s->arena, size_mul((size_t)c->max_groups, sizeof *u->groups));
    for (int level = 0; c->groups != NET_LDAP_NO_GROUPS && level <= c->depth && rc == 0; level++) {
        rc = c->groups == NET_LDAP_SEARCH ? level_by_search(s, u, from, to, err)
                                          : level_by_attribute(s, u, from, to, err);
        from = to;
        to = u->n_groups;
        if (from == to)
            break;
    }
    for (size_t i = 0; i < u->n_groups && rc == 0; i++)
        tell(s, "ok: group %s (%s)", u->groups[i].name, u->groups[i].dn);
    if (rc == 0)
        tell(s, "ok: %zu groups", u->n_groups);
    return rc;
}

/* No empty password may come here: servers take it for an anonymous bind and say yes. */
static int bind_user(struct session *s, struct str password, const struct ldap_user *u, struct err *err)
{
    BUG_ON(password.n == 0);
    int rc = bind_as(s, u->dn, password);
    if (rc != 0 && try_next(rc))
        return failed(s, rc, "bind as the user", err);
    if (rc != 0)
        return no_user(s, err, "the directory refuses the password");
    tell(s, "ok: the password is right");
    rc = bind_service(s, err);
    return rc;
}

static int with_server(struct session *s, struct str user, struct str password, struct ldap_user *u, struct err *err)
{
    *u = (struct ldap_user){.dn = ""};
    int rc = connect_to(s, err);
    if (rc == 0 && (rc = bind_service(s, err)) == 0) {
        tell(s, "ok: bound as %s", s->cfg->bind_dn[0] != '\0' ? s->cfg->bind_dn : "nobody (anonymous)");
        rc = find_user(s, user, u, err);
    }
    if (rc == 0 && password.n != 0)
        rc = bind_user(s, password, u, err);
    if (rc == 0)
        rc = find_groups(s, u, err);
    hang_up(s);
    return rc;
}

int net_ldap_test(const struct net *n, const struct ldap_config *cfg, struct str user, struct str password,
                  struct arena *a, struct ldap_user *ret, struct buf *told, struct err *err)
{
    struct session s = {.net = n, .cfg = cfg, .arena = a, .told = told};
    struct ldap_user u;
    struct err e = {0};
    int rc = err_set(&e, ERR_USAGE, "no LDAP server is configured");
    if (cfg->depth < 0 || cfg->depth > DEPTH_MAX || cfg->max_groups < 1 || cfg->max_groups > 10000)
        return err_set(err, ERR_USAGE, "depth is 0 to %d, max_groups 1 to 10000", DEPTH_MAX);
    if (user.n == 0 || user.n > 256 || password.n > VALUE_MAX ||
        memchr(password.p ? password.p : "", '\0', password.n) != NULL)
        return no_user(&s, err, "no user name, or a name or password that none can have");
    for (size_t i = 0; i < cfg->n_servers; i++) {
        s.end = &cfg->servers[i];
        rc = with_server(&s, user, password, &u, &e);
        if (rc == 0) {
            *ret = u;
            return 0;
        }
        if (rc != ERR_UNAUTHORIZED)
            tell(&s, "failed: %s", e.text);
        if (rc != ERR_UNAVAILABLE && rc != ERR_TIMEOUT)
            break;
    }
    return err_set(err, rc, "%s", e.text);
}

int net_ldap_login(const struct net *n, const struct ldap_config *cfg, struct str user, struct str password,
                   struct arena *a, struct ldap_user *ret, struct err *err)
{
    if (password.n == 0)
        return err_set(err, ERR_UNAUTHORIZED, "unknown user or wrong password");
    return net_ldap_test(n, cfg, user, password, a, ret, NULL, err);
}
