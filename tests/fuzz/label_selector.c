/* Any JSON as the label selector of a required anti-affinity, and matched. */
#include "api/codec.h"
#include "core/affinity.h"
#include "tests/fuzz/fuzz.h"

/* A VM around it, as a decoder of the API meets it. */
static struct json *around(struct json *selector)
{
        struct json *vm = json_new_object(), *term;

        json_set_str(json_object_at(vm, "metadata"), "name", "web");
        json_set_str(json_object_at(json_object_at(vm, "spec"), "memory"), "guest", "1Gi");
        term = json_object_at(json_object_at(json_object_at(vm, "spec"), "affinity"),
                              "podAntiAffinity");
        term = json_add(json_array_at(term, "requiredDuringSchedulingIgnoredDuringExecution"),
                        json_new_object());
        json_set_str(term, "topologyKey", "kubernetes.io/hostname");
        must(json_set(term, "labelSelector", selector));
        return vm;
}

static void match(const struct label_selector *s)
{
        struct kv v[] = {{"app", "web"}, {"tier", ""}};
        const struct kvs none = {0}, two = {v, 2};

        if (!s->present)
                must(!label_selector_matches(s, &none) && !label_selector_matches(s, &two));
        else if (!s->match_labels.n && !s->exprs.n)
                must(label_selector_matches(s, &none) && label_selector_matches(s, &two));
        else
                (void)(label_selector_matches(s, &none) + label_selector_matches(s, &two));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *selector = fuzz_json(data, size), *j;
        struct vm *vm = NULL;
        struct err e;

        if (!selector)
                return 0;
        j = around(selector);
        if (vm_decode(j, &vm, &e) == 0) {
                must(vm->spec.placement.pod_anti_affinity.n == 1);
                match(&vm->spec.placement.pod_anti_affinity.v[0].selector);
                vm_free(vm);
        }
        json_free(j);
        return 0;
}
