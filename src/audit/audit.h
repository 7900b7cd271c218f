/* The audit log: who did what, with which credential, from where, on what, with what result.
 *
 * Rows of a change go in with its transaction (audit_tx_add). What happens without a transaction
 * (pulls, failed logins) is counted in memory-mapped rings (audit_count) and written as one row for
 * all that was alike in a few seconds. Afterwards the sealer, a thread, chains ranges of rows by
 * SHA-256 and signs them (Ed25519), so no commit ever queues on the chain's head. Whoever owns the
 * whole database, but not DIR/keys, cannot change, remove, add or reorder a sealed row unseen.
 *
 * A row never appears below a sealed number: one thread writes (db.h), its transactions follow one
 * another, and each number it draws is greater than those before; on PostgreSQL the next owner
 * starts only when the advisory lock, hence the last commit, of the one before it is through. */
#ifndef AUDIT_AUDIT_H
#define AUDIT_AUDIT_H
#include "db/db.h"
#include "store/store.h"

enum audit_result { AUDIT_DONE, AUDIT_REFUSED, AUDIT_FAILED };
enum { AUDIT_NAME_MAX = 255, AUDIT_OBJECT_MAX = 512, AUDIT_CLIENT_MAX = 255, AUDIT_DATA_MAX = 4096 };

/* Text may be anything: it is cut to the sizes above, and what is no clean UTF-8 is replaced when it
 * is stored. Only data must be sound JSON (or empty) and fit. */
struct audit_row {
    int64_t seq, at;        /* of a stored row. audit_tx_add: at 0 is now */
    int64_t account_id;     /* whose log: namespace, organization, user; 0 the site */
    int64_t actor_id, credential_id;
    struct str actor;       /* the name as it was */
    struct str action;      /* "repo.push" */
    struct str object;      /* "acme/app:1.0" */
    struct str address, client, data;
    int64_t result;         /* enum audit_result */
    int64_t count;          /* 0 counts as 1 */
};

/* The row stands or falls with the transaction. */
int audit_tx_add(struct db_tx *tx, const struct audit_row *row, struct err *err);

/* ---- reading. Rows are borrowed for the call. */
typedef int (*audit_row_fn)(void *arg, const struct audit_row *row, struct err *err);
/* Newest first. `by` and the time choose the index; action and the ids that are left over are
 * compared on the way. With none of these a page reads no more rows than it shows. */
enum audit_by { AUDIT_BY_TIME, AUDIT_BY_ACCOUNT, AUDIT_BY_ACTOR, AUDIT_BY_OBJECT };
struct audit_filter {
    enum audit_by by;
    int64_t from, to;       /* microseconds, from <= at < to; to 0: no end */
    bool has_account, has_actor;
    int64_t account_id, actor_id;
    struct str object;      /* by object only */
    struct str action;      /* empty: all; "repo.push", or all of a kind: "repo." */
};
struct audit_cursor {       /* all 0: from the newest on */
    int64_t at, seq;
};
enum { AUDIT_PAGE_MAX = 1000, AUDIT_READ_MAX = 5000 };
/* At most n rows (clamped to 1..AUDIT_PAGE_MAX) behind the cursor, which moves. 1: there may be more,
 * though this page may be short when it compared AUDIT_READ_MAX rows in vain; 0: that was all. */
int audit_tx_page(struct db_tx *tx, const struct audit_filter *filter, struct audit_cursor *cursor, int n,
                  audit_row_fn fn, void *arg, struct err *err);
/* Oldest first behind the number `after`: to follow the log from a position that the caller keeps. */
int audit_tx_follow(struct db_tx *tx, int64_t after, int n, audit_row_fn fn, void *arg, struct err *err);

enum audit_format { AUDIT_JSON, AUDIT_CSV };
/* One line with its newline. CSV (RFC 4180): a cell that a spreadsheet would take for a formula
 * begins with an apostrophe. */
void audit_line(struct buf *out, enum audit_format format, const struct audit_row *row);
void audit_head(struct buf *out, enum audit_format format); /* names of the columns; nothing for JSON */
/* All that the filter lets through, newest first, in pieces; each piece reads in a snapshot of its own. */
typedef int (*audit_sink)(void *arg, struct str piece, struct err *err);
int audit_export(struct db *db, const struct audit_filter *filter, enum audit_format format, audit_sink sink,
                 void *arg, struct err *err);

/* ---- the running part: rings and sealer */
struct audit;
struct audit_options {      /* 0: the default */
    int loops;              /* rings for single writers, numbered from 0 */
    int64_t window_us;      /* what is alike within it is one row: 10 s */
    int64_t seal_us;        /* a seal at the latest so long after a row: 60 s */
    int seal_rows;          /* or after so many rows: 1000 */
    size_t ring_bytes;      /* of each of a ring's two halves: 1 MiB */
};
/* Reads or makes the keys (keys/audit.keys), opens the rings (DIR/audit/ring-N) and writes down what
 * an earlier process counted and had not written. */
int audit_new(struct audit **ret, struct db *db, struct store *store, const struct audit_options *o,
              struct err *err);
int audit_start(struct audit *a, struct err *err); /* the sealer's thread */
void audit_stop(struct audit *a);                  /* after the loops ended: writes and seals all there is */
void audit_free(struct audit *a);                  /* NULL-safe; stops */
/* Counts row->count events (0: one); its at is the time of the call, and of the row that of the last
 * event. Never blocks, never fails, makes no system call. Data above 1 KiB is dropped. Only loop `loop` may use its number;
 * AUDIT_SHARED is for all other threads (a short lock). A kill of the process loses nothing of it, a
 * power cut may lose the last seconds. Without room the event is counted as lost, which itself
 * becomes a row ("audit.overflow"). */
enum { AUDIT_SHARED = -1 };
void audit_count(struct audit *a, int loop, const struct audit_row *row);
/* Writes down all that is counted and seals all rows, now. */
int audit_flush(struct audit *a, struct err *err);
/* A new signing key; the old one's public half stays to check old seals. */
int audit_rotate(struct audit *a, struct err *err);

/* ---- proof */
struct audit_verdict {
    int64_t seals, rows;    /* checked */
    int64_t unsealed;       /* rows above the last seal: nothing is known of them yet */
    int64_t expired;        /* rows that retention removed, by the tombstone */
};
/* Told after each seal what was checked so far; a negative result ends it. */
typedef int (*audit_progress)(void *arg, const struct audit_verdict *so_far, struct err *err);
/* 0 sound; 1 not, a line for each fault (up to 100) in the report; negative: could not be checked. progress: or NULL.
 * anchor: a line of audit_anchor kept elsewhere, or empty for the one that the sealer keeps in
 * keys/audit.anchor: without one, a database set back as a whole, or cut off behind an older seal,
 * looks sound. The server need not run. */
int audit_verify(struct db *db, struct store *store, struct str anchor, audit_progress progress, void *arg,
                 struct audit_verdict *ret, struct buf *report, struct err *err);
/* The newest seal as one line without a newline; ERR_NOT_FOUND before the first. */
int audit_anchor(struct db *db, struct buf *ret, struct err *err);
/* Removes all whole ranges that were sealed before this moment, except the newest, and leaves one
 * signed tombstone. ERR_CORRUPT, and no further removal, at a range that is not what was sealed: a
 * tombstone must not cover a forgery. Gives the number of rows removed. */
int audit_expire(struct audit *a, int64_t before, int64_t *ret_rows, struct err *err);
/* keys/audit.keys as it goes into a backup: public halves only. A hub restored from it checks the
 * old seals and signs with a key of its own. ERR_NOT_FOUND when there are none. */
int audit_keys_public(struct store *store, struct buf *ret, struct err *err);
#endif
