/* VirtualMachineImage. */
#ifndef DROVER_CORE_IMAGE_H
#define DROVER_CORE_IMAGE_H

#include "core/types.h"

struct image {
        struct arena *arena;
        struct meta meta;
        const char *url, *sha256; /* import over HTTP(S) */
        const char *file;  /* or a file an administrator put into the pool's images/ folder */
        const char *pool;  /* "default" */
        const char *phase; /* "" | Importing | Ready | Failed */
        const char *message;
};

#endif
