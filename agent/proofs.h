/*
 * Keeps the proof fresh that this node sees the same directory behind each pool as other nodes do
 * (core/sharing.h). One thread for all pools; at most one child a pool leaves this node's word,
 * reads the others' and asks for their locks (agent/words.h), with a deadline. One that cannot even
 * be killed is waited for, and no other is started before it is gone.
 */
#ifndef DROVER_AGENT_PROOFS_H
#define DROVER_AGENT_PROOFS_H

#include "agent/mounts.h"
#include "base/arena.h"
#include "core/host.h"

struct proofs;
/* m outlives it. changed is called on its thread whenever there is something new to publish. */
must_check int proofs_start(const struct agent_config *c, struct mounts *m,
                            void (*changed)(void *ctx), void *ctx, struct proofs **out,
                            struct err *e);
/*
 * Ends the thread, and the looks with it; a stuck child is left behind. What is known can still be
 * asked for until it is freed. NULL is fine.
 */
void proofs_stop(struct proofs *p);
void proofs_free(struct proofs *p);
/* The health of a pool has changed: looks at once. From any thread; NULL is fine. */
void proofs_nudge(struct proofs *p);

/* What is known of a pool now. */
struct proof_view {
        struct host_peer *peers; /* by node; none when no look has succeeded lately */
        size_t n;
        bool local_locks; /* the mount's options keep locks on this node */
};
/* A view for each pool of the configuration, in its order; copies in the arena. -ENOMEM. */
must_check int proofs_view(struct proofs *p, struct arena *a, struct proof_view *out);

/*
 * Whether the pool is Shared with that node, as this node sees it; if not, why is a sentence.
 * *locks: also by locks that may be relied on.
 */
bool proofs_shared(struct proofs *p, const char *pool, const char *node, bool *locks,
                   char why[320]);

#endif
