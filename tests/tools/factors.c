/* What room crypt says of second factors and others' tokens, for tests/factors: a JSON object a line in, one out.
 *   {"do": "creation" | "request" | "register" | "login" | "jwt" | "totp" | "token", ...}
 * Out: what came of it, or {"error": NAME, "text": ...}. */
#include "base/json.h"
#include "crypt/jwk.h"
#include "crypt/secret.h"
#include "crypt/token_text.h"
#include "crypt/totp.h"
#include "crypt/webauthn.h"

#include <stdio.h>
#include <stdlib.h>

enum { LINE_MAX = 4 << 20 };
static struct err err;
static struct arena arena;

static const char *text(const json_t *o, const char *name)
{
    const char *v = json_string_value(json_object_get(o, name));
    return v ? v : "";
}

static struct str bytes(const json_t *o, const char *name)
{
    struct str in = str_of(text(o, name));
    uint8_t *out = arena_alloc(&arena, in.n + 1);
    long n = base64url_decode(out, in.n, in);
    BUG_ON(n < 0);
    return (struct str){(char *)out, (size_t)n};
}

static json_t *of_bytes(const void *p, size_t n)
{
    char *out = arena_alloc(&arena, 2 * n + 4);
    (void)base64url_encode(out, p, n);
    return json_string(out);
}

static struct webauthn_ask ask_of(const json_t *in)
{
    struct webauthn_ask ask = {.site = {text(in, "rp"), "The hub", text(in, "origin")}, .verify_user = json_is_true(json_object_get(in, "uv"))};
    struct str challenge = bytes(in, "challenge");
    BUG_ON(challenge.n != sizeof ask.challenge);
    memcpy(ask.challenge, challenge.p, sizeof ask.challenge);
    return ask;
}

/* creation, request: {..., "ids": [...]} -> the options */
static json_t *options(const json_t *in, bool create)
{
    struct webauthn_ask ask = ask_of(in);
    struct str ids[8];
    size_t n = 0, i;
    json_t *id;
    json_array_foreach(json_object_get(in, "ids"), i, id)
    {
        json_t *o = json_pack("{s:O}", "id", id);
        ids[n++] = bytes(o, "id");
        json_decref(o);
    }
    struct buf b;
    buf_init(&b, LINE_MAX);
    if (create)
        webauthn_creation_json(&b, &ask, bytes(in, "handle"), str_of(text(in, "name")), str_of(text(in, "display")), ids, n);
    else
        webauthn_request_json(&b, &ask, ids, n);
    json_t *out = NULL;
    (void)json_strict(buf_view(&b), JSON_CAPS_DEFAULT, &out, &err);
    buf_release(&b);
    return out;
}

static json_t *of_credential(const struct webauthn_credential *c)
{
    return json_pack("{s:o,s:o,s:o,s:I,s:b,s:b,s:b}", "id", of_bytes(c->id, c->id_n), "key", of_bytes(c->key, c->key_n), "aaguid",
                     of_bytes(c->aaguid, sizeof c->aaguid), "count", (json_int_t)c->count, "verified", c->verified, "eligible",
                     c->backup_eligible, "backed_up", c->backed_up);
}

/* register: {..., "answer": text}; login: {..., "answer": text, "handle", "credential": as given} */
static json_t *ceremony(const json_t *in, bool create)
{
    struct webauthn_ask ask = ask_of(in);
    struct webauthn_answer answer;
    struct webauthn_credential known = {0}, ret;
    if (webauthn_answer_parse(&arena, str_of(text(in, "answer")), &answer, &err) < 0)
        return NULL;
    if (create)
        return webauthn_register(&ask, &answer, &ret, &err) == 0 ? of_credential(&ret) : NULL;
    const json_t *c = json_object_get(in, "credential");
    struct str id = bytes(c, "id"), key = bytes(c, "key"), aaguid = bytes(c, "aaguid");
    BUG_ON(id.n > sizeof known.id || key.n > sizeof known.key || aaguid.n != sizeof known.aaguid);
    memcpy(known.aaguid, aaguid.p, aaguid.n);
    memcpy(known.id, id.p, known.id_n = id.n);
    memcpy(known.key, key.p, known.key_n = key.n);
    known.count = (uint32_t)json_integer_value(json_object_get(c, "count"));
    known.backup_eligible = json_is_true(json_object_get(c, "eligible"));
    return webauthn_login(&ask, &known, bytes(in, "handle"), &answer, &ret, &err) == 0 ? of_credential(&ret) : NULL;
}

/* {"set": text, "token": text, "algs": [...], "expect": {...} or none} -> {"header", "claims"} */
static json_t *jwt(const json_t *in)
{
    struct jwks *set = NULL;
    struct jwt t = {NULL, NULL};
    unsigned algs = 0;
    size_t i;
    json_t *name, *out = NULL;
    enum jwt_alg alg;
    json_array_foreach(json_object_get(in, "algs"), i, name)
    {
        if (jwt_alg_of(str_of(json_string_value(name)), &alg) == 0)
            algs |= JWT_ALG_BIT(alg);
    }
    const json_t *e = json_object_get(in, "expect");
    struct jwt_expect want = {.iss = text(e, "iss"), .aud = text(e, "aud"), .now = json_integer_value(json_object_get(e, "now")), .skew = 60};
    if (jwks_parse(str_of(text(in, "set")), &set, &err) == 0 && jwt_verify(set, str_of(text(in, "token")), algs, &t, &err) == 0) {
        if (e == NULL || jwt_claims_check(t.claims, &want, &err) == 0)
            out = json_pack("{s:O,s:O}", "header", t.header, "claims", t.claims);
        jwt_release(&t);
    }
    jwks_free(set);
    return out;
}

/* {"secret", "at": seconds, "last": step, "code": text or none} -> {"code", "uri"} or {"step"} */
static json_t *totp(const json_t *in)
{
    char code[TOTP_DIGITS + 1];
    int64_t at = json_integer_value(json_object_get(in, "at")), step = 0;
    struct str secret = bytes(in, "secret"), typed = str_of(text(in, "code"));
    BUG_ON(secret.n != TOTP_SECRET);
    if (typed.n > 0) {
        if (totp_check((const uint8_t *)secret.p, typed, at, json_integer_value(json_object_get(in, "last")), &step, &err) < 0)
            return NULL;
        return json_pack("{s:I}", "step", (json_int_t)step);
    }
    struct buf b;
    buf_init(&b, 4096);
    totp_uri(&b, (const uint8_t *)secret.p, str_of(text(in, "issuer")), str_of(text(in, "account")));
    totp_code((const uint8_t *)secret.p, at / TOTP_PERIOD, code);
    json_t *out = json_pack("{s:s,s:s}", "code", code, "uri", b.p);
    buf_release(&b);
    return out;
}

/* {"key", "kind": number} -> {"text", "hash"} */
static json_t *token(const json_t *in)
{
    char out[TOKEN_TEXT_LEN + 1];
    uint8_t hash[TOKEN_HASH];
    struct str key = bytes(in, "key");
    BUG_ON(key.n != TOKEN_KEY);
    token_text_make((enum token_kind)json_integer_value(json_object_get(in, "kind")), (const uint8_t *)key.p, out, hash);
    return json_pack("{s:s,s:o}", "text", out, "hash", of_bytes(hash, sizeof hash));
}

static json_t *answer_to(const json_t *in)
{
    const struct str what = str_of(text(in, "do"));
    if (str_is(what, "creation") || str_is(what, "request"))
        return options(in, str_is(what, "creation"));
    if (str_is(what, "register") || str_is(what, "login"))
        return ceremony(in, str_is(what, "register"));
    return str_is(what, "jwt") ? jwt(in) : str_is(what, "totp") ? totp(in) : token(in);
}

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    if (secret_setup(&err) < 0)
        return EXIT_FAILURE;
    while (getline(&line, &cap, stdin) > 0) {
        json_t *in = json_loads(line, 0, NULL);
        BUG_ON(in == NULL);
        arena_init(&arena);
        err = (struct err){0};
        json_t *out = answer_to(in);
        if (out == NULL)
            out = json_pack("{s:s,s:s}", "error", err_name(err.code), "text", err.text);
        BUG_ON(out == NULL);
        (void)json_dumpf(out, stdout, JSON_COMPACT);
        (void)putchar('\n');
        (void)fflush(stdout);
        json_decref(out);
        json_decref(in);
        arena_release(&arena);
    }
    free(line);
    return EXIT_SUCCESS;
}
