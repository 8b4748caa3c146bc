/*
 * The disks that a guest takes along when it moves: those in pools that are local to this node. The
 * source finds them in the running domain, for the VM's spec may say otherwise by now, and tells
 * the target by status.transfer.disks; the target makes a file for each and says so in its
 * VirtualMachineHost (agent/copies.h); then libvirt copies them before it copies the memory.
 */
#ifndef DROVER_AGENT_CARRY_H
#define DROVER_AGENT_CARRY_H

#include "agent/agent.h"
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
 * The same of the running domain, with sizes. -EINVAL also when there is something and the VM
 * does not ask for it to be copied.
 */
must_check int carry_find(struct agent *a, const struct vm *vm, struct carried *out, struct err *e);
void carry_free(struct carried *c);

/* Bytes that the guest sees of them. */
int64_t carry_bytes(const struct transfer *t);
/* Some are to be copied by libvirt. */
bool carry_copies(const struct transfer *t);

#endif
