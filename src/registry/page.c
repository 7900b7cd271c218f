/* Pages of lists: parameters, the Link to the next page, and the array they fill. */
#include "registry/page.h"

bool page_number(struct str text, int64_t *ret)
{
    uint64_t v;
    for (size_t i = 0; i < text.n; i++) {
        if (text.p[i] < '0' || text.p[i] > '9')
            return false;
    }
    if (text.n == 0 || text.n > 64)
        return false;
    /* More digits than 64 bits hold: a number all the same, and beyond the clamp. */
    *ret = !str_u64(text, &v) || v > PAGE_MAX ? PAGE_MAX : (int64_t)v;
    return true;
}

int page_parse(struct http_req *r, struct page *ret, struct err *err)
{
    struct page page = {.has_n = false, .n = 0, .last = {NULL, 0}};
    struct str n;
    size_t at = 0;
    int rc = http_query(r, "n", &at, &n);
    if (rc < 0 || (rc == 1 && !page_number(n, &page.n)))
        return err_set(err, ERR_INVALID, "parameter n must be a decimal number, 0 or more");
    page.has_n = rc == 1;
    at = 0;
    if (http_query(r, "last", &at, &page.last) < 0)
        return err_set(err, ERR_INVALID, "parameter last is not well encoded");
    *ret = page;
    return 0;
}

void page_link(struct http_req *r, struct str last, bool has_n, int64_t n, struct str extra)
{
    struct buf b;
    buf_init(&b, 8192);
    buf_char(&b, '<');
    buf_str(&b, r->path);
    buf_cstr(&b, "?last=");
    url_encode(&b, last);
    if (has_n)
        buf_printf(&b, "&n=%lld", (long long)n);
    if (extra.n > 0) {
        buf_char(&b, '&');
        buf_str(&b, extra);
    }
    buf_cstr(&b, ">; rel=\"next\"");
    if (!b.overflow)
        http_add(r, "Link", buf_view(&b));
    buf_release(&b);
}

void page_list_init(struct page_list *l, struct buf *out, int64_t max)
{
    *l = (struct page_list){.out = out, .max = max};
}

int page_list_add(void *list, struct str item)
{
    struct page_list *l = list;
    /* Escaped text is at most six times as long; two more for quotes and comma, and the closing. */
    if (l->n >= l->max || item.n > sizeof l->keep || l->out->n + item.n * 6 + 64 > l->out->cap) {
        l->more = true;
        return 1;
    }
    if (l->n++ > 0)
        buf_char(l->out, ',');
    buf_json(l->out, item);
    memcpy(l->keep, item.p, item.n);
    l->last = (struct str){l->keep, item.n};
    return 0;
}
