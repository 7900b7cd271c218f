/* WebAuthn's JSON: options for the browser, and its answer. */
#include "base/json.h"
#include "crypt/webauthn.h"

static const struct json_caps answer_caps = {WEBAUTHN_ANSWER_MAX, 16, 1024};

/* --- options */

static void add_bytes(struct buf *b, struct str bytes)
{
    char text[(WEBAUTHN_ID_MAX * 4) / 3 + 4];
    BUG_ON(bytes.n > WEBAUTHN_ID_MAX);
    buf_char(b, '"');
    buf_add(b, text, base64url_encode(text, bytes.p, bytes.n));
    buf_char(b, '"');
}

static void add_ids(struct buf *b, const struct str *ids, size_t n)
{
    buf_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        buf_cstr(b, i > 0 ? ",{\"type\":\"public-key\",\"id\":" : "{\"type\":\"public-key\",\"id\":");
        add_bytes(b, ids[i]);
        buf_char(b, '}');
    }
    buf_char(b, ']');
}

static void add_challenge(struct buf *b, const struct webauthn_ask *ask)
{
    buf_cstr(b, "\"challenge\":");
    add_bytes(b, (struct str){(const char *)ask->challenge, WEBAUTHN_CHALLENGE});
    buf_printf(b, ",\"timeout\":%d", WEBAUTHN_TIMEOUT * 1000);
}

static const char *verification(const struct webauthn_ask *ask) { return ask->verify_user ? "required" : "preferred"; }

void webauthn_creation_json(struct buf *b, const struct webauthn_ask *ask, struct str handle, struct str name,
                            struct str display, const struct str *ids, size_t n)
{
    BUG_ON(handle.n == 0 || handle.n > WEBAUTHN_HANDLE_MAX);
    buf_cstr(b, "{\"rp\":{\"id\":");
    buf_json(b, str_of(ask->site.rp_id));
    buf_cstr(b, ",\"name\":");
    buf_json(b, str_of(ask->site.name));
    buf_cstr(b, "},\"user\":{\"id\":");
    add_bytes(b, handle);
    buf_cstr(b, ",\"name\":");
    buf_json(b, name);
    buf_cstr(b, ",\"displayName\":");
    buf_json(b, display);
    buf_cstr(b, "},");
    add_challenge(b, ask);
    buf_cstr(b, ",\"pubKeyCredParams\":[{\"type\":\"public-key\",\"alg\":-8},{\"type\":\"public-key\",\"alg\":-7},"
                "{\"type\":\"public-key\",\"alg\":-257}],\"attestation\":\"none\",\"excludeCredentials\":");
    add_ids(b, ids, n);
    buf_printf(b, ",\"authenticatorSelection\":{\"residentKey\":\"preferred\",\"requireResidentKey\":false,"
                  "\"userVerification\":\"%s\"}}", verification(ask));
}

void webauthn_request_json(struct buf *b, const struct webauthn_ask *ask, const struct str *ids, size_t n)
{
    buf_char(b, '{');
    add_challenge(b, ask);
    buf_cstr(b, ",\"rpId\":");
    buf_json(b, str_of(ask->site.rp_id));
    buf_printf(b, ",\"userVerification\":\"%s\",\"allowCredentials\":", verification(ask));
    add_ids(b, ids, n);
    buf_char(b, '}');
}

/* --- answer */

static int wrong(struct err *err, const char *name)
{
    return err_set(err, ERR_INVALID, "the security key's answer: %s is missing or not base64url", name);
}

static int bytes_of(struct arena *a, const json_t *o, const char *name, bool must, struct str *ret, struct err *err)
{
    const json_t *v = json_object_get(o, name);
    *ret = (struct str){NULL, 0};
    if (!must && (v == NULL || json_is_null(v)))
        return 0;
    if (!json_is_string(v))
        return wrong(err, name);
    size_t n = json_string_length(v);
    uint8_t *out = arena_alloc(a, n + 1);
    long len = base64url_decode(out, n, (struct str){json_string_value(v), n});
    if (len < 0 || (must && len == 0))
        return wrong(err, name);
    *ret = (struct str){(const char *)out, (size_t)len};
    return 0;
}

static int take_answer(struct arena *a, const json_t *doc, struct webauthn_answer *w, struct err *err)
{
    const json_t *type = json_object_get(doc, "type"), *r = json_object_get(doc, "response");
    struct str raw;
    if (!json_is_string(type) || strcmp(json_string_value(type), "public-key") != 0)
        return err_set(err, ERR_INVALID, "the security key's answer: type is not public-key");
    bool create = json_object_get(r, "attestationObject") != NULL;
    int rc;
    if ((rc = bytes_of(a, doc, "id", true, &w->id, err)) < 0 || (rc = bytes_of(a, doc, "rawId", false, &raw, err)) < 0 ||
        (rc = bytes_of(a, r, "clientDataJSON", true, &w->client_data, err)) < 0)
        return rc;
    if (raw.p != NULL && !str_eq(raw, w->id))
        return err_set(err, ERR_INVALID, "the security key's answer: id and rawId differ");
    if (create)
        return bytes_of(a, r, "attestationObject", true, &w->attestation, err);
    if ((rc = bytes_of(a, r, "authenticatorData", true, &w->auth_data, err)) < 0 ||
        (rc = bytes_of(a, r, "signature", true, &w->signature, err)) < 0)
        return rc;
    return bytes_of(a, r, "userHandle", false, &w->handle, err);
}

int webauthn_answer_parse(struct arena *a, struct str json, struct webauthn_answer *ret, struct err *err)
{
    json_t *doc = NULL;
    struct webauthn_answer w = {0};
    int rc = json_strict(json, answer_caps, &doc, err);
    if (rc < 0)
        return rc == ERR_TOO_LARGE ? rc : err_wrap(err, "the security key's answer");
    rc = take_answer(a, doc, &w, err);
    json_decref(doc);
    if (rc == 0)
        *ret = w;
    return rc;
}
