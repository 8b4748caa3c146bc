/* What the webhook does to and asks of a handle pod. */
#ifndef DROVER_WEBHOOK_POD_H
#define DROVER_WEBHOOK_POD_H

#include "base/err.h"
#include "base/json.h"
#include "core/vm.h"

/*
 * The JSON Patch (RFC 6902) that makes the pod ask for what the VM wants: the conjunction of its
 * required node affinity and the VM's, the managed resource, the VM's tolerations, a scheduler ("":
 * leave it). An empty array when the pod asks for it already.
 */
must_check int pod_patch(const struct json *pod, const struct vm *vm, const char *scheduler,
                         struct json **out, struct err *e);

/* 0 when the pod, as it is, asks for all of it; -EINVAL with what is missing. */
must_check int pod_check(const struct json *pod, const struct vm *vm, struct err *e);

#endif
