/* Headers that decide who somebody is: Authorization, and X-Forwarded-For behind listed proxies. First
 * byte: which. For the second the input is the list of proxies, a line end, the header. */
#include "base/config_int.h"
#include "http/http_int.h"
#include "ident/ident_int.h"

#include <arpa/inet.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_authorization(struct str value)
{
    struct http_req *r = mem_zalloc(sizeof *r);
    r->headers[r->n_headers++] = (struct http_header){STR_LIT("authorization"), str_trim(value)};
    struct credential c = credential_of(r);
    BUG_ON(c.kind == CREDENTIAL_NONE);
    bool good = c.kind != CREDENTIAL_BAD;
    if (good) {
        BUG_ON(c.value.n > value.n || (c.value.n != 0 && (c.value.p < value.p || c.value.p + c.value.n > value.p + value.n)));
        struct credential again = credential_of(r);
        BUG_ON(again.kind != c.kind || memcmp(&again.tag, &c.tag, sizeof c.tag) != 0);
    }
    r->headers[r->n_headers++] = r->headers[0]; /* two are never believed */
    BUG_ON(credential_of(r).kind != CREDENTIAL_BAD);
    free(r);
}

/* Is `host` the address `text`, whose form is the usual one? */
static bool same_address(struct str host, struct str text)
{
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    char given[64], form[64];
    uint8_t a[16];
    if (host.n >= 2 && host.p[0] == '[' && host.p[host.n - 1] == ']')
        host = (struct str){host.p + 1, host.n - 2};
    if (host.n == 0 || host.n >= sizeof given || memchr(host.p, '\0', host.n))
        return false;
    text_copy(given, sizeof given, host);
    if (inet_pton(AF_INET, given, a) == 1)
        inet_ntop(AF_INET, a, form, sizeof form);
    else if (inet_pton(AF_INET6, given, a) != 1)
        return false;
    else if (memcmp(a, mapped, 12) == 0)
        inet_ntop(AF_INET, a + 12, form, sizeof form);
    else
        inet_ntop(AF_INET6, a, form, sizeof form);
    return str_is(text, form);
}

/* One of the addresses in the lists, with or without a port? */
static bool among(struct str lines, struct str text)
{
    struct str list, one;
    while (str_split(&lines, '\n', &list))
        while (str_split(&list, ',', &one)) {
            one = str_trim(one);
            if (same_address(one, text))
                return true;
            while (one.n != 0 && one.p[one.n - 1] >= '0' && one.p[one.n - 1] <= '9')
                one.n--;
            if (one.n != 0 && one.p[one.n - 1] == ':' && same_address((struct str){one.p, one.n - 1}, text))
                return true;
        }
    return false;
}

/* lines: of X-Forwarded-For, as many as there are. */
static void check_forwarded(const char *proxies, struct str lines)
{
    int64_t unused;
    const struct config_key *keys = config_keys(&(size_t){0});
    int key = config_find(STR_LIT("trusted_proxies"));
    if (config_value_check(&keys[key], str_of(proxies), "flag", &unused, NULL) < 0)
        return; /* does not get that far */
    struct http_server *s = mem_zalloc(sizeof *s);
    struct http_conn *c = mem_zalloc(sizeof *c);
    struct request *q = mem_zalloc(sizeof *q);
    networks_publish(&s->proxies, str_of(proxies));
    arena_init(&q->pub.arena);
    q->pub.conn = c;
    memcpy(c->peer, "203.0.113.9", 12);
    struct str rest = lines, line;
    atomic_store(&s->told_unknown, true);
    while (q->pub.n_headers < HTTP_HEADERS_MAX && str_split(&rest, '\n', &line))
        q->pub.headers[q->pub.n_headers++] = (struct http_header){STR_LIT("X-Forwarded-For"), str_trim(line)};
    client_address(s, q);
    BUG_ON(!str_is(q->pub.client, "203.0.113.9")); /* nobody listed: not believed */
    c->proxied = true;
    client_address(s, q);
    BUG_ON(q->pub.client_unknown ? !str_is(q->pub.client, "203.0.113.9") : !among(lines, q->pub.client));
    arena_release(&q->pub.arena);
    networks_free(atomic_load(&s->proxies));
    free(s);
    free(c);
    free(q);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static bool ready;
    if (!ready)
        ready = secret_setup(NULL) == 0;
    if (size == 0)
        return 0;
    struct str rest = {(const char *)data + 1, size - 1}, first;
    for (size_t i = 2; i < size; i++) /* refused by the head's parser; \n parts the two here */
        if ((data[i] < 0x20 && data[i] != '\t' && data[i] != '\n') || data[i] == 0x7f)
            return 0;
    if ((data[0] & 1) == 0) {
        check_authorization(rest);
        return 0;
    }
    str_split(&rest, '\n', &first);
    auto_free char *proxies = mem_strndup(first.p, first.n);
    check_forwarded(proxies, rest);
    return 0;
}
