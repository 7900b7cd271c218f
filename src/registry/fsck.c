/* `berth fsck`: the steps, and how findings are reported.
 *
 *   {"kind":"item","level":"problem|note","code":CODE,"text":TEXT,"repaired":B,
 *    ["digest":D,"repository":NAME,"tag":TAG,"upload":ID]}
 *   {"kind":"progress","step":STEP,"done":N,"bytes":N}
 *   {"kind":"summary","full":B,"repair":B,"problems":N,"repaired":N,"notes":N,"blobs":N,"bytes":N,
 *    "files":N,"manifests":N,"tags":N,"links":N,"uploads":N}
 * Notes are what an interrupted push leaves for the collector, and what the specification allows
 * (a manifest whose blobs are not here). */
#include "registry/fsck.h"

enum { PROGRESS_EVERY_US = 500000, DB_REPORT_MAX = 1 << 20 };

static int say(struct fsck *f, json_t *line, struct err *err)
{
    BUG_ON(!line);
    return f->out(f->arg, line, err);
}

static void member(json_t *line, const char *key, const char *value)
{
    if (value)
        json_object_set_new(line, key, json_string(value));
}

int fsck_say(struct fsck *f, const struct finding *x, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    if (x->note)
        f->notes++;
    else
        f->problems++;
    if (x->repaired)
        f->repaired++;
    json_t *line = json_pack("{s:s, s:s, s:s, s:s, s:b}", "kind", "item", "level",
                             x->note ? "note" : "problem", "code", x->code, "text", x->text,
                             "repaired", x->repaired);
    bool digest = x->digest && x->digest->alg != DIGEST_NONE;
    member(line, "digest", digest ? digest_text(x->digest, text) : NULL);
    member(line, "repository", x->repository);
    member(line, "tag", x->tag);
    member(line, "upload", x->upload);
    return say(f, line, err);
}

void fsck_begin(struct fsck *f, const char *step)
{
    f->step = step;
    f->done = 0;
}

int fsck_progress(struct fsck *f, struct err *err)
{
    int64_t now = clock_mono();
    f->done++;
    if (now < f->next_progress)
        return 0;
    f->next_progress = now + PROGRESS_EVERY_US;
    return say(f,
               json_pack("{s:s, s:s, s:I, s:I}", "kind", "progress", "step", f->step, "done",
                         (json_int_t)f->done, "bytes", (json_int_t)f->bytes),
               err);
}

/* The engine's own check reads the whole database. */
static int check_database(struct fsck *f, struct err *err)
{
    struct buf report;
    buf_init(&report, DB_REPORT_MAX);
    fsck_begin(f, "database");
    int rc = fsck_progress(f, err);
    if (rc == 0)
        rc = db_check(f->g->db, &report, err);
    if (rc == 1) {
        struct str rest = buf_view(&report), line;
        rc = 0;
        while (rc == 0 && str_split(&rest, '\n', &line)) {
            char text[512];
            text_copy(text, sizeof text, line);
            if (line.n > 0)
                rc = fsck_say(f, &(struct finding){.code = "database", .text = text}, err);
        }
    }
    buf_release(&report);
    return rc;
}

static int summary(struct fsck *f, struct err *err)
{
    return say(f,
               json_pack("{s:s, s:b, s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}",
                         "kind", "summary", "full", f->full, "repair", f->repair, "problems",
                         (json_int_t)f->problems, "repaired", (json_int_t)f->repaired, "notes",
                         (json_int_t)f->notes, "blobs", (json_int_t)f->blobs, "bytes",
                         (json_int_t)f->bytes, "files", (json_int_t)f->files, "manifests",
                         (json_int_t)f->manifests, "tags", (json_int_t)f->tags, "links",
                         (json_int_t)f->links, "uploads", (json_int_t)f->uploads),
               err);
}

typedef int (*fsck_step)(struct fsck *f, struct err *err);
static const fsck_step steps[] = {check_database, fsck_manifests,   fsck_tags,    fsck_links,
                                  fsck_blobs,     fsck_stray_files, fsck_uploads, fsck_usage,  summary};

int registry_fsck(struct registry *g, bool full, bool repair, registry_report out, void *arg,
                  int64_t *ret_problems, struct err *err)
{
    struct fsck f = {.g = g, .full = full, .repair = repair, .out = out, .arg = arg};
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(steps); i++)
        rc = steps[i](&f, err);
    if (rc == 0)
        *ret_problems = f.problems;
    return rc;
}
