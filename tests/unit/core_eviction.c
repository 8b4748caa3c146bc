/* What an eviction means, in every state of the guest. */
#include "core/eviction.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define NOW_US INT64_C(1000000000)

static struct scene {
        struct arena *arena;
        struct pod pod;
        struct vm vm;
        struct condition migratable;
        struct migration moves[EVICTION_ATTEMPTS];
        const struct migration *asked[EVICTION_ATTEMPTS];
        struct evict_facts f;
        struct evict_answer ans;
} s;

static struct migration *asked(enum mig_phase phase, int64_t ended_us)
{
        struct migration *m = &s.moves[s.f.nasked];

        m->meta.name = evict_migration_name(s.arena, &s.vm, s.f.nasked + 1);
        m->status.phase = phase;
        m->status.message = phase == MIG_FAILED ? "the network went away" : "";
        m->status.pod = m->status.target = "";
        m->status.finished_us = ended_us;
        s.asked[s.f.nasked++] = m;
        return m;
}

/* A guest on node1, behind the pod that is to be evicted. */
static int setup(void **state)
{
        (void)state;
        s = (struct scene){.arena = arena_new(65536)};
        s.migratable = (struct condition){"LiveMigratable", "True", "Migratable", "", 0};
        s.vm.meta = (struct meta){.name = "web", .ns = "shop", .uid = "u1"};
        s.vm.status.owner = (struct vm_owner){"node1", 3};
        s.vm.status.pod_name = "drover-vm-web-e3";
        s.vm.status.phase = VM_RUNNING;
        s.vm.status.migration.name = "";
        s.vm.status.conditions = (struct conditions){&s.migratable, 1};
        s.pod.meta = (struct meta){.name = "drover-vm-web-e3", .ns = "shop"};
        s.pod.node = "node1";
        s.pod.phase = POD_RUNNING;
        s.pod.vm = "web";
        s.pod.vm_uid = "u1";
        s.f = (struct evict_facts){&s.pod, &s.vm, NULL, s.asked, 0, NOW_US};
        return s.arena ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        arena_free(s.arena);
        return 0;
}

static void judged(enum evict_verdict want, const char *said)
{
        assert_int_equal(evict_judge(s.arena, &s.f, &s.ans), 0);
        assert_int_equal(s.ans.verdict, want);
        if (!strstr(s.ans.message, said))
                fail_msg("\"%s\" does not say \"%s\"", s.ans.message, said);
        if (want == EVICT_ALLOW)
                assert_string_equal(s.ans.message, "");
        else if (!strstr(s.ans.message, "VM shop/web "))
                fail_msg("\"%s\" does not name the VM", s.ans.message);
        if (want == EVICT_MOVE && !strstr(s.ans.message, "it is Running, and waits for migration"))
                fail_msg("\"%s\" does not say what is and what is waited for", s.ans.message);
}

static void pods_without_a_guest_may_go(void **state)
{
        (void)state;
        s.f.vm = NULL;
        judged(EVICT_ALLOW, "");
        s.f.vm = &s.vm;
        s.pod.vm_uid = "u0"; /* of a VM of that name that is gone */
        judged(EVICT_ALLOW, "");
        s.pod.vm_uid = "u1";
        s.pod.phase = POD_FAILED;
        judged(EVICT_ALLOW, "");
        s.pod.phase = POD_RUNNING;
        s.pod.meta.deleting = true;
        judged(EVICT_ALLOW, "");
        s.pod.meta.deleting = false;
        s.vm.meta.deleting = true;
        judged(EVICT_ALLOW, "");
        s.vm.meta.deleting = false;
        s.vm.status.owner.node = ""; /* does not run yet */
        judged(EVICT_ALLOW, "");
}

static void the_first_eviction_asks_for_a_move(void **state)
{
        (void)state;
        judged(EVICT_MOVE, "asked to leave node1");
        assert_int_equal(s.ans.attempt, 1);
        assert_string_equal(evict_migration_name(s.arena, &s.vm, 1), "web-3-drain-1");
}

#define LEAVES "VM shop/web is leaving node1: migration web-3-drain-1 is "

static void then_it_waits_and_says_for_what(void **state)
{
        static const struct {
                enum mig_phase phase;
                const char *said;
        } t[] = {
                {MIG_PENDING, "Pending, to node2, and waits for a node that can take it"},
                {MIG_SCHEDULED, "Scheduled, to node2, and waits for the checks of both nodes"},
                {MIG_PREFLIGHT, "Preflight, to node2, and waits for the checks of both nodes"},
                {MIG_COPYING, "Copying, to node2, and waits for the end of the copy"},
                {MIG_SWITCHING,
                 "Switching, to node2, and waits for the guest to run on its target"},
                {MIG_CONFIRMING, "Confirming, to node2, and waits for the guest to be handed over"},
                {MIG_UNKNOWN,
                 "Unknown, to node2, and waits for the agents of both nodes to say where the guest "
                 "is"},
        };
        struct migration *m = asked(MIG_PENDING, 0);

        (void)state;
        judged(EVICT_WAIT, LEAVES "Pending, and waits for a node that can take it");
        m->status.queue_position = 7;
        judged(EVICT_WAIT, LEAVES "Pending, and waits for its turn, as number 7 in the queue");
        m->status.queue_position = 0;
        m->status.message = "node2: 2 CPUs are asked for";
        judged(EVICT_WAIT, "a node that can take it: node2: 2 CPUs are asked for");
        m->status.message = "";
        m->status.target = "node2";
        for (size_t i = 0; i < countof(t); i++) {
                char text[256];

                snprintf(text, sizeof(text), LEAVES "%s", t[i].said);
                m->status.phase = t[i].phase;
                judged(EVICT_WAIT, text);
                assert_string_equal(s.ans.message, text); /* and nothing more */
        }
}

/* What a user has wished for and no node can do holds up no drain; what goes on does. */
static void a_stuck_wish_is_not_waited_for(void **state)
{
        static struct migration wish;

        (void)state;
        wish = (struct migration){.meta.name = "mine", .spec.reason = REASON_USER};
        wish.status.source = "node1";
        wish.status.target = wish.status.pod = wish.status.message = "";
        wish.status.queue_position = 1;
        s.f.current = &wish;
        judged(EVICT_WAIT, "migration mine is Pending");
        wish.status.queue_position = 0;
        judged(EVICT_MOVE, "waits for migration web-3-drain-1 to begin");
        wish.status.permit = true;
        judged(EVICT_WAIT, "migration mine is Pending");
        wish.status.permit = false;
        wish.spec.reason = REASON_PLACEMENT; /* wants what the drain wants */
        judged(EVICT_WAIT, "migration mine is Pending");
        wish.spec.reason = REASON_USER;
        wish.status.phase = MIG_COPYING;
        judged(EVICT_WAIT, "migration mine is Copying");
}

/* It is not moved first, whatever its evictionStrategy. */
static void a_guest_that_is_to_stop_is_waited_for(void **state)
{
        (void)state;
        s.vm.spec.run = RUN_HALTED;
        s.vm.spec.eviction = EVICTION_NONE;
        s.vm.status.phase = VM_STOPPING;
        judged(EVICT_WAIT, "VM shop/web is Stopping on node1 and is to stop (spec.runStrategy: "
                           "Halted): the end of the guest is waited for");
        asked(MIG_COPYING, 0); /* but a move that has begun is what is waited for */
        s.f.current = &s.moves[0];
        judged(EVICT_WAIT, "Copying");
}

static void a_move_for_another_reason_is_waited_for(void **state)
{
        (void)state;
        s.moves[0] = (struct migration){.meta.name = "web-3-1"};
        s.moves[0].status.phase = MIG_COPYING;
        s.moves[0].status.message = s.moves[0].status.pod = "";
        s.moves[0].status.target = "node2";
        s.f.current = &s.moves[0];
        judged(EVICT_WAIT, "migration web-3-1 is Copying, to node2");
        s.moves[0].status.phase = MIG_SUCCEEDED; /* of before the last change of the VM */
        judged(EVICT_MOVE, "");
}

static void the_old_pod_may_go_once_the_guest_has_left(void **state)
{
        (void)state;
        s.vm.status.owner = (struct vm_owner){"node2", 4};
        s.vm.status.pod_name = "drover-move-web-3-drain-1";
        judged(EVICT_ALLOW, "");
}

static void a_pod_that_a_guest_is_on_its_way_to_stays(void **state)
{
        (void)state;
        s.moves[0] = (struct migration){.meta.name = "web-3-1"};
        s.moves[0].status.phase = MIG_COPYING;
        s.moves[0].status.pod = "drover-move-web-3-1";
        s.moves[0].status.message = "";
        s.moves[0].status.target = "node2";
        s.f.current = &s.moves[0];
        s.pod.meta.name = "drover-move-web-3-1";
        s.pod.node = "node2";
        judged(EVICT_WAIT, "VM shop/web is on its way to node2: migration web-3-1 is Copying, to "
                           "node2, and waits for the end of the copy");
        s.moves[0].status.phase = MIG_FAILED;
        judged(EVICT_ALLOW, "");
}

static void who_cannot_move_is_refused_for_good(void **state)
{
        (void)state;
        s.vm.spec.eviction = EVICTION_NONE;
        judged(EVICT_REFUSE, "VM shop/web is Running on node1 and has evictionStrategy None");
        s.vm.spec.eviction = EVICTION_LIVE_MIGRATE;
        s.migratable.status = "False";
        s.migratable.message = "disk data is not shared";
        judged(EVICT_REFUSE,
               "is Running on node1 and cannot be migrated: disk data is not shared; stop it");
        asked(MIG_COPYING, 0); /* but one that is moving all the same is waited for */
        s.f.current = &s.moves[0];
        judged(EVICT_WAIT, "Copying");
}

static void a_failure_is_told_and_tried_again_later(void **state)
{
        (void)state;
        asked(MIG_FAILED, NOW_US - EVICTION_BACKOFF_US + 1);
        judged(EVICT_WAIT,
               "VM shop/web is still Running on node1: migration web-3-drain-1 Failed: the network "
               "went away; another attempt follows in 1 s");
        s.moves[0].status.finished_us = NOW_US;
        judged(EVICT_WAIT, "another attempt follows in 10 s");
        s.moves[0].status.finished_us = NOW_US - EVICTION_BACKOFF_US;
        judged(EVICT_MOVE, "");
        assert_int_equal(s.ans.attempt, 2);
        asked(MIG_CANCELLED, NOW_US); /* by an uncordon; this is another drain */
        judged(EVICT_MOVE, "");
        assert_int_equal(s.ans.attempt, 3);
}

static void names_run_out_only_until_the_old_ones_are_gone(void **state)
{
        (void)state;
        while (s.f.nasked < EVICTION_ATTEMPTS)
                asked(MIG_CANCELLED, 0);
        judged(EVICT_WAIT, "another attempt follows when older migrations have been cleared away");
        s.f.nasked = 0;
        judged(EVICT_MOVE, "");
}

static void out_of_memory_is_told(void **state)
{
        (void)state;
        for (int none = 0; none < 2; none++) {
                s.vm.spec.eviction = none ? EVICTION_NONE : EVICTION_LIVE_MIGRATE;
                for (size_t room = 0; room < 100; room++) {
                        struct arena *small = arena_new(room);

                        assert_int_equal(evict_judge(small, &s.f, &s.ans), -ENOMEM);
                        arena_free(small);
                }
        }
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(pods_without_a_guest_may_go),
                T(the_first_eviction_asks_for_a_move),
                T(then_it_waits_and_says_for_what),
                T(a_guest_that_is_to_stop_is_waited_for),
                T(a_move_for_another_reason_is_waited_for),
                T(a_stuck_wish_is_not_waited_for),
                T(the_old_pod_may_go_once_the_guest_has_left),
                T(a_pod_that_a_guest_is_on_its_way_to_stays),
                T(who_cannot_move_is_refused_for_good),
                T(a_failure_is_told_and_tried_again_later),
                T(names_run_out_only_until_the_old_ones_are_gone),
                T(out_of_memory_is_told),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
