/* Open files of blobs, shared by all answers that a loop is sending from them: ten thousand readers of
 * one blob cost one descriptor. The table only knows files in use, so it never keeps the space of a
 * deleted blob. One loop's table is touched by that loop's thread only: answers are released there. */
#include "registry/blob_io.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BUCKETS = 256 };
struct blob_files {
    struct blob_file *bucket[BUCKETS];
};

struct blob_files *blob_files_new(size_t n) { return mem_zalloc(size_mul(n, sizeof(struct blob_files))); }

static struct blob_file **bucket_of(struct registry *g, int loop, const struct digest *d)
{
    return &g->files[loop].bucket[d->bytes[d->len - 1]];
}

static void file_free(struct shared *s)
{
    struct blob_file *f = (struct blob_file *)s, **at = f->bucket;
    while (*at != f)
        at = &(*at)->next;
    *at = f->next;
    (void)close(f->fd);
    free(f);
}

static bool look(int fd, struct blob_stat *ret)
{
    struct stat st;
    if (fstat(fd, &st) != 0)
        return false;
    *ret = (struct blob_stat){st.st_size, (int64_t)st.st_ino, st.st_ctim.tv_sec * INT64_C(1000000000) + st.st_ctim.tv_nsec};
    return true;
}

/* A file that was replaced, moved or unlinked has another change time: it is opened anew. */
static struct blob_file *in_use(struct blob_file *f, const struct digest *d, const struct blob_row *row, struct blob_stat *ret)
{
    for (; f; f = f->next)
        if (digest_eq(&f->digest, d) && look(f->fd, ret) && ret->ino == row->ino && ret->ctime_ns == row->ctime_ns)
            return (struct blob_file *)shared_ref(&f->shared);
    return NULL;
}

int blob_file_open(struct registry *g, int loop, const struct digest *d, const struct blob_row *row,
                   struct blob_file **ret, struct blob_stat *ret_stat, struct err *err)
{
    struct blob_file **bucket = bucket_of(g, loop, d), *f = in_use(*bucket, d, row, ret_stat);
    if (!f) {
        int fd, rc = store_open_blob(g->store, d, &fd, ret_stat, err);
        if (rc < 0)
            return rc;
        f = mem_zalloc(sizeof *f);
        shared_init(&f->shared, sizeof *f, file_free);
        f->digest = *d;
        f->fd = fd;
        f->bucket = bucket;
        f->next = *bucket;
        *bucket = f;
    }
    *ret = f;
    return 0;
}
