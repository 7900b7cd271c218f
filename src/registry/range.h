/* Private: Range of a GET (RFC 9110 section 14) and Content-Range of a chunk (distribution-spec).
 */
#ifndef REGISTRY_RANGE_H
#define REGISTRY_RANGE_H
#include "base/err.h"

enum { RANGES_MAX = 8 };
struct range {
    int64_t first, last; /* both inclusive */
};
struct range_set {
    struct range v[RANGES_MAX];
    size_t n;
};
enum range_result {
    RANGE_WHOLE,        /* no usable range: answer 200 with everything */
    RANGE_PARTS,        /* 206 with set->n ranges, ascending and disjoint */
    RANGE_UNSATISFIABLE /* 416 */
};
/* `header`: value of Range. Another unit, overlapping, descending or more than RANGES_MAX ranges,
 * and any range of an empty object give RANGE_WHOLE; malformed or unsatisfiable ones
 * RANGE_UNSATISFIABLE. */
enum range_result range_parse(struct str header, int64_t size, struct range_set *ret);
/* "first-last" as clients send it with a chunk; also "bytes first-last/total" with total a number
 * or '*'. ERR_UPLOAD_RANGE when malformed. */
int content_range_parse(struct str header, struct range *ret, struct err *err);

/* The layout of a multipart/byteranges body: what stands before each part, and its whole length. */
struct multipart {
    struct range_set set;
    int64_t size; /* of the object */
    char boundary[33];
};
int64_t multipart_length(const struct multipart *m);
/* Bytes of the body at `offset`: either up to cap bytes of framing are written to p (*ret_object
 * -1), or they are bytes of the object from *ret_object on, *ret_n of them at most. */
void multipart_at(const struct multipart *m, int64_t offset, char *p, size_t cap, size_t *ret_n,
                  int64_t *ret_object);
#endif
