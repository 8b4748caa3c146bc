/*
 * The probes of one mount, one after the other, for a thread that has many mounts to look after:
 * nothing here waits or touches the mount. A probe is a child that does (agent/probe.h) and, of
 * NFS, a ping of the server beside it (agent/nfsping.h), by which one knows a mount that hangs
 * from a server that is gone.
 *
 * At most one child is outstanding. One that does not vanish within CHILD_KILL_MS after SIGKILL is
 * the verdict, PROBE_STUCK, and remains it: no other is started until the kernel lets go of it.
 */
#ifndef DROVER_AGENT_PROBER_H
#define DROVER_AGENT_PROBER_H

#include "agent/child.h"
#include "agent/nfsping.h"
#include "agent/probe.h"
#include "base/mono.h"

enum prober_stage {
        PROBER_IDLE,
        PROBER_ASKING,  /* the child is at it */
        PROBER_KILLING, /* it took too long */
        PROBER_PINGING  /* the child is done, or stuck; whether the server answers is to be known */
};

struct prober {
        const char *path, *node; /* of the pool; lent */
        int64_t deadline_ms;
        enum prober_stage stage;
        struct mono until; /* of the stage */
        struct child child;
        bool running, stuck; /* there is a child; it was killed in vain */
        struct nfs_ping *ping;
        char server[NFSPING_WHY_MAX]; /* "ADDRESS port PORT", "" when none is asked */
        struct probe_report report;
};

/* Begins a probe of what is mounted there. */
void prober_begin(struct prober *p, const struct mount_entry *m, struct mono now);
/* Goes on as far as possible; true when the probe has come to its end: p->report. */
bool prober_step(struct prober *p, struct mono now);
/* A stuck child has gone: the next probe will tell something new. */
bool prober_released(struct prober *p);

/* What may happen, into out; their number. */
#define PROBER_FDS (CHILD_FDS + 1)
size_t prober_fds(const struct prober *p, struct pollfd out[PROBER_FDS]);
/* By when it wants to be stepped in any case; -1: not at all. In milliseconds from now. */
int64_t prober_wait_ms(const struct prober *p, struct mono now);

/* Kills the child, for prober_free to find it gone. */
void prober_kill(struct prober *p);
/* A child that is not gone by then is left behind. */
void prober_free(struct prober *p, struct mono end);

#endif
