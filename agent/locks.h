/*
 * Whether storage locks keep nodes apart on a mount, by trial: the agent of every node holds a lock
 * on a file of its own in each pool, and another node that asks for the same lock must be refused.
 * libvirt's own handover (migration.handover: Fast) relies on such locks.
 */
#ifndef DROVER_AGENT_LOCKS_H
#define DROVER_AGENT_LOCKS_H

#include "agent/child.h"

struct lock_holder {
        struct child child; /* a process of its own: a hung mount may hold it for ever */
        bool started;
};

/* Starts the holder when it does not run; true when it has its lock. For one thread. */
bool lock_hold(struct lock_holder *h, const char *pool, const char *node);
/* It has its lock, as far as it has said. */
bool lock_held(struct lock_holder *h);
/* What to wait for until it has said so, into out; their number. */
#define LOCK_FDS CHILD_FDS
size_t lock_fds(const struct lock_holder *h, struct pollfd out[LOCK_FDS]);
void lock_release(struct lock_holder *h);
/* For many: first kill all of them, then free each by the same time. */
void lock_kill(struct lock_holder *h);
void lock_free(struct lock_holder *h, struct mono end);

/* 0 when the lock that the node holds in the pool is refused to us; else why that is no proof. */
must_check int lock_refused(const char *pool, const char *node, int64_t deadline_ms, struct err *e);

/* In a tool, in its pool: asks for the lock that the node holds there, and lets go of it at once.
 */
enum lock_answer {
        LOCK_REFUSED,
        LOCK_GRANTED,
        LOCK_FAILED /* there is none, or locks do not work; errno says */
};
enum lock_answer lock_ask(const char *node);

/* The verbs of `drover-agent tool`: hold POOL NODE, refused POOL NODE. */
int lock_tool_hold(char **argv);
int lock_tool_refused(char **argv);

#endif
