/* Kubernetes Events about an object, aggregated (count) when the same is said again. */
#ifndef DROVER_KUBE_EVENT_H
#define DROVER_KUBE_EVENT_H

#include "kube/client.h"

struct kube_event_about {
        const char *api_version, *kind, *ns, *name, *uid;
};
/*
 * Records an Event of core/v1; type "Normal" or "Warning". The name is derived from the object's
 * uid, the reason and the message, so that repeating one bumps its count instead of adding another.
 * Cluster-scoped objects record into "default".
 */
must_check int kube_event_record(struct kube_client *c, const struct kube_event_about *about,
                                 const char *component, const char *type, const char *reason,
                                 const char *message, struct err *e);

#endif
