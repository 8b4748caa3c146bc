#include "agent/domain.h"
#include "agent/hoststatus.h"
#include "agent/publish.h"
#include "agent/starts.h"
#include "agent/table.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/* --- what libvirt's states mean */

static void judgement(void **state)
{
        static const struct {
                int state, reason;
                bool ours, incoming, ended;
                enum own_domain own;
                enum domain_state published;
                const char *says;
        } ROWS[] = {
                {VIR_DOMAIN_RUNNING, 0, true, false, false, OWN_RUNNING, DOMAIN_RUNNING, ""},
                {VIR_DOMAIN_RUNNING, 0, true, true, false, OWN_RUNNING, DOMAIN_RUNNING, ""},
                {VIR_DOMAIN_SHUTDOWN, 0, true, false, false, OWN_RUNNING, DOMAIN_RUNNING, ""},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, true, true, false, OWN_RECEIVING,
                 DOMAIN_INCOMING, "being received"},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, true, true, false, OWN_RECEIVED,
                 DOMAIN_RECEIVED, "not resumed yet"},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_MIGRATION, true, false, false, OWN_PAUSED,
                 DOMAIN_PAUSED, "switching over"},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_USER, true, false, false, OWN_PAUSED,
                 DOMAIN_PAUSED, "person"},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, true, false, false, OWN_PAUSED,
                 DOMAIN_IO_ERROR, "input/output"},
                {VIR_DOMAIN_PAUSED, VIR_DOMAIN_PAUSED_IOERROR, true, true, false, OWN_PAUSED,
                 DOMAIN_IO_ERROR, "input/output"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_SHUTDOWN, true, false, false, OWN_ENDED,
                 DOMAIN_SHUTOFF, "powered itself off"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, true, false, true, OWN_ENDED,
                 DOMAIN_SHUTOFF, "powered itself off"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_UNKNOWN, true, false, false, OWN_CRASHED,
                 DOMAIN_SHUTOFF, "not started"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_CRASHED, true, false, false, OWN_CRASHED,
                 DOMAIN_CRASHED, "unexpectedly"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_FAILED, true, false, false, OWN_CRASHED,
                 DOMAIN_CRASHED, "could not be started"},
                {VIR_DOMAIN_SHUTOFF, VIR_DOMAIN_SHUTOFF_DESTROYED, true, false, false, OWN_CRASHED,
                 DOMAIN_SHUTOFF, "from outside"},
                {VIR_DOMAIN_CRASHED, 0, true, false, false, OWN_CRASHED, DOMAIN_CRASHED, "crashed"},
                {VIR_DOMAIN_NOSTATE, 0, true, false, false, OWN_UNSEEN, DOMAIN_UNKNOWN, "not say"},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                struct domain_facts f = {.ours = ROWS[i].ours,
                                         .vir_state = ROWS[i].state,
                                         .vir_reason = ROWS[i].reason};
                f.meta.incoming = ROWS[i].incoming;
                f.meta.ended = ROWS[i].ended;
                domain_judge(&f);
                if (f.own != ROWS[i].own || f.state != ROWS[i].published ||
                    !strstr(domain_reason(&f), ROWS[i].says))
                        fail_msg("row %zu: own %d, state %d, \"%s\"", i, (int)f.own, (int)f.state,
                                 domain_reason(&f));
        }
}

/* --- the table */

static struct domain_facts guest(const char *uuid, const char *name, enum own_domain own)
{
        struct domain_facts f = {.ours = true, .own = own, .active = own == OWN_RUNNING};

        snprintf(f.uuid, sizeof(f.uuid), "%s", uuid);
        snprintf(f.meta.ns, sizeof(f.meta.ns), "ns");
        snprintf(f.meta.name, sizeof(f.meta.name), "%s", name);
        f.meta.epoch = 2;
        f.cores = 2;
        f.memory = 1 << 30;
        f.state = own == OWN_RUNNING ? DOMAIN_RUNNING : DOMAIN_SHUTOFF;
        return f;
}

static void entries(void **state)
{
        struct table *t = table_new();
        struct domain_facts b = guest("b", "vm-b", OWN_RUNNING),
                            a = guest("a", "vm-a", OWN_RUNNING);
        char addresses[DOMAIN_ADDRESSES_MAX][DOMAIN_ADDRESS_SIZE] = {"10.0.0.1"};
        struct table_entry x;
        size_t n;

        (void)state;
        assert_true(table_put(t, &b));
        assert_false(table_put(t, &b)); /* no news */
        assert_true(table_put(t, &a));
        assert_true(table_addresses(t, "a", addresses, 1));
        assert_false(table_addresses(t, "a", addresses, 1));
        assert_false(table_addresses(t, "c", addresses, 1));
        struct table_entry *all = table_all(t, &n);
        assert_int_equal(n, 2);
        assert_string_equal(all[0].facts.uuid, "a");
        assert_string_equal(all[0].addresses[0], "10.0.0.1");
        free(all);
        all = table_of(t, "ns", "vm-b", &n);
        assert_int_equal(n, 1);
        assert_string_equal(all[0].facts.uuid, "b");
        free(all);
        assert_null(table_of(t, "other", "vm-b", &n));
        a = guest("a", "vm-a", OWN_CRASHED); /* it ended: its addresses are nobody's */
        assert_true(table_put(t, &a));
        assert_true(table_get(t, "a", &x));
        assert_int_equal(x.naddresses, 0);
        assert_true(table_claims(t, "a", SHARING_NOT_SHARED, "claim c is ReadWriteOnce"));
        assert_false(table_claims(t, "a", SHARING_NOT_SHARED, "claim c is ReadWriteOnce"));
        assert_false(table_claims(t, "c", SHARING_SHARED, ""));
        assert_true(table_get(t, "a", &x));
        assert_string_equal(x.claims_reason, "claim c is ReadWriteOnce");
        assert_true(table_claims(t, "a", SHARING_SHARED, ""));
        assert_true(table_drop(t, "a"));
        assert_false(table_drop(t, "a"));
        assert_false(table_get(t, "a", &x));
        table_free(t);
}

static void notices(void **state)
{
        struct table *t = table_new();
        struct domain_facts f = guest("a", "vm", OWN_RUNNING);
        struct table_entry x;
        size_t n;

        (void)state;
        assert_true(table_notice(t, "a", "ns", "vm", 3, "no space"));
        assert_false(table_notice(t, "a", "ns", "vm", 3, "no space"));
        assert_true(table_get(t, "a", &x));
        assert_false(x.known);
        assert_int_equal(x.facts.meta.epoch, 3);
        free(table_of(t, "ns", "vm", &n));
        assert_int_equal(n, 1);
        assert_true(table_put(t, &f)); /* it runs after all */
        assert_true(table_get(t, "a", &x));
        assert_string_equal(x.notice, "");
        assert_true(table_drop(t, "a"));
        assert_true(table_notice(t, "a", "ns", "vm", 3, "again"));
        assert_true(table_notice(t, "a", "ns", "vm", 3, ""));
        assert_false(table_get(t, "a", &x));
        assert_false(table_notice(t, "a", "ns", "vm", 3, ""));
        table_free(t);
}

/* --- the pace of restarts */

static void retries_are_paced(void **state)
{
        struct starts *s = starts_new();
        int64_t now = 1000, longest = 0;

        (void)state;
        assert_non_null(s);
        for (int i = 0; i < 10; i++) {
                int64_t wait = starts_retry_wait_ms(s, "a", now);
                assert_true(wait >= longest && wait > 0);
                longest = wait;
                now += wait;
                assert_int_equal(starts_retry_wait_ms(s, "a", now), 0);
                starts_retried(s, "a", now);
        }
        assert_int_equal(longest, 30000);
        assert_int_equal(starts_wait_ms(s, "a", now), 0); /* none of it was a start */
        now += 60000;                                     /* it has run for a while */
        assert_int_equal(starts_retry_wait_ms(s, "a", now), 4000);
        for (int i = 0; i < 100; i++) /* its pool is away for long */
                (void)starts_retry_wait_ms(s, "a", now += 5000);
        assert_int_equal(starts_retry_wait_ms(s, "a", now), 0); /* and then well: at once */
        starts_free(s);
}

static void restarts_are_paced(void **state)
{
        struct starts *s = starts_new();
        bool first;

        (void)state;
        assert_int_equal(starts_wait_ms(s, "a", 0), 0);
        starts_started(s, "a", 1000);
        assert_int_equal(starts_wait_ms(s, "a", 2000), 0); /* the first restart is at once */
        starts_started(s, "a", 2000);
        int64_t last = 0;
        int64_t now = 2000;
        for (int i = 0; i < 12; i++) {
                int64_t wait = starts_wait_ms(s, "a", now);
                assert_true(wait >= last && wait <= 300000);
                last = wait;
                now += wait;
                assert_int_equal(starts_wait_ms(s, "a", now), 0);
                starts_started(s, "a", now);
        }
        assert_int_equal(last, 300000);
        now += 400000; /* it ran long */
        starts_started(s, "a", now);
        assert_int_equal(starts_wait_ms(s, "a", now + 1), 0);

        assert_int_equal(starts_stopping(s, "a", 5, &first), 5);
        assert_true(first);
        assert_int_equal(starts_stopping(s, "a", 9, &first), 5);
        assert_false(first);
        starts_started(s, "a", now + 10); /* a wished restart is no crash */
        assert_int_equal(starts_wait_ms(s, "a", now + 11), 0);
        starts_stopping(s, "a", 20, &first);
        assert_true(first);
        starts_unstop(s, "a"); /* halted, and then not: the next stop has a grace of its own */
        assert_int_equal(starts_stopping(s, "a", 30, &first), 30);
        assert_true(first);
        starts_forget(s, "a");
        starts_forget(s, "a");
        assert_int_equal(starts_wait_ms(s, "a", now + 11), 0);
        starts_free(s);
}

/* --- the host's status */

static const struct agent_config CONFIG = {.node = "n1",
                                           .pools = {{.name = "default", .path = "/p"}},
                                           .npools = 1,
                                           .peer_uri = "qemu+tls://%s/system"};

static struct host_peer peer = {"n2", SHARING_SHARED, true, 7, ""};
static struct proof_view proof = {&peer, 1, false};

static struct host_sources sources(const struct mount_view *mounts)
{
        return (struct host_sources){.config = &CONFIG,
                                     .mounts = mounts,
                                     .proofs = &proof,
                                     .libvirt_why = "",
                                     .address = "10.0.0.1",
                                     .now_us = 5000000};
}

/* Of a guest that stands still alone, and no longer than it does. */
static void retries_are_told(void **state)
{
        autoarena struct arena *a = arena_new(1 << 20);
        struct mount_view mount = {.pool = "default",
                                   .path = "/p",
                                   .health = MOUNT_HEALTHY,
                                   .verdict = "",
                                   .reason = ""};
        struct table_entry entry = {.known = true, .facts = guest("a", "vm-a", OWN_PAUSED)};
        struct host_sources s = sources(&mount);
        struct host h;

        (void)state;
        s.synced = true;
        s.starts = starts_new();
        s.mono_ms = 100000;
        s.entries = &entry;
        s.nentries = 1;
        entry.facts.state = DOMAIN_IO_ERROR;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_int_equal(h.domains[0].retries, 0);
        (void)starts_retry_wait_ms(s.starts, "a", s.mono_ms);
        assert_int_equal(starts_retries(s.starts, "a", s.mono_ms), 0);
        for (int i = 1; i <= 3; i++) {
                starts_retried(s.starts, "a", s.mono_ms += 30000);
                assert_int_equal(host_status_build(&s, a, &h), 0);
                assert_int_equal(h.domains[0].retries, i);
        }
        entry.facts.state = DOMAIN_RUNNING;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_int_equal(h.domains[0].retries, 0);
        entry.facts.state = DOMAIN_IO_ERROR;
        s.mono_ms += 60000; /* it has run meanwhile */
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_int_equal(h.domains[0].retries, 0);
        starts_free(s.starts);
}

static void host_status(void **state)
{
        autoarena struct arena *a = arena_new(1 << 20);
        struct mount_view mount = {.pool = "default",
                                   .path = "/p",
                                   .health = MOUNT_UNHEALTHY,
                                   .verdict = "Hung",
                                   .reason = "Hung: no answer",
                                   .mend = "Look at the server.",
                                   .latency_us = 1234,
                                   .free_bytes = 5LL << 30,
                                   .free_inodes = 123456};
        struct host facts = {
                .qemu_version = "7.2.0", .libvirt_version = "9.0.0", .virt_type = "qemu"};
        struct table_entry entries[3] = {
                {.known = true, .facts = guest("a", "vm-a", OWN_RUNNING)},
                {.notice = "no space", .facts = guest("b", "vm-b", OWN_CRASHED)},
                {.known = true, .facts = guest("c", "", OWN_RUNNING)}};
        struct host_sources s = sources(&mount);
        struct host h;

        (void)state;
        entries[2].facts.ours = false; /* somebody else's counts, and is not told */
        s.facts = &facts;
        s.entries = entries;
        s.nentries = 3;
        s.synced = true;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_string_equal(h.libvirt_uri, "qemu+tls://n1/system");
        assert_int_equal(h.ndomains, 2);
        assert_int_equal(h.domains[0].state, DOMAIN_RUNNING);
        assert_int_equal(h.domains[1].state, DOMAIN_SHUTOFF);
        assert_string_equal(h.domains[1].reason, "no space");
        assert_int_equal(h.used.cpus, 4);
        assert_int_equal(h.used.domains, 2);
        assert_true(condition_true(&h.conditions, "Ready"));
        assert_false(condition_true(&h.conditions, "StorageHealthy"));
        assert_int_equal(h.mounts[0].latency_us, 2000);
        assert_string_equal(host_peer_of(&h.mounts[0], "n2")->node, "n2");
        assert_int_equal(h.mounts[0].free_inodes, 120000);

        /* the same again keeps the times, a change does not */
        struct conditions before = h.conditions;
        struct host again;
        mount.locked = true;
        s.before = &before;
        s.now_us = 9000000;
        mount.health = MOUNT_HEALTHY;
        assert_int_equal(host_status_build(&s, a, &again), 0);
        assert_true(again.mounts[0].lock_arbitration);
        proof.local_locks = true; /* the lock that is held keeps nobody else out */
        assert_int_equal(host_status_build(&s, a, &again), 0);
        assert_false(again.mounts[0].lock_arbitration);
        proof.local_locks = false;
        assert_int_equal(condition_get(&again.conditions, "Ready")->since_us, 5000000);
        assert_int_equal(condition_get(&again.conditions, "StorageHealthy")->since_us, 9000000);

        s.libvirt_why = "connection refused";
        assert_int_equal(host_status_build(&s, a, &again), 0);
        assert_string_equal(condition_get(&again.conditions, "Ready")->reason,
                            "LibvirtUnreachable");
        assert_int_equal(again.ndomains, 2); /* guests are not gone because libvirtd is */
}

/* An agent that has just begun must not tell that there are no guests. */
static void before_the_first_look(void **state)
{
        autoarena struct arena *a = arena_new(1 << 20);
        struct mount_view mount = {
                .pool = "default", .path = "/p", .verdict = "NotProbedYet", .mend = ""};
        struct host_domain told = {.uid = "a",
                                   .ns = "ns",
                                   .name = "vm",
                                   .reason = "",
                                   .restarted_at = "",
                                   .claims_reason = "",
                                   .restored = ""};
        struct host kept = {.domains = &told,
                            .ndomains = 1,
                            .qemu_version = "7.2.0",
                            .libvirt_version = "",
                            .virt_type = ""};
        struct host_sources s = sources(&mount);
        struct host h;

        (void)state;
        s.kept = &kept;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_int_equal(h.ndomains, 1);
        assert_string_equal(h.qemu_version, "7.2.0");
        assert_false(condition_true(&h.conditions, "Ready"));
        s.kept = NULL;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        assert_int_equal(h.ndomains, 0);
        assert_string_equal(condition_get(&h.conditions, "StorageHealthy")->status, "Unknown");
        autoarena struct arena *tiny = arena_new(16);
        assert_int_equal(host_status_build(&s, tiny, &h), -ENOMEM);
}

/* The one that is worst off is told: unhealthy before unknown, whatever their order. */
static void several_pools(void **state)
{
        static const struct agent_config THREE = {.node = "n1",
                                                  .pools = {{.name = "a", .path = "/a"},
                                                            {.name = "b", .path = "/b"},
                                                            {.name = "c", .path = "/c"}},
                                                  .npools = 3,
                                                  .peer_uri = "qemu+tls://%s/system"};
        struct mount_view mounts[3] = {{.pool = "a",
                                        .path = "/a",
                                        .verdict = "NotProbedYet",
                                        .reason = "not probed yet",
                                        .mend = ""},
                                       {.pool = "b",
                                        .path = "/b",
                                        .health = MOUNT_UNHEALTHY,
                                        .verdict = "Full",
                                        .reason = "Full: no room",
                                        .mend = "Make room."},
                                       {.pool = "c",
                                        .path = "/c",
                                        .health = MOUNT_HEALTHY,
                                        .verdict = "Healthy",
                                        .mend = ""}};
        const struct proof_view proofs[3] = {{0}};
        autoarena struct arena *a = arena_new(1 << 20);
        struct host_sources s = sources(mounts);
        const struct condition *c;
        struct host h;

        (void)state;
        s.config = &THREE;
        s.proofs = proofs;
        assert_int_equal(host_status_build(&s, a, &h), 0);
        c = condition_get(&h.conditions, "StorageHealthy");
        assert_string_equal(c->status, "False");
        assert_string_equal(c->reason, "Full");
        assert_string_equal(c->message, "pool b at /b: Full: no room. Make room. (and 1 more)");
        assert_string_equal(h.mounts[1].verdict, "Full");
        mounts[1] = mounts[2];
        assert_int_equal(host_status_build(&s, a, &h), 0);
        c = condition_get(&h.conditions, "StorageHealthy");
        assert_string_equal(c->status, "Unknown");
        assert_string_equal(c->reason, "NotProbedYet");
        mounts[0] = mounts[2];
        assert_int_equal(host_status_build(&s, a, &h), 0);
        c = condition_get(&h.conditions, "StorageHealthy");
        assert_string_equal(c->status, "True");
        assert_string_equal(c->reason, "Healthy");
}

static void rounding(void **state)
{
        (void)state;
        assert_int_equal(publish_round_latency(1), 1000);
        assert_int_equal(publish_round_latency(1001), 2000);
        assert_int_equal(publish_round_latency(2001), 5000);
        assert_int_equal(publish_round_latency(5001), 10000);
        assert_int_equal(publish_round_latency(700000), 1000000);
        assert_int_equal(publish_round_bytes((100LL << 20) + 5), 96LL << 20);
        assert_int_equal(publish_round_bytes((70LL << 30) + 5), 70LL << 30);
        assert_int_equal(publish_round_bytes(0), 0);
        assert_int_equal(publish_round_count(99), 99);
        assert_int_equal(publish_round_count(12345), 12000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(judgement),         cmocka_unit_test(entries),
                cmocka_unit_test(notices),           cmocka_unit_test(restarts_are_paced),
                cmocka_unit_test(retries_are_paced), cmocka_unit_test(retries_are_told),
                cmocka_unit_test(host_status),       cmocka_unit_test(before_the_first_look),
                cmocka_unit_test(several_pools),     cmocka_unit_test(rounding),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
