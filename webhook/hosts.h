/*
 * What hypervisors there are, for the warnings of admission. It is asked for when a VM needs it:
 * VMs are made now and then, and to keep what 5,000 nodes say of themselves would cost more than
 * all the rest. One question at a time; who comes meanwhile, or soon after one that had no answer,
 * does without.
 */
#ifndef DROVER_WEBHOOK_HOSTS_H
#define DROVER_WEBHOOK_HOSTS_H

#include "base/mono.h"
#include "core/admission.h"
#include "kube/client.h"

#include <pthread.h>

struct hosts {
        struct kube_client *client;
        pthread_mutex_t lock; /* of the following, held while it is asked */
        struct mono failed;   /* .ns 0: not lately */
        struct admission_room largest;
        struct mono counted; /* the largest; .ns 0: never */
};

void hosts_init(struct hosts *h, struct kube_client *client);
void hosts_free(struct hosts *h);

/* Both are false when it cannot be told by then, about; see struct admission_facts. */

/* As it was at most a minute ago. */
bool hosts_largest(struct hosts *h, struct mono until, struct admission_room *out);
/* visit is called on the client's I/O thread, for nodes without taints and conditions. */
bool hosts_nodes(struct hosts *h, struct mono until,
                 bool (*visit)(void *arg, const struct node *node), void *arg);

#endif
