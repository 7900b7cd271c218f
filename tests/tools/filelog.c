/* A directory that remembers the order of what was done in it, for power-cut tests against the weakest
 * file system that POSIX allows (tests/fault/filemodel.py draws the states after a cut).
 *
 *   filelog BACKING LOG MOUNTPOINT    a FUSE mount of the directory BACKING
 *
 * LOG is a sequence of records, `struct record` and then `length` bytes. Paths are relative to the
 * mount, with a leading '/'; a file is named by its inode number. One thread serves, so the log has
 * one order and everything that stands before a sync was done before it was asked for. The file
 * `/.mark` takes decimal numbers, which are put into the log. */
#define FUSE_USE_VERSION 35
#include <fuse.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/uio.h>
#include <unistd.h>

struct record {
    char type;
    char pad[3];
    uint32_t length;
    uint64_t file; /* inode number, or the number of a mark */
    uint64_t at;   /* offset or size */
};
/* C create path, D mkdir path, W write bytes, T truncate, R rename "old\0new", U unlink path,
 * X rmdir path, S fsync of a file, Y fsync of directory path, M mark */
#define MARK "/.mark"
#define MARK_HANDLE UINT64_MAX

static int root = -1, journal = -1;

static void put(char type, uint64_t file, uint64_t at, const void *data, size_t n)
{
    struct record r = {.type = type, .length = (uint32_t)n, .file = file, .at = at};
    struct iovec v[2] = {{&r, sizeof r}, {(void *)(uintptr_t)data, n}};
    if (writev(journal, v, n > 0 ? 2 : 1) != (ssize_t)(sizeof r + n)) {
        perror("log");
        exit(1);
    }
}

static void put_path(char type, uint64_t file, const char *path)
{
    put(type, file, 0, path, strlen(path));
}

static const char *rel(const char *path)
{
    return path[1] ? path + 1 : ".";
}

static uint64_t inode_of(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 ? st.st_ino : 0;
}

static int is_mark(const char *path) /* NULL: a file that is open and has no name any more */
{
    return path && strcmp(path, MARK) == 0;
}

static int result(int rc)
{
    return rc < 0 ? -errno : 0;
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    if (is_mark(path)) {
        memset(st, 0, sizeof *st);
        st->st_mode = S_IFREG | 0600;
        st->st_nlink = 1;
        return 0;
    }
    return result(fi ? fstat((int)fi->fh, st) : fstatat(root, rel(path), st, AT_SYMLINK_NOFOLLOW));
}

static int do_create(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    struct stat st;
    int there = fstatat(root, rel(path), &st, AT_SYMLINK_NOFOLLOW) == 0;
    int fd = openat(root, rel(path), fi->flags | O_CREAT | O_CLOEXEC, mode);
    if (fd < 0)
        return -errno;
    if (!there)
        put_path('C', inode_of(fd), path);
    fi->fh = (uint64_t)fd;
    return 0;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
    if (is_mark(path)) {
        fi->fh = MARK_HANDLE;
        fi->direct_io = 1;
        return 0;
    }
    int fd = openat(root, rel(path), (fi->flags & ~O_NOFOLLOW) | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    if (fi->flags & O_TRUNC)
        put('T', inode_of(fd), 0, NULL, 0);
    fi->fh = (uint64_t)fd;
    return 0;
}

static int do_release(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    if (fi->fh != MARK_HANDLE)
        close((int)fi->fh);
    return 0;
}

static int do_read(const char *path, char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
    (void)path;
    ssize_t got = pread((int)fi->fh, buf, n, at);
    return got < 0 ? -errno : (int)got;
}

static int do_write(const char *path, const char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
    (void)path;
    if (fi->fh == MARK_HANDLE) {
        char text[24] = "";
        memcpy(text, buf, n < sizeof text - 1 ? n : sizeof text - 1);
        put('M', strtoull(text, NULL, 10), 0, NULL, 0);
        return (int)n;
    }
    ssize_t done = pwrite((int)fi->fh, buf, n, at);
    if (done < 0)
        return -errno;
    put('W', inode_of((int)fi->fh), (uint64_t)at, buf, (size_t)done);
    return (int)done;
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    if (is_mark(path))
        return 0;
    int fd = fi ? (int)fi->fh : openat(root, rel(path), O_WRONLY | O_CLOEXEC);
    int rc = fd < 0 ? -errno : result(ftruncate(fd, size));
    if (rc == 0)
        put('T', inode_of(fd), (uint64_t)size, NULL, 0);
    if (!fi && fd >= 0)
        close(fd);
    return rc;
}

static int do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    (void)path;
    (void)data;
    put('S', inode_of((int)fi->fh), 0, NULL, 0);
    return 0;
}

/* An open file may have lost its path by then, so an open directory keeps its own. */
static int do_opendir(const char *path, struct fuse_file_info *fi)
{
    char *copy = strdup(path);
    fi->fh = (uint64_t)(uintptr_t)copy;
    return copy ? 0 : -ENOMEM;
}

static int do_releasedir(const char *path, struct fuse_file_info *fi)
{
    (void)path;
    free((char *)(uintptr_t)fi->fh);
    return 0;
}

static int do_fsyncdir(const char *path, int data, struct fuse_file_info *fi)
{
    (void)path;
    (void)data;
    put_path('Y', 0, (const char *)(uintptr_t)fi->fh);
    return 0;
}

static int do_mkdir(const char *path, mode_t mode)
{
    int rc = result(mkdirat(root, rel(path), mode));
    if (rc == 0)
        put_path('D', 0, path);
    return rc;
}

static int do_mknod(const char *path, mode_t mode, dev_t dev)
{
    int rc = result(mknodat(root, rel(path), mode, dev));
    struct stat st;
    if (rc == 0 && S_ISREG(mode) && fstatat(root, rel(path), &st, 0) == 0)
        put_path('C', st.st_ino, path); /* sockets do not outlive a cut */
    return rc;
}

static int do_unlink(const char *path)
{
    int rc = result(unlinkat(root, rel(path), 0));
    if (rc == 0)
        put_path('U', 0, path);
    return rc;
}

static int do_rmdir(const char *path)
{
    int rc = result(unlinkat(root, rel(path), AT_REMOVEDIR));
    if (rc == 0)
        put_path('X', 0, path);
    return rc;
}

static int do_rename(const char *from, const char *to, unsigned flags)
{
    if (flags != 0)
        return -EINVAL;
    int rc = result(renameat(root, rel(from), root, rel(to)));
    if (rc == 0) {
        char both[2 * 4096];
        size_t a = strlen(from) + 1, b = strlen(to);
        if (a + b > sizeof both)
            return -ENAMETOOLONG;
        memcpy(both, from, a);
        memcpy(both + a, to, b);
        put('R', 0, 0, both, a + b);
    }
    return rc;
}

static int do_chmod(const char *path, mode_t mode, struct fuse_file_info *fi)
{
    return result(fi ? fchmod((int)fi->fh, mode) : fchmodat(root, rel(path), mode, 0));
}

static int do_chown(const char *path, uid_t uid, gid_t gid, struct fuse_file_info *fi)
{
    (void)fi;
    return result(fchownat(root, rel(path), uid, gid, AT_SYMLINK_NOFOLLOW));
}

static int do_utimens(const char *path, const struct timespec t[2], struct fuse_file_info *fi)
{
    return result(fi ? futimens((int)fi->fh, t) : utimensat(root, rel(path), t, AT_SYMLINK_NOFOLLOW));
}

static int do_statfs(const char *path, struct statvfs *v)
{
    (void)path;
    return result(fstatvfs(root, v));
}

static int do_readdir(const char *path, void *buf, fuse_fill_dir_t fill, off_t at, struct fuse_file_info *fi,
                      enum fuse_readdir_flags flags)
{
    (void)path;
    (void)at;
    (void)flags;
    int fd = openat(root, rel((const char *)(uintptr_t)fi->fh), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    if (!d)
        return -errno;
    for (struct dirent *e; (e = readdir(d)) != NULL;)
        fill(buf, e->d_name, NULL, 0, (enum fuse_fill_dir_flags)0);
    closedir(d);
    return 0;
}

static void *do_init(struct fuse_conn_info *conn, struct fuse_config *config)
{
    (void)conn;
    config->use_ino = 1;
    config->hard_remove = 1;
    config->nullpath_ok = 1;
    config->attr_timeout = config->entry_timeout = 0; /* times of the backing files, always */
    return NULL;
}

static const struct fuse_operations operations = {
    .init = do_init,
    .getattr = do_getattr,
    .create = do_create,
    .open = do_open,
    .release = do_release,
    .read = do_read,
    .write = do_write,
    .truncate = do_truncate,
    .fsync = do_fsync,
    .opendir = do_opendir,
    .releasedir = do_releasedir,
    .fsyncdir = do_fsyncdir,
    .mkdir = do_mkdir,
    .mknod = do_mknod,
    .unlink = do_unlink,
    .rmdir = do_rmdir,
    .rename = do_rename,
    .chmod = do_chmod,
    .chown = do_chown,
    .utimens = do_utimens,
    .statfs = do_statfs,
    .readdir = do_readdir,
};

int main(int argc, char **argv)
{
    if (argc != 4) {
        fprintf(stderr, "usage: filelog BACKING LOG MOUNTPOINT\n");
        return 2;
    }
    umask(0);
    root = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    journal = open(argv[2], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (root < 0 || journal < 0) {
        perror("filelog");
        return 1;
    }
    char name[] = "filelog", front[] = "-f", single[] = "-s", option[] = "-o", others[] = "allow_other";
    char *args[] = {name, front, single, option, others, argv[3], NULL};
    return fuse_main(6, args, &operations, NULL);
}
