/* The opened store: life cycle, digest locks, and how it fails. See store.h. */
#include "store/store_int.h"

#include "base/hashkey.h"

#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

static pthread_mutex_t *stripe_of(struct store *s, const struct digest *d)
{
    /* Keyed, so that nobody can choose digests that wait for one another. */
    uint64_t h = hashkey((struct str){(const char *)d->bytes, d->len});
    return &s->stripes[h % STORE_STRIPES];
}

void store_lock(struct store *s, const struct digest *d)
{
    BUG_ON(pthread_mutex_lock(stripe_of(s, d)) != 0);
}

void store_unlock(struct store *s, const struct digest *d)
{
    BUG_ON(pthread_mutex_unlock(stripe_of(s, d)) != 0);
}

bool store_failed(const struct store *s) { return atomic_load(&s->failed); }

void store_break(struct store *s)
{
    atomic_store(&s->failed, true);
    metric_set(METRIC_STORE_READONLY, 1);
}

int store_writable(const struct store *s, struct err *err)
{
    if (!store_failed(s))
        return 0;
    return err_set(err, ERR_READ_ONLY,
                   "the data volume failed to keep a write: nothing is stored until the volume is "
                   "repaired and the server restarted");
}

static int code_of_errno(void)
{
    /* Out of descriptors or memory passes; it says nothing about the volume. */
    return errno == EMFILE || errno == ENFILE || errno == ENOMEM ? ERR_UNAVAILABLE : ERR_IO;
}

int store_change_failed(struct store *s, struct err *err, const char *what, const char *name)
{
    metric_add(METRIC_STORE_ERRORS, 1);
    if (errno == EIO)
        store_break(s);
    return err_sys(err, code_of_errno(), "cannot %s %s", what, name);
}

int store_read_failed(struct err *err, const char *what, const char *name)
{
    metric_add(METRIC_STORE_ERRORS, 1);
    return err_sys(err, code_of_errno(), "cannot %s %s", what, name);
}

int store_free_bytes(struct store *s, int64_t *ret, struct err *err)
{
    struct statvfs v;
    if (fstatvfs(s->root, &v) < 0)
        return store_read_failed(err, "ask the free space of", s->dir);
    uint64_t bytes;
    if (__builtin_mul_overflow((uint64_t)v.f_bavail, (uint64_t)v.f_frsize, &bytes) ||
        bytes > INT64_MAX)
        bytes = INT64_MAX;
    *ret = (int64_t)bytes;
    return 0;
}

const char *store_dir(const struct store *s) { return s->dir; }
const char *store_id(const struct store *s) { return s->id; }

int store_open(struct store **ret, const char *data_dir, bool create, struct err *err)
{
    struct store *s = mem_zalloc(sizeof *s);
    s->root = s->blobs = s->uploads = s->trash = s->quarantine = s->keys = -1;
    BUG_ON(pthread_mutex_init(&s->key_lock, NULL) != 0);
    for (size_t i = 0; i < STORE_STRIPES; i++)
        BUG_ON(pthread_mutex_init(&s->stripes[i], NULL) != 0);
    for (size_t i = 0; i < STORE_DIRS; i++) {
        BUG_ON(pthread_mutex_init(&s->groups[i].lock, NULL) != 0);
        BUG_ON(pthread_cond_init(&s->groups[i].done_cond, NULL) != 0);
    }
    metric_set(METRIC_STORE_READONLY, 0);
    int rc = store_layout_open(s, data_dir, create, err);
    if (rc < 0) {
        store_close(s);
        return rc;
    }
    *ret = s;
    return 0;
}

void store_close(struct store *s)
{
    if (s == NULL)
        return;
    const int fds[] = {s->root, s->blobs, s->uploads, s->trash, s->quarantine, s->keys};
    for (size_t i = 0; i < ARRAY_LEN(fds); i++)
        if (fds[i] >= 0)
            close(fds[i]);
    pthread_mutex_destroy(&s->key_lock);
    for (size_t i = 0; i < STORE_STRIPES; i++)
        pthread_mutex_destroy(&s->stripes[i]);
    for (size_t i = 0; i < STORE_DIRS; i++) {
        pthread_mutex_destroy(&s->groups[i].lock);
        pthread_cond_destroy(&s->groups[i].done_cond);
    }
    free(s->dir);
    free(s);
}
