/* A syslog sender over curl's bare connection. */
#include "net/syslog.h"
#include "base/clock.h"
#include "net/net_int.h"

#include <poll.h>
#include <stdlib.h>

enum { TEXT_MAX = 64 << 10, WAIT_FIRST = 1000000, WAIT_LAST = 60000000 };

struct net_syslog {
    const struct net *net;
    struct net_end end;
    char *url, hostname[256], app[49];
    int facility;
    int64_t timeout, wait, not_before; /* monotonic microseconds */
    struct net_dial dial;
    bool open;
    struct buf frame;
};

/* PRINTUSASCII of RFC 5424; "" becomes the nil value. */
static void token(char *out, size_t cap, const char *text)
{
    text_copy(out, cap, str_of(text[0] != '\0' ? text : "-"));
    for (; *out; out++)
        if (*out <= 0x20 || *out >= 0x7f)
            *out = '_';
}

int net_syslog_new(struct net_syslog **ret, const struct net *n, const struct net_syslog_config *cfg, struct err *err)
{
    int rc = net_end_check(n, &cfg->end, NET_SYSLOG, NULL, err);
    if (rc < 0)
        return rc;
    if (cfg->facility < 0 || cfg->facility > 23)
        return err_set(err, ERR_INVALID, "a syslog facility is a number from 0 to 23");
    struct net_syslog *s = mem_zalloc(sizeof *s);
    s->net = n;
    s->end = cfg->end;
    s->facility = cfg->facility;
    s->timeout = cfg->timeout;
    s->end.url = s->url = mem_strdup(cfg->end.url);
    token(s->hostname, sizeof s->hostname, cfg->hostname);
    token(s->app, sizeof s->app, cfg->app);
    buf_init(&s->frame, TEXT_MAX + 1024);
    *ret = s;
    return 0;
}

static void hang_up(struct net_syslog *s)
{
    if (s->open)
        net_dial_close(&s->dial);
    s->open = false;
}

void net_syslog_free(struct net_syslog *s)
{
    if (s == NULL)
        return;
    hang_up(s);
    buf_release(&s->frame);
    free(s->url);
    free(s);
}

static void put_off(struct net_syslog *s)
{
    hang_up(s);
    s->wait = s->wait == 0 ? WAIT_FIRST : s->wait * 2 < WAIT_LAST ? s->wait * 2 : WAIT_LAST;
    s->not_before = clock_mono() + s->wait;
}

/* Servers say nothing, so whatever there is to read is the end of the connection. */
static bool closed_by_server(struct net_syslog *s)
{
    char byte;
    size_t n;
    return curl_easy_recv(s->dial.curl, &byte, 1, &n) != CURLE_AGAIN;
}

/* 1: it is a new connection. */
static int connect_now(struct net_syslog *s, struct err *err)
{
    int64_t now = clock_mono();
    if (s->open && !closed_by_server(s))
        return 0;
    hang_up(s);
    if (now < s->not_before)
        return err_set(err, ERR_UNAVAILABLE, "%s: next attempt in %lld s", s->end.url,
                       (long long)((s->not_before - now + 999999) / 1000000));
    int rc = net_dial_open(&s->dial, s->net, &s->end, NET_SYSLOG, s->timeout, err);
    if (rc == 0) {
        s->open = true;
        rc = net_dial_connect(&s->dial, err);
    }
    if (rc < 0)
        put_off(s);
    return rc < 0 ? rc : 1;
}

static void frame(struct net_syslog *s, const struct net_syslog_record *r)
{
    char when[28], msgid[33], head[512];
    clock_rfc3339(when, r->time);
    token(msgid, sizeof msgid, r->msgid);
    struct buf b;
    buf_init(&b, sizeof head);
    buf_printf(&b, "<%d>1 %s %s %s - %s ", s->facility * 8 + r->severity, when, s->hostname, s->app, msgid);
    buf_reset(&s->frame);
    struct str data = r->data.n > 0 ? r->data : STR_LIT("-");
    buf_printf(&s->frame, "%zu ", b.n + data.n + 1 + r->text.n);
    buf_str(&s->frame, buf_view(&b));
    buf_str(&s->frame, data);
    buf_char(&s->frame, ' ');
    buf_str(&s->frame, r->text);
    BUG_ON(b.overflow || s->frame.overflow);
    buf_release(&b);
}

static int send_frame(struct net_syslog *s, struct err *err)
{
    int64_t until = clock_mono() + s->timeout;
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(s->dial.curl, CURLINFO_ACTIVESOCKET, &fd);
    for (size_t at = 0; at < s->frame.n;) {
        size_t n = 0;
        CURLcode rc = curl_easy_send(s->dial.curl, s->frame.p + at, s->frame.n - at, &n);
        int64_t left = until - clock_mono();
        at += n;
        if (rc == CURLE_OK)
            continue;
        if (rc != CURLE_AGAIN)
            return err_set(err, ERR_UNAVAILABLE, "%s: the connection broke", s->end.url);
        struct pollfd p = {fd, POLLOUT, 0};
        if (left <= 0 || poll(&p, 1, (int)(left / 1000) + 1) == 0)
            return err_set(err, ERR_TIMEOUT, "%s: the server does not read", s->end.url);
    }
    return 0;
}

int net_syslog_send(struct net_syslog *s, const struct net_syslog_record *r, struct err *err)
{
    bool line = memchr(r->text.p ? r->text.p : "", '\n', r->text.n) == NULL;
    if (r->severity < 0 || r->severity > 7 || r->text.n > TEXT_MAX || r->data.n > TEXT_MAX - r->text.n || !line)
        return err_set(err, ERR_INVALID, "a syslog record is one line of at most 64 KiB, its severity 0 to 7");
    int rc = connect_now(s, err);
    if (rc < 0)
        return rc;
    frame(s, r);
    int sent = send_frame(s, err);
    if (sent < 0)
        put_off(s); /* half a frame may be out: only a new connection is in step again */
    else
        s->wait = 0;
    return sent < 0 ? sent : rc;
}
