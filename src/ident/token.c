/* What can be changed of random tokens. */
#include "ident/ident_int.h"

enum { TOKENS_MAX = 200 };
#define DAY_US ((int64_t)86400 * 1000000)

int credential_tx_get(struct db_tx *tx, int64_t account_id, enum credential_kind kind, int64_t id, struct credential_row *ret,
                      struct err *err)
{
    int rc = credential_tx_by_id(tx, id, ret, err);
    if (rc == 0 || (rc == 1 && (ret->account_id != account_id || ret->kind != (int64_t)kind || ret->state == 2)))
        return err_set(err, ERR_NOT_FOUND, "there is no such token");
    return rc < 0 ? rc : 0;
}

static int bound_check(const struct change *c, const struct credential_new *n, const struct bound *b, struct err *err)
{
    struct str name = str_of(c->now.account.name), rest = b->pattern, first;
    str_split(&rest, '/', &first);
    if (n->kind == CREDENTIAL_ORG && !str_is(b->pattern, "*") && (rest.p == NULL || !str_eq(first, name)))
        return rest_wrong(n->call, err, n->bounds_field, "reach beyond the organization: \"%.*s\"", STR_FMT(b->pattern));
    if (n->kind == CREDENTIAL_PERSONAL && c->who->role == SITE_AUDITOR && b->scope > SCOPE_READ)
        return rest_wrong(n->call, err, n->bounds_field, "an auditor reads and changes nothing: public-read or read");
    for (const struct bound *other = n->bounds; other < b; other++)
        if (str_eq(other->pattern, b->pattern))
            return rest_wrong(n->call, err, n->bounds_field, "name \"%.*s\" twice", STR_FMT(b->pattern));
    return 0;
}

static int life_check(const struct change *c, const struct credential_new *n, int64_t now, struct err *err)
{
    int64_t most = n->kind == CREDENTIAL_ORG ? c->now.account.token_max_days : 0;
    if (most > 0 && (n->expires_at == 0 || n->expires_at > now + most * DAY_US))
        return rest_wrong(n->call, err, n->life_field, "must be 1 to %lld days: the organization's rule", (long long)most);
    return 0;
}

static int may_have_one_more(struct db_tx *tx, const struct change *c, const struct credential_new *n, int64_t account, struct err *err)
{
    int64_t have = 0;
    int rc = n->kind == CREDENTIAL_ORG           ? account_is_org(&c->now.account, err)
             : c->who->kind != WHO_USER ? err_set(err, ERR_DENIED, "only a user has personal tokens")
                                        : 0;
    if (rc < 0 || (rc = credential_tx_count(tx, account, n->kind, &have, err)) < 0)
        return rc;
    return have >= TOKENS_MAX ? err_set(err, ERR_EXISTS, "there are %d tokens already: remove one first", TOKENS_MAX) : 0;
}

int credential_tx_make(struct db_tx *tx, const struct change *c, const struct credential_new *n, struct credential_row *ret,
                       struct err *err)
{
    int64_t now = clock_now(), account = n->kind == CREDENTIAL_ORG ? c->now.account.id : c->who->user_id;
    int rc = may_have_one_more(tx, c, n, account, err);
    if (rc < 0 || (rc = life_check(c, n, now, err)) < 0)
        return rc;
    *ret = (struct credential_row){.account_id = account, .kind = n->kind, .created_by = c->who->user_id, .created_at = now,
                                   .expires_at = n->expires_at};
    text_copy(ret->name, sizeof ret->name, n->name);
    text_copy(ret->created_from, sizeof ret->created_from, c->r->client);
    if ((rc = credential_tx_add(tx, ret, n->hash, err)) < 0 || (rc = credential_tx_by_hash(tx, n->hash, now, ret, err)) < 0)
        return rc;
    for (size_t i = 0; i < n->n_bounds; i++)
        if ((rc = bound_check(c, n, &n->bounds[i], err)) < 0 ||
            (rc = credential_tx_add_bound(tx, ret->id, n->bounds[i].pattern, n->bounds[i].scope, err)) < 0)
            return rc;
    return 0;
}

void ident_token_text(struct ident *i, enum credential_kind kind, char text[TOKEN_TEXT_LEN + 1], uint8_t hash[TOKEN_HASH])
{
    token_text_make(kind == CREDENTIAL_ORG ? TOKEN_ORGANIZATION : TOKEN_PERSONAL, i->credential_key, text, hash);
}

int credential_answer(struct rest_call *c, json_t *doc, char text[TOKEN_TEXT_LEN + 1], int rc)
{
    if (rc == 0 && text[0] != 0)
        json_object_set_new(doc, "token", json_string(text));
    secret_wipe(text, TOKEN_TEXT_LEN + 1);
    if (rc < 0) {
        json_decref(doc);
        return rc;
    }
    http_add(c->r, "Cache-Control", STR_LIT("no-store"));
    return rest_send(c, doc);
}
