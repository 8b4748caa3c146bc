/*
 * Where a VM's disks lie. A pool that a node has declared local is that node's own file system: its
 * disks are on this node and no other. What is known of them stands in the VM's status:
 * - storageNode, the node whose local pools they are in. It is written with the owner, in the same
 *   compare-and-swap, and stays when nobody owns the VM: the VM starts there or not at all.
 * - pools, the identity of the directory behind each pool when its disks came to be there. A disk
 *   that is not found in another directory is not missing, it is elsewhere, and none is made in its
 *   stead. With a move that takes disks along the identity becomes that of the target's pool: who
 *   finds files of the VM in a local pool of another identity has copies that nobody needs.
 */
#ifndef DROVER_CORE_STORAGE_H
#define DROVER_CORE_STORAGE_H

#include "core/host.h"
#include "core/vm.h"

#define STORAGE_MESSAGE_MAX 256

/* The first disk of the VM in a pool that is local to the host; NULL: none. h may be NULL. */
const struct vm_disk *storage_local_disk(const struct vm *vm, const struct host *h);

/*
 * The VM cannot be moved from this host while it runs, for the sake of its disks in pools: message
 * says which, why, and what to do about it. snapshot is the name of one of its disks' snapshots,
 * which stay behind; NULL: there is none, or it is not known.
 */
bool storage_keeps(const struct vm *vm, const struct host *h, const char *snapshot,
                   char message[STORAGE_MESSAGE_MAX]);

/* The host can take the disks that a move takes along from the source; if not, message says why. */
bool storage_fits(const struct vm *vm, const struct host *source, const struct host *target,
                  char message[STORAGE_MESSAGE_MAX]);

/* A local pool of the host is known to be another directory than where the VM's disks are; message
 * says which. */
bool storage_elsewhere(const struct vm *vm, const struct host *h,
                       char message[STORAGE_MESSAGE_MAX]);

/*
 * Notes in the status where the VM's disks are when that node, whose host is h (NULL: not known),
 * is its owner. moved: the disks in local pools have come along. 0 or -ENOMEM.
 */
int storage_note(struct arena *a, struct vm *vm, const char *node, const struct host *h,
                 bool moved);

/* Of what lies in a local pool of a node, with the owner and the migrations read fresh. */
struct storage_left {
        const struct vm *vm;  /* of the files' uid; NULL: there is none, or it is not known */
        const char *node;     /* whose pool it is */
        const char *pool;     /* its name */
        const char *identity; /* of the directory, as a probe that went well has read it; "": not */
        bool moves;           /* an unfinished migration of the VM exists */
        bool domain;          /* there is a domain of it on the node, or nobody can say */
};
/* They are copies that nobody needs, beyond doubt: the VM's disks lie elsewhere. */
bool storage_stale(const struct storage_left *l);

#endif
