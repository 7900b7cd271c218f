/* Accounts, repositories, teams, grants and tokens, as every API reads and changes them: the rules and the
 * statements stand behind these functions once, whatever dialect asks.
 *
 * A change of state by a request is a `struct change`. What the gate allowed is decided once more inside the
 * transaction, so that a right that was taken away meanwhile takes nobody further; the generations of what is
 * changed move around the commit, so that no loop keeps an old fact; the audit row goes in with the change or
 * not at all.
 *
 * NAME_tx_each: rows in the order of their key behind `after`, at most n; fn returns 0, or anything else to
 * stop, which is then the result when it is negative. Of the rest: 0; where it says so 1 found, 0 none;
 * negative: an error in words that clients may read. */
#ifndef IDENT_ACCOUNT_H
#define IDENT_ACCOUNT_H
#include "crypt/token_text.h"
#include "ident/ident.h"

enum { LIBRARY_MAX = NAME_MAX_BYTES + 9, CHANGE_NAMES = 3 };

/* --- an object of rights, as one transaction sees it, and what the principal is to it */
struct gate {
    struct req_repo repo;
    struct account account;   /* target, or the repository's owner; id 0: absent */
    struct str account_name;  /* as the path names it */
    unsigned standing;
    struct ident *ident;
    char name[LIBRARY_MAX];
};
/* Fills account, repository (a reference, the caller's) and standing of g for the object that g names. */
int gate_tx_find(struct db_tx *tx, const struct principal *p, enum right_object object, struct gate *g, struct err *err);
struct right_verdict gate_verdict(const struct principal *p, const struct gate *g, enum right right);
int verdict_error(const struct right_verdict *v, struct err *err); /* in the APIs' words */
int gate_level(const struct principal *p, const struct gate *g);   /* rank on the repository after the token's cut */

/* --- a change */
struct change {
    /* Asked of: */
    enum right right;             /* 0: the route's */
    struct str account_name;      /* OBJECT_ACCOUNT; empty: the path's first part */
    int (*fn)(struct db_tx *tx, struct change *c, struct err *err); /* may run more than once */
    void *arg;
    struct str accounts[CHANGE_NAMES], repos[CHANGE_NAMES]; /* names whose facts change, beside the object's own */
    /* For the audit log: */
    const char *action;           /* "org.member.add" */
    struct str object;            /* empty: the object's name */
    json_t *data;                 /* made anew by fn with json_decref of an older one; may be NULL; taken */
    /* As the transaction sees it: */
    struct http_req *r;
    const struct principal *who;
    struct gate now;              /* object and standing */
};
/* fn's result, or what the gate would answer. */
int change_run(struct http_req *r, struct change *c, struct err *err);

/* --- accounts */
extern const struct rest_check check_account_name, check_repo_name, check_line;
int account_tx_find(struct db_tx *tx, struct str name, struct account *ret, struct err *err); /* 1, 0; in any state */
int account_tx_by_id(struct db_tx *tx, int64_t id, struct account *ret, struct err *err);     /* 1, 0 */
int account_tx_user(struct db_tx *tx, struct str name, struct account *ret, struct err *err); /* not removed; ERR_NOT_FOUND */
int account_is_org(const struct account *a, struct err *err); /* 0, ERR_NOT_FOUND */

/* --- organizations and members */
const char *member_role_name(int64_t role);
enum member_role member_role_of(struct str word); /* MEMBER_NONE: no such word */
struct member_row {
    int64_t user_id, role, created_at;
    char user[ACCOUNT_NAME_MAX + 1];
};
/* Organizations that p may read, as far as his token reaches; role: his own. */
int org_tx_each(struct db_tx *tx, const struct principal *p, struct str after, int64_t n,
                int (*fn)(void *arg, const struct account *org, int64_t role), void *arg, struct err *err);
int member_tx_find(struct db_tx *tx, int64_t org_id, int64_t user_id, struct member_row *ret, struct err *err); /* 1, 0 */
int member_tx_each(struct db_tx *tx, int64_t org_id, struct str after, int64_t n,
                   int (*fn)(void *arg, const struct member_row *m), void *arg, struct err *err);
/* In a change of an organization: adds a user, gives another role, or removes (MEMBER_NONE; ret is as it was). */
int member_tx_change(struct db_tx *tx, const struct change *c, struct str user, enum member_role role, struct member_row *ret,
                     struct err *err);

/* --- teams */
struct team_row {
    int64_t id, created_at, members;
    char name[ACCOUNT_NAME_MAX + 1], description[401];
};
int team_tx_each(struct db_tx *tx, int64_t org_id, struct str after, int64_t n,
                 int (*fn)(void *arg, const struct team_row *t), void *arg, struct err *err);
/* Of an organization; ERR_NOT_FOUND. */
int team_tx_get(struct db_tx *tx, const struct account *org, struct str name, struct team_row *ret, struct err *err);
int team_tx_by_id(struct db_tx *tx, const struct account *org, int64_t id, struct team_row *ret, struct err *err);
int team_tx_has(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err); /* 1, 0 */
int team_member_tx_each(struct db_tx *tx, int64_t team_id, struct str after, int64_t n,
                        int (*fn)(void *arg, struct str user, int64_t joined_at), void *arg, struct err *err);
/* In a change of the organization. name or about p NULL: stays. *t is then as it is. */
int team_tx_add(struct db_tx *tx, const struct change *c, struct str name, struct str about, struct team_row *ret, struct err *err);
int team_tx_set(struct db_tx *tx, const struct change *c, struct team_row *t, struct str name, struct str about, struct err *err);
int team_tx_drop(struct db_tx *tx, const struct team_row *t, struct err *err);
/* Whoever is put into a team is a member of the organization. */
int team_tx_member(struct db_tx *tx, const struct change *c, const struct team_row *t, struct str user, bool adds, struct err *err);

/* --- repositories */
struct repo_texts {
    struct str about, full;     /* arena */
    int64_t created_at, updated_at;
};
struct repo_set {
    struct str about, full;     /* p NULL: stays */
    int public, archived;       /* -1: stays */
};
#define REPO_KEEP ((struct repo_set){.public = -1, .archived = -1})
int repo_tx_texts(struct db_tx *tx, struct arena *a, int64_t repo_id, struct repo_texts *ret, struct err *err); /* 1, 0 */
/* In a change of the repository; fact is then as it is. */
int repo_tx_set(struct db_tx *tx, struct repo_fact *fact, const struct repo_set *set, struct err *err);
/* In a change of its account (RIGHT_REPO_CREATE) that names it in c->repos. ERR_EXISTS. g->repo.name is its
 * canonical name; the rest of g is filled, as by gate_tx_find. */
int repo_tx_make(struct db_tx *tx, const struct change *c, const struct repo_set *set, struct gate *g, struct err *err);
/* In a change of the repository (RIGHT_REPO_DELETE): nobody has access to it any more, and no name leads to it; its name
 * is free. What is in it, and the row itself, is the caller's to remove. */
int repo_tx_abandon(struct db_tx *tx, const struct change *c, struct err *err);
struct grant_row {
    int64_t team_id, level;
    char team[ACCOUNT_NAME_MAX + 1];
};
int grant_tx_each(struct db_tx *tx, int64_t repo_id, struct str after, int64_t n,
                  int (*fn)(void *arg, const struct grant_row *g), void *arg, struct err *err);
/* In a change of the repository (RIGHT_GRANTS). RANK_NONE: takes it away, ERR_NOT_FOUND when there is none. */
int grant_tx_set(struct db_tx *tx, const struct change *c, const struct team_row *team, int level, struct err *err);

/* --- random tokens */
struct credential_row {
    int64_t id, account_id, kind, state, created_by, created_at, expires_at, used_at, old_until;
    char name[101], created_from[64], used_from[64];
};
struct credential_new {
    enum credential_kind kind;  /* CREDENTIAL_PERSONAL of who asks, CREDENTIAL_ORG of the change's organization */
    struct str name;
    const struct bound *bounds;
    size_t n_bounds;
    int64_t expires_at;         /* 0: never */
    const uint8_t *hash;        /* of ident_token_text */
    struct rest_call *call;     /* wrong fields are told by their names: */
    const char *bounds_field, *life_field;
};
enum { BOUNDS_MAX = 50 };
/* Ends a handler: the token's object and, when it was made just now, its text, which is wiped; no cache keeps
 * it. rc: what came of it, negative: no answer is made. doc is taken. */
int credential_answer(struct rest_call *c, json_t *doc, char text[TOKEN_TEXT_LEN + 1], int rc);
bool credential_lives(const struct credential_row *c, int64_t now);
int credential_tx_each(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t after, int64_t n,
                       int (*fn)(void *arg, const struct credential_row *c), void *arg, struct err *err);
/* Of the account, not revoked; ERR_NOT_FOUND. */
int credential_tx_get(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t id, struct credential_row *ret,
                      struct err *err);
int credential_tx_each_bound(struct db_tx *tx, int64_t id, int (*fn)(void *arg, struct str pattern, enum scope scope), void *arg,
                             struct err *err);
int credential_tx_make(struct db_tx *tx, const struct change *c, const struct credential_new *n, struct credential_row *ret,
                       struct err *err);
int credential_tx_set(struct db_tx *tx, int64_t id, struct str name, bool disabled, struct err *err);
int credential_tx_revoke(struct db_tx *tx, int64_t id, struct err *err);
/* A fresh text of a personal or an organization's token, and its hash. */
void ident_token_text(struct ident *i, enum credential_kind kind, char text[TOKEN_TEXT_LEN + 1], uint8_t hash[TOKEN_HASH]);
#endif
