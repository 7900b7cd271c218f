/* Private contract of the ident room: what its files share.
 *
 * Who owns what: name.c grammar · right.c the decision · gate.c the gate · change.c a change decided
 * again and recorded · credential.c header -> principal, with its caches · jwt.c the signed form ·
 * mint_api.c /token and /v2/ · account.c, org.c, repo.c, token.c the rules behind account.h ·
 * *_sql.c statements · *_api.c the routes of /api/v1. */
#ifndef IDENT_IDENT_INT_H
#define IDENT_IDENT_INT_H
#include "base/clock.h"
#include "base/config.h"
#include "base/gen.h"
#include "base/hashkey.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/secret.h"
#include "crypt/token_text.h"
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
struct ident {
    struct db *db;
    struct policy *policy;
    struct issuers *issuers; /* keys of others; issuer.c */
    const struct net *net;
    struct audit *audit;
    struct sign_key key, api_key; /* of registry tokens; of the APIs' */
    uint8_t credential_key[32];
    char *url, *realm, *service;
    _Atomic int64_t token_life, max_failures;
    int loops;
    struct ident_loop *loop;
    struct principal *local; /* the machine's administrator: no account */
    /* Basic credentials that were verified, for loops that did not see them yet: workers only. */
    pthread_mutex_t lock;
    struct cache *verified;
    struct fail_slot *fails; /* under lock; FAIL_SLOTS */
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
unsigned relation_cheap(const struct principal *p, const struct account *owner, bool public, bool *ret_all);

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
    "a.token_max_days"
enum { ACCOUNT_COLUMNS_N = 18 };

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
int member_tx_sole_owner(struct db_tx *tx, int64_t user_id, char ret_org[ACCOUNT_NAME_MAX + 1], struct err *err);
int member_tx_remove_all(struct db_tx *tx, int64_t user_id, struct err *err); /* memberships and collaborations */
int team_tx_insert(struct db_tx *tx, int64_t org_id, struct str name, struct str about, struct err *err);
int team_tx_update(struct db_tx *tx, int64_t id, struct str name, struct str about, struct err *err);
int team_member_tx_add(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err);
int team_member_tx_drop(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err); /* 1, 0 */
int team_tx_find(struct db_tx *tx, int64_t org_id, struct str name, struct team_row *ret, struct err *err); /* 1, 0 */
int member_tx_set(struct db_tx *tx, int64_t org_id, int64_t user_id, enum member_role role, const char *source, struct err *err);

/* ---- usage.c: after a change, before its commit; ERR_QUOTA */
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
