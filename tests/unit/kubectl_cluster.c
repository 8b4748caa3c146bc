#include "kubectl/cluster.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* ' stands for " in the rows. */
static struct json *parse(const char *text)
{
        char copy[8192];
        struct json *j = NULL;
        struct err e;

        snprintf(copy, sizeof(copy), "%s", text);
        for (char *p = copy; (p = strchr(p, '\'')); p++)
                *p = '"';
        if (json_parse(copy, strlen(copy), sizeof(copy), &j, &e))
                fail_msg("%s: %s", e.msg, copy);
        return j;
}

static struct findings begin(struct arena **a)
{
        *a = arena_new(1 << 20);
        return findings_new(*a, 64);
}

/* The worst of that check and node (NULL: any), -1 when nothing is said. */
static int worst(const struct findings *f, unsigned check, const char *node)
{
        int found = -1;

        assert_false(f->failed);
        for (size_t i = 0; i < f->n; i++) {
                if (f->v[i].check != check || (node && strcmp(node, f->v[i].node) != 0))
                        continue;
                if ((int)f->v[i].verdict > found)
                        found = (int)f->v[i].verdict;
                if (f->v[i].verdict != DOCTOR_OK)
                        assert_true(strlen(f->v[i].mend) > 10);
        }
        return found;
}

#define LIST(x) "{'items':[" x "]}"
#define DEPLOYMENT(name, want, have)                                                               \
        "{'kind':'Deployment','metadata':{'name':'drover-" name "'},'spec':{'replicas':" want      \
        "},'status':{'availableReplicas':" have "}}"
#define AGENT(name, node, ready)                                                                   \
        "{'kind':'Pod','metadata':{'name':'" name                                                  \
        "','labels':{'app.kubernetes.io/name':'drover-agent'}},'spec':{'nodeName':'" node          \
        "'},'status':{'phase':'Running','conditions':[{'type':'Ready','status':'" ready            \
        "','message':'why'}]}}"

static void components(void **state)
{
        static const struct {
                const char *list;
                int want;
        } ROWS[] = {
                {LIST(DEPLOYMENT("webhook", "2", "2") "," DEPLOYMENT(
                         "extender", "2", "2") "," DEPLOYMENT("migrator", "2", "2")),
                 DOCTOR_OK},
                {LIST(DEPLOYMENT("webhook", "2", "1") "," DEPLOYMENT(
                         "extender", "2", "2") "," DEPLOYMENT("migrator", "2", "2")),
                 DOCTOR_WARNING},
                {LIST(DEPLOYMENT("webhook", "2", "0") "," DEPLOYMENT(
                         "extender", "2", "2") "," DEPLOYMENT("migrator", "2", "2")),
                 DOCTOR_FAULT},
                {LIST(DEPLOYMENT("webhook", "2", "2") "," DEPLOYMENT("extender", "2", "2")),
                 DOCTOR_FAULT},
                {LIST(DEPLOYMENT("certs", "1", "0") "," DEPLOYMENT(
                         "webhook", "2", "2") "," DEPLOYMENT("extender", "2",
                                                             "2") "," DEPLOYMENT("migrator", "2",
                                                                                 "2")),
                 DOCTOR_FAULT},
                {"{}", DOCTOR_FAULT},
                {"[1,2]", DOCTOR_FAULT},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *list = parse(ROWS[i].list);
                autoarena struct arena *a = NULL;
                struct findings f = begin(&a);

                judge_components(list, &f);
                if (worst(&f, DOCTOR_COMPONENTS, NULL) != ROWS[i].want)
                        fail_msg("row %zu", i);
        }
}

static void agents(void **state)
{
        autojson struct json *list =
                parse(LIST(AGENT("b", "n2", "False") "," AGENT("a", "n1", "True") "," //
                           AGENT("a-old", "n1", "False") "," AGENT("c", "n3", "True")));
        autojson struct json *nodes = parse(LIST("{'kind':'Node','metadata':{'name':'n1','labels':{"
                                                 "'drover.dev/hypervisor':'true'}}},"
                                                 "{'kind':'Node','metadata':{'name':'n4','labels':{"
                                                 "'drover.dev/hypervisor':'true'}}},"
                                                 "{'kind':'Node','metadata':{'name':'n5','labels':{"
                                                 "'drover.dev/hypervisor':'false'}}}"));
        autojson struct json *none = parse("{}");
        autoarena struct arena *a = NULL, *b = NULL;
        struct findings f = begin(&a), g = begin(&b);
        const char *const some[] = {"n3", "n9"};
        struct agent_pod pods[8];

        (void)state;
        judge_agents(list, nodes, &f);
        assert_int_equal(worst(&f, DOCTOR_AGENTS, "n1"), DOCTOR_OK); /* the pod that counts */
        assert_int_equal(worst(&f, DOCTOR_AGENTS, "n2"), DOCTOR_FAULT);
        assert_int_equal(worst(&f, DOCTOR_AGENTS, "n4"), DOCTOR_FAULT);
        assert_int_equal(worst(&f, DOCTOR_AGENTS, "n5"), -1);
        judge_agents(none, none, &g);
        assert_int_equal(worst(&g, DOCTOR_AGENTS, NULL), DOCTOR_FAULT);

        assert_int_equal(cluster_agents(list, NULL, 0, pods, 8), 3);
        assert_string_equal(pods[0].pod, "a");
        assert_string_equal(pods[2].node, "n3");
        assert_int_equal(cluster_agents(list, some, 2, pods, 8), 1);
        assert_string_equal(pods[0].node, "n3");
        assert_int_equal(cluster_agents(list, NULL, 0, pods, 2), 2);
}

#define CRD(name, version, served, established)                                                    \
        "{'kind':'CustomResourceDefinition','metadata':{'name':'" name                             \
        ".drover.dev'},'spec':{'versions':[{'name':'" version "','served':" served                 \
        ",'storage':true}]},'status':{'conditions':[{'type':'Established','status':'" established  \
        "'}]}}"
#define CRDS_BUT_ONE                                                                               \
        CRD("virtualmachines", "v1alpha1", "true", "True")                                         \
        "," CRD("virtualmachinehosts", "v1alpha1", "true", "True") "," CRD(                        \
                "virtualmachineimages", "v1alpha1", "true",                                        \
                "True") "," CRD("virtualmachinesnapshots", "v1alpha1", "true", "True")

static void definitions(void **state)
{
        static const struct {
                const char *list;
                int want;
        } ROWS[] = {
                {LIST(CRDS_BUT_ONE "," CRD("virtualmachinemigrations", "v1alpha1", "true", "True")),
                 DOCTOR_OK},
                {LIST(CRDS_BUT_ONE), DOCTOR_FAULT},
                {LIST(CRDS_BUT_ONE "," CRD("virtualmachinemigrations", "v1", "true", "True")),
                 DOCTOR_FAULT},
                {LIST(CRDS_BUT_ONE
                      "," CRD("virtualmachinemigrations", "v1alpha1", "false", "True")),
                 DOCTOR_FAULT},
                {LIST(CRDS_BUT_ONE
                      "," CRD("virtualmachinemigrations", "v1alpha1", "true", "False")),
                 DOCTOR_FAULT},
                {"{}", DOCTOR_FAULT},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *list = parse(ROWS[i].list);
                autoarena struct arena *a = NULL;
                struct findings f = begin(&a);

                judge_crds(list, &f);
                if (worst(&f, DOCTOR_CRDS, NULL) != ROWS[i].want)
                        fail_msg("row %zu", i);
        }
}

#define HOOKS(kind, bundle)                                                                        \
        "{'kind':'" kind "WebhookConfiguration','metadata':{'name':'drover'},'webhooks':[{'name':" \
        "'x.drover.dev','clientConfig':{'caBundle':'" bundle "'}}]}"

static void admission(void **state)
{
        static const struct {
                const char *list, *secrets;
                int want;
        } ROWS[] = {
                {LIST(HOOKS("Mutating", "eA==") "," HOOKS("Validating", "eA==")), "{}", DOCTOR_OK},
                {LIST(HOOKS("Mutating", "eA==") "," HOOKS("Validating", "")), "{}", DOCTOR_FAULT},
                {LIST(HOOKS("Mutating", "eA==") "," HOOKS("Validating", "!")), "{}", DOCTOR_FAULT},
                {LIST(HOOKS("Mutating", "eA==")), "{}", DOCTOR_FAULT},
                {LIST(HOOKS("Mutating", "eA==") "," HOOKS("Validating", "eA==")),
                 LIST("{'kind':'Secret','metadata':{'name':'drover-webhook-tls'},'data':{'tls.crt':"
                      "'eA=='}}"),
                 DOCTOR_FAULT},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *list = parse(ROWS[i].list);
                autojson struct json *secrets = parse(ROWS[i].secrets);
                autoarena struct arena *a = NULL;
                struct findings f = begin(&a);

                judge_admission(list, secrets, &f);
                if (worst(&f, DOCTOR_ADMISSION, NULL) != ROWS[i].want)
                        fail_msg("row %zu", i);
        }
}

#define WAITING(why)                                                                               \
        "{'kind':'Pod','metadata':{'name':'p'},'status':{'conditions':[{'type':'PodScheduled',"    \
        "'status':'False','message':'" why "'}]}}"
#define SCHEDULER(word)                                                                            \
        "{'kind':'Pod','spec':{'containers':[{'command':['kube-scheduler','" word "']}]}}"

static void scheduler(void **state)
{
        static const struct {
                const char *pending, *schedulers, *workloads;
                int want;
        } ROWS[] = {
                {"{}", "{}", "{}", DOCTOR_OK},
                {LIST(WAITING("0/3 nodes: 3 node2: pool is unhealthy")), "{}", "{}", DOCTOR_OK},
                {LIST(WAITING("0/3 nodes: 3 Insufficient drover.dev/vm.")), "{}", "{}",
                 DOCTOR_FAULT},
                {"{}", LIST(SCHEDULER("--leader-elect=true")), "{}", DOCTOR_FAULT},
                {"{}", LIST(SCHEDULER("--config=/x.yaml")), "{}", DOCTOR_OK},
                {"{}", LIST(SCHEDULER("--leader-elect=true")),
                 LIST(DEPLOYMENT("scheduler", "1", "1")), DOCTOR_OK},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autojson struct json *pending = parse(ROWS[i].pending);
                autojson struct json *schedulers = parse(ROWS[i].schedulers);
                autojson struct json *workloads = parse(ROWS[i].workloads);
                autoarena struct arena *a = NULL;
                struct findings f = begin(&a);

                judge_scheduler(pending, schedulers, workloads, &f);
                if (worst(&f, DOCTOR_SCHEDULER, NULL) != ROWS[i].want)
                        fail_msg("row %zu", i);
        }
}

#define HOST(name, ready, health)                                                                  \
        "{'kind':'VirtualMachineHost','metadata':{'name':'" name                                   \
        "'},'status':{'conditions':[{'type':'Ready','status':'" ready                              \
        "'}],'mounts':[{'pool':'default','health':'" health "','reason':'hangs'}]}}"

static void hosts(void **state)
{
        autojson struct json *list =
                parse(LIST(HOST("n1", "True", "Healthy") "," //
                           HOST("n2", "False", "Unhealthy") "," HOST("n3", "True", "Unknown")));
        autojson struct json *pods =
                parse(LIST(AGENT("a", "n1", "True") "," AGENT("b", "n9", "True")));
        autoarena struct arena *a = NULL;
        struct findings f = begin(&a);

        (void)state;
        judge_hosts(list, pods, &f);
        assert_int_equal(worst(&f, DOCTOR_HOSTS, "n1"), DOCTOR_OK);
        assert_int_equal(worst(&f, DOCTOR_POOL_HEALTH, "n1"), DOCTOR_OK);
        assert_int_equal(worst(&f, DOCTOR_HOSTS, "n2"), DOCTOR_FAULT);
        assert_int_equal(worst(&f, DOCTOR_POOL_HEALTH, "n2"), DOCTOR_FAULT);
        assert_int_equal(worst(&f, DOCTOR_POOL_HEALTH, "n3"), DOCTOR_WARNING);
        assert_int_equal(worst(&f, DOCTOR_HOSTS, "n9"), DOCTOR_FAULT);
}

#define LEASE(name, at)                                                                            \
        "{'kind':'Lease','metadata':{'name':'" name "'},'spec':{'renewTime':'2026-01-01T00:" at    \
        ".000000Z'}}"

static void heartbeats(void **state)
{
        autojson struct json *leases =
                parse(LIST(LEASE("drover-migrator", "10:00") "," //
                           LEASE("drover-node-n1", "09:45") "," LEASE("drover-node-n2", "09:30")));
        autojson struct json *pods =
                parse(LIST(AGENT("a", "n1", "True") "," AGENT("b", "n2", "True") "," //
                           AGENT("c", "n3", "True")));
        autoarena struct arena *a = NULL;
        struct findings f = begin(&a);

        (void)state;
        judge_heartbeats(leases, pods, &f);
        assert_int_equal(worst(&f, DOCTOR_HEARTBEAT, "n1"), DOCTOR_OK);
        assert_int_equal(worst(&f, DOCTOR_HEARTBEAT, "n2"), DOCTOR_FAULT);
        assert_int_equal(worst(&f, DOCTOR_HEARTBEAT, "n3"), DOCTOR_FAULT);
}

static void nothing_is_said_of_what_is_not_readable(void **state)
{
        autoarena struct arena *a = NULL;
        struct findings f = begin(&a);

        (void)state;
        judge_components(NULL, &f);
        judge_agents(NULL, NULL, &f);
        judge_crds(NULL, &f);
        judge_admission(NULL, NULL, &f);
        judge_secrets(NULL, 0, &f);
        judge_hosts(NULL, NULL, &f);
        judge_heartbeats(NULL, NULL, &f);
        assert_int_equal(f.n, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(components),
                cmocka_unit_test(agents),
                cmocka_unit_test(definitions),
                cmocka_unit_test(admission),
                cmocka_unit_test(scheduler),
                cmocka_unit_test(hosts),
                cmocka_unit_test(heartbeats),
                cmocka_unit_test(nothing_is_said_of_what_is_not_readable),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
