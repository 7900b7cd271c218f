/* WebAuthn (W3C, level 2; T12): what the server asks of a security key or passkey, and the checks of what
 * comes back. Own code, for libfido2 talks to authenticators: docs/adr/0008.
 *
 * Attestation: asked for `none`. A statement that comes all the same must be well-formed and is then
 * ignored: it would only say which make the key is, and Berth takes every make.
 * Algorithms: EdDSA (Ed25519), ES256 (P-256), RS256.
 *
 * The caller keeps the challenge beside the session, for five minutes, and deletes it BEFORE it checks the
 * answer: a second use finds none. It knows whose credential an id is. No function here keeps state. */
#ifndef CRYPT_WEBAUTHN_H
#define CRYPT_WEBAUTHN_H
#include "base/err.h"
enum {
    WEBAUTHN_CHALLENGE = 32,
    WEBAUTHN_TIMEOUT = 300,       /* seconds */
    WEBAUTHN_ID_MIN = 16,         /* of a credential id, bytes */
    WEBAUTHN_ID_MAX = 1023,
    WEBAUTHN_KEY_MAX = 1100,      /* COSE form of an RSA key of 8192 bits */
    WEBAUTHN_HANDLE_MAX = 64,     /* of a user handle */
    WEBAUTHN_ANSWER_MAX = 64 << 10 /* JSON of a browser's answer */
};
struct webauthn_site {
    const char *rp_id;  /* "hub.example": a name, never an address */
    const char *name;   /* as people read it */
    const char *origin; /* "https://hub.example", exactly as browsers say it */
};
struct webauthn_ask { /* one ceremony */
    struct webauthn_site site;
    uint8_t challenge[WEBAUTHN_CHALLENGE]; /* random */
    bool verify_user; /* PIN or finger must have been checked (a passkey in place of the password) */
};
struct webauthn_credential { /* kept for each key; none of it is secret */
    size_t id_n, key_n;
    uint8_t id[WEBAUTHN_ID_MAX], key[WEBAUTHN_KEY_MAX]; /* key: COSE, as it came */
    uint8_t aaguid[16];
    uint32_t count;
    bool verified;        /* the user was verified this time */
    bool backup_eligible; /* a passkey that may be copied to other devices; never changes */
    bool backed_up;
};

/* Options as JSON, for navigator.credentials.create and .get (the shape of parseCreationOptionsFromJSON,
 * parseRequestOptionsFromJSON). handle: 1 to 64 random bytes that name the user. ids: those the user has
 * already (create), those that may answer (get; none: any passkey of the site). */
void webauthn_creation_json(struct buf *b, const struct webauthn_ask *ask, struct str handle, struct str name,
                            struct str display, const struct str *ids, size_t n);
void webauthn_request_json(struct buf *b, const struct webauthn_ask *ask, const struct str *ids, size_t n);

/* A browser's answer (the shape of PublicKeyCredential.toJSON): bytes in the arena, not yet believed.
 * ERR_INVALID. id says which credential to look up. */
struct webauthn_answer {
    struct str id, client_data;
    struct str attestation;            /* of create; empty otherwise */
    struct str auth_data, signature;   /* of get; empty otherwise */
    struct str handle;                 /* of get; may be empty */
};
int webauthn_answer_parse(struct arena *a, struct str json, struct webauthn_answer *ret, struct err *err);

/* A new key. ERR_UNAUTHORIZED with the check that failed. That the id is new to the hub is the caller's check. */
int webauthn_register(const struct webauthn_ask *ask, const struct webauthn_answer *answer,
                      struct webauthn_credential *ret, struct err *err);
/* A login with a known key. handle: the user's. On success *ret_now is what to store: count, verified and
 * backed_up of now, the rest as known. ERR_UNAUTHORIZED with the check that failed; ERR_DENIED: all is right
 * but the counter, so a copy of the key is at work: tell the owner. Stored by an update that demands the
 * old count, so that one of two answers at once wins. */
int webauthn_login(const struct webauthn_ask *ask, const struct webauthn_credential *known, struct str handle,
                   const struct webauthn_answer *answer, struct webauthn_credential *ret_now, struct err *err);
#endif
