/* Watches of VirtualMachineMigrations, the journals of moves. */
#ifndef DROVER_AGENT_JOURNALS_H
#define DROVER_AGENT_JOURNALS_H

#include "agent/agent.h"

/*
 * Fills *store, which the caller frees, with the migrations whose field (status.source or
 * status.target) is this node, and keeps it so; changed gets the agent as its ctx.
 */
must_check int journals_watch(struct agent *a, const char *field,
                              void (*changed)(void *ctx, const void *before, const void *after),
                              struct kube_store **store, struct kube_watch **out, struct err *e);

#endif
