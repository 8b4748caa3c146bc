/*
 * The extender's picture of the cluster: hypervisor hosts, their heartbeats, VMs, and the handle
 * pods that are bound to a host. Fed by four watches, asked by the HTTP threads; thread safe. A
 * question costs O(names asked about), an event O(the pods of one host or VM).
 */
#ifndef DROVER_EXTENDER_FLEET_H
#define DROVER_EXTENDER_FLEET_H

#include "api/extender.h"
#include "base/mono.h"
#include "core/capacity.h"
#include "core/node.h"
#include "kube/client.h"

#define FLEET_LEASE_PREFIX "drover-node-" /* of the Lease that is a node's heartbeat */

struct fleet;
struct fleet_config {
        int64_t silent_ms; /* a host whose heartbeat is older is Unknown */
        int64_t migration_slots;
        enum capacity_policy policy;
};
struct fleet *fleet_new(const struct fleet_config *cfg);
void fleet_free(struct fleet *f);

/*
 * A list of such objects begins, and is complete: what no event has shown in between, or since, is
 * forgotten then. An event that fails has shown its object all the same.
 */
enum fleet_kind { FLEET_HOSTS, FLEET_VMS, FLEET_PODS, FLEET_LEASES, FLEET_KINDS };
void fleet_listing(struct fleet *f, enum fleet_kind kind);
void fleet_listed(struct fleet *f, enum fleet_kind kind);

/*
 * Events of the watches. On failure (an object that cannot be decoded, no memory) what was known
 * before stays.
 */
must_check int fleet_host_event(struct fleet *f, enum kube_event type, const struct json *object,
                                struct err *e);
must_check int fleet_vm_event(struct fleet *f, enum kube_event type, const struct json *object,
                              struct err *e);
must_check int fleet_pod_event(struct fleet *f, enum kube_event type, const struct json *object,
                               struct err *e);
/*
 * A heartbeat counts from when we saw it change (now), since the clocks of nodes are not ours. Only
 * the first sight of a Lease is dated by its renewTime against our wall clock, so that after a
 * start a host that died long ago is not taken for alive.
 */
must_check int fleet_lease_event(struct fleet *f, enum kube_event type, const struct json *object,
                                 struct mono now, int64_t wall_us_now, struct err *e);

struct fleet_verdict {
        struct extender_filter_result result; /* fit and failures, in the arena */
        size_t refused[CAPACITY_RULES];       /* how many by each rule */
};
/*
 * Judges every name for the pod, whose label names its VM. A pod without that label fits
 * everywhere. -ENOENT when the VM is not known, -ENOMEM.
 */
must_check int fleet_filter(struct fleet *f, const struct pod *pod, const struct strs *names,
                            struct mono now, struct arena *a, struct fleet_verdict *out,
                            struct err *e);
/* Scores (0-10) of all names; all 0 for a pod without the label. The arena is for its work. */
must_check int fleet_scores(struct fleet *f, const struct pod *pod, const struct strs *names,
                            struct mono now, struct arena *a, int *scores, struct err *e);
/*
 * keep[i]: deleting the victims of candidate i might help. Not where a rule refuses the node, which
 * no deletion mends, and not where a victim is a handle. -ENOENT, -ENOMEM.
 */
must_check int fleet_preempt(struct fleet *f, const struct extender_preemption *p, struct mono now,
                             bool *keep, struct err *e);

struct fleet_count {
        size_t hosts, vms, handles;
        size_t silent; /* hosts whose heartbeat is too old */
};
struct fleet_count fleet_count(struct fleet *f, struct mono now);

#endif
