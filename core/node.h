/* The parts of Node and Pod that placement looks at. */
#ifndef DROVER_CORE_NODE_H
#define DROVER_CORE_NODE_H

#include "core/vm.h"

struct taint {
        const char *key, *value, *effect;
};
struct node {
        struct arena *arena;
        struct meta meta;
        bool unschedulable;
        struct taint *taints;
        size_t ntaints;
        struct conditions conditions;
        struct strs addresses; /* InternalIP first */
};

enum pod_phase { POD_PENDING, POD_RUNNING, POD_SUCCEEDED, POD_FAILED, POD_UNKNOWN };
enum pod_phase pod_phase_parse(const char *s); /* POD_PENDING for "", POD_UNKNOWN for other words */
const char *pod_phase_name(enum pod_phase p);
struct pod {
        struct arena *arena;
        struct meta meta;
        const char *node; /* "" until bound */
        enum pod_phase phase;
        const char *service_account;
        struct conditions conditions;
        /* the handle's VM from label and annotations; "" and 0 for other pods */
        const char *vm, *vm_uid, *migration, *placement, *fit;
        int64_t epoch;
};
/* Failed, Succeeded and deleted pods are not alive (ANCHORS 8). */
static inline bool pod_alive(const struct pod *p)
{
        return !p->meta.deleting && p->phase != POD_FAILED && p->phase != POD_SUCCEEDED;
}

#endif
