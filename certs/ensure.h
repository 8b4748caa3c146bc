/* Brings the cluster's certificates to what they should be; safe under two at once. */
#ifndef DROVER_CERTS_ENSURE_H
#define DROVER_CERTS_ENSURE_H

#include "certs/plan.h"
#include "kube/client.h"

struct ensure_config {
        const char *ns;
        const char *webhook_service, *extender_service;
        const char *webhook_config; /* name of both webhook configurations */
        int64_t ca_days, serving_days, client_days;
        int64_t settle_s; /* how long those who read a CA bundle may take to see its change */
        int64_t now_s;
};
struct ensure_hooks {
        /* Each object that was written or could not be: what and why. */
        void (*report)(void *ctx, const char *object, const char *why, const struct err *failure);
        /* Each certificate that was looked at: the name of its Secret; seconds since 1970. */
        void (*expires)(void *ctx, const char *secret, int64_t at_s);
        void *ctx;
};

/*
 * CA, bundle, leaves, webhook configurations, in this order; when all of them are as they should
 * be, the next turn of a rotation (certs/turn.h), and all of it again. What fails without harm to
 * the rest (a webhook configuration that is not there yet) does not stop it; the first failure is
 * returned, and nothing is turned. 1 when a turn is only waiting for its time.
 */
must_check int ensure_all(struct kube_client *c, const struct ensure_config *cfg,
                          const struct ensure_hooks *hooks, struct err *e);

#endif
