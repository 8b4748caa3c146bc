/* Whether a claim lets a guest leave its node. */
#include "core/claim.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static enum sharing judged(const char *first, const char *second, const char *volume,
                           char message[CLAIM_MESSAGE_MAX])
{
        const char *modes[] = {first, second};
        const struct claim c = {
                .meta.name = "data-web",
                .access_modes = {modes, (size_t)(first ? 1 : 0) + (second ? 1 : 0)},
                .volume = volume,
        };

        return claim_sharing(&c, "data", message);
}

static void by_its_access_modes(void **state)
{
        char m[CLAIM_MESSAGE_MAX];

        (void)state;
        assert_int_equal(judged("ReadWriteMany", NULL, "pv", m), SHARING_SHARED);
        assert_string_equal(m, "");
        assert_int_equal(judged("ReadWriteOnce", "ReadWriteMany", "pv", m), SHARING_SHARED);
        assert_int_equal(judged("ReadWriteOnce", NULL, "pv", m), SHARING_NOT_SHARED);
        assert_string_equal(m, "disk data: claim data-web is ReadWriteOnce: no other node may "
                               "write to it");
        assert_int_equal(judged("ReadWriteOncePod", NULL, "pv", m), SHARING_NOT_SHARED);
        assert_int_equal(judged("ReadWriteOnce", "ReadOnlyMany", "", m), SHARING_NOT_SHARED);
        assert_non_null(strstr(m, "is ReadWriteOnce, ReadOnlyMany: "));
        assert_int_equal(judged(NULL, NULL, "pv", m), SHARING_NOT_SHARED);
        assert_non_null(strstr(m, "of no access mode"));
        assert_int_equal(judged("ReadWriteMany", NULL, "", m), SHARING_UNKNOWN);
        assert_string_equal(m, "disk data: claim data-web is bound to no volume");
}

/* Long names are cut, and many modes. */
static void within_bounds(void **state)
{
        static const char *modes[40];
        static char name[254];
        struct claim c = {.meta.name = name, .access_modes = {modes, 40}, .volume = ""};
        char m[CLAIM_MESSAGE_MAX];

        (void)state;
        memset(name, 'c', sizeof(name) - 1);
        for (int i = 0; i < 40; i++)
                modes[i] = "ReadWriteOnce";
        assert_int_equal(claim_sharing(&c, name, m), SHARING_NOT_SHARED);
        assert_true(strlen(m) < CLAIM_MESSAGE_MAX);
}

static void by_what_the_agent_says(void **state)
{
        struct vm_disk disks[] = {{.name = "root", .kind = DISK_BLANK},
                                  {.name = "data", .kind = DISK_PVC}};
        struct vm vm = {.spec = {.disks = disks, .ndisks = 1}};
        struct host_domain d = {.claims = SHARING_NOT_SHARED, .claims_reason = "why"};
        char m[CLAIM_MESSAGE_MAX];

        (void)state;
        assert_int_equal(claims_sharing(&vm, NULL, m), SHARING_SHARED); /* it has none */
        assert_int_equal(claims_sharing(&vm, &d, m), SHARING_SHARED);
        vm.spec.ndisks = 2;
        assert_int_equal(claims_sharing(&vm, NULL, m), SHARING_UNKNOWN);
        assert_non_null(strstr(m, "disk data is a PersistentVolumeClaim, of which the agent has"));
        assert_int_equal(claims_sharing(&vm, &d, m), SHARING_NOT_SHARED);
        assert_string_equal(m, "why");
        d = (struct host_domain){.claims = SHARING_SHARED, .claims_reason = ""};
        assert_int_equal(claims_sharing(&vm, &d, m), SHARING_SHARED);
        assert_string_equal(m, "");
        assert_int_equal(vm_claims(&vm), 1);
        assert_ptr_equal(vm_claimed_disk(&vm), &disks[1]);
}

/* Of two VMs with one claim exactly one may start, whichever of them is asked about. */
static void one_vm_goes_first(void **state)
{
        struct vm_disk a_disks[] = {{.name = "root", .kind = DISK_BLANK, .claim = "c"},
                                    {.name = "data", .kind = DISK_PVC, .claim = "c"}};
        struct vm_disk b_disks[] = {{.name = "x", .kind = DISK_PVC, .claim = "d"},
                                    {.name = "y", .kind = DISK_PVC, .claim = "c"}};
        struct vm a = {.meta = {.name = "a", .ns = "shop", .uid = "ua", .created_us = 5},
                       .spec = {.disks = a_disks, .ndisks = 2},
                       .status.owner.node = ""};
        struct vm b = {.meta = {.name = "b", .ns = "shop", .uid = "ub", .created_us = 5},
                       .spec = {.disks = b_disks, .ndisks = 2},
                       .status.owner.node = ""};

        (void)state;
        assert_null(claim_taken(&a, &b)); /* as old as the other: the uid decides */
        assert_ptr_equal(claim_taken(&b, &a), &b_disks[1]);
        b.meta.created_us = 4;
        assert_ptr_equal(claim_taken(&a, &b), &a_disks[1]);
        assert_null(claim_taken(&b, &a));
        b.spec.run = RUN_HALTED;
        assert_null(claim_taken(&a, &b));
        b.spec.run = RUN_ALWAYS;
        b.meta.deleting = true;
        assert_null(claim_taken(&a, &b));
        b.status.owner.node = "node1"; /* its guest may be there still */
        assert_ptr_equal(claim_taken(&a, &b), &a_disks[1]);
        b_disks[1].kind = DISK_BLANK;
        assert_null(claim_taken(&a, &b));
        b_disks[1].kind = DISK_PVC;
        b.meta.ns = "other"; /* a claim of another namespace is another claim */
        assert_null(claim_taken(&a, &b));
        assert_null(claim_taken(&a, &a));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(by_its_access_modes),
                cmocka_unit_test(within_bounds),
                cmocka_unit_test(by_what_the_agent_says),
                cmocka_unit_test(one_vm_goes_first),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
