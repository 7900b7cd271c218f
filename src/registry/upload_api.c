/* Uploads: POST, PATCH, PUT, GET and DELETE below /v2/<name>/blobs/uploads/ (distribution-spec
 * "Pushing blobs", "Pushing a blob in chunks", "Cancel a blob upload", "Mounting a blob from
 * another repository"). */
#include "registry/range.h"
#include "registry/upload.h"

enum {
    POST_BODY_MAX = 64 << 10
}; /* of a POST that announces no digest: ignored, but not endless */

static void add_location(struct http_req *r, struct str id)
{
    http_addf(r, "Location", "/v2/%.*s/blobs/uploads/%.*s", STR_FMT(req_repo(r)->client_name),
              STR_FMT(id));
    http_add(r, "Docker-Upload-UUID", id);
}

/* Where the session is and how far it got: also beside a refusal, so that a client can go on at once. */
static void add_session(struct http_req *r, struct str id, int64_t size)
{
    add_location(r, id);
    http_addf(r, "Range", "0-%lld", (long long)(size > 0 ? size - 1 : 0));
}

static void send_session(struct http_req *r, unsigned status, struct str id, int64_t size)
{
    http_status(r, status);
    add_session(r, id, size);
    http_send(r, (struct str){NULL, 0});
}

static void send_created(struct http_req *r, const struct digest *d)
{
    char text[DIGEST_TEXT_MAX];
    http_status(r, 201);
    http_addf(r, "Location", "/v2/%.*s/blobs/%s", STR_FMT(req_repo(r)->client_name),
              digest_text(d, text));
    http_add(r, "Docker-Content-Digest", str_of(text));
    http_send(r, (struct str){NULL, 0});
}

/* 1 with the digest of the parameter, 0 absent. */
static int digest_param(struct http_req *r, const char *name, struct digest *ret, struct err *err)
{
    struct str text;
    size_t at = 0;
    int rc = http_query(r, name, &at, &text);
    if (rc < 0)
        return err_set(err, ERR_DIGEST_INVALID, "parameter %s is not well encoded", name);
    if (rc == 0)
        return 0;
    rc = digest_parse(text, ret, err);
    return rc < 0 ? rc : 1;
}

static int check_room(struct http_req *r, struct err *err)
{
    struct registry *g = registry_of(r);
    int64_t limit = registry_num(g, MAX_UPLOAD);
    if (limit > 0 && r->content_length > limit)
        return err_set(err, ERR_TOO_LARGE, "a blob may have at most %lld bytes (max_upload)",
                       (long long)limit);
    return registry_space(g, 0, err);
}

/* ---- POST ---- */
struct post {
    struct upload_io *io; /* single POST */
    enum digest_alg alg;
    bool mount, has_from;
    struct digest digest;
    struct str from;
};

static int post_params(struct http_req *r, struct post *p, struct err *err)
{
    struct str alg;
    size_t at = 0;
    int rc = http_query(r, "digest-algorithm", &at, &alg);
    p->alg = rc == 1 ? digest_alg_parse(alg) : DIGEST_SHA256;
    if (rc < 0 || p->alg == DIGEST_NONE)
        return err_set(err, ERR_DIGEST_INVALID, "digest-algorithm must be sha256 or sha512");
    /* A mount that cannot be is answered by a session, so a malformed digest is the only thing
     * refused. */
    if ((rc = digest_param(r, "mount", &p->digest, err)) < 0)
        return rc;
    p->mount = rc == 1;
    at = 0;
    if ((rc = http_query(r, "from", &at, &p->from)) < 0)
        return err_set(err, ERR_NAME_INVALID, "parameter from is not well encoded");
    p->has_from = rc == 1 && p->from.n > 0;
    return 0;
}

/* Single POST: a session of its own that nobody else learns of. */
static int begin_single(struct http_req *r, struct post *p, struct err *err)
{
    struct upload *u;
    char id[UPLOAD_ID_LEN + 1];
    int rc = upload_new(registry_of(r), req_repo(r)->name, req_principal(r)->user_id,
                        (enum digest_alg)p->digest.alg, true, &u, id, err);
    if (rc < 0)
        return rc;
    u->one_shot = true;
    rc = upload_io_open(registry_of(r), u, r, &p->io, err);
    if (rc < 0)
        return rc;
    p->io->digest = p->digest;
    return 0;
}

int upload_post_begin(struct http_req *r, struct err *err)
{
    struct post *p = arena_zalloc(&r->arena, sizeof *p);
    int rc = post_params(r, p, err);
    if (rc < 0)
        return rc;
    int single = p->mount ? 0 : digest_param(r, "digest", &p->digest, err);
    if (single < 0 || (rc = check_room(r, err)) < 0)
        return single < 0 ? single : rc;
    if (single == 0 && r->content_length > POST_BODY_MAX)
        return err_set(err, ERR_TOO_LARGE,
                       "a POST with a body needs the parameter digest; or send the body by PUT");
    if (single == 1 && (rc = begin_single(r, p, err)) < 0)
        return rc;
    r->ctx = p;
    return 0;
}

static struct upload_io **io_of(struct http_req *r)
{
    static struct upload_io *none;
    if (!r->ctx)
        return &none;
    return r->method == HTTP_POST ? &((struct post *)r->ctx)->io : (struct upload_io **)&r->ctx;
}

int upload_sink(struct http_req *r, struct str bytes, struct err *err)
{
    struct upload_io *io = *io_of(r);
    if (io)
        return upload_io_append(io, bytes, err);
    if (r->body_received > POST_BODY_MAX)
        return err_set(err, ERR_TOO_LARGE,
                       "a POST with a body needs the parameter digest; or send the body by PUT");
    return 0;
}

struct mount {
    struct push_target target;
    const struct post *post;
    char from[NAME_MAX_BYTES + 16]; /* canonical; empty: anywhere the caller may read */
    bool possible;
};

/* The source must link the blob and be readable by the caller: by the account, not by what a token
 * for the target was issued for. */
static int mount_look(struct db_tx *tx, void *arg, struct err *err)
{
    struct mount *m = arg;
    m->possible = false;
    if (!m->from[0]) {
        int rc = blob_tx_readable_somewhere(tx, m->target.who, &m->post->digest, err);
        m->possible = rc == 1;
        return rc < 0 ? rc : 0;
    }
    struct repo_fact *fact = NULL;
    int rc = ident_tx_repo(tx, str_of(m->from), &fact, err);
    if (rc <= 0)
        return rc;
    struct blob_row row;
    bool readable = ident_tx_may(tx, m->target.who, RIGHT_PULL, str_of(m->from), NULL) == 0;
    rc = readable ? blob_tx_linked(tx, fact->id, &m->post->digest, &row, err) : 0;
    m->possible = rc == 1 && row.state == 0;
    shared_unref(&fact->shared);
    return rc < 0 ? rc : 0;
}

static int mount_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct mount *m = arg;
    struct push_into into;
    int rc = mount_look(tx, m, err);
    if (rc < 0 || !m->possible || (rc = repo_tx_for_push(tx, &m->target, &into, err)) < 0)
        return rc;
    return blob_tx_link(tx, into.repo_id, &m->post->digest, "mount", err);
}

/* A blob whose file is gone is not mounted: the upload that follows repairs it. */
static bool file_there(struct registry *g, const struct digest *d)
{
    auto_fd int fd = -1;
    struct blob_stat st;
    return store_open_blob(g->store, d, &fd, &st, NULL) == 0;
}

static int try_mount(struct http_req *r, const struct post *p, bool *ret_done, struct err *err)
{
    struct registry *g = registry_of(r);
    struct mount m = {.target = push_target_of(r), .post = p};
    *ret_done = false;
    if (p->has_from && canonical_name(p->from, m.from, NULL) < 0)
        return 0;
    int rc = db_read(g->db, mount_look, &m, err);
    if (rc < 0 || !m.possible || !file_there(g, &p->digest))
        return rc;
    if ((rc = repo_write(g, m.target.name, mount_write, &m, err)) < 0)
        return rc;
    *ret_done = m.possible;
    return 0;
}

int upload_post_run(struct http_req *r, struct err *err)
{
    struct post *p = r->ctx;
    int rc;
    bool mounted = false;
    if (p->io) {
        rc = upload_io_commit(p->io, err);
        if (rc < 0)
            return rc; /* upload_done clears up */
        upload_io_close(take(&p->io), true);
        send_created(r, &p->digest);
        return 0;
    }
    if (p->mount && (rc = try_mount(r, p, &mounted, err)) < 0)
        return rc;
    if (mounted) {
        send_created(r, &p->digest);
        return 0;
    }
    char id[UPLOAD_ID_LEN + 1];
    enum digest_alg alg = p->mount ? (enum digest_alg)p->digest.alg : p->alg;
    rc = upload_new(registry_of(r), req_repo(r)->name, req_principal(r)->user_id, alg, false, NULL,
                    id, err);
    if (rc == 0)
        send_session(r, 202, str_of(arena_strndup(&r->arena, id, UPLOAD_ID_LEN)), 0);
    return rc;
}

/* ---- PATCH and PUT ---- */
/* A chunk must begin where the acknowledged bytes end; *ret_length -1 without Content-Range. */
static int check_range(struct http_req *r, const struct upload *u, int64_t *ret_length,
                       struct err *err)
{
    struct str header;
    *ret_length = -1;
    if (!http_header(r, "Content-Range", &header))
        return 0;
    if (r->method == HTTP_PUT && r->content_length == 0)
        return 0; /* a closing PUT without bytes: nothing to place */
    struct range range;
    int rc = content_range_parse(header, &range, err);
    if (rc < 0)
        return rc;
    int64_t length = range.last - range.first + 1;
    if (range.first != u->size)
        return err_set(err, ERR_UPLOAD_RANGE,
                       "the chunk starts at %lld, the upload continues at %lld",
                       (long long)range.first, (long long)u->size);
    if (r->content_length >= 0 && r->content_length != length)
        return err_set(err, ERR_SIZE_INVALID, "Content-Range names %lld bytes, Content-Length %lld",
                       (long long)length, (long long)r->content_length);
    *ret_length = length;
    return 0;
}

static int begin_write(struct http_req *r, const struct digest *closing, struct err *err)
{
    struct registry *g = registry_of(r);
    struct upload *u;
    int64_t length;
    int rc = check_room(r, err);
    if (rc < 0 || (rc = upload_claim(g, r->parts[1], req_repo(r)->name, req_principal(r)->user_id,
                                     &u, err)) < 0)
        return rc;
    int64_t limit = registry_num(g, MAX_UPLOAD);
    rc = check_range(r, u, &length, err);
    if (rc == 0 && limit > 0 && r->content_length > 0 && r->content_length > limit - u->size)
        rc = err_set(err, ERR_TOO_LARGE, "a blob may have at most %lld bytes (max_upload)",
                     (long long)limit);
    if (rc < 0) {
        if (rc == ERR_UPLOAD_RANGE)
            add_session(r, r->parts[1], u->size);
        (void)upload_unclaim(g, u, false);
        return rc;
    }
    /* The digest of the closing PUT tells the algorithm in time when no byte came before. */
    if (closing && u->size == 0 && u->alg != (enum digest_alg)closing->alg) {
        u->alg = (enum digest_alg)closing->alg;
        hash_init(&u->hash, u->alg);
        u->hashed = true;
    }
    struct upload_io *io;
    if ((rc = upload_io_open(g, u, r, &io, err)) < 0)
        return rc;
    io->range_length = length;
    if (closing)
        io->digest = *closing;
    r->ctx = io;
    return 0;
}

int upload_patch_begin(struct http_req *r, struct err *err)
{
    return begin_write(r, NULL, err);
}

int upload_put_begin(struct http_req *r, struct err *err)
{
    struct digest d;
    int rc = digest_param(r, "digest", &d, err);
    if (rc == 0)
        rc = err_set(err, ERR_DIGEST_INVALID, "the closing PUT needs the parameter digest");
    return rc < 0 ? rc : begin_write(r, &d, err);
}

static int check_complete(struct upload_io *io, struct err *err)
{
    if (io->range_length < 0 || io->received == io->range_length)
        return 0;
    io->failed = true;
    return err_set(err, ERR_SIZE_INVALID, "the body has %lld bytes, Content-Range announced %lld",
                   (long long)io->received, (long long)io->range_length);
}

int upload_patch_run(struct http_req *r, struct err *err)
{
    struct upload_io *io = r->ctx;
    int rc = check_complete(io, err);
    if (rc == 0)
        rc = upload_io_save(io, err);
    int64_t size = io->u->size;
    r->ctx = NULL;
    bool cancelled =
        upload_io_close(io, false); /* before the answer: the next request may already be here */
    if (rc < 0)
        return rc;
    if (cancelled)
        return err_set(err, ERR_BLOB_UPLOAD_UNKNOWN, "the upload session was cancelled");
    send_session(r, 202, r->parts[1], size);
    return 0;
}

int upload_put_run(struct http_req *r, struct err *err)
{
    struct upload_io *io = r->ctx;
    int rc = check_complete(io, err);
    bool gone = false;
    struct digest d = io->digest;
    if (rc == 0) {
        rc = upload_io_commit(io, err);
        gone = rc == 0 || rc == ERR_DIGEST_INVALID || rc == ERR_QUOTA;
    }
    r->ctx = NULL;
    (void)upload_io_close(io, gone);
    if (rc == 0)
        send_created(r, &d);
    return rc;
}

/* Whatever is still open here belongs to a request that broke off. Never blocks: may be the loop's
 * thread. */
void upload_done(struct http_req *r)
{
    struct upload_io **io = io_of(r);
    if (*io)
        upload_io_abandon(r->server, take(io));
}

/* ---- GET and DELETE ---- */
int upload_status_run(struct http_req *r, struct err *err)
{
    int64_t size;
    int rc = upload_peek(registry_of(r), r->parts[1], req_repo(r)->name, req_principal(r)->user_id,
                         &size, err);
    if (rc == 0)
        send_session(r, 204, r->parts[1], size);
    return rc;
}

int upload_cancel_run(struct http_req *r, struct err *err)
{
    int rc = upload_cancel(registry_of(r), r->parts[1], req_repo(r)->name,
                           req_principal(r)->user_id, err);
    if (rc < 0)
        return rc;
    http_status(r, 204);
    http_send(r, (struct str){NULL, 0});
    return 0;
}
