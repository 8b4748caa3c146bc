/*
 * Disks in local pools: where the status says that they are, at every change of the owner; that the
 * VM starts there or nowhere; and which files are left over, every combination of what is known.
 */
#include "tests/unit/reconcile_scene.h"

#include "core/storage.h"

static void local_pools(void)
{
        for (int i = 0; i < 2; i++) {
                w.mounts[i].local = true;
                w.mounts[i].identity = i ? "second" : "first";
                w.mounts[i].nshared_with = 0;
                w.mounts[i].free_bytes = 1 << 30;
        }
}

static const char *identity(void)
{
        const char *id = kvs_get(&w.vm.status.pools, "default");

        return id ? id : "";
}

static void halt(void)
{
        w.vm.spec.run = RUN_HALTED;
        w.vm.meta.generation++;
        play();
        domain(0, 1, DOMAIN_ABSENT);
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        domain(0, 0, DOMAIN_ABSENT);
}

static void start_again(void)
{
        w.vm.spec.run = RUN_ALWAYS;
        w.vm.meta.generation++;
        play();
}

/* --- where it starts */

static void the_first_owner_is_noted(void **state)
{
        (void)state;
        local_pools();
        play();
        assert_string_equal(w.vm.status.storage_node, "");
        assert_string_equal(find(REC_CREATE_POD, NULL) ? find(REC_CREATE_POD, NULL)->pin : "", "");
        pod("drover-vm-demo-e1")->node = "node1";
        run();
        const struct vm *next = find(REC_SET_VM, NULL)->vm; /* with the owner, in one write */
        assert_string_equal(next->status.owner.node, "node1");
        assert_string_equal(next->status.storage_node, "node1");
        assert_string_equal(kvs_get(&next->status.pools, "default"), "first");
}

static void a_shared_pool_binds_nobody(void **state)
{
        (void)state;
        running();
        assert_string_equal(w.vm.status.storage_node, "");
        assert_string_equal(identity(), "same");
        halt();
        w.vm.spec.run = RUN_ALWAYS;
        run();
        assert_string_equal(find(REC_CREATE_POD, NULL)->pin, "");
}

/* The name of its pod, its pin, and that it is no guest that is there already. */
static void a_start_is_pinned(void **state)
{
        (void)state;
        local_pools();
        running();
        halt();
        assert_string_equal(w.vm.status.storage_node, "node1");
        w.vm.spec.run = RUN_ALWAYS;
        w.vm.meta.generation++;
        run();
        const struct rec_action *act = find(REC_CREATE_POD, "drover-vm-demo-e2");
        assert_non_null(act);
        assert_string_equal(act->pin, "node1");
        assert_false(act->adopts);
        play();
        static struct condition no = {"PodScheduled", "False", "Unschedulable", "it is full", 0};
        pod("drover-vm-demo-e2")->conditions = (struct conditions){&no, 1};
        play();
        assert_string_equal(w.vm.status.reason,
                            "its disks lie on node1, and it starts nowhere else: it is full");
        w.vm.spec.placement.node_name = "node2";
        pod("drover-vm-demo-e2")->placement = "";
        play();
        pod("drover-vm-demo-e2")->conditions = (struct conditions){&no, 1};
        play();
        assert_string_equal(w.vm.status.reason, "its disks lie on node1, and it starts nowhere "
                                                "else: node1: spec.nodeName wants node2");
        w.vm.spec.placement.node_name = "";
        play();
        pod("drover-vm-demo-e2")->node = "node2"; /* however that came about */
        run();
        assert_non_null(find(REC_DELETE_POD, "drover-vm-demo-e2"));
        assert_string_equal(find(REC_SET_VM, NULL)->vm->status.owner.node, "");
}

/* Declared local only while it was halted; or a new file system, on its own node. */
static void not_where_its_disks_are_not(void **state)
{
        (void)state;
        for (int own = 0; own < 2; own++) {
                teardown(NULL);
                setup(NULL);
                local_pools();
                if (!own)
                        w.mounts[0].local = w.mounts[1].local = false;
                running();
                halt();
                assert_string_equal(w.vm.status.storage_node, own ? "node1" : "");
                if (own)
                        w.mounts[0].identity = "new";
                w.mounts[0].local = w.mounts[1].local = true;
                start_again();
                pod("drover-vm-demo-e2")->node = own ? "node1" : "node2";
                run();
                assert_non_null(find(REC_DELETE_POD, "drover-vm-demo-e2"));
                const struct vm *next = find(REC_SET_VM, NULL)->vm;
                assert_string_equal(next->status.owner.node, "");
                assert_string_equal(next->status.reason,
                                    own ? "node1: its pool default is another directory than "
                                          "where the VM's disks are"
                                        : "node2: its pool default is another directory than "
                                          "where the VM's disks are");
        }
}

static void its_node_is_gone(void **state)
{
        (void)state;
        local_pools();
        running();
        halt();
        w.rec[0].node = NULL;
        start_again();
        assert_int_equal(w.npods, 0);
        assert_int_equal(w.vm.status.phase, VM_PENDING);
        assert_string_equal(w.vm.status.reason,
                            "its disks lie on node1, and there is no such Node: "
                            "it starts nowhere else");
        assert_string_equal(condition_get(&w.vm.status.conditions, "Ready")->reason, "DisksAway");
        assert_true(w.out.again_ms > 0);
        w.rec[0].node = &w.nodes[0];
        play();
        assert_non_null(pod("drover-vm-demo-e2"));
}

/* Lost with its node, and declared so: it does not start elsewhere, and says why. */
static void a_lost_guest_waits_for_its_disks(void **state)
{
        (void)state;
        local_pools();
        running();
        w.rec[0].alive = false;
        w.rec[0].node = NULL;
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_string_equal(w.vm.status.storage_node, "node1");
        assert_int_equal(w.npods, 0);
        assert_non_null(strstr(w.vm.status.reason, "its disks lie on node1"));
        w.rec[0].alive = true;
        w.rec[0].node = &w.nodes[0];
        play();
        assert_string_equal(w.vm.status.owner.node, ""); /* a pod first */
        pod("drover-vm-demo-e2")->node = "node1";
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
        assert_int_equal(w.vm.status.owner.epoch, 2);
}

/* A pool that is declared local later, and a directory that is another one later. */
static void what_is_noted_later(void **state)
{
        (void)state;
        for (int i = 0; i < 2; i++)
                w.mounts[i].identity = i ? "second" : "first";
        running();
        assert_string_equal(w.vm.status.storage_node, "");
        assert_string_equal(identity(), "first");
        local_pools();
        play();
        assert_string_equal(w.vm.status.storage_node, "node1");
        w.mounts[0].identity = "mounted over it";
        play();
        assert_string_equal(identity(), "first");
        w.vm.status.pools.n = 0; /* as an older version left it */
        w.mounts[0].health = MOUNT_UNHEALTHY;
        play();
        assert_string_equal(identity(), "");
        w.mounts[0].health = MOUNT_HEALTHY;
        play();
        assert_string_equal(identity(), "mounted over it");
}

/* --- what keeps it, and what moves it */

static const struct condition *migratable(void)
{
        return condition_get(&w.vm.status.conditions, "LiveMigratable");
}

static void it_says_that_it_cannot_move(void **state)
{
        (void)state;
        local_pools();
        running();
        assert_string_equal(migratable()->status, "False");
        assert_string_equal(migratable()->reason, "DiskNotShared");
        assert_string_equal(migratable()->message,
                            "disk root lies in pool default, which is local to node1: with "
                            "spec.migration.storage: Copy it is copied along");
        want_zone("b");
        settle();
        assert_int_equal(w.nmigs, 0);
        const struct condition *c = condition_get(&w.vm.status.conditions, "PlacementSatisfied");
        assert_string_equal(c->reason, "NotLiveMigratable");
        assert_null(strstr(c->message, "elsewhere")); /* halting it would not help */
        w.vm.spec.migration.storage = STORAGE_COPY;
        w.vm.meta.generation++;
        settle();
        assert_string_equal(migratable()->status, "True");
        assert_int_equal(w.nmigs, 1);
        w.disk.kind = DISK_IMAGE;
        play();
        assert_string_equal(migratable()->status, "False");
        assert_non_null(strstr(migratable()->message, "clone: Full"));
}

static void snapshots_are_not_copied_along(void **state)
{
        (void)state;
        w.snapshot = "before-upgrade";
        running();
        assert_string_equal(migratable()->status, "True"); /* its disks are shared */
        local_pools();
        w.vm.spec.migration.storage = STORAGE_COPY;
        play();
        assert_string_equal(migratable()->status, "False");
        assert_string_equal(migratable()->message,
                            "disk root, in the local pool default, has snapshots, such as "
                            "before-upgrade, which are not copied along: delete them first");
        want_zone("b");
        settle();
        assert_int_equal(w.nmigs, 0);
        w.snapshot = NULL;
        settle();
        assert_string_equal(migratable()->status, "True");
        assert_int_equal(w.nmigs, 1);
}

/* Owner, node and directory of the disks change in one write, and not before. */
static void a_move_takes_its_disks_along(void **state)
{
        (void)state;
        local_pools();
        w.vm.spec.migration.storage = STORAGE_COPY;
        running();
        want_zone("b");
        settle();
        pod(last()->status.pod)->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
        assert_string_equal(w.vm.status.storage_node, "node1");
        last()->status.transfer.state = TRANSFER_DONE;
        domain(1, 2, DOMAIN_RUNNING);
        w.domains[1].migration = last()->meta.uid;
        domain(0, 0, DOMAIN_ABSENT);
        for (int i = 0; i < 4 && !strcmp(w.vm.status.owner.node, "node1"); i++) {
                assert_string_equal(w.vm.status.storage_node, "node1");
                assert_string_equal(identity(), "first");
                play();
        }
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_string_equal(w.vm.status.storage_node, "node2");
        assert_string_equal(identity(), "second");
}

/* Both nodes are declared off in mid-copy: the guest may have run on the target, with newer disks.
 */
static void the_newer_disks_are_waited_for(void **state)
{
        static struct taint off = {"node.kubernetes.io/out-of-service", "", "NoExecute"};
        static struct transfer_disk disk = {"vda", "default", "root", 1};

        (void)state;
        for (int copies = 0; copies < 2; copies++) {
                teardown(NULL);
                setup(NULL);
                local_pools();
                w.vm.spec.migration.storage = STORAGE_COPY;
                running();
                want_zone("b");
                settle();
                pod(last()->status.pod)->node = "node2";
                play();
                last()->status.transfer.state = TRANSFER_RUNNING;
                last()->status.transfer.disks = &disk;
                last()->status.transfer.ndisks = (size_t)copies;
                for (int i = 0; i < 2; i++) {
                        w.rec[i].alive = false;
                        w.nodes[i].taints = &off;
                        w.nodes[i].ntaints = 1;
                }
                play();
                assert_int_equal(last()->status.phase, copies ? MIG_UNKNOWN : MIG_FAILED);
                if (!copies)
                        continue;
                assert_string_equal(w.vm.status.owner.node, "node1");
                w.rec[1].node = NULL; /* gone for good */
                play();
                assert_int_equal(last()->status.phase, MIG_FAILED);
                assert_string_equal(w.vm.status.storage_node, "node1");
        }
}

static void its_disks_are_removed_by_their_node(void **state)
{
        (void)state;
        local_pools();
        running();
        halt();
        w.vm.meta.deleting = true;
        w.rec[0].alive = false;
        play();
        assert_string_equal(w.vm.status.owner.node, "");
        assert_string_equal(condition_get(&w.vm.status.conditions, "DisksRemoved")->message,
                            "its disks lie on node1, which cannot remove them now: its agent must "
                            "speak and its pools be healthy");
        w.rec[0].alive = true;
        play();
        assert_string_equal(w.vm.status.owner.node, "node1");
}

static void nor_are_they_for_ever(void **state)
{
        (void)state;
        local_pools();
        running();
        halt();
        w.vm.meta.deleting = true;
        w.rec[0].alive = false;
        w.rec[0].node = NULL; /* gone for good, and the disks with it */
        play();
        assert_string_equal(w.vm.status.owner.node, "node2");
        assert_string_equal(w.vm.status.storage_node, "node1");
}

/* --- what is left over */

static void left_over_beyond_doubt(void **state)
{
        static const char *const HOMES[] = {"", "here", "there"};
        static const char *const IDS[] = {"", "mine", "other"};
        int stale = 0;

        (void)state;
        for (int i = 0; i < 3 * 3 * 3 * 3 * 4; i++) {
                struct kv kv = {"scratch", IDS[i % 3]};
                struct vm vm = {.status.pools = {&kv, 1}};
                const struct storage_left l = {.vm = &vm,
                                               .node = "here",
                                               .pool = "scratch",
                                               .identity = IDS[i / 3 % 3],
                                               .moves = i / 81 % 2,
                                               .domain = i / 162};
                vm.status.storage_node = HOMES[i / 9 % 3];
                vm.status.owner.node = HOMES[i / 27 % 3];
                bool elsewhere = !strcmp(vm.status.storage_node, "there") &&
                                 strcmp(vm.status.owner.node, "here") != 0;
                bool another = *kv.value && *l.identity && strcmp(kv.value, l.identity) != 0;

                assert_int_equal(storage_stale(&l), elsewhere && another && !l.moves && !l.domain);
                stale += storage_stale(&l);
        }
        assert_int_equal(stale, 4); /* two pairs of directories, two owners elsewhere or none */
        struct vm vm = {.status = {.storage_node = "there", .owner.node = "there"}};
        struct storage_left l = {.vm = &vm, .node = "here", .pool = "scratch", .identity = "mine"};
        assert_false(storage_stale(&l)); /* nothing is known of that pool */
        l.vm = NULL;
        assert_false(storage_stale(&l));
}

#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(the_first_owner_is_noted),
                T(a_shared_pool_binds_nobody),
                T(a_start_is_pinned),
                T(not_where_its_disks_are_not),
                T(its_node_is_gone),
                T(a_lost_guest_waits_for_its_disks),
                T(what_is_noted_later),
                T(it_says_that_it_cannot_move),
                T(snapshots_are_not_copied_along),
                T(a_move_takes_its_disks_along),
                T(the_newer_disks_are_waited_for),
                T(its_disks_are_removed_by_their_node),
                T(nor_are_they_for_ever),
                T(left_over_beyond_doubt),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
