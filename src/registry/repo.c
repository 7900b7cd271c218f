/* What every writing handler does alike: decide again inside the transaction, and bracket the
 * commit with the repository's generation so that no reader keeps an old fact. */
#include "registry/registry_int.h"

int repo_tx_for_push(struct db_tx *tx, const struct push_target *t, struct push_into *ret, struct err *err)
{
    bool made = false;
    if (t->absent) {
        struct repo_fact *fact = NULL;
        int rc = ident_tx_repo(tx, t->name, &fact, err);
        if (rc < 0)
            return rc;
        made = rc == 0;
        if (fact)
            shared_unref(&fact->shared);
    }
    struct push_into into;
    int rc = ident_tx_repo_for_push(tx, t->who, t->name, &into, err);
    if (rc < 0)
        return rc;
    if (made) {
        struct buf data;
        buf_init(&data, 1024);
        buf_cstr(&data, "{\"name\":");
        buf_json(&data, t->name);
        buf_char(&data, '}');
        rc = event_tx_append(tx, "repository.created", t->who->user_id, into.repo_id, buf_view(&data), err);
        buf_release(&data);
        if (rc < 0)
            return rc;
    }
    *ret = into;
    return 0;
}

int repo_write(struct registry *g, struct str name, db_callback fn, void *arg, struct err *err)
{
    gen_begin(GEN_REPO, name);
    int rc = db_write(g->db, fn, arg, err);
    gen_end(GEN_REPO, name);
    return rc;
}

int registry_space(struct registry *g, int64_t taking, struct err *err)
{
    int64_t least = registry_num(g, MIN_FREE), now = clock_mono();
    int64_t checked = atomic_load_explicit(&g->space_checked, memory_order_relaxed);
    if (checked == 0 || now - checked > 200000) {
        int64_t bytes;
        int rc = store_free_bytes(g->store, &bytes, err);
        if (rc < 0)
            return rc;
        atomic_store_explicit(&g->space_free, bytes, memory_order_relaxed);
        atomic_store_explicit(&g->space_checked, now, memory_order_relaxed);
        metric_set(METRIC_STORE_FREE, bytes);
    }
    int64_t have = atomic_fetch_sub_explicit(&g->space_free, taking, memory_order_relaxed) - taking;
    if (least > 0 && have < least)
        return err_set(err, ERR_STORAGE_FULL,
                       "the data volume has %lld bytes free, uploads need %lld (min_free)",
                       (long long)have, (long long)least);
    return 0;
}
