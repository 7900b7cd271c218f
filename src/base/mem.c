/* Memory: aborting allocation, arenas, checked sizes. See mem.h. */
#include "base/mem.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { ARENA_CHUNK_MIN = 2048, ARENA_CHUNK_MAX = 65536, ARENA_ALIGN = 16 };

struct arena_chunk {
    struct arena_chunk *next;
    size_t size, used;
    _Alignas(ARENA_ALIGN) char data[];
};

void bug_at(const char *file, int line, const char *what)
{
    fprintf(stderr, "berth: bug at %s:%d: %s\n", file, line, what);
    abort();
}

static void *checked(void *p)
{
    if (p == NULL) {
        static const char text[] = "berth: out of memory\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        abort();
    }
    return p;
}

void *mem_alloc(size_t size) { return checked(malloc(size ? size : 1)); }
void *mem_zalloc(size_t size) { return checked(calloc(1, size ? size : 1)); }
void *mem_realloc(void *p, size_t size) { return checked(realloc(p, size ? size : 1)); }
char *mem_strdup(const char *s) { return mem_strndup(s, strlen(s)); }

char *mem_strndup(const char *s, size_t n)
{
    char *p = mem_alloc(size_add(n, 1));
    if (n != 0)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

size_t size_add(size_t a, size_t b)
{
    size_t r;
    BUG_ON(__builtin_add_overflow(a, b, &r));
    return r;
}

size_t size_mul(size_t a, size_t b)
{
    size_t r;
    BUG_ON(__builtin_mul_overflow(a, b, &r));
    return r;
}

void arena_init(struct arena *a)
{
    a->head = NULL;
    a->used = 0;
}

void arena_release(struct arena *a)
{
    struct arena_chunk *c = a->head;
    while (c != NULL) {
        struct arena_chunk *next = c->next;
        free(c);
        c = next;
    }
    arena_init(a);
}

void *arena_alloc(struct arena *a, size_t n)
{
    n = size_add(n, ARENA_ALIGN - 1) & ~(size_t)(ARENA_ALIGN - 1);
    struct arena_chunk *c = a->head;
    if (c == NULL || c->size - c->used < n) {
        size_t size = c == NULL ? ARENA_CHUNK_MIN : c->size * 2;
        if (size > ARENA_CHUNK_MAX)
            size = ARENA_CHUNK_MAX;
        if (size < n)
            size = n;
        c = mem_alloc(size_add(sizeof *c, size));
        c->next = a->head;
        c->size = size;
        c->used = 0;
        a->head = c;
    }
    void *p = c->data + c->used;
    c->used += n;
    a->used += n;
    return p;
}

void *arena_zalloc(struct arena *a, size_t n)
{
    void *p = arena_alloc(a, n);
    memset(p, 0, n);
    return p;
}

char *arena_strndup(struct arena *a, const char *s, size_t n)
{
    char *p = arena_alloc(a, size_add(n, 1));
    if (n != 0)
        memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    va_start(ap, fmt);
    va_copy(again, ap);
    int n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    BUG_ON(n < 0);
    char *p = arena_alloc(a, (size_t)n + 1);
    vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void mem_cleanup_free(void *pp)
{
    void *p;
    memcpy(&p, pp, sizeof p);
    free(p);
}

void mem_cleanup_fd(int *fd)
{
    if (*fd >= 0)
        close(*fd);
}
