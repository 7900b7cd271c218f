/* GET /v2/<name>/referrers/<digest> (distribution-spec "Listing Referrers"): never 404. */
#include "registry/page.h"
#include "registry/referrer.h"

static const char INDEX_TYPE[] = "application/vnd.oci.image.index.v1+json";
enum { REFERRERS_PAGE_BYTES = 4 << 20, REFERRERS_BODY_MAX = 32 << 20 };

struct referrers_read {
    int64_t repo_id, max;
    struct referrer_query query;
    struct buf body;
    int64_t n;
    struct digest last;
    bool more;
};

/* A page ends at 4 MiB or max entries; one entry always fits, however long its annotations. */
static int add_one(void *arg, const struct referrer *one)
{
    struct referrers_read *q = arg;
    char text[DIGEST_TEXT_MAX];
    size_t longest = 512 + 6 * (one->media_type.n + one->artifact_type.n) + one->annotations.n;
    if (q->n >= q->max || (q->n > 0 && q->body.n + longest > REFERRERS_PAGE_BYTES)) {
        q->more = true;
        return 1;
    }
    if (q->n++ > 0)
        buf_char(&q->body, ',');
    buf_cstr(&q->body, "{\"mediaType\":");
    buf_json(&q->body, one->media_type);
    buf_printf(&q->body, ",\"size\":%lld,\"digest\":\"%s\"", (long long)one->size,
               digest_text(&one->digest, text));
    if (one->artifact_type.n > 0) {
        buf_cstr(&q->body, ",\"artifactType\":");
        buf_json(&q->body, one->artifact_type);
    }
    if (one->annotations.n > 0) {
        buf_cstr(&q->body, ",\"annotations\":");
        buf_str(&q->body, one->annotations);
    }
    buf_char(&q->body, '}');
    q->last = one->digest;
    return 0;
}

static int read_page(struct db_tx *tx, void *arg, struct err *err)
{
    struct referrers_read *q = arg;
    return referrer_tx_page(tx, q->repo_id, &q->query, q->max + 1, add_one, q, err);
}

/* No media type has a space, many have a plus: a bare '+' that was read as a space is put back. */
static struct str plus_kept(struct arena *a, struct str s)
{
    char *copy = str_dup(a, s);
    for (size_t i = 0; i < s.n; i++) {
        if (copy[i] == ' ')
            copy[i] = '+';
    }
    return (struct str){copy, s.n};
}

static int parse_query(struct http_req *r, struct referrers_read *q, struct err *err)
{
    int rc = digest_parse(r->parts[1], &q->query.subject, err);
    if (rc < 0)
        return rc;
    struct page page;
    if ((rc = page_parse(r, &page, err)) < 0)
        return rc;
    if (page.has_n && page.n > 0)
        q->max = page.n;
    if (page.last.n > 0) {
        if ((rc = digest_parse(page.last, &q->query.last, err)) < 0)
            return rc;
        q->query.has_last = true;
    }
    size_t at = 0;
    rc = http_query(r, "artifactType", &at, &q->query.artifact_type);
    if (rc == 1)
        q->query.artifact_type = plus_kept(&r->arena, q->query.artifact_type);
    bool shape = q->query.artifact_type.n <= MEDIA_TYPE_MAX;
    for (size_t i = 0; rc == 1 && shape && i < q->query.artifact_type.n; i++)
        shape = q->query.artifact_type.p[i] > 0x20 && q->query.artifact_type.p[i] < 0x7f;
    if (rc < 0 || !shape)
        return err_set(err, ERR_INVALID,
                       "parameter artifactType must be a media type of printable ASCII characters");
    return 0;
}

static void send_page(struct http_req *r, struct referrers_read *q)
{
    struct str filter = q->query.artifact_type;
    char text[DIGEST_TEXT_MAX];
    buf_cstr(&q->body, "]}");
    http_status(r, 200);
    http_add(r, "Content-Type", str_of(INDEX_TYPE));
    if (filter.n > 0)
        http_add(r, "OCI-Filters-Applied", STR_LIT("artifactType"));
    if (q->more) {
        struct buf extra;
        buf_init(&extra, 2048);
        if (filter.n > 0) {
            buf_cstr(&extra, "artifactType=");
            url_encode(&extra, filter);
        }
        page_link(r, str_of(digest_text(&q->last, text)), q->max != PAGE_MAX, q->max,
                  buf_view(&extra));
        buf_release(&extra);
    }
    http_send_buf(r, &q->body);
}

int referrers_run(struct http_req *r, struct err *err)
{
    const struct req_repo *rr = req_repo(r);
    struct referrers_read q = {.max = PAGE_MAX};
    int rc = parse_query(r, &q, err);
    if (rc < 0)
        return rc;
    buf_init(&q.body, REFERRERS_BODY_MAX);
    buf_printf(&q.body, "{\"schemaVersion\":2,\"mediaType\":\"%s\",\"manifests\":[", INDEX_TYPE);
    if (rr->fact) {
        q.repo_id = rr->fact->id;
        rc = db_read(registry_of(r)->db, read_page, &q, err);
    }
    if (rc == 0 && q.body.overflow)
        rc = err_set(err, ERR_INTERNAL, "a referrer's annotations are too long to list");
    if (rc < 0)
        buf_release(&q.body);
    else
        send_page(r, &q);
    return rc;
}
