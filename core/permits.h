/*
 * Places for moves: so many in the cluster, so many out of a node and into it. Who waits is served
 * by class (storage, drain, user, placement), then by age, also into a node; one that waits for its
 * own node's places does not stand in the way of those of other nodes.
 *
 * A move takes its place in the cluster and out of its source when it asks for a target, and gives
 * it up again when it cannot go on: while no node can take the guest, or one of the two hosts is
 * not fit. It neither holds nor waits then, and takes a place anew when it can make use of it; no
 * copy begins without. All of it is in the journal: status.permit and status.queuePosition.
 */
#ifndef DROVER_CORE_PERMITS_H
#define DROVER_CORE_PERMITS_H

#include "base/arena.h"
#include "core/migration.h"

struct permit_limits {
        int64_t total;    /* moves at a time in the cluster */
        int64_t per_node; /* outbound, and inbound, at a time */
};

struct permits {
        bool granted;     /* a place in the cluster and one out of the source is free for it */
        bool target_free; /* and one into the target, once that is known */
        int64_t ahead;    /* moves that wait and are served first */
        int64_t ahead_in; /* of those that wait for a place into the target */
};

/* True when x is served before y. */
bool permits_before(const struct migration *x, const struct migration *y);

/* A place in the cluster, and one out of its source, is its own. */
bool permits_held(const struct migration *m);

struct permits_count;
/* Counts for the move m out of source, into target ("" unless known). NULL: out of memory. */
struct permits_count *permits_begin(struct arena *a, const struct migration *m, const char *source,
                                    const char *target);
/*
 * One of the others, in any order; finished ones and m itself do not count. Nothing of it is kept.
 * Out of memory, nothing is granted.
 */
void permits_add(struct permits_count *c, const struct migration *other);
struct permits permits_judge(const struct permits_count *c, const struct permit_limits *limits);

#endif
