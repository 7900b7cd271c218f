/* Configuration values: types, units and bounds. */
#include "base/config_int.h"
#include "base/network.h"

#include <arpa/inet.h>
#include <stdio.h>

struct unit {
    const char *name;
    int64_t factor;
};
static const struct unit sizes[] = {{"T", (int64_t)1 << 40}, {"G", 1 << 30}, {"M", 1 << 20}, {"K", 1 << 10}, {"", 1}};
static const struct unit times[] = {{"d", 86400000000}, {"h", 3600000000}, {"m", 60000000}, {"ms", 1000}, {"s", 1000000}, {"", 1000000}};

static bool with_unit(struct str text, const struct unit *units, size_t n, int64_t *ret)
{
    for (size_t i = 0; i < n; i++) {
        struct str unit = str_of(units[i].name), number = text;
        if (!str_ends(text, unit))
            continue;
        number.n -= unit.n;
        uint64_t v;
        if (!str_u64(number, &v))
            continue;
        return v <= INT64_MAX && !__builtin_mul_overflow((int64_t)v, units[i].factor, ret);
    }
    return false;
}

static bool one_of(struct str text, const char *allowed, int64_t *ret)
{
    struct str rest = str_of(allowed), word;
    for (int64_t i = 0; str_split(&rest, '|', &word); i++)
        if (str_eq(text, word)) {
            *ret = i;
            return true;
        }
    return false;
}

static bool number_of(const struct config_key *k, struct str text, int64_t *ret)
{
    uint64_t v;
    switch (k->type) {
    case CONFIG_BOOL:
        *ret = str_is(text, "true");
        return *ret != 0 || str_is(text, "false");
    case CONFIG_INT:
        if (!str_u64(text, &v) || v > INT64_MAX)
            return false;
        *ret = (int64_t)v;
        return true;
    case CONFIG_SIZE:
        return with_unit(text, sizes, ARRAY_LEN(sizes), ret);
    case CONFIG_TIME:
        return with_unit(text, times, ARRAY_LEN(times), ret);
    case CONFIG_ENUM:
        return one_of(text, k->allowed, ret);
    case CONFIG_TEXT:
    case CONFIG_SECRET:
        break;
    }
    return false;
}

static bool listen_ok(struct str text)
{
    struct str one;
    while (str_split(&text, ',', &one)) {
        size_t colon = one.n;
        while (colon != 0 && one.p[colon - 1] != ':')
            colon--;
        if (colon < 2)
            return false;
        uint64_t port;
        if (!str_u64((struct str){one.p + colon, one.n - colon}, &port) || port > 65535) /* 0: any */
            return false;
        char host[64];
        struct str h = {one.p, colon - 1};
        if (h.n > 2 && h.p[0] == '[' && h.p[h.n - 1] == ']')
            h = (struct str){h.p + 1, h.n - 2};
        if (h.n >= sizeof host)
            return false;
        memcpy(host, h.p, h.n);
        host[h.n] = '\0';
        uint8_t addr[16];
        if (inet_pton(AF_INET, host, addr) != 1 && inet_pton(AF_INET6, host, addr) != 1)
            return false;
    }
    return true;
}

static bool url_ok(struct str text)
{
    if (text.n == 0)
        return true;
    struct str host = text;
    if (str_starts(text, STR_LIT("https://")))
        host = (struct str){text.p + 8, text.n - 8};
    else if (str_starts(text, STR_LIT("http://")))
        host = (struct str){text.p + 7, text.n - 7};
    else
        return false;
    for (size_t i = 0; i < host.n; i++) {
        char c = host.p[i];
        bool good = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    memchr(".-:[]", c, 5) != NULL;
        if (!good)
            return false;
    }
    return host.n != 0;
}

static bool networks_ok(struct str text)
{
    struct networks *list = networks_parse(text);
    bool ok = list != NULL;
    networks_free(list);
    return ok;
}

static bool text_ok(const struct config_key *k, struct str text)
{
    if (text.n != 0 && memchr(text.p, '\0', text.n) != NULL)
        return false;
    if (strcmp(k->name, "listen") == 0)
        return listen_ok(text);
    if (strcmp(k->name, "public_url") == 0)
        return url_ok(text);
    if (strcmp(k->name, "trusted_proxies") == 0 || strcmp(k->name, "pull_exempt") == 0)
        return networks_ok(text);
    if (strcmp(k->name, "database") == 0)
        return text.n == 0 || str_starts(text, STR_LIT("postgresql://")) ||
               str_starts(text, STR_LIT("postgres://"));
    return true;
}

int config_value_check(const struct config_key *k, struct str text, const char *origin, int64_t *ret,
                       struct err *err)
{
    int64_t num = 0;
    if (k->type == CONFIG_TEXT || k->type == CONFIG_SECRET) {
        if (text_ok(k, text))
            return 0;
        if (k->type == CONFIG_SECRET)
            return err_set(err, ERR_USAGE, "%s: %s: the value is not allowed; allowed: %s", origin,
                           k->name, k->allowed);
        return err_set(err, ERR_USAGE, "%s: %s: \"%.*s\" is not allowed; allowed: %s", origin, k->name,
                       (int)(text.n > 100 ? 100 : text.n), text.p, k->allowed);
    }
    bool good = number_of(k, text, &num);
    bool bounded = k->type != CONFIG_BOOL && k->type != CONFIG_ENUM;
    if (good && bounded && (num < k->min || num > k->max))
        good = false;
    if (good) {
        *ret = num;
        return 0;
    }
    int n = (int)(text.n > 100 ? 100 : text.n);
    if (!bounded)
        return err_set(err, ERR_USAGE, "%s: %s: \"%.*s\" is not allowed; allowed: %s", origin, k->name,
                       n, text.p, k->allowed);
    struct buf range;
    buf_init(&range, 256);
    config_value_print(k, k->min, &range);
    buf_cstr(&range, " to ");
    config_value_print(k, k->max, &range);
    int rc = err_set(err, ERR_USAGE, "%s: %s: \"%.*s\" is not allowed; allowed: %s (%s)", origin,
                     k->name, n, text.p, range.p, k->allowed);
    buf_release(&range);
    return rc;
}

void config_value_print(const struct config_key *k, int64_t num, struct buf *out)
{
    if (k->type == CONFIG_BOOL) {
        buf_cstr(out, num ? "true" : "false");
        return;
    }
    if (k->type == CONFIG_ENUM) {
        struct str rest = str_of(k->allowed), word = {NULL, 0};
        for (int64_t i = 0; i <= num; i++)
            str_split(&rest, '|', &word);
        buf_str(out, word);
        return;
    }
    const struct unit *units = k->type == CONFIG_SIZE ? sizes : times;
    size_t n = k->type == CONFIG_SIZE ? ARRAY_LEN(sizes) : 3;
    if (k->type == CONFIG_TIME && num % 1000000 != 0) {
        buf_i64(out, num / 1000);
        buf_cstr(out, "ms");
        return;
    }
    for (size_t i = 0; k->type != CONFIG_INT && num != 0 && i < n; i++)
        if (num % units[i].factor == 0) {
            buf_i64(out, num / units[i].factor);
            buf_cstr(out, units[i].name);
            return;
        }
    if (k->type == CONFIG_TIME && num != 0) {
        buf_i64(out, num / 1000000);
        buf_char(out, 's');
        return;
    }
    buf_i64(out, num);
}

size_t config_distance(struct str a, struct str b)
{
    enum { LONGEST = 48 };
    size_t row[LONGEST + 1];
    if (a.n > LONGEST || b.n > LONGEST)
        return SIZE_MAX;
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n];
}
