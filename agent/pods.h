/* Handle pods on this node: their readiness gate says whether their guest runs here. */
#ifndef DROVER_AGENT_PODS_H
#define DROVER_AGENT_PODS_H

#include "agent/agent.h"
#include "core/node.h"

/* Makes a->pods. */
must_check int pods_start(struct agent *a, struct kube_watch **out, struct err *e);
/* Looks again at the handles of that VM, or of all when vm is NULL. */
void pods_poke(struct agent *a, const char *ns, const char *vm);

#endif
