/* Private: one page of the referrers of a subject. */
#ifndef REGISTRY_REFERRER_H
#define REGISTRY_REFERRER_H
#include "registry/registry_int.h"

struct referrer_query {
    struct digest subject, last;
    bool has_last;
    struct str artifact_type; /* empty: no filter */
};
struct referrer { /* borrowed until fn returns */
    struct digest digest;
    struct str media_type, artifact_type, annotations;
    int64_t size;
};
/* At most n rows after q->last in digest order; fn returns 0, or anything else to stop. */
int referrer_tx_page(struct db_tx *tx, int64_t repo_id, const struct referrer_query *q, int64_t n,
                     int (*fn)(void *arg, const struct referrer *one), void *arg, struct err *err);
#endif
