/* The object of the room, and the first start. */
#include "crypt/hash.h"
#include "ident/outside.h"

#include <stdlib.h>

static const char TOKEN_PATH[] = "/token";

static struct str host_of(const char *url)
{
    const char *p = strstr(url, "://");
    return str_of(p ? p + 3 : url);
}

enum signup ident_signup(const struct http_req *r) { return (enum signup)atomic_load(&ident_of(r)->signup); }
bool ident_mails(const struct http_req *r) { return ident_of(r)->mailer != NULL; }

void ident_reload(struct ident *i, const struct config *c)
{
    atomic_store(&i->token_life, config_num(c, TOKEN_LIFE));
    atomic_store(&i->signup, config_num(c, SIGNUP));
    atomic_store(&i->max_failures, config_num(c, MAX_LOGINS_PER_ADDRESS));
    password_setup((int)config_num(c, LOGIN_CONCURRENCY));
}

/* The APIs' key is made from the registry's seed: one secret file, two keys. */
static void make_keys(struct ident *i, const struct ident_options *o)
{
    static const char use[] = "berth api tokens";
    struct digest seed;
    uint8_t both[32 + sizeof use];
    BUG_ON(o->token_seed.n != 32 || o->credential_key.n != sizeof i->credential_key);
    sign_key_from_seed(&i->key, (const uint8_t *)o->token_seed.p);
    memcpy(both, o->token_seed.p, 32);
    memcpy(both + 32, use, sizeof use);
    hash_bytes(DIGEST_SHA256, both, sizeof both, &seed);
    sign_key_from_seed(&i->api_key, seed.bytes);
    memcpy(i->credential_key, o->credential_key.p, sizeof i->credential_key);
    secret_wipe(both, sizeof both);
    secret_wipe(&seed, sizeof seed);
}

/* WebAuthn binds keys to a name; an address is none. */
static void name_site(struct ident *i, const char *url)
{
    char *host = mem_strdup(host_of(url).p), *colon = strrchr(host, ':');
    if (colon != NULL && strchr(colon, ']') == NULL)
        *colon = 0;
    bool address = host[0] == '[' || host[strspn(host, "0123456789.")] == 0;
    if (!address)
        text_copy(i->rp_id, sizeof i->rp_id, str_of(host));
    i->origin = mem_strdup(url);
    free(host);
}

int ident_new(struct ident **ret, const struct ident_options *o, struct err *err)
{
    BUG_ON(o->loops < 1);
    struct ident *i = mem_zalloc(sizeof *i);
    struct str host = host_of(o->url);
    size_t each = o->cache_bytes / (size_t)(o->loops + 1) / 3;
    i->db = o->db;
    i->audit = o->audit;
    i->policy = o->policy;
    i->net = o->net;
    i->issuers = issuers_new(o->net);
    i->url = mem_strdup(o->url);
    make_keys(i, o);
    i->realm = mem_alloc(strlen(o->url) + sizeof TOKEN_PATH);
    memcpy(i->realm, o->url, strlen(o->url));
    memcpy(i->realm + strlen(o->url), TOKEN_PATH, sizeof TOKEN_PATH);
    i->service = mem_strndup(host.p, host.n);
    i->loops = o->loops;
    i->loop = mem_zalloc(size_mul((size_t)o->loops, sizeof *i->loop));
    for (int k = 0; k < o->loops; k++) {
        i->loop[k].principals = cache_new(each);
        i->loop[k].relations = cache_new(each);
        i->loop[k].facts = cache_new(each - each / 8);
        i->loop[k].absent = cache_new(each / 8);
        i->loop[k].anonymous = principal_new((struct str){NULL, 0}, 0);
    }
    i->local = principal_new((struct str){NULL, 0}, 0);
    i->local->kind = WHO_LOCAL;
    i->local->role = SITE_ADMIN;
    (void)pthread_mutex_init(&i->lock, NULL);
    i->verified = cache_new(each);
    i->fails = mem_zalloc(FAIL_SLOTS * sizeof *i->fails);
    i->store = o->store;
    (void)pthread_mutex_init(&i->seal_lock, NULL);
    (void)pthread_mutex_init(&i->rotate_lock, NULL);
    name_site(i, o->url);
    ident_reload(i, o->config);
    int rc = o->store ? ident_seal_load(i, err) : 0;
    if (rc == 0 && o->net)
        rc = mailer_new(&i->mailer, o->net, o->config, err);
    if (rc == 0 && o->net)
        rc = directory_new(&i->directory, o->net, o->config, err);
    if (rc == 0 && o->net)
        rc = provider_new(&i->provider, o->net, o->config, err);
    if (rc < 0) {
        ident_free(i);
        return rc;
    }
    *ret = i;
    return 0;
}

void ident_free(struct ident *i)
{
    if (!i)
        return;
    for (int k = 0; k < i->loops; k++) {
        cache_free(i->loop[k].principals);
        cache_free(i->loop[k].facts);
        cache_free(i->loop[k].relations);
        cache_free(i->loop[k].absent);
        shared_unref(&i->loop[k].anonymous->shared);
    }
    shared_unref(&i->local->shared);
    issuers_free(i->issuers);
    directory_free(i->directory);
    provider_free(i->provider);
    cache_free(i->verified);
    mailer_free(i->mailer);
    (void)pthread_mutex_destroy(&i->lock);
    (void)pthread_mutex_destroy(&i->seal_lock);
    (void)pthread_mutex_destroy(&i->rotate_lock);
    seal_keys_wipe(&i->seal);
    free(i->origin);
    secret_wipe(&i->key, sizeof i->key);
    secret_wipe(&i->api_key, sizeof i->api_key);
    secret_wipe(i->credential_key, sizeof i->credential_key);
    free(i->loop);
    free(i->fails);
    free(i->url);
    free(i->realm);
    free(i->service);
    free(i);
}

/* --- repositories come into being */

int ident_tx_stands(struct db_tx *tx, const struct principal *p, struct err *err)
{
    struct credential_row row;
    int rc = 1;
    if (p->kind == WHO_LOCAL)
        return 0;
    if (p->credential_id != 0) {
        rc = credential_tx_by_id(tx, p->credential_id, &row, err);
        if (rc == 1 && !credential_lives(&row, clock_now()))
            rc = 0;
    }
    if (rc == 1)
        rc = account_tx_stands(tx, p->user_id, p->epoch, p->role, err);
    if (rc == 0)
        return err_set(err, ERR_DENIED, "the account or its token changed while the request ran; log in again");
    return rc < 0 ? rc : 0;
}

static int denied(const struct right_verdict *v, struct err *err)
{
    if (v->answer == RIGHT_NO_ARCHIVED)
        return err_set(err, ERR_DENIED, "the repository is archived: it is read-only");
    return err_set(err, ERR_DENIED, "access to this resource is denied");
}

int ident_tx_may(struct db_tx *tx, const struct principal *p, enum right right, struct str name, struct err *err)
{
    struct gate g = {.repo.name = name};
    struct right_verdict v = {0};
    int rc = gate_tx_find(tx, p, OBJECT_REPO, &g, err);
    if (rc >= 0) {
        v = gate_verdict(p, &g, right);
        rc = v.answer == RIGHT_YES ? gate_lock(g.repo.fact, right, err) : denied(&v, err);
    }
    if (g.repo.fact)
        shared_unref(&g.repo.fact->shared);
    return rc;
}

/* An administrator's push into nobody's namespace makes an organization that he owns. */
static int account_for_push(struct db_tx *tx, const struct principal *p, struct gate *g, struct err *err)
{
    struct str rest = g->repo.name, first;
    int64_t id = 0;
    int rc;
    if (g->account.id != 0)
        return 0;
    str_split(&rest, '/', &first);
    if (ident_account_name_check(first, err) < 0)
        return ERR_DENIED;
    if ((rc = account_tx_find(tx, first, &g->account, err)) == 1)
        return err_set(err, ERR_DENIED, "the name \"%.*s\" belonged to a removed account and is not given again", STR_FMT(first));
    if (rc < 0 || (rc = account_tx_add(tx, ACCOUNT_ORG, first, "", SITE_NONE, &id, err)) < 0)
        return rc;
    if (p->kind == WHO_USER && (rc = member_tx_set(tx, id, p->user_id, MEMBER_OWNER, "local", err)) < 0)
        return rc;
    rc = account_tx_by_id(tx, id, &g->account, err);
    return rc < 0 ? rc : 0;
}

static void into(const struct gate *g, struct push_into *ret)
{
    *ret = (struct push_into){g->repo.fact->id, g->repo.fact->owner_id, g->repo.fact->owner.plan_id};
    shared_unref(&g->repo.fact->shared);
}

int ident_tx_repo_for_push(struct db_tx *tx, const struct principal *p, struct str name, struct push_into *ret, struct err *err)
{
    struct gate g = {.repo.name = name};
    int rc = ident_tx_stands(tx, p, err);
    if (rc == 0 && (rc = gate_tx_find(tx, p, OBJECT_REPO, &g, err)) < 0 && g.repo.fact != NULL)
        shared_unref(&g.repo.fact->shared);
    if (rc < 0)
        return rc;
    struct right_verdict v = gate_verdict(p, &g, RIGHT_PUSH);
    rc = v.answer == RIGHT_YES ? gate_lock(g.repo.fact, RIGHT_PUSH, err) : denied(&v, err);
    if (rc == 0 && g.account.kind == ACCOUNT_USER && p->kind == WHO_USER && g.account.id == p->user_id)
        rc = member_tx_personal_push(tx, p->user_id, err);
    if (g.repo.fact != NULL) {
        into(&g, ret);
        return rc;
    }
    if (rc < 0 || (rc = account_for_push(tx, p, &g, err)) < 0)
        return rc;
    bool public = g.account.default_public && !g.account.no_public;
    if ((rc = public ? 0 : usage_tx_private(tx, &g.account, 1, err)) < 0 ||
        (rc = repo_tx_add(tx, g.account.id, name, public, clock_now(), err)) < 0 ||
        (rc = ident_tx_repo(tx, name, &g.repo.fact, err)) < 0)
        return rc;
    BUG_ON(rc != 1);
    into(&g, ret);
    return 0;
}
