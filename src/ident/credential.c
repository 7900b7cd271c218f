/* From the Authorization header to a principal.
 *
 * A loop's cache answers for what was verified before: one keyed hash a request. Its entries stand
 * as long as the user's generation does and, for tokens, until they expire. What is not there a
 * worker verifies: passwords by Argon2id behind a limit of failures for each address, tokens by
 * signature and the user's row. */
#include "ident/ident_int.h"

#include <arpa/inet.h>
#include <stdlib.h>

enum { BASIC_MAX = 8192, FAIL_WINDOW = 60000000, FAIL_WAYS = 4 };

static void principal_free(struct shared *s)
{
    struct principal *p = (struct principal *)s;
    for (size_t i = 0; i < p->n_scopes; i++)
        free((void *)(uintptr_t)p->scopes[i].name.p);
    free(p->scopes);
    free(p);
}

struct principal *principal_new(struct str name, size_t n_scopes)
{
    struct principal *p = mem_zalloc(sizeof *p);
    BUG_ON(name.n > NAME_MAX_BYTES);
    shared_init(&p->shared, sizeof *p + n_scopes * (sizeof *p->scopes + 64), principal_free);
    if (name.n > 0)
        memcpy(p->name, name.p, name.n);
    p->scopes = mem_zalloc(size_mul(n_scopes, sizeof *p->scopes));
    return p;
}

struct credential credential_of(const struct http_req *r)
{
    struct credential c = {.kind = CREDENTIAL_NONE};
    struct str all, scheme;
    if (!http_header(r, "Authorization", &all))
        return c;
    struct str rest = all;
    c.kind = CREDENTIAL_BAD;
    if (http_header_count(r, "Authorization") != 1 || !str_split(&rest, ' ', &scheme) || rest.p == NULL)
        return c;
    c.value = str_trim(rest);
    if (str_ieq(scheme, STR_LIT("Basic")))
        c.kind = CREDENTIAL_BASIC;
    else if (str_ieq(scheme, STR_LIT("Bearer")))
        c.kind = CREDENTIAL_BEARER;
    if (c.kind != CREDENTIAL_BAD)
        c.tag = secret_tag(all);
    return c;
}

bool principal_stands(const struct principal *p)
{
    if (p->expires != 0 && p->expires <= clock_now())
        return false;
    return p->user_id == 0 || gen_now(GEN_USER, str_of(p->name)) == p->gen;
}

/* --- failures of an address: a bucket that leaks one failure each window/limit */

static uint64_t address_key(struct str client)
{
    char text[64];
    uint8_t addr[16];
    text_copy(text, sizeof text, client);
    if (inet_pton(AF_INET6, text, addr) == 1) /* one network of 64 bits is one customer */
        return hashkey((struct str){(const char *)addr, 8});
    return hashkey(client);
}

static struct fail_slot *fail_slot(struct ident *i, uint64_t who, int64_t now)
{
    struct fail_slot *least = NULL;
    for (uint64_t w = 0; w < FAIL_WAYS; w++) {
        struct fail_slot *f = &i->fails[(who + w) % FAIL_SLOTS];
        f->level = f->level > now - f->at ? f->level - (now - f->at) : 0;
        f->at = now;
        if (f->who == who)
            return f;
        if (least == NULL || f->level < least->level)
            least = f;
    }
    *least = (struct fail_slot){who, 0, now};
    return least;
}

/* A proxy that does not say for whom it speaks is not everybody's culprit: one client's failures
 * would lock out all others. */
static int fail_check(struct ident *i, const struct http_req *r, struct err *err)
{
    struct str client = r->client;
    if (atomic_load(&i->max_failures) == 0 || r->client_unknown)
        return 0;
    (void)pthread_mutex_lock(&i->lock);
    bool full = fail_slot(i, address_key(client), clock_mono())->level >= FAIL_WINDOW;
    (void)pthread_mutex_unlock(&i->lock);
    return full ? err_set(err, ERR_TOOMANYREQUESTS,
                          "too many failed logins from %.*s; try again in a minute", STR_FMT(client))
                : 0;
}

static void fail_count(struct ident *i, const struct http_req *r)
{
    int64_t max = atomic_load(&i->max_failures);
    metric_add(METRIC_AUTH_FAILED, 1);
    if (max == 0 || r->client_unknown)
        return;
    (void)pthread_mutex_lock(&i->lock);
    fail_slot(i, address_key(r->client), clock_mono())->level += FAIL_WINDOW / max + 1;
    (void)pthread_mutex_unlock(&i->lock);
}

/* --- users */

struct user_read {
    struct str name;
    bool found;
    struct user_found user;
};

static int user_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_read *q = arg;
    int rc = user_tx_find(tx, q->name, &q->user, err);
    q->found = rc == 1 && q->user.state == STATE_ACTIVE;
    return rc < 0 ? rc : 0;
}

static void principal_fill(struct principal *p, const struct user_found *u, uint64_t gen)
{
    p->user_id = u->id;
    p->admin = u->role == ROLE_ADMIN;
    p->epoch = u->epoch;
    p->gen = gen;
}

static struct principal *verified_before(struct ident *i, struct str key)
{
    (void)pthread_mutex_lock(&i->lock);
    struct principal *p = (struct principal *)cache_get(i->verified, key, 0);
    if (p != NULL && principal_stands(p))
        shared_ref(&p->shared);
    else
        p = NULL;
    (void)pthread_mutex_unlock(&i->lock);
    return p;
}

static void verified_now(struct ident *i, struct str key, struct principal *p)
{
    (void)pthread_mutex_lock(&i->lock);
    cache_put(i->verified, key, 0, &p->shared);
    (void)pthread_mutex_unlock(&i->lock);
}

/* The keyed hash under which a verified pair is remembered. */
static struct secret_tag pair_tag(struct http_req *r, struct str user, struct str password)
{
    size_t n = user.n + 1 + password.n;
    char *pair = arena_alloc(&r->arena, n);
    if (user.n > 0)
        memcpy(pair, user.p, user.n);
    pair[user.n] = ':';
    if (password.n > 0)
        memcpy(pair + user.n + 1, password.p, password.n);
    struct secret_tag tag = secret_tag((struct str){pair, n});
    secret_wipe(pair, n);
    return tag;
}

static int password_check(struct ident *i, struct http_req *r, struct str user, struct str password,
                          struct principal **ret, struct err *err)
{
    struct user_read q = {.name = user};
    int rc = fail_check(i, r, err);
    if (rc < 0)
        return rc;
    bool plausible = name_valid(user) && user.n <= NAME_MAX_BYTES;
    uint64_t gen = plausible ? gen_now(GEN_USER, user) : 0;
    if (plausible && (rc = db_read(i->db, user_read, &q, err)) < 0)
        return rc;
    http_aside(r->server, true);
    rc = password_verify(q.found ? q.user.hash : NULL, password, err);
    http_aside(r->server, false);
    if (rc == ERR_UNAUTHORIZED)
        fail_count(i, r);
    if (rc < 0)
        return rc;
    metric_add(METRIC_AUTH_OK, 1);
    *ret = principal_new(user, 0);
    principal_fill(*ret, &q.user, gen);
    return 0;
}

int credential_password(struct ident *i, struct http_req *r, struct str user, struct str password,
                        struct principal **ret, struct err *err)
{
    if (user.n > BASIC_MAX || password.n > BASIC_MAX)
        return err_set(err, ERR_UNAUTHORIZED, "credential too long");
    struct secret_tag tag = pair_tag(r, user, password);
    struct str key = {(const char *)tag.b, sizeof tag.b};
    struct principal *p = verified_before(i, key);
    if (p == NULL) {
        int rc = password_check(i, r, user, password, &p, err);
        if (rc < 0)
            return rc;
        verified_now(i, key, p);
    }
    *ret = p;
    return 0;
}

static int verify_basic(struct ident *i, struct http_req *r, struct str value,
                        struct principal **ret, struct err *err)
{
    if (value.n > BASIC_MAX)
        return err_set(err, ERR_UNAUTHORIZED, "credential too long");
    uint8_t *text = arena_alloc(&r->arena, value.n + 1);
    long n = base64_decode(text, value.n, value);
    struct str rest = {(char *)text, n < 0 ? 0 : (size_t)n}, user;
    if (n < 0 || !str_split(&rest, ':', &user) || rest.p == NULL)
        return err_set(err, ERR_UNAUTHORIZED,
                       "malformed Basic credential: base64 of user:password is expected");
    int rc = credential_password(i, r, user, rest, ret, err);
    secret_wipe(text, value.n);
    return rc;
}

/* The token names the user; what the user may do is asked live, and its epoch ends old tokens. */
static int verify_bearer(struct ident *i, struct str value, struct principal **ret, struct err *err)
{
    struct principal *p = NULL;
    int rc = token_check(i, value, &p, err);
    if (rc < 0)
        return rc;
    if (p->name[0]) {
        struct user_read q = {.name = str_of(p->name)};
        uint64_t gen = gen_now(GEN_USER, q.name);
        rc = db_read(i->db, user_read, &q, err);
        if (rc == 0 && (!q.found || q.user.epoch != p->epoch))
            rc = err_set(err, ERR_UNAUTHORIZED, "the token was revoked; ask for a new one");
        else if (rc == 0)
            principal_fill(p, &q.user, gen);
    }
    if (rc < 0) {
        shared_unref(&p->shared);
        return rc;
    }
    metric_add(METRIC_AUTH_OK, 1);
    *ret = p;
    return 0;
}

int credential_verify(struct ident *i, struct http_req *r, const struct credential *c,
                      struct principal **ret, struct err *err)
{
    if (c->kind == CREDENTIAL_BEARER)
        return verify_bearer(i, c->value, ret, err);
    if (c->kind == CREDENTIAL_BASIC)
        return verify_basic(i, r, c->value, ret, err);
    return err_set(err, ERR_UNAUTHORIZED,
                   "malformed Authorization header: one of Basic or Bearer is expected");
}
