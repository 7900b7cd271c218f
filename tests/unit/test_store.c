/* The store on a real file system: layout, uploads, publishing, moving aside, walking, keys. */
#include "store_box.h"

/* --- layout */

static void layout_is_complete(void **state)
{
    (void)state;
    struct stat st;
    char text[256];
    for (unsigned a = 0; a < 2; a++)
        for (unsigned i = 0; i < 256; i++) {
            assert_int_equal(stat(path_of("blobs/%s/%02x", a ? "sha512" : "sha256", i), &st), 0);
            assert_int_equal(st.st_mode & 07777, 0700);
        }
    assert_int_equal(stat(path_of("keys"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0700);
    assert_int_equal(stat(path_of("store.json"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    slurp(path_of("store.json"), text, sizeof text);
    assert_memory_equal(text, "{\"format\":1,\"id\":\"", 18);
    assert_int_equal(strlen(text), 18 + 32 + 3);
    assert_string_equal(store_dir(s), dir);
    int64_t bytes = -1;
    ok(store_free_bytes(s, &bytes, &err));
    assert_true(bytes > 0);
}

static void reopening_changes_nothing(void **state)
{
    (void)state;
    char before[256], after[256];
    slurp(path_of("store.json"), before, sizeof before);
    for (int create = 0; create < 2; create++) {
        store_close(s);
        s = NULL;
        ok(store_open(&s, dir, create, &err));
        slurp(path_of("store.json"), after, sizeof after);
        assert_string_equal(before, after);
    }
}

static void creation_is_asked_for(void **state)
{
    (void)state;
    struct store *other = NULL;
    char where[160];
    snprintf(where, sizeof where, "%s/none", base);
    fails(store_open(&other, where, false, &err), ERR_NOT_FOUND);
    assert_false(there(where));
    assert_int_equal(mkdir(where, 0700), 0);
    fails(store_open(&other, where, false, &err), ERR_NOT_FOUND);
    assert_non_null(strstr(err.text, "store.json"));
    assert_null(other);
    ok(store_open(&other, where, true, &err));
    store_close(other);
    snprintf(where, sizeof where, "%s/none/of/these", base);
    ok(store_open(&other, where, true, &err));
    store_close(other);
    snprintf(where, sizeof where, "%s/none/store.json/no/directory", base);
    fails(store_open(&other, where, true, &err), ERR_IO);
}

static void other_formats_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int code;
    } rows[] = {
        {"{\"format\":2,\"id\":\"x\"}", ERR_UNSUPPORTED}, {"{\"format\":99999999999,\"id\":\"x\"}", ERR_UNSUPPORTED},
        {"", ERR_CORRUPT}, {"{\"format\":1", ERR_CORRUPT}, {"{\"format\":0,\"id\":\"x\"}", ERR_CORRUPT},
        {"{\"format\":\"1\",\"id\":\"x\"}", ERR_CORRUPT}, {"{\"format\":1}", ERR_CORRUPT}, {"{\"format\":1,\"id\":\"x\"}", ERR_CORRUPT}, {"[1]", ERR_CORRUPT},
    };
    struct store *other = NULL;
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        spill(path_of("store.json"), rows[i].text);
        for (int create = 0; create < 2; create++)
            fails(store_open(&other, dir, create, &err), rows[i].code);
        assert_null(other);
    }
}

/* What an interrupted creation leaves behind is completed; nothing there is lost. */
static void creation_resumes(void **state)
{
    (void)state;
    struct digest d;
    put_blob(STR_LIT("kept"), &d);
    store_close(s);
    s = NULL;
    assert_int_equal(unlink(path_of("store.json")), 0);
    spill(path_of("store.json.new"), "{\"form");
    assert_int_equal(rmdir(path_of("trash")), 0);
    assert_int_equal(rmdir(path_of("blobs/sha512/7f")), 0);
    fails(store_open(&s, dir, false, &err), ERR_NOT_FOUND);
    ok(store_open(&s, dir, true, &err));
    assert_true(there(path_of("trash")));
    assert_true(there(path_of("blobs/sha512/7f")));
    assert_true(there(path_of("store.json")));
    assert_false(there(path_of("store.json.new")));
    struct blob_stat st;
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
}

static void one_volume(void *arg)
{
    (void)arg;
    CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("tmpfs", path_of("uploads"), "tmpfs", 0, "size=1m") == 0);
    struct store *other;
    CHECK(store_open(&other, dir, true, &err) == ERR_USAGE);
    CHECK(strstr(err.text, "one file system") != NULL);
}

static void uploads_elsewhere_are_refused(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(in_child(one_volume, NULL), 0);
}

/* --- uploads */

static void upload_grows_and_resumes(void **state)
{
    (void)state;
    char id[33], text[16] = {0};
    struct staging *g = NULL;
    size_t n = 99;
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "hello ", 6, &err));
    ok(staging_append(g, "world", 5, &err));
    ok(staging_append(g, NULL, 0, &err));
    assert_int_equal(staging_size(g), 11);
    ok(staging_sync(g, &err));
    ok(staging_append(g, "+lost", 5, &err));
    staging_close(g);
    struct stat st;
    assert_int_equal(stat(path_of("uploads/%s", id), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_int_equal(st.st_size, 16);
    ok(staging_open(s, id, 11, &g, &err));
    assert_int_equal(staging_size(g), 11);
    assert_int_equal(stat(path_of("uploads/%s", id), &st), 0);
    assert_int_equal(st.st_size, 11);
    ok(staging_read(g, 6, text, sizeof text, &n, &err));
    assert_int_equal(n, 5);
    assert_string_equal(text, "world");
    ok(staging_read(g, 11, text, sizeof text, &n, &err));
    assert_int_equal(n, 0);
    ok(staging_append(g, "!", 1, &err));
    staging_close(g);
    slurp(path_of("uploads/%s", id), text, sizeof text);
    assert_string_equal(text, "hello world!");
    staging_close(NULL);
}

static void upload_that_lost_bytes_is_unknown(void **state)
{
    (void)state;
    char id[33];
    struct staging *g = NULL;
    new_id(id);
    fails(staging_open(s, id, 0, &g, &err), ERR_BLOB_UPLOAD_UNKNOWN);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "abc", 3, &err));
    staging_close(g);
    g = NULL;
    fails(staging_open(s, id, 4, &g, &err), ERR_BLOB_UPLOAD_UNKNOWN);
    fails(staging_create(s, id, &g, &err), ERR_IO); /* ids are never used twice */
    assert_null(g);
    ok(staging_remove(s, id, &err));
    assert_false(there(path_of("uploads/%s", id)));
    ok(staging_remove(s, id, &err));
}

/* Counted: a second sync without new bytes is none, and the entry is synced once. */
static void syncs_are_not_repeated(void **state)
{
    (void)state;
    char id[33];
    struct staging *g;
    struct blob_stat st;
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "a", 1, &err));
    uint64_t at = metric_value(METRIC_FSYNCS);
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 2); /* file, uploads/ */
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 2);
    ok(staging_append(g, "b", 1, &err));
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 3);
    staging_close(g);
    ok(staging_open(s, id, 2, &g, &err)); /* all acknowledged: nothing is left to sync */
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 3);
    struct digest d = digest_of(STR_LIT("ab"));
    ok(staging_publish(g, &d, &st, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 4); /* the blob's directory */
    staging_close(g);
    ok(push(STR_LIT("ab"), &d, &st));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 6); /* a whole blob: file and directory */
}

/* A cut changes the length, so the file is synced again; so is a file without acknowledged bytes. */
static void a_cut_upload_is_synced(void **state)
{
    (void)state;
    char id[33];
    struct staging *g;
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "abcdef", 6, &err));
    ok(staging_sync(g, &err));
    staging_close(g);
    uint64_t at = metric_value(METRIC_FSYNCS);
    ok(staging_open(s, id, 3, &g, &err));
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 1);
    staging_close(g);
    ok(staging_open(s, id, 0, &g, &err));
    ok(staging_sync(g, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 3);
    staging_close(g);
}

/* --- publishing */

static void publish_makes_a_blob(void **state)
{
    (void)state;
    struct blob_stat st, again;
    int fd = -1;
    char text[16];
    for (int alg = DIGEST_SHA256; alg <= DIGEST_SHA512; alg++) {
        struct digest d;
        hash_bytes((enum digest_alg)alg, "layer", 5, &d);
        fails(store_open_blob(s, &d, &fd, &st, &err), ERR_BLOB_UNKNOWN);
        ok(push(STR_LIT("layer"), &d, &st));
        ok(store_open_blob(s, &d, &fd, &again, &err));
        assert_memory_equal(&st, &again, sizeof st);
        assert_int_equal(st.size, 5);
        assert_int_equal(read(fd, text, sizeof text), 5);
        assert_memory_equal(text, "layer", 5);
        close(fd);
        struct stat file;
        assert_int_equal(stat(file_of(&d), &file), 0);
        assert_int_equal(file.st_mode & 07777, 0600);
        assert_int_equal((int64_t)file.st_ino, st.ino);
        assert_int_equal((int64_t)file.st_ctim.tv_sec * 1000000000 + file.st_ctim.tv_nsec, st.ctime_ns);
        ok(store_verify(s, &d, NULL, NULL, &again, &err));
        assert_memory_equal(&st, &again, sizeof st);
    }
    struct digest empty;
    put_blob(STR_LIT(""), &empty);
    ok(store_verify(s, &empty, NULL, NULL, &st, &err));
}

static void publish_uses_the_upload_up(void **state)
{
    (void)state;
    char id[33];
    struct staging *g, *late;
    struct blob_stat st;
    struct digest d = digest_of(STR_LIT("x"));
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "x", 1, &err));
    ok(staging_open(s, id, 1, &late, &err));
    ok(staging_publish(g, &d, &st, &err));
    staging_close(g);
    assert_false(there(path_of("uploads/%s", id)));
    fails(staging_publish(late, &d, &st, &err), ERR_BLOB_UPLOAD_UNKNOWN);
    staging_close(late);
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
}

static void publish_refuses_a_changed_length(void **state)
{
    (void)state;
    char id[33];
    struct staging *g;
    struct blob_stat st;
    struct digest d = digest_of(STR_LIT("abc"));
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    ok(staging_append(g, "abc", 3, &err));
    assert_int_equal(truncate(path_of("uploads/%s", id), 2), 0);
    fails(staging_publish(g, &d, &st, &err), ERR_CORRUPT);
    staging_close(g);
    assert_false(there(file_of(&d)));
}

static void publish_replaces_and_repairs(void **state)
{
    (void)state;
    struct digest d;
    struct blob_stat st;
    put_blob(STR_LIT("good"), &d);
    spill(file_of(&d), "rots");
    fails(store_verify(s, &d, NULL, NULL, &st, &err), ERR_CORRUPT);
    put_blob(STR_LIT("good"), &d); /* over the rotten one */
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
    spill(file_of(&d), "rots");
    ok(store_quarantine(s, &d, &err));
    put_blob(STR_LIT("good"), &d); /* over a quarantined one, which stays for inspection */
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
    assert_true(there(flat_of("quarantine", &d)));
    assert_int_equal(unlink(file_of(&d)), 0);
    put_blob(STR_LIT("good"), &d); /* over a missing one */
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
}

enum { THREADS = 8, ROUNDS = 25 };
struct pusher {
    unsigned number;
    bool same;
    int failures;
};

static void *push_many(void *arg)
{
    struct pusher *p = arg;
    for (unsigned i = 0; i < ROUNDS; i++) {
        char text[64], id[33];
        struct staging *g;
        struct blob_stat st;
        snprintf(text, sizeof text, "blob %u of %u", p->same ? i : i + p->number * ROUNDS, p->same ? 1u : 0u);
        struct digest d = digest_of(str_of(text));
        struct err mine;
        new_id(id);
        bool good = staging_create(s, id, &g, &mine) == 0;
        if (good) {
            good = staging_append(g, text, strlen(text), &mine) == 0;
            store_lock(s, &d);
            good = good && staging_publish(g, &d, &st, &mine) == 0 && st.size == (int64_t)strlen(text);
            store_unlock(s, &d);
            staging_close(g);
        }
        p->failures += !good;
    }
    return NULL;
}

static int count_name(void *arg, const char *name, const struct blob_stat *st)
{
    (void)name;
    (void)st;
    ++*(int *)arg;
    return 0;
}

static int count(const char *what)
{
    int n = 0;
    ok(store_walk(s, what, count_name, &n, &err));
    return n;
}

static void push_from_threads(bool same)
{
    pthread_t t[THREADS];
    struct pusher p[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        p[i] = (struct pusher){i, same, 0};
        assert_int_equal(pthread_create(&t[i], NULL, push_many, &p[i]), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        pthread_join(t[i], NULL);
        assert_int_equal(p[i].failures, 0);
    }
}

static void concurrent_publishes(void **state)
{
    (void)state;
    push_from_threads(true);
    assert_int_equal(count("blobs"), ROUNDS); /* one copy of each */
    assert_int_equal(count("uploads"), 0);
    push_from_threads(false);
    assert_int_equal(count("blobs"), ROUNDS + THREADS * ROUNDS);
    ok(store_walk(s, "blobs", verify_each, NULL, &err));
}

/* Two holders of one digest's lock never overlap. */
static int holders;
static void *hold(void *arg)
{
    const struct digest *d = arg;
    for (int i = 0; i < 2000; i++) {
        store_lock(s, d);
        int before = holders;
        sched_yield();
        holders = before + 1;
        store_unlock(s, d);
    }
    return NULL;
}

static void digest_lock_excludes(void **state)
{
    (void)state;
    struct digest d = digest_of(STR_LIT("lock"));
    pthread_t t[4];
    for (int i = 0; i < 4; i++)
        assert_int_equal(pthread_create(&t[i], NULL, hold, &d), 0);
    for (int i = 0; i < 4; i++)
        pthread_join(t[i], NULL);
    assert_int_equal(holders, 8000);
    holders = 0;
}

/* --- moving aside */

static void trash_and_purge(void **state)
{
    (void)state;
    struct digest d;
    struct blob_stat st;
    int fd;
    put_blob(STR_LIT("garbage"), &d);
    uint64_t at = metric_value(METRIC_FSYNCS);
    ok(store_trash(s, &d, &err));
    assert_int_equal(metric_value(METRIC_FSYNCS) - at, 2); /* trash/ and the fan-out */
    fails(store_open_blob(s, &d, &fd, &st, &err), ERR_BLOB_UNKNOWN);
    assert_true(there(flat_of("trash", &d)));
    ok(store_open_any(s, &d, &fd, &err));
    close(fd);
    ok(store_trash(s, &d, &err)); /* absent: nothing to do, and the trash keeps its file */
    assert_true(there(flat_of("trash", &d)));
    put_blob(STR_LIT("garbage"), &d); /* pushed again while in the trash */
    ok(store_trash_purge(s, &d, &err));
    ok(store_trash_purge(s, &d, &err));
    assert_false(there(flat_of("trash", &d)));
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
    ok(store_trash(s, &d, &err));
    ok(store_trash_purge(s, &d, &err));
    fails(store_open_any(s, &d, &fd, &err), ERR_BLOB_UNKNOWN);
    ok(store_quarantine(s, &d, &err)); /* absent */
}

struct seen {
    int n;
    char name[8][DIGEST_TEXT_MAX];
    int64_t size[8];
};

static int see(void *arg, const char *name, const struct blob_stat *st)
{
    struct seen *w = arg;
    if (w->n == 8)
        return -7;
    snprintf(w->name[w->n], DIGEST_TEXT_MAX, "%s", name);
    w->size[w->n++] = st->size;
    return 0;
}

static int stop_here(void *arg, const char *name, const struct blob_stat *st)
{
    (void)name;
    (void)st;
    ++*(int *)arg;
    return -7;
}

static void walk_names_what_is_there(void **state)
{
    (void)state;
    struct digest d[3];
    char text[DIGEST_TEXT_MAX], id[33];
    struct staging *g;
    put_blob(STR_LIT("one"), &d[0]);
    put_blob(STR_LIT("two!"), &d[1]);
    put_blob(STR_LIT("three"), &d[2]);
    ok(store_trash(s, &d[1], &err));
    ok(store_quarantine(s, &d[2], &err));
    new_id(id);
    ok(staging_create(s, id, &g, &err));
    staging_close(g);
    /* Strangers are passed over: wrong names, wrong place, links, directories. */
    spill(path_of("uploads/readme"), "");
    spill(path_of("trash/sha256-xyz"), "");
    spill(path_of("blobs/sha256/%02x/stray", d[0].bytes[0]), "");
    char hex[129];
    hex_encode(hex, d[0].bytes, 32);
    spill(path_of("blobs/sha256/%02x/%s", d[0].bytes[0] ^ 1u, hex), "misplaced");
    hex_encode(hex, d[1].bytes, 32);
    assert_int_equal(symlink("/etc/passwd", path_of("blobs/sha256/%02x/%s", d[1].bytes[0], hex)), 0);
    const char *const what[] = {"blobs", "trash", "quarantine"};
    const int64_t sizes[] = {3, 4, 5};
    for (int i = 0; i < 3; i++) {
        struct seen w = {0};
        ok(store_walk(s, what[i], see, &w, &err));
        assert_int_equal(w.n, 1);
        assert_string_equal(w.name[0], digest_text(&d[i], text));
        assert_int_equal(w.size[0], sizes[i]);
    }
    struct seen w = {0};
    ok(store_walk(s, "uploads", see, &w, &err));
    assert_int_equal(w.n, 1);
    assert_string_equal(w.name[0], id);
    put_blob(STR_LIT("four"), &d[0]);
    int n = 0;
    assert_int_equal(store_walk(s, "blobs", stop_here, &n, &err), -7);
    assert_int_equal(n, 1);
}

static int paces;
static int pace(void *arg, size_t n)
{
    assert_true(n > 0 && n <= 1 << 20);
    return ++paces == *(int *)arg ? ERR_UNAVAILABLE : 0;
}

static void verify_paces_and_stops(void **state)
{
    (void)state;
    enum { SIZE = (2 << 20) + 5 };
    auto_free char *bytes = mem_alloc(SIZE);
    memset(bytes, 'v', SIZE);
    struct digest d;
    struct blob_stat st = {.size = -1};
    put_blob((struct str){bytes, SIZE}, &d);
    int stop = 0;
    paces = 0;
    ok(store_verify(s, &d, pace, &stop, &st, &err));
    assert_int_equal(paces, 3);
    assert_int_equal(st.size, SIZE);
    stop = 2;
    paces = 0;
    st.size = -1;
    fails(store_verify(s, &d, pace, &stop, &st, &err), ERR_UNAVAILABLE);
    assert_int_equal(paces, 2);
    assert_int_equal(st.size, -1);
    /* one bit */
    int fd = open(file_of(&d), O_WRONLY);
    assert_int_equal(pwrite(fd, "w", 1, SIZE - 1), 1);
    close(fd);
    fails(store_verify(s, &d, NULL, NULL, &st, &err), ERR_CORRUPT);
    struct digest none = digest_of(STR_LIT("absent"));
    fails(store_verify(s, &none, NULL, NULL, &st, &err), ERR_BLOB_UNKNOWN);
}

/* --- import */

struct source {
    int left, fail_at;
};

static int next_piece(void *arg, const void **p, size_t *n, struct err *e)
{
    struct source *src = arg;
    if (src->left == src->fail_at)
        return err_set(e, ERR_INVALID, "the source broke");
    *p = "piece";
    *n = src->left > 0 ? 5 : 0;
    src->left--;
    return 0;
}

static void import_checks_the_digest(void **state)
{
    (void)state;
    struct digest d = digest_of(STR_LIT("piecepiecepiece")), other = digest_of(STR_LIT("piece"));
    struct blob_stat st = {0};
    struct source src = {3, -1};
    ok(store_import(s, &d, next_piece, &src, &st, &err));
    assert_int_equal(st.size, 15);
    ok(store_verify(s, &d, NULL, NULL, &st, &err));
    src = (struct source){3, -1};
    fails(store_import(s, &other, next_piece, &src, &st, &err), ERR_DIGEST_INVALID);
    src = (struct source){3, 1};
    fails(store_import(s, &other, next_piece, &src, &st, &err), ERR_INVALID);
    assert_string_equal(err.text, "the source broke");
    assert_int_equal(count("uploads"), 0);
    assert_int_equal(count("blobs"), 1);
}

/* --- keys */

static void keys_are_kept(void **state)
{
    (void)state;
    struct buf b;
    struct stat st;
    buf_init(&b, 64);
    fails(store_key_read(s, "token.key", &b, &err), ERR_NOT_FOUND);
    spill(path_of("keys/.token.key.new"), "left by a crash, longer than the key itself");
    ok(store_key_write(s, "token.key", STR_LIT("first"), &err));
    ok(store_key_read(s, "token.key", &b, &err));
    assert_string_equal(b.p, "first");
    assert_int_equal(stat(path_of("keys/token.key"), &st), 0);
    assert_int_equal(st.st_mode & 07777, 0600);
    assert_false(there(path_of("keys/.token.key.new")));
    ok(store_key_write(s, "token.key", STR_LIT("2"), &err));
    buf_reset(&b);
    ok(store_key_read(s, "token.key", &b, &err));
    assert_string_equal(b.p, "2");
    char big[65];
    memset(big, 'k', sizeof big);
    ok(store_key_write(s, "big", (struct str){big, sizeof big}, &err));
    buf_reset(&b);
    fails(store_key_read(s, "big", &b, &err), ERR_TOO_LARGE);
    buf_release(&b);
    assert_int_equal(symlink("/etc/hostname", path_of("keys/evil")), 0);
    buf_init(&b, 4096);
    fails(store_key_read(s, "evil", &b, &err), ERR_IO);
    assert_int_equal(b.n, 0);
    buf_release(&b);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define D(f) cmocka_unit_test_setup_teardown(f, set_up_on_disk, tear_down)
    const struct CMUnitTest tests[] = {
        T(layout_is_complete), T(reopening_changes_nothing), T(creation_is_asked_for),
        T(other_formats_are_refused), T(creation_resumes), T(uploads_elsewhere_are_refused),
        T(upload_grows_and_resumes), T(upload_that_lost_bytes_is_unknown),
        T(syncs_are_not_repeated), T(a_cut_upload_is_synced), D(publish_makes_a_blob),
        T(publish_uses_the_upload_up), T(publish_refuses_a_changed_length),
        T(publish_replaces_and_repairs), D(concurrent_publishes), T(digest_lock_excludes),
        T(trash_and_purge), T(walk_names_what_is_there), T(verify_paces_and_stops),
        T(import_checks_the_digest), T(keys_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
