/* Private to the room: rows of usage, reservations and account_blobs. */
#ifndef POLICY_QUOTA_INT_H
#define POLICY_QUOTA_INT_H
#include "policy/quota.h"

enum { QUOTA_UPLOAD_MAX = 64 };
struct quota_reservation {
    char upload[QUOTA_UPLOAD_MAX + 1];
    int64_t account, bytes;
};
struct quota_blob {
    int64_t size, links;
};
/* ---- quota_sql.c: 1 found, 0 not ---- */
int usage_tx_get(struct db_tx *tx, int64_t account, enum quota_kind kind, struct quota_usage *ret, struct err *err);
int usage_tx_put(struct db_tx *tx, int64_t account, enum quota_kind kind, const struct quota_usage *u, struct err *err);
int reservation_tx_get(struct db_tx *tx, const char *upload, struct quota_reservation *ret, struct err *err);
int reservation_tx_put(struct db_tx *tx, const struct quota_reservation *r, int64_t expires, struct err *err);
int reservation_tx_delete(struct db_tx *tx, const char *upload, struct err *err);
int reservation_tx_expired(struct db_tx *tx, int64_t now, struct quota_reservation *ret, struct err *err); /* the oldest */
int reservation_tx_orphan(struct db_tx *tx, struct quota_reservation *ret, struct err *err);               /* any */
int account_blob_tx_get(struct db_tx *tx, int64_t account, struct str key, struct quota_blob *ret, struct err *err);
int account_blob_tx_put(struct db_tx *tx, int64_t account, struct str key, const struct quota_blob *b, struct err *err);
int account_blob_tx_delete(struct db_tx *tx, int64_t account, struct str key, struct err *err);
#endif
