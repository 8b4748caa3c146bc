/*
 * Disks that are PersistentVolumeClaims: what of a claim matters to a disk, and whether a guest
 * with such disks may leave its node. Only the agent of that node reads claims; what it has found
 * stands in its VirtualMachineHost (core/host.h).
 */
#ifndef DROVER_CORE_CLAIM_H
#define DROVER_CORE_CLAIM_H

#include "core/host.h"
#include "core/vm.h"

struct claim {
        struct arena *arena;
        struct meta meta;
        struct strs access_modes; /* as the claim asks for them */
        bool block;               /* volumeMode Block */
        const char *volume;       /* the PersistentVolume that it is bound to, "": none yet */
        int64_t capacity;         /* bytes, 0 when not known */
};

#define CLAIM_MESSAGE_MAX 256

/*
 * Whether the claim, which is the disk of that name, may be mounted by several nodes: Shared,
 * NotShared or, as long as it is bound to no volume, Unknown. message says why not Shared.
 */
enum sharing claim_sharing(const struct claim *c, const char *disk,
                           char message[CLAIM_MESSAGE_MAX]);

/*
 * Whether all claims of the VM may be, by what the agent of the guest's node says, d (NULL:
 * nothing). A VM without claims is Shared. message says why not.
 */
enum sharing claims_sharing(const struct vm *vm, const struct host_domain *d,
                            char message[CLAIM_MESSAGE_MAX]);

/*
 * The disk of vm that is a claim of another VM's, too, which goes first: it has a node, or it is to
 * run and was there before. NULL when there is none. Nobody but us keeps two guests from one claim
 * that Kubernetes lets many pods have.
 */
const struct vm_disk *claim_taken(const struct vm *vm, const struct vm *other);

#endif
