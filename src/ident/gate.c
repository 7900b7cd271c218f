/* The gate: who is it, and may it? Once on the loop from memory, and when that does not know, once
 * more on a worker with the database. The table of answers stands in ident.h. */
#include "ident/ident_int.h"

#include <stdio.h>
#include <stdlib.h>

const struct req_repo *req_repo(const struct http_req *r) { return &((struct gate *)r->gate)->repo; }
const struct account *req_account(const struct http_req *r) { return &((struct gate *)r->gate)->account; }
unsigned req_standing(const struct http_req *r) { return ((struct gate *)r->gate)->standing; }

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

/* The dialect of registry clients, with its own tokens, challenges and codes. */
static bool is_registry(enum right right)
{
    return right == RIGHT_PULL || right == RIGHT_PUSH || right == RIGHT_DELETE || right == RIGHT_CHALLENGE ||
           right == RIGHT_CATALOG || right == RIGHT_METRICS;
}

static enum right right_of(const struct http_req *r) { return (enum right)r->route->right; }
static enum right_object object_of(const struct http_req *r) { return right_row(right_of(r))->object; }

static unsigned wanted(enum right right)
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
        [ACTION_PULL] = "pull", [ACTION_PUSH] = "pull,push", [ACTION_DELETE] = "delete"};
    const struct ident *i = ident_of(r);
    struct buf b;
    if (r->route != NULL && !is_registry(right_of(r))) {
        http_add(r, "WWW-Authenticate", STR_LIT("Bearer realm=\"berth\""));
        return;
    }
    buf_init(&b, 4096);
    buf_printf(&b, "Bearer realm=\"%s\",service=\"%s\"", i->realm, i->service);
    if (r->route != NULL && object_of(r) == OBJECT_REPO && r->gate != NULL)
        buf_printf(&b, ",scope=\"repository:%.*s:%s\"", STR_FMT(req_repo(r)->client_name), scopes[wanted(right_of(r))]);
    else if (r->route != NULL && right_of(r) == RIGHT_CATALOG)
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

int gate_lock(const struct repo_fact *f, enum right right, struct err *err)
{
    if (f == NULL || !f->locked || (right != RIGHT_PULL && right != RIGHT_PUSH))
        return 0;
    return err_set(err, ERR_DENIED,
                   "the repository is locked: \"%s\" has more private repositories than the plan allows, and this is one of the "
                   "newest; delete some, make some public, or get another plan", f->owner.name);
}

/* To an anonymous token alike for private and absent, and always: RFC 6750 3.1; docker and containerd
 * stop at once on it, and ask again for a while without. */
static int registry_answer(struct http_req *r, const struct gate *g, const struct right_verdict *v, struct err *err)
{
    const struct principal *p = r->who;
    bool in_scope = !p->bearer || (scope_of(p, g->repo.name) & wanted(right_of(r))) != 0;
    if (v->answer == RIGHT_YES && in_scope)
        return gate_lock(g->repo.fact, right_of(r), err);
    if (p->kind == WHO_NOBODY)
        return unauthorized(r, p->bearer ? "insufficient_scope" : NULL, err);
    if (v->answer == RIGHT_YES)
        return unauthorized(r, "insufficient_scope", err);
    if (v->answer == RIGHT_NO_ARCHIVED)
        return err_set(err, ERR_DENIED, "the repository is archived: it is read-only");
    if (v->answer == RIGHT_NO_HIDDEN && right_of(r) != RIGHT_PUSH)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    return err_set(err, ERR_DENIED, "access to this resource is denied");
}

static int api_answer(struct http_req *r, const struct right_verdict *v, struct err *err)
{
    const struct principal *p = r->who;
    if (v->answer == RIGHT_YES)
        return 0;
    if (p->kind == WHO_NOBODY)
        return unauthorized(r, NULL, err);
    return verdict_error(v, err);
}

int verdict_error(const struct right_verdict *v, struct err *err)
{
    switch (v->answer) {
    case RIGHT_YES:
        return 0;
    case RIGHT_NO_HIDDEN:
        return err_set(err, ERR_NOT_FOUND, "there is no such %s, or you may not read it",
                       v->row->object == OBJECT_REPO ? "repository" : "account");
    case RIGHT_NO_ARCHIVED:
        return err_set(err, ERR_DENIED, "the repository is archived: it is read-only");
    case RIGHT_NO_AUDITOR:
        return err_set(err, ERR_DENIED, "an auditor reads and changes nothing");
    case RIGHT_NO_TOKEN:
        return v->row->scope == SCOPE_LOGIN
                   ? err_set(err, ERR_CREDENTIAL, "no token may %s: log in with the password", v->row->what)
                   : err_set(err, ERR_DENIED, "this token may not %s: that takes the scope %s here", v->row->what,
                             scope_name(v->row->scope));
    case RIGHT_NO:
    default:
        return err_set(err, ERR_DENIED, "you may not %s", v->row->what);
    }
}

/* Loopback means this machine, not a proxy on it that speaks for others. */
static bool is_local(const struct http_req *r)
{
    struct str ignored;
    return !r->proxied && (str_is(r->client, "127.0.0.1") || str_is(r->client, "::1")) &&
           !http_header(r, "X-Forwarded-For", &ignored) && !http_header(r, "Forwarded", &ignored);
}

static int decide_site(struct http_req *r, const struct right_verdict *v, struct err *err)
{
    const struct principal *p = r->who;
    enum right right = v->row->right;
    if (right == RIGHT_CHALLENGE)
        return p->kind != WHO_NOBODY || p->bearer ? 0 : unauthorized(r, NULL, err);
    if (right == RIGHT_CATALOG) { /* oras and regctl send what they have only after a challenge */
        if (p->kind == WHO_NOBODY && !p->bearer)
            return unauthorized(r, NULL, err);
        if (p->bearer && p->kind != WHO_NOBODY && !has_catalog_scope(p))
            return unauthorized(r, "insufficient_scope", err);
        return 0;
    }
    if (right == RIGHT_METRICS && is_local(r))
        return 0;
    return api_answer(r, v, err);
}

/* Who may make what is absent is to it what he will be, in the registry's dialect, whose handlers tell the
 * rest; to all others, and in the APIs, it does not exist. */
static struct right_verdict decide_absent(const struct principal *p, const struct gate *g, enum right right)
{
    struct right_ask ask = {.right = RIGHT_PUSH_CREATE, .standing = g->standing, .token = p->credential_id != 0,
                            .scope = principal_scope_repo(p, g->repo.name)};
    struct right_verdict v = right_decide(&ask);
    if (right == RIGHT_PUSH)
        return v;
    ask.right = right;
    if (v.answer != RIGHT_YES || !is_registry(right))
        ask.standing = 0;
    return right_decide(&ask);
}

struct right_verdict gate_verdict(const struct principal *p, const struct gate *g, enum right right)
{
    enum right_object object = right_row(right)->object;
    struct right_ask ask = {.right = right, .standing = g->standing, .token = p->credential_id != 0};
    if (object == OBJECT_REPO && g->repo.fact == NULL)
        return decide_absent(p, g, right);
    if (object == OBJECT_REPO) {
        ask.scope = principal_scope_repo(p, g->repo.name);
        ask.public = g->repo.fact->public;
        ask.archived = g->repo.fact->archived;
    } else {
        ask.scope = principal_scope_account(p, str_of(object == OBJECT_ACCOUNT ? g->account.name : ""));
    }
    return right_decide(&ask);
}

static int decide(struct http_req *r, const struct gate *g, struct err *err)
{
    enum right right = right_of(r);
    if (right == RIGHT_PUBLIC)
        return 0;
    struct right_verdict v = gate_verdict(r->who, g, right);
    switch (object_of(r)) {
    case OBJECT_SITE:
        return decide_site(r, &v, err);
    case OBJECT_ACCOUNT:
        return api_answer(r, &v, err);
    case OBJECT_REPO:
    default:
        return is_registry(right) ? registry_answer(r, g, &v, err) : api_answer(r, &v, err);
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
        if (p == NULL || !principal_stands(p) || !principal_fits(p, is_registry(right_of(r))))
            return false;
    }
    set_who(r, (struct principal *)shared_ref(&p->shared));
    return true;
}

/* {name}, or {namespace}/{repo} whose second part may hold encoded slashes. */
static int make_name(struct http_req *r, struct gate *g, struct err *err)
{
    struct str name = r->parts[0];
    if (!is_registry(right_of(r)))
        name = str_of(arena_printf(&r->arena, "%.*s/%.*s", STR_FMT(r->parts[0]), STR_FMT(r->parts[1])));
    int rc = canonical_name(name, g->name, err);
    g->repo.client_name = name;
    g->repo.name = str_of(g->name);
    return rc;
}

static int make_gate(struct http_req *r, struct err *err)
{
    struct gate *g = arena_zalloc(&r->arena, sizeof *g);
    int rc = object_of(r) == OBJECT_REPO ? make_name(r, g, err) : 0;
    if (rc < 0)
        return rc;
    g->ident = ident_of(r);
    r->gate = g;
    return 0;
}

static bool fact_from_memory(struct http_req *r, struct gate *g)
{
    g->repo.gen = gen_now(GEN_REPO, g->repo.name);
    if (g->repo.gen == GEN_BUSY)
        return false;
    struct repo_fact *f = (struct repo_fact *)cache_get(loop_of(r)->facts, g->repo.name, g->repo.gen);
    if (f == NULL) /* what is absent may be made by somebody of the account: a worker asks */
        return right_of(r) != RIGHT_PUSH && cache_get(loop_of(r)->absent, g->repo.name, g->repo.gen) != NULL;
    if (gen_now(GEN_USER, str_of(f->owner.name)) != f->owner_gen)
        return false;
    g->repo.fact = f;
    shared_ref(&f->shared);
    return true;
}

/* One number for the generations on which a relation stands; BUSY when one moves, or when the principal
 * is older than its account: its role would be kept under the new generation. */
static uint64_t relation_gen(const struct principal *p, uint64_t repo_gen, uint64_t owner_gen)
{
    if (p->gen == GEN_BUSY || gen_now(GEN_USER, str_of(p->name)) != p->gen || repo_gen == GEN_BUSY || owner_gen == GEN_BUSY)
        return GEN_BUSY;
    uint64_t mixed = (p->gen * 0x9e3779b97f4a7c15u + repo_gen) * 0xbf58476d1ce4e5b9u + owner_gen;
    return mixed == GEN_BUSY ? 0 : mixed;
}

struct relation_key {
    int64_t principal, credential, repo; /* a token's bounds may cut what the organization gives */
};

static struct relation_key relation_key(const struct principal *p, const struct repo_fact *f)
{
    return (struct relation_key){p->user_id, p->credential_id, f->id};
}

/* What the principal is to the repository, as far as no row is needed; *ret_all: that is all. */
static unsigned relation_cheap(const struct principal *p, const struct account *owner, bool public, bool *ret_all)
{
    unsigned s = public ? IS_PUBLIC : 0;
    if (p->kind != WHO_NOBODY)
        s |= IS_SIGNED_IN;
    if (p->role == SITE_ADMIN)
        s |= IS_SITE_ADMIN;
    if (p->role == SITE_AUDITOR)
        s |= IS_AUDITOR;
    if (p->kind == WHO_USER && owner->id == p->user_id)
        s |= IS_SELF;
    if (p->kind == WHO_ORG && owner->id == p->user_id)
        s |= IS_ORG_TOKEN;
    *ret_all = p->kind != WHO_USER || (s & (IS_SELF | IS_SITE_ADMIN)) != 0;
    return s;
}

static struct str first_part(struct str name)
{
    struct str first;
    str_split(&name, '/', &first);
    return first;
}

/* To what is absent: the namespace of an account bears its name. */
static unsigned standing_by_name(const struct principal *p, struct str repo)
{
    struct account owner = {.id = str_is(first_part(repo), p->name) ? p->user_id : -1};
    bool all;
    return relation_cheap(p, &owner, false, &all);
}

static bool relation_from_memory(struct http_req *r, struct gate *g)
{
    const struct principal *p = r->who;
    const struct repo_fact *f = g->repo.fact;
    bool all = true;
    if (f == NULL) {
        g->standing = standing_by_name(p, g->repo.name);
        return true;
    }
    g->standing = relation_cheap(p, &f->owner, f->public, &all);
    if (all || gate_verdict(p, g, right_of(r)).answer == RIGHT_YES)
        return true;
    struct relation_key key = relation_key(p, f);
    uint64_t gen = relation_gen(p, g->repo.gen, f->owner_gen);
    struct relation *known = gen == GEN_BUSY ? NULL
                                             : (struct relation *)cache_get(loop_of(r)->relations,
                                                                            (struct str){(char *)&key, sizeof key}, gen);
    if (known != NULL)
        g->standing = known->standing;
    return known != NULL;
}

enum http_gate ident_gate_fast(struct http_req *r)
{
    struct err err = {0};
    int rc = make_gate(r, &err);
    if (rc == 0) {
        struct credential none = {.kind = CREDENTIAL_NONE}, c = none;
        struct gate *g = r->gate;
        bool known;
        if (right_of(r) != RIGHT_PUBLIC)
            c = credential_of(r);
        if (object_of(r) == OBJECT_ACCOUNT || !who_from_memory(r, &c))
            return GATE_WORKER;
        if (object_of(r) == OBJECT_REPO && (!fact_from_memory(r, g) || !relation_from_memory(r, g)))
            return GATE_WORKER;
        struct account none_owner = {0};
        if (object_of(r) == OBJECT_SITE)
            g->standing = relation_cheap(r->who, &none_owner, false, &known);
        rc = decide(r, g, &err);
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
    struct relation *relation;
    struct relation_key key;
    struct shared *absent;
    uint64_t gen, relation_gen;
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
    if (m->relation != NULL) {
        cache_put(m->loop->relations, (struct str){(char *)&m->key, sizeof m->key}, m->relation_gen, &m->relation->shared);
        shared_unref(&m->relation->shared);
    }
    if (m->absent != NULL) {
        cache_put(m->loop->absent, str_of(m->name), m->gen, m->absent);
        shared_unref(m->absent);
    }
}

static void plain_free(struct shared *s) { free(s); }

static struct shared *absent_new(void)
{
    struct shared *s = mem_zalloc(sizeof *s);
    shared_init(s, sizeof *s, plain_free);
    return s;
}

static struct relation *relation_new(unsigned standing)
{
    struct relation *n = mem_zalloc(sizeof *n);
    shared_init(&n->shared, sizeof *n, plain_free);
    n->standing = standing;
    return n;
}

static int find_who(struct http_req *r, const struct credential *c, struct remember *m, struct err *err)
{
    struct gate *g = r->gate;
    struct principal *p = NULL;
    int rc = credential_verify(g->ident, r, c, &p, err);
    if (rc == 0 && !principal_fits(p, is_registry(right_of(r)))) {
        shared_unref(&p->shared);
        rc = err_set(err, ERR_UNAUTHORIZED, "invalid token: made for another use");
    }
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

int gate_tx_find(struct db_tx *tx, const struct principal *p, enum right_object object, struct gate *g, struct err *err)
{
    bool all = true;
    int rc = 0;
    g->account = (struct account){0};
    g->standing = 0;
    if (object == OBJECT_REPO) {
        if ((rc = ident_tx_repo(tx, g->repo.name, &g->repo.fact, err)) < 0)
            return rc;
        if (rc == 1)
            g->account = g->repo.fact->owner;
        else
            rc = account_tx_find(tx, first_part(g->repo.name), &g->account, err);
    } else if (object == OBJECT_ACCOUNT) {
        rc = account_tx_find(tx, g->account_name, &g->account, err);
    }
    if (rc < 0)
        return rc;
    if (g->account.id != 0 && g->account.state == ACCOUNT_REMOVED)
        g->account = (struct account){0};
    g->standing = relation_cheap(p, &g->account, g->repo.fact != NULL && g->repo.fact->public, &all);
    if (g->account.id == 0 && object == OBJECT_ACCOUNT)
        g->standing = 0; /* absent: for administrators, too */
    if (all || g->account.id == 0)
        return 0;
    return relation_tx(tx, p, &g->account, g->repo.fact ? g->repo.fact->id : 0, &g->standing, err);
}

static int read_target(struct db_tx *tx, void *arg, struct err *err)
{
    struct http_req *r = arg;
    struct gate *g = r->gate;
    if (g->repo.fact != NULL) /* an earlier attempt's */
        shared_unref(&g->repo.fact->shared);
    g->repo.fact = NULL;
    return gate_tx_find(tx, r->who, object_of(r), g, err);
}

static int find_target(struct http_req *r, struct remember *m, struct err *err)
{
    struct gate *g = r->gate;
    const struct principal *p = r->who;
    bool repo = object_of(r) == OBJECT_REPO;
    g->account_name = r->parts[0];
    if (g->repo.fact != NULL) /* known on the loop, the relation was not */
        shared_unref(&g->repo.fact->shared);
    g->repo.fact = NULL;
    g->repo.gen = repo ? gen_now(GEN_REPO, g->repo.name) : GEN_BUSY;
    uint64_t owner_gen = repo ? gen_now(GEN_USER, first_part(g->repo.name)) : GEN_BUSY;
    uint64_t both = repo ? relation_gen(p, g->repo.gen, owner_gen) : GEN_BUSY;
    int rc = db_read(g->ident->db, read_target, r, err);
    if (rc < 0 || g->repo.gen == GEN_BUSY || owner_gen == GEN_BUSY)
        return rc;
    memcpy(m->name, g->name, sizeof m->name);
    m->gen = g->repo.gen;
    if (g->repo.fact == NULL) {
        m->absent = absent_new();
        return 0;
    }
    g->repo.fact->owner_gen = owner_gen;
    if (g->repo.fact->locked) /* until another one goes: not known by any generation */
        return 0;
    m->fact = (struct repo_fact *)shared_ref(&g->repo.fact->shared);
    if (both != GEN_BUSY) {
        m->relation = relation_new(g->standing);
        m->key = relation_key(p, g->repo.fact);
        m->relation_gen = both;
    }
    return 0;
}

int ident_gate_slow(struct http_req *r, struct err *err)
{
    struct remember *m = arena_zalloc(&r->arena, sizeof *m);
    struct account none = {0};
    struct gate *g = r->gate;
    bool all;
    int rc = 0;
    m->loop = loop_of(r);
    if (r->who == NULL) {
        struct credential c = credential_of(r);
        if (c.kind == CREDENTIAL_NONE)
            set_who(r, (struct principal *)shared_ref(&m->loop->anonymous->shared));
        else
            rc = find_who(r, &c, m, err);
    }
    if (rc == 0 && object_of(r) == OBJECT_SITE)
        g->standing = relation_cheap(r->who, &none, false, &all);
    else if (rc == 0)
        rc = find_target(r, m, err);
    if (m->who != NULL || m->fact != NULL || m->absent != NULL)
        http_on_loop(r, remember_run, m);
    return rc < 0 ? rc : decide(r, g, err);
}

int ident_gate_local(struct http_req *r, void *who, struct err *err)
{
    struct principal *p = who;
    struct remember *m = arena_zalloc(&r->arena, sizeof *m);
    struct account none = {0};
    bool all;
    int rc = make_gate(r, err);
    if (rc < 0)
        return rc;
    struct gate *g = r->gate;
    set_who(r, (struct principal *)shared_ref(p ? &p->shared : &g->ident->local->shared));
    if (object_of(r) == OBJECT_SITE)
        g->standing = relation_cheap(r->who, &none, false, &all);
    else
        rc = find_target(r, m, err);
    m->loop = loop_of(r);
    if (m->fact != NULL || m->absent != NULL)
        http_on_loop(r, remember_run, m);
    return rc < 0 ? rc : decide(r, g, err);
}

void ident_count(struct http_req *r, bool on_loop, int64_t account_id, const char *action, struct str object, enum audit_result result)
{
    struct audit *audit = ident_of(r)->audit;
    if (audit == NULL)
        return;
    struct audit_row row = record_row(r, r->who, action, object);
    row.account_id = account_id;
    row.result = result;
    audit_count(audit, on_loop ? r->loop_index : AUDIT_SHARED, &row);
}
