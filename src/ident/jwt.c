/* Signed tokens: compact JWS (RFC 7515) with EdDSA (RFC 8037), claims as the field's token
 * specification names them. Clients treat them as opaque; only this hub reads them, so exactly the
 * form that token_make writes is accepted. Those of the registry and those of the APIs have keys of
 * their own, so that neither can be taken for the other. `cid` is the random token behind it, 0 a login. */
#include "base/json.h"
#include "ident/ident_int.h"

#include <stdio.h>
#include <stdlib.h>

enum { TOKEN_MAX = 12 << 10, CLOCK_SLACK = 5000000 };
/* Room for the claims beside the header, and what an access entry has beside its name. */
enum { CLAIMS_MAX = (TOKEN_MAX - 192) / 4 * 3, ACCESS_REST = 96 };

static const struct {
    unsigned action;
    const char *name;
} actions[] = {{ACTION_PULL, "pull"}, {ACTION_PUSH, "push"}, {ACTION_DELETE, "delete"}};

static void add_base64url(struct buf *out, struct str in)
{
    char *text = mem_alloc(in.n / 3 * 4 + 8);
    size_t n = base64url_encode(text, in.p, in.n);
    buf_add(out, text, n);
    free(text);
}

static void add_access(struct buf *b, const struct token_scope *s)
{
    bool registry = str_is(s->name, "*"), first = true;
    buf_cstr(b, registry ? "{\"type\":\"registry\",\"name\":\"catalog\",\"actions\":["
                         : "{\"type\":\"repository\",\"name\":");
    if (registry) {
        buf_cstr(b, "\"*\"]}");
        return;
    }
    buf_json(b, s->name);
    buf_cstr(b, ",\"actions\":[");
    for (size_t i = 0; i < ARRAY_LEN(actions); i++)
        if (s->actions & actions[i].action) {
            buf_printf(b, "%s\"%s\"", first ? "" : ",", actions[i].name);
            first = false;
        }
    buf_cstr(b, "]}");
}

static void add_claims(struct buf *b, const struct ident *i, const struct principal *p, int64_t now, int64_t life)
{
    char jti[33];
    int64_t issued = now / 1000000, end = issued + life / 1000000;
    if (p->expires != 0 && p->expires / 1000000 < end)
        end = p->expires / 1000000; /* what is derived does not outlive its parent */
    secret_random_hex(jti, 16);
    buf_cstr(b, "{\"iss\":");
    buf_json(b, str_of(i->service));
    buf_cstr(b, ",\"aud\":");
    buf_json(b, str_of(i->service));
    buf_cstr(b, ",\"sub\":");
    buf_json(b, str_of(p->name));
    buf_printf(b, ",\"epoch\":%lld,\"cid\":%lld,\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld,\"jti\":\"%s\"", (long long)p->epoch,
               (long long)p->credential_id, (long long)issued, (long long)issued, (long long)end, jti);
}

static void sign_claims(const struct sign_key *key, struct buf *claims, struct buf *ret)
{
    char head[96];
    uint8_t sig[64];
    int head_n = snprintf(head, sizeof head, "{\"alg\":\"EdDSA\",\"typ\":\"JWT\",\"kid\":\"%s\"}", key->kid);
    add_base64url(ret, (struct str){head, (size_t)head_n});
    buf_char(ret, '.');
    add_base64url(ret, buf_view(claims));
    BUG_ON(claims->overflow || ret->n > TOKEN_MAX);
    buf_release(claims);
    sign_make(key, buf_view(ret), sig);
    buf_char(ret, '.');
    add_base64url(ret, (struct str){(char *)sig, sizeof sig});
}

void token_make(struct ident *i, const struct principal *p, const struct token_scope *scopes,
                size_t n, int64_t now, struct buf *ret)
{
    struct buf claims;
    buf_init(&claims, TOKEN_MAX);
    add_claims(&claims, i, p, now, atomic_load(&i->token_life));
    buf_cstr(&claims, ",\"access\":[");
    for (size_t k = 0; k < n && claims.n + scopes[k].name.n + ACCESS_REST < CLAIMS_MAX; k++) {
        buf_cstr(&claims, k ? "," : "");
        add_access(&claims, &scopes[k]);
    }
    buf_cstr(&claims, "]}");
    sign_claims(&i->key, &claims, ret);
}

/* Docker Hub's clients read the user's name from a claim of that address. */
void token_make_api(struct ident *i, const struct principal *p, int64_t now, int64_t life, struct buf *ret)
{
    struct buf claims;
    buf_init(&claims, TOKEN_MAX);
    add_claims(&claims, i, p, now, life);
    buf_cstr(&claims, ",\"https://hub.docker.com\":{\"username\":");
    buf_json(&claims, str_of(p->name));
    buf_cstr(&claims, "}}");
    sign_claims(&i->api_key, &claims, ret);
}

/* --- reading */

static int bad(struct err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHORIZED, "invalid token: %s", why);
}

static int decode_json(struct str part, json_t **ret, struct err *err)
{
    char *text = mem_alloc(part.n + 1);
    long n = base64url_decode((uint8_t *)text, part.n + 1, part);
    struct err ignored = {0};
    int rc = n < 0 ? -1
                   : json_strict((struct str){text, (size_t)n},
                                 (struct json_caps){TOKEN_MAX, 8, 4096}, ret, &ignored);
    free(text);
    return rc < 0 ? bad(err, "not well-formed") : 0;
}

static bool text_is(const json_t *object, const char *key, const char *want)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s != NULL && strcmp(s, want) == 0;
}

static unsigned actions_of(const json_t *list)
{
    unsigned set = 0;
    size_t at;
    json_t *v;
    json_array_foreach(list, at, v)
    {
        for (size_t i = 0; i < ARRAY_LEN(actions); i++)
            if (json_is_string(v) && strcmp(json_string_value(v), actions[i].name) == 0)
                set |= actions[i].action;
    }
    return set;
}

static int check_claims(const struct ident *i, const json_t *claims, struct err *err)
{
    int64_t now = clock_now(), most = INT64_MAX / 2000000;
    const json_t *exp = json_object_get(claims, "exp"), *nbf = json_object_get(claims, "nbf"),
                 *sub = json_object_get(claims, "sub"), *cid = json_object_get(claims, "cid");
    if (!json_is_integer(exp) || !json_is_integer(nbf) || !json_is_integer(json_object_get(claims, "epoch")) ||
        !json_is_integer(cid) || json_integer_value(cid) < 0 || !json_is_string(sub) ||
        json_string_length(sub) > NAME_MAX_BYTES)
        return bad(err, "claims are missing");
    if (!text_is(claims, "aud", i->service) || !text_is(claims, "iss", i->service))
        return bad(err, "made for another service");
    if (json_integer_value(exp) > most || json_integer_value(exp) * 1000000 <= now)
        return bad(err, "expired");
    if (json_integer_value(nbf) > most || json_integer_value(nbf) * 1000000 > now + CLOCK_SLACK)
        return bad(err, "not valid yet");
    return 0;
}

static void read_access(struct principal *p, const json_t *access)
{
    size_t at;
    json_t *v;
    json_array_foreach(access, at, v)
    {
        bool registry = text_is(v, "type", "registry");
        const char *name = registry ? "*" : json_string_value(json_object_get(v, "name"));
        char *copy = mem_strdup(name ? name : "");
        p->scopes[p->n_scopes].actions = actions_of(json_object_get(v, "actions"));
        p->scopes[p->n_scopes++].name = str_of(copy);
    }
}

static int read_claims(const struct ident *i, const json_t *claims, bool registry, struct principal **ret, struct err *err)
{
    const json_t *access = json_object_get(claims, "access"), *sub = json_object_get(claims, "sub");
    int rc = check_claims(i, claims, err);
    if (rc < 0)
        return rc;
    if (registry != json_is_array(access) || json_array_size(access) > SCOPES_MAX)
        return bad(err, "claims are missing");
    struct principal *p =
        principal_new((struct str){json_string_value(sub), json_string_length(sub)}, json_array_size(access));
    p->bearer = registry;
    p->signed_for = registry ? SIGNED_REGISTRY : SIGNED_API;
    p->expires = json_integer_value(json_object_get(claims, "exp")) * 1000000;
    p->epoch = json_integer_value(json_object_get(claims, "epoch"));
    p->credential_id = json_integer_value(json_object_get(claims, "cid"));
    p->auth_at = json_integer_value(json_object_get(claims, "iat")) * 1000000;
    read_access(p, access);
    *ret = p;
    return 0;
}

/* By which of the two keys; NULL by neither. */
static const struct sign_key *key_of(const struct ident *i, const json_t *head)
{
    if (!text_is(head, "alg", "EdDSA"))
        return NULL;
    return text_is(head, "kid", i->key.kid) ? &i->key : text_is(head, "kid", i->api_key.kid) ? &i->api_key : NULL;
}

int token_check(const struct ident *i, struct str token, struct principal **ret, struct err *err)
{
    struct str rest = token, head, claims;
    uint8_t sig[66];
    json_t *doc = NULL;
    if (token.n > TOKEN_MAX + 128 || !str_split(&rest, '.', &head) || !str_split(&rest, '.', &claims) ||
        rest.p == NULL)
        return bad(err, "not well-formed");
    struct str signed_part = {token.p, head.n + 1 + claims.n};
    bool sized = base64url_decode(sig, sizeof sig, rest) == 64;
    int rc = sized ? decode_json(head, &doc, err) : bad(err, "not well-formed");
    if (rc < 0)
        return rc;
    const struct sign_key *key = key_of(i, doc);
    json_decref(doc);
    doc = NULL;
    if (key == NULL)
        return bad(err, "signed by another key or algorithm");
    if (!sign_check(key, signed_part, sig))
        return bad(err, "the signature does not match");
    if ((rc = decode_json(claims, &doc, err)) == 0)
        rc = read_claims(i, doc, key == &i->key, ret, err);
    json_decref(doc);
    return rc;
}
