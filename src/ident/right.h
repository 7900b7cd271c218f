/* Rights: the one function that decides, and the policy rows' vocabulary. */
#ifndef IDENT_RIGHT_H
#define IDENT_RIGHT_H
#include "base/err.h"

/* What a route asks for. 0 is "not set" and stops the start. */
enum right {
    RIGHT_UNSET = 0,
    RIGHT_PUBLIC,       /* anybody, credentials not looked at: health, token endpoint */
    RIGHT_CHALLENGE,    /* /v2/: any valid credential, else 401 */
    RIGHT_PULL,         /* read the repository in {name} */
    RIGHT_PUSH,         /* write it; creates it (and, for administrators, its namespace) */
    RIGHT_DELETE,       /* remove from it */
    RIGHT_CATALOG,      /* list what the caller may read; anonymous too */
    RIGHT_ADMIN,        /* administrators */
    RIGHT_METRICS       /* loopback address or administrator */
};
enum { ACTION_PULL = 1, ACTION_PUSH = 2, ACTION_DELETE = 4 };

struct principal;           /* ident.h */
struct repo_fact;
/* Live rights of a principal on a repository that exists (fact) or would be made (fact NULL, name
 * canonical): a set of ACTION_*. Pure: no lock, no database. */
unsigned right_of(const struct principal *p, const struct repo_fact *fact, struct str name);
#endif
