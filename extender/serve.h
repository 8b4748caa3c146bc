/* The extender's three verbs over HTTP (k8s.io/kube-scheduler/extender/v1), and its metrics. */
#ifndef DROVER_EXTENDER_SERVE_H
#define DROVER_EXTENDER_SERVE_H

#include "base/metrics.h"
#include "extender/fleet.h"
#include "http/server.h"

struct service {
        struct fleet *fleet;
        struct mono (*clock)(void); /* mono_now, but for tests */
        size_t max_body;            /* bytes of a call */
        const char *client; /* whose certificate may ask; NULL (preset): any that gets through */
        struct metric *filter_seconds, *filter_total, *refusals_total, *prioritize_seconds;
        struct metric *preempt_total;
        struct metric *known; /* gauge: objects in the picture, by kind */
};
/* Registers the metrics; once a process. */
void service_init(struct service *s, struct fleet *fleet, size_t max_body);
/* Brings the gauges up to date. */
void service_count(struct service *s);

/*
 * ctx is the service. What the scheduler should know comes as 200 with "Error", because it throws
 * the body of any other status away; a body that is no ExtenderArgs at all is answered 400, and who
 * is not the client 403.
 */
void serve_filter(void *ctx, const struct http_request *req, struct http_reply *rep);
void serve_prioritize(void *ctx, const struct http_request *req, struct http_reply *rep);
/* Has no room for an error in its answer: what cannot be judged is no node to preempt on. */
void serve_preempt(void *ctx, const struct http_request *req, struct http_reply *rep);

extern const struct http_route SERVE_ROUTES[3];

#endif
