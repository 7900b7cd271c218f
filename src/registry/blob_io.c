/* Pulls of a blob GET, and what is noted about the file afterwards. */
#include "registry/blob_io.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* Reads until `want` bytes are there; fewer only at the end of the file. */
static int read_at(int fd, int64_t offset, void *p, size_t want, size_t *ret_n, struct err *err)
{
    size_t n = 0;
    while (n < want) {
        ssize_t got = pread(fd, (char *)p + n, want - n, (off_t)(offset + (int64_t)n));
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return err_sys(err, ERR_IO, "reading a blob");
        if (got == 0)
            break;
        n += (size_t)got;
    }
    *ret_n = n;
    return 0;
}

struct parts_send *parts_send_new(struct http_req *r, int fd, const struct range_set *set,
                                  int64_t size)
{
    struct parts_send *p = arena_zalloc(&r->arena, sizeof *p);
    p->io.fd = fd;
    p->layout.set = *set;
    p->layout.size = size;
    secret_random_hex(p->layout.boundary, 16);
    return p;
}

int parts_pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err)
{
    struct parts_send *s = arg;
    size_t n;
    int64_t object;
    multipart_at(&s->layout, offset, p, cap, &n, &object);
    if (object >= 0) {
        int rc = read_at(s->io.fd, object, p, n, &n, err);
        if (rc < 0)
            return rc;
    }
    if (n == 0)
        return err_set(err, ERR_IO, "a blob's file became shorter");
    *ret_n = n;
    return 0;
}

struct verify_send *verify_send_new(struct http_req *r, struct registry *g, const struct digest *d,
                                    int fd, int64_t size)
{
    struct verify_send *v = arena_zalloc(&r->arena, sizeof *v);
    v->io.fd = fd;
    v->g = g;
    v->server = r->server;
    v->digest = *d;
    v->size = size;
    hash_init(&v->hash, (enum digest_alg)d->alg);
    return v;
}

static int bad(struct verify_send *v, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    v->bad = true;
    log_line(LOG_ERROR, "blob does not match its digest, transfer cut",
             F_CSTR("digest", digest_text(&v->digest, text)));
    blob_suspect(v->server, v->g, &v->digest);
    return err_set(err, ERR_CORRUPT, "the stored blob does not match its digest");
}

/* Hashes what is left, at most VERIFY_HOLD bytes, and judges. */
static int finish(struct verify_send *v, struct err *err)
{
    auto_free uint8_t *piece = mem_alloc(VERIFY_HOLD);
    while (v->hashed < v->size) {
        size_t n = 0, want = v->size - v->hashed < VERIFY_HOLD ? (size_t)(v->size - v->hashed)
                                                               : VERIFY_HOLD;
        int rc = read_at(v->io.fd, v->hashed, piece, want, &n, err);
        if (rc < 0)
            return rc;
        if (n == 0)
            return bad(v, err);
        hash_update(&v->hash, piece, n);
        v->hashed += (int64_t)n;
    }
    struct digest d;
    hash_final(&v->hash, &d);
    if (!digest_eq(&d, &v->digest))
        return bad(v, err);
    v->good = true;
    struct stat st;
    if (fstat(v->io.fd, &st) == 0) {
        struct blob_stat seen = {v->size, (int64_t)st.st_ino,
                                 (int64_t)st.st_ctim.tv_sec * 1000000000 + st.st_ctim.tv_nsec};
        blob_verified(v->server, v->g, &v->digest, &seen);
    }
    return 0;
}

int verify_pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n, struct err *err)
{
    struct verify_send *v = arg;
    int64_t hold = v->size - VERIFY_HOLD;
    if (v->bad)
        return err_set(err, ERR_CORRUPT, "the stored blob does not match its digest");
    if (offset >= hold && !v->good) {
        int rc = finish(v, err);
        if (rc < 0)
            return rc;
    }
    int64_t end = v->good ? v->size : hold;
    size_t n, want = end - offset < (int64_t)cap ? (size_t)(end - offset) : cap;
    int rc = read_at(v->io.fd, offset, p, want, &n, err);
    if (rc < 0)
        return rc;
    if (n == 0)
        return bad(v, err);
    /* Offsets may be asked for again; only bytes beyond what was hashed are new. */
    BUG_ON(offset > v->hashed);
    int64_t fresh = offset + (int64_t)n - v->hashed;
    if (fresh > 0) {
        hash_update(&v->hash, (const uint8_t *)p + ((int64_t)n - fresh), (size_t)fresh);
        v->hashed += fresh;
    }
    *ret_n = n;
    return 0;
}

/* ---- afterwards ---- */
struct note {
    struct registry *g;
    struct digest digest;
    struct blob_stat stat;
};

struct quarantine {
    struct digest digest;
    bool changed;
};

static int quarantine_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct quarantine *q = arg;
    int rc = blob_tx_quarantine(tx, &q->digest, err);
    q->changed = rc == 1;
    return rc < 0 ? rc : 0;
}

int blob_quarantine(struct registry *g, const struct digest *d, struct err *err)
{
    char text[DIGEST_TEXT_MAX];
    struct quarantine q = {*d, false};
    struct blob_stat st;
    struct err why = {0};
    /* Under the lock nobody repairs or collects the file meanwhile: what is bad now stays bad until
     * it is aside. A blob that was collected before has no row: its missing file is no damage. */
    store_lock(g->store, d);
    int rc = store_verify(g->store, d, NULL, NULL, &st, &why);
    bool aside = rc == ERR_CORRUPT || rc == ERR_BLOB_UNKNOWN;
    if (aside) {
        rc = store_quarantine(g->store, d, err);
        if (rc == 0)
            rc = db_write(g->db, quarantine_write, &q, err);
    } else if (rc < 0) {
        err_set(err, rc, "%s", why.text);
    }
    store_unlock(g->store, d);
    if (rc == 0 && q.changed) {
        metric_add(METRIC_SCRUB_CORRUPT, 1);
        log_line(LOG_ERROR, "blob quarantined: push it again",
                 F_CSTR("digest", digest_text(d, text)), F_CSTR("reason", why.text));
    }
    return rc;
}

static void suspect_run(void *arg)
{
    struct note *n = arg;
    struct err err = {0};
    if (blob_quarantine(n->g, &n->digest, &err) < 0)
        log_line(LOG_ERROR, "blob not quarantined", F_CSTR("error", err.text));
    free(n);
}

static int verified_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct note *n = arg;
    return blob_tx_verified(tx, &n->digest, &n->stat, err);
}

static void verified_run(void *arg)
{
    struct note *n = arg;
    struct err err = {0};
    /* Only a note: a server that cannot write serves on, and hashes again next time. */
    if (db_write(n->g->db, verified_write, n, &err) < 0)
        log_line(LOG_DEBUG, "verification not noted", F_CSTR("error", err.text));
    free(n);
}

static struct note *note_new(struct registry *g, const struct digest *d)
{
    struct note *n = mem_zalloc(sizeof *n);
    n->g = g;
    n->digest = *d;
    return n;
}

void blob_suspect(struct http_server *server, struct registry *g, const struct digest *d)
{
    http_work(server, suspect_run, note_new(g, d));
}

void blob_verified(struct http_server *server, struct registry *g, const struct digest *d,
                   const struct blob_stat *st)
{
    struct note *n = note_new(g, d);
    n->stat = *st;
    http_work(server, verified_run, n);
}
