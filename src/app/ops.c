/* What administration can do: arguments in, calls to the rooms, JSON out. */
#include "app/control.h"
#include "base/clock.h"
#include "base/metric.h"

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

const struct control_op control_ops[] = {
    {"gc", op_gc, false},
    {"fsck", op_fsck, false},
    {"backup", backup_run, false},
    {"status", op_status, true},
};
const size_t n_control_ops = ARRAY_LEN(control_ops);
