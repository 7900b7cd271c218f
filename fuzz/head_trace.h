/* What the parser of heads and bodies says of a byte stream, written down message by message; for the
 * fuzzer and for the comparison with another parser. */
#ifndef FUZZ_HEAD_TRACE_H
#define FUZZ_HEAD_TRACE_H
#include "http/http_int.h"

enum { TRACE_MESSAGES_MAX = 64 };
enum trace_end {
    TRACE_BETWEEN,  /* the stream ends between two messages */
    TRACE_IN_HEAD,  /* inside a head */
    TRACE_IN_BODY,  /* inside a body */
    TRACE_REFUSED,  /* err says why */
    TRACE_STOPPED   /* after TRACE_MESSAGES_MAX messages */
};
struct trace_options {
    size_t max_head;
    size_t body_cap;                           /* HTTP_BUFFER with that cap; 0: HTTP_STREAM without one */
    size_t (*piece)(void *arg, size_t left);   /* 1..left bytes to read now */
    void *arg;
};
/* Each message is told once its head is complete, and again when its body is: line "head ..." and
 * line "body ...", all in `out`; parts are hexadecimal. Returns why it ended. */
enum trace_end head_trace(struct str stream, const struct trace_options *o, struct buf *out,
                          struct err *err);
#endif
