/* Others' JSON Web Keys and the tokens signed with them: single sign-on and keyless CI (RFC 7515, 7517,
 * 7518, 7519, 8037). Our own tokens are ident's and know one algorithm; see crypt/secret.h.
 *
 * Public keys only and signatures only: no HMAC, no `none`, nothing that a token brings along to check
 * itself with (T01, T11). Nothing here asks a network or a clock. */
#ifndef CRYPT_JWK_H
#define CRYPT_JWK_H
#include "base/json.h"

#define JWT_ALGS(X) X(RS256) X(RS384) X(RS512) X(PS256) X(ES256) X(ES384) X(EDDSA)
enum jwt_alg {
#define X(name) JWT_##name,
    JWT_ALGS(X)
#undef X
        JWT_ALG_COUNT
};
enum { JWKS_BYTES_MAX = 256 << 10, JWKS_KEYS_MAX = 64, JWT_BYTES_MAX = 16 << 10, JWT_KID_MAX = 256 };
#define JWT_ALG_BIT(alg) (1u << (alg))
#define JWT_ALGS_ALL ((1u << JWT_ALG_COUNT) - 1)
/* 0 and *ret for "RS256", "EdDSA", ...; -1 for what is not taken. */
int jwt_alg_of(struct str name, enum jwt_alg *ret);

/* A key set ({"keys":[...]}). RSA of 2048 to 8192 bits, P-256, P-384, Ed25519. Keys of other kinds or
 * uses (encryption) are passed over; a set with a private or malformed key, or with one kid twice
 * for a kind of key, is refused: ERR_INVALID with the number of the key. Read-only afterwards: threads may share it. */
struct jwks;
int jwks_parse(struct str text, struct jwks **ret, struct err *err);
void jwks_free(struct jwks *set); /* NULL-safe */
size_t jwks_count(const struct jwks *set); /* keys that can be used */

/* A compact JWS whose signature is right. Header and claims are objects of strict JSON. */
struct jwt {
    json_t *header, *claims;
};
/* algs: bits of those that the caller takes. ERR_UNAUTHORIZED with the reason; ERR_NOT_FOUND when the set
 * has no key of the token's kid: the issuer may have a newer set. A token without kid is taken only if
 * exactly one key fits. Release with jwt_release. */
int jwt_verify(const struct jwks *set, struct str token, unsigned algs, struct jwt *ret, struct err *err);
void jwt_release(struct jwt *t);
/* Claims that nobody vouches for: to find out whose keys to ask, nothing else. */
int jwt_peek(struct str token, json_t **ret_claims, struct err *err);
bool jwt_looks(struct str text); /* three parts, the first an object in base64url: no password by accident */

/* What the claims must say. Seconds since 1970. */
struct jwt_expect {
    const char *iss, *aud;
    const char *nonce;   /* NULL: not asked for */
    const char *azp;     /* client id (OIDC core §3.1.3.7): `azp` must be it if there is one, and must be
                            there with several `aud`; NULL: not looked at */
    int64_t now, skew;   /* skew: how far clocks may differ */
    int64_t max_age;     /* how old `iat` may be, which must be there then; 0: any */
};
/* iss, aud, sub, exp must be there; nbf and iat are looked at if they are. ERR_UNAUTHORIZED with the claim. */
int jwt_claims_check(const json_t *claims, const struct jwt_expect *want, struct err *err);
#endif
