/*
 * What the extender keeps of an object: the few facts that decide, in one arena each. Five thousand
 * hosts and ten thousand VMs must fit into a few MiB.
 */
#ifndef DROVER_EXTENDER_FACTS_H
#define DROVER_EXTENDER_FACTS_H

#include "core/capacity.h"
#include "core/node.h"
#include "extender/share.h"

struct host_facts {
        struct arena *arena;
        struct host host; /* what core/capacity.h looks at, the rest empty; lists are shared */
        struct shared_strs *cpu_models, *bridges;
        struct strs guests; /* uids of the VMs whose domain takes up resources here */
};
/* NULL when out of memory. */
struct host_facts *host_facts_new(struct share *s, const struct host *h);
void host_facts_free(struct share *s, struct host_facts *f);

struct vm_facts {
        struct arena *arena;
        const char *uid;
        struct capacity_demand
                demand; /* with an owner what it runs with, else what its spec says */
};
struct vm_facts *vm_facts_new(const struct vm *vm);
void vm_facts_free(struct vm_facts *f);

#endif
