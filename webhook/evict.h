/* Evictions of VM pods: the facts from the API server, the decision from core/eviction.h. */
#ifndef DROVER_WEBHOOK_EVICT_H
#define DROVER_WEBHOOK_EVICT_H

#include "api/admission.h"
#include "core/eviction.h"
#include "kube/client.h"

/* Of the request, or of the eviction in it, which is where kubectl drain puts it. */
bool evict_is_dry_run(const struct admission_request *req);

/*
 * Judges the eviction that the request asks for and makes the migration that it calls for, unless
 * it is a dry run. Evictions are rare and must see the latest, so the API server is asked, not a
 * cache: this waits for several answers, of which the last is begun within four seconds. The
 * answer's message lives in a. 0, or why it cannot be told now, which names the VM.
 */
must_check int evict(struct kube_client *client, const struct admission_request *req,
                     struct arena *a, struct evict_answer *out, struct err *e);

#endif
