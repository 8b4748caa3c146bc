/*
 * The disks that a guest takes along when it moves: those in pools that are local to this node. The
 * source finds them in the running domain, for the VM's spec may say otherwise by now, and tells
 * the target by status.transfer.disks; the target makes a file for each and says so in its
 * VirtualMachineHost (agent/copies.h); then libvirt copies them before it copies the memory.
 */
#ifndef DROVER_AGENT_CARRY_H
#define DROVER_AGENT_CARRY_H

#include "agent/agent.h"
#include "base/json.h"
#include "core/migration.h"

#define CARRY_MAX 24

struct carried {
        struct arena *arena;
        struct transfer_disk *v; /* one without a name is the cloud-init volume, made anew there */
        size_t n;
};

/*
 * What of the domain's XML lies in local pools; sizes are 0. -EINVAL for what cannot be taken
 * along: an overlay, or a file that is no disk of this VM.
 */
must_check int carry_parse(const struct agent_config *c, const char *uid, const char *xml,
                           struct carried *out, struct err *e);
/*
 * -EINVAL when one of them holds snapshots: libvirt copies what a disk is now, and nothing that it
 * was. blocks is what QEMU says of the domain's disks (agent/guestsnap.h).
 */
must_check int carry_check_snapshots(const char *xml, const struct json *blocks,
                                     const struct carried *found, struct err *e);
/*
 * What of the running domain comes along, with sizes. -EINVAL also for a disk with snapshots, and
 * when there is something and the VM does not ask for it to be copied.
 */
must_check int carry_find(struct agent *a, const struct vm *vm, struct carried *out, struct err *e);
void carry_free(struct carried *c);

/* Bytes that the guest sees of them. */
int64_t carry_bytes(const struct transfer *t);
/* Some are to be copied by libvirt. */
bool carry_copies(const struct transfer *t);

#endif
