/* The store: immutable blobs named by digest, and uploads in the making.
 *
 * An interface with one implementation so far, files (store_files.c); S3 comes later behind the
 * same table. Layout of a data directory:
 *   berth.db*                    database (db)
 *   store.json                   {"format":1,"id":random} refused when newer than the binary
 *   blobs/<alg>/<2 hex>/<hex>    final blobs; the 256 fan-out directories of each algorithm are made
 *                                and synced at creation, so no push makes a directory
 *   uploads/<upload id>          bytes of upload sessions
 *   trash/<alg>-<hex>            blobs whose row is gone, until their delay is over
 *   quarantine/<alg>-<hex>       blobs that no longer match their digest
 *   keys/                        0700; token key, self-signed certificate
 *   berth.lock, berth.sock       owner's lock, control socket
 * Paths are built from hex digests and hex ids only, opened beneath directory descriptors
 * (openat2 RESOLVE_BENEATH|NO_SYMLINKS where the kernel has it). Files 0600, directories 0700.
 *
 * Failure of any fsync or of a write with EIO makes the store read-only for good (D3):
 * store_failed() is true, every later change is ERR_READ_ONLY, reads go on. ENOSPC is
 * ERR_STORAGE_FULL and heals by itself. */
#ifndef STORE_STORE_H
#define STORE_STORE_H
#include "base/digest.h"

struct store;
/* Makes the directory and those above it, durably, unless it is a complete store already. store_open with
 * create calls it; who must put a lock file there first calls it before. */
int store_make_dir(const char *dir, struct err *err);
int store_open(struct store **ret, const char *data_dir, bool create, struct err *err);
void store_close(struct store *s);
bool store_failed(const struct store *s);
int store_holds_blobs(struct store *s, bool *ret, struct err *err); /* looks until the first one */
int store_free_bytes(struct store *s, int64_t *ret, struct err *err);

/* --- uploads. id: 32 lower-case hex characters. One writer at a time (the caller's duty). */
struct staging;                         /* an open upload file, append position at its end */
int staging_create(struct store *s, const char *id, struct staging **ret, struct err *err);
/* Opens and cuts the file back to `size`, the acknowledged bytes (a crash may have left more);
 * ERR_BLOB_UPLOAD_UNKNOWN when the file is missing or shorter. */
int staging_open(struct store *s, const char *id, int64_t size, struct staging **ret, struct err *err);
/* Appends; starts write-back early (sync_file_range each 8 MiB), so that the sync is short. */
int staging_append(struct staging *g, const void *p, size_t n, struct err *err);
int64_t staging_size(const struct staging *g);
/* Reads back, for a digest that was not announced: random access. Short only at the end. */
int staging_read(struct staging *g, int64_t offset, void *p, size_t n, size_t *ret_n, struct err *err);
/* Data of all appends, and the file's directory entry, are on stable storage when it returns 0. */
int staging_sync(struct staging *g, struct err *err);
/* Gives the room of bytes behind `size` back; nothing when it is a blob by now. Not durable: staging_open cuts, too. */
void staging_cut(struct staging *g, int64_t size);
bool staging_replaced(const struct staging *g); /* published over an older file, whose blocks the close frees */
void staging_close(struct staging *g);                     /* NULL-safe; keeps the file */
int staging_remove(struct store *s, const char *id, struct err *err); /* 0 also when absent */

/* What a verified file looked like; kept in the blob's row, compared before it is served. */
struct blob_stat {
    int64_t size, ino, ctime_ns;
};
/* The digest's lock: held by a committer from before the rename until its database commit is done,
 * and by the collector from its check of the row until the file is in the trash. Striped; never
 * held while waiting for another digest's. */
void store_lock(struct store *s, const struct digest *d);
void store_unlock(struct store *s, const struct digest *d);
/* Publishes the upload as blob d (its bytes were hashed by the caller): fsync file, rename over
 * whatever stands there, fsync the directories concerned. Durable when it returns 0. Consumes
 * the upload file; g stays to be closed. Call with store_lock held. */
int staging_publish(struct staging *g, const struct digest *d, struct blob_stat *ret, struct err *err);

/* --- blobs */
/* Read-only descriptor and its stat; ERR_BLOB_UNKNOWN when absent. */
int store_open_blob(struct store *s, const struct digest *d, int *ret_fd, struct blob_stat *ret, struct err *err);
/* Whole-file hash; ERR_CORRUPT when it differs, ERR_BLOB_UNKNOWN when absent. pace: called after
 * each 1 MiB with the bytes just read (sleeps to keep a rate; non-zero stops with that code). */
int store_verify(struct store *s, const struct digest *d, int (*pace)(void *, size_t), void *arg,
                 struct blob_stat *ret, struct err *err);
int store_trash(struct store *s, const struct digest *d, struct err *err);      /* rename into trash/, synced; 0 when absent */
int store_untrash(struct store *s, const struct digest *d, struct err *err);    /* back into blobs/ unless one stands there, synced; 0 when absent */
int store_trash_purge(struct store *s, const struct digest *d, struct err *err); /* unlink from trash/ */
int store_quarantine(struct store *s, const struct digest *d, struct err *err); /* rename aside, synced; 0 when absent */
/* Reads a blob wherever it is now, blobs/ or trash/ (a backup of an older snapshot). */
int store_open_any(struct store *s, const struct digest *d, int *ret_fd, struct err *err);
/* Walks all files: what = "blobs", "trash", "quarantine", "uploads"; name is the digest text or upload id. */
int store_walk(struct store *s, const char *what, int (*fn)(void *arg, const char *name, const struct blob_stat *st),
               void *arg, struct err *err);
/* Imports a blob from a stream while hashing (restore): ERR_DIGEST_INVALID on mismatch. */
int store_import(struct store *s, const struct digest *d,
                 int (*next)(void *arg, const void **p, size_t *n, struct err *err), void *arg,
                 struct blob_stat *ret, struct err *err);
/* Small durable files under keys/ (0600, temp + fsync + rename + fsync directory). */
int store_key_read(struct store *s, const char *name, struct buf *ret, struct err *err); /* ERR_NOT_FOUND */
int store_key_write(struct store *s, const char *name, struct str bytes, struct err *err);
const char *store_id(const struct store *s);  /* as store.json has it: 32 hex characters */
const char *store_dir(const struct store *s); /* absolute path of the data directory */
#endif
