/* Generations: how caches of facts stay linearizable without a lock on the reader's side.
 *
 * A name (repository, user) hashes to one of GEN_SLOTS counters. A writer brackets its commit
 * with gen_begin/gen_end. A reader takes gen_now BEFORE it reads the database and caches the
 * fact under that value; a cached fact may be used while gen_now gives the same value.
 * While a writer is between begin and end, gen_now gives GEN_BUSY: nothing may be cached under
 * it and no cached fact matches it, so every reader asks the database. Hence a reader can never
 * see new, then old. Sharing a slot only costs a re-read.
 * Holds while one server owns the database (it takes an exclusive lock at start). */
#ifndef BASE_GEN_H
#define BASE_GEN_H
#include "base/text.h"
enum { GEN_SLOTS = 1 << 16 };
#define GEN_BUSY UINT64_MAX
enum gen_space { GEN_REPO, GEN_USER };
uint64_t gen_now(enum gen_space space, struct str name);
void gen_begin(enum gen_space space, struct str name);
void gen_end(enum gen_space space, struct str name);
void gen_move_all(enum gen_space space); /* after a commit that may concern every name: nothing cached before it is used any more */
#endif
