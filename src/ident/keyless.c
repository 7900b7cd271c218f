/* Keyless CI: a token of an issuer that an organization trusts gives, for a quarter of an hour at most, a
 * credential of the organization with the bounds of its rules (docs/keyless.md). All that is true of random tokens is true
 * of it: bounds, expiry, revocation, what is derived dies with it.
 *
 * Shown as a password (docker login -u oidc), the issuer's token is the text of the credential: its keyed hash finds the row for as
 * long as that lives, and then it is verified anew. So one token shown many times is one credential, which is why a
 * repeated jti is no attack here: whoever holds the token holds no more than what it gave already. */
#include "ident/outside.h"

#include <stdlib.h>

enum { AUDIENCES_LOOKED = 8, STATIC_LOOKED = 20, SKEW_S = 60, SUB_SHOWN = 100 };

struct keyless {
    struct ident *ident;
    struct http_req *r;
    struct str token, org, name, issuer;
    const json_t *peek;
    struct trust_rule rule[RULES_LOOKED];
    bool fits[RULES_LOOKED];
    size_t n;
    char sub[SUB_SHOWN + 1];
    const uint8_t *hash;
    int64_t expires;
};

/* --- claims */

static bool apart(char c) { return c == '/' || c == ':'; }

bool claim_fits(struct str pattern, struct str value)
{
    size_t p = 0, v = 0, star = SIZE_MAX, from = 0;
    while (v < value.n) {
        if (p < pattern.n && pattern.p[p] == '*') {
            star = p++;
            from = v;
        } else if (p < pattern.n && pattern.p[p] == value.p[v]) {
            p++;
            v++;
        } else if (star != SIZE_MAX && !apart(value.p[from])) { /* the last star takes one more */
            p = star + 1;
            v = ++from;
        } else {
            return false;
        }
    }
    while (p < pattern.n && pattern.p[p] == '*')
        p++;
    return p == pattern.n;
}

/* Texts as they are, whole numbers and truth as JSON writes them; lists and objects never fit. */
static bool claim_is(const json_t *claims, const char *name, struct str pattern)
{
    char text[32];
    const json_t *v = json_object_get(claims, name);
    if (json_is_string(v))
        return claim_fits(pattern, (struct str){json_string_value(v), json_string_length(v)});
    if (json_is_boolean(v))
        return claim_fits(pattern, str_of(json_is_true(v) ? "true" : "false"));
    if (!json_is_integer(v))
        return false;
    snprintf(text, sizeof text, "%lld", (long long)json_integer_value(v));
    return claim_fits(pattern, str_of(text));
}

static bool rule_fits(const struct trust_rule *t, const json_t *claims)
{
    struct jwt_expect want = {.iss = t->issuer, .aud = t->audience, .now = clock_now() / 1000000, .skew = SKEW_S};
    const json_t *one;
    size_t at;
    if (jwt_claims_check(claims, &want, NULL) < 0 || json_array_size(t->claims) == 0)
        return false;
    json_array_foreach(t->claims, at, one)
    {
        const char *name = json_string_value(json_object_get(one, "claim"));
        const json_t *pattern = json_object_get(one, "pattern");
        if (name == NULL || !json_is_string(pattern) ||
            !claim_is(claims, name, (struct str){json_string_value(pattern), json_string_length(pattern)}))
            return false;
    }
    return true;
}

/* --- rules that name the issuer and one of the audiences */

static int rules_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct keyless *k = arg;
    const json_t *aud = json_object_get(k->peek, "aud"), *one;
    size_t at;
    int rc = 0;
    while (k->n > 0) /* it may run again */
        trust_rule_release(&k->rule[--k->n]);
    if (json_is_string(aud))
        return trust_tx_find(tx, k->issuer, (struct str){json_string_value(aud), json_string_length(aud)}, k->org, k->name, k->rule,
                             RULES_LOOKED, &k->n, err);
    json_array_foreach(aud, at, one)
    {
        if (rc == 0 && at < AUDIENCES_LOOKED && json_is_string(one))
            rc = trust_tx_find(tx, k->issuer, (struct str){json_string_value(one), json_string_length(one)}, k->org, k->name, k->rule,
                               RULES_LOOKED, &k->n, err);
    }
    return rc;
}

static void judge(struct keyless *k, size_t at, const struct jwt *t)
{
    k->fits[at] = rule_fits(&k->rule[at], t->claims);
    struct str sub = str_of(json_string_value(json_object_get(t->claims, "sub")));
    if (!k->fits[at])
        return;
    size_t n = sub.n > SUB_SHOWN ? SUB_SHOWN : sub.n;
    while (n < sub.n && ((unsigned char)sub.p[n] & 0xc0) == 0x80) /* never inside a character */
        n--;
    text_copy(k->sub, sizeof k->sub, (struct str){sub.p, n});
}

/* Rules with keys of their own. */
static void check_static(struct keyless *k)
{
    int looked = 0;
    for (size_t at = 0; at < k->n; at++) {
        struct jwks *set = NULL;
        struct jwt t;
        if (k->rule[at].jwks[0] == 0 || looked++ == STATIC_LOOKED || jwks_parse(str_of(k->rule[at].jwks), &set, NULL) < 0)
            continue;
        if (jwt_verify(set, k->token, JWT_ALGS_ALL, &t, NULL) == 0) {
            judge(k, at, &t);
            jwt_release(&t);
        }
        jwks_free(set);
    }
}

/* The others ask the issuer, once for all of them. ERR_UNAUTHORIZED is no error yet. */
static int check_asked(struct keyless *k, struct err *err)
{
    struct jwt t = {NULL, NULL};
    size_t asked = 0;
    for (size_t at = 0; at < k->n; at++)
        asked += k->rule[at].jwks[0] == 0;
    if (asked == 0)
        return 0;
    int rc = issuer_verify(k->ident->issuers, k->r->server, NET_TENANT, k->rule[0].issuer, k->token, JWT_ALGS_ALL, &t, err);
    for (size_t at = 0; rc == 0 && at < k->n; at++)
        if (k->rule[at].jwks[0] == 0)
            judge(k, at, &t);
    jwt_release(&t);
    return rc == ERR_UNAUTHORIZED ? 0 : rc;
}

/* The organization whose rules fit: one, or the caller must say which. */
static int choose(const struct keyless *k, const struct trust_rule **ret, struct err *err)
{
    *ret = NULL;
    for (size_t at = 0; at < k->n; at++) {
        if (!k->fits[at])
            continue;
        if (*ret != NULL && (*ret)->org_id != k->rule[at].org_id)
            return err_set(err, ERR_UNAUTHORIZED, "several organizations trust this token: name one, as " KEYLESS_USER "/ORGANIZATION");
        *ret = &k->rule[at];
    }
    return *ret ? 0 : err_set(err, ERR_UNAUTHORIZED, "no trust rule fits this token");
}

/* --- what they give */

static int give_bounds(struct db_tx *tx, int64_t id, const struct trust_rule *t, struct err *err)
{
    const json_t *one;
    size_t at;
    int rc = 0;
    json_array_foreach(t->bounds, at, one)
    {
        enum scope scope = SCOPE_ANY;
        (void)scope_parse(rest_text(one, "scope"), &scope);
        if (rc == 0 && scope != SCOPE_ANY)
            rc = keyless_tx_bound(tx, id, rest_text(one, "pattern"), scope, err);
    }
    return rc;
}

/* As it was when its claims were compared. */
static int still(struct db_tx *tx, const struct trust_rule *t, struct err *err)
{
    struct trust_rule now = {0};
    int rc = trust_tx_by_id(tx, t->org_id, t->id, &now, err);
    bool same = rc == 1 && now.updated_at == t->updated_at;
    trust_rule_release(&now);
    return rc < 0 ? rc : same ? 0 : err_set(err, ERR_UNAUTHORIZED, "the trust rule changed meanwhile; try again");
}

static int record(struct db_tx *tx, const struct keyless *k, const struct trust_rule *t, int64_t id, struct err *err)
{
    json_t *doc = json_pack("{s:s,s:s}", "issuer", t->issuer, "subject", k->sub);
    char *data = doc ? json_dumps(doc, JSON_COMPACT) : NULL;
    struct audit_row row = record_row(k->r, NULL, "org.keyless.login", str_of(t->name));
    row.account_id = row.actor_id = t->org_id;
    row.actor = str_of(t->org);
    row.credential_id = id;
    row.data = str_of(data ? data : "");
    int rc = audit_tx_add(tx, &row, err);
    free(data);
    json_decref(doc);
    return rc;
}

static int give(struct db_tx *tx, void *arg, struct err *err)
{
    struct keyless *k = arg;
    const struct trust_rule *chosen = NULL;
    struct account org;
    int64_t now = clock_now(), life = KEYLESS_LIFE_MAX, id = 0;
    int rc = choose(k, &chosen, err);
    if (rc < 0 || (rc = account_tx_by_id(tx, chosen->org_id, &org, err)) < 0)
        return rc;
    if (rc == 0 || org.state != ACCOUNT_ACTIVE)
        return err_set(err, ERR_UNAUTHORIZED, "no trust rule fits this token");
    for (size_t at = 0; at < k->n; at++)
        if (k->fits[at] && k->rule[at].life < life)
            life = k->rule[at].life;
    k->expires = now + life;
    rc = keyless_tx_put(tx, chosen->org_id, str_of(k->sub), k->hash, now, k->expires, k->r->client, &id, err);
    for (size_t at = 0; rc == 0 && at < k->n; at++)
        if (k->fits[at] && (rc = still(tx, &k->rule[at], err)) == 0 && (rc = give_bounds(tx, id, &k->rule[at], err)) == 0)
            rc = record(tx, k, &k->rule[at], id, err);
    return rc;
}

static int run(struct keyless *k, struct err *err)
{
    const struct trust_rule *chosen;
    int rc = db_read(k->ident->db, rules_read, k, err);
    if (rc < 0)
        return rc;
    check_static(k);
    if ((rc = check_asked(k, err)) < 0 || (rc = choose(k, &chosen, err)) < 0)
        return rc;
    gen_begin(GEN_USER, str_of(chosen->org)); /* a renewed row may have had other bounds */
    rc = db_write(k->ident->db, give, k, err);
    gen_end(GEN_USER, str_of(chosen->org));
    return rc;
}

int keyless_grant(struct ident *i, struct http_req *r, struct str selector, struct str token, const uint8_t hash[32],
                  int64_t *ret_expires, struct err *err)
{
    struct keyless *k = arena_zalloc(&r->arena, sizeof *k);
    json_t *peek = NULL;
    int rc = jwt_peek(token, &peek, err);
    if (rc < 0)
        return rc;
    const json_t *iss = json_object_get(peek, "iss");
    *k = (struct keyless){.ident = i, .r = r, .token = token, .peek = peek, .hash = hash};
    k->name = selector;
    str_split(&k->name, '/', &k->org);
    k->issuer = (struct str){json_string_value(iss), json_string_length(iss)};
    rc = json_is_string(iss) && k->issuer.n <= ISSUER_MAX ? run(k, err) : err_set(err, ERR_UNAUTHORIZED, "the token names no issuer");
    while (k->n > 0)
        trust_rule_release(&k->rule[--k->n]);
    json_decref(peek);
    if (rc == 0)
        *ret_expires = k->expires;
    return rc;
}
