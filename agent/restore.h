/*
 * Sets a VM's disks back to the snapshot that its spec.restore names, once, before its guest is
 * started: by the owner, which alone starts it and has its disks in hand (agent/holds.h).
 */
#ifndef DROVER_AGENT_RESTORE_H
#define DROVER_AGENT_RESTORE_H

#include "agent/agent.h"
#include "core/vm.h"

/*
 * Nothing to do is success. When all disks are set back a mark is left beside them, durably, before
 * this returns: with it the wish is not carried out again, without it all of it is, which does no
 * harm since the guest has not run meanwhile. -EAGAIN when it has to wait, with the reason.
 */
must_check int restore_apply(struct agent *a, const struct vm *vm, struct err *e);

#endif
