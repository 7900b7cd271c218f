/* Statements of namespaces and repositories, and of what somebody is to them. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char NAMESPACE_ADD[] = "INSERT INTO namespaces (name, owner_id, created_at) VALUES ($1, $2, $3)";
static const char REPO_FIND[] = "SELECT " ACCOUNT_COLUMNS ", r.id, r.namespace_id, r.public, r.archived FROM repos r "
                                "JOIN namespaces n ON n.id = r.namespace_id JOIN accounts a ON a.id = n.owner_id "
                                "WHERE r.name = $1";
static const char REPO_ADD[] = "INSERT INTO repos (namespace_id, name, public, created_at, updated_at) "
                               "SELECT id, $2, $3, $4, $4 FROM namespaces WHERE owner_id = $1";
static const char RELATION[] =
    "SELECT coalesce((SELECT role FROM members WHERE org_id = $1 AND user_id = $2), 0), "
    "coalesce((SELECT max(g.level) FROM team_grants g JOIN team_members m ON m.team_id = g.team_id "
    "WHERE g.repo_id = $3 AND m.user_id = $2), 0), "
    "coalesce((SELECT level FROM collaborators WHERE repo_id = $3 AND user_id = $2), 0)";

int namespace_tx_add(struct db_tx *tx, struct str name, int64_t owner_id, int64_t now, struct err *err)
{
    return db_exec(tx, NAMESPACE_ADD, DB_ARGS(DB_T(name), DB_I(owner_id), DB_I(now)), NULL, err);
}

static void fact_free(struct shared *s) { free(s); }

static void map_repo(const struct db_rows *row, void *out)
{
    struct repo_fact *f = mem_zalloc(sizeof *f);
    shared_init(&f->shared, sizeof *f, fact_free);
    account_map(row, &f->owner);
    f->owner_id = f->owner.id;
    f->id = db_int(row, ACCOUNT_COLUMNS_N);
    f->namespace_id = db_int(row, ACCOUNT_COLUMNS_N + 1);
    f->public = db_int(row, ACCOUNT_COLUMNS_N + 2) != 0;
    f->archived = db_int(row, ACCOUNT_COLUMNS_N + 3) != 0;
    *(struct repo_fact **)out = f;
}

int ident_tx_repo(struct db_tx *tx, struct str name, struct repo_fact **ret, struct err *err)
{
    return db_one(tx, REPO_FIND, DB_ARGS(DB_T(name)), map_repo, ret, err);
}

int repo_tx_add(struct db_tx *tx, int64_t owner_id, struct str name, bool public, int64_t now, struct err *err)
{
    return db_exec(tx, REPO_ADD, DB_ARGS(DB_I(owner_id), DB_T(name), DB_I(public), DB_I(now)), NULL, err);
}

struct relation_row {
    int64_t role, team, collaborator;
};

static void map_relation(const struct db_rows *row, void *out)
{
    *(struct relation_row *)out = (struct relation_row){db_int(row, 0), db_int(row, 1), db_int(row, 2)};
}

bool org_takes(const struct account *org, const struct principal *p)
{
    if (p->credential_kind != CREDENTIAL_PERSONAL)
        return true;
    return org->personal_tokens &&
           (org->token_max_days == 0 || (p->credential_days > 0 && p->credential_days <= org->token_max_days));
}

static unsigned member_standing(const struct account *org, const struct relation_row *row)
{
    static const unsigned teams[] = {0, BY_TEAM_READ, BY_TEAM_WRITE, BY_TEAM_ADMIN};
    unsigned s = IS_MEMBER;
    if (row->role == MEMBER_OWNER)
        s |= IS_ORG_OWNER;
    if (row->role == MEMBER_EDITOR)
        s |= IS_ORG_EDITOR;
    if (org->default_access >= RANK_READ)
        s |= org->default_access >= RANK_WRITE ? BY_DEFAULT_WRITE : BY_DEFAULT_READ;
    if (row->team >= RANK_READ && row->team <= RANK_ADMIN)
        s |= teams[row->team];
    return s;
}

int relation_tx(struct db_tx *tx, const struct principal *p, const struct account *owner, int64_t repo_id,
                unsigned *standing, struct err *err)
{
    struct relation_row row = {0, 0, 0};
    int rc = db_one(tx, RELATION, DB_ARGS(DB_I(owner->id), DB_I(p->user_id), DB_I(repo_id)), map_relation, &row, err);
    if (rc < 0)
        return rc;
    if (owner->kind == ACCOUNT_ORG && row.role != MEMBER_NONE && org_takes(owner, p))
        *standing |= member_standing(owner, &row);
    if (owner->kind == ACCOUNT_USER && row.collaborator != 0)
        *standing |= row.collaborator >= RANK_WRITE ? BY_COLLABORATION_WRITE : BY_COLLABORATION_READ;
    return 0;
}
