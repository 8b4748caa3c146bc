/* VMs in brief: what admission needs is the same as from the whole, and what they share is kept
 * once. */
#include "api/codec.h"
#include "core/placement.h"
#include "tests/unit/api_text.h"
#include "tests/unit/oom.h"
#include "webhook/brief.h"
#include "webhook/texts.h"

#include <errno.h>
#include <pthread.h>

static void as_the_whole(void **state)
{
        autojson struct json *j = json_file("vm.json");
        struct brief *b;
        struct vm *vm, *whole;
        char hash[17], whole_hash[17];
        struct err e = {0};

        (void)state;
        assert_int_equal(brief_new(j, &b, &e), 0);
        assert_int_equal(brief_decode(b, &vm, &e), 0);
        assert_int_equal(vm_decode(j, &whole, &e), 0);
        placement_hash(vm, hash);
        placement_hash(whole, whole_hash);
        assert_string_equal(hash, whole_hash);
        assert_string_equal(vm->meta.name, "web-1");
        assert_string_equal(vm->meta.ns, "shop");
        assert_string_equal(vm->meta.uid, whole->meta.uid);
        assert_true(vm->meta.deleting);
        assert_string_equal(kvs_get(&vm->meta.annotations, DROVER_SCHEDULER_ANNOTATION), "second");
        assert_string_equal(vm->spec.placement.node_name, "node-7");
        assert_string_equal(vm->spec.placement.affinity_json, whole->spec.placement.affinity_json);
        assert_string_equal(vm->spec.placement.tolerations_json,
                            whole->spec.placement.tolerations_json);
        assert_string_equal(vm->spec.placement.spread_json, whole->spec.placement.spread_json);
        assert_int_equal(vm->spec.placement.required.n, 2);
        assert_string_equal(kvs_get(&vm->spec.placement.node_selector, "zone"), "a");
        assert_string_equal(vm->spec.shape.cpu_model, "EPYC-Milan-v1");
        assert_int_equal(vm->spec.ndisks, whole->spec.ndisks);
        assert_true(whole->spec.ndisks > 0);
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                assert_string_equal(vm->spec.disks[i].name, whole->spec.disks[i].name);
                assert_string_equal(vm->spec.disks[i].pool, whole->spec.disks[i].pool);
                assert_int_equal(vm->spec.disks[i].kind, whole->spec.disks[i].kind);
        }
        assert_true(vm->status.has_running);
        assert_string_equal(vm->status.running.cpu_model, "Skylake-Client");
        assert_string_equal(vm->status.owner.node, "node-2");
        assert_int_equal(vm->status.owner.epoch, whole->status.owner.epoch);
        assert_int_equal(vm->status.phase, whole->status.phase);
        assert_string_equal(vm->spec.user_data, ""); /* not kept */
        assert_int_equal(vm->spec.ssh_keys.n, 0);
        vm_free(vm);
        vm_free(whole);
        brief_free(b);
}

static void of_little(void **state)
{
        static const char *const TEXTS[] = {"{}", "{'spec': 7, 'metadata': null}", "[]",
                                            "{'metadata': {'annotations': {'a': 'b'}}}",
                                            "{'spec': {'cpu': null, 'disks': []}, 'status': []}"};

        (void)state;
        for (size_t i = 0; i < countof(TEXTS); i++) {
                autojson struct json *j = json_of(TEXTS[i]);
                struct brief *b;
                struct vm *vm;
                assert_int_equal(brief_new(j, &b, NULL), 0);
                assert_int_equal(brief_decode(b, &vm, NULL), 0);
                vm_free(vm);
                brief_free(b);
        }
}

static void without_memory(void **state)
{
        autojson struct json *j = json_file("vm.json");
        unsigned long n;

        (void)state;
        for (n = 1; n; n++) {
                struct brief *b = NULL;
                struct err e = {0};
                oom_arm(n);
                int rc = brief_new(j, &b, &e);
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        brief_free(b);
                        break;
                }
                if (rc == 0) { /* a table that could not grow is none the worse */
                        brief_free(b);
                        continue;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_null(b);
        }
        assert_true(n > 10);
}

static void kept_once(void **state)
{
        char one[] = "the same", two[] = "the same";
        const char *a = text_hold(one), *b = text_hold(two), *c = text_hold("another");

        (void)state;
        assert_ptr_equal(a, b);
        assert_ptr_not_equal(a, c);
        assert_ptr_not_equal(a, one);
        text_drop(a);
        assert_string_equal(b, "the same");
        text_drop(b);
        a = text_hold("the same");
        assert_string_equal(a, "the same");
        text_drop(c);
        text_drop(a);
        text_drop(NULL);
}

/* Many threads that hold and drop few texts: each holder reads its own. */
static void *hold_and_drop(void *arg)
{
        unsigned n = *(const unsigned *)arg;
        char text[16];

        for (unsigned i = 0; i < 5000; i++) {
                snprintf(text, sizeof(text), "text %u", (i * 7 + n) % 5);
                const char *held = text_hold(text);
                if (!held || strcmp(held, text) != 0)
                        return arg;
                text_drop(held);
        }
        return NULL;
}

static void by_many_threads(void **state)
{
        unsigned n[4] = {0, 1, 2, 3};
        pthread_t t[countof(n)];
        void *wrong;

        (void)state;
        for (size_t i = 0; i < countof(n); i++)
                assert_int_equal(pthread_create(&t[i], NULL, hold_and_drop, &n[i]), 0);
        for (size_t i = 0; i < countof(n); i++) {
                pthread_join(t[i], &wrong);
                assert_null(wrong);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(as_the_whole),    cmocka_unit_test(of_little),
                cmocka_unit_test(without_memory),  cmocka_unit_test(kept_once),
                cmocka_unit_test(by_many_threads),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
