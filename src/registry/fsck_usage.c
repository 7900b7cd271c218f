/* fsck: what accounts are charged with, against what their repositories hold. */
#include "policy/quota.h"
#include "registry/fsck.h"

#define HELD                                                                                              \
    "SELECT n.owner_id, o.digest, max(o.size), count(*) FROM "                                            \
    "(SELECT l.repo_id, l.digest, b.size FROM repo_blobs l JOIN blobs b ON b.digest = l.digest "          \
    "UNION ALL SELECT repo_id, digest, size FROM manifests) o "                                           \
    "JOIN repos r ON r.id = o.repo_id JOIN namespaces n ON n.id = r.namespace_id "                        \
    "WHERE n.owner_id IS NOT NULL GROUP BY n.owner_id, o.digest"
#define CHARGED "SELECT account_id, digest, size, links FROM account_blobs"
static const char UNCHARGED[] = "SELECT count(*) FROM (" HELD " EXCEPT " CHARGED ") x";
static const char NOT_HELD[] = "SELECT count(*) FROM (" CHARGED " EXCEPT " HELD ") x";
/* Deleted repositories wait under names below '!~'. */
#define PRIVATE_REPOS                                                                                     \
    "SELECT n.owner_id AS account_id, count(*) AS n FROM repos r JOIN namespaces n ON n.id = r.namespace_id " \
    "WHERE r.public = 0 AND r.name > '!~' AND n.owner_id IS NOT NULL GROUP BY n.owner_id"
static const char REPOS_WRONG[] =
    "SELECT count(*) FROM (SELECT account_id, n FROM (" PRIVATE_REPOS ") p EXCEPT SELECT account_id, used FROM usage WHERE kind = 2) x";
static const char REPOS_GONE[] = "SELECT count(*) FROM usage u WHERE u.kind = 2 AND u.used > 0 AND NOT EXISTS "
                                 "(SELECT 1 FROM (" PRIVATE_REPOS ") p WHERE p.account_id = u.account_id)";
static const char *const counts[] = {UNCHARGED, NOT_HELD, REPOS_WRONG, REPOS_GONE};
static const char *const repairs[] = {
    "DELETE FROM account_blobs", "INSERT INTO account_blobs (account_id, digest, size, links) " HELD,
    "UPDATE usage SET used = 0 WHERE kind = 2",
    "INSERT INTO usage (account_id, kind, used, reserved, warned) SELECT account_id, 2, n, 0, 0 FROM (" PRIVATE_REPOS
    ") p WHERE true ON CONFLICT (account_id, kind) DO UPDATE SET used = excluded.used"};

static void map_int(const struct db_rows *row, void *out) { *(int64_t *)out = db_int(row, 0); }

static int wrong_read(struct db_tx *tx, void *arg, struct err *err)
{
    int64_t n = 0, *all = arg;
    int rc = quota_tx_wrong(tx, all, err);
    for (size_t i = 0; rc >= 0 && i < ARRAY_LEN(counts); i++) {
        rc = db_one(tx, counts[i], DB_NO_ARGS, map_int, &n, err);
        *all += n;
    }
    return rc < 0 ? rc : 0;
}

static int repair_write(struct db_tx *tx, void *arg, struct err *err)
{
    int rc = 0;
    (void)arg;
    for (size_t i = 0; rc == 0 && i < ARRAY_LEN(repairs); i++)
        rc = db_exec(tx, repairs[i], DB_NO_ARGS, NULL, err);
    return rc < 0 ? rc : quota_tx_recount(tx, err);
}

/* Reads every link, so only in a full run. */
int fsck_usage(struct fsck *f, struct err *err)
{
    int64_t wrong = 0;
    if (!f->full)
        return 0;
    fsck_begin(f, "usage");
    int rc = db_read(f->g->db, wrong_read, &wrong, err);
    if (rc == 0 && wrong > 0 && f->repair)
        rc = db_write(f->g->db, repair_write, NULL, err);
    struct finding x = {.code = "usage", .text = "what accounts are charged with is not what they hold", .repaired = f->repair};
    return rc < 0 ? rc : wrong > 0 ? fsck_say(f, &x, err) : fsck_progress(f, err);
}
