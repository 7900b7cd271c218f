/* `berth gc`: a run of the collector on demand, and its dry form that explains each candidate.
 *
 *   {"kind":"item","object":"manifest|link|blob","repository":NAME,"digest":D,"size":N,"event":E,
 *    "action":"removed"}
 *   dry: "action":"remove|wait|keep","why":TEXT,"due":TIME
 *   {"kind":"progress","reviewed":N,"removed":N}
 *   {"kind":"summary","dry_run":B,"reviewed":N,"removed":N,"kept":N,"postponed":N,"failed":N,
 *    "unlinked":N}   dry: "remove","wait","keep","bytes"  (bytes: of the objects that would go) */
#include "registry/upkeep.h"

#include <stdlib.h>

enum { PAGE = 64, PROGRESS_EVERY_US = 500000, ROUNDS_MAX = 100 };

struct out {
    struct registry *g;
    registry_report fn;
    void *arg;
    struct gc_run *run;
    int64_t next_progress; /* monotonic us */
};

static int say(struct out *o, json_t *line, struct err *err)
{
    BUG_ON(!line);
    return o->fn(o->arg, line, err);
}

static int say_progress(struct out *o, int64_t reviewed, int64_t removed, struct err *err)
{
    int64_t now = clock_mono();
    if (now < o->next_progress)
        return 0;
    o->next_progress = now + PROGRESS_EVERY_US;
    return say(o,
               json_pack("{s:s, s:I, s:I}", "kind", "progress", "reviewed", (json_int_t)reviewed,
                         "removed", (json_int_t)removed),
               err);
}

static json_t *item(const struct gc_row *row, const char *action)
{
    char text[DIGEST_TEXT_MAX] = "malformed";
    if (row->digest.alg != DIGEST_NONE)
        digest_text(&row->digest, text);
    json_t *line = json_pack("{s:s, s:s, s:s, s:I, s:s, s:s}", "kind", "item", "object",
                             gc_kind_name(row->kind), "digest", text, "size", (json_int_t)row->size,
                             "event", row->event, "action", action);
    if (row->has_repo)
        json_object_set_new(line, "repository", json_string(row->name));
    return line;
}

/* ---- the real run ---- */
static int removed(void *arg, const struct gc_row *row, struct err *err)
{
    struct out *o = arg;
    int rc = say(o, item(row, "removed"), err);
    return rc != 0 ? rc : say_progress(o, o->run->reviewed, o->run->deleted, err);
}

static int collect(struct out *o, bool now, struct err *err)
{
    struct gc_run run = {.g = o->g,
                         .due = now ? INT64_MAX : clock_now(),
                         .by_key = now,
                         .max = SIZE_MAX,
                         .removed = removed,
                         .arg = o};
    int64_t before, unlinked = 0;
    int rounds = 0, rc;
    o->run = &run;
    /* A removal queues what it held: again while something goes (an index sets its children free).
     */
    rc = repo_drain(o->g, NULL, err);
    do {
        before = run.deleted;
        if (rc == 0)
            rc = gc_pass(&run, err);
    } while (rc == 0 && now && run.deleted > before && ++rounds < ROUNDS_MAX);
    if (rc == 0)
        rc = trash_purge(o->g, clock_now(), NULL, &unlinked, err);
    if (rc == 0)
        rc = gc_gauges(o->g, true, err);
    if (rc != 0)
        return rc;
    return say(o,
               json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I, s:I}", "kind", "summary", "dry_run",
                         0, "reviewed", (json_int_t)run.reviewed, "removed",
                         (json_int_t)run.deleted, "kept", (json_int_t)run.kept, "postponed",
                         (json_int_t)run.postponed, "failed", (json_int_t)run.failed, "unlinked",
                         (json_int_t)unlinked),
               err);
}

/* ---- the dry run ---- */
struct explain {
    struct registry *g;
    struct gc_row after, rows[PAGE];
    size_t n;
    int64_t now;
    int64_t seen, remove, wait, keep, bytes;
    bool all; /* delays do not count */
};

static int explain_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct explain *q = arg;
    int rc = gc_tx_page(tx, true, INT64_MAX, &q->after, q->rows, PAGE, &q->n, err);
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        struct gc_row *row = &q->rows[i];
        rc = gc_judge(tx, q->g, row, err);
        if (rc == 0)
            rc = gc_tx_size(tx, row, &row->size, err);
    }
    return rc;
}

static const char *why(const struct gc_row *row)
{
    switch (row->verdict) {
    case GC_REMOVE:
        return row->kind == GC_MANIFEST ? "no tag, no index and no living subject holds it"
               : row->kind == GC_LINK   ? "no manifest of the repository names it"
                                        : "no repository links it";
    case GC_REFERENCED:
        return "a manifest of the repository names it";
    case GC_TAGGED:
        return "a tag names it";
    case GC_HAS_PARENT:
        return "a manifest of the repository names it";
    case GC_HAS_SUBJECT:
        return "its subject is there";
    case GC_LINKED:
        return "a repository links it";
    case GC_ABSENT:
        return "it is gone already";
    case GC_EXPIRY_OFF:
        return "untagged manifests are kept (untagged_expiry is off)";
    case GC_TOUCHED:
        return "pushed or seen by HEAD within gc_grace, or since the server started";
    case GC_MALFORMED:
        return "the queue's row has no valid digest";
    case GC_NOT_DUE:
        break;
    }
    return "not due";
}

/* What this run would do with it, were it not dry. */
static const char *action_of(struct explain *q, const struct gc_row *row)
{
    bool due = row->review_after <= q->now || (q->all && row->kind != GC_MANIFEST);
    if (row->verdict == GC_REMOVE && due) {
        q->remove++;
        q->bytes += row->size;
        return "remove";
    }
    if (row->verdict == GC_REMOVE || row->verdict == GC_TOUCHED) {
        q->wait++;
        return "wait";
    }
    q->keep++;
    return "keep";
}

static int explain_page(struct out *o, struct explain *q, struct err *err)
{
    for (size_t i = 0; i < q->n; i++) {
        const struct gc_row *row = &q->rows[i];
        char due[28];
        clock_rfc3339(due, row->review_after);
        json_t *line = item(row, action_of(q, row));
        json_object_set_new(line, "why", json_string(why(row)));
        json_object_set_new(line, "due", json_string(due));
        q->seen++;
        int rc = say(o, line, err);
        if (rc != 0 || (rc = say_progress(o, q->seen, q->remove, err)) != 0)
            return rc;
    }
    return 0;
}

static int explain_all(struct out *o, bool now, struct err *err)
{
    auto_free struct explain *q = mem_zalloc(sizeof *q);
    q->g = o->g;
    q->all = now;
    q->now = clock_now();
    int rc;
    do {
        rc = db_read(o->g->db, explain_read, q, err);
        if (rc == 0 && q->n > 0) {
            q->after = q->rows[q->n - 1];
            rc = explain_page(o, q, err);
        }
    } while (rc == 0 && q->n == PAGE);
    if (rc != 0)
        return rc;
    return say(o,
               json_pack("{s:s, s:b, s:I, s:I, s:I, s:I, s:I}", "kind", "summary", "dry_run", 1,
                         "reviewed", (json_int_t)q->seen, "remove", (json_int_t)q->remove, "wait",
                         (json_int_t)q->wait, "keep", (json_int_t)q->keep, "bytes",
                         (json_int_t)q->bytes),
               err);
}

int registry_gc(struct registry *g, bool dry_run, bool now, registry_report out, void *arg,
                struct err *err)
{
    struct out o = {.g = g, .fn = out, .arg = arg};
    return dry_run ? explain_all(&o, now, err) : collect(&o, now, err);
}
