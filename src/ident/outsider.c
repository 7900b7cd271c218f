/* People whom a directory or an identity provider vouches for: the account that is theirs, made when they come for the first
 * time, and the teams that their groups are.
 *
 * The name: what the provider calls them, in lower case, up to an '@'; each run of other characters than a-z and 0-9 becomes one
 * dash; a name that is taken, or ever was, or is reserved, gets -2, -3, ... behind it. An account that is here already is never
 * taken over, whatever its name or e-mail address: identities are (provider, subject).
 *
 * Teams and memberships that came by a group go with it; what was given here by hand stays. */
#include "ident/outside.h"
#include "policy/quota.h"

#include <stdio.h>
#include <stdlib.h>

enum { SUFFIX_MAX = 999 };

struct coming {
    const struct outsider *o;
    struct http_req *r;
    char wish[ACCOUNT_NAME_MAX + 1]; /* first choice of a name */
    struct account account;
    const char *source;
    struct teams want, have;
};

/* --- the name */

/* A name that no account has or had. */
static int free_name(struct db_tx *tx, const char *wish, char ret[ACCOUNT_NAME_MAX + 1], struct err *err)
{
    for (int k = 1; k <= SUFFIX_MAX; k++) {
        struct account a;
        if (k == 1)
            snprintf(ret, ACCOUNT_NAME_MAX + 1, "%.60s", wish);
        else
            snprintf(ret, ACCOUNT_NAME_MAX + 1, "%.60s-%d", wish, k);
        if (ident_account_name_check(str_of(ret), NULL) < 0)
            continue;
        int rc = account_tx_find(tx, str_of(ret), &a, err);
        if (rc <= 0)
            return rc;
    }
    return err_set(err, ERR_EXISTS, "every name like \"%s\" is taken", wish);
}

/* --- whose it is */

static int record(struct db_tx *tx, const struct coming *c, const char *action, struct err *err)
{
    char *data = NULL;
    json_t *doc = json_pack("{s:s,s:s%}", "provider", c->o->provider, "subject", c->o->subject.p, c->o->subject.n);
    data = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    struct audit_row row = record_row(c->r, NULL, action, str_of(c->account.name));
    row.account_id = row.actor_id = c->account.id;
    row.actor = str_of(c->account.name);
    row.data = str_of(data ? data : "");
    int rc = audit_tx_add(tx, &row, err);
    free(data);
    json_decref(doc);
    return rc;
}

static int make(struct db_tx *tx, struct coming *c, struct err *err)
{
    char name[ACCOUNT_NAME_MAX + 1];
    int64_t id = 0;
    int rc = free_name(tx, c->wish, name, err);
    if (rc < 0 || (rc = account_tx_add(tx, ACCOUNT_USER, str_of(name), "", SITE_NONE, &id, err)) < 0 ||
        (rc = identity_tx_add(tx, c->o, id, err)) < 0 ||
        (rc = account_tx_by_id(tx, id, &c->account, err)) < 0)
        return rc;
    return record(tx, c, "user.create", err);
}

static int find(struct db_tx *tx, struct coming *c, struct err *err)
{
    int64_t id = 0;
    int rc = identity_tx_find(tx, c->o, &id, err);
    if (rc != 1)
        return rc;
    rc = account_tx_by_id(tx, id, &c->account, err);
    if (rc == 1 && (c->account.state != ACCOUNT_ACTIVE || c->account.kind != ACCOUNT_USER))
        return err_set(err, ERR_UNAUTHORIZED, "the account is not active");
    return rc;
}

/* --- teams */

static bool in_team(const struct teams *t, int64_t team)
{
    for (size_t k = 0; k < t->n; k++)
        if (t->t[k].team == team)
            return true;
    return false;
}

static bool in_org(const struct teams *t, int64_t org)
{
    for (size_t k = 0; k < t->n; k++)
        if (t->t[k].org == org)
            return true;
    return false;
}

static int wanted(struct db_tx *tx, struct coming *c, struct err *err)
{
    int rc = 0;
    for (size_t k = 0; rc == 0 && k < c->o->n_groups; k++)
        rc = teams_tx_of_group(tx, c->o->provider, c->o->groups[k], &c->want, err);
    return rc;
}

/* A full organization takes nobody more: the login goes on without the team. */
static int join(struct db_tx *tx, const struct coming *c, const struct team_of *t, struct err *err)
{
    struct member_row m;
    struct err full = {0};
    int rc = member_tx_find(tx, t->org, c->account.id, &m, err);
    if (rc == 0 && (rc = member_tx_set(tx, t->org, c->account.id, MEMBER_MEMBER, c->source, &full)) == ERR_QUOTA) {
        log_line(LOG_WARN, "no seat for a member of a group", F_CSTR("user", c->account.name), F_CSTR("error", full.text));
        return member_tx_remove(tx, t->org, c->account.id, err);
    }
    return rc < 0 ? rc : team_tx_join(tx, t->team, c->account.id, c->source, err);
}

static int leave(struct db_tx *tx, struct coming *c, struct err *err)
{
    int rc = teams_tx_held(tx, c->account.id, c->source, &c->have, err);
    for (size_t k = 0; rc == 0 && k < c->have.n; k++)
        if (!in_team(&c->want, c->have.t[k].team))
            rc = team_tx_quit(tx, c->have.t[k].team, c->account.id, c->source, err);
    if (rc == 0)
        rc = orgs_tx_held(tx, c->account.id, c->source, &c->have, err);
    for (size_t k = 0; rc == 0 && k < c->have.n; k++)
        if (!in_org(&c->want, c->have.t[k].org))
            rc = member_tx_remove(tx, c->have.t[k].org, c->account.id, err);
    return rc;
}

static int teams(struct db_tx *tx, struct coming *c, struct err *err)
{
    c->want.n = 0;
    int rc = wanted(tx, c, err);
    if (rc == 0)
        rc = leave(tx, c, err);
    for (size_t k = 0; rc == 0 && k < c->want.n; k++)
        rc = join(tx, c, &c->want.t[k], err);
    return rc;
}

/* --- */

static int look(struct db_tx *tx, void *arg, struct err *err) { return find(tx, arg, err); }

static int come(struct db_tx *tx, void *arg, struct err *err)
{
    struct coming *c = arg;
    int rc = find(tx, c, err);
    if (rc == 0)
        rc = make(tx, c, err);
    if (rc >= 0)
        rc = identity_tx_seen(tx, c->o, c->account.id, err);
    return rc == 0 && c->o->groups_known ? teams(tx, c, err) : rc;
}

int outsider_find(struct ident *i, const char *provider, struct str subject, struct account *ret, struct err *err)
{
    struct outsider o = {.provider = provider, .subject = subject};
    struct coming *c = mem_zalloc(sizeof *c);
    c->o = &o;
    int rc = db_read(i->db, look, c, err);
    if (rc == 1)
        *ret = c->account;
    free(c);
    return rc;
}

int outsider_login(struct ident *i, struct http_req *r, const struct outsider *o, struct account *ret, struct err *err)
{
    struct coming *c = arena_zalloc(&r->arena, sizeof *c);
    c->o = o;
    c->r = r;
    c->source = str_starts(str_of(o->provider), STR_LIT("oidc:")) ? "oidc" : o->provider;
    outsider_name(o->name, c->wish);
    if (o->subject.n == 0 || o->subject.n > OUTSIDER_SUBJECT_MAX)
        return err_set(err, ERR_UNAUTHORIZED, "the provider's name of the user has not 1 to %d bytes", OUTSIDER_SUBJECT_MAX);
    int rc = db_read(i->db, look, c, err);
    if (rc < 0)
        return rc;
    struct str name = str_of(rc == 1 ? str_dup(&r->arena, str_of(c->account.name)) : ""); /* a new account is in nobody's cache */
    if (name.n > 0)
        gen_begin(GEN_USER, name);
    rc = db_write(i->db, come, c, err);
    if (name.n > 0)
        gen_end(GEN_USER, name);
    if (rc == 0)
        *ret = c->account;
    return rc;
}
