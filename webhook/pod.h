/* What the webhook does to and asks of a handle pod. */
#ifndef DROVER_WEBHOOK_POD_H
#define DROVER_WEBHOOK_POD_H

#include "base/err.h"
#include "base/json.h"
#include "core/vm.h"

/*
 * The JSON Patch (RFC 6902) that makes the pod ask for what the VM wants: the conjunction of its
 * required node affinity and the VM's, the managed resource, the VM's tolerations, a scheduler ("":
 * leave it). An empty array when the pod asks for it already, so that a reinvocation, or a pod that
 * others have added to since, is patched only where it must be. -EINVAL when there can be no such
 * patch.
 */
must_check int pod_patch(const struct json *pod, const struct vm *vm, const char *scheduler,
                         struct json **out, struct err *e);

/* 0 when the patch would be empty; -EINVAL with the field that does not ask for what the VM wants.
 */
must_check int pod_check(const struct json *pod, const struct vm *vm, const char *scheduler,
                         struct err *e);

#endif
