/* Private to src/store: directories, durable steps, and what a broken volume means. */
#ifndef STORE_STORE_INT_H
#define STORE_STORE_INT_H
#include "base/fault.h"
#include "base/metric.h"
#include "crypt/hash.h"
#include "store/store.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

/* Directories that are synced as a group: 256 fan-outs for each algorithm, then the flat ones. */
enum {
    STORE_FAN = 256,
    STORE_UPLOADS = 2 * STORE_FAN,
    STORE_TRASH,
    STORE_QUARANTINE,
    STORE_DIRS,
    STORE_STRIPES = 1024,
    STORE_ID_LEN = 32,
    STORE_NAME_MAX = 144, /* longest name below a store directory: "sha512/aa/<128 hex>" */
};

/* Shared syncs of one directory: whoever waits is covered by a sync that STARTED after its change. */
struct dir_group {
    pthread_mutex_t lock;
    pthread_cond_t done_cond;
    uint64_t started, done;
    bool running;
};

struct store {
    char *dir;
    char id[STORE_ID_LEN + 1];
    int root, blobs, uploads, trash, quarantine, keys;
    _Atomic bool failed;
    _Atomic bool no_openat2;
    pthread_mutex_t key_lock;
    pthread_mutex_t stripes[STORE_STRIPES];
    struct dir_group groups[STORE_DIRS];
};

/* A named step: the points before and after it (base/fault.h). */
struct step {
    const char *before, *done;
};
#define STEP(name) ((struct step){name, name ".done"})
/* 0, or -1 with errno when a test wants the step to fail. */
static inline int step_fault(const char *name)
{
    (void)name;
    int e = FAULT(name);
    if (e != 0)
        errno = e;
    return e != 0 ? -1 : 0;
}

/* ERR_READ_ONLY once the volume failed. */
int store_writable(const struct store *s, struct err *err);
void store_break(struct store *s);
/* A failed call that changes something, errno set: counted; EIO breaks the store. */
int store_change_failed(struct store *s, struct err *err, const char *what, const char *name);
/* A failed call that only reads, errno set. */
int store_read_failed(struct err *err, const char *what, const char *name);

/* open beneath `dir`, following no symbolic link in any component; -1 with errno. */
int store_openat(struct store *s, int dir, const char *path, int flags, mode_t mode);
/* fsync of file data. ENOSPC and EDQUOT lose only this file's unacknowledged bytes: the caller
 * must give the file up, the store stays. Any other failure breaks the store. */
int store_sync_file(struct store *s, int fd, struct step step, struct err *err);
/* Makes every change of the directory that happened before this call durable. Any failure
 * breaks the store. fd: the directory; group: its number. */
int store_sync_dir(struct store *s, int fd, int group, struct step step, struct err *err);
/* The same without sharing, for directories that are synced rarely. */
int store_sync_plain(struct store *s, int fd, struct step step, struct err *err);
int store_write_all(int fd, const void *p, size_t n, int64_t offset); /* -1 with errno */

/* The digest's names: directory number, "sha256/aa", its file, and "sha256-<hex>". */
struct blob_name {
    int group;
    char dir[16], file[130], flat[STORE_NAME_MAX];
};
void store_blob_name(const struct digest *d, struct blob_name *ret);
int store_open_fan(struct store *s, const struct blob_name *n, struct err *err); /* fd or ERR_ */
struct blob_stat store_stat_of(const struct stat *st);

/* layout.c */
int store_layout_open(struct store *s, const char *dir, bool create, struct err *err);
#endif
