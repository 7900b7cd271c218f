/* The collector: what goes, what stays, and when; crashes between row and file; pushes beside it.
 */
#include "upkeep_box.h"

#include <unistd.h>

static struct box box, *const b = &box;

static int setup(void **state)
{
    (void)state;
    box_init(b);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    box_release(b);
    return 0;
}

static int64_t soon(void)
{
    return clock_now() + 60 * INT64_C(1000000);
}

/* ---- links, blobs, trash ---- */
static void test_unreferenced_blob_goes_in_three_steps(void **state)
{
    (void)state;
    struct digest d = box_blob(b, b->repo, "nobody wants me");
    struct gc_run run = box_pass(b, clock_now());
    assert_int_equal(run.deleted, 1);
    assert_false(box_linked(b, b->repo, &d));
    assert_true(box_has_row(b, &d));
    assert_true(box_queue(b, GC_LINK, b->repo, &d) < 0);
    int64_t at = box_queue(b, GC_BLOB, 0, &d);
    assert_true(at > clock_now() - HOUR);

    run = box_pass(b, at - 1); /* not due */
    assert_int_equal(run.reviewed, 0);
    box_set(b, GC_GRACE, HOUR);
    run = box_pass(b, at);
    assert_int_equal(run.deleted, 1);
    assert_false(box_has_row(b, &d));
    assert_true(box_has_trash(b, &d));
    assert_false(box_has_file(b, "blobs", &d));
    assert_true(box_has_file(b, "trash", &d));

    int64_t files = -1;
    uint64_t bytes = metric_value(METRIC_GC_BYTES);
    ok(b, trash_purge(b->g, clock_now(), NULL, &files, &b->err));
    assert_int_equal(files, 0);
    assert_true(box_has_file(b, "trash", &d));
    ok(b, trash_purge(b->g, clock_now() + HOUR + 1, NULL, &files, &b->err));
    assert_int_equal(files, 1);
    assert_false(box_has_file(b, "trash", &d));
    assert_false(box_has_trash(b, &d));
    assert_int_equal(metric_value(METRIC_GC_BYTES) - bytes, strlen("nobody wants me"));
}

static void test_referenced_blob_stays_until_its_manifest_goes(void **state)
{
    (void)state;
    struct digest d = box_blob(b, b->repo, "config");
    struct digest m = box_manifest(b, (struct put_manifest){.blob = &d, .tag = "v1"});
    uint64_t gen = gen_now(GEN_REPO, str_of(BOX_REPO));
    struct gc_run run = box_pass(b, soon());
    assert_int_equal(run.reviewed, 1);
    assert_int_equal(run.kept, 1);
    assert_true(box_linked(b, b->repo, &d));
    assert_true(box_queue(b, GC_LINK, b->repo, &d) < 0); /* answered: nothing is queued any more */
    /* Looking at what stays costs no reader its cache. */
    assert_true(gen == gen_now(GEN_REPO, str_of(BOX_REPO)));

    box_delete(b, &m);
    assert_true(box_queue(b, GC_LINK, b->repo, &d) > 0);
    gen = gen_now(GEN_REPO, str_of(BOX_REPO));
    box_collect(b);
    assert_true(gen != gen_now(GEN_REPO, str_of(BOX_REPO)));
    assert_false(box_linked(b, b->repo, &d));
    assert_false(box_has_row(b, &d));
    assert_true(box_has_file(b, "trash", &d));
}

static void test_blob_stays_while_any_repository_links_it(void **state)
{
    (void)state;
    int64_t other = box_repo(b, "team/other");
    struct digest d = box_blob(b, b->repo, "shared");
    struct digest same = box_blob(b, other, "shared");
    assert_true(digest_eq(&d, &same));
    box_manifest(b, (struct put_manifest){.repo = other, .blob = &d, .tag = "v1"});
    box_collect(b);
    assert_false(box_linked(b, b->repo, &d));
    assert_true(box_linked(b, other, &d));
    assert_true(box_has_row(b, &d));
    assert_true(box_has_file(b, "blobs", &d));
    assert_true(box_queue(b, GC_BLOB, 0, &d) < 0);
}

/* containerd pushes a child to /blobs/ when /manifests/ refuses it; and a list may name anything. */
static void test_an_edge_keeps_blob_and_manifest_alike(void **state)
{
    (void)state;
    box_set(b, UNTAGGED_EXPIRY, 1);
    struct digest c = box_blob(b, b->repo, "config"), child = box_blob(b, b->repo, "a child that is a blob here");
    struct digest index = box_manifest(b, (struct put_manifest){.child = &child, .tag = "multi"});
    struct digest inner = box_manifest(b, (struct put_manifest){.blob = &c, .salt = "named as a layer"});
    box_manifest(b, (struct put_manifest){.blob = &inner, .tag = "v1"});
    for (int i = 0; i < 3; i++)
        box_pass(b, soon());
    assert_true(box_linked(b, b->repo, &child));
    assert_true(box_has_row(b, &child));
    assert_true(box_has_manifest(b, &inner));

    box_untag(b, "v1"); /* the outer goes, then the inner */
    box_delete(b, &index);
    for (int i = 0; i < 4; i++)
        box_pass(b, soon());
    assert_false(box_linked(b, b->repo, &child));
    assert_false(box_has_manifest(b, &inner));
}

static void test_a_reference_of_another_repository_keeps_nothing(void **state)
{
    (void)state;
    int64_t other = box_repo(b, "team/other");
    struct digest d = box_blob(b, b->repo, "named elsewhere");
    box_manifest(b,
                 (struct put_manifest){.repo = other, .blob = &d, .tag = "v1"}); /* sparse there */
    box_collect(b);
    assert_false(box_linked(b, b->repo, &d));
    assert_false(box_has_row(b, &d));
}

static void test_delay_is_kept_and_pushed_forward(void **state)
{
    (void)state;
    box_set(b, GC_DELAY, DAY);
    int64_t before = clock_now();
    struct digest d = box_blob(b, b->repo, "young");
    int64_t at = box_queue(b, GC_LINK, b->repo, &d);
    assert_true(at >= before + DAY && at <= clock_now() + DAY);
    assert_int_equal(box_pass(b, clock_now()).reviewed, 0);
    box_blob(b, b->repo, "young");
    assert_true(box_queue(b, GC_LINK, b->repo, &d) > at);
    at = box_queue(b, GC_LINK, b->repo, &d);
    box_set(b, GC_DELAY, 0); /* a reload; what is queued keeps its time */
    box_blob(b, b->repo, "young");
    assert_int_equal(box_queue(b, GC_LINK, b->repo, &d), at);
}

/* ---- touches ---- */
static void test_touched_link_is_put_off_later_and_later(void **state)
{
    (void)state;
    static const char REVIEWS[] = "SELECT reviews FROM gc_queue";
    struct digest d = box_blob(b, b->repo, "seen by HEAD");
    box_set(b, GC_GRACE, HOUR);
    (void)gc_touch(b->repo, &d);
    int64_t last = 0;
    for (int i = 0; i < 3; i++) {
        int64_t at = i == 0 ? clock_now() : last;
        struct gc_run run = {.g = b->g, .due = at, .max = SIZE_MAX};
        static const char DUE_NOW[] = "UPDATE gc_queue SET review_after = $1";
        box_exec(b, DUE_NOW, DB_ARGS(DB_I(clock_now() - 1)));
        int64_t now = clock_now();
        ok(b, gc_pass(&run, &b->err));
        assert_int_equal(run.postponed, 1);
        assert_true(box_linked(b, b->repo, &d));
        assert_int_equal(box_int(b, REVIEWS, DB_NO_ARGS), i + 1);
        last = box_queue(b, GC_LINK, b->repo, &d);
        /* What is left of the hour, doubled each time. */
        assert_true(last > now + (HOUR << i) * 9 / 10);
        assert_true(last <= clock_now() + (HOUR << i) + 1);
    }
    box_set(b, GC_GRACE, 0);
    assert_int_equal(box_pass(b, last).deleted, 1);
}

static void test_pushes_touch(void **state)
{
    (void)state;
    struct digest other;
    hash_bytes(DIGEST_SHA256, "never seen", 10, &other);
    usleep(2 * TOUCH_STEP_US);
    struct digest d = box_blob(b, b->repo, "just pushed");
    struct digest m = box_manifest(b, (struct put_manifest){.blob = &d, .salt = "pushed, too"});
    int64_t start = gc_touched(b->repo, &other), seen = gc_touched(b->repo, &d);
    assert_true(seen > start && seen <= clock_mono());
    assert_true(gc_touched(b->repo, &m) > start);
    box_set(b, GC_GRACE, HOUR);
    assert_true(gc_grace_left(b->g, b->repo, &d) > 0);
    /* Never touched is as old as the process: the hour has not passed. */
    assert_true(gc_grace_left(b->g, b->repo, &other) > 0);
    box_set(b, GC_GRACE, 0);
    assert_int_equal(gc_grace_left(b->g, b->repo, &d), 0);
}

static void test_tickets(void **state)
{
    (void)state;
    struct digest d = {.alg = DIGEST_SHA256, .len = 32, .bytes = {1, 2, 3}};
    uint64_t before = gc_touch(1, &d);
    assert_true(gc_undisturbed(before));
    gc_deleting_begin(1, &d);
    uint64_t during = gc_touch(1, &d);
    assert_false(gc_undisturbed(before));
    assert_false(gc_undisturbed(during));
    gc_deleting_end(1, &d);
    assert_false(gc_undisturbed(before));
    assert_false(gc_undisturbed(during));
    assert_true(gc_undisturbed(gc_touch(1, &d)));
    gc_wait(during); /* over: returns at once */
}

/* ---- crashes and comebacks ---- */
struct move {
    struct digest digest;
    int64_t unlink_after;
};

static int unlink_links(struct db_tx *tx, void *arg, struct err *err)
{
    const struct move *m = arg;
    return blob_tx_unlink(tx, b->repo, &m->digest, 0, err);
}

static int move_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct move *m = arg;
    return trash_tx_move(tx, &m->digest, m->unlink_after, err);
}

/* Committed, then killed before the rename. */
static struct digest killed_after_commit(const char *content)
{
    struct move m = {box_blob(b, b->repo, content), clock_now()};
    ok(b, db_write(b->db, unlink_links, &m, &b->err));
    ok(b, db_write(b->db, move_write, &m, &b->err));
    assert_false(box_has_row(b, &m.digest));
    assert_true(box_has_file(b, "blobs", &m.digest));
    return m.digest;
}

static void test_purge_finds_the_file_that_a_crash_left_in_place(void **state)
{
    (void)state;
    struct digest d = killed_after_commit("killed before the rename");
    ok(b, trash_purge(b->g, clock_now() - HOUR, NULL, NULL, &b->err));
    assert_true(box_has_file(b, "blobs", &d));
    ok(b, trash_purge(b->g, clock_now(), NULL, NULL, &b->err));
    assert_false(box_has_file(b, "blobs", &d));
    assert_false(box_has_file(b, "trash", &d));
    assert_false(box_has_trash(b, &d));
}

static void test_purge_leaves_a_blob_that_was_pushed_again(void **state)
{
    (void)state;
    struct digest d = killed_after_commit("pushed again after the crash");
    box_blob(b, b->repo, "pushed again after the crash");
    ok(b, trash_purge(b->g, clock_now(), NULL, NULL, &b->err));
    assert_true(box_has_file(b, "blobs", &d));
    assert_true(box_has_row(b, &d));
    assert_false(box_has_trash(b, &d));

    /* The same with the old file in the trash: only that one goes. */
    box_collect(b);
    assert_true(box_has_file(b, "trash", &d));
    box_blob(b, b->repo, "pushed again after the crash");
    assert_true(box_has_file(b, "blobs", &d) && box_has_file(b, "trash", &d));
    ok(b, trash_purge(b->g, clock_now(), NULL, NULL, &b->err));
    assert_true(box_has_file(b, "blobs", &d));
    assert_false(box_has_file(b, "trash", &d));
    assert_true(box_has_row(b, &d));
}

static void test_trash_on_hold(void **state)
{
    (void)state;
    struct digest d = box_blob(b, b->repo, "a backup still wants me");
    int64_t files;
    box_collect(b);
    registry_trash_hold(b->g, true);
    registry_trash_hold(b->g, true);
    ok(b, trash_purge(b->g, soon(), NULL, &files, &b->err));
    assert_int_equal(files, 0);
    registry_trash_hold(b->g, false); /* one of two */
    ok(b, trash_purge(b->g, soon(), NULL, &files, &b->err));
    assert_int_equal(files, 0);
    assert_true(box_has_file(b, "trash", &d) && box_has_trash(b, &d));
    registry_trash_hold(b->g, false);
    ok(b, trash_purge(b->g, soon(), NULL, &files, &b->err));
    assert_int_equal(files, 1);
    assert_false(box_has_file(b, "trash", &d));
}

static void test_stray_files(void **state)
{
    (void)state;
    struct digest stray, good = box_blob(b, b->repo, "has a row"), old;
    int64_t young = -1;
    hash_bytes(DIGEST_SHA256, "no row", 6, &stray);
    hash_bytes(DIGEST_SHA512, "unlinked once", 13, &old);
    box_write_file(b, "blobs", &stray, "no row");
    box_write_file(b, "trash", &old, "unlinked once");
    struct digest moved = box_blob(b, b->repo, "moved by no way of ours");
    ok(b, store_trash(b->store, &moved, &b->err));
    struct digest crashed = killed_after_commit("the purge's");
    box_set(b, GC_GRACE, HOUR);
    registry_trash_hold(b->g, true);
    ok(b, orphans_collect(b->g, clock_now(), NULL, &young, &b->err));
    assert_int_equal(young, 1);
    assert_true(box_has_file(b, "blobs", &stray));
    assert_true(box_has_file(b, "trash", &old));
    registry_trash_hold(b->g, false);
    ok(b, orphans_collect(b->g, soon() + HOUR, NULL, &young, &b->err));
    assert_int_equal(young, 0);
    assert_false(box_has_file(b, "blobs", &stray));
    assert_true(box_has_file(b, "trash", &stray) && box_has_trash(b, &stray));
    assert_false(box_has_file(b, "trash", &old));
    assert_true(box_has_file(b, "blobs", &moved) && !box_has_file(b, "trash", &moved));
    assert_true(box_has_file(b, "blobs", &good));
    assert_true(box_has_file(b, "blobs", &crashed)); /* its row in the trash says when */
}

/* ---- manifests ---- */
static void test_untagged_manifests_stay_by_default(void **state)
{
    (void)state;
    struct digest d = box_blob(b, b->repo, "config");
    struct digest m = box_manifest(b, (struct put_manifest){.blob = &d});
    assert_true(box_queue(b, GC_MANIFEST, b->repo, &m) < 0);
    box_collect(b);
    assert_true(box_has_manifest(b, &m));
    /* Queued while it was on, reviewed when it is off. */
    box_set(b, UNTAGGED_EXPIRY, 1);
    box_manifest(b, (struct put_manifest){.blob = &d});
    assert_true(box_queue(b, GC_MANIFEST, b->repo, &m) > 0);
    box_set(b, UNTAGGED_EXPIRY, 0);
    box_pass(b, soon());
    assert_true(box_has_manifest(b, &m));
    assert_true(box_queue(b, GC_MANIFEST, b->repo, &m) < 0);
}

static void test_untagged_manifests_go_when_nothing_holds_them(void **state)
{
    (void)state;
    box_set(b, UNTAGGED_EXPIRY, 1);
    struct digest c = box_blob(b, b->repo, "config");
    struct digest lone = box_manifest(b, (struct put_manifest){.blob = &c, .salt = "lone"});
    struct digest tagged =
        box_manifest(b, (struct put_manifest){.blob = &c, .salt = "tagged", .tag = "v1"});
    struct digest child = box_manifest(b, (struct put_manifest){.blob = &c, .salt = "child"});
    struct digest index = box_manifest(b, (struct put_manifest){.child = &child, .tag = "multi"});
    struct digest referrer =
        box_manifest(b, (struct put_manifest){.blob = &c, .subject = &tagged, .salt = "signature"});
    struct digest orphan =
        box_manifest(b, (struct put_manifest){.blob = &c, .subject = &lone, .salt = "of the lone"});
    uint64_t gen = gen_now(GEN_REPO, str_of(BOX_REPO));
    for (int i = 0; i < 3; i++)
        box_pass(b, soon());
    assert_true(gen != gen_now(GEN_REPO, str_of(BOX_REPO)));
    assert_false(box_has_manifest(b, &lone));
    assert_false(box_has_manifest(b, &orphan)); /* its subject went */
    assert_true(box_has_manifest(b, &tagged));
    assert_true(box_has_manifest(b, &referrer));
    assert_true(box_has_manifest(b, &child));
    assert_true(box_has_manifest(b, &index));
    assert_true(box_linked(b, b->repo, &c));

    box_untag(b, "multi"); /* the index goes, then its child */
    for (int i = 0; i < 3; i++)
        box_pass(b, soon());
    assert_false(box_has_manifest(b, &index));
    assert_false(box_has_manifest(b, &child));
    box_delete(b, &tagged); /* by hand: its referrer is let go */
    for (int i = 0; i < 4; i++)
        box_pass(b, soon());
    assert_false(box_has_manifest(b, &referrer));
    assert_false(box_linked(b, b->repo, &c));
    assert_false(box_has_row(b, &c));
}

static void test_tag_moved_away(void **state)
{
    (void)state;
    box_set(b, UNTAGGED_EXPIRY, DAY);
    struct digest c = box_blob(b, b->repo, "config");
    struct digest first =
        box_manifest(b, (struct put_manifest){.blob = &c, .salt = "1", .tag = "v1"});
    struct digest next =
        box_manifest(b, (struct put_manifest){.blob = &c, .salt = "2", .tag = "v1"});
    int64_t at = box_queue(b, GC_MANIFEST, b->repo, &first);
    assert_true(at > clock_now() + DAY - HOUR);
    box_pass(b, at - 1);
    assert_true(box_has_manifest(b, &first));
    /* `now` cuts the queue's delays short, not this promise. */
    struct gc_run run = {.g = b->g, .due = INT64_MAX, .by_key = true, .max = SIZE_MAX};
    ok(b, gc_pass(&run, &b->err));
    assert_true(box_has_manifest(b, &first));
    static const char DUE[] = "UPDATE gc_queue SET review_after = 1";
    box_exec(b, DUE, DB_NO_ARGS);
    box_set(b, GC_GRACE, HOUR); /* both were pushed just now */
    box_pass(b, clock_now());
    assert_true(box_has_manifest(b, &first));
    box_set(b, GC_GRACE, 0);
    box_exec(b, DUE, DB_NO_ARGS);
    box_pass(b, clock_now());
    assert_false(box_has_manifest(b, &first));
    assert_true(box_has_manifest(b, &next));
}

static void test_sweep_finds_what_was_never_queued(void **state)
{
    (void)state;
    struct digest c = box_blob(b, b->repo, "config");
    struct digest lone = box_manifest(b, (struct put_manifest){.blob = &c, .salt = "lone"});
    struct digest tagged =
        box_manifest(b, (struct put_manifest){.blob = &c, .salt = "t", .tag = "v1"});
    struct gc_sweep sweep = {.on = false};
    ok(b, gc_sweep_step(b->g, &sweep, &b->err));
    assert_true(box_queue(b, GC_MANIFEST, b->repo, &lone) < 0);
    int64_t before = clock_now();
    box_set(b, UNTAGGED_EXPIRY, DAY);
    ok(b, gc_sweep_step(b->g, &sweep, &b->err));
    int64_t at = box_queue(b, GC_MANIFEST, b->repo, &lone);
    assert_true(at >= before + DAY);
    assert_true(box_queue(b, GC_MANIFEST, b->repo, &tagged) < 0);
    assert_true(sweep.done);
    /* A restart sweeps again and moves nothing. */
    sweep = (struct gc_sweep){.on = false};
    ok(b, gc_sweep_step(b->g, &sweep, &b->err));
    assert_int_equal(box_queue(b, GC_MANIFEST, b->repo, &lone), at);
}

static void test_sweep_goes_in_steps(void **state)
{
    (void)state;
    enum { MANIFESTS = 1203 };
    static const char INSERT[] =
        "INSERT INTO manifests (repo_id, digest, media_type, artifact_type, annotations, size, "
        "created_at, bytes) VALUES ($1, $2, '', '', '', 0, 0, $2)";
    static const char COUNT[] = "SELECT count(*) FROM gc_queue WHERE kind = 1";
    for (int i = 0; i < MANIFESTS; i++) {
        struct digest d;
        uint8_t key[DIGEST_KEY_MAX];
        hash_bytes(DIGEST_SHA256, &i, sizeof i, &d);
        box_exec(b, INSERT, DB_ARGS(DB_I(b->repo), DB_B(key_str(&d, key))));
    }
    box_set(b, UNTAGGED_EXPIRY, DAY);
    struct gc_sweep sweep = {.on = false};
    int steps = 0;
    int64_t last = 0;
    while (!sweep.done) {
        ok(b, gc_sweep_step(b->g, &sweep, &b->err));
        int64_t now = box_int(b, COUNT, DB_NO_ARGS);
        assert_true(now > last);
        last = now;
        steps++;
    }
    assert_int_equal(last, MANIFESTS);
    assert_true(steps > 1);
}

/* ---- the queue ---- */
static void test_a_failing_row_stands_in_nobodys_way(void **state)
{
    (void)state;
    if (db_is_postgres(b->db))
        skip(); /* the trigger is SQLite's */
    struct digest bad = box_blob(b, b->repo, "cannot be removed");
    struct digest good[40];
    for (int i = 0; i < 40; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "good %d", i);
        good[i] = box_blob(b, b->repo, text);
    }
    static const char TABLE[] = "CREATE TABLE stuck (digest BYTEA)";
    static const char TRIGGER[] =
        "CREATE TRIGGER stuck BEFORE DELETE ON repo_blobs WHEN old.digest IN (SELECT digest FROM "
        "stuck) BEGIN SELECT RAISE(ABORT, 'stuck'); END";
    static const char MARK[] = "INSERT INTO stuck VALUES ($1)";
    static const char REVIEWS[] = "SELECT reviews FROM gc_queue WHERE kind = 2";
    uint8_t key[DIGEST_KEY_MAX];
    box_exec(b, TABLE, DB_NO_ARGS);
    box_exec(b, TRIGGER, DB_NO_ARGS);
    box_exec(b, MARK, DB_ARGS(DB_B(key_str(&bad, key))));
    struct gc_run run = box_pass(b, clock_now());
    assert_int_equal(run.failed, 1);
    assert_int_equal(run.deleted, 40);
    for (int i = 0; i < 40; i++)
        assert_false(box_linked(b, b->repo, &good[i]));
    assert_true(box_linked(b, b->repo, &bad));
    assert_int_equal(box_int(b, REVIEWS, DB_NO_ARGS), 1);
    int64_t first = box_queue(b, GC_LINK, b->repo, &bad);
    assert_true(first > clock_now());
    box_pass(b, first);
    assert_int_equal(box_int(b, REVIEWS, DB_NO_ARGS), 2);
    assert_true(box_queue(b, GC_LINK, b->repo, &bad) - clock_now() > first - clock_now());
}

static void test_malformed_and_foreign_rows(void **state)
{
    (void)state;
    static const char INSERT[] =
        "INSERT INTO gc_queue (kind, repo_id, digest, review_after, reviews, "
        "event) VALUES ($1, $2, $3, 0, 0, 'x')";
    static const char COUNT[] = "SELECT count(*) FROM gc_queue";
    struct digest nowhere = {.alg = DIGEST_SHA256, .len = 32};
    uint8_t key[DIGEST_KEY_MAX];
    for (int kind = GC_MANIFEST; kind <= GC_BLOB; kind++) {
        box_exec(b, INSERT, DB_ARGS(DB_I(kind), DB_I(4711), DB_B(STR_LIT("\x07rubbish"))));
        box_exec(b, INSERT, DB_ARGS(DB_I(kind), DB_I(4711), DB_B(key_str(&nowhere, key))));
    }
    struct gc_run run = box_pass(b, clock_now());
    assert_int_equal(run.reviewed, 6);
    assert_int_equal(run.deleted, 0);
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), 0);
}

static void test_pages_and_bounds(void **state)
{
    (void)state;
    enum { BLOBS = 150 };
    static const char COUNT[] = "SELECT count(*) FROM gc_queue WHERE kind = 2";
    for (int i = 0; i < BLOBS; i++) {
        char text[16];
        (void)snprintf(text, sizeof text, "blob %d", i);
        box_blob(b, b->repo, text);
    }
    static const char SAME[] = "UPDATE gc_queue SET review_after = 1"; /* the key breaks the tie */
    box_exec(b, SAME, DB_NO_ARGS);
    ok(b, gc_gauges(b->g, true, &b->err));
    struct buf page;
    buf_init(&page, 1 << 20);
    metric_render(&page);
    assert_non_null(strstr(page.p, "berth_gc_queue_rows 150\n"));
    assert_non_null(strstr(page.p, "berth_gc_overdue_rows 150\n"));
    buf_release(&page);
    uint64_t reviews = metric_value(METRIC_GC_REVIEWS), deletes = metric_value(METRIC_GC_DELETES);
    struct gc_run run = {.g = b->g, .due = 1, .max = 64};
    ok(b, gc_pass(&run, &b->err));
    assert_int_equal(run.reviewed, 64);
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), BLOBS - 64);
    run.max = SIZE_MAX;
    ok(b, gc_pass(&run, &b->err));
    assert_int_equal(run.reviewed, BLOBS);
    assert_int_equal(metric_value(METRIC_GC_REVIEWS) - reviews, BLOBS);
    assert_int_equal(metric_value(METRIC_GC_DELETES) - deletes, BLOBS);
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), 0);
    _Atomic bool stop = true;
    struct gc_run none = {.g = b->g, .due = INT64_MAX, .max = SIZE_MAX, .stop = &stop};
    ok(b, gc_pass(&none, &b->err));
    assert_int_equal(none.reviewed, 0);
}

/* ---- berth gc ---- */
struct lines {
    json_t *items, *summary;
    int progress;
};

static int gather(void *arg, json_t *line, struct err *err)
{
    struct lines *l = arg;
    const char *kind = json_string_value(json_object_get(line, "kind"));
    (void)err;
    if (strcmp(kind, "item") == 0)
        return json_array_append_new(l->items, line);
    if (strcmp(kind, "summary") == 0) {
        l->summary = line;
        return 0;
    }
    l->progress++;
    json_decref(line);
    return 0;
}

static struct lines run_gc(bool dry, bool now)
{
    struct lines l = {.items = json_array()};
    ok(b, registry_gc(b->g, dry, now, gather, &l, &b->err));
    assert_non_null(l.summary);
    return l;
}

static void drop_lines(struct lines *l)
{
    json_decref(l->items);
    json_decref(l->summary);
}

static const char *member(const json_t *items, const struct digest *d, const char *object,
                          const char *key)
{
    char text[DIGEST_TEXT_MAX];
    size_t i;
    json_t *line;
    digest_text(d, text);
    json_array_foreach(items, i, line)
    {
        if (strcmp(json_string_value(json_object_get(line, "digest")), text) == 0 &&
            strcmp(json_string_value(json_object_get(line, "object")), object) == 0)
            return json_string_value(json_object_get(line, key));
    }
    fail_msg("no line about %s", text);
    return NULL;
}

static int64_t sum(const struct lines *l, const char *key)
{
    const json_t *v = json_object_get(l->summary, key);
    assert_true(json_is_integer(v));
    return json_integer_value(v);
}

static void test_dry_run_explains_and_changes_nothing(void **state)
{
    (void)state;
    box_set(b, GC_DELAY, DAY);
    struct digest used = box_blob(b, b->repo, "used");
    struct digest unused = box_blob(b, b->repo, "unused");
    box_manifest(b, (struct put_manifest){.blob = &used, .tag = "v1"});
    struct lines l = run_gc(true, false);
    assert_string_equal(member(l.items, &used, "link", "action"), "keep");
    assert_string_equal(member(l.items, &unused, "link", "action"), "wait");
    assert_string_equal(member(l.items, &unused, "link", "repository"), BOX_REPO);
    assert_string_equal(member(l.items, &unused, "link", "why"),
                        "no manifest of the repository names it");
    assert_non_null(member(l.items, &unused, "link", "due"));
    assert_int_equal(sum(&l, "wait"), 1);
    drop_lines(&l);
    l = run_gc(true, true);
    assert_string_equal(member(l.items, &unused, "link", "action"), "remove");
    assert_int_equal(sum(&l, "bytes"), strlen("unused"));
    drop_lines(&l);
    box_set(b, GC_GRACE, HOUR);
    l = run_gc(true, true);
    assert_string_equal(member(l.items, &unused, "link", "action"), "wait");
    drop_lines(&l);
    assert_true(box_linked(b, b->repo, &unused));
    assert_true(box_queue(b, GC_LINK, b->repo, &used) > 0);
}

static void test_now_ignores_delays_but_not_grace(void **state)
{
    (void)state;
    box_set(b, GC_DELAY, DAY);
    box_set(b, GC_GRACE, HOUR);
    struct digest d = box_blob(b, b->repo, "a push in flight");
    int64_t at = box_queue(b, GC_LINK, b->repo, &d);
    struct lines l = run_gc(false, true);
    assert_int_equal(sum(&l, "postponed"), 1);
    assert_true(box_linked(b, b->repo, &d));
    assert_int_equal(box_queue(b, GC_LINK, b->repo, &d), at); /* looked at early: its time stays */
    drop_lines(&l);
    box_set(b, GC_GRACE, 0);
    l = run_gc(false, false);
    assert_int_equal(sum(&l, "reviewed"), 0);
    drop_lines(&l);
    l = run_gc(false, true);
    assert_int_equal(sum(&l, "removed"), 2); /* link and blob */
    assert_string_equal(member(l.items, &d, "link", "action"), "removed");
    assert_string_equal(member(l.items, &d, "blob", "action"), "removed");
    assert_int_equal(sum(&l, "unlinked"), 1);
    drop_lines(&l);
    assert_false(box_has_row(b, &d));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_unreferenced_blob_goes_in_three_steps),
        T(test_referenced_blob_stays_until_its_manifest_goes),
        T(test_blob_stays_while_any_repository_links_it),
        T(test_an_edge_keeps_blob_and_manifest_alike),
        T(test_a_reference_of_another_repository_keeps_nothing),
        T(test_delay_is_kept_and_pushed_forward),
        T(test_touched_link_is_put_off_later_and_later),
        T(test_pushes_touch),
        T(test_tickets),
        T(test_purge_finds_the_file_that_a_crash_left_in_place),
        T(test_purge_leaves_a_blob_that_was_pushed_again),
        T(test_trash_on_hold),
        T(test_stray_files),
        T(test_untagged_manifests_stay_by_default),
        T(test_untagged_manifests_go_when_nothing_holds_them),
        T(test_tag_moved_away),
        T(test_sweep_finds_what_was_never_queued),
        T(test_sweep_goes_in_steps),
        T(test_a_failing_row_stands_in_nobodys_way),
        T(test_malformed_and_foreign_rows),
        T(test_pages_and_bounds),
        T(test_dry_run_explains_and_changes_nothing),
        T(test_now_ignores_delays_but_not_grace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
