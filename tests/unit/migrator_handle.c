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
        struct json *pod = handle_pod(&vm, act, "image", NULL);

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
        const struct rec_action act = {
                .name = "p", .epoch = 1, .pin = "n1", .avoid = "", .adopts = true};

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

#define SELECTOR(more)                                                                             \
        "{'labelSelector':{'matchLabels':{'app':'web'}" more "},'topologyKey':'zone'}"
#define NOT(key, value)                                                                            \
        ",'matchExpressions':[{'key':'" key "','operator':'NotIn','values':['" value "']}]"
#define WEIGHED(term) "{'weight':1,'podAffinityTerm':" term "}"
#define RULES(near, near_maybe, apart, apart_maybe)                                                \
        "{'podAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" near                  \
        ",{'topologyKey':'zone'}],'preferredDuringSchedulingIgnoredDuringExecution':[" near_maybe  \
        "]},'podAntiAffinity':{'requiredDuringSchedulingIgnoredDuringExecution':[" apart           \
        "],'preferredDuringSchedulingIgnoredDuringExecution':[" apart_maybe "]}}"

static const char *doubled(char *text)
{
        for (char *c = text; *c; c++)
                if (*c == '\'')
                        *c = '"';
        return text;
}

static struct json *made_near(const struct rec_action *act)
{
        static char rules[] =
                RULES(SELECTOR(""), WEIGHED(SELECTOR("")), SELECTOR(""), WEIGHED(SELECTOR("")));
        static char spread[] = "[" SELECTOR("") ",{'topologyKey':'zone'}]";
        struct vm vm = a_vm();
        struct json *pod;

        vm.spec.placement.affinity_json = doubled(rules);
        vm.spec.placement.spread_json = doubled(spread);
        pod = handle_pod(&vm, act, "image", NULL);
        assert_non_null(pod);
        return pod;
}

/*
 * The pod on the source is no neighbour of the one on the target. Where the new pod is asked
 * whether it is selected itself, it still is.
 */
static void a_pod_does_not_count_itself(void **state)
{
        const struct rec_action act = {
                .name = "p", .epoch = 7, .pin = "", .avoid = "", .for_migration = true};

        (void)state;
        autojson struct json *pod = made_near(&act);
        autojson struct json *want =
                json_of(RULES(SELECTOR(NOT("drover.dev/guest", "u1.6")),
                              WEIGHED(SELECTOR(NOT("drover.dev/vm-uid", "u1"))),
                              SELECTOR(NOT("drover.dev/vm-uid", "u1")),
                              WEIGHED(SELECTOR(NOT("drover.dev/vm-uid", "u1")))));
        autojson struct json *spread =
                json_of("[" SELECTOR(NOT("drover.dev/guest", "u1.6")) ",{'topologyKey':'zone'}]");
        const struct json *labels = json_path(pod, "metadata", "labels", NULL);

        assert_json_equal(part(pod, "spec/affinity/podAffinity"), json_get(want, "podAffinity"));
        assert_json_equal(part(pod, "spec/affinity/podAntiAffinity"),
                          json_get(want, "podAntiAffinity"));
        assert_json_equal(part(pod, "spec/topologySpreadConstraints"), spread);
        assert_string_equal(json_str(labels, "drover.dev/guest", ""), "u1.7");
        assert_string_equal(json_str(labels, "drover.dev/vm-uid", ""), "u1");
}

/* Its neighbours may have gone, and the guest is where it is. */
static void a_pod_that_adopts_a_guest_needs_no_neighbours(void **state)
{
        const struct rec_action act = {
                .name = "p", .epoch = 7, .pin = "n1", .avoid = "", .adopts = true};

        (void)state;
        autojson struct json *pod = made_near(&act);
        assert_null(json_path(pod, "spec", "affinity", "podAffinity", NULL));
        assert_null(json_path(pod, "spec", "topologySpreadConstraints", NULL));
        assert_non_null(json_path(pod, "spec", "affinity", "podAntiAffinity", NULL));
}

static void labels_are_copied_but_for_our_own(void **state)
{
        const struct rec_action act = {.name = "p", .epoch = 1, .pin = "", .avoid = ""};
        struct kv labels[] = {{"app", "web"}, {"drover.dev/vm", "not-me"}, {"tier", "b"}};
        struct vm vm = a_vm();

        (void)state;
        vm.meta.labels = (struct kvs){labels, 3};
        autojson struct json *pod = handle_pod(&vm, &act, "image", NULL);
        autojson struct json *want = json_of("{'app':'web','tier':'b','drover.dev/vm':'web',"
                                             "'drover.dev/vm-uid':'u1','drover.dev/guest':'u1.1'}");
        assert_json_equal(part(pod, "metadata/labels"), want);
        assert_string_equal(json_str(json_path(pod, "metadata", "annotations", NULL),
                                     "drover.dev/vm-labels", ""),
                            "app,tier");
}

/* What others have put on the pod stays; what was the VM's goes with it. */
static void changed_labels_reach_the_pod(void **state)
{
        struct kv is[] = {{"app", "db"}, {"new", "1"}};
        struct kv was[] = {{"app", "web"}, {"tier", "b"}, {"mesh", "x"}, {"drover.dev/vm", "web"}};
        struct kv notes[] = {{"drover.dev/vm-labels", "app,tier"}};
        struct pod pod = {.meta = {.labels = {was, 4}, .annotations = {notes, 1}}};
        struct vm vm = a_vm();

        (void)state;
        vm.meta.labels = (struct kvs){is, 2};
        autojson struct json *patch = handle_labels(&vm, &pod);
        autojson struct json *want =
                json_of("{'metadata':{'labels':{'app':'db','new':'1','tier':null},"
                        "'annotations':{'drover.dev/vm-labels':'app,new'}}}");
        assert_json_equal(patch, want);
}

static void fit_nodes_are_an_annotation(void **state)
{
        (void)state;
        autojson struct json *patch = handle_fit("n1,n2");
        autojson struct json *want =
                json_of("{'metadata':{'annotations':{'drover.dev/fit-nodes':'n1,n2'}}}");

        assert_json_equal(patch, want);
}

/* A container must use a volume for the kubelet to mount it; this one can do nothing with it. */
static void claims_are_mounted_for_the_pod(void **state)
{
        const struct rec_action act = {.name = "p", .epoch = 1, .pin = "", .avoid = ""};
        struct vm_disk disks[] = {{.name = "root", .kind = DISK_BLANK, .claim = ""},
                                  {.name = "data", .kind = DISK_PVC, .claim = "data-web.1"},
                                  {.name = "raw", .kind = DISK_PVC, .claim = "raw-web"}};
        const bool block[] = {false, false, true};
        struct vm vm = a_vm();

        (void)state;
        vm.spec.disks = disks;
        vm.spec.ndisks = 3;
        autojson struct json *pod = handle_pod(&vm, &act, "image", block);
        autojson struct json *volumes =
                json_of("[{'name':'data','persistentVolumeClaim':{'claimName':'data-web.1'}},"
                        "{'name':'raw','persistentVolumeClaim':{'claimName':'raw-web'}}]");
        autojson struct json *mounts =
                json_of("[{'name':'data','mountPath':'/claims/data','readOnly':true}]");
        autojson struct json *devices = json_of("[{'name':'raw','devicePath':'/claims/raw'}]");
        const struct json *c = json_first(json_path(pod, "spec", "containers", NULL));

        assert_json_equal(part(pod, "spec/volumes"), volumes);
        assert_json_equal(json_get(c, "volumeMounts"), mounts);
        assert_json_equal(json_get(c, "volumeDevices"), devices);
        autojson struct json *plain = made(&act);
        assert_null(json_path(plain, "spec", "volumes", NULL));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_pod_that_seeks_a_node_tolerates_nothing_more),
                cmocka_unit_test(a_pod_that_adopts_a_guest_tolerates_every_taint),
                cmocka_unit_test(a_pod_does_not_count_itself),
                cmocka_unit_test(a_pod_that_adopts_a_guest_needs_no_neighbours),
                cmocka_unit_test(labels_are_copied_but_for_our_own),
                cmocka_unit_test(changed_labels_reach_the_pod),
                cmocka_unit_test(fit_nodes_are_an_annotation),
                cmocka_unit_test(claims_are_mounted_for_the_pod),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
