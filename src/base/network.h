/* Addresses and networks as text and as 16 bytes; IPv4 is mapped (::ffff:a.b.c.d). */
#ifndef BASE_NETWORK_H
#define BASE_NETWORK_H
#include "base/text.h"

enum { ADDRESS_TEXT_MAX = 46 };
struct network {
    uint8_t addr[16];
    int bits; /* 0 to 128, of the mapped form */
};
bool address_is_v4(const uint8_t addr[16]);
/* Also in brackets. False: none, *out undefined. */
bool address_parse(struct str text, uint8_t out[16]);
void address_text(const uint8_t addr[16], char out[ADDRESS_TEXT_MAX]);
/* One customer of an IPv6 provider is a /64: clears the rest. IPv4 stays. */
void address_customer(uint8_t addr[16]);
/* ADDR or ADDR/BITS. */
bool network_parse(struct str text, struct network *ret);
bool network_has(const struct network *net, const uint8_t addr[16]);

struct networks {
    struct networks *older; /* of a published list */
    size_t n;
    struct network net[];
};
/* Of a list "NET, NET"; NULL when one of them is malformed. */
struct networks *networks_parse(struct str text);
bool networks_have(const struct networks *list, const uint8_t addr[16]); /* NULL-safe */
/* A list that threads look at while it is replaced: older ones are kept, somebody may still be reading
 * them. One publisher at a time. A malformed text (config.c refused it before) is an empty list. */
void networks_publish(_Atomic(struct networks *) *at, struct str text);
void networks_free(struct networks *list); /* older ones, too; NULL-safe */
#endif
