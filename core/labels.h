/*
 * Labels of a VM on its pods, where other VMs' affinity, and whoever selects by them, looks for
 * them. A pod may have labels of others too, so an annotation says which keys are the VM's; those
 * of Drover's own are nobody's to change.
 */
#ifndef DROVER_CORE_LABELS_H
#define DROVER_CORE_LABELS_H

#include "core/node.h"

#define LABELS_KEYS_MAX 65536 /* bytes of the annotation */

/* A key that a pod has by itself, whatever the VM says. */
bool labels_reserved(const char *key);
/* Does the list of keys, separated by commas, have this one? */
bool labels_listed(const char *list, const char *key);
/* Has the pod other labels of its VM than the VM has now? */
bool labels_stale(const struct vm *vm, const struct pod *pod);

#endif
