/*
 * Plain data shared by all decisions. Every object and all it points to lives in one arena that
 * its decoder made (api/), is immutable afterwards, and is freed with that arena. Strings are never
 * NULL unless said so; an absent string is "". An array of n == 0 elements may have a NULL pointer.
 */
#ifndef DROVER_CORE_TYPES_H
#define DROVER_CORE_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define DROVER_GROUP       "drover.dev"
#define DROVER_API_VERSION "drover.dev/v1alpha1"
#define DROVER_NAMESPACE   "drover-system"
#define DROVER_VM_LABEL    "drover.dev/vm" /* on handle pods: the VM's name */
/* How names of handle pods begin: an eviction has no label to be known by (manifests/). */
#define DROVER_POD_PREFIX      "drover-vm-"        /* then the VM's name */
#define DROVER_MOVE_POD_PREFIX "drover-move-"      /* then the migration's */
#define DROVER_VM_RESOURCE     "drover.dev/vm"     /* managed by the extender */
#define DROVER_UID_ANNOTATION  "drover.dev/vm-uid" /* on handle pods */
#define DROVER_GUEST_LABEL     "drover.dev/guest"  /* on handle pods: UID.EPOCH */
#define DROVER_LABELS_ANNOTATION                                                                   \
        "drover.dev/vm-labels" /* on handle pods: the keys of its labels that are the VM's */
#define DROVER_EPOCH_ANNOTATION                                                                    \
        "drover.dev/vm-epoch" /* on handle pods: epoch the guest will run at */
#define DROVER_MIGRATION_ANNOTATION                                                                \
        "drover.dev/migration" /* on target pods: the migration's name */
#define DROVER_PLACEMENT_ANNOTATION                                                                \
        "drover.dev/placement" /* on handle pods: hash of the placement they were made for */
#define DROVER_FIT_ANNOTATION                                                                      \
        "drover.dev/fit-nodes" /* on a move's pod that waits: who is fit by preflight's rules */
#define DROVER_RUNNING_GATE     "drover.dev/domain-running" /* readiness gate of handle pods */
#define DROVER_FINALIZER        "drover.dev/vm"
#define DROVER_HYPERVISOR_LABEL "drover.dev/hypervisor" /* node label "true", set by the agent */
#define DROVER_CPU_LABEL_PREFIX                                                                    \
        "cpu-model.drover.dev/"                     /* node label MODEL=true, set by the agent */
#define DROVER_POOL_LABEL_PREFIX "pool.drover.dev/" /* node label POOL=true, set by the agent */
#define DROVER_READY_CONDITION   "DroverHypervisorReady" /* Node conditions: those of the host */
#define DROVER_STORAGE_CONDITION "DroverStorageHealthy"
#define DROVER_USABLE_ANNOTATION                                                                   \
        "drover.dev/usable-since" /* on a Node: when it became fit for guests again */
#define DROVER_SCHEDULER_ANNOTATION                                                                \
        "drover.dev/scheduler" /* on a VM: schedulerName of its pods                               \
                                */

struct strs {
        const char **v;
        size_t n;
};

struct kv {
        const char *key, *value;
};
struct kvs {
        struct kv *v;
        size_t n;
};
const char *kvs_get(const struct kvs *m, const char *key); /* NULL when absent */
bool strs_has(const struct strs *s, const char *value);

struct meta {
        const char *name, *ns, *uid, *rv;
        int64_t generation;
        int64_t created_us; /* 0 when unknown */
        bool deleting;      /* metadata.deletionTimestamp is set */
        struct kvs labels, annotations;
        struct strs finalizers;
};

/* Nodes that the scheduler chose and that had no room after all: how often in a row, and when last.
 */
struct refusals {
        int64_t count, last_us;
};

/* metav1.Condition and the like. */
struct condition {
        const char *type, *status, *reason, *message;
        int64_t since_us; /* lastTransitionTime */
};
struct conditions {
        struct condition *v;
        size_t n;
};
const struct condition *condition_get(const struct conditions *c, const char *type);
bool condition_true(const struct conditions *c, const char *type);

#endif
