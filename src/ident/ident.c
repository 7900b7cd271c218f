/* The object of the room, and the first start. */
#include "ident/ident_int.h"

#include <stdlib.h>

static const char TOKEN_PATH[] = "/token";

static struct str host_of(const char *url)
{
    const char *p = strstr(url, "://");
    return str_of(p ? p + 3 : url);
}

void ident_reload(struct ident *i, const struct config *c)
{
    atomic_store(&i->token_life, config_num(c, TOKEN_LIFE));
    atomic_store(&i->max_failures, config_num(c, MAX_LOGINS_PER_ADDRESS));
    password_setup((int)config_num(c, LOGIN_CONCURRENCY));
}

int ident_new(struct ident **ret, const struct ident_options *o, struct err *err)
{
    BUG_ON(o->token_seed.n != 32 || o->loops < 1);
    (void)err;
    struct ident *i = mem_zalloc(sizeof *i);
    struct str host = host_of(o->url);
    size_t each = o->cache_bytes / (size_t)(o->loops + 1) / 2;
    i->db = o->db;
    sign_key_from_seed(&i->key, (const uint8_t *)o->token_seed.p);
    i->realm = mem_alloc(strlen(o->url) + sizeof TOKEN_PATH);
    memcpy(i->realm, o->url, strlen(o->url));
    memcpy(i->realm + strlen(o->url), TOKEN_PATH, sizeof TOKEN_PATH);
    i->service = mem_strndup(host.p, host.n);
    i->loops = o->loops;
    i->loop = mem_zalloc(size_mul((size_t)o->loops, sizeof *i->loop));
    for (int k = 0; k < o->loops; k++) {
        i->loop[k].principals = cache_new(each);
        i->loop[k].facts = cache_new(each - each / 8);
        i->loop[k].absent = cache_new(each / 8);
        i->loop[k].anonymous = principal_new((struct str){NULL, 0}, 0);
    }
    (void)pthread_mutex_init(&i->lock, NULL);
    i->verified = cache_new(each);
    i->fails = mem_zalloc(FAIL_SLOTS * sizeof *i->fails);
    ident_reload(i, o->config);
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
        cache_free(i->loop[k].absent);
        shared_unref(&i->loop[k].anonymous->shared);
    }
    cache_free(i->verified);
    (void)pthread_mutex_destroy(&i->lock);
    secret_wipe(&i->key, sizeof i->key);
    free(i->loop);
    free(i->fails);
    free(i->realm);
    free(i->service);
    free(i);
}

/* --- repositories come into being */

static int namespace_for_push(struct db_tx *tx, const struct principal *p, struct str first,
                              struct namespace_found *ret, struct err *err)
{
    int rc = namespace_tx_find(tx, first, ret, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    if (!p->admin) /* a user's own namespace exists with the user */
        return err_set(err, ERR_DENIED, "access to this resource is denied");
    rc = namespace_tx_add(tx, first, 0, clock_now(), err);
    return rc < 0 ? rc : namespace_tx_find(tx, first, ret, err) == 1 ? 0 : ERR_DB;
}

int ident_tx_stands(struct db_tx *tx, const struct principal *p, struct err *err)
{
    int rc = user_tx_stands(tx, p->user_id, p->epoch, p->admin ? ROLE_ADMIN : ROLE_USER, err);
    if (rc == 0)
        return err_set(err, ERR_DENIED, "the account changed while the request ran; log in again");
    return rc < 0 ? rc : 0;
}

int ident_tx_repo_for_push(struct db_tx *tx, const struct principal *p, struct str name,
                           int64_t *ret_repo_id, struct err *err)
{
    struct repo_fact *fact = NULL;
    struct namespace_found ns;
    int rc = ident_tx_stands(tx, p, err);
    if (rc < 0 || (rc = ident_tx_repo(tx, name, &fact, err)) < 0)
        return rc;
    bool may = (right_of(p, fact, name) & ACTION_PUSH) != 0;
    if (fact != NULL) {
        *ret_repo_id = fact->id;
        shared_unref(&fact->shared);
    }
    if (!may)
        return err_set(err, ERR_DENIED, "access to this resource is denied");
    if (rc == 1)
        return 0;
    struct str rest = name, first;
    str_split(&rest, '/', &first);
    if ((rc = namespace_for_push(tx, p, first, &ns, err)) < 0 ||
        (rc = repo_tx_add(tx, ns.id, name, str_is(first, "library"), clock_now(), err)) < 0 ||
        (rc = ident_tx_repo(tx, name, &fact, err)) < 0)
        return rc;
    BUG_ON(rc != 1);
    *ret_repo_id = fact->id;
    shared_unref(&fact->shared);
    return 0;
}
