/* GET, HEAD and DELETE of blobs (distribution-spec "Pulling blobs", "Deleting Blobs").
 *
 * A file is sent as it lies there (sendfile) when it is the very file that was verified within the
 * scrub period: same inode, change time and size. Any other is hashed first: short ones and ranges
 * before the head is sent, long ones while they flow, their last 64 KiB held back until the digest
 * is known. */
#include "registry/blob_io.h"
#include "registry/manifest_cache.h"
#include "registry/range.h"

#include <stdlib.h>
#include <unistd.h>

static int unknown(struct err *err)
{
    return err_set(err, ERR_BLOB_UNKNOWN, "blob unknown to this repository");
}

/* What a loop keeps of a blob of a repository. */
struct blob_fact {
    struct shared shared;
    struct blob_row row;
};

static void fact_free(struct shared *s)
{
    free(s);
}

static bool is_verified(struct registry *g, const struct blob_row *row, const struct blob_stat *st)
{
    return row->size == st->size && row->ino == st->ino && row->ctime_ns == st->ctime_ns &&
           clock_now() - row->verified_at < registry_num(g, SCRUB_PERIOD);
}

/* The object headers every answer about a blob has. */
static void add_head(struct http_req *r, struct str digest)
{
    http_add(r, "Content-Type", STR_LIT("application/octet-stream"));
    http_add(r, "Docker-Content-Digest", digest);
    http_addf(r, "ETag", "\"%.*s\"", STR_FMT(digest));
    http_add(r, "Accept-Ranges", STR_LIT("bytes"));
    http_add(r, "Cache-Control", STR_LIT("private, max-age=31536000, immutable"));
}

static bool etag_is(struct str value, struct str digest)
{
    return value.n == digest.n + 2 && value.p[0] == '"' && value.p[value.n - 1] == '"' &&
           str_eq((struct str){value.p + 1, digest.n}, digest);
}

static enum range_result wanted_ranges(struct http_req *r, struct str digest, int64_t size,
                                       struct range_set *set)
{
    struct str range, cond;
    if (r->method != HTTP_GET || !http_header(r, "Range", &range))
        return RANGE_WHOLE;
    if (http_header(r, "If-Range", &cond) && !etag_is(cond, digest))
        return RANGE_WHOLE;
    return range_parse(range, size, set);
}

static void send_unsatisfiable(struct http_req *r, int64_t size)
{
    struct err err = {0};
    err_set(&err, ERR_RANGE,
            "the blob has %lld bytes; a range is first-last, first- or -suffix within it",
            (long long)size);
    http_addf(r, "Content-Range", "bytes */%lld", (long long)size);
    http_error(r, &err);
}

static void send_multipart(struct http_req *r, int fd, const struct range_set *set, int64_t size)
{
    struct parts_send *p = parts_send_new(r, fd, set, size);
    http_status(r, 206);
    http_addf(r, "Content-Type", "multipart/byteranges; boundary=%s", p->layout.boundary);
    r->ctx = &p->io;
    http_send_pull(r, multipart_length(&p->layout), parts_pull, p);
}

/* A file to send from: one's own descriptor, or a shared one. Whoever answers takes it. */
struct source {
    int fd;
    struct blob_file *file; /* NULL: fd is ours */
};

static void source_drop(struct source s)
{
    if (s.file)
        shared_unref(&s.file->shared);
    else
        (void)close(s.fd);
}

static void source_send(struct http_req *r, struct source s, int64_t first, int64_t length)
{
    if (s.file) {
        http_send_shared_file(r, s.fd, first, length, &s.file->shared);
        shared_unref(&s.file->shared);
    } else {
        http_send_file(r, s.fd, first, length);
    }
}

/* Sends from a file whose bytes are known to be good. */
static void send_good(struct http_req *r, struct source s, struct str digest, int64_t size)
{
    struct range_set set = {.n = 0};
    enum range_result kind = wanted_ranges(r, digest, size, &set);
    metric_add(METRIC_BLOBS_SERVED, 1);
    if (kind == RANGE_UNSATISFIABLE) {
        source_drop(s);
        send_unsatisfiable(r, size);
    } else if (kind == RANGE_PARTS && set.n > 1) {
        BUG_ON(s.file != NULL); /* the fast path leaves these to a worker */
        http_add(r, "Docker-Content-Digest", digest);
        http_addf(r, "ETag", "\"%.*s\"", STR_FMT(digest));
        send_multipart(r, s.fd, &set, size);
    } else if (kind == RANGE_PARTS) {
        int64_t first = set.v[0].first, length = set.v[0].last - first + 1;
        http_status(r, 206);
        add_head(r, digest);
        http_addf(r, "Content-Range", "bytes %lld-%lld/%lld", (long long)first,
                  (long long)set.v[0].last, (long long)size);
        source_send(r, s, first, length);
    } else {
        http_status(r, 200);
        add_head(r, digest);
        source_send(r, s, 0, size);
    }
}

static bool not_modified(struct http_req *r, struct str digest)
{
    struct str want;
    if (!http_header(r, "If-None-Match", &want) || !etag_is(want, digest))
        return false;
    http_status(r, 304);
    add_head(r, digest);
    http_send(r, (struct str){NULL, 0});
    return true;
}

/* HEAD and GET of a good file: HEAD sends nothing, but the file was seen to be there. */
static void answer_good(struct http_req *r, struct source s, struct str digest, int64_t size)
{
    if (not_modified(r, digest))
        source_drop(s);
    else
        send_good(r, s, digest, size);
}

bool blob_fast(struct http_req *r)
{
    const struct req_repo *rr = req_repo(r);
    struct registry *g = registry_of(r);
    struct digest d;
    struct str range;
    if ((r->method != HTTP_GET && r->method != HTTP_HEAD) || !rr->fact ||
        digest_parse(r->parts[1], &d, NULL) < 0)
        return false;
    if (http_header(r, "Range", &range) && range.n > 0 && memchr(range.p, ',', range.n))
        return false; /* a multipart body is made on a worker, and cleared up by done */
    uint64_t ticket = gc_touch(rr->fact->id, &d);
    char key[CACHE_KEY_MAX];
    struct blob_fact *fact = (struct blob_fact *)cache_get(
        g->caches[r->loop_index], cache_key(key, 'b', rr->name, r->parts[1]),
        gen_now(GEN_REPO, rr->name));
    metric_add(fact ? METRIC_CACHE_HIT : METRIC_CACHE_MISS, 1);
    if (!fact || !gc_undisturbed(ticket))
        return false;
    struct blob_file *file;
    struct blob_stat st;
    if (blob_file_open(g, r->loop_index, &d, &fact->row, &file, &st, NULL) < 0)
        return false; /* gone or quarantined: the worker finds out */
    if (!is_verified(g, &fact->row, &st)) {
        shared_unref(&file->shared);
        return false;
    }
    answer_good(r, (struct source){file->fd, file}, r->parts[1], st.size);
    return true;
}

struct blob_read {
    int64_t repo_id;
    struct digest digest;
    struct blob_row row;
    bool found;
};

static int blob_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct blob_read *q = arg;
    int rc = blob_tx_linked(tx, q->repo_id, &q->digest, &q->row, err);
    q->found = rc == 1;
    return rc < 0 ? rc : 0;
}

static int read_once(struct registry *g, struct blob_read *q, struct err *err)
{
    for (int i = 0;; i++) {
        uint64_t ticket = gc_touch(q->repo_id, &q->digest);
        int rc = db_read(g->db, blob_read, q, err);
        if (rc < 0 || !q->found || i == 3 || gc_undisturbed(ticket))
            return rc;
        gc_wait(ticket); /* the collector was deleting something right now: read again */
    }
}

static void remember(struct http_req *r, struct registry *g, const struct blob_row *row,
                     uint64_t gen)
{
    struct blob_fact *fact = mem_alloc(sizeof *fact);
    shared_init(&fact->shared, sizeof *fact, fact_free);
    fact->row = *row;
    cache_remember(r, g, 'b', r->parts[1], &fact->shared, gen);
    shared_unref(&fact->shared);
}

/* From the first byte to the last, hashed while it streams. */
static void send_verifying(struct http_req *r, struct registry *g, const struct digest *d, int fd,
                           int64_t size, bool range)
{
    struct verify_send *v = verify_send_new(r, g, d, fd, size);
    metric_add(METRIC_BLOBS_SERVED, 1);
    http_status(r, range ? 206 : 200);
    add_head(r, r->parts[1]);
    if (range)
        http_addf(r, "Content-Range", "bytes 0-%lld/%lld", (long long)(size - 1), (long long)size);
    r->ctx = &v->io;
    http_send_pull(r, size, verify_pull, v);
}

/* The file is not the one that was verified, or that is too long ago. */
static int answer_unverified(struct http_req *r, struct registry *g, const struct digest *d, int fd,
                             int64_t size, struct err *err)
{
    struct range_set set = {.n = 0};
    enum range_result kind = r->method == HTTP_GET ? wanted_ranges(r, r->parts[1], size, &set) : RANGE_WHOLE;
    bool all = kind == RANGE_PARTS && set.n == 1 && set.v[0].first == 0 && set.v[0].last == size - 1;
    bool large = size > VERIFY_FIRST_MAX;
    if (r->method == HTTP_GET && large && (kind == RANGE_WHOLE || all)) {
        send_verifying(r, g, d, fd, size, all);
        return 0;
    }
    /* "It is there" makes a client push nothing: a small one is looked at first, a large one soon. */
    if (r->method == HTTP_HEAD && large) {
        scrub_request(g, d);
        answer_good(r, (struct source){fd, NULL}, r->parts[1], size);
        return 0;
    }
    (void)close(fd);
    struct blob_stat st;
    int rc = store_verify(g->store, d, NULL, NULL, &st, err);
    if (rc == ERR_CORRUPT || rc == ERR_BLOB_UNKNOWN) {
        blob_suspect(r->server, g, d);
        return unknown(err);
    }
    if (rc < 0 || (rc = store_open_blob(g->store, d, &fd, &st, err)) < 0)
        return rc;
    blob_verified(r->server, g, d, &st);
    answer_good(r, (struct source){fd, NULL}, r->parts[1], st.size);
    return 0;
}

int blob_get_run(struct http_req *r, struct err *err)
{
    struct registry *g = registry_of(r);
    const struct req_repo *rr = req_repo(r);
    struct blob_read q = {.found = false};
    int rc = digest_parse(r->parts[1], &q.digest, err);
    if (rc < 0)
        return rc;
    if (!rr->fact)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    q.repo_id = rr->fact->id;
    uint64_t gen = gen_now(GEN_REPO, rr->name);
    if ((rc = read_once(g, &q, err)) < 0)
        return rc;
    if (!q.found || q.row.state != 0)
        return unknown(err);
    int fd;
    struct blob_stat st;
    rc = store_open_blob(g->store, &q.digest, &fd, &st, err);
    if (rc == ERR_BLOB_UNKNOWN) {
        blob_suspect(r->server, g, &q.digest);
        return unknown(err);
    }
    if (rc < 0)
        return rc;
    remember(r, g, &q.row, gen);
    if (!is_verified(g, &q.row, &st))
        return answer_unverified(r, g, &q.digest, fd, st.size, err);
    answer_good(r, (struct source){fd, NULL}, r->parts[1], st.size);
    return 0;
}

void blob_get_done(struct http_req *r)
{
    struct blob_io *io = r->ctx;
    if (io)
        (void)close(io->fd);
    r->ctx = NULL;
}

/* ---- DELETE ---- */
struct blob_del {
    struct http_req *r;
    struct digest digest;
    bool found;
};

static int delete_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct blob_del *q = arg;
    int rc = ident_tx_stands(tx, req_principal(q->r), err);
    if (rc == 0)
        rc = ident_tx_may(tx, req_principal(q->r), RIGHT_DELETE, req_repo(q->r)->name, err);
    if (rc < 0)
        return rc;
    rc =
        blob_tx_unlink(tx, req_repo(q->r)->fact->id, &q->digest, req_principal(q->r)->user_id, err);
    q->found = rc == 1;
    if (rc == 1)
        rc = ident_tx_record(tx, q->r, req_principal(q->r), req_repo(q->r)->fact->owner_id, "repo.blob.delete",
                            str_of(arena_printf(&q->r->arena, "%.*s@%.*s", STR_FMT(req_repo(q->r)->name), STR_FMT(q->r->parts[1]))),
                            (struct str){NULL, 0}, err);
    return rc < 0 ? rc : 0;
}

int blob_delete_run(struct http_req *r, struct err *err)
{
    const struct req_repo *rr = req_repo(r);
    struct blob_del q = {.r = r};
    int rc = digest_parse(r->parts[1], &q.digest, err);
    if (rc < 0)
        return rc;
    if (!rr->fact)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    if ((rc = repo_write(registry_of(r), rr->name, delete_write, &q, err)) < 0)
        return rc;
    if (!q.found)
        return unknown(err);
    http_status(r, 202);
    http_send(r, (struct str){NULL, 0});
    return 0;
}
