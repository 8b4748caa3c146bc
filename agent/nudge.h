/*
 * The ARP table knows a guest only after it has talked with this node. A guest without an agent in
 * it that has just arrived is made to talk: the addresses it had before are sent an empty datagram.
 */
#ifndef DROVER_AGENT_NUDGE_H
#define DROVER_AGENT_NUDGE_H

#include "agent/agent.h"

void nudge_known_addresses(struct agent *a, const char *ns, const char *name);

#endif
