/* db_check: the engine's own check, and what references promise beyond foreign keys. */
#include "db/db_int.h"

struct check {
    struct buf *report;
    int64_t faults;
};

/* Each counts rows that should not be. */
static const struct {
    const char *sql, *what;
} rules[] = {
    {"SELECT count(*) FROM manifest_refs f JOIN manifests m ON m.id = f.manifest_id "
     "WHERE m.repo_id <> f.repo_id",
     "references whose manifest is in another repository"},
    {"SELECT count(*) FROM tags t JOIN manifests m ON m.id = t.manifest_id "
     "WHERE m.repo_id <> t.repo_id OR m.digest <> t.digest",
     "tags whose manifest is in another repository or has another digest"},
    {"SELECT count(*) FROM manifests WHERE size <> length(bytes)",
     "manifests whose size is not that of their bytes"},
};

static void map_int(const struct db_rows *row, void *out)
{
    *(int64_t *)out = db_int(row, 0);
}

static int run(struct db_tx *tx, void *arg, struct err *err)
{
    struct check *c = arg;
    int rc = tx->db->engine->check(tx, c->report, &c->faults, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(rules); i++) {
        int64_t n = 0;
        rc = db_one(tx, rules[i].sql, DB_NO_ARGS, map_int, &n, err);
        if (rc >= 0 && n > 0)
            buf_printf(c->report, "%lld %s\n", (long long)n, rules[i].what);
        c->faults += n;
    }
    return rc < 0 ? rc : 0;
}

int db_check(struct db *db, struct buf *report, struct err *err)
{
    struct check c = {report, 0};
    int rc = db_read(db, run, &c, err);
    return rc < 0 ? rc : c.faults > 0;
}
