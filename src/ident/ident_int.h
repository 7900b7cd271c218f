/* Private contract of the ident room: what its files share.
 *
 * Who owns what: name.c grammar · right.c the decision · gate.c the gate · change.c a change decided
 * again and recorded · credential.c header -> principal, with its caches · jwt.c the signed form ·
 * mint_api.c /token and /v2/ · once.c one-time codes · factor.c proofs · login_api.c the steps of a login ·
 * session.c sessions of browsers · fail.c what failures slow down · account.c, org.c, repo.c, token.c the rules behind account.h ·
 * *_sql.c statements · *_api.c the routes of /api/v1. */
#ifndef IDENT_IDENT_INT_H
#define IDENT_IDENT_INT_H
#include "base/clock.h"
#include "base/config.h"
#include "base/gen.h"
#include "base/hashkey.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/recovery.h"
#include "crypt/seal.h"
#include "crypt/secret.h"
#include "crypt/token_text.h"
#include "crypt/webauthn.h"
#include "ident/account.h"

#include <pthread.h>
#include <stdatomic.h>

#define API_TOKEN_LIFE_US ((int64_t)3600 * 1000000)
#define KEYLESS_USER "oidc" /* logs in with another issuer's token: docker login -u oidc */
enum { SCOPES_MAX = 32, FAIL_SLOTS = 4096, TOKEN_RECHECK_US = 60000000 };

struct relation { /* what a principal is to a repository */
    struct shared shared;
    unsigned standing;
};
struct ident_loop {
    struct cache *principals; /* secret_tag of the Authorization value -> principal */
    struct cache *facts;      /* canonical name -> repo_fact */
    struct cache *relations;  /* principal, repository -> relation */
    /* Names without a repository, so that asking again costs what it costs for one that may not be
     * read (T17); apart, so that made-up names push no fact out. */
    struct cache *absent;
    struct principal *anonymous;
};
struct fail_slot {
    uint64_t who;      /* hashkey of the address */
    int64_t level, at; /* failures left over, microseconds */
};
struct issuers;
struct directory;
struct provider;
struct ident {
    struct db *db;
    struct policy *policy;
    struct issuers *issuers; /* keys of others; issuer.c */
    struct provider *provider;   /* NULL: none; oidc.c */
    struct directory *directory; /* NULL: none; ldap.c */
    const struct net *net;
    struct audit *audit;
    struct sign_key key, api_key; /* of registry tokens; of the APIs' */
    uint8_t credential_key[32];
    char *url, *realm, *service;
    _Atomic int64_t token_life, max_failures, signup;
    int loops;
    struct ident_loop *loop;
    struct principal *local; /* the machine's administrator: no account */
    /* Basic credentials that were verified, for loops that did not see them yet: workers only. */
    pthread_mutex_t lock;
    struct cache *verified;
    struct fail_slot *fails; /* under lock; FAIL_SLOTS */
    struct store *store;
    pthread_mutex_t rotate_lock, seal_lock;
    struct seal_keys seal;   /* under seal_lock */
    char *origin, rp_id[256]; /* of WebAuthn; rp_id "" when the public URL names an address */
    struct mailer *mailer;   /* NULL: no mail is sent */
};

/* ---- credential.c */
struct principal *principal_new(struct str name, size_t n_scopes); /* one reference */
enum shown { CREDENTIAL_NONE, CREDENTIAL_BASIC, CREDENTIAL_BEARER, CREDENTIAL_BAD };
struct credential {
    enum shown kind;
    struct str value;      /* behind the scheme */
    struct secret_tag tag; /* of the whole header value */
};
struct credential credential_of(const struct http_req *r);
bool principal_stands(const struct principal *p); /* not expired, its account unchanged */
/* Signed tokens are for the registry or for the APIs, never for both. */
bool principal_fits(const struct principal *p, bool registry);
/* Worker: verifies; one reference in *ret. ERR_UNAUTHORIZED, ERR_TOOMANYREQUESTS, ERR_DB... */
int credential_verify(struct ident *i, struct http_req *r, const struct credential *c,
                      struct principal **ret, struct err *err);
bool token_text_looks(struct str text); /* a random token, not a password */
/* A token of another's issuer for a keyless token: its text and when that ends. See keyless.c. */
int credential_exchange(struct ident *i, struct http_req *r, struct str selector, struct str token,
                        char text[TOKEN_TEXT_LEN + 1], int64_t *ret_expires, struct err *err);
void principal_fill(struct principal *p, const struct account *a, uint64_t gen);
/* ERR_UNAUTHORIZED: how to go on without a password; the refusal is recorded. */
int second_factor_missing(struct ident *i, struct http_req *r, const struct principal *p, struct err *err);

/* ---- fail.c: failures slow down their address, and the account they were aimed at */
/* A stranger's failures do not hinder who comes from an address that the account logged in from before. */
int fail_address_check(struct ident *i, const struct http_req *r, struct err *err); /* ERR_TOOMANYREQUESTS */
void fail_address_count(struct ident *i, const struct http_req *r);
enum fail_kind { FAIL_PASSWORD, FAIL_FACTOR };
int fail_account_check(struct ident *i, const struct http_req *r, enum fail_kind kind, struct str account, bool known, struct err *err);
void fail_account_count(struct ident *i, const struct http_req *r, enum fail_kind kind, struct str account, bool known);
/* Whether the account logged in from this address before: 1, 0. */
int address_tx_known(struct db_tx *tx, int64_t account_id, struct str address, struct err *err);
/* A login: remembers the address; 1 when it is new and others were known. */
int address_tx_seen(struct db_tx *tx, int64_t account_id, struct str address, int64_t now, struct err *err);

/* ---- once.c: one-time codes */
enum once_kind { ONCE_LOGIN, ONCE_REGISTER, ONCE_INVITATION, ONCE_RESET, ONCE_VERIFY };
enum { ONCE_PAYLOAD_MAX = 1000 };
struct once {
    int64_t id, kind, account_id, created_at, expires_at;
    char payload[ONCE_PAYLOAD_MAX + 1];
};
struct once_code {
    char text[TOKEN_TEXT_LEN + 1];
    uint8_t hash[TOKEN_HASH];
};
void once_make(const struct ident *i, struct once_code *ret);
/* ERR_UNAUTHORIZED when it can be none. */
int once_hash(const struct ident *i, struct str text, uint8_t ret[TOKEN_HASH], struct err *err);
int once_tx_add(struct db_tx *tx, enum once_kind kind, const uint8_t hash[TOKEN_HASH], int64_t account_id, struct str payload,
                int64_t life, struct err *err);
int once_tx_find(struct db_tx *tx, enum once_kind kind, const uint8_t hash[TOKEN_HASH], struct once *ret, struct err *err); /* 1, 0 */
int once_tx_use(struct db_tx *tx, int64_t id, struct err *err);                        /* 1; 0: somebody was first */
int once_tx_payload(struct db_tx *tx, int64_t id, struct str payload, struct err *err);
void once_map(const struct db_rows *row, void *once);
#define ONCE_COLUMNS "id, kind, coalesce(account_id, 0), created_at, expires_at, payload"

/* ---- factor.c */
enum factor_kind { FACTOR_TOTP = 1, FACTOR_WEBAUTHN, FACTOR_RECOVERY };
struct factor_row {
    int64_t id, account_id, kind, state, counter, flags, created_at, used_at;
    char name[101];
    uint8_t lookup[WEBAUTHN_ID_MAX], data[WEBAUTHN_KEY_MAX + SEAL_OVERHEAD];
    size_t lookup_n, data_n;
};
void factor_map(const struct db_rows *row, void *factor_row);
#define FACTOR_COLUMNS "id, account_id, kind, state, name, lookup, data, counter, flags, created_at, used_at"
int factor_tx_any(struct db_tx *tx, int64_t account_id, struct err *err); /* a good one that is no recovery code: 1, 0 */
/* A TOTP factor's secret by a code; its step is used up. ERR_UNAUTHORIZED. */
int factor_tx_totp(struct db_tx *tx, struct ident *i, const struct factor_row *f, struct str code, struct err *err);
struct webauthn_site factor_site(const struct ident *i);
void factor_handle(const struct ident *i, int64_t account_id, uint8_t ret[32]); /* WebAuthn's name of the user */
int factor_ids(struct db_tx *tx, int64_t account_id, struct arena *a, struct str **ret, size_t *ret_n, struct err *err);
/* Takes the ticket for a proof that is right. In *ret the account as it is. */
int factor_prove(struct http_req *r, struct str ticket, const struct login_proof *proof, struct account *ret, struct err *err);
int ident_seal_load(struct ident *i, struct err *err); /* makes keys/seal.keys at the first start */
int factor_keys_rotate(struct ident *i, int64_t *ret_resealed, struct err *err);

/* ---- login_api.c: the steps, to a principal with one reference */
int login_password(struct http_req *r, struct str name, struct str password, struct principal **ret, struct err *err);
int login_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, struct principal **ret, struct err *err);
int login_ticket(struct http_req *r, int64_t account_id, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err);

/* ---- session.c */
/* An active user as if he had just logged in, but for auth_at. ERR_UNAUTHORIZED. */
int principal_of_user(struct ident *i, struct str name, struct principal **ret, struct err *err);
int session_of_account(struct http_req *r, int64_t account_id, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err); /* a fresh one */
int account_tx_end_logins(struct db_tx *tx, int64_t account_id, struct err *err); /* sessions, and codes for it */

/* ---- mail.c: a bounded queue in memory and one thread that sends */
struct mailer;
int mailer_new(struct mailer **ret, const struct net *net, const struct config *c, struct err *err); /* *ret NULL: mail is not set up */
void mailer_free(struct mailer *m); /* what is in the queue is lost */
void mailer_send(struct mailer *m, struct str to, const char *subject, const char *text); /* NULL-safe; never waits */
int mailer_now(struct mailer *m, struct str to, const char *subject, const char *text, struct err *err);
/* To the account's verified address. */
void mail_account(struct ident *i, const struct account *a, const char *subject, const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* A user's name and password, or any account's name and token. */
int credential_password(struct ident *i, struct http_req *r, struct str user, struct str password,
                        struct principal **ret, struct err *err);

/* ---- jwt.c: compact JWS, EdDSA */
/* Registry token. Scopes that no longer fit into TOKEN_MAX are left out. */
void token_make(struct ident *i, const struct principal *p, const struct token_scope *scopes,
                size_t n, int64_t now, struct buf *ret);
/* Token of the APIs, for as long as `life` us. */
void token_make_api(struct ident *i, const struct principal *p, int64_t now, int64_t life, struct buf *ret);
/* Signature, audience, times and shape; account and credential are the caller's duty. */
int token_check(const struct ident *i, struct str token, struct principal **ret, struct err *err);

/* ---- gate.c */
/* WWW-Authenticate for a request without, or with a bad, credential. */
void gate_challenge(struct http_req *r, const char *error);
/* What is over its owner's quota of private repositories is neither pulled nor pushed. 0, ERR_DENIED. */
int gate_lock(const struct repo_fact *f, enum right right, struct err *err);

/* ---- ident_sql.c: repositories and what somebody is to them */
/* Adds to *standing what rows say; repo_id 0: to the account alone. */
int relation_tx(struct db_tx *tx, const struct principal *p, const struct account *owner, int64_t repo_id,
                unsigned *standing, struct err *err);
/* Whether the organization takes the credential of a member, by its policy. If not, the membership is none. */
bool org_takes(const struct account *org, const struct principal *p);
int namespace_tx_add(struct db_tx *tx, struct str name, int64_t owner_id, int64_t now, struct err *err);
int repo_tx_update(struct db_tx *tx, const struct repo_fact *f, struct str about, struct str full, struct err *err);
int repo_tx_unname(struct db_tx *tx, int64_t repo_id, struct str name, struct err *err); /* and takes all access away */
int grant_tx_put(struct db_tx *tx, int64_t repo_id, int64_t team_id, int level, struct err *err);
int grant_tx_drop(struct db_tx *tx, int64_t repo_id, int64_t team_id, struct err *err); /* 1, 0 */
int repo_tx_add(struct db_tx *tx, int64_t owner_id, struct str name, bool public, int64_t now, struct err *err);

/* ---- account_sql.c */
int account_tx_password(struct db_tx *tx, int64_t id, char ret[PASSWORD_HASH_MAX], struct err *err); /* 1, 0 */
int account_tx_stands(struct db_tx *tx, int64_t id, int64_t epoch, int64_t role, struct err *err); /* 1, 0 */
int account_tx_any(struct db_tx *tx, struct err *err);                                             /* 1, 0 */
/* Account and namespace; hash "" for an organization. */
int account_tx_add(struct db_tx *tx, enum account_kind kind, struct str name, const char *hash, enum site_role role,
                   int64_t *ret_id, struct err *err);
int account_tx_admins(struct db_tx *tx, int64_t *ret, struct err *err); /* active ones */
void account_map(const struct db_rows *row, void *account); /* of ACCOUNT_COLUMNS */
#define ACCOUNT_COLUMNS                                                                                                  \
    "a.id, a.state, a.role, a.epoch, a.created_at, a.last_login_at, coalesce(a.plan_id, 0), a.kind, a.name, a.full_name, " \
    "a.email, a.default_visibility, a.no_public, a.personal_tokens, a.need_mfa, a.no_personal_push, a.default_access, "  \
    "a.token_max_days, a.email_verified_at"
enum { ACCOUNT_COLUMNS_N = 19 };

/* ---- account.c */
int account_tx_name_free(struct db_tx *tx, struct str name, struct err *err); /* 0, ERR_EXISTS */
int account_tx_spare_admin(struct db_tx *tx, const struct account *a, struct err *err); /* 0, ERR_EXISTS: the last one */

/* ---- record.c: rows of the audit log */
struct audit_row record_row(const struct http_req *r, const struct principal *p, const char *action, struct str object);
void record_login(struct ident *i, struct http_req *r, const struct principal *p, struct str name, enum audit_result result);
int record_tx_change(struct db_tx *tx, const struct change *c, struct err *err);

/* ---- org_sql.c */
int member_tx_remove(struct db_tx *tx, int64_t org_id, int64_t user_id, struct err *err); /* and from its teams */
int member_tx_spare_owner(struct db_tx *tx, int64_t org_id, int64_t user_id, struct err *err); /* 0, ERR_EXISTS: the last one */
/* Organizations that nobody else owns: 1 and a name, 0. */
/* May the user push into his own namespace? 0; ERR_DENIED: an organization that he is in forbids it. */
int member_tx_personal_push(struct db_tx *tx, int64_t user_id, struct err *err);
int member_tx_sole_owner(struct db_tx *tx, int64_t user_id, char ret_org[ACCOUNT_NAME_MAX + 1], struct err *err);
int member_tx_remove_all(struct db_tx *tx, int64_t user_id, struct err *err); /* memberships and collaborations */
int team_tx_insert(struct db_tx *tx, int64_t org_id, struct str name, struct str about, struct err *err);
int team_tx_update(struct db_tx *tx, int64_t id, struct str name, struct str about, struct err *err);
int team_member_tx_add(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err);
int team_member_tx_drop(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err); /* 1, 0 */
int team_tx_find(struct db_tx *tx, int64_t org_id, struct str name, struct team_row *ret, struct err *err); /* 1, 0 */
int member_tx_set(struct db_tx *tx, int64_t org_id, int64_t user_id, enum member_role role, const char *source, struct err *err);

/* ---- usage_sql.c: after a change, before its commit; ERR_QUOTA */
int usage_tx_private(struct db_tx *tx, const struct account *owner, int64_t n, struct err *err); /* n private repositories more */
int usage_tx_seats(struct db_tx *tx, int64_t org_id, struct err *err);
int usage_tx_collaborators(struct db_tx *tx, int64_t account_id, struct err *err); /* of the account's private repositories */
struct usage_ids { /* free() v */
    int64_t *v;
    size_t n;
};
/* Organizations that the user is a member of, accounts that share with him; and their counts. */
int usage_tx_concerned(struct db_tx *tx, int64_t user_id, struct usage_ids ret[2], struct err *err);
int usage_tx_recount(struct db_tx *tx, const struct usage_ids ids[2], struct err *err);

/* ---- token_sql.c */
/* By the hash that it has, or had until a rotation's overlap ends: 1, 0. Whatever its state. */
int credential_tx_by_hash(struct db_tx *tx, const uint8_t hash[32], int64_t now, struct credential_row *ret, struct err *err);
void credential_map(const struct db_rows *row, void *credential_row);
#define CREDENTIAL_COLUMNS "id, account_id, kind, state, created_by, created_at, expires_at, used_at, old_until, name, created_from, used_from"
int credential_tx_by_id(struct db_tx *tx, int64_t id, struct credential_row *ret, struct err *err); /* 1, 0 */
/* Bounds of a credential into p (owned by it). */
int credential_tx_bounds(struct db_tx *tx, int64_t id, struct principal *p, struct err *err);
int credential_tx_count(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t *ret, struct err *err);
int credential_tx_add(struct db_tx *tx, const struct credential_row *c, const uint8_t hash[32], struct err *err);
int credential_tx_add_bound(struct db_tx *tx, int64_t id, struct str pattern, enum scope scope, struct err *err);
int credential_tx_end_all(struct db_tx *tx, int64_t account_id, struct err *err); /* revokes every token of the account */
int credential_tx_used(struct db_tx *tx, int64_t id, int64_t now, struct str from, struct err *err);
#endif
