/*
 * The files of a VM on its pools: POOL/disks/UID/DISK.qcow2 and POOL/seeds/UID/cidata.iso. They are
 * made once, before the first start, and removed with the VM, but for disks whose reclaimPolicy is
 * Retain: these go to POOL/retained/UID, where no VM takes them up. All of it happens in children
 * with a deadline (agent/tool.h).
 */
#ifndef DROVER_AGENT_DISKS_H
#define DROVER_AGENT_DISKS_H

#include "agent/agent.h"
#include "agent/domxml.h"
#include "core/vm.h"

struct vm_files {
        struct arena *arena;
        const char *disks[DOMXML_DISKS];
        const char *seed; /* NULL: the VM asks for none */
};

/*
 * Makes what is missing, and sets the disks back to a snapshot when that is asked for and has not
 * been done (agent/restore.h). -EAGAIN when a pool is not healthy or an image is not ready: later.
 */
must_check int disks_prepare(struct agent *a, const struct vm *vm, struct vm_files *out,
                             struct err *e);
void disks_free(struct vm_files *f);

/*
 * Removes all files of the VM with that uid from all pools of this node. vm, when it is still known
 * (else NULL), says what is retained.
 */
must_check int disks_erase(struct agent *a, const char *uid, const struct vm *vm, struct err *e);

/* The pools that the VM's files are on, without repetition, at most AGENT_POOLS_MAX. */
size_t disks_pools(const struct vm *vm, const char *pools[AGENT_POOLS_MAX]);

/* Likewise, without that of the cloud-init volume where no disk is. */
size_t disks_pools_of_disks(const struct vm *vm, const char *pools[AGENT_POOLS_MAX]);

#endif
