/* A disk that remembers the order of what was written to it, for power-cut tests.
 *
 *   disklog serve IMAGE LOG MOUNTPOINT   a FUSE mount with two files: `disk`, the IMAGE's bytes, for a
 *                                        loop device; and `mark`: decimal numbers written there are
 *                                        put into the log, between the disk's writes; from "fail" to
 *                                        "heal" every write and flush of the disk is EIO
 *   disklog cut BASE LOG RECORD SEED OUT writes to OUT what the disk holds when the power fails before
 *                                        the log's RECORD-th record (from 0): BASE, all writes up to
 *                                        the last flush before it, and of the later ones none (SEED
 *                                        0), all (1) or a random part in pieces of 512 bytes
 *
 * LOG is a sequence of records, `struct record` and then `length` bytes. One thread serves, so the log
 * has one order, and a write stands in it before its completion is reported: a flush that was
 * asked for after that completion stands behind it. */
#define FUSE_USE_VERSION 35
#include <fuse.h>

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { SECTOR = 512, COPY_PIECE = 1 << 20 };
struct record {
    char type; /* W write, F flush, M mark */
    char pad[3];
    uint32_t length;
    uint64_t at; /* W: offset, M: number */
};

static int image = -1, journal = -1;
static off_t image_size;
static bool failing;

static void die(const char *what)
{
    perror(what);
    exit(1);
}

static void put(char type, uint64_t at, const char *data, size_t n)
{
    struct record r = {.type = type, .length = (uint32_t)n, .at = at};
    struct iovec v[2] = {{&r, sizeof r}, {(void *)(uintptr_t)data, n}};
    if (writev(journal, v, n > 0 ? 2 : 1) != (ssize_t)(sizeof r + n))
        die("log");
}

static bool is_disk(const char *path)
{
    return strcmp(path, "/disk") == 0;
}

static int do_getattr(const char *path, struct stat *st, struct fuse_file_info *fi)
{
    (void)fi;
    memset(st, 0, sizeof *st);
    if (strcmp(path, "/") == 0) {
        st->st_mode = S_IFDIR | 0755;
        st->st_nlink = 2;
        return 0;
    }
    if (!is_disk(path) && strcmp(path, "/mark") != 0)
        return -ENOENT;
    st->st_mode = S_IFREG | 0600;
    st->st_nlink = 1;
    st->st_size = is_disk(path) ? image_size : 0;
    return 0;
}

static int do_open(const char *path, struct fuse_file_info *fi)
{
    fi->direct_io = !is_disk(path);
    return 0;
}

static int do_truncate(const char *path, off_t size, struct fuse_file_info *fi)
{
    (void)fi;
    return is_disk(path) && size != image_size ? -EPERM : 0;
}

static int do_read(const char *path, char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
    (void)fi;
    if (!is_disk(path))
        return 0;
    ssize_t got = pread(image, buf, n, at);
    return got < 0 ? -errno : (int)got;
}

static int do_write(const char *path, const char *buf, size_t n, off_t at, struct fuse_file_info *fi)
{
    (void)fi;
    if (!is_disk(path)) {
        char text[24] = "";
        memcpy(text, buf, n < sizeof text - 1 ? n : sizeof text - 1);
        if (text[0] == 'f' || text[0] == 'h') {
            failing = text[0] == 'f';
            return (int)n;
        }
        put('M', strtoull(text, NULL, 10), NULL, 0);
        return (int)n;
    }
    if (failing)
        return -EIO;
    put('W', (uint64_t)at, buf, n);
    if (pwrite(image, buf, n, at) != (ssize_t)n)
        die("image");
    return (int)n;
}

static int do_fsync(const char *path, int data, struct fuse_file_info *fi)
{
    (void)data;
    (void)fi;
    if (!is_disk(path))
        return 0;
    if (failing)
        return -EIO;
    put('F', 0, NULL, 0);
    return 0;
}

static const struct fuse_operations operations = {
    .getattr = do_getattr,
    .open = do_open,
    .truncate = do_truncate,
    .read = do_read,
    .write = do_write,
    .fsync = do_fsync,
};

static int serve(char **argv)
{
    struct stat st;
    image = open(argv[0], O_RDWR | O_CLOEXEC);
    journal = open(argv[1], O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    if (image < 0 || journal < 0 || fstat(image, &st) < 0)
        die("open");
    image_size = st.st_size;
    char name[] = "disklog", front[] = "-f", single[] = "-s";
    char *args[] = {name, front, single, argv[2], NULL};
    return fuse_main(4, args, &operations, NULL);
}

/* ---- the cut ---- */
static uint64_t state;

static uint64_t chance(void) /* splitmix64 */
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return z ^ z >> 31;
}

static void copy_base(int from, int to, char *piece)
{
    struct stat st;
    if (fstat(from, &st) < 0 || ftruncate(to, st.st_size) < 0)
        die("copy");
    for (off_t at = 0, end; (at = lseek(from, at, SEEK_DATA)) >= 0; at = end) {
        if ((end = lseek(from, at, SEEK_HOLE)) < 0)
            die("copy");
        for (off_t p = at; p < end;) {
            size_t n = end - p < COPY_PIECE ? (size_t)(end - p) : COPY_PIECE;
            ssize_t got = pread(from, piece, n, p);
            if (got <= 0 || pwrite(to, piece, (size_t)got, p) != got)
                die("copy");
            p += got;
        }
    }
}

static void apply(int to, const char *data, size_t n, off_t at)
{
    if (pwrite(to, data, n, at) != (ssize_t)n)
        die("apply");
}

/* keep of 16: how likely a write stays. A write stays, goes, or is torn. */
static void apply_part(int to, const char *data, size_t n, off_t at, uint64_t keep)
{
    bool torn = chance() % 8 == 0;
    bool whole = chance() % 16 < keep;
    if (!torn && whole)
        apply(to, data, n, at);
    for (size_t p = 0; torn && p < n; p += SECTOR)
        if (chance() % 2)
            apply(to, data + p, n - p < SECTOR ? n - p : SECTOR, at + (off_t)p);
}

static char *load(const char *path, size_t *ret_n)
{
    struct stat st;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        die(path);
    char *p = malloc((size_t)st.st_size + 1);
    size_t have = 0;
    while (p && have < (size_t)st.st_size) {
        ssize_t got = read(fd, p + have, (size_t)st.st_size - have);
        if (got <= 0)
            die(path);
        have += (size_t)got;
    }
    close(fd);
    *ret_n = have;
    return p;
}

static int cut(char **argv)
{
    size_t n, last_flush = 0, index = 0;
    char *log = load(argv[1], &n);
    size_t until = strtoull(argv[2], NULL, 10);
    uint64_t seed = strtoull(argv[3], NULL, 10);
    int from = open(argv[0], O_RDONLY | O_CLOEXEC);
    int to = open(argv[4], O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    char *piece = malloc(COPY_PIECE);
    if (!log || !piece || from < 0 || to < 0)
        die("open");
    copy_base(from, to, piece);
    state = seed;
    uint64_t keep = chance() % 15 + 1;
    struct record r;
    for (size_t at = 0; at + sizeof r <= n && index < until; at += sizeof r + r.length, index++) {
        memcpy(&r, log + at, sizeof r);
        if (r.type == 'F')
            last_flush = index;
    }
    index = 0;
    for (size_t at = 0; at + sizeof r <= n && index < until; at += sizeof r + r.length, index++) {
        memcpy(&r, log + at, sizeof r);
        const char *data = log + at + sizeof r;
        if (r.type != 'W')
            continue;
        if (index < last_flush || seed == 1)
            apply(to, data, r.length, (off_t)r.at);
        else if (seed > 1)
            apply_part(to, data, r.length, (off_t)r.at, keep);
    }
    free(log);
    free(piece);
    return close(to) == 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc == 5 && strcmp(argv[1], "serve") == 0)
        return serve(argv + 2);
    if (argc == 7 && strcmp(argv[1], "cut") == 0)
        return cut(argv + 2);
    fprintf(stderr, "usage: disklog serve IMAGE LOG MOUNTPOINT | cut BASE LOG RECORD SEED OUT\n");
    return 2;
}
