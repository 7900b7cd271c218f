/* Mail over libcurl's SMTP; see mail.h. */
#include "base/clock.h"
#include "crypt/secret.h"
#include "net/mail.h"
#include "net/net_int.h"

enum { SAID_MAX = 256, HEADER_MAX = 8192, WORD_BYTES = 39 /* 52 of base64; with =?UTF-8?B??= and a header name below 76 */ };

struct talk {
    struct net_dial dial;
    char said[SAID_MAX]; /* the server's last refusal (4xx, 5xx) */
};

static bool dot_atom(struct str s, const char *extra)
{
    struct str part;
    if (s.n == 0)
        return false;
    while (str_split(&s, '.', &part)) {
        if (part.n == 0)
            return false;
        for (size_t i = 0; i < part.n; i++) {
            char c = part.p[i];
            bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
            if (!plain && (c == '\0' || strchr(extra, c) == NULL))
                return false;
        }
    }
    return true;
}

bool net_mail_address_ok(struct str address)
{
    struct str domain = address, local, label;
    if (address.n == 0 || address.n > 254 || address.p[address.n - 1] == '.' || !str_split(&domain, '@', &local))
        return false;
    if (local.n > 64 || !dot_atom(local, "!#$%&'*+/=?^_`{|}~-") || local.p[local.n - 1] == '.')
        return false;
    if (domain.n > 253 || !dot_atom(domain, "-"))
        return false;
    while (str_split(&domain, '.', &label))
        if (label.n > 63 || label.p[0] == '-' || label.p[label.n - 1] == '-')
            return false;
    return true;
}

/* Length of the UTF-8 sequence at p, or 0. */
static size_t utf8_at(const unsigned char *p, size_t n)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : p[0] >= 0xc2 ? 2 : 0;
    uint32_t v = len == 1 ? p[0] : len == 0 ? 0 : p[0] & (0x7fu >> len);
    if (len == 0 || len > n || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < len; i++) {
        if ((p[i] & 0xc0) != 0x80)
            return 0;
        v = v << 6 | (p[i] & 0x3f);
    }
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    if (v < least[len] || v > 0x10ffff || (v >= 0xd800 && v < 0xe000))
        return 0;
    return v < 0x20 || (v >= 0x7f && v < 0xa0) || v == 0x2028 || v == 0x2029 ? 0 : len;
}

bool net_mail_words(struct str text, struct buf *out)
{
    const unsigned char *p = (const unsigned char *)text.p;
    bool ascii = true;
    size_t len;
    for (size_t i = 0; i < text.n; i += len) {
        if ((len = utf8_at(p + i, text.n - i)) == 0)
            return false;
        ascii = ascii && len == 1;
    }
    if (ascii && text.n <= 200 && memmem(text.p ? text.p : "", text.n, "=?", 2) == NULL) {
        buf_str(out, text);
        return !out->overflow;
    }
    for (size_t i = 0; i < text.n;) {
        char word[4 * WORD_BYTES / 3 + 8];
        size_t n = 0;
        while (i + n < text.n && n + (len = utf8_at(p + i + n, text.n - i - n)) <= WORD_BYTES)
            n += len;
        base64_encode(word, p + i, n);
        buf_printf(out, "%s=?UTF-8?B?%s?=", i == 0 ? "" : "\r\n ", word);
        i += n;
    }
    return !out->overflow;
}

static bool body_ok(const char *text)
{
    struct str s = str_of(text);
    for (size_t i = 0, len; i < s.n; i += len) {
        len = s.p[i] == '\n' || s.p[i] == '\t' ? 1 : utf8_at((const unsigned char *)s.p + i, s.n - i);
        if (len == 0)
            return false;
    }
    return true;
}

static int check(const struct mail_config *cfg, const struct mail *m, const struct net_url *u, struct err *err)
{
    if (!net_mail_address_ok(str_of(cfg->from)))
        return err_set(err, ERR_INVALID, "the sender is no mail address");
    if (!net_mail_address_ok(str_of(m->to)))
        return err_set(err, ERR_INVALID, "the recipient is no mail address");
    if (!body_ok(m->text) || (m->html != NULL && !body_ok(m->html)))
        return err_set(err, ERR_INVALID, "the message has control bytes or is no UTF-8");
    if (cfg->user[0] != '\0' && !u->tls && cfg->end.plain)
        return err_set(err, ERR_DENIED, "a password is not sent without TLS");
    return 0;
}

static struct curl_slist *header(struct curl_slist *all, struct buf *b)
{
    all = curl_slist_append(all, b->p);
    buf_reset(b);
    return all;
}

static int headers_of(const struct mail_config *cfg, const struct mail *m, struct curl_slist **ret, struct err *err)
{
    struct curl_slist *all = NULL;
    char id[33], date[30];
    struct buf b;
    buf_init(&b, HEADER_MAX);
    secret_random_hex(id, 16);
    clock_http(date, clock_now());
    buf_cstr(&b, "From: ");
    bool good = net_mail_words(str_of(cfg->from_name), &b);
    if (good && cfg->from_name[0] != '\0' && b.p[6] != '=') { /* ASCII: a quoted string */
        buf_reset(&b);
        buf_cstr(&b, "From: \"");
        for (const char *c = cfg->from_name; *c; c++)
            buf_printf(&b, *c == '"' || *c == '\\' ? "\\%c" : "%c", *c);
        buf_char(&b, '"');
    }
    buf_printf(&b, "%s<%s>", cfg->from_name[0] != '\0' ? " " : "", cfg->from);
    all = header(all, &b);
    buf_printf(&b, "To: <%s>", m->to);
    all = header(all, &b);
    buf_cstr(&b, "Subject: ");
    good = good && net_mail_words(str_of(m->subject), &b);
    all = header(all, &b);
    buf_printf(&b, "Date: %.25s +0000", date); /* "... GMT" without its zone */
    all = header(all, &b);
    buf_printf(&b, "Message-ID: <%s@%s>", id, strchr(cfg->from, '@') + 1);
    all = header(all, &b);
    all = curl_slist_append(all, "Auto-Submitted: auto-generated");
    buf_release(&b);
    if (!good) {
        curl_slist_free_all(all);
        return err_set(err, ERR_INVALID, "the subject or the sender's name has control bytes or is too long");
    }
    *ret = all;
    return 0;
}

static void add_part(curl_mime *mime, const char *text, const char *type)
{
    curl_mimepart *p = curl_mime_addpart(mime);
    curl_mime_data(p, text, CURL_ZERO_TERMINATED);
    curl_mime_type(p, type);
    curl_mime_encoder(p, "quoted-printable");
}

/* multipart/alternative, simplest first; a lone text is the only alternative. */
static curl_mime *body_of(CURL *c, const struct mail *m)
{
    curl_mime *whole = curl_mime_init(c), *ways = curl_mime_init(c);
    add_part(ways, m->text, "text/plain; charset=utf-8");
    if (m->html != NULL)
        add_part(ways, m->html, "text/html; charset=utf-8");
    curl_mimepart *p = curl_mime_addpart(whole);
    curl_mime_subparts(p, ways);
    curl_mime_type(p, "multipart/alternative");
    return whole;
}

static int on_debug(CURL *c, curl_infotype type, char *p, size_t n, void *arg)
{
    struct talk *t = arg;
    (void)c;
    if (type == CURLINFO_HEADER_IN && n != 0 && (p[0] == '4' || p[0] == '5')) {
        while (n != 0 && (p[n - 1] == '\r' || p[n - 1] == '\n'))
            n--;
        text_copy(t->said, sizeof t->said, (struct str){p, n});
        net_clean(t->said);
    }
    return 0;
}

/* What the server said is shown, but not in answer to a password: it may have it in it. */
static int refused(struct talk *t, struct err *err)
{
    long status = 0;
    struct err e = {0};
    int rc = net_dial_run(&t->dial, &e);
    if (rc == 0)
        return 0;
    curl_easy_getinfo(t->dial.curl, CURLINFO_RESPONSE_CODE, &status);
    bool login = strstr(t->dial.text, "Login denied") != NULL || (status >= 530 && status <= 538);
    if (login)
        return err_set(err, ERR_UNAUTHORIZED, "%s://%s:%u: the server refuses the user or the password (%ld)",
                       t->dial.url.scheme, t->dial.url.host, (unsigned)t->dial.url.port, status);
    bool said = rc == ERR_UNAVAILABLE && t->said[0] != '\0';
    return err_set(err, said && t->said[0] == '5' ? ERR_DENIED : rc, "%s%s%s%s", e.text,
                   said ? "; the server said: \"" : "", said ? t->said : "", said ? "\"" : "");
}

int net_mail_send(const struct net *n, const struct mail_config *cfg, const struct mail *m, struct err *err)
{
    struct talk t = {.said = ""};
    struct curl_slist *headers = NULL, *to = NULL;
    curl_mime *mime = NULL;
    struct buf angle;
    int rc = net_dial_open(&t.dial, n, &cfg->end, NET_SMTP, cfg->timeout, err);
    if (rc < 0)
        return rc;
    CURL *c = t.dial.curl;
    buf_init(&angle, 600);
    if ((rc = check(cfg, m, &t.dial.url, err)) == 0 && (rc = headers_of(cfg, m, &headers, err)) == 0) {
        buf_printf(&angle, "<%s>", m->to);
        to = curl_slist_append(NULL, angle.p);
        buf_reset(&angle);
        buf_printf(&angle, "<%s>", cfg->from);
        mime = body_of(c, m);
        curl_easy_setopt(c, CURLOPT_USE_SSL, (long)(cfg->end.plain ? CURLUSESSL_NONE : CURLUSESSL_ALL));
        if (cfg->user[0] != '\0') {
            curl_easy_setopt(c, CURLOPT_USERNAME, cfg->user);
            curl_easy_setopt(c, CURLOPT_PASSWORD, cfg->password);
        }
        curl_easy_setopt(c, CURLOPT_MAIL_FROM, angle.p);
        curl_easy_setopt(c, CURLOPT_MAIL_RCPT, to);
        curl_easy_setopt(c, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(c, CURLOPT_MIMEPOST, mime);
        curl_easy_setopt(c, CURLOPT_VERBOSE, 1L); /* only for on_debug */
        curl_easy_setopt(c, CURLOPT_DEBUGFUNCTION, on_debug);
        curl_easy_setopt(c, CURLOPT_DEBUGDATA, &t);
        rc = refused(&t, err);
    }
    net_dial_close(&t.dial);
    curl_mime_free(mime);
    curl_slist_free_all(headers);
    curl_slist_free_all(to);
    buf_release(&angle);
    return rc;
}
