#include "migrator/handle.h"

#include "core/labels.h"
#include "core/placement.h"

#include <stdio.h>
#include <string.h>

#define GUEST_MAX 64
#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"

/* The guest of the VM at that epoch, as a label's value. */
static void guest(const struct vm *vm, int64_t epoch, char out[GUEST_MAX])
{
        snprintf(out, GUEST_MAX, "%s.%lld", vm->meta.uid, (long long)epoch);
}

/*
 * The VM's labels, so that pod (anti-)affinity between VMs works as between pods; and their keys,
 * by which they are known when the VM has them no longer.
 */
static int copy_labels(struct json *meta, const struct vm *vm)
{
        autobuf struct buf keys = buf_new(LABELS_KEYS_MAX);
        struct json *labels = json_object_at(meta, "labels");

        for (size_t i = 0; i < vm->meta.labels.n; i++) {
                const struct kv *l = &vm->meta.labels.v[i];

                if (labels_reserved(l->key))
                        continue;
                json_set_str(labels, l->key, l->value);
                buf_addf(&keys, "%s%s", keys.len ? "," : "", l->key);
        }
        if (keys.failed || !json_set_str(json_object_at(meta, "annotations"),
                                         DROVER_LABELS_ANNOTATION, buf_str(&keys)))
                return -1;
        return labels ? 0 : -1;
}

struct json *handle_labels(const struct vm *vm, const struct pod *pod)
{
        const char *had = kvs_get(&pod->meta.annotations, DROVER_LABELS_ANNOTATION);
        struct json *patch = json_new_object();
        struct json *meta = json_object_at(patch, "metadata");
        struct json *labels = json_object_at(meta, "labels");
        int rc = 0;

        for (size_t i = 0; had && i < pod->meta.labels.n; i++) {
                const char *key = pod->meta.labels.v[i].key;

                if (labels_listed(had, key) && !labels_reserved(key) &&
                    !json_set(labels, key, json_new_null()))
                        rc = -1;
        }
        if (rc == 0 && copy_labels(meta, vm) == 0)
                return patch;
        json_free(patch);
        return NULL;
}

struct json *handle_fit(const char *fit)
{
        struct json *patch = json_new_object();
        struct json *notes = json_object_at(json_object_at(patch, "metadata"), "annotations");

        if (json_set_str(notes, DROVER_FIT_ANNOTATION, fit))
                return patch;
        json_free(patch);
        return NULL;
}

static int metadata(struct json *pod, const struct vm *vm, const struct rec_action *act)
{
        struct json *meta = json_object_at(pod, "metadata");
        struct json *labels = json_object_at(meta, "labels");
        struct json *notes = json_object_at(meta, "annotations");
        struct json *owner = json_add(json_array_at(meta, "ownerReferences"), json_new_object());
        char hash[17], epoch[24], of[GUEST_MAX];

        placement_hash(vm, hash);
        snprintf(epoch, sizeof(epoch), "%lld", (long long)act->epoch);
        json_set_str(meta, "name", act->name);
        json_set_str(meta, "namespace", vm->meta.ns);
        json_set_str(labels, DROVER_VM_LABEL, vm->meta.name);
        json_set_str(labels, DROVER_UID_ANNOTATION, vm->meta.uid);
        guest(vm, act->epoch, of);
        json_set_str(labels, DROVER_GUEST_LABEL, of);
        json_set_str(notes, DROVER_UID_ANNOTATION, vm->meta.uid);
        json_set_str(notes, DROVER_EPOCH_ANNOTATION, epoch);
        json_set_str(notes, DROVER_PLACEMENT_ANNOTATION, hash);
        if (act->for_migration)
                json_set_str(notes, DROVER_MIGRATION_ANNOTATION, act->name);
        json_set_str(owner, "apiVersion", DROVER_API_VERSION);
        json_set_str(owner, "kind", "VirtualMachine");
        json_set_str(owner, "name", vm->meta.name);
        json_set_str(owner, "uid", vm->meta.uid);
        json_set_bool(owner, "controller", true);
        return copy_labels(meta, vm);
}

static void on_name(struct json *fields, const char *op, const char *node)
{
        struct json *r = json_add(fields, json_new_object());

        json_set_str(r, "key", "metadata.name");
        json_set_str(r, "operator", op);
        json_add(json_array_at(r, "values"), json_new_string(node));
}

/*
 * While it moves, a VM has two pods, and neither is a neighbour of the other: what is said of
 * others is not said of itself. A selector that is not there selects nobody.
 */
static void leave_out(struct json *term, const char *key, const char *value)
{
        struct json *selector = json_mut(term, "labelSelector"), *x;

        if (!selector)
                return;
        x = json_add(json_array_at(selector, "matchExpressions"), json_new_object());
        json_set_str(x, "key", key);
        json_set_str(x, "operator", "NotIn");
        json_add(json_array_at(x, "values"), json_new_string(value));
}

/* No pod of the VM counts for what is only ever asked of the pods that are there already. */
static void spare_itself(struct json *wishes, const char *list, const char *uid)
{
        struct json *terms = json_mut(wishes, list);

        for (size_t i = 0; i < json_count(terms); i++) {
                struct json *t = json_mut_at(terms, i);

                leave_out(strcmp(list, PREFERRED) ? t : json_mut(t, "podAffinityTerm"),
                          DROVER_UID_ANNOTATION, uid);
        }
}

/*
 * Where the scheduler also asks whether the new pod itself is selected (it may be the first of a
 * group that is to be near each other, and it is one more where it goes), only the pod that it
 * follows is left out.
 */
static void spare_former(struct json *terms, const struct vm *vm, int64_t epoch)
{
        char former[GUEST_MAX];

        guest(vm, epoch - 1, former);
        for (size_t i = 0; i < json_count(terms); i++)
                leave_out(json_mut_at(terms, i), DROVER_GUEST_LABEL, former);
}

/* Preferences and pod (anti-)affinity as written; the VM's required node affinity is the webhook's.
 */
static int affinity(struct json *spec, const struct vm *vm, const struct rec_action *act)
{
        const char *text = vm->spec.placement.affinity_json;
        struct json *a = NULL, *node, *term;
        struct err e;

        if (*text && json_parse(text, strlen(text), strlen(text), &a, &e) < 0)
                return -1;
        a = json_set(spec, "affinity", a ? a : json_new_object());
        spare_itself(json_mut(a, "podAntiAffinity"), REQUIRED, vm->meta.uid);
        spare_itself(json_mut(a, "podAntiAffinity"), PREFERRED, vm->meta.uid);
        spare_itself(json_mut(a, "podAffinity"), PREFERRED, vm->meta.uid);
        spare_former(json_mut(json_mut(a, "podAffinity"), REQUIRED), vm, act->epoch);
        if (act->adopts) /* its anti-affinity stays: it keeps others away */
                json_remove(a, "podAffinity");
        node = json_object_at(a, "nodeAffinity");
        json_remove(node, REQUIRED);
        if (!*act->pin && !*act->avoid)
                return 0;
        term = json_add(json_array_at(json_object_at(node, REQUIRED), "nodeSelectorTerms"),
                        json_new_object());
        if (*act->pin)
                on_name(json_array_at(term, "matchFields"), "In", act->pin);
        if (*act->avoid)
                on_name(json_array_at(term, "matchFields"), "NotIn", act->avoid);
        return term ? 0 : -1;
}

static int spread(struct json *spec, const struct vm *vm, const struct rec_action *act)
{
        const char *text = vm->spec.placement.spread_json;
        struct json *j = NULL;
        struct err e;

        if (!*text || act->adopts)
                return 0;
        if (json_parse(text, strlen(text), strlen(text), &j, &e) < 0)
                return -1;
        spare_former(j, vm, act->epoch);
        return json_set(spec, "topologySpreadConstraints", j) ? 0 : -1;
}

/*
 * The guest is on that node whatever its taints say, so its handle must be: one that the scheduler
 * or the taint manager keeps away would leave the guest without.
 */
static void tolerate_all(struct json *spec)
{
        struct json *t = json_add(json_array_at(spec, "tolerations"), json_new_object());

        json_set_str(t, "operator", "Exists");
}

/* Passes the "restricted" Pod Security level. */
static void security(struct json *spec, struct json *container)
{
        struct json *pod = json_object_at(spec, "securityContext");
        struct json *own = json_object_at(container, "securityContext");

        json_set_bool(pod, "runAsNonRoot", true);
        json_set_int(pod, "runAsUser", 65532);
        json_set_str(json_object_at(pod, "seccompProfile"), "type", "RuntimeDefault");
        json_set_bool(own, "allowPrivilegeEscalation", false);
        json_set_bool(own, "readOnlyRootFilesystem", true);
        json_add(json_array_at(json_object_at(own, "capabilities"), "drop"),
                 json_new_string("ALL"));
}

/*
 * What the handle itself needs; the guest's share is the extender's to count.
 *
 * There is no limit of CPU time: a small one would throttle the container's start by seconds, and
 * one that does not would reserve a part of a CPU for each guest, for a program that sleeps. So the
 * pod is Burstable, not Guaranteed, and the kernel's choice when a node has no memory left: behind
 * all that use more than they have asked for, but before the guests. That costs a guest nothing,
 * and its pod some seconds of not being Ready: the kubelet starts the container again.
 */
static void container(struct json *spec, const char *image)
{
        struct json *c = json_add(json_array_at(spec, "containers"), json_new_object());
        struct json *resources = json_object_at(c, "resources");
        static const char *const kinds[] = {"requests", "limits"};

        json_set_str(c, "name", "handle");
        json_set_str(c, "image", image);
        json_set_str(c, "imagePullPolicy", "IfNotPresent");
        for (size_t i = 0; i < countof(kinds); i++) {
                struct json *r = json_object_at(resources, kinds[i]);

                if (!i)
                        json_set_str(r, "cpu", "1m");
                json_set_str(r, "memory", i ? "16Mi" : "4Mi");
        }
        security(spec, c);
}

/*
 * The VM's claims: the kubelet mounts a volume for a pod when a container uses it. This one has no
 * use for it: a file system is read-only there. The guest's QEMU takes what the kubelet mounts for
 * the pod (agent/claims.h).
 */
static int claims(struct json *spec, const struct vm *vm, const bool block[])
{
        struct json *c = json_mut_at(json_mut(spec, "containers"), 0);
        char path[80];

        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                struct json *volume, *use;

                if (d->kind != DISK_PVC)
                        continue;
                volume = json_add(json_array_at(spec, "volumes"), json_new_object());
                json_set_str(volume, "name", d->name);
                json_set_str(json_object_at(volume, "persistentVolumeClaim"), "claimName",
                             d->claim);
                use = json_add(json_array_at(c, block[i] ? "volumeDevices" : "volumeMounts"),
                               json_new_object());
                json_set_str(use, "name", d->name);
                snprintf(path, sizeof(path), "/claims/%s", d->name);
                if (!block[i])
                        json_set_bool(use, "readOnly", true);
                if (!json_set_str(use, block[i] ? "devicePath" : "mountPath", path))
                        return -1;
        }
        return 0;
}

struct json *handle_pod(const struct vm *vm, const struct rec_action *act, const char *image,
                        const bool block[])
{
        struct json *pod = json_new_object();
        struct json *spec = json_object_at(pod, "spec");
        struct json *gate;
        int rc;

        json_set_str(pod, "apiVersion", "v1");
        json_set_str(pod, "kind", "Pod");
        rc = metadata(pod, vm, act);
        /*
         * However long the guest may take to shut down: its handle is deleted when it is gone, and
         * ends at once. More would only be waited for where the signal to end comes before the
         * handle listens.
         */
        json_set_int(spec, "terminationGracePeriodSeconds", 1);
        json_set_bool(spec, "automountServiceAccountToken", false);
        json_set_bool(spec, "enableServiceLinks", false);
        json_set_str(spec, "dnsPolicy", "Default"); /* it asks for no names, nor for a DNS server */
        if (*vm->spec.placement.priority_class)
                json_set_str(spec, "priorityClassName", vm->spec.placement.priority_class);
        gate = json_add(json_array_at(spec, "readinessGates"), json_new_object());
        json_set_str(gate, "conditionType", DROVER_RUNNING_GATE);
        container(spec, image);
        if (act->adopts)
                tolerate_all(spec);
        if (rc < 0 || affinity(spec, vm, act) < 0 || spread(spec, vm, act) < 0 ||
            claims(spec, vm, block) < 0) {
                json_free(pod);
                return NULL;
        }
        return pod;
}
