/*
 * Arena: many small allocations with one lifetime, released together. Every decoded API object
 * lives in one. Bounded: past `limit` bytes an allocation fails instead of growing.
 */
#ifndef DROVER_BASE_ARENA_H
#define DROVER_BASE_ARENA_H

#include "base/cleanup.h"

#include <stddef.h>

struct arena;

/* A new arena that holds at most `limit` bytes; NULL when out of memory. */
struct arena *arena_new(size_t limit);

/* Releases the arena and all it holds. NULL is fine. */
void arena_free(struct arena *a);

/* Zeroed memory aligned for any type, valid until arena_free; NULL when out of memory or bound. */
void *arena_alloc(struct arena *a, size_t size);

/* arena_alloc of n elements, with overflow check. n == 0 yields a valid non-NULL pointer. */
void *arena_array(struct arena *a, size_t n, size_t size);

/* A copy of s; NULL when out of memory. arena_strdup(a, NULL) is NULL. */
char *arena_strdup(struct arena *a, const char *s);

/* printf into the arena; NULL when out of memory. */
char *arena_printf(struct arena *a, const char *fmt, ...) printf_like(2, 3);

/* Bytes taken from the system so far. */
size_t arena_size(const struct arena *a);

static inline void cleanup_arena(struct arena **a)
{
        arena_free(*a);
}
#define autoarena cleanup(cleanup_arena)

#endif
