/* Bytes of an upload: staged and hashed while they flow, acknowledged after their fsync and commit,
 * published as a blob at the end.
 *
 * Order of a commit: fsync of the file, rename, fsync of the directory (staging_publish), then ONE
 * transaction with blob row, link and review row, then the answer. A blob that exists already costs
 * the very same work, so that neither time nor answer tells of it (T19). */
#include "registry/upload.h"

#include <stdlib.h>

enum { REREAD_PIECE = 256 << 10 };

/* Hashes the first `size` bytes of the file again, for a lost state or a digest of another
 * algorithm. */
static int rehash(struct staging *file, int64_t size, enum digest_alg alg, struct hash *ret,
                  struct err *err)
{
    auto_free uint8_t *piece = mem_alloc(REREAD_PIECE);
    struct hash h;
    hash_init(&h, alg);
    for (int64_t at = 0; at < size;) {
        size_t n = 0, want = size - at < REREAD_PIECE ? (size_t)(size - at) : REREAD_PIECE;
        int rc = staging_read(file, at, piece, want, &n, err);
        if (rc < 0)
            return rc;
        if (n == 0)
            return err_set(err, ERR_CORRUPT,
                           "an upload's file is shorter than what was acknowledged");
        hash_update(&h, piece, n);
        at += (int64_t)n;
    }
    *ret = h;
    return 0;
}

static int end_write(struct db_tx *tx, void *arg, struct err *err)
{
    return upload_tx_delete(tx, arg, err);
}

/* The session cannot become right any more: the bytes are not what the client says, or more than fit. */
static void discard(struct upload_io *io)
{
    struct err err = {0};
    int rc = io->u->row || io->u->reserved ? db_write(io->g->db, end_write, io->u->id, &err) : 0;
    if (rc == 0)
        rc = staging_remove(io->g->store, io->u->id, &err);
    if (rc < 0)
        log_line(LOG_WARN, "upload not removed yet", F_CSTR("error", err.text));
}

int upload_io_open(struct registry *g, struct upload *u, const struct http_req *r,
                   struct upload_io **ret, struct err *err)
{
    struct upload_io *io = mem_zalloc(sizeof *io);
    io->g = g;
    io->server = r->server;
    io->u = u;
    io->range_length = -1;
    struct principal *who = r->who;
    io->who = who;
    shared_ref(&who->shared);
    io->absent = req_repo(r)->fact == NULL;
    int rc = u->file ? staging_open(g->store, u->id, u->size, &io->file, err)
                     : staging_create(g->store, u->id, &io->file, err);
    if (rc == 0) {
        u->file = true;
        io->hash = u->hash;
        if (!u->hashed)
            rc = rehash(io->file, u->size, u->alg, &io->hash, err);
    }
    if (rc == 0)
        rc = charge_open(io, r, err);
    if (rc < 0) {
        bool ended = io->over_quota;
        if (ended)
            discard(io);
        upload_io_close(io, ended);
        return rc;
    }
    *ret = io;
    return 0;
}

static void close_run(void *arg)
{
    staging_close(arg);
}

bool upload_io_close(struct upload_io *io, bool gone)
{
    if (io->file && !gone && !io->saving) /* what was not acknowledged gives its room back */
        staging_cut(io->file, io->u->size);
    if (staging_replaced(io->file)) /* not before the answer: the time would tell that it was there (T19) */
        http_work(io->server, close_run, io->file);
    else
        staging_close(io->file);
    bool cancelled = upload_unclaim(io->g, io->u, gone);
    if (io->who)
        shared_unref(&io->who->shared);
    free(io);
    return cancelled;
}

int upload_io_append(struct upload_io *io, struct str bytes, struct err *err)
{
    int64_t limit = registry_num(io->g, MAX_UPLOAD);
    io->failed = true; /* unless this piece went well */
    if (limit > 0 && staging_size(io->file) + (int64_t)bytes.n > limit)
        return err_set(err, ERR_TOO_LARGE, "a blob may have at most %lld bytes (max_upload)",
                       (long long)limit);
    if (io->range_length >= 0 && io->received + (int64_t)bytes.n > io->range_length)
        return err_set(err, ERR_SIZE_INVALID, "the body is longer than Content-Range announced");
    int rc = registry_space(io->g, (int64_t)bytes.n, err);
    if (rc == 0)
        rc = charge_more(io, staging_size(io->file) + (int64_t)bytes.n, err);
    if (rc < 0 || (rc = staging_append(io->file, bytes.p, bytes.n, err)) < 0)
        return rc;
    hash_update(&io->hash, bytes.p, bytes.n);
    io->received += (int64_t)bytes.n;
    io->failed = false;
    return 0;
}

static struct push_target target_of(const struct upload_io *io)
{
    return (struct push_target){io->who, str_of(io->u->name), io->absent};
}

static int save_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct upload_io *io = arg;
    struct push_target target = target_of(io);
    struct push_into into;
    int rc = repo_tx_for_push(tx, &target, &into, err);
    return rc < 0 ? rc : upload_tx_save(tx, io->u, into.repo_id, staging_size(io->file), &io->hash, err);
}

/* A blob more makes no cached fact of a repository wrong (an older file's fact does not match the
 * new file), so only a new repository moves the generation: pulls beside a push keep their caches.
 */
static int write_of(struct upload_io *io, db_callback fn, void *arg, struct err *err)
{
    return io->absent ? repo_write(io->g, str_of(io->u->name), fn, arg, err)
                      : db_write(io->g->db, fn, arg, err);
}

int upload_io_save(struct upload_io *io, struct err *err)
{
    if (io->received == 0)
        return 0; /* nothing new to acknowledge */
    int rc = staging_sync(io->file, err);
    if (rc == 0) {
        io->saving = true; /* from here on a row may name all bytes, whatever is reported */
        rc = write_of(io, save_write, io, err);
    }
    if (rc == 0)
        upload_saved(io->g, io->u, staging_size(io->file), &io->hash);
    return rc;
}

struct commit {
    struct upload_io *io;
    struct blob_stat stat;
};

static int commit_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct commit *c = arg;
    struct upload_io *io = c->io;
    struct push_target target = target_of(io);
    struct push_into into;
    int rc = repo_tx_for_push(tx, &target, &into, err);
    if (rc == 0 && (io->u->row || io->u->reserved)) /* what it reserved makes room for the link */
        rc = upload_tx_delete(tx, io->u->id, err);
    if (rc < 0 || (rc = blob_tx_upsert(tx, &io->digest, &c->stat, err)) < 0 ||
        (rc = blob_tx_link(tx, into.repo_id, &io->digest, "upload", err)) < 0)
        return rc;
    return 0;
}

static int publish(struct upload_io *io, struct err *err)
{
    struct commit c = {.io = io};
    store_lock(io->g->store, &io->digest);
    int rc = staging_publish(io->file, &io->digest, &c.stat, err);
    if (rc == 0)
        rc = write_of(io, commit_write, &c, err);
    store_unlock(io->g->store, &io->digest);
    return rc;
}

int upload_io_commit(struct upload_io *io, struct err *err)
{
    struct digest have;
    struct hash h = io->hash;
    int rc = 0;
    if (h.alg != (enum digest_alg)io->digest.alg)
        rc = rehash(io->file, staging_size(io->file), (enum digest_alg)io->digest.alg, &h, err);
    if (rc < 0)
        return rc;
    hash_final(&h, &have);
    if (!digest_eq(&have, &io->digest)) {
        char text[DIGEST_TEXT_MAX];
        discard(io);
        return err_set(err, ERR_DIGEST_INVALID, "the %lld bytes received have the digest %s",
                       (long long)staging_size(io->file), digest_text(&have, text));
    }
    rc = publish(io, err);
    if (rc == 0)
        metric_add(METRIC_BLOBS_STORED, 1);
    if (rc == ERR_QUOTA) /* the plan shrank meanwhile */
        discard(io);
    return rc;
}

static void abandon_run(void *arg)
{
    struct upload_io *io = arg;
    struct err err = {0};
    if (io->u->one_shot || io->over_quota) {
        discard(io);
        upload_io_close(io, true);
        return;
    }
    if (!io->failed && upload_io_save(io, &err) < 0)
        log_line(LOG_INFO, "bytes of a broken upload not kept", F_CSTR("error", err.text));
    upload_io_close(io, false);
}

void upload_io_abandon(struct http_server *server, struct upload_io *io)
{
    http_work(server, abandon_run, io);
}
