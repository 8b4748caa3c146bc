/* Who takes a snapshot, and what becomes of it: one step after the other, as the migrator takes
 * them. */
#include "core/snapshot.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct scene {
        struct arena *a;
        struct snapshot snapshot;
        struct vm vm;
        struct vm_disk disks[2];
        bool has_vm;
        struct condition ready[2];
        struct host_mount mounts[2][2];
        struct host hosts[2];
        struct import_node nodes[2];
        const char *moving;
        const char *finalizer[1];
        struct snap_disk taken[1];
        struct snap_plan plan;
} s;

static int set_up(void **state)
{
        static const char *const NAMES[] = {"node1", "node2"};

        (void)state;
        s = (struct scene){.a = arena_new(1 << 20), .moving = "", .has_vm = true};
        s.snapshot = (struct snapshot){.meta = {.name = "s", .ns = "n", .uid = "u-1", .rv = "1"},
                                       .vm = "web",
                                       .phase = "",
                                       .message = "",
                                       .vm_uid = "",
                                       .worker.node = "",
                                       .progress.message = ""};
        s.disks[0] = (struct vm_disk){.name = "root", .kind = DISK_IMAGE, .pool = "default"};
        s.disks[1] =
                (struct vm_disk){.name = "data", .kind = DISK_BLANK, .pool = "fast", .claim = ""};
        s.vm = (struct vm){.meta = {.name = "web", .ns = "n", .uid = "v-1"},
                           .spec = {.disks = s.disks, .ndisks = 2, .restore = {"", ""}},
                           .status = {.owner.node = "", .storage_node = "", .restored = {"", ""}}};
        for (int i = 0; i < 2; i++) {
                s.ready[i] = (struct condition){"Ready", "True", "", "", 0};
                for (int k = 0; k < 2; k++)
                        s.mounts[i][k] = (struct host_mount){.pool = k ? "fast" : "default",
                                                             .health = MOUNT_HEALTHY,
                                                             .lock_arbitration = true};
                s.hosts[i] = (struct host){.meta.name = NAMES[i],
                                           .mounts = s.mounts[i],
                                           .nmounts = 2,
                                           .conditions = {&s.ready[i], 1}};
                s.nodes[i] = (struct import_node){NAMES[i], &s.hosts[i], true};
        }
        return s.a ? 0 : -1;
}

static int tear_down(void **state)
{
        (void)state;
        arena_free(s.a);
        return 0;
}

/* One step, and what it writes comes true. */
static enum snap_kind step(void)
{
        const struct snap_input in = {&s.snapshot, s.has_vm ? &s.vm : NULL, s.moving, s.nodes, 2};

        assert_int_equal(snap_plan(s.a, &in, &s.plan), 0);
        if (s.plan.kind == SNAP_SET)
                s.snapshot = s.plan.next;
        if (s.plan.kind == SNAP_HOLD) {
                s.finalizer[0] = DROVER_SNAPSHOT_FINALIZER;
                s.snapshot.meta.finalizers = (struct strs){s.finalizer, 1};
        }
        if (s.plan.kind == SNAP_FREE)
                s.snapshot.meta.finalizers.n = 0;
        return s.plan.kind;
}

static void play(void)
{
        for (int i = 0; i < 10; i++)
                if (step() == SNAP_REST)
                        return;
        fail_msg("it comes to no rest");
}

static void says(enum snap_state state, const char *message)
{
        s.snapshot.progress = (struct snap_progress){s.snapshot.worker.epoch, state, message, {0}};
}

static void is(const char *phase, const char *words)
{
        assert_string_equal(s.snapshot.phase, phase);
        if (!strstr(s.snapshot.message, words))
                fail_msg("%s", s.snapshot.message);
}

static int worker(void)
{
        return !strcmp(s.snapshot.worker.node, "node1")   ? 0
               : !strcmp(s.snapshot.worker.node, "node2") ? 1
                                                          : -1;
}

static void taken(void)
{
        play();
        s.taken[0] = (struct snap_disk){"root", 4096};
        says(SNAP_TAKEN, "");
        s.snapshot.progress.made = (struct snap_made){true, 77, s.taken, 1};
        play();
}

static void of_a_guest_that_runs(void **state)
{
        (void)state;
        s.vm.status.owner = (struct vm_owner){"node2", 3};
        assert_int_equal(step(), SNAP_HOLD); /* before anybody is asked */
        assert_int_equal(step(), SNAP_SET);
        assert_int_equal(worker(), 1);
        assert_int_equal(s.snapshot.worker.epoch, 1);
        assert_int_equal(s.snapshot.worker.task, SNAP_TAKE);
        assert_string_equal(s.snapshot.vm_uid, "v-1");
        is("InProgress", "node2 takes it");
        says(SNAP_WAITING, "the pool hangs");
        play();
        is("InProgress", "node2: the pool hangs");
        says(SNAP_TAKING, "");
        play();
        is("InProgress", "node2 takes it");
        assert_false(s.plan.settled);
        taken();
        is("Ready", "");
        assert_true(s.plan.settled);
        assert_true(s.snapshot.made.quiesced && s.snapshot.made.taken_us == 77);
        assert_int_equal(s.snapshot.made.ndisks, 1);
        assert_int_equal(s.snapshot.taken, 1);
        s.nodes[1].alive = false; /* nothing to it any more */
        assert_int_equal(step(), SNAP_REST);
}

/* The owner alone, healthy or not: the guest may run there. */
static void the_owner_and_nobody_else(void **state)
{
        (void)state;
        s.vm.status.owner = (struct vm_owner){"node1", 3};
        s.mounts[0][0].health = MOUNT_UNHEALTHY;
        s.mounts[0][1].lock_arbitration = false;
        play();
        assert_int_equal(worker(), 0);
        s.nodes[0].alive = false;
        play();
        assert_int_equal(worker(), 0);
        is("InProgress", "the agent of node1 is silent");
        s.nodes[0].alive = true;
        s.vm.status.owner = (struct vm_owner){"node2", 4}; /* it has moved */
        says(SNAP_WAITING, "a migration");
        play();
        assert_int_equal(worker(), 1);
        assert_int_equal(s.snapshot.worker.epoch, 2);
        s.snapshot.progress = (struct snap_progress){1, SNAP_TAKEN, "", {0}};
        play(); /* of the one before, it counts for nothing */
        is("InProgress", "node2 takes it");
        s.vm.status.owner = (struct vm_owner){"node3", 5};
        play();
        is("Pending", "waits for node3, which has the VM and says nothing");
}

/* Where nobody has the VM, a node whose locks keep others from its disks. */
static void of_a_halted_vm(void **state)
{
        (void)state;
        s.mounts[0][0].lock_arbitration = s.mounts[1][1].lock_arbitration = false;
        play();
        assert_int_equal(s.snapshot.worker.epoch, 0);
        is("Pending", "waits for a node that has the pools of all disks");
        s.mounts[1][1].lock_arbitration = true;
        play();
        assert_int_equal(worker(), 1);
        s.mounts[0][0].lock_arbitration = true;
        play();
        assert_int_equal(worker(), 1); /* who is at it stays at it */
        s.mounts[1][0].health = MOUNT_UNHEALTHY;
        play();
        assert_int_equal(worker(), 0);
        s.ready[0].status = "False";
        play();
        assert_int_equal(worker(), 0); /* nobody else could either */
        is("Pending", "waits for a node");
}

/* Of disks that are on one node, that node takes it, and needs no lock that others respect. */
static void of_disks_in_a_local_pool(void **state)
{
        (void)state;
        s.vm.status.storage_node = "node2";
        for (int i = 0; i < 2; i++)
                s.mounts[i][1] =
                        (struct host_mount){.pool = "fast", .health = MOUNT_HEALTHY, .local = true};
        play();
        assert_int_equal(worker(), 1);
        s.nodes[1].alive = false;
        play();
        is("Pending", "waits for a node");
        s.nodes[1].alive = true;
        s.mounts[1][1].health = MOUNT_UNHEALTHY;
        play();
        is("Pending", "waits for a node");
}

static void not_while_it_moves(void **state)
{
        (void)state;
        s.vm.status.owner = (struct vm_owner){"node1", 3};
        s.moving = "web-1-x";
        play();
        is("Pending", "waits for the migration web-1-x to end");
        assert_int_equal(s.snapshot.worker.epoch, 0);
        s.moving = "";
        play();
        assert_int_equal(worker(), 0);
        s.moving = "web-2-x";
        play(); /* whoever is asked already sees for himself */
        assert_int_equal(worker(), 0);
        is("InProgress", "node1 takes it");
}

static void refused(void **state)
{
        (void)state;
        play();
        says(SNAP_REFUSED, "no guest agent");
        play();
        is("Failed", "no guest agent");
        assert_true(s.plan.settled);
        assert_int_equal(s.snapshot.taken, 0);
}

static void never(void **state)
{
        static const struct {
                enum disk_kind kind;
                size_t ndisks;
                bool has_vm, deleting;
                const char *uid, *words;
        } CASES[] = {
                {DISK_PVC, 2, true, false, "",
                 "disk data is a PersistentVolumeClaim, which Drover takes no snapshots of: make a "
                 "VolumeSnapshot of the claim the-claim"},
                {DISK_BLANK, 0, true, false, "", "has no disks"},
                {DISK_BLANK, 2, false, false, "", "there is no VirtualMachine web"},
                {DISK_BLANK, 2, true, true, "", "is gone"},
                {DISK_BLANK, 2, true, false, "v-0", "is gone"},
        };

        (void)state;
        for (size_t i = 0; i < countof(CASES); i++) {
                s.disks[1].kind = CASES[i].kind;
                s.disks[1].claim = "the-claim";
                s.vm.spec.ndisks = CASES[i].ndisks;
                s.has_vm = CASES[i].has_vm;
                s.vm.meta.deleting = CASES[i].deleting;
                s.snapshot.phase = s.snapshot.message = "";
                s.snapshot.vm_uid = CASES[i].uid;
                bool owned = i < 2; /* where there is a VM that it can be of */
                if (owned)
                        assert_int_equal(step(), SNAP_HOLD);
                assert_int_equal(step(), SNAP_SET);
                is("Failed", CASES[i].words);
                assert_int_equal(step(), SNAP_REST);
                s.snapshot.meta.deleting = true;
                assert_int_equal(step(), owned ? SNAP_FREE : SNAP_REST);
                s.snapshot.meta.deleting = false;
                s.snapshot.meta.finalizers.n = 0;
        }
}

static void removed(void **state)
{
        (void)state;
        s.vm.status.owner = (struct vm_owner){"node1", 3};
        taken();
        s.snapshot.meta.deleting = true;
        s.vm.spec.restore = (struct vm_restore){"s", "now"};
        play();
        assert_int_equal(s.snapshot.worker.task, SNAP_TAKE);
        is("Ready", "kept until the disks of the VM web have been set back to it");
        assert_null(snap_unusable(s.a, &s.snapshot, &s.vm)); /* else both would wait for ever */
        s.vm.status.restored = s.vm.spec.restore;
        s.moving = "m";
        play();
        is("Deleting", "waits for the migration m to end");
        assert_int_equal(s.snapshot.worker.task, SNAP_TAKE);
        s.moving = "";
        play();
        assert_int_equal(s.snapshot.worker.task, SNAP_REMOVE);
        assert_int_equal(s.snapshot.worker.epoch, 2);
        is("Deleting", "node1 removes it");
        says(SNAP_WAITING, "a lock");
        play();
        is("Deleting", "node1: a lock");
        s.vm.status.owner = (struct vm_owner){"node2", 4};
        play();
        assert_int_equal(worker(), 1);
        assert_int_equal(s.snapshot.worker.epoch, 3);
        s.snapshot.progress = (struct snap_progress){2, SNAP_REMOVED, "", {0}};
        play(); /* of the one before: a take of its own may have come after */
        assert_int_equal(s.snapshot.meta.finalizers.n, 1);
        says(SNAP_REMOVED, "");
        assert_int_equal(step(), SNAP_FREE);
        assert_int_equal(step(), SNAP_REST);
        assert_true(s.plan.settled);
}

/* Another wish keeps another snapshot. */
static void another_is_wanted_back(void **state)
{
        (void)state;
        taken();
        s.snapshot.meta.deleting = true;
        s.vm.spec.restore = (struct vm_restore){"t", "now"};
        play();
        assert_int_equal(s.snapshot.worker.task, SNAP_REMOVE);
}

static void goes_with_its_vm(void **state)
{
        (void)state;
        for (int i = 0; i < 3; i++) {
                tear_down(NULL);
                set_up(NULL);
                taken();
                s.snapshot.meta.deleting = true;
                s.vm.spec.restore = (struct vm_restore){"s", "now"};
                s.has_vm = i != 0;
                s.vm.meta.deleting = i == 1;
                s.vm.meta.uid = i == 2 ? "v-2" : "v-1";
                assert_int_equal(step(), SNAP_FREE);
        }
}

static void deleted_before_anybody_was_asked(void **state)
{
        (void)state;
        s.moving = "m";
        play();
        s.snapshot.meta.deleting = true;
        assert_int_equal(step(), SNAP_FREE);
        assert_int_equal(step(), SNAP_REST); /* one that is not ours to hold is not held */
}

static void to_go_back_to(void **state)
{
        (void)state;
        taken();
        assert_null(snap_unusable(s.a, &s.snapshot, &s.vm));
        struct snapshot x = s.snapshot;
        x.vm = "other";
        assert_string_equal(snap_unusable(s.a, &x, &s.vm), "it is of the VM other");
        x = s.snapshot;
        x.vm_uid = "v-0";
        assert_string_equal(snap_unusable(s.a, &x, &s.vm), "it is of an earlier VM of this name");
        x = s.snapshot;
        x.meta.deleting = true;
        x.worker.task = SNAP_REMOVE;
        assert_string_equal(snap_unusable(s.a, &x, &s.vm), "it is being removed");
        x = s.snapshot;
        x.phase = "InProgress";
        x.message = "node1 takes it";
        assert_string_equal(snap_unusable(s.a, &x, &s.vm), "it is not Ready: node1 takes it");
}

static void wishes(void **state)
{
        char a[VM_RESTORE_TOKEN], b[VM_RESTORE_TOKEN];

        (void)state;
        vm_restore_token(&s.vm.spec.restore, a);
        assert_string_equal(a, "");
        assert_false(vm_restore_pending(&s.vm));
        vm_restore_token(&(struct vm_restore){"s", "1"}, a);
        vm_restore_token(&(struct vm_restore){"s", "2"}, b);
        assert_int_equal(strlen(a), VM_RESTORE_TOKEN - 1);
        assert_string_not_equal(a, b);
        vm_restore_token(&(struct vm_restore){"t", "1"}, b);
        assert_string_not_equal(a, b);
        s.vm.spec.restore = (struct vm_restore){"s", "2"};
        s.vm.status.restored = (struct vm_restore){"s", "1"};
        assert_true(vm_restore_pending(&s.vm));
        s.vm.status.restored = (struct vm_restore){"t", "2"};
        assert_true(vm_restore_pending(&s.vm));
        s.vm.status.restored = (struct vm_restore){"s", "2"};
        assert_false(vm_restore_pending(&s.vm));
}

static void words(void **state)
{
        char tag[SNAP_TAG_MAX], prefix[SNAP_TAG_MAX];

        (void)state;
        for (enum snap_state i = SNAP_UNSAID; i <= SNAP_REMOVED; i++)
                assert_int_equal(snap_state_parse(snap_state_name(i)), i);
        for (enum snap_quiesce i = QUIESCE_AUTO; i < QUIESCE_BAD; i++)
                assert_int_equal(snap_quiesce_parse(snap_quiesce_name(i)), i);
        assert_int_equal(snap_quiesce_parse(""), QUIESCE_AUTO);
        assert_int_equal(snap_quiesce_parse("Maybe"), QUIESCE_BAD);
        assert_int_equal(snap_task_parse("Remove"), SNAP_REMOVE);
        assert_int_equal(snap_task_parse(""), SNAP_TAKE);
        snap_tag(&s.snapshot, 12, tag);
        snap_prefix(&s.snapshot, prefix);
        assert_string_equal(tag, "drover-u-1-12");
        assert_string_equal(prefix, "drover-u-1-");
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(of_a_guest_that_runs),
                T(the_owner_and_nobody_else),
                T(of_a_halted_vm),
                T(of_disks_in_a_local_pool),
                T(not_while_it_moves),
                T(refused),
                T(never),
                T(removed),
                T(another_is_wanted_back),
                T(goes_with_its_vm),
                T(deleted_before_anybody_was_asked),
                T(to_go_back_to),
                T(wishes),
                T(words),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
