/* Puts a VirtualMachineHost's status together from what the agent knows. No I/O. */
#ifndef DROVER_AGENT_HOSTSTATUS_H
#define DROVER_AGENT_HOSTSTATUS_H

#include "agent/mounts.h"
#include "agent/proofs.h"
#include "agent/starts.h"
#include "agent/table.h"
#include "core/host.h"

struct host_sources {
        const struct agent_config *config;
        const struct host *facts; /* NULL: never read; then kept stands in */
        const struct host *kept;  /* as published before this agent started, NULL: nothing */
        struct starts *starts;    /* NULL: nothing is known of retries */
        int64_t mono_ms;          /* of its clock */
        const struct table_entry *entries;
        size_t nentries;
        bool synced; /* entries are all there is; if not, kept's domains are told on */
        const struct mount_view *mounts; /* config->npools */
        const struct proof_view *proofs; /* likewise */
        const char *libvirt_why;         /* "" when libvirtd answers */
        const char *address;
        struct host_prepared *prepared;
        size_t nprepared;
        int64_t outbound;
        int64_t now_us;
        const struct conditions *before; /* to keep the time of a condition that has not changed */
};

/* All in the arena, or borrowed from the sources. -ENOMEM. */
must_check int host_status_build(const struct host_sources *s, struct arena *a, struct host *out);

#endif
