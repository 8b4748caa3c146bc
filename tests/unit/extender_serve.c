#include "extender/serve.h"
#include "tests/unit/extender_scene.h"

#define BODY_MAX ((size_t)4 << 20)

static struct service service;

static struct mono scene_now(void)
{
        return now;
}

/* Calls a handler as the server would; the answer's body is in `body` as text. */
static char body[1 << 16];
static unsigned call_bytes(http_handler handler, const char *text, size_t len)
{
        const struct http_request req = {.method = "POST",
                                         .path = "/",
                                         .query = "",
                                         .content_type = "application/json",
                                         .body = text,
                                         .body_len = len};
        struct http_reply rep = {.status = 200,
                                 .content_type = "application/json",
                                 .body = buf_new((size_t)1 << 22)};

        service.fleet = fleet;
        handler(&service, &req, &rep);
        snprintf(body, sizeof(body), "%s", buf_str(&rep.body));
        buf_free(&rep.body);
        return rep.status;
}
static unsigned call(http_handler handler, const char *text)
{
        return call_bytes(handler, text, strlen(text));
}

#define POD                                                                                        \
        "{\"metadata\":{\"name\":\"demo-e1\",\"namespace\":\"default\",\"labels\":{\"drover.dev/"  \
        "vm\":\"demo\"}}}"
#define ARGS(pod, names) "{\"Pod\":" pod ",\"Nodes\":null,\"NodeNames\":" names "}"

/* No rule of ours is mended by preemption: all refusals are of that kind. */
static void filter_answers_names(void **state)
{
        (void)state;
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Unhealthy"));
        event(fleet_vm_event, KUBE_ADDED, vm_json("demo", 9, ""));
        assert_int_equal(call(serve_filter, ARGS(POD, "[\"node1\",\"node2\"]")), 200);
        assert_string_equal(
                body,
                "{\"Nodes\":null,\"NodeNames\":[],\"FailedNodes\":{},"
                "\"FailedAndUnresolvableNodes\":{\"node1\":\"node1: storage pool default at "
                "/var/lib/drover is unhealthy: probe did not answer for 5 s [rule 7 pool-health]\","
                "\"node2\":\"node2: 9 CPUs are asked for, 8 of 8 are free [rule 9 cpus]\"},"
                "\"Error\":\"\"}");
        event(fleet_vm_event, KUBE_MODIFIED, vm_json("demo", 1, ""));
        assert_int_equal(call(serve_filter, ARGS(POD, "[\"node2\"]")), 200);
        assert_string_equal(body, "{\"Nodes\":null,\"NodeNames\":[\"node2\"],\"FailedNodes\":{},"
                                  "\"FailedAndUnresolvableNodes\":{},\"Error\":\"\"}");
}

static void filter_answers_whole_nodes(void **state)
{
        (void)state;
        assert_int_equal(
                call(serve_filter,
                     "{\"Pod\":" POD ",\"NodeNames\":null,\"Nodes\":{\"items\":["
                     "{\"metadata\":{\"name\":\"plain\"}},{\"metadata\":{\"name\":\"node2\","
                     "\"labels\":{\"a\":\"b\"}}}]}}"),
                200);
        assert_string_equal(
                body, "{\"Nodes\":{\"metadata\":{},\"items\":[{\"metadata\":{\"name\":\"node2\","
                      "\"labels\":{\"a\":\"b\"}}}]},\"NodeNames\":null,\"FailedNodes\":{},"
                      "\"FailedAndUnresolvableNodes\":{\"plain\":\"plain: no Drover agent has "
                      "reported a hypervisor there [rule 1 no-host]\"},\"Error\":\"\"}");
}

/* What the scheduler gets to add up: by how much a node is better than the worst of them. */
static void prioritize_tells_differences(void **state)
{
        (void)state;
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[\"plain\",\"node2\"]")), 200);
        assert_string_equal(body, "[{\"Host\":\"node2\",\"Score\":7}]");
        event(fleet_host_event, KUBE_MODIFIED,
              host_json("node1", "{\"uid\":\"u-x\",\"state\":\"Running\"}", "Healthy"));
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[\"node1\",\"plain\",\"node2\"]")), 200);
        assert_string_equal(body,
                            "[{\"Host\":\"node1\",\"Score\":6},{\"Host\":\"node2\",\"Score\":7}]");
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[\"node1\",\"node2\"]")), 200);
        assert_string_equal(body, "[{\"Host\":\"node2\",\"Score\":1}]");
}

/* Nodes that are alike, or of which nothing is known, or of a pod that is none of ours. */
static void prioritize_says_nothing_of_equals(void **state)
{
        (void)state;
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[\"node1\",\"node2\"]")), 200);
        assert_string_equal(body, "[]");
        assert_int_equal(
                call(serve_prioritize, ARGS("{\"metadata\":{\"name\":\"p\"}}", "[\"node2\"]")),
                200);
        assert_string_equal(body, "[]");
        event(fleet_vm_event, KUBE_DELETED, vm_json("demo", 1, ""));
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[\"plain\",\"node2\"]")), 200);
        assert_string_equal(body, "[]");
        assert_int_equal(call(serve_prioritize, ARGS(POD, "[]")), 200);
        assert_string_equal(body, "[]");
}

#define PREEMPT(pod, victims) "{\"Pod\":" pod ",\"NodeNameToMetaVictims\":{" victims "}}"
#define VICTIMS(node, uid)    "\"" node "\":{\"Pods\":[{\"UID\":\"" uid "\"}],\"NumPDBViolations\":0}"

static void preempt_keeps_what_may_help(void **state)
{
        (void)state;
        event(fleet_host_event, KUBE_MODIFIED, host_json("node1", "", "Unhealthy"));
        assert_int_equal(call(serve_preempt,
                              PREEMPT(POD, VICTIMS("node1", "u-a") "," VICTIMS("node2", "u-b"))),
                         200);
        assert_string_equal(body, "{\"NodeNameToMetaVictims\":{" VICTIMS("node2", "u-b") "}}");
        assert_int_equal(call(serve_preempt, PREEMPT(POD, VICTIMS("node1", "u-a"))), 200);
        assert_string_equal(body, "{\"NodeNameToMetaVictims\":{}}");
        /* What cannot be judged is given up by nobody. */
        event(fleet_vm_event, KUBE_DELETED, vm_json("demo", 1, ""));
        assert_int_equal(call(serve_preempt, PREEMPT(POD, VICTIMS("node2", "u-b"))), 200);
        assert_string_equal(body, "{\"NodeNameToMetaVictims\":{}}");
        assert_int_equal(call(serve_preempt, "{\"Pod\":" POD "}"), 400);
        assert_int_equal(call(serve_preempt, "hello"), 400);
        assert_true(metric_get(service.preempt_total, "some") == 1);
        assert_true(metric_get(service.preempt_total, "none") == 1);
        assert_true(metric_get(service.preempt_total, "error") == 1);
        assert_true(metric_get(service.preempt_total, "bad-request") == 2);
}

/* What the scheduler sent it shall hear: the body of any other status is thrown away. */
static void the_schedulers_mistakes_are_answered_with_an_error(void **state)
{
        static const struct {
                const char *text, *error;
        } bad[] = {
                {"{\"Pod\":" POD "}", "NodeNames"},
                {"{\"Nodes\":null,\"NodeNames\":[]}", "Pod"},
                {"{\"Pod\":7,\"NodeNames\":[]}", "Pod"},
                {ARGS(POD, "[7]"), "NodeNames[0]"},
                {ARGS("{\"metadata\":{\"name\":\"p\",\"namespace\":\"default\",\"labels\":{"
                      "\"drover.dev/vm\":\"gone\"}}}",
                      "[\"node1\"]"),
                 "VirtualMachine default/gone is not known"},
        };

        (void)state;
        for (size_t i = 0; i < countof(bad); i++) {
                assert_int_equal(call(serve_filter, bad[i].text), 200);
                char *error = strstr(body, "\"Error\":\"");
                assert_non_null(error);
                if (!strstr(error, bad[i].error))
                        fail_msg("%s: no %s", body, bad[i].error);
        }
}

static void what_is_no_call_at_all_is_refused(void **state)
{
        static const char *const bad[] = {
                "",  "hello", "{\"Pod\":{", "[]",
                "7", "{}",    "{\"a\":1}",  ("{\"Pod\":" POD ",\"NodeNames\":[]}}")};
        autobuf struct buf deep = buf_new((size_t)1 << 20);

        (void)state;
        for (size_t i = 0; i < countof(bad); i++) {
                for (int verb = 0; verb < 2; verb++) {
                        assert_int_equal(call(verb ? serve_filter : serve_prioritize, bad[i]), 400);
                        assert_int_equal(strncmp(body, "{\"error\":\"", 10), 0);
                }
        }
        for (int i = 0; i < 100000; i++)
                buf_adds(&deep, "{\"a\":");
        assert_int_equal(call_bytes(serve_filter, deep.data, deep.len), 400);
        assert_non_null(strstr(body, "deeper than"));
        assert_int_equal(call_bytes(serve_filter, "{\"Pod\":\0{}}", 11), 400);
        autofree char *huge = malloc(BODY_MAX + 1);
        memset(huge, ' ', BODY_MAX + 1);
        assert_int_equal(call_bytes(serve_filter, huge, BODY_MAX + 1), 413);
        /* And a good one after all of these. */
        assert_int_equal(call(serve_filter, ARGS(POD, "[\"node1\"]")), 200);
        assert_non_null(strstr(body, "\"NodeNames\":[\"node1\"]"));
}

static void every_prefix_of_a_call_is_answered(void **state)
{
        static const char text[] = ARGS(POD, "[\"node1\",\"node2\"]");

        (void)state;
        for (size_t n = 0; n < sizeof(text) - 1; n++) {
                autofree char *part = malloc(n + 1);

                memcpy(part, text, n);
                assert_int_equal(call_bytes(serve_filter, part, n), 400);
        }
}

static void what_happened_is_counted(void **state)
{
        double refused = metric_get(service.refusals_total, "no-host");
        double errors = metric_get(service.filter_total, "error");
        double bad = metric_get(service.filter_total, "bad-request");
        double fit = metric_get(service.filter_total, "fit");

        (void)state;
        call(serve_filter, ARGS(POD, "[\"a\",\"b\",\"node1\"]"));
        call(serve_filter, "hello");
        event(fleet_vm_event, KUBE_DELETED, vm_json("demo", 1, ""));
        call(serve_filter, ARGS(POD, "[\"node1\"]"));
        assert_true(metric_get(service.refusals_total, "no-host") - refused == 2);
        assert_true(metric_get(service.filter_total, "error") - errors == 1);
        assert_true(metric_get(service.filter_total, "bad-request") - bad == 1);
        assert_true(metric_get(service.filter_total, "fit") - fit == 1);
        service_count(&service);
        assert_true(metric_get(service.known, "host") == 2);
        assert_true(metric_get(service.known, "vm") == 0);
}

static void failing_allocations_never_end_it(void **state)
{
        static const char text[] = ARGS(POD, "[\"node1\",\"plain\"]");
        static const char victims[] = PREEMPT(POD, VICTIMS("node1", "u-a"));
        bool failed = true;

        (void)state;
        for (unsigned long n = 1; failed; n++) {
                struct http_reply rep = {.status = 200,
                                         .content_type = "application/json",
                                         .body = buf_new((size_t)1 << 20)};
                const struct http_request req = {
                        .method = "POST", .body = text, .body_len = sizeof(text) - 1};
                const struct http_request preempt = {
                        .method = "POST", .body = victims, .body_len = sizeof(victims) - 1};

                service.fleet = fleet;
                oom_arm(n);
                serve_filter(&service, &req, &rep);
                serve_prioritize(&service, &req, &rep);
                serve_preempt(&service, &preempt, &rep);
                failed = oom_disarm();
                buf_free(&rep.body);
        }
}

#define scene_test(f) cmocka_unit_test_setup_teardown(f, scene_new, scene_free)
int main(void)
{
        const struct CMUnitTest tests[] = {
                scene_test(filter_answers_names),
                scene_test(filter_answers_whole_nodes),
                scene_test(prioritize_tells_differences),
                scene_test(prioritize_says_nothing_of_equals),
                scene_test(preempt_keeps_what_may_help),
                scene_test(the_schedulers_mistakes_are_answered_with_an_error),
                scene_test(what_is_no_call_at_all_is_refused),
                scene_test(every_prefix_of_a_call_is_answered),
                scene_test(what_happened_is_counted),
                scene_test(failing_allocations_never_end_it),
        };

        service_init(&service, NULL, BODY_MAX);
        service.clock = scene_now;
        return cmocka_run_group_tests(tests, NULL, NULL);
}
