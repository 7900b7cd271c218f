/* ident: users, namespaces, repositories as objects of rights, credentials, the gate, tokens.
 *
 * Names. canonical_name maps what a client writes to the one stored name: OCI grammar
 * [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*, at most 255 bytes; a bare `x` becomes `library/x`.
 * First parts reserved for other dialects on this host are refused (accounts.md "Paths").
 *
 * The gate. Authorization header -> credential cache of the loop (key: secret_tag of the header
 * value; valid under the user's generation and its expiry) -> principal. On a miss a worker verifies:
 * Basic by Argon2id, Bearer by signature and the user's row. Rights are then live: right_of on the
 * repository's fact (cached on the loop under the repository's generation), cut by the token's scope.
 * Answers:
 *   anonymous without the right            401 and the challenge, the same for absent and private
 *                                          (error="insufficient_scope" when it came with a token)
 *   the catalog without a token            401 and the challenge; an anonymous token lists what is public
 *   bad or expired credential              401 and the challenge (error="invalid_token" for Bearer)
 *   token's scope lacks it, user has it    401 insufficient_scope and the challenge: client mints anew
 *   user may read, may not do it           403 DENIED
 *   user may not read it, or it is absent  read or delete: 404 NAME_UNKNOWN; write: 403 DENIED (absent alike)
 * A repository is made by the first push that commits something into it (upload session counts),
 * private, under an existing namespace, or a new one for administrators; a user's own namespace exists
 * with the user. `library` is made at the first start, owned by nobody, and what is pushed there is public. */
#ifndef IDENT_IDENT_H
#define IDENT_IDENT_H
#include "db/db.h"
#include "http/http.h"
#include "ident/right.h"

enum { NAME_MAX_BYTES = 255 };
/* in -> canonical text in `out` (NAME_MAX_BYTES + 9 bytes). ERR_NAME_INVALID with the rule broken. */
int canonical_name(struct str in, char *out, struct err *err);
bool name_valid(struct str in);
bool name_reserved_first(struct str first_part);

struct principal {
    struct shared shared;
    int64_t user_id;             /* 0 anonymous */
    char name[NAME_MAX_BYTES + 1];
    bool admin;
    int64_t epoch, expires;      /* expires: us, 0 none (Basic) */
    uint64_t gen;                /* generation of the user under which it was read */
    bool bearer;
    struct token_scope {         /* Bearer: what the token was issued for */
        struct str name;         /* canonical; "*" with type registry: catalog */
        unsigned actions;
    } *scopes;
    size_t n_scopes;
};
static inline const struct principal *req_principal(const struct http_req *r) { return r->who; }

struct repo_fact {
    struct shared shared;
    int64_t id, namespace_id, owner_id; /* owner_id 0: nobody's namespace */
    bool public;
};
/* What the gate found for routes with {name}: valid in route handlers. */
struct req_repo {
    struct str client_name;      /* as the client spelled it: for Location and scope */
    struct str name;             /* canonical */
    struct repo_fact *fact;      /* NULL: does not exist (push routes) */
    uint64_t gen;                /* generation under which fact was read */
};
const struct req_repo *req_repo(const struct http_req *r);

struct ident;
struct ident_options {
    struct db *db;
    const struct config *config;
    struct str token_seed;       /* 32 bytes */
    const char *url;             /* public URL; realm = url/token, service = host of url */
    int loops;                   /* loop caches to make */
    size_t cache_bytes;          /* all loops together */
};
int ident_new(struct ident **ret, const struct ident_options *o, struct err *err);
void ident_free(struct ident *i);
void ident_reload(struct ident *i, const struct config *c);
/* http_gate_hooks. ctx of the server leads to struct ident by this app-provided function. */
struct ident *ident_of(const struct http_req *r);         /* defined in app/app.c */
enum http_gate ident_gate_fast(struct http_req *r);
int ident_gate_slow(struct http_req *r, struct err *err);
void ident_gate_release(struct http_req *r);
extern const struct http_route ident_routes[];            /* /v2/ , GET|POST /token */
extern const size_t n_ident_routes;

/* First start: administrator and library namespace in one transaction. *ret_made false when users exist. */
int ident_has_users(struct ident *i, bool *ret, struct err *err);
int ident_first_start(struct ident *i, struct str user, struct str password, bool *ret_made, struct err *err);
/* Administration (CLI): names checked, gen_begin/gen_end of the user kept. */
int ident_user_add(struct ident *i, struct str name, struct str password, bool admin, struct err *err);
int ident_user_passwd(struct ident *i, struct str name, struct str password, struct err *err);
int ident_user_name_check(struct str name, struct err *err); /* may an account be called so? */
int ident_password_check(struct str password, struct err *err);
int ident_user_remove(struct ident *i, struct str name, struct err *err); /* last administrator: refused */
struct user_row { int64_t id; struct str name; bool admin, removed; int64_t created_at; };
int ident_user_list(struct ident *i, int (*fn)(void *arg, const struct user_row *u), void *arg, struct err *err);
int ident_repo_visibility(struct ident *i, struct str name, bool public, struct err *err);

/* Inside a write transaction: the account is still as it was when the gate let the request in, neither
 * removed nor with another password or role. Else ERR_DENIED. Part of ident_tx_repo_for_push. */
int ident_tx_stands(struct db_tx *tx, const struct principal *p, struct err *err);
/* Inside a write transaction: decide again, and make namespace and repository if they are missing.
 * *ret_repo_id set; ERR_DENIED / ERR_NAME_UNKNOWN as the gate would answer. */
int ident_tx_repo_for_push(struct db_tx *tx, const struct principal *p, struct str name, int64_t *ret_repo_id, struct err *err);
/* Read transaction: fact of a canonical name: 1 found, 0 none. Caller unrefs ret->shared. */
int ident_tx_repo(struct db_tx *tx, struct str name, struct repo_fact **ret, struct err *err);
/* Catalog page in byte order after `last`: names the principal may read, keyset, at most n. Public ones,
 * own namespace's, all for administrators: a merge of indexed ranges, never a scan of what is hidden. */
int ident_catalog(struct ident *i, const struct principal *p, struct str last, size_t n,
                  int (*fn)(void *arg, struct str name), void *arg, struct err *err);
#endif
