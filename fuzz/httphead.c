/* httphead: reads inputs from standard input (4 bytes of length, little-endian, then the bytes),
 * prints for each what the parser made of it: lines "head" and "body" (head_trace.h), then
 * "end WHY CODE TEXT". Each input is parsed in one piece, and in pieces of seven bytes; when the two
 * differ, the end is "differs". */
#include "head_trace.h"

#include <stdio.h>
#include <stdlib.h>

enum { INPUT_MAX = 1 << 20 };

static size_t piece(void *arg, size_t left)
{
    size_t most = *(size_t *)arg;
    return left < most ? left : most;
}

static enum trace_end run(struct str stream, size_t most, struct buf *out, struct err *err)
{
    struct trace_options o = {.max_head = 16 << 10, .piece = piece, .arg = &most};
    buf_init(out, 16 * (size_t)INPUT_MAX);
    return head_trace(stream, &o, out, err);
}

static bool is_size(const struct err *e)
{
    return e->code == ERR_HEADERS_TOO_LARGE || e->code == ERR_URI_TOO_LONG;
}

static void answer(struct str stream)
{
    static const char *const ends[] = {"between", "in-head", "in-body", "refused", "stopped"};
    struct err err = {0}, again = {0};
    struct buf out, other;
    enum trace_end end = run(stream, SIZE_MAX, &out, &err);
    bool same = run(stream, 7, &other, &again) == end && str_eq(buf_view(&out), buf_view(&other)) &&
                (err.code == again.code || (is_size(&err) && is_size(&again)));
    if (out.n != 0)
        fwrite(out.p, 1, out.n, stdout);
    printf("end %s %s %s\n", same ? ends[end] : "differs", err.code ? err_name(err.code) : "-",
           err.code ? err.text : "-");
    buf_release(&out);
    buf_release(&other);
}

int main(void)
{
    static char input[INPUT_MAX];
    uint8_t head[4];
    while (fread(head, 1, 4, stdin) == 4) {
        size_t n = head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (n > INPUT_MAX || fread(input, 1, n, stdin) != n)
            return EXIT_FAILURE;
        auto_free char *exact = mem_alloc(n);
        memcpy(exact, input, n);
        answer((struct str){exact, n});
        (void)fflush(stdout);
    }
    return EXIT_SUCCESS;
}
