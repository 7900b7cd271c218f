/* The gate: who is it, and may it? Once on the loop from memory, and when that does not know, once
 * more on a worker with the database. The table of answers stands in ident.h. */
#include "ident/ident_int.h"

#include <stdlib.h>

struct gate {
    struct req_repo repo;
    struct ident *ident;
    char name[LIBRARY_MAX];
};

const struct req_repo *req_repo(const struct http_req *r) { return &((struct gate *)r->gate)->repo; }

void ident_gate_release(struct http_req *r)
{
    struct gate *g = r->gate;
    struct principal *p = r->who;
    if (g != NULL && g->repo.fact != NULL)
        shared_unref(&g->repo.fact->shared);
    if (p != NULL)
        shared_unref(&p->shared);
    r->gate = r->who = NULL;
    r->log_user = NULL;
}

static bool needs_repo(int right)
{
    return right == RIGHT_PULL || right == RIGHT_PUSH || right == RIGHT_DELETE;
}

static unsigned wanted(int right)
{
    return right == RIGHT_PULL ? ACTION_PULL : right == RIGHT_PUSH ? ACTION_PUSH : ACTION_DELETE;
}

static void set_who(struct http_req *r, struct principal *p) /* takes the reference */
{
    r->who = p;
    r->log_user = p->name[0] ? p->name : NULL;
}

/* --- challenges */

void gate_challenge(struct http_req *r, const char *error)
{
    static const char *const scopes[] = {
        [RIGHT_PULL] = "pull", [RIGHT_PUSH] = "pull,push", [RIGHT_DELETE] = "delete"};
    const struct ident *i = ident_of(r);
    struct buf b;
    buf_init(&b, 4096);
    buf_printf(&b, "Bearer realm=\"%s\",service=\"%s\"", i->realm, i->service);
    if (r->route != NULL && needs_repo(r->route->right) && r->gate != NULL)
        buf_printf(&b, ",scope=\"repository:%.*s:%s\"", STR_FMT(req_repo(r)->client_name),
                   scopes[r->route->right]);
    else if (r->route != NULL && r->route->right == RIGHT_CATALOG)
        buf_cstr(&b, ",scope=\"registry:catalog:*\"");
    if (error != NULL)
        buf_printf(&b, ",error=\"%s\"", error);
    http_add(r, "WWW-Authenticate", buf_view(&b));
    buf_release(&b);
}

static int unauthorized(struct http_req *r, const char *error, struct err *err)
{
    gate_challenge(r, error);
    return err_set(err, ERR_UNAUTHORIZED, "authentication is required");
}

/* --- the decision
 * No text here may be the code's standard message in distribution's client (errcode.Error): with that
 * and no detail, docker takes the answer for a bare code and repeats the request for 50 seconds. */

static unsigned scope_of(const struct principal *p, struct str name)
{
    unsigned set = 0;
    for (size_t i = 0; i < p->n_scopes; i++)
        if (str_eq(p->scopes[i].name, name))
            set |= p->scopes[i].actions;
    return set;
}

static bool has_catalog_scope(const struct principal *p)
{
    for (size_t i = 0; i < p->n_scopes; i++)
        if (str_is(p->scopes[i].name, "*"))
            return true;
    return false;
}

static int decide_repo(struct http_req *r, const struct gate *g, struct err *err)
{
    const struct principal *p = r->who;
    unsigned want = wanted(r->route->right), have = right_of(p, g->repo.fact, g->repo.name);
    bool in_scope = !p->bearer || (scope_of(p, g->repo.name) & want) != 0;
    if ((have & want) != 0 && in_scope)
        return 0;
    /* RFC 6750 3.1. To an anonymous token alike for private and absent, and always: docker and
     * containerd stop at once on it, and ask again for a while without. */
    if (p->user_id == 0)
        return unauthorized(r, p->bearer ? "insufficient_scope" : NULL, err);
    if ((have & want) != 0)
        return unauthorized(r, "insufficient_scope", err);
    if (want == ACTION_PUSH || (have & ACTION_PULL) != 0)
        return err_set(err, ERR_DENIED, "access to this resource is denied");
    return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
}

/* Loopback means this machine, not a proxy on it that speaks for others. */
static bool is_local(const struct http_req *r)
{
    struct str ignored;
    return !r->proxied && (str_is(r->client, "127.0.0.1") || str_is(r->client, "::1")) &&
           !http_header(r, "X-Forwarded-For", &ignored) && !http_header(r, "Forwarded", &ignored);
}

static int decide(struct http_req *r, const struct gate *g, struct err *err)
{
    const struct principal *p = r->who;
    switch (r->route->right) {
    case RIGHT_PUBLIC:
        return 0;
    case RIGHT_CHALLENGE:
        return p->user_id != 0 || p->bearer ? 0 : unauthorized(r, NULL, err);
    case RIGHT_CATALOG: /* oras and regctl send what they have only after a challenge */
        if (p->user_id == 0 && !p->bearer)
            return unauthorized(r, NULL, err);
        if (p->bearer && p->user_id != 0 && !has_catalog_scope(p))
            return unauthorized(r, "insufficient_scope", err);
        return 0;
    case RIGHT_METRICS:
        if (is_local(r))
            return 0;
        __attribute__((fallthrough));
    case RIGHT_ADMIN:
        if (p->user_id == 0)
            return unauthorized(r, NULL, err);
        if (!p->admin)
            return err_set(err, ERR_DENIED, "only administrators may do this");
        return 0;
    default:
        return decide_repo(r, g, err);
    }
}

/* --- the fast side */

static struct ident_loop *loop_of(const struct http_req *r)
{
    return &ident_of(r)->loop[r->loop_index];
}

static bool who_from_memory(struct http_req *r, const struct credential *c)
{
    struct ident_loop *l = loop_of(r);
    struct principal *p = l->anonymous;
    if (c->kind != CREDENTIAL_NONE) {
        if (c->kind == CREDENTIAL_BAD)
            return false;
        p = (struct principal *)cache_get(l->principals, (struct str){(const char *)c->tag.b, 16}, 0);
        if (p == NULL || !principal_stands(p))
            return false;
    }
    set_who(r, (struct principal *)shared_ref(&p->shared));
    return true;
}

static int make_gate(struct http_req *r, struct err *err)
{
    struct gate *g = arena_zalloc(&r->arena, sizeof *g);
    int rc = needs_repo(r->route->right) ? canonical_name(r->parts[0], g->name, err) : 0;
    if (rc < 0)
        return rc;
    g->ident = ident_of(r);
    g->repo.client_name = r->parts[0];
    g->repo.name = str_of(g->name);
    r->gate = g;
    return 0;
}

static bool fact_from_memory(struct http_req *r, struct gate *g)
{
    g->repo.gen = gen_now(GEN_REPO, g->repo.name);
    if (g->repo.gen == GEN_BUSY)
        return false;
    g->repo.fact = (struct repo_fact *)cache_get(loop_of(r)->facts, g->repo.name, g->repo.gen);
    if (g->repo.fact == NULL)
        return cache_get(loop_of(r)->absent, g->repo.name, g->repo.gen) != NULL;
    shared_ref(&g->repo.fact->shared);
    return true;
}

enum http_gate ident_gate_fast(struct http_req *r)
{
    struct err err = {0};
    int rc = make_gate(r, &err);
    if (rc == 0) {
        struct credential none = {.kind = CREDENTIAL_NONE}, c = none;
        if (r->route->right != RIGHT_PUBLIC)
            c = credential_of(r);
        if (!who_from_memory(r, &c))
            return GATE_WORKER;
        if (needs_repo(r->route->right) && !fact_from_memory(r, r->gate))
            return GATE_WORKER;
        rc = decide(r, r->gate, &err);
    }
    if (rc < 0) {
        http_error(r, &err);
        return GATE_STOP;
    }
    return GATE_GO;
}

/* --- the slow side */

struct remember {
    struct ident_loop *loop;
    struct secret_tag tag;
    struct principal *who;
    struct repo_fact *fact;
    struct shared *absent;
    uint64_t gen;
    char name[LIBRARY_MAX];
};

static void remember_run(void *arg)
{
    struct remember *m = arg;
    if (m->who != NULL) {
        cache_put(m->loop->principals, (struct str){(const char *)m->tag.b, 16}, 0, &m->who->shared);
        shared_unref(&m->who->shared);
    }
    if (m->fact != NULL) {
        cache_put(m->loop->facts, str_of(m->name), m->gen, &m->fact->shared);
        shared_unref(&m->fact->shared);
    }
    if (m->absent != NULL) {
        cache_put(m->loop->absent, str_of(m->name), m->gen, m->absent);
        shared_unref(m->absent);
    }
}

static void absent_free(struct shared *s)
{
    free(s);
}

static struct shared *absent_new(void)
{
    struct shared *s = mem_zalloc(sizeof *s);
    shared_init(s, sizeof *s, absent_free);
    return s;
}

static int find_who(struct http_req *r, const struct credential *c, struct remember *m, struct err *err)
{
    struct gate *g = r->gate;
    struct principal *p = NULL;
    int rc = credential_verify(g->ident, r, c, &p, err);
    if (rc == ERR_UNAUTHORIZED) {
        gate_challenge(r, c->kind == CREDENTIAL_BEARER ? "invalid_token" : NULL);
        return rc;
    }
    if (rc < 0)
        return rc;
    set_who(r, p);
    m->tag = c->tag;
    m->who = (struct principal *)shared_ref(&p->shared);
    return 0;
}

static int read_fact(struct db_tx *tx, void *arg, struct err *err)
{
    struct gate *g = arg;
    int rc = ident_tx_repo(tx, g->repo.name, &g->repo.fact, err);
    return rc < 0 ? rc : 0;
}

static int find_repo(struct gate *g, struct remember *m, struct err *err)
{
    g->repo.gen = gen_now(GEN_REPO, g->repo.name);
    int rc = db_read(g->ident->db, read_fact, g, err);
    if (rc < 0 || g->repo.gen == GEN_BUSY)
        return rc;
    if (g->repo.fact == NULL)
        m->absent = absent_new();
    else
        m->fact = (struct repo_fact *)shared_ref(&g->repo.fact->shared);
    m->gen = g->repo.gen;
    memcpy(m->name, g->name, sizeof m->name);
    return 0;
}

int ident_gate_slow(struct http_req *r, struct err *err)
{
    struct gate *g = r->gate;
    struct remember *m = arena_zalloc(&r->arena, sizeof *m);
    int rc = 0;
    m->loop = loop_of(r);
    if (r->who == NULL) {
        struct credential c = credential_of(r);
        if (c.kind == CREDENTIAL_NONE)
            set_who(r, (struct principal *)shared_ref(&m->loop->anonymous->shared));
        else
            rc = find_who(r, &c, m, err);
    }
    if (rc == 0 && needs_repo(r->route->right))
        rc = find_repo(g, m, err);
    if (m->who != NULL || m->fact != NULL || m->absent != NULL)
        http_on_loop(r, remember_run, m);
    return rc < 0 ? rc : decide(r, g, err);
}
