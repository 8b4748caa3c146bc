/* Whether a VM fits the hypervisors: what is asked of the API server, when, and what is said. */
#include "webhook/hosts.h"

#include "tests/unit/webhook_scene.h"
#include "webhook/review.h"

#define LONG_MS 20000
#define NODE(name, disk)                                                                           \
        "{'metadata':{'name':'" name "','labels':{'drover.dev/hypervisor':'true','disk':'" disk    \
        "'}}}"
#define HOST(name, cpus, memory)                                                                   \
        "{'metadata':{'name':'" name "'},'status':{'capacity':{'cpus':" cpus ",'memory':" memory   \
        ",'cpuOvercommitPercent':200,'reservedMemory':1000}}}"

static struct hosts hosts;

static int setup(void **state)
{
        scene_setup(state);
        hosts_init(&hosts, scene.client);
        return 0;
}

static int teardown(void **state)
{
        hosts_free(&hosts);
        return scene_teardown(state);
}

static struct mono soon(void)
{
        return mono_add_ms(mono_now(), LONG_MS);
}

static void the_largest(void **state)
{
        struct admission_room most;

        (void)state;
        assert_false(hosts_largest(&hosts, soon(), &most)); /* there is none */
        hosts.counted.ns = 0;
        scene_set(scene.hosts, HOST("a", "8", "5000") "," HOST("b", "2", "9000"));
        assert_true(hosts_largest(&hosts, soon(), &most));
        assert_int_equal(most.cpus, 16);
        assert_int_equal(most.memory, 8000);
        int lists = scene_count(&scene.host_lists);
        assert_true(hosts_largest(&hosts, soon(), &most)); /* known */
        assert_int_equal(scene_count(&scene.host_lists), lists);
        hosts.counted = mono_add_ms(mono_now(), -61000);
        scene_set(scene.hosts, HOST("b", "2", "9000"));
        assert_true(hosts_largest(&hosts, soon(), &most));
        assert_int_equal(most.cpus, 4);
}

static bool count(void *arg, const struct node *node)
{
        int *n = arg;

        ++*n;
        return strcmp(node->meta.name, "last") != 0;
}

static void nodes_until_enough(void **state)
{
        int n = 0;

        (void)state;
        scene_set(scene.nodes, NODE("a", "ssd") "," NODE("last", "ssd") "," NODE("c", "ssd"));
        assert_true(hosts_nodes(&hosts, soon(), count, &n));
        assert_int_equal(n, 2);
        assert_non_null(strstr(scene.asked, "labelSelector=drover.dev%2Fhypervisor%3Dtrue"));
        assert_non_null(strstr(scene.asked, "as=PartialObjectMetadataList"));
}

/* Nothing is said, and it is not asked again at once. */
static void no_answer(void **state)
{
        struct admission_room most;
        int n = 0;

        (void)state;
        scene_set(scene.hosts, "-");
        assert_false(hosts_largest(&hosts, soon(), &most));
        assert_int_equal(scene_count(&scene.host_lists), 1);
        scene_set(scene.hosts, HOST("a", "8", "5000"));
        scene_set(scene.nodes, NODE("a", "ssd"));
        assert_false(hosts_largest(&hosts, soon(), &most));
        assert_false(hosts_nodes(&hosts, soon(), count, &n));
        assert_int_equal(n, 0);
        assert_int_equal(scene_count(&scene.host_lists), 1);
        hosts.failed = mono_add_ms(mono_now(), -10001);
        assert_true(hosts_nodes(&hosts, soon(), count, &n));
        assert_int_equal(n, 1);
}

static void no_time(void **state)
{
        struct admission_room most;
        int n = 0;

        (void)state;
        scene_set(scene.hosts, HOST("a", "8", "5000"));
        scene_set(scene.nodes, NODE("a", "ssd"));
        assert_false(hosts_nodes(&hosts, mono_add_ms(mono_now(), -1), count, &n));
        hosts.failed.ns = 0;
        assert_false(hosts_largest(&hosts, mono_add_ms(mono_now(), -1), &most));
        assert_int_equal(n, 0);
}

static void one_at_a_time(void **state)
{
        struct admission_room most;
        int n = 0;

        (void)state;
        scene_set(scene.hosts, HOST("a", "8", "5000"));
        scene_set(scene.nodes, NODE("a", "ssd"));
        pthread_mutex_lock(&hosts.lock);
        assert_false(hosts_nodes(&hosts, soon(), count, &n));
        assert_false(hosts_largest(&hosts, soon(), &most));
        pthread_mutex_unlock(&hosts.lock);
        assert_true(hosts_nodes(&hosts, soon(), count, &n));
        assert_true(hosts_largest(&hosts, soon(), &most));
}

/* --- what who makes the VM is told */

static const char *warnings_of(const char *spec, bool may_block, struct http_reply *rep)
{
        const struct webhook hook = {
                .cache = scene.cache, .client = scene.client, .hosts = &hosts, .scheduler = ""};
        char single[2048], body[2048];
        autobuf struct buf b = buf_new(sizeof(body));

        snprintf(
                single, sizeof(single),
                "{'kind':'AdmissionReview','apiVersion':'admission.k8s.io/v1','request':{'uid':'1',"
                "'kind':{'kind':'VirtualMachine'},'namespace':'shop','operation':'CREATE',"
                "'userInfo':{'username':'anna'},'object':{'metadata':{'name':'x','namespace':"
                "'shop'},'spec':{'cloudInit':{'userData':'#cloud-config'},%s}}}}",
                spec);
        quoted(&b, single);
        snprintf(body, sizeof(body), "%s", buf_str(&b));
        const struct http_request req = {.method = "POST",
                                         .path = REVIEW_ROUTES[1].path,
                                         .query = "",
                                         .content_type = "application/json",
                                         .body = body,
                                         .body_len = strlen(body),
                                         .may_block = may_block};
        *rep = (struct http_reply){.status = 200, .body = buf_new(65536)};
        REVIEW_ROUTES[1].handle((void *)&hook, &req, rep);
        return buf_str(&rep->body);
}

#define SPEC(memory, disk)                                                                         \
        "'cpu':{'cores':1},'memory':{'guest':'" memory "'},'nodeSelector':{'disk':'" disk "'}"

static void told(void **state)
{
        struct http_reply rep;
        const char *text;

        (void)state;
        scene_set(scene.hosts, HOST("a", "8", "4294967296"));
        scene_set(scene.nodes, NODE("a", "ssd"));
        warnings_of(SPEC("1Gi", "ssd"), false, &rep);
        assert_true(rep.later); /* it is asked for by a thread that may wait */
        buf_free(&rep.body);
        text = warnings_of(SPEC("1Gi", "ssd"), true, &rep);
        assert_non_null(strstr(text, "\"allowed\":true"));
        assert_null(strstr(text, "warnings"));
        buf_free(&rep.body);
        text = warnings_of(SPEC("64Gi", "hdd"), true, &rep);
        assert_non_null(strstr(text, "\"allowed\":true"));
        assert_non_null(strstr(text, "no hypervisor offers more than 4095 MiB"));
        assert_non_null(strstr(text, "no node satisfies the placement now"));
        buf_free(&rep.body);
        scene_set(scene.nodes, "");
        text = warnings_of(SPEC("1Gi", "ssd"), true, &rep);
        assert_non_null(strstr(text, "no node is a hypervisor"));
        buf_free(&rep.body);
}

#define hosts_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                hosts_test(the_largest), hosts_test(nodes_until_enough), hosts_test(no_answer),
                hosts_test(no_time),     hosts_test(one_at_a_time),      hosts_test(told),
        };

        review_register_metrics();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
