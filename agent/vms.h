/* The VMs that this node owns: makes their domains what they say, and removes what is stale. */
#ifndef DROVER_AGENT_VMS_H
#define DROVER_AGENT_VMS_H

#include "agent/agent.h"
#include "agent/fresh.h"

/* Makes a->vms. */
must_check int vms_start(struct agent *a, struct kube_watch **out, struct err *e);

/* What there is to decide on for the domain of that uuid; f is NULL when libvirt has none. */
void ownership_gather(struct agent *a, const struct fresh *now, const char *uuid,
                      const struct domain_facts *f, struct ownership *out);

/*
 * Disks, definition and start of a VM that ownership_decide said to start. Reads the VM fresh once
 * more when the disks are made, since that may take long. -EAGAIN: not now.
 */
must_check int vm_start(struct agent *a, const struct vm *vm, struct err *e);

#endif
