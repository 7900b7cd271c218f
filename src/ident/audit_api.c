/* /api/v1: the audit log. An account's owners read its log, administrators and auditors all of it. */
#include "ident/api.h"

#include <stdio.h>
#include <unistd.h>

static const char *const results[] = {"done", "refused", "failed", NULL};
static const struct rest_schema event = {
    "AuditEvent", "A row of the audit log.", (const struct rest_field[]){
        {"id", REST_INT, .required = true},
        {"at", REST_TIME, .required = true},
        {"action", REST_STRING, .required = true, .about = "repo.tag.push, login, org.member.set, ..."},
        {"object", REST_STRING, .required = true},
        {"actor", REST_STRING, .required = true, .about = "empty: nobody was logged in"},
        {"token_id", REST_INT, .required = true, .nullable = true, .about = "with which token"},
        {"address", REST_STRING, .required = true},
        {"client", REST_STRING, .required = true},
        {"result", REST_ENUM, .required = true, .words = results},
        {"count", REST_INT, .required = true, .about = "alike within seconds"},
        {"data", REST_STRING, .required = true, .about = "JSON, or empty"},
        {0}}};
#define FILTER                                                                                                              \
    {"actor", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name},                                          \
        {"object", REST_STRING, .max = AUDIT_OBJECT_MAX, .check = &check_line, .about = "the whole text"},                  \
        {"action", REST_STRING, .max = 64, .check = &check_line, .about = "repo.tag.push; or all of a kind: repo."},        \
        {"from", REST_TIME, .about = "at or after"}, {"to", REST_TIME, .about = "before"}
static const struct rest_field site_filter[] = {
    {"account", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name, .about = "whose log"}, FILTER, {0}};
static const struct rest_field account_filter[] = {FILTER, {0}};
static const char *const formats[] = {"jsonl", "csv", NULL};
static const struct rest_field export_filter[] = {
    {"account", REST_STRING, .max = ACCOUNT_NAME_MAX, .check = &check_account_name, .about = "whose log"},
    {"format", REST_ENUM, .words = formats, .about = "default jsonl"}, FILTER, {0}};

struct log_job {
    struct rest_call *c;
    struct audit_filter filter;
    struct audit_cursor cursor;
    bool nobody; /* the filter names an account that does not exist */
    bool more;
};

static int name_id(struct db_tx *tx, struct str name, bool *has, int64_t *id, struct log_job *j, struct err *err)
{
    struct account a;
    if (name.p == NULL)
        return 0;
    int rc = account_tx_find(tx, name, &a, err);
    j->nobody |= rc == 0;
    *has = true;
    *id = rc == 1 ? a.id : 0;
    return rc < 0 ? rc : 0;
}

/* What the query asks for, by the index that narrows it most. */
static int make_filter(struct db_tx *tx, struct log_job *j, struct err *err)
{
    const json_t *q = j->c->query;
    struct audit_filter *f = &j->filter;
    const struct account *mine = right_row((enum right)j->c->r->route->right)->object == OBJECT_ACCOUNT ? req_account(j->c->r) : NULL;
    *f = (struct audit_filter){.from = rest_time(q, "from", 0), .to = rest_time(q, "to", 0), .object = rest_text(q, "object"),
                               .action = rest_text(q, "action")};
    j->nobody = false;
    int rc = name_id(tx, rest_text(q, "account"), &f->has_account, &f->account_id, j, err);
    if (rc == 0)
        rc = name_id(tx, rest_text(q, "actor"), &f->has_actor, &f->actor_id, j, err);
    if (mine != NULL) {
        f->has_account = true;
        f->account_id = mine->id;
    }
    f->by = f->object.n > 0 ? AUDIT_BY_OBJECT : f->has_actor ? AUDIT_BY_ACTOR : f->has_account ? AUDIT_BY_ACCOUNT : AUDIT_BY_TIME;
    return rc;
}

static int show(void *arg, const struct audit_row *row, struct err *err)
{
    struct log_job *j = arg;
    (void)err;
    json_t *token = row->credential_id ? json_integer(row->credential_id) : json_null();
    json_t *doc = json_pack("{s:I,s:o,s:o,s:o,s:o,s:o,s:o,s:o,s:s,s:I,s:o}", "id", (json_int_t)row->seq, "at", rest_json_time(row->at),
                            "action", json_stringn(row->action.p, row->action.n), "object",
                            json_stringn(row->object.p ? row->object.p : "", row->object.n), "actor",
                            json_stringn(row->actor.p ? row->actor.p : "", row->actor.n), "token_id", token, "address",
                            json_stringn(row->address.p ? row->address.p : "", row->address.n), "client",
                            json_stringn(row->client.p ? row->client.p : "", row->client.n), "result", results[row->result], "count",
                            (json_int_t)row->count, "data", json_stringn(row->data.p ? row->data.p : "", row->data.n));
    rest_add(j->c, doc, json_pack("[II]", (json_int_t)row->at, (json_int_t)row->seq));
    return 0;
}

static int list_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct log_job *j = arg;
    int n = (int)rest_page(j->c);
    j->cursor = (struct audit_cursor){rest_after_int(j->c, 0, 0), rest_after_int(j->c, 1, 0)};
    int rc = make_filter(tx, j, err);
    while (rc == 0 && !j->nobody && !rest_full(j->c) && (rc = audit_tx_page(tx, &j->filter, &j->cursor, n, show, j, err)) == 1)
        rc = 0;
    return rc;
}

static int log_list(struct rest_call *c, struct err *err)
{
    struct log_job j = {.c = c};
    int rc = db_read(ident_of(c->r)->db, list_read, &j, err);
    return rc < 0 ? rc : rest_send_page(c);
}

/* --- export: into an unnamed file first, so that its length is known and memory stays flat */

static int filter_read(struct db_tx *tx, void *arg, struct err *err) { return make_filter(tx, arg, err); }

static int write_piece(void *arg, struct str piece, struct err *err)
{
    return fwrite(piece.p, 1, piece.n, arg) == piece.n ? 0 : err_sys(err, ERR_IO, "cannot write the export");
}

static int log_export(struct rest_call *c, struct err *err)
{
    struct log_job j = {.c = c};
    struct ident *i = ident_of(c->r);
    bool csv = str_is(rest_text(c->query, "format"), "csv");
    int rc = db_read(i->db, filter_read, &j, err);
    FILE *file = rc < 0 ? NULL : tmpfile();
    if (rc < 0 || file == NULL)
        return rc < 0 ? rc : err_sys(err, ERR_IO, "cannot make a file for the export");
    struct buf head;
    buf_init(&head, 4096);
    if (j.nobody) /* else it comes with the rows */
        audit_head(&head, csv ? AUDIT_CSV : AUDIT_JSON);
    if (head.n > 0)
        rc = write_piece(file, buf_view(&head), err);
    buf_release(&head);
    if (rc == 0 && !j.nobody)
        rc = audit_export(i->db, &j.filter, csv ? AUDIT_CSV : AUDIT_JSON, write_piece, file, err);
    if (rc == 0 && fflush(file) != 0)
        rc = err_sys(err, ERR_IO, "cannot write the export");
    int64_t size = rc < 0 ? 0 : ftello(file);
    int fd = rc < 0 ? -1 : dup(fileno(file));
    (void)fclose(file);
    if (rc < 0 || fd < 0)
        return rc < 0 ? rc : err_sys(err, ERR_IO, "cannot keep the export");
    http_status(c->r, 200);
    http_add(c->r, "Content-Type", csv ? STR_LIT("text/csv; charset=utf-8") : STR_LIT("application/jsonl"));
    http_add(c->r, "Content-Disposition", csv ? STR_LIT("attachment; filename=\"audit.csv\"") : STR_LIT("attachment; filename=\"audit.jsonl\""));
    http_send_file(c->r, fd, 0, size);
    return 0;
}

const struct rest_route audit_routes[] = {
    {REST_GET("/audit", "audit_list", RIGHT_SITE_AUDIT), log_list, "Search the audit log", "audit", .query = site_filter,
     .answer = &event, .cursor = "ii", .limit_max = 1000},
    {REST_GET("/audit/export", "audit_export", RIGHT_SITE_AUDIT), log_export, "Export the audit log", "audit",
     .query = export_filter, .media = "application/jsonl"},
    {REST_GET("/orgs/{org}/audit", "org_audit_list", RIGHT_ACCOUNT_AUDIT), log_list, "Search the log of an organization", "audit",
     .query = account_filter, .answer = &event, .cursor = "ii", .limit_max = 1000},
};
const size_t n_audit_routes = ARRAY_LEN(audit_routes);
