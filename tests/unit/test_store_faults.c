/* The store when things go wrong: planted links, a full volume, no descriptors left, and every durable
 * step broken or cut (in builds with -Dfaults=true, one process a step). */
#include "store_box.h"

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
    const struct CMUnitTest tests[] = {
        T(links_are_refused), T(links_are_refused_without_openat2), T(full_volume_heals),
        T(running_out_of_descriptors_heals),
#ifdef BERTH_FAULTS
        T(failing_steps_break_the_store), T(a_lost_sync_is_never_repeated),
        T(killed_steps_leave_whole_files), T(killed_creation_resumes),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
