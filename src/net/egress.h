/* The one place of outbound calls, and its rules (threat T40). Every connection that Berth makes to the
 * world is opened here; mail.h, ldap.h and syslog.h come through the same door.
 *
 * An end is an URL and who configured it. The form of the URL is checked before anything is looked up;
 * the addresses are checked one by one where the socket is made, so a name that changes its mind between
 * check and connection gains nothing. An address is
 *   public    everybody's ends may reach it;
 *   private   loopback, RFC 1918, CGNAT, ULA: the operator's ends, and tenants' ends whose host or
 *             address is in `egress_allow`;
 *   special   link-local and metadata services, multicast, reserved, documentation, NAT64, 6to4, Teredo,
 *             IPv4-mapped: nobody's, unless `egress_allow` names the network.
 * No redirect is followed, no proxy of the environment used, no connection or cookie kept.
 *
 * Errors of all calls of this room: ERR_INVALID the URL or an argument is malformed; ERR_DENIED a rule
 * refuses; ERR_TIMEOUT; ERR_TOO_LARGE above a cap; ERR_UNAVAILABLE the end cannot be reached, does not
 * prove who it is or breaks its protocol. Texts name the end as scheme://host:port, never path, query or
 * a secret. Calls block: worker threads only. */
#ifndef NET_EGRESS_H
#define NET_EGRESS_H
#include "base/err.h"

/* Rules and trust; never changes after net_new, so any thread may use it. */
struct net;
/* allow: "host or CIDR[,...]" ("" none). ca_file: PEM file trusted beside the system's authorities ("" none), read now.
 * ERR_USAGE names the wrong entry. Call it while the process has one thread:
 * it sets LDAPNOINIT and ignores SIGPIPE. */
int net_new(struct net **ret, const char *allow, const char *ca_file, struct err *err);
void net_free(struct net *n);

enum net_who { NET_TENANT, NET_OPERATOR };
struct net_end {
    const char *url;
    enum net_who who;
    bool plain; /* the operator said that no TLS is right for this end; for tenants it counts nothing */
};
/* Schemes with their ports; without s: HTTP and syslog need `plain`, SMTP and LDAP use STARTTLS unless `plain`. */
enum net_kind {
    NET_HTTP,   /* https 443, http 80 */
    NET_SMTP,   /* smtps 465, smtp 587 */
    NET_LDAP,   /* ldaps 636, ldap 389 */
    NET_SYSLOG, /* syslogs 6514, syslog 514 */
};
enum { NET_HOST_MAX = 254, NET_URL_MAX = 2048 };
struct net_url {
    enum net_kind kind;
    bool tls;                /* from the first byte */
    char scheme[8];
    char host[NET_HOST_MAX]; /* lower case; an IPv6 address without brackets */
    bool literal, v6;        /* host is an address */
    uint16_t port;
    struct str path;         /* path and query, borrowed from the URL; "" when there is none */
};
/* scheme://host[:port][/path][?query], ASCII only. Refused: userinfo, fragments, backslashes, escapes and
 * zone ids in the host, IPv4 in any spelling but a.b.c.d, a trailing dot, a path of other kinds than HTTP. */
int net_url_parse(struct str url, struct net_url *ret, struct err *err);
/* For settings: may this end be stored? Form, scheme, port, and the address if the host is one; names are
 * judged at each connection. Tenants: HTTPS only, port 443 or above 1023. ret may be NULL. */
int net_end_check(const struct net *n, const struct net_end *end, enum net_kind kind, struct net_url *ret,
                  struct err *err);

struct net_header {
    const char *name, *value;
};
struct net_call {
    const char *method; /* "GET", "POST", "PUT", "PATCH", "DELETE"; NULL is GET */
    const struct net_header *headers;
    size_t n_headers;
    struct str body;    /* not of a GET */
    size_t cap;         /* of the answer's body in bytes */
    /* Takes the body of a 2xx in pieces instead, however long it is; not 0: stop. NULL: none */
    int (*sink)(void *arg, struct str piece);
    void *arg;
    int64_t timeout;    /* of everything, microseconds */
};
struct net_answer {
    int status;
    struct buf body; /* at most cap bytes; not decompressed: none is asked for */
    char content_type[128], cache_control[128], retry_after[64]; /* "" when absent or longer */
};
/* 0 with any status, redirects too. On success net_answer_release frees the body. */
int net_http(const struct net *n, const struct net_end *end, const struct net_call *call, struct net_answer *ret,
             struct err *err);
void net_answer_release(struct net_answer *a);
#endif
