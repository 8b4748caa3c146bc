#include "tests/unit/extender_scene.h"

#include "api/codec.h"

#include <pthread.h>
#include <stdatomic.h>

/* What filter says of demo's pod and these nodes: "" fits, else the reason, by name. */
static char said[8][CAPACITY_MESSAGE_MAX];
static bool moving; /* the pod is that of a move */
static int ask(const char *vm, const char *const *nodes, size_t n, struct err *e)
{
        autoarena struct arena *a = arena_new(1 << 20);
        struct json *j = pod_json("asking", vm, "", "Pending");
        struct strs names = {(const char **)(uintptr_t)nodes, n};
        struct fleet_verdict v;
        struct pod *pod = NULL;

        if (moving)
                json_set_str(json_object_at(json_object_at(j, "metadata"), "annotations"),
                             DROVER_MIGRATION_ANNOTATION, "demo-1-1");
        assert_int_equal(pod_decode(j, &pod, e), 0);
        json_free(j);
        int rc = fleet_filter(fleet, pod, &names, now, a, &v, e);
        pod_free(pod);
        if (rc < 0)
                return rc;
        assert_int_equal(v.result.nfit + v.result.nfailures, n);
        assert_int_equal(v.refused[CAPACITY_FITS], *vm ? v.result.nfit : 0);
        for (size_t i = 0; i < n; i++)
                snprintf(said[i], sizeof(said[i]), "?");
        for (size_t i = 0; i < v.result.nfit; i++)
                said[v.result.fit[i]][0] = '\0';
        for (size_t i = 0, at = 0; i < n; i++)
                if (*said[i])
                        snprintf(said[i], sizeof(said[i]), "%s", v.result.failures[at++].message);
        return 0;
}

static const char *const both[] = {"node1", "node2"};
static void expect(const char *of_node1, const char *of_node2)
{
        struct err e = {0};

        if (ask("demo", both, 2, &e) < 0)
                fail_msg("%s", e.msg);
        assert_string_equal(said[0], of_node1);
        assert_string_equal(said[1], of_node2);
}

static void healthy_hosts_fit(void **state)
{
        (void)state;
        expect("", "");
}

static void a_sick_mount_is_named(void **state)
{
        const char *reason =
                "node2: storage pool default at /var/lib/drover is unhealthy: probe did "
                "not answer for 5 s [rule 7 pool-health]";
        (void)state;
        event(fleet_host_event, KUBE_MODIFIED, host_json("node2", "", "Unhealthy"));
        expect("", reason);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node2", "", "Healthy"));
        expect("", "");
}

static void nodes_without_a_hypervisor_are_refused(void **state)
{
        const char *const nodes[] = {"plain", "node2", ""};
        struct err e;

        (void)state;
        lease("plain", KUBE_ADDED, WALL); /* heard of, but that is all */
        assert_int_equal(ask("demo", nodes, 3, &e), 0);
        assert_string_equal(
                said[0], "plain: no Drover agent has reported a hypervisor there [rule 1 no-host]");
        assert_string_equal(said[1], "");
        assert_string_equal(said[2],
                            ": no Drover agent has reported a hypervisor there [rule 1 no-host]");
        event(fleet_host_event, KUBE_DELETED, host_json("node2", "", "Healthy"));
        expect("", "node2: no Drover agent has reported a hypervisor there [rule 1 no-host]");
        assert_int_equal(fleet_count(fleet, now).hosts, 1);
}

static void pods_of_others_pass(void **state)
{
        const char *const nodes[] = {"plain", "node1"};
        struct err e;

        (void)state;
        assert_int_equal(ask("", nodes, 2, &e), 0);
        assert_string_equal(said[0], "");
        assert_string_equal(said[1], "");
}

static void an_unknown_vm_is_an_error(void **state)
{
        struct err e;

        (void)state;
        assert_int_equal(ask("other", both, 2, &e), -ENOENT);
        assert_string_equal(e.msg,
                            "VirtualMachine default/other is not known to drover-extender yet");
        event(fleet_vm_event, KUBE_DELETED, vm_json("demo", 4, ""));
        assert_int_equal(ask("demo", both, 2, &e), -ENOENT);
        assert_int_equal(fleet_count(fleet, now).vms, 0);
}

static void a_pod_of_an_earlier_vm_is_an_error(void **state)
{
        autoarena struct arena *a = arena_new(1 << 20);
        struct json *j = object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"demo-e1\","
                                "\"labels\":{\"drover.dev/vm\":\"demo\"},\"annotations\":{"
                                "\"drover.dev/vm-uid\":\"u-old\"}}}");
        struct strs none = {NULL, 0};
        struct fleet_verdict v;
        struct pod *pod = NULL;
        struct err e;

        (void)state;
        assert_int_equal(pod_decode(j, &pod, &e), 0);
        assert_int_equal(fleet_filter(fleet, pod, &none, now, a, &v, &e), -ENOENT);
        assert_string_equal(e.msg,
                            "pod demo-e1 was made for an earlier VirtualMachine default/demo, "
                            "of uid u-old");
        pod_free(pod);
        json_free(j);
}

/* --- heartbeats: by our clock, but for the first sight of a Lease */

static void silence_makes_a_host_unknown(void **state)
{
        (void)state;
        now.ns += 20 * SECOND;
        lease("node2", KUBE_MODIFIED, WALL + 15000000);
        expect("", "");
        now.ns += SECOND;
        expect("node1: its Drover agent has not been heard from for more than 20 s [rule 2 silent]",
               "");
        assert_int_equal(fleet_count(fleet, now).silent, 1);
        /* The same renewal again, as after a new list, is no sign of life. */
        lease("node1", KUBE_MODIFIED, WALL);
        expect("node1: its Drover agent has not been heard from for more than 20 s [rule 2 silent]",
               "");
        /* A node whose clock is far behind is alive all the same. */
        lease("node1", KUBE_MODIFIED, WALL - 3600000000);
        expect("", "");
        lease("node1", KUBE_DELETED, WALL);
        expect("node1: its Drover agent has sent no heartbeat yet [rule 2 silent]", "");
}

static void a_host_dead_before_we_began_is_not_alive(void **state)
{
        (void)state;
        lease("node1", KUBE_DELETED, WALL);
        lease("node1", KUBE_ADDED, WALL - 34000000);
        lease("node2", KUBE_DELETED, WALL);
        lease("node2", KUBE_ADDED, WALL + 34000000);
        expect("node1: its Drover agent has not been heard from for more than 20 s [rule 2 silent]",
               "");
}

static void other_leases_are_not_heartbeats(void **state)
{
        struct json *j = object("{\"metadata\":{\"name\":\"drover-migrator\"}}");
        struct err e;

        (void)state;
        assert_int_equal(fleet_lease_event(fleet, KUBE_ADDED, j, now, WALL, &e), 0);
        json_free(j);
        j = object("{\"metadata\":{\"name\":\"drover-node-node1\"},\"spec\":{\"renewTime\":7}}");
        assert_int_equal(fleet_lease_event(fleet, KUBE_MODIFIED, j, now, WALL, &e), -EINVAL);
        assert_string_equal(e.msg, "spec.renewTime \"\" is not a time");
        json_free(j);
        expect("", "");
}

/* --- what is promised to bound pods counts until their guest is there */

#define NO_CPUS "node1: 4 CPUs are asked for, 2 of 8 are free [rule 9 cpus]"

static void bound_pods_count_until_their_domain_does(void **state)
{
        (void)state;
        event(fleet_vm_event, KUBE_ADDED, vm_json("other", 6, ""));
        event(fleet_pod_event, KUBE_ADDED, pod_json("other-e1", "other", "", "Pending"));
        expect("", "");
        event(fleet_pod_event, KUBE_MODIFIED, pod_json("other-e1", "other", "node1", "Pending"));
        expect(NO_CPUS, "");
        assert_int_equal(fleet_count(fleet, now).handles, 1);
        /* The domain is there: the host's own sum has it (2 CPUs in this scene). */
        event(fleet_host_event, KUBE_MODIFIED,
              host_json("node1", "{\"uid\":\"u-other\",\"state\":\"Running\"}", "Healthy"));
        expect("", "");
        event(fleet_host_event, KUBE_MODIFIED,
              host_json("node1", "{\"uid\":\"u-other\",\"state\":\"Shutoff\"}", "Healthy"));
        expect("node1: 4 CPUs are asked for, 0 of 8 are free [rule 9 cpus]", "");
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Healthy"));
        expect(NO_CPUS, "");
        /* A pod that is over holds nothing. */
        event(fleet_pod_event, KUBE_MODIFIED, pod_json("other-e1", "other", "node1", "Failed"));
        expect("", "");
        event(fleet_pod_event, KUBE_MODIFIED, pod_json("other-e1", "other", "node1", "Running"));
        expect(NO_CPUS, "");
        event(fleet_pod_event, KUBE_DELETED, pod_json("other-e1", "other", "node1", "Running"));
        expect("", "");
        assert_int_equal(fleet_count(fleet, now).handles, 0);
}

static void two_pods_of_one_vm_count_once(void **state)
{
        (void)state;
        event(fleet_vm_event, KUBE_ADDED, vm_json("other", 3, ""));
        event(fleet_pod_event, KUBE_ADDED, pod_json("other-e1", "other", "node1", "Running"));
        event(fleet_pod_event, KUBE_ADDED, pod_json("other-e2", "other", "node1", "Running"));
        expect("", "");
        event(fleet_pod_event, KUBE_DELETED, pod_json("other-e2", "other", "node1", "Running"));
        event(fleet_vm_event, KUBE_MODIFIED, vm_json("other", 5, ""));
        expect("node1: 4 CPUs are asked for, 3 of 8 are free [rule 9 cpus]", "");
        /* Bound elsewhere under the same name: the room here is free again. */
        event(fleet_pod_event, KUBE_MODIFIED, pod_json("other-e1", "other", "node2", "Running"));
        expect("", "node2: 4 CPUs are asked for, 3 of 8 are free [rule 9 cpus]");
}

static void pods_may_be_seen_before_their_vm_and_after(void **state)
{
        (void)state;
        event(fleet_pod_event, KUBE_ADDED, pod_json("late-e1", "late", "node1", "Running"));
        event(fleet_pod_event, KUBE_ADDED, pod_json("late-e2", "late", "unseen", "Running"));
        expect("", "");
        event(fleet_vm_event, KUBE_ADDED, vm_json("late", 6, ""));
        expect(NO_CPUS, "");
        event(fleet_vm_event, KUBE_DELETED, vm_json("late", 6, ""));
        expect("", "");
        for (int i = 0; i < 3; i++) {
                char name[8];

                snprintf(name, sizeof(name), "p%d", i);
                event(fleet_pod_event, KUBE_ADDED, pod_json(name, name, "node1", "Running"));
        }
        /* Even of an unknown VM one slot is taken; the host has three. */
        expect("node1: all of its 3 VM slots are taken [rule 8 slots]", "");
}

static void a_running_vm_asks_for_what_it_runs_with(void **state)
{
        (void)state;
        event(fleet_vm_event, KUBE_MODIFIED,
              vm_json("demo", 20,
                      "{\"owner\":{\"node\":\"node1\",\"epoch\":3},\"running\":{\"cores\":2,"
                      "\"memory\":"
                      "1073741824}}"));
        expect("", "");
        /* Halted, the next start is with the spec's. */
        event(fleet_vm_event, KUBE_MODIFIED,
              vm_json("demo", 20,
                      "{\"owner\":{\"node\":\"\",\"epoch\":3},\"running\":{\"cores\":2,\"memory\":"
                      "1073741824}}"));
        expect("node1: 20 CPUs are asked for, 8 of 8 are free [rule 9 cpus]",
               "node2: 20 CPUs are asked for, 8 of 8 are free [rule 9 cpus]");
}

static void the_host_that_has_the_guest_takes_its_handle(void **state)
{
        (void)state;
        event(fleet_vm_event, KUBE_MODIFIED, vm_json("demo", 20, ""));
        event(fleet_host_event, KUBE_MODIFIED,
              host_json("node1", "{\"uid\":\"u-demo\",\"state\":\"Paused\"}", "Unhealthy"));
        expect("", "node2: 20 CPUs are asked for, 8 of 8 are free [rule 9 cpus]");
}

/* A host whose pool is said not to be shared with that node. */
static struct json *apart_json(const char *name, const char *from, const char *state)
{
        struct json *j = host_json(name, "", "Healthy");
        struct json *mount =
                (struct json *)(uintptr_t)json_first(json_get(json_get(j, "status"), "mounts"));
        struct json *peer = json_new_object(), *peers = json_new_array();

        json_set_str(peer, "node", from);
        json_set_str(peer, "state", state);
        assert_true(json_add(peers, peer));
        assert_true(json_set(mount, "sharedWith", peers));
        return j;
}

static void a_guest_moves_only_where_its_disks_are(void **state)
{
        (void)state;
        event(fleet_vm_event, KUBE_MODIFIED,
              vm_json("demo", 4, "{\"owner\":{\"node\":\"node1\",\"epoch\":1}}"));
        event(fleet_host_event, KUBE_MODIFIED, apart_json("node2", "node1", "NotShared"));
        expect("", ""); /* its pod is made anew: wherever it is */
        moving = true;
        expect("", "node2: storage pool default is not the one of node1, where the guest is [rule "
                   "12 pool-apart]");
        event(fleet_host_event, KUBE_MODIFIED, apart_json("node2", "node1", "Unknown"));
        expect("", "");
        event(fleet_host_event, KUBE_MODIFIED, apart_json("node1", "node2", "NotShared"));
        expect("", "node2: storage pool default is not the one of node1, where the guest is [rule "
                   "12 pool-apart]");
        event(fleet_host_event, KUBE_DELETED, host_json("node1", "", "Healthy"));
        expect("node1: no Drover agent has reported a hypervisor there [rule 1 no-host]", "");
        moving = false;
}

static void what_cannot_be_decoded_changes_nothing(void **state)
{
        struct json *bad[] = {
                object("{\"metadata\":{\"name\":\"node1\"},\"status\":{\"capacity\":7}}"),
                object("{\"metadata\":{}}"),
                object("{}"),
        };
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(bad); i++) {
                assert_true(fleet_host_event(fleet, KUBE_MODIFIED, bad[i], &e) < 0);
                json_free(bad[i]);
        }
        struct json *vm = object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"demo\"},"
                                 "\"spec\":{\"cpu\":{\"cores\":\"four\"}}}");
        assert_true(fleet_vm_event(fleet, KUBE_MODIFIED, vm, &e) < 0);
        json_free(vm);
        expect("", "");
}

static void scores_tell_hosts_apart(void **state)
{
        const char *const nodes[] = {"node1", "plain", "node2"};
        struct strs names = {(const char **)(uintptr_t)nodes, 3};
        struct json *j = pod_json("demo-e1", "demo", "", "Pending");
        autoarena struct arena *a = arena_new(1 << 20);
        int scores[3] = {-1, -1, -1};
        struct pod *pod = NULL;
        struct err e;

        (void)state;
        assert_int_equal(pod_decode(j, &pod, &e), 0);
        event(fleet_host_event, KUBE_MODIFIED,
              host_json("node1", "{\"uid\":\"u-x\",\"state\":\"Running\"}", "Healthy"));
        assert_int_equal(fleet_scores(fleet, pod, &names, now, a, scores, &e), 0);
        assert_int_equal(scores[1], 0);
        assert_true(scores[2] > scores[0]);
        pod->vm = "";
        assert_int_equal(fleet_scores(fleet, pod, &names, now, a, scores, &e), 0);
        assert_int_equal(scores[0] + scores[1] + scores[2], 0);
        pod->vm = "nobody";
        assert_int_equal(fleet_scores(fleet, pod, &names, now, a, scores, &e), -ENOENT);
        pod_free(pod);
        json_free(j);
}

/* --- lists */

/* What a list does not show is gone, though nobody says so. */
static void what_a_list_does_not_show_is_gone(void **state)
{
        const char *no_host =
                "node1: no Drover agent has reported a hypervisor there [rule 1 no-host]";
        struct err e;

        (void)state;
        event(fleet_pod_event, KUBE_ADDED, pod_json("h1", "other", "node1", "Running"));
        event(fleet_pod_event, KUBE_ADDED, pod_json("h2", "other", "", "Pending"));
        event(fleet_vm_event, KUBE_ADDED, vm_json("other", 6, ""));
        expect("node1: 4 CPUs are asked for, 2 of 8 are free [rule 9 cpus]", "");
        fleet_listing(fleet, FLEET_PODS);
        event(fleet_pod_event, KUBE_MODIFIED, pod_json("h2", "other", "", "Pending"));
        expect("node1: 4 CPUs are asked for, 2 of 8 are free [rule 9 cpus]", ""); /* not yet */
        fleet_listed(fleet, FLEET_PODS);
        expect("", "");
        assert_int_equal(fleet_count(fleet, now).handles, 1);

        fleet_listing(fleet, FLEET_HOSTS);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node2", "", "Healthy"));
        fleet_listed(fleet, FLEET_HOSTS);
        expect(no_host, "");
        event(fleet_host_event, KUBE_ADDED, host_json("node1", "", "Healthy"));
        expect("", ""); /* its heartbeat was not forgotten */

        fleet_listing(fleet, FLEET_LEASES);
        lease("node2", KUBE_MODIFIED, WALL);
        fleet_listed(fleet, FLEET_LEASES);
        expect("node1: its Drover agent has sent no heartbeat yet [rule 2 silent]", "");
        lease("node1", KUBE_ADDED, WALL);

        fleet_listing(fleet, FLEET_VMS);
        event(fleet_vm_event, KUBE_MODIFIED, vm_json("demo", 4, ""));
        fleet_listed(fleet, FLEET_VMS);
        expect("", "");
        assert_int_equal(ask("other", both, 2, &e), -ENOENT);
        assert_int_equal(fleet_count(fleet, now).vms, 1);
}

/* A list that is broken off shows nothing; events after a list are part of it. */
static void a_list_counts_from_its_beginning(void **state)
{
        (void)state;
        fleet_listing(fleet, FLEET_HOSTS);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Healthy"));
        fleet_listing(fleet, FLEET_HOSTS);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node2", "", "Healthy"));
        fleet_listed(fleet, FLEET_HOSTS);
        assert_int_equal(fleet_count(fleet, now).hosts, 1);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Healthy"));
        fleet_listed(fleet, FLEET_HOSTS);
        assert_int_equal(fleet_count(fleet, now).hosts, 2);
}

/* What cannot be decoded is there all the same, and stays as it was. */
static void a_list_of_what_cannot_be_decoded_forgets_nothing(void **state)
{
        const struct {
                enum fleet_kind kind;
                event_fn *fn;
                struct json *bad;
        } rows[] = {
                {FLEET_HOSTS, fleet_host_event,
                 object("{\"metadata\":{\"name\":\"node1\"},\"status\":{\"capacity\":7}}")},
                {FLEET_VMS, fleet_vm_event,
                 object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"demo\"},\"spec\":7}")},
                {FLEET_PODS, fleet_pod_event,
                 object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"h1\"},\"spec\":7}")},
        };
        struct err e;

        (void)state;
        event(fleet_pod_event, KUBE_ADDED, pod_json("h1", "demo", "node1", "Running"));
        for (size_t i = 0; i < countof(rows); i++) {
                fleet_listing(fleet, rows[i].kind);
                assert_true(rows[i].fn(fleet, KUBE_MODIFIED, rows[i].bad, &e) < 0);
                fleet_listed(fleet, rows[i].kind);
                json_free(rows[i].bad);
        }
        assert_int_equal(fleet_count(fleet, now).hosts, 1);
        assert_int_equal(fleet_count(fleet, now).vms, 1);
        assert_int_equal(fleet_count(fleet, now).handles, 1);
        struct json *bad = object("{\"metadata\":{\"name\":\"drover-node-node1\"},\"spec\":{}}");
        fleet_listing(fleet, FLEET_LEASES);
        assert_int_equal(fleet_lease_event(fleet, KUBE_MODIFIED, bad, now, WALL, &e), -EINVAL);
        fleet_listed(fleet, FLEET_LEASES);
        json_free(bad);
        assert_int_equal(fleet_count(fleet, now).silent, 0);
}

/* --- preemption */

/* What is kept of node1 with victim a and of node2 with victims b and, if given, c: "", "1", "12".
 */
static const char *preempt(const char *vm, const char *a, const char *b, const char *c)
{
        static char said_of[3];
        struct json *j = pod_json("asking", vm, "", "Pending");
        struct extender_victim victims[] = {{.uid = a}, {.uid = b}, {.uid = c}};
        struct extender_candidate two[] = {
                {.name = "node1", .victims = victims, .nvictims = 1},
                {.name = "node2", .victims = victims + 1, .nvictims = c ? 2 : 1}};
        struct extender_preemption p = {.v = two, .n = 2};
        bool keep[2];
        struct err e;

        assert_int_equal(pod_decode(j, &p.pod, &e), 0);
        json_free(j);
        if (fleet_preempt(fleet, &p, now, keep, &e) < 0)
                fail_msg("%s", e.msg);
        pod_free(p.pod);
        snprintf(said_of, sizeof(said_of), "%s%s", keep[0] ? "1" : "", keep[1] ? "2" : "");
        return said_of;
}

static void preemption_helps_where_no_rule_refuses(void **state)
{
        (void)state;
        assert_string_equal(preempt("demo", "u-a", "u-b", NULL), "12");
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Unhealthy"));
        assert_string_equal(preempt("demo", "u-a", "u-b", NULL), "2");
        /* No deletion of a pod frees a CPU for guests. */
        event(fleet_vm_event, KUBE_MODIFIED, vm_json("demo", 9, ""));
        assert_string_equal(preempt("demo", "u-a", "u-b", NULL), "");
        /* Of other pods nothing is known but that guests stay. */
        assert_string_equal(preempt("", "u-a", "u-b", NULL), "12");
}

static struct json *handle_json(const char *uid, const char *node, const char *phase)
{
        return object("{\"metadata\":{\"namespace\":\"default\",\"name\":\"h-%s\",\"uid\":\"%s\","
                      "\"labels\":{\"drover.dev/vm\":\"other\"}},\"spec\":{\"nodeName\":\"%s\"},"
                      "\"status\":{\"phase\":\"%s\"}}",
                      uid, uid, node, phase);
}

/* Deleting a handle ends no guest. */
static void a_handle_is_nobodys_victim(void **state)
{
        (void)state;
        event(fleet_pod_event, KUBE_ADDED, handle_json("u-h1", "node1", "Running"));
        assert_string_equal(preempt("demo", "u-h1", "u-b", NULL), "2");
        assert_string_equal(preempt("", "u-h1", "u-b", NULL), "2");
        /* One whose binding has not been seen yet. */
        event(fleet_pod_event, KUBE_ADDED, handle_json("u-h2", "", "Pending"));
        event(fleet_pod_event, KUBE_ADDED, handle_json("u-h3", "", "Pending"));
        event(fleet_pod_event, KUBE_ADDED, handle_json("u-h4", "", "Pending"));
        assert_string_equal(preempt("demo", "u-a", "u-b", "u-h3"), "1");
        event(fleet_pod_event, KUBE_MODIFIED, handle_json("u-h3", "node2", "Pending"));
        assert_string_equal(preempt("demo", "u-a", "u-b", "u-h3"), "1");
        event(fleet_pod_event, KUBE_DELETED, handle_json("u-h2", "", "Pending"));
        event(fleet_pod_event, KUBE_MODIFIED, handle_json("u-h4", "", "Failed"));
        assert_string_equal(preempt("demo", "u-h2", "u-h4", NULL), "12");
        assert_int_equal(fleet_count(fleet, now).handles, 2);
}

static void preemption_without_victims_or_vm(void **state)
{
        struct json *j = pod_json("asking", "nobody", "", "Pending");
        struct extender_candidate none = {.name = "node1"};
        struct extender_preemption p = {.v = &none, .n = 1};
        bool keep = true;
        struct err e;

        (void)state;
        assert_int_equal(pod_decode(j, &p.pod, &e), 0);
        json_free(j);
        assert_int_equal(fleet_preempt(fleet, &p, now, &keep, &e), -ENOENT);
        p.pod->vm = "demo";
        assert_int_equal(fleet_preempt(fleet, &p, now, &keep, &e), 0);
        assert_false(keep); /* the scheduler takes it for a fault */
        pod_free(p.pod);
}

/* --- under stress */

static void each_allocation_may_fail(void **state)
{
        struct json *host =
                host_json("node3", "{\"uid\":\"u-x\",\"state\":\"Running\"}", "Unhealthy");
        struct json *vm = vm_json("more", 1, ""), *pod = pod_json("p", "more", "node4", "Running");
        const struct {
                event_fn *fn;
                struct json *j;
        } steps[] = {{fleet_host_event, host}, {fleet_vm_event, vm}, {fleet_pod_event, pod}};
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(steps); i++) {
                bool failed = true;

                for (unsigned long n = 1; failed; n++) {
                        oom_arm(n);
                        int rc = steps[i].fn(fleet, KUBE_ADDED, steps[i].j, &e);
                        failed = oom_disarm();
                        assert_int_equal(rc, failed ? -ENOMEM : 0);
                }
        }
        assert_int_equal(fleet_count(fleet, now).hosts, 3);
        expect("", "");
        json_free(host);
        json_free(vm);
        json_free(pod);
}

static void answers_survive_failing_allocations(void **state)
{
        struct strs names = {(const char **)(uintptr_t)both, 2};
        struct json *j = pod_json("demo-e1", "demo", "", "Pending");
        struct pod *pod = NULL;
        bool failed = true;
        struct err e;

        (void)state;
        assert_int_equal(pod_decode(j, &pod, &e), 0);
        event(fleet_host_event, KUBE_MODIFIED, host_json("node2", "", "Unhealthy"));
        for (unsigned long n = 1; failed; n++) {
                autoarena struct arena *a = arena_new(1 << 20);
                struct fleet_verdict v;

                int scores[2];

                oom_arm(n);
                int rc = fleet_filter(fleet, pod, &names, now, a, &v, &e);
                if (rc == 0)
                        rc = fleet_scores(fleet, pod, &names, now, a, scores, &e);
                failed = oom_disarm();
                assert_int_equal(rc, failed ? -ENOMEM : 0);
        }
        pod_free(pod);
        json_free(j);
}

static atomic_bool done;
static void *asker(void *arg)
{
        struct json *j = pod_json("demo-e1", "demo", "", "Pending");
        struct strs names = {(const char **)(uintptr_t)both, 2};
        struct pod *pod = NULL;
        struct err e;

        (void)arg;
        if (pod_decode(j, &pod, &e) < 0)
                return "cannot decode";
        while (!atomic_load(&done)) {
                autoarena struct arena *a = arena_new(1 << 20);
                struct fleet_verdict v;
                int scores[2];

                if (fleet_filter(fleet, pod, &names, now, a, &v, &e) < 0 ||
                    fleet_scores(fleet, pod, &names, now, a, scores, &e) < 0)
                        break;
        }
        pod_free(pod);
        json_free(j);
        return atomic_load(&done) ? NULL : "failed";
}

static void events_and_questions_at_once(void **state)
{
        pthread_t threads[3];
        void *failure;

        (void)state;
        atomic_store(&done, false);
        for (size_t i = 0; i < countof(threads); i++)
                pthread_create(&threads[i], NULL, asker, NULL);
        for (int i = 0; i < 300; i++) {
                event(fleet_host_event, KUBE_MODIFIED,
                      host_json("node1", i % 2 ? "{\"uid\":\"u-x\",\"state\":\"Running\"}" : "",
                                i % 3 ? "Healthy" : "Unhealthy"));
                event(fleet_vm_event, KUBE_MODIFIED, vm_json("demo", 1 + i % 5, ""));
                event(fleet_pod_event, i % 4 ? KUBE_MODIFIED : KUBE_DELETED,
                      pod_json("demo-e1", "demo", i % 2 ? "node1" : "node2", "Running"));
                lease("node2", KUBE_MODIFIED, WALL + i);
        }
        atomic_store(&done, true);
        for (size_t i = 0; i < countof(threads); i++) {
                pthread_join(threads[i], &failure);
                assert_null(failure);
        }
}

#define scene_test(f) cmocka_unit_test_setup_teardown(f, scene_new, scene_free)
int main(void)
{
        const struct CMUnitTest tests[] = {
                scene_test(healthy_hosts_fit),
                scene_test(a_sick_mount_is_named),
                scene_test(nodes_without_a_hypervisor_are_refused),
                scene_test(pods_of_others_pass),
                scene_test(an_unknown_vm_is_an_error),
                scene_test(a_pod_of_an_earlier_vm_is_an_error),
                scene_test(silence_makes_a_host_unknown),
                scene_test(a_host_dead_before_we_began_is_not_alive),
                scene_test(other_leases_are_not_heartbeats),
                scene_test(bound_pods_count_until_their_domain_does),
                scene_test(two_pods_of_one_vm_count_once),
                scene_test(pods_may_be_seen_before_their_vm_and_after),
                scene_test(a_running_vm_asks_for_what_it_runs_with),
                scene_test(the_host_that_has_the_guest_takes_its_handle),
                scene_test(a_guest_moves_only_where_its_disks_are),
                scene_test(what_cannot_be_decoded_changes_nothing),
                scene_test(scores_tell_hosts_apart),
                scene_test(what_a_list_does_not_show_is_gone),
                scene_test(a_list_counts_from_its_beginning),
                scene_test(a_list_of_what_cannot_be_decoded_forgets_nothing),
                scene_test(preemption_helps_where_no_rule_refuses),
                scene_test(a_handle_is_nobodys_victim),
                scene_test(preemption_without_victims_or_vm),
                scene_test(each_allocation_may_fail),
                scene_test(answers_survive_failing_allocations),
                scene_test(events_and_questions_at_once),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
