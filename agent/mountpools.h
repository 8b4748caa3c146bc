/*
 * `drover-agent mount-pools`: mounts the pools of a configuration (core/mountplan.h) on its node,
 * in the mount namespace of the host's first process, with the host's own mount(8). A program of
 * its own beside the agent, which has no right to mount anything. Runs for ever: what is not
 * mounted is mounted, what is stays, and something else in its place is told and left alone.
 *
 *   mount-pools [--file FILE] [--host /proc/PID] [--type FSTYPE]
 *   mount-pools one HOST FSTYPE SOURCE PATH OPTIONS     the child that does it
 */
#ifndef DROVER_AGENT_MOUNTPOOLS_H
#define DROVER_AGENT_MOUNTPOOLS_H

#include "agent/child.h"
#include "core/mountplan.h"

#define MOUNT_POOLS_FILE "/etc/drover/pools/pools"
#define MOUNT_POOLS_MAX  16

struct mount_pools {
        const char *file, *host, *type; /* of the file system: "nfs" */
        struct buf text;                /* the configuration that is carried out */
        bool told;                      /* that the file is bad */
        size_t n;
        struct mount_pool {
                struct mountplan_entry want;
                struct child child; /* that mounts it */
                bool mounting;
                unsigned failures;
                int64_t next_ms, deadline_ms; /* of the monotonic clock */
                char said[ERR_MSG_MAX];       /* last, so that it is said once */
        } v[MOUNT_POOLS_MAX];
};

/* One look at everything; never waits for a mount. */
void mount_pools_step(struct mount_pools *m, int64_t now_ms);
void mount_pools_free(struct mount_pools *m);

/* What such a configuration, in file, wants mounted at the path; false when it says nothing. */
#define MOUNT_SOURCE_MAX 300
bool mount_pools_source(const char *file, const char *path, char out[MOUNT_SOURCE_MAX]);

/* argv[0] is the first word past "mount-pools". */
int mount_pools_main(int argc, char **argv);

#endif
