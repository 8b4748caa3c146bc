/* Room is judged at the only writer: for an owner, for a target, and for a larger guest. */
#include "core/load.h"
#include "core/room.h"
#include "tests/unit/reconcile_scene.h"

#define SECOND INT64_C(1000000)
#define MIB    ((int64_t)1 << 20)

static const struct condition *said(const char *type)
{
        const struct condition *c = condition_get(&w.vm.status.conditions, type);

        assert_non_null(c);
        return c;
}

static void bind(const char *name, const char *node)
{
        assert_non_null(pod(name));
        pod(name)->node = node;
}

/* --- owners */

static void a_full_host_is_not_made_the_owner(void **state)
{
        (void)state;
        w.hosts[0].capacity.slots = 3;
        w.hosts[0].used.domains = 2;
        w.rec[0].promised.guests = 1;
        play();
        bind("drover-vm-demo-e1", "node1");
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_int_equal(w.vm.status.owner.epoch, 0);
        assert_int_equal(w.vm.status.phase, VM_PENDING);
        assert_string_equal(w.vm.status.reason,
                            "node1: all of its 3 VM slots are taken [rule 8 slots]");
        assert_string_equal(said("Ready")->reason, "NoRoom");
        assert_string_equal(said("Ready")->message,
                            "node1: all of its 3 VM slots are taken [rule 8 slots]");
        assert_int_equal(w.vm.status.refused.count, 1);
        assert_int_equal(w.npods, 0); /* it would count as promised on a host it will not have */
        assert_in_range(w.out.again_ms, 900, 1001);
        /* a second later the scheduler is asked again, by a pod of another name */
        w.now += SECOND;
        play();
        assert_int_equal(w.npods, 1);
        bind("drover-vm-demo-e1-t1", "node2");
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_int_equal(w.vm.status.owner.epoch, 1);
        assert_string_equal(w.vm.status.pod_name, "drover-vm-demo-e1-t1");
        assert_int_equal(w.vm.status.refused.count, 0);
        assert_string_equal(said("Ready")->reason, "NotRunning");
}

static void refusals_in_a_row_wait_ever_longer(void **state)
{
        static const int waits[] = {1, 2, 4, 8, 16, 32, 60, 60};
        static char name[8][40];

        (void)state;
        w.hosts[0].used.cpus = 8;
        play();
        bind("drover-vm-demo-e1", "node1");
        play();
        for (size_t i = 0; i < countof(waits); i++) {
                assert_int_equal(w.vm.status.refused.count, i + 1);
                w.now += waits[i] * SECOND - 1;
                play();
                assert_int_equal(w.npods, 0);
                assert_string_equal(w.vm.status.reason,
                                    "node1: 1 CPUs are asked for, 0 of 8 are free [rule 9 cpus]");
                w.now++;
                play();
                snprintf(name[i], sizeof(name[i]), "drover-vm-demo-e1-t%zu", i + 1);
                bind(name[i], "node1");
                play();
        }
        /* a new wish is tried at once */
        w.vm.meta.generation++;
        play();
        assert_int_equal(w.npods, 1);
}

static void a_clock_set_back_waits_no_longer(void **state)
{
        const struct refusals r = {2, 1000 * SECOND};

        (void)state;
        assert_int_equal(room_wait_us(&r, 500 * SECOND), 2 * SECOND);
        assert_int_equal(room_wait_us(&(struct refusals){0}, 500), 0);
        assert_int_equal(room_wait_us(&(struct refusals){INT64_MAX, 0}, 0), 60 * SECOND);
}

/* Nor one of which nobody knows whether it has room, or that fails another rule of the extender. */
static void nor_is_one_that_cannot_be_judged(void **state)
{
        static const char *const why[] = {
                ("node1: its Drover agent has not been heard from for more than 15 s [rule 2 "
                 "silent]"),
                "node1: no Drover agent has reported a hypervisor there [rule 1 no-host]",
                "node1: its hypervisor is not Ready: libvirtd is away [rule 3 not-ready]",
                "node1: storage pool default at /p is unhealthy: hangs [rule 7 pool-health]"};

        for (size_t i = 0; i < countof(why); i++) {
                arena_free(w.a);
                setup(state);
                play();
                bind("drover-vm-demo-e1", "node1");
                w.rec[0].alive = i != 0;
                if (i == 1)
                        w.rec[0].host = NULL;
                w.ready[0].status = i == 2 ? "False" : "True";
                w.ready[0].message = "libvirtd is away";
                w.mounts[0].health = i == 3 ? MOUNT_UNHEALTHY : MOUNT_HEALTHY;
                w.mounts[0].reason = "hangs";
                play();
                assert_string_equal(w.vm.status.owner.node, "");
                assert_string_equal(w.vm.status.reason, why[i]);
                assert_int_equal(w.npods, 0);
        }
}

/* The refusal is decided again, and no second time counted, when only a part was carried out. */
static void a_refusal_outlives_a_crash(void **state)
{
        (void)state;
        w.hosts[0].used.cpus = 8;
        play();
        bind("drover-vm-demo-e1", "node1");
        run();
        assert_non_null(find(REC_DELETE_POD, "drover-vm-demo-e1"));
        assert_int_equal(find(REC_SET_VM, NULL)->vm->status.refused.count, 1);
        /* the pod is deleted, the status is not written */
        pod("drover-vm-demo-e1")->meta.deleting = true;
        run();
        assert_null(find(REC_CREATE_POD, NULL));
        assert_int_equal(find(REC_SET_VM, NULL)->vm->status.refused.count, 0);
        drop_pod("drover-vm-demo-e1");
        play();
        assert_non_null(pod("drover-vm-demo-e1"));
        /* the status is written, the pod is not deleted */
        bind("drover-vm-demo-e1", "node1");
        run();
        w.vm.status = find(REC_SET_VM, NULL)->vm->status;
        run();
        assert_non_null(find(REC_DELETE_POD, "drover-vm-demo-e1"));
        assert_int_equal(find(REC_SET_VM, NULL)->vm->status.refused.count, 1);
}

/* What is left of an earlier guest of this VM gives way to the new one. */
static void its_own_remains_do_not_count(void **state)
{
        (void)state;
        w.vm.status.owner.epoch = 3;
        w.hosts[0].capacity.slots = 1;
        w.hosts[0].used.domains = 1;
        domain(0, 2, DOMAIN_RUNNING);
        play();
        bind("drover-vm-demo-e4", "node1");
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
}

/* --- targets */

static void seeking(void)
{
        running();
        want_zone("b");
        play();
        bind("drover-move-demo-1-1", "node2");
}

static void a_full_host_is_not_made_the_target(void **state)
{
        (void)state;
        seeking();
        w.rec[1].promised.cores = 8;
        play();
        assert_int_equal(w.nmigs, 1);
        assert_int_equal(last()->status.phase, MIG_PENDING);
        assert_string_equal(last()->status.target, "");
        assert_string_equal(last()->status.message,
                            "node2: 1 CPUs are asked for, 0 of 8 are free [rule 9 cpus]");
        assert_int_equal(last()->status.verdicts[0].rule, PREFLIGHT_ROOM);
        assert_null(pod("drover-move-demo-1-1"));
        assert_string_equal(last()->status.pod, "drover-move-demo-1-1-t1");
        assert_string_equal(said("PlacementSatisfied")->reason, "NoRoom");
        assert_int_equal(w.npods, 1);
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        w.now += SECOND;
        w.rec[1].promised.cores = 7;
        play();
        bind("drover-move-demo-1-1-t1", "node2");
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_string_equal(last()->status.target, "node2");
}

static void a_refused_target_is_called_off_like_any(void **state)
{
        (void)state;
        seeking();
        w.rec[1].promised.cores = 8;
        play();
        want_zone("a");
        play();
        settle();
        assert_int_equal(last()->status.phase, MIG_CANCELLED);
        assert_int_equal(w.npods, 1);
}

/* Room that is lost between the choice and the copy: the move fails, and the next one seeks anew.
 */
static void the_preflight_asks_once_more(void **state)
{
        (void)state;
        seeking();
        w.permits.target_free = false;
        play();
        assert_int_equal(last()->status.phase, MIG_PREFLIGHT);
        w.hosts[1].used.cpus = 8;
        play();
        assert_int_equal(last()->status.phase, MIG_FAILED);
        assert_int_equal(w.npods, 1);
        assert_string_equal(w.vm.status.owner.node, "node1");
}

/* --- larger guests */

static void restart(const char *when, int64_t cores)
{
        w.vm.spec.shape.cores = cores;
        w.vm.spec.restarted_at = when;
        w.vm.meta.generation++;
        play();
}

static void runs_with(int64_t cores)
{
        w.domains[0].cores = cores;
        w.domains[0].memory = 256 * MIB;
        w.hosts[0].used.cpus = cores;
        w.hosts[0].used.memory = 256 * MIB;
        w.hosts[0].used.domains = 1;
}

static void a_restart_is_granted_where_there_is_room(void **state)
{
        (void)state;
        running();
        runs_with(1);
        restart("now", 8); /* its own CPU is its own */
        assert_int_equal(w.vm.status.granted.epoch, 1);
        assert_string_equal(w.vm.status.granted.restarted_at, "now");
        assert_int_equal(w.vm.status.granted.shape.cores, 8);
        assert_int_equal(w.vm.status.running.cores, 1);
        assert_string_equal(w.vm.status.restarted_at, "");
        assert_true(condition_true(&w.vm.status.conditions, "RestartRequired"));
        /* the spec changes again: what was granted stays until it is carried out */
        restart("later", 2);
        assert_int_equal(w.vm.status.granted.shape.cores, 8);
        runs_with(8);
        w.domains[0].restarted_at = "now";
        play();
        assert_int_equal(w.vm.status.running.cores, 8);
        assert_string_equal(w.vm.status.restarted_at, "now");
        assert_string_equal(w.vm.status.granted.restarted_at, "later");
        assert_int_equal(w.vm.status.granted.shape.cores, 2);
        runs_with(2);
        w.domains[0].restarted_at = "later";
        play();
        assert_int_equal(w.vm.status.granted.epoch, 0);
        assert_string_equal(said("RestartRequired")->reason, "UpToDate");
}

static void a_restart_without_room_leaves_the_guest_running(void **state)
{
        (void)state;
        running();
        runs_with(1);
        w.rec[0].promised.cores = 5;
        restart("now", 4);
        assert_int_equal(w.vm.status.granted.epoch, 0);
        assert_string_equal(said("RestartRequired")->reason, "NoRoom");
        assert_string_equal(said("RestartRequired")->message,
                            "node1: 4 CPUs are asked for, 3 of 8 are free [rule 9 cpus]; the guest "
                            "runs on as it "
                            "is, and is restarted when there is room");
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
        assert_int_equal(w.out.again_ms, REC_ROOM_AGAIN_MS);
        w.rec[0].promised.cores = 4;
        play();
        assert_int_equal(w.vm.status.granted.epoch, 1);
        assert_string_equal(said("RestartRequired")->reason, "SpecChanged");
}

/* The disks are set back at the next start, whoever brings that about; then it is noted. */
static void a_restore_waits_for_a_restart(void **state)
{
        char token[VM_RESTORE_TOKEN];

        (void)state;
        running();
        runs_with(1);
        w.vm.spec.restore = (struct vm_restore){"before", "today"};
        play();
        assert_string_equal(said("RestartRequired")->reason, "RestorePending");
        assert_non_null(strstr(said("RestartRequired")->message, "before"));
        vm_restore_token(&(struct vm_restore){"before", "yesterday"}, token);
        w.domains[0].restored = token;
        play();
        assert_string_equal(said("RestartRequired")->reason, "RestorePending");
        assert_string_equal(w.vm.status.restored.snapshot, "");
        vm_restore_token(&w.vm.spec.restore, token);
        play();
        assert_string_equal(said("RestartRequired")->reason, "UpToDate");
        assert_string_equal(w.vm.status.restored.snapshot, "before");
        assert_string_equal(w.vm.status.restored.requested_at, "today");
        w.vm.spec.restore = (struct vm_restore){"", ""}; /* taken out: it stays noted */
        play();
        assert_string_equal(w.vm.status.restored.requested_at, "today");
        assert_false(condition_true(&w.vm.status.conditions, "RestartRequired"));
}

/* A host that has less than it once promised: what runs there may be restarted as it is. */
static void a_restart_that_needs_no_more_is_granted_always(void **state)
{
        (void)state;
        running();
        runs_with(1);
        w.hosts[0].capacity.slots = 1;
        w.hosts[0].used.domains = 7;
        restart("now", 1);
        assert_int_equal(w.vm.status.granted.epoch, 1);
}

static void no_restart_is_granted_that_nobody_asks_for(void **state)
{
        (void)state;
        running();
        runs_with(1);
        w.vm.spec.shape.cores = 2;
        play();
        assert_int_equal(w.vm.status.granted.epoch, 0);
        w.vm.status.restarted_at = "once"; /* and the wish is taken out of the spec */
        play();
        assert_int_equal(w.vm.status.granted.epoch, 0);
        w.vm.spec.run = RUN_HALTED;
        restart("now", 2);
        assert_int_equal(w.vm.status.granted.epoch, 0);
}

/* On another node it would be another promise. */
static void a_grant_does_not_move(void **state)
{
        (void)state;
        copying();
        restart("now", 2);
        assert_int_equal(w.vm.status.granted.epoch, 0);
        w.vm.status.granted = (struct vm_grant){1, "now", w.vm.spec.shape};
        last()->status.transfer.state = TRANSFER_DONE;
        domain(0, 0, DOMAIN_ABSENT);
        domain(1, 2, DOMAIN_RUNNING);
        w.hosts[1].used.cpus = 8;
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_null(vm_granted(&w.vm));
        assert_string_equal(said("RestartRequired")->reason, "NoRoom");
}

/* --- sums */

static void what_is_owed_beyond_the_report(void **state)
{
        const struct vm_shape small = {1, "", 256 * MIB, ""}, large = {4, "", 1024 * MIB, ""};
        const struct vm_shape paged = {2, "", 512 * MIB, "2Mi"};
        struct host_domain d = {.state = DOMAIN_RUNNING, .cores = 1, .memory = 256 * MIB};
        struct capacity_load a = load_of_shape(&small), b = load_of_shape(&large), x;

        (void)state;
        x = load_owed(&a, NULL, &small);
        assert_memory_equal(&x, &a, sizeof(x));
        d.state = DOMAIN_SHUTOFF;
        x = load_owed(&a, &d, &small);
        assert_memory_equal(&x, &a, sizeof(x));
        d.state = DOMAIN_INCOMING;
        x = load_owed(&a, &d, &small);
        assert_memory_equal(&x, &(struct capacity_load){0}, sizeof(x));
        x = load_owed(&b, &d, &small); /* it is to grow */
        assert_int_equal(x.guests, 0);
        assert_int_equal(x.cores, 3);
        assert_int_equal(x.memory, b.memory - a.memory);
        d.cores = 2;
        d.memory = 512 * MIB;
        a = load_of_shape(&paged);
        x = load_owed(&a, &d, &paged);
        assert_memory_equal(&x, &(struct capacity_load){0}, sizeof(x));
        /* and back, whatever the order */
        x = b;
        load_add(&x, &a);
        load_take(&x, &b);
        assert_memory_equal(&x, &a, sizeof(x));
        assert_true(load_within(&a, &a));
        assert_false(load_within(&b, &a));
        x = load_max(&a, &b);
        assert_int_equal(x.cores, 4);
        assert_int_equal(x.huge_2mi, 256);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(a_full_host_is_not_made_the_owner),
                T(refusals_in_a_row_wait_ever_longer),
                T(a_clock_set_back_waits_no_longer),
                T(nor_is_one_that_cannot_be_judged),
                T(a_refusal_outlives_a_crash),
                T(its_own_remains_do_not_count),
                T(a_full_host_is_not_made_the_target),
                T(a_refused_target_is_called_off_like_any),
                T(the_preflight_asks_once_more),
                T(a_restart_is_granted_where_there_is_room),
                T(a_restart_without_room_leaves_the_guest_running),
                T(a_restart_that_needs_no_more_is_granted_always),
                T(a_restore_waits_for_a_restart),
                T(no_restart_is_granted_that_nobody_asks_for),
                T(a_grant_does_not_move),
                T(what_is_owed_beyond_the_report),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
