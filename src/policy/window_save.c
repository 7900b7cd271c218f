/* Windows to the database and back, in parts: bytes of records (window.c) without an order. The
 * table's hash key is new in each process, so after a start every part is written once. */
#include "policy/policy_int.h"

#include "base/hashkey.h"

enum { PART_BYTES_MAX = WINDOW_BUCKETS / WINDOW_PARTS * WINDOW_SLOTS * WINDOW_RECORD };

struct load {
    struct windows *t;
    int64_t now;
    bool any;
};

static int load_part(void *arg, int64_t part, struct str records)
{
    struct load *l = arg;
    (void)part;
    windows_decode(l->t, records, l->now);
    l->any |= records.n > 0;
    return 0;
}

static int load_all(struct db_tx *tx, void *arg, struct err *err)
{
    return window_tx_each(tx, load_part, arg, err);
}

static uint64_t hash_of(struct str bytes)
{
    return hashkey(bytes.n > 0 ? bytes : STR_LIT(""));
}

int windows_load(struct windows *t, struct window_parts *parts, struct db *db, int64_t now, struct err *err)
{
    struct load l = {t, now, false};
    int rc = db_read(db, load_all, &l, err);
    if (rc < 0)
        return rc;
    for (size_t i = 0; i < WINDOW_PARTS; i++) {
        parts->known[i] = !l.any;
        parts->hash[i] = hash_of((struct str){NULL, 0});
    }
    return 0;
}

struct save {
    struct buf part[WINDOW_PARTS];
    bool changed[WINDOW_PARTS];
    uint64_t hash[WINDOW_PARTS];
};

static int save_all(struct db_tx *tx, void *arg, struct err *err)
{
    const struct save *s = arg;
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < WINDOW_PARTS; i++)
        if (s->changed[i])
            rc = window_tx_put(tx, (int64_t)i, s->part[i].n > 0 ? buf_view(&s->part[i]) : STR_LIT(""), err);
    return rc;
}

int windows_save(struct windows *t, struct window_parts *parts, struct db *db, int64_t now, struct err *err)
{
    struct save s = {0};
    size_t step = t->n / WINDOW_PARTS;
    int n = 0;
    for (size_t i = 0; i < WINDOW_PARTS; i++) {
        buf_init(&s.part[i], PART_BYTES_MAX);
        windows_encode(t, i * step, (i + 1) * step, now, &s.part[i]);
        BUG_ON(s.part[i].overflow);
        s.hash[i] = hash_of(buf_view(&s.part[i]));
        s.changed[i] = !parts->known[i] || parts->hash[i] != s.hash[i];
        n += s.changed[i];
        if (!s.changed[i])
            buf_release(&s.part[i]);
    }
    int rc = n > 0 ? db_write(db, save_all, &s, err) : 0;
    for (size_t i = 0; i < WINDOW_PARTS; i++) {
        buf_release(&s.part[i]);
        if (rc >= 0) {
            parts->hash[i] = s.hash[i];
            parts->known[i] = true;
        }
    }
    return rc < 0 ? rc : n;
}
