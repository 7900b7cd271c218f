/* The catalog: names a principal may read, in byte order, from indexed ranges only. What is hidden
 * is never scanned, so a page costs the same for somebody who may read ten of a million. */
#include "ident/ident_int.h"

static const char ALL[] = "SELECT name FROM repos WHERE name > $1 ORDER BY name LIMIT $2";
static const char PUBLIC[] =
    "SELECT name FROM repos WHERE public = 1 AND name > $1 ORDER BY name LIMIT $2";
/* Own namespace and the public rest: both ranges are cut before they are merged; UNION drops what
 * is in both. */
static const char OWN[] =
    "SELECT name FROM (SELECT name FROM repos WHERE namespace_id = "
    "(SELECT id FROM namespaces WHERE name = $3 AND owner_id = $4) AND name > $1 "
    "ORDER BY name LIMIT $2) AS own "
    "UNION SELECT name FROM (SELECT name FROM repos WHERE public = 1 AND name > $1 ORDER BY name LIMIT $2) "
    "AS open ORDER BY name LIMIT $2";

struct page_read {
    const struct principal *p;
    struct str last;
    size_t n;
    int (*fn)(void *arg, struct str name);
    void *arg;
};

static int read_page(struct db_tx *tx, void *arg, struct err *err)
{
    struct page_read *q = arg;
    auto_rows struct db_rows *rows = NULL;
    int rc;
    if (q->p->admin)
        rc = db_query(tx, ALL, DB_ARGS(DB_T(q->last), DB_I(q->n)), &rows, err);
    else if (q->p->user_id == 0)
        rc = db_query(tx, PUBLIC, DB_ARGS(DB_T(q->last), DB_I(q->n)), &rows, err);
    else
        rc = db_query(tx, OWN,
                      DB_ARGS(DB_T(q->last), DB_I(q->n), DB_T(str_of(q->p->name)),
                              DB_I(q->p->user_id)),
                      &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1)
        rc = q->fn(q->arg, db_text(rows, 0));
    return rc < 0 ? rc : 0;
}

int ident_catalog(struct ident *i, const struct principal *p, struct str last, size_t n,
                  int (*fn)(void *arg, struct str name), void *arg, struct err *err)
{
    struct page_read q = {p, last.p ? last : STR_LIT(""), n, fn, arg};
    return db_read(i->db, read_page, &q, err);
}
