/* Organizations and their members. */
#include "hub/hub_int.h"

enum { GROUPS_MAX = 1000 };
static const char *const roles[] = {"owner", "editor", "member", NULL};
static const char *const types[] = {"all", "invitee", "member", NULL};
static const struct rest_schema org = {
    "HubOrg", "An organization.", (const struct rest_field[]){
        HUB_PROFILE("orgname"),
        {"badge", REST_STRING, .required = true},
        {"is_active", REST_BOOL, .required = true},
        {"user_role", REST_STRING, .required = true, .about = "the caller's, empty: none"},
        {"user_groups", REST_ARRAY, .required = true, .of = REST_STRING, .max = GROUPS_MAX, .about = "the caller's teams"},
        {"org_groups_count", REST_INT, .required = true},
        {"plan_name", REST_STRING, .required = true},
        {"parent_name", REST_STRING, .required = true},
        {0}}};
static const struct rest_schema restricted = {
    "HubRestrictedImages", "What members may pull elsewhere: not restricted by this hub.", (const struct rest_field[]){
        {"enabled", REST_BOOL, .required = true},
        {"allow_official_images", REST_BOOL, .required = true},
        {"allow_verified_publishers", REST_BOOL, .required = true},
        {0}}};
static const struct rest_schema settings = {
    "HubOrgSettings", "Settings of an organization.", (const struct rest_field[]){
        {"restricted_images", REST_OBJECT, .required = true, .schema = &restricted}, {0}}};
static const struct rest_schema member = {
    "HubMember", "A member of an organization.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"username", REST_STRING, .required = true},
        {"full_name", REST_STRING, .required = true},
        {"company", REST_STRING, .required = true},
        {"location", REST_STRING, .required = true},
        {"email", REST_STRING, .required = true, .about = "empty for others than owners"},
        {"role", REST_ENUM, .required = true, .words = roles},
        {"groups", REST_ARRAY, .required = true, .of = REST_STRING, .max = GROUPS_MAX},
        {"is_guest", REST_BOOL, .required = true},
        {"date_joined", REST_TIME, .required = true},
        {"last_logged_in_at", REST_TIME, .required = true, .nullable = true},
        {"last_seen_at", REST_TIME, .required = true, .nullable = true},
        {"last_desktop_version", REST_STRING, .required = true},
        {0}}};
static const struct rest_schema members = {"HubMemberPage", "A page of members.", (const struct rest_field[]){HUB_PAGE_OF("count", member), {0}}};
static const struct rest_schema role_body = {
    "HubMemberRole", "A member's role.", (const struct rest_field[]){{"role", REST_ENUM, .required = true, .words = roles}, {0}}};
static const struct rest_field members_query[] = {
    HUB_PAGE_QUERY, {"search", REST_STRING, .max = 100}, {"type", REST_ENUM, .words = types}, {"role", REST_ENUM, .words = roles},
    {"invites", REST_BOOL, .about = "there are none"}, {0}};

/* --- teams of somebody, in a transaction */

struct groups {
    struct arena *arena;
    int64_t id[GROUPS_MAX];
    struct str name[GROUPS_MAX];
    size_t n;
};

static int keep_group(void *arg, const struct team_row *t)
{
    struct groups *g = arg;
    g->id[g->n] = t->id;
    g->name[g->n++] = str_of(str_dup(g->arena, str_of(t->name)));
    return 0;
}

static int groups_read(struct db_tx *tx, struct arena *a, int64_t org_id, struct groups **ret, struct err *err)
{
    *ret = arena_zalloc(a, sizeof **ret);
    (*ret)->arena = a;
    return team_tx_each(tx, org_id, STR_LIT(""), GROUPS_MAX, keep_group, *ret, err);
}

static int groups_of(struct db_tx *tx, const struct groups *g, int64_t user_id, json_t *list, struct err *err)
{
    for (size_t i = 0; i < g->n; i++) {
        int rc = team_tx_has(tx, g->id[i], user_id, err);
        if (rc < 0)
            return rc;
        if (rc == 1)
            json_array_append_new(list, json_stringn(g->name[i].p, g->name[i].n));
    }
    return 0;
}

/* --- the organization */

struct org_job {
    struct rest_call *c;
    json_t *doc;
};

static int org_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct org_job *j = arg;
    const struct account *a = req_account(j->c->r);
    const struct principal *p = req_principal(j->c->r);
    struct member_row m = {.role = MEMBER_NONE};
    struct groups *g;
    json_t *mine = json_array();
    int rc = account_is_org(a, err);
    if (rc == 0)
        rc = member_tx_find(tx, a->id, p->user_id, &m, err);
    if (rc >= 0 && (rc = groups_read(tx, &j->c->r->arena, a->id, &g, err)) == 0 &&
        (rc = groups_of(tx, g, p->user_id, mine, err)) == 0) {
        json_decref(j->doc);
        j->doc = hub_user_json(a, false);
        json_object_del(j->doc, "username");
        json_object_update_new(j->doc, json_pack("{s:s,s:s,s:b,s:s,s:O,s:I,s:s,s:s}", "orgname", a->name, "badge", "", "is_active", 1,
                                                 "user_role", m.role == MEMBER_NONE ? "" : member_role_name(m.role), "user_groups", mine,
                                                 "org_groups_count", (json_int_t)g->n, "plan_name", "", "parent_name", ""));
    }
    json_decref(mine);
    return rc;
}

static int org_get(struct rest_call *c, struct err *err)
{
    struct org_job j = {.c = c};
    int rc = db_read(hub_db(c->r), org_read, &j, err);
    if (rc < 0)
        json_decref(j.doc);
    return rc < 0 ? rc : rest_send(c, j.doc);
}

static int settings_get(struct rest_call *c, struct err *err)
{
    int rc = account_is_org(req_account(c->r), err);
    return rc < 0 ? rc
                  : rest_send(c, json_pack("{s:{s:b,s:b,s:b}}", "restricted_images", "enabled", 0, "allow_official_images", 1,
                                           "allow_verified_publishers", 1));
}

/* --- members */

struct members_job {
    struct rest_call *c;
    struct db_tx *tx;
    struct err *err;
    struct groups *groups;
    struct hub_page page;
    struct buf csv;
    bool export, email;
};

static json_t *member_json(const struct account *a, const struct member_row *m, json_t *groups, bool email)
{
    return json_pack("{s:I,s:s,s:s,s:s,s:s,s:s,s:s,s:o,s:b,s:o,s:o,s:o,s:s}", "id", (json_int_t)a->id, "username", a->name, "full_name",
                     a->full_name, "company", "", "location", "", "email", email ? a->email : "", "role", member_role_name(m->role),
                     "groups", groups, "is_guest", 0, "date_joined", rest_json_time(m->created_at), "last_logged_in_at",
                     rest_json_time(a->last_login_at), "last_seen_at", json_null(), "last_desktop_version", "");
}

/* What a spreadsheet would take for a formula becomes text. */
static void csv_field(struct buf *b, const char *text, bool last)
{
    buf_char(b, '"');
    if (text[0] != '\0' && strchr("=+-@\t\r", text[0]) != NULL)
        buf_char(b, '\'');
    for (const char *p = text; *p != '\0'; p++) {
        if (*p == '"')
            buf_char(b, '"');
        buf_char(b, *p);
    }
    buf_cstr(b, last ? "\"\r\n" : "\",");
}

static void csv_row(struct members_job *j, const struct account *a, const struct member_row *m, const json_t *groups)
{
    char joined[28];
    struct buf teams;
    size_t at;
    const json_t *one;
    buf_init(&teams, 1 << 20);
    json_array_foreach(groups, at, one) buf_printf(&teams, "%s%s", at ? ", " : "", json_string_value(one));
    buf_cstr(&teams, "");
    clock_rfc3339(joined, m->created_at);
    const char *fields[] = {a->full_name, a->name, j->email ? a->email : "", "User", member_role_name(m->role), teams.p ? teams.p : "", joined};
    for (size_t i = 0; i < ARRAY_LEN(fields); i++)
        csv_field(&j->csv, fields[i], i + 1 == ARRAY_LEN(fields));
    buf_release(&teams);
}

static int member_add(void *arg, const struct member_row *m)
{
    struct members_job *j = arg;
    struct account a;
    struct str role = rest_text(j->c->query, "role"), search = rest_text(j->c->query, "search");
    if (str_is(rest_text(j->c->query, "type"), "invitee") || (role.p != NULL && !str_is(role, member_role_name(m->role))))
        return 0;
    int rc = account_tx_by_id(j->tx, m->user_id, &a, j->err);
    if (rc <= 0 || (!text_has(str_of(a.name), search) && !text_has(str_of(a.full_name), search)))
        return rc < 0 ? rc : 0;
    if (!j->export && !hub_page_takes(&j->page))
        return 0;
    json_t *groups = json_array();
    rc = groups_of(j->tx, j->groups, m->user_id, groups, j->err);
    if (j->export) {
        csv_row(j, &a, m, groups);
        json_decref(groups);
    } else {
        hub_page_add(&j->page, member_json(&a, m, groups, j->email));
    }
    return rc;
}

static int members_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct members_job *j = arg;
    const struct account *a = req_account(j->c->r);
    int rc = account_is_org(a, err);
    j->tx = tx;
    j->err = err;
    j->email = (req_standing(j->c->r) & (IS_ORG_OWNER | IS_SITE_ADMIN)) != 0;
    hub_page_start(&j->page, j->c);
    buf_reset(&j->csv);
    buf_cstr(&j->csv, "Name,Username,Email,Type,Permission,Teams,Date Joined\r\n");
    if (rc == 0)
        rc = groups_read(tx, &j->c->r->arena, a->id, &j->groups, err);
    return rc < 0 ? rc : member_tx_each(tx, a->id, STR_LIT(""), INT64_MAX, member_add, j, err);
}

static int member_list(struct rest_call *c, struct err *err)
{
    struct members_job j = {.c = c};
    buf_init(&j.csv, 4096);
    int rc = db_read(hub_db(c->r), members_read, &j, err);
    buf_release(&j.csv);
    return hub_page_send(&j.page, rc, err);
}

static int member_export(struct rest_call *c, struct err *err)
{
    struct members_job j = {.c = c, .export = true};
    buf_init(&j.csv, 64 << 20);
    int rc = db_read(hub_db(c->r), members_read, &j, err);
    json_decref(j.page.results);
    if (rc < 0) {
        buf_release(&j.csv);
        return rc;
    }
    http_status(c->r, 200);
    http_add(c->r, "Content-Type", STR_LIT("text/csv; charset=utf-8"));
    http_addf(c->r, "Content-Disposition", "attachment; filename=\"%s-members.csv\"", req_account(c->r)->name);
    http_send_buf(c->r, &j.csv);
    return 0;
}

struct member_job {
    struct rest_call *c;
    enum member_role role;
    struct member_row row;
    json_t *doc;
};

static int member_write(struct db_tx *tx, struct change *ch, struct err *err)
{
    struct member_job *j = ch->arg;
    struct account a;
    struct groups *g;
    int rc = member_tx_change(tx, ch, ch->r->parts[1], j->role, &j->row, err);
    if (rc < 0 || j->role == MEMBER_NONE || (rc = account_tx_by_id(tx, j->row.user_id, &a, err)) < 0 ||
        (rc = groups_read(tx, &j->c->r->arena, ch->now.account.id, &g, err)) < 0)
        return rc;
    json_t *groups = json_array();
    rc = groups_of(tx, g, a.id, groups, err);
    json_decref(j->doc);
    j->doc = member_json(&a, &j->row, groups, true);
    return rc;
}

static int member_set(struct rest_call *c, struct err *err)
{
    struct member_job j = {.c = c, .role = member_role_of(rest_text(c->body, "role"))};
    struct change ch = {.fn = member_write, .arg = &j, .accounts = {c->r->parts[1]}, .action = "org.member.set", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    if (rc < 0)
        json_decref(j.doc);
    return rc < 0 ? rc : rest_send(c, j.doc);
}

/* Members leave; others take an owner to go. */
static int member_drop(struct rest_call *c, struct err *err)
{
    const struct principal *p = req_principal(c->r);
    bool self = p->kind == WHO_USER && str_is(c->r->parts[1], p->name);
    struct member_job j = {.c = c, .role = MEMBER_NONE};
    struct change ch = {.right = self ? RIGHT_LEAVE : RIGHT_MEMBERS, .fn = member_write, .arg = &j, .accounts = {c->r->parts[1]},
                        .action = "org.member.remove", .object = c->r->parts[1]};
    int rc = change_run(c->r, &ch, err);
    return rc < 0 ? rc : rest_send(c, NULL);
}

#define READ (HTTP_GET | HTTP_HEAD)
#define ORG "/orgs/{org}"
const struct rest_route hub_org_routes[] = {
    {HUB_ROW(READ, ORG, "hub_org", RIGHT_ACCOUNT_READ), org_get, "An organization", "hub", .answer = &org},
    {HUB_ROW(READ, ORG "/settings", "hub_org_settings", RIGHT_ACCOUNT_READ), settings_get, "Its settings", "hub", .answer = &settings},
    {HUB_ROW(READ, ORG "/members", "hub_members", RIGHT_MEMBERS_READ), member_list, "Its members", "hub", .query = members_query,
     .answer = &members},
    {HUB_ROW(READ, ORG "/members/export", "hub_members_export", RIGHT_MEMBERS_READ), member_export, "Its members as CSV", "hub",
     .query = members_query, .media = "text/csv"},
    {HUB_ROW(HTTP_PUT, ORG "/members/{user}", "hub_member_set", RIGHT_MEMBERS), member_set, "Give a member a role", "hub",
     .body = &role_body, .answer = &member, .also = {409}},
    {HUB_ROW(HTTP_DELETE, ORG "/members/{user}", "hub_member_remove", RIGHT_LEAVE), member_drop, "Remove a member", "hub", .also = {409}},
};
const size_t n_hub_org_routes = ARRAY_LEN(hub_org_routes);
