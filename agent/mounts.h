/*
 * The health of the pools' mounts. One thread looks after all of them, and itself never touches
 * one: what is mounted is read from mountinfo, as libvirtd sees it (the guests' disks are opened in
 * its mount namespace), and what answers is found out by children with a deadline (agent/prober.h).
 * However many mounts hang, each costs a child at most.
 */
#ifndef DROVER_AGENT_MOUNTS_H
#define DROVER_AGENT_MOUNTS_H

#include "agent/config.h"
#include "core/health.h"

#define MOUNT_REASON_MAX   320
#define MOUNT_IDENTITY_MAX 40

struct mount_view {
        const char *pool, *path; /* of the configuration */
        bool local;
        char fstype[64], source[256];
        enum mount_health health;
        const char *verdict;           /* a stable word, see health_verdict */
        char reason[MOUNT_REASON_MAX]; /* "VERDICT: a sentence" when not healthy */
        const char *mend;              /* a sentence, "" when there is nothing to mend */
        char identity[MOUNT_IDENTITY_MAX];
        int64_t latency_us, free_bytes, free_inodes; /* by the last probe that went well */
        bool locked; /* this node holds its lock here: see locks.h */
        bool stuck;  /* a killed probe of it does not end */
        bool reads;  /* healthy, or what ails it is no reason against reading */
};

struct mounts;
/* changed is called on the thread after each change of health or of what is mounted. */
must_check int mounts_start(const struct agent_config *c, void (*changed)(void *ctx), void *ctx,
                            struct mounts **out, struct err *e);
/*
 * Ends the thread, within CHILD_KILL_MS; a stuck child is left behind. What is known can still be
 * asked for until it is freed. NULL is fine.
 */
void mounts_stop(struct mounts *m);
void mounts_free(struct mounts *m);

/* Copies of all, in the configuration's order; out holds c->npools. */
void mounts_view(struct mounts *m, struct mount_view *out);
/* False with a sentence in why when the pool is unknown or not healthy. */
bool mounts_usable(struct mounts *m, const char *pool, char why[320]);
/* The identity of the directory behind a healthy pool; "" when there is none to rely on. */
void mounts_identity(struct mounts *m, const char *pool, char out[MOUNT_IDENTITY_MAX]);
/* The connection to libvirtd is new: find out again in whose mount namespace it lives. */
void mounts_new_libvirtd(struct mounts *m);

#endif
