/* What administration can do: arguments in, calls to the rooms, JSON out. */
#include "app/control.h"
#include "audit/audit.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/metric.h"

#include <errno.h>
#include <unistd.h>

/* An answer goes through a line of the control socket, once more escaped. */
enum { API_HEADERS_MAX = 64 << 10, API_ANSWER_MAX = 512 << 10, REPORT_MAX = 64 << 10, PROGRESS_US = 200000 };

static bool flag_arg(json_t *args, const char *key) { return json_is_true(json_object_get(args, key)); }

/* The registry reports objects with "kind": progress, item or summary; the summary is our "done". */
struct relay {
    const struct control_out *out;
    json_t *done;
};

static int relay(void *arg, json_t *line, struct err *err)
{
    struct relay *r = arg;
    const char *k = json_string_value(json_object_get(line, "kind"));
    const char *kind = k && strcmp(k, "progress") == 0 ? "progress" : k && strcmp(k, "summary") == 0 ? "done" : "item";
    json_object_del(line, "kind");
    if (strcmp(kind, "done") == 0) {
        json_decref(r->done);
        r->done = line;
        return 0;
    }
    return r->out->line(r->out->arg, kind, line, err);
}

static int finish(struct relay *r, int rc, struct err *err)
{
    json_t *done = r->done ? r->done : json_object();
    if (rc < 0) {
        json_decref(done);
        return rc;
    }
    return r->out->line(r->out->arg, "done", done, err);
}

static int may_change(struct app *a, struct err *err)
{
    const char *why = app_read_only(a);
    return why ? err_set(err, ERR_READ_ONLY, "read-only: %s", why) : 0;
}

static int op_gc(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct relay r = {out, NULL};
    bool dry = flag_arg(args, "dry_run");
    int rc = dry ? 0 : may_change(a, err);
    if (rc == 0)
        rc = registry_gc(a->registry, dry, flag_arg(args, "now"), relay, &r, err);
    return finish(&r, rc, err);
}

static int op_fsck(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct relay r = {out, NULL};
    int64_t problems = 0;
    bool repair = flag_arg(args, "repair");
    int rc = repair ? may_change(a, err) : 0;
    if (rc == 0)
        rc = registry_fsck(a->registry, flag_arg(args, "full"), repair, relay, &r, &problems, err);
    if (rc == 0) {
        if (!r.done)
            r.done = json_object();
        json_object_set_new(r.done, "problems", json_integer(problems));
    }
    return finish(&r, rc, err);
}

static int op_status(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    (void)args;
    int64_t space = 0;
    char since[28];
    const char *why = app_read_only(a);
    int rc = store_free_bytes(a->store, &space, err);
    if (rc < 0)
        return rc;
    clock_rfc3339(since, a->started);
    json_t *body = json_pack("{s:s,s:s,s:s,s:s,s:I,s:I,s:I,s:I,s:s}", "version", BERTH_VERSION, "url", http_url(a->http),
                             "since", since, "database", db_is_postgres(a->db) ? "postgresql" : "sqlite", "schema",
                             (json_int_t)db_schema_version(a->db), "free_bytes", (json_int_t)space, "gc_queue",
                             (json_int_t)metric_value(METRIC_GC_QUEUE), "corrupt_found",
                             (json_int_t)metric_value(METRIC_SCRUB_CORRUPT), "read_only", why ? why : "");
    return out->line(out->arg, "done", body, err);
}

static int write_piece(void *arg, struct str piece, struct err *err)
{
    while (piece.n > 0) {
        long n = write(*(const int *)arg, piece.p, piece.n);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(err, ERR_IO, "cannot write");
        piece = (struct str){piece.p + n, piece.n - (size_t)n};
    }
    return 0;
}

/* A request to Berth's own API by the machine's administrator: {method, target, body?} -> {status, body?}. With a
 * descriptor, the body of what went well is written there. */
static int op_api(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    static const struct {
        const char *name;
        enum http_method method;
    } methods[] = {{"GET", HTTP_GET}, {"POST", HTTP_POST}, {"PUT", HTTP_PUT}, {"PATCH", HTTP_PATCH}, {"DELETE", HTTP_DELETE}};
    static const struct http_header json = {STR_LIT("Content-Type"), STR_LIT("application/json")};
    const char *method = json_string_value(json_object_get(args, "method"));
    json_t *body = json_object_get(args, "body"), *doc = NULL;
    auto_free char *text = body ? json_dumps(body, JSON_COMPACT) : NULL;
    struct http_inner in = {.target = str_of(json_string_value(json_object_get(args, "target"))), .body = str_of(text),
                            .headers = &json, .n_headers = text != NULL};
    int fd = (int)json_integer_value(json_object_get(args, "fd"));
    if (fd >= 0) {
        in.sink = write_piece;
        in.arg = &fd;
    }
    for (size_t i = 0; method && i < ARRAY_LEN(methods); i++)
        if (strcmp(method, methods[i].name) == 0)
            in.method = methods[i].method;
    if (in.method == 0 || !str_starts(in.target, STR_LIT("/api/v1/")))
        return err_set(err, ERR_USAGE, "api: wrong method or target");
    buf_init(&in.lines, API_HEADERS_MAX);
    buf_init(&in.answer, API_ANSWER_MAX);
    int rc = http_inner(a->http, &in, err);
    if (text)
        explicit_bzero(text, strlen(text)); /* may hold a password */
    if (rc == 0 && in.answer.n > 0)
        rc = json_strict(buf_view(&in.answer), JSON_CAPS_DEFAULT, &doc, err);
    if (in.answer.p)
        explicit_bzero(in.answer.p, in.answer.n); /* may hold a token */
    buf_release(&in.answer);
    buf_release(&in.lines);
    return rc < 0 ? rc : out->line(out->arg, "done", json_pack("{s:i,s:o*}", "status", (int)in.status, "body", doc), err);
}

/* --- the audit log's proof */

struct verifying {
    const struct control_out *out;
    int64_t told;
};

static int tell_verified(void *arg, const struct audit_verdict *v, struct err *err)
{
    struct verifying *p = arg;
    int64_t now = clock_mono();
    if (now - p->told < PROGRESS_US)
        return 0;
    p->told = now;
    return p->out->line(p->out->arg, "progress", json_pack("{s:I,s:I}", "seals", (json_int_t)v->seals, "rows", (json_int_t)v->rows), err);
}

static int op_audit_verify(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct audit_verdict v = {0};
    struct verifying progress = {out, 0};
    struct buf report;
    struct str rest, line, anchor = str_of(json_string_value(json_object_get(args, "anchor")));
    int64_t faults = 0;
    while (anchor.n > 0 && strchr("\r\n", anchor.p[anchor.n - 1]))
        anchor.n--;
    buf_init(&report, REPORT_MAX);
    int rc = audit_verify(a->db, a->store, anchor, tell_verified, &progress, &v, &report, err);
    rest = buf_view(&report);
    while (rc >= 0 && rest.n > 0 && str_split(&rest, '\n', &line)) {
        faults++;
        rc = out->line(out->arg, "item", json_pack("{s:s%}", "fault", line.p, line.n), err);
    }
    buf_release(&report);
    return rc < 0 ? rc
                  : out->line(out->arg, "done",
                              json_pack("{s:I,s:I,s:I,s:I,s:I}", "seals", (json_int_t)v.seals, "rows", (json_int_t)v.rows, "unsealed",
                                        (json_int_t)v.unsealed, "expired", (json_int_t)v.expired, "problems", (json_int_t)faults),
                              err);
}

static int op_audit_anchor(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct buf anchor;
    (void)args;
    buf_init(&anchor, REPORT_MAX);
    int rc = audit_anchor(a->db, &anchor, err);
    json_t *done = rc == 0 ? json_pack("{s:s%}", "anchor", anchor.p, anchor.n) : NULL;
    buf_release(&anchor);
    return rc < 0 ? rc : out->line(out->arg, "done", done, err);
}

static int add_rotated(struct db_tx *tx, void *arg, struct err *err)
{
    struct audit_row row = {.action = STR_LIT("audit.rotate"), .actor = STR_LIT("(this machine)")};
    (void)arg;
    return audit_tx_add(tx, &row, err);
}

/* Without a server the keys are opened for this alone. */
static int op_audit_rotate(struct app *a, json_t *args, const struct control_out *out, struct err *err)
{
    struct audit *own = NULL;
    struct audit_options o = {0};
    (void)args;
    int rc = may_change(a, err);
    if (rc == 0 && !a->audit)
        rc = audit_new(&own, a->db, a->store, &o, err);
    if (rc == 0)
        rc = audit_rotate(own ? own : a->audit, err);
    audit_free(own);
    if (rc == 0)
        rc = db_write(a->db, add_rotated, NULL, err);
    return rc < 0 ? rc : out->line(out->arg, "done", json_object(), err);
}

const struct control_op control_ops[] = {
    {"audit.rotate", op_audit_rotate, false},
    {"audit.anchor", op_audit_anchor, false},
    {"audit.verify", op_audit_verify, false},
    {"api", op_api, false},
    {"gc", op_gc, false},
    {"fsck", op_fsck, false},
    {"backup", backup_run, false},
    {"status", op_status, true},
};
const size_t n_control_ops = ARRAY_LEN(control_ops);
