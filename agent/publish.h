/*
 * The node's VirtualMachineHost: written when something worth telling has changed, several changes
 * in one write; and its heartbeat, a Lease renewed every few seconds whether or not anything
 * changes.
 */
#ifndef DROVER_AGENT_PUBLISH_H
#define DROVER_AGENT_PUBLISH_H

#include "agent/agent.h"
#include "core/host.h"

#define HEARTBEAT_MS 5000
#define HEARTBEAT_S  15 /* the Lease's duration */

must_check int publish_start(struct agent *a, struct publisher **out, struct err *e);
void publish_stop(struct publisher *p);
/* Something may have changed. Quick, from any thread; p may be NULL. */
void publish_soon(struct publisher *p);
/* Looks at what is stored, and writes what somebody else has made of it anew. */
void publish_look(struct publisher *p);
/* Takes over facts read anew. */
void publish_facts(struct publisher *p, struct host *facts);
/* Copies the CPU models of the facts. -ENOMEM. */
must_check int publish_cpu_models(struct publisher *p, struct arena *a, struct strs *out);
/* Copies the conditions that were published last, none before the first time. -ENOMEM. */
must_check int publish_conditions(struct publisher *p, struct arena *a, struct conditions *out);
/* When something that kept new guests away from this node ended last; 0: nothing has yet. */
int64_t publish_usable_us(struct publisher *p);
/* Where this node receives guests, unless the configuration says. */
void publish_address(struct publisher *p, const char *address);
/* Why libvirtd cannot be reached, "" when it can. */
void publish_libvirt(struct publisher *p, const char *why);

/* What is published of a mount, rounded so that a busy file system is no news; for tests. */
int64_t publish_round_latency(int64_t us);
int64_t publish_round_bytes(int64_t bytes);
int64_t publish_round_count(int64_t n);

#endif
