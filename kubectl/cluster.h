/*
 * The verdicts of `kubectl drover doctor` on what the API server says: over `kubectl get -o json`.
 * Nothing here looks anywhere. Lists may be NULL (not readable): then nothing is said of them.
 */
#ifndef DROVER_KUBECTL_CLUSTER_H
#define DROVER_KUBECTL_CLUSTER_H

#include "base/json.h"
#include "core/doctor.h"

/* workloads: Deployments, DaemonSets and Pods of Drover's namespace in one list. */
void judge_components(const struct json *workloads, struct findings *f);
void judge_agents(const struct json *workloads, const struct json *nodes, struct findings *f);
void judge_crds(const struct json *crds, struct findings *f);
/* secrets may be NULL: then the webhook's certificate is not compared. */
void judge_admission(const struct json *configurations, const struct json *secrets,
                     struct findings *f);
void judge_secrets(const struct json *secrets, int64_t now_s, struct findings *f);
/* pending: pods of VMs; schedulers: pods of kube-scheduler in kube-system. */
void judge_scheduler(const struct json *pending, const struct json *schedulers,
                     const struct json *workloads, struct findings *f);
/* Ready and the health of its pools, of each host. */
void judge_hosts(const struct json *hosts, const struct json *workloads, struct findings *f);
/* By the newest of all Leases, so that the clock of this machine does not matter. */
void judge_heartbeats(const struct json *leases, const struct json *workloads, struct findings *f);

/* An agent's pod that can be asked. */
struct agent_pod {
        const char *node, *pod;
};
/* Sorted by node; of the given nodes only unless n is 0. At most max; the number. */
size_t cluster_agents(const struct json *workloads, const char *const *nodes, size_t n,
                      struct agent_pod *out, size_t max);

#endif
