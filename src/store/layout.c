/* The data directory: made once, step by step and resumable (store.json comes last and says that
 * everything else is there), and checked at each start. */
#include "store/store_int.h"

#include "base/json.h"
#include "crypt/secret.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { STORE_FORMAT = 1, STORE_JSON_MAX = 4096, STORE_PATH_MAX = 4096 };

/* `sync` turns true when an entry was made. */
static int make_dir(struct store *s, int at, const char *name, bool *sync, struct err *err)
{
    struct stat st;
    if (mkdirat(at, name, 0700) == 0) {
        *sync = true;
        return 0;
    }
    if (errno != EEXIST || fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return store_change_failed(s, err, "make the directory", name);
    return S_ISDIR(st.st_mode)
               ? 0
               : err_set(err, ERR_CORRUPT, "%s: %s in the store is no directory", s->dir, name);
}

static int open_dir(struct store *s, const char *name, int *ret, struct err *err)
{
    int fd = store_openat(s, s->root, name, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open the directory %s/%s", s->dir, name);
    *ret = fd;
    return 0;
}

static int make_fans(struct store *s, const char *alg, bool sync, bool *sync_blobs, struct err *err)
{
    int rc = make_dir(s, s->blobs, alg, sync_blobs, err);
    if (rc < 0)
        return rc;
    auto_fd int fd = store_openat(s, s->blobs, alg, O_RDONLY | O_DIRECTORY, 0);
    if (fd < 0)
        return err_sys(err, ERR_IO, "cannot open the directory %s/blobs/%s", s->dir, alg);
    for (unsigned i = 0; i < STORE_FAN && rc == 0; i++) {
        char name[4];
        snprintf(name, sizeof name, "%02x", i & 0xffu);
        rc = make_dir(s, fd, name, &sync, err);
    }
    return rc < 0 || !sync ? rc : store_sync_plain(s, fd, STEP("store.create.fansync"), err);
}

/* Directories may exist already, in whole or in part. In a store that is not complete yet (fresh)
 * a creation that was cut may have made them without the sync, so all are synced. */
static int make_layout(struct store *s, bool fresh, struct err *err)
{
    static const char *const names[] = {"blobs", "uploads", "trash", "quarantine", "keys"};
    bool sync = fresh, sync_blobs = fresh;
    int rc = 0;
    for (size_t i = 0; i < ARRAY_LEN(names) && rc == 0; i++)
        rc = make_dir(s, s->root, names[i], &sync, err);
    if (rc < 0 || (rc = open_dir(s, "blobs", &s->blobs, err)) < 0 ||
        (rc = make_fans(s, "sha256", fresh, &sync_blobs, err)) < 0 ||
        (rc = make_fans(s, "sha512", fresh, &sync_blobs, err)) < 0)
        return rc;
    if (sync_blobs && (rc = store_sync_plain(s, s->blobs, STEP("store.create.fansync"), err)) < 0)
        return rc;
    return sync ? store_sync_plain(s, s->root, STEP("store.create.dirsync"), err) : 0;
}

static int write_json(struct store *s, struct err *err)
{
    static const char temp[] = "store.json.new";
    char text[128];
    secret_random_hex(s->id, STORE_ID_LEN / 2);
    int n = snprintf(text, sizeof text, "{\"format\":%d,\"id\":\"%s\"}\n", STORE_FORMAT, s->id);
    if (unlinkat(s->root, temp, 0) < 0 && errno != ENOENT)
        return store_change_failed(s, err, "remove", temp);
    auto_fd int fd = store_openat(s, s->root, temp, O_WRONLY | O_CREAT | O_EXCL, 0600);
    if (fd < 0 || store_write_all(fd, text, (size_t)n, 0) < 0)
        return store_change_failed(s, err, "write", temp);
    int rc = store_sync_file(s, fd, STEP("store.create.sync"), err);
    if (rc < 0)
        return rc;
    if (step_fault("store.create.rename") < 0 ||
        renameat(s->root, temp, s->root, "store.json") < 0 ||
        step_fault("store.create.rename.done") < 0)
        return store_change_failed(s, err, "rename", temp);
    return store_sync_plain(s, s->root, STEP("store.create.dirsync"), err);
}

static int check_json(struct store *s, int fd, struct err *err)
{
    char text[STORE_JSON_MAX];
    ssize_t n = pread(fd, text, sizeof text, 0);
    if (n < 0)
        return store_read_failed(err, "read", "store.json");
    json_t *json = NULL;
    struct json_caps caps = {STORE_JSON_MAX - 1, 4, 64};
    int rc = json_strict((struct str){text, (size_t)n}, caps, &json, err);
    if (rc < 0)
        return err_set(err, ERR_CORRUPT, "%s/store.json is damaged", s->dir);
    json_t *format = json_object_get(json, "format");
    json_int_t number = json_is_integer(format) ? json_integer_value(format) : 0;
    const char *id = json_string_value(json_object_get(json, "id"));
    if (id != NULL)
        text_copy(s->id, sizeof s->id, str_of(id));
    if (number > STORE_FORMAT)
        rc = err_set(err, ERR_UNSUPPORTED,
                     "%s has store format %lld, this program knows formats up to %d: use a newer one",
                     s->dir, (long long)number, STORE_FORMAT);
    else if (number < 1 || strlen(s->id) != STORE_ID_LEN)
        rc = err_set(err, ERR_CORRUPT, "%s/store.json names no format and id", s->dir);
    json_decref(json);
    return rc;
}

/* Renames between them must be one step, so they must be one file system. */
static int check_volume(struct store *s, struct err *err)
{
    const int fds[] = {s->uploads, s->trash, s->quarantine};
    struct stat blobs, st;
    if (fstat(s->blobs, &blobs) < 0)
        return store_read_failed(err, "stat", "blobs");
    for (size_t i = 0; i < ARRAY_LEN(fds); i++) {
        if (fstat(fds[i], &st) < 0)
            return store_read_failed(err, "stat", "a store directory");
        if (st.st_dev != blobs.st_dev)
            return err_set(err, ERR_USAGE,
                           "%s: blobs, uploads, trash and quarantine must be on one file system",
                           s->dir);
    }
    return 0;
}

/* fsync of the directory that holds `path`; one that may not be opened is not ours to sync. */
static int sync_parent(const char *path, struct err *err)
{
    auto_free char *copy = mem_strdup(path);
    auto_fd int parent = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0 && errno == EACCES)
        return 0;
    if (parent < 0)
        return store_read_failed(err, "open the parent of", path);
    metric_add(METRIC_FSYNCS, 1);
    if (step_fault("store.create.parentsync") == 0 && fsync(parent) == 0 &&
        step_fault("store.create.parentsync.done") == 0)
        return 0;
    return err_sys(err, ERR_IO, "cannot make the directory %s durable", path);
}

/* Synced whether made here or found, for a creation that was cut may have made them. */
int store_make_dir(const char *dir, struct err *err)
{
    char path[STORE_PATH_MAX], json[STORE_PATH_MAX + 16];
    int n = snprintf(path, sizeof path, "%s", dir);
    if (n <= 0 || (size_t)n >= sizeof path)
        return err_set(err, ERR_USAGE, "data: the path is too long or empty");
    snprintf(json, sizeof json, "%s/store.json", path);
    if (access(json, F_OK) == 0)
        return 0;
    for (char *p = path + 1;; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        if (mkdir(path, 0700) < 0 && errno != EEXIST)
            return err_sys(err, ERR_IO, "cannot make the data directory %s", path);
        int rc = sync_parent(path, err);
        if (rc < 0 || c == '\0')
            return rc;
        *p = c;
    }
}

static int open_root(struct store *s, const char *dir, bool create, struct err *err)
{
    int rc = create ? store_make_dir(dir, err) : 0;
    if (rc < 0)
        return rc;
    s->root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->root < 0)
        return err_sys(err, errno == ENOENT ? ERR_NOT_FOUND : ERR_IO,
                       "cannot open the data directory %s", dir);
    s->dir = realpath(dir, NULL);
    return s->dir ? 0 : err_sys(err, ERR_IO, "cannot resolve the data directory %s", dir);
}

int store_layout_open(struct store *s, const char *dir, bool create, struct err *err)
{
    int rc = open_root(s, dir, create, err);
    if (rc < 0)
        return rc;
    auto_fd int json = store_openat(s, s->root, "store.json", O_RDONLY | O_NONBLOCK, 0);
    if (json < 0 && errno != ENOENT)
        return store_read_failed(err, "open", "store.json");
    if (json < 0 && !create)
        return err_set(err, ERR_NOT_FOUND, "%s is no data directory: store.json is missing", s->dir);
    if (json >= 0 && (rc = check_json(s, json, err)) < 0)
        return rc;
    rc = create ? make_layout(s, json < 0, err) : open_dir(s, "blobs", &s->blobs, err);
    if (rc < 0 || (rc = open_dir(s, "uploads", &s->uploads, err)) < 0 ||
        (rc = open_dir(s, "trash", &s->trash, err)) < 0 ||
        (rc = open_dir(s, "quarantine", &s->quarantine, err)) < 0 ||
        (rc = open_dir(s, "keys", &s->keys, err)) < 0 || (rc = check_volume(s, err)) < 0)
        return rc;
    return json < 0 ? write_json(s, err) : 0;
}
