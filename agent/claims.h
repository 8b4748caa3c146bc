/*
 * Disks that are PersistentVolumeClaims. The kubelet mounts them for the handle pod; QEMU opens
 * them where the kubelet has them for that pod (agent/claimpath.h), and the open file keeps the
 * volume on the node for as long as the guest runs, whatever becomes of the pod. Claims are the
 * user's: a blank disk.img is made in one that has none, and nothing is ever removed.
 */
#ifndef DROVER_AGENT_CLAIMS_H
#define DROVER_AGENT_CLAIMS_H

#include "agent/agent.h"
#include "agent/claimpath.h"
#include "agent/domxml.h"
#include "core/migration.h"
#include "core/vm.h"

/*
 * Where those of the VM's disks are that are claims: out has one element for each disk, and the
 * others are left alone. The VM, its pod and the claims are as the API server has them now. Strings
 * live in ar. -EAGAIN, with the reason, until they are mounted.
 */
must_check int claims_attach(struct agent *a, const struct vm *vm, struct arena *ar,
                             struct disk_source out[], struct err *e);

/* The uid of the migration's pod on its target, whose container has started: the claims are mounted
 * for it. -EAGAIN when that is not so. */
must_check int claims_target_pod(struct agent *a, const struct migration *m,
                                 char uid[CLAIM_UID_MAX], struct err *e);

/*
 * The folder below ROOT/pods/POD/volumes (or volumeDevices, for a device) that has the volume, a
 * plugin's name. -ENOENT when none has. Looks into folders of the kubelet's alone, into no mount.
 */
must_check int claims_plugin(const char *root, const char *pod, const char *volume, bool device,
                             char plugin[256], struct err *e);

#endif
