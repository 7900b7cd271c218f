/* A change of state by a request; see account.h. */
#include "ident/ident_int.h"

static enum right right_of(const struct change *c)
{
    return c->right != RIGHT_UNSET ? c->right : (enum right)c->r->route->right;
}

static void forget(struct change *c)
{
    if (c->now.repo.fact)
        shared_unref(&c->now.repo.fact->shared);
    c->now.repo.fact = NULL;
}

static int decide_again(struct db_tx *tx, struct change *c, struct err *err)
{
    enum right right = right_of(c);
    int rc = right == RIGHT_PUBLIC ? 0 : ident_tx_stands(tx, c->who, err); /* public: fn asks for its own proof */
    forget(c);
    if (right == RIGHT_PUBLIC)
        return rc;
    if (rc == 0)
        rc = gate_tx_find(tx, c->who, right_row(right)->object, &c->now, err);
    if (rc < 0)
        return rc;
    struct right_verdict v = gate_verdict(c->who, &c->now, right);
    return verdict_error(&v, err);
}

static int write_change(struct db_tx *tx, void *arg, struct err *err)
{
    struct change *c = arg;
    int rc = decide_again(tx, c, err);
    if (rc == 0)
        rc = c->fn(tx, c, err);
    if (rc >= 0 && record_tx_change(tx, c, err) < 0)
        return err ? err->code : ERR_DB;
    return rc;
}

static void move(const struct change *c, void (*gen)(enum gen_space space, struct str name))
{
    enum right_object object = right_row(right_of(c))->object;
    if (object == OBJECT_ACCOUNT)
        gen(GEN_USER, c->now.account_name);
    if (object == OBJECT_REPO)
        gen(GEN_REPO, c->now.repo.name);
    for (size_t i = 0; i < CHANGE_NAMES; i++) {
        if (c->accounts[i].n > 0)
            gen(GEN_USER, c->accounts[i]);
        if (c->repos[i].n > 0)
            gen(GEN_REPO, c->repos[i]);
    }
}

int change_run(struct http_req *r, struct change *c, struct err *err)
{
    const struct gate *g = r->gate;
    c->r = r;
    c->who = req_principal(r);
    c->now = (struct gate){.ident = g->ident};
    c->now.repo.name = g->repo.name;
    c->now.account_name = c->account_name.n > 0 ? c->account_name : r->parts[0];
    move(c, gen_begin);
    int rc = db_write(g->ident->db, write_change, c, err);
    move(c, gen_end);
    forget(c);
    json_decref(c->data);
    c->data = NULL;
    return rc;
}
