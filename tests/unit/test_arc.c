/* tar for backups: what is written is read back, by tar(1) as well; what is hostile is refused. */
#include "arc/arc.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <setjmp.h>
#include <cmocka.h>

enum { BIG = (3 << 20) + 17 };
static struct err err;

static int scratch(void)
{
    char path[] = "/tmp/berth-arc-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    return fd;
}

static void ok(int rc)
{
    if (rc != 0)
        print_error("%s: %s\n", err_name(rc), err.text);
    assert_int_equal(rc, 0);
}

static char *big_bytes(void)
{
    char *p = mem_alloc(BIG);
    for (size_t i = 0; i < BIG; i++)
        p[i] = (char)(i * 131 >> 3);
    return p;
}

static int64_t last_progress;
static int calls;
static int count_bytes(void *arg, int64_t bytes)
{
    assert_true(bytes > last_progress && bytes - last_progress <= 1 << 20);
    last_progress = bytes;
    return arg != NULL && ++calls == *(int *)arg ? ERR_UNAVAILABLE : 0;
}

static int write_three(int fd)
{
    struct arc_writer *w;
    auto_free char *big = big_bytes();
    auto_fd int from = scratch();
    assert_int_equal(write(from, big, BIG), BIG); /* the position is at the end now */
    last_progress = 0;
    ok(arc_writer_open(&w, fd, count_bytes, NULL, &err));
    ok(arc_add(w, "berth-backup.json", STR_LIT("{\"format\":1}"), &err));
    ok(arc_add_fd(w, "blobs/sha256/ab/cd:ef@1+x", from, BIG, &err));
    ok(arc_add(w, "empty", (struct str){NULL, 0}, &err));
    ok(arc_finish(w, &err));
    arc_writer_free(w);
    assert_int_equal(last_progress, BIG + 12);
    return lseek(fd, 0, SEEK_SET) == 0 ? 0 : -1;
}

/* Body of the entry at hand into out; the number of bytes, or the error. */
static long body(struct arc_reader *r, char *out, size_t cap)
{
    size_t at = 0;
    for (;;) {
        const void *p;
        size_t n;
        int rc = arc_read(r, &p, &n, &err);
        if (rc < 0)
            return rc;
        if (n == 0)
            return (long)at;
        assert_true(at + n <= cap);
        memcpy(out + at, p, n);
        at += n;
    }
}

static void roundtrip(void **state)
{
    (void)state;
    auto_fd int fd = scratch();
    ok(write_three(fd));
    auto_free char *big = big_bytes(), *got = mem_alloc(BIG);
    struct arc_reader *r;
    struct arc_entry e;
    last_progress = 0;
    ok(arc_reader_open(&r, fd, BIG, BIG + 12, count_bytes, NULL, &err));
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_string_equal(e.name, "berth-backup.json");
    assert_int_equal(e.size, 12);
    assert_int_equal(body(r, got, BIG), 12);
    assert_memory_equal(got, "{\"format\":1}", 12);
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_string_equal(e.name, "blobs/sha256/ab/cd:ef@1+x");
    assert_int_equal(e.size, BIG);
    assert_int_equal(body(r, got, BIG), BIG);
    assert_memory_equal(got, big, BIG);
    assert_int_equal(body(r, got, BIG), 0); /* the end stays the end */
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_string_equal(e.name, "empty");
    assert_int_equal(e.size, 0);
    assert_int_equal(body(r, got, BIG), 0);
    assert_int_equal(arc_next(r, &e, &err), 0);
    arc_reader_free(r);
    assert_int_equal(last_progress, BIG + 12);
    arc_reader_free(NULL);
    arc_writer_free(NULL);
}

static void bodies_may_be_skipped(void **state)
{
    (void)state;
    auto_fd int fd = scratch();
    ok(write_three(fd));
    struct arc_reader *r;
    struct arc_entry e;
    ok(arc_reader_open(&r, fd, BIG, 1 << 30, NULL, NULL, &err));
    int n = 0;
    while (arc_next(r, &e, &err) == 1)
        n++;
    assert_int_equal(n, 3);
    arc_reader_free(r);
}

/* Equal content gives equal bytes, and tar(1) agrees about them. */
static void others_read_it(void **state)
{
    (void)state;
    auto_fd int a = scratch(), b = scratch();
    ok(write_three(a));
    ok(write_three(b));
    struct stat sa, sb;
    assert_int_equal(fstat(a, &sa) | fstat(b, &sb), 0);
    assert_int_equal(sa.st_size, sb.st_size);
    auto_free char *x = mem_alloc((size_t)sa.st_size), *y = mem_alloc((size_t)sa.st_size);
    assert_int_equal(pread(a, x, (size_t)sa.st_size, 0), sa.st_size);
    assert_int_equal(pread(b, y, (size_t)sa.st_size, 0), sa.st_size);
    assert_memory_equal(x, y, (size_t)sa.st_size);
    char cmd[128], line[256], all[512] = "";
    snprintf(cmd, sizeof cmd, "tar -tf /proc/%d/fd/%d", getpid(), a);
    FILE *f = popen(cmd, "r");
    while (fgets(line, sizeof line, f) != NULL)
        strcat(all, line);
    assert_int_equal(pclose(f), 0);
    assert_string_equal(all, "berth-backup.json\nblobs/sha256/ab/cd:ef@1+x\nempty\n");
}

static void long_names_fit(void **state)
{
    (void)state;
    char name[ARC_NAME_MAX + 2];
    memset(name, 'n', sizeof name);
    name[100] = '/';
    name[ARC_NAME_MAX] = '\0';
    auto_fd int fd = scratch();
    struct arc_writer *w;
    struct arc_reader *r;
    struct arc_entry e;
    ok(arc_writer_open(&w, fd, NULL, NULL, &err));
    ok(arc_add(w, name, STR_LIT("x"), &err));
    ok(arc_finish(w, &err));
    arc_writer_free(w);
    lseek(fd, 0, SEEK_SET);
    ok(arc_reader_open(&r, fd, 1, 1, NULL, NULL, &err));
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_string_equal(e.name, name);
    arc_reader_free(r);
}

static void names(void **state)
{
    (void)state;
    static const char *const good[] = {"a", "a/b", "...", "a..b", ".hidden", "x/..y", "sha256:00/_-@+1"};
    static const char *const bad[] = {"", "/", "/a", "a/", "a//b", "..", ".", "a/..", "../a", "a/./b", "a/../b",
                                      "./a", "a b", "a\\b", "a\nb", "a\x1b[m", "a\xc3\xa9", "C:\\x", "a*"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(arc_name_ok(str_of(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(arc_name_ok(str_of(bad[i])));
    assert_false(arc_name_ok((struct str){"a\0b", 3}));
    char longest[ARC_NAME_MAX + 1];
    memset(longest, 'a', sizeof longest);
    assert_true(arc_name_ok((struct str){longest, ARC_NAME_MAX}));
    assert_false(arc_name_ok((struct str){longest, ARC_NAME_MAX + 1}));
}

/* --- writing fails */

static void a_short_source_is_corrupt(void **state)
{
    (void)state;
    auto_fd int fd = scratch(), from = scratch();
    struct arc_writer *w;
    assert_int_equal(write(from, "short", 5), 5);
    ok(arc_writer_open(&w, fd, NULL, NULL, &err));
    assert_int_equal(arc_add_fd(w, "x", from, 6, &err), ERR_CORRUPT);
    arc_writer_free(w);
    lseek(fd, 0, SEEK_SET); /* what is left must not look like an archive with x in it */
    struct arc_reader *r;
    struct arc_entry e;
    char got[8];
    const bool opened = arc_reader_open(&r, fd, 100, 100, NULL, NULL, &err) == 0;
    assert_true(!opened || arc_next(r, &e, &err) != 1 || body(r, got, sizeof got) < 0);
    if (opened)
        arc_reader_free(r);
}

static void a_full_volume_is_told(void **state)
{
    (void)state;
    auto_fd int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    auto_free char *big = big_bytes();
    struct arc_writer *w;
    assert_true(full >= 0);
    ok(arc_writer_open(&w, full, NULL, NULL, &err));
    assert_int_equal(arc_add(w, "x", (struct str){big, BIG}, &err), ERR_STORAGE_FULL);
    arc_writer_free(w);
    ok(arc_writer_open(&w, full, NULL, NULL, &err));
    ok(arc_add(w, "x", STR_LIT("small"), &err)); /* still in the buffer */
    assert_int_equal(arc_finish(w, &err), ERR_STORAGE_FULL);
    arc_writer_free(w);
}

static void progress_stops(void **state)
{
    (void)state;
    auto_fd int fd = scratch();
    auto_free char *big = big_bytes();
    struct arc_writer *w;
    struct arc_reader *r;
    struct arc_entry e;
    int at = 2;
    last_progress = calls = 0;
    ok(arc_writer_open(&w, fd, count_bytes, &at, &err));
    assert_int_equal(arc_add(w, "x", (struct str){big, BIG}, &err), ERR_UNAVAILABLE);
    assert_int_equal(calls, 2);
    arc_writer_free(w);
    assert_int_equal(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
    ok(write_three(fd));
    last_progress = calls = 0;
    ok(arc_reader_open(&r, fd, BIG, 1 << 30, count_bytes, &at, &err));
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_int_equal(body(r, big, BIG), 12);
    assert_int_equal(arc_next(r, &e, &err), 1);
    assert_int_equal(body(r, big, BIG), ERR_UNAVAILABLE);
    arc_reader_free(r);
}

/* --- hostile archives */

struct forged {
    const char *name;
    unsigned type;
    const char *link;
    int64_t size;
    bool hard;
};

static void forge(int fd, const struct forged *f, int format)
{
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();
    archive_write_set_format(a, format);
    assert_int_equal(archive_write_open_fd(a, fd), ARCHIVE_OK);
    archive_entry_set_pathname(e, f->name);
    archive_entry_set_filetype(e, f->type);
    archive_entry_set_perm(e, 0644);
    if (f->hard)
        archive_entry_set_hardlink(e, f->link);
    else if (f->link != NULL)
        archive_entry_set_symlink(e, f->link);
    archive_entry_set_size(e, f->size);
    assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
    static const char zeros[4096];
    for (int64_t at = 0; at < f->size; at += (int64_t)sizeof zeros)
        archive_write_data(a, zeros, f->size - at < 4096 ? (size_t)(f->size - at) : 4096);
    archive_write_free(a);
    archive_entry_free(e);
    lseek(fd, 0, SEEK_SET);
}

/* The first answer that is no entry with a clean body: the error, or 0 at the end. */
static int read_all(int fd, int64_t max_entry, int64_t max_total)
{
    struct arc_reader *r;
    struct arc_entry e;
    auto_free char *out = mem_alloc(BIG);
    int rc = arc_reader_open(&r, fd, max_entry, max_total, NULL, NULL, &err);
    if (rc < 0)
        return rc;
    while ((rc = arc_next(r, &e, &err)) == 1) {
        long n = body(r, out, BIG);
        if (n < 0) {
            rc = (int)n;
            break;
        }
        assert_int_equal(n, e.size);
    }
    if (rc < 0) { /* an error stays one */
        int again = arc_next(r, &e, &err);
        assert_true(again < 0);
    }
    arc_reader_free(r);
    return rc;
}

static void hostile_entries_are_refused(void **state)
{
    (void)state;
    static const struct forged rows[] = {
        {"../up", AE_IFREG, NULL, 1, false}, {"/abs", AE_IFREG, NULL, 1, false}, {"a/../../b", AE_IFREG, NULL, 1, false},
        {"a b", AE_IFREG, NULL, 1, false}, {"link", AE_IFLNK, "/etc/passwd", 0, false}, {"hard", AE_IFREG, "other", 0, true},
        {"dir", AE_IFDIR, NULL, 0, false}, {"dir/", AE_IFDIR, NULL, 0, false}, {"fifo", AE_IFIFO, NULL, 0, false},
        {"chr", AE_IFCHR, NULL, 0, false}, {"blk", AE_IFBLK, NULL, 0, false},
    };
    static const int formats[] = {ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE, ARCHIVE_FORMAT_TAR_USTAR, ARCHIVE_FORMAT_TAR_GNUTAR};
    for (size_t f = 0; f < ARRAY_LEN(formats); f++) {
        for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
            auto_fd int fd = scratch();
            forge(fd, &rows[i], formats[f]);
            int rc = read_all(fd, 100, 100);
            if (rc != ERR_INVALID)
                print_error("%s in format %x: %d %s\n", rows[i].name, (unsigned)formats[f], rc, err.text);
            assert_int_equal(rc, ERR_INVALID);
        }
        auto_fd int fd = scratch();
        forge(fd, &(struct forged){"fine", AE_IFREG, NULL, 100, false}, formats[f]);
        ok(read_all(fd, 100, 100));
    }
}

static void sizes_are_capped(void **state)
{
    (void)state;
    auto_fd int fd = scratch();
    forge(fd, &(struct forged){"x", AE_IFREG, NULL, 101, false}, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
    assert_int_equal(read_all(fd, 100, 1000), ERR_TOO_LARGE);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(read_all(fd, 1000, 100), ERR_TOO_LARGE);
    lseek(fd, 0, SEEK_SET);
    ok(read_all(fd, 101, 101));
    assert_int_equal(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
    ok(write_three(fd)); /* 12 + BIG bytes in all */
    assert_int_equal(read_all(fd, BIG, BIG + 11), ERR_TOO_LARGE);
    lseek(fd, 0, SEEK_SET);
    ok(read_all(fd, BIG, BIG + 12));
}

static void sparse_files_are_refused(void **state)
{
    (void)state;
    char cmd[256];
    auto_fd int fd = scratch();
    for (int old = 0; old < 2; old++) {
        snprintf(cmd, sizeof cmd,
                 "d=$(mktemp -d) && truncate -s 1M $d/holes && echo x >>$d/holes && "
                 "tar -C $d -S --format=%s -cf /proc/%d/fd/%d holes; rm -rf $d",
                 old ? "gnu" : "posix", getpid(), fd);
        assert_int_equal(ftruncate(fd, 0) | (int)lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(system(cmd), 0);
        lseek(fd, 0, SEEK_SET);
        assert_int_equal(read_all(fd, BIG, BIG), ERR_INVALID);
    }
}

static void compressed_archives_are_refused(void **state)
{
    (void)state;
    char cmd[256];
    auto_fd int fd = scratch();
    snprintf(cmd, sizeof cmd, "tar -C /etc -czf /proc/%d/fd/%d hostname", getpid(), fd);
    assert_int_equal(system(cmd), 0);
    lseek(fd, 0, SEEK_SET);
    assert_int_equal(read_all(fd, BIG, BIG), ERR_INVALID);
}

/* Cut at any place, an archive is an error, or ends at an entry's border: never a wrong body. */
static void cut_archives_give_no_wrong_body(void **state)
{
    (void)state;
    auto_fd int fd = scratch();
    struct arc_writer *w;
    ok(arc_writer_open(&w, fd, NULL, NULL, &err));
    char text[700];
    memset(text, 't', sizeof text);
    ok(arc_add(w, "one", (struct str){text, sizeof text}, &err));
    ok(arc_add(w, "two", (struct str){text, 3}, &err));
    ok(arc_finish(w, &err));
    arc_writer_free(w);
    for (off_t size = 2560; size > 0; size -= 3) {
        assert_int_equal(ftruncate(fd, size) | (int)lseek(fd, 0, SEEK_SET), 0);
        struct arc_reader *r;
        struct arc_entry e;
        char got[700];
        long n = arc_reader_open(&r, fd, 1000, 1000, NULL, NULL, &err);
        if (n < 0)
            continue;
        while (arc_next(r, &e, &err) == 1 && (n = body(r, got, sizeof got)) >= 0) {
            assert_int_equal(n, e.size);
            assert_memory_equal(got, text, (size_t)n);
        }
        if (size > 512 && size < 512 + 700)
            assert_true(n < 0);
        arc_reader_free(r);
    }
}

/* Random damage: no crash, no body longer than announced, nothing above the caps. */
static void damaged_archives_do_no_harm(void **state)
{
    (void)state;
    auto_fd int fd = scratch(), clean = scratch();
    forge(clean, &(struct forged){"some/name", AE_IFREG, NULL, 600, false}, ARCHIVE_FORMAT_TAR_PAX_INTERCHANGE);
    static char bytes[10240], bad[10240];
    ssize_t n = pread(clean, bytes, sizeof bytes, 0);
    assert_true(n > 1024);
    srand(1);
    for (int i = 0; i < 3000; i++) {
        memcpy(bad, bytes, sizeof bad);
        for (int k = rand() % 4 + 1; k > 0; k--)
            bad[rand() % 2048] = (char)rand();
        unsigned sum = 8 * ' '; /* half of them with a right checksum, to get deeper */
        for (int k = 0; k < 512; k++)
            sum += k >= 148 && k < 156 ? 0 : (unsigned char)bad[k];
        if (i % 2)
            snprintf(bad + 148, 8, "%06o", sum & 0777777);
        assert_int_equal(pwrite(fd, bad, (size_t)n, 0), n);
        lseek(fd, 0, SEEK_SET);
        (void)read_all(fd, 10000, 10000);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(roundtrip), cmocka_unit_test(bodies_may_be_skipped), cmocka_unit_test(others_read_it),
        cmocka_unit_test(long_names_fit), cmocka_unit_test(names), cmocka_unit_test(a_short_source_is_corrupt),
        cmocka_unit_test(a_full_volume_is_told), cmocka_unit_test(progress_stops),
        cmocka_unit_test(hostile_entries_are_refused), cmocka_unit_test(sizes_are_capped),
        cmocka_unit_test(sparse_files_are_refused), cmocka_unit_test(compressed_archives_are_refused),
        cmocka_unit_test(cut_archives_give_no_wrong_body), cmocka_unit_test(damaged_archives_do_no_harm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
