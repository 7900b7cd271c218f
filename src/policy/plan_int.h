/* Private to the room: rows of plans. */
#ifndef POLICY_PLAN_INT_H
#define POLICY_PLAN_INT_H
#include "policy/policy.h"

enum { PLAN_FIELDS = 10 };
static inline int64_t plan_value(const struct plan_limits *l, const struct plan_field *f)
{
    return *(const int64_t *)((const char *)l + f->offset);
}

/* ---- plan_sql.c: 1 found, 0 not ---- */
int plan_tx_get(struct db_tx *tx, int64_t id, struct plan *ret, struct err *err);
int plan_tx_get_default(struct db_tx *tx, struct plan *ret, struct err *err);
int plan_tx_get_named(struct db_tx *tx, struct str name, struct plan *ret, struct err *err);
int plan_tx_insert(struct db_tx *tx, struct str name, const struct plan_limits *limits, struct err *err);
int plan_tx_update(struct db_tx *tx, int64_t id, const struct plan_limits *limits, struct err *err);
int plan_tx_set_default(struct db_tx *tx, int64_t id, struct err *err);
int plan_tx_delete(struct db_tx *tx, int64_t id, struct err *err);
#endif
