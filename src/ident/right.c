/* The two tables of rights, and the one function that decides by them. */
#include "ident/right.h"

const struct rank_row rank_rows[] = {
    {OBJECT_SITE, IS_SIGNED_IN, 1, "signed in"},
    {OBJECT_SITE, IS_AUDITOR, 2, "auditor"},
    {OBJECT_SITE, IS_SITE_ADMIN, 3, "administrator"},
    {OBJECT_ACCOUNT, IS_MEMBER, 1, "member of the organization"},
    {OBJECT_ACCOUNT, IS_AUDITOR, 1, "auditor"},
    {OBJECT_ACCOUNT, IS_ORG_EDITOR, 2, "editor of the organization"},
    {OBJECT_ACCOUNT, IS_ORG_OWNER, 3, "owner of the organization"},
    {OBJECT_ACCOUNT, IS_ORG_TOKEN, 3, "the organization's token"},
    {OBJECT_ACCOUNT, IS_SELF, 3, "own account"},
    {OBJECT_ACCOUNT, IS_SITE_ADMIN, 4, "administrator"},
    {OBJECT_REPO, IS_PUBLIC, RANK_READ, "public repository"},
    {OBJECT_REPO, IS_AUDITOR, RANK_READ, "auditor"},
    {OBJECT_REPO, BY_DEFAULT_READ, RANK_READ, "default access of members"},
    {OBJECT_REPO, BY_TEAM_READ, RANK_READ, "team grant"},
    {OBJECT_REPO, BY_COLLABORATION_READ, RANK_READ, "collaborator"},
    {OBJECT_REPO, BY_DEFAULT_WRITE, RANK_WRITE, "default access of members"},
    {OBJECT_REPO, BY_TEAM_WRITE, RANK_WRITE, "team grant"},
    {OBJECT_REPO, BY_COLLABORATION_WRITE, RANK_WRITE, "collaborator"},
    {OBJECT_REPO, BY_TEAM_ADMIN, RANK_ADMIN, "team grant"},
    {OBJECT_REPO, IS_ORG_EDITOR, RANK_ADMIN, "editor of the organization"},
    {OBJECT_REPO, IS_ORG_OWNER, RANK_OWNER, "owner of the organization"},
    {OBJECT_REPO, IS_ORG_TOKEN, RANK_OWNER, "the organization's token"},
    {OBJECT_REPO, IS_SELF, RANK_OWNER, "owner of the namespace"},
    {OBJECT_REPO, IS_SITE_ADMIN, RANK_OWNER, "administrator"},
};
const size_t n_rank_rows = ARRAY_LEN(rank_rows);

const struct right_row right_rows[] = {
    {RIGHT_PUBLIC, "public", "what needs no account", OBJECT_SITE, 0, SCOPE_ANY, 0},
    {RIGHT_CHALLENGE, "ping", "check a credential", OBJECT_SITE, 0, SCOPE_ANY, 0},
    {RIGHT_CATALOG, "catalog", "list repositories that one may pull", OBJECT_SITE, 0, SCOPE_ANY, 0},
    {RIGHT_METRICS, "metrics", "read the metrics", OBJECT_SITE, 3, SCOPE_ADMIN, 0},
    {RIGHT_LOOK, "look", "list what one may read", OBJECT_SITE, 0, SCOPE_ANY, 0},
    {RIGHT_SIGNED_IN, "me", "read the own account", OBJECT_SITE, 1, SCOPE_ANY, 0},
    {RIGHT_OWN, "own", "change own password and tokens", OBJECT_SITE, 1, SCOPE_LOGIN, 0},
    {RIGHT_ORG_CREATE, "org.create", "make an organization", OBJECT_SITE, 1, SCOPE_LOGIN, NOT_AUDITORS},
    {RIGHT_USERS_READ, "users.read", "read all users", OBJECT_SITE, 2, SCOPE_ADMIN, 0},
    {RIGHT_USER_CREATE, "user.create", "make a user", OBJECT_SITE, 3, SCOPE_LOGIN, 0},
    {RIGHT_SITE_AUDIT, "audit.site", "read the whole audit log", OBJECT_SITE, 2, SCOPE_ADMIN, 0},
    {RIGHT_PLANS_READ, "plans.read", "read the plans", OBJECT_SITE, 1, SCOPE_ADMIN, 0},
    {RIGHT_PLANS, "plans", "change plans and who has which", OBJECT_SITE, 3, SCOPE_ADMIN, 0},
    {RIGHT_SITE_SETTINGS, "site", "change the hub's settings", OBJECT_SITE, 3, SCOPE_LOGIN, 0},
    {RIGHT_ACCOUNT_READ, "account.read", "read the account", OBJECT_ACCOUNT, 1, SCOPE_READ, 0},
    {RIGHT_USER, "user", "change and remove users", OBJECT_ACCOUNT, 4, SCOPE_LOGIN, 0},
    {RIGHT_REPO_CREATE, "repo.create", "make a repository", OBJECT_ACCOUNT, 2, SCOPE_ADMIN, 0},
    {RIGHT_ORG_SETTINGS, "org.settings", "change the organization", OBJECT_ACCOUNT, 3, SCOPE_ADMIN, 0},
    {RIGHT_ORG_DELETE, "org.delete", "remove the organization", OBJECT_ACCOUNT, 3, SCOPE_LOGIN, 0},
    {RIGHT_MEMBERS_READ, "members.read", "read the members", OBJECT_ACCOUNT, 1, SCOPE_READ, 0},
    {RIGHT_MEMBERS, "members", "add, change and remove members", OBJECT_ACCOUNT, 3, SCOPE_ADMIN, 0},
    {RIGHT_LEAVE, "leave", "leave the organization", OBJECT_ACCOUNT, 1, SCOPE_ADMIN, NOT_AUDITORS},
    {RIGHT_TEAMS_READ, "teams.read", "read teams and their members", OBJECT_ACCOUNT, 1, SCOPE_READ, 0},
    {RIGHT_TEAMS, "teams", "change teams and their members", OBJECT_ACCOUNT, 3, SCOPE_ADMIN, 0},
    {RIGHT_ORG_TOKENS, "tokens", "manage tokens of the organization, revoke members' tokens", OBJECT_ACCOUNT, 3, SCOPE_LOGIN, 0},
    {RIGHT_ACCOUNT_AUDIT, "audit", "read the account's audit log", OBJECT_ACCOUNT, 3, SCOPE_ADMIN, AUDITORS},
    {RIGHT_USAGE, "usage", "read the account's usage", OBJECT_ACCOUNT, 3, SCOPE_ADMIN, AUDITORS},
    {RIGHT_PULL, "pull", "pull, list tags and referrers", OBJECT_REPO, RANK_READ, SCOPE_READ, 0},
    {RIGHT_PUSH, "push", "push", OBJECT_REPO, RANK_WRITE, SCOPE_WRITE, CONTENT},
    {RIGHT_DELETE, "delete", "delete tags, manifests and blobs", OBJECT_REPO, RANK_ADMIN, SCOPE_DELETE, CONTENT},
    {RIGHT_PUSH_CREATE, "push.create", "make a repository by a push", OBJECT_ACCOUNT, 2, SCOPE_WRITE, 0},
    {RIGHT_REPO_READ, "read", "read the repository", OBJECT_REPO, RANK_READ, SCOPE_READ, 0},
    {RIGHT_REPO_CONTENT, "content", "delete tags over the API", OBJECT_REPO, RANK_ADMIN, SCOPE_DELETE, CONTENT},
    {RIGHT_REPO_SETTINGS, "settings", "change description, visibility, archive", OBJECT_REPO, RANK_ADMIN, SCOPE_ADMIN, 0},
    {RIGHT_REPO_DELETE, "remove", "delete the repository", OBJECT_REPO, RANK_ADMIN, SCOPE_ADMIN, CONTENT},
    {RIGHT_GRANTS_READ, "grants.read", "read who has access", OBJECT_REPO, RANK_ADMIN, SCOPE_ADMIN, 0},
    {RIGHT_GRANTS, "grants", "grant teams access, share with users", OBJECT_REPO, RANK_ADMIN, SCOPE_ADMIN, 0},
    {RIGHT_EXPLAIN, "explain", "ask why somebody may or may not", OBJECT_REPO, RANK_OWNER, SCOPE_ADMIN, AUDITORS},
};
const size_t n_right_rows = ARRAY_LEN(right_rows);

const struct right_row *right_row(enum right right)
{
    for (size_t i = 0; i < n_right_rows; i++)
        if (right_rows[i].right == right)
            return &right_rows[i];
    BUG_ON(true);
    return NULL;
}

const struct right_row *right_row_named(enum right_object object, struct str name)
{
    for (size_t i = 0; i < n_right_rows; i++)
        if (right_rows[i].object == object && str_is(name, right_rows[i].name))
            return &right_rows[i];
    return NULL;
}

int right_rank(enum right_object object, unsigned standing, const struct rank_row **ret_by)
{
    int rank = RANK_NONE;
    if ((standing & IS_AUDITOR) != 0) /* instead of all that he would be else */
        standing &= IS_AUDITOR | IS_SIGNED_IN | IS_PUBLIC;
    *ret_by = NULL;
    for (size_t i = 0; i < n_rank_rows; i++) {
        const struct rank_row *r = &rank_rows[i];
        if (r->object != object || (standing & r->standing) == 0 || r->rank <= rank)
            continue;
        rank = r->rank;
        *ret_by = r;
    }
    return rank;
}

/* Whether the token reaches far enough. public-read is `read` where everybody may read. */
static bool scope_does(const struct right_ask *ask, const struct right_row *row)
{
    if (!ask->token || row->scope == SCOPE_ANY)
        return true;
    if (row->scope == SCOPE_READ && ask->scope == SCOPE_PUBLIC_READ)
        return row->object == OBJECT_REPO && ask->public;
    return ask->scope >= row->scope; /* no token has SCOPE_LOGIN */
}

/* Whether the object itself may be known: hidden ones look absent. */
static bool seen(const struct right_ask *ask, const struct right_verdict *v)
{
    if (v->row->object == OBJECT_SITE)
        return true;
    if (ask->token && ask->scope == SCOPE_PUBLIC_READ)
        return v->row->object == OBJECT_REPO && ask->public;
    return v->rank >= RANK_READ && (!ask->token || ask->scope > SCOPE_ANY);
}

struct right_verdict right_decide(const struct right_ask *ask)
{
    struct right_verdict v = {.row = right_row(ask->right)};
    const struct right_row *row = v.row;
    bool auditor = (ask->standing & IS_AUDITOR) != 0;
    v.rank = right_rank(row->object, ask->standing, &v.by);
    if (ask->token && row->scope == SCOPE_LOGIN)
        v.answer = RIGHT_NO_TOKEN; /* whatever the object is, and be it absent */
    else if (!seen(ask, &v))
        v.answer = RIGHT_NO_HIDDEN;
    else if (v.rank < row->least && !(auditor && (row->flags & AUDITORS) != 0))
        v.answer = auditor ? RIGHT_NO_AUDITOR : RIGHT_NO;
    else if (auditor && (row->flags & NOT_AUDITORS) != 0)
        v.answer = RIGHT_NO_AUDITOR;
    else if (!scope_does(ask, row))
        v.answer = RIGHT_NO_TOKEN;
    else if ((row->flags & CONTENT) != 0 && ask->archived)
        v.answer = RIGHT_NO_ARCHIVED;
    else
        v.answer = RIGHT_YES;
    return v;
}

/* --- words */

static const char *const scopes[] = {
    [SCOPE_ANY] = "any",     [SCOPE_PUBLIC_READ] = "public-read", [SCOPE_READ] = "read",  [SCOPE_WRITE] = "write",
    [SCOPE_DELETE] = "delete", [SCOPE_ADMIN] = "admin",           [SCOPE_LOGIN] = "login"};
static const char *const levels[] = {"none", "read", "write", "admin", "admin"};

static const char *const ranks[][5] = {
    [OBJECT_SITE] = {"anybody", "signed in", "auditor", "administrator", NULL},
    [OBJECT_ACCOUNT] = {"anybody", "member", "editor", "owner", "administrator"},
    [OBJECT_REPO] = {"none", "read", "write", "admin", "owner"}};
static const char *const objects[] = {"site", "account", "repository"};
static const char *const answers[] = {[RIGHT_YES] = "yes",           [RIGHT_NO_HIDDEN] = "hidden",     [RIGHT_NO] = "no",
                                      [RIGHT_NO_TOKEN] = "token",    [RIGHT_NO_ARCHIVED] = "archived", [RIGHT_NO_AUDITOR] = "auditor"};

const char *rank_name(enum right_object object, int rank) { return ranks[object][rank]; }
const char *object_name(enum right_object object) { return objects[object]; }
const char *answer_name(enum right_answer answer) { return answers[answer]; }
const char *scope_name(enum scope s) { return scopes[s]; }

int scope_parse(struct str text, enum scope *ret)
{
    for (int s = SCOPE_PUBLIC_READ; s <= SCOPE_ADMIN; s++)
        if (str_is(text, scopes[s])) {
            *ret = (enum scope)s;
            return 0;
        }
    return -1;
}

const char *level_name(int rank) { return levels[rank]; }

int level_parse(struct str text, int *ret)
{
    for (int i = RANK_READ; i <= RANK_ADMIN; i++)
        if (str_is(text, levels[i])) {
            *ret = i;
            return 0;
        }
    return -1;
}

/* --- patterns */

bool pattern_fits(struct str pattern, struct str name)
{
    if (pattern.n > 0 && pattern.p[pattern.n - 1] == '*')
        return str_starts(name, (struct str){pattern.p, pattern.n - 1});
    return str_eq(pattern, name);
}

/* A star ends a pattern, and a pattern says whose repositories it means: `*` alone, or NS/... */
int pattern_check(struct str pattern, struct err *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyz0123456789._-/*";
    bool good = pattern.n > 0 && pattern.n <= 255;
    for (size_t i = 0; good && i < pattern.n; i++)
        good = memchr(allowed, pattern.p[i], sizeof allowed - 1) != NULL && (pattern.p[i] != '*' || i + 1 == pattern.n);
    if (good && !str_is(pattern, "*"))
        good = memchr(pattern.p, '/', pattern.n) != NULL && pattern.p[0] != '/' && pattern.p[pattern.n - 1] != '/';
    return good ? 0 : err_set(err, ERR_USAGE, "a pattern is *, NAMESPACE/*, NAMESPACE/PREFIX* or NAMESPACE/NAME, not \"%.*s\"",
                              STR_FMT(pattern));
}
