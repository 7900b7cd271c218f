/* Errors: the table behind the codes, and the text that gathers context on its way up. */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name;
    int status;
    const char *oci;
} table[ERR_INDEX_COUNT] = {
#define X(name, status, oci) {#name, status, oci},
    ERR_TABLE(X)
#undef X
};

static int index_of(int code)
{
    int i = -1 - code;
    return i >= 0 && i < ERR_INDEX_COUNT ? i : ERR_INDEX_INTERNAL;
}

int err_status(int code) { return table[index_of(code)].status; }
const char *err_oci(int code) { return table[index_of(code)].oci; }
const char *err_name(int code) { return table[index_of(code)].name; }

/* Appends ": tail" to text of n bytes, cut at the end of the storage. */
static void append(char text[ERR_TEXT_MAX], int n, const char *tail)
{
    size_t at = n < 0 ? 0 : (size_t)n;
    if (at + 3 >= ERR_TEXT_MAX)
        return;
    memcpy(text + at, ": ", 2);
    size_t len = strnlen(tail, ERR_TEXT_MAX - at - 3);
    memcpy(text + at + 2, tail, len);
    text[at + 2 + len] = '\0';
}

int err_set(struct err *err, int code, const char *fmt, ...)
{
    if (err == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    err->code = code;
    err->sys = 0;
    return code;
}

int err_sys(struct err *err, int code, const char *fmt, ...)
{
    int sys = errno;
    if (code == ERR_IO && (sys == ENOSPC || sys == EDQUOT))
        code = ERR_STORAGE_FULL;
    else if (code == ERR_IO && sys == EROFS)
        code = ERR_READ_ONLY;
    if (err == NULL)
        return code;
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    char reason[96];
    const char *text = strerror_r(sys, reason, sizeof reason);
    append(err->text, n, text);
    err->code = code;
    err->sys = sys;
    return code;
}

int err_wrap(struct err *err, const char *fmt, ...)
{
    if (err == NULL)
        return ERR_INTERNAL;
    char old[ERR_TEXT_MAX];
    memcpy(old, err->text, sizeof old);
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(err->text, sizeof err->text, fmt, ap);
    va_end(ap);
    append(err->text, n, old);
    return err->code;
}
