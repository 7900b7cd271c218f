/* Statements on saved windows. */
#include "policy/policy_int.h"

static const char PART_PUT[] = "INSERT INTO windows (part, bytes) VALUES ($1, $2) "
                               "ON CONFLICT (part) DO UPDATE SET bytes = excluded.bytes";
static const char PART_ALL[] = "SELECT part, bytes FROM windows ORDER BY part";

int window_tx_put(struct db_tx *tx, int64_t part, struct str records, struct err *err)
{
    return db_exec(tx, PART_PUT, DB_ARGS(DB_I(part), DB_B(records)), NULL, err);
}

int window_tx_each(struct db_tx *tx, int (*fn)(void *arg, int64_t part, struct str records), void *arg, struct err *err)
{
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, PART_ALL, DB_NO_ARGS, &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = fn(arg, db_int(rows, 0), db_bytes(rows, 1));
    return rc < 0 ? rc : 0;
}
