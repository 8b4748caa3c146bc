/*
 * What an eviction of a VM's pod means (the eviction subresource: kubectl drain,
 * cluster-autoscaler, descheduler). The guest does not live in the pod, so letting the pod go would
 * only hide from the drain that a guest still runs on the node: the eviction is refused, with 429
 * for "try again", until the guest has moved, and a migration is asked for.
 */
#ifndef DROVER_CORE_EVICTION_H
#define DROVER_CORE_EVICTION_H

#include "base/arena.h"
#include "core/migration.h"
#include "core/node.h"

#define EVICTION_ATTEMPTS   9 /* names for migrations; more than are kept, so that one is free */
#define EVICTION_BACKOFF_US 10000000 /* between one that has failed and the next */

enum evict_verdict {
        EVICT_ALLOW,  /* no guest depends on the pod */
        EVICT_MOVE,   /* make the migration, and try again later */
        EVICT_WAIT,   /* try again later */
        EVICT_REFUSE, /* trying again does not help */
};

struct evict_facts {
        const struct pod *pod;
        const struct vm *vm; /* the pod's; NULL: there is none */
        /*
         * What the VM's status.migration names, if anything (else NULL); and the migrations that
         * evictions have asked for, by their attempt - 1, up to the first that does not exist.
         */
        const struct migration *current;
        const struct migration *const *asked;
        int nasked;
        int64_t now_us;
};

struct evict_answer {
        enum evict_verdict verdict;
        int attempt;         /* EVICT_MOVE: of the migration to be made */
        const char *message; /* names the VM, its state, and what is waited for; "" for ALLOW */
};

/* The name of the attempt's migration (from 1): of the VM and its epoch, so that asking twice is
 * one object. NULL when out of memory. */
const char *evict_migration_name(struct arena *a, const struct vm *vm, int attempt);

/* 0 or -ENOMEM. */
must_check int evict_judge(struct arena *a, const struct evict_facts *f, struct evict_answer *out);

#endif
