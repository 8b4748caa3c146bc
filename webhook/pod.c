#include "webhook/pod.h"

#include "api/codec.h"
#include "core/placement.h"

#include <errno.h>
#include <string.h>

#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"

static int no_memory(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

static int too_big(int rc, struct err *e)
{
        if (rc != -E2BIG)
                return err_sys(e, rc, "node affinity");
        return err_set(e, -EINVAL, "spec.affinity.nodeAffinity: more than %d terms with the VM's",
                       SELECTOR_TERMS_MAX);
}

/* Both selectors; *own stays NULL when the pod has none. */
static int selectors(struct arena *a, const struct json *pod, const struct vm *vm,
                     struct node_selector **own, struct node_selector **wanted, struct err *e)
{
        const struct json *j = json_path(pod, "spec", "affinity", "nodeAffinity", REQUIRED, NULL);
        int rc;

        *own = NULL;
        if (json_type(j) == JSON_OBJECT) {
                *own = arena_alloc(a, sizeof(**own));
                if (!*own)
                        return no_memory(e);
                rc = node_selector_decode(a, j, "spec.affinity.nodeAffinity." REQUIRED, *own, e);
                if (rc < 0)
                        return rc;
        }
        rc = placement_selector(a, vm, wanted);
        return rc < 0 ? too_big(rc, e) : 0;
}

/* Adding replaces what is there, and makes what is not; parents must exist. Takes value. */
static int put(struct json *patch, const char *path, struct json *value, struct err *e)
{
        struct json *op = json_add(patch, json_new_object());
        bool whole = json_set_str(op, "op", "add") && json_set_str(op, "path", path);

        return json_set(op, "value", value) && whole ? 0 : no_memory(e);
}

static struct json *copy_or_new(const struct json *j)
{
        return json_type(j) == JSON_OBJECT ? json_clone(j) : json_new_object();
}

static int patch_affinity(struct json *patch, const struct json *pod, const struct vm *vm,
                          struct err *e)
{
        struct arena *a autoarena = arena_new((size_t)4 << 20);
        struct node_selector *own, *wanted, *both;
        struct json *affinity;
        int rc;

        if (!a)
                return no_memory(e);
        rc = selectors(a, pod, vm, &own, &wanted, e);
        if (rc < 0 || (own && node_selector_implies(own, wanted)))
                return rc;
        rc = node_selector_and(a, own, wanted, &both);
        if (rc < 0)
                return too_big(rc, e);
        affinity = copy_or_new(json_path(pod, "spec", "affinity", NULL));
        if (!json_set(json_object_at(affinity, "nodeAffinity"), REQUIRED,
                      node_selector_encode(both))) {
                json_free(affinity);
                return no_memory(e);
        }
        return put(patch, "/spec/affinity", affinity, e);
}

static const struct json *first_container(const struct json *pod)
{
        return json_first(json_path(pod, "spec", "containers", NULL));
}

/* The API server writes quantities as texts, others may not. */
static bool is_one(const struct json *quantity)
{
        const char *text = json_string(quantity);
        int64_t n = 0;

        return text ? !strcmp(text, "1") : json_to_int(quantity, &n) && n == 1;
}

static bool asks_for_vm(const struct json *container)
{
        const struct json *r = json_get(container, "resources");

        return is_one(json_path(r, "limits", DROVER_VM_RESOURCE, NULL)) &&
               is_one(json_path(r, "requests", DROVER_VM_RESOURCE, NULL));
}

static int patch_resource(struct json *patch, const struct json *pod, struct err *e)
{
        const struct json *c = first_container(pod);
        struct json *r;

        if (asks_for_vm(c))
                return 0;
        r = copy_or_new(json_get(c, "resources"));
        if (!json_set_str(json_object_at(r, "limits"), DROVER_VM_RESOURCE, "1") ||
            !json_set_str(json_object_at(r, "requests"), DROVER_VM_RESOURCE, "1")) {
                json_free(r);
                return no_memory(e);
        }
        return put(patch, "/spec/containers/0/resources", r, e);
}

static bool same_toleration(const struct json *x, const struct json *y)
{
        static const char *const keys[] = {"key", "value", "effect"};

        for (size_t i = 0; i < countof(keys); i++)
                if (strcmp(json_str(x, keys[i], ""), json_str(y, keys[i], "")) != 0)
                        return false;
        return !strcmp(json_str(x, "operator", "Equal"), json_str(y, "operator", "Equal"));
}

static const struct json *find_toleration(const struct json *all, const struct json *t)
{
        for (const struct json *c = json_first(all); c; c = json_next(c))
                if (same_toleration(c, t))
                        return c;
        return NULL;
}

static bool same_seconds(const struct json *x, const struct json *y)
{
        return json_int(x, "tolerationSeconds", -1) == json_int(y, "tolerationSeconds", -1);
}

/*
 * The pod's tolerations, then those of the VM that it lacks. One that differs in tolerationSeconds
 * alone gives way to the VM's: Kubernetes gives each pod 300 s for nodes that are not ready.
 */
static struct json *merge_tolerations(const struct json *have, const struct json *wanted)
{
        struct json *all = json_new_array();
        bool whole = all;

        for (const struct json *c = json_first(have); whole && c; c = json_next(c)) {
                const struct json *own = find_toleration(wanted, c);

                if (!own || !find_toleration(all, own))
                        whole = json_add(all, json_clone(own && !same_seconds(own, c) ? own : c));
        }
        for (const struct json *c = json_first(wanted); whole && c; c = json_next(c))
                if (!find_toleration(all, c))
                        whole = json_add(all, json_clone(c));
        if (whole)
                return all;
        json_free(all);
        return NULL;
}

static int patch_tolerations(struct json *patch, const struct json *pod, const struct vm *vm,
                             struct err *e)
{
        const char *text = vm->spec.placement.tolerations_json;
        const struct json *have = json_path(pod, "spec", "tolerations", NULL);
        struct json *wanted autojson = NULL;
        struct json *all;

        if (!*text)
                return 0;
        if (json_parse(text, strlen(text), strlen(text), &wanted, e) < 0)
                return err_wrap(e, "the VM's tolerations");
        all = merge_tolerations(have, wanted);
        if (!all)
                return no_memory(e);
        if (json_count(all) && !json_equal(all, have))
                return put(patch, "/spec/tolerations", all, e);
        json_free(all);
        return 0;
}

static int patch_scheduler(struct json *patch, const struct json *pod, const struct vm *vm,
                           const char *scheduler, struct err *e)
{
        const char *own = kvs_get(&vm->meta.annotations, DROVER_SCHEDULER_ANNOTATION);
        const char *name = own ? own : scheduler;

        if (!*name || !strcmp(json_str(json_get(pod, "spec"), "schedulerName", ""), name))
                return 0;
        return put(patch, "/spec/schedulerName", json_new_string(name), e);
}

int pod_patch(const struct json *pod, const struct vm *vm, const char *scheduler, struct json **out,
              struct err *e)
{
        struct json *patch = json_new_array();
        int rc = patch ? 0 : no_memory(e);

        if (!rc && *json_str(json_get(pod, "spec"), "nodeName", ""))
                rc = err_set(
                        e, -EINVAL,
                        "spec.nodeName: the node of a VM pod is chosen by the scheduler, which "
                        "asks drover-extender; the pod must not name one itself");
        if (!rc && !first_container(pod))
                rc = err_set(e, -EINVAL, "spec.containers: a VM pod needs a container");
        if (!rc)
                rc = patch_affinity(patch, pod, vm, e);
        if (!rc)
                rc = patch_resource(patch, pod, e);
        if (!rc)
                rc = patch_tolerations(patch, pod, vm, e);
        if (!rc)
                rc = patch_scheduler(patch, pod, vm, scheduler, e);
        if (rc)
                json_free(patch);
        else
                *out = patch;
        return rc;
}

/* "/spec/containers/0/resources" -> "spec.containers.0.resources" */
static void field_of(const char *pointer, char *out, size_t size)
{
        size_t n = 0;

        for (const char *p = pointer + 1; *p && n + 1 < size; p++)
                out[n++] = (char)(*p == '/' ? '.' : *p);
        out[n] = 0;
}

int pod_check(const struct json *pod, const struct vm *vm, const char *scheduler, struct err *e)
{
        struct json *patch autojson = NULL;
        char field[64];
        int rc = pod_patch(pod, vm, scheduler, &patch, e);

        if (rc < 0 || !json_count(patch))
                return rc;
        field_of(json_str(json_first(patch), "path", "/"), field, sizeof(field));
        return err_set(e, -EINVAL, "%s: does not ask for what VirtualMachine %s wants", field,
                       vm->meta.name);
}
