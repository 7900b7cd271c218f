/* Walking the files of the store. Strangers (names that are no digest or id, links, directories)
 * are passed over; files that vanish during the walk too. */
#include "store/store_int.h"

#include <dirent.h>
#include <stdio.h>
#include <unistd.h>

struct walk {
    struct store *s;
    int (*fn)(void *arg, const char *name, const struct blob_stat *st);
    void *arg;
    struct err *err;
};

/* Turns a file name into the name that the callback gets; false for a stranger. */
typedef bool (*walk_namer)(const char *prefix, const char *file, char out[STORE_NAME_MAX]);

static bool name_upload(const char *prefix, const char *file, char out[STORE_NAME_MAX])
{
    (void)prefix;
    if (strlen(file) != STORE_ID_LEN || strspn(file, "0123456789abcdef") != STORE_ID_LEN)
        return false;
    memcpy(out, file, STORE_ID_LEN + 1);
    return true;
}

static bool is_digest(const char *text)
{
    struct digest d;
    return digest_parse(str_of(text), &d, NULL) == 0;
}

static bool name_flat(const char *prefix, const char *file, char out[STORE_NAME_MAX])
{
    (void)prefix;
    if (strlen(file) >= STORE_NAME_MAX || strlen(file) < 7 || file[6] != '-')
        return false;
    memcpy(out, file, strlen(file) + 1);
    out[6] = ':';
    return is_digest(out);
}

static bool name_blob(const char *prefix, const char *file, char out[STORE_NAME_MAX])
{
    /* prefix "sha256/aa": the file must lie where its digest says */
    if (strlen(file) > 128 || strncmp(prefix + 7, file, 2) != 0)
        return false;
    snprintf(out, STORE_NAME_MAX, "%.6s:%.128s", prefix, file);
    return is_digest(out);
}

/* Takes fd. */
static int walk_dir(struct walk *w, int fd, const char *prefix, walk_namer namer)
{
    DIR *d = fdopendir(fd);
    if (d == NULL) {
        int rc = store_read_failed(w->err, "list", prefix);
        close(fd);
        return rc;
    }
    int rc = 0;
    for (;;) {
        errno = 0;
        struct dirent *e = readdir(d);
        if (e == NULL) {
            if (errno != 0)
                rc = store_read_failed(w->err, "list", prefix);
            break;
        }
        char name[STORE_NAME_MAX];
        struct stat st;
        if (!namer(prefix, e->d_name, name))
            continue;
        if (fstatat(dirfd(d), e->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            if (errno == ENOENT)
                continue;
            rc = store_read_failed(w->err, "stat", e->d_name);
            break;
        }
        struct blob_stat bs = store_stat_of(&st);
        if (S_ISREG(st.st_mode) && (rc = w->fn(w->arg, name, &bs)) != 0)
            break;
    }
    closedir(d);
    return rc;
}

static int walk_path(struct walk *w, int at, const char *path, walk_namer namer)
{
    int fd = store_openat(w->s, at, path, O_RDONLY | O_DIRECTORY, 0);
    return fd < 0 ? store_read_failed(w->err, "open the directory", path) : walk_dir(w, fd, path, namer);
}

static int walk_blobs(struct walk *w)
{
    static const char *const algs[] = {"sha256", "sha512"};
    for (size_t a = 0; a < ARRAY_LEN(algs); a++)
        for (unsigned i = 0; i < STORE_FAN; i++) {
            char path[16];
            snprintf(path, sizeof path, "%s/%02x", algs[a], i & 0xffu);
            int rc = walk_path(w, w->s->blobs, path, name_blob);
            if (rc != 0)
                return rc;
        }
    return 0;
}

int store_walk(struct store *s, const char *what, int (*fn)(void *arg, const char *name, const struct blob_stat *st),
               void *arg, struct err *err)
{
    struct walk w = {s, fn, arg, err};
    if (strcmp(what, "blobs") == 0)
        return walk_blobs(&w);
    if (strcmp(what, "uploads") == 0)
        return walk_path(&w, s->root, what, name_upload);
    BUG_ON(strcmp(what, "trash") != 0 && strcmp(what, "quarantine") != 0);
    return walk_path(&w, s->root, what, name_flat);
}

static int see_any(void *arg, const char *name, const struct blob_stat *st)
{
    (void)name;
    (void)st;
    *(bool *)arg = true;
    return 1;
}

int store_holds_blobs(struct store *s, bool *ret, struct err *err)
{
    *ret = false;
    int rc = store_walk(s, "blobs", see_any, ret, err);
    return rc < 0 ? rc : 0;
}
