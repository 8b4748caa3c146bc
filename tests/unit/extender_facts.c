#include "extender/facts.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define COUNT 12

static void uids_are_told_apart(void **state)
{
        static const char *const UIDS[] = {
                "0b0a4d9e-0000-4000-8001-000000000001",
                "0b0a4d9e-0000-4000-8001-000000000002",
                "0b0a4d9e-0000-4000-8001-0000000000012",
                "0B0A4D9E-0000-4000-8001-000000000001",
                "0b0a4d9e00000000400000800100000000001",
                "0b0a4d9e-0000-4000-8001-00000000000",
                "0b0a4d9e-0000-4000-8001-00000000000g",
                "u-1",
                "u-2",
                "1",
                " ",
        };
        struct uid u;

        (void)state;
        assert_false(uid_given(uid_of("")));
        for (size_t i = 0; i < sizeof(UIDS) / sizeof(UIDS[0]); i++) {
                assert_true(uid_given(uid_of(UIDS[i])));
                for (size_t k = 0; k < sizeof(UIDS) / sizeof(UIDS[0]); k++)
                        assert_int_equal(uid_same(uid_of(UIDS[i]), uid_of(UIDS[k])), i == k);
        }
        u = uid_of(UIDS[0]);
        assert_true(u.hi == 0x0b0a4d9e00004000 && u.lo == 0x8001000000000001);
}

static struct strs list(const char **v, size_t n)
{
        return (struct strs){v, n};
}

/* What is shown of a host is what was put in, as far as the demand asks. */
static void a_host_is_shown_as_it_was_taken(void **state)
{
        struct share s = share_new();
        struct host_mount mounts[COUNT] = {0}, room[2];
        struct host_domain domains[] = {{.uid = "u-1", .state = DOMAIN_RUNNING},
                                        {.uid = "u-2", .state = DOMAIN_SHUTOFF},
                                        {.uid = "u-3", .state = DOMAIN_INCOMING}};
        struct condition conditions[] = {{"StorageHealthy", "False", "r", "m", 1},
                                         {"Ready", "True", "Because", "it is", 2}};
        struct host h = {.capacity = {.cpus = 8, .slots = 3, .reserved_memory = 5},
                         .used = {.cpus = 1, .memory = 2, .domains = 3},
                         .inbound = 4,
                         .outbound = 6,
                         .cpu_models = list((const char *[]){"a", "b"}, 2),
                         .bridges = list((const char *[]){"br0"}, 1),
                         .mounts = mounts,
                         .nmounts = COUNT,
                         .domains = domains,
                         .ndomains = 3,
                         .conditions = {conditions, 2}};
        struct capacity_demand d = {.pools = list((const char *[]){"p7", "none", "p3"}, 3)};
        struct host_sight sight = {.mounts = room};
        char names[COUNT][4];

        (void)state;
        for (size_t i = 0; i < COUNT; i++) {
                snprintf(names[i], sizeof(names[i]), "p%zu", i);
                mounts[i] = (struct host_mount){.pool = names[i],
                                                .path = "/mnt",
                                                .fstype = "nfs4",
                                                .source = "nas",
                                                .health = i % 2 ? MOUNT_HEALTHY : MOUNT_UNHEALTHY,
                                                .reason = i % 2 ? "" : "slow",
                                                .identity = "x",
                                                .free_bytes = (int64_t)i};
        }
        struct host_peer peers[] = {{"n1", SHARING_SHARED, true, 1, ""},
                                    {"n3", SHARING_NOT_SHARED, false, 2, "a copy"},
                                    {"n4", SHARING_UNKNOWN, false, 3, "silent"}};
        mounts[7].shared_with = peers;
        mounts[7].nshared_with = 3;
        struct host_facts *f = host_facts_new(&s, &h);
        memset(peers, 0, sizeof(peers));
        memset(mounts, 0, sizeof(mounts));
        host_facts_show(f, "n2", &d, &sight);
        assert_int_equal(sight.host.capacity.slots, 3);
        assert_int_equal(sight.host.capacity.reserved_memory, 5);
        assert_int_equal(sight.host.used.domains, 3);
        assert_int_equal(sight.host.inbound + sight.host.outbound, 10);
        assert_true(host_has_cpu_model(&sight.host, "b"));
        assert_string_equal(sight.host.bridges.v[0], "br0");
        assert_int_equal(sight.host.nmounts, 2);
        assert_int_equal(host_mount_of(&sight.host, "p7")->free_bytes, 7);
        assert_int_equal(host_mount_of(&sight.host, "p3")->health, MOUNT_HEALTHY);
        assert_null(host_mount_of(&sight.host, "none"));
        assert_string_equal(sight.host.meta.name, "n2");
        assert_string_equal(host_mount_of(&sight.host, "p3")->identity, "x");
        assert_int_equal(host_mount_of(&sight.host, "p3")->nshared_with, 0);
        assert_int_equal(host_mount_of(&sight.host, "p7")->nshared_with, 1);
        assert_int_equal(host_peer_of(host_mount_of(&sight.host, "p7"), "n3")->state,
                         SHARING_NOT_SHARED);
        assert_int_equal(sight.host.conditions.n, 1);
        assert_string_equal(condition_get(&sight.host.conditions, "Ready")->message, "it is");
        assert_true(host_facts_hold(f, uid_of("u-1")) && host_facts_hold(f, uid_of("u-3")));
        assert_false(host_facts_hold(f, uid_of("u-2")) || host_facts_hold(f, uid_of("")));
        host_facts_free(&s, f);
        assert_int_equal(s.table.count, 0);
        share_free(&s);
}

static void a_vm_asks_for_what_it_did(void **state)
{
        struct share s = share_new();
        struct vm_disk disks[] = {{.kind = DISK_BLANK, .pool = "default"},
                                  {.kind = DISK_PVC, .pool = "claims"},
                                  {.kind = DISK_IMAGE, .pool = "fast"}};
        struct vm_network networks[] = {{.bridge = "br0"}, {.bridge = "br0"}, {.bridge = "br7"}};
        struct vm vm = {
                .meta = {.uid = "u-1"},
                .spec = {.shape = {2, "qemu64", 1 << 20, "2Mi"},
                         .disks = disks,
                         .ndisks = 3,
                         .networks = networks,
                         .nnetworks = 3},
                .status = {.owner = {"", 0}, .has_running = true, .running = {7, "", 2 << 20, ""}}};

        (void)state;
        for (int running = 0; running < 2; running++) {
                struct vm_facts f;

                vm.status.owner.node = running ? "node1" : "";
                assert_true(vm_facts_take(&s, &vm, &f));
                struct capacity_demand d = vm_facts_demand(&f);
                assert_true(uid_same(f.uid, uid_of("u-1")));
                assert_string_equal(vm_facts_owner(&f), running ? "node1" : "");
                assert_int_equal(d.cores, running ? 7 : 2);
                assert_int_equal(d.memory, running ? 2 << 20 : 1 << 20);
                assert_int_equal(d.huge, running ? HUGE_NONE : HUGE_2MI);
                assert_string_equal(d.cpu_model, running ? "" : "qemu64");
                assert_int_equal(d.pools.n, 2);
                assert_string_equal(d.pools.v[1], "fast");
                assert_int_equal(d.bridges.n, 2);
                assert_string_equal(d.bridges.v[1], "br7");
                vm_facts_drop(&s, &f);
                assert_int_equal(s.table.count, 0);
        }
        share_free(&s);
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
                cmocka_unit_test(uids_are_told_apart),
                cmocka_unit_test(a_host_is_shown_as_it_was_taken),
                cmocka_unit_test(a_vm_asks_for_what_it_did),
                cmocka_unit_test(only_a_domain_with_a_process_takes_room),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
