/*
 * For the tests of reconcile(): a small world of one VM and two nodes, on virtual time, that the
 * tests change and the actions are played back into.
 */
#ifndef DROVER_TESTS_UNIT_RECONCILE_SCENE_H
#define DROVER_TESTS_UNIT_RECONCILE_SCENE_H

#include "core/placement.h"
#include "core/preflight.h"
#include "core/reconcile.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MAX 16

static struct world {
        struct arena *a;
        struct vm vm;
        struct vm_disk disk;
        struct kv selector;
        struct pod pods[MAX];
        const struct pod *podp[MAX];
        size_t npods;
        struct migration migs[MAX];
        const struct migration *migp[MAX];
        size_t nmigs;
        struct node nodes[2];
        struct kv labels[2][3];
        struct host hosts[2];
        struct host_domain domains[2];
        struct host_mount mounts[2];
        struct host_peer peers[2];
        struct condition ready[2];
        struct rec_node rec[2];
        struct permits permits;
        const struct rec_node *candidates; /* none: the two */
        size_t ncandidates;
        int64_t now;
        bool kubelet_down; /* no pod becomes Ready any more */
        const char *claim_taken;
        const char *snapshot;
        struct rec_output out;
} w;

static const char *const names[] = {"node1", "node2"};

static inline struct meta named(const char *name)
{
        return (struct meta){.name = name, .ns = "default", .uid = name, .rv = "1"};
}

static inline void make_host(int i)
{
        struct host *h = &w.hosts[i];

        w.mounts[i] = (struct host_mount){.pool = "default",
                                          .verdict = "Healthy",
                                          .path = "/p",
                                          .reason = "",
                                          .identity = "same",
                                          .source = "nas:/x",
                                          .health = MOUNT_HEALTHY,
                                          .shared_with = &w.peers[i],
                                          .nshared_with = 1};
        w.peers[i] = (struct host_peer){
                .node = names[!i], .state = SHARING_SHARED, .locks = true, .reason = ""};
        w.ready[i] = (struct condition){"Ready", "True", "", "", 0};
        *h = (struct host){.meta = named(names[i])};
        h->capacity.memory = (int64_t)8 << 30;
        h->capacity.cpus = 8;
        h->qemu_version = "7.2.0";
        h->virt_type = "qemu";
        h->migration_address = "10.0.0.1";
        h->libvirt_uri = "qemu+tls://x/system";
        h->cannot_receive = "";
        h->mounts = &w.mounts[i];
        h->nmounts = 1;
        h->conditions = (struct conditions){&w.ready[i], 1};
}

static inline void make_node(int i)
{
        w.labels[i][0] = (struct kv){DROVER_HYPERVISOR_LABEL, "true"};
        w.labels[i][1] = (struct kv){DROVER_POOL_LABEL_PREFIX "default", "true"};
        w.labels[i][2] = (struct kv){"zone", i ? "b" : "a"};
        w.nodes[i] = (struct node){.meta = named(names[i])};
        w.nodes[i].meta.labels = (struct kvs){w.labels[i], 3};
        w.rec[i] = (struct rec_node){names[i], &w.nodes[i], &w.hosts[i], true, false, {0}, 0};
}

static inline int setup(void **state)
{
        static const char *finalizers[] = {DROVER_FINALIZER};
        struct vm *vm = &w.vm;

        (void)state;
        w = (struct world){.a = arena_new((size_t)16 << 20), .now = 1000000000};
        *vm = (struct vm){.meta = named("demo")};
        vm->meta.finalizers = (struct strs){finalizers, 1};
        vm->spec.run = RUN_ALWAYS;
        w.disk = (struct vm_disk){
                .name = "root", .kind = DISK_BLANK, .image = "", .claim = "", .pool = "default"};
        vm->spec.disks = &w.disk;
        vm->spec.ndisks = 1;
        vm->spec.restarted_at = "";
        vm->spec.restore = vm->status.restored = (struct vm_restore){"", ""};
        vm->spec.shape = (struct vm_shape){1, "", (int64_t)256 << 20, ""};
        vm->spec.placement.node_name = "";
        vm->spec.placement.affinity_json = vm->spec.placement.tolerations_json =
                vm->spec.placement.spread_json = vm->spec.placement.priority_class = "";
        vm->status.wish.placement = "";
        vm->status.owner.node = vm->status.pod_name = vm->status.restarted_at = "";
        vm->status.storage_node = "";
        vm->status.running = (struct vm_shape){0, "", 0, ""};
        vm->status.reason = vm->status.migration.name = vm->status.migration.phase =
                vm->status.migration.target = "";
        w.permits = (struct permits){true, true, 0, 0};
        for (int i = 0; i < 2; i++) {
                make_host(i);
                make_node(i);
        }
        return w.a ? 0 : -1;
}

static inline int teardown(void **state)
{
        (void)state;
        arena_free(w.a);
        return 0;
}

/* The handle of a guest that runs on its node becomes Ready. */
static inline void kubelets(void)
{
        static struct condition is_ready = {"Ready", "True", "", "", 0};

        for (size_t i = 0; !w.kubelet_down && i < w.npods; i++)
                for (int n = 0; n < 2; n++)
                        if (!strcmp(w.pods[i].node, names[n]) && w.hosts[n].ndomains &&
                            w.domains[n].state == DOMAIN_RUNNING &&
                            w.domains[n].epoch == w.pods[i].epoch)
                                w.pods[i].conditions = (struct conditions){&is_ready, 1};
}

static inline void run(void)
{
        struct rec_input in = {.vm = &w.vm,
                               .pods = w.podp,
                               .npods = w.npods,
                               .migrations = w.migp,
                               .nmigrations = w.nmigs,
                               .nodes = w.rec,
                               .nnodes = 2,
                               .candidates = w.ncandidates ? w.candidates : w.rec,
                               .ncandidates = w.ncandidates ? w.ncandidates : 2,
                               .permits = w.permits,
                               .claim_taken = w.claim_taken,
                               .snapshot = w.snapshot,
                               .now_us = w.now};

        kubelets();
        for (size_t i = 0; i < w.npods; i++)
                w.podp[i] = &w.pods[i];
        for (size_t i = 0; i < w.nmigs; i++)
                w.migp[i] = &w.migs[i];
        assert_int_equal(reconcile(w.a, &in, &w.out), 0);
        if (w.out.defect)
                fail_msg("%s", w.out.defect);
}

static inline const struct rec_action *find(enum rec_kind kind, const char *name)
{
        for (size_t i = 0; i < w.out.n; i++)
                if (w.out.v[i].kind == kind && (!name || !strcmp(w.out.v[i].name, name)))
                        return &w.out.v[i];
        return NULL;
}

static inline struct pod *add_pod(const struct rec_action *act)
{
        struct pod *p = &w.pods[w.npods++];
        static char hash[MAX][17];

        placement_hash(&w.vm, hash[w.npods]);
        *p = (struct pod){.meta = named(act->name),
                          .node = "",
                          .phase = POD_PENDING,
                          .vm = "demo",
                          .vm_uid = "demo",
                          .migration = "",
                          .placement = hash[w.npods],
                          .fit = "",
                          .epoch = act->epoch};
        return p;
}

static inline void drop_pod(const char *name)
{
        for (size_t i = 0; i < w.npods; i++)
                if (!strcmp(w.pods[i].meta.name, name)) {
                        w.pods[i] = w.pods[--w.npods];
                        return;
                }
}

static inline void add_migration(const char *name)
{
        struct migration *m = &w.migs[w.nmigs++];

        static const char *finalizers[] = {DROVER_FINALIZER};

        *m = (struct migration){.meta = named(name)};
        m->meta.finalizers = (struct strs){finalizers, 1};
        m->meta.created_us = w.now;
        m->spec.vm = "demo";
        m->spec.target_node = "";
        m->status.source = m->status.target = m->status.vm_uid = m->status.placement =
                m->status.pod = m->status.message = m->status.transfer.message = "";
}

/* Carries everything out, as the shell does, and decides again until nothing is new. */
static inline void play(void)
{
        for (int round = 0; round < 8; round++) {
                bool changed = false;

                run();
                for (size_t i = 0; i < w.out.n; i++) {
                        const struct rec_action *act = &w.out.v[i];

                        switch (act->kind) {
                        case REC_CREATE_POD:
                                add_pod(act);
                                changed = true;
                                break;
                        case REC_DELETE_POD:
                                drop_pod(act->name);
                                changed = true;
                                break;
                        case REC_CREATE_MIGRATION:
                                add_migration(act->name);
                                w.migs[w.nmigs - 1].spec.reason = act->reason;
                                changed = true;
                                break;
                        case REC_CANCEL_MIGRATION:
                                for (size_t k = 0; k < w.nmigs; k++)
                                        if (!strcmp(w.migs[k].meta.name, act->name))
                                                w.migs[k].spec.cancel = true;
                                break;
                        case REC_HOLD_MIGRATION:
                        case REC_FREE_MIGRATION:
                                for (size_t k = 0; k < w.nmigs; k++)
                                        if (!strcmp(w.migs[k].meta.name, act->name))
                                                w.migs[k].meta.finalizers.n =
                                                        act->kind == REC_HOLD_MIGRATION;
                                changed = true;
                                break;
                        case REC_SET_MIGRATION:
                                for (size_t k = 0; k < w.nmigs; k++)
                                        if (!strcmp(w.migs[k].meta.name, act->name)) {
                                                changed |= w.migs[k].status.phase !=
                                                           act->migration->status.phase;
                                                w.migs[k].status = act->migration->status;
                                        }
                                break;
                        case REC_SET_VM:
                                changed |= strcmp(w.vm.status.owner.node,
                                                  act->vm->status.owner.node) != 0;
                                w.vm.status = act->vm->status;
                                break;
                        default:
                                break;
                        }
                }
                if (!changed)
                        return;
        }
        fail_msg("the decisions do not come to rest");
}

static inline struct pod *pod(const char *name)
{
        for (size_t i = 0; i < w.npods; i++)
                if (!strcmp(w.pods[i].meta.name, name))
                        return &w.pods[i];
        return NULL;
}

static inline struct migration *last(void)
{
        assert_true(w.nmigs > 0);
        return &w.migs[w.nmigs - 1];
}

static inline void domain(int i, int64_t epoch, enum domain_state state)
{
        w.domains[i] = (struct host_domain){.uid = "demo",
                                            .ns = "default",
                                            .name = "demo",
                                            .epoch = epoch,
                                            .migration = i && w.nmigs ? last()->meta.uid : "",
                                            .state = state,
                                            .reason = "",
                                            .restarted_at = "",
                                            .restored = "",
                                            .machine = "",
                                            .claims_reason = ""};
        w.hosts[i].domains = &w.domains[i];
        w.hosts[i].ndomains = epoch ? 1 : 0;
}

/* The VM runs on node1 at epoch 1. */
static inline void running(void)
{
        play();
        pod("drover-vm-demo-e1")->node = "node1";
        play();
        domain(0, 1, DOMAIN_RUNNING);
        play();
        assert_int_equal(w.vm.status.phase, VM_RUNNING);
}

static inline void want_zone(const char *zone)
{
        w.selector = (struct kv){"zone", zone};
        w.vm.spec.placement.node_selector = (struct kvs){&w.selector, 1};
        w.vm.meta.generation++;
}

/* The wish has stood long enough. */
static inline void settle(void)
{
        w.now += REC_SETTLE_MS * INT64_C(1000);
        play();
}

/* A move to node2 is being copied. */
static inline void copying(void)
{
        running();
        want_zone("b");
        play();
        assert_int_equal(w.nmigs, 1);
        assert_non_null(pod("drover-move-demo-1-1"));
        pod("drover-move-demo-1-1")->node = "node2";
        play();
        assert_int_equal(last()->status.phase, MIG_COPYING);
}

#endif
