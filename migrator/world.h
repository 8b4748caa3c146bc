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

#include <pthread.h>

#define SILENT_MS 15000 /* a heartbeat that has not changed for so long counts for nothing */

struct heartbeats;

struct world {
        struct kube_client *client;
        struct kube_queue *queue;
        struct kube_store *vms;        /* by owner node */
        struct kube_store *pods;       /* by "namespace/VM" */
        struct kube_store *migrations; /* by "namespace/VM" */
        struct kube_store *hosts, *nodes;
        struct heartbeats *heartbeats;
        struct kube_watch *watches[6];
};

/* Starts the watches. The client outlives the world. */
must_check int world_start(struct kube_client *client, struct world *w, struct err *e);
void world_stop(struct world *w);
bool world_synced(const struct world *w);

/* Puts every VM into the queue: after becoming leader. */
void world_queue_all(struct world *w);
/* Puts the VMs of every node whose agent fell silent or came back since the last call into it. */
void world_check_heartbeats(struct world *w);
bool world_alive(struct world *w, const char *node);

/* heartbeats.c: when each node's Lease was last seen to change, by our clock. */
struct heartbeats *heartbeats_new(void);
void heartbeats_free(struct heartbeats *h);
void heartbeats_event(void *heartbeats, enum kube_event type, const struct json *lease);
bool heartbeats_alive(struct heartbeats *h, const char *node);
/* Calls changed for each node whose state differs from that of the last call. */
void heartbeats_check(struct heartbeats *h, void (*changed)(void *ctx, const char *node),
                      void *ctx);

#endif
