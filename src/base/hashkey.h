/* A keyed 64-bit hash for in-memory tables: the key is random for each process, so that a client
 * cannot choose names that collide. Not for anything that is stored or leaves the process. */
#ifndef BASE_HASHKEY_H
#define BASE_HASHKEY_H
#include "base/text.h"
uint64_t hashkey(struct str bytes);
#endif
