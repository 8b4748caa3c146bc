/*
 * requiredDuringScheduling and RequiredDuringExecution: which nodes a VM may be on. The same rules
 * make the affinity that the webhook gives to a handle pod and the judgement of the node a VM runs
 * on, so that the two cannot disagree.
 */
#ifndef DROVER_CORE_PLACEMENT_H
#define DROVER_CORE_PLACEMENT_H

#include "core/node.h"

enum placement_rule {
        PLACE_OK,
        PLACE_NODE_NAME,
        PLACE_NODE_SELECTOR,
        PLACE_NODE_AFFINITY,
        PLACE_HYPERVISOR,   /* node lacks drover.dev/hypervisor=true */
        PLACE_CPU_MODEL,    /* node lacks cpu-model.drover.dev/MODEL=true */
        PLACE_POOL,         /* node lacks pool.drover.dev/POOL=true */
        PLACE_NO_EXECUTE,   /* a NoExecute taint is not tolerated */
        PLACE_POD_AFFINITY, /* these two need all pods: not judged by placement_check */
        PLACE_POD_ANTI_AFFINITY,
        /* the following bind new placements only, never a running VM */
        PLACE_CORDONED,
        PLACE_NO_SCHEDULE
};
#define PLACEMENT_MESSAGE_MAX 256

/*
 * The required node selector of the VM's pods: nodeName (as a matchFields term on metadata.name),
 * nodeSelector, affinity.nodeAffinity, the hypervisor label, the CPU model's and the pools' labels.
 * For a running VM the CPU model is that of status.running. 0, -ENOMEM or -E2BIG.
 */
int placement_selector(struct arena *a, const struct vm *vm, struct node_selector **out);

/*
 * The first rule by which the node does not suit the VM (PLACE_OK: it suits), with a sentence that
 * names the node and the rule in message (PLACEMENT_MESSAGE_MAX bytes, "" when it suits; NULL: none
 * is wanted). running: judge a VM that already runs there; else also the last two rules.
 */
enum placement_rule placement_check(const struct vm *vm, const struct node *node, bool running,
                                    char *message);

bool toleration_tolerates(const struct toleration *t, const struct taint *taint);

/*
 * A hash of all placement fields of the spec (16 hex digits), the same for equal placements
 * whatever else changed: what "the placement changed" means.
 */
void placement_hash(const struct vm *vm, char out[17]);

#endif
