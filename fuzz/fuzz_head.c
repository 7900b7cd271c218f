/* HTTP heads and bodies: a stream gives the same messages, bytes and refusals in one piece, byte by
 * byte and in random pieces. First byte: bit 0 a capped body, bit 1 a small cap of heads, the rest
 * seeds the pieces. */
#include "head_trace.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static size_t piece_all(void *arg, size_t left)
{
    (void)arg;
    return left;
}

static size_t piece_one(void *arg, size_t left)
{
    (void)arg, (void)left;
    return 1;
}

static size_t piece_random(void *arg, size_t left)
{
    uint64_t *state = arg;
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    uint64_t n = *state >> 33, most = (*state >> 20 & 3) ? 8 : 200;
    return 1 + n % (left < most ? left : most);
}

static bool is_size(const struct err *e)
{
    return e->code == ERR_HEADERS_TOO_LARGE || e->code == ERR_URI_TOO_LONG;
}

struct outcome {
    struct buf trace;
    enum trace_end end;
    struct err err;
};

static void run(struct str stream, struct trace_options o, struct outcome *ret)
{
    buf_init(&ret->trace, 4 * stream.n + (64 << 10));
    ret->err = (struct err){0};
    ret->end = head_trace(stream, &o, &ret->trace, &ret->err);
    BUG_ON(ret->trace.overflow || (ret->end == TRACE_REFUSED) != (ret->err.code != 0));
    BUG_ON(ret->err.code != 0 && (ret->err.text[0] == '\0' || err_status(ret->err.code) < 400));
}

static void compare(const struct outcome *a, const struct outcome *b)
{
    BUG_ON(a->end != b->end);
    BUG_ON(!str_eq(buf_view(&a->trace), buf_view(&b->trace)));
    /* A head that is too large and malformed, too, is refused for what is seen first. */
    BUG_ON(a->err.code != b->err.code && !is_size(&a->err) && !is_size(&b->err));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size == 0)
        return 0;
    uint64_t seed = data[0];
    struct str stream = {(const char *)data + 1, size - 1};
    struct trace_options o = {.max_head = data[0] & 2 ? 256 : 16 << 10,
                              .body_cap = data[0] & 1 ? 16 : 0};
    struct outcome whole, other;
    o.piece = piece_all;
    run(stream, o, &whole);
    o.piece = piece_one;
    run(stream, o, &other);
    compare(&whole, &other);
    buf_release(&other.trace);
    o.piece = piece_random;
    o.arg = &seed;
    run(stream, o, &other);
    compare(&whole, &other);
    buf_release(&other.trace);
    buf_release(&whole.trace);
    return 0;
}
