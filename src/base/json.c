/* Strict JSON: an iterative scan of grammar and caps, then jansson. See json.h. */
#include "base/json.h"

#include <stdio.h>

enum { DEPTH_MAX = 1024, NUMBER_MAX = 64 };

struct scan {
    const uint8_t *p;
    size_t n, at;
    struct json_caps caps;
    size_t nodes;
    int depth;
    uint8_t in_object[DEPTH_MAX / 8]; /* bit d: level d is an object */
    const char *fault;
};

static bool fail(struct scan *s, const char *why)
{
    if (s->fault == NULL)
        s->fault = why;
    return false;
}

static int peek(const struct scan *s) { return s->at < s->n ? s->p[s->at] : -1; }

static void skip_space(struct scan *s)
{
    while (s->at < s->n && memchr(" \t\r\n", s->p[s->at], 4) != NULL)
        s->at++;
}

static bool scan_hex4(struct scan *s, unsigned *ret)
{
    unsigned v = 0;
    for (int i = 0; i < 4; i++, s->at++) {
        int c = peek(s);
        int d = c >= '0' && c <= '9'   ? c - '0'
                : c >= 'a' && c <= 'f' ? c - 'a' + 10
                : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                       : -1;
        if (d < 0)
            return fail(s, "bad \\u escape");
        v = v << 4 | (unsigned)d;
    }
    *ret = v;
    return true;
}

static bool scan_escape(struct scan *s)
{
    int c = peek(s);
    if (c < 0 || strchr("\"\\/bfnrtu", c) == NULL || c == 0)
        return fail(s, "bad escape in a string");
    s->at++;
    if (c != 'u')
        return true;
    unsigned v, low;
    if (!scan_hex4(s, &v))
        return false;
    if (v == 0)
        return fail(s, "NUL in a string");
    if (v >= 0xdc00 && v <= 0xdfff)
        return fail(s, "lone surrogate in a string");
    if (v < 0xd800 || v > 0xdbff)
        return true;
    if (s->n - s->at < 6 || s->p[s->at] != '\\' || s->p[s->at + 1] != 'u')
        return fail(s, "lone surrogate in a string");
    s->at += 2;
    return scan_hex4(s, &low) &&
           ((low >= 0xdc00 && low <= 0xdfff) || fail(s, "lone surrogate in a string"));
}

static bool scan_utf8(struct scan *s)
{
    const uint8_t *p = s->p + s->at;
    size_t left = s->n - s->at, len = p[0] >= 0xf0 ? 4 : p[0] >= 0xe0 ? 3 : 2;
    bool good = p[0] >= 0xc2 && p[0] <= 0xf4 && left >= len;
    for (size_t i = 1; good && i < len; i++)
        good = (p[i] & 0xc0) == 0x80;
    good = good && !(p[0] == 0xe0 && p[1] < 0xa0) && !(p[0] == 0xed && p[1] > 0x9f) &&
           !(p[0] == 0xf0 && p[1] < 0x90) && !(p[0] == 0xf4 && p[1] > 0x8f);
    s->at += good ? len : 0;
    return good || fail(s, "invalid UTF-8");
}

static bool scan_string(struct scan *s)
{
    s->at++;
    for (;;) {
        int c = peek(s);
        if (c < 0)
            return fail(s, "unterminated string");
        if (c < 0x20)
            return fail(s, "control character in a string");
        if (c >= 0x80) {
            if (!scan_utf8(s))
                return false;
            continue;
        }
        s->at++;
        if (c == '"')
            return true;
        if (c == '\\' && !scan_escape(s))
            return false;
    }
}

static bool scan_digits(struct scan *s)
{
    size_t from = s->at;
    while (peek(s) >= '0' && peek(s) <= '9')
        s->at++;
    return s->at > from || fail(s, "bad number");
}

static bool scan_number(struct scan *s)
{
    size_t from = s->at;
    if (peek(s) == '-')
        s->at++;
    size_t first = s->at;
    if (!scan_digits(s))
        return false;
    if (s->p[first] == '0' && s->at - first > 1)
        return fail(s, "number with a leading zero");
    if (peek(s) == '.') {
        s->at++;
        if (!scan_digits(s))
            return false;
    }
    if (peek(s) == 'e' || peek(s) == 'E') {
        s->at++;
        if (peek(s) == '+' || peek(s) == '-')
            s->at++;
        if (!scan_digits(s))
            return false;
    }
    return s->at - from <= NUMBER_MAX || fail(s, "number longer than 64 characters");
}

static bool scan_word(struct scan *s, const char *word)
{
    size_t n = strlen(word);
    if (s->n - s->at < n || memcmp(s->p + s->at, word, n) != 0)
        return fail(s, "unexpected character");
    s->at += n;
    return true;
}

static bool in_object(const struct scan *s)
{
    return s->in_object[s->depth / 8] >> (s->depth % 8) & 1;
}

static bool push(struct scan *s, bool object)
{
    if (++s->depth > s->caps.depth || s->depth >= DEPTH_MAX)
        return fail(s, "nested too deep");
    uint8_t bit = (uint8_t)(1u << (s->depth % 8)), *byte = &s->in_object[s->depth / 8];
    *byte = (uint8_t)(object ? *byte | bit : *byte & ~bit);
    s->at++;
    return true;
}

static bool scan_key(struct scan *s)
{
    skip_space(s);
    if (peek(s) != '"')
        return fail(s, "expected a key");
    if (++s->nodes > s->caps.nodes)
        return fail(s, "too many values");
    if (!scan_string(s))
        return false;
    skip_space(s);
    if (peek(s) != ':')
        return fail(s, "expected ':'");
    s->at++;
    return true;
}

/* After a value: closes what ends here. True with *ret_more when another value follows. */
static bool scan_after(struct scan *s, bool *ret_more)
{
    for (;;) {
        if (s->depth == 0) {
            *ret_more = false;
            return true;
        }
        skip_space(s);
        int c = peek(s);
        if (c == ',') {
            s->at++;
            *ret_more = true;
            return !in_object(s) || scan_key(s);
        }
        if (c != (in_object(s) ? '}' : ']'))
            return fail(s, "expected ',' or the end of the container");
        s->at++;
        s->depth--;
    }
}

/* A scalar, or the opening of a container; *ret_open when values of it follow. */
static bool scan_value(struct scan *s, bool *ret_open)
{
    *ret_open = false;
    skip_space(s);
    if (++s->nodes > s->caps.nodes)
        return fail(s, "too many values");
    int c = peek(s);
    switch (c) {
    case '{':
    case '[':
        if (!push(s, c == '{'))
            return false;
        skip_space(s);
        if (peek(s) == (c == '{' ? '}' : ']'))
            return true; /* empty: scan_after closes it */
        *ret_open = true;
        return c == '[' || scan_key(s);
    case '"':
        return scan_string(s);
    case 't':
        return scan_word(s, "true");
    case 'f':
        return scan_word(s, "false");
    case 'n':
        return scan_word(s, "null");
    default:
        return c == '-' || (c >= '0' && c <= '9') ? scan_number(s) : fail(s, "unexpected character");
    }
}

static bool scan_document(struct scan *s)
{
    skip_space(s);
    if (peek(s) != '{' && peek(s) != '[')
        return fail(s, "expected an object or an array");
    for (bool more = true; more;) {
        bool open;
        if (!scan_value(s, &open))
            return false;
        if (!open && !scan_after(s, &more))
            return false;
    }
    skip_space(s);
    return s->at == s->n || fail(s, "bytes after the end");
}

int json_strict(struct str text, struct json_caps caps, json_t **ret, struct err *err)
{
    if (text.n > caps.bytes)
        return err_set(err, ERR_TOO_LARGE, "JSON of %zu bytes; at most %zu are allowed", text.n,
                       caps.bytes);
    struct scan s = {.p = (const uint8_t *)text.p, .n = text.n, .caps = caps};
    if (!scan_document(&s))
        return err_set(err, ERR_INVALID, "malformed JSON at byte %zu: %s", s.at, s.fault);
    json_error_t why;
    json_t *doc = json_loadb(text.p, text.n, JSON_REJECT_DUPLICATES, &why);
    if (doc == NULL)
        return err_set(err, ERR_INVALID, "malformed JSON at byte %d: %s", why.position, why.text);
    *ret = doc;
    return 0;
}
