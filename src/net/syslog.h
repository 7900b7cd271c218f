/* Sending records to a syslog server: RFC 5424 records, octet counting (RFC 5425 over TLS, RFC 6587 over plain TCP).
 * One sender belongs to one thread. The protocol has no acknowledgement: sent means that the record was handed to a
 * connection which the server had not closed; what was under way when a connection breaks may be lost or come twice. */
#ifndef NET_SYSLOG_H
#define NET_SYSLOG_H
#include "net/egress.h"

struct net_syslog;
struct net_syslog_config {
    struct net_end end;   /* syslogs://host[:port] or, when `plain`, syslog:// */
    const char *hostname; /* HOSTNAME and APP-NAME of the records; bytes they may not have become '_' */
    const char *app;
    int facility;         /* 0 to 23; 13 is "log audit" */
    int64_t timeout;      /* longest time a call blocks, microseconds */
};
struct net_syslog_record {
    int severity;         /* 0 emergency to 7 debug */
    int64_t time;         /* microseconds since 1970 */
    const char *msgid;    /* kind of record, at most 32 bytes; "" none */
    struct str data;      /* STRUCTURED-DATA, well-formed; "" none */
    struct str text;      /* one line of UTF-8; with data at most 64 KiB */
};
/* Connects at the first send. ERR_INVALID, ERR_DENIED: the end or the facility can never work. The strings are copied,
 * n is borrowed. */
int net_syslog_new(struct net_syslog **ret, const struct net *n, const struct net_syslog_config *cfg, struct err *err);
/* 0 sent; 1 sent as the first over a new connection: the last ones over the old one may be lost.
 * ERR_UNAVAILABLE or ERR_TIMEOUT: not sent, keep the record and call again; at once while the sender waits before
 * it connects anew (1 s, doubled up to 60 s). ERR_INVALID: the record will never go. */
int net_syslog_send(struct net_syslog *s, const struct net_syslog_record *r, struct err *err);
void net_syslog_free(struct net_syslog *s);
#endif
