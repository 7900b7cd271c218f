/* Logs: per-thread buffers, one writer thread. See log.h. */
#include "base/log.h"

#include "base/clock.h"

#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum {
    VALUE_MAX_BYTES = 2048,  /* of a field as given */
    FIELD_MAX_BYTES = 4096,  /* and as it stands in the line */
    LINE_MAX_BYTES = 65536,  /* 15 of the longest fields */
    THREAD_MAX_BYTES = 1 << 20,
    FLUSH_US = 100000,
};

struct thread_log {
    pthread_mutex_t lock; /* uncontended but while the writer swaps the buffer */
    struct buf lines, spare;
    struct thread_log *next;
    bool ended;
};

static struct {
    _Atomic int level;
    _Atomic bool json;
    _Atomic bool running;
    pthread_t writer;
    pthread_mutex_t lock; /* the list, and writing */
    struct thread_log *threads;
    _Atomic uint64_t dropped;
} state = {.level = LOG_INFO, .lock = PTHREAD_MUTEX_INITIALIZER};

static __thread struct thread_log *mine;
static pthread_key_t exit_key;
static pthread_once_t once = PTHREAD_ONCE_INIT;

static void thread_ends(void *p)
{
    struct thread_log *t = p;
    pthread_mutex_lock(&t->lock);
    t->ended = true; /* the writer flushes and frees it */
    pthread_mutex_unlock(&t->lock);
    mine = NULL;
}

static void make_key(void) { BUG_ON(pthread_key_create(&exit_key, thread_ends) != 0); }

void log_setup(enum log_level min, enum log_format format)
{
    atomic_store(&state.level, (int)min);
    bool json = format == LOG_JSON || (format == LOG_AUTO && !isatty(STDERR_FILENO));
    atomic_store(&state.json, json);
}

bool log_enabled(enum log_level level) { return (int)level >= atomic_load(&state.level); }

static void write_all(const char *p, size_t n)
{
    while (n != 0) {
        ssize_t w = write(STDERR_FILENO, p, n);
        if (w <= 0)
            return; /* nobody can be told */
        p += w;
        n -= (size_t)w;
    }
}

static struct thread_log *log_of_thread(void)
{
    if (mine != NULL)
        return mine;
    pthread_once(&once, make_key);
    mine = mem_zalloc(sizeof *mine);
    pthread_mutex_init(&mine->lock, NULL);
    buf_init(&mine->lines, THREAD_MAX_BYTES);
    buf_init(&mine->spare, THREAD_MAX_BYTES);
    pthread_setspecific(exit_key, mine);
    pthread_mutex_lock(&state.lock);
    mine->next = state.threads;
    state.threads = mine;
    pthread_mutex_unlock(&state.lock);
    return mine;
}

/* Swaps the buffers under the thread's lock and writes outside of it. state.lock is held. */
static bool flush_thread(struct thread_log *t)
{
    pthread_mutex_lock(&t->lock);
    struct buf full = t->lines;
    t->lines = t->spare;
    bool ended = t->ended;
    pthread_mutex_unlock(&t->lock);
    write_all(full.p, full.n);
    buf_reset(&full);
    t->spare = full;
    return ended;
}

static void flush_all(void)
{
    pthread_mutex_lock(&state.lock);
    struct thread_log **at = &state.threads;
    while (*at != NULL) {
        struct thread_log *t = *at;
        if (!flush_thread(t)) {
            at = &t->next;
            continue;
        }
        *at = t->next;
        buf_release(&t->lines);
        buf_release(&t->spare);
        pthread_mutex_destroy(&t->lock);
        free(t);
    }
    pthread_mutex_unlock(&state.lock);
    uint64_t lost = atomic_exchange(&state.dropped, 0);
    if (lost != 0)
        log_line(LOG_WARN, "log lines dropped", F_INT("lines", lost));
}

static void *writer_main(void *arg)
{
    (void)arg;
    while (atomic_load(&state.running)) {
        usleep(FLUSH_US);
        flush_all();
    }
    return NULL;
}

void log_start(void)
{
    atomic_store(&state.running, true);
    if (pthread_create(&state.writer, NULL, writer_main, NULL) != 0)
        atomic_store(&state.running, false);
}

void log_stop(void)
{
    if (atomic_exchange(&state.running, false))
        pthread_join(state.writer, NULL);
    flush_all();
}

/* The second's text is made once a second and thread. */
static void add_time(struct buf *b, bool json)
{
    static __thread int64_t second = -1;
    static __thread char text[28];
    int64_t now = clock_now();
    if (now / 1000000 != second) {
        second = now / 1000000;
        clock_rfc3339(text, now);
    }
    unsigned us = (unsigned)(now % 1000000);
    for (int i = 25; i >= 20; i--, us /= 10)
        text[i] = (char)('0' + us % 10);
    if (json) {
        buf_add(b, text, 27);
    } else {
        buf_add(b, text, 10);
        buf_char(b, ' ');
        buf_add(b, text + 11, 12);
    }
}

/* Cut where its escaped form (up to six bytes for one) would pass the field's share of the line. */
static struct str cut_value(struct str s)
{
    size_t n = 0, cost = 2;
    while (n < s.n && n < VALUE_MAX_BYTES) {
        bool plain = s.p[n] >= ' ' && s.p[n] < 0x7f && s.p[n] != '"' && s.p[n] != '\\';
        cost += plain ? 1 : 6;
        if (cost > FIELD_MAX_BYTES)
            break;
        n++;
    }
    return (struct str){s.p, n};
}

static void add_field(struct buf *b, const struct log_field *f, bool json)
{
    if (json) {
        buf_add(b, ",\"", 2);
        buf_cstr(b, f->key);
        buf_add(b, "\":", 2);
    } else {
        buf_char(b, ' ');
        buf_cstr(b, f->key);
        buf_char(b, '=');
    }
    if (f->kind == LOG_F_INT) {
        buf_i64(b, f->i);
        return;
    }
    struct str s = cut_value(f->s);
    bool plain = !json && s.n != 0;
    for (size_t i = 0; plain && i < s.n; i++)
        plain = s.p[i] > ' ' && s.p[i] < 0x7f && s.p[i] != '"' && s.p[i] != '=';
    if (plain)
        buf_str(b, s);
    else
        buf_json(b, s);
}

static void add_line(struct buf *b, enum log_level level, const char *msg,
                     const struct log_field *f, size_t n)
{
    static const char *const lower[] = {"debug", "info", "warn", "error"};
    static const char *const upper[] = {" DEBUG ", " INFO  ", " WARN  ", " ERROR "};
    bool json = atomic_load(&state.json); /* one form from end to end */
    if (json) {
        buf_cstr(b, "{\"time\":\"");
        add_time(b, true);
        buf_cstr(b, "\",\"level\":\"");
        buf_cstr(b, lower[level]);
        buf_cstr(b, "\",\"msg\":");
        buf_json(b, str_of(msg));
    } else {
        add_time(b, false);
        buf_cstr(b, upper[level]);
        for (const char *p = msg; *p != '\0'; p++) /* no control of any encoding reaches a terminal */
            buf_char(b, *p < ' ' || *p == 0x7f ? '?' : *p);
    }
    for (size_t i = 0; i < n; i++)
        add_field(b, &f[i], json);
    if (json)
        buf_char(b, '}');
    buf_char(b, '\n');
}

void log_fields(enum log_level level, const char *msg, const struct log_field *f, size_t n)
{
    if (!log_enabled(level))
        return;
    if (level < LOG_WARN && atomic_load_explicit(&state.running, memory_order_relaxed)) {
        struct thread_log *t = log_of_thread();
        pthread_mutex_lock(&t->lock);
        size_t before = t->lines.n;
        if (before <= THREAD_MAX_BYTES - LINE_MAX_BYTES)
            add_line(&t->lines, level, msg, f, n);
        if (t->lines.n == before || t->lines.overflow) { /* a whole line or none */
            t->lines.n = before;
            t->lines.overflow = false;
            atomic_fetch_add(&state.dropped, 1);
        }
        pthread_mutex_unlock(&t->lock);
        return;
    }
    struct buf b;
    buf_init(&b, THREAD_MAX_BYTES);
    add_line(&b, level, msg, f, n);
    write_all(b.p, b.n);
    buf_release(&b);
}

void log_text(enum log_level level, const char *fmt, ...)
{
    if (!log_enabled(level))
        return;
    char text[1024];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    log_fields(level, text, NULL, 0);
}
