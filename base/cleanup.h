/*
 * Scope-bound release of resources (gcc and clang `cleanup` attribute).
 * `cleanup(fn)` runs fn(&var) when var leaves its scope; the release functions
 * beside each type accept a pointer to a NULL or empty value.
 */
#ifndef DROVER_BASE_CLEANUP_H
#define DROVER_BASE_CLEANUP_H

#include <stdlib.h>
#include <unistd.h>

#define cleanup(fn)       __attribute__((cleanup(fn)))
#define must_check        __attribute__((warn_unused_result))
#define printf_like(f, a) __attribute__((format(printf, f, a)))
#define countof(a)        (sizeof(a) / sizeof((a)[0]))

/* Frees *(void **)p. */
static inline void cleanup_free(void *p)
{
        free(*(void **)p);
}

/* Closes *fd unless it is negative. */
static inline void cleanup_close(int *fd)
{
        if (*fd >= 0)
                close(*fd);
}

#define autofree  cleanup(cleanup_free)
#define autoclose cleanup(cleanup_close)

#endif
