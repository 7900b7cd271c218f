/* The store on a real file system: layout, uploads, publishing, moving aside, and how it fails.
 * Steps that break are tried in builds with -Dfaults=true, one process a step. */
#include "base/metric.h"
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

static char base[64], dir[128];
static struct store *s;
static struct err err;

static const char *path_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static const char *path_of(const char *fmt, ...)
{
    static char out[4][512];
    static int turn;
    char *p = out[turn++ % 4];
    int n = snprintf(p, 512, "%s/", dir);
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(p + n, 512 - (size_t)n, fmt, ap);
    va_end(ap);
    return p;
}

static bool there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

static void spill(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

static void slurp(const char *path, char *out, size_t n)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t r = read(fd, out, n - 1);
    assert_true(r >= 0);
    out[r] = '\0';
    close(fd);
}

static void ok(int rc)
{
    if (rc != 0)
        print_error("%s: %s\n", err_name(rc), err.text);
    assert_int_equal(rc, 0);
}

static void fails(int rc, int code)
{
    if (rc != code)
        print_error("got %s (%s), wanted %s\n", rc == 0 ? "0" : err_name(rc), err.text, err_name(code));
    assert_int_equal(rc, code);
}

static struct digest digest_of(struct str bytes)
{
    struct digest d;
    hash_bytes(DIGEST_SHA256, bytes.p, bytes.n, &d);
    return d;
}

static const char *file_of(const struct digest *d)
{
    char hex[129];
    hex_encode(hex, d->bytes, d->len);
    return path_of("blobs/%s/%02x/%s", digest_alg_name((enum digest_alg)d->alg), d->bytes[0], hex);
}

static const char *flat_of(const char *where, const struct digest *d)
{
    char hex[129];
    hex_encode(hex, d->bytes, d->len);
    return path_of("%s/%s-%s", where, digest_alg_name((enum digest_alg)d->alg), hex);
}

static void new_id(char id[33]) { secret_random_hex(id, 16); }

static int push(struct str bytes, const struct digest *d, struct blob_stat *ret)
{
    char id[33];
    struct staging *g;
    new_id(id);
    int rc = staging_create(s, id, &g, &err);
    if (rc < 0)
        return rc;
    rc = staging_append(g, bytes.p, bytes.n, &err);
    if (rc == 0) {
        store_lock(s, d);
        rc = staging_publish(g, d, ret, &err);
        store_unlock(s, d);
    }
    staging_close(g);
    return rc;
}

static void put_blob(struct str bytes, struct digest *ret)
{
    struct blob_stat st;
    *ret = digest_of(bytes);
    ok(push(bytes, ret, &st));
    assert_int_equal(st.size, bytes.n);
}

static int set_up_at(const char *tmp)
{
    snprintf(base, sizeof base, "%.40s/berth-XXXXXX", tmp);
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/data", base);
    ok(secret_setup(&err));
    ok(store_open(&s, dir, true, &err));
    return 0;
}

/* In memory: syncs are tried by their return and count here, and a disk would make minutes of them. */
static int set_up(void **state)
{
    (void)state;
    return set_up_at(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
}

static int set_up_on_disk(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    return set_up_at(tmp != NULL ? tmp : "/tmp");
}

static int tear_down(void **state)
{
    (void)state;
    store_close(s);
    s = NULL;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
    return system(cmd);
}

/* Runs fn in a forked child and gives its wait status; assertions in the child end it with 1. */
static int in_child(void (*fn)(void *), void *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        fn(arg);
        _exit(0);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return status;
}
/* In a child cmocka's longjmp would run the parent's tests again. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, #cond, err.text);              \
            _exit(1);                                                                              \
        }                                                                                          \
    } while (0)

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
        {"{\"format\":\"1\",\"id\":\"x\"}", ERR_CORRUPT}, {"{\"format\":1}", ERR_CORRUPT}, {"[1]", ERR_CORRUPT},
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

static int verify_each(void *arg, const char *name, const struct blob_stat *st)
{
    struct digest d;
    struct blob_stat have;
    (void)arg;
    return digest_parse(str_of(name), &d, &err) < 0 ? -1
           : store_verify(s, &d, NULL, NULL, &have, &err) < 0 || have.ino != st->ino ? -1 : 0;
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

/* --- planted links: each is refused and what it points at stays as it was */

static void planted_links(void *arg)
{
    (void)arg;
    char id[33], outside[160], victim[192], text[32];
    struct staging *g = NULL;
    struct blob_stat st;
    int fd = -1;
    struct digest d = digest_of(STR_LIT("blob")), e = digest_of(STR_LIT("elsewhere"));
    snprintf(outside, sizeof outside, "%s/outside", base);
    snprintf(victim, sizeof victim, "%s/victim", outside);
    CHECK(mkdir(outside, 0700) == 0);
    spill(victim, "precious");
    new_id(id);
    CHECK(symlink(victim, path_of("uploads/%s", id)) == 0);
    CHECK(staging_open(s, id, 0, &g, &err) < 0);
    CHECK(staging_create(s, id, &g, &err) < 0);
    new_id(id);
    CHECK(symlink(path_of("uploads/target"), path_of("uploads/%s", id)) == 0);
    CHECK(staging_create(s, id, &g, &err) < 0 && !there(path_of("uploads/target")));
    /* the file itself, and a pipe in its place */
    CHECK(symlink(victim, file_of(&d)) == 0);
    CHECK(store_open_blob(s, &d, &fd, &st, &err) == ERR_CORRUPT);
    CHECK(store_open_any(s, &d, &fd, &err) == ERR_CORRUPT);
    CHECK(store_verify(s, &d, NULL, NULL, &st, &err) == ERR_CORRUPT);
    CHECK(unlink(file_of(&d)) == 0 && mkfifo(file_of(&d), 0600) == 0);
    CHECK(store_open_blob(s, &d, &fd, &st, &err) == ERR_CORRUPT);
    CHECK(push(STR_LIT("blob"), &d, &st) == 0); /* a push repairs it */
    CHECK(store_verify(s, &d, NULL, NULL, &st, &err) == 0);
    /* the directory on the way */
    CHECK(rmdir(path_of("blobs/sha256/%02x", e.bytes[0])) == 0);
    CHECK(symlink(outside, path_of("blobs/sha256/%02x", e.bytes[0])) == 0);
    CHECK(push(STR_LIT("elsewhere"), &e, &st) < 0);
    CHECK(store_open_blob(s, &e, &fd, &st, &err) < 0 && store_trash(s, &e, &err) < 0);
    char hex[129], planted[400];
    hex_encode(hex, e.bytes, 32);
    snprintf(planted, sizeof planted, "%s/%s", outside, hex);
    CHECK(!there(planted));
    spill(planted, "elsewhere");
    CHECK(store_open_blob(s, &e, &fd, &st, &err) < 0);
    slurp(victim, text, sizeof text);
    CHECK(strcmp(text, "precious") == 0);
    CHECK(fd == -1 && g == NULL && !store_failed(s));
    store_close(s);
    s = NULL;
    CHECK(store_open(&s, dir, true, &err) < 0); /* at the start, too */
}

/* openat2 answers ENOSYS, as before Linux 5.6. */
static void planted_links_old_kernel(void *arg)
{
    struct sock_filter code[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, 0),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat2, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog prog = {ARRAY_LEN(code), code};
    CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
    CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog, 0, 0) == 0);
    CHECK(syscall(SYS_openat2, 0, "", NULL, 0) < 0 && errno == ENOSYS);
    planted_links(arg);
}

static void links_are_refused(void **state)
{
    (void)state;
    assert_int_equal(in_child(planted_links, NULL), 0);
}

static void links_are_refused_without_openat2(void **state)
{
    (void)state;
    assert_int_equal(in_child(planted_links_old_kernel, NULL), 0);
}

/* --- a full volume heals */

static void full_volume(void *arg)
{
    (void)arg;
    static char block[1 << 16];
    char id[33];
    struct staging *g;
    struct blob_stat st;
    struct digest d = digest_of(STR_LIT("small")), e = digest_of(STR_LIT("later"));
    store_close(s);
    CHECK(unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
    CHECK(mount("tmpfs", dir, "tmpfs", 0, "size=4m") == 0);
    CHECK(store_open(&s, dir, true, &err) == 0);
    CHECK(push(STR_LIT("small"), &d, &st) == 0);
    new_id(id);
    CHECK(staging_create(s, id, &g, &err) == 0);
    int rc, times = 0;
    while ((rc = staging_append(g, block, sizeof block - 7, &err)) == 0)
        CHECK(++times < 100);
    CHECK(rc == ERR_STORAGE_FULL && !store_failed(s));
    /* what was counted is what is there: no half piece stays */
    struct stat file;
    CHECK(stat(path_of("uploads/%s", id), &file) == 0 && file.st_size == staging_size(g));
    CHECK(staging_size(g) == times * (int64_t)(sizeof block - 7));
    int fill = open(path_of("fill"), O_WRONLY | O_CREAT, 0600);
    while (write(fill, block, 4096) > 0)
        ;
    close(fill);
    CHECK(push(STR_LIT("later"), &e, &st) == ERR_STORAGE_FULL);
    CHECK(store_key_write(s, "key", STR_LIT("k"), &err) == ERR_STORAGE_FULL);
    CHECK(store_verify(s, &d, NULL, NULL, &st, &err) == 0);
    CHECK(store_trash(s, &d, &err) == 0 && store_trash_purge(s, &d, &err) == 0); /* deletes go on */
    CHECK(!store_failed(s) && metric_value(METRIC_STORE_READONLY) == 0);
    CHECK(unlink(path_of("fill")) == 0);
    CHECK(push(STR_LIT("later"), &e, &st) == 0);
    CHECK(staging_append(g, "x", 1, &err) == 0); /* the stopped upload as well */
    CHECK(staging_sync(g, &err) == 0);
    staging_close(g);
}

static void full_volume_heals(void **state)
{
    (void)state;
    if (geteuid() != 0)
        skip();
    assert_int_equal(in_child(full_volume, NULL), 0);
}

static void out_of_descriptors(void *arg)
{
    (void)arg;
    char id[33];
    struct staging *g;
    struct blob_stat st;
    struct digest d = digest_of(STR_LIT("fd"));
    int fd, last = -1;
    new_id(id);
    CHECK(staging_create(s, id, &g, &err) == 0 && staging_append(g, "fd", 2, &err) == 0);
    while ((fd = dup(0)) >= 0)
        last = fd;
    CHECK(store_open_blob(s, &d, &fd, &st, &err) == ERR_UNAVAILABLE);
    CHECK(staging_publish(g, &d, &st, &err) == ERR_UNAVAILABLE);
    CHECK(there(path_of("uploads/%s", id)) && !store_failed(s));
    close(last);
    CHECK(staging_publish(g, &d, &st, &err) == 0);
    staging_close(g);
}

static void running_out_of_descriptors_heals(void **state)
{
    (void)state;
    assert_int_equal(in_child(out_of_descriptors, NULL), 0);
}

#ifdef BERTH_FAULTS
/* --- every durable step, broken or cut */

static const char *const steps[] = {
    "store.upload.create", "store.upload.sync", "store.uploads.dirsync", "store.blob.sync",
    "store.blob.rename", "store.blob.dirsync", "store.trash.rename", "store.trash.dirsync",
    "store.trash.unlink", "store.quarantine.rename", "store.quarantine.dirsync", "store.key.write",
    "store.key.sync", "store.key.rename", "store.key.dirsync",
};

/* One life of a store after `kept` is in: every kind of change once. The first error, or 0. */
static int life(void)
{
    char id[33];
    struct staging *g;
    struct blob_stat st;
    struct digest a = digest_of(STR_LIT("life a")), b = digest_of(STR_LIT("life b"));
    new_id(id);
    int rc = staging_create(s, id, &g, &err);
    if (rc < 0)
        return rc;
    rc = staging_append(g, "life a", 6, &err);
    if (rc == 0)
        rc = staging_sync(g, &err);
    if (rc == 0)
        rc = staging_append(g, "", 0, &err);
    if (rc == 0)
        rc = staging_publish(g, &a, &st, &err);
    staging_close(g);
    if (rc < 0 || (rc = push(STR_LIT("life b"), &b, &st)) < 0 || (rc = store_trash(s, &a, &err)) < 0 ||
        (rc = store_trash_purge(s, &a, &err)) < 0 || (rc = store_quarantine(s, &b, &err)) < 0)
        return rc;
    return store_key_write(s, "key", STR_LIT("secret"), &err);
}

/* The plan of faults is read once in a process, so each broken life is a program of its own. */
static int in_program(const char *fn, const char *arg)
{
    fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char self[] = "/proc/self/exe", name[64], at[64], data[128], rest[256];
        snprintf(name, sizeof name, "%s", fn);
        snprintf(at, sizeof at, "%s", base);
        snprintf(data, sizeof data, "%s", dir);
        snprintf(rest, sizeof rest, "%s", arg);
        execv(self, (char *[]){self, name, at, data, rest, NULL});
        _exit(2);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    unsetenv("BERTH_FAULT");
    return status;
}

static void fault_set(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
static void fault_set(const char *fmt, ...)
{
    char text[128];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    setenv("BERTH_FAULT", text, 1);
}

/* arg: "EIO" or "ENOSPC", then the step that fails so. */
static void broken_life(const char *arg)
{
    struct digest kept = digest_of(STR_LIT("kept"));
    struct blob_stat st;
    bool full = strncmp(arg, "ENOSPC", 6) == 0, dir_sync = strstr(arg, "dirsync") != NULL;
    CHECK(store_open(&s, dir, true, &err) == 0);
    int rc = life();
    if (full && !dir_sync) {
        CHECK(rc == ERR_STORAGE_FULL && !store_failed(s));
        CHECK(push(STR_LIT("more"), &(struct digest){DIGEST_SHA256, 32, {1}}, &st) == 0);
        return;
    }
    CHECK(rc == (full ? ERR_STORAGE_FULL : ERR_IO));
    CHECK(store_failed(s) && metric_value(METRIC_STORE_READONLY) == 1);
    CHECK(metric_value(METRIC_STORE_ERRORS) >= 1);
    /* for good: the fault is over, every change is still refused, reads go on */
    char id[33];
    struct staging *g = NULL;
    new_id(id);
    CHECK(staging_create(s, id, &g, &err) == ERR_READ_ONLY && staging_open(s, id, 0, &g, &err) == ERR_READ_ONLY);
    CHECK(staging_remove(s, id, &err) == ERR_READ_ONLY && store_trash(s, &kept, &err) == ERR_READ_ONLY);
    CHECK(store_trash_purge(s, &kept, &err) == ERR_READ_ONLY && store_quarantine(s, &kept, &err) == ERR_READ_ONLY);
    CHECK(store_key_write(s, "other", STR_LIT("x"), &err) == ERR_READ_ONLY);
    CHECK(store_verify(s, &kept, NULL, NULL, &st, &err) == 0);
}

static void failing_steps_break_the_store(void **state)
{
    (void)state;
    struct digest kept;
    put_blob(STR_LIT("kept"), &kept);
    for (size_t i = 0; i < 4 * ARRAY_LEN(steps); i++) {
        char arg[96];
        bool full = i % 2;
        const char *done = i / 2 % 2 ? ".done" : "";
        snprintf(arg, sizeof arg, "%s %s%s", full ? "ENOSPC" : "EIO", steps[i / 4], done);
        fault_set("fail:%s%s:1:%d", steps[i / 4], done, full ? ENOSPC : EIO);
        int status = in_program("broken_life", arg);
        if (status != 0)
            print_error("%s\n", arg);
        assert_int_equal(status, 0);
        store_close(s); /* a broken life leaves its files behind: a fresh place for the next */
        char cmd[160];
        snprintf(cmd, sizeof cmd, "rm -rf '%s'", dir);
        assert_int_equal(system(cmd), 0);
        ok(store_open(&s, dir, true, &err));
        put_blob(STR_LIT("kept"), &kept);
    }
}

static void broken_upload(const char *arg)
{
    (void)arg;
    char id[33];
    struct staging *g;
    struct blob_stat st;
    struct digest d = digest_of(STR_LIT("ab"));
    CHECK(store_open(&s, dir, true, &err) == 0);
    new_id(id);
    CHECK(staging_create(s, id, &g, &err) == 0 && staging_append(g, "ab", 2, &err) == 0);
    CHECK(staging_sync(g, &err) == ERR_STORAGE_FULL);
    /* the kernel forgot the pages: no later sync may call this file durable */
    CHECK(staging_sync(g, &err) == ERR_STORAGE_FULL && staging_append(g, "c", 1, &err) == ERR_STORAGE_FULL);
    CHECK(staging_publish(g, &d, &st, &err) == ERR_STORAGE_FULL && !there(file_of(&d)));
    staging_close(g);
    CHECK(!store_failed(s) && push(STR_LIT("ab"), &d, &st) == 0);
}

static void a_lost_sync_is_never_repeated(void **state)
{
    (void)state;
    fault_set("fail:store.upload.sync:1:%d", ENOSPC);
    assert_int_equal(in_program("broken_upload", ""), 0);
}

static void killed_life(const char *arg)
{
    (void)arg;
    CHECK(store_open(&s, dir, true, &err) == 0);
    CHECK(life() == 0);
}

/* Killed at a step, the next start finds whole blobs and whole keys, each in one place. */
static void killed_steps_leave_whole_files(void **state)
{
    (void)state;
    struct digest kept, a = digest_of(STR_LIT("life a")), b = digest_of(STR_LIT("life b"));
    put_blob(STR_LIT("kept"), &kept);
    ok(store_key_write(s, "key", STR_LIT("before"), &err));
    store_close(s);
    for (size_t i = 0; i < 2 * ARRAY_LEN(steps); i++) {
        fault_set("kill:%s%s:1", steps[i / 2], i % 2 ? ".done" : "");
        int status = in_program("killed_life", "");
        if (!WIFSIGNALED(status))
            print_error("%s was not passed\n", steps[i / 2]);
        assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ok(store_open(&s, dir, true, &err));
        ok(store_walk(s, "blobs", verify_each, NULL, &err));
        assert_true(there(file_of(&kept)));
        assert_true(there(file_of(&a)) + there(flat_of("trash", &a)) <= 1);
        assert_true(there(file_of(&b)) + there(flat_of("quarantine", &b)) <= 1);
        struct buf key;
        buf_init(&key, 64);
        ok(store_key_read(s, "key", &key, &err));
        assert_true(str_is(buf_view(&key), "before") || str_is(buf_view(&key), "secret"));
        buf_release(&key);
        ok(life()); /* and goes on */
        ok(store_key_write(s, "key", STR_LIT("before"), &err));
        assert_int_equal(unlink(flat_of("quarantine", &b)), 0);
        store_close(s);
    }
    s = NULL;
}

static void create_there(const char *arg)
{
    CHECK(store_open(&s, arg, true, &err) == 0);
}

/* store.json never stands without everything else; the next start completes the rest. */
static void killed_creation_resumes(void **state)
{
    (void)state;
    char where[128], json[160], last[160];
    store_close(s);
    for (int pass = 1;; pass++) {
        assert_true(pass < 50);
        snprintf(where, sizeof where, "%s/made%d", base, pass);
        snprintf(json, sizeof json, "%s/store.json", where);
        snprintf(last, sizeof last, "%s/blobs/sha512/ff", where);
        fault_set("kill:*:%d", pass);
        int status = in_program("create_there", where);
        assert_true(!there(json) || there(last));
        assert_true(status == 0 || WIFSIGNALED(status));
        ok(store_open(&s, where, true, &err));
        assert_true(there(json) && there(last));
        store_close(s);
        s = NULL;
        if (status == 0) {
            assert_true(pass >= 14); /* parent, two fan-outs, blobs, root, file, rename, root: before and after */
            break;
        }
    }
}

static int run_program(char **argv)
{
    static const struct {
        const char *name;
        void (*fn)(const char *);
    } programs[] = {{"broken_life", broken_life}, {"broken_upload", broken_upload},
                    {"killed_life", killed_life}, {"create_there", create_there}};
    snprintf(base, sizeof base, "%s", argv[2]);
    snprintf(dir, sizeof dir, "%s", argv[3]);
    CHECK(secret_setup(&err) == 0);
    for (size_t i = 0; i < ARRAY_LEN(programs); i++)
        if (strcmp(programs[i].name, argv[1]) == 0) {
            programs[i].fn(argv[4]);
            store_close(s);
            return 0;
        }
    return 3;
}
#endif

int main(int argc, char **argv)
{
#ifdef BERTH_FAULTS
    if (argc == 5)
        return run_program(argv);
#endif
    (void)argc;
    (void)argv;
#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
#define D(f) cmocka_unit_test_setup_teardown(f, set_up_on_disk, tear_down)
    const struct CMUnitTest tests[] = {
        T(layout_is_complete), T(reopening_changes_nothing), T(creation_is_asked_for),
        T(other_formats_are_refused), T(creation_resumes), T(uploads_elsewhere_are_refused),
        T(upload_grows_and_resumes), T(upload_that_lost_bytes_is_unknown), T(syncs_are_not_repeated),
        T(a_cut_upload_is_synced), D(publish_makes_a_blob), T(publish_uses_the_upload_up),
        T(publish_refuses_a_changed_length), T(publish_replaces_and_repairs), D(concurrent_publishes),
        T(digest_lock_excludes), T(trash_and_purge), T(walk_names_what_is_there),
        T(verify_paces_and_stops), T(import_checks_the_digest), T(keys_are_kept), T(links_are_refused),
        T(links_are_refused_without_openat2), T(full_volume_heals), T(running_out_of_descriptors_heals),
#ifdef BERTH_FAULTS
        T(failing_steps_break_the_store), T(a_lost_sync_is_never_repeated),
        T(killed_steps_leave_whole_files), T(killed_creation_resumes),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
