/* Pages, and numbers as UUIDs. */
#include "hub/hub_int.h"

#include <stdio.h>

const struct rest_field hub_page_query[] = {HUB_PAGE_QUERY, {0}};

void hub_page_start(struct hub_page *p, struct rest_call *c)
{
    json_decref(p->results);
    int64_t size = rest_int(c->query, "page_size", HUB_PAGE_SIZE);
    *p = (struct hub_page){.c = c, .page = rest_int(c->query, "page", 1), .size = size < HUB_PAGE_MAX ? size : HUB_PAGE_MAX,
                           .results = json_array()};
}

bool hub_page_takes(struct hub_page *p)
{
    int64_t at = p->count++;
    return at >= (p->page - 1) * p->size && at < p->page * p->size;
}

void hub_page_add(struct hub_page *p, json_t *item) { json_array_append_new(p->results, item); }

/* The request's own address with another page. */
static json_t *url(const struct http_req *r, int64_t page)
{
    struct buf b;
    struct str rest = r->query, pair;
    buf_init(&b, 64 << 10);
    buf_printf(&b, "%s%.*s?", http_url(r->server), STR_FMT(r->path));
    while (rest.n > 0 && str_split(&rest, '&', &pair))
        if (pair.n > 0 && !str_starts(pair, STR_LIT("page=")))
            buf_printf(&b, "%.*s&", STR_FMT(pair));
    buf_printf(&b, "page=%lld", (long long)page);
    json_t *s = json_stringn(b.p, b.n); /* NULL: no UTF-8 */
    buf_release(&b);
    return s ? s : json_null();
}

int hub_page_finish(struct hub_page *p, const char *count, json_t *more, int rc, struct err *err)
{
    json_t *results = p->results;
    p->results = NULL;
    if (rc >= 0 && p->page > 1 && json_array_size(results) == 0)
        rc = err_set(err, ERR_NOT_FOUND, "there is no page %lld", (long long)p->page);
    if (rc < 0) {
        json_decref(results);
        json_decref(more);
        return rc;
    }
    const struct http_req *r = p->c->r;
    json_t *doc = json_pack("{s:I,s:o,s:o,s:o}", count, (json_int_t)p->count, "next",
                            p->page * p->size < p->count ? url(r, p->page + 1) : json_null(), "previous",
                            p->page > 1 ? url(r, p->page - 1) : json_null(), "results", results);
    if (more != NULL)
        json_object_update(doc, more);
    json_decref(more);
    return rest_send(p->c, doc);
}

/* 12 digits of the number behind what is the same in all of them. */
#define UUID_HEAD "62657274-6800-8000-8000-"

void hub_uuid(int64_t id, char out[HUB_UUID]) { (void)snprintf(out, HUB_UUID, UUID_HEAD "%012llx", (unsigned long long)id & 0xffffffffffff); }

bool hub_uuid_parse(struct str text, int64_t *ret)
{
    uint8_t bytes[6];
    if (text.n != HUB_UUID - 1 || !str_starts(text, STR_LIT(UUID_HEAD)) ||
        hex_decode(bytes, (struct str){text.p + sizeof UUID_HEAD - 1, 12}) < 0)
        return false;
    *ret = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        *ret = *ret << 8 | bytes[i];
    return true;
}
