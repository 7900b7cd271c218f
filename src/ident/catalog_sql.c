/* The catalog: names a principal may read, in byte order, from indexed ranges only. What is hidden
 * is never scanned, so a page costs the same for somebody who may read ten of a million. */
#include "ident/ident_int.h"

enum { CATALOG_PAGE = 500 };

static const char ALL[] = "SELECT name FROM repos WHERE name > $1 ORDER BY name LIMIT $2";
static const char PUBLIC[] =
    "SELECT name FROM repos WHERE public = 1 AND name > $1 ORDER BY name LIMIT $2";
/* An account's own and the public rest: each range is cut before they are merged; UNION drops what
 * is in several. */
static const char OWN[] =
    "SELECT name FROM (SELECT name FROM repos WHERE namespace_id = (SELECT id FROM namespaces WHERE owner_id = $3) "
    "AND name > $1 ORDER BY name LIMIT $2) AS own "
    "UNION SELECT name FROM (SELECT name FROM repos WHERE public = 1 AND name > $1 ORDER BY name LIMIT $2) AS open "
    "ORDER BY name LIMIT $2";
/* And what organizations, teams and other users let him read. */
static const char USER[] =
    "SELECT name FROM (SELECT name FROM repos WHERE namespace_id = (SELECT id FROM namespaces WHERE owner_id = $3) "
    "AND name > $1 ORDER BY name LIMIT $2) AS own "
    "UNION SELECT name FROM (SELECT name FROM repos WHERE public = 1 AND name > $1 ORDER BY name LIMIT $2) AS open "
    "UNION SELECT name FROM (SELECT r.name FROM members m JOIN accounts a ON a.id = m.org_id "
    "JOIN namespaces n ON n.owner_id = a.id JOIN repos r ON r.namespace_id = n.id "
    "WHERE m.user_id = $3 AND (m.role > 1 OR a.default_access > 0) AND a.need_mfa <= $4 AND r.name > $1 ORDER BY r.name LIMIT $2) AS orgs "
    "UNION SELECT name FROM (SELECT r.name FROM team_members t JOIN team_grants g ON g.team_id = t.team_id "
    "JOIN teams tt ON tt.id = t.team_id JOIN accounts a ON a.id = tt.org_id "
    "JOIN repos r ON r.id = g.repo_id WHERE t.user_id = $3 AND a.need_mfa <= $4 AND r.name > $1 ORDER BY r.name LIMIT $2) AS teams "
    "UNION SELECT name FROM (SELECT r.name FROM collaborators c JOIN repos r ON r.id = c.repo_id "
    "WHERE c.user_id = $3 AND r.name > $1 ORDER BY r.name LIMIT $2) AS shared "
    "ORDER BY name LIMIT $2";

struct names {
    const struct principal *p;
    struct str last;
    size_t n; /* rows to ask for */
    int64_t got;
    char text[CATALOG_PAGE][NAME_MAX_BYTES + 9];
};

static int read_page(struct db_tx *tx, void *arg, struct err *err)
{
    struct names *q = arg;
    auto_rows struct db_rows *rows = NULL;
    struct db_value last = DB_T(q->last), n = DB_I(q->n), id = DB_I(q->p->user_id);
    int rc;
    q->got = 0;
    if (q->p->role != SITE_NONE)
        rc = db_query(tx, ALL, DB_ARGS(last, n), &rows, err);
    else if (q->p->kind == WHO_NOBODY)
        rc = db_query(tx, PUBLIC, DB_ARGS(last, n), &rows, err);
    else if (q->p->kind == WHO_ORG)
        rc = db_query(tx, OWN, DB_ARGS(last, n, id), &rows, err);
    else
        rc = db_query(tx, USER, DB_ARGS(last, n, id, DB_I(q->p->second_factor)), &rows, err);
    while (rc == 0 && (rc = db_next(rows, err)) == 1) {
        text_copy(q->text[q->got], sizeof q->text[0], db_text(rows, 0));
        q->got++;
        rc = 0;
    }
    return rc;
}

/* A token shows what its bounds let it read; the decision is made anew for each name. */
struct cut {
    struct names *names;
    bool keep[CATALOG_PAGE];
};

static int cut_page(struct db_tx *tx, void *arg, struct err *err)
{
    struct cut *c = arg;
    for (int64_t i = 0; i < c->names->got; i++) {
        c->keep[i] = false;
        if (principal_scope_repo(c->names->p, str_of(c->names->text[i])) == SCOPE_ANY) /* most of them, for narrow bounds */
            continue;
        int rc = ident_tx_may(tx, c->names->p, RIGHT_PULL, str_of(c->names->text[i]), err);
        if (rc < 0 && rc != ERR_DENIED)
            return rc;
        c->keep[i] = rc == 0;
    }
    return 0;
}

int ident_catalog(struct ident *i, const struct principal *p, struct str last, size_t n,
                  int (*fn)(void *arg, struct str name), void *arg, struct err *err)
{
    auto_free struct names *q = mem_zalloc(sizeof *q);
    auto_free struct cut *c = mem_zalloc(sizeof *c);
    static const struct str behind = {"!~", 2}; /* what repo_tx_abandon left */
    char from[NAME_MAX_BYTES + 9];
    int rc = 0;
    size_t told = 0;
    bool cut = p->credential_id != 0;
    text_copy(from, sizeof from, str_cmp(last, behind) < 0 ? behind : last);
    c->names = q;
    do {
        *q = (struct names){.p = p, .last = str_of(from), .n = n - told < CATALOG_PAGE ? n - told : CATALOG_PAGE};
        if (cut)
            q->n = CATALOG_PAGE;
        rc = db_read(i->db, read_page, q, err);
        if (rc == 0 && cut)
            rc = db_read(i->db, cut_page, c, err);
        for (int64_t k = 0; rc == 0 && k < q->got && told < n; k++) {
            memcpy(from, q->text[k], sizeof from);
            if (cut && !c->keep[k])
                continue;
            rc = fn(arg, str_of(q->text[k]));
            told++;
        }
    } while (rc == 0 && told < n && (size_t)q->got == q->n);
    return rc;
}
