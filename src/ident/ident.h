/* ident: accounts, repositories as objects of rights, credentials, the gate, tokens.
 *
 * Names. canonical_name maps what a client writes to the one stored name: OCI grammar
 * [a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(/...)*, at most 255 bytes; a bare `x` becomes `library/x`.
 * First parts reserved for other dialects on this host are refused (accounts.md "Paths").
 *
 * Who. A credential leads to a principal: a user, an organization (by its token), or the machine's
 * administrator at the control socket. A token's principal has bounds; what is derived from a token
 * (registry Bearer, API token) names it, is asked for its state and bounds again, and so dies with it.
 *
 * The gate. Authorization header -> credential cache of the loop (key: secret_tag of the header
 * value; valid under the account's generation and its expiry) -> principal. On a miss a worker verifies:
 * passwords by Argon2id, random tokens by their keyed hash, signed ones by signature and rows. Rights
 * are then live: right_decide on what the principal is to the object (cached on the loop under the
 * generations of principal, repository and owner), cut by the bounds and by a registry token's scope.
 * Answers in the registry's dialect:
 *   anonymous without the right            401 and the challenge, the same for absent and private
 *                                          (error="insufficient_scope" when it came with a token)
 *   the catalog without a token            401 and the challenge; an anonymous token lists what is public
 *   bad or expired credential              401 and the challenge (error="invalid_token" for Bearer)
 *   token's scope lacks it, user has it    401 insufficient_scope and the challenge: client mints anew
 *   user may read, may not do it           403 DENIED
 *   user may not read it, or it is absent  read or delete: 404 NAME_UNKNOWN; write: 403 DENIED (absent alike)
 * and in the APIs': 401 without a credential, 404 for absent and hidden alike, 403 otherwise.
 * A repository is made by the first push that commits something into it (upload session counts), in
 * the visibility that its account gives; an administrator's push into a namespace that nobody has
 * makes an organization. `library` is made at the first start, and what is pushed there is public. */
#ifndef IDENT_IDENT_H
#define IDENT_IDENT_H
#include "audit/audit.h"
#include "crypt/token_text.h"
#include "db/db.h"
#include "http/http.h"
#include "net/egress.h"
#include "ident/right.h"
#include "policy/policy.h"
#include "rest/rest.h"

enum { NAME_MAX_BYTES = 255 };
/* in -> canonical text in `out` (NAME_MAX_BYTES + 9 bytes). ERR_NAME_INVALID with the rule broken. */
int canonical_name(struct str in, char *out, struct err *err);
bool name_valid(struct str in);
bool name_reserved_first(struct str first_part);

enum { ACCOUNT_NAME_MIN = 2, ACCOUNT_NAME_MAX = 64, FULL_NAME_MAX = 100, EMAIL_MAX = 254 };
enum account_kind { ACCOUNT_USER, ACCOUNT_ORG };
enum account_state { ACCOUNT_ACTIVE, ACCOUNT_REMOVED, ACCOUNT_DISABLED };
enum site_role { SITE_NONE, SITE_ADMIN, SITE_AUDITOR };
enum member_role { MEMBER_NONE, MEMBER_MEMBER, MEMBER_EDITOR, MEMBER_OWNER };
enum credential_kind { CREDENTIAL_LOGIN, CREDENTIAL_PERSONAL, CREDENTIAL_ORG, CREDENTIAL_KEYLESS, CREDENTIAL_REFRESH };
enum who { WHO_NOBODY, WHO_USER, WHO_ORG, WHO_LOCAL };

#define LOGIN_NOW INT64_MAX
/* A login so young is a fresh one: only with it factors, password and sessions change (step-up). */
#define LOGIN_FRESH_US ((int64_t)10 * 60 * 1000000)
struct principal {
    struct shared shared;
    enum who kind;
    int64_t user_id;             /* its account; 0 nobody and the local administrator */
    int64_t plan_id;             /* its account's plan, as of gen; 0 the site's default */
    char name[NAME_MAX_BYTES + 1];
    enum site_role role;
    int64_t epoch, expires;      /* expires: us, 0 none */
    int64_t recheck;             /* us: when the rows behind a token are read again; 0 not */
    uint64_t gen;                /* generation of the account under which it was read */
    bool bearer;                 /* a registry token: scopes count */
    enum { SIGNED_NOT, SIGNED_REGISTRY, SIGNED_API } signed_for;
    int64_t credential_id;       /* the random token that it is, or stems from; 0 a login */
    enum credential_kind credential_kind;
    int64_t credential_days;     /* its whole life, 0 for ever */
    int64_t auth_at;             /* us: when password or factor were shown; LOGIN_NOW: with each request */
    bool second_factor;          /* its account has one */
    int64_t session_id;          /* the browser session that it is, or 0 */
    struct token_scope {         /* Bearer: what the token was issued for */
        struct str name;         /* canonical; "*" with type registry: catalog */
        unsigned actions;
    } *scopes;
    size_t n_scopes;
    struct bound {
        struct str pattern;
        enum scope scope;
    } *bounds;                   /* of credential_id */
    size_t n_bounds;
};
static inline const struct principal *req_principal(const struct http_req *r) { return r->who; }
/* Scope of its token on a repository (canonical name), on all of an account ("acme"), on the site ("").
 * SCOPE_LOGIN without a token. */
enum scope principal_scope_repo(const struct principal *p, struct str name);
enum scope principal_scope_account(const struct principal *p, struct str account);

struct account {                 /* a row of accounts, for all but the password */
    int64_t id, state, role, epoch, created_at, last_login_at, plan_id;
    enum account_kind kind;
    char name[ACCOUNT_NAME_MAX + 1], full_name[FULL_NAME_MAX + 1], email[EMAIL_MAX + 1];
    bool email_verified, default_public, no_public, personal_tokens, need_mfa, no_personal_push;
    int default_access;          /* rank of members on each repository */
    int64_t token_max_days;
};
struct repo_fact {
    struct shared shared;
    int64_t id, namespace_id, owner_id;
    bool public, archived;
    bool locked;                 /* private, and more of these are older than the owner's plan allows in all */
    struct account owner;        /* of the namespace */
    uint64_t owner_gen;          /* under which `owner` was read */
};
/* What the gate found for routes on a repository: valid in route handlers. */
struct req_repo {
    struct str client_name;      /* as the client spelled it: for Location and scope */
    struct str name;             /* canonical */
    struct repo_fact *fact;      /* NULL: does not exist (push routes) */
    uint64_t gen;                /* generation under which fact was read */
};
const struct req_repo *req_repo(const struct http_req *r);
const struct account *req_account(const struct http_req *r); /* of routes on an account */
unsigned req_standing(const struct http_req *r);             /* enum standing, to the route's object */

struct ident;
struct ident_options {
    struct db *db;
    const struct config *config;
    struct policy *policy;
    const struct net *net;       /* outbound calls: mail, issuers */
    struct audit *audit;         /* NULL: nothing is counted (a command without a server) */
    struct str token_seed;       /* 32 bytes: signs tokens */
    struct str credential_key;   /* 32 bytes: hashes random tokens */
    const char *url;             /* public URL; realm = url/token, service = host of url */
    struct store *store;         /* keys/seal.keys */
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
/* http_inner for `who`, a struct principal; NULL: the machine's administrator. */
int ident_gate_local(struct http_req *r, void *who, struct err *err);
void ident_gate_release(struct http_req *r);
extern const struct http_route ident_routes[];            /* /v2/ , GET|POST /token, POST /api/v1/token */
extern const size_t n_ident_routes;
extern const struct http_route oidc_routes[];             /* /login/oidc */
extern const size_t n_oidc_routes;
/* Of /api/v1. */
extern const struct rest_route user_routes[];
extern const size_t n_user_routes;
extern const struct rest_route org_routes[];
extern const size_t n_org_routes;
extern const struct rest_route team_routes[];
extern const size_t n_team_routes;
extern const struct rest_route repo_routes[];
extern const size_t n_repo_routes;
extern const struct rest_route token_routes[];
extern const size_t n_token_routes;
extern const struct rest_route audit_routes[];
extern const size_t n_audit_routes;
extern const struct rest_route access_routes[];
extern const size_t n_access_routes;
extern const struct rest_route plan_routes[];
extern const size_t n_plan_routes;
extern const struct rest_route group_routes[];
extern const size_t n_group_routes;
extern const struct rest_route directory_routes[];
extern const size_t n_directory_routes;
extern const struct rest_route trust_routes[];
extern const size_t n_trust_routes;
extern const struct rest_route invite_routes[];
extern const size_t n_invite_routes;
extern const struct rest_route reset_routes[];
extern const size_t n_reset_routes;
extern const struct rest_route login_routes[];
extern const size_t n_login_routes;
extern const struct rest_route factor_routes[];
extern const size_t n_factor_routes;

/* First start: administrator and library namespace in one transaction. *ret_made false when users exist. */
int ident_has_users(struct ident *i, bool *ret, struct err *err);
int ident_first_start(struct ident *i, struct str user, struct str password, bool *ret_made, struct err *err);
int ident_account_name_check(struct str name, struct err *err); /* may an account be called so? */
int ident_password_check(struct str password, struct err *err);

/* Name and password (or token) -> a token of the APIs that lives `life` us. ERR_UNAUTHORIZED in Docker Hub's words.
 * ERR_SECOND_FACTOR_REQUIRED, also in Hub's words: the password is right and r->ticket holds what goes to
 * ident_login_factor; http_error puts it into the answer (`ticket`, Hub: `login_2fa_token`). */
int ident_login(struct http_req *r, struct str name, struct str password, int64_t life, struct buf *ret_token,
                int64_t *ret_expires, struct err *err);

/* The second step: the ticket, and either a code (six digits of an app, or a recovery code) or an answer of WebAuthn as
 * JSON. ERR_UNAUTHORIZED; ERR_TOOMANYREQUESTS. A ticket lives LOGIN_TICKET_US, and until it was of use. */
#define LOGIN_TICKET_US ((int64_t)5 * 60 * 1000000)
struct login_proof {
    struct str code, webauthn;   /* one of them */
};
int ident_login_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, int64_t life, struct buf *ret_token,
                       int64_t *ret_expires, struct err *err);
/* Options of the ceremony for this ticket, JSON for navigator.credentials.get. ERR_NOT_FOUND: the account has no key. */
int ident_login_options(struct http_req *r, struct str ticket, struct buf *ret_json, struct err *err);

enum signup { SIGNUP_OPEN, SIGNUP_INVITATION, SIGNUP_CLOSED }; /* as the setting says */
enum signup ident_signup(const struct http_req *r);
bool ident_mails(const struct http_req *r); /* mail is set up */

/* --- sessions of browsers. `text` is the cookie's value; only its hash is kept. A session ends when it was not used for
 * SESSION_IDLE_US, SESSION_LIFE_US after it was made, and with password, state or role of its account. */
#define SESSION_IDLE_US ((int64_t)12 * 3600 * 1000000)
#define SESSION_LIFE_US ((int64_t)7 * 24 * 3600 * 1000000)
/* As ident_login and ident_login_factor, into a session. */
int ident_session_login(struct http_req *r, struct str name, struct str password, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err);
int ident_session_factor(struct http_req *r, struct str ticket, const struct login_proof *proof, char ret_text[TOKEN_TEXT_LEN + 1],
                         struct err *err);
/* 1 and a reference to whose it is, 0 none. */
int ident_session_find(struct http_req *r, struct str text, struct principal **ret, struct err *err);
/* Step-up: a ticket for who is in the session, or his password (only without a second factor); then the session
 * goes on under another text. */
int ident_session_ticket(struct http_req *r, const struct principal *p, char ret_ticket[TOKEN_TEXT_LEN + 1], struct err *err);
int ident_session_prove(struct http_req *r, const struct principal *p, struct str ticket, const struct login_proof *proof,
                        struct str password, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err);
/* A fresh session for who was just proved by other means than a password: his request changed the password. */
int ident_session_renew(struct http_req *r, const struct principal *p, char ret_text[TOKEN_TEXT_LEN + 1], struct err *err);
int ident_session_end(struct http_req *r, const struct principal *p, struct err *err);

/* Inside a write transaction: account and token are still as they were when the gate let the request in,
 * neither removed nor with another password or role. Else ERR_DENIED. Part of ident_tx_repo_for_push. */
int ident_tx_stands(struct db_tx *tx, const struct principal *p, struct err *err);
/* Inside a transaction: may p do this to the repository, as things stand? 0, ERR_DENIED. */
int ident_tx_may(struct db_tx *tx, const struct principal *p, enum right right, struct str name, struct err *err);
/* Inside a write transaction: decide again, and make namespace and repository if they are missing.
 * ERR_DENIED as the gate would answer. */
struct push_into {
    int64_t repo_id, account_id, plan_id; /* whose namespace it is, and its plan (0: the site's default) */
};
int ident_tx_repo_for_push(struct db_tx *tx, const struct principal *p, struct str name, struct push_into *ret, struct err *err);
/* Read transaction: fact of a canonical name: 1 found, 0 none. Caller unrefs ret->shared. */
int ident_tx_repo(struct db_tx *tx, struct str name, struct repo_fact **ret, struct err *err);
/* The audit log. A row that goes in with a transaction; object "acme/app:1.0", data JSON or empty. */
int ident_tx_record(struct db_tx *tx, const struct http_req *r, const struct principal *p, int64_t account_id, const char *action,
                    struct str object, struct str data, struct err *err);
/* What happens without one: counted in memory, no lock on the loop's thread. */
void ident_count(struct http_req *r, bool on_loop, int64_t account_id, const char *action, struct str object, enum audit_result result);

/* Catalog page in byte order after `last`: names the principal may read, keyset, at most n: public ones,
 * own and organizations', granted ones, all for administrators and auditors; cut by the token's bounds.
 * A merge of indexed ranges, never a scan of what is hidden. */
int ident_catalog(struct ident *i, const struct principal *p, struct str last, size_t n,
                  int (*fn)(void *arg, struct str name), void *arg, struct err *err);
#endif
