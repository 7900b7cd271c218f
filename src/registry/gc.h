/* Garbage collection: always on, beside pushes, from reference rows and a review queue with delays.
 *
 * Whatever MAY have become garbage is queued in the transaction that made it so; all judgement is the
 * reviewer's (gc.c), one small write transaction for each row, so a false positive costs one look.
 *   GC_LINK      a repository's link to a blob: dropped when no manifest of the repository names it
 *   GC_BLOB      a blob: to the trash when no repository links it, unlinked trash_hold later
 *   GC_MANIFEST  only with untagged_expiry: deleted without tag, parent and living subject
 * Who queues what: upload and mount the link; deletion of a manifest its blobs' links, its children
 * and its referrers; a tag moved or deleted its old manifest; a manifest pushed without a tag itself;
 * a link removed the blob.
 *
 * A push in flight cannot lose a blob: HEAD of a blob or manifest calls gc_touch (no lock, no write);
 * the reviewer leaves a link alone for gc_grace after it. Digests share slots, which only delays. */
#ifndef REGISTRY_GC_H
#define REGISTRY_GC_H
#include "base/digest.h"
#include "db/db.h"

struct registry;
enum gc_kind { GC_MANIFEST = 1, GC_LINK = 2, GC_BLOB = 3 }; /* gc_queue.kind */

/* Takes gc_delay and untagged_expiry from the registry's numbers: registry_new and registry_reload. */
void gc_setup(const struct registry *g);
/* Puts a review at its kind's delay from now (or pushes the queued one forward): LINK gc_delay,
 * BLOB a few seconds, MANIFEST untagged_expiry (nothing is written while that is off: a sweep finds them
 * when it is switched on). repo_id 0 for GC_BLOB. event: upload, mount, manifest_delete, tag_moved, ... */
int gc_enqueue(struct db_tx *tx, int kind, int64_t repo_id, const struct digest *d, const char *event,
               struct err *err);
int gc_enqueue_at(struct db_tx *tx, int kind, int64_t repo_id, const struct digest *d, int64_t review_after,
                  const char *event, struct err *err);

/* "Somebody was told that this exists." Call BEFORE the database (or cache) is read. Close the last
 * race like a seqlock: when the object was found and !gc_undisturbed(ticket), the reviewer was deleting
 * something at that moment: read again with a new ticket (a loop thread hands over to a worker; a
 * worker may gc_wait(ticket) first, some milliseconds). */
uint64_t gc_touch(int64_t repo_id, const struct digest *d);
bool gc_undisturbed(uint64_t ticket);
void gc_wait(uint64_t ticket);
/* Monotonic microseconds of the last touch; process start when there was none. */
int64_t gc_touched(int64_t repo_id, const struct digest *d);

/* Asks the scrub to look at a blob first (its inode or time is not the verified one). Never blocks;
 * a full list drops the request: the scrub comes by anyway. */
void scrub_request(struct registry *g, const struct digest *d);
#endif
