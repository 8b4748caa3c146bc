/* Migrations of which this node is the target: what its agent answers when it is asked. */
#ifndef DROVER_AGENT_ARRIVALS_H
#define DROVER_AGENT_ARRIVALS_H

#include "agent/agent.h"

must_check int arrivals_start(struct agent *a, struct kube_watch **out, struct err *e);

#endif
