/*
 * The checks on both hosts before a guest is moved, as numbered rules. Every refusal has a sentence
 * that names the node and what to do about it.
 */
#ifndef DROVER_CORE_PREFLIGHT_H
#define DROVER_CORE_PREFLIGHT_H

#include "core/reconcile.h"

#define PREFLIGHT_MESSAGE_MAX 256
#define PREFLIGHT_RESOLVE_MS  50 /* libvirt resolves host names inside the guest's pause */

enum preflight_rule {
        PREFLIGHT_OK,
        PREFLIGHT_SOURCE_SILENT, /* 1 */
        PREFLIGHT_TARGET_SILENT,
        PREFLIGHT_TARGET_NOT_READY, /* its agent cannot reach libvirt */
        PREFLIGHT_NO_ADDRESS,       /* nowhere to connect to */
        PREFLIGHT_CPU_MODEL,
        PREFLIGHT_BRIDGE,
        PREFLIGHT_POOL_MISSING,
        PREFLIGHT_POOL_UNHEALTHY,
        PREFLIGHT_POOL_NOT_SHARED, /* the two nodes are known not to see the same directory */
        PREFLIGHT_LOCAL_DISK, /* a disk is in a pool of the node's own, or a claim that no other
                                 node may write to */
        PREFLIGHT_ROOM,       /* the target has not enough CPUs, memory, huge pages or slots free */
        PREFLIGHT_VIRT_TYPE,  /* kvm and emulation do not mix */
        PREFLIGHT_QEMU_OLDER,
        PREFLIGHT_NAMES_SLOW,
        PREFLIGHT_FAST_UNPROVEN, /* handover Fast without proven lock arbitration */
        PREFLIGHT_PLACEMENT,     /* the VM's placement does not allow the node */
        PREFLIGHT_MACHINE,       /* the target's QEMU does not know the guest's machine type */
        PREFLIGHT_NO_PORT,       /* nothing listens there, or no port is free to receive by */
        PREFLIGHT_POOL_UNPROVEN, /* 19: that they see the same directory is not proven, of late */
        PREFLIGHT_COPY,          /* 20: the target cannot take the disks that are to be copied */
        PREFLIGHT_CLAIM_UNKNOWN, /* 21: whether other nodes may write to a claim is not known yet */
        PREFLIGHT_RULES
};

/* The first rule that refuses the move, PREFLIGHT_OK for none. transient: it may pass by itself. */
enum preflight_rule preflight(const struct vm *vm, const struct rec_node *source,
                              const struct rec_node *target, bool *transient,
                              char message[PREFLIGHT_MESSAGE_MAX]);

/* The node, which is not the source, could be chosen to take the guest now. */
bool preflight_suits(const struct vm *vm, const struct rec_node *source, const struct rec_node *n);

#define PREFLIGHT_VERDICTS_MAX 16

/*
 * What there is to say of every node but the source: those that fit first, then those that the
 * placement allows; NULL when out of memory. At most PREFLIGHT_VERDICTS_MAX of them, *more is how
 * many are left out.
 */
struct verdict *preflight_all(struct arena *a, const struct vm *vm, const struct rec_node *source,
                              const struct rec_node *nodes, size_t nnodes, size_t *n, size_t *more);

#endif
