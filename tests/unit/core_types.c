/* The small functions of core: look-ups, names, MACs, domain names, the table of moves. */
#include "core/host.h"
#include "core/migration.h"
#include "core/node.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void lookups(void **state)
{
        struct kv kv[] = {{"a", "1"}, {"b", ""}, {"a", "2"}};
        struct kvs m = {kv, 3};
        const char *v[] = {"x", ""};
        struct strs s = {v, 2};

        (void)state;
        assert_string_equal(kvs_get(&m, "a"), "1"); /* the first of doubles */
        assert_string_equal(kvs_get(&m, "b"), "");
        assert_null(kvs_get(&m, "c"));
        assert_null(kvs_get(&(struct kvs){NULL, 0}, "a"));
        assert_true(strs_has(&s, "x"));
        assert_true(strs_has(&s, ""));
        assert_false(strs_has(&s, "X"));
        assert_false(strs_has(&(struct strs){NULL, 0}, ""));
}

static void conditions(void **state)
{
        struct condition v[] = {{"Ready", "True", "", "", 0},
                                {"Bad", "False", "", "", 0},
                                {"Odd", "true", "", "", 0},
                                {"Dim", "Unknown", "", "", 0}};
        struct conditions c = {v, 4};

        (void)state;
        assert_ptr_equal(condition_get(&c, "Bad"), &v[1]);
        assert_null(condition_get(&c, "ready"));
        assert_true(condition_true(&c, "Ready"));
        assert_false(condition_true(&c, "Bad"));
        assert_false(condition_true(&c, "Odd"));
        assert_false(condition_true(&c, "Dim"));
        assert_false(condition_true(&c, "None"));
}

static void hosts(void **state)
{
        struct host_mount mounts[] = {{.pool = "default"}, {.pool = "fast"}};
        struct host_domain domains[] = {{.uid = "u1"}, {.uid = "u2"}};
        const char *models[] = {"qemu64"};
        struct host h = {.mounts = mounts,
                         .nmounts = 2,
                         .domains = domains,
                         .ndomains = 2,
                         .cpu_models = {models, 1}};

        (void)state;
        assert_ptr_equal(host_mount_of(&h, "fast"), &mounts[1]);
        assert_null(host_mount_of(&h, "slow"));
        assert_ptr_equal(host_domain_of(&h, "u2"), &domains[1]);
        assert_null(host_domain_of(&h, ""));
        assert_true(host_has_cpu_model(&h, "qemu64"));
        assert_false(host_has_cpu_model(&h, "qemu"));
}

/* What is written is read as the same value, and every value has a word of its own. */
#define EACH(type, last, name, parse)                                                              \
        for (int i = 0; i <= (int)(last); i++) {                                                   \
                assert_int_equal(parse(name((type)i)), i);                                         \
                assert_string_not_equal(name((type)i), "?");                                       \
                assert_string_not_equal(name((type)i), "");                                        \
        }                                                                                          \
        assert_string_equal(name((type)((last) + 1)), "?");                                        \
        assert_string_equal(name((type)99), "?")

static void names(void **state)
{
        (void)state;
        EACH(enum run_strategy, RUN_HALTED, run_strategy_name, run_strategy_parse);
        EACH(enum handover, HANDOVER_FAST, handover_name, handover_parse);
        EACH(enum eviction, EVICTION_NONE, eviction_name, eviction_parse);
        EACH(enum vm_phase, VM_UNKNOWN, vm_phase_name, vm_phase_parse);
        EACH(enum mig_phase, MIG_UNKNOWN, mig_phase_name, mig_phase_parse);
        EACH(enum mig_reason, REASON_USER, mig_reason_name, mig_reason_parse);
        EACH(enum transfer_state, TRANSFER_LOST, transfer_state_name, transfer_state_parse);
        EACH(enum mount_health, MOUNT_UNHEALTHY, mount_health_name, mount_health_parse);
        EACH(enum domain_state, DOMAIN_UNKNOWN, domain_state_name, domain_state_parse);
        EACH(enum pod_phase, POD_UNKNOWN, pod_phase_name, pod_phase_parse);
}

/* What is not known must never pass for something better. */
static void strange_words(void **state)
{
        (void)state;
        assert_int_equal(run_strategy_parse(""), RUN_ALWAYS);
        assert_int_equal(run_strategy_parse("always"), RUN_BAD);
        assert_int_equal(handover_parse(""), HANDOVER_PROVEN);
        assert_int_equal(handover_parse("Quick"), HANDOVER_BAD);
        assert_int_equal(eviction_parse(""), EVICTION_LIVE_MIGRATE);
        assert_int_equal(eviction_parse("?"), EVICTION_BAD);
        assert_int_equal(vm_phase_parse(""), VM_PENDING);
        assert_int_equal(vm_phase_parse("Dreaming"), VM_UNKNOWN);
        assert_int_equal(mig_phase_parse(""), MIG_PENDING);
        assert_int_equal(mig_phase_parse("copying"), MIG_UNKNOWN);
        assert_int_equal(mig_reason_parse(""), REASON_USER);
        assert_int_equal(mig_reason_parse("Boredom"), REASON_USER);
        assert_int_equal(transfer_state_parse(""), TRANSFER_NONE);
        assert_int_equal(transfer_state_parse("Flying"), TRANSFER_LOST);
        assert_int_equal(mount_health_parse("Fine"), MOUNT_UNKNOWN);
        assert_int_equal(mount_health_parse(""), MOUNT_UNKNOWN);
        assert_int_equal(domain_state_parse(""), DOMAIN_UNKNOWN);
        assert_int_equal(domain_state_parse("Runningg"), DOMAIN_UNKNOWN);
        assert_int_equal(pod_phase_parse(""), POD_PENDING);
        assert_int_equal(pod_phase_parse("Evicted"), POD_UNKNOWN);
}

/* The table, written a second time as the protocol tells it. */
static void legal_moves(void **state)
{
        static const char *const LEGAL[] = {
                "Pending Scheduled",   "Scheduled Preflight",  "Preflight Copying",
                "Copying Switching",   "Switching Confirming", "Confirming Succeeded",
                "Pending Failed",      "Scheduled Failed",     "Preflight Failed",
                "Copying Failed",      "Pending Cancelled",    "Scheduled Cancelled",
                "Preflight Cancelled", "Copying Cancelled",    "Copying Unknown",
                "Switching Unknown",   "Confirming Unknown",   "Unknown Copying",
                "Unknown Switching",   "Unknown Confirming",   "Unknown Failed",
                "Unknown Cancelled",
        };
        size_t legal = 0;

        (void)state;
        for (int from = 0; from < MIG_PHASES; from++)
                for (int to = 0; to < MIG_PHASES; to++) {
                        char move[64];
                        bool listed = false;
                        snprintf(move, sizeof(move), "%s %s", mig_phase_name((enum mig_phase)from),
                                 mig_phase_name((enum mig_phase)to));
                        for (size_t i = 0; i < countof(LEGAL); i++)
                                listed |= strcmp(LEGAL[i], move) == 0;
                        if (mig_may_move((enum mig_phase)from, (enum mig_phase)to) != listed)
                                fail_msg("%s: should %sbe legal", move, listed ? "" : "not ");
                        legal += listed;
                }
        assert_int_equal(legal, countof(LEGAL));
        assert_false(mig_may_move(MIG_PHASES, MIG_PENDING));
        assert_false(mig_may_move(MIG_PENDING, (enum mig_phase)40));
        assert_false(mig_may_move((enum mig_phase) - 1, MIG_SCHEDULED));
}

/* Nothing leaves an end; from all else an end can be reached. */
static void ends(void **state)
{
        (void)state;
        for (int from = 0; from < MIG_PHASES; from++) {
                bool end = from == MIG_SUCCEEDED || from == MIG_FAILED || from == MIG_CANCELLED;
                bool leaves = false, seen[MIG_PHASES] = {false};
                assert_int_equal(mig_finished((enum mig_phase)from), end);
                seen[from] = true;
                for (int round = 0; round < MIG_PHASES; round++)
                        for (int a = 0; a < MIG_PHASES; a++)
                                for (int b = 0; b < MIG_PHASES; b++)
                                        seen[b] |= seen[a] && mig_may_move((enum mig_phase)a,
                                                                           (enum mig_phase)b);
                for (int to = 0; to < MIG_PHASES; to++)
                        leaves |= mig_may_move((enum mig_phase)from, (enum mig_phase)to);
                assert_int_equal(leaves, !end);
                assert_true(end || seen[MIG_FAILED]);
                assert_true(end || seen[MIG_SUCCEEDED]);
        }
}

static bool is_mac(const char *s)
{
        for (int i = 0; i < 17; i++)
                if (i % 3 == 2 ? s[i] != ':' : !strchr("0123456789abcdef", s[i]) || !s[i])
                        return false;
        return !s[17];
}

static void macs(void **state)
{
        struct vm_network nets[3] = {{.mac = ""}, {.mac = "52:54:00:AA:bb:cc"}, {.mac = ""}};
        struct vm vm = {.meta.uid = "0d3c8f8e-6a0f-4c86-9f0a-5b6a3f2f7c11"};
        char a[18], b[18], c[18];

        (void)state;
        vm.spec.networks = nets;
        vm.spec.nnetworks = 3;
        vm_mac(&vm, 0, a);
        vm_mac(&vm, 0, b);
        vm_mac(&vm, 2, c);
        assert_true(is_mac(a));
        assert_memory_equal(a, "52:54:00:", 9);
        assert_string_equal(a, b);
        assert_string_not_equal(a, c);
        vm_mac(&vm, 1, b);
        assert_string_equal(b, "52:54:00:AA:bb:cc");
        nets[1].mac = "something much longer than an address";
        vm_mac(&vm, 1, b);
        assert_int_equal(strlen(b), 17);
        nets[1].mac = "";
        vm.meta.uid = "0d3c8f8e-6a0f-4c86-9f0a-5b6a3f2f7c12";
        vm_mac(&vm, 0, b);
        assert_string_not_equal(a, b);
}

/* 24 bits for 400 guests: two or so doubles may happen by chance, a weak hash makes dozens. */
static void macs_spread(void **state)
{
        enum { N = 400 };
        struct vm_network net = {.mac = ""};
        char mac[N][18], uid[40];
        int doubles = 0;

        (void)state;
        for (int i = 0; i < N; i++) {
                struct vm vm = {.meta.uid = uid};
                vm.spec.networks = &net;
                snprintf(uid, sizeof(uid), "00000000-0000-4000-8000-%012d", i);
                vm_mac(&vm, 0, mac[i]);
                for (int k = 0; k < i; k++)
                        doubles += strcmp(mac[i], mac[k]) == 0;
        }
        assert_true(doubles <= 1);
}

static void domain_names(void **state)
{
        char ns[64], name[254], a[65], b[65];

        (void)state;
        vm_domain_name(&(struct meta){.ns = "shop", .name = "web-1"}, a);
        assert_string_equal(a, "shop_web-1");
        memset(ns, 'n', 63);
        ns[63] = '\0';
        vm_domain_name(&(struct meta){.ns = ns, .name = ""}, a); /* exactly 64 */
        assert_int_equal(strlen(a), 64);
        assert_int_equal(a[63], '_');
        memset(name, 'm', 253);
        name[253] = '\0';
        vm_domain_name(&(struct meta){.ns = ns, .name = name}, a);
        assert_int_equal(strlen(a), 64);
        assert_memory_equal(a, ns, 47);
        name[252] = 'x'; /* differs only in what is cut off */
        vm_domain_name(&(struct meta){.ns = ns, .name = name}, b);
        assert_int_equal(strlen(b), 64);
        assert_string_not_equal(a, b);
        vm_domain_name(&(struct meta){.ns = ns, .name = "a"}, a); /* 65, cut */
        assert_int_equal(strlen(a), 64);
        assert_int_equal(a[47], '-');
}

static void keys(void **state)
{
        struct meta m = {.ns = "shop", .name = "web-1"};

        (void)state;
        autoarena struct arena *a = arena_new(10000);
        assert_string_equal(meta_key(a, &m), "shop/web-1");
        m.ns = "";
        assert_string_equal(meta_key(a, &m), "web-1");
        autoarena struct arena *small = arena_new(3);
        assert_null(meta_key(small, &m));
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(lookups),       cmocka_unit_test(conditions),
                cmocka_unit_test(hosts),         cmocka_unit_test(names),
                cmocka_unit_test(strange_words), cmocka_unit_test(legal_moves),
                cmocka_unit_test(ends),          cmocka_unit_test(macs),
                cmocka_unit_test(macs_spread),   cmocka_unit_test(domain_names),
                cmocka_unit_test(keys),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
