/* Mail over SMTP. The message is built here from checked parts; nothing a user chose reaches a header raw. */
#ifndef NET_MAIL_H
#define NET_MAIL_H
#include "net/egress.h"

struct mail_config {
    struct net_end end; /* smtps://, or smtp:// with STARTTLS (without only when `plain`) */
    const char *user, *password; /* AUTH when user is not ""; never without TLS */
    const char *from, *from_name; /* address, and a name beside it or "" */
    int64_t timeout;    /* microseconds, for the whole dialogue */
};
struct mail {
    const char *to;      /* one address */
    const char *subject; /* UTF-8, one line */
    const char *text;    /* UTF-8; lines end with \n */
    const char *html;    /* the same for readers of HTML, or NULL */
};
/* 0 when the server has taken the message. Errors say which step failed and what the server said:
 * ERR_INVALID an address or a text, ERR_UNAUTHORIZED user or password, ERR_DENIED it refused sender or
 * recipient, else as in egress.h. */
int net_mail_send(const struct net *n, const struct mail_config *cfg, const struct mail *m, struct err *err);

/* An address as everybody can have it: dot-atom of ASCII, @, domain name; at most 254 bytes. No quoted
 * local part, comment, address literal or foreign letter (a subset of RFC 5321 §4.1.2). */
bool net_mail_address_ok(struct str address);
/* A header's text by RFC 2047: as it is when printable ASCII, else folded encoded words of base64 UTF-8.
 * False when it is no UTF-8 or has control bytes (so no header can be smuggled in). */
bool net_mail_words(struct str text, struct buf *out);
#endif
