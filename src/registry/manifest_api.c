/* GET, HEAD, PUT and DELETE of manifests (distribution-spec "Pulling manifests", "Pushing
 * Manifests", "Deleting Manifests").
 *
 * Reading: an event thread answers from its own cache, keyed by repository and reference and valid
 * under the repository's generation; a miss goes to a worker that reads the database once and
 * leaves what it found for that thread. Long manifests are not cached, they are read in slices. */
#include "registry/manifest_cache.h"
#include "registry/registry_int.h"

enum { MANIFEST_INLINE_MAX = 256 << 10 };

struct reference {
    bool is_digest;
    struct digest digest;
    struct str text;
};

static int reference_parse(struct str text, struct reference *ret, struct err *err)
{
    struct reference ref = {.text = text};
    if (text.n > 0 && memchr(text.p, ':', text.n)) {
        int rc = digest_parse(text, &ref.digest, err);
        if (rc < 0)
            return rc;
        ref.is_digest = true;
    } else if (!tag_valid(text)) {
        return err_set(
            err, ERR_TAG_INVALID,
            "a tag is 1 to %d characters of A-Z a-z 0-9 _ . - and starts with none of . -",
            TAG_MAX);
    }
    *ret = ref;
    return 0;
}

/* ---- reading ---- */
struct get_read {
    struct arena *arena;
    int64_t repo_id;
    struct reference ref;
    struct manifest_row row;
    bool found;
};

static int get_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct get_read *q = arg;
    int rc = q->ref.is_digest ? manifest_tx_by_digest(tx, q->arena, q->repo_id, &q->ref.digest,
                                                      MANIFEST_INLINE_MAX, &q->row, err)
                              : manifest_tx_by_tag(tx, q->arena, q->repo_id, q->ref.text,
                                                   MANIFEST_INLINE_MAX, &q->row, err);
    q->found = rc == 1;
    return rc < 0 ? rc : 0;
}

static bool not_modified(struct http_req *r, const struct digest *d)
{
    struct str want;
    char text[DIGEST_TEXT_MAX], etag[DIGEST_TEXT_MAX + 2];
    if (!http_header(r, "If-None-Match", &want))
        return false;
    (void)snprintf(etag, sizeof etag, "\"%s\"", digest_text(d, text));
    if (str_starts(want, STR_LIT("W/")))
        want = (struct str){want.p + 2, want.n - 2};
    if (!str_is(want, etag))
        return false;
    http_status(r, 304);
    http_add(r, "ETag", str_of(etag));
    http_add(r, "Docker-Content-Digest", str_of(text));
    http_send(r, (struct str){NULL, 0});
    return true;
}

/* "acme/app:1.0" or "acme/app@sha256:..." */
static struct str object_of(struct http_req *r, bool by_digest, struct str reference)
{
    struct str name = req_repo(r)->name;
    return str_of(arena_printf(&r->arena, "%.*s%c%.*s", STR_FMT(name), by_digest ? '@' : ':', STR_FMT(reference)));
}

/* Counts a pull; false when it is one too many for the caller's plan, and is answered. */
static bool pull(struct http_req *r, bool image, bool on_loop)
{
    bool get = r->method == HTTP_GET, by_digest = memchr(r->parts[1].p, ':', r->parts[1].n) != NULL;
    bool allowed = rate_pull(r, get && image);
    if (!get)
        return allowed;
    if (allowed)
        metric_add(METRIC_PULLS, 1);
    ident_count(r, on_loop, req_repo(r)->fact->owner_id, "repo.pull", object_of(r, by_digest, r->parts[1]),
                allowed ? AUDIT_DONE : AUDIT_REFUSED);
    return allowed;
}

static void send_ready(struct http_req *r, struct ready_manifest *m, bool on_loop)
{
    if (not_modified(r, &m->digest) || !pull(r, m->image, on_loop))
        return;
    http_status(r, 200);
    http_send_shared(r, m->head, m->body, &m->shared);
}

bool manifest_fast(struct http_req *r)
{
    if (r->method != HTTP_GET && r->method != HTTP_HEAD)
        return false;
    const struct req_repo *rr = req_repo(r);
    struct registry *g = registry_of(r);
    if (!rr->fact || r->parts[1].n > DIGEST_TEXT_MAX)
        return false;
    /* Touched before the cache is asked, as gc.h wants it; what is reached by tag needs no touch.
     */
    struct digest d;
    bool by_digest = digest_parse(r->parts[1], &d, NULL) == 0;
    uint64_t ticket = by_digest ? gc_touch(rr->fact->id, &d) : 0;
    char key[CACHE_KEY_MAX];
    struct str k = cache_key(key, 'm', rr->name, r->parts[1]);
    struct ready_manifest *m = (struct ready_manifest *)cache_get(g->caches[r->loop_index], k,
                                                                  gen_now(GEN_REPO, rr->name));
    metric_add(m ? METRIC_CACHE_HIT : METRIC_CACHE_MISS, 1);
    if (!m || (by_digest && !gc_undisturbed(ticket)))
        return false;
    send_ready(r, m, true);
    return true;
}

/* As absent: clients ask before they push, and the push repairs it. */
static int damaged(struct err *err)
{
    return err_set(err, ERR_MANIFEST_UNKNOWN, "the stored manifest does not match its digest; push it again");
}

/* Bytes that another than the pusher put there are never served (D2). */
static int check_bytes(const struct manifest_row *row, struct err *err)
{
    struct digest d;
    hash_bytes((enum digest_alg)row->digest.alg, row->bytes.p, row->bytes.n, &d);
    char text[DIGEST_TEXT_MAX];
    if (digest_eq(&d, &row->digest))
        return 0;
    log_line(LOG_ERROR, "stored manifest does not match its digest",
             F_CSTR("digest", digest_text(&row->digest, text)));
    metric_add(METRIC_SCRUB_CORRUPT, 1);
    return damaged(err);
}

struct slices {
    struct registry *g;
    int64_t id, offset;
    void *p;
    size_t cap, n;
    struct hash hash; /* of the first, checking pass */
};

static int slice_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct slices *s = arg;
    return manifest_tx_slice(tx, s->id, s->offset, s->p, s->cap, &s->n, err);
}

static int slice_pull(void *arg, int64_t offset, void *p, size_t cap, size_t *ret_n,
                      struct err *err)
{
    struct slices *s = arg;
    s->offset = offset;
    s->p = p;
    s->cap = cap;
    s->n = 0;
    int rc = db_read(s->g->db, slice_read, s, err);
    if (rc == 0 && s->n == 0)
        rc = err_set(err, ERR_MANIFEST_UNKNOWN, "the manifest was deleted while it was read");
    if (rc == 0)
        *ret_n = s->n;
    return rc;
}

/* Reads a long manifest through once, so that its digest is known to hold before a byte is sent. */
static int check_long(struct slices *s, const struct manifest_row *row, struct err *err)
{
    enum { PIECE = 256 << 10 };
    auto_free uint8_t *piece = mem_alloc(PIECE);
    hash_init(&s->hash, (enum digest_alg)row->digest.alg);
    for (int64_t at = 0; at < row->size;) {
        size_t n = 0;
        int rc = slice_pull(s, at, piece, PIECE, &n, err);
        if (rc < 0)
            return rc;
        hash_update(&s->hash, piece, n);
        at += (int64_t)n;
    }
    struct digest d;
    hash_final(&s->hash, &d);
    if (!digest_eq(&d, &row->digest))
        return damaged(err);
    return 0;
}

static int send_long(struct http_req *r, const struct manifest_row *row, struct err *err)
{
    if (not_modified(r, &row->digest))
        return 0;
    struct slices *s = arena_zalloc(&r->arena, sizeof *s);
    s->g = registry_of(r);
    s->id = row->id;
    int rc = check_long(s, row, err);
    if (rc < 0)
        return rc;
    char text[DIGEST_TEXT_MAX];
    if (!pull(r, media_type_is_image(row->media_type), false))
        return 0;
    http_status(r, 200);
    http_add(r, "Content-Type", row->media_type);
    http_add(r, "Docker-Content-Digest", str_of(digest_text(&row->digest, text)));
    http_addf(r, "ETag", "\"%s\"", text);
    http_send_pull(r, row->size, slice_pull, s);
    return 0;
}

static int read_once(struct registry *g, struct get_read *q, struct err *err)
{
    /* A collector that deletes at this very moment is waited for, then the answer is the truth. */
    for (int i = 0;; i++) {
        uint64_t ticket = q->ref.is_digest ? gc_touch(q->repo_id, &q->ref.digest) : 0;
        int rc = db_read(g->db, get_read, q, err);
        if (rc < 0 || !q->found || !q->ref.is_digest || i == 3 || gc_undisturbed(ticket))
            return rc;
        gc_wait(ticket);
    }
}

int manifest_get_run(struct http_req *r, struct err *err)
{
    struct registry *g = registry_of(r);
    const struct req_repo *rr = req_repo(r);
    struct get_read q = {.arena = &r->arena};
    int rc = reference_parse(r->parts[1], &q.ref, err);
    if (rc < 0)
        return rc;
    if (!rr->fact)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    q.repo_id = rr->fact->id;
    uint64_t gen = gen_now(GEN_REPO, rr->name);
    if ((rc = read_once(g, &q, err)) < 0)
        return rc;
    if (!q.found)
        return err_set(err, ERR_MANIFEST_UNKNOWN, "manifest unknown to this repository");
    if (!q.row.bytes.p)
        return send_long(r, &q.row, err);
    if ((rc = check_bytes(&q.row, err)) < 0)
        return rc;
    struct ready_manifest *m = ready_manifest_new(&q.row);
    manifest_remember(r, g, q.ref.text, m, gen);
    send_ready(r, m, false);
    shared_unref(&m->shared);
    return 0;
}

/* ---- writing ---- */
struct put {
    struct http_req *r;
    struct push_target target;
    struct manifest_put row;
    int64_t missing;
};

/* One row a push, under the first tag that it sets. */
static int put_record(struct db_tx *tx, struct put *q, int64_t account_id, struct err *err)
{
    struct http_req *r = q->r;
    char digest[DIGEST_TEXT_MAX];
    bool tagged = q->row.n_tags > 0;
    struct str data = str_of(arena_printf(&r->arena, "{\"digest\":\"%s\"}", digest_text(&q->row.digest, digest)));
    return ident_tx_record(tx, r, q->target.who, account_id, tagged ? "repo.tag.push" : "repo.manifest.push",
                          object_of(r, !tagged, tagged ? q->row.tags[0] : str_of(digest)), data, err);
}

static int put_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct put *q = arg;
    q->missing = 0;
    struct push_into into;
    int rc = repo_tx_for_push(tx, &q->target, &into, err);
    q->row.repo_id = into.repo_id;
    if (rc == 0)
        rc = manifest_tx_put(tx, &q->row, &q->missing, err);
    return rc < 0 ? rc : put_record(tx, q, into.account_id, err);
}

/* Tags of the query, then the reference when it is one; each once. *ret_params: how many the query
 * gave. */
static int collect_tags(struct http_req *r, const struct reference *ref, struct str **ret,
                        size_t *ret_n, size_t *ret_params, struct err *err)
{
    struct str *tags = arena_alloc(&r->arena, (TAGS_PARAM_MAX + 1) * sizeof *tags);
    size_t n = 0, at = 0;
    struct str tag;
    int rc;
    while ((rc = http_query(r, "tag", &at, &tag)) == 1) {
        if (!tag_valid(tag))
            return err_set(err, ERR_TAG_INVALID,
                           "parameter tag: 1 to %d characters of A-Z a-z 0-9 _ . -", TAG_MAX);
        bool seen = false;
        for (size_t i = 0; i < n; i++)
            seen |= str_eq(tags[i], tag);
        if (seen)
            continue;
        if (n == TAGS_PARAM_MAX)
            return err_set(err, ERR_URI_TOO_LONG, "at most %d tag parameters in a request",
                           TAGS_PARAM_MAX);
        tags[n++] = tag;
    }
    if (rc < 0)
        return err_set(err, ERR_TAG_INVALID, "parameter tag is not well encoded");
    *ret_params = n;
    bool seen = ref->is_digest;
    for (size_t i = 0; i < n; i++)
        seen |= str_eq(tags[i], ref->text);
    if (!seen)
        tags[n++] = ref->text;
    *ret = tags;
    *ret_n = n;
    return 0;
}

struct novelty {
    int64_t repo_id;
    const struct manifest_put *put;
    struct arena *arena;
    bool is;
};

static int novelty_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct novelty *q = arg;
    struct manifest_row row;
    int rc = manifest_tx_by_digest(tx, q->arena, q->repo_id, &q->put->digest, 0, &row, err);
    for (size_t i = 0; rc == 1 && i < q->put->n_tags; i++)
        rc = manifest_tx_by_tag(tx, q->arena, q->repo_id, q->put->tags[i], 0, &row, err);
    q->is = rc == 0;
    return rc < 0 ? rc : 0;
}

/* A push counts when it makes a tag or a digest, and before it does: of many at once no more pass than
 * the plan allows. 1: it was one too many, and is answered. */
static int put_counts(struct http_req *r, const struct manifest_put *put, struct err *err)
{
    const struct repo_fact *fact = req_repo(r)->fact;
    struct novelty q = {.put = put, .arena = &r->arena, .is = fact == NULL};
    if (!rate_pushes_limited(r))
        return 0;
    if (fact != NULL) {
        q.repo_id = fact->id;
        int rc = db_read(registry_of(r)->db, novelty_read, &q, err);
        if (rc < 0)
            return rc;
    }
    return q.is && !rate_push(r);
}

static int put_digest(const struct reference *ref, struct str body, struct digest *ret,
                      struct err *err)
{
    hash_bytes(ref->is_digest ? (enum digest_alg)ref->digest.alg : DIGEST_SHA256, body.p, body.n,
               ret);
    char text[DIGEST_TEXT_MAX];
    if (ref->is_digest && !digest_eq(ret, &ref->digest))
        return err_set(err, ERR_DIGEST_INVALID, "the manifest's digest is %s",
                       digest_text(ret, text));
    return 0;
}

/* Some to a line: proxies and clients refuse an answer of more than 100 lines. */
static void add_tags(struct http_req *r, const struct str *tags, size_t n)
{
    enum { TO_A_LINE = 10 };
    struct buf line;
    buf_init(&line, TO_A_LINE * (TAG_MAX + 2));
    for (size_t i = 0; i < n; i++) {
        buf_cstr(&line, line.n > 0 ? ", " : "");
        buf_add(&line, tags[i].p, tags[i].n);
        if ((i + 1) % TO_A_LINE == 0 || i + 1 == n) {
            http_add(r, "OCI-Tag", buf_view(&line));
            buf_reset(&line);
        }
    }
    buf_release(&line);
}

static void put_answer(struct http_req *r, const struct put *q, size_t n_params)
{
    char text[DIGEST_TEXT_MAX];
    metric_add(METRIC_PUSHES, 1);
    http_status(r, 201);
    digest_text(&q->row.digest, text);
    http_addf(r, "Location", "/v2/%.*s/manifests/%s", STR_FMT(req_repo(r)->client_name), text);
    http_add(r, "Docker-Content-Digest", str_of(text));
    add_tags(r, q->row.tags, n_params);
    if (q->row.model->has_subject)
        http_add(r, "OCI-Subject", str_of(digest_text(&q->row.model->subject, text)));
    if (q->missing > 0)
        registry_warn(r, "manifest names %lld blobs that this repository does not hold",
                      (long long)q->missing);
    http_send(r, (struct str){NULL, 0});
}

int manifest_put_run(struct http_req *r, struct err *err)
{
    struct registry *g = registry_of(r);
    struct reference ref;
    struct manifest *model = arena_zalloc(&r->arena, sizeof *model);
    struct put q = {
        .r = r,
        .target = push_target_of(r),
        .row = {.actor_id = req_principal(r)->user_id, .model = model, .bytes = r->body}};
    struct str type = {NULL, 0}, *tags;
    size_t n_params;
    int rc = reference_parse(r->parts[1], &ref, err);
    if (rc < 0 || (rc = collect_tags(r, &ref, &tags, &q.row.n_tags, &n_params, err)) < 0)
        return rc;
    q.row.tags = tags;
    (void)http_header(r, "Content-Type", &type);
    if (http_header_count(r, "Content-Type") > 1)
        return err_set(err, ERR_MANIFEST_INVALID, "more than one Content-Type");
    if ((rc = put_digest(&ref, r->body, &q.row.digest, err)) < 0 ||
        (rc = manifest_parse(&r->arena, r->body, type, (size_t)registry_num(g, MAX_MANIFEST), model,
                             err)) < 0 ||
        (rc = registry_space(g, 0, err)) < 0 || (rc = put_counts(r, &q.row, err)) != 0)
        return rc < 0 ? rc : 0;
    if ((rc = repo_write(g, req_repo(r)->name, put_write, &q, err)) < 0)
        return rc;
    put_answer(r, &q, n_params);
    return 0;
}

/* ---- deleting ---- */
struct del {
    struct http_req *r;
    struct reference ref;
    bool found;
};

static int delete_write(struct db_tx *tx, void *arg, struct err *err)
{
    struct del *q = arg;
    int64_t repo_id = req_repo(q->r)->fact->id, actor = req_principal(q->r)->user_id;
    int rc = ident_tx_stands(tx, req_principal(q->r), err);
    if (rc == 0)
        rc = ident_tx_may(tx, req_principal(q->r), RIGHT_DELETE, req_repo(q->r)->name, err);
    if (rc < 0)
        return rc;
    rc = q->ref.is_digest ? manifest_tx_delete(tx, repo_id, &q->ref.digest, actor, err)
                          : tag_tx_delete(tx, repo_id, q->ref.text, actor, err);
    q->found = rc == 1;
    if (rc == 1)
        rc = ident_tx_record(tx, q->r, req_principal(q->r), req_repo(q->r)->fact->owner_id,
                             q->ref.is_digest ? "repo.manifest.delete" : "repo.tag.delete",
                            object_of(q->r, q->ref.is_digest, q->r->parts[1]), (struct str){NULL, 0}, err);
    return rc < 0 ? rc : 0;
}

int manifest_delete_run(struct http_req *r, struct err *err)
{
    const struct req_repo *rr = req_repo(r);
    struct del q = {.r = r};
    int rc = reference_parse(r->parts[1], &q.ref, err);
    if (rc < 0)
        return rc;
    if (!rr->fact)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    if ((rc = repo_write(registry_of(r), rr->name, delete_write, &q, err)) < 0)
        return rc;
    if (!q.found)
        return err_set(err, ERR_MANIFEST_UNKNOWN, "manifest unknown to this repository");
    http_status(r, 202);
    http_send(r, (struct str){NULL, 0});
    return 0;
}
