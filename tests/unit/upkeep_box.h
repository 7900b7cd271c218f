/* A registry on a real database and store in a directory of its own, for the tests of upkeep.
 * PostgreSQL takes SQLite's place when BERTH_TEST_DATABASE holds the URL of a database that the
 * tests may fill (tests/lib/pg start DIR prints one). */
#ifndef TESTS_UPKEEP_BOX_H
#define TESTS_UPKEEP_BOX_H
#include "registry/upkeep.h"
#include "registry/upload.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#define TYPE_IMAGE "application/vnd.oci.image.manifest.v1+json"
#define TYPE_INDEX "application/vnd.oci.image.index.v1+json"
#define HOUR INT64_C(3600000000)
#define DAY (24 * HOUR)

struct box {
    char dir[64], schema[64];
    struct config *config;
    struct store *store;
    struct db *db;
    struct registry *g;
    struct err err;
    int64_t repo; /* the first one, "team/app" */
};
extern const char BOX_REPO[];

/* gc_delay and gc_grace are 0, untagged_expiry is off. */
void box_init(struct box *b);
void box_release(struct box *b);
void box_reopen(struct box *b); /* a new process, as far as the registry can tell */
void ok(const struct box *b, int rc);
#define box_set(b, KEY, value) box_set_key((b), CONFIG_##KEY, (value))
void box_set_key(struct box *b, enum config_index key, int64_t value);
int64_t box_repo(struct box *b, const char *name);

/* As a push does it: staged, published under the lock, row and link in one write. Any thread. */
int push_blob(struct registry *g, int64_t repo, const char *content, struct digest *ret,
              struct err *err);
struct digest box_blob(struct box *b, int64_t repo, const char *content);
/* One manifest in one write. blob: its config; child: then it is an index; the rest may be NULL.
 * *ret_missing, *ret_at: what the transaction saw, and when (monotonic). */
struct put_manifest {
    int64_t repo;
    const struct digest *blob, *child, *subject;
    const char *salt, *tag;
};
int put_manifest(struct registry *g, const struct put_manifest *p, struct digest *ret,
                 int64_t *ret_missing, int64_t *ret_at, struct err *err);
int delete_manifest(struct registry *g, int64_t repo, const struct digest *d, struct err *err);
struct digest box_manifest(struct box *b, struct put_manifest p);
void box_delete(struct box *b, const struct digest *d);
void box_untag(struct box *b, const char *tag);

void box_exec(struct box *b, const char *sql, const struct db_value *args, size_t n);
int64_t box_int(struct box *b, const char *sql, const struct db_value *args,
                size_t n); /* -1: no row */
bool box_linked(struct box *b, int64_t repo, const struct digest *d);
bool box_has_row(struct box *b, const struct digest *d);   /* of blobs */
bool box_has_trash(struct box *b, const struct digest *d); /* row */
bool box_has_manifest(struct box *b, const struct digest *d);
int64_t box_queue(struct box *b, int kind, int64_t repo,
                  const struct digest *d); /* review_after, -1 */

const char *box_path(const struct box *b, const char *where, const struct digest *d, char out[320]);
bool box_has_file(const struct box *b, const char *where, const struct digest *d);
void box_write_file(const struct box *b, const char *where, const struct digest *d,
                    const char *text);

/* A pass over everything that is due up to `due`. */
struct gc_run box_pass(struct box *b, int64_t due);
/* Passes until nothing more goes, delays aside. */
void box_collect(struct box *b);
#endif
