/*
 * Migrations of which this node is the source. Each has threads of its own (agent/move.h) from the
 * moment that the migrator says Copying until its outcome is written.
 */
#ifndef DROVER_AGENT_MOVES_H
#define DROVER_AGENT_MOVES_H

#include "agent/agent.h"

/* Makes a->moves and a->moving. */
must_check int moves_start(struct agent *a, struct kube_watch **out, struct err *e);
/* Moves that run are left to libvirt; the next agent joins them again. */
void moves_stop(struct moves *m);
size_t moves_count(struct moves *m); /* m may be NULL */
/* A move of that guest is under way in this process. */
bool moves_has(struct moves *m, const char *uuid);

/* Passed on from libvirt's events; quick. True for the beginning of a move's pause: no time to
 * look. */
bool moves_domain_event(struct moves *m, const char *uuid, int event, int detail);
void moves_iteration(struct moves *m, const char *uuid, int iteration);

#endif
