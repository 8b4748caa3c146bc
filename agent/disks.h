/*
 * The disks of a VM: what its claims are to QEMU (agent/claims.h), and its files on its pools:
 * POOL/disks/UID/DISK.qcow2 and POOL/seeds/UID/cidata.iso. They are made once, before the first
 * start, and removed with the VM, but for disks whose reclaimPolicy is Retain: these go to
 * POOL/retained/UID, where no VM takes them up. All of it happens in children with a deadline
 * (agent/tool.h).
 */
#ifndef DROVER_AGENT_DISKS_H
#define DROVER_AGENT_DISKS_H

#include "agent/agent.h"
#include "agent/domxml.h"
#include "core/vm.h"

struct vm_files {
        struct arena *arena;
        struct disk_source disks[DOMXML_DISKS];
        const char *seed; /* NULL: the VM asks for none */
};

/*
 * Makes what is missing, and sets the disks back to a snapshot when that is asked for and has not
 * been done (agent/restore.h). -EAGAIN when a pool is not healthy, an image is not ready or a claim
 * not mounted: later.
 */
must_check int disks_prepare(struct agent *a, const struct vm *vm, struct vm_files *out,
                             struct err *e);
void disks_free(struct vm_files *f);

/*
 * Removes all files of the VM with that uid from all pools of this node. vm, when it is still known
 * (else NULL), says what is retained.
 */
must_check int disks_erase(struct agent *a, const char *uid, const struct vm *vm, struct err *e);

/*
 * For a move to this node: an empty file for a disk of so many bytes, and the cloud-init volume, in
 * a pool that is local to it. -EIO when the disk's file is there already; nothing is touched then.
 */
must_check int disks_make_new(struct agent *a, const char *uid, const char *pool, const char *name,
                              int64_t size, struct err *e);
must_check int disks_make_seed(struct agent *a, const struct vm *vm, const char *pool,
                               struct err *e);
/* Removes the VM's files from that pool of this node alone, where they are in no other file system.
 */
must_check int disks_sweep(struct agent *a, const char *uid, const struct agent_pool *pool,
                           struct err *e);

/* The pools that the VM's files are on, without repetition, at most AGENT_POOLS_MAX. */
size_t disks_pools(const struct vm *vm, const char *pools[AGENT_POOLS_MAX]);

/* Likewise, without that of the cloud-init volume where no disk is. */
size_t disks_pools_of_disks(const struct vm *vm, const char *pools[AGENT_POOLS_MAX]);

#endif
