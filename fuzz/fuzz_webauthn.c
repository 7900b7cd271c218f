/* Answers of security keys. First byte, modulo 5: the rest is
 *   0 an attestation object            1 authenticator data behind rpIdHash, wrapped as an attestation
 *   2 client data of a registration    3 authenticator data behind rpIdHash, signed as a login
 *   4 the JSON of an answer
 * What is taken keeps every promise of webauthn.h, and its key can be read again. */
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "crypt/webauthn.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { RP_HASH = 32, FLAGS = RP_HASH, UP = 1, BE = 8, BS = 16, AT = 64, ED = 128 };
static char id[] = "sixteen-bytes-id", seed[] = "thirty-two bytes of a fixed seed";
/* The challenge is 32 zeros. */
static char create_data[] =
    "{\"type\":\"webauthn.create\",\"challenge\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"origin\":\"https://hub.example\"}";
static char get_data[] =
    "{\"type\":\"webauthn.get\",\"challenge\":\"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\",\"origin\":\"https://hub.example\"}";
static const struct webauthn_ask ask = {.site = {"hub.example", "Hub", "https://hub.example"}};

static void add_rp_hash(struct buf *b)
{
    struct digest d;
    hash_bytes(DIGEST_SHA256, ask.site.rp_id, strlen(ask.site.rp_id), &d);
    buf_add(b, d.bytes, d.len);
}

static void check_known(const struct webauthn_credential *c)
{
    struct webauthn_credential now;
    struct err err = {0};
    struct buf auth;
    buf_init(&auth, 256);
    add_rp_hash(&auth);
    buf_char(&auth, (char)(UP | (c->backup_eligible ? BE : 0)));
    buf_add(&auth, "\xff\xff\xff\xff", 4);
    struct webauthn_answer a = {.id = {(const char *)c->id, c->id_n}, .client_data = str_of(get_data), .auth_data = buf_view(&auth),
                                .signature = STR_LIT("no signature")};
    BUG_ON(webauthn_login(&ask, c, STR_LIT("u"), &a, &now, &err) != ERR_UNAUTHORIZED);
    BUG_ON(strstr(err.text, "signature") == NULL);
    buf_release(&auth);
}

static void check_register(struct str client_data, struct str attestation)
{
    struct webauthn_credential c;
    struct err err = {0};
    struct webauthn_answer a = {.id = str_of(id), .client_data = client_data, .attestation = attestation};
    int rc = webauthn_register(&ask, &a, &c, &err);
    if (rc != 0) {
        BUG_ON(rc != ERR_UNAUTHORIZED || err.text[0] == '\0');
        return;
    }
    BUG_ON(!str_eq(a.id, (struct str){(const char *)c.id, c.id_n}) || (c.backed_up && !c.backup_eligible));
    check_known(&c);
}

/* {"fmt": "none", "attStmt": {}, "authData": rpIdHash + rest} */
static void wrapped(struct str rest, struct buf *b)
{
    static const char head[] = "\xa3\x63" "fmt\x64none\x67" "attStmt\xa0\x68" "authData";
    size_t n = rest.n + RP_HASH;
    buf_add(b, head, sizeof head - 1);
    if (n < 256) {
        buf_char(b, 0x58);
    } else {
        buf_char(b, 0x59);
        buf_char(b, (char)(uint8_t)(n >> 8));
    }
    buf_char(b, (char)(uint8_t)n);
    add_rp_hash(b);
    buf_str(b, rest);
}

/* The key is Ed25519, so what the fuzzer wrote can be signed. */
static void signed_login(struct str rest)
{
    struct sign_key key;
    struct digest hash;
    uint8_t sig[64];
    struct webauthn_credential known = {.id_n = sizeof id - 1, .count = 7}, now;
    struct err err = {0};
    struct buf msg;
    sign_key_from_seed(&key, (const uint8_t *)seed);
    memcpy(known.id, id, known.id_n);
    static const char cose[] = "\xa4\x01\x01\x03\x27\x20\x06\x21\x58\x20";
    memcpy(known.key, cose, sizeof cose - 1);
    memcpy(known.key + sizeof cose - 1, key.pub, sizeof key.pub);
    known.key_n = sizeof cose - 1 + sizeof key.pub;
    buf_init(&msg, 1 << 20);
    add_rp_hash(&msg);
    buf_str(&msg, rest);
    size_t auth_n = msg.n;
    hash_bytes(DIGEST_SHA256, get_data, sizeof get_data - 1, &hash);
    buf_add(&msg, hash.bytes, hash.len);
    sign_make(&key, buf_view(&msg), sig);
    struct webauthn_answer a = {.id = str_of(id), .client_data = str_of(get_data), .auth_data = {msg.p, auth_n}, .signature = {(char *)sig, sizeof sig}};
    int rc = webauthn_login(&ask, &known, STR_LIT("u"), &a, &now, &err);
    unsigned flags = auth_n > FLAGS ? (uint8_t)msg.p[FLAGS] : 0;
    if (rc == 0)
        BUG_ON(auth_n < 37 || (flags & UP) == 0 || (flags & (AT | BE | BS)) != 0 || ((flags & ED) == 0) != (auth_n == 37) || now.count <= 7);
    else
        BUG_ON((rc != ERR_UNAUTHORIZED && rc != ERR_DENIED) || strstr(err.text, "signature") != NULL);
    buf_release(&msg);
}

static void answer(struct str json)
{
    struct arena arena;
    struct webauthn_answer a;
    struct err err = {0};
    arena_init(&arena);
    int rc = webauthn_answer_parse(&arena, json, &a, &err);
    if (rc == 0)
        BUG_ON(a.id.n == 0 || a.client_data.n == 0 || (a.attestation.n == 0) == (a.auth_data.n == 0) || (a.auth_data.n == 0) != (a.signature.n == 0));
    else
        BUG_ON((rc != ERR_INVALID && rc != ERR_TOO_LARGE) || err.text[0] == '\0');
    arena_release(&arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0 || size > 32768)
        return 0;
    BUG_ON(secret_setup(NULL) < 0);
    struct str rest = {(const char *)data + 1, size - 1};
    struct buf b;
    buf_init(&b, 1 << 20);
    switch (data[0] % 5) {
    case 0:
        check_register(str_of(create_data), rest);
        break;
    case 1:
        wrapped(rest, &b);
        check_register(str_of(create_data), buf_view(&b));
        break;
    case 2:
        wrapped(STR_LIT("A"), &b);
        check_register(rest, buf_view(&b));
        break;
    case 3:
        signed_login(rest);
        break;
    default:
        answer(rest);
    }
    buf_release(&b);
    return 0;
}
