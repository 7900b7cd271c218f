/* Reading and writing tar over libarchive. See arc.h. */
#include "arc/arc.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PIECE = 1 << 20 };

bool arc_name_ok(struct str name)
{
    static const char allowed[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._-:@+";
    struct str part;
    if (name.n == 0 || name.n > ARC_NAME_MAX || name.p[name.n - 1] == '/')
        return false;
    while (str_split(&name, '/', &part)) {
        if (part.n == 0 || str_is(part, ".") || str_is(part, ".."))
            return false;
        for (size_t i = 0; i < part.n; i++)
            if (memchr(allowed, part.p[i], sizeof allowed - 1) == NULL)
                return false;
    }
    return true;
}

/* libarchive's error: a system error keeps its errno (a full volume is told as such). */
static int failed(struct archive *a, struct err *err, int code, const char *what)
{
    const char *text = archive_error_string(a);
    int sys = archive_errno(a);
    if (sys == ENOSPC || sys == EDQUOT || sys == EIO || sys == EPIPE || sys == ECONNRESET) {
        errno = sys;
        return err_sys(err, ERR_IO, "cannot %s", what);
    }
    return err_set(err, code, "cannot %s: %s", what, text != NULL ? text : "unknown reason");
}

struct arc_writer {
    struct archive *a;
    struct archive_entry *entry;
    char *piece;
    int fd;
    int sys;     /* errno of the first write that failed */
    bool cut;    /* nothing goes out any more */
    int64_t bytes;
    arc_progress progress;
    void *arg;
    bool failed, finished;
};

/* Always succeeds for libarchive, which would leak its buffer and forget errno; `sys` is looked at after
 * each of its calls. */
static la_ssize_t write_block(struct archive *a, void *arg, const void *p, size_t n)
{
    struct arc_writer *w = arg;
    const char *at = p;
    size_t left = n;
    (void)a;
    while (left > 0 && w->sys == 0 && !w->cut) {
        ssize_t done = write(w->fd, at, left);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0) {
            w->sys = done < 0 ? errno : EIO;
            break;
        }
        at += done;
        left -= (size_t)done;
    }
    return (la_ssize_t)n;
}

static int writer_failed(struct arc_writer *w, struct err *err, const char *what)
{
    w->failed = true;
    if (w->sys == 0)
        return failed(w->a, err, ERR_IO, what);
    errno = w->sys;
    return err_sys(err, ERR_IO, "cannot %s", what);
}

int arc_writer_open(struct arc_writer **ret, int fd, arc_progress progress, void *arg, struct err *err)
{
    struct arc_writer *w = mem_zalloc(sizeof *w);
    w->a = archive_write_new();
    w->entry = archive_entry_new();
    BUG_ON(w->a == NULL || w->entry == NULL);
    w->piece = mem_alloc(PIECE);
    w->fd = fd;
    w->progress = progress;
    w->arg = arg;
    if (archive_write_set_format_pax_restricted(w->a) != ARCHIVE_OK ||
        archive_write_set_bytes_per_block(w->a, PIECE) != ARCHIVE_OK ||
        archive_write_set_bytes_in_last_block(w->a, 1) != ARCHIVE_OK ||
        archive_write_open2(w->a, w, NULL, write_block, NULL, NULL) != ARCHIVE_OK) {
        int rc = writer_failed(w, err, "begin an archive");
        arc_writer_free(w);
        return rc;
    }
    *ret = w;
    return 0;
}

static int broken(struct arc_writer *w, int rc)
{
    w->failed = true;
    return rc;
}

static int write_head(struct arc_writer *w, const char *name, int64_t size, struct err *err)
{
    BUG_ON(w->failed || w->finished || !arc_name_ok(str_of(name)));
    archive_entry_clear(w->entry);
    archive_entry_set_pathname(w->entry, name);
    archive_entry_set_filetype(w->entry, AE_IFREG);
    archive_entry_set_perm(w->entry, 0600);
    archive_entry_set_size(w->entry, size);
    archive_entry_set_mtime(w->entry, 0, 0);
    int rc = archive_write_header(w->a, w->entry);
    return rc == ARCHIVE_OK && w->sys == 0 ? 0 : writer_failed(w, err, "write an archive entry");
}

static int write_piece(struct arc_writer *w, const char *p, size_t n, struct err *err)
{
    while (n > 0) {
        size_t part = n < PIECE ? n : PIECE;
        la_ssize_t done = archive_write_data(w->a, p, part);
        if (done <= 0 || w->sys != 0)
            return writer_failed(w, err, "write an archive");
        p += done;
        n -= (size_t)done;
        w->bytes += done;
        int rc = w->progress != NULL ? w->progress(w->arg, w->bytes) : 0;
        if (rc != 0)
            return broken(w, err_set(err, rc, "the archive was stopped"));
    }
    return 0;
}

int arc_add(struct arc_writer *w, const char *name, struct str bytes, struct err *err)
{
    int rc = write_head(w, name, (int64_t)bytes.n, err);
    return rc < 0 ? rc : write_piece(w, bytes.p, bytes.n, err);
}

int arc_add_fd(struct arc_writer *w, const char *name, int from, int64_t size, struct err *err)
{
    BUG_ON(size < 0);
    int rc = write_head(w, name, size, err);
    for (int64_t at = 0; rc == 0 && at < size;) {
        size_t want = size - at < PIECE ? (size_t)(size - at) : PIECE;
        ssize_t n = pread(from, w->piece, want, (off_t)at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return broken(w, err_sys(err, ERR_IO, "cannot read the file for %s", name));
        if (n == 0)
            return broken(w, err_set(err, ERR_CORRUPT, "%s ends at byte %lld of %lld", name,
                                     (long long)at, (long long)size));
        rc = write_piece(w, w->piece, (size_t)n, err);
        at += n;
    }
    return rc;
}

int arc_finish(struct arc_writer *w, struct err *err)
{
    BUG_ON(w->failed || w->finished);
    if (archive_write_close(w->a) != ARCHIVE_OK || w->sys != 0)
        return writer_failed(w, err, "finish an archive");
    w->finished = true;
    if (fsync(w->fd) < 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP)
        return err_sys(err, ERR_IO, "cannot make the archive durable");
    return 0;
}

void arc_writer_free(struct arc_writer *w)
{
    if (w == NULL)
        return;
    w->cut = true; /* an archive that was not finished gets no clean end */
    (void)archive_write_free(w->a);
    archive_entry_free(w->entry);
    free(w->piece);
    free(w);
}

struct arc_reader {
    struct archive *a;
    int64_t max_entry, max_total, total; /* total: what the heads so far announced */
    int64_t size, at;                    /* of the entry at hand */
    int64_t bytes;
    char name[ARC_NAME_MAX + 1];
    arc_progress progress;
    void *arg;
    bool failed;
};

int arc_reader_open(struct arc_reader **ret, int fd, int64_t max_entry, int64_t max_total,
                    arc_progress progress, void *arg, struct err *err)
{
    struct arc_reader *r = mem_zalloc(sizeof *r);
    r->a = archive_read_new();
    BUG_ON(r->a == NULL);
    r->max_entry = max_entry;
    r->max_total = max_total;
    r->progress = progress;
    r->arg = arg;
    /* Only tar, and no filter: a compressed bomb is no archive here. */
    if (archive_read_support_format_tar(r->a) != ARCHIVE_OK ||
        archive_read_open_fd(r->a, fd, PIECE) != ARCHIVE_OK) {
        int rc = failed(r->a, err, ERR_INVALID, "open the archive");
        arc_reader_free(r);
        return rc;
    }
    *ret = r;
    return 0;
}

static int check_entry(struct arc_reader *r, struct archive_entry *e, struct err *err)
{
    const char *name = archive_entry_pathname(e);
    if (name == NULL || !arc_name_ok(str_of(name)))
        return err_set(err, ERR_INVALID, "the archive has an entry whose name is not allowed");
    if (archive_entry_filetype(e) != AE_IFREG || archive_entry_hardlink(e) != NULL ||
        archive_entry_symlink(e) != NULL || !archive_entry_size_is_set(e) ||
        archive_entry_sparse_count(e) > 0)
        return err_set(err, ERR_INVALID, "the archive's entry %s is no plain file", name);
    int64_t size = archive_entry_size(e);
    if (size < 0 || size > r->max_entry || size > r->max_total - r->total)
        return err_set(err, ERR_TOO_LARGE, "the archive's entry %s of %lld bytes is too large", name,
                       (long long)size);
    memcpy(r->name, name, strlen(name) + 1);
    r->size = size;
    r->at = 0;
    r->total += size;
    return 0;
}

int arc_next(struct arc_reader *r, struct arc_entry *ret, struct err *err)
{
    struct archive_entry *e;
    if (r->failed)
        return err_set(err, ERR_INVALID, "the archive is malformed");
    int got = archive_read_next_header(r->a, &e);
    if (got == ARCHIVE_EOF)
        return 0;
    int rc = got == ARCHIVE_OK ? check_entry(r, e, err) : failed(r->a, err, ERR_INVALID, "read the archive");
    if (rc < 0) {
        r->failed = true;
        return rc;
    }
    *ret = (struct arc_entry){r->name, r->size};
    return 1;
}

int arc_read(void *arg, const void **ret_p, size_t *ret_n, struct err *err)
{
    struct arc_reader *r = arg;
    const void *p = NULL;
    size_t n = 0;
    la_int64_t offset = 0;
    int got;
    if (r->failed)
        return err_set(err, ERR_INVALID, "the archive is malformed");
    do /* an empty block is not the end */
        got = archive_read_data_block(r->a, &p, &n, &offset);
    while (got == ARCHIVE_OK && n == 0);
    bool whole = got == ARCHIVE_EOF && r->at == r->size;
    /* A gap would be a sparse file, which check_entry refused. */
    bool next = got == ARCHIVE_OK && offset == r->at && (int64_t)n <= r->size - r->at;
    if (!whole && !next) {
        r->failed = true;
        if (got != ARCHIVE_OK && got != ARCHIVE_EOF)
            return failed(r->a, err, ERR_INVALID, "read the archive");
        return err_set(err, ERR_INVALID, "the archive's entry %s is cut or malformed", r->name);
    }
    if (whole) {
        *ret_n = 0;
        return 0;
    }
    r->at += (int64_t)n;
    r->bytes += (int64_t)n;
    int rc = r->progress != NULL ? r->progress(r->arg, r->bytes) : 0;
    if (rc != 0)
        return err_set(err, rc, "the archive was stopped");
    *ret_p = p;
    *ret_n = n;
    return 0;
}

void arc_reader_free(struct arc_reader *r)
{
    if (r == NULL)
        return;
    (void)archive_read_free(r->a);
    free(r);
}
