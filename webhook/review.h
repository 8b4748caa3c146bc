/* The answers to admission reviews. */
#ifndef DROVER_WEBHOOK_REVIEW_H
#define DROVER_WEBHOOK_REVIEW_H

#include "http/server.h"
#include "webhook/cache.h"
#include "webhook/hosts.h"

struct webhook {
        struct cache *cache;
        struct kube_client *client;
        struct hosts *hosts;   /* NULL: of what does not fit them nobody is warned */
        const char *scheduler; /* name for VM pods, "" leaves what they have */
};

/* kube-apiserver sends objects of 3 MiB at most, two of them. */
#define REVIEW_BODY_MAX   ((size_t)7 << 20)
#define REVIEW_VALUES_MAX 400000

extern const struct http_route
        REVIEW_ROUTES[2]; /* /mutate and /validate; their ctx is a struct webhook */
void review_register_metrics(void);

#endif
