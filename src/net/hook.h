/* Signatures of webhooks, in the form of the Standard Webhooks specification, for which receivers have
 * ready libraries: HMAC-SHA256 over "id.timestamp.body" (threat T41). An id has no dot and a timestamp only digits,
 * so no two deliveries have the same bytes to sign. The receiver refuses a timestamp older than five minutes. */
#ifndef NET_HOOK_H
#define NET_HOOK_H
#include "base/err.h"

enum { NET_HOOK_ID_MAX = 64, NET_HOOK_SIGNATURE_MAX = 64 };
/* signature: "v1,<base64>", for the header `webhook-signature`; id and seconds (since 1970) go into `webhook-id` and
 * `webhook-timestamp`. id: 1 to 64 of [A-Za-z0-9_-], the same in every retry; secret: at least 24 bytes. */
int net_hook_sign(struct str secret, struct str id, int64_t seconds, struct str body,
                  char signature[NET_HOOK_SIGNATURE_MAX], struct err *err);
#endif
