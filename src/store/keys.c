/* Small durable secrets below keys/. */
#include "store/store_int.h"

#include <stdio.h>
#include <unistd.h>

enum { KEY_NAME_MAX = 64, KEY_READ_STEP = 4096 };

static void check_name(const char *name)
{
    size_t n = strlen(name);
    BUG_ON(n == 0 || n > KEY_NAME_MAX || name[0] == '.' ||
           strspn(name, "abcdefghijklmnopqrstuvwxyz0123456789._-") != n);
}

int store_key_read(struct store *s, const char *name, struct buf *ret, struct err *err)
{
    check_name(name);
    auto_fd int fd = store_openat(s, s->keys, name, O_RDONLY | O_NONBLOCK, 0);
    if (fd < 0 && errno == ENOENT)
        return err_set(err, ERR_NOT_FOUND, "there is no keys/%s", name);
    if (fd < 0)
        return store_read_failed(err, "open the key", name);
    char piece[KEY_READ_STEP];
    for (;;) {
        ssize_t n = read(fd, piece, sizeof piece);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return store_read_failed(err, "read the key", name);
        if (n == 0)
            break;
        buf_add(ret, piece, (size_t)n);
    }
    explicit_bzero(piece, sizeof piece);
    return ret->overflow ? err_set(err, ERR_TOO_LARGE, "keys/%s is too large", name) : 0;
}

static int write_key(struct store *s, const char *name, struct str bytes, struct err *err)
{
    char temp[KEY_NAME_MAX + 8];
    snprintf(temp, sizeof temp, ".%s.new", name);
    if (unlinkat(s->keys, temp, 0) < 0 && errno != ENOENT) /* left by a crash */
        return store_change_failed(s, err, "remove the key", temp);
    auto_fd int fd = store_openat(s, s->keys, temp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || step_fault("store.key.write") < 0 || store_write_all(fd, bytes.p, bytes.n, 0) < 0 ||
        step_fault("store.key.write.done") < 0)
        return store_change_failed(s, err, "write the key", name);
    int rc = store_sync_file(s, fd, STEP("store.key.sync"), err);
    if (rc < 0)
        return rc;
    if (step_fault("store.key.rename") < 0 || renameat(s->keys, temp, s->keys, name) < 0 ||
        step_fault("store.key.rename.done") < 0)
        return store_change_failed(s, err, "put in place the key", name);
    return store_sync_plain(s, s->keys, STEP("store.key.dirsync"), err);
}

int store_key_write(struct store *s, const char *name, struct str bytes, struct err *err)
{
    check_name(name);
    int rc = store_writable(s, err);
    if (rc < 0)
        return rc;
    pthread_mutex_lock(&s->key_lock);
    rc = write_key(s, name, bytes, err);
    pthread_mutex_unlock(&s->key_lock);
    return rc;
}
