/* Encoders: what they write is what was read, and failing memory leaves nothing behind. */
#include "api/codec.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"

#include <errno.h>

static struct json *vm_status(const void *vm)
{
        return vm_status_encode(vm);
}

static struct json *host_status(const void *host)
{
        return host_status_encode(host);
}

static struct json *migration_status(const void *migration)
{
        return migration_status_encode(migration);
}

static struct json *migration_transfer(const void *migration)
{
        return transfer_encode(&((const struct migration *)migration)->status.transfer);
}

static struct json *required(const void *vm)
{
        return node_selector_encode(&((const struct vm *)vm)->spec.placement.required);
}

static struct json *conditions(const void *vm)
{
        return conditions_encode(&((const struct vm *)vm)->status.conditions);
}

static const struct row {
        const char *file;
        int (*decode)(const struct json *j, void **out, struct err *e);
        void (*release)(void *object);
        struct json *(*encode)(const void *object);
        const char *path; /* of what is encoded in the fixture */
} ROWS[] = {
        {"vm.json", vm_decode_any, vm_free, vm_status, "status"},
        {"host.json", host_decode_any, host_free, host_status, "status"},
        {"migration.json", migration_decode_any, migration_free, migration_status, "status"},
        {"migration.json", migration_decode_any, migration_free, migration_transfer,
         "status/transfer"},
        {"vm.json", vm_decode_any, vm_free, required,
         "spec/affinity/nodeAffinity/requiredDuringSchedulingIgnoredDuringExecution"},
        {"vm.json", vm_decode_any, vm_free, conditions, "status/conditions"},
};

static void round_trip(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                const struct row *r = &ROWS[i];
                autojson struct json *j = json_file(r->file);
                autojson struct json *want = json_clone(part(j, r->path));
                void *object;
                assert_non_null(want);
                assert_int_equal(r->decode(j, &object, NULL), 0);
                autojson struct json *got = r->encode(object);
                assert_non_null(got);
                json_remove(want, "transfer"); /* the source agent's */
                assert_json_equal(got, want);
                r->release(object);
        }
}

static void no_memory(void **state)
{
        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                const struct row *r = &ROWS[i];
                autojson struct json *j = json_file(r->file);
                void *object;
                unsigned long n;
                assert_int_equal(r->decode(j, &object, NULL), 0);
                for (n = 1; n; n++) {
                        oom_arm(n);
                        struct json *got = r->encode(object);
                        if (!oom_disarm()) {
                                assert_non_null(got);
                                json_free(got);
                                break;
                        }
                        assert_null(got);
                }
                assert_true(n > 3);
                r->release(object);
        }
}

/* An empty object still writes every member, so that a merge patch clears what was there before. */
static void empty(void **state)
{
        autojson struct json *none = json_of("{}");
        struct vm *vm;

        (void)state;
        assert_int_equal(vm_decode(none, &vm, NULL), 0);
        autojson struct json *got = vm_status_encode(vm);
        autojson struct json *want =
                json_of("{'phase': 'Pending', 'observedGeneration': 0, 'wish': {},"
                        "'owner': {'node': '', 'epoch': 0}, 'storageNode': '', 'pools': {},"
                        "'podName': '', 'addresses': [],"
                        "'running': {}, 'restartedAt': '', 'granted': {}, 'restored': {}, "
                        "'refused': {},'conditions': [],"
                        "'migration': {'name': '', 'phase': '', 'target': '', 'percent': 0},"
                        "'reason': ''}");
        assert_json_equal(got, want);
        vm_free(vm);
        /* and "running": {} is not a running shape */
        autojson struct json *object = json_new_object();
        assert_non_null(json_set(object, "status", json_clone(got)));
        assert_int_equal(vm_decode(object, &vm, NULL), 0);
        assert_false(vm->status.has_running);
        vm_free(vm);
}

static void unset_times_are_left_out(void **state)
{
        struct transfer t = {.state = TRANSFER_NONE, .message = ""};

        (void)state;
        autojson struct json *j = transfer_encode(&t);
        assert_string_equal(json_str(j, "state", ""), "None");
        assert_null(json_get(j, "startedAt"));
        assert_null(json_get(j, "endedAt"));
        assert_int_equal(json_int(j, "bytesLeft", -1), 0);
}

static void selectors(void **state)
{
        autoarena struct arena *a = arena_new(100000);
        autojson struct json *in =
                json_of("{'nodeSelectorTerms': [{}, {'matchExpressions':"
                        "[{'key': 'a', 'operator': 'Near', 'values': ['b']}]}]}");
        autojson struct json *bad =
                json_of("{'nodeSelectorTerms': [{'matchFields': [{'key': 3}]}]}");
        struct node_selector s;
        struct err e = {0};

        (void)state;
        assert_int_equal(node_selector_decode(a, in, "x", &s, &e), 0);
        assert_int_equal(s.n, 2);
        autojson struct json *out = node_selector_encode(&s);
        assert_json_equal(in, out); /* a bad operator is written as it was */
        assert_int_equal(node_selector_decode(a, bad, "spec.affinity", &s, &e), -EINVAL);
        assert_string_equal(e.msg,
                            "spec.affinity.nodeSelectorTerms[0].matchFields[0].key: not a string");
        assert_int_equal(s.n, 2);
        assert_int_equal(node_selector_decode(a, NULL, "p", &s, &e), -EINVAL);
        assert_string_equal(e.msg, "p: not an object");
        assert_int_equal(node_selector_decode(a, in, "", &s, NULL), 0);
        char path[400];
        memset(path, 'p', sizeof(path));
        path[300] = '\0';
        assert_int_equal(node_selector_decode(a, bad, path, &s, &e), -EINVAL);
        assert_memory_equal(e.msg, path, 300);
        assert_non_null(strstr(e.msg, "p.nodeSelectorTerms...: not a string"));
}

static void parts(void **state)
{
        autoarena struct arena *a = arena_new(100000);
        autoarena struct arena *small = arena_new(8);
        autojson struct json *j = json_file("vm.json");
        const struct json *arr = part(j, "status/conditions");
        struct conditions c = {0};
        struct meta m = {0};
        struct err e = {0};

        (void)state;
        assert_int_equal(conditions_decode(a, arr, "status.conditions", &c, &e), 0);
        assert_int_equal(c.n, 2);
        assert_int_equal(c.v[0].since_us, 1767323045000006);
        assert_int_equal(c.v[1].since_us, 0);
        assert_int_equal(conditions_decode(a, j, "status.conditions", &c, &e), -EINVAL);
        assert_string_equal(e.msg, "status.conditions: not a list");
        assert_int_equal(meta_decode(a, j, &m, &e), 0);
        assert_string_equal(m.name, "web-1");
        assert_int_equal(meta_decode(a, arr, &m, &e), -EINVAL);
        assert_int_equal(meta_decode(small, j, &m, &e), -ENOMEM);
        assert_string_equal(m.name, "web-1");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(round_trip), cmocka_unit_test(no_memory),
                cmocka_unit_test(empty),      cmocka_unit_test(unset_times_are_left_out),
                cmocka_unit_test(selectors),  cmocka_unit_test(parts),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
