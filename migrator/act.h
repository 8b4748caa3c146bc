/* Carries the actions of reconcile() out. */
#ifndef DROVER_MIGRATOR_ACT_H
#define DROVER_MIGRATOR_ACT_H

#include "kube/lease.h"
#include "migrator/gather.h"
#include "migrator/news.h"

#define ACT_LEASE_MS 15000
#define ACT_RENEW_MS 10000
/*
 * A status is sent so long before the Lease may be another's: the next leader, which counts what
 * was promised, finds all of it written, or never.
 */
#define ACT_MARGIN_MS 1000

struct actor {
        struct world *world;
        const char *handle_image;
        const struct kube_election *election; /* NULL: nobody else may act */
        uint64_t term;                        /* in which we took over */
        struct news *news;                    /* NULL: events are only logged */
};

/* Whether we may write now. *until: by then a status is written or not at all; .ns 0: nobody else
 * leads. */
bool actor_leads(const struct actor *a, struct mono *until);

/*
 * In order, up to the first failure. *again says that something was written whose effect
 * reconcile() should see at once. -EAGAIN: what was known is stale, the watch will bring the news.
 */
must_check int act_all(const struct actor *actor, const struct gathered *g,
                       const struct rec_output *out, bool *again, struct err *e);

#endif
