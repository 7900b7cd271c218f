/* Referrers of a subject, by key; a filter is part of the statement. */
#include "registry/referrer.h"

static const char REFERRERS[] =
    "SELECT digest, media_type, artifact_type, annotations, size FROM manifests "
    "WHERE repo_id = $1 AND subject = $2 AND digest > $3 ORDER BY digest LIMIT $4";
static const char REFERRERS_OF_TYPE[] =
    "SELECT digest, media_type, artifact_type, annotations, size FROM manifests "
    "WHERE repo_id = $1 AND subject = $2 AND digest > $3 AND artifact_type = $5 ORDER BY digest "
    "LIMIT $4";

int referrer_tx_page(struct db_tx *tx, int64_t repo_id, const struct referrer_query *q, int64_t n,
                     int (*fn)(void *arg, const struct referrer *one), void *arg, struct err *err)
{
    uint8_t subject[DIGEST_KEY_MAX], last[DIGEST_KEY_MAX];
    bool filter = q->artifact_type.n > 0;
    /* A key longer than none: the empty string sorts before every digest. */
    struct str after = q->has_last ? key_str(&q->last, last) : STR_LIT("");
    struct db_value args[] = {DB_I(repo_id), DB_B(key_str(&q->subject, subject)), DB_B(after),
                              DB_I(n), DB_T(q->artifact_type)};
    auto_rows struct db_rows *rows = NULL;
    int rc = db_query(tx, filter ? REFERRERS_OF_TYPE : REFERRERS, args, filter ? 5 : 4, &rows, err);
    if (rc < 0)
        return rc;
    while ((rc = db_next(rows, err)) == 1) {
        struct referrer one = {.media_type = db_text(rows, 1),
                               .artifact_type = db_text(rows, 2),
                               .annotations = db_text(rows, 3),
                               .size = db_int(rows, 4)};
        if (digest_from_key(db_bytes(rows, 0), &one.digest) < 0)
            continue;
        if (fn(arg, &one) != 0)
            return 0;
    }
    return rc;
}
