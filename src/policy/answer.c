/* What an answer says of a limit: Docker Hub's headers and words. */
#include "policy/policy.h"

#include "base/network.h"

#include <stdio.h>

#define PULL_MESSAGE                                                                                 \
    "You have reached your pull rate limit. You may increase the limit by authenticating and "      \
    "upgrading: https://www.docker.com/increase-rate-limit"
#define PUSH_MESSAGE "You have reached your push rate limit."

static void text(int64_t n, int64_t window, char out[POLICY_TEXT_MAX])
{
    (void)snprintf(out, POLICY_TEXT_MAX, "%lld;w=%lld", (long long)n, (long long)window);
}

void policy_limit_text(const struct policy_verdict *v, char out[POLICY_TEXT_MAX])
{
    text(v->limit, v->window, out);
}

void policy_remaining_text(const struct policy_verdict *v, char out[POLICY_TEXT_MAX])
{
    text(v->remaining, v->window, out);
}

void policy_source_text(struct policy_key key, char out[POLICY_TEXT_MAX])
{
    uint8_t addr[16] = {0};
    if (key.who == POLICY_ACCOUNT) {
        (void)snprintf(out, POLICY_TEXT_MAX, "00000000-0000-0000-%04x-%012llx", (unsigned)(key.id >> 48),
                       (unsigned long long)(key.id & 0xffffffffffff));
        return;
    }
    bool v4 = key.id >> 32 == 0xffff;
    for (int i = 0; i < 8; i++)
        addr[i + (v4 ? 8 : 0)] = (uint8_t)(key.id >> (56 - 8 * i));
    address_text(addr, out);
}

int64_t policy_retry_after(const struct policy_verdict *v, int64_t now)
{
    int64_t s = (v->reset - now + 999999) / 1000000;
    return s < 1 ? 1 : s;
}

static const char *message(const struct policy_verdict *v)
{
    return v->kind == POLICY_PULL ? PULL_MESSAGE : PUSH_MESSAGE;
}

int policy_refuse(const struct policy_verdict *v, struct err *err)
{
    return err_set(err, ERR_TOOMANYREQUESTS, "%s", message(v));
}

void policy_refuse_body(const struct policy_verdict *v, struct buf *out)
{
    buf_printf(out, "{\"errors\":[{\"code\":\"%s\",\"message\":\"%s\"}]}", err_oci(ERR_TOOMANYREQUESTS), message(v));
}
