/* Statements of members and teams. */
#include "ident/ident_int.h"

static const char MEMBER_SET[] = "INSERT INTO members (org_id, user_id, role, source, created_at) VALUES ($1, $2, $3, $4, $5) "
                                 "ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role, source = excluded.source";
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

int member_tx_set(struct db_tx *tx, int64_t org_id, int64_t user_id, enum member_role role, const char *source, struct err *err)
{
    return db_exec(tx, MEMBER_SET, DB_ARGS(DB_I(org_id), DB_I(user_id), DB_I(role), DB_T(str_of(source)), DB_I(clock_now())), NULL,
                   err);
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
    return rc < 0 ? rc : db_exec(tx, MEMBER_REMOVE, DB_ARGS(DB_I(org_id), DB_I(user_id)), NULL, err);
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

int member_tx_sole_owner(struct db_tx *tx, int64_t user_id, char ret_org[ACCOUNT_NAME_MAX + 1], struct err *err)
{
    return db_one(tx, SOLE_OWNER, DB_ARGS(DB_I(user_id)), map_name, ret_org, err);
}

int member_tx_remove_all(struct db_tx *tx, int64_t user_id, struct err *err)
{
    static const char *const each[] = {REMOVE_MEMBERSHIPS, REMOVE_TEAMS, REMOVE_COLLABORATIONS};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(each); i++)
        rc = db_exec(tx, each[i], DB_ARGS(DB_I(user_id)), NULL, err);
    return rc;
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
