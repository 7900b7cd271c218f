/* Signatures of webhooks. */
#include "net/hook.h"

#include <nettle/hmac.h>
#include <stdio.h>

static bool id_ok(struct str id)
{
    for (size_t i = 0; i < id.n; i++) {
        char c = id.p[i];
        bool plain = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!plain && c != '_' && c != '-')
            return false;
    }
    return id.n != 0 && id.n <= NET_HOOK_ID_MAX;
}

int net_hook_sign(struct str secret, struct str id, int64_t seconds, struct str body,
                  char signature[NET_HOOK_SIGNATURE_MAX], struct err *err)
{
    struct hmac_sha256_ctx h;
    uint8_t mac[SHA256_DIGEST_SIZE];
    char text[32];
    if (!id_ok(id) || seconds < 0 || secret.n < 24)
        return err_set(err, ERR_INVALID, "a webhook's id, time or secret is malformed");
    hmac_sha256_set_key(&h, secret.n, (const uint8_t *)secret.p);
    hmac_sha256_update(&h, id.n, (const uint8_t *)id.p);
    int n = snprintf(text, sizeof text, ".%lld.", (long long)seconds);
    hmac_sha256_update(&h, (size_t)n, (const uint8_t *)text);
    hmac_sha256_update(&h, body.n, (const uint8_t *)body.p);
    hmac_sha256_digest(&h, sizeof mac, mac);
    explicit_bzero(&h, sizeof h);
    memcpy(signature, "v1,", 3);
    base64_encode(signature + 3, mac, sizeof mac);
    return 0;
}
