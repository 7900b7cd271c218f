/* Profiles, and what is one's own. */
#include "hub/hub_int.h"

const struct rest_schema hub_user = {
    "HubUser", "A user's profile.", (const struct rest_field[]){
        HUB_PROFILE("username"),
        {"email", REST_STRING, .about = "of oneself"},
        {0}}};
const struct rest_schema hub_user_page = {"HubUserPage", "A page of users.", (const struct rest_field[]){HUB_PAGE_OF("count", hub_user), {0}}};
static const struct rest_schema my_org = {
    "HubMyOrg", "An organization that one may read.", (const struct rest_field[]){
        HUB_PROFILE("orgname"),
        {"role", REST_STRING, .required = true},
        {0}}};
static const struct rest_schema my_orgs = {"HubMyOrgPage", "A page of organizations.", (const struct rest_field[]){HUB_PAGE_OF("count", my_org), {0}}};

json_t *hub_user_json(const struct account *a, bool email)
{
    char uuid[HUB_UUID];
    hub_uuid(a->id, uuid);
    json_t *doc = json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s}", "id", (json_int_t)a->id, "uuid", uuid, "username", a->name,
                            "full_name", a->full_name, "location", "", "company", "", "profile_url", "", "date_joined",
                            rest_json_time(a->created_at), "gravatar_url", "", "gravatar_email", "", "type",
                            a->kind == ACCOUNT_ORG ? "Organization" : "User");
    if (email)
        json_object_set_new(doc, "email", json_string(a->email));
    return doc;
}

int hub_user_add(struct hub_user_job *j, struct str name)
{
    struct account a;
    if (!hub_page_takes(&j->page))
        return 0;
    int rc = account_tx_find(j->tx, name, &a, j->err);
    if (rc == 1)
        hub_page_add(&j->page, hub_user_json(&a, false));
    return rc < 0 ? rc : 0;
}

struct user_job {
    const struct http_req *r;
    struct account account;
};

static int user_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_job *j = arg;
    return account_tx_user(tx, j->r->parts[0], &j->account, err);
}

static int user_get(struct rest_call *c, struct err *err)
{
    struct user_job j = {.r = c->r};
    int rc = db_read(hub_db(c->r), user_read, &j, err);
    return rc < 0 ? rc : rest_send(c, hub_user_json(&j.account, false));
}

static int self_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct user_job *j = arg;
    int rc = account_tx_by_id(tx, req_principal(j->r)->user_id, &j->account, err);
    return rc == 0 ? err_set(err, ERR_DENIED, "this is nobody's account") : rc < 0 ? rc : 0;
}

static int self_get(struct rest_call *c, struct err *err)
{
    struct user_job j = {.r = c->r};
    int rc = db_read(hub_db(c->r), self_read, &j, err);
    return rc < 0 ? rc : rest_send(c, hub_user_json(&j.account, true));
}

/* Those that he is in: administrators and auditors may read all others, too. */
static int org_add(void *arg, const struct account *org, int64_t role)
{
    struct hub_page *p = arg;
    char uuid[HUB_UUID];
    if ((role == MEMBER_NONE && req_principal(p->c->r)->kind == WHO_USER) || !hub_page_takes(p))
        return 0;
    hub_uuid(org->id, uuid);
    hub_page_add(p, json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:s,s:s,s:s,s:s}", "id", (json_int_t)org->id, "uuid", uuid, "orgname",
                              org->name, "full_name", org->full_name, "location", "", "company", "", "profile_url", "", "date_joined",
                              rest_json_time(org->created_at), "gravatar_url", "", "gravatar_email", "", "type", "Organization", "role",
                              role == MEMBER_NONE ? "" : member_role_name(role)));
    return 0;
}

struct orgs_job {
    struct rest_call *c;
    struct hub_page page;
};

static int orgs_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct orgs_job *j = arg;
    hub_page_start(&j->page, j->c);
    return org_tx_each(tx, req_principal(j->c->r), STR_LIT(""), INT64_MAX, org_add, &j->page, err);
}

static int my_orgs_run(struct rest_call *c, struct err *err)
{
    struct orgs_job j = {.c = c};
    int rc = db_read(hub_db(c->r), orgs_read, &j, err);
    return hub_page_send(&j.page, rc, err);
}

#define READ (HTTP_GET | HTTP_HEAD)
const struct rest_route hub_user_routes[] = {
    {HUB_ROW(READ, "/users/{user}", "hub_user", RIGHT_SIGNED_IN), user_get, "A user's profile", "hub", .answer = &hub_user},
    {HUB_ROW(READ, "/user", "hub_self", RIGHT_SIGNED_IN), self_get, "The own profile", "hub", .answer = &hub_user},
    {HUB_ROW(READ, "/user/orgs", "hub_my_orgs", RIGHT_SIGNED_IN), my_orgs_run, "The own organizations", "hub", .query = hub_page_query,
     .answer = &my_orgs, .also = {404}},
};
const size_t n_hub_user_routes = ARRAY_LEN(hub_user_routes);
