/* Logs: one line a record on standard error, JSON or for people; values are escaped, so no
 * record can forge another (T53). Library code does not log, it returns errors; outer code logs
 * once. Never pass a secret: redaction is the caller's duty by not having it in hand.
 * Records go into a per-thread buffer that a writer thread flushes every 100 ms and at exit;
 * LOG_WARN and above are written at once. */
#ifndef BASE_LOG_H
#define BASE_LOG_H
#include "base/err.h"

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };
enum log_format { LOG_AUTO, LOG_JSON, LOG_HUMAN }; /* AUTO: human on a terminal, else JSON */
void log_setup(enum log_level min, enum log_format format);
void log_start(void);  /* starts the writer thread; before it, and after log_stop, lines go straight out */
void log_stop(void);   /* flushes and stops */

/* Fields: log_line(LOG_INFO, "listening", F_STR("url", s), F_INT("port", n)) */
struct log_field {
    const char *key;
    enum { LOG_F_STR, LOG_F_INT } kind;
    struct str s;
    int64_t i;
};
#define F_STR(k, v) ((struct log_field){(k), LOG_F_STR, (v), 0})
#define F_CSTR(k, v) ((struct log_field){(k), LOG_F_STR, str_of(v), 0})
#define F_INT(k, v) ((struct log_field){(k), LOG_F_INT, {NULL, 0}, (int64_t)(v)})
#define log_line(level, msg, ...)                                                                  \
    log_fields((level), (msg), (const struct log_field[]){__VA_ARGS__},                            \
               sizeof((const struct log_field[]){__VA_ARGS__}) / sizeof(struct log_field))
void log_fields(enum log_level level, const char *msg, const struct log_field *f, size_t n);
void log_text(enum log_level level, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
bool log_enabled(enum log_level level);
#endif
