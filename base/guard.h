/*
 * Private keys in memory: what keeps them there. A key's file is read into pages of its own that
 * are overwritten and given back at once; what a TLS library makes of it lies in its own heap,
 * which guard_process protects as far as the kernel's limits allow.
 */
#ifndef DROVER_BASE_GUARD_H
#define DROVER_BASE_GUARD_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>

/*
 * No core dump and no debugger of the same user gets at this process from now on. Where memory may
 * be locked without limit (RLIMIT_MEMLOCK, CAP_IPC_LOCK) none of it gets into swap; under a limit
 * nothing is locked, because allocations past it would fail. To be called before a key is read;
 * also needed after exec, which undoes it. An error says which of the three could not be done; the
 * others are.
 */
must_check int guard_process(struct err *e);

#define SECRET_MAX ((size_t)16 << 10) /* one less is the largest file */
struct secret {
        char *data; /* followed by a NUL that is not counted; NULL: none */
        size_t len;
        bool locked; /* stays out of swap; false when the limit is used up */
};
/* A file whole, -E2BIG when it is larger; no copy of it is left anywhere. */
must_check int secret_read(const char *path, struct secret *out, struct err *e);
void secret_free(struct secret *s);
#define autosecretfile cleanup(secret_free)

#endif
