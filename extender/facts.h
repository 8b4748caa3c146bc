/*
 * What the extender keeps of an object: the few facts that decide. Five thousand hosts and ten
 * thousand VMs must fit into a few MiB, so what many have in common is shared. Not thread safe.
 */
#ifndef DROVER_EXTENDER_FACTS_H
#define DROVER_EXTENDER_FACTS_H

#include "core/capacity.h"
#include "extender/share.h"

/* A UID in 16 bytes: a UUID as it is, anything else by a hash. */
struct uid {
        uint64_t hi, lo; /* both 0: none */
};
struct uid uid_of(const char *text);
static inline bool uid_same(struct uid a, struct uid b)
{
        return a.hi == b.hi && a.lo == b.lo;
}
static inline bool uid_given(struct uid u)
{
        return u.hi || u.lo;
}

struct mount_facts {
        struct shared_strs *about; /* pool, path, reason, identity */
        struct shared_strs *names; /* of apart; NULL: nobody */
        struct host_peer *apart;   /* the nodes that are known not to see the same pool */
        int64_t free_bytes;
        enum mount_health health;
        bool local;
};
struct host_facts {
        struct host_capacity capacity;
        struct host_use used;
        int64_t inbound, outbound;
        struct shared_strs *cpu_models, *bridges;
        struct shared_strs *ready; /* status, reason, message; NULL: not said */
        struct uid *guests;        /* VMs whose domain takes up room here; behind the mounts */
        uint32_t nguests, nmounts;
        struct mount_facts mounts[];
};
/* NULL when out of memory. */
struct host_facts *host_facts_new(struct share *s, const struct host *h);
void host_facts_free(struct share *s, struct host_facts *f);
bool host_facts_hold(const struct host_facts *f, struct uid guest);

/* A host as core/capacity.h looks at it: as far as a demand has to do with it, the rest empty. */
struct host_sight {
        struct host host;
        struct condition ready;
        struct host_mount *mounts; /* the caller's, room for as many as the demand has pools */
};
void host_facts_show(const struct host_facts *f, const char *node, const struct capacity_demand *d,
                     struct host_sight *out);

struct vm_facts {
        struct uid uid;
        struct shared_strs *owner; /* one string: the node where it runs, "" nowhere */
        int64_t cores, memory;     /* with an owner what it runs with, else what its spec says */
        struct shared_strs *cpu_model; /* one string */
        struct shared_strs *pools, *bridges;
        enum capacity_huge huge;
        bool copies;
};
/* False, and nothing to be dropped, when out of memory. */
bool vm_facts_take(struct share *s, const struct vm *vm, struct vm_facts *out);
void vm_facts_drop(struct share *s, struct vm_facts *f);
const char *vm_facts_owner(const struct vm_facts *f);
/* Borrows from f. */
struct capacity_demand vm_facts_demand(const struct vm_facts *f);

#endif
