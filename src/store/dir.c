/* Names and directories: opening without following links, full writes, and syncs.
 *
 * A directory sync is shared. Eight pushes that renamed into one directory need one fsync, if it
 * started after all of the renames; a sync that is already under way may have missed them, so
 * they wait for the next one, which one of them runs. Across directories the file system's own
 * journal does the grouping (docs/adr/0005-storage-syncs.md has the measurement). */
#include "store/store_int.h"

#include <linux/openat2.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Before Linux 5.6, or under a filter that does not know openat2: one component at a time. */
static int open_components(int dir, const char *path, int flags, mode_t mode)
{
    auto_fd int held = -1;
    struct str rest = str_of(path), part;
    while (str_split(&rest, '/', &part)) {
        char name[STORE_NAME_MAX];
        BUG_ON(part.n == 0 || part.n >= sizeof name);
        memcpy(name, part.p, part.n);
        name[part.n] = '\0';
        bool last = rest.p == NULL || rest.n == 0;
        int from = held >= 0 ? held : dir;
        int fd = last ? openat(from, name, flags | O_NOFOLLOW | O_CLOEXEC, mode)
                      : openat(from, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || last)
            return fd;
        if (held >= 0)
            close(held);
        held = fd;
    }
    errno = ENOENT;
    return -1;
}

int store_openat(struct store *s, int dir, const char *path, int flags, mode_t mode)
{
    if (!atomic_load_explicit(&s->no_openat2, memory_order_relaxed)) {
        struct open_how how = {
            .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
            .mode = mode,
            .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS,
        };
        long fd;
        do /* EAGAIN: a rename or mount raced with the look-up */
            fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
        while (fd < 0 && (errno == EAGAIN || errno == EINTR));
        if (fd >= 0 || (errno != ENOSYS && errno != EPERM))
            return (int)fd;
        if (errno == ENOSYS)
            atomic_store_explicit(&s->no_openat2, true, memory_order_relaxed);
    }
    return open_components(dir, path, flags, mode);
}

int store_write_all(int fd, const void *p, size_t n, int64_t offset)
{
    const char *at = p;
    while (n > 0) {
        ssize_t w = pwrite(fd, at, n, (off_t)offset);
        if (w < 0 && errno == EINTR)
            continue;
        if (w <= 0) {
            if (w == 0)
                errno = EIO;
            return -1;
        }
        at += w;
        n -= (size_t)w;
        offset += w;
    }
    return 0;
}

int store_sync_file(struct store *s, int fd, struct step step, struct err *err)
{
    metric_add(METRIC_FSYNCS, 1);
    if (step_fault(step.before) == 0 && fdatasync(fd) == 0 && step_fault(step.done) == 0)
        return 0;
    metric_add(METRIC_STORE_ERRORS, 1);
    if (errno != ENOSPC && errno != EDQUOT)
        store_break(s);
    return err_sys(err, ERR_IO, "cannot make a file durable (%s)", step.before);
}

int store_sync_plain(struct store *s, int fd, struct step step, struct err *err)
{
    metric_add(METRIC_FSYNCS, 1);
    if (step_fault(step.before) == 0 && fsync(fd) == 0 && step_fault(step.done) == 0)
        return 0;
    metric_add(METRIC_STORE_ERRORS, 1);
    store_break(s);
    return err_sys(err, ERR_IO, "cannot make a directory durable (%s)", step.before);
}

int store_sync_dir(struct store *s, int fd, int group, struct step step, struct err *err)
{
    struct dir_group *g = &s->groups[group];
    int rc = 0;
    pthread_mutex_lock(&g->lock);
    uint64_t want = g->started + 1; /* the first sync that starts from here on */
    while (g->done < want && rc == 0) {
        if (g->running) {
            pthread_cond_wait(&g->done_cond, &g->lock);
            continue;
        }
        g->running = true;
        uint64_t mine = ++g->started;
        pthread_mutex_unlock(&g->lock);
        rc = store_sync_plain(s, fd, step, err);
        pthread_mutex_lock(&g->lock);
        g->running = false;
        g->done = mine;
        pthread_cond_broadcast(&g->done_cond);
    }
    pthread_mutex_unlock(&g->lock);
    /* The sync that covered us may have failed in another thread: then the store is broken. */
    return rc < 0 ? rc : store_writable(s, err);
}

void store_blob_name(const struct digest *d, struct blob_name *ret)
{
    const char *alg = digest_alg_name((enum digest_alg)d->alg);
    BUG_ON(d->alg != DIGEST_SHA256 && d->alg != DIGEST_SHA512);
    ret->group = (d->alg - DIGEST_SHA256) * STORE_FAN + d->bytes[0];
    snprintf(ret->dir, sizeof ret->dir, "%s/%02x", alg, d->bytes[0]);
    hex_encode(ret->file, d->bytes, d->len);
    snprintf(ret->flat, sizeof ret->flat, "%s-%s", alg, ret->file);
}

int store_open_fan(struct store *s, const struct blob_name *n, struct err *err)
{
    int fd = store_openat(s, s->blobs, n->dir, O_RDONLY | O_DIRECTORY, 0);
    return fd >= 0 ? fd : store_change_failed(s, err, "open the directory blobs/", n->dir);
}

struct blob_stat store_stat_of(const struct stat *st)
{
    return (struct blob_stat){
        .size = st->st_size,
        .ino = (int64_t)st->st_ino,
        .ctime_ns = (int64_t)st->st_ctim.tv_sec * 1000000000 + st->st_ctim.tv_nsec,
    };
}
