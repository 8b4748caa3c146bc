/* The insides of a fleet, shared by what feeds it (fleet.c) and what asks it (judge.c). */
#ifndef DROVER_EXTENDER_ENTRIES_H
#define DROVER_EXTENDER_ENTRIES_H

#include "extender/facts.h"
#include "extender/fleet.h"

#include <pthread.h>

/*
 * An entry stays for as long as anything refers to it, also before its own object has been seen.
 * `shown` is the number of the list in which, or since which, the object was last shown.
 */
struct pod_entry;
struct host_entry {
        struct ktable_node node;
        struct host_facts *facts;      /* NULL: not reported */
        struct pod_entry *pods;        /* bound here */
        struct capacity_load promised; /* to those of them whose guest is not here yet */
        bool heard;
        uint32_t shown, lease_shown;
        struct mono heard_at;
        int64_t renewed_us; /* what the Lease says, to see it change */
        char name[];
};
struct vm_entry {
        struct ktable_node node;
        struct pod_entry *pods;
        bool known; /* its object has been seen */
        uint32_t shown;
        struct vm_facts facts;
        char key[];
};
/* A living handle pod. */
struct pod_entry {
        struct ktable_node node;
        struct vm_entry *vm;
        struct host_entry *host; /* NULL until it is bound */
        struct pod_entry *next_of_vm;
        struct pod_entry *next_at_host, **link_at_host; /* or among those that are not bound */
        struct uid vm_uid;                              /* none when the pod does not say */
        struct uid uid;
        uint32_t shown;
        char key[];
};

struct fleet {
        struct fleet_config cfg;
        pthread_rwlock_t lock; /* guards all below */
        struct ktable hosts, vms, pods;
        struct pod_entry *unbound;
        struct share share;
        uint32_t lists[FLEET_KINDS]; /* the number of the last one */
        size_t nhosts, nvms;         /* whose objects have been seen */
};

static inline struct host_entry *host_find(const struct fleet *f, const char *name)
{
        struct ktable_node *n = ktable_find(&f->hosts, name);

        return n ? ktable_entry(n, struct host_entry, node) : NULL;
}

static inline struct vm_entry *vm_find(const struct fleet *f, const char *key)
{
        struct ktable_node *n = ktable_find(&f->vms, key);

        return n ? ktable_entry(n, struct vm_entry, node) : NULL;
}

/* The uid of the VM that a pod stands for; none when neither the pod nor the VM's object said. */
static inline struct uid pod_vm_uid(const struct pod_entry *p)
{
        if (uid_given(p->vm_uid) || !p->vm->known)
                return p->vm_uid;
        return p->vm->facts.uid;
}

static inline bool host_holds(const struct host_entry *h, struct uid vm)
{
        return h->facts && host_facts_hold(h->facts, vm);
}

#endif
