/* The handle pods that the migrator makes. */
#include "migrator/handle.h"
#include "tests/unit/api_text.h"

static struct vm a_vm(void)
{
        static struct toleration only = {"maintenance", "Exists", "", "NoExecute", -1};
        struct vm vm = {.meta = {.name = "web", .ns = "shop", .uid = "u1"}};

        vm.spec.placement = (struct placement){
                .node_name = "",
                .tolerations = {&only, 1},
                .affinity_json = "",
                .tolerations_json = "[{\"key\":\"maintenance\",\"operator\":\"Exists\"}]",
                .spread_json = "",
                .priority_class = "",
        };
        return vm;
}

static struct json *made(const struct rec_action *act)
{
        struct vm vm = a_vm();
        struct json *pod = handle_pod(&vm, act, "image");

        assert_non_null(pod);
        return pod;
}

static const struct json *tolerations(const struct json *pod)
{
        return json_get(json_get(pod, "spec"), "tolerations");
}

/* The scheduler chooses a node for these, by the VM's own tolerations, which the webhook adds. */
static void a_pod_that_seeks_a_node_tolerates_nothing_more(void **state)
{
        const struct rec_action first = {.name = "p", .epoch = 1, .pin = "", .avoid = ""};
        const struct rec_action move = {
                .name = "p", .epoch = 2, .pin = "n2", .avoid = "n1", .for_migration = true};

        (void)state;
        autojson struct json *a = made(&first);
        autojson struct json *b = made(&move);
        assert_null(tolerations(a));
        assert_null(tolerations(b));
}

/* The guest is there, whatever the taints say: neither scheduler nor taint manager may object. */
static void a_pod_that_adopts_a_guest_tolerates_every_taint(void **state)
{
        const struct rec_action act = {.name = "p", .epoch = 1, .pin = "n1", .avoid = ""};

        (void)state;
        autojson struct json *pod = made(&act);
        autojson struct json *want = json_of("[{'operator':'Exists'}]");
        assert_json_equal(tolerations(pod), want);
        autojson struct json *pinned = json_of("[{'matchFields':[{'key':'metadata.name',"
                                               "'operator':'In','values':['n1']}]}]");
        assert_json_equal(part(pod, "spec/affinity/nodeAffinity/"
                                    "requiredDuringSchedulingIgnoredDuringExecution/"
                                    "nodeSelectorTerms"),
                          pinned);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_pod_that_seeks_a_node_tolerates_nothing_more),
                cmocka_unit_test(a_pod_that_adopts_a_guest_tolerates_every_taint),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
