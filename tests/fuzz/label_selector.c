/* Any JSON as the label selector of a required anti-affinity: what admission lets through selects.
 */
#include "api/codec.h"
#include "core/admission.h"
#include "tests/fuzz/fuzz.h"

#define ARENA_MAX ((size_t)16 << 20)

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

static bool no_image(void *ctx, const char *name)
{
        (void)ctx;
        return !*name;
}

/* The operators of labels, each with as many values as it takes. */
static bool in_order(const struct requirement *r)
{
        switch (r->op) {
        case OP_IN:
        case OP_NOT_IN:
                return r->values.n;
        case OP_EXISTS:
        case OP_DOES_NOT_EXIST:
                return !r->values.n;
        default:
                return false;
        }
}

static void judge(const struct vm *vm, const struct wishes *wishes)
{
        const struct label_selector *s = &wishes->apart.required[0].selector;
        struct arena *a = arena_new(ARENA_MAX);
        const struct admission_facts facts = {.vm = vm, .wishes = wishes, .image = no_image};
        struct admission_report r = {0};
        bool refused = false;

        must(a);
        admission_check(a, &facts, &r);
        must(r.rc == 0);
        for (size_t i = 0; i < r.n; i++)
                refused |= r.v[i].rule == ADMIT_POD_AFFINITY || r.v[i].rule == ADMIT_COUNT;
        for (size_t i = 0; i < s->exprs.n && r.n < ADMISSION_PROBLEMS_MAX; i++)
                must(refused || (in_order(&s->exprs.v[i]) && *s->exprs.v[i].key));
        for (size_t i = 0; i < s->match_labels.n && r.n < ADMISSION_PROBLEMS_MAX; i++)
                must(refused || *s->match_labels.v[i].key);
        arena_free(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *selector = fuzz_json(data, size), *j;
        struct vm *vm = NULL;
        struct wishes *wishes = NULL;
        struct err e;

        if (!selector)
                return 0;
        j = around(selector);
        if (vm_decode(j, &vm, &e) == 0 && wishes_decode(j, &wishes, &e) == 0) {
                must(wishes->apart.nrequired == 1);
                judge(vm, wishes);
        }
        wishes_free(wishes);
        vm_free(vm);
        json_free(j);
        return 0;
}
