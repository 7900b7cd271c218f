/* Private: upkeep, the work beside the requests: gc.c, gc_touch.c, gc_run.c, trash.c, scrub.c,
 * fsck*.c and background.c, whose two threads run it.
 *
 * Locks, in the order they are taken: the reviewer's (one removal at a time) or the trash's, then a
 * digest's store lock, then db_write, whose callbacks take none. */
#ifndef REGISTRY_UPKEEP_H
#define REGISTRY_UPKEEP_H
#include "registry/registry_int.h"

struct raw_key { /* a digest as the database has it, also a malformed one */
    uint8_t n, p[DIGEST_KEY_MAX];
};
static inline struct str raw_str(const struct raw_key *k)
{
    return (struct str){(const char *)k->p, k->n};
}
/* Copies a key of a row; what is longer than any key is cut (and is malformed, then). */
void raw_set(struct raw_key *k, struct str bytes);

/* ---- gc_touch.c ---- */
enum { TOUCH_STEP_US = 100000 }; /* gc_touched may be so much too late, never too early */
/* Brackets a removal: no reader that looks at the same time trusts what it found (gc_undisturbed).
 * Nothing else may be between begin and end in another thread. */
void gc_deleting_begin(int64_t repo_id, const struct digest *d);
void gc_deleting_end(int64_t repo_id, const struct digest *d);
/* How long an object that was seen must still be left alone; 0: not at all. */
int64_t gc_grace_left(struct registry *g, int64_t repo_id, const struct digest *d);

/* ---- gc_sql.c ---- */
enum { GC_EVENT_MAX = 32 };
enum gc_verdict {
    GC_REMOVE = 0,
    GC_REFERENCED,  /* a manifest of the repository names the blob */
    GC_TAGGED,      /* a tag names the manifest */
    GC_HAS_PARENT,  /* a manifest of the repository names it */
    GC_HAS_SUBJECT, /* its subject lives */
    GC_LINKED,      /* a repository links the blob */
    GC_ABSENT,      /* there is no such object any more */
    GC_EXPIRY_OFF,  /* manifests are kept: untagged_expiry is 0 */
    GC_TOUCHED,     /* pushed or seen by HEAD within gc_grace */
    GC_NOT_DUE,     /* its review was put off, or is done, meanwhile */
    GC_MALFORMED,   /* the row's digest is none */
};
struct gc_row {
    int64_t kind, repo_id, review_after, reviews;
    struct raw_key key;
    struct digest digest; /* alg DIGEST_NONE: malformed */
    bool has_repo;
    char name[NAME_MAX_BYTES + 1]; /* of the repository; "" for blobs */
    char event[GC_EVENT_MAX];
    /* What a review found. */
    enum gc_verdict verdict;
    int64_t size;
};
/* Queue rows after *after. by_key: all of them, by kind, repository and digest (manifests, links,
 * blobs: the order in which one sets the next free); else those due, longest overdue first. */
int gc_tx_page(struct db_tx *tx, bool by_key, int64_t due, const struct gc_row *after,
               struct gc_row *rows, size_t max, size_t *ret_n, struct err *err);
int gc_tx_still_due(struct db_tx *tx, const struct gc_row *row, int64_t due,
                    struct err *err); /* 1, 0 */
/* What stands in the way of removing the object, from the rows of the database alone. */
int gc_tx_judge(struct db_tx *tx, const struct gc_row *row, enum gc_verdict *ret, struct err *err);
int gc_tx_size(struct db_tx *tx, const struct gc_row *row, int64_t *ret,
               struct err *err); /* 0: absent */
int gc_tx_put(struct db_tx *tx, int kind, int64_t repo_id, struct str key, int64_t review_after,
              const char *event, struct err *err);
/* As gc_enqueue_at, but leaves a queued row as it is. */
int gc_tx_put_absent(struct db_tx *tx, int kind, int64_t repo_id, struct str key,
                     int64_t review_after, const char *event, struct err *err);
int gc_tx_drop(struct db_tx *tx, const struct gc_row *row, struct err *err);
int gc_tx_postpone(struct db_tx *tx, const struct gc_row *row, int64_t review_after,
                   struct err *err);
int gc_tx_counts(struct db_tx *tx, int64_t now, int64_t *ret_rows, int64_t *ret_overdue,
                 struct err *err);
/* Moves a blob's row to the trash: 1, 0 there is none. */
int trash_tx_move(struct db_tx *tx, const struct digest *d, int64_t unlink_after, struct err *err);
/* A file without a row gets a row in the trash: 1; 0 when it has a row after all. */
int trash_tx_adopt(struct db_tx *tx, const struct digest *d, int64_t size, int64_t unlink_after,
                   struct err *err);
struct trash_row {
    struct digest digest;
    struct raw_key key;
    int64_t size, unlink_after;
};
int trash_tx_page(struct db_tx *tx, int64_t due, const struct raw_key *after,
                  struct trash_row *rows, size_t max, size_t *ret_n, struct err *err);
int trash_tx_drop(struct db_tx *tx, const struct raw_key *key, int64_t due, struct err *err);
int trash_tx_has(struct db_tx *tx, const struct digest *d, struct err *err); /* 1, 0 */
int blob_tx_row(struct db_tx *tx, const struct digest *d, struct blob_row *ret,
                struct err *err); /* 1, 0 */
struct sweep_row {
    int64_t id, repo_id;
    struct raw_key key;
    bool living; /* tagged, a child, or with a living subject */
};
int sweep_tx_page(struct db_tx *tx, int64_t after, struct sweep_row *rows, size_t max,
                  size_t *ret_n, struct err *err);
struct scrub_row {
    struct digest digest;
    struct raw_key key;
    int64_t size, verified_at;
};
/* Good blobs last verified at or before `before`, oldest first. */
int scrub_tx_page(struct db_tx *tx, int64_t before, const struct scrub_row *after,
                  struct scrub_row *rows, size_t max, size_t *ret_n, struct err *err);

/* ---- gc.c ---- */
struct gc_run {
    struct registry *g;
    int64_t due;              /* rows with review_after up to it */
    bool by_key;              /* `now`: every row, due or not (due is then the largest number) */
    size_t max;               /* rows to look at */
    const _Atomic bool *stop; /* NULL: runs to its end */
    /* Told of each removal; anything but 0 ends the run with it. */
    int (*removed)(void *arg, const struct gc_row *row, struct err *err);
    void *arg;
    int64_t reviewed, deleted, kept, postponed, failed;
};
int gc_pass(struct gc_run *run, struct err *err);
/* The verdict on an object as things stand, whenever its review is due. Inside a transaction. */
int gc_judge(struct db_tx *tx, struct registry *g, struct gc_row *row, struct err *err);
/* Both gauges; asks the database seldom enough to cost nothing. force: always. */
int gc_gauges(struct registry *g, bool force, struct err *err);
/* untagged_expiry switched on (or a start with it): a step of the search for manifests that were
 * never queued. */
struct gc_sweep {
    bool on, done;
    int64_t after;
};
int gc_sweep_step(struct registry *g, struct gc_sweep *s, struct err *err);
const char *gc_kind_name(int64_t kind);

/* ---- repo_delete.c, repo_delete_sql.c ---- */
/* Takes out what deleted repositories held, until nothing is left or stop. */
int repo_drain(struct registry *g, const _Atomic bool *stop, struct err *err);
int drain_tx_next(struct db_tx *tx, int64_t *ret_id, struct err *err); /* 1 one of them, 0 there is none */
int drain_any(struct db_tx *tx, void *done, struct err *err);          /* bool: there is none */
/* Some rows of it; 0 when it holds no more of them. */
int drain_tx_tags(struct db_tx *tx, int64_t repo_id, struct err *err);
int drain_tx_manifests(struct db_tx *tx, int64_t repo_id, struct err *err);
int drain_tx_links(struct db_tx *tx, int64_t repo_id, struct err *err);
int drain_tx_uploads(struct db_tx *tx, int64_t repo_id, struct err *err);
int drain_tx_reviews(struct db_tx *tx, int64_t repo_id, struct err *err);
int drain_tx_row(struct db_tx *tx, int64_t repo_id, struct err *err);

/* ---- trash.c ---- */
/* How long a file lies in the trash, and how old a stray file must be: gc_grace, at most an hour. */
int64_t trash_hold(const struct registry *g);
/* Unlinks what is due. *ret_files may be NULL. */
int trash_purge(struct registry *g, int64_t due, const _Atomic bool *stop, int64_t *ret_files,
                struct err *err);
/* Files in blobs/ that have no row and no committer (a push that was killed): into the trash, when
 * older than trash_hold. *ret_young: such files that are not. */
int orphans_collect(struct registry *g, int64_t now, const _Atomic bool *stop, int64_t *ret_young,
                    struct err *err);
/* One of them: 1 moved, 0 it has a row. */
int orphan_trash(struct registry *g, const struct digest *d, int64_t now, struct err *err);
/* Unlinks a file of trash/ that has no row there. */
int trash_unlink_stray(struct registry *g, const struct digest *d, struct err *err);
/* Calls fn for each file of "blobs" that no row of blobs or trash tells of, or of "trash" that has
 * no row there; looked up in pages. The answer is a suspicion: a push may be between its file and
 * its row. */
int orphans_walk(struct registry *g, const char *where, const _Atomic bool *stop,
                 int (*fn)(void *arg, const struct digest *d, const struct blob_stat *st,
                           struct err *err),
                 void *arg, struct err *err);

/* ---- scrub.c ---- */
struct scrub; /* its place in the walk, requests, the rate */
struct scrub *scrub_new(struct registry *g, struct background *b);
void scrub_free(struct scrub *s);
void scrub_put(struct scrub *s, const struct digest *d); /* scrub_request */
/* A slice of work: requests first, then the next blobs that are due. 1 there is more, 0 all is
 * done. */
int scrub_step(struct scrub *s, struct err *err);

/* ---- background.c ---- */
/* The queue's times are wall times. When the clock jumps ahead, what was queued before seems due
 * long before its delay is over: then the delay is waited for by the monotonic clock. (A row queued
 * after the jump bears the new time.) What the clock did while the server was down is not known;
 * then gc_grace, counted from the start, is what protects. */
struct clock_watch {
    int64_t offset, step_at; /* wall minus monotonic; monotonic time of the last jump */
    bool looked, stepped;
};
int64_t clock_watch_look(struct clock_watch *w, int64_t wall, int64_t mono); /* the jump, 0 none */
bool clock_watch_settled(const struct clock_watch *w, int64_t mono, int64_t delay);
/* Waits, at most us; true when the threads are to end. */
bool background_wait(struct background *b, int64_t us);
void background_wake(struct background *b); /* settings or requests are new; NULL-safe */
struct scrub *background_scrub(struct background *b);
#endif
