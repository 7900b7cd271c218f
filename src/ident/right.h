/* Rights: the vocabulary of the policy rows and the one function that decides.
 *
 * Every route names a right. A right is asked for on an object: the site, an account (user or
 * organization) or a repository. What somebody is to that object gives a rank (rank_rows, the maximum
 * counts); the right says which rank it takes and which scope a token must have for it (right_rows).
 * Nothing else decides; tools/make-permissions prints docs/permissions.md from the two tables. Pure: no lock, no
 * database. */
#ifndef IDENT_RIGHT_H
#define IDENT_RIGHT_H
#include "base/err.h"

/* 0 is "not set" and stops the start. */
enum right {
    RIGHT_UNSET = 0,
    /* the site */
    RIGHT_PUBLIC,        /* anybody, credentials not looked at: health, token endpoint */
    RIGHT_CHALLENGE,     /* /v2/: any valid credential, else 401 */
    RIGHT_CATALOG,       /* list what the caller may read; the registry's dialect */
    RIGHT_METRICS,       /* loopback address or administrator */
    RIGHT_LOOK,          /* anybody, by credential if there is one: lists of what the caller may read */
    RIGHT_SIGNED_IN,     /* any account, whatever its token */
    RIGHT_OWN,           /* own password, tokens, sessions, factors */
    RIGHT_ORG_CREATE,
    RIGHT_USERS_READ,
    RIGHT_USER_CREATE,
    RIGHT_SITE_AUDIT,
    RIGHT_PLANS_READ,
    RIGHT_PLANS,
    RIGHT_SITE_SETTINGS, /* identity providers and what else only administrators see */
    /* an account: parts[0] of the route */
    RIGHT_ACCOUNT_READ,
    RIGHT_USER,          /* change, remove, give a password: administrators, but to others it is hidden */
    RIGHT_REPO_CREATE,
    RIGHT_ORG_SETTINGS,
    RIGHT_ORG_DELETE,
    RIGHT_MEMBERS_READ,
    RIGHT_MEMBERS,
    RIGHT_LEAVE,         /* end the own membership */
    RIGHT_TEAMS_READ,
    RIGHT_TEAMS,
    RIGHT_ORG_TOKENS,
    RIGHT_ACCOUNT_AUDIT,
    RIGHT_USAGE,
    /* a repository: {name}, or parts[0] and parts[1] */
    RIGHT_PULL,          /* the registry's dialect: challenge, NAME_UNKNOWN */
    RIGHT_PUSH,          /* creates what is absent (RIGHT_PUSH_CREATE on the account) */
    RIGHT_DELETE,        /* tags, manifests, blobs; the registry's dialect */
    RIGHT_PUSH_CREATE,   /* never in a route */
    RIGHT_REPO_READ,
    RIGHT_REPO_CONTENT,  /* delete tags over the API */
    RIGHT_REPO_SETTINGS,
    RIGHT_REPO_DELETE,
    RIGHT_GRANTS_READ,
    RIGHT_GRANTS,
    RIGHT_EXPLAIN,       /* why somebody else may or may not */
    RIGHT_COUNT
};
enum right_object { OBJECT_SITE, OBJECT_ACCOUNT, OBJECT_REPO };
/* What a token is for; a higher one includes the lower ones. LOGIN: no token will do. */
enum scope { SCOPE_ANY, SCOPE_PUBLIC_READ, SCOPE_READ, SCOPE_WRITE, SCOPE_DELETE, SCOPE_ADMIN, SCOPE_LOGIN };

/* What somebody is to an object: bits. */
enum standing {
    IS_SIGNED_IN = 1 << 0,
    IS_SITE_ADMIN = 1 << 1,
    IS_AUDITOR = 1 << 2,
    IS_SELF = 1 << 3,            /* the account itself, or its repository's owner */
    IS_ORG_TOKEN = 1 << 4,       /* a token of this organization */
    IS_ORG_OWNER = 1 << 5,
    IS_ORG_EDITOR = 1 << 6,
    IS_MEMBER = 1 << 7,
    IS_PUBLIC = 1 << 8,          /* the repository is */
    BY_DEFAULT_READ = 1 << 9,    /* what the organization gives each member */
    BY_DEFAULT_WRITE = 1 << 10,
    BY_TEAM_READ = 1 << 11,
    BY_TEAM_WRITE = 1 << 12,
    BY_TEAM_ADMIN = 1 << 13,
    BY_COLLABORATION_READ = 1 << 14,
    BY_COLLABORATION_WRITE = 1 << 15,
};
/* Ranks. Site: 1 signed in, 2 auditor, 3 administrator. Account: 1 member, 2 editor, 3 owner, 4 administrator.
 * Repository: 1 read, 2 write, 3 admin, 4 owner of the namespace. */
enum { RANK_NONE, RANK_READ, RANK_WRITE, RANK_ADMIN, RANK_OWNER };

/* CONTENT: not while archived. AUDITORS: they may, whatever rank it takes. NOT_AUDITORS: they may not, though their
 * rank would do. */
enum { CONTENT = 1, AUDITORS = 2, NOT_AUDITORS = 4 };
struct right_row {
    enum right right;
    const char *name, *what;     /* "repo.settings", for people */
    enum right_object object;
    int least;                   /* rank */
    enum scope scope;            /* of a token */
    unsigned flags;
};
struct rank_row {
    enum right_object object;
    unsigned standing;           /* one bit */
    int rank;
    const char *why;             /* "owner of the organization" */
};
extern const struct right_row right_rows[];
extern const struct rank_row rank_rows[];
extern const size_t n_right_rows, n_rank_rows;
const struct right_row *right_row(enum right right); /* of a route: BUG when it has none */
const struct right_row *right_row_named(enum right_object object, struct str name); /* NULL: none */
const char *rank_name(enum right_object object, int rank); /* "owner" */
const char *object_name(enum right_object object);   /* site, account, repository */
const char *scope_name(enum scope s);
int scope_parse(struct str text, enum scope *ret);   /* -1 */
const char *level_name(int rank);                    /* none, read, write, admin */
int level_parse(struct str text, int *ret);          /* read, write, admin; -1 */

struct right_ask {
    enum right right;
    unsigned standing;           /* enum standing */
    bool archived, public;       /* of the repository */
    bool token;                  /* a token is shown; else a login, or nobody */
    enum scope scope;            /* the token's on this object */
};
enum right_answer {
    RIGHT_YES,
    RIGHT_NO_HIDDEN,             /* must look like an absent object */
    RIGHT_NO,                    /* the object may be seen */
    RIGHT_NO_TOKEN,              /* the account may, its token may not */
    RIGHT_NO_ARCHIVED,
    RIGHT_NO_AUDITOR
};
const char *answer_name(enum right_answer answer);   /* "yes", "hidden", "no", "token", "archived", "auditor" */
struct right_verdict {
    enum right_answer answer;
    const struct right_row *row;
    const struct rank_row *by;   /* what gave the rank; NULL: nothing did */
    int rank;
};
struct right_verdict right_decide(const struct right_ask *ask);
/* The rank alone. */
int right_rank(enum right_object object, unsigned standing, const struct rank_row **ret_by);

/* Patterns of token bounds: `*` everything, `NS/PREFIX*`, or one name. */
bool pattern_fits(struct str pattern, struct str name);
int pattern_check(struct str pattern, struct err *err);

enum { ACTION_PULL = 1, ACTION_PUSH = 2, ACTION_DELETE = 4 }; /* of registry tokens */
#endif
