/* Blobs in place: open, verify, move aside, import. */
#include "store/store_int.h"

#include "crypt/secret.h"

#include <stdio.h>
#include <unistd.h>

enum { READ_STEP = 1 << 20 };

/* -1 with errno; O_NONBLOCK so that a planted pipe cannot hold the caller. */
static int open_in_blobs(struct store *s, const struct blob_name *n)
{
    char path[STORE_NAME_MAX + 4];
    snprintf(path, sizeof path, "%s/%s", n->dir, n->file);
    return store_openat(s, s->blobs, path, O_RDONLY | O_NONBLOCK, 0);
}

/* Takes an open result and its errno to a checked descriptor. */
static int check_file(int fd, const struct blob_name *n, int *ret_fd, struct blob_stat *ret, struct err *err)
{
    auto_fd int held = fd;
    struct stat st;
    if (held < 0 && errno == ENOENT)
        return err_set(err, ERR_BLOB_UNKNOWN, "the blob %s is not in the store", n->flat);
    if (held < 0 && errno == ELOOP)
        return err_set(err, ERR_CORRUPT, "the blob %s is no regular file", n->flat);
    if (held < 0 || fstat(held, &st) < 0)
        return store_read_failed(err, "open the blob", n->flat);
    if (!S_ISREG(st.st_mode))
        return err_set(err, ERR_CORRUPT, "the blob %s is no regular file", n->flat);
    *ret = store_stat_of(&st);
    *ret_fd = take_fd(&held);
    return 0;
}

int store_open_blob(struct store *s, const struct digest *d, int *ret_fd, struct blob_stat *ret, struct err *err)
{
    struct blob_name n;
    store_blob_name(d, &n);
    return check_file(open_in_blobs(s, &n), &n, ret_fd, ret, err);
}

int store_open_any(struct store *s, const struct digest *d, int *ret_fd, struct err *err)
{
    struct blob_name n;
    struct blob_stat st;
    store_blob_name(d, &n);
    int fd = open_in_blobs(s, &n);
    if (fd < 0 && errno == ENOENT)
        fd = store_openat(s, s->trash, n.flat, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT) /* pushed again between the two looks */
        fd = open_in_blobs(s, &n);
    return check_file(fd, &n, ret_fd, &st, err);
}

int store_verify(struct store *s, const struct digest *d, int (*pace)(void *, size_t), void *arg,
                 struct blob_stat *ret, struct err *err)
{
    struct blob_stat st; /* taken before the first read: a change during it shows later */
    auto_fd int fd = -1;
    int rc = store_open_blob(s, d, &fd, &st, err);
    if (rc < 0)
        return rc;
    struct hash h;
    hash_init(&h, (enum digest_alg)d->alg);
    auto_free char *piece = mem_alloc(READ_STEP);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    for (;;) {
        ssize_t n = read(fd, piece, READ_STEP);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return store_read_failed(err, "read a blob below", s->dir);
        if (n == 0)
            break;
        hash_update(&h, piece, (size_t)n);
        if (pace != NULL && (rc = pace(arg, (size_t)n)) != 0)
            return err_set(err, rc, "the verification was stopped");
    }
    struct digest have;
    hash_final(&h, &have);
    if (!digest_eq(&have, d)) {
        char want[DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];
        return err_set(err, ERR_CORRUPT, "the file of blob %s has the digest %s", digest_text(d, want),
                       digest_text(&have, text));
    }
    *ret = st;
    return 0;
}

/* The directory of a blob that is to be moved: a descriptor, or a negative code. */
static int open_to_move(struct store *s, const struct digest *d, struct blob_name *n, struct err *err)
{
    store_blob_name(d, n);
    int rc = store_writable(s, err);
    return rc < 0 ? rc : store_open_fan(s, n, err);
}

/* Moves a blob to a flat directory. Both directories are synced, the new name first, so that the
 * file is never in neither and does not come back without a row. */
static int move_aside(struct store *s, const struct digest *d, int to, int group, struct step rename_step,
                      struct step sync_step, struct err *err)
{
    struct blob_name n;
    auto_fd int fan = open_to_move(s, d, &n, err);
    if (fan < 0)
        return fan;
    /* An absent file may be one whose move was not synced before a crash: sync all the same. */
    if (step_fault(rename_step.before) < 0 ||
        (renameat(fan, n.file, to, n.flat) < 0 && errno != ENOENT) || step_fault(rename_step.done) < 0)
        return store_change_failed(s, err, "move aside the blob", n.flat);
    int rc = store_sync_dir(s, to, group, sync_step, err);
    return rc < 0 ? rc : store_sync_dir(s, fan, n.group, sync_step, err);
}

int store_trash(struct store *s, const struct digest *d, struct err *err)
{
    return move_aside(s, d, s->trash, STORE_TRASH, STEP("store.trash.rename"),
                      STEP("store.trash.dirsync"), err);
}

int store_quarantine(struct store *s, const struct digest *d, struct err *err)
{
    return move_aside(s, d, s->quarantine, STORE_QUARANTINE, STEP("store.quarantine.rename"),
                      STEP("store.quarantine.dirsync"), err);
}

int store_untrash(struct store *s, const struct digest *d, struct err *err)
{
    struct blob_name n;
    auto_fd int fan = open_to_move(s, d, &n, err);
    if (fan < 0)
        return fan;
    if (faccessat(fan, n.file, F_OK, AT_SYMLINK_NOFOLLOW) < 0 &&
        renameat(s->trash, n.flat, fan, n.file) < 0 && errno != ENOENT)
        return store_change_failed(s, err, "take back from the trash", n.flat);
    return store_sync_dir(s, fan, n.group, STEP("store.blob.dirsync"), err);
}

int store_trash_purge(struct store *s, const struct digest *d, struct err *err)
{
    struct blob_name n;
    store_blob_name(d, &n);
    int rc = store_writable(s, err);
    if (rc < 0)
        return rc;
    /* Not synced: what comes back after a power cut is in trash/ again and is purged again. */
    if (step_fault("store.trash.unlink") < 0 ||
        (unlinkat(s->trash, n.flat, 0) < 0 && errno != ENOENT) ||
        step_fault("store.trash.unlink.done") < 0)
        return store_change_failed(s, err, "remove from the trash", n.flat);
    return 0;
}

static int import_bytes(struct staging *g, const struct digest *d,
                        int (*next)(void *arg, const void **p, size_t *n, struct err *err), void *arg,
                        struct err *err)
{
    struct hash h;
    struct digest have;
    hash_init(&h, (enum digest_alg)d->alg);
    for (;;) {
        const void *p = NULL;
        size_t n = 0;
        int rc = next(arg, &p, &n, err);
        if (rc < 0)
            return rc;
        if (n == 0)
            break;
        if ((rc = staging_append(g, p, n, err)) < 0)
            return rc;
        hash_update(&h, p, n);
    }
    hash_final(&h, &have);
    if (digest_eq(&have, d))
        return 0;
    char want[DIGEST_TEXT_MAX], text[DIGEST_TEXT_MAX];
    return err_set(err, ERR_DIGEST_INVALID, "the bytes given for %s have the digest %s",
                   digest_text(d, want), digest_text(&have, text));
}

int store_import(struct store *s, const struct digest *d,
                 int (*next)(void *arg, const void **p, size_t *n, struct err *err), void *arg,
                 struct blob_stat *ret, struct err *err)
{
    char id[STORE_ID_LEN + 1];
    struct staging *g;
    secret_random_hex(id, STORE_ID_LEN / 2);
    int rc = staging_create(s, id, &g, err);
    if (rc < 0)
        return rc;
    rc = import_bytes(g, d, next, arg, err);
    if (rc == 0) {
        store_lock(s, d);
        rc = staging_publish(g, d, ret, err);
        store_unlock(s, d);
    }
    if (rc < 0)
        (void)staging_remove(s, id, NULL);
    staging_close(g);
    return rc;
}
