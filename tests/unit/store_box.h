/* A store in a directory of its own, for the tests of src/store. */
#ifndef TESTS_STORE_BOX_H
#define TESTS_STORE_BOX_H
#include "base/metric.h"
#include "crypt/hash.h"
#include "crypt/secret.h"
#include "memory.h"
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

#define UNUSED __attribute__((unused))

static char base[64], dir[128];
static struct store *s;
static struct err err;

UNUSED static const char *path_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
UNUSED static const char *path_of(const char *fmt, ...)
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

UNUSED static bool there(const char *path)
{
    struct stat st;
    return lstat(path, &st) == 0;
}

UNUSED static void spill(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, text, strlen(text)), strlen(text));
    close(fd);
}

UNUSED static void slurp(const char *path, char *out, size_t n)
{
    int fd = open(path, O_RDONLY);
    assert_true(fd >= 0);
    ssize_t r = read(fd, out, n - 1);
    assert_true(r >= 0);
    out[r] = '\0';
    close(fd);
}

UNUSED static void ok(int rc)
{
    if (rc != 0)
        print_error("%s: %s\n", err_name(rc), err.text);
    assert_int_equal(rc, 0);
}

UNUSED static void fails(int rc, int code)
{
    if (rc != code)
        print_error("got %s (%s), wanted %s\n", rc == 0 ? "0" : err_name(rc), err.text, err_name(code));
    assert_int_equal(rc, code);
}

UNUSED static struct digest digest_of(struct str bytes)
{
    struct digest d;
    hash_bytes(DIGEST_SHA256, bytes.p, bytes.n, &d);
    return d;
}

UNUSED static const char *file_of(const struct digest *d)
{
    char hex[129];
    hex_encode(hex, d->bytes, d->len);
    return path_of("blobs/%s/%02x/%s", digest_alg_name((enum digest_alg)d->alg), d->bytes[0], hex);
}

UNUSED static const char *flat_of(const char *where, const struct digest *d)
{
    char hex[129];
    hex_encode(hex, d->bytes, d->len);
    return path_of("%s/%s-%s", where, digest_alg_name((enum digest_alg)d->alg), hex);
}

UNUSED static void new_id(char id[33]) { secret_random_hex(id, 16); }

UNUSED static int push(struct str bytes, const struct digest *d, struct blob_stat *ret)
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

UNUSED static void put_blob(struct str bytes, struct digest *ret)
{
    struct blob_stat st;
    *ret = digest_of(bytes);
    ok(push(bytes, ret, &st));
    assert_int_equal(st.size, bytes.n);
}

UNUSED static int set_up_at(const char *tmp)
{
    snprintf(base, sizeof base, "%.40s/berth-XXXXXX", tmp);
    assert_non_null(mkdtemp(base));
    snprintf(dir, sizeof dir, "%s/data", base);
    ok(secret_setup(&err));
    ok(store_open(&s, dir, true, &err));
    return 0;
}

/* In memory: syncs are tried by their return and count here, and a disk would make minutes of them. */
UNUSED static int set_up(void **state)
{
    (void)state;
    return set_up_at(memory_dir());
}

UNUSED static int set_up_on_disk(void **state)
{
    (void)state;
    const char *tmp = getenv("TMPDIR");
    return set_up_at(tmp != NULL ? tmp : "/tmp");
}

UNUSED static int tear_down(void **state)
{
    (void)state;
    store_close(s);
    s = NULL;
    char cmd[128];
    snprintf(cmd, sizeof cmd, "rm -rf '%s'", base);
    return system(cmd);
}

/* Runs fn in a forked child and gives its wait status; assertions in the child end it with 1. */
UNUSED static int in_child(void (*fn)(void *), void *arg)
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

UNUSED static int verify_each(void *arg, const char *name, const struct blob_stat *st)
{
    struct digest d;
    struct blob_stat have;
    (void)arg;
    return digest_parse(str_of(name), &d, &err) < 0 ? -1
           : store_verify(s, &d, NULL, NULL, &have, &err) < 0 || have.ino != st->ino ? -1 : 0;
}

#endif
