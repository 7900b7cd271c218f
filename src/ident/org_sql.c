/* Statements of members and teams. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char MEMBER_SET[] = "INSERT INTO members (org_id, user_id, role, source, created_at) VALUES ($1, $2, $3, $4, $5) "
                                 "ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role, source = excluded.source";
static const char NO_PERSONAL_PUSH[] = "SELECT a.name FROM members m JOIN accounts a ON a.id = m.org_id WHERE m.user_id = $1 "
                                       "AND a.no_personal_push = 1 AND a.state = 0 ORDER BY a.name LIMIT 1";
static const char MEMBER_FIND[] = "SELECT m.user_id, m.role, m.created_at, a.name FROM members m JOIN accounts a "
                                  "ON a.id = m.user_id WHERE m.org_id = $1 AND m.user_id = $2";
static const char MEMBER_REMOVE[] = "DELETE FROM members WHERE org_id = $1 AND user_id = $2";
static const char MEMBER_LEAVE_TEAMS[] =
    "DELETE FROM team_members WHERE user_id = $2 AND team_id IN (SELECT id FROM teams WHERE org_id = $1)";
static const char OTHER_OWNERS[] = "SELECT m.user_id FROM members m JOIN accounts a ON a.id = m.user_id "
                                   "WHERE m.org_id = $1 AND m.role = 3 AND m.user_id <> $2 AND a.state = 0 LIMIT 1";
static const char SOLE_OWNER[] =
    "SELECT o.name FROM members m JOIN accounts o ON o.id = m.org_id WHERE m.user_id = $1 AND m.role = 3 AND o.state = 0 "
    "AND NOT EXISTS (SELECT 1 FROM members x JOIN accounts a ON a.id = x.user_id WHERE x.org_id = m.org_id AND x.role = 3 "
    "AND x.user_id <> $1 AND a.state = 0) LIMIT 1";
static const char REMOVE_MEMBERSHIPS[] = "DELETE FROM members WHERE user_id = $1";
static const char REMOVE_TEAMS[] = "DELETE FROM team_members WHERE user_id = $1";
static const char REMOVE_COLLABORATIONS[] = "DELETE FROM collaborators WHERE user_id = $1";
static const char TEAM_FIND[] =
    "SELECT t.id, t.created_at, (SELECT count(*) FROM team_members m WHERE m.team_id = t.id), t.name, t.description "
    "FROM teams t WHERE t.org_id = $1 AND t.name = $2";

static const char MEMBERS[] = "SELECT m.user_id, m.role, m.created_at, a.name FROM members m JOIN accounts a ON a.id = m.user_id "
                              "WHERE m.org_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3";
static const char ALL_ORGS[] = "SELECT " ACCOUNT_COLUMNS ", coalesce(m.role, 0) FROM accounts a LEFT JOIN members m "
                               "ON m.org_id = a.id AND m.user_id = $3 WHERE a.kind = 1 AND a.state = 0 AND a.name > $1 "
                               "ORDER BY a.name LIMIT $2";
static const char MY_ORGS[] = "SELECT " ACCOUNT_COLUMNS ", m.role FROM members m JOIN accounts a ON a.id = m.org_id "
                              "WHERE m.user_id = $3 AND a.state = 0 AND a.name > $1 ORDER BY a.name LIMIT $2";
static const char THIS_ORG[] = "SELECT " ACCOUNT_COLUMNS ", 0 FROM accounts a WHERE a.id = $3 AND a.name > $1 LIMIT $2";
static const char TEAMS[] =
    "SELECT t.id, t.created_at, (SELECT count(*) FROM team_members m WHERE m.team_id = t.id), t.name, t.description "
    "FROM teams t WHERE t.org_id = $1 AND t.name > $2 ORDER BY t.name LIMIT $3";
static const char TEAM_ADD[] = "INSERT INTO teams (org_id, name, description, created_at) VALUES ($1, $2, $3, $4)";
static const char TEAM_SET[] = "UPDATE teams SET name = $2, description = $3 WHERE id = $1";
static const char TEAM_DROP[] = "DELETE FROM teams WHERE id = $1";
static const char TEAM_MEMBERS[] = "SELECT a.name, m.created_at FROM team_members m JOIN accounts a ON a.id = m.user_id "
                              "WHERE m.team_id = $1 AND a.name > $2 ORDER BY a.name LIMIT $3";
static const char TEAM_MEMBER_ADD[] = "INSERT INTO team_members (team_id, user_id, source, created_at) VALUES ($1, $2, 'local', $3) "
                                 "ON CONFLICT (team_id, user_id) DO NOTHING";
static const char TEAM_MEMBER_DROP[] = "DELETE FROM team_members WHERE team_id = $1 AND user_id = $2";
static const char TEAM_BY_ID[] =
    "SELECT t.id, t.created_at, (SELECT count(*) FROM team_members m WHERE m.team_id = t.id), t.name, t.description "
    "FROM teams t WHERE t.org_id = $1 AND t.id = $2";
static const char TEAM_HAS[] = "SELECT 1 FROM team_members WHERE team_id = $1 AND user_id = $2";
enum { TOKEN_ROWS = 10000 };

int member_tx_set(struct db_tx *tx, int64_t org_id, int64_t user_id, enum member_role role, const char *source, struct err *err)
{
    int rc = db_exec(tx, MEMBER_SET, DB_ARGS(DB_I(org_id), DB_I(user_id), DB_I(role), DB_T(str_of(source)), DB_I(clock_now())),
                     NULL, err);
    return rc < 0 ? rc : usage_tx_seats(tx, org_id, err);
}

static void map_member(const struct db_rows *row, void *out)
{
    struct member_row *m = out;
    m->user_id = db_int(row, 0);
    m->role = db_int(row, 1);
    m->created_at = db_int(row, 2);
    text_copy(m->user, sizeof m->user, db_text(row, 3));
}

int member_tx_find(struct db_tx *tx, int64_t org_id, int64_t user_id, struct member_row *ret, struct err *err)
{
    return db_one(tx, MEMBER_FIND, DB_ARGS(DB_I(org_id), DB_I(user_id)), map_member, ret, err);
}

int member_tx_remove(struct db_tx *tx, int64_t org_id, int64_t user_id, struct err *err)
{
    int rc = db_exec(tx, MEMBER_LEAVE_TEAMS, DB_ARGS(DB_I(org_id), DB_I(user_id)), NULL, err);
    if (rc == 0)
        rc = db_exec(tx, MEMBER_REMOVE, DB_ARGS(DB_I(org_id), DB_I(user_id)), NULL, err);
    return rc < 0 ? rc : usage_tx_seats(tx, org_id, err);
}

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int member_tx_spare_owner(struct db_tx *tx, int64_t org_id, int64_t user_id, struct err *err)
{
    int64_t other;
    int rc = db_one(tx, OTHER_OWNERS, DB_ARGS(DB_I(org_id), DB_I(user_id)), map_int, &other, err);
    if (rc == 0)
        return err_set(err, ERR_EXISTS, "an organization keeps at least one owner: make somebody else an owner first");
    return rc < 0 ? rc : 0;
}

static void map_name(const struct db_rows *row, void *out) { text_copy(out, ACCOUNT_NAME_MAX + 1, db_text(row, 0)); }

int member_tx_personal_push(struct db_tx *tx, int64_t user_id, struct err *err)
{
    char org[ACCOUNT_NAME_MAX + 1];
    int rc = db_one(tx, NO_PERSONAL_PUSH, DB_ARGS(DB_I(user_id)), map_name, org, err);
    return rc == 1 ? err_set(err, ERR_DENIED, "the organization \"%s\" lets its members push nothing into their own namespaces", org) : rc;
}

int member_tx_sole_owner(struct db_tx *tx, int64_t user_id, char ret_org[ACCOUNT_NAME_MAX + 1], struct err *err)
{
    return db_one(tx, SOLE_OWNER, DB_ARGS(DB_I(user_id)), map_name, ret_org, err);
}

int member_tx_remove_all(struct db_tx *tx, int64_t user_id, struct err *err)
{
    static const char *const each[] = {REMOVE_MEMBERSHIPS, REMOVE_TEAMS, REMOVE_COLLABORATIONS};
    struct usage_ids ids[2] = {{NULL, 0}, {NULL, 0}};
    int rc = usage_tx_concerned(tx, user_id, ids, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(each); i++)
        rc = db_exec(tx, each[i], DB_ARGS(DB_I(user_id)), NULL, err);
    if (rc >= 0)
        rc = usage_tx_recount(tx, ids, err);
    free(ids[0].v);
    free(ids[1].v);
    return rc < 0 ? rc : 0;
}

static void map_team(const struct db_rows *row, void *out)
{
    struct team_row *t = out;
    t->id = db_int(row, 0);
    t->created_at = db_int(row, 1);
    t->members = db_int(row, 2);
    text_copy(t->name, sizeof t->name, db_text(row, 3));
    text_copy(t->description, sizeof t->description, db_text(row, 4));
}

int team_tx_find(struct db_tx *tx, int64_t org_id, struct str name, struct team_row *ret, struct err *err)
{
    return db_one(tx, TEAM_FIND, DB_ARGS(DB_I(org_id), DB_T(name)), map_team, ret, err);
}

int team_tx_by_id(struct db_tx *tx, const struct account *org, int64_t id, struct team_row *ret, struct err *err)
{
    int rc = account_is_org(org, err);
    if (rc == 0)
        rc = db_one(tx, TEAM_BY_ID, DB_ARGS(DB_I(org->id), DB_I(id)), map_team, ret, err);
    else
        return rc;
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "there is no such team") : rc < 0 ? rc : 0;
}

int team_tx_has(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err)
{
    int64_t one;
    return db_one(tx, TEAM_HAS, DB_ARGS(DB_I(team_id), DB_I(user_id)), map_int, &one, err);
}

int team_tx_insert(struct db_tx *tx, int64_t org_id, struct str name, struct str about, struct err *err)
{
    return db_exec(tx, TEAM_ADD, DB_ARGS(DB_I(org_id), DB_T(name), DB_T(about.p ? about : STR_LIT("")), DB_I(clock_now())), NULL, err);
}

int team_tx_update(struct db_tx *tx, int64_t id, struct str name, struct str about, struct err *err)
{
    return db_exec(tx, TEAM_SET, DB_ARGS(DB_I(id), DB_T(name), DB_T(about)), NULL, err);
}

int team_tx_drop(struct db_tx *tx, const struct team_row *t, struct err *err)
{
    return db_exec(tx, TEAM_DROP, DB_ARGS(DB_I(t->id)), NULL, err);
}

int team_member_tx_add(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err)
{
    return db_exec(tx, TEAM_MEMBER_ADD, DB_ARGS(DB_I(team_id), DB_I(user_id), DB_I(clock_now())), NULL, err);
}

int team_member_tx_drop(struct db_tx *tx, int64_t team_id, int64_t user_id, struct err *err)
{
    int64_t changed = 0;
    int rc = db_exec(tx, TEAM_MEMBER_DROP, DB_ARGS(DB_I(team_id), DB_I(user_id)), &changed, err);
    return rc < 0 ? rc : changed > 0;
}

/* --- lists */

int org_tx_each(struct db_tx *tx, const struct principal *p, struct str after, int64_t n,
                int (*fn)(void *arg, const struct account *org, int64_t role), void *arg, struct err *err)
{
    const char *sql = p->role != SITE_NONE ? ALL_ORGS : p->kind == WHO_ORG ? THIS_ORG : MY_ORGS;
    auto_rows struct db_rows *rows = NULL;
    int64_t left = n;
    /* A token leaves out what its bounds do not reach, so the number of rows is not known beforehand. */
    int rc = db_query(tx, sql, DB_ARGS(DB_T(after), DB_I(p->credential_id ? TOKEN_ROWS : n), DB_I(p->user_id)), &rows, err);
    while (rc == 0 && left > 0 && (rc = db_next(rows, err)) == 1) {
        struct account a;
        account_map(rows, &a);
        rc = 0;
        if (principal_scope_account(p, str_of(a.name)) < SCOPE_READ || (p->role == SITE_NONE && !org_takes(&a, p)))
            continue;
        left--;
        rc = fn(arg, &a, db_int(rows, ACCOUNT_COLUMNS_N));
    }
    return rc < 0 ? rc : 0;
}

int member_tx_each(struct db_tx *tx, int64_t org_id, struct str after, int64_t n,
                   int (*fn)(void *arg, const struct member_row *m), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, MEMBERS, DB_ARGS(DB_I(org_id), DB_T(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct member_row m;
        map_member(rows, &m);
        rc = fn(arg, &m);
    }
    return rc < 0 ? rc : 0;
}

int team_tx_each(struct db_tx *tx, int64_t org_id, struct str after, int64_t n,
                 int (*fn)(void *arg, const struct team_row *t), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, TEAMS, DB_ARGS(DB_I(org_id), DB_T(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct team_row t;
        map_team(rows, &t);
        rc = fn(arg, &t);
    }
    return rc < 0 ? rc : 0;
}

int team_member_tx_each(struct db_tx *tx, int64_t team_id, struct str after, int64_t n,
                        int (*fn)(void *arg, struct str user, int64_t joined_at), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, TEAM_MEMBERS, DB_ARGS(DB_I(team_id), DB_T(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = fn(arg, db_text(rows, 0), db_int(rows, 1));
    return rc < 0 ? rc : 0;
}
