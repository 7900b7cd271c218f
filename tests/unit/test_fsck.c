/* fsck finds each kind of damage, repairs what can be repaired, and calls nothing damage that is
 * none; the scrub and the threads of upkeep. */
#include "upkeep_box.h"

#include <sqlite3.h>
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

/* ---- reports ---- */
static json_t *items;
static int64_t notes, repaired;

static int gather(void *arg, json_t *line, struct err *err)
{
    const char *kind = json_string_value(json_object_get(line, "kind"));
    (void)arg;
    (void)err;
    if (strcmp(kind, "item") == 0)
        return json_array_append_new(items, line);
    if (strcmp(kind, "summary") == 0) {
        notes = json_integer_value(json_object_get(line, "notes"));
        repaired = json_integer_value(json_object_get(line, "repaired"));
    }
    json_decref(line);
    return 0;
}

static int64_t check(bool full, bool repair)
{
    int64_t problems = -1;
    json_decref(items);
    items = json_array();
    notes = repaired = -1;
    ok(b, registry_fsck(b->g, full, repair, gather, NULL, &problems, &b->err));
    assert_true(notes >= 0);
    return problems;
}

/* What was said with this code; the test fails when nothing was. */
static const json_t *said(const char *code)
{
    size_t i;
    const json_t *line;
    json_array_foreach(items, i, line)
    {
        if (strcmp(json_string_value(json_object_get(line, "code")), code) == 0)
            return line;
    }
    char *all = json_dumps(items, 0);
    fail_msg("no %s in %s", code, all);
    return NULL;
}

/* A sound place again; whatever is said otherwise fails the test with its text. */
static void assert_sound(void)
{
    int64_t problems = check(true, false);
    if (problems == 0)
        return;
    char *all = json_dumps(items, 0);
    fail_msg("%lld problems: %s", (long long)problems, all);
}

/* found without repair `before` times, then repaired and gone. */
static void assert_repairs(const char *code)
{
    assert_true(check(true, false) > 0);
    assert_false(json_is_true(json_object_get(said(code), "repaired")));
    assert_true(check(true, true) > 0);
    assert_true(json_is_true(json_object_get(said(code), "repaired")));
    assert_sound();
}

static void sql(const char *text, const struct digest *d)
{
    uint8_t key[DIGEST_KEY_MAX];
    if (d)
        box_exec(b, text, DB_ARGS(DB_B(key_str(d, key))));
    else
        box_exec(b, text, DB_NO_ARGS);
}

static int64_t state_of(const struct digest *d)
{
    static const char SQL[] = "SELECT state FROM blobs WHERE digest = $1";
    uint8_t key[DIGEST_KEY_MAX];
    return box_int(b, SQL, DB_ARGS(DB_B(key_str(d, key))));
}

static int64_t verified_at(const struct digest *d)
{
    static const char SQL[] = "SELECT verified_at FROM blobs WHERE digest = $1";
    uint8_t key[DIGEST_KEY_MAX];
    return box_int(b, SQL, DB_ARGS(DB_B(key_str(d, key))));
}

/* An image that everything is right about. */
static struct digest image(const char *content, const char *tag, struct digest *ret_manifest)
{
    struct digest d = box_blob(b, b->repo, content);
    *ret_manifest = box_manifest(b, (struct put_manifest){.blob = &d, .salt = content, .tag = tag});
    return d;
}

/* ---- sessions ---- */
static int save_write(struct db_tx *tx, void *arg, struct err *err)
{
    const struct upload *u = arg;
    struct hash h;
    hash_init(&h, DIGEST_SHA256);
    return upload_tx_save(tx, u, b->repo, 5, &h, err);
}

static struct upload *upload(char id[UPLOAD_ID_LEN + 1])
{
    static const char USER[] = "INSERT INTO accounts (name, pw_hash, role, state, epoch, created_at) "
                               "VALUES ($1, '', 0, 0, 0, 0)";
    static const char COUNT[] = "SELECT count(*) FROM accounts";
    struct upload *u;
    struct staging *file;
    struct hash h;
    if (box_int(b, COUNT, DB_NO_ARGS) == 0)
        box_exec(b, USER, DB_ARGS(DB_T(STR_LIT("alice"))));
    ok(b, upload_new(b->g, str_of(BOX_REPO), 1, DIGEST_SHA256, true, &u, id, &b->err));
    ok(b, staging_create(b->store, id, &file, &b->err));
    ok(b, staging_append(file, "hello", 5, &b->err));
    ok(b, staging_sync(file, &b->err));
    staging_close(file);
    ok(b, db_write(b->db, save_write, u, &b->err));
    hash_init(&h, DIGEST_SHA256);
    upload_saved(b->g, u, 5, &h);
    return u;
}

static void cut_upload(const char *id)
{
    char path[160];
    (void)snprintf(path, sizeof path, "%s/uploads/%s", b->dir, id);
    assert_int_equal(truncate(path, 4), 0);
}

/* ---- nothing wrong ---- */
static void test_a_sound_place(void **state)
{
    (void)state;
    struct digest m;
    char id[UPLOAD_ID_LEN + 1];
    assert_sound();
    for (int i = 0; i < 300; i++) { /* more than two pages of everything */
        char text[16];
        (void)snprintf(text, sizeof text, "image-%d", i);
        image(text, text, &m);
    }
    box_manifest(b, (struct put_manifest){.child = &m, .tag = "index"});
    box_blob(b, b->repo, "in flight");
    struct digest gone = box_blob(b, b->repo, "gone");
    sql("DELETE FROM gc_queue WHERE digest <> $1", &gone);
    sql("DELETE FROM repo_blobs WHERE digest = $1", &gone);
    static const char AGAIN[] =
        "INSERT INTO gc_queue (kind, repo_id, digest, review_after, reviews, "
        "event) VALUES (3, 0, $1, 0, 0, 'x')";
    sql(AGAIN, &gone);
    struct digest flying = box_blob(b, b->repo, "in flight");
    (void)flying;
    box_pass(b, 1);
    assert_true(box_has_file(b, "trash", &gone));
    upload_unclaim(b->g, upload(id), false);
    assert_sound();
    assert_int_equal(notes, 0);
    assert_int_equal(check(false, true), 0);
    assert_int_equal(repaired, 0);
}

static void test_notes_are_no_problems(void **state)
{
    (void)state;
    struct digest absent, stray, old;
    hash_bytes(DIGEST_SHA256, "absent", 6, &absent);
    hash_bytes(DIGEST_SHA256, "stray", 5, &stray);
    hash_bytes(DIGEST_SHA256, "old", 3, &old);
    box_manifest(b, (struct put_manifest){.blob = &absent, .tag = "sparse"});
    box_write_file(b, "blobs", &stray, "stray");
    box_write_file(b, "trash", &old, "old");
    assert_int_equal(check(false, false), 0);
    assert_int_equal(notes, 3);
    said("manifest_sparse");
    assert_false(json_is_true(json_object_get(said("stray_file"), "repaired")));
    said("stray_trash");
    box_set(b, GC_GRACE, HOUR);
    assert_int_equal(check(false, true), 0);
    assert_int_equal(repaired, 2);
    assert_false(box_has_file(b, "blobs", &stray));
    assert_true(box_has_file(b, "trash", &stray) && box_has_trash(b, &stray));
    assert_false(box_has_file(b, "trash", &old));
    assert_int_equal(check(false, false), 0);
    assert_int_equal(notes, 1);
}

/* ---- blobs ---- */
static void test_missing_file(void **state)
{
    (void)state;
    struct digest m, d = image("missing", "v1", &m);
    char path[320];
    assert_int_equal(unlink(box_path(b, "blobs", &d, path)), 0);
    assert_int_equal(check(false, false), 1);
    assert_string_equal(json_string_value(json_object_get(said("blob_missing"), "level")),
                        "problem");
    assert_int_equal(state_of(&d), 0);
    assert_int_equal(check(false, true),
                     1); /* nobody has the bytes: not repaired, but out of the way */
    assert_int_equal(repaired, 0);
    assert_int_equal(state_of(&d), 1);
    assert_int_equal(check(false, true), 1);
    said("blob_quarantined");
    box_blob(b, b->repo, "missing");
    assert_sound();
}

static void test_wrong_size_and_wrong_bytes(void **state)
{
    (void)state;
    struct digest m, longer = image("1234", "v1", &m), other = image("abcd", "v2", &m);
    box_write_file(b, "blobs", &longer, "12345");
    box_write_file(b, "blobs", &other, "abcx");
    assert_int_equal(check(false, false), 1);
    said("blob_size");
    assert_int_equal(check(true, false), 2);
    said("blob_corrupt");
    assert_int_equal(check(true, true), 2);
    assert_int_equal(state_of(&longer) + state_of(&other), 2);
    assert_true(box_has_file(b, "quarantine", &longer) && box_has_file(b, "quarantine", &other));
    box_blob(b, b->repo, "1234");
    box_blob(b, b->repo, "abcd");
    assert_sound();
}

static void test_row_that_does_its_file_wrong(void **state)
{
    (void)state;
    struct digest m, d = image("the file is right", "v1", &m);
    sql("UPDATE blobs SET size = 1 WHERE digest = $1", &d);
    assert_repairs("blob_size");
    sql("UPDATE blobs SET state = 1 WHERE digest = $1", &d);
    assert_repairs("blob_quarantined");
    assert_int_equal(state_of(&d), 0);
}

/* ---- queue ---- */
static void test_what_the_collector_would_never_find(void **state)
{
    (void)state;
    struct digest link = box_blob(b, b->repo, "link"), blob = box_blob(b, b->repo, "blob");
    sql("DELETE FROM gc_queue", NULL);
    sql("DELETE FROM repo_blobs WHERE digest = $1", &blob);
    assert_int_equal(check(false, false), 2);
    said("link_not_queued");
    said("blob_not_queued");
    assert_int_equal(check(false, true), 2);
    assert_int_equal(repaired, 2);
    assert_sound();
    box_collect(b);
    assert_false(box_has_row(b, &link));
    assert_false(box_has_row(b, &blob));
}

static void test_link_without_blob(void **state)
{
    (void)state;
    if (db_is_postgres(b->db))
        skip(); /* needs foreign keys off */
    struct digest m, good = image("its file is there", "v1", &m), bad = image("is not", "v2", &m);
    char path[320];
    sqlite3 *raw;
    (void)snprintf(path, sizeof path, "%s/berth.db", b->dir);
    assert_int_equal(sqlite3_open(path, &raw), SQLITE_OK);
    assert_int_equal(sqlite3_exec(raw, "DELETE FROM blobs", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(raw);
    assert_int_equal(unlink(box_path(b, "blobs", &bad, path)), 0);
    assert_true(check(true, false) >= 2);
    said("link_without_blob");
    assert_true(check(true, true) >= 2);
    assert_true(box_linked(b, b->repo, &good) && box_has_row(b, &good));
    assert_false(box_linked(b, b->repo, &bad));
    assert_sound();
}

/* ---- manifests and tags ---- */
static void test_manifest_bytes(void **state)
{
    (void)state;
    static const char SPOIL[] = "UPDATE manifests SET bytes = $1";
    static const char LENGTH[] = "SELECT size FROM manifests";
    struct digest m, d = image("config", "v1", &m);
    size_t n = (size_t)box_int(b, LENGTH, DB_NO_ARGS);
    char *rubbish = mem_zalloc(n);
    memset(rubbish, 'x', n);
    box_exec(b, SPOIL, DB_ARGS(DB_B(((struct str){rubbish, n}))));
    free(rubbish);
    assert_int_equal(check(false, false), 1);
    const json_t *line = said("manifest_corrupt");
    assert_string_equal(json_string_value(json_object_get(line, "repository")), BOX_REPO);
    (void)d;
    image("config", "v1", &m); /* a push repairs it */
    assert_sound();
}

static void test_manifest_references(void **state)
{
    (void)state;
    struct digest m, d = image("config", "v1", &m);
    sql("DELETE FROM manifest_refs", NULL);
    assert_repairs("manifest_references");
    box_collect(b);
    assert_true(box_linked(b, b->repo, &d));
    sql("UPDATE manifest_refs SET kind = 3", NULL); /* as many, but other ones */
    assert_repairs("manifest_references");
    static const char MORE[] =
        "INSERT INTO manifest_refs (repo_id, target, manifest_id, kind) SELECT "
        "repo_id, $1, id, 2 FROM manifests WHERE digest <> $1";
    struct digest none = {.alg = DIGEST_SHA256, .len = 32};
    sql(MORE, &none);
    assert_repairs("manifest_references");
}

static void test_tags(void **state)
{
    (void)state;
    struct digest m, d = image("config", "v1", &m);
    static const char OTHER[] = "UPDATE tags SET repo_id = $1";
    (void)d;
    sql("UPDATE tags SET digest = $1", &(struct digest){.alg = DIGEST_SHA256, .len = 32});
    assert_repairs("tag_digest");
    int64_t other = box_repo(b, "team/other");
    box_exec(b, OTHER, DB_ARGS(DB_I(other)));
    assert_true(check(false, false) > 0);
    const json_t *line = said("tag_dangling");
    assert_string_equal(json_string_value(json_object_get(line, "tag")), "v1");
    assert_string_equal(json_string_value(json_object_get(line, "repository")), "team/other");
    assert_repairs("tag_dangling");
    static const char COUNT[] = "SELECT count(*) FROM tags";
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), 0);
}

/* ---- uploads ---- */
static void test_uploads(void **state)
{
    (void)state;
    static const char COUNT[] = "SELECT count(*) FROM uploads";
    char id[UPLOAD_ID_LEN + 1], busy[UPLOAD_ID_LEN + 1];
    upload_unclaim(b->g, upload(id), false);
    struct upload *u = upload(busy);
    assert_sound();
    cut_upload(busy); /* whoever works on it will find out */
    assert_int_equal(check(false, false), 0);
    upload_unclaim(b->g, u, false);
    assert_int_equal(check(false, false), 1);
    cut_upload(id);
    assert_int_equal(check(false, false), 2);
    said("upload_lost");
    assert_int_equal(check(false, true), 2);
    assert_int_equal(repaired, 2);
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), 0);
    assert_sound();
    /* Renamed by a commit that was killed before its transaction: a note, no damage. */
    char path[160];
    upload_unclaim(b->g, upload(id), false);
    (void)snprintf(path, sizeof path, "%s/uploads/%s", b->dir, id);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(check(false, false), 0);
    said("upload_cut");
    assert_int_equal(check(false, true), 0);
    assert_int_equal(box_int(b, COUNT, DB_NO_ARGS), 0);
}

/* ---- the threads ---- */
#define WAIT_UNTIL(condition) \
    while (!(condition))      \
    usleep(2000)

static void test_scrub(void **state)
{
    (void)state;
    struct digest m, good = image("good", "a", &m), rotten = image("rotten", "b", &m);
    struct digest gone = image("gone", "c", &m), fresh = image("fresh but bad", "d", &m);
    char path[320];
    sql("UPDATE blobs SET verified_at = 1 WHERE digest <> $1", &fresh);
    int64_t fresh_at = verified_at(&fresh);
    box_write_file(b, "blobs", &rotten, "rottem");
    box_write_file(b, "blobs", &fresh, "fresh but bax");
    assert_int_equal(unlink(box_path(b, "blobs", &gone, path)), 0);
    box_set(b, SCRUB_PERIOD, DAY);
    uint64_t bad = metric_value(METRIC_SCRUB_CORRUPT), seen = metric_value(METRIC_SCRUB_BLOBS);
    ok(b, registry_background_start(b->g, &b->err));
    WAIT_UNTIL(state_of(&rotten) == 1 && state_of(&gone) == 1 && verified_at(&good) > 1);
    assert_true(metric_value(METRIC_SCRUB_OVERDUE) > DAY / 1000000);
    assert_int_equal(state_of(&good), 0);
    assert_true(box_has_file(b, "quarantine", &rotten));
    assert_int_equal(state_of(&fresh), 0); /* verified within its period */
    assert_int_equal(verified_at(&fresh), fresh_at);
    assert_int_equal(metric_value(METRIC_SCRUB_BLOBS) - seen, 1);
    box_set(b, SCRUB_RATE, 0);
    scrub_request(b->g, &fresh); /* somebody suspects it */
    WAIT_UNTIL(state_of(&fresh) == 1 && metric_value(METRIC_SCRUB_OVERDUE) == 0);
    registry_background_stop(b->g);
    assert_int_equal(metric_value(METRIC_SCRUB_CORRUPT) - bad, 3);
}

static void test_a_collected_blob_is_not_called_corrupt(void **state)
{
    (void)state;
    struct digest d = box_blob(b, b->repo, "collected");
    uint64_t bad = metric_value(METRIC_SCRUB_CORRUPT);
    box_collect(b);
    assert_int_equal(blob_quarantine(b->g, &d, &b->err), 0);
    assert_int_equal(metric_value(METRIC_SCRUB_CORRUPT), bad);
    assert_true(box_has_file(b, "trash", &d));
}

/* A byte a second: the pause after the first piece would take hours. */
static void test_stop_in_the_middle_of_a_pause(void **state)
{
    (void)state;
    static char content[70001];
    memset(content, 'x', sizeof content - 1);
    content[sizeof content - 1] = 0;
    struct digest d = box_blob(b, b->repo, content);
    box_set(b, GC, 0);
    box_set(b, SCRUB_RATE, 1);
    sql("UPDATE blobs SET verified_at = 1", NULL);
    ok(b, registry_background_start(b->g, &b->err));
    usleep(100000);
    registry_background_stop(b->g);
    registry_background_stop(b->g); /* again: nothing */
    assert_int_equal(state_of(&d), 0);
    /* A reload makes it fast: the pause that began under the old rate ends. */
    ok(b, registry_background_start(b->g, &b->err));
    usleep(100000);
    box_set(b, SCRUB_RATE, 1 << 30);
    WAIT_UNTIL(verified_at(&d) > 1);
    registry_background_stop(b->g);
}

static void test_upkeep_runs_by_itself(void **state)
{
    (void)state;
    char id[UPLOAD_ID_LEN + 1], path[160];
    struct digest d = box_blob(b, b->repo, "unreferenced"), stray;
    hash_bytes(DIGEST_SHA256, "stray", 5, &stray);
    box_write_file(b, "blobs", &stray, "stray");
    upload_unclaim(b->g, upload(id), false);
    sql("UPDATE uploads SET touched_at = 1", NULL);
    (void)snprintf(path, sizeof path, "%s/uploads/%s", b->dir, id);
    box_set(b, READ_ONLY, 1);
    box_set(b, GC_INTERVAL, HOUR);
    ok(b, registry_background_start(b->g, &b->err));
    box_set(b, GC_INTERVAL, 10000); /* a reload wakes the thread that waits for an hour */
    usleep(100000);
    assert_true(box_linked(b, b->repo, &d)); /* read-only means nothing changes */
    assert_int_equal(access(path, F_OK), 0);
    box_set(b, READ_ONLY, 0);
    static const char SOON[] = "UPDATE gc_queue SET review_after = 0 WHERE kind = 3";
    WAIT_UNTIL(!box_linked(b, b->repo, &d));
    sql(SOON, NULL); /* not the five seconds that a blob waits */
    WAIT_UNTIL(!box_has_row(b, &d) && !box_has_file(b, "blobs", &d) &&
               !box_has_file(b, "trash", &d));
    WAIT_UNTIL(access(path, F_OK) != 0);
    registry_background_stop(b->g);
    ok(b, registry_background_start(b->g,
                                    &b->err)); /* the search for stray files comes at the start */
    WAIT_UNTIL(!box_has_file(b, "blobs", &stray) && !box_has_file(b, "trash", &stray));
    registry_background_stop(b->g);
    assert_sound();
}

static void test_a_jump_of_the_clock(void **state)
{
    (void)state;
    enum { SECOND = 1000000 };
    struct clock_watch w = {.looked = false};
    assert_int_equal(clock_watch_look(&w, 1000 * DAY, 5 * SECOND), 0); /* whatever it is at first */
    assert_true(clock_watch_settled(&w, 5 * SECOND, DAY));
    assert_int_equal(clock_watch_look(&w, 1000 * DAY + 11 * SECOND, 15 * SECOND), 0); /* slewed */
    assert_int_equal(clock_watch_look(&w, 900 * DAY, 20 * SECOND), 0); /* back: everything waits */
    assert_true(clock_watch_settled(&w, 20 * SECOND, DAY));
    assert_int_equal(clock_watch_look(&w, 1900 * DAY + SECOND, 21 * SECOND), 1000 * DAY);
    assert_false(clock_watch_settled(&w, 21 * SECOND, DAY));
    assert_false(clock_watch_settled(&w, 20 * SECOND + DAY, DAY));
    assert_true(clock_watch_settled(&w, 21 * SECOND + DAY, DAY));
    assert_true(clock_watch_settled(&w, 21 * SECOND, 0));
}

static int last(void **state)
{
    (void)state;
    json_decref(items);
    return 0;
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_a_sound_place),
        T(test_notes_are_no_problems),
        T(test_missing_file),
        T(test_wrong_size_and_wrong_bytes),
        T(test_row_that_does_its_file_wrong),
        T(test_what_the_collector_would_never_find),
        T(test_link_without_blob),
        T(test_manifest_bytes),
        T(test_manifest_references),
        T(test_tags),
        T(test_uploads),
        T(test_scrub),
        T(test_a_collected_blob_is_not_called_corrupt),
        T(test_stop_in_the_middle_of_a_pause),
        T(test_upkeep_runs_by_itself),
        T(test_a_jump_of_the_clock),
    };
    return cmocka_run_group_tests(tests, NULL, last);
}
