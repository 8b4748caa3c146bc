#include "base/file.h"
#include "core/capacity.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB   ((int64_t)1 << 20)
#define GIB   ((int64_t)1 << 30)
#define LIMIT CAPACITY_SILENT_MS

/* A host, a demand and a view that fit; each test spoils one thing. */
struct scene {
        struct host host;
        struct host_mount mounts[2];
        struct condition ready;
        const char *models[2], *bridges[2], *pools[2], *wanted_bridges[1];
        struct capacity_demand demand;
        struct capacity_view view;
};

static void set_scene(struct scene *s)
{
        static const struct host_mount pool = {
                .pool = "default",
                .path = "/var/lib/drover",
                .fstype = "nfs4",
                .source = "nas:/vm",
                .health = MOUNT_HEALTHY,
                .reason = "",
                .identity = "",
                .free_bytes = 100 * GIB,
        };

        memset(s, 0, sizeof(*s));
        s->mounts[0] = s->mounts[1] = pool;
        s->mounts[1].pool = "fast";
        s->mounts[1].path = "/mnt/fast";
        s->ready = (struct condition){"Ready", "True", "", "", 0};
        s->models[0] = "qemu64";
        s->models[1] = "Skylake-Server";
        s->bridges[0] = "br0";
        s->bridges[1] = "br7";
        s->host.meta.name = "node1";
        s->host.capacity.cpus = 8;
        s->host.capacity.cpu_overcommit_percent = 100;
        s->host.capacity.memory = 16 * GIB;
        s->host.capacity.reserved_memory = GIB;
        s->host.cpu_models = (struct strs){s->models, 2};
        s->host.bridges = (struct strs){s->bridges, 2};
        s->host.mounts = s->mounts;
        s->host.nmounts = 2;
        s->host.conditions = (struct conditions){&s->ready, 1};
        s->pools[0] = "default";
        s->pools[1] = "fast";
        s->wanted_bridges[0] = "br0";
        s->demand = (struct capacity_demand){
                .cores = 2,
                .memory = 2 * GIB,
                .cpu_model = "Skylake-Server",
                .pools = {s->pools, 2},
                .bridges = {s->wanted_bridges, 1},
        };
        s->view = (struct capacity_view){.node = "node1", .host = &s->host, .silent_ms = 1000};
}

/* Where the guest is, whose pools are the same, as far as is known. */
static struct other {
        struct host host;
        struct host_mount mounts[2];
        struct host_peer here, there;
} other;

static void moves_from_node7(struct scene *s)
{
        other.mounts[0] = s->mounts[0];
        other.mounts[1] = s->mounts[1];
        other.host = (struct host){.meta.name = "node7", .mounts = other.mounts, .nmounts = 2};
        other.here = (struct host_peer){.node = "node7", .state = SHARING_UNKNOWN, .reason = ""};
        other.there = (struct host_peer){.node = "node1", .state = SHARING_UNKNOWN, .reason = ""};
        s->mounts[0].shared_with = &other.here;
        other.mounts[0].shared_with = &other.there;
        s->mounts[0].nshared_with = other.mounts[0].nshared_with = 1;
        s->view.guest_at = &other.host;
}

static void pool_of_another_identity(struct scene *s)
{
        moves_from_node7(s);
        s->mounts[1].identity = "a";
        other.mounts[1].identity = "b";
}

static void pool_refuted_here(struct scene *s)
{
        moves_from_node7(s);
        other.here.state = SHARING_NOT_SHARED;
}

static void pool_refuted_there(struct scene *s)
{
        moves_from_node7(s);
        other.there.state = SHARING_NOT_SHARED;
}

static void pool_unproven(struct scene *s)
{
        moves_from_node7(s);
        s->mounts[1].identity = "a"; /* the other has not found its own */
}

static void nothing(struct scene *s)
{
        (void)s;
}
static void no_host(struct scene *s)
{
        s->view.host = NULL;
}
static void never_heard(struct scene *s)
{
        s->view.silent_ms = -1;
}
static void silent(struct scene *s)
{
        s->view.silent_ms = 34500;
}
static void silent_for_minutes(struct scene *s)
{
        s->view.silent_ms = 119 * 60000 + 59999;
}
static void silent_for_hours(struct scene *s)
{
        s->view.silent_ms = 120 * 60000;
}
static void silent_at_limit(struct scene *s)
{
        s->view.silent_ms = LIMIT;
}
static void no_ready(struct scene *s)
{
        s->host.conditions.n = 0;
}
static void not_ready(struct scene *s)
{
        s->ready.status = "False";
        s->ready.message = "libvirtd does not answer";
}
static void not_ready_reason(struct scene *s)
{
        s->ready.status = "Unknown";
        s->ready.reason = "Starting";
}
static void cpu_model(struct scene *s)
{
        s->demand.cpu_model = "EPYC";
}
static void no_cpu_model(struct scene *s)
{
        s->demand.cpu_model = "";
        s->host.cpu_models.n = 0;
}
static void bridge(struct scene *s)
{
        s->wanted_bridges[0] = "br9";
}
static void no_pool(struct scene *s)
{
        s->host.nmounts = 1;
}
static void sick_pool(struct scene *s)
{
        s->mounts[0].health = MOUNT_UNHEALTHY;
        s->mounts[0].reason = "probe did not answer for 5 s";
}
static void sick_second_pool(struct scene *s)
{
        s->mounts[1].health = MOUNT_UNHEALTHY;
}
static void unprobed_pool(struct scene *s)
{
        s->mounts[0].health = MOUNT_UNKNOWN;
}
static void unknown_pool(struct scene *s)
{
        s->mounts[0].health = MOUNT_UNKNOWN;
        s->mounts[0].reason = "the last probe is 40 s old";
}
static void sick_but_not_asked_for(struct scene *s)
{
        sick_second_pool(s);
        s->demand.pools.n = 1;
}
static void slots(struct scene *s)
{
        s->host.capacity.slots = 4;
        s->host.used.domains = 3;
        s->view.promised.guests = 1;
}
static void last_slot(struct scene *s)
{
        slots(s);
        s->view.promised.guests = 0;
}
static void cpus(struct scene *s)
{
        s->host.used.cpus = 4;
        s->view.promised.cores = 3;
}
static void cpus_overcommitted(struct scene *s)
{
        cpus(s);
        s->host.capacity.cpu_overcommit_percent = 150;
}
static void cpus_all_taken(struct scene *s)
{
        s->host.used.cpus = 20;
}
static void no_percent(struct scene *s)
{
        s->host.capacity.cpu_overcommit_percent = 0;
}
/* 15 GiB but for the reserve; the new guest needs 2 GiB + 96 + 16 + 4 MiB = 2164 MiB. */
static void memory_used(struct scene *s)
{
        s->host.used.domains = 1;
        s->host.used.cpus = 4;
        s->host.used.memory = 13 * GIB; /* and 96 + 32 + 26 = 154 MiB: 1894 MiB are left */
}
static void memory_promised(struct scene *s)
{
        s->view.promised.memory = 15 * GIB - 2163 * MIB;
}
static void memory_just_over_2_gib(struct scene *s)
{
        s->view.promised.memory = 15 * GIB - 2108 * MIB;
}
static void memory_exact(struct scene *s)
{
        s->view.promised.memory = 15 * GIB - 2164 * MIB;
}
static void memory_in_huge_pages(struct scene *s)
{
        s->host.capacity.huge_2mi = (13 * GIB) / (2 * MIB);
}
static void huge_2mi(struct scene *s)
{
        s->demand.huge = HUGE_2MI;
        s->host.capacity.huge_2mi = 1100;
        s->view.promised.huge_2mi = 100;
}
static void huge_2mi_enough(struct scene *s)
{
        huge_2mi(s);
        s->view.promised.huge_2mi = 76;
}
static void huge_1gi(struct scene *s)
{
        s->demand.huge = HUGE_1GI;
        s->demand.memory = 2 * GIB + 1;
        s->host.capacity.huge_1gi = 2;
}
static void huge_bad(struct scene *s)
{
        s->demand.huge = HUGE_BAD;
}
static void huge_still_needs_overhead(struct scene *s)
{
        huge_2mi_enough(s);
        s->host.used.memory = 12 * GIB + 748 * MIB;
        s->demand.cores = 4;
}
static void holds_the_guest(struct scene *s)
{
        cpu_model(s);
        bridge(s);
        sick_pool(s);
        slots(s);
        cpus_all_taken(s);
        s->view.holds = true;
}
static void holds_but_silent(struct scene *s)
{
        holds_the_guest(s);
        silent(s);
}
static void absurd_numbers(struct scene *s)
{
        s->host.capacity.cpus = INT64_MAX;
        s->host.capacity.cpu_overcommit_percent = INT64_MAX;
        s->host.capacity.memory = INT64_MAX;
        s->host.capacity.reserved_memory = INT64_MIN;
        s->host.capacity.huge_1gi = INT64_MAX;
        s->host.used.memory = INT64_MAX;
        s->host.used.domains = INT64_MAX;
        s->host.used.cpus = INT64_MIN;
        s->view.promised.memory = INT64_MAX;
}

struct row {
        const char *what;
        void (*spoil)(struct scene *s);
        enum capacity_rule rule;
        const char *message;
};
static const struct row rows[] = {
        {"all is well", nothing, CAPACITY_FITS, NULL},
        {"no report", no_host, CAPACITY_NO_HOST,
         "node1: no Drover agent has reported a hypervisor there"},
        {"no heartbeat", never_heard, CAPACITY_SILENT,
         "node1: its Drover agent has sent no heartbeat yet"},
        {"silent", silent, CAPACITY_SILENT,
         "node1: its Drover agent has not been heard from for more than 20 s"},
        {"silent for minutes", silent_for_minutes, CAPACITY_SILENT,
         "node1: its Drover agent has not been heard from for 119 minutes"},
        {"silent for hours", silent_for_hours, CAPACITY_SILENT,
         "node1: its Drover agent has not been heard from for 2 hours"},
        {"silent for just so long", silent_at_limit, CAPACITY_FITS, NULL},
        {"no Ready condition", no_ready, CAPACITY_NOT_READY,
         "node1: its Drover agent has not said that it is Ready"},
        {"not Ready", not_ready, CAPACITY_NOT_READY,
         "node1: its hypervisor is not Ready: libvirtd does not answer"},
        {"not Ready, reason only", not_ready_reason, CAPACITY_NOT_READY,
         "node1: its hypervisor is not Ready: Starting"},
        {"CPU model", cpu_model, CAPACITY_CPU_MODEL,
         "node1: its hypervisor cannot run CPU model EPYC"},
        {"default CPU model", no_cpu_model, CAPACITY_FITS, NULL},
        {"bridge", bridge, CAPACITY_BRIDGE, "node1: it has no network bridge br9"},
        {"pool not there", no_pool, CAPACITY_NO_POOL,
         "node1: storage pool fast is not mounted there"},
        {"pool unhealthy", sick_pool, CAPACITY_POOL_HEALTH,
         "node1: storage pool default at /var/lib/drover is unhealthy: probe did not answer for 5 "
         "s"},
        {"second pool unhealthy", sick_second_pool, CAPACITY_POOL_HEALTH,
         "node1: storage pool fast at /mnt/fast is unhealthy: no reason given"},
        {"pool not probed", unprobed_pool, CAPACITY_POOL_HEALTH,
         "node1: storage pool default at /var/lib/drover has not been probed yet"},
        {"pool unknown", unknown_pool, CAPACITY_POOL_HEALTH,
         "node1: storage pool default at /var/lib/drover is in unknown health: the last probe is "
         "40 s old"},
        {"another pool unhealthy", sick_but_not_asked_for, CAPACITY_FITS, NULL},
        {"slots", slots, CAPACITY_SLOTS, "node1: all of its 4 VM slots are taken"},
        {"last slot", last_slot, CAPACITY_FITS, NULL},
        {"CPUs", cpus, CAPACITY_CPUS, "node1: 2 CPUs are asked for, 1 of 8 are free"},
        {"CPUs overcommitted", cpus_overcommitted, CAPACITY_FITS, NULL},
        {"CPUs taken beyond the bound", cpus_all_taken, CAPACITY_CPUS,
         "node1: 2 CPUs are asked for, 0 of 8 are free"},
        {"no overcommit given", no_percent, CAPACITY_FITS, NULL},
        {"memory used", memory_used, CAPACITY_MEMORY,
         "node1: 2.12 GiB of memory are needed (116 MiB of it for QEMU itself), 1.84 GiB are free"},
        {"memory promised", memory_promised, CAPACITY_MEMORY,
         "node1: 2.12 GiB of memory are needed (116 MiB of it for QEMU itself), 2.11 GiB are free"},
        {"memory with a digit of nought", memory_just_over_2_gib, CAPACITY_MEMORY,
         "node1: 2.12 GiB of memory are needed (116 MiB of it for QEMU itself), 2.05 GiB are free"},
        {"memory to the byte", memory_exact, CAPACITY_FITS, NULL},
        {"memory kept in free huge pages", memory_in_huge_pages, CAPACITY_MEMORY,
         "node1: 2.12 GiB of memory are needed (116 MiB of it for QEMU itself), 2 GiB are free"},
        {"huge pages of 2Mi", huge_2mi, CAPACITY_HUGE_PAGES,
         "node1: 1024 huge pages of 2Mi are asked for, 1000 are free"},
        {"enough huge pages", huge_2mi_enough, CAPACITY_FITS, NULL},
        {"huge pages of 1Gi", huge_1gi, CAPACITY_HUGE_PAGES,
         "node1: 3 huge pages of 1Gi are asked for, 2 are free"},
        {"no such huge pages", huge_bad, CAPACITY_HUGE_PAGES,
         "node1: huge pages of the size that the VM asks for do not exist"},
        {"overhead beside huge pages", huge_still_needs_overhead, CAPACITY_MEMORY,
         "node1: 132 MiB of memory are needed (132 MiB of it for QEMU itself), 98 MiB are free"},
        {"a pool with another identity", pool_of_another_identity, CAPACITY_POOL_APART,
         "node1: storage pool fast is not the one of node7, where the guest is"},
        {"a pool that it says is not the same", pool_refuted_here, CAPACITY_POOL_APART,
         "node1: storage pool default is not the one of node7, where the guest is"},
        {"a pool that the other says is not", pool_refuted_there, CAPACITY_POOL_APART,
         "node1: storage pool default is not the one of node7, where the guest is"},
        {"a pool of which not all is known", pool_unproven, CAPACITY_FITS, NULL},
        {"it is there already", holds_the_guest, CAPACITY_FITS, NULL},
        {"it was there when last heard from", holds_but_silent, CAPACITY_SILENT,
         "node1: its Drover agent has not been heard from for more than 20 s"},
        {"numbers that would overflow", absurd_numbers, CAPACITY_MEMORY, NULL},
};

/* As docs/troubleshooting.md has them. */
static const char *const signs[CAPACITY_RULES] = {
        "",
        " [rule 1 no-host]",
        " [rule 2 silent]",
        " [rule 3 not-ready]",
        " [rule 4 cpu-model]",
        " [rule 5 bridge]",
        " [rule 6 no-pool]",
        " [rule 7 pool-health]",
        " [rule 8 slots]",
        " [rule 9 cpus]",
        " [rule 10 memory]",
        " [rule 11 huge-pages]",
        " [rule 12 pool-apart]",
};

static void each_rule_refuses_and_says_why(void **state)
{
        bool seen[CAPACITY_RULES] = {false};

        (void)state;
        for (size_t i = 0; i < countof(rows); i++) {
                char message[CAPACITY_MESSAGE_MAX] = "untouched", want[CAPACITY_MESSAGE_MAX];
                struct scene s;

                set_scene(&s);
                rows[i].spoil(&s);
                enum capacity_rule rule = capacity_check(&s.view, &s.demand, LIMIT, message);
                if (rule != rows[i].rule)
                        fail_msg("%s: %s: %s", rows[i].what, capacity_rule_name(rule), message);
                snprintf(want, sizeof(want), "%s%s", rows[i].message ? rows[i].message : "",
                         signs[rule]);
                if (rows[i].message)
                        assert_string_equal(message, want);
                else if (rule == CAPACITY_FITS)
                        assert_string_equal(message, "untouched");
                assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, NULL), rule);
                seen[rule] = true;
        }
        for (int i = 0; i < CAPACITY_RULES; i++)
                if (!seen[i])
                        fail_msg("no row for rule %s", capacity_rule_name((enum capacity_rule)i));
}

static void each_rule_is_documented(void **state)
{
        autobuf struct buf docs = buf_new(1 << 20);
        char row[64];
        struct err e;

        (void)state;
        if (file_read("docs/troubleshooting.md", &docs, &e) < 0)
                fail_msg("%s", e.msg);
        for (int i = CAPACITY_FITS + 1; i < CAPACITY_RULES; i++) {
                snprintf(row, sizeof(row), "| %d %s | `", i,
                         capacity_rule_name((enum capacity_rule)i));
                if (!strstr(docs.data, row))
                        fail_msg("no row %s", row);
        }
}

static void what_is_known_of_the_models_is_not_asked_again(void **state)
{
        char message[CAPACITY_MESSAGE_MAX];
        struct scene s;

        (void)state;
        set_scene(&s);
        s.view.cpu_model = CAPACITY_LACKS;
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_CPU_MODEL);
        s.demand.cpu_model = "";
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_FITS);
        cpu_model(&s);
        s.view.cpu_model = CAPACITY_HAS;
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_FITS);
}

static void numbers_of_any_size_are_written(void **state)
{
        static const struct {
                int64_t cores, free;
                const char *message;
        } ROWS[] = {
                {INT64_MAX, 0,
                 "node1: 9223372036854775807 CPUs are asked for, 0 of 0 are free [rule 9 cpus]"},
                {1000, 7, "node1: 1000 CPUs are asked for, 7 of 7 are free [rule 9 cpus]"},
                {10, -3, "node1: 10 CPUs are asked for, 0 of -3 are free [rule 9 cpus]"},
        };
        char message[CAPACITY_MESSAGE_MAX];

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct scene s;

                set_scene(&s);
                s.demand.cores = ROWS[i].cores;
                s.host.capacity.cpus = ROWS[i].free;
                assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_CPUS);
                assert_string_equal(message, ROWS[i].message);
        }
}

static void the_first_rule_decides(void **state)
{
        char message[CAPACITY_MESSAGE_MAX];
        struct scene s;

        (void)state;
        set_scene(&s);
        cpus_all_taken(&s);
        sick_pool(&s);
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_POOL_HEALTH);
        not_ready(&s);
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_NOT_READY);
        silent(&s);
        assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message), CAPACITY_SILENT);
}

static void rules_have_names(void **state)
{
        (void)state;
        assert_string_equal(capacity_rule_name(CAPACITY_FITS), "fits");
        assert_string_equal(capacity_rule_name(CAPACITY_HUGE_PAGES), "huge-pages");
        assert_string_equal(capacity_rule_name(CAPACITY_RULES), "unknown");
}

static bool ends_with(const char *s, const char *end)
{
        return strlen(s) >= strlen(end) && strcmp(s + strlen(s) - strlen(end), end) == 0;
}

static void long_reasons_are_cut_and_rules_are_not(void **state)
{
        char message[CAPACITY_MESSAGE_MAX], name[400];
        struct scene s;

        (void)state;
        set_scene(&s);
        memset(name, 'n', sizeof(name) - 1);
        name[sizeof(name) - 1] = '\0';
        sick_pool(&s);
        s.mounts[0].reason = name;
        for (int i = 0; i < 2; i++) {
                assert_int_equal(capacity_check(&s.view, &s.demand, LIMIT, message),
                                 CAPACITY_POOL_HEALTH);
                assert_true(strlen(message) > 200);
                assert_true(ends_with(message, "nnn [rule 7 pool-health]"));
                s.view.node = name;
        }
}

static void overhead_is_linear(void **state)
{
        (void)state;
        assert_int_equal(capacity_overhead(0, 0, 0), 0);
        assert_int_equal(capacity_overhead(1, 2, 2 * GIB), 116 * MIB);
        assert_int_equal(capacity_overhead(3, 7, 5 * GIB),
                         capacity_overhead(1, 2, 2 * GIB) + capacity_overhead(2, 5, 3 * GIB));
        assert_true(capacity_overhead(INT64_MAX, INT64_MAX, INT64_MAX) > 0);
}

static void loads_add_up(void **state)
{
        struct capacity_load load = {0};
        struct scene s;

        (void)state;
        set_scene(&s);
        capacity_load_add(&load, &s.demand);
        s.demand.huge = HUGE_2MI;
        capacity_load_add(&load, &s.demand);
        s.demand.huge = HUGE_1GI;
        s.demand.memory = GIB + 1;
        capacity_load_add(&load, &s.demand);
        assert_int_equal(load.guests, 3);
        assert_int_equal(load.cores, 6);
        assert_int_equal(load.huge_2mi, 1024);
        assert_int_equal(load.huge_1gi, 2);
        assert_int_equal(load.memory, 2 * GIB + 2 * 116 * MIB + capacity_overhead(1, 2, GIB + 1));
}

static void make_vm(struct vm *vm, struct vm_disk disks[4], struct vm_network networks[3])
{
        static const struct vm_disk plan[4] = {
                {.name = "root", .kind = DISK_IMAGE, .pool = "default"},
                {.name = "data", .kind = DISK_BLANK, .pool = "fast"},
                {.name = "more", .kind = DISK_BLANK, .pool = "default"},
                {.name = "claim", .kind = DISK_PVC, .pool = "other"},
        };

        memset(vm, 0, sizeof(*vm));
        memcpy(disks, plan, sizeof(plan));
        for (int i = 0; i < 3; i++)
                networks[i] = (struct vm_network){.bridge = i == 1 ? "br7" : "br0"};
        vm->spec.shape = (struct vm_shape){4, "EPYC", 8 * GIB, "1Gi"};
        vm->status.running = (struct vm_shape){2, "", GIB, ""};
        vm->status.has_running = true;
        vm->spec.disks = disks;
        vm->spec.ndisks = 4;
        vm->spec.networks = networks;
        vm->spec.nnetworks = 3;
}

static void a_running_vm_asks_for_what_it_runs_with(void **state)
{
        autoarena struct arena *a = arena_new(1 << 16);
        struct vm_network networks[3];
        struct vm_disk disks[4];
        struct capacity_demand d;
        struct vm vm;

        (void)state;
        make_vm(&vm, disks, networks);
        assert_int_equal(capacity_demand_of(a, &vm, false, &d), 0);
        assert_int_equal(d.cores, 4);
        assert_int_equal(d.memory, 8 * GIB);
        assert_int_equal(d.huge, HUGE_1GI);
        assert_string_equal(d.cpu_model, "EPYC");
        assert_int_equal(d.pools.n, 2);
        assert_string_equal(d.pools.v[0], "default");
        assert_string_equal(d.pools.v[1], "fast");
        assert_int_equal(d.bridges.n, 2);
        assert_string_equal(d.bridges.v[1], "br7");
        assert_int_equal(capacity_demand_of(a, &vm, true, &d), 0);
        assert_int_equal(d.cores, 2);
        assert_int_equal(d.memory, GIB);
        assert_int_equal(d.huge, HUGE_NONE);
        assert_string_equal(d.cpu_model, "");
        vm.spec.shape.huge_pages = "4Ki";
        assert_int_equal(capacity_demand_of(a, &vm, false, &d), 0);
        assert_int_equal(d.huge, HUGE_BAD);
}

static void demand_survives_failing_allocations(void **state)
{
        struct vm_network networks[3];
        struct vm_disk disks[4];
        struct vm vm;

        (void)state;
        make_vm(&vm, disks, networks);
        for (unsigned long n = 1; n; n++) {
                autoarena struct arena *a = arena_new(1 << 16);
                struct capacity_demand d = {.cores = -7};

                oom_arm(n);
                int rc = capacity_demand_of(a, &vm, false, &d);
                if (!oom_disarm())
                        break;
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(d.cores, -7);
        }
}

static struct capacity_grade grade(const struct scene *s, enum capacity_policy policy)
{
        return capacity_grade(&s->view, &s->demand, policy, 2);
}

static int score(struct scene *s, enum capacity_policy policy)
{
        struct capacity_grade g = grade(s, policy);

        return capacity_score(&g, 100 * GIB);
}

static void scores_spread_or_pack(void **state)
{
        struct scene s;

        (void)state;
        set_scene(&s);
        /* 6 of 8 CPUs and 12.9 of 15 GiB would be free: 0.75 x 6 + 2 + 2 */
        assert_int_equal(score(&s, CAPACITY_SPREAD), 9);
        assert_int_equal(score(&s, CAPACITY_PACK), 6);
        s.host.used.cpus = 6;
        assert_int_equal(score(&s, CAPACITY_SPREAD), 4);
        assert_int_equal(score(&s, CAPACITY_PACK), 10);
        s.host.used.cpus = 100;
        assert_int_equal(score(&s, CAPACITY_SPREAD), 4);
        s.view.host = NULL;
        assert_int_equal(score(&s, CAPACITY_PACK), 0);
}

static void scores_prefer_free_slots_and_emptier_storage(void **state)
{
        struct scene s;

        (void)state;
        set_scene(&s);
        s.host.used.cpus = 6;
        s.host.inbound = 1;
        assert_int_equal(score(&s, CAPACITY_SPREAD), 3);
        s.host.outbound = 5;
        assert_int_equal(score(&s, CAPACITY_SPREAD), 2);
        s.mounts[1].free_bytes = 50 * GIB;
        assert_int_equal(grade(&s, CAPACITY_SPREAD).free_bytes, 50 * GIB);
        assert_int_equal(score(&s, CAPACITY_SPREAD), 1);
        s.mounts[1].free_bytes = 0;
        assert_int_equal(score(&s, CAPACITY_SPREAD), 0);
        s.demand.pools.n = 0;
        assert_int_equal(grade(&s, CAPACITY_SPREAD).free_bytes, 0);
}

static void scores_stay_within_bounds(void **state)
{
        struct scene s;

        (void)state;
        for (size_t i = 0; i < countof(rows); i++) {
                set_scene(&s);
                rows[i].spoil(&s);
                for (int p = 0; p < 2; p++) {
                        int points = score(&s, p ? CAPACITY_PACK : CAPACITY_SPREAD);

                        assert_in_range(points, 0, CAPACITY_SCORE_MAX);
                }
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_rule_refuses_and_says_why),
                cmocka_unit_test(the_first_rule_decides),
                cmocka_unit_test(each_rule_is_documented),
                cmocka_unit_test(what_is_known_of_the_models_is_not_asked_again),
                cmocka_unit_test(numbers_of_any_size_are_written),
                cmocka_unit_test(rules_have_names),
                cmocka_unit_test(long_reasons_are_cut_and_rules_are_not),
                cmocka_unit_test(overhead_is_linear),
                cmocka_unit_test(loads_add_up),
                cmocka_unit_test(a_running_vm_asks_for_what_it_runs_with),
                cmocka_unit_test(demand_survives_failing_allocations),
                cmocka_unit_test(scores_spread_or_pack),
                cmocka_unit_test(scores_prefer_free_slots_and_emptier_storage),
                cmocka_unit_test(scores_stay_within_bounds),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
