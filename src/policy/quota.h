/* Quotas: what an account has and stores, against its plan. Everything happens inside the write
 * transaction that makes the thing counted, so the sums are exact after any crash and no two writers
 * get past a limit together; each call costs the same however much the account has.
 *
 * Bytes stored are the sizes of the DISTINCT blobs and manifests linked in the account's
 * repositories, each once: linking the same layer in ten repositories of an account costs it once,
 * and each account that has it is charged for it. The registry calls
 *   quota_tx_link     for each row it really adds to repo_blobs or manifests (not for one that was there),
 *   quota_tx_unlink   for each row it really removes, whoever removes it: DELETE, collector, fsck;
 *                     a repository that changes its account: unlink from one, link to the other.
 * used + reserved never passes the limit by what these calls add; it may stand above it when a plan
 * shrank: then only less is possible. `limits` is the account's plan as of this transaction
 * (policy_tx_plan), so a shrinking plan and a push meet in some order, not in a race.
 *
 * An upload whose length is not known reserves ahead of its bytes (quota_tx_reserve, more and more),
 * so what lies in staging is covered; its end is quota_tx_settle (the blob is linked) or
 * quota_tx_release (cancelled, expired, failed). Sessions that a crash forgot are found by
 * quota_tx_orphans at the start and by quota_tx_expire. */
#ifndef POLICY_QUOTA_H
#define POLICY_QUOTA_H
#include "base/digest.h"
#include "policy/policy.h"

enum quota_kind { QUOTA_BYTES = 1, QUOTA_PRIVATE_REPOS, QUOTA_COLLABORATORS, QUOTA_SEATS, QUOTA_BUILDS };
struct quota_usage {
    int64_t used, reserved; /* reserved: bytes only */
    bool warned;
};
int64_t quota_limit(const struct plan_limits *limits, enum quota_kind kind); /* -1 unlimited */
const char *quota_name(enum quota_kind kind);                                /* "bytes", as the plan's field */
/* Zeros when the account never had any. */
int quota_tx_usage(struct db_tx *tx, int64_t account, enum quota_kind kind, struct quota_usage *ret, struct err *err);

/* Of all that adds: ERR_QUOTA, with what is used and allowed, when it does not fit; then nothing was
 * changed. *ret_warn (may be NULL): this call took it to 80 % of the limit; it is not told again
 * before use fell to 70 %. */

/* Counts n more or less. Less than 0 left: ERR_INTERNAL. */
int quota_tx_add(struct db_tx *tx, int64_t account, const struct plan_limits *limits, enum quota_kind kind, int64_t n,
                 bool *ret_warn, struct err *err);
int quota_tx_link(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const struct digest *d,
                  int64_t size, bool *ret_warn, struct err *err);
/* 1, or 0: the account has no such link (then nothing was changed). */
int quota_tx_unlink(struct db_tx *tx, int64_t account, const struct digest *d, struct err *err);

/* Brings the upload's reservation to `want` bytes in all, or to as much of it as fits, but not below
 * `least`. Never makes it smaller. *ret_bytes: what the upload may have in all; INT64_MAX without a limit
 * on bytes (no row is written then). `expires`: microseconds since 1970, moved by each call. */
int quota_tx_reserve(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const char *upload,
                     int64_t least, int64_t want, int64_t expires, int64_t *ret_bytes, struct err *err);
int quota_tx_release(struct db_tx *tx, const char *upload, struct err *err); /* 1; 0 there was none */
/* The end of an upload: its reservation goes; new_link: as quota_tx_link for the blob it became. ERR_QUOTA
 * (the plan shrank, or more came than was reserved) rolls back the reservation's end, too: release it. */
int quota_tx_settle(struct db_tx *tx, int64_t account, const struct plan_limits *limits, const char *upload,
                    const struct digest *d, int64_t size, bool new_link, bool *ret_warn, struct err *err);
int quota_tx_any_reserved(struct db_tx *tx, struct err *err); /* 1, 0: there is nothing to expire */
/* Releases at most max that expired by `now`; returns how many. */
int quota_tx_expire(struct db_tx *tx, int64_t now, int max, struct err *err);
/* At the start, before uploads are served: releases those whose upload has no row, at most max;
 * returns how many (fewer than max: there are no more). */
int quota_tx_orphans(struct db_tx *tx, int max, struct err *err);

/* Accounts whose sums are not those of their rows (fsck: must be 0); and makes them so (fsck --repair;
 * an upgrade that filled account_blobs). */
int quota_tx_wrong(struct db_tx *tx, int64_t *ret_accounts, struct err *err);
int quota_tx_recount(struct db_tx *tx, struct err *err);
#endif
