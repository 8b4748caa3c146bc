/*
 * Is a VirtualMachine's spec one that can be carried out? Numbered rules in one table; all that are
 * broken are told, each with the path of the field and the reason. The CRD's schema has checked
 * types and plain ranges before; these rules also stand alone, for a schema can be edited.
 */
#ifndef DROVER_CORE_ADMISSION_H
#define DROVER_CORE_ADMISSION_H

#include "base/arena.h"
#include "core/vm.h"

enum admission_rule {
        ADMIT_OK,
        ADMIT_NAME, /* 1: longer than names of pods and migrations made of it allow */
        ADMIT_RUN_STRATEGY,
        ADMIT_CORES,
        ADMIT_MEMORY,
        ADMIT_HUGE_PAGES,
        ADMIT_DISK_NAME,
        ADMIT_DISK_SOURCE,
        ADMIT_DISK_SIZE,
        ADMIT_DISK_IMAGE, /* names an image that is not there */
        ADMIT_NETWORK_NAME,
        ADMIT_MAC,
        ADMIT_MAC_TWICE,
        ADMIT_AFFINITY,
        ADMIT_NODE_NAME, /* contradicts nodeSelector or affinity */
        ADMIT_MIGRATION,
        ADMIT_EVICTION,
        ADMIT_SSH_KEY,
        ADMIT_DISK_CHANGED, /* an existing disk gets another source */
        ADMISSION_RULES
};

#define ADMISSION_NAME_MAX     50
#define ADMISSION_PROBLEMS_MAX 16
#define ADMISSION_MEMORY_MIN   ((int64_t)16 << 20)

struct admission_problem {
        enum admission_rule rule;
        const char *path, *message;
};
struct admission_report {
        struct admission_problem v[ADMISSION_PROBLEMS_MAX];
        size_t n; /* more than the maximum are not told */
        int rc;   /* -ENOMEM when a text did not fit in memory */
};

struct admission_facts {
        const struct vm *vm;
        const struct vm *old; /* NULL for a new one */
        /* whether the namespace has an image of that name */
        bool (*image)(void *ctx, const char *name);
        void *ctx;
};

/* Texts live in a. */
void admission_check(struct arena *a, const struct admission_facts *f,
                     struct admission_report *out);

#endif
