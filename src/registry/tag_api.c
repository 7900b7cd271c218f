/* GET /v2/<name>/tags/list and GET /v2/_catalog (distribution-spec "Listing Tags"). */
#include "registry/page.h"
#include "registry/registry_int.h"

struct tags_read {
    int64_t repo_id;
    struct page page;
    struct page_list list;
};

static int tags_read(struct db_tx *tx, void *arg, struct err *err)
{
    struct tags_read *t = arg;
    /* One more than asked tells whether a next page exists. */
    return tag_tx_page(tx, t->repo_id, t->page.last, t->page.has_n ? t->page.n + 1 : INT64_MAX,
                       page_list_add, &t->list, err);
}

static void send_list(struct http_req *r, struct buf *body, const struct page *page,
                      const struct page_list *list)
{
    buf_cstr(body, "]}\n");
    BUG_ON(body->overflow);
    http_status(r, 200);
    http_add(r, "Content-Type", STR_LIT("application/json"));
    if (list->more && list->n > 0)
        page_link(r, list->last, page->has_n, page->n, (struct str){NULL, 0});
    http_send_buf(r, body);
}

int tags_run(struct http_req *r, struct err *err)
{
    struct registry *g = registry_of(r);
    const struct req_repo *rr = req_repo(r);
    struct tags_read t = {.repo_id = 0};
    int rc = page_parse(r, &t.page, err);
    if (rc < 0)
        return rc;
    if (t.page.last.n > 0 && !tag_valid(t.page.last))
        return err_set(err, ERR_TAG_INVALID, "parameter last must be a tag");
    if (!rr->fact)
        return err_set(err, ERR_NAME_UNKNOWN, "repository is not known to this registry");
    t.repo_id = rr->fact->id;
    struct buf body;
    buf_init(&body, PAGE_BYTES_MAX);
    page_list_init(&t.list, &body, t.page.has_n ? t.page.n : INT64_MAX);
    buf_cstr(&body, "{\"name\":");
    buf_json(&body, rr->client_name);
    buf_cstr(&body, ",\"tags\":[");
    rc = t.page.has_n && t.page.n == 0 ? 0 : db_read(g->db, tags_read, &t, err);
    if (rc < 0)
        buf_release(&body);
    else
        send_list(r, &body, &t.page, &t.list);
    return rc;
}

/* Asks ident page by page until the list is full or nothing comes any more. */
static int catalog_fill(struct http_req *r, struct str last, struct page_list *list,
                        struct err *err)
{
    struct ident *ident = ident_of(r);
    char from[NAME_MAX_BYTES + 16];
    for (;;) {
        int64_t before = list->n;
        int64_t want = list->max - before < PAGE_MAX ? list->max - before + 1 : PAGE_MAX;
        int rc =
            ident_catalog(ident, req_principal(r), last, (size_t)want, page_list_add, list, err);
        if (rc < 0)
            return rc;
        if (list->more || list->n - before < want)
            return 0;
        memcpy(from, list->last.p, list->last.n);
        last = (struct str){from, list->last.n};
    }
}

int catalog_run(struct http_req *r, struct err *err)
{
    struct page page;
    int rc = page_parse(r, &page, err);
    if (rc < 0)
        return rc;
    if (page.last.n > 0 && !name_valid(page.last))
        return err_set(err, ERR_NAME_INVALID, "parameter last must be a repository name");
    struct buf body;
    struct page_list list;
    buf_init(&body, PAGE_BYTES_MAX);
    page_list_init(&list, &body, page.has_n ? page.n : INT64_MAX);
    buf_cstr(&body, "{\"repositories\":[");
    rc = page.has_n && page.n == 0 ? 0 : catalog_fill(r, page.last, &list, err);
    if (rc < 0)
        buf_release(&body);
    else
        send_list(r, &body, &page, &list);
    return rc;
}
