/* Prepared statements of one connection, found by the pointer of their text: no hashing of SQL on
 * the pull path. And the rewriting of parameters for SQLite, which numbers `$2, $1` by order of
 * appearance. */
#include "db/db_int.h"

#include <stdlib.h>

static size_t slot_of(const struct stmt_map *m, const char *sql)
{
    uint64_t h = (uint64_t)(uintptr_t)sql * 0x9E3779B97F4A7C15u;
    size_t i = (size_t)(h >> 32) & (m->size - 1);
    while (m->slots[i].sql != NULL && m->slots[i].sql != sql)
        i = (i + 1) & (m->size - 1);
    return i;
}

void *stmt_find(const struct stmt_map *m, const char *sql)
{
    if (m->size == 0)
        return NULL;
    const struct stmt_slot *s = &m->slots[slot_of(m, sql)];
    return s->sql == sql ? s->stmt : NULL;
}

void stmt_add(struct stmt_map *m, const char *sql, void *stmt)
{
    if (size_mul(m->n, 2) >= m->size) {
        struct stmt_map bigger = {NULL, m->n, m->size ? size_mul(m->size, 2) : 64};
        bigger.slots = mem_zalloc(size_mul(bigger.size, sizeof *bigger.slots));
        for (size_t i = 0; i < m->size; i++) {
            if (m->slots[i].sql != NULL)
                bigger.slots[slot_of(&bigger, m->slots[i].sql)] = m->slots[i];
        }
        free(m->slots);
        *m = bigger;
    }
    struct stmt_slot *s = &m->slots[slot_of(m, sql)];
    BUG_ON(s->sql != NULL);
    *s = (struct stmt_slot){sql, stmt};
    m->n++;
}

void stmt_release(struct stmt_map *m, void (*free_one)(void *arg, void *stmt), void *arg)
{
    for (size_t i = 0; i < m->size; i++) {
        if (m->slots[i].sql != NULL)
            free_one(arg, m->slots[i].stmt);
    }
    free(m->slots);
    *m = (struct stmt_map){NULL, 0, 0};
}

/* The first byte behind a quoted run or a comment that starts at p; p itself when none does. */
static const char *skip_quoted(const char *p)
{
    if (p[0] == '\'' || p[0] == '"') {
        const char *end = strchr(p + 1, p[0]);
        return end ? end + 1 : p + strlen(p);
    }
    if (p[0] == '-' && p[1] == '-') {
        const char *end = strchr(p, '\n');
        return end ? end : p + strlen(p);
    }
    return p;
}

char *stmt_rewrite(const char *sql)
{
    char *out = mem_strdup(sql);
    for (const char *p = out; *p != 0;) {
        const char *after = skip_quoted(p);
        if (after != p) {
            p = after;
            continue;
        }
        if (p[0] == '$' && p[1] >= '0' && p[1] <= '9')
            out[p - out] = '?';
        p++;
    }
    return out;
}
