/* The insides of a fleet, shared by what feeds it (fleet.c) and what asks it (judge.c). */
#ifndef DROVER_EXTENDER_ENTRIES_H
#define DROVER_EXTENDER_ENTRIES_H

#include "extender/facts.h"
#include "extender/fleet.h"

#include <pthread.h>

/* An entry stays for as long as anything refers to it, also before its own object has been seen. */
struct pod_entry;
struct host_entry {
        struct ktable_node node;
        struct host_facts *facts;      /* NULL: not reported */
        struct pod_entry *pods;        /* bound here */
        struct capacity_load promised; /* to those of them whose guest is not here yet */
        bool heard;
        struct mono heard_at;
        int64_t renewed_us; /* what the Lease says, to see it change */
        char name[];
};
struct vm_entry {
        struct ktable_node node;
        struct vm_facts *facts; /* NULL: not seen */
        struct pod_entry *pods;
        char key[];
};
/* A living handle pod that is bound to a host. */
struct pod_entry {
        struct ktable_node node;
        struct vm_entry *vm;
        struct host_entry *host;
        struct pod_entry *next_of_vm, *next_at_host;
        char *vm_uid; /* "" when the pod does not say; behind the key */
        char key[];
};

struct fleet {
        struct fleet_config cfg;
        pthread_rwlock_t lock; /* guards all below */
        struct ktable hosts, vms, pods;
        struct share share;
        size_t nhosts, nvms; /* entries with facts */
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

/* The uid of the VM that a pod stands for; "" when neither the pod nor the VM's object said. */
static inline const char *pod_vm_uid(const struct pod_entry *p)
{
        if (*p->vm_uid)
                return p->vm_uid;
        return p->vm->facts ? p->vm->facts->uid : "";
}

static inline bool host_holds(const struct host_entry *h, const char *vm_uid)
{
        return *vm_uid && h->facts && strs_has(&h->facts->guests, vm_uid);
}

#endif
