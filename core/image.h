/* VirtualMachineImage. The migrator writes its status, but for `progress`: that is its importer's.
 */
#ifndef DROVER_CORE_IMAGE_H
#define DROVER_CORE_IMAGE_H

#include "core/types.h"

/* Holds a deleted image until its file is gone. */
#define DROVER_IMAGE_FINALIZER "drover.dev/image"

enum import_task { IMPORT_FETCH, IMPORT_REMOVE };
const char *import_task_name(enum import_task t);  /* "Fetch" "Remove" */
enum import_task import_task_parse(const char *s); /* IMPORT_FETCH for other words */

enum import_state {
        IMPORT_UNSAID,
        IMPORT_FETCHING,
        IMPORT_CHECKING, /* all is there: its checksum and its format */
        IMPORT_WAITING,  /* something failed and is tried again: message says what */
        IMPORT_DONE,
        IMPORT_REFUSED, /* for good: message says why */
        IMPORT_IN_USE,  /* not removed: message says what stands on it */
        IMPORT_REMOVED
};
const char *import_state_name(enum import_state s);  /* "" "Fetching" ... */
enum import_state import_state_parse(const char *s); /* IMPORT_UNSAID for other words */

struct image_importer {
        const char *node; /* "": nobody */
        int64_t epoch;    /* grows by one with each importer and each task; 0 before the first */
        enum import_task task;
};

struct image_progress {
        int64_t epoch; /* of the importer who says it */
        enum import_state state;
        int64_t bytes_done, bytes_total; /* total 0: unknown */
        const char *message;
};

struct image {
        struct arena *arena;
        struct meta meta;
        const char *url, *sha256; /* import over HTTP(S) */
        const char *file;  /* or a file an administrator put into the pool's images/ folder */
        const char *pool;  /* "default" */
        const char *phase; /* "" | Importing | Ready | Failed */
        const char *message;
        struct image_importer importer;
        struct image_progress progress;
};

#endif
