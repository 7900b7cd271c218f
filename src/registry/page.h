/* Private: the `n`, `last` and Link furniture of every list (distribution-spec "Listing Tags"). */
#ifndef REGISTRY_PAGE_H
#define REGISTRY_PAGE_H
#include "http/http.h"

enum { PAGE_MAX = 1000, PAGE_BYTES_MAX = 16 << 20 };
struct page {
    bool has_n;      /* absent: the whole list, up to PAGE_BYTES_MAX of JSON */
    int64_t n;       /* clamped to PAGE_MAX */
    struct str last; /* decoded; empty: from the start */
};
/* Reads n and last. ERR_INVALID when n is not a decimal number. */
int page_parse(struct http_req *r, struct page *ret, struct err *err);
bool page_number(struct str text, int64_t *ret); /* clamps; false: not a decimal number */
/* Link: <path?last=...&n=...&extra>; rel="next". extra: ready query text or empty. */
void page_link(struct http_req *r, struct str last, bool has_n, int64_t n, struct str extra);

/* A JSON array of strings in the making: full when the page's count or bytes are reached. */
struct page_list {
    struct buf *out;
    int64_t max, n;  /* entries at most, entries so far */
    struct str last; /* last one written; points into keep */
    char keep[512];
    bool more; /* an entry did not fit any more */
};
void page_list_init(struct page_list *l, struct buf *out, int64_t max);
int page_list_add(void *list, struct str item); /* 0 go on, 1 full */
#endif
