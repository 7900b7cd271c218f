/* Logins by a directory (net/ldap.h), for people who have no password here: a local password always comes first, so
 * that an administrator gets in when the directory is away, and nobody of the directory is ever somebody of here. */
#include "net/ldap.h"
#include "ident/api.h"
#include "ident/outside.h"

#include <stdlib.h>

enum { SERVERS_MAX = 8, GROUPS_MAX = 1000, GROUP_DEPTH = 8, LOGINS_MAX = 16 };
#define STEP_US ((int64_t)5 * 1000000)

struct directory {
    const struct net *net;
    struct ldap_config config;
    struct net_end end[SERVERS_MAX];
    char *urls, *text[7];
    _Atomic int waiting;
};

static int servers(struct directory *d, const char *list, struct err *err)
{
    struct str rest, one;
    d->urls = mem_strdup(list);
    rest = str_of(d->urls);
    while (rest.n > 0 && str_split(&rest, ',', &one)) {
        if (d->config.n_servers == SERVERS_MAX)
            return err_set(err, ERR_USAGE, "ldap_url: at most %d servers", SERVERS_MAX);
        d->urls[one.p + one.n - d->urls] = 0;
        d->end[d->config.n_servers] = (struct net_end){.url = one.p, .who = NET_OPERATOR};
        if (net_end_check(d->net, &d->end[d->config.n_servers++], NET_LDAP, NULL, err) < 0)
            return err_set(err, ERR_USAGE, "ldap_url: \"%s\" is no ldaps:// or ldap:// URL of a server", one.p);
    }
    d->config.servers = d->end;
    return 0;
}

int directory_new(struct directory **ret, const struct net *net, const struct config *c, struct err *err)
{
    *ret = NULL;
    if (config_text(c, LDAP_URL)[0] == 0)
        return 0;
    struct directory *d = mem_zalloc(sizeof *d);
    const char *const from[] = {config_text(c, LDAP_BASE), config_text(c, LDAP_BIND_DN), config_text(c, LDAP_BIND_PASSWORD),
                                config_text(c, LDAP_FILTER), config_text(c, LDAP_UID), config_text(c, LDAP_GROUP_BASE), config_text(c, LDAP_GROUP_FILTER)};
    d->net = net;
    for (size_t k = 0; k < ARRAY_LEN(from); k++)
        d->text[k] = mem_strdup(from[k]);
    d->config = (struct ldap_config){
        .user_base = d->text[0], .bind_dn = d->text[1], .bind_password = d->text[2], .user_filter = d->text[3], .uid_attr = d->text[4],
        .mail_attr = "mail", .name_attr = "cn", .groups = (enum net_ldap_groups)config_num(c, LDAP_GROUPS), .group_base = d->text[5],
        .group_filter = d->text[6], .group_attr = "cn", .depth = GROUP_DEPTH, .max_groups = GROUPS_MAX,
        .timeout = STEP_US};
    int rc = servers(d, config_text(c, LDAP_URL), err);
    if (rc < 0)
        directory_free(d);
    else
        *ret = d;
    return rc;
}

void directory_free(struct directory *d)
{
    if (!d)
        return;
    secret_wipe(d->text[2], strlen(d->text[2]));
    for (size_t k = 0; k < ARRAY_LEN(d->text); k++)
        free(d->text[k]);
    free(d->urls);
    free(d);
}

static int enter(struct directory *d, struct http_req *r, struct err *err)
{
    if (atomic_fetch_add(&d->waiting, 1) >= LOGINS_MAX) {
        atomic_fetch_sub(&d->waiting, 1);
        return err_set(err, ERR_TOOMANYREQUESTS, "too many logins wait for the directory; try again in a moment");
    }
    http_aside(r->server, true);
    return 0;
}

static void leave(struct directory *d, struct http_req *r)
{
    http_aside(r->server, false);
    atomic_fetch_sub(&d->waiting, 1);
}

static int come(struct ident *i, struct http_req *r, const struct ldap_user *u, struct account *ret, struct err *err)
{
    struct str *groups = arena_zalloc(&r->arena, size_mul(u->n_groups + 1, sizeof *groups));
    for (size_t k = 0; k < u->n_groups; k++)
        groups[k] = str_of(u->groups[k].name);
    struct outsider o = {.provider = "ldap", .subject = str_of(u->uid), .name = str_of(u->uid), .email = str_of(u->mail), .full_name = str_of(u->name),
                         .groups = groups, .n_groups = u->n_groups, .groups_known = i->directory->config.groups != NET_LDAP_NO_GROUPS};
    if (o.email.n > EMAIL_MAX)
        o.email.n = 0;
    if (o.full_name.n > FULL_NAME_MAX)
        o.full_name.n = 0;
    return outsider_login(i, r, &o, ret, err);
}

int directory_login(struct ident *i, struct http_req *r, struct str user, struct str password, bool refused, struct account *ret,
                    struct err *err)
{
    struct directory *d = i->directory;
    struct ldap_user u;
    struct err why = {0};
    int rc = enter(d, r, err);
    if (rc < 0)
        return rc;
    /* Who has a password here is looked for under a name that nobody has: his guesses are nothing for the directory. */
    rc = net_ldap_login(d->net, &d->config, refused ? STR_LIT("-") : user, refused ? STR_LIT("-") : password, &r->arena, &u, &why);
    leave(d, r);
    if (rc == ERR_UNAUTHORIZED || (rc == 0 && refused))
        return err_set(err, ERR_UNAUTHORIZED, "unknown user or wrong password");
    if (rc < 0) {
        log_line(LOG_WARN, "the directory cannot log anybody in", F_CSTR("error", why.text));
        return err_set(err, ERR_UNAVAILABLE, "the directory cannot be asked at the moment");
    }
    return come(i, r, &u, ret, err);
}

/* --- POST /api/v1/ldap/test */

static const struct rest_schema ask = {
    "DirectoryTest", "Whom to look for; with the password the login is tried, too.", (const struct rest_field[]){
        {"username", REST_STRING, .required = true, .min = 1, .max = NAME_MAX_BYTES}, {"password", REST_STRING, .max = PASSWORD_MAX}, {0}}};
static const struct rest_schema told = {
    "DirectoryTestResult", "What happened, step by step.", (const struct rest_field[]){
        {"ok", REST_BOOL, .required = true}, {"steps", REST_ARRAY, .required = true, .of = REST_STRING},
        {"error", REST_STRING, .required = true, .nullable = true}, {"groups", REST_ARRAY, .required = true, .of = REST_STRING}, {0}}};

static json_t *lines(struct str text)
{
    json_t *list = json_array();
    struct str one;
    while (text.n > 0 && str_split(&text, '\n', &one))
        if (one.n > 0)
            json_array_append_new(list, rest_json_text(one));
    return list;
}

static int test_run(struct rest_call *c, struct err *err)
{
    struct directory *d = ident_of(c->r)->directory;
    struct ldap_user u = {0};
    struct err why = {0};
    struct buf steps;
    struct str password = rest_text(c->body, "password");
    if (d == NULL)
        return err_set(err, ERR_CONFLICT, "no directory is configured: set ldap_url and ldap_base");
    int rc = enter(d, c->r, err);
    if (rc < 0)
        return rc;
    buf_init(&steps, 64 << 10);
    rc = net_ldap_test(d->net, &d->config, rest_text(c->body, "username"), password.p ? password : STR_LIT(""), &c->r->arena, &u, &steps, &why);
    leave(d, c->r);
    json_t *groups = json_array();
    for (size_t k = 0; rc == 0 && k < u.n_groups; k++)
        json_array_append_new(groups, rest_json_text(str_of(u.groups[k].name)));
    json_t *doc = json_pack("{s:b,s:o,s:o,s:o}", "ok", rc == 0, "steps", lines(buf_view(&steps)), "error",
                            rc < 0 ? json_string(why.text) : json_null(), "groups", groups);
    buf_release(&steps);
    return rest_send(c, doc);
}

const struct rest_route directory_routes[] = {
    {REST_ASK("/ldap/test", "ldap_test", RIGHT_SITE_SETTINGS), test_run, "Try the directory out, step by step", "sign-on", .body = &ask, .answer = &told,
     .also = {409}},
};
const size_t n_directory_routes = ARRAY_LEN(directory_routes);
