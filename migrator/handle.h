/* The handle pod of a VM, as JSON. */
#ifndef DROVER_MIGRATOR_HANDLE_H
#define DROVER_MIGRATOR_HANDLE_H

#include "base/json.h"
#include "core/reconcile.h"

/*
 * What the migrator gives to the API server for a REC_CREATE_POD action; the webhook adds the
 * required affinity, the tolerations and the managed resource. block: of each disk that is a claim,
 * whether that is a block device. NULL when out of memory.
 */
struct json *handle_pod(const struct vm *vm, const struct rec_action *act, const char *image,
                        const bool block[]);

/* The merge patch that gives the pod the VM's labels of now. NULL when out of memory. */
struct json *handle_labels(const struct vm *vm, const struct pod *pod);
/* The merge patch that notes the fit nodes of a REC_RETRY_POD action. NULL when out of memory. */
struct json *handle_fit(const char *fit);

#endif
