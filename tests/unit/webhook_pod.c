#include "webhook/pod.h"

#include "api/codec.h"
#include "core/placement.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"
#include "tests/unit/selector_gen.h"

#include <errno.h>
#include <stdlib.h>

#define ARENA_MAX ((size_t)16 << 20)
#define ROUNDS    1500
#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"

/* --- what the API server does with a patch: RFC 6902 "add", strict about parents */

static struct json *child(struct json *at, const char *key)
{
        if (json_type(at) != JSON_ARRAY)
                return json_mut(at, key);
        const struct json *el = json_first(at);
        for (long i = strtol(key, NULL, 10); el && i > 0; i--)
                el = json_next(el);
        return (struct json *)(uintptr_t)el;
}

static void add(struct json *pod, const char *pointer, const struct json *value)
{
        char copy[200], *rest = copy, *key;
        struct json *at = pod;

        assert_int_equal(pointer[0], '/');
        snprintf(copy, sizeof(copy), "%s", pointer + 1);
        while ((key = strsep(&rest, "/")) && rest) {
                at = child(at, key);
                if (!at)
                        fail_msg("%s: no parent %s", pointer, key);
        }
        assert_int_equal(json_type(at), JSON_OBJECT); /* we never add to an array */
        assert_non_null(json_set(at, key, json_clone(value)));
}

static void apply(struct json *pod, const struct json *patch)
{
        for (const struct json *op = json_first(patch); op; op = json_next(op)) {
                assert_string_equal(json_str(op, "op", ""), "add");
                assert_int_equal(json_count(op), 3);
                add(pod, json_str(op, "path", ""), json_get(op, "value"));
        }
}

/* Patches the pod, checks that it then passes and needs nothing more; how many operations. */
static size_t admit(struct json *pod, const struct vm *vm, const char *scheduler)
{
        struct json *patch = NULL;
        struct err e;
        size_t n;

        if (pod_patch(pod, vm, scheduler, &patch, &e) < 0)
                fail_msg("%s", e.msg);
        n = json_count(patch);
        assert_int_equal(pod_check(pod, vm, scheduler, &e), n ? -EINVAL : 0);
        apply(pod, patch);
        json_free(patch);
        if (pod_check(pod, vm, scheduler, &e) < 0)
                fail_msg("%s", e.msg);
        assert_int_equal(pod_patch(pod, vm, scheduler, &patch, &e), 0);
        assert_int_equal(json_count(patch), 0); /* reinvoked: nothing left to do */
        json_free(patch);
        return n;
}

static struct vm *vm_of(const char *spec)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct vm *vm = NULL;
        struct err e;

        buf_addf(&b, "{'metadata':{'name':'web','namespace':'shop'},'spec':{%s}}", spec);
        struct json *j = json_of(buf_str(&b));
        if (vm_decode(j, &vm, &e) < 0)
                fail_msg("%s", e.msg);
        json_free(j);
        return vm;
}

#define PLAIN_POD "{'spec':{'containers':[{'name':'handle','image':'x'}]}}"

static void plain_pod(void **state)
{
        struct vm *vm = vm_of("'nodeName':'node2','nodeSelector':{'disk':'ssd'},'cpu':{'model':"
                              "'EPYC'},'disks':[{'name':'r','blank':{'size':'1Gi'}}]");
        autojson struct json *pod = json_of(PLAIN_POD);
        autojson struct json *want = json_of(
                "{'spec':{'containers':[{'name':'handle','image':'x','resources':{'limits':{"
                "'drover.dev/vm':'1'},'requests':{'drover.dev/vm':'1'}}}],'affinity':{"
                "'nodeAffinity':{'" REQUIRED "':{'nodeSelectorTerms':[{'matchExpressions':["
                "{'key':'disk','operator':'In','values':['ssd']},"
                "{'key':'drover.dev/hypervisor','operator':'In','values':['true']},"
                "{'key':'cpu-model.drover.dev/EPYC','operator':'In','values':['true']},"
                "{'key':'pool.drover.dev/default','operator':'In','values':['true']}],"
                "'matchFields':[{'key':'metadata.name','operator':'In','values':['node2']}]}]}}}}"
                "}");

        (void)state;
        assert_int_equal(admit(pod, vm, ""), 2);
        assert_json_equal(pod, want);
        vm_free(vm);
}

/* The migrator's own terms stay, each joined with each of the VM's. */
static void cross_product(void **state)
{
        struct vm *vm = vm_of("'affinity':{'nodeAffinity':{'" REQUIRED
                              "':{'nodeSelectorTerms':[{'matchExpressions':[{'key':'zone',"
                              "'operator':'In','values':['a']}]},{'matchExpressions':[{'key':"
                              "'zone','operator':'In','values':['b']}]}]}}}");
        autojson struct json *pod = json_of(
                "{'spec':{'containers':[{}],'affinity':{'podAntiAffinity':{'x':1},'nodeAffinity':{"
                "'preferredDuringSchedulingIgnoredDuringExecution':[{'weight':1}],'" REQUIRED
                "':{'nodeSelectorTerms':[{'matchFields':[{'key':'metadata.name','operator':"
                "'NotIn','values':['node1']}]}]}}}}}");
        const struct json *terms, *t;
        static const char *const zones[] = {"a", "b"};
        size_t i = 0;

        (void)state;
        assert_int_equal(admit(pod, vm, ""), 2);
        terms = part(pod, "spec/affinity/nodeAffinity/" REQUIRED "/nodeSelectorTerms");
        assert_int_equal(json_count(terms), 2);
        for (t = json_first(terms); t; t = json_next(t), i++) {
                const struct json *e = json_first(json_get(t, "matchExpressions"));
                const struct json *f = json_first(json_get(t, "matchFields"));

                assert_string_equal(json_string(json_first(json_get(e, "values"))), zones[i]);
                assert_string_equal(json_str(json_next(e), "key", ""), "drover.dev/hypervisor");
                assert_string_equal(json_str(f, "operator", ""), "NotIn");
        }
        /* what is not ours stays */
        assert_non_null(part(pod, "spec/affinity/podAntiAffinity/x"));
        assert_int_equal(json_count(part(pod, "spec/affinity/nodeAffinity/"
                                              "preferredDuringSchedulingIgnoredDuringExecution")),
                         1);
        vm_free(vm);
}

/* --- the nodes that the patched pod may be on are those that pod and VM both want */

static const char *const LABELS[] = {"a",
                                     "b",
                                     "c",
                                     "d",
                                     "drover.dev/hypervisor",
                                     "cpu-model.drover.dev/M1",
                                     "pool.drover.dev/p1",
                                     "pool.drover.dev/p2"};

static void random_vm(struct arena *a, struct vm *vm)
{
        static const char *const pools[] = {"p1", "p2"};
        struct placement *p = &vm->spec.placement;

        *vm = (struct vm){.meta = {.name = "web", .ns = "shop"}};
        p->tolerations_json = "";
        p->node_name = gen(5) ? "" : gen_of(GEN_NODES);
        p->node_selector = gen(3) ? (struct kvs){NULL, 0} : gen_labels(a);
        p->has_required = gen(2);
        if (p->has_required)
                p->required = gen_selector(a, 3);
        vm->spec.shape.cpu_model = gen(2) ? "" : "M1";
        vm->spec.ndisks = gen(3);
        vm->spec.disks = gen_alloc(a, 2, sizeof(*vm->spec.disks));
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                vm->spec.disks[i] = (struct vm_disk){.name = "d", .pool = gen_of(pools)};
}

static struct json *random_pod(struct arena *a, struct node_selector *own, bool *present)
{
        struct json *pod = json_of(PLAIN_POD);

        *present = gen(3);
        *own = gen_selector(a, 3);
        if (*present)
                json_set(json_object_at(json_object_at(json_object_at(pod, "spec"), "affinity"),
                                        "nodeAffinity"),
                         REQUIRED, node_selector_encode(own));
        return pod;
}

static void random_node(struct arena *a, struct node *n)
{
        *n = (struct node){.meta = {.name = gen_of(GEN_NODES)}};
        n->meta.labels.v = gen_alloc(a, countof(LABELS), sizeof(struct kv));
        for (size_t i = 0; i < countof(LABELS); i++)
                if (gen(i < 4 ? 3 : 12))
                        n->meta.labels.v[n->meta.labels.n++] =
                                (struct kv){LABELS[i], i < 4 ? gen_of(GEN_VALUES) : "true"};
}

static void property(void **state)
{
        char message[PLACEMENT_MESSAGE_MAX];
        size_t hits = 0;

        (void)state;
        for (int round = 0; round < ROUNDS; round++) {
                struct arena *a autoarena = arena_new(ARENA_MAX);
                struct node_selector own, result;
                struct json *pod;
                struct vm vm;
                struct err e;
                bool present;

                random_vm(a, &vm);
                pod = random_pod(a, &own, &present);
                admit(pod, &vm, "");
                assert_int_equal(
                        node_selector_decode(a, part(pod, "spec/affinity/nodeAffinity/" REQUIRED),
                                             "", &result, &e),
                        0);
                for (int k = 0; k < 10; k++) {
                        struct node n;
                        bool want;

                        random_node(a, &n);
                        want = node_selector_matches(&own, present, &n.meta.labels, n.meta.name) &&
                               placement_check(&vm, &n, true, message) == PLACE_OK;
                        assert_int_equal(
                                node_selector_matches(&result, true, &n.meta.labels, n.meta.name),
                                want);
                        hits += want;
                }
                json_free(pod);
        }
        assert_true(hits > ROUNDS / 10);
}

/* Another webhook narrows the pod between two calls of ours: nothing is lost, nothing doubled. */
static void reinvocation_after_others(void **state)
{
        struct vm *vm = vm_of("'nodeSelector':{'disk':'ssd'},'tolerations':[{'operator':"
                              "'Exists'}]");
        autojson struct json *pod = json_of(PLAIN_POD);
        struct json *terms, *more;

        (void)state;
        assert_int_equal(admit(pod, vm, "second"), 4);
        terms = json_mut(
                json_mut(json_mut(json_mut(json_mut(pod, "spec"), "affinity"), "nodeAffinity"),
                         REQUIRED),
                "nodeSelectorTerms");
        /* a requirement more in the term: still implied */
        more = json_of("{'key':'zone','operator':'Exists'}");
        json_add(json_mut(child(terms, "0"), "matchExpressions"), more);
        assert_int_equal(admit(pod, vm, "second"), 0);
        /* a term more, which would let the pod go elsewhere: joined again */
        json_add(terms, json_of("{'matchExpressions':[{'key':'any','operator':'Exists'}]}"));
        assert_int_equal(admit(pod, vm, "second"), 1);
        /* no terms at all any more */
        json_remove(json_mut(pod, "spec"), "affinity");
        json_remove(json_mut(pod, "spec"), "tolerations");
        assert_int_equal(admit(pod, vm, "second"), 2);
        vm_free(vm);
}

/* --- the other fields */

static void resources(void **state)
{
        static const struct {
                const char *before;
                size_t operations;
        } t[] = {
                {"null", 1},
                {"{}", 1},
                {"{'limits':{'memory':'16Mi'},'requests':{'cpu':'1m'},'claims':[]}", 1},
                {"{'limits':{'drover.dev/vm':'1'}}", 1},
                {"{'requests':{'drover.dev/vm':'1'}}", 1},
                {"{'limits':{'drover.dev/vm':'2'},'requests':{'drover.dev/vm':'2'}}", 1},
                {"{'limits':{'drover.dev/vm':'1'},'requests':{'drover.dev/vm':'1'}}", 0},
                {"{'limits':{'drover.dev/vm':1},'requests':{'drover.dev/vm':1}}", 0},
        };
        struct vm *vm = vm_of("");

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                autobuf struct buf b = buf_new(TEXT_MAX);
                struct json *pod, *before;
                const struct json *r;

                buf_addf(&b, "{'spec':{'containers':[{'resources':%s},{'name':'side'}]}}",
                         t[i].before);
                pod = json_of(buf_str(&b));
                before = json_clone(pod);
                assert_int_equal(admit(pod, vm, ""), t[i].operations + 1); /* and affinity */
                r = json_get(child(json_mut(json_mut(pod, "spec"), "containers"), "0"),
                             "resources");
                for (const struct json *m = json_first(part(before, "spec/containers")); m;
                     m = NULL)
                        for (const struct json *k = json_first(json_get(m, "resources")); k;
                             k = json_next(k))
                                assert_non_null(json_get(r, json_key(k)));
                if (i == 2) {
                        assert_string_equal(json_str(json_get(r, "limits"), "memory", ""), "16Mi");
                        assert_string_equal(json_str(json_get(r, "requests"), "cpu", ""), "1m");
                        assert_non_null(json_get(r, "claims"));
                }
                assert_null(json_get(child(json_mut(json_mut(pod, "spec"), "containers"), "1"),
                                     "resources"));
                json_free(before);
                json_free(pod);
        }
        vm_free(vm);
}

static void tolerations(void **state)
{
        static const struct {
                const char *have, *wanted, *result;
                size_t operations;
        } t[] = {
                {"null", "[]", NULL, 0},
                {"null", "[{'operator':'Exists'}]", "[{'operator':'Exists'}]", 1},
                {"[{'key':'a','operator':'Exists'}]", "[{'key':'b'}]",
                 "[{'key':'a','operator':'Exists'},{'key':'b'}]", 1},
                /* no operator is Equal */
                {"[{'key':'a','operator':'Equal'}]", "[{'key':'a'}]", NULL, 0},
                {"[{'key':'a','value':'1'}]", "[{'key':'a','value':'2'}]",
                 "[{'key':'a','value':'1'},{'key':'a','value':'2'}]", 1},
                {"[{'key':'a','effect':'NoSchedule'}]", "[{'key':'a','effect':'NoExecute'}]",
                 "[{'key':'a','effect':'NoSchedule'},{'key':'a','effect':'NoExecute'}]", 1},
                /* what Kubernetes gives to every pod gives way */
                {"[{'key':'n','operator':'Exists','effect':'NoExecute','tolerationSeconds':300},"
                 "{'key':'z'}]",
                 "[{'key':'n','operator':'Exists','effect':'NoExecute'}]",
                 "[{'key':'n','operator':'Exists','effect':'NoExecute'},{'key':'z'}]", 1},
                {"[{'key':'n','operator':'Exists','effect':'NoExecute','tolerationSeconds':300},"
                 "{'key':'n','operator':'Exists','effect':'NoExecute','tolerationSeconds':60}]",
                 "[{'key':'n','operator':'Exists','effect':'NoExecute','tolerationSeconds':90}]",
                 "[{'key':'n','operator':'Exists','effect':'NoExecute','tolerationSeconds':90}]",
                 1},
                /* of a VM's own that contradict each other the first counts, each time */
                {"null",
                 "[{'key':'n','effect':'NoExecute','tolerationSeconds':60},{'key':'n','effect':"
                 "'NoExecute'},{'key':'n','effect':'NoExecute','tolerationSeconds':60}]",
                 "[{'key':'n','effect':'NoExecute','tolerationSeconds':60}]", 1},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                autobuf struct buf spec = buf_new(TEXT_MAX);
                autobuf struct buf b = buf_new(TEXT_MAX);
                struct json *pod, *want;
                struct vm *vm;

                buf_addf(&spec, "'tolerations':%s", t[i].wanted);
                buf_addf(&b, "{'spec':{'containers':[{}],'tolerations':%s}}", t[i].have);
                vm = vm_of(buf_str(&spec));
                pod = json_of(buf_str(&b));
                want = json_of(t[i].result ? t[i].result : t[i].have);
                assert_int_equal(admit(pod, vm, ""), t[i].operations + 2);
                assert_json_equal(part(pod, "spec/tolerations"), want);
                json_free(want);
                json_free(pod);
                vm_free(vm);
        }
}

static void schedulers(void **state)
{
        static const struct {
                const char *have, *note, *configured, *want;
        } t[] = {
                {"default-scheduler", NULL, "", "default-scheduler"},
                {"default-scheduler", NULL, "second", "second"},
                {"default-scheduler", "mine", "second", "mine"},
                {"default-scheduler", "mine", "", "mine"},
                {"default-scheduler", "", "second", "default-scheduler"}, /* asks for none */
                {"second", NULL, "second", "second"},
        };

        (void)state;
        for (size_t i = 0; i < countof(t); i++) {
                struct kv note = {DROVER_SCHEDULER_ANNOTATION, t[i].note};
                autobuf struct buf b = buf_new(TEXT_MAX);
                struct vm *vm = vm_of("");
                struct json *pod;

                if (t[i].note)
                        vm->meta.annotations = (struct kvs){&note, 1};
                buf_addf(&b, "{'spec':{'schedulerName':'%s','containers':[{}]}}", t[i].have);
                pod = json_of(buf_str(&b));
                assert_int_equal(admit(pod, vm, t[i].configured),
                                 2 + (strcmp(t[i].have, t[i].want) != 0));
                assert_string_equal(json_str(json_get(pod, "spec"), "schedulerName", ""),
                                    t[i].want);
                json_free(pod);
                vm_free(vm);
        }
}

/* --- what is refused */

static void check_names_the_field(void **state)
{
        static const char *const fields[] = {"spec.affinity", "spec.containers.0.resources",
                                             "spec.tolerations", "spec.schedulerName"};
        struct vm *vm = vm_of("'tolerations':[{'operator':'Exists'}]");

        (void)state;
        for (size_t spoil = 0; spoil < countof(fields); spoil++) {
                autojson struct json *pod = json_of(PLAIN_POD);
                struct json *spec = json_mut(pod, "spec");
                struct err e;

                admit(pod, vm, "second");
                if (spoil == 0)
                        json_remove(spec, "affinity");
                else if (spoil == 1)
                        json_remove(child(json_mut(spec, "containers"), "0"), "resources");
                else if (spoil == 2)
                        json_remove(spec, "tolerations");
                else
                        json_set_str(spec, "schedulerName", "default-scheduler");
                assert_int_equal(pod_check(pod, vm, "second", &e), -EINVAL);
                assert_int_equal(strncmp(e.msg, fields[spoil], strlen(fields[spoil])), 0);
                assert_non_null(strstr(e.msg, "does not ask for what VirtualMachine web wants"));
        }
        vm_free(vm);
}

static void impossible_pods(void **state)
{
        static const char *const pods[] = {
                "{}",
                "{'spec':{}}",
                "{'spec':{'containers':[]}}",
                "{'spec':{'containers':[{}],'nodeName':'node1'}}",
                "{'spec':{'containers':[{}],'affinity':{'nodeAffinity':{'" REQUIRED
                "':{'nodeSelectorTerms':7}}}}}",
        };
        struct vm *vm = vm_of("");

        (void)state;
        for (size_t i = 0; i < countof(pods); i++) {
                autojson struct json *pod = json_of(pods[i]);
                struct json *patch = NULL;
                struct err e;

                assert_int_equal(pod_patch(pod, vm, "", &patch, &e), -EINVAL);
                assert_null(patch);
                assert_int_equal(strncmp(e.msg, "spec.", 5), 0);
                assert_int_equal(pod_check(pod, vm, "", &e), -EINVAL);
        }
        vm_free(vm);
}

static void too_many_terms(void **state)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct json *patch = NULL;
        struct err e;

        (void)state;
        buf_adds(&b, "'affinity':{'nodeAffinity':{'" REQUIRED "':{'nodeSelectorTerms':[{}");
        for (int i = 0; i < SELECTOR_TERMS_MAX; i++)
                buf_adds(&b, ",{}");
        buf_adds(&b, "]}}}");
        struct vm *vm = vm_of(buf_str(&b));
        autojson struct json *pod = json_of(PLAIN_POD);
        assert_int_equal(pod_patch(pod, vm, "", &patch, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "more than 256 terms"));
        vm_free(vm);
}

static void without_memory(void **state)
{
        struct vm *vm = vm_of("'nodeName':'n','nodeSelector':{'a':'b'},'tolerations':[{'key':"
                              "'k','effect':'NoExecute'},{'key':'l'}]");
        autojson struct json *pod =
                json_of("{'spec':{'containers':[{'resources':{'limits':{'cpu':'1'}}}],'affinity':{"
                        "'podAffinity':{'x':[]}},'tolerations':[{'key':'k','effect':'NoExecute',"
                        "'tolerationSeconds':300},{'key':'o'}]}}");
        autojson struct json *whole = NULL;
        struct err e;
        unsigned long n;

        (void)state;
        assert_int_equal(pod_patch(pod, vm, "second", &whole, &e), 0);
        for (n = 1; n; n++) {
                struct json *patch = NULL;
                int rc;

                oom_arm(n);
                rc = pod_patch(pod, vm, "second", &patch, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        assert_json_equal(patch, whole);
                        json_free(patch);
                        break;
                }
                if (rc == 0)
                        assert_json_equal(patch, whole); /* a part is worse than nothing */
                else
                        assert_int_equal(rc, -ENOMEM);
                if (rc == 0)
                        json_free(patch);
        }
        assert_true(n > 40);
        vm_free(vm);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(plain_pod),       cmocka_unit_test(cross_product),
                cmocka_unit_test(property),        cmocka_unit_test(reinvocation_after_others),
                cmocka_unit_test(resources),       cmocka_unit_test(tolerations),
                cmocka_unit_test(schedulers),      cmocka_unit_test(check_names_the_field),
                cmocka_unit_test(impossible_pods), cmocka_unit_test(too_many_terms),
                cmocka_unit_test(without_memory),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
