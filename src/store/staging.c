/* Uploads in the making: append, sync, and the step that turns one into a blob. */
#include "store/store_int.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { WRITE_BACK_STEP = 8 << 20 };

struct staging {
    struct store *s;
    char id[STORE_ID_LEN + 1];
    int fd;
    int replaced;       /* the blob's file whose place it took; -1 none */
    int64_t size;
    int64_t synced;     /* bytes known to be durable; -1: not even an empty file is */
    int64_t write_back; /* write-back was started up to here */
    bool entry_synced;  /* the directory entry is durable */
    bool published;     /* it is a blob now, and nobody's to change */
    bool broken;        /* a sync lost bytes: the file can only be thrown away */
};

static void check_id(const char *id)
{
    BUG_ON(strlen(id) != STORE_ID_LEN || strspn(id, "0123456789abcdef") != STORE_ID_LEN);
}

static struct staging *staging_new(struct store *s, const char *id, int fd, int64_t size)
{
    struct staging *g = mem_zalloc(sizeof *g);
    g->s = s;
    memcpy(g->id, id, STORE_ID_LEN);
    g->fd = fd;
    g->replaced = -1;
    g->size = g->write_back = size;
    g->synced = -1;
    return g;
}

int staging_create(struct store *s, const char *id, struct staging **ret, struct err *err)
{
    check_id(id);
    int rc = store_writable(s, err);
    if (rc < 0)
        return rc;
    auto_fd int fd = -1;
    if (step_fault("store.upload.create") == 0)
        fd = store_openat(s, s->uploads, id, O_RDWR | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || step_fault("store.upload.create.done") < 0)
        return store_change_failed(s, err, "make the upload", id);
    *ret = staging_new(s, id, take_fd(&fd), 0);
    return 0;
}

int staging_open(struct store *s, const char *id, int64_t size, struct staging **ret, struct err *err)
{
    check_id(id);
    int rc = store_writable(s, err);
    if (rc < 0)
        return rc;
    auto_fd int fd = store_openat(s, s->uploads, id, O_RDWR | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_BLOB_UPLOAD_UNKNOWN, "the bytes of this upload are gone; start it again");
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return store_read_failed(err, "open the upload", id);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CORRUPT, "the upload %s is no regular file", id);
    if (st.st_size < size)
        return err_set(err, ERR_BLOB_UPLOAD_UNKNOWN,
                       "%lld of the %lld bytes of this upload are there; start it again",
                       (long long)st.st_size, (long long)size);
    if (st.st_size > size && ftruncate(fd, (off_t)size) < 0)
        return store_change_failed(s, err, "cut back the upload", id);
    struct staging *g = staging_new(s, id, take_fd(&fd), size);
    /* Acknowledged bytes went through staging_sync, which made the entry durable as well. A cut is
     * not durable yet, so it counts as unsynced. */
    g->entry_synced = size > 0;
    g->synced = size > 0 && st.st_size == size ? size : -1;
    *ret = g;
    return 0;
}

static int usable(const struct staging *g, struct err *err)
{
    if (g->broken)
        return err_set(err, ERR_STORAGE_FULL, "this upload lost bytes to a full volume; start it again");
    return store_writable(g->s, err);
}

int staging_append(struct staging *g, const void *p, size_t n, struct err *err)
{
    int rc = usable(g, err);
    if (rc < 0 || n == 0)
        return rc;
    if (step_fault("store.upload.write") < 0 || store_write_all(g->fd, p, n, g->size) < 0) {
        rc = store_change_failed(g->s, err, "write the upload", g->id);
        /* The part that was written is not counted; the next append or open overwrites it. */
        if (ftruncate(g->fd, (off_t)g->size) < 0)
            g->broken = true;
        return rc;
    }
    g->size += (int64_t)n;
    if (g->size - g->write_back >= WRITE_BACK_STEP) {
        /* Only a hint; an error of the write-back itself is reported by the sync. */
        (void)sync_file_range(g->fd, g->write_back, g->size - g->write_back, SYNC_FILE_RANGE_WRITE);
        g->write_back = g->size;
    }
    return 0;
}

int64_t staging_size(const struct staging *g) { return g->size; }

int staging_read(struct staging *g, int64_t offset, void *p, size_t n, size_t *ret_n, struct err *err)
{
    char *at = p;
    size_t have = 0;
    while (have < n) {
        ssize_t r = pread(g->fd, at + have, n - have, (off_t)(offset + (int64_t)have));
        if (r < 0 && errno == EINTR)
            continue;
        if (r < 0)
            return store_read_failed(err, "read the upload", g->id);
        if (r == 0)
            break;
        have += (size_t)r;
    }
    *ret_n = have;
    return 0;
}

static int sync_data(struct staging *g, struct step step, struct err *err)
{
    if (g->synced == g->size)
        return 0;
    int rc = store_sync_file(g->s, g->fd, step, err);
    if (rc < 0)
        g->broken = true; /* the kernel forgets pages whose write-back failed: never sync again */
    else
        g->synced = g->size;
    return rc;
}

int staging_sync(struct staging *g, struct err *err)
{
    int rc = usable(g, err);
    if (rc < 0 || (rc = sync_data(g, STEP("store.upload.sync"), err)) < 0)
        return rc;
    if (g->entry_synced)
        return 0;
    rc = store_sync_dir(g->s, g->s->uploads, STORE_UPLOADS, STEP("store.uploads.dirsync"), err);
    g->entry_synced = rc == 0;
    return rc;
}

void staging_cut(struct staging *g, int64_t size)
{
    /* Not synced: bytes that come back are cut by the next open, and nobody was promised that they go. */
    if (!g->published && g->size > size && ftruncate(g->fd, (off_t)size) == 0)
        g->size = g->write_back = size;
}

bool staging_replaced(const struct staging *g)
{
    return g != NULL && g->replaced >= 0;
}

void staging_close(struct staging *g)
{
    if (g == NULL)
        return;
    close(g->fd);
    if (g->replaced >= 0)
        close(g->replaced);
    free(g);
}

int staging_remove(struct store *s, const char *id, struct err *err)
{
    check_id(id);
    int rc = store_writable(s, err);
    if (rc < 0)
        return rc;
    /* Not synced: a file that comes back after a power cut has no row and is reaped as an orphan. */
    if (unlinkat(s->uploads, id, 0) < 0 && errno != ENOENT)
        return store_change_failed(s, err, "remove the upload", id);
    return 0;
}

/* Data before the name, the name before the answer: a crash at any point leaves either no blob or
 * a whole one. The upload's old entry needs no sync of its own: if it came back it would be an
 * orphan in uploads/, which is reaped. */
int staging_publish(struct staging *g, const struct digest *d, struct blob_stat *ret, struct err *err)
{
    struct store *s = g->s;
    struct stat st;
    int rc = usable(g, err);
    if (rc < 0)
        return rc;
    if (fstat(g->fd, &st) < 0)
        return store_read_failed(err, "stat the upload", g->id);
    if (st.st_size != g->size)
        return err_set(err, ERR_CORRUPT, "the upload %s has %lld bytes where %lld were written", g->id,
                       (long long)st.st_size, (long long)g->size);
    if ((rc = sync_data(g, STEP("store.blob.sync"), err)) < 0)
        return rc;
    struct blob_name name;
    store_blob_name(d, &name);
    auto_fd int fan = store_open_fan(s, &name, err);
    if (fan < 0)
        return fan;
    /* Held, or the rename would free its blocks first: the time would tell that it was there. */
    g->replaced = store_openat(s, fan, name.file, O_PATH, 0);
    if (step_fault("store.blob.rename") < 0 || renameat(s->uploads, g->id, fan, name.file) < 0) {
        if (errno == ENOENT)
            return err_set(err, ERR_BLOB_UPLOAD_UNKNOWN, "the bytes of this upload are gone; start it again");
        return store_change_failed(s, err, "put in place the upload", g->id);
    }
    g->published = true;
    if (step_fault("store.blob.rename.done") < 0)
        return store_change_failed(s, err, "put in place the upload", g->id);
    if ((rc = store_sync_dir(s, fan, name.group, STEP("store.blob.dirsync"), err)) < 0)
        return rc;
    if (fstat(g->fd, &st) < 0) /* again: the rename changed ctime */
        return store_read_failed(err, "stat the blob", name.flat);
    *ret = store_stat_of(&st);
    return 0;
}
