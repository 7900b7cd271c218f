/* The caller's pulls and pushes against his plan, in Docker Hub's headers and words. The table of
 * windows is in memory (policy/policy.h), so this may run on an event thread. */
#include "base/network.h"
#include "registry/registry_int.h"

/* Anonymous ones are told apart by their address. Behind a proxy that does not say for whom it speaks
 * nobody is: better a pull too many than all of them refused for one. */
static struct policy_verdict look(struct http_req *r, enum policy_kind kind, bool count)
{
    struct policy *policy = registry_of(r)->policy;
    const struct principal *p = req_principal(r);
    struct policy_verdict v = {.allowed = true};
    bool account = p->kind == WHO_USER || p->kind == WHO_ORG;
    struct plan plan;
    uint8_t addr[16];
    if (p->kind == WHO_LOCAL)
        return v;
    policy_plan(policy, account ? p->plan_id : 0, &plan);
    struct policy_limit limit = kind == POLICY_PUSH
                                    ? policy_push_limit(&plan.limits)
                                    : policy_pull_limit(&plan.limits, account ? POLICY_ACCOUNT : POLICY_ADDRESS);
    if (limit.max < 0)
        return v;
    bool known = !r->client_unknown && address_parse(r->client, addr);
    if (known ? policy_exempt(policy, addr) : !account)
        return v;
    struct policy_key key = account ? policy_key_account(p->user_id) : policy_key_address(addr);
    (count ? policy_count : policy_peek)(policy, key, kind, limit, clock_now(), &v);
    return v;
}

static void refuse(struct http_req *r, const struct policy_verdict *v)
{
    struct buf body;
    buf_init(&body, 1024);
    policy_refuse_body(v, &body);
    http_status(r, 429);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    http_addf(r, "Retry-After", "%lld", (long long)policy_retry_after(v, clock_now()));
    http_send_buf(r, &body);
}

bool rate_pull(struct http_req *r, bool counts)
{
    struct policy_verdict v = look(r, POLICY_PULL, counts);
    char text[POLICY_TEXT_MAX];
    if (!v.limited)
        return true;
    policy_limit_text(&v, text);
    http_add(r, "ratelimit-limit", str_of(text));
    policy_remaining_text(&v, text);
    http_add(r, "ratelimit-remaining", str_of(text));
    policy_source_text(v.key, text);
    http_add(r, "docker-ratelimit-source", str_of(text));
    if (v.allowed || !counts)
        return true;
    refuse(r, &v);
    return false;
}

bool rate_pushes_limited(struct http_req *r)
{
    return look(r, POLICY_PUSH, false).limited;
}

bool rate_push(struct http_req *r)
{
    struct policy_verdict v = look(r, POLICY_PUSH, true);
    if (v.limited && !v.allowed)
        refuse(r, &v);
    return v.allowed;
}

/* ---- /v2/ratelimitpreview/test/manifests/latest: what Docker's documentation has people ask for. An
 * image of one empty object; GET counts like that of any image. */
#define PREVIEW_TYPE "application/vnd.oci.image.manifest.v1+json"
#define PREVIEW_EMPTY                                                              \
    "{\"mediaType\":\"application/vnd.oci.empty.v1+json\",\"digest\":\"sha256:"    \
    "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a\",\"size\":2}"
#define PREVIEW "{\"schemaVersion\":2,\"mediaType\":\"" PREVIEW_TYPE "\",\"config\":" PREVIEW_EMPTY ",\"layers\":[" PREVIEW_EMPTY "]}"

int rate_preview_run(struct http_req *r, struct err *err)
{
    struct str body = STR_LIT(PREVIEW);
    struct digest d;
    char text[DIGEST_TEXT_MAX];
    (void)err;
    if (!rate_pull(r, r->method == HTTP_GET))
        return 0;
    hash_bytes(DIGEST_SHA256, body.p, body.n, &d);
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT(PREVIEW_TYPE));
    http_add(r, "Docker-Content-Digest", str_of(digest_text(&d, text)));
    http_send(r, body);
    return 0;
}
