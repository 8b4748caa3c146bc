/* What this node's hypervisor is and can: read from libvirt and the kernel now and then. */
#ifndef DROVER_AGENT_FACTS_H
#define DROVER_AGENT_FACTS_H

#include "agent/config.h"
#include "agent/virt.h"
#include "base/arena.h"
#include "core/host.h"

/*
 * A host of which capacity, cpu_models, bridges, machine_types, the versions, virt_type,
 * cannot_receive and resolve_ms are filled; freed with its arena. May block.
 */
must_check int facts_read(virConnectPtr c, const struct agent_config *cfg, struct host **out,
                          struct err *e);
/* Free huge pages alone, which change with each guest that has some. */
void facts_huge_pages(struct host *h);
static inline void facts_free(struct host *h)
{
        if (h)
                arena_free(h->arena);
}

/* The parts, for tests. */
int facts_cpu_models(const char *domain_capabilities, struct arena *a, struct strs *out);
int facts_machine_types(const char *capabilities, struct arena *a, struct strs *out);
int facts_bridges(struct arena *a, struct strs *out);

#endif
