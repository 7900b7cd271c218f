/* Generations. One 64-bit atomic a slot: writers in flight above, commits below. See gen.h. */
#include "base/gen.h"

#include "base/hashkey.h"

#include <stdatomic.h>

enum { FLIGHT_SHIFT = 48 };
#define FLIGHT_ONE ((uint64_t)1 << FLIGHT_SHIFT)

static _Atomic uint64_t slots[2][GEN_SLOTS];

static _Atomic uint64_t *slot(enum gen_space space, struct str name)
{
    return &slots[space][hashkey(name) & (GEN_SLOTS - 1)];
}

uint64_t gen_now(enum gen_space space, struct str name)
{
    uint64_t v = atomic_load(slot(space, name));
    return v >= FLIGHT_ONE ? GEN_BUSY : v;
}

void gen_begin(enum gen_space space, struct str name)
{
    atomic_fetch_add(slot(space, name), FLIGHT_ONE);
}

void gen_end(enum gen_space space, struct str name)
{
    uint64_t before = atomic_fetch_sub(slot(space, name), FLIGHT_ONE - 1);
    BUG_ON(before < FLIGHT_ONE);
}

void gen_move_all(enum gen_space space)
{
    for (size_t i = 0; i < GEN_SLOTS; i++)
        atomic_fetch_add(&slots[space][i], 1);
}
