#include "extender/facts.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT 12

/* The arena of a VM's facts is made to measure: every combination of sizes must fit. */
static void facts_of_any_size_fit(void **state)
{
        static char text[COUNT][64];
        struct vm_disk disks[COUNT] = {0};
        struct vm_network networks[COUNT] = {0};
        struct vm vm = {0};

        (void)state;
        for (size_t i = 0; i < COUNT; i++) {
                memset(text[i], 'a' + (int)i, i * 5);
                disks[i] = (struct vm_disk){.kind = DISK_BLANK, .pool = text[i]};
                networks[i].bridge = text[COUNT - 1 - i];
        }
        vm.meta.uid = "0b0a4d9e-0000-4000-8001-000000000001";
        vm.spec.disks = disks;
        vm.spec.networks = networks;
        vm.spec.shape = (struct vm_shape){1, "", 1, ""};
        vm.status.owner.node = "";
        for (vm.spec.ndisks = 0; vm.spec.ndisks <= COUNT; vm.spec.ndisks++) {
                for (vm.spec.nnetworks = 0; vm.spec.nnetworks <= COUNT; vm.spec.nnetworks++) {
                        vm.spec.shape.cpu_model = text[vm.spec.ndisks % COUNT];
                        struct vm_facts *f = vm_facts_new(&vm);

                        assert_non_null(f);
                        assert_string_equal(f->uid, vm.meta.uid);
                        assert_string_equal(f->demand.cpu_model, vm.spec.shape.cpu_model);
                        assert_int_equal(f->demand.pools.n, vm.spec.ndisks);
                        assert_int_equal(f->demand.bridges.n, vm.spec.nnetworks);
                        for (size_t i = 0; i < f->demand.pools.n; i++) {
                                assert_string_equal(f->demand.pools.v[i], text[i]);
                                assert_ptr_not_equal(f->demand.pools.v[i], text[i]);
                        }
                        vm_facts_free(f);
                }
        }
}

static void only_a_domain_with_a_process_takes_room(void **state)
{
        (void)state;
        assert_true(domain_takes_room(DOMAIN_RUNNING));
        assert_true(domain_takes_room(DOMAIN_PAUSED));
        assert_true(domain_takes_room(DOMAIN_INCOMING));
        assert_true(domain_takes_room(DOMAIN_UNKNOWN));
        assert_false(domain_takes_room(DOMAIN_ABSENT));
        assert_false(domain_takes_room(DOMAIN_SHUTOFF));
        assert_false(domain_takes_room(DOMAIN_CRASHED));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(facts_of_any_size_fit),
                cmocka_unit_test(only_a_domain_with_a_process_takes_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
