/* Private contract of the ident room: what its files share.
 *
 * Who owns what: name.c grammar · right.c the decision · credential.c header -> principal, with its
 * caches · token.c the signed form · token_api.c /token and /v2/ · gate.c the gate · admin.c users
 * · *_sql.c statements. */
#ifndef IDENT_IDENT_INT_H
#define IDENT_IDENT_INT_H
#include "base/clock.h"
#include "base/config.h"
#include "base/gen.h"
#include "base/hashkey.h"
#include "base/log.h"
#include "base/metric.h"
#include "crypt/secret.h"
#include "ident/ident.h"

#include <pthread.h>
#include <stdatomic.h>

enum { LIBRARY_MAX = NAME_MAX_BYTES + 9, SCOPES_MAX = 32, FAIL_SLOTS = 4096 };

struct ident_loop {
    struct cache *principals; /* secret_tag of the Authorization value -> principal */
    struct cache *facts;      /* canonical name -> repo_fact */
    /* Names without a repository, so that asking again costs what it costs for one that may not be
     * read (T17); apart, so that made-up names push no fact out. */
    struct cache *absent;
    struct principal *anonymous;
};
struct fail_slot {
    uint64_t who;      /* hashkey of the address */
    int64_t level, at; /* failures left over, microseconds */
};
struct ident {
    struct db *db;
    struct sign_key key;
    char *realm, *service;
    _Atomic int64_t token_life, max_failures;
    int loops;
    struct ident_loop *loop;
    /* Basic credentials that were verified, for loops that did not see them yet: workers only. */
    pthread_mutex_t lock;
    struct cache *verified;
    struct fail_slot *fails; /* under lock; FAIL_SLOTS */
};

/* ---- credential.c */
struct principal *principal_new(struct str name, size_t n_scopes); /* one reference */
enum credential_kind { CREDENTIAL_NONE, CREDENTIAL_BASIC, CREDENTIAL_BEARER, CREDENTIAL_BAD };
struct credential {
    enum credential_kind kind;
    struct str value;      /* behind the scheme */
    struct secret_tag tag; /* of the whole header value */
};
struct credential credential_of(const struct http_req *r);
bool principal_stands(const struct principal *p); /* not expired, its user unchanged */
/* Worker: verifies; one reference in *ret. ERR_UNAUTHORIZED, ERR_TOOMANYREQUESTS, ERR_DB... */
int credential_verify(struct ident *i, struct http_req *r, const struct credential *c,
                      struct principal **ret, struct err *err);
int credential_password(struct ident *i, struct http_req *r, struct str user, struct str password,
                        struct principal **ret, struct err *err);

/* ---- token.c: compact JWS, EdDSA */
/* Scopes that no longer fit into TOKEN_MAX are left out. */
void token_make(struct ident *i, const struct principal *p, const struct token_scope *scopes,
                size_t n, int64_t now, struct buf *ret);
/* Signature, audience, times and shape; the user is the caller's duty. */
int token_check(const struct ident *i, struct str token, struct principal **ret, struct err *err);

/* ---- gate.c */
/* WWW-Authenticate for a request without, or with a bad, credential. */
void gate_challenge(struct http_req *r, const char *error);

/* ---- ident_sql.c */
struct user_found {
    int64_t id, role, state, epoch;
    char hash[PASSWORD_HASH_MAX];
};
enum { ROLE_USER, ROLE_ADMIN, STATE_ACTIVE = 0, STATE_REMOVED = 1 };
int user_tx_find(struct db_tx *tx, struct str name, struct user_found *ret, struct err *err); /* 1, 0 */
int user_tx_stands(struct db_tx *tx, int64_t id, int64_t epoch, int64_t role, struct err *err); /* 1, 0 */
int user_tx_any(struct db_tx *tx, struct err *err);                                         /* 1, 0 */
int user_tx_add(struct db_tx *tx, struct str name, const char *hash, int64_t role, int64_t now,
                struct err *err);
int user_tx_password(struct db_tx *tx, int64_t id, const char *hash, struct err *err);
int user_tx_remove(struct db_tx *tx, int64_t id, struct err *err);
int user_tx_admins(struct db_tx *tx, int64_t *ret, struct err *err);
int user_tx_page(struct db_tx *tx, struct str after, int64_t n,
                 int (*fn)(void *arg, const struct user_row *u), void *arg, struct err *err);
struct namespace_found {
    int64_t id, owner_id;
};
int namespace_tx_find(struct db_tx *tx, struct str name, struct namespace_found *ret,
                      struct err *err);
int namespace_tx_add(struct db_tx *tx, struct str name, int64_t owner_id, int64_t now,
                     struct err *err);
int repo_tx_add(struct db_tx *tx, int64_t namespace_id, struct str name, bool public, int64_t now,
                struct err *err);
int repo_tx_public(struct db_tx *tx, struct str name, bool public, int64_t *ret_changed,
                   struct err *err);
#endif
