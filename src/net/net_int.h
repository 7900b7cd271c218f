/* Inside the room: a curl handle under the rules of egress.h. */
#ifndef NET_NET_INT_H
#define NET_NET_INT_H
#include "net/egress.h"

#include <curl/curl.h>
#include <sys/socket.h>

#define NET_SYSTEM_CA "/etc/ssl/certs/ca-certificates.crt"

struct net_dial {
    const struct net *net;
    const struct net_end *end;
    struct net_url url;
    CURL *curl;
    int code;           /* a callback's own reason to stop, or 0 */
    struct err refused; /* the rule that refused an address */
    char text[CURL_ERROR_SIZE];
};
/* Checks the end and makes the handle; nothing is looked up yet. d stays where it is until closed. */
int net_dial_open(struct net_dial *d, const struct net *n, const struct net_end *end, enum net_kind kind,
                  int64_t timeout, struct err *err);
void net_dial_close(struct net_dial *d);
/* Runs the handle; what: "the call", for the error. */
int net_dial_run(struct net_dial *d, struct err *err);
/* Only connects, with TLS where the URL says so; curl_easy_send and _recv after it. */
int net_dial_connect(struct net_dial *d, struct err *err);
const char *net_ca_file(const struct net *n); /* "" when there is none */

/* May a socket to this address be made? host: as in the URL. */
int net_judge(const struct net *n, enum net_who who, const char *host, const struct sockaddr *sa, struct err *err);
/* Bytes of an end in an error: control and foreign bytes become '?'. */
void net_clean(char *text);
#endif
