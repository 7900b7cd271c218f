/* What can be changed of organizations: members, teams and who is in them. */
#include "ident/api.h"

const char *member_role_name(int64_t role)
{
    return role >= MEMBER_MEMBER && role <= MEMBER_OWNER ? words_member_role[role - MEMBER_MEMBER] : "none";
}

enum member_role member_role_of(struct str word)
{
    for (int i = 0; words_member_role[i] != NULL; i++)
        if (str_is(word, words_member_role[i]))
            return (enum member_role)(i + MEMBER_MEMBER);
    return MEMBER_NONE;
}

int member_tx_change(struct db_tx *tx, const struct change *c, struct str name, enum member_role role, struct member_row *ret,
                     struct err *err)
{
    const struct account *org = &c->now.account;
    struct account user;
    int rc = account_is_org(org, err);
    if (rc == 0 && str_is(c->now.account_name, "library"))
        rc = err_set(err, ERR_EXISTS, "library belongs to the hub: only administrators change what is in it");
    if (rc < 0 || (rc = account_tx_user(tx, name, &user, err)) < 0 || (rc = member_tx_find(tx, org->id, user.id, ret, err)) < 0)
        return rc;
    bool is = rc == 1;
    if (!is && role == MEMBER_NONE)
        return err_set(err, ERR_NOT_FOUND, "\"%s\" is not a member", user.name);
    if (is && ret->role == MEMBER_OWNER && role != MEMBER_OWNER && (rc = member_tx_spare_owner(tx, org->id, user.id, err)) < 0)
        return rc;
    if (role == MEMBER_NONE)
        return member_tx_remove(tx, org->id, user.id, err);
    if ((rc = member_tx_set(tx, org->id, user.id, role, "local", err)) < 0)
        return rc;
    rc = member_tx_find(tx, org->id, user.id, ret, err);
    return rc < 0 ? rc : 0;
}

/* --- teams */

int team_tx_get(struct db_tx *tx, const struct account *org, struct str name, struct team_row *ret, struct err *err)
{
    int rc = account_is_org(org, err);
    if (rc == 0)
        rc = team_tx_find(tx, org->id, name, ret, err);
    else
        return rc;
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "there is no team \"%.*s\"", STR_FMT(name)) : rc < 0 ? rc : 0;
}

static int name_free(struct db_tx *tx, int64_t org_id, struct str name, struct err *err)
{
    struct team_row other;
    int rc = team_tx_find(tx, org_id, name, &other, err);
    return rc == 1 ? err_set(err, ERR_EXISTS, "team \"%.*s\" exists", STR_FMT(name)) : rc;
}

int team_tx_add(struct db_tx *tx, const struct change *c, struct str name, struct str about, struct team_row *ret, struct err *err)
{
    const struct account *org = &c->now.account;
    int rc = account_is_org(org, err);
    if (rc < 0 || (rc = name_free(tx, org->id, name, err)) < 0 || (rc = team_tx_insert(tx, org->id, name, about, err)) < 0)
        return rc;
    return team_tx_get(tx, org, name, ret, err);
}

int team_tx_set(struct db_tx *tx, const struct change *c, struct team_row *t, struct str name, struct str about, struct err *err)
{
    const struct account *org = &c->now.account;
    int rc = 0;
    if (name.p == NULL)
        name = str_of(t->name);
    else if (!str_is(name, t->name))
        rc = name_free(tx, org->id, name, err);
    if (rc < 0 || (rc = team_tx_update(tx, t->id, name, about.p ? about : str_of(t->description), err)) < 0)
        return rc;
    return team_tx_get(tx, org, name, t, err);
}

int team_tx_member(struct db_tx *tx, const struct change *c, const struct team_row *t, struct str name, bool adds, struct err *err)
{
    struct account user;
    struct member_row member;
    int rc = account_tx_user(tx, name, &user, err);
    if (rc < 0 || (rc = member_tx_find(tx, c->now.account.id, user.id, &member, err)) < 0)
        return rc;
    if (rc == 0 && adds)
        return err_set(err, ERR_EXISTS, "\"%s\" is not a member of the organization: add the member first", user.name);
    if (adds)
        return team_member_tx_add(tx, t->id, user.id, err);
    rc = team_member_tx_drop(tx, t->id, user.id, err);
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "\"%s\" is not in the team", user.name) : rc < 0 ? rc : 0;
}
