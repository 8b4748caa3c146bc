/*
 * Probes of the pools' mounts. A thread a pool, which itself never touches the mount: what is
 * mounted is read from mountinfo, as libvirtd sees it (the guests' disks are opened in its mount
 * namespace), and what answers is found out by a child with a deadline, at most one at a time. A
 * child that does not even die is the verdict.
 */
#ifndef DROVER_AGENT_MOUNTS_H
#define DROVER_AGENT_MOUNTS_H

#include "agent/config.h"
#include "core/health.h"

struct mount_view {
        const char *pool, *path; /* of the configuration */
        char fstype[64], source[256];
        enum mount_health health;
        char reason[256]; /* a sentence when not healthy */
        char identity[40];
        int64_t latency_us, free_bytes, free_inodes;
        bool locked; /* this node holds its lock here: see locks.h */
};

struct mounts;
/* changed is called on a probing thread after each change of health or of what is mounted. */
must_check int mounts_start(const struct agent_config *c, void (*changed)(void *ctx), void *ctx,
                            struct mounts **out, struct err *e);
/* Takes at most a probe's deadline; a stuck child is left behind. */
void mounts_stop(struct mounts *m);

/* Copies of all, in the configuration's order; out holds c->npools. */
void mounts_view(struct mounts *m, struct mount_view *out);
/* False with a sentence in why when the pool is unknown or not healthy. */
bool mounts_usable(struct mounts *m, const char *pool, char why[320]);
/* The connection to libvirtd is new: find out again in whose mount namespace it lives. */
void mounts_new_libvirtd(struct mounts *m);

#endif
