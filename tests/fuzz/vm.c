/* Any JSON as a VirtualMachine: decoded, judged as a new one and as a change of itself, kept in
 * brief. */
#include "api/codec.h"
#include "core/admission.h"
#include "core/placement.h"
#include "tests/fuzz/fuzz.h"
#include "webhook/brief.h"

#define ARENA_MAX ((size_t)16 << 20)

static bool no_image(void *ctx, const char *name)
{
        (void)ctx;
        return *name == 'd'; /* there are images from d on */
}

static bool small_hosts(void *ctx, struct admission_room *out)
{
        (void)ctx;
        *out = (struct admission_room){2, (int64_t)1 << 30};
        return true;
}

static bool one_node(void *ctx, bool (*visit)(void *arg, const struct node *node), void *arg)
{
        static struct kv labels[] = {{DROVER_HYPERVISOR_LABEL, "true"}, {"zone", "a"}};
        const struct node node = {.meta = {.name = "node1", .labels = {labels, countof(labels)}}};

        (void)ctx;
        visit(arg, &node);
        return true;
}

static void judge(const struct vm *vm, const struct wishes *wishes, const struct vm *old)
{
        struct arena *a = arena_new(ARENA_MAX);
        const struct admission_facts facts = {.vm = vm,
                                              .wishes = wishes,
                                              .old = old,
                                              .image = no_image,
                                              .largest = small_hosts,
                                              .nodes = one_node};
        struct admission_report r = {0};

        must(a);
        admission_check(a, &facts, &r);
        must(r.rc == 0 && r.n <= ADMISSION_PROBLEMS_MAX && r.nwarnings <= ADMISSION_WARNINGS_MAX);
        for (size_t i = 0; i < r.n; i++)
                must(*r.v[i].path && *r.v[i].message && r.v[i].rule != ADMIT_OK);
        for (size_t i = 0; i < r.nwarnings; i++)
                must(*r.warnings[i] && strlen(r.warnings[i]) < ADMISSION_WARNING_TEXT);
        arena_free(a);
}

/* What is kept of a VM in brief has the same placement. */
static void in_brief(const struct json *j, const struct vm *vm)
{
        char hash[17], brief_hash[17];
        struct brief *brief;
        struct vm *again;
        struct err e;

        if (brief_new(j, &brief, &e))
                return; /* larger than what is kept */
        must(brief_decode(brief, &again, &e) == 0);
        placement_hash(vm, hash);
        placement_hash(again, brief_hash);
        must(!strcmp(hash, brief_hash));
        vm_free(again);
        brief_free(brief);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct json *j = fuzz_json(data, size);
        struct vm *vm = NULL;
        struct wishes *wishes = NULL;
        struct err e;

        if (j && vm_decode(j, &vm, &e) == 0) {
                if (wishes_decode(j, &wishes, &e) == 0) {
                        judge(vm, wishes, NULL);
                        judge(vm, wishes, vm);
                        wishes_free(wishes);
                }
                in_brief(j, vm);
                vm_free(vm);
        }
        json_free(j);
        return 0;
}
