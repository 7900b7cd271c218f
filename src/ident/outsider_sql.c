/* Statements of identities and of the teams that groups are. */
#include "ident/outside.h"

static const char FIND[] = "SELECT account_id FROM identities WHERE provider = $1 AND subject = $2";
static const char ADD[] = "INSERT INTO identities (provider, subject, account_id, created_at, seen_at) VALUES ($1, $2, $3, $4, $4)";
static const char SEEN[] = "UPDATE identities SET seen_at = $3 WHERE provider = $1 AND subject = $2";
static const char TEXTS[] = "UPDATE accounts SET full_name = $2, email = $3, updated_at = $4 WHERE id = $1";
static const char LOGIN_AT[] = "UPDATE accounts SET last_login_at = $2 WHERE id = $1";
static const char TEAMS[] = "SELECT g.team_id, t.org_id FROM team_groups g JOIN teams t ON t.id = g.team_id JOIN accounts o ON o.id = t.org_id "
                            "WHERE g.provider = $1 AND g.name = $2 AND o.state = 0 ORDER BY g.team_id LIMIT $3";
static const char MINE[] = "SELECT m.team_id, t.org_id FROM team_members m JOIN teams t ON t.id = m.team_id WHERE m.user_id = $1 AND m.source = $2 "
                           "ORDER BY m.team_id";
static const char MY_ORGS[] = "SELECT 0, org_id FROM members WHERE user_id = $1 AND source = $2 ORDER BY org_id";
static const char JOIN[] = "INSERT INTO team_members (team_id, user_id, source, created_at) VALUES ($1, $2, $3, $4) "
                           "ON CONFLICT (team_id, user_id) DO NOTHING";
static const char LEAVE[] = "DELETE FROM team_members WHERE team_id = $1 AND user_id = $2 AND source = $3";

static const char END_EPOCH[] = "UPDATE accounts SET epoch = epoch + 1 WHERE id = $1";

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int identity_tx_find(struct db_tx *tx, const struct outsider *o, int64_t *ret_account, struct err *err)
{
    return db_one(tx, FIND, DB_ARGS(DB_T(str_of(o->provider)), DB_T(o->subject)), map_int, ret_account, err);
}

int identity_tx_add(struct db_tx *tx, const struct outsider *o, int64_t account_id, struct err *err)
{
    int64_t now = clock_now();
    int rc = db_exec(tx, ADD, DB_ARGS(DB_T(str_of(o->provider)), DB_T(o->subject), DB_I(account_id), DB_I(now)), NULL, err);
    return rc < 0 ? rc : db_exec(tx, TEXTS, DB_ARGS(DB_I(account_id), DB_T(o->full_name), DB_T(o->email), DB_I(now)), NULL, err);
}

int identity_tx_seen(struct db_tx *tx, const struct outsider *o, int64_t account_id, struct err *err)
{
    int64_t now = clock_now();
    int rc = db_exec(tx, SEEN, DB_ARGS(DB_T(str_of(o->provider)), DB_T(o->subject), DB_I(now)), NULL, err);
    return rc < 0 ? rc : db_exec(tx, LOGIN_AT, DB_ARGS(DB_I(account_id), DB_I(now)), NULL, err);
}

int identity_tx_left(struct db_tx *tx, int64_t account_id, struct err *err)
{
    int rc = account_tx_end_logins(tx, account_id, err);
    return rc < 0 ? rc : db_exec(tx, END_EPOCH, DB_ARGS(DB_I(account_id)), NULL, err);
}

static int read_teams(struct db_rows *rows, struct teams *t, struct err *err)
{
    int rc;
    while ((rc = db_next(rows, err)) == 1) {
        bool known = false;
        for (size_t k = 0; k < t->n; k++)
            known = known || (t->t[k].team == db_int(rows, 0) && t->t[k].org == db_int(rows, 1));
        if (!known && t->n < GROUP_TEAMS_MAX)
            t->t[t->n++] = (struct team_of){db_int(rows, 0), db_int(rows, 1)};
    }
    return rc;
}

int teams_tx_of_group(struct db_tx *tx, const char *provider, struct str group, struct teams *add, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, TEAMS, DB_ARGS(DB_T(str_of(provider)), DB_T(group), DB_I(GROUP_TEAMS_MAX)), &rows, err);
    return rc < 0 ? rc : read_teams(rows, add, err);
}

static int held(struct db_tx *tx, const char *sql, int64_t account_id, const char *source, struct teams *ret, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    ret->n = 0;
    int rc = db_query(tx, sql, DB_ARGS(DB_I(account_id), DB_T(str_of(source))), &rows, err);
    return rc < 0 ? rc : read_teams(rows, ret, err);
}

int teams_tx_held(struct db_tx *tx, int64_t account_id, const char *source, struct teams *ret, struct err *err)
{
    return held(tx, MINE, account_id, source, ret, err);
}

int orgs_tx_held(struct db_tx *tx, int64_t account_id, const char *source, struct teams *ret, struct err *err)
{
    return held(tx, MY_ORGS, account_id, source, ret, err);
}

int team_tx_join(struct db_tx *tx, int64_t team_id, int64_t account_id, const char *source, struct err *err)
{
    return db_exec(tx, JOIN, DB_ARGS(DB_I(team_id), DB_I(account_id), DB_T(str_of(source)), DB_I(clock_now())), NULL, err);
}

int team_tx_quit(struct db_tx *tx, int64_t team_id, int64_t account_id, const char *source, struct err *err)
{
    return db_exec(tx, LEAVE, DB_ARGS(DB_I(team_id), DB_I(account_id), DB_T(str_of(source))), NULL, err);
}
