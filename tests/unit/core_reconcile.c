/* What the migrator decides, as transcripts on virtual time: facts in, actions out. */
#include "tests/unit/reconcile_scene.h"

static struct condition no_node = {"PodScheduled", "False", "Unschedulable", "0/2 nodes", 0};

static void test_start(void **state)
{
        (void)state;
        run();
        assert_int_equal(find(REC_CREATE_POD, NULL)->epoch, 1);
        play();
        assert_int_equal(w.npods, 1);
        assert_int_equal(w.vm.status.phase, VM_PENDING);
        assert_string_equal(w.vm.status.owner.node, "");
        pod("drover-vm-demo-e1")->node = "node1";
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.owner.epoch, 1);
        assert_int_equal(w.vm.status.running.memory, (int64_t)256 << 20);
        assert_int_equal(w.vm.status.phase, VM_STARTING);
        domain(0, 1, DOMAIN_RUNNING);
        play();
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        assert_true(condition_true(&w.vm.status.conditions, "Ready"));
        assert_int_equal(w.npods, 1);
}

static void test_finalizer_first(void **state)
{
        (void)state;
        w.vm.meta.finalizers.n = 0;
        run();
        assert_int_equal(w.out.n, 1);
        assert_int_equal(w.out.v[0].kind, REC_ADD_FINALIZER);
}

/* One write fewer while the scheduler seeks a node: the one that notes the wish shows it all. */
static void test_a_move_is_shown_by_the_write_that_begins_it(void **state)
{
        const struct rec_action *set;

        (void)state;
        running();
        want_zone("b");
        run();
        assert_non_null(find(REC_CREATE_MIGRATION, "demo-1-1"));
        set = find(REC_SET_VM, "demo");
        assert_non_null(set);
        assert_string_equal(set->vm->status.migration.name, "demo-1-1");
        assert_string_equal(set->vm->status.migration.phase, "Pending");
        assert_string_equal(set->vm->status.migration.target, "");
        const struct vm_status shown = set->vm->status;
        add_migration("demo-1-1");
        w.vm.status = shown;
        run();
        assert_non_null(find(REC_CREATE_POD, "drover-move-demo-1-1"));
        set = find(REC_SET_VM, "demo");
        assert_string_equal(set->vm->status.migration.name, shown.migration.name);
        assert_string_equal(set->vm->status.migration.phase, shown.migration.phase);
        assert_string_equal(set->vm->status.migration.target, shown.migration.target);
        assert_int_equal(set->vm->status.migration.percent, shown.migration.percent);
        assert_int_equal(set->vm->status.phase, shown.phase);
        assert_int_equal(set->vm->status.conditions.n, shown.conditions.n);
}

static void test_stop_waits_for_the_agents_word(void **state)
{
        (void)state;
        running();
        w.vm.spec.run = RUN_HALTED;
        play();
        assert_int_equal(w.vm.status.phase, VM_STOPPING);
        assert_int_equal(w.npods, 1);
        domain(0, 0, DOMAIN_ABSENT); /* silence is no answer */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        domain(0, 1, DOMAIN_SHUTOFF); /* it may be started again */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        domain(0, 1, DOMAIN_ABSENT);
        w.domains[0].uid = "former"; /* a VM of this name that was before it, at the same epoch */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        domain(0, 1, DOMAIN_ABSENT);
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_int_equal(w.vm.status.owner.epoch, 1);
        assert_int_equal(w.vm.status.phase, VM_HALTED);
        assert_int_equal(w.npods, 0);
        w.vm.spec.run = RUN_ALWAYS;
        play();
        assert_non_null(pod("drover-vm-demo-e2"));
}

static void test_delete(void **state)
{
        (void)state;
        running();
        w.vm.meta.deleting = true;
        play();
        assert_null(find(REC_REMOVE_FINALIZER, NULL));
        domain(0, 1, DOMAIN_ABSENT); /* said before it knew: the disks may still be there */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_null(find(REC_REMOVE_FINALIZER, NULL));
        domain(0, 1, DOMAIN_ERASED);
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        run();
        assert_non_null(find(REC_REMOVE_FINALIZER, NULL));
}

/* It has run, and nobody owns it now. */
static void halted(void)
{
        running();
        w.vm.spec.run = RUN_HALTED;
        domain(0, 1, DOMAIN_ABSENT);
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        domain(0, 0, DOMAIN_ABSENT);
}

static void test_deleting_a_halted_vm_takes_its_disks(void **state)
{
        (void)state;
        halted();
        w.vm.meta.deleting = true;
        play();
        assert_null(find(REC_REMOVE_FINALIZER, NULL));
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.owner.epoch, 2);
        assert_int_equal(w.npods, 0);
        domain(0, 1, DOMAIN_ERASED); /* of another epoch: no answer */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        domain(0, 2, DOMAIN_ERASED);
        play();
        run();
        assert_non_null(find(REC_REMOVE_FINALIZER, NULL));
        assert_string_equal(w.vm.status.owner.node, "");
        assert_int_equal(w.vm.status.owner.epoch, 2); /* and nobody is asked again */
}

static void test_disks_are_removed_by_who_sees_them(void **state)
{
        (void)state;
        halted();
        w.vm.meta.deleting = true;
        w.mounts[0].health = w.mounts[1].health = MOUNT_UNHEALTHY;
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_string_equal(condition_get(&w.vm.status.conditions, "DisksRemoved")->reason,
                            "NoNode");
        assert_true(w.out.again_ms > 0);
        assert_null(find(REC_REMOVE_FINALIZER, NULL));
        w.mounts[0].health = MOUNT_HEALTHY;
        w.mounts[0].pool = "other";
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        w.mounts[1].health = MOUNT_HEALTHY;
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        w.mounts[0].pool = "default";
        w.rec[1].alive = false; /* it will not answer: the next one is asked */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.owner.epoch, 3);
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.phase, VM_UNKNOWN);
}

static void test_a_silent_node_with_a_guest_keeps_its_disks(void **state)
{
        (void)state;
        running();
        w.vm.meta.deleting = true;
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.owner.epoch, 1);
}

static void test_a_vm_that_never_ran_goes_at_once(void **state)
{
        (void)state;
        w.vm.spec.run = RUN_HALTED;
        play();
        w.vm.meta.deleting = true;
        run();
        assert_non_null(find(REC_REMOVE_FINALIZER, NULL));
}

static void test_lost_handle_is_replaced_and_pinned(void **state)
{
        (void)state;
        running();
        pod("drover-vm-demo-e1")->phase = POD_FAILED;
        run();
        const struct rec_action *made = find(REC_CREATE_POD, "drover-vm-demo-e1-r1");
        assert_non_null(made);
        assert_string_equal(made->pin, "node1");
        play();
        assert_null(pod("drover-vm-demo-e1"));
        assert_string_equal(w.vm.status.pod_name, "drover-vm-demo-e1-r1");
        assert_string_equal(w.vm.status.owner.node, "node1");
        /* and the replacement's own replacement has a third name */
        pod("drover-vm-demo-e1-r1")->phase = POD_FAILED;
        run();
        assert_non_null(find(REC_CREATE_POD, "drover-vm-demo-e1-r2"));
}

static void test_satisfied_placement_moves_nothing(void **state)
{
        (void)state;
        running();
        want_zone("a");
        play();
        assert_int_equal(w.nmigs, 0);
        assert_int_equal(w.npods, 1);
}

static void test_move(void **state)
{
        (void)state;
        copying();
        assert_string_equal(last()->status.source, "node1");
        assert_string_equal(last()->status.target, "node2");
        assert_int_equal(w.vm.status.phase, VM_MIGRATING);
        last()->status.transfer.state = TRANSFER_SWITCHED;
        domain(0, 0, DOMAIN_ABSENT);
        play();
        assert_int_equal(last()->status.phase, MIG_SWITCHING);
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.npods, 2);
        last()->status.transfer.state = TRANSFER_DONE;
        last()->status.transfer.downtime_ms = 120;
        /* the owner changes before any pod is deleted */
        run();
        assert_null(find(REC_DELETE_POD, NULL));
        assert_string_equal(find(REC_SET_VM, NULL)->vm->status.owner.node, "node2");
        domain(1, 2, DOMAIN_RUNNING);
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_int_equal(w.vm.status.owner.epoch, 2);
        assert_int_equal(last()->status.phase, MIG_SUCCEEDED);
        assert_int_equal(last()->status.downtime_ms, 120);
        assert_int_equal(w.npods, 1);
        assert_non_null(pod("drover-move-demo-1-1"));
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        assert_string_equal(w.vm.status.migration.target, "");
        assert_int_equal(w.nmigs, 1);
}

/* The guest has moved to node2, whose kubelet has not said yet that its handle is Ready. */
static void landed(void)
{
        copying();
        w.kubelet_down = true;
        last()->status.transfer.state = TRANSFER_DONE;
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RUNNING);
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
}

static void test_the_old_handle_waits_for_the_new_to_be_ready(void **state)
{
        (void)state;
        landed();
        assert_int_equal(last()->status.phase, MIG_CONFIRMING);
        assert_non_null(pod("drover-vm-demo-e1"));
        assert_string_equal(w.vm.status.pod_name, "drover-move-demo-1-1");
        assert_in_range(w.out.again_ms, 1, REC_READY_WAIT_S * 1000 + 1);
        w.kubelet_down = false;
        play();
        assert_int_equal(last()->status.phase, MIG_SUCCEEDED);
        assert_int_equal(w.npods, 1);
        assert_non_null(pod("drover-move-demo-1-1"));
}

static void test_but_not_for_ever(void **state)
{
        (void)state;
        landed();
        w.now += REC_READY_WAIT_S * INT64_C(1000000) - 1;
        play();
        assert_int_equal(w.npods, 2);
        w.now++;
        play();
        assert_int_equal(last()->status.phase, MIG_SUCCEEDED);
        assert_int_equal(w.npods, 1);
}

static void test_nor_for_a_source_that_is_lost(void **state)
{
        (void)state;
        landed();
        w.rec[0].alive = false;
        w.rec[0].node = NULL;
        play();
        assert_int_equal(last()->status.phase, MIG_SUCCEEDED);
        assert_int_equal(w.npods, 1);
}

/* The new handle dies meanwhile: its own replacement is waited for, within the same time. */
static void test_a_new_handle_that_dies_is_replaced_meanwhile(void **state)
{
        (void)state;
        landed();
        pod("drover-move-demo-1-1")->phase = POD_FAILED;
        play();
        assert_non_null(pod("drover-vm-demo-e2-r1"));
        assert_non_null(pod("drover-vm-demo-e1"));
        pod("drover-vm-demo-e2-r1")->node = "node2";
        w.kubelet_down = false;
        play();
        assert_null(pod("drover-vm-demo-e1"));
}

static void test_label_of_a_node_moves(void **state)
{
        (void)state;
        running();
        want_zone("a");
        play();
        assert_int_equal(w.nmigs, 0);
        w.labels[0][2].value = "c";
        play();
        assert_int_equal(w.nmigs, 1);
        w.labels[0][2].value = "a";
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
}

static void test_target_pod_avoids_the_source(void **state)
{
        (void)state;
        running();
        want_zone("b");
        for (int i = 0; i < 3; i++) {
                run();
                const struct rec_action *act = find(REC_CREATE_POD, NULL);
                if (act) {
                        assert_string_equal(act->avoid, "node1");
                        assert_int_equal(act->epoch, 2);
                        return;
                }
                play();
        }
        assert_non_null(pod("drover-move-demo-1-1"));
}

static void test_patch_back_before_scheduled(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        want_zone("a");
        play();
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_in_range(w.out.again_ms, 1, REC_SETTLE_MS + 1);
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_int_equal(w.npods, 1);
        assert_non_null(pod("drover-vm-demo-e1"));
}

static void test_patch_back_while_copying(void **state)
{
        (void)state;
        copying();
        want_zone("a");
        play();
        assert_false(last()->spec.cancel);
        assert_in_range(w.out.again_ms, 1, REC_SETTLE_MS + 1);
        settle();
        assert_int_equal(last()->status.phase, MIG_COPYING); /* the agent is asked */
        assert_true(last()->spec.cancel);
        assert_int_equal(w.npods, 2);
        last()->status.transfer.state = TRANSFER_CANCELLED;
        play();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_int_equal(w.npods, 1);
        assert_non_null(pod("drover-vm-demo-e1"));
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void test_too_late_to_cancel(void **state)
{
        (void)state;
        copying();
        last()->status.transfer.state = TRANSFER_SWITCHED;
        domain(0, 0, DOMAIN_ABSENT);
        play();
        want_zone("a");
        settle();
        assert_int_equal(last()->status.phase, MIG_SWITCHING);
        assert_false(last()->spec.cancel);
        assert_int_equal(w.npods, 2);
}

static void test_newer_placement_remakes_the_pod(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        char made_for[17];
        snprintf(made_for, sizeof(made_for), "%s", pod("drover-move-demo-1-1")->placement);
        w.vm.spec.placement.node_name = "node2"; /* another wish, still not node1 */
        w.vm.meta.generation++;
        play();
        assert_string_equal(pod("drover-move-demo-1-1")->placement, made_for); /* which wavers */
        assert_false(last()->status.permit);
        settle();
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
        assert_string_not_equal(pod("drover-move-demo-1-1")->placement, made_for);
        assert_int_equal(w.npods, 2);
}

static void test_newer_placement_spoils_the_target(void **state)
{
        (void)state;
        copying();
        want_zone("c");
        settle();
        settle();
        assert_true(w.migs[0].spec.cancel);
        last()->status.transfer.state = TRANSFER_CANCELLED;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        w.now += (int64_t)2 * 1000000;
        play();
        assert_int_equal(w.nmigs, 2);
}

/* Twenty changes a second between two zones, the last one is for the second. */
static void storm(const char *one, const char *other)
{
        for (int i = 0; i < 100; i++) {
                want_zone(i % 2 ? other : one);
                play();
                w.now += 50000;
        }
}

static void test_a_storm_is_one_move(void **state)
{
        (void)state;
        running();
        storm("b", "a");
        storm("a", "b");
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(last()->status.phase, MIG_PENDING); /* whatever it sought, it waits */
        assert_false(last()->status.permit);
        settle();
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_int_equal(w.nmigs, 1);
}

static void test_a_storm_that_ends_at_home_is_called_off_once(void **state)
{
        (void)state;
        running();
        storm("b", "a");
        assert_int_equal(last()->status.phase, MIG_PENDING);
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(w.npods, 1);
}

static void test_a_storm_stops_no_copy(void **state)
{
        (void)state;
        copying();
        storm("a", "b");
        settle();
        assert_false(last()->spec.cancel);
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_int_equal(w.nmigs, 1);
}

/* The move is over before the storm is: the next one waits for its end. */
static void test_a_storm_begins_no_second_move(void **state)
{
        (void)state;
        copying();
        storm("c", "b");
        last()->status.transfer.state = TRANSFER_DONE;
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RUNNING);
        storm("c", "b");
        settle();
        assert_int_equal(w.migs[0].status.phase, MIG_SUCCEEDED);
        assert_int_equal(w.nmigs, 1);
        storm("b", "c");
        settle();
        assert_int_equal(w.nmigs, 2);
}

/* What was not seen in between may have been anything. */
static void test_changes_at_one_look_are_a_storm(void **state)
{
        (void)state;
        running();
        want_zone("a");
        play();
        w.now += 60000000;
        want_zone("c");
        want_zone("b");
        play();
        assert_int_equal(w.nmigs, 0);
        assert_in_range(w.out.again_ms, 1, REC_SETTLE_MS + 1);
        settle();
        assert_int_equal(w.nmigs, 1);
}

/* Of changes to and fro none but every second one is seen: that is no wish that stands. */
static void test_a_storm_seen_at_every_second_change(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        for (int i = 0; i < 50; i++) {
                w.now += 100000;
                want_zone("a");
                want_zone("b");
                play();
        }
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_false(last()->status.permit);
        settle();
        assert_true(last()->status.permit);
        assert_int_equal(w.nmigs, 1);
}

static void test_other_changes_of_the_spec_delay_nothing(void **state)
{
        (void)state;
        running();
        want_zone("a");
        play();
        w.now += 60000000;
        w.vm.meta.generation++; /* its memory, say */
        play();
        want_zone("b");
        play();
        assert_int_equal(w.nmigs, 1);
        assert_non_null(pod("drover-move-demo-1-1"));
}

/* The new leader's clock is behind that of the former one. */
static void test_a_clock_set_back_delays_nothing(void **state)
{
        (void)state;
        copying();
        want_zone("a");
        play();
        assert_false(last()->spec.cancel);
        w.now -= 3600000000;
        play();
        assert_true(last()->spec.cancel);
}

static void test_failure_keeps_the_guest_and_waits(void **state)
{
        (void)state;
        copying();
        last()->status.transfer.state = TRANSFER_FAILED;
        last()->status.transfer.message = "no route";
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_string_equal(w.migs[0].status.message, "no route");
        assert_non_null(pod("drover-vm-demo-e1"));
        assert_null(pod("drover-move-demo-1-1"));
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.nmigs, 1);
        assert_true(w.out.again_ms > 0 && w.out.again_ms <= 10001);
        w.now += (int64_t)11 * 1000000;
        play();
        assert_int_equal(w.nmigs, 2);
        assert_string_equal(last()->meta.name, "demo-1-2");
}

static void test_failure_in_the_handover_is_asked_about_first(void **state)
{
        (void)state;
        copying();
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RECEIVED);
        w.rec[1].alive = false; /* what it says is of the past */
        last()->status.transfer.state = TRANSFER_SWITCHED;
        play();
        assert_int_equal(last()->status.phase, MIG_SWITCHING);
        last()->status.transfer.state = TRANSFER_FAILED;
        last()->status.transfer.message = "the guest ended during the migration";
        run();
        assert_int_equal(find(REC_SET_MIGRATION, NULL)->migration->status.phase, MIG_UNKNOWN);
        assert_null(find(REC_DELETE_POD, NULL));
        play();
        assert_int_equal(last()->status.phase, MIG_FAILED);
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void test_lost_handover_with_a_silent_source(void **state)
{
        (void)state;
        copying();
        last()->status.transfer.state = TRANSFER_LOST;
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RECEIVED);
        w.rec[0].alive = false;
        play();
        assert_int_equal(last()->status.phase, MIG_UNKNOWN);
        assert_string_equal(w.vm.status.owner.node, "node1");
        domain(1, 2, DOMAIN_RUNNING); /* nobody but the source's agent, with proof, does that */
        play();
        assert_int_equal(last()->status.phase, MIG_SUCCEEDED);
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_int_equal(w.vm.status.owner.epoch, 2);
}

static struct taint out_of_service = {"node.kubernetes.io/out-of-service", "nodeshutdown",
                                      "NoExecute"};

static void fence(int i)
{
        w.rec[i].alive = false;
        w.nodes[i].taints = &out_of_service;
        w.nodes[i].ntaints = 1;
}

static void test_lost_node_restarts_elsewhere(void **state)
{
        (void)state;
        running();
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1"); /* silence alone fences nobody */
        fence(0);
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_int_equal(w.vm.status.owner.epoch, 1);
        assert_int_equal(w.vm.status.phase, VM_PENDING);
        assert_null(pod("drover-vm-demo-e1"));
        assert_non_null(pod("drover-vm-demo-e2"));
        pod("drover-vm-demo-e2")->node = "node2";
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_int_equal(w.vm.status.owner.epoch, 2);
}

static void test_deleted_node_fences(void **state)
{
        (void)state;
        running();
        w.rec[0].node = NULL;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1"); /* its agent speaks */
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_non_null(pod("drover-vm-demo-e2"));
}

/* --- guests that are left where they are though a taint would have them leave */

static struct taint maintenance = {"maintenance", "now", "NoExecute"};

static const struct condition *tainted(void)
{
        w.nodes[0].taints = &maintenance;
        w.nodes[0].ntaints = 1;
        play();
        return condition_get(&w.vm.status.conditions, "PlacementSatisfied");
}

static void test_a_taint_moves(void **state)
{
        (void)state;
        running();
        assert_string_equal(tainted()->reason, "Unsatisfied");
        assert_int_equal(w.nmigs, 1);
        w.vm.spec.eviction = EVICTION_NONE; /* and the move is called off */
        play();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
}

static void test_a_taint_moves_nobody_who_is_not_evicted(void **state)
{
        (void)state;
        running();
        w.vm.spec.eviction = EVICTION_NONE;
        const struct condition *c = tainted();
        assert_int_equal(w.nmigs, 0);
        assert_string_equal(c->status, "False");
        assert_string_equal(c->reason, "EvictionStrategyNone");
        assert_string_equal(c->message,
                            "node1: taint maintenance=now:NoExecute is not tolerated; the VM stays "
                            "there, for its evictionStrategy is None: halt it or move it yourself");
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        want_zone("b"); /* a wish of the VM itself is another matter */
        play();
        assert_int_equal(w.nmigs, 1);
}

/* The VM's disk is a claim, and the agent of node1 says that of it. */
static void claimed(enum sharing claims, const char *reason)
{
        w.disk.kind = DISK_PVC;
        w.disk.claim = "data";
        w.domains[0].claims = claims;
        w.domains[0].claims_reason = reason;
        play();
}

/* What has been said of the claims stays said while a new agent has not looked at them yet. */
static void test_whether_claims_may_move_is_told(void **state)
{
        const struct condition *c;

        (void)state;
        w.disk.kind = DISK_PVC;
        w.disk.claim = "data";
        running();
        c = condition_get(&w.vm.status.conditions, "LiveMigratable");
        assert_string_equal(c->status, "False");
        assert_string_equal(c->reason, "ClaimUnknown");
        claimed(SHARING_SHARED, "");
        assert_true(condition_true(&w.vm.status.conditions, "LiveMigratable"));
        claimed(SHARING_UNKNOWN, "");
        assert_true(condition_true(&w.vm.status.conditions, "LiveMigratable"));
        want_zone("b"); /* but nothing is begun on that */
        play();
        assert_int_equal(w.nmigs, 0);
        c = condition_get(&w.vm.status.conditions, "PlacementSatisfied");
        assert_string_equal(c->reason, "Unsatisfied"); /* no news for anybody yet */
        assert_non_null(strstr(c->message, "until it is known to be movable: disk root is a"));
        claimed(SHARING_UNKNOWN, "there is no claim");
        c = condition_get(&w.vm.status.conditions, "LiveMigratable");
        assert_string_equal(c->reason, "ClaimUnknown");
        assert_string_equal(c->message, "there is no claim");
        claimed(SHARING_SHARED, "");
        assert_int_equal(w.nmigs, 1);
}

static void move_by_hand(void)
{
        add_migration("mine");
        last()->spec.reason = REASON_USER;
        play();
}

/* No other node's pod asks for a claim that it may not have. */
static void test_no_pod_for_a_claim_that_stays(void **state)
{
        (void)state;
        running();
        claimed(SHARING_UNKNOWN, "");
        move_by_hand();
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_non_null(strstr(last()->status.message, "of which the agent has not said yet"));
        assert_int_equal(w.npods, 1);
        claimed(SHARING_NOT_SHARED, "disk root: claim data is ReadWriteOnce");
        assert_int_equal(last()->status.phase, MIG_FAILED);
        assert_string_equal(last()->status.message, "disk root: claim data is ReadWriteOnce");
        assert_int_equal(w.npods, 1);
}

/* A move of a VM with a claim, whose target is chosen; its pod there. */
static struct pod *claim_moves(void)
{
        running();
        claimed(SHARING_SHARED, "");
        want_zone("b");
        play();
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        return pod("drover-move-demo-1-1");
}

static void test_a_copy_waits_for_the_claims(void **state)
{
        struct pod *target;

        (void)state;
        target = claim_moves();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_false(last()->status.permit); /* it keeps nobody waiting */
        assert_string_equal(last()->status.message,
                            "waiting for node2 to mount the claims of the VM for pod "
                            "drover-move-demo-1-1");
        target->phase = POD_RUNNING; /* its container has started */
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
}

static void test_claims_that_are_not_mounted_are_given_up(void **state)
{
        (void)state;
        claim_moves();
        w.now += 179000000;
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_true(w.out.again_ms > 0 && w.out.again_ms <= 1001);
        w.now += 1000000;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_non_null(strstr(w.migs[0].status.message, "node2 has not mounted the claims"));
        assert_null(pod("drover-move-demo-1-1"));
        assert_string_equal(w.vm.status.owner.node, "node1");
}

/* Even where the scheduler has chosen already: the owner is what counts. */
static void test_a_claim_is_one_guests(void **state)
{
        (void)state;
        play();
        pod("drover-vm-demo-e1")->node = "node1";
        w.claim_taken = "disk root: claim data is a disk of VirtualMachine other";
        play();
        assert_null(pod("drover-vm-demo-e1"));
        assert_string_equal(w.vm.status.owner.node, "");
        assert_int_equal(w.vm.status.phase, VM_PENDING);
        assert_string_equal(w.vm.status.reason, w.claim_taken);
        assert_true(w.out.again_ms > 0);
        w.claim_taken = NULL;
        running();
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void test_who_cannot_move_is_not_tried(void **state)
{
        (void)state;
        running();
        claimed(SHARING_NOT_SHARED, "disk root: claim data is ReadWriteOnce");
        const struct condition *c = tainted();
        assert_int_equal(w.nmigs, 0);
        assert_string_equal(c->reason, "NotLiveMigratable");
        assert_non_null(strstr(c->message, "node1: taint maintenance=now:NoExecute"));
        assert_non_null(strstr(c->message, "it cannot be moved: disk root: claim data is Read"));
        c = condition_get(&w.vm.status.conditions, "LiveMigratable");
        assert_string_equal(c->status, "False");
        assert_string_equal(c->reason, "DiskNotShared");
        assert_string_equal(c->message, "disk root: claim data is ReadWriteOnce");
        w.nodes[0].ntaints = 0;
        want_zone("b");
        play();
        assert_int_equal(w.nmigs, 0);
        assert_string_equal(condition_get(&w.vm.status.conditions, "PlacementSatisfied")->reason,
                            "NotLiveMigratable");
        want_zone("a");
        play();
        assert_true(condition_true(&w.vm.status.conditions, "PlacementSatisfied"));
}

/* The taint manager deletes the handle: its replacement is pinned to the guest's node. */
static void test_a_deleted_handle_of_who_stays(void **state)
{
        (void)state;
        running();
        w.vm.spec.eviction = EVICTION_NONE;
        tainted();
        pod("drover-vm-demo-e1")->meta.deleting = true;
        run();
        const struct rec_action *made = find(REC_CREATE_POD, "drover-vm-demo-e1-r1");
        assert_non_null(made);
        assert_string_equal(made->pin, "node1");
        assert_false(made->for_migration);
}

static void test_source_lost_while_copying(void **state)
{
        (void)state;
        copying();
        domain(1, 2, DOMAIN_INCOMING);
        fence(0);
        play();
        /* what the target says may be of before the loss, and it run by now: it is asked */
        assert_int_equal(last()->status.phase, MIG_UNKNOWN);
        assert_true(last()->status.asked);
        assert_string_equal(w.vm.status.owner.node, "node1");
        last()->status.arrival = ARRIVAL_RECEIVED;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_string_equal(w.migs[0].status.message, "node1 was lost with the guest");
        assert_string_equal(w.vm.status.owner.node, "");
        assert_non_null(pod("drover-vm-demo-e2"));
        assert_int_equal(w.npods, 1);
}

static void test_source_lost_but_the_target_runs(void **state)
{
        (void)state;
        copying();
        domain(1, 2, DOMAIN_RECEIVED);
        fence(0);
        play();
        last()->status.arrival = ARRIVAL_RUNNING;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_SUCCEEDED);
        assert_string_equal(w.vm.status.owner.node, "node2");
}

static void test_another_arrival_is_not_this_ones(void **state)
{
        (void)state;
        copying();
        domain(1, 2, DOMAIN_RUNNING);
        w.domains[1].migration = "one of long ago";
        w.rec[0].alive = false;
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void test_source_lost_after_the_resume(void **state)
{
        (void)state;
        copying();
        domain(1, 2, DOMAIN_RUNNING);
        fence(0);
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_SUCCEEDED);
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_int_equal(w.vm.status.owner.epoch, 2);
        assert_int_equal(w.npods, 1);
        assert_non_null(pod("drover-move-demo-1-1"));
}

/* --- the journal's finalizer */

static void test_nothing_moves_before_the_journal_is_held(void **state)
{
        (void)state;
        running();
        add_migration("mine");
        w.migs[0].spec.reason = REASON_USER;
        w.migs[0].meta.finalizers.n = 0;
        run();
        assert_non_null(find(REC_HOLD_MIGRATION, "mine"));
        assert_null(find(REC_CREATE_POD, NULL));
        assert_null(find(REC_SET_MIGRATION, NULL));
        play();
        assert_int_equal(w.migs[0].meta.finalizers.n, 1);
        assert_non_null(pod("drover-move-mine"));
}

/* --- wishes that cannot be granted, and needs */

/* A user asks for a node that the scheduler refuses. */
static void wished(const char *node)
{
        add_migration("mine");
        w.migs[0].spec.reason = REASON_USER;
        w.migs[0].spec.target_node = node;
        play();
        pod("drover-move-mine")->conditions = (struct conditions){&no_node, 1};
        play();
}

static void test_a_wish_waits(void **state)
{
        (void)state;
        running();
        wished("node2");
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
        assert_true(mig_stuck(&w.migs[0]));
}

static void test_a_wish_gives_way_to_a_drain(void **state)
{
        (void)state;
        running();
        wished("node2");
        add_migration("demo-1-drain-1");
        w.migs[1].spec.reason = REASON_DRAIN;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        assert_string_equal(w.migs[0].status.message, "gave way to demo-1-drain-1: 0/2 nodes");
        assert_null(pod("drover-move-mine"));
        assert_non_null(pod("drover-move-demo-1-drain-1"));
        assert_true(w.migs[1].status.permit);
}

/* It is its turn soon: then the drain has what it wants, too. */
static void test_a_wish_that_waits_for_its_turn_gives_way_to_nothing(void **state)
{
        (void)state;
        running();
        w.permits.granted = false;
        add_migration("mine");
        w.migs[0].spec.reason = REASON_USER;
        add_migration("demo-1-drain-1");
        w.migs[1].spec.reason = REASON_DRAIN;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
        assert_int_equal(w.migs[0].status.queue_position, 1);
        assert_string_equal(w.migs[1].status.source, "");
}

static void test_a_wish_gives_way_to_the_placement(void **state)
{
        (void)state;
        running();
        wished("node1"); /* where it is */
        want_zone("b");
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        w.now += 2000000; /* what was called off is waited out */
        play();
        assert_int_equal(w.nmigs, 2);
        assert_int_equal(w.migs[1].spec.reason, REASON_PLACEMENT);
        assert_non_null(pod("drover-move-demo-1-1"));
}

/* A wish for any node is the same wish as the placement's. */
static void test_a_wide_wish_serves_the_placement(void **state)
{
        (void)state;
        running();
        wished("");
        want_zone("b");
        play();
        pod("drover-move-mine")->conditions = (struct conditions){&no_node, 1};
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
        assert_int_equal(w.nmigs, 1);
}

/* The guest has left by another move: it is not sent on from where it is now. */
static void test_a_drain_of_a_former_node_is_over(void **state)
{
        (void)state;
        running();
        add_migration("demo-0-drain-1");
        w.migs[0].spec.reason = REASON_DRAIN;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        assert_int_equal(w.npods, 1);
}

static void test_a_target_that_stays_silent_is_given_up(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        w.rec[1].alive = false;
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        w.now += 59000000;
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        w.now += 1000000;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_null(pod("drover-move-demo-1-1"));
}

static void wait_for_proof(void)
{
        running();
        want_zone("b");
        play();
        w.peers[1].state = SHARING_UNKNOWN;
        w.peers[1].reason = "no new word of it arrives here";
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        w.now += 59000000;
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_int_equal(last()->status.verdicts[0].rule, PREFLIGHT_POOL_UNPROVEN);
        assert_non_null(strstr(last()->status.message, "not proven to be shared"));
}

/* An agent that has just started has not looked yet. */
static void test_a_proof_that_comes_late_is_waited_for(void **state)
{
        (void)state;
        wait_for_proof();
        w.peers[1].state = SHARING_SHARED;
        w.now += 1000000;
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
}

static void test_a_proof_that_never_comes_is_given_up(void **state)
{
        (void)state;
        wait_for_proof();
        w.now += 1000000;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_null(pod("drover-move-demo-1-1"));
}

/* What room it has is not known; the scheduler is asked for another node, and soon for this one. */
static void test_a_host_that_has_not_reported_is_no_target(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        w.rec[1].host = NULL;
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_string_equal(last()->status.target, "");
        assert_int_equal(last()->status.refused.count, 1);
        assert_false(last()->status.permit);
        assert_non_null(strstr(last()->status.message, "no Drover agent has reported"));
        assert_null(pod("drover-move-demo-1-1"));
        w.rec[1].host = &w.hosts[1];
        w.now += 1000000;
        play();
        pod("drover-move-demo-1-1-t1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
}

/* Fast was asked for, and the agent found no proof for it. */
static void test_the_handover_in_use_is_told(void **state)
{
        (void)state;
        w.vm.spec.migration.handover = HANDOVER_FAST;
        copying();
        assert_int_equal(last()->status.handover, HANDOVER_FAST);
        domain(1, 2, DOMAIN_RUNNING);
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1"); /* libvirt's own proves nothing */
        last()->status.transfer.proven = true;
        play();
        assert_int_equal(last()->status.handover, HANDOVER_PROVEN);
        assert_string_equal(w.vm.status.owner.node, "node2"); /* ours does */
}

static void test_nodes_that_are_not_named_are_counted(void **state)
{
        static struct rec_node many[22];
        static char node[22][8];
        const struct condition *c;

        (void)state;
        running();
        for (int i = 0; i < 22; i++) {
                snprintf(node[i], sizeof(node[i]), "n%02d", i);
                many[i] = (struct rec_node){.name = node[i], .node = &w.nodes[1]};
        }
        w.candidates = many;
        w.ncandidates = 22;
        want_zone("b");
        play();
        pod("drover-move-demo-1-1")->conditions = (struct conditions){&no_node, 1};
        play();
        assert_int_equal(last()->status.nverdicts, 16);
        assert_int_equal(last()->status.more_verdicts, 6);
        c = condition_get(&w.vm.status.conditions, "PlacementSatisfied");
        assert_non_null(strstr(c->message, "n00: its agent is silent; n01: "));
        assert_non_null(strstr(c->message, "n04: its agent is silent; and 17 more nodes"));
}

/* --- labels */

static void test_the_vms_labels_reach_its_pods(void **state)
{
        static struct kv is[] = {{"app", "web"}, {"drover.dev/vm", "x"}},
                         on_pod[] = {{"app", "web"}};
        static struct kv listed[] = {{"drover.dev/vm-labels", "app"}};
        struct pod *handle;

        (void)state;
        copying();
        assert_null(find(REC_LABEL_POD, NULL));
        w.vm.meta.labels = (struct kvs){is, 2};
        run();
        assert_non_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
        assert_non_null(find(REC_LABEL_POD, "drover-move-demo-1-1"));
        handle = pod("drover-vm-demo-e1");
        handle->meta.labels = (struct kvs){on_pod, 1};
        run(); /* it has the label, but nobody knows whose that is */
        assert_non_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
        handle->meta.annotations = (struct kvs){listed, 1};
        run();
        assert_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
        is[0].value = "db";
        run();
        assert_non_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
        is[0].value = "web";
        w.vm.meta.labels.n = 0;
        run();
        assert_non_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
        handle->phase = POD_FAILED;
        run();
        assert_null(find(REC_LABEL_POD, "drover-vm-demo-e1"));
}

/* --- drains */

static void drained(bool cordoned)
{
        running();
        w.nodes[0].unschedulable = cordoned;
        add_migration("demo-1-drain-1");
        w.migs[0].spec.reason = REASON_DRAIN;
        play();
        assert_non_null(pod("drover-move-demo-1-drain-1"));
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
}

static void test_uncordon_calls_off_what_has_not_begun(void **state)
{
        (void)state;
        drained(true);
        w.nodes[0].unschedulable = false;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_CANCELLED);
        assert_int_equal(w.npods, 1);
}

static void test_uncordon_stops_no_copy(void **state)
{
        (void)state;
        drained(true);
        pod("drover-move-demo-1-drain-1")->node = "node2";
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_COPYING);
        w.nodes[0].unschedulable = false;
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_COPYING);
        assert_false(w.migs[0].spec.cancel);
}

/* As the descheduler and the cluster-autoscaler evict: the node was never cordoned. */
static void test_eviction_without_cordon_goes_on(void **state)
{
        (void)state;
        drained(false);
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_PENDING);
        pod("drover-move-demo-1-drain-1")->node = "node2";
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_COPYING);
}

static void test_deleting_the_journal_cancels(void **state)
{
        (void)state;
        copying();
        last()->meta.deleting = true;
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_true(last()->spec.cancel);
        assert_int_equal(last()->meta.finalizers.n, 1); /* until the agent has answered */
        w.vm.spec.placement.node_selector.n = 0;
        last()->status.transfer.state = TRANSFER_CANCELLED;
        play();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_int_equal(last()->meta.finalizers.n, 0);
        assert_non_null(pod("drover-vm-demo-e1"));
}

static void test_deleted_vm_waits_for_its_journals(void **state)
{
        (void)state;
        running();
        add_migration("mine");
        w.migs[0].status.phase = MIG_FAILED;
        w.vm.meta.deleting = true;
        w.vm.status.owner.node = "";
        w.npods = 0;
        run();
        assert_non_null(find(REC_FREE_MIGRATION, "mine"));
        play();
        domain(0, w.vm.status.owner.epoch, DOMAIN_ERASED);
        play();
        run();
        assert_non_null(find(REC_DELETE_MIGRATION, "mine"));
        assert_null(find(REC_REMOVE_FINALIZER, NULL));
        w.nmigs = 0;
        run();
        assert_non_null(find(REC_REMOVE_FINALIZER, NULL));
}

static void test_unschedulable_stays(void **state)
{
        static struct condition unscheduled = {"PodScheduled", "False", "Unschedulable",
                                               "node2: no memory", 0};

        (void)state;
        running();
        want_zone("b");
        play();
        pod("drover-move-demo-1-1")->conditions = (struct conditions){&unscheduled, 1};
        play();
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        const struct condition *c = condition_get(&w.vm.status.conditions, "PlacementSatisfied");
        assert_string_equal(c->status, "False");
        assert_string_equal(c->reason, "Unschedulable");
        assert_string_equal(c->message, "node2: no memory");
}

static void test_unsatisfiable_names_each_node(void **state)
{
        static struct condition unscheduled = {"PodScheduled", "False", "Unschedulable",
                                               "0/2 nodes are available", 0};

        (void)state;
        running();
        want_zone("c");
        play();
        assert_int_equal(last()->status.nverdicts, 1); /* before anything moves */
        assert_string_equal(last()->status.verdicts[0].node, "node2");
        assert_int_equal(last()->status.verdicts[0].rule, PREFLIGHT_PLACEMENT);
        pod("drover-move-demo-1-1")->conditions = (struct conditions){&unscheduled, 1};
        play();
        const struct condition *c = condition_get(&w.vm.status.conditions, "PlacementSatisfied");
        assert_string_equal(c->reason, "Unschedulable");
        assert_non_null(strstr(c->message, "node2"));
        assert_non_null(strstr(c->message, "zone"));
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
}

/* It has the scheduler try again when other nodes are fit than when it did last. */
static void test_fit_nodes_are_noted_on_the_pod(void **state)
{
        static struct condition unscheduled = {"PodScheduled", "False", "Unschedulable",
                                               "node2: pool-apart", 0};
        const struct rec_action *retry;
        struct pod *p;

        (void)state;
        running();
        want_zone("b");
        play();
        p = pod("drover-move-demo-1-1");
        p->conditions = (struct conditions){&unscheduled, 1};
        p->fit = "";
        w.hosts[1].mounts[0].health = MOUNT_UNHEALTHY;
        run();
        assert_null(find(REC_RETRY_POD, NULL));
        w.hosts[1].mounts[0].health = MOUNT_HEALTHY;
        run();
        retry = find(REC_RETRY_POD, "drover-move-demo-1-1");
        assert_non_null(retry);
        assert_string_equal(retry->fit, "node2");
        p->fit = "node2";
        run();
        assert_null(find(REC_RETRY_POD, NULL));
        w.hosts[1].mounts[0].health = MOUNT_UNHEALTHY;
        run();
        assert_string_equal(find(REC_RETRY_POD, NULL)->fit, "");
}

static void test_emulated_guests_are_warned_of(void **state)
{
        (void)state;
        running();
        const struct condition *c = condition_get(&w.vm.status.conditions, "LiveMigratable");
        assert_string_equal(c->reason, "EmulatedCPU"); /* QEMU 7.2, no KVM */
        assert_string_equal(c->status, "True");
        w.hosts[0].qemu_version = "9.0.1";
        play();
        assert_string_equal(condition_get(&w.vm.status.conditions, "LiveMigratable")->reason,
                            "Migratable");
        w.hosts[0].qemu_version = "7.2.0";
        w.hosts[0].virt_type = "kvm";
        play();
        assert_string_equal(condition_get(&w.vm.status.conditions, "LiveMigratable")->reason,
                            "Migratable");
}

static void test_preflight_refuses(void **state)
{
        (void)state;
        running();
        w.mounts[1].identity = "another directory";
        want_zone("b");
        play();
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(w.migs[0].status.phase, MIG_FAILED);
        assert_int_equal(w.migs[0].status.nverdicts, 1);
        assert_non_null(strstr(w.migs[0].status.verdicts[0].message, "not the same directory"));
        assert_null(pod("drover-move-demo-1-1"));
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void test_permit_is_waited_for(void **state)
{
        (void)state;
        running();
        w.permits.granted = false;
        want_zone("b");
        play();
        assert_int_equal(w.npods, 1);
        assert_int_equal(last()->status.queue_position, 1);
        w.permits.granted = true;
        play();
        assert_int_equal(w.npods, 2);
}

/* The place is for those that can go; who finds its node later waits for one anew. */
static void test_without_a_node_the_permit_is_given_back(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        assert_true(last()->status.permit);
        pod("drover-move-demo-1-1")->conditions = (struct conditions){&no_node, 1};
        play();
        assert_false(last()->status.permit);
        assert_int_equal(last()->status.queue_position, 0);
        assert_string_equal(last()->status.message, "0/2 nodes");
        w.permits = (struct permits){false, true, 2, 0};
        pod("drover-move-demo-1-1")->conditions = (struct conditions){0};
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_int_equal(last()->status.queue_position, 3);
        assert_int_equal(w.npods, 2);
        w.permits.granted = true;
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_true(last()->status.permit);
        assert_int_equal(last()->status.queue_position, 0);
}

/* What was last heard of a host long ago is no answer; nor is it a reason to believe it dead. */
static void test_unheard_is_neither_alive_nor_silent(void **state)
{
        (void)state;
        running();
        w.rec[0].unheard = true;
        w.rec[0].node = NULL; /* its Node is gone, and yet it is not fenced */
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        assert_true(condition_true(&w.vm.status.conditions, "AgentConnected"));
        w.rec[0].unheard = false;
        w.rec[0].alive = false;
        run();
        assert_string_equal(find(REC_SET_VM, NULL)->vm->status.owner.node, "");
}

static void test_old_news_confirm_nothing(void **state)
{
        (void)state;
        copying();
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RUNNING);
        w.rec[1].unheard = true;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        w.rec[1].unheard = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
}

/* We died after the pod was made and before the permit was written: nothing is copied without. */
static void test_a_pod_is_no_permit(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        last()->status.permit = false;
        last()->status.queue_position = 1;
        w.permits.granted = false;
        play();
        assert_string_equal(last()->status.message, "waiting for a permit");
        assert_string_equal(condition_get(&w.vm.status.conditions, "PlacementSatisfied")->reason,
                            "Unsatisfied");
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_PENDING);
}

static void test_an_unfit_target_takes_no_permit(void **state)
{
        (void)state;
        running();
        want_zone("b");
        play();
        w.rec[1].alive = false;
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_false(last()->status.permit);
        w.rec[1].alive = true;
        w.permits = (struct permits){false, true, 0, 0};
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_int_equal(last()->status.queue_position, 1);
        w.permits = (struct permits){true, false, 0, 1};
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        assert_true(last()->status.permit);
        assert_int_equal(last()->status.queue_position, 2); /* into node2 now */
        w.permits.target_free = true;
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_int_equal(last()->status.queue_position, 0);
}

static void test_resized_vm_moves_with_its_running_shape(void **state)
{
        (void)state;
        running();
        w.vm.spec.shape.memory = (int64_t)64 << 30; /* more than any host has */
        want_zone("b");
        play();
        assert_true(condition_true(&w.vm.status.conditions, "RestartRequired"));
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_int_equal(w.vm.status.running.memory, (int64_t)256 << 20);
}

static void test_halted_while_copying(void **state)
{
        (void)state;
        copying();
        w.vm.spec.run = RUN_HALTED;
        play();
        assert_true(last()->spec.cancel);
        assert_string_equal(w.vm.status.owner.node, "node1");
        last()->status.transfer.state = TRANSFER_CANCELLED;
        play();
        assert_int_equal(w.vm.status.phase, VM_STOPPING);
        domain(0, 1, DOMAIN_ABSENT);
        play();
        assert_int_equal(w.vm.status.phase, VM_HALTED);
        assert_int_equal(w.npods, 0);
}

static void test_silent_node_keeps_the_guest(void **state)
{
        (void)state;
        running();
        w.rec[0].alive = false;
        want_zone("b");
        play();
        assert_int_equal(w.vm.status.phase, VM_UNKNOWN);
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.nmigs, 0);
        assert_int_equal(w.npods, 1);
        assert_false(condition_true(&w.vm.status.conditions, "AgentConnected"));
}

static void test_history_of_five(void **state)
{
        static char text[8][16];

        (void)state;
        running();
        for (int i = 0; i < 7; i++) {
                snprintf(text[i], sizeof(text[i]), "demo-0-%d", i + 1);
                add_migration(text[i]);
                last()->status.phase = MIG_SUCCEEDED;
        }
        run();
        assert_non_null(find(REC_DELETE_MIGRATION, "demo-0-1"));
        assert_non_null(find(REC_DELETE_MIGRATION, "demo-0-2"));
        assert_null(find(REC_DELETE_MIGRATION, "demo-0-3"));
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(test_start),
                T(test_finalizer_first),
                T(test_a_move_is_shown_by_the_write_that_begins_it),
                T(test_stop_waits_for_the_agents_word),
                T(test_delete),
                T(test_deleting_a_halted_vm_takes_its_disks),
                T(test_disks_are_removed_by_who_sees_them),
                T(test_a_silent_node_with_a_guest_keeps_its_disks),
                T(test_a_vm_that_never_ran_goes_at_once),
                T(test_lost_handle_is_replaced_and_pinned),
                T(test_satisfied_placement_moves_nothing),
                T(test_move),
                T(test_the_old_handle_waits_for_the_new_to_be_ready),
                T(test_but_not_for_ever),
                T(test_nor_for_a_source_that_is_lost),
                T(test_a_new_handle_that_dies_is_replaced_meanwhile),
                T(test_label_of_a_node_moves),
                T(test_target_pod_avoids_the_source),
                T(test_patch_back_before_scheduled),
                T(test_patch_back_while_copying),
                T(test_too_late_to_cancel),
                T(test_newer_placement_remakes_the_pod),
                T(test_newer_placement_spoils_the_target),
                T(test_a_storm_is_one_move),
                T(test_a_storm_that_ends_at_home_is_called_off_once),
                T(test_a_storm_stops_no_copy),
                T(test_a_storm_begins_no_second_move),
                T(test_changes_at_one_look_are_a_storm),
                T(test_a_storm_seen_at_every_second_change),
                T(test_other_changes_of_the_spec_delay_nothing),
                T(test_a_clock_set_back_delays_nothing),
                T(test_failure_keeps_the_guest_and_waits),
                T(test_failure_in_the_handover_is_asked_about_first),
                T(test_lost_handover_with_a_silent_source),
                T(test_lost_node_restarts_elsewhere),
                T(test_deleted_node_fences),
                T(test_a_taint_moves),
                T(test_a_taint_moves_nobody_who_is_not_evicted),
                T(test_who_cannot_move_is_not_tried),
                T(test_a_claim_is_one_guests),
                T(test_no_pod_for_a_claim_that_stays),
                T(test_whether_claims_may_move_is_told),
                T(test_a_copy_waits_for_the_claims),
                T(test_claims_that_are_not_mounted_are_given_up),
                T(test_a_deleted_handle_of_who_stays),
                T(test_source_lost_while_copying),
                T(test_source_lost_but_the_target_runs),
                T(test_another_arrival_is_not_this_ones),
                T(test_source_lost_after_the_resume),
                T(test_nothing_moves_before_the_journal_is_held),
                T(test_deleting_the_journal_cancels),
                T(test_deleted_vm_waits_for_its_journals),
                T(test_unschedulable_stays),
                T(test_uncordon_calls_off_what_has_not_begun),
                T(test_uncordon_stops_no_copy),
                T(test_eviction_without_cordon_goes_on),
                T(test_unsatisfiable_names_each_node),
                T(test_fit_nodes_are_noted_on_the_pod),
                T(test_emulated_guests_are_warned_of),
                T(test_preflight_refuses),
                T(test_permit_is_waited_for),
                T(test_without_a_node_the_permit_is_given_back),
                T(test_unheard_is_neither_alive_nor_silent),
                T(test_old_news_confirm_nothing),
                T(test_a_pod_is_no_permit),
                T(test_a_wish_waits),
                T(test_a_wish_gives_way_to_a_drain),
                T(test_a_wish_that_waits_for_its_turn_gives_way_to_nothing),
                T(test_a_wish_gives_way_to_the_placement),
                T(test_a_wide_wish_serves_the_placement),
                T(test_a_drain_of_a_former_node_is_over),
                T(test_a_target_that_stays_silent_is_given_up),
                T(test_a_proof_that_comes_late_is_waited_for),
                T(test_a_proof_that_never_comes_is_given_up),
                T(test_a_host_that_has_not_reported_is_no_target),
                T(test_the_handover_in_use_is_told),
                T(test_the_vms_labels_reach_its_pods),
                T(test_nodes_that_are_not_named_are_counted),
                T(test_an_unfit_target_takes_no_permit),
                T(test_resized_vm_moves_with_its_running_shape),
                T(test_halted_while_copying),
                T(test_silent_node_keeps_the_guest),
                T(test_history_of_five),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
