#include "kube/client.h"

#define DROVER "drover.dev/v1alpha1"

const struct kube_resource KUBE_PODS = {"v1", "pods", true, false};
const struct kube_resource KUBE_NODES = {"v1", "nodes", false, false};
const struct kube_resource KUBE_NODES_METADATA = {"v1", "nodes", false, true};
const struct kube_resource KUBE_EVENTS = {"v1", "events", true, false};
const struct kube_resource KUBE_SECRETS = {"v1", "secrets", true, false};
const struct kube_resource KUBE_CLAIMS = {"v1", "persistentvolumeclaims", true, false};
const struct kube_resource KUBE_LEASES = {"coordination.k8s.io/v1", "leases", true, false};
const struct kube_resource KUBE_MUTATING_WEBHOOKS = {"admissionregistration.k8s.io/v1",
                                                     "mutatingwebhookconfigurations", false, false};
const struct kube_resource KUBE_VALIDATING_WEBHOOKS = {
        "admissionregistration.k8s.io/v1", "validatingwebhookconfigurations", false, false};
const struct kube_resource KUBE_VMS = {DROVER, "virtualmachines", true, false};
const struct kube_resource KUBE_MIGRATIONS = {DROVER, "virtualmachinemigrations", true, false};
const struct kube_resource KUBE_HOSTS = {DROVER, "virtualmachinehosts", false, false};
const struct kube_resource KUBE_IMAGES = {DROVER, "virtualmachineimages", true, false};
const struct kube_resource KUBE_SNAPSHOTS = {DROVER, "virtualmachinesnapshots", true, false};
