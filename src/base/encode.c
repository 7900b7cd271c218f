/* Hex, base64, base32 and percent-encoding; the decoders accept the canonical form only. */
#include "base/text.h"

static const char hex_digits[] = "0123456789abcdef";
static const char std_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
static const char url_alphabet[] =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

void hex_encode(char *out, const uint8_t *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        out[2 * i] = hex_digits[in[i] >> 4];
        out[2 * i + 1] = hex_digits[in[i] & 15];
    }
    out[2 * n] = '\0';
}

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int hex_decode(uint8_t *out, struct str in)
{
    if (in.n % 2 != 0)
        return -1;
    for (size_t i = 0; i < in.n; i += 2) {
        int hi = hex_value(in.p[i]), lo = hex_value(in.p[i + 1]);
        if (hi < 0 || lo < 0)
            return -1;
        out[i / 2] = (uint8_t)(hi << 4 | lo);
    }
    return 0;
}

static size_t encode64(char *out, const void *in, size_t n, const char *alphabet, bool pad)
{
    const uint8_t *p = in;
    size_t o = 0;
    for (size_t i = 0; i < n; i += 3) {
        size_t left = n - i;
        uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) |
                     (left > 2 ? p[i + 2] : 0);
        out[o++] = alphabet[v >> 18];
        out[o++] = alphabet[v >> 12 & 63];
        if (left > 1)
            out[o++] = alphabet[v >> 6 & 63];
        else if (pad)
            out[o++] = '=';
        if (left > 2)
            out[o++] = alphabet[v & 63];
        else if (pad)
            out[o++] = '=';
    }
    out[o] = '\0';
    return o;
}

static int value64(char c, bool url)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == (url ? '-' : '+'))
        return 62;
    return c == (url ? '_' : '/') ? 63 : -1;
}

/* in: without padding. Loose bits behind the last byte must be zero. */
static long decode64(uint8_t *out, size_t cap, struct str in, bool url)
{
    if (in.n % 4 == 1 || in.n / 4 * 3 + in.n % 4 * 3 / 4 > cap)
        return -1;
    uint32_t v = 0;
    int bits = 0;
    size_t o = 0;
    for (size_t i = 0; i < in.n; i++) {
        int d = value64(in.p[i], url);
        if (d < 0)
            return -1;
        v = v << 6 | (uint32_t)d;
        bits += 6;
        if (bits >= 8) {
            bits -= 8;
            out[o++] = (uint8_t)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    return v == 0 ? (long)o : -1;
}

size_t base64url_encode(char *out, const void *in, size_t n)
{
    return encode64(out, in, n, url_alphabet, false);
}

long base64url_decode(uint8_t *out, size_t cap, struct str in)
{
    return decode64(out, cap, in, true);
}

size_t base64_encode(char *out, const void *in, size_t n)
{
    return encode64(out, in, n, std_alphabet, true);
}

long base64_decode(uint8_t *out, size_t cap, struct str in)
{
    if (in.n % 4 != 0)
        return -1;
    for (int i = 0; i < 2 && in.n != 0 && in.p[in.n - 1] == '='; i++)
        in.n--;
    return decode64(out, cap, in, false);
}

/* All ones when a < b, else 0; both small. */
static uint32_t less_mask(uint32_t a, uint32_t b) { return 0u - ((a - b) >> 31); }

size_t base32_encode(char *out, const void *in, size_t n, char first)
{
    const uint8_t *p = in;
    uint32_t v = 0, letter = (uint8_t)first;
    size_t o = 0, bits = 0;
    for (size_t i = 0; i < n || bits > 0;) {
        if (bits < 5 && i < n) {
            v = v << 8 | p[i++];
            bits += 8;
        } else if (bits < 5) { /* the last digit: zeros behind the last bits */
            v <<= 5 - bits;
            bits = 5;
        }
        bits -= 5;
        uint32_t d = v >> bits & 31, digit = ~less_mask(d, 26);
        out[o++] = (char)((letter + d) & ~digit) | (char)(('2' + d - 26) & digit);
        v &= (1u << bits) - 1;
    }
    out[o] = '\0';
    return o;
}

/* 0 to 31; otherwise *bad gets bits. */
static uint32_t value32(uint8_t c, uint8_t first, uint32_t *bad)
{
    uint32_t letter = (uint32_t)c - first, digit = (uint32_t)c - '2';
    uint32_t is_letter = less_mask(letter & 255, 26), is_digit = less_mask(digit & 255, 6);
    *bad |= ~(is_letter | is_digit);
    return (letter & is_letter & 31) | ((digit + 26) & is_digit & 31);
}

long base32_decode(uint8_t *out, size_t cap, struct str in, char first)
{
    static const bool length_exists[8] = {true, false, true, false, true, true, false, true};
    if (!length_exists[in.n % 8] || in.n / 8 * 5 + in.n % 8 * 5 / 8 > cap)
        return -1;
    uint32_t v = 0, bad = 0;
    size_t o = 0, bits = 0;
    for (size_t i = 0; i < in.n; i++) {
        v = v << 5 | value32((uint8_t)in.p[i], (uint8_t)first, &bad);
        bits += 5;
        if (bits >= 8) {
            bits -= 8;
            out[o++] = (uint8_t)(v >> bits);
            v &= (1u << bits) - 1;
        }
    }
    return (bad | v) == 0 ? (long)o : -1;
}

static int any_hex(char c)
{
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : hex_value(c);
}

int url_decode(struct arena *a, struct str in, bool plus_is_space, struct str *ret)
{
    bool plain = in.n == 0 || (memchr(in.p, '%', in.n) == NULL &&
                               !(plus_is_space && memchr(in.p, '+', in.n) != NULL));
    if (plain) {
        *ret = in;
        return 0;
    }
    char *out = arena_alloc(a, in.n);
    size_t o = 0;
    for (size_t i = 0; i < in.n; i++) {
        char c = in.p[i];
        if (c == '%') {
            int hi = i + 2 < in.n ? any_hex(in.p[i + 1]) : -1;
            int lo = hi >= 0 ? any_hex(in.p[i + 2]) : -1;
            if (lo < 0 || (hi == 0 && lo == 0))
                return -1;
            c = (char)(hi << 4 | lo);
            i += 2;
        } else if (c == '+' && plus_is_space) {
            c = ' ';
        }
        out[o++] = c;
    }
    *ret = (struct str){out, o};
    return 0;
}

void url_encode(struct buf *b, struct str in)
{
    for (size_t i = 0; i < in.n; i++) {
        unsigned char c = (unsigned char)in.p[i];
        bool keep = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                    (c != 0 && strchr("-._~/", c) != NULL);
        if (keep)
            buf_char(b, (char)c);
        else
            buf_printf(b, "%%%02X", (unsigned)c);
    }
}
