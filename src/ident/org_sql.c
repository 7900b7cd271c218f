/* Statements of members, teams and grants. */
#include "ident/ident_int.h"

static const char MEMBER_SET[] = "INSERT INTO members (org_id, user_id, role, source, created_at) VALUES ($1, $2, $3, $4, $5) "
                                 "ON CONFLICT (org_id, user_id) DO UPDATE SET role = excluded.role, source = excluded.source";

int member_tx_set(struct db_tx *tx, int64_t org_id, int64_t user_id, enum member_role role, const char *source, struct err *err)
{
    return db_exec(tx, MEMBER_SET, DB_ARGS(DB_I(org_id), DB_I(user_id), DB_I(role), DB_T(str_of(source)), DB_I(clock_now())), NULL,
                   err);
}
