/* fsck: manifests, tags and links, rows against rows. A page is one snapshot, so nothing that a
 * transaction keeps true can look broken for a moment. */
#include "registry/fsck.h"

#include <stdlib.h>

enum { MANIFEST_BYTES_MAX = 64 << 20 }; /* the largest max_manifest */

/* ---- manifests ---- */
enum manifest_fault { M_SOUND, M_GONE, M_CORRUPT, M_UNREADABLE, M_REFS };
struct manifest_check {
    struct fsck_manifest *m;
    enum manifest_fault fault;
    char why[ERR_TEXT_MAX];
};

/* Bytes against digest, then references against what the bytes say: the collector believes these.
 */
static int load(struct db_tx *tx, struct arena *a, struct manifest_check *c, struct manifest *ret,
                struct err *err)
{
    struct manifest_row row;
    struct digest d;
    struct err why = {0};
    c->fault = M_SOUND;
    int rc =
        manifest_tx_by_digest(tx, a, c->m->repo_id, &c->m->digest, MANIFEST_BYTES_MAX, &row, err);
    if (rc <= 0) {
        c->fault = M_GONE;
        return rc;
    }
    hash_bytes((enum digest_alg)row.digest.alg, row.bytes.p, row.bytes.n, &d);
    if (!row.bytes.p || !digest_eq(&d, &row.digest))
        c->fault = M_CORRUPT;
    else if (manifest_parse(a, row.bytes, row.media_type, MANIFEST_BYTES_MAX, ret, &why) < 0)
        c->fault = M_UNREADABLE;
    text_copy(c->why, sizeof c->why, str_of(why.text));
    return 0;
}

static int check_refs(struct db_tx *tx, struct manifest_check *c, const struct manifest *model,
                      struct err *err)
{
    if ((int64_t)model->n_refs != c->m->refs)
        c->fault = M_REFS;
    for (size_t i = 0; i < model->n_refs && c->fault == M_SOUND; i++) {
        int rc = fsck_tx_has_ref(tx, c->m, &model->refs[i], err);
        if (rc < 0)
            return rc;
        if (rc == 0)
            c->fault = M_REFS;
    }
    return 0;
}

static int check_manifest(struct db_tx *tx, struct manifest_check *c, struct err *err)
{
    struct arena a;
    if (c->m->digest.alg == DIGEST_NONE) {
        c->fault = M_CORRUPT;
        return 0;
    }
    arena_init(&a);
    struct manifest *model = arena_zalloc(&a, sizeof *model);
    int rc = load(tx, &a, c, model, err);
    if (rc == 0 && c->fault == M_SOUND)
        rc = check_refs(tx, c, model, err);
    arena_release(&a);
    return rc;
}

/* References as the bytes say, in place of those that are there. */
static int refs_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct manifest_check *c = arg;
    struct arena a;
    arena_init(&a);
    struct manifest *model = arena_zalloc(&a, sizeof *model);
    int rc = load(tx, &a, c, model, err);
    if (rc == 0 && c->fault == M_SOUND)
        rc = fsck_tx_drop_refs(tx, c->m->id, err);
    for (size_t i = 0; rc == 0 && c->fault == M_SOUND && i < model->n_refs; i++)
        rc = fsck_tx_put_ref(tx, c->m, &model->refs[i], err);
    arena_release(&a);
    return rc;
}

struct manifests_page {
    int64_t after;
    struct fsck_manifest rows[FSCK_PAGE];
    struct manifest_check checks[FSCK_PAGE];
    size_t n;
};

static int manifests_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct manifests_page *q = arg;
    int rc = fsck_tx_manifests(tx, q->after, q->rows, &q->n, err);
    for (size_t i = 0; rc == 0 && i < q->n; i++) {
        q->checks[i].m = &q->rows[i];
        rc = check_manifest(tx, &q->checks[i], err);
    }
    return rc;
}

static int report_manifest(struct fsck *f, struct manifest_check *c, struct err *err)
{
    struct finding x = {.digest = &c->m->digest, .repository = c->m->name};
    int rc = 0;
    switch (c->fault) {
    case M_SOUND:
    case M_GONE:
        break;
    case M_CORRUPT:
        x.code = "manifest_corrupt";
        x.text = "the stored bytes do not match the digest; push it again";
        break;
    case M_UNREADABLE: /* rules grew stricter since it was pushed: served all the same */
        x.code = "manifest_unreadable";
        x.text = c->why;
        x.note = true;
        break;
    case M_REFS:
        x.code = "manifest_references";
        x.text = "the recorded references are not those of the manifest";
        if (f->repair) {
            rc = repo_write(f->g, str_of(c->m->name), refs_write, c, err);
            x.repaired = rc >= 0 && c->fault == M_SOUND;
        }
        break;
    }
    if (rc < 0)
        return rc;
    if (x.code && (rc = fsck_say(f, &x, err)) != 0)
        return rc;
    if (c->m->unlinked == 0)
        return 0;
    char text[80];
    (void)snprintf(text, sizeof text, "%lld of its blobs are not in this repository",
                   (long long)c->m->unlinked);
    x = (struct finding){.code = "manifest_sparse",
                         .text = text,
                         .note = true,
                         .digest = &c->m->digest,
                         .repository = c->m->name};
    return fsck_say(f, &x, err);
}

int fsck_manifests(struct fsck *f, struct err *err)
{
    auto_free struct manifests_page *q = mem_zalloc(sizeof *q);
    fsck_begin(f, "manifests");
    int rc;
    do {
        rc = db_read(f->g->db, manifests_read, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            f->manifests++;
            rc = report_manifest(f, &q->checks[i], err);
            if (rc == 0)
                rc = fsck_progress(f, err);
        }
        if (rc == 0 && q->n > 0)
            q->after = q->rows[q->n - 1].id;
    } while (rc == 0 && q->n == FSCK_PAGE);
    return rc;
}

/* ---- tags ---- */
struct tags_page {
    struct fsck_tag after, rows[FSCK_PAGE];
    size_t n;
};

static int tags_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct tags_page *q = arg;
    return fsck_tx_tags(tx, &q->after, q->rows, &q->n, err);
}

static int tag_write(struct db_tx *tx, void *arg, struct err *err)
{
    return fsck_tx_fix_tag(tx, arg, err);
}

static int check_tag(struct fsck *f, struct fsck_tag *t, struct err *err)
{
    f->tags++;
    if (t->state == TAG_GOOD)
        return 0;
    bool dangling = t->state == TAG_DANGLING;
    struct finding x = {.code = dangling ? "tag_dangling" : "tag_digest",
                        .text = dangling ? "the tag names no manifest of this repository"
                                         : "the tag's digest is not that of its manifest",
                        .repository = t->name,
                        .tag = t->tag,
                        .repaired = f->repair};
    int rc = f->repair ? repo_write(f->g, str_of(t->name), tag_write, t, err) : 0;
    return rc < 0 ? rc : fsck_say(f, &x, err);
}

int fsck_tags(struct fsck *f, struct err *err)
{
    auto_free struct tags_page *q = mem_zalloc(sizeof *q);
    fsck_begin(f, "tags");
    int rc;
    do {
        rc = db_read(f->g->db, tags_read, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            rc = check_tag(f, &q->rows[i], err);
            if (rc == 0)
                rc = fsck_progress(f, err);
        }
        if (rc == 0 && q->n > 0)
            q->after = q->rows[q->n - 1];
    } while (rc == 0 && q->n == FSCK_PAGE);
    return rc;
}

/* ---- links ---- */
struct links_page {
    struct fsck_link after, rows[FSCK_PAGE];
    size_t n;
};

static int links_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct links_page *q = arg;
    return fsck_tx_links(tx, &q->after, q->rows, &q->n, err);
}

static int drop_link_write(struct db_tx *tx, void *arg, struct err *err)
{
    return fsck_tx_drop_link(tx, arg, err);
}

struct queue_link {
    const struct fsck_link *link;
    int64_t at;
};

static int queue_link_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct queue_link *q = arg;
    return gc_tx_put_absent(tx, GC_LINK, q->link->repo_id, raw_str(&q->link->key), q->at, "fsck",
                            err);
}

/* The row comes back when the file is right; else the link promises what is not there. */
static int repair_link(struct fsck *f, struct fsck_link *l, struct err *err)
{
    int rc = l->digest.alg == DIGEST_NONE ? 0 : fsck_adopt_blob(f->g, &l->digest, err);
    if (rc != 0)
        return rc < 0 ? rc : 0;
    return repo_write(f->g, str_of(l->name), drop_link_write, l, err);
}

static int check_link(struct fsck *f, struct fsck_link *l, struct err *err)
{
    struct finding x = {.digest = &l->digest, .repository = l->name, .repaired = f->repair};
    int rc = 0;
    f->links++;
    if (!l->blob) {
        x.code = "link_without_blob";
        x.text = "the repository links a blob that has no row";
        rc = f->repair ? repair_link(f, l, err) : 0;
    } else if (!l->referenced && !l->queued) {
        struct queue_link q = {l, clock_now() + registry_num(f->g, GC_DELAY)};
        x.code = "link_not_queued";
        x.text = "no manifest names the blob and no review is planned";
        rc = f->repair ? db_write(f->g->db, queue_link_write, &q, err) : 0;
    }
    return rc < 0 ? rc : x.code ? fsck_say(f, &x, err) : 0;
}

int fsck_links(struct fsck *f, struct err *err)
{
    auto_free struct links_page *q = mem_zalloc(sizeof *q);
    fsck_begin(f, "links");
    int rc;
    do {
        rc = db_read(f->g->db, links_read, q, err);
        for (size_t i = 0; rc == 0 && i < q->n; i++) {
            rc = check_link(f, &q->rows[i], err);
            if (rc == 0)
                rc = fsck_progress(f, err);
        }
        if (rc == 0 && q->n > 0)
            q->after = q->rows[q->n - 1];
    } while (rc == 0 && q->n == FSCK_PAGE);
    return rc;
}

/* ---- usage ---- */
static int usage_read(struct db_tx *tx, void *arg, struct err *err)
{
    return fsck_tx_usage(tx, arg, err);
}

static int usage_write(struct db_tx *tx, void *arg, struct err *err)
{
    (void)arg;
    return fsck_tx_fix_usage(tx, err);
}

/* Reads every link, so only in a full run. */
int fsck_usage(struct fsck *f, struct err *err)
{
    int64_t wrong = 0;
    if (!f->full)
        return 0;
    fsck_begin(f, "usage");
    int rc = db_read(f->g->db, usage_read, &wrong, err);
    if (rc == 0 && wrong > 0 && f->repair)
        rc = db_write(f->g->db, usage_write, NULL, err);
    struct finding x = {.code = "usage", .text = "what accounts are charged with is not what they hold", .repaired = f->repair};
    return rc < 0 ? rc : wrong > 0 ? fsck_say(f, &x, err) : fsck_progress(f, err);
}
