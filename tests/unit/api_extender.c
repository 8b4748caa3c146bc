/* The scheduler's extender calls. */
#include "api/extender.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>

static const char NAMES[] = "{'Pod': {'metadata': {'name': 'p', 'namespace': 'shop', 'labels': "
                            "{'drover.dev/vm': 'w'}}, 'spec': {'nodeName': 7}},"
                            "'Nodes': null, 'NodeNames': ['n1', 'n\\u0032', 'n3']}";
static const char NODES[] =
        "{'Pod': {}, 'Nodes': {'metadata': {}, 'items': [{'metadata': {'name': 'n1'}},"
        " {'spec': {'x': [1.50]},\n'metadata': {'uid': 'u', 'name': 'n2'}} , {'metadata': {'name': "
        "'n3'}}]}, 'NodeNames': null}";

/* The text with double quotes in memory that ends with it; what is decoded borrows from it. */
static char *body_of(const char *text, size_t *len)
{
        autobuf struct buf b = buf_new(TEXT_MAX);

        quoted(&b, text);
        char *copy = malloc(b.len);
        assert_non_null(copy);
        *len = b.len;
        return memcpy(copy, b.data, b.len);
}

struct call {
        char *body;
        size_t len;
        struct extender_args args;
};

static struct call call_of(const char *text)
{
        struct call c = {0};
        struct err e;

        c.body = body_of(text, &c.len);
        if (extender_args_decode(c.body, c.len, 1 << 20, &c.args, &e) < 0)
                fail_msg("%s: %s", text, e.msg);
        return c;
}

static void call_free(struct call *c)
{
        extender_args_free(&c->args);
        extender_args_free(&c->args); /* twice does no harm */
        free(c->body);
}

static void names_and_nodes_are_read(void **state)
{
        (void)state;
        struct call c = call_of(NAMES);
        assert_string_equal(c.args.pod->meta.name, "p");
        assert_string_equal(c.args.pod->vm, "w");
        assert_string_equal(c.args.pod->node, ""); /* its metadata is all that is looked at */
        assert_true(c.args.has_names);
        assert_int_equal(c.args.names.n, 3);
        assert_string_equal(c.args.names.v[1], "n2");
        assert_string_equal(c.args.names.v[2], "n3");
        call_free(&c);
        c = call_of(NODES);
        assert_false(c.args.has_names);
        assert_int_equal(c.args.names.n, 3);
        assert_string_equal(c.args.names.v[1], "n2");
        assert_memory_equal(c.args.nodes[1].text.text, "{\"spec\": {\"x\": [1.50]},\n", 23);
        call_free(&c);
        c = call_of("{'Pod': {}, 'NodeNames': []}");
        assert_true(c.args.has_names);
        assert_int_equal(c.args.names.n, 0);
        call_free(&c);
        c = call_of("{'Nodes': {'items': null}, 'P\\u006fd': {'metadata': null}}");
        assert_int_equal(c.args.names.n, 0);
        call_free(&c);
        /* Of members given twice the first counts. */
        c = call_of("{'NodeNames': ['a'], 'Pod': {'metadata': {'name': 'x'}, 'metadata': 7},"
                    "'Pod': 7, 'NodeNames': 7, 'Nodes': null, 'Nodes': {'items': [7]}}");
        assert_int_equal(c.args.names.n, 1);
        assert_string_equal(c.args.pod->meta.name, "x");
        call_free(&c);
}

static void what_is_wrong_is_named(void **state)
{
        static const struct {
                const char *text, *message;
        } ROWS[] = {
                {"7", "not an object"},
                {"null", "not an object"},
                {"{}", "Pod: missing"},
                {"{'Pod': null, 'NodeNames': []}", "Pod: missing"},
                {"{'Pod': null, 'Pod': {}, 'NodeNames': []}", "Pod: missing"},
                {"{'Pod': 'p', 'NodeNames': []}", "Pod: not an object"},
                {"{'Pod': {}}", "NodeNames: missing, and Nodes too"},
                {"{'Pod': {}, 'NodeNames': 'n1'}", "NodeNames: not a list"},
                {"{'Pod': {}, 'NodeNames': ['n1', 2]}", "NodeNames[1]: not a string"},
                {"{'Pod': {}, 'NodeNames': [null]}", "NodeNames[0]: not a string"},
                {"{'Pod': {}, 'NodeNames': [], 'Nodes': {}}", "NodeNames: given, and Nodes too"},
                {"{'Pod': {}, 'Nodes': []}", "Nodes: not an object"},
                {"{'Pod': {}, 'Nodes': {'items': {}}}", "Nodes.items: not a list"},
                {"{'Pod': {}, 'Nodes': {'items': [3]}}", "Nodes.items[0]: not an object"},
                {"{'Pod': {}, 'Nodes': {'items': [null]}}", "Nodes.items[0]: not an object"},
                {"{'Pod': {}, 'Nodes': {'items': [{}]}}", "Nodes.items[0].metadata.name: missing"},
                {"{'Pod': {}, 'Nodes': {'items': [{'metadata': 1}]}}",
                 "Nodes.items[0].metadata: not an object"},
                {"{'Pod': {}, 'Nodes': {'items': [{'metadata': {'name': 'a'}}, {'metadata': "
                 "{'name': 1}}]}}",
                 "Nodes.items[1].metadata.name: missing"},
                {"{'Pod': {'metadata': {'name': 1}}, 'NodeNames': []}",
                 "Pod: metadata.name: not a string"},
                {"{'Pod': {'metadata': []}, 'NodeNames': []}", "Pod: metadata: not an object"},
                /* That it is no JSON goes before whatever was met earlier. */
                {"{'Pod': {}, 'NodeNames': [7]", "bad JSON at byte 28"},
        };
        struct extender_args a;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct err e = {0};
                size_t len;
                autofree char *body = body_of(ROWS[i].text, &len);
                memset(&a, 0x77, sizeof(a));
                assert_int_equal(extender_args_decode(body, len, 1 << 20, &a, &e), -EINVAL);
                assert_string_equal(e.msg, ROWS[i].message);
                assert_int_equal(((char *)&a)[0], 0x77);
                assert_int_equal(extender_args_decode(body, len, 1 << 20, &a, NULL), -EINVAL);
        }
}

/* Cut anywhere, with nothing behind. */
static void every_prefix_is_refused(void **state)
{
        static const char *const TEXTS[] = {NAMES, NODES};
        struct extender_args a;

        (void)state;
        for (size_t i = 0; i < countof(TEXTS); i++) {
                size_t len;
                autofree char *body = body_of(TEXTS[i], &len);
                for (size_t n = 0; n < len; n++) {
                        autofree char *part = malloc(n ? n : 1);
                        memcpy(part, body, n);
                        assert_int_equal(extender_args_decode(part, n, 1 << 20, &a, NULL), -EINVAL);
                        assert_false(extender_call(part, n, 1 << 20));
                }
                assert_true(extender_call(body, len, 1 << 20));
                assert_false(extender_call(body, len, len - 1));
                assert_int_equal(extender_args_decode(body, len, len - 1, &a, NULL), -E2BIG);
        }
}

static int decode_many(const char *head, const char *row, size_t n, const char *tail, struct err *e)
{
        autobuf struct buf b = buf_new(TEXT_MAX);
        struct extender_args a;

        quoted(&b, head);
        for (size_t i = 0; i < n; i++) {
                buf_adds(&b, i ? "," : "");
                buf_adds(&b, row);
        }
        buf_adds(&b, tail);
        int rc = extender_args_decode(b.data, b.len, TEXT_MAX, &a, e);
        if (rc == 0)
                extender_args_free(&a);
        return rc;
}

static void what_takes_much_memory_is_bounded(void **state)
{
        struct err e = {0};

        (void)state;
        assert_int_equal(
                decode_many("{'Pod':{},'NodeNames':[", "\"n\"", EXTENDER_NODES_MAX, "]}", &e), 0);
        assert_int_equal(
                decode_many("{'Pod':{},'NodeNames':[", "\"n\"", EXTENDER_NODES_MAX + 1, "]}", &e),
                -E2BIG);
        assert_string_equal(e.msg, "nodes: more than 32768");
        assert_int_equal(
                decode_many("{'NodeNames':[],'Pod':{'metadata':{'x':[", "0", 16000, "]}}}", &e), 0);
        assert_int_equal(
                decode_many("{'NodeNames':[],'Pod':{'metadata':{'x':[", "0", 17000, "]}}}", &e),
                -E2BIG);
        assert_string_equal(e.msg, "Pod.metadata: 17002 values in 34007 bytes");
        /* What no tree is made of may be large. */
        assert_int_equal(decode_many("{'NodeNames':[],'Pod':{'spec':[", "0", 1 << 20, "]}}", &e),
                         0);
}

static void requests_without_memory(void **state)
{
        static const char *const TEXTS[] = {NAMES, NODES};

        (void)state;
        for (size_t i = 0; i < countof(TEXTS); i++) {
                size_t len;
                autofree char *body = body_of(TEXTS[i], &len);
                unsigned long n;
                for (n = 1; n; n++) {
                        struct extender_args a;
                        struct err e = {0};
                        oom_arm(n);
                        int rc = extender_args_decode(body, len, 1 << 20, &a, &e);
                        if (!oom_disarm()) {
                                assert_int_equal(rc, 0);
                                extender_args_free(&a);
                                break;
                        }
                        assert_int_equal(rc, -ENOMEM);
                }
                assert_true(n > 5);
        }
}

static const struct extender_failure FAILURES[] = {{1, "no \"room\""}};
static const size_t FIT[] = {0, 2};

static void filtered(const char *request, const struct extender_filter_result *r, const char *want)
{
        struct call c = call_of(request);
        autobuf struct buf b = buf_new(1 << 20);
        autojson struct json *got = NULL;
        autojson struct json *expected = json_of(want);

        assert_int_equal(extender_filter_encode(&c.args, r, &b), 0);
        assert_int_equal(json_parse(b.data, b.len, 1 << 20, &got, NULL), 0);
        assert_json_equal(got, expected);
        for (size_t limit = 0; limit < b.len; limit += 7) {
                autobuf struct buf small = buf_new(limit);
                assert_int_equal(extender_filter_encode(&c.args, r, &small), -E2BIG);
        }
        call_free(&c);
}

static void filter_replies(void **state)
{
        static const struct extender_failure three[] = {{0, "busy"}, {1, "no bridge"}, {2, "full"}};
        struct extender_filter_result r = {
                .fit = FIT, .nfit = 2, .failures = FAILURES, .nfailures = 1};

        (void)state;
        filtered(NAMES, &r,
                 "{'Nodes': null, 'NodeNames': ['n1', 'n3'], 'FailedNodes': {},"
                 "'FailedAndUnresolvableNodes': {'n2': 'no \\'room\\''}, 'Error': ''}");
        filtered(NODES, &r,
                 "{'Nodes': {'metadata': {}, 'items': [{'metadata': {'name': 'n1'}},"
                 "{'metadata': {'name': 'n3'}}]}, 'NodeNames': null, 'FailedNodes': {},"
                 "'FailedAndUnresolvableNodes': {'n2': 'no \\'room\\''}, 'Error': ''}");
        filtered(NAMES, &(struct extender_filter_result){.failures = three, .nfailures = 3},
                 "{'Nodes': null, 'NodeNames': [], 'FailedNodes': {},"
                 "'FailedAndUnresolvableNodes': {'n1': 'busy', 'n2': 'no bridge', 'n3': 'full'},"
                 "'Error': ''}");
        r.error = "not ready";
        filtered(NAMES, &r,
                 "{'Nodes': null, 'NodeNames': [], 'FailedNodes': {},"
                 "'FailedAndUnresolvableNodes': {}, 'Error': 'not ready'}");
        filtered(NODES, &r,
                 "{'Nodes': {'metadata': {}, 'items': []}, 'NodeNames': null, 'FailedNodes': {},"
                 "'FailedAndUnresolvableNodes': {}, 'Error': 'not ready'}");
}

/* Byte for byte: the number that another would write as 1.5, the white space, the order. */
static void nodes_go_back_as_they_came(void **state)
{
        static const size_t second[] = {1};
        struct call c = call_of(NODES);
        autobuf struct buf b = buf_new(1 << 20);
        struct extender_filter_result r = {.fit = second, .nfit = 1};

        (void)state;
        assert_int_equal(extender_filter_encode(&c.args, &r, &b), 0);
        assert_non_null(strstr(b.data, "\"items\":[{\"spec\": {\"x\": [1.50]},\n\"metadata\": "
                                       "{\"uid\": \"u\", \"name\": \"n2\"}}]}"));
        call_free(&c);
}

static void priorities(void **state)
{
        const int scores[] = {0, 10, 7};
        const int unsaid[] = {EXTENDER_UNNAMED, 3, EXTENDER_UNNAMED};
        const int silence[] = {EXTENDER_UNNAMED, EXTENDER_UNNAMED, EXTENDER_UNNAMED};
        autobuf struct buf b = buf_new(1 << 20);
        autobuf struct buf none = buf_new(10);

        (void)state;
        struct call c = call_of(NAMES);
        assert_int_equal(extender_priorities_encode(&c.args, scores, &b), 0);
        assert_string_equal(b.data,
                            "[{\"Host\":\"n1\",\"Score\":0},{\"Host\":\"n\\u0032\",\"Score\":10},"
                            "{\"Host\":\"n3\",\"Score\":7}]");
        assert_int_equal(extender_priorities_encode(&c.args, scores, &none), -E2BIG);
        buf_reset(&b);
        assert_int_equal(extender_priorities_encode(&c.args, unsaid, &b), 0);
        assert_string_equal(b.data, "[{\"Host\":\"n\\u0032\",\"Score\":3}]");
        buf_reset(&b);
        assert_int_equal(extender_priorities_encode(&c.args, silence, &b), 0);
        assert_string_equal(b.data, "[]");
        call_free(&c);
        c = call_of("{'Pod': {}, 'NodeNames': []}");
        buf_reset(&b);
        assert_int_equal(extender_priorities_encode(&c.args, scores, &b), 0);
        assert_string_equal(b.data, "[]");
        call_free(&c);
}

/* --- preempt */

static const char META[] =
        "{'Pod': {'metadata': {'name': 'p', 'namespace': 'shop'}}, 'NodeNameToVictims': null,"
        "'NodeNameToMetaVictims': {'n1': {'Pods': [{'UID': 'u1'}, {'UID': 'u\\u0032'}],"
        "'NumPDBViolations': 1}, 'n2': {'Pods': [], 'NumPDBViolations': 0}, 'n3': {'Pods': "
        "[{'UID': 'u3'}]}, 'n4': null}}";
static const char FULL[] =
        "{'Pod': {'metadata': {'name': 'p'}}, 'NodeNameToMetaVictims': null, 'NodeNameToVictims':"
        "{'n1': {'Pods': [{'metadata': {'labels': {'app': 'x'}, 'uid': 'u1'}, 'spec': {}},"
        "{'metadata': {'uid': 'u2', 'labels': {'drover.dev/vm': 'w'}}}], 'NumPDBViolations': 2},"
        "'n2': {'NumPDBViolations': 0, 'Pods': [{'metadata': {'uid': 'u3', 'labels': null}},"
        "{'metadata': {'uid': 'u4', 'labels': {'drover.dev/vm': ''}}}]}}}";

struct preemption {
        char *body;
        size_t len;
        struct extender_preemption p;
};

static struct preemption preemption_of(const char *text)
{
        struct preemption c = {0};
        struct err e;

        c.body = body_of(text, &c.len);
        if (extender_preemption_decode(c.body, c.len, 1 << 20, &c.p, &e) < 0)
                fail_msg("%s: %s", text, e.msg);
        return c;
}

static void preemption_free(struct preemption *c)
{
        extender_preemption_free(&c->p);
        extender_preemption_free(&c->p);
        free(c->body);
}

static void answers(const struct preemption *c, const bool *keep, const char *want)
{
        autobuf struct buf b = buf_new(1 << 20);

        assert_int_equal(extender_preemption_encode(&c->p, keep, &b), 0);
        assert_string_equal(b.data, want);
        for (size_t limit = 0; limit < b.len; limit++) {
                autobuf struct buf small = buf_new(limit);
                assert_int_equal(extender_preemption_encode(&c->p, keep, &small), -E2BIG);
        }
}

static void victims_are_read_and_kept(void **state)
{
        const bool first_and_third[] = {true, false, true, false}, none[4] = {false};

        (void)state;
        struct preemption c = preemption_of(META);
        assert_string_equal(c.p.pod->meta.ns, "shop");
        assert_int_equal(c.p.n, 4);
        assert_string_equal(c.p.v[0].name, "n1");
        assert_int_equal(c.p.v[0].nvictims, 2);
        assert_string_equal(c.p.v[0].victims[1].uid, "u2");
        assert_false(c.p.v[0].victims[0].handle);
        assert_int_equal(c.p.v[1].nvictims, 0);
        assert_string_equal(c.p.v[2].victims[0].uid, "u3");
        assert_int_equal(c.p.v[3].nvictims, 0);
        answers(&c, first_and_third,
                "{\"NodeNameToMetaVictims\":{\"n1\":{\"Pods\":[{\"UID\":\"u1\"},{\"UID\":\"u\\u0032"
                "\"}],\"NumPDBViolations\":1},\"n3\":{\"Pods\":[{\"UID\":\"u3\"}],"
                "\"NumPDBViolations\":0}}}");
        answers(&c, none, "{\"NodeNameToMetaVictims\":{}}");
        preemption_free(&c);
        c = preemption_of(FULL);
        assert_int_equal(c.p.n, 2);
        assert_false(c.p.v[0].victims[0].handle);
        assert_true(c.p.v[0].victims[1].handle);
        assert_false(c.p.v[1].victims[0].handle || c.p.v[1].victims[1].handle);
        answers(&c, first_and_third + 2 - 1,
                "{\"NodeNameToMetaVictims\":{\"n2\":{\"Pods\":[{\"UID\":\"u3\"},{\"UID\":\"u4\"}],"
                "\"NumPDBViolations\":0}}}");
        preemption_free(&c);
        c = preemption_of("{'Pod': {}, 'NodeNameToMetaVictims': {'n1': {}}}");
        assert_int_equal(c.p.n, 1);
        assert_int_equal(c.p.v[0].nvictims, 0);
        preemption_free(&c);
}

static void bad_preemptions(void **state)
{
        static const struct {
                const char *text, *message;
        } ROWS[] = {
                {"[]", "not an object"},
                {"{'NodeNameToMetaVictims': {}}", "Pod: missing"},
                {"{'Pod': {}}", "NodeNameToMetaVictims: missing, and NodeNameToVictims too"},
                {"{'Pod': {}, 'NodeNameToMetaVictims': []}",
                 "NodeNameToMetaVictims: not an object"},
                {"{'Pod': {}, 'NodeNameToMetaVictims': {'n': 7}}",
                 "NodeNameToMetaVictims[\"n\"]: not an object"},
                {"{'Pod': {}, 'NodeNameToMetaVictims': {'n': {'Pods': 7}}}",
                 "NodeNameToMetaVictims[\"n\"].Pods: not a list"},
                {"{'Pod': {}, 'NodeNameToMetaVictims': {'n': {'Pods': [null]}}}",
                 "NodeNameToMetaVictims[\"n\"].Pods[0]: not an object"},
                {"{'Pod': {}, 'NodeNameToMetaVictims': {'n': {'Pods': [{'UID': 7}]}}}",
                 "NodeNameToMetaVictims[\"n\"].Pods[0]: no uid"},
                {"{'Pod': {}, 'NodeNameToVictims': {'n': {'Pods': [{'metadata': {'name': 'a'}}]}}}",
                 "NodeNameToVictims[\"n\"].Pods[0]: no uid"},
                {"{'Pod': {}, 'NodeNameToVictims': {'n': {'Pods': [{'metadata': []}]}}}",
                 "NodeNameToVictims[\"n\"].Pods[0].metadata: not an object"},
                {"{'Pod': {}, 'NodeNameToVictims': {}, 'NodeNameToMetaVictims': {}}",
                 "NodeNameToMetaVictims: given, and NodeNameToVictims too"},
                {"{'Pod': {}, 'NodeNameToVictims': {'n': {'Pods': [7]}}", "bad JSON at byte 53"},
        };
        struct extender_preemption p;

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct err e = {0};
                size_t len;
                autofree char *body = body_of(ROWS[i].text, &len);
                memset(&p, 0x77, sizeof(p));
                assert_int_equal(extender_preemption_decode(body, len, 1 << 20, &p, &e), -EINVAL);
                assert_string_equal(e.msg, ROWS[i].message);
                assert_int_equal(((char *)&p)[0], 0x77);
        }
}

static void preemptions_without_memory_or_end(void **state)
{
        static const char *const TEXTS[] = {META, FULL};
        struct extender_preemption p;

        (void)state;
        for (size_t i = 0; i < countof(TEXTS); i++) {
                size_t len;
                autofree char *body = body_of(TEXTS[i], &len);
                for (size_t n = 0; n < len; n++) {
                        autofree char *part = malloc(n ? n : 1);
                        memcpy(part, body, n);
                        assert_int_equal(extender_preemption_decode(part, n, 1 << 20, &p, NULL),
                                         -EINVAL);
                }
                for (unsigned long n = 1; n; n++) {
                        struct err e = {0};
                        oom_arm(n);
                        int rc = extender_preemption_decode(body, len, 1 << 20, &p, &e);
                        if (!oom_disarm()) {
                                assert_int_equal(rc, 0);
                                extender_preemption_free(&p);
                                break;
                        }
                        assert_int_equal(rc, -ENOMEM);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(names_and_nodes_are_read),
                cmocka_unit_test(what_is_wrong_is_named),
                cmocka_unit_test(every_prefix_is_refused),
                cmocka_unit_test(what_takes_much_memory_is_bounded),
                cmocka_unit_test(requests_without_memory),
                cmocka_unit_test(filter_replies),
                cmocka_unit_test(nodes_go_back_as_they_came),
                cmocka_unit_test(priorities),
                cmocka_unit_test(victims_are_read_and_kept),
                cmocka_unit_test(bad_preemptions),
                cmocka_unit_test(preemptions_without_memory_or_end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
