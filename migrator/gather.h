/* All that reconcile() wants to know of one VM, with references that keep it in memory. */
#ifndef DROVER_MIGRATOR_GATHER_H
#define DROVER_MIGRATOR_GATHER_H

#include "migrator/world.h"

struct gathered {
        struct rec_input in;
        struct arena *arena;
        const char *key; /* the caller's */
        struct kube_ref *vm;
        struct kube_refs pods, migrations, hosts;
        struct kube_ref **candidate_nodes; /* one for each of hosts, NULL where there is no Node */
        struct kube_ref **held;            /* of nodes and hosts */
        size_t nheld;
};

/* 0, -ENOENT when there is no such VM (any more), -ENOMEM. key must outlive it. */
must_check int gather(struct world *w, const struct permit_limits *limits, const char *key,
                      struct gathered *out, struct err *e);
void gathered_free(struct gathered *g);

#endif
