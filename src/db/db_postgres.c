/* PostgreSQL behind `struct db_engine`. In work: refuses until it is there. */
#include "db/db_int.h"

static int connect_server(struct db *db, enum db_role role, struct db_conn **ret, struct err *err)
{
    (void)db, (void)role, (void)ret;
    return err_set(err, ERR_NOT_IMPLEMENTED, "PostgreSQL is not supported yet");
}

const struct db_engine db_engine_postgres = {.postgres = true, .connect = connect_server};
