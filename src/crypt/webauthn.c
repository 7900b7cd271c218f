/* WebAuthn's checks (W3C level 2, §7.1 and §7.2), each with words of its own. See webauthn.h. */
#include "crypt/webauthn.h"
#include "base/json.h"
#include "crypt/cbor_int.h"
#include "crypt/hash.h"
#include "crypt/pubkey_int.h"
#include "crypt/secret.h"

static const struct json_caps client_caps = {8192, 8, 256};
enum { RP_HASH = 32, FIXED = RP_HASH + 1 + 4, AAGUID = 16 };
enum { UP = 1, UV = 4, BE = 8, BS = 16, AT = 64, ED = 128 }; /* flags of authenticator data, §6.1 */
enum { COSE_KTY = 1, COSE_ALG = 3, COSE_A = -1, COSE_B = -2, COSE_C = -3 };

static int refuse(struct err *err, const char *why)
{
    return err_set(err, ERR_UNAUTHORIZED, "the security key's answer is refused: %s", why);
}

/* --- client data: what the browser saw */

static struct str member(const json_t *o, const char *name)
{
    const json_t *v = json_object_get(o, name);
    return (struct str){json_string_value(v), json_string_length(v)};
}

static bool is_challenge(struct str text, const uint8_t want[WEBAUTHN_CHALLENGE])
{
    uint8_t got[WEBAUTHN_CHALLENGE];
    return text.p != NULL && base64url_decode(got, sizeof got, text) == WEBAUTHN_CHALLENGE && secret_equal(got, want, sizeof got);
}

static int check_members(const json_t *doc, const struct webauthn_ask *ask, const char *type, struct err *err)
{
    const json_t *cross = json_object_get(doc, "crossOrigin");
    if (!str_is(member(doc, "type"), type))
        return err_set(err, ERR_UNAUTHORIZED, "the security key's answer is refused: its type is not %s", type);
    if (!is_challenge(member(doc, "challenge"), ask->challenge))
        return refuse(err, "it answers another challenge");
    if (!str_is(member(doc, "origin"), ask->site.origin))
        return refuse(err, "it was made for another origin");
    if (cross != NULL && !json_is_false(cross))
        return refuse(err, "it was made inside another site's page (crossOrigin)");
    if (json_object_get(doc, "topOrigin") != NULL)
        return refuse(err, "it was made inside another site's page (topOrigin)");
    return 0;
}

static int check_client_data(struct str text, const struct webauthn_ask *ask, const char *type, struct err *err)
{
    json_t *doc = NULL;
    struct err why = {0};
    if (json_strict(text, client_caps, &doc, &why) < 0)
        return err_set(err, ERR_UNAUTHORIZED, "the security key's answer is refused: client data: %s", why.text);
    int rc = check_members(doc, ask, type, err);
    json_decref(doc);
    return rc;
}

/* --- public keys in COSE form (RFC 9053) */

struct cose {
    int kty, alg, curve;
    bool has[5]; /* kty, alg, then labels -1, -2, -3 */
    struct str a, b, c;
};

static int slot_of(int label)
{
    return label == COSE_KTY ? 0 : label == COSE_ALG ? 1 : label <= COSE_A && label >= COSE_C ? 1 - label : -1;
}

/* Exactly the members of a public key, of the right types. */
static bool cose_read(struct cbor *c, struct cose *k)
{
    struct cbor_item map, label, v;
    if (!cbor_next(c, &map) || map.type != CBOR_MAP || map.v > ARRAY_LEN(k->has))
        return false;
    for (uint64_t i = 0; i < map.v; i++) {
        int name = 0;
        if (!cbor_next(c, &label) || !cbor_small_int(&label, &name) || !cbor_next(c, &v))
            return false;
        int slot = slot_of(name);
        if (slot < 0 || k->has[slot])
            return false;
        k->has[slot] = true;
        struct str *bytes = name == COSE_A ? &k->a : name == COSE_B ? &k->b : &k->c;
        int *number = name == COSE_KTY ? &k->kty : name == COSE_ALG ? &k->alg : &k->curve;
        if (v.type == CBOR_BYTES && name < 0)
            *bytes = v.text;
        else if (name < COSE_A || !cbor_small_int(&v, number))
            return false;
    }
    return k->has[0] && k->has[1];
}

/* The key and its algorithm, or NULL with the reason. Labels: EC -1 curve, -2 x, -3 y; OKP -1 curve, -2 x; RSA -1 n, -2 e. */
static EVP_PKEY *cose_key(const struct cose *k, enum jwt_alg *ret_alg, const char **why)
{
    bool c = k->has[4];
    *why = "its key does not fit its algorithm";
    switch (k->alg) {
    case -7:
        *ret_alg = JWT_ES256;
        return k->kty == 2 && k->curve == 1 && c ? pubkey_ec(false, k->b, k->c, why) : NULL;
    case -8:
        *ret_alg = JWT_EDDSA;
        return k->kty == 1 && k->curve == 6 && !c ? pubkey_ed25519(k->b, why) : NULL;
    case -257:
        *ret_alg = JWT_RS256;
        return k->kty == 3 && !c && k->a.p != NULL && k->b.p != NULL ? pubkey_rsa(k->a, k->b, why) : NULL;
    default:
        *why = "its algorithm was not asked for";
        return NULL;
    }
}

/* One COSE key at the front of c. */
static EVP_PKEY *read_key(struct cbor *c, enum jwt_alg *ret_alg, const char **why)
{
    struct cose k = {0};
    *why = "its public key is malformed";
    return cose_read(c, &k) ? cose_key(&k, ret_alg, why) : NULL;
}

/* --- authenticator data: what the key says */

struct auth {
    unsigned flags;
    uint32_t count;
    struct str rest; /* behind the fixed part */
};

static int read_auth(struct str data, const struct webauthn_ask *ask, struct auth *ret, struct err *err)
{
    struct digest rp;
    const uint8_t *p = (const uint8_t *)data.p;
    if (data.n < FIXED)
        return refuse(err, "its authenticator data are cut");
    hash_bytes(DIGEST_SHA256, ask->site.rp_id, strlen(ask->site.rp_id), &rp);
    if (memcmp(p, rp.bytes, RP_HASH) != 0)
        return refuse(err, "it was made for another site (rpIdHash)");
    unsigned flags = p[RP_HASH];
    if ((flags & UP) == 0)
        return refuse(err, "nobody was there (UP)");
    if (ask->verify_user && (flags & UV) == 0)
        return refuse(err, "the user was not verified by PIN or finger (UV)");
    if ((flags & BS) != 0 && (flags & BE) == 0)
        return refuse(err, "it says to be backed up but not able to be (BS without BE)");
    const uint8_t *n = p + RP_HASH + 1;
    *ret = (struct auth){flags, (uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3],
                         {data.p + FIXED, data.n - FIXED}};
    return 0;
}

/* Extensions, if the flag says so, and nothing behind them. */
static int check_end(const struct auth *a, struct cbor *c, struct err *err)
{
    if ((a->flags & ED) != 0) {
        bool map = c->at < c->n && c->p[c->at] >> 5 == CBOR_MAP;
        if (!map || !cbor_skip(c, NULL))
            return refuse(err, "its extensions are malformed");
    }
    return cbor_done(c) ? 0 : refuse(err, "bytes stand behind its authenticator data");
}

/* aaguid, length and id, key (§6.5.1). */
static int read_credential(const struct auth *a, struct str id, struct webauthn_credential *ret, struct err *err)
{
    struct cbor c = cbor_of(a->rest);
    if ((a->flags & AT) == 0)
        return refuse(err, "it brings no new key (AT)");
    if (c.n < AAGUID + 2)
        return refuse(err, "its authenticator data are cut");
    size_t id_n = (size_t)c.p[AAGUID] << 8 | c.p[AAGUID + 1];
    if (id_n < WEBAUTHN_ID_MIN || id_n > WEBAUTHN_ID_MAX)
        return refuse(err, "its credential id has not 16 to 1023 bytes");
    if (c.n - AAGUID - 2 < id_n)
        return refuse(err, "its credential id is cut");
    if (!str_eq(id, (struct str){a->rest.p + AAGUID + 2, id_n}))
        return refuse(err, "its credential id is another one inside than outside");
    memcpy(ret->aaguid, c.p, AAGUID);
    memcpy(ret->id, id.p, id_n);
    ret->id_n = id_n;
    c.at = AAGUID + 2 + id_n;

    enum jwt_alg alg = JWT_ES256;
    const char *why;
    size_t from = c.at;
    EVP_PKEY *key = read_key(&c, &alg, &why);
    EVP_PKEY_free(key);
    if (key == NULL)
        return refuse(err, why);
    BUG_ON(c.at - from > WEBAUTHN_KEY_MAX);
    ret->key_n = c.at - from;
    memcpy(ret->key, c.p + from, ret->key_n);
    return check_end(a, &c, err);
}

static void remember(struct webauthn_credential *c, const struct auth *a)
{
    c->count = a->count;
    c->verified = (a->flags & UV) != 0;
    c->backup_eligible = (a->flags & BE) != 0;
    c->backed_up = (a->flags & BS) != 0;
}

/* --- the two ceremonies */

/* {"fmt": text, "attStmt": map, "authData": bytes} and nothing else (§6.5). */
static int read_attestation(struct str bytes, struct str *ret_auth, struct err *err)
{
    struct cbor c = cbor_of(bytes), all = c;
    struct cbor_item map, key, v = {0}, fmt = {0}, data = {0};
    struct str statement = {NULL, 0};
    if (!cbor_skip(&all, NULL) || !cbor_next(&c, &map) || map.type != CBOR_MAP)
        return refuse(err, "its attestation is malformed");
    if (!cbor_done(&all))
        return refuse(err, "bytes stand behind its attestation");
    for (uint64_t i = 0; i < map.v; i++) {
        if (!cbor_next(&c, &key))
            return refuse(err, "its attestation is malformed");
        bool stmt = str_is(key.text, "attStmt");
        if (stmt ? !cbor_skip(&c, &statement) : !cbor_next(&c, &v))
            return refuse(err, "its attestation is malformed");
        if (str_is(key.text, "fmt") && v.type == CBOR_TEXT)
            fmt = v;
        else if (str_is(key.text, "authData") && v.type == CBOR_BYTES)
            data = v;
        else if (!stmt || (uint8_t)statement.p[0] >> 5 != CBOR_MAP)
            return refuse(err, "its attestation is malformed");
    }
    if (fmt.text.n == 0 || data.text.p == NULL || statement.p == NULL)
        return refuse(err, "its attestation has not exactly fmt, attStmt and authData");
    if (str_is(fmt.text, "none") && statement.n != 1)
        return refuse(err, "its attestation is none and says something all the same");
    *ret_auth = data.text;
    return 0;
}

int webauthn_register(const struct webauthn_ask *ask, const struct webauthn_answer *answer,
                      struct webauthn_credential *ret, struct err *err)
{
    struct str data = {NULL, 0};
    struct auth a;
    struct webauthn_credential c = {0};
    int rc = check_client_data(answer->client_data, ask, "webauthn.create", err);
    if (rc < 0 || (rc = read_attestation(answer->attestation, &data, err)) < 0 || (rc = read_auth(data, ask, &a, err)) < 0 ||
        (rc = read_credential(&a, answer->id, &c, err)) < 0)
        return rc;
    remember(&c, &a);
    *ret = c;
    return 0;
}

/* The signature is over the authenticator data and the hash of the client data (§7.2, 19-20). */
static int check_signature(const struct webauthn_credential *known, const struct webauthn_answer *answer, struct err *err)
{
    enum jwt_alg alg = JWT_ES256;
    const char *why;
    struct digest hash;
    struct cbor c = cbor_of((struct str){(const char *)known->key, known->key_n});
    EVP_PKEY *key = read_key(&c, &alg, &why);
    if (key == NULL || !cbor_done(&c)) {
        EVP_PKEY_free(key);
        return err_set(err, ERR_CORRUPT, "the stored key of a security key is damaged: %s", key ? "bytes stand behind it" : why);
    }
    struct buf msg;
    buf_init(&msg, WEBAUTHN_ANSWER_MAX + sizeof hash.bytes);
    hash_bytes(DIGEST_SHA256, answer->client_data.p, answer->client_data.n, &hash);
    buf_str(&msg, answer->auth_data);
    buf_add(&msg, hash.bytes, hash.len);
    bool good = !msg.overflow && pubkey_verify(key, alg, true, buf_view(&msg), answer->signature);
    buf_release(&msg);
    EVP_PKEY_free(key);
    return good ? 0 : refuse(err, "its signature is wrong");
}

/* What stands beside the signature in an answer to `get`. */
static int check_login_data(const struct webauthn_credential *known, const struct auth *a, struct err *err)
{
    struct cbor c = cbor_of(a->rest);
    if ((a->flags & AT) != 0)
        return refuse(err, "it brings a key where none was asked for (AT)");
    if (((a->flags & BE) != 0) != known->backup_eligible)
        return refuse(err, "it says something else about backups than when the key was added (BE)");
    return check_end(a, &c, err);
}

int webauthn_login(const struct webauthn_ask *ask, const struct webauthn_credential *known, struct str handle,
                   const struct webauthn_answer *answer, struct webauthn_credential *ret_now, struct err *err)
{
    struct auth a;
    if (!str_eq(answer->id, (struct str){(const char *)known->id, known->id_n}))
        return refuse(err, "it is of another key");
    if (answer->handle.n > 0 && !str_eq(answer->handle, handle))
        return refuse(err, "it is of another user");
    int rc = check_client_data(answer->client_data, ask, "webauthn.get", err);
    if (rc < 0 || (rc = read_auth(answer->auth_data, ask, &a, err)) < 0 || (rc = check_login_data(known, &a, err)) < 0 ||
        (rc = check_signature(known, answer, err)) < 0)
        return rc;
    /* Some keys do not count and always say 0. */
    if ((a.count != 0 || known->count != 0) && a.count <= known->count)
        return err_set(err, ERR_DENIED, "the security key's answer is refused: its counter did not go up, so there may be a "
                                        "copy of the key");
    struct webauthn_credential now = *known;
    remember(&now, &a);
    *ret_now = now;
    return 0;
}
