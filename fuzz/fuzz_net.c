/* Texts of users that go out: URLs, mail addresses, header words, LDAP filters. The first byte says which.
 * A URL that we take must be read by curl as the same host and port. */
#include "net/ldap.h"
#include "net/mail.h"

#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void same_part(CURLU *u, CURLUPart part, const char *want)
{
    char *got = NULL;
    BUG_ON(curl_url_get(u, part, &got, CURLU_DEFAULT_PORT) != CURLUE_OK || strcmp(got, want) != 0);
    curl_free(got);
}

static void check_url(struct str in)
{
    struct net_url u;
    if (net_url_parse(in, &u, NULL) < 0 || u.kind != NET_HTTP)
        return;
    auto_free char *text = mem_strndup(in.p, in.n);
    char host[NET_HOST_MAX + 2], port[8];
    char *got = NULL;
    CURLU *c = curl_url();
    BUG_ON(curl_url_set(c, CURLUPART_URL, text, 0) != CURLUE_OK);
    snprintf(host, sizeof host, u.v6 ? "[%s]" : "%s", u.host);
    snprintf(port, sizeof port, "%u", (unsigned)u.port);
    same_part(c, CURLUPART_SCHEME, u.scheme);
    same_part(c, CURLUPART_PORT, port);
    BUG_ON(curl_url_get(c, CURLUPART_USER, &got, 0) != CURLUE_NO_USER);
    BUG_ON(curl_url_get(c, CURLUPART_HOST, &got, 0) != CURLUE_OK);
    if (!u.v6) /* curl writes an IPv6 address in its shortest form */
        BUG_ON(!str_ieq(str_of(got), str_of(host)));
    else
        BUG_ON(got[0] != '[');
    curl_free(got);
    curl_url_cleanup(c);
}

static void check_address(struct str in)
{
    if (!net_mail_address_ok(in))
        return;
    BUG_ON(in.n > 254);
    for (size_t i = 0; i < in.n; i++)
        BUG_ON(in.p[i] <= ' ' || in.p[i] >= 0x7f || strchr("<>()[],;:\\\"", in.p[i]) != NULL);
}

/* No line but folded ones, none too long, and nothing outside of ASCII. */
static void check_words(struct str in)
{
    struct buf b;
    buf_init(&b, 1 << 16);
    if (net_mail_words(in, &b)) {
        size_t line = 0;
        for (size_t i = 0; i < b.n; i++) {
            bool fold = b.p[i] == '\r' && i + 2 < b.n && b.p[i + 1] == '\n' && b.p[i + 2] == ' ';
            bool rest = b.p[i] == '\n' && i > 0 && b.p[i - 1] == '\r';
            BUG_ON(!fold && !rest && (b.p[i] < ' ' || b.p[i] >= 0x7f));
            line = fold || rest ? 0 : line + 1;
            BUG_ON(line > 200);
        }
    }
    buf_release(&b);
}

/* The value is one: without its brackets the filter has none, and no star. */
static void check_filter(struct str in)
{
    struct buf b;
    buf_init(&b, 1 << 20);
    BUG_ON(!net_ldap_filter(&b, "uid={user}", "user", in) || b.overflow);
    for (size_t i = 0; i < b.n; i++)
        BUG_ON(b.p[i] < ' ' || b.p[i] >= 0x7f || strchr("()*", b.p[i]) != NULL);
    buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 8192)
        return 0;
    struct str in = {(const char *)data + 1, size - 1};
    switch (data[0]) {
    case 'u':
        check_url(in);
        break;
    case 'a':
        check_address(in);
        break;
    case 'w':
        check_words(in);
        break;
    case 'f':
        check_filter(in);
        break;
    default:
        break;
    }
    return 0;
}
