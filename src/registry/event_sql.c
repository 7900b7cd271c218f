/* The append-only event log: one row in the same transaction as the change it tells of. */
#include "registry/registry_int.h"

static const char EVENT_APPEND[] =
    "INSERT INTO events (at, kind, actor_id, repo_id, data) VALUES ($1, $2, $3, $4, $5)";

int event_tx_append(struct db_tx *tx, const char *kind, int64_t actor_id, int64_t repo_id,
                    struct str data, struct err *err)
{
    return db_exec(
        tx, EVENT_APPEND,
        DB_ARGS(DB_I(clock_now()), DB_T(str_of(kind)), DB_I(actor_id), DB_I(repo_id), DB_T(data)),
        NULL, err);
}
