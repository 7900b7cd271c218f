/* The proof: every seal's signature, its place in the chain, and the rows that it covers. */
#include "audit/audit_int.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

enum { FAULTS_MAX = 100, FAULT_TEXT = 256, LINE_MAX = 1024 };

static void fault(struct proof *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void fault(struct proof *p, const char *fmt, ...)
{
    char text[FAULT_TEXT];
    va_list ap;
    if (p->faults++ >= FAULTS_MAX)
        return;
    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    buf_printf(p->report, "%s\n", text);
}

/* Where this seal must begin, and on what. */
static void check_place(struct proof *p, const struct seal *prev, const struct seal *s)
{
    if (s->kind == SEAL_TOMBSTONE && prev->id == 0) {
        p->verdict.expired = s->count;
        return;
    }
    if (s->kind != SEAL_ROWS || s->first != seal_behind(prev) || s->last < s->first ||
        memcmp(s->prev, prev->hash, SEAL_HASH) != 0) /* its number is in its hash */
        fault(p, "seal %lld: it does not continue seal %lld", (long long)s->id, (long long)prev->id);
}

static int check_rows(struct db_tx *tx, struct proof *p, const struct seal *s, struct err *err)
{
    bool match = false;
    int rc = seal_tx_matches(tx, s, &match, err);
    if (rc == 0 && !match)
        fault(p, "rows %lld to %lld are not what was sealed", (long long)s->first, (long long)s->last);
    p->verdict.rows += s->count; /* signed: ours */
    return rc;
}

static int check_seals(struct db_tx *tx, struct proof *p, struct seal *last, struct err *err)
{
    struct seal prev = {0}, s;
    int rc = seal_tx_first(tx, &s, err);
    while (rc == 1) {
        bool good = keys_check(p->keys, &s);
        p->verdict.seals++;
        if (!good)
            fault(p, "seal %lld: its signature is wrong", (long long)s.id);
        check_place(p, &prev, &s);
        if (good && s.kind == SEAL_ROWS && (rc = check_rows(tx, p, &s, err)) < 0)
            return rc;
        if (prev.id == 0) { /* nothing may stand before the first */
            int64_t before = 0, end = s.kind == SEAL_TOMBSTONE ? s.last : 0; /* the first row has number 1 */
            if ((rc = row_tx_count(tx, INT64_MIN, end, &before, err)) < 0)
                return rc;
            if (before > 0)
                fault(p, "%lld rows stand before the oldest seal", (long long)before);
        }
        if (p->progress && (rc = p->progress(p->arg, &p->verdict, err)) < 0)
            return rc;
        prev = s;
        rc = seal_tx_next(tx, prev.id, &s, err);
    }
    *last = prev;
    return rc;
}

int verify_tx(struct db_tx *tx, void *arg, struct err *err)
{
    struct proof *p = arg;
    struct seal last = {0};
    const char *why = NULL;
    p->verdict = (struct audit_verdict){0};
    p->faults = 0;
    buf_reset(p->report);
    int rc = check_seals(tx, p, &last, err);
    if (rc == 0)
        rc = row_tx_count(tx, seal_behind(&last), INT64_MAX, &p->verdict.unsealed, err);
    if (rc < 0 || p->anchor.id == 0)
        return rc;
    if ((rc = seal_tx_holds(tx, &p->anchor, &why, err)) == 0)
        fault(p, "anchor %lld: %s", (long long)p->anchor.id, why);
    return rc < 0 ? rc : 0;
}

/* The given line, or the one that the sealer keeps. */
static int take_anchor(struct store *store, struct str line, struct proof *p, struct err *err)
{
    struct buf kept;
    int rc = 0;
    buf_init(&kept, LINE_MAX);
    if (line.n == 0) {
        rc = store_key_read(store, "audit.anchor", &kept, err);
        line = buf_view(&kept);
    }
    if (rc == 0 && (rc = seal_parse(line, &p->anchor, err)) == 0 && !keys_check(p->keys, &p->anchor))
        rc = err_set(err, ERR_INVALID, "the anchor was not signed by this hub");
    buf_release(&kept);
    return rc == ERR_NOT_FOUND ? 0 : rc;
}

int audit_verify(struct db *db, struct store *store, struct str anchor, audit_progress progress, void *arg,
                 struct audit_verdict *ret, struct buf *report, struct err *err)
{
    struct proof p = {.keys = mem_zalloc(sizeof *p.keys), .report = report, .progress = progress, .arg = arg};
    int rc = keys_read(store, p.keys, err);
    if (rc == ERR_NOT_FOUND) { /* nothing was ever sealed here, or whatever was is not to be believed */
        memset(p.keys, 0, sizeof *p.keys);
        rc = 0;
    }
    if (rc == 0)
        rc = take_anchor(store, anchor, &p, err);
    if (rc == 0)
        rc = db_read(db, verify_tx, &p, err);
    keys_wipe(p.keys);
    free(p.keys);
    if (rc < 0)
        return rc;
    if (p.faults > FAULTS_MAX)
        buf_printf(report, "and %d more\n", p.faults - FAULTS_MAX);
    *ret = p.verdict;
    return p.faults > 0;
}

static int read_last(struct db_tx *tx, void *arg, struct err *err)
{
    return seal_tx_last(tx, arg, err);
}

int audit_anchor(struct db *db, struct buf *ret, struct err *err)
{
    struct seal s = {0};
    int rc = db_read(db, read_last, &s, err);
    if (rc < 0)
        return rc;
    if (rc == 0)
        return err_set(err, ERR_NOT_FOUND, "the audit log has no seal yet");
    seal_text(&s, ret);
    return 0;
}
