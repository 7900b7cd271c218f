/* Which store these rows belong to: one row, written at the first start. */
#include "db/db_int.h"

static const char FIND[] = "SELECT id FROM store";
static const char BIND[] = "INSERT INTO store (id) VALUES ($1)";
static const char UNBIND[] = "DELETE FROM store";

struct bind {
    struct str id;
    bool bound, same;
};

static void map_bind(const struct db_rows *row, void *out)
{
    struct bind *b = out;
    b->bound = true;
    b->same = str_eq(db_text(row, 0), b->id);
}

static int find(struct db_tx *tx, void *arg, struct err *err)
{
    struct bind *b = arg;
    b->bound = b->same = false;
    int rc = db_one(tx, FIND, DB_NO_ARGS, map_bind, b, err);
    return rc < 0 ? rc : 0;
}

static int bind_first(struct db_tx *tx, void *arg, struct err *err)
{
    struct bind *b = arg;
    return db_exec(tx, BIND, DB_ARGS(DB_T(b->id)), NULL, err);
}

int db_bind(struct db *db, struct str id, struct err *err)
{
    struct bind b = {.id = id};
    int rc = db_read(db, find, &b, err);
    if (rc == 0 && !b.bound)
        return db_write(db, bind_first, &b, err);
    if (rc < 0 || b.same)
        return rc;
    return err_set(err, ERR_USAGE, "the database belongs to another store");
}

int bind_anew(struct db_tx *tx, struct str id, struct err *err)
{
    struct bind b = {.id = id};
    int rc = db_exec(tx, UNBIND, DB_NO_ARGS, NULL, err);
    return rc < 0 ? rc : bind_first(tx, &b, err);
}
