/* Logging in against an LDAP directory: find the user as a service, bind as the user, read the groups. */
#ifndef NET_LDAP_H
#define NET_LDAP_H
#include "net/egress.h"

enum net_ldap_groups {
    NET_LDAP_NO_GROUPS,
    NET_LDAP_MEMBEROF, /* the attribute memberOf of the user, and of groups for nested ones */
    NET_LDAP_SEARCH,   /* entries below group_base that group_filter finds */
};
struct ldap_config {
    const struct net_end *servers; /* ldaps://, or ldap:// with STARTTLS (without only when `plain`); the next one is */
    size_t n_servers;              /* tried when one cannot be reached or is busy */
    const char *bind_dn, *bind_password; /* of the service; "" and "": anonymous */
    const char *user_base;
    const char *user_filter;       /* "(&(objectClass=person)(uid={user}))"; {user} is put in escaped */
    const char *uid_attr, *mail_attr, *name_attr; /* "uid", "mail", "cn"; uid_attr must have one value */
    enum net_ldap_groups groups;
    const char *group_base;        /* SEARCH: where */
    const char *group_filter;      /* SEARCH: "(&(objectClass=groupOfNames)(member={dn}))" */
    const char *group_attr;        /* the group's name: "cn" */
    int depth;                     /* levels of groups in groups that count; 0: direct membership only */
    int max_groups;                /* above it the login is refused, not cut: rights must not depend on an order */
    int64_t timeout;               /* of each step, microseconds */
};
struct ldap_group {
    const char *dn, *name;
};
struct ldap_user { /* memory of the arena */
    const char *dn, *uid, *mail, *name; /* mail and name "" when absent */
    struct ldap_group *groups;          /* each once, cycles or not */
    size_t n_groups;
};
/* ERR_UNAUTHORIZED: no or several such users, or a wrong, empty or NUL-bearing password; the text does not say which,
 * so that it can be shown. ERR_USAGE: the service cannot bind or search as configured. Else as in egress.h.
 * Referrals are not followed, ldap.conf is not read. TLS trusts egress_ca when set, else the system. */
int net_ldap_login(const struct net *n, const struct ldap_config *cfg, struct str user, struct str password,
                   struct arena *a, struct ldap_user *ret, struct err *err);
/* The same, telling each step as a line of `told`, also on failure; for `berth ldap test`. An empty password: stops after
 * the user and the groups were found, without a bind as the user. */
int net_ldap_test(const struct net *n, const struct ldap_config *cfg, struct str user, struct str password,
                  struct arena *a, struct ldap_user *ret, struct buf *told, struct err *err);
/* Appends the template with {name} replaced by the value, escaped by RFC 4515. False: the template lacks it. */
bool net_ldap_filter(struct buf *out, const char *template, const char *name, struct str value);
#endif
