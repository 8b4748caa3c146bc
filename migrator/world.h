/*
 * The migrator's picture of the cluster: stores fed by watches, and which agents are alive. An
 * event puts the VMs that it concerns, and no others, into the work queue.
 */
#ifndef DROVER_MIGRATOR_WORLD_H
#define DROVER_MIGRATOR_WORLD_H

#include "base/err.h"
#include "core/reconcile.h"
#include "kube/client.h"
#include "kube/queue.h"
#include "kube/store.h"
#include "migrator/claims.h"
#include "migrator/rooms.h"

#include <pthread.h>

struct heartbeats;

/* Moves that wait for any node to suit them are looked at again at most so often. */
#define WORLD_WAKE_MS 10000
/* ... and so long after the change: who is asked then, the extender, is to have heard of it too. */
#define WORLD_HEARD_MS 500
/*
 * Whatever events bring or fail to bring, each VM is looked at once in WORLD_SLICES times
 * WORLD_SLICE_MS, which is ten minutes: the VMs fall into slices, and their turns are that far
 * apart.
 */
#define WORLD_SLICES   60
#define WORLD_SLICE_MS 10000

struct world {
        struct kube_client *client;
        struct kube_queue *queue;
        struct kube_store *vms;
        struct kube_store *pods;       /* by "namespace/VM" */
        struct kube_store *migrations; /* by "namespace/VM" */
        struct kube_store *hosts, *nodes, *images;
        struct kube_store *snapshots; /* by "namespace/VM" */
        struct claims *claims;        /* places for moves that are being written */
        struct rooms *rooms;          /* what is promised of the hosts; also tells a node's VMs */
        struct heartbeats *heartbeats;
        struct kube_watch *watches[8];

        _Atomic bool nodes_changed; /* in what those that wait for one may care about */
        /* world_tick's own */
        struct mono changed;  /* a tick has seen that first; 0: none has */
        struct mono woken;    /* those that wait have last been */
        struct mono resynced; /* the last slice */
        unsigned slice;       /* the next one */
};

/* Makes it, empty, without any watch; world_stop frees it, also after a failure. */
must_check int world_make(struct kube_client *client, struct world *w, struct err *e);
/* Makes it and starts the watches. The client outlives the world. */
must_check int world_start(struct kube_client *client, struct world *w, struct err *e);
void world_stop(struct world *w);
bool world_synced(const struct world *w);

/*
 * After becoming leader: takes in what the last leader has written, which the watches may not have
 * shown yet, so that its promises are known; and puts every VM, image and snapshot into the
 * queue.
 */
must_check int world_take_over(struct world *w, struct err *e);
/*
 * To be called often: puts the VMs of every node whose agent fell silent or came back since the
 * last call into the queue, those that wait for a node, and now and then the others; and looks
 * after the rooms.
 */
void world_tick(struct world *w, struct mono now);

enum liveness {
        LIVE_SILENT,  /* it had its whole time to report, and has not */
        LIVE_UNHEARD, /* nor has it of late, but our watch was stuck or away meanwhile */
        LIVE_FRESH
};
enum liveness world_liveness(struct world *w, const char *node);

/* heartbeats.c: when each node's Lease was last seen to change, by our clock. */
struct heartbeats *heartbeats_new(void);
void heartbeats_free(struct heartbeats *h);
/* All Leases of the namespace: those that are nobody's heartbeat tell that the watch is alive. */
void heartbeats_event(void *heartbeats, enum kube_event type, const struct json *lease);
void heartbeats_take(struct heartbeats *h, enum kube_event type, const struct json *lease,
                     struct mono now);
enum liveness heartbeats_of(struct heartbeats *h, const char *node, struct mono now);
/* Calls changed for each node whose state differs from that of the last call. */
void heartbeats_check(struct heartbeats *h, struct mono now,
                      void (*changed)(void *ctx, const char *node), void *ctx);

#endif
