/* Range, Content-Range and the multipart layout: whatever is accepted lies within the object,
 * ascending and disjoint, and the body that is announced is the body that is laid out. First byte:
 * size of the object. */
#include "registry/page.h"
#include "registry/range.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_layout(const struct range_set *set, int64_t size)
{
    struct multipart m = {.set = *set, .size = size, .boundary = "0123456789abcdef"};
    int64_t length = multipart_length(&m), at = 0, object = 0;
    while (at < length) {
        char p[37];
        size_t n;
        int64_t from;
        multipart_at(&m, at, p, sizeof p, &n, &from);
        BUG_ON(n == 0 || n > sizeof p || from >= size);
        if (from >= 0)
            object += (int64_t)n;
        at += (int64_t)n;
    }
    BUG_ON(at != length);
    for (size_t i = 0; i < set->n; i++)
        object -= set->v[i].last - set->v[i].first + 1;
    BUG_ON(object != 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    int64_t object = data[0];
    struct str text = {(const char *)data + 1, size - 1};
    struct range_set set;
    if (range_parse(text, object, &set) == RANGE_PARTS) {
        BUG_ON(set.n == 0 || set.n > RANGES_MAX);
        for (size_t i = 0; i < set.n; i++) {
            BUG_ON(set.v[i].first < 0 || set.v[i].last < set.v[i].first || set.v[i].last >= object);
            BUG_ON(i > 0 && set.v[i].first <= set.v[i - 1].last);
        }
        check_layout(&set, object);
    }
    struct range r;
    struct err err = {0};
    if (content_range_parse(text, &r, &err) == 0)
        BUG_ON(r.first < 0 || r.last < r.first || r.last == INT64_MAX);
    int64_t n;
    BUG_ON(page_number(text, &n) && (n < 0 || n > PAGE_MAX));
    return 0;
}
