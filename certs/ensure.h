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
        int64_t now_s;
};
/* One line for each object that was written or could not be: what and why. */
typedef void ensure_report(void *ctx, const char *object, const char *why,
                           const struct err *failure);

/*
 * CA, bundle, leaves, webhook configurations, in this order. What fails without harm to the rest (a
 * webhook configuration that is not there yet) does not stop it; the first failure is returned.
 */
must_check int ensure_all(struct kube_client *c, const struct ensure_config *cfg,
                          ensure_report *report, void *ctx, struct err *e);

#endif
