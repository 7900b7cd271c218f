/* What Hub's order of repositories needs beside ident's rows. */
#include "hub/repo.h"

static const char UPDATED[] = "SELECT CASE WHEN updated_at > 0 THEN updated_at ELSE created_at END FROM repos WHERE name = $1";

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

int hub_tx_updated(struct db_tx *tx, struct str name, int64_t *ret, struct err *err)
{
    return db_one(tx, UPDATED, DB_ARGS(DB_T(name)), map_int, ret, err);
}
