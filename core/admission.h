/*
 * Is a VirtualMachine's spec one that can be carried out? Numbered rules in one table; all that are
 * broken are told, each with the path of the field and the reason. The CRD's schema has checked
 * types and plain ranges before; these rules also stand alone, for a schema can be edited. What
 * they let pass the API server takes in the pods that are made of it.
 * Defaults are the schema's and the decoder's (api/vm.c).
 */
#ifndef DROVER_CORE_ADMISSION_H
#define DROVER_CORE_ADMISSION_H

#include "base/arena.h"
#include "core/node.h"
#include "core/wishes.h"

enum admission_rule {
        ADMIT_OK,
        ADMIT_NAMESPACE, /* 1: one whose pods the webhook never sees */
        ADMIT_NAME,      /* longer than names of pods and migrations made of it allow */
        ADMIT_COUNT,     /* a list is too long: then the rest is not looked at */
        ADMIT_RUN_STRATEGY,
        ADMIT_RESTARTED_AT,
        ADMIT_RESTORE, /* the wish is malformed, or its snapshot not one of this VM */
        ADMIT_CORES,
        ADMIT_CPU_MODEL,
        ADMIT_MEMORY,
        ADMIT_HUGE_PAGES,
        ADMIT_DISK_NAME,
        ADMIT_DISK_SOURCE,
        ADMIT_DISK_SIZE,
        ADMIT_DISK_POOL,
        ADMIT_DISK_IMAGE, /* names an image that is not there */
        ADMIT_NETWORK_NAME,
        ADMIT_BRIDGE,
        ADMIT_NETWORK_MODEL,
        ADMIT_MAC,
        ADMIT_MAC_TWICE,
        ADMIT_CLOUD_INIT,
        ADMIT_SSH_KEY,
        ADMIT_NODE_NAME,
        ADMIT_NODE_SELECTOR,
        ADMIT_AFFINITY,
        ADMIT_PREFERRED, /* node affinity */
        ADMIT_POD_AFFINITY,
        ADMIT_SPREAD,
        ADMIT_TOLERATION,
        ADMIT_CONTRADICTION, /* nodeName against nodeSelector or affinity */
        ADMIT_PRIORITY_CLASS,
        ADMIT_MIGRATION,
        ADMIT_EVICTION,
        ADMIT_GRACE,
        ADMIT_DISK_CHANGED, /* an existing disk gets another source or size */
        ADMIT_CLAIM_TWICE,  /* two disks are one claim */
        ADMIT_CLAIM_HELD,   /* a claim comes or goes while the VM has an owner */
        ADMISSION_RULES
};

#define ADMISSION_NAME_MAX       50
#define ADMISSION_PROBLEMS_MAX   16
#define ADMISSION_WARNINGS_MAX   16
#define ADMISSION_MEMORY_MIN     ((int64_t)16 << 20)
#define ADMISSION_DEVICES_MAX    16 /* disks, and networks */
#define ADMISSION_LIST_MAX       64 /* keys, labels, tolerations, namespaces */
#define ADMISSION_TERMS_MAX      32 /* terms of node affinity, and expressions of each */
#define ADMISSION_FIELDS_MAX     8  /* matchFields of a term */
#define ADMISSION_POD_TERMS_MAX  16 /* terms, their expressions and keys, spread constraints */
#define ADMISSION_VALUES_MAX     256
#define ADMISSION_CLOUD_INIT_MAX 65536
#define ADMISSION_SSH_KEY_MAX    16384
#define ADMISSION_SSH_KEYS_MAX   524288 /* all of them: an agent writes them into one file */
#define ADMISSION_RESTARTED_MAX  64
#define ADMISSION_WARNING_TEXT   256 /* longer ones may be cut by the API server */

struct admission_problem {
        enum admission_rule rule;
        const char *path, *message;
};
struct admission_report {
        struct admission_problem v[ADMISSION_PROBLEMS_MAX];
        size_t n;                                     /* more than the maximum are not told */
        const char *warnings[ADMISSION_WARNINGS_MAX]; /* of what is allowed */
        size_t nwarnings;                             /* the last says how many more there are */
        int rc; /* -ENOMEM when a text did not fit in memory: then the rest is worth nothing */
};

/* The most that any one hypervisor has in all, whatever of it is taken. */
struct admission_room {
        int64_t cpus, memory; /* of two different ones, maybe */
};

struct admission_facts {
        const struct vm *vm;
        const struct wishes *wishes; /* of vm */
        const struct vm *old;        /* NULL for a new one */
        /* whether the namespace has an image of that name */
        bool (*image)(void *ctx, const char *name);
        /* What is wrong with going back to the snapshot of that name, a sentence; NULL: nothing */
        const char *(*snapshot)(void *ctx, const struct vm *vm, const char *name);
        /* The following may be NULL, and may be false: not known, then nothing is said about it. */
        bool (*largest)(void *ctx, struct admission_room *out);
        /* Calls visit for each Node that is a hypervisor, until it returns false. */
        bool (*nodes)(void *ctx, bool (*visit)(void *arg, const struct node *node), void *arg);
        void *ctx;
};

/* Texts live in a. */
void admission_check(struct arena *a, const struct admission_facts *f,
                     struct admission_report *out);

#endif
