/* Text: borrowed slices (struct str) and growing buffers with a named cap (struct buf). */
#ifndef BASE_TEXT_H
#define BASE_TEXT_H

#include "base/mem.h"

#include <string.h>

/* A borrowed run of bytes; not NUL-terminated; p may be NULL only when n is 0. */
struct str {
    const char *p;
    size_t n;
};
#define STR_LIT(s) ((struct str){(s), sizeof(s) - 1})
#define STR_FMT(s) (int)(s).n, (s).p /* for "%.*s" */
static inline struct str str_of(const char *s) /* NULL gives the empty slice */
{
    return (struct str){s, s ? strlen(s) : 0};
}
static inline bool str_eq(struct str a, struct str b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.p, b.p, a.n) == 0);
}
static inline bool str_is(struct str a, const char *lit) { return str_eq(a, str_of(lit)); }
bool str_ieq(struct str a, struct str b); /* ASCII case-insensitive */
bool str_starts(struct str s, struct str prefix);
bool str_ends(struct str s, struct str suffix);
struct str str_trim(struct str s);                     /* spaces and tabs at both ends */
bool str_split(struct str *rest, char sep, struct str *ret_part); /* false when rest is used up */
int str_cmp(struct str a, struct str b);               /* bytewise, shorter first */
/* Unsigned decimal without sign, spaces or overflow; whole slice. False leaves *ret alone. */
bool str_u64(struct str s, uint64_t *ret);
char *str_dup(struct arena *a, struct str s); /* NUL-terminated copy in the arena */

/* Copies at most cap - 1 bytes and the NUL. */
static inline void text_copy(char *out, size_t cap, struct str s)
{
    size_t n = s.n < cap ? s.n : cap - 1;
    if (n > 0)
        memcpy(out, s.p, n);
    out[n] = 0;
}

/* Growing byte buffer. Appends past `cap` set `overflow` (sticky) and are dropped: check once
 * at the end. buf_init borrows nothing; release frees. p is NUL-terminated whenever p != NULL. */
struct buf {
    char *p;
    size_t n, size, cap;
    bool overflow;
};
void buf_init(struct buf *b, size_t cap);
void buf_release(struct buf *b);
void buf_reset(struct buf *b); /* keeps the memory */
void buf_add(struct buf *b, const void *p, size_t n);
void buf_str(struct buf *b, struct str s);
void buf_cstr(struct buf *b, const char *s);
void buf_char(struct buf *b, char c);
void buf_u64(struct buf *b, uint64_t v);
void buf_i64(struct buf *b, int64_t v);
void buf_printf(struct buf *b, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void buf_hex(struct buf *b, const void *p, size_t n);
/* JSON string with quotes; control bytes and invalid UTF-8 escaped (U+FFFD for the latter). */
void buf_json(struct buf *b, struct str s);
static inline struct str buf_view(const struct buf *b) { return (struct str){b->p, b->n}; }

/* Hex and base64. Decoders are strict: canonical form only, exact length; -1 on any fault. */
void hex_encode(char *out, const uint8_t *in, size_t n);         /* writes 2n chars + NUL; lower case */
int hex_decode(uint8_t *out, struct str in);                     /* lower case only; in.n/2 bytes */
size_t base64url_encode(char *out, const void *in, size_t n);    /* no padding; adds NUL */
long base64url_decode(uint8_t *out, size_t cap, struct str in);  /* rejects padding and loose bits */
size_t base64_encode(char *out, const void *in, size_t n);       /* padded, standard alphabet */
long base64_decode(uint8_t *out, size_t cap, struct str in);
/* RFC 4648 base32 without padding, in one case: letters from 'a' or from 'A'. Neither branches on the
 * bytes nor looks them up in a table, for these are secrets. */
size_t base32_encode(char *out, const void *in, size_t n, char first); /* (8n+4)/5 chars + NUL */
long base32_decode(uint8_t *out, size_t cap, struct str in, char first);
/* Percent-decoding of a URL part into the arena; -1 on a bad escape or on %00. '+' stays '+'
 * unless plus_is_space. */
int url_decode(struct arena *a, struct str in, bool plus_is_space, struct str *ret);
void url_encode(struct buf *b, struct str in); /* keeps unreserved and '/' ; rest is %XX */

#endif
