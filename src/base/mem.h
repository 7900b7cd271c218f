/* Memory: arenas, cleanup attributes, checked size arithmetic.
 *
 * Small internal allocations abort the process when they fail (mem_alloc & co.); whatever a
 * client sizes goes through `struct buf` (text.h) with a named cap, or through a stream.
 * An arena lives as long as one request or one job step and is freed whole. */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Abort on failure; size 0 returns a unique pointer. Free with free(). */
void *mem_alloc(size_t size);
void *mem_zalloc(size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
char *mem_strndup(const char *s, size_t n);

/* Checked arithmetic: abort on overflow (a size that overflows is our bug, not the client's:
 * client sizes are capped long before). */
size_t size_add(size_t a, size_t b);
size_t size_mul(size_t a, size_t b);

/* Bump allocator. Chunks come from malloc and start at 2 KiB, so an idle arena (after
 * arena_init) holds nothing. Not thread-safe: one owner at a time. */
struct arena {
    struct arena_chunk *head; /* newest chunk first */
    size_t used;              /* bytes handed out since init or reset */
};
void arena_init(struct arena *a);
void arena_release(struct arena *a);          /* frees all chunks; usable again after */
void *arena_alloc(struct arena *a, size_t n); /* 16-byte aligned, uninitialised; aborts on OOM */
void *arena_zalloc(struct arena *a, size_t n);
char *arena_strndup(struct arena *a, const char *s, size_t n); /* adds the NUL */
char *arena_printf(struct arena *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* auto_free char *p = ...; frees at scope exit. auto_fd closes when >= 0. */
void mem_cleanup_free(void *pp);
void mem_cleanup_fd(int *fd);
#define auto_free __attribute__((cleanup(mem_cleanup_free)))
#define auto_fd __attribute__((cleanup(mem_cleanup_fd)))

/* Hand-over of ownership: returns the value and leaves NULL (or -1) behind. */
#define take(pp) ({ __typeof__(*(pp)) take_v = *(pp); *(pp) = NULL; take_v; })
static inline int take_fd(int *fd)
{
    int v = *fd;
    *fd = -1;
    return v;
}

/* A condition that only our own fault can make true: logs file:line and aborts. Stays on. */
void bug_at(const char *file, int line, const char *what) __attribute__((noreturn));
#define BUG_ON(cond)                                                                               \
    do {                                                                                           \
        if (__builtin_expect(!!(cond), 0))                                                         \
            bug_at(__FILE__, __LINE__, #cond);                                                     \
    } while (0)

#define ARRAY_LEN(a) (sizeof(a) / sizeof((a)[0]))

#endif
