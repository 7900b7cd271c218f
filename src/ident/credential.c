/* From the Authorization header to a principal.
 *
 * A loop's cache answers for what was verified before: one keyed hash a request. Its entries stand
 * as long as the account's generation does and, for tokens, until they expire or are to be looked up
 * again. What is not there a worker verifies: passwords by Argon2id behind a limit of failures for each
 * address, random tokens by their keyed hash, signed ones by signature; behind each token stand rows
 * that are asked every time. */
#include "crypt/token_text.h"
#include "ident/outside.h"

#include <stdlib.h>

enum { BASIC_MAX = 8192 };

static void principal_free(struct shared *s)
{
    struct principal *p = (struct principal *)s;
    for (size_t i = 0; i < p->n_scopes; i++)
        free((void *)(uintptr_t)p->scopes[i].name.p);
    for (size_t i = 0; i < p->n_bounds; i++)
        free((void *)(uintptr_t)p->bounds[i].pattern.p);
    free(p->scopes);
    free(p->bounds);
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

/* A password that is known from one address must be verified again from another: else the right guess of
 * one who guesses too much would be let through. */
static struct secret_tag tag_from(const struct secret_tag *tag, struct str client)
{
    struct {
        struct secret_tag tag;
        char client[64];
    } both = {.tag = *tag};
    text_copy(both.client, sizeof both.client, client);
    return secret_tag((struct str){(const char *)&both, sizeof both});
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
    else if (str_ieq(scheme, STR_LIT("Bearer")) || str_ieq(scheme, STR_LIT("JWT"))) /* older clients of Docker Hub */
        c.kind = CREDENTIAL_BEARER;
    if (c.kind != CREDENTIAL_BAD)
        c.tag = secret_tag(all);
    if (c.kind == CREDENTIAL_BASIC)
        c.tag = tag_from(&c.tag, r->client);
    return c;
}

bool principal_stands(const struct principal *p)
{
    if ((p->expires != 0 || p->recheck != 0) && clock_now() >= (p->expires != 0 && (p->recheck == 0 || p->expires < p->recheck)
                                                                     ? p->expires
                                                                     : p->recheck))
        return false;
    /* Read while a change ran: it may have been the state before. */
    return p->kind == WHO_NOBODY || (p->gen != GEN_BUSY && gen_now(GEN_USER, str_of(p->name)) == p->gen);
}

bool principal_fits(const struct principal *p, bool registry)
{
    return p->signed_for == SIGNED_NOT || (p->signed_for == SIGNED_REGISTRY) == registry;
}

/* --- bounds */

static enum scope scope_where(const struct principal *p, bool (*fits)(struct str pattern, struct str name), struct str name)
{
    enum scope most = SCOPE_ANY;
    for (size_t i = 0; i < p->n_bounds; i++)
        if (p->bounds[i].scope > most && fits(p->bounds[i].pattern, name))
            most = p->bounds[i].scope;
    return most;
}

enum scope principal_scope_repo(const struct principal *p, struct str name)
{
    return p->credential_id == 0 ? SCOPE_LOGIN : scope_where(p, pattern_fits, name);
}

/* All of an account: `*`, or NAME and slash and star. Of the site only `*`. */
static bool covers(struct str pattern, struct str account)
{
    if (str_is(pattern, "*"))
        return true;
    return account.n > 0 && pattern.n == account.n + 2 && str_starts(pattern, account) && str_ends(pattern, STR_LIT("/*"));
}

enum scope principal_scope_account(const struct principal *p, struct str account)
{
    if (p->credential_id == 0)
        return SCOPE_LOGIN;
    if (account.n == 0 && p->kind == WHO_ORG) /* an organization's token is for its own things */
        return SCOPE_ANY;
    return scope_where(p, covers, account);
}

/* --- accounts */

struct user_read {
    struct str name, address;
    bool found, known, second_factor, outside; /* outside: a directory's word */
    uint64_t gen;
    struct account account;
    char hash[PASSWORD_HASH_MAX];
};

/* An active user; hash "": without a password here. */
static int user_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_read *q = arg;
    int rc = account_tx_find(tx, q->name, &q->account, err);
    q->found = rc == 1 && q->account.state == ACCOUNT_ACTIVE && q->account.kind == ACCOUNT_USER;
    if (!q->found) /* the same statements for who is not here, of number 0 (T05) */
        q->account = (struct account){0};
    if (rc >= 0)
        rc = account_tx_password(tx, q->account.id, q->hash, err);
    if (rc >= 0 && (rc = factor_tx_any(tx, q->account.id, err)) >= 0)
        q->second_factor = rc == 1;
    if (rc >= 0 && q->address.n > 0 && (rc = address_tx_known(tx, q->account.id, q->address, err)) >= 0)
        q->known = rc == 1;
    return rc < 0 ? rc : 0;
}

void principal_fill(struct principal *p, const struct account *a, uint64_t gen)
{
    p->kind = a->kind == ACCOUNT_ORG ? WHO_ORG : WHO_USER;
    p->user_id = a->id;
    p->role = (enum site_role)a->role;
    p->epoch = a->epoch;
    p->plan_id = a->plan_id;
    p->gen = gen;
}

/* --- tokens: rows are asked for state, owner and bounds */

struct token_read {
    struct ident *ident;
    struct str name;           /* of the account that is said to own it; empty: whoever does */
    const uint8_t *hash;       /* or, NULL: */
    int64_t id;
    enum token_kind kind;
    uint64_t gen;
    struct principal *p;       /* to be filled */
    struct credential_row row;
    bool good;
    char owner[ACCOUNT_NAME_MAX + 1];
};

static void token_fill(struct token_read *q, const struct account *a, int64_t now)
{
    static const int64_t day = 86400 * (int64_t)1000000;
    principal_fill(q->p, a, q->gen);
    q->p->credential_id = q->row.id;
    q->p->credential_kind = (enum credential_kind)q->row.kind;
    q->p->credential_days = q->row.expires_at == 0 ? 0 : (q->row.expires_at - q->row.created_at + day - 1) / day;
    q->p->recheck = now + TOKEN_RECHECK_US;
    if (q->row.expires_at != 0 && (q->p->expires == 0 || q->row.expires_at < q->p->expires))
        q->p->expires = q->row.expires_at;
}

/* A signed token that was made before its parent got a new text dies with the old one. It counts in seconds. */
static bool of_old_text(const struct token_read *q, int64_t now)
{
    return q->p->auth_at / 1000000 < q->row.created_at / 1000000 && q->row.old_until <= now;
}

static int token_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct token_read *q = arg;
    struct account a;
    int64_t now = clock_now();
    q->good = false;
    int rc = q->hash ? credential_tx_by_hash(tx, q->hash, now, &q->row, err) : credential_tx_by_id(tx, q->id, &q->row, err);
    if (rc != 1 || !credential_lives(&q->row, now) || (q->hash == NULL && of_old_text(q, now)))
        return rc < 0 ? rc : 0;
    rc = account_tx_by_id(tx, q->row.account_id, &a, err);
    if (rc != 1 || a.state != ACCOUNT_ACTIVE || (q->name.n > 0 && !str_is(q->name, a.name)))
        return rc < 0 ? rc : 0;
    text_copy(q->owner, sizeof q->owner, str_of(a.name));
    q->good = true;
    if (q->p == NULL) /* only whose it is was asked */
        return 0;
    token_fill(q, &a, now);
    if (a.kind == ACCOUNT_USER && (rc = factor_tx_any(tx, a.id, err)) >= 0)
        q->p->second_factor = rc == 1;
    if (rc < 0)
        return rc;
    return credential_tx_bounds(tx, q->row.id, q->p, err);
}

struct used {
    struct ident *ident;
    int64_t id, now;
    char from[64];
};

static int used_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct used *u = arg;
    return credential_tx_used(tx, u->id, u->now, str_of(u->from), err);
}

static void used_run(void *arg)
{
    struct used *u = arg;
    struct err ignored = {0};
    (void)db_write(u->ident->db, used_write, u, &ignored); /* the next use tells again */
    free(u);
}

/* When and from where it was last used, at most once a minute, behind the answer. */
static void token_used(struct ident *i, struct http_req *r, const struct credential_row *row)
{
    int64_t now = clock_now();
    if (now - row->used_at < TOKEN_RECHECK_US)
        return;
    struct used *u = mem_zalloc(sizeof *u);
    *u = (struct used){.ident = i, .id = row->id, .now = now};
    text_copy(u->from, sizeof u->from, r->client);
    http_work(r->server, used_run, u);
}

/* Fills p from the rows of its token. ERR_UNAUTHORIZED when it is not good any more. */
static int token_rows(struct ident *i, struct http_req *r, struct token_read *q, struct err *err)
{
    q->ident = i;
    q->gen = q->name.n > 0 ? gen_now(GEN_USER, q->name) : GEN_BUSY;
    int rc = db_read(i->db, token_read, q, err);
    if (rc == 0 && !q->good)
        rc = err_set(err, ERR_UNAUTHORIZED, "the token is unknown, expired, revoked, or not this account's");
    if (rc == 0)
        token_used(i, r, &q->row);
    return rc;
}

/* The token of this hash, of `user` or of whomever. */
static int hash_verify(struct ident *i, struct http_req *r, struct str user, const uint8_t hash[TOKEN_HASH], struct principal **ret,
                       struct err *err)
{
    struct token_read q = {.name = user, .hash = hash};
    int rc;
    if (user.n == 0) { /* whose is it? The generation must be taken before its rows are read */
        if ((rc = token_rows(i, r, &q, err)) < 0)
            return rc;
        q.name = str_of(str_dup(&r->arena, str_of(q.owner)));
    }
    q.p = principal_new(q.name, 0);
    rc = token_rows(i, r, &q, err);
    if (rc < 0)
        shared_unref(&q.p->shared);
    else
        *ret = q.p;
    return rc;
}

/* A random token as password of `user`, or alone. */
static int token_text_verify(struct ident *i, struct http_req *r, struct str user, struct str text, struct principal **ret,
                             struct err *err)
{
    uint8_t hash[TOKEN_HASH];
    enum token_kind kind;
    int rc = token_text_parse(text, &kind, err);
    if (rc < 0)
        return rc;
    token_text_hash(i->credential_key, text, hash);
    return hash_verify(i, r, user, hash, ret, err);
}

bool token_text_looks(struct str text)
{
    return text.n == TOKEN_TEXT_LEN && (str_starts(text, STR_LIT("bpt_")) || str_starts(text, STR_LIT("bot_")) ||
                                        str_starts(text, STR_LIT("bkt_")));
}

/* --- tokens of others' issuers */

/* "oidc", "oidc/ORG", "oidc/ORG/RULE". */
static bool keyless_user(struct str user, struct str *ret_selector)
{
    struct str first;
    *ret_selector = user;
    if (user.n == 0 || !str_split(ret_selector, '/', &first) || !str_is(first, KEYLESS_USER))
        return false;
    if (ret_selector->p == NULL)
        *ret_selector = (struct str){"", 0};
    return true;
}

/* 1: the row of this hash lives; 0: there is none, or it expired. */
static int keyless_known(struct db_tx *tx, void *arg, struct err *err)
{
    struct credential_row row;
    int64_t now = clock_now();
    int rc = credential_tx_by_hash(tx, arg, now, &row, err);
    if (rc == 1 && row.state != 0)
        return err_set(err, ERR_UNAUTHORIZED, "the token was revoked");
    return rc == 1 ? credential_lives(&row, now) : rc;
}

static int keyless_verify(struct ident *i, struct http_req *r, struct str user, struct str selector, struct str token,
                          struct principal **ret, struct err *err)
{
    uint8_t hash[TOKEN_HASH];
    int64_t expires;
    struct str both = str_of(arena_printf(&r->arena, "%.*s %.*s", STR_FMT(user), STR_FMT(token)));
    token_text_hash(i->credential_key, both, hash);
    int rc = db_read(i->db, keyless_known, hash, err);
    if (rc == 0)
        rc = keyless_grant(i, r, selector, token, hash, &expires, err);
    secret_wipe((void *)(uintptr_t)both.p, both.n);
    return rc < 0 ? rc : hash_verify(i, r, (struct str){NULL, 0}, hash, ret, err);
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

struct seen {
    int64_t account_id;
    struct str address;
};

static int seen_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct seen *s = arg;
    return address_tx_seen(tx, s->account_id, s->address, clock_now(), err);
}

/* A password was right. Where it came from counts as known only when no second factor is still to come. */
static void password_seen(struct ident *i, struct http_req *r, const struct user_read *q)
{
    struct seen s = {q->account.id, r->client};
    struct err ignored = {0};
    if (q->known || q->second_factor || r->client_unknown)
        return;
    if (db_write(i->db, seen_write, &s, &ignored) == 1)
        mail_account(i, &q->account, "New login to your account", "Your account %s was logged in to from an address that is new: %.*s.\n",
                     q->account.name, STR_FMT(r->client));
}

/* Who has no password here is asked of the directory, after the same work as for who has one. */
static int elsewhere(struct ident *i, struct http_req *r, struct user_read *q, struct str password, struct err *err)
{
    bool here = q->found && q->hash[0] != 0;
    struct account a;
    int rc = directory_login(i, r, q->name, password, here, &a, err);
    if (rc < 0)
        return rc;
    struct str address = q->address;
    *q = (struct user_read){.name = str_of(str_dup(&r->arena, str_of(a.name))), .address = address, .outside = true};
    q->gen = gen_now(GEN_USER, q->name);
    rc = db_read(i->db, user_read, q, err);
    return rc < 0 ? rc : q->found ? 0 : err_set(err, ERR_UNAUTHORIZED, "unknown user or wrong password");
}

static int hash_check(struct ident *i, struct http_req *r, struct user_read *q, struct str password, struct err *err)
{
    struct str typed = q->name;
    int rc = fail_account_check(i, r, FAIL_PASSWORD, typed, q->known, err);
    if (rc < 0)
        return rc;
    http_aside(r->server, true);
    rc = password_verify(q->found && q->hash[0] != 0 ? q->hash : NULL, password, err);
    http_aside(r->server, false);
    if (rc == ERR_UNAUTHORIZED && i->directory != NULL)
        rc = elsewhere(i, r, q, password, err);
    if (rc == ERR_UNAUTHORIZED)
        fail_account_count(i, r, FAIL_PASSWORD, typed, q->known);
    if (rc == 0)
        password_seen(i, r, q);
    return rc;
}

static int secret_check(struct ident *i, struct http_req *r, struct str user, struct str password, struct principal **ret,
                        struct err *err)
{
    struct user_read q = {.name = user, .address = r->client};
    bool plausible = name_valid(user) && user.n >= ACCOUNT_NAME_MIN && user.n <= ACCOUNT_NAME_MAX;
    int rc = 0;
    struct str selector;
    q.gen = plausible ? gen_now(GEN_USER, user) : 0;
    if (token_text_looks(password) && (plausible || user.n == 0))
        return token_text_verify(i, r, user, password, ret, err);
    if (keyless_user(user, &selector) && jwt_looks(password))
        return keyless_verify(i, r, user, selector, password, ret, err);
    if (plausible && (rc = db_read(i->db, user_read, &q, err)) < 0)
        return rc;
    rc = hash_check(i, r, &q, password, err);
    secret_wipe(q.hash, sizeof q.hash);
    if (rc < 0)
        return rc;
    *ret = principal_new(q.name, 0);
    principal_fill(*ret, &q.account, q.gen);
    if (q.outside)
        (*ret)->expires = clock_now() + OUTSIDER_LIFE_US;
    (*ret)->auth_at = LOGIN_NOW;
    (*ret)->second_factor = q.second_factor;
    return 0;
}

int credential_exchange(struct ident *i, struct http_req *r, struct str selector, struct str token,
                        char text[TOKEN_TEXT_LEN + 1], int64_t *ret_expires, struct err *err)
{
    uint8_t hash[TOKEN_HASH];
    int rc = fail_address_check(i, r, err);
    if (rc < 0)
        return rc;
    token_text_make(TOKEN_KEYLESS, i->credential_key, text, hash);
    rc = keyless_grant(i, r, selector, token, hash, ret_expires, err);
    if (rc == ERR_UNAUTHORIZED) {
        fail_address_count(i, r);
        record_login(i, r, NULL, STR_LIT(KEYLESS_USER), AUDIT_REFUSED);
    }
    return rc;
}

/* With a second factor a right password is half a login: whoever asks for the other half records it. */
static int password_check(struct ident *i, struct http_req *r, struct str user, struct str password, struct principal **ret,
                          struct err *err)
{
    int rc = fail_address_check(i, r, err);
    if (rc == 0)
        rc = secret_check(i, r, user, password, ret, err);
    if (rc == ERR_UNAUTHORIZED)
        fail_address_count(i, r);
    bool half = rc == 0 && (*ret)->second_factor && (*ret)->credential_id == 0;
    if (rc == 0 && !half)
        metric_add(METRIC_AUTH_OK, 1);
    if ((rc == 0 && !half) || rc == ERR_UNAUTHORIZED)
        record_login(i, r, rc == 0 ? *ret : NULL, user, rc == 0 ? AUDIT_DONE : AUDIT_REFUSED);
    return rc;
}

int second_factor_missing(struct ident *i, struct http_req *r, const struct principal *p, struct err *err)
{
    record_login(i, r, NULL, str_of(p->name), AUDIT_REFUSED);
    return err_set(err, ERR_UNAUTHORIZED, "this account has a second factor, so its password is not taken here: make a personal access "
                                          "token at /account on this hub, and log in with it in the password's place");
}

int credential_password(struct ident *i, struct http_req *r, struct str user, struct str password,
                        struct principal **ret, struct err *err)
{
    if (user.n > BASIC_MAX || password.n > BASIC_MAX)
        return err_set(err, ERR_UNAUTHORIZED, "credential too long");
    struct secret_tag pair = pair_tag(r, user, password), tag = tag_from(&pair, r->client);
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
    if (rc == 0 && (*ret)->second_factor && (*ret)->credential_id == 0) {
        rc = second_factor_missing(i, r, *ret, err);
        shared_unref(&(*ret)->shared);
        *ret = NULL;
    }
    return rc;
}

/* The token names the account; what that may do is asked live, and its epoch ends old tokens. */
static int login_rows(struct ident *i, struct principal *p, struct err *err)
{
    struct user_read q = {.name = str_of(p->name)};
    uint64_t gen = gen_now(GEN_USER, q.name);
    int rc = db_read(i->db, user_read, &q, err);
    secret_wipe(q.hash, sizeof q.hash);
    if (rc == 0 && (!q.found || q.account.epoch != p->epoch))
        return err_set(err, ERR_UNAUTHORIZED, "the token was revoked; ask for a new one");
    if (rc == 0)
        principal_fill(p, &q.account, gen);
    p->second_factor = q.second_factor;
    return rc;
}

static int signed_verify(struct ident *i, struct http_req *r, struct str value, struct principal **ret, struct err *err)
{
    struct principal *p = NULL;
    int rc = token_check(i, value, &p, err);
    if (rc < 0)
        return rc;
    struct token_read q = {.name = str_of(p->name), .id = p->credential_id, .p = p};
    if (p->credential_id != 0)
        rc = token_rows(i, r, &q, err);
    else if (p->name[0])
        rc = login_rows(i, p, err);
    if (rc < 0)
        shared_unref(&p->shared);
    else
        *ret = p;
    return rc;
}

static int verify_bearer(struct ident *i, struct http_req *r, struct str value, struct principal **ret, struct err *err)
{
    int rc = token_text_looks(value) ? password_check(i, r, (struct str){NULL, 0}, value, ret, err)
                                     : signed_verify(i, r, value, ret, err);
    if (rc == 0 && !token_text_looks(value))
        metric_add(METRIC_AUTH_OK, 1);
    return rc;
}

int credential_verify(struct ident *i, struct http_req *r, const struct credential *c,
                      struct principal **ret, struct err *err)
{
    if (c->kind == CREDENTIAL_BEARER)
        return verify_bearer(i, r, c->value, ret, err);
    if (c->kind == CREDENTIAL_BASIC)
        return verify_basic(i, r, c->value, ret, err);
    return err_set(err, ERR_UNAUTHORIZED,
                   "malformed Authorization header: one of Basic or Bearer is expected");
}
