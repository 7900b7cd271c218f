/* The one function that decides. */
#include "ident/ident.h"

static bool owns(const struct principal *p, const struct repo_fact *fact, struct str name)
{
    if (p->user_id == 0)
        return false;
    if (fact != NULL)
        return fact->owner_id == p->user_id;
    struct str first, rest = name;
    str_split(&rest, '/', &first);
    return str_is(first, p->name); /* the user's own namespace exists with the user */
}

unsigned right_of(const struct principal *p, const struct repo_fact *fact, struct str name)
{
    if (p->admin || owns(p, fact, name))
        return ACTION_PULL | ACTION_PUSH | ACTION_DELETE;
    return fact != NULL && fact->public ? ACTION_PULL : 0;
}
