/*
 * What is promised of each node's room: to VMs that the node owns and to migrations whose target it
 * is, as far as the host does not report their guests yet. The sums follow the stores, so that a
 * new leader has them as soon as its lists are complete; a change of one VM costs what that VM has
 * to do with, whatever else there is.
 *
 * A decision that fills room is an object's write, which the stores show a moment later. Until
 * then a reservation stands for it: taken with the decision, by which two workers never give the
 * same room to two VMs, and given up when that object is seen at another version, which shows
 * whether the write was done, or is gone. A write of which nobody knows whether it was done keeps
 * the room for longer than a request lives.
 *
 * Thread safe. The lock is held over reads of the stores; no store's lock is held over calls.
 */
#ifndef DROVER_MIGRATOR_ROOMS_H
#define DROVER_MIGRATOR_ROOMS_H

#include "base/mono.h"
#include "core/load.h"
#include "kube/store.h"

#define ROOMS_RESERVED_MS 90000

struct rooms;

/* The stores outlive the rooms. NULL when out of memory. */
struct rooms *rooms_new(struct kube_store *vms, struct kube_store *migrations,
                        struct kube_store *hosts);
void rooms_free(struct rooms *r);

/*
 * Something about the VM "namespace/name", or one of its migrations, or a host has changed: the
 * stores are read anew, so that it does not matter in what order such calls come.
 */
void rooms_vm_changed(struct rooms *r, const char *vm_key);
void rooms_host_changed(struct rooms *r, const char *node);

struct room_view {
        struct kube_ref *host; /* to be put; NULL: no agent has reported */
        struct capacity_load promised;
        uint64_t seen;
};
/* A node as it is now for that VM, whose own part is not in promised. */
struct room_view rooms_look(struct rooms *r, const char *node, const char *vm_key);

/*
 * Calls visit for each VM that has to do with the node: it owns the VM, or a move of the VM has
 * chosen it. The lock is held: visit asks nothing of the rooms and of no store.
 */
void rooms_each_vm(struct rooms *r, const char *node, void (*visit)(void *ctx, const char *vm_key),
                   void *ctx);

/*
 * Keeps room for the VM in that shape, for a decision that was made by what rooms_look has shown
 * and is about to be written to the object. -EAGAIN: the node has changed since, look again, or no
 * agent has reported it, so that there is no room to keep; -ENOMEM: nothing may be decided.
 */
must_check int rooms_reserve(struct rooms *r, const char *node, uint64_t seen, const char *vm_key,
                             const struct vm_shape *shape, const struct meta *written,
                             struct err *e);

/* To be called now and then: ends reservations that are too old, and makes up for lost memory. */
void rooms_tick(struct rooms *r, struct mono now);

#endif
