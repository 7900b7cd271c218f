/* Private: people and machines that others vouch for. issuer.c the keys of issuers · keyless.c trust
 * rules and what they give · keyless_sql.c their statements · trust_api.c their routes. */
#ifndef IDENT_OUTSIDE_H
#define IDENT_OUTSIDE_H
#include "crypt/jwk.h"
#include "ident/ident_int.h"
#include "net/egress.h"

/* ---- issuer.c: key sets by OpenID Connect Discovery, remembered for ten minutes. Asked again for a newer
 * set at most once a minute, after a failure at most every half minute; a set that cannot be renewed serves for an
 * hour in all. Two sides keep apart: a tenant's rule never uses what only the operator's end may reach. */
struct issuers;
struct issuers *issuers_new(const struct net *net);
void issuers_free(struct issuers *s);
struct issuer_keys {
    struct shared shared;
    struct jwks *set;
    json_t *configuration; /* the discovery document */
};
/* A worker's call; may wait for others' answers, aside. newer: the set at hand lacks a key. One reference in *ret.
 * ERR_UNAVAILABLE (the log says why), ERR_TOOMANYREQUESTS. */
int issuer_keys(struct issuers *s, struct http_server *server, enum net_who who, const char *issuer, bool newer,
                struct issuer_keys **ret, struct err *err);
/* The provider's own description: GET issuer/.well-known/openid-configuration, whose `issuer` is equal to the letter. */
int issuer_discover(const struct net *net, enum net_who who, const char *issuer, json_t **ret, struct err *err);
/* A signed token's claims, by the issuer's keys, asked for again when the set lacks the key. ERR_UNAUTHORIZED. */
int issuer_verify(struct issuers *s, struct http_server *server, enum net_who who, const char *issuer, struct str token,
                  unsigned algs, struct jwt *ret, struct err *err);

/* ---- keyless.c */
enum { RULES_MAX = 50, ISSUER_MAX = 255, AUDIENCE_MAX = 255, CLAIMS_MAX = 20, CLAIM_PATTERN_MAX = 255, RULE_JWKS_MAX = 16 << 10,
       RULES_LOOKED = 100, KEYLESS_LIVE_MAX = 5000 };
#define KEYLESS_LIFE_MAX ((int64_t)15 * 60 * 1000000)
struct trust_rule {
    int64_t id, org_id, life, created_at, updated_at;
    char name[ACCOUNT_NAME_MAX + 1], issuer[ISSUER_MAX + 1], audience[AUDIENCE_MAX + 1], org[ACCOUNT_NAME_MAX + 1];
    json_t *claims, *bounds; /* owned; trust_rule_release */
    char *jwks;
};
void trust_rule_release(struct trust_rule *t);
/* `*` stands for any number of characters but '/' and ':', so that it never crosses a part of a claim. */
bool claim_fits(struct str pattern, struct str value);
/* Who presents the token: nothing, ORG or ORG/RULE. Verifies it against all trust rules that may fit, and makes, or
 * renews, the organization's credential of this hash with the sum of their bounds. ERR_UNAUTHORIZED. */
int keyless_grant(struct ident *i, struct http_req *r, struct str selector, struct str token, const uint8_t hash[32],
                  int64_t *ret_expires, struct err *err);
/* ---- keyless_sql.c */
#define TRUST_COLUMNS "t.id, t.org_id, t.life, t.created_at, t.updated_at, t.name, t.issuer, t.audience, t.claims, t.bounds, t.jwks, a.name"
void trust_rule_map(const struct db_rows *row, void *trust_rule);
int trust_tx_by_id(struct db_tx *tx, int64_t org_id, int64_t id, struct trust_rule *ret, struct err *err); /* 1, 0 */
/* Of active organizations; org and name may be empty: all. At most max. */
int trust_tx_find(struct db_tx *tx, struct str issuer, struct str audience, struct str org, struct str name, struct trust_rule *ret,
                  size_t max, size_t *n, struct err *err);
/* A rule changed: what the organization's rules gave ends; who still fits comes again. */
int keyless_tx_end(struct db_tx *tx, int64_t org_id, struct err *err);
/* Insert, or give a row that has expired a new life. ERR_UNAUTHORIZED: it was revoked. */
int keyless_tx_put(struct db_tx *tx, int64_t org_id, struct str name, const uint8_t hash[32], int64_t now, int64_t expires,
                   struct str from, int64_t *ret_id, struct err *err);
int keyless_tx_bound(struct db_tx *tx, int64_t credential_id, struct str pattern, enum scope scope, struct err *err);

/* ---- outsider.c: the account of somebody whom a provider vouches for */
enum { OUTSIDER_SUBJECT_MAX = 255 };
/* A provider says nothing when somebody leaves: a login by its word lives so long. */
#define OUTSIDER_LIFE_US ((int64_t)5 * 60 * 1000000)
struct outsider {
    const char *provider;             /* "ldap", "oidc:NAME" */
    struct str subject, name, full_name, email;
    const struct str *groups;
    size_t n_groups;
    bool groups_known;                /* false: the provider said nothing of groups, teams stay as they are */
};
/* Finds or makes it, and puts it into the teams of its groups. ERR_UNAUTHORIZED: it is disabled or removed. */
int outsider_login(struct ident *i, struct http_req *r, const struct outsider *o, struct account *ret, struct err *err);
/* 1 and the active account of an identity, 0 none. */
int outsider_find(struct ident *i, const char *provider, struct str subject, struct account *ret, struct err *err);
/* The name that somebody so called is given if it is free. */
void outsider_name(struct str in, char ret[ACCOUNT_NAME_MAX + 1]);

/* ---- outsider_sql.c */
enum { GROUP_TEAMS_MAX = 500 };
struct teams {
    struct team_of {
        int64_t team, org;            /* of orgs_tx_held: team 0 */
    } t[GROUP_TEAMS_MAX];
    size_t n;
};
int identity_tx_find(struct db_tx *tx, const struct outsider *o, int64_t *ret_account, struct err *err); /* 1, 0 */
int identity_tx_add(struct db_tx *tx, const struct outsider *o, int64_t account_id, struct err *err);    /* and name and e-mail */
int identity_tx_seen(struct db_tx *tx, const struct outsider *o, int64_t account_id, struct err *err);
int identity_tx_left(struct db_tx *tx, int64_t account_id, struct err *err); /* all logins and sessions end */
int teams_tx_of_group(struct db_tx *tx, const char *provider, struct str group, struct teams *add, struct err *err);
int teams_tx_held(struct db_tx *tx, int64_t account_id, const char *source, struct teams *ret, struct err *err);
int orgs_tx_held(struct db_tx *tx, int64_t account_id, const char *source, struct teams *ret, struct err *err);
int team_tx_join(struct db_tx *tx, int64_t team_id, int64_t account_id, const char *source, struct err *err);
int team_tx_quit(struct db_tx *tx, int64_t team_id, int64_t account_id, const char *source, struct err *err);

/* ---- ldap.c: logins by a directory */
struct directory;                     /* NULL: none is configured */
int directory_new(struct directory **ret, const struct net *net, const struct config *c, struct err *err);
void directory_free(struct directory *d);
/* Name and password, for who has no password here; refused: the same work and answer for who has one. */
int directory_login(struct ident *i, struct http_req *r, struct str user, struct str password, bool refused, struct account *ret,
                    struct err *err);

/* ---- oidc.c: sign-on by an identity provider; GET /login/oidc sets out, ends in a session's cookie */
struct provider;                      /* NULL: none is configured */
int provider_new(struct provider **ret, const struct net *net, const struct config *c, struct err *err);
void provider_free(struct provider *p);
#endif
