/* Statements of namespaces and repositories, and of what somebody is to them. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char NAMESPACE_ADD[] = "INSERT INTO namespaces (name, owner_id, created_at) VALUES ($1, $2, $3)";
/* Deleted ones wait under names below '!~'. */
#define LOCKED                                                                                                      \
    "CAST(CASE WHEN r.public = 0 AND p.private_repos >= 0 AND (SELECT count(*) FROM repos o WHERE "                 \
    "o.namespace_id = r.namespace_id AND o.public = 0 AND o.name > '!~' AND o.id < r.id) >= p.private_repos "      \
    "THEN 1 ELSE 0 END AS BIGINT)"
static const char REPO_FIND[] = "SELECT " ACCOUNT_COLUMNS ", r.id, r.namespace_id, r.public, r.archived, " LOCKED " FROM repos r "
                                "JOIN namespaces n ON n.id = r.namespace_id JOIN accounts a ON a.id = n.owner_id "
                                "LEFT JOIN plans p ON p.id = coalesce(a.plan_id, (SELECT id FROM plans WHERE site_default = 1)) "
                                "WHERE r.name = $1";
static const char REPO_ADD[] = "INSERT INTO repos (namespace_id, name, public, created_at, updated_at) "
                               "SELECT id, $2, $3, $4, $4 FROM namespaces WHERE owner_id = $1";
static const char RELATION[] =
    "SELECT coalesce((SELECT role FROM members WHERE org_id = $1 AND user_id = $2), 0), "
    "coalesce((SELECT max(g.level) FROM team_grants g JOIN team_members m ON m.team_id = g.team_id "
    "WHERE g.repo_id = $3 AND m.user_id = $2), 0), "
    "coalesce((SELECT level FROM collaborators WHERE repo_id = $3 AND user_id = $2), 0)";

static const char REPO_TEXTS[] = "SELECT description, full_description, created_at, updated_at FROM repos WHERE id = $1";
static const char REPO_SET[] = "UPDATE repos SET description = $2, full_description = $3, public = $4, archived = $5, updated_at = $6 "
                          "WHERE id = $1";
static const char GRANTS[] = "SELECT t.name, g.level, t.id FROM team_grants g JOIN teams t ON t.id = g.team_id "
                             "WHERE g.repo_id = $1 AND t.name > $2 ORDER BY t.name LIMIT $3";
static const char GRANT_SET[] = "INSERT INTO team_grants (repo_id, team_id, level) VALUES ($1, $2, $3) "
                                "ON CONFLICT (repo_id, team_id) DO UPDATE SET level = excluded.level";
static const char GRANT_DROP[] = "DELETE FROM team_grants WHERE repo_id = $1 AND team_id = $2";
static const char REPO_UNGRANT[] = "DELETE FROM team_grants WHERE repo_id = $1";
static const char REPO_UNSHARE[] = "DELETE FROM collaborators WHERE repo_id = $1";
static const char REPO_UNNAME[] = "UPDATE repos SET name = $2, public = 0, archived = 0 WHERE id = $1";

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
    f->locked = db_int(row, ACCOUNT_COLUMNS_N + 4) != 0;
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
    if (org->need_mfa && !p->second_factor)
        return false;
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

struct texts_out {
    struct arena *arena;
    struct repo_texts *texts;
};

static void map_texts(const struct db_rows *row, void *out)
{
    struct texts_out *o = out;
    o->texts->about = str_of(str_dup(o->arena, db_text(row, 0)));
    o->texts->full = str_of(str_dup(o->arena, db_text(row, 1)));
    o->texts->created_at = db_int(row, 2);
    o->texts->updated_at = db_int(row, 3) ? db_int(row, 3) : db_int(row, 2);
}

int repo_tx_texts(struct db_tx *tx, struct arena *a, int64_t repo_id, struct repo_texts *ret, struct err *err)
{
    struct texts_out out = {a, ret};
    return db_one(tx, REPO_TEXTS, DB_ARGS(DB_I(repo_id)), map_texts, &out, err);
}

int repo_tx_update(struct db_tx *tx, const struct repo_fact *f, struct str about, struct str full, struct err *err)
{
    return db_exec(tx, REPO_SET,
                   DB_ARGS(DB_I(f->id), DB_T(about), DB_T(full), DB_I(f->public), DB_I(f->archived), DB_I(clock_now())), NULL, err);
}

int repo_tx_unname(struct db_tx *tx, int64_t repo_id, struct str name, struct err *err)
{
    static const char *const each[] = {REPO_UNGRANT, REPO_UNSHARE};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(each); i++)
        rc = db_exec(tx, each[i], DB_ARGS(DB_I(repo_id)), NULL, err);
    return rc < 0 ? rc : db_exec(tx, REPO_UNNAME, DB_ARGS(DB_I(repo_id), DB_T(name)), NULL, err);
}

int grant_tx_each(struct db_tx *tx, int64_t repo_id, struct str after, int64_t n,
                  int (*fn)(void *arg, const struct grant_row *g), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, GRANTS, DB_ARGS(DB_I(repo_id), DB_T(after), DB_I(n)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        struct grant_row g = {.level = db_int(rows, 1), .team_id = db_int(rows, 2)};
        text_copy(g.team, sizeof g.team, db_text(rows, 0));
        rc = fn(arg, &g);
    }
    return rc < 0 ? rc : 0;
}

int grant_tx_put(struct db_tx *tx, int64_t repo_id, int64_t team_id, int level, struct err *err)
{
    return db_exec(tx, GRANT_SET, DB_ARGS(DB_I(repo_id), DB_I(team_id), DB_I(level)), NULL, err);
}

int grant_tx_drop(struct db_tx *tx, int64_t repo_id, int64_t team_id, struct err *err)
{
    int64_t changed = 0;
    int rc = db_exec(tx, GRANT_DROP, DB_ARGS(DB_I(repo_id), DB_I(team_id)), &changed, err);
    return rc < 0 ? rc : changed > 0;
}
