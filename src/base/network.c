/* Addresses and networks. See network.h. */
#include "base/network.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdlib.h>

static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

bool address_is_v4(const uint8_t addr[16])
{
    return memcmp(addr, mapped, sizeof mapped) == 0;
}

bool address_parse(struct str text, uint8_t out[16])
{
    char host[64];
    if (text.n >= 2 && text.p[0] == '[' && text.p[text.n - 1] == ']')
        text = (struct str){text.p + 1, text.n - 2};
    if (text.n == 0 || text.n >= sizeof host || memchr(text.p, '\0', text.n) != NULL)
        return false;
    text_copy(host, sizeof host, text);
    if (inet_pton(AF_INET6, host, out) == 1)
        return true;
    if (inet_pton(AF_INET, host, out + 12) != 1)
        return false;
    memcpy(out, mapped, sizeof mapped);
    return true;
}

void address_text(const uint8_t addr[16], char out[ADDRESS_TEXT_MAX])
{
    if (address_is_v4(addr))
        inet_ntop(AF_INET, addr + 12, out, ADDRESS_TEXT_MAX);
    else
        inet_ntop(AF_INET6, addr, out, ADDRESS_TEXT_MAX);
}

void address_customer(uint8_t addr[16])
{
    if (!address_is_v4(addr))
        memset(addr + 8, 0, 8);
}

bool network_parse(struct str text, struct network *ret)
{
    struct str bits = str_trim(text), addr;
    if (!str_split(&bits, '/', &addr) || !address_parse(addr, ret->addr))
        return false;
    /* ::ffff:a.b.c.d/n counts all 128 bits itself */
    bool dotted = memchr(addr.p, ':', addr.n) == NULL;
    uint64_t most = dotted ? 32 : 128, n = most;
    if (bits.p != NULL && (!str_u64(bits, &n) || n > most))
        return false;
    ret->bits = (int)(n + 128 - most);
    return true;
}

bool network_has(const struct network *net, const uint8_t addr[16])
{
    int whole = net->bits / 8, rest = net->bits % 8;
    if (memcmp(addr, net->addr, (size_t)whole) != 0)
        return false;
    if (rest == 0)
        return true;
    uint8_t mask = (uint8_t)(0xff << (8 - rest));
    return (addr[whole] & mask) == (net->addr[whole] & mask);
}

struct networks *networks_parse(struct str text)
{
    struct str one;
    size_t max = 1;
    for (size_t i = 0; i < text.n; i++)
        max += text.p[i] == ',';
    struct networks *l =
        mem_zalloc(size_add(sizeof *l, size_mul(max, sizeof l->net[0])));
    while (text.n != 0 && str_split(&text, ',', &one)) {
        if (!network_parse(one, &l->net[l->n])) {
            free(l);
            return NULL;
        }
        l->n++;
    }
    return l;
}

bool networks_have(const struct networks *list, const uint8_t addr[16])
{
    for (size_t i = 0; list != NULL && i < list->n; i++)
        if (network_has(&list->net[i], addr))
            return true;
    return false;
}

void networks_publish(_Atomic(struct networks *) *at, struct str text)
{
    struct networks *l = networks_parse(text);
    if (l == NULL)
        l = mem_zalloc(sizeof *l);
    l->older = atomic_load(at);
    atomic_store(at, l);
}

void networks_free(struct networks *list)
{
    while (list != NULL) {
        struct networks *older = list->older;
        free(list);
        list = older;
    }
}
