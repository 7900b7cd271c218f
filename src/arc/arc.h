/* tar archives for backups, over libarchive: flat streams of regular files, nothing else.
 *
 * Writer: pax format; headers carry name, size and a fixed mode and time, so that equal content gives
 * equal bytes. Reader: made for hostile input. It gives regular files with clean relative names and
 * whole bodies; every other entry (links, devices, directories, sparse files), every unclean name and
 * every size above the caller's cap is ERR_INVALID or ERR_TOO_LARGE. Checksums are the caller's.
 * A tar may end early without notice at an entry's border: let the last entry say that it is the last. */
#ifndef ARC_ARC_H
#define ARC_ARC_H
#include "base/err.h"

enum { ARC_NAME_MAX = 255 };

/* Called with the bytes of bodies so far, after each piece of at most 1 MiB. Non-zero stops with that
 * (negative) code. May be NULL. */
typedef int (*arc_progress)(void *arg, int64_t bytes);

/* Names: 1 to 255 bytes of letters, digits and "._-:@+", parts divided by single slashes, no part "."
 * or "..", no leading or trailing slash. */
bool arc_name_ok(struct str name);

struct arc_writer;
/* fd stays the caller's. */
int arc_writer_open(struct arc_writer **ret, int fd, arc_progress progress, void *arg, struct err *err);
/* A name that is not arc_name_ok is a bug. After a failure only arc_writer_free is allowed. */
int arc_add(struct arc_writer *w, const char *name, struct str bytes, struct err *err);
/* Exactly `size` bytes from the beginning of `from`, whatever its position; ERR_CORRUPT when shorter. */
int arc_add_fd(struct arc_writer *w, const char *name, int from, int64_t size, struct err *err);
/* Writes the end and syncs the file (a pipe or socket is not synced). */
int arc_finish(struct arc_writer *w, struct err *err);
void arc_writer_free(struct arc_writer *w); /* NULL-safe; without arc_finish the archive stays cut */

struct arc_entry {
    const char *name; /* until the next arc_next */
    int64_t size;
};
struct arc_reader;
/* fd stays the caller's. max_entry: largest body of one entry; max_total: of all together. */
int arc_reader_open(struct arc_reader **ret, int fd, int64_t max_entry, int64_t max_total,
                    arc_progress progress, void *arg, struct err *err);
/* 1: *ret is the next entry (what was left of the last one is skipped); 0: the end. */
int arc_next(struct arc_reader *r, struct arc_entry *ret, struct err *err);
/* A piece of the entry's body, valid until the next call; *ret_n 0 at its end, when exactly
 * entry.size bytes were given. `arg` is the reader (the shape that store_import takes). */
int arc_read(void *arg, const void **ret_p, size_t *ret_n, struct err *err);
void arc_reader_free(struct arc_reader *r); /* NULL-safe */
#endif
