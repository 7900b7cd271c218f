/* Rows of the audit log: changes with their transaction; what happens without one is counted. */
#include "ident/ident_int.h"

#include <stdlib.h>

static struct str agent_of(const struct http_req *r)
{
    struct str agent = {NULL, 0};
    http_header(r, "User-Agent", &agent);
    return agent;
}

struct audit_row record_row(const struct http_req *r, const struct principal *p, const char *action, struct str object)
{
    struct audit_row row = {.action = str_of(action), .object = object, .address = r->client, .client = agent_of(r)};
    if (p != NULL) {
        row.actor_id = p->user_id;
        row.actor = p->kind == WHO_LOCAL ? STR_LIT("(this machine)") : str_of(p->name);
        row.credential_id = p->credential_id;
    }
    return row;
}

int record_tx_change(struct db_tx *tx, const struct change *c, struct err *err)
{
    struct str object = c->object;
    if (object.n == 0)
        object = c->now.repo.name.n > 0 ? c->now.repo.name : str_of(c->now.account.name);
    struct audit_row row = record_row(c->r, c->who, c->action, object);
    row.account_id = c->now.account.id != 0 ? c->now.account.id : c->who->user_id; /* of the site, or of oneself: the own log */
    char *data = c->data ? json_dumps(c->data, JSON_COMPACT) : NULL;
    row.data = str_of(data);
    int rc = audit_tx_add(tx, &row, err);
    free(data);
    return rc;
}

int ident_tx_record(struct db_tx *tx, const struct http_req *r, const struct principal *p, int64_t account_id, const char *action,
                    struct str object, struct str data, struct err *err)
{
    struct audit_row row = record_row(r, p, action, object);
    row.account_id = account_id;
    row.data = data;
    return audit_tx_add(tx, &row, err);
}

/* A login by name; whose it would have been when it failed. */
void record_login(struct ident *i, struct http_req *r, const struct principal *p, struct str name, enum audit_result result)
{
    if (i->audit == NULL)
        return;
    struct audit_row row = record_row(r, p, "login", name);
    row.actor = name;
    row.account_id = p ? p->user_id : 0;
    row.result = result;
    audit_count(i->audit, AUDIT_SHARED, &row);
}
