/* What can be changed of repositories as objects of rights. What is in them is the registry's. */
#include "ident/ident_int.h"

#include <stdio.h>

int gate_level(const struct principal *p, const struct gate *g)
{
    static const struct {
        enum right right;
        int level;
    } each[] = {{RIGHT_REPO_SETTINGS, RANK_ADMIN}, {RIGHT_PUSH, RANK_WRITE}, {RIGHT_REPO_READ, RANK_READ}};
    for (size_t i = 0; i < ARRAY_LEN(each); i++) {
        enum right_answer a = gate_verdict(p, g, each[i].right).answer;
        if (a == RIGHT_YES || a == RIGHT_NO_ARCHIVED)
            return each[i].level;
    }
    return RANK_NONE;
}

static int may_be_public(const struct account *owner, bool public, struct err *err)
{
    return public && owner->no_public ? err_set(err, ERR_EXISTS, "the organization \"%s\" allows no public repositories", owner->name) : 0;
}

static int write_set(struct db_tx *tx, struct repo_fact *f, const struct repo_set *set, struct err *err)
{
    struct arena arena;
    struct repo_texts t = {.about = STR_LIT("")};
    bool public = set->public < 0 ? f->public : set->public != 0, turns = public != f->public;
    int rc = f->public ? 0 : may_be_public(&f->owner, public, err);
    if (rc == 0 && turns)
        rc = usage_tx_private(tx, &f->owner, public ? -1 : 1, err);
    arena_init(&arena);
    if (rc == 0)
        rc = repo_tx_texts(tx, &arena, f->id, &t, err);
    if (rc >= 0) {
        f->public = public;
        f->archived = set->archived < 0 ? f->archived : set->archived != 0;
        rc = repo_tx_update(tx, f, set->about.p ? set->about : t.about, set->full.p ? set->full : t.full, err);
    }
    if (rc == 0 && turns)
        rc = usage_tx_collaborators(tx, f->owner.id, err);
    arena_release(&arena);
    return rc;
}

int repo_tx_set(struct db_tx *tx, struct repo_fact *f, const struct repo_set *set, struct err *err)
{
    bool only = set->archived > 0 && set->public < 0 && set->about.p == NULL && set->full.p == NULL; /* says what is so */
    if (f->archived && set->archived != 0 && !only)
        return err_set(err, ERR_DENIED, "the repository is archived: it is read-only until archived is set to false");
    return write_set(tx, f, set, err);
}

int repo_tx_make(struct db_tx *tx, const struct change *c, const struct repo_set *set, struct gate *g, struct err *err)
{
    const struct account *a = &c->now.account;
    bool public = set->public < 0 ? a->default_public && !a->no_public : set->public != 0;
    int rc = ident_tx_repo(tx, g->repo.name, &g->repo.fact, err);
    if (rc == 1) {
        shared_unref(&g->repo.fact->shared);
        g->repo.fact = NULL;
        return err_set(err, ERR_EXISTS, "the repository \"%.*s\" exists", STR_FMT(g->repo.name));
    }
    if (rc < 0 || (rc = may_be_public(a, public, err)) < 0 || (rc = public ? 0 : usage_tx_private(tx, a, 1, err)) < 0 ||
        (rc = repo_tx_add(tx, a->id, g->repo.name, public, clock_now(), err)) < 0 ||
        (rc = gate_tx_find(tx, c->who, OBJECT_REPO, g, err)) < 0)
        return rc;
    return write_set(tx, g->repo.fact, set, err);
}

/* '!' begins no name, and comes before all that do: what lists names starts behind these (catalog_sql.c). */
int repo_tx_abandon(struct db_tx *tx, const struct change *c, struct err *err)
{
    char name[32];
    const struct repo_fact *f = c->now.repo.fact;
    (void)snprintf(name, sizeof name, "!%lld", (long long)f->id);
    int rc = f->public ? 0 : usage_tx_private(tx, &f->owner, -1, err);
    if (rc == 0)
        rc = repo_tx_unname(tx, f->id, str_of(name), err);
    return rc < 0 ? rc : usage_tx_collaborators(tx, f->owner.id, err);
}

int grant_tx_set(struct db_tx *tx, const struct change *c, const struct team_row *team, int level, struct err *err)
{
    int64_t repo_id = c->now.repo.fact->id;
    if (level != RANK_NONE)
        return grant_tx_put(tx, repo_id, team->id, level, err);
    int rc = grant_tx_drop(tx, repo_id, team->id, err);
    return rc == 0 ? err_set(err, ERR_NOT_FOUND, "the team has no access to it") : rc < 0 ? rc : 0;
}
