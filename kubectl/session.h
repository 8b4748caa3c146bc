/*
 * A conversation with the agents of several nodes at a time (agent/doctor.h says how it goes): each
 * examines its node, and then finds out what the others have left in the pools.
 */
#ifndef DROVER_KUBECTL_SESSION_H
#define DROVER_KUBECTL_SESSION_H

#include "base/arena.h"
#include "core/doctor.h"
#include "kubectl/cluster.h"
#include "kubectl/jobs.h"

#define SESSIONS_MAX 32 /* at a time */

struct session_plan {
        const char *const *kubectl; /* the words of every call, NULL at the end */
        const char *bridges;        /* that VMs ask for: "br0,br1", "-" for none */
        const char *run;            /* fresh hexadecimal */
        int64_t deadline_ms;        /* for each of the two parts */
        bool again;                 /* v[0] was in an earlier group: its node has been examined */
};

/*
 * The findings of n (at most SESSIONS_MAX) nodes, the differences of their clocks to ours in clocks
 * (*nclocks is added to). Returns when all have tidied up, or cannot any more. False when
 * interrupted.
 */
bool sessions_run(const struct session_plan *p, const struct agent_pod *v, size_t n,
                  struct findings *f, struct clock_range *clocks, size_t *nclocks);

#endif
