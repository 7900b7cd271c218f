/* Range and Content-Range, and the framing of multipart/byteranges. Pure functions. */
#include "registry/range.h"

#include <stdio.h>

static bool number(struct str s, int64_t *ret)
{
    uint64_t v;
    if (!str_u64(s, &v) || v > INT64_MAX)
        return false;
    *ret = (int64_t)v;
    return true;
}

static bool digits(struct str s)
{
    for (size_t i = 0; i < s.n; i++) {
        if (s.p[i] < '0' || s.p[i] > '9')
            return false;
    }
    return s.n > 0;
}

enum spec { SPEC_OK, SPEC_PAST_END, SPEC_BAD };

/* One of "first-last", "first-", "-suffix". Numbers too long for 64 bits lie past any end. */
static enum spec spec_parse(struct str s, int64_t size, struct range *ret)
{
    const char *dash = s.n ? memchr(s.p, '-', s.n) : NULL;
    if (!dash)
        return SPEC_BAD;
    struct str a = {s.p, (size_t)(dash - s.p)}, b = {dash + 1, s.n - (size_t)(dash - s.p) - 1};
    if ((a.n > 0 && !digits(a)) || (b.n > 0 && !digits(b)) || (a.n == 0 && b.n == 0))
        return SPEC_BAD;
    int64_t first = INT64_MAX, last = INT64_MAX;
    if (a.n == 0) {
        (void)number(b, &last);
        if (last == 0)
            return SPEC_PAST_END;
        *ret = (struct range){last >= size ? 0 : size - last, size - 1};
        return SPEC_OK;
    }
    (void)number(a, &first);
    if (b.n > 0)
        (void)number(b, &last);
    if (last < first)
        return SPEC_BAD;
    if (first >= size)
        return SPEC_PAST_END;
    *ret = (struct range){first, last >= size ? size - 1 : last};
    return SPEC_OK;
}

enum range_result range_parse(struct str header, int64_t size, struct range_set *ret)
{
    struct str unit = {NULL, 0}, rest = header, part;
    if (!str_split(&rest, '=', &unit) || !str_ieq(str_trim(unit), STR_LIT("bytes")) ||
        unit.n == header.n || size <= 0)
        return RANGE_WHOLE;
    struct range_set set = {.n = 0};
    size_t seen = 0;
    bool whole = false;
    while (str_split(&rest, ',', &part)) {
        part = str_trim(part);
        struct range one;
        if (part.n == 0)
            continue; /* RFC 9110 5.6.1: empty list elements are allowed */
        enum spec kind = spec_parse(part, size, &one);
        if (kind == SPEC_BAD)
            return RANGE_UNSATISFIABLE;
        if (++seen > RANGES_MAX)
            return RANGE_WHOLE;
        if (kind == SPEC_PAST_END)
            continue;
        if (set.n > 0 && one.first <= set.v[set.n - 1].last)
            whole = true;
        set.v[set.n++] = one;
    }
    if (whole)
        return RANGE_WHOLE;
    if (set.n == 0)
        return RANGE_UNSATISFIABLE;
    *ret = set;
    return RANGE_PARTS;
}

int content_range_parse(struct str header, struct range *ret, struct err *err)
{
    struct str s = header, pair = {NULL, 0}, first = {NULL, 0}, last;
    if (s.n > 6 && str_ieq((struct str){s.p, 5}, STR_LIT("bytes")) &&
        (s.p[5] == ' ' || s.p[5] == '='))
        s = str_trim((struct str){s.p + 6, s.n - 6});
    struct range r;
    str_split(&s, '/', &pair);
    bool total = pair.n < header.n && memchr(header.p, '/', header.n);
    if (total && !digits(s) && !str_is(s, "*"))
        goto malformed;
    last = pair;
    if (!str_split(&last, '-', &first) || first.n == pair.n || !digits(first) || !digits(last) ||
        !number(first, &r.first) || !number(last, &r.last) || r.last < r.first ||
        r.last == INT64_MAX)
        goto malformed;
    *ret = r;
    return 0;
malformed:
    return err_set(err, ERR_UPLOAD_RANGE,
                   "Content-Range must be \"first-last\" in bytes, both inclusive");
}

static size_t part_head(const struct multipart *m, size_t i, char *p, size_t cap)
{
    int n = i < m->set.n
                ? snprintf(p, cap,
                           "\r\n--%s\r\nContent-Type: application/octet-stream\r\nContent-Range: "
                           "bytes %lld-%lld/%lld\r\n\r\n",
                           m->boundary, (long long)m->set.v[i].first, (long long)m->set.v[i].last,
                           (long long)m->size)
                : snprintf(p, cap, "\r\n--%s--\r\n", m->boundary);
    return n > 0 && (size_t)n < cap ? (size_t)n : 0;
}

enum { HEAD_MAX = 256 };

int64_t multipart_length(const struct multipart *m)
{
    char head[HEAD_MAX];
    int64_t sum = 0;
    for (size_t i = 0; i <= m->set.n; i++) {
        sum += (int64_t)part_head(m, i, head, sizeof head);
        if (i < m->set.n)
            sum += m->set.v[i].last - m->set.v[i].first + 1;
    }
    return sum;
}

void multipart_at(const struct multipart *m, int64_t offset, char *p, size_t cap, size_t *ret_n,
                  int64_t *ret_object)
{
    char head[HEAD_MAX];
    *ret_n = 0;
    *ret_object = -1;
    for (size_t i = 0; i <= m->set.n; i++) {
        int64_t framing = (int64_t)part_head(m, i, head, sizeof head);
        if (offset < framing) {
            size_t n = (size_t)(framing - offset);
            *ret_n = n < cap ? n : cap;
            memcpy(p, head + offset, *ret_n);
            return;
        }
        offset -= framing;
        int64_t length = i < m->set.n ? m->set.v[i].last - m->set.v[i].first + 1 : 0;
        if (offset < length) {
            *ret_object = m->set.v[i].first + offset;
            *ret_n = (int64_t)cap < length - offset ? cap : (size_t)(length - offset);
            return;
        }
        offset -= length;
    }
}
