/* The sums of what is promised, against a count from scratch; and reservations between workers. */
#include "tests/unit/migrator_scene.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <pthread.h>
#include <sched.h>

static int setup(void **state)
{
        (void)state;
        scene_make(NULL);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        world_stop(&scene);
        return 0;
}

static void vm(const char *name, const char *owner, int cores)
{
        put(scene.vms, vm_json(name, owner, cores, 0));
}

static void host(const char *node, const char *vm, const char *state, int cores)
{
        autobuf struct buf b = buf_new(4096);

        if (*state)
                domain_json(&b, vm, state, cores);
        put(scene.hosts, host_json(node, 0, *state ? 1 : 0, buf_str(&b)));
}

static void expect(const char *node, int guests, int cores)
{
        struct capacity_load p = promised(node, "nobody");

        if (p.guests != guests || p.cores != cores)
                fail_msg("%s: %lld guests and %lld cores are promised, want %d and %d", node,
                         (long long)p.guests, (long long)p.cores, guests, cores);
        if (!guests && !cores)
                assert_int_equal(p.memory, 0);
}

static void an_owner_is_promised_what_its_host_does_not_show(void **state)
{
        (void)state;
        expect("n1", 0, 0);
        vm("a", "", 2);
        expect("n1", 0, 0);
        vm("a", "n1", 2);
        expect("n1", 1, 2);
        host("n1", "", "", 0);
        expect("n1", 1, 2);
        host("n1", "a", "Running", 2);
        expect("n1", 0, 0);
        host("n1", "a", "Paused", 2);
        expect("n1", 0, 0);
        host("n1", "a", "Shutoff", 2); /* it will be started again */
        expect("n1", 1, 2);
        host("n1", "b", "Running", 2); /* another's */
        expect("n1", 1, 2);
        assert_int_equal(promised("n1", "a").guests, 0); /* to the others */
        assert_int_equal(promised("n1", "a").memory, 0);
        vm("a", "n2", 2);
        expect("n1", 0, 0);
        expect("n2", 1, 2);
        drop(scene.vms, vm_json("a", "n2", 2, 0));
        expect("n2", 0, 0);
        vm("b", "n1", 4);
        expect("n1", 0, 2); /* it runs with fewer than it has a right to */
        drop(scene.hosts, host_json("n1", 0, 0, ""));
        expect("n1", 1, 4);
}

static void a_target_is_promised_from_the_choice_to_the_end(void **state)
{
        static const char *const phases[] = {"Scheduled",  "Preflight", "Copying",
                                             "Confirming", "Switching", "Unknown"};

        (void)state;
        vm("a", "n1", 2);
        put(scene.migrations, migration_json("m", "a", "Pending", ""));
        expect("n2", 0, 0);
        for (size_t i = 0; i < countof(phases); i++) {
                put(scene.migrations, migration_json("m", "a", phases[i], "n2"));
                expect("n1", 1, 2);
                expect("n2", 1, 2);
        }
        host("n2", "a", "Incoming", 2);
        expect("n2", 0, 0);
        vm("a", "n2", 2); /* owner and target: once */
        host("n2", "", "", 0);
        expect("n2", 1, 2);
        expect("n1", 0, 0);
        put(scene.migrations, migration_json("m", "a", "Succeeded", "n2"));
        expect("n2", 1, 2);
        put(scene.migrations, migration_json("n", "a", "Copying", "n3"));
        expect("n3", 1, 2);
        put(scene.migrations, migration_json("n", "a", "Failed", "n3"));
        expect("n3", 0, 0);
}

static void a_migration_before_its_vm_is_seen(void **state)
{
        (void)state;
        put(scene.migrations, migration_json("m", "a", "Copying", "n2"));
        expect("n2", 0, 0);
        vm("a", "n1", 2);
        expect("n2", 1, 2);
        drop(scene.migrations, migration_json("m", "a", "Copying", "n2"));
        expect("n2", 0, 0);
}

static void a_granted_restart_is_promised_the_difference(void **state)
{
        (void)state;
        put(scene.vms, vm_json("a", "n1", 2, 5));
        expect("n1", 1, 5);
        host("n1", "a", "Running", 2);
        expect("n1", 0, 3);
        host("n1", "a", "Running", 5);
        expect("n1", 0, 0);
}

/* --- reservations */

static int reserve(const char *vm, const char *node, const char *rv, uint64_t seen)
{
        const struct vm_shape shape = {2, "", 64 * MIB, ""};
        char key[64], uid[64];
        struct meta written = {.uid = uid, .rv = rv};
        struct err e;

        snprintf(key, sizeof(key), "default/%s", vm);
        snprintf(uid, sizeof(uid), "u-%s", vm);
        return rooms_reserve(scene.rooms, node, seen, key, &shape, &written, &e);
}

static uint64_t look(const char *node)
{
        struct room_view v = rooms_look(scene.rooms, node, "default/nobody");

        kube_ref_put(v.host);
        return v.seen;
}

static const char *rv_of(const char *name)
{
        static char rv[24];
        char key[64];

        snprintf(key, sizeof(key), "default/%s", name);
        struct kube_ref *ref autoref = kube_store_get(scene.vms, key);
        snprintf(rv, sizeof(rv), "%s", ((const struct vm *)kube_ref_object(ref))->meta.rv);
        return rv;
}

static void a_reservation_stands_until_the_write_is_seen(void **state)
{
        (void)state;
        host("n1", "", "", 0);
        vm("a", "", 2);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0);
        expect("n1", 1, 2);
        assert_int_equal(promised("n1", "a").guests, 0);
        vm("b", "", 2); /* what others do is no sign */
        host("n1", "", "", 0);
        rooms_vm_changed(scene.rooms, "default/a"); /* nor a look at the same version */
        expect("n1", 1, 2);
        vm("a", "n1", 2);
        expect("n1", 1, 2);
        host("n1", "a", "Running", 2);
        expect("n1", 0, 0);
}

static void or_that_it_was_not_done(void **state)
{
        (void)state;
        host("n1", "", "", 0);
        vm("a", "", 2);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0);
        vm("a", "", 2); /* somebody else wrote to it: ours has met a conflict */
        expect("n1", 0, 0);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0); /* once more is once */
        expect("n1", 1, 2);
        drop(scene.vms, vm_json("a", "", 2, 0));
        expect("n1", 0, 0);
}

static void one_of_which_nothing_is_heard_ends(void **state)
{
        struct mono now = mono_now();

        (void)state;
        host("n1", "", "", 0);
        vm("a", "", 2);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0);
        rooms_tick(scene.rooms, mono_add_ms(now, ROOMS_RESERVED_MS - 2000));
        expect("n1", 1, 2);
        rooms_tick(scene.rooms, mono_add_ms(now, ROOMS_RESERVED_MS + 2000));
        expect("n1", 0, 0);
}

static void a_target_is_reserved_by_its_migration(void **state)
{
        const struct vm_shape shape = {2, "", 64 * MIB, ""};
        struct meta written = {.uid = "m-m"};
        char rv[24];
        struct err e;

        (void)state;
        host("n2", "", "", 0);
        vm("a", "n1", 2);
        put(scene.migrations, migration_json("m", "a", "Pending", ""));
        snprintf(rv, sizeof(rv), "%lld", (long long)scene_rv);
        written.rv = rv;
        assert_int_equal(
                rooms_reserve(scene.rooms, "n2", look("n2"), "default/a", &shape, &written, &e), 0);
        vm("a", "n1", 2); /* the VM is not what it waits for */
        expect("n2", 1, 2);
        put(scene.migrations, migration_json("m", "a", "Pending", ""));
        expect("n2", 0, 0);
}

/* A move counts there already, so the node is known; what room it has is not. */
static void nothing_is_promised_of_a_host_that_has_not_reported(void **state)
{
        (void)state;
        vm("a", "", 2);
        put(scene.vms, vm_json("b", "n1", 2, 0));
        expect("n1", 1, 2);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), -EAGAIN);
        host("n1", "", "", 0);
        assert_int_equal(reserve("a", "n1", rv_of("a"), look("n1")), 0);
}

/* What was looked at is what is decided by. */
static void a_node_that_has_changed_is_looked_at_again(void **state)
{
        (void)state;
        host("n1", "", "", 0);
        vm("a", "", 2);
        vm("b", "", 2);
        uint64_t seen = look("n1");
        assert_int_equal(reserve("a", "n1", rv_of("a"), seen), 0);
        assert_int_equal(reserve("b", "n1", rv_of("b"), seen), -EAGAIN);
        seen = look("n1");
        vm("c", "n1", 1);
        assert_int_equal(reserve("b", "n1", rv_of("b"), seen), -EAGAIN);
        seen = look("n1");
        host("n1", "x", "Running", 1);
        assert_int_equal(reserve("b", "n1", rv_of("b"), seen), -EAGAIN);
        seen = look("n1");
        vm("d", "n2", 1); /* another node's business */
        assert_int_equal(reserve("b", "n1", rv_of("b"), seen), 0);
        assert_int_equal(reserve("b", "unheard-of", rv_of("b"), 0), -EAGAIN);
}

/* --- against a count from scratch */

#define NODES 4
#define VMS   12

static void brute(const char *node, struct capacity_load *out)
{
        struct kube_refs vms autorefs = {0};
        struct kube_ref *h autoref = kube_store_get(scene.hosts, node);

        *out = (struct capacity_load){0};
        assert_int_equal(kube_store_all(scene.vms, &vms), 0);
        for (size_t i = 0; i < vms.n; i++) {
                const struct vm *v = kube_ref_object(vms.v[i]);
                struct kube_refs migs autorefs = {0};
                bool there = !strcmp(v->status.owner.node, node);
                const struct host_domain *d =
                        h ? host_domain_of(kube_ref_object(h), v->meta.uid) : NULL;
                char key[64];

                snprintf(key, sizeof(key), "default/%s", v->meta.name);
                assert_int_equal(kube_store_indexed(scene.migrations, key, &migs), 0);
                for (size_t k = 0; k < migs.n; k++) {
                        const struct migration *m = kube_ref_object(migs.v[k]);

                        there |= !mig_finished(m->status.phase) && m->status.phase != MIG_PENDING &&
                                 !strcmp(m->status.target, node);
                }
                if (!there)
                        continue;
                struct capacity_load want = load_of_shape(&v->status.running);
                struct capacity_load owed = load_owed(&want, d, &v->status.running);
                load_add(out, &owed);
        }
}

static void as_counted(void)
{
        char node[8];

        for (int n = 0; n < NODES; n++) {
                struct capacity_load want, got;

                snprintf(node, sizeof(node), "n%d", n);
                brute(node, &want);
                got = promised(node, "nobody");
                if (memcmp(&want, &got, sizeof(want)) != 0)
                        fail_msg("%s: %lld guests, %lld cores, want %lld, %lld", node,
                                 (long long)got.guests, (long long)got.cores,
                                 (long long)want.guests, (long long)want.cores);
        }
}

/* One change of anything. */
static void change(unsigned *seed, int first_vm, int vms)
{
        static const char *const phases[] = {"Pending", "Preflight", "Copying", "Succeeded"};
        static const char *const states[] = {"Running", "Shutoff", "Incoming", "Absent"};
        char name[24], m[24], node[8];
        int v = first_vm + rand_r(seed) % vms, n = rand_r(seed) % NODES;

        snprintf(name, sizeof(name), "v%d", v);
        snprintf(m, sizeof(m), "m%d-%d", v, rand_r(seed) % 2);
        snprintf(node, sizeof(node), "n%d", n);
        switch (rand_r(seed) % 8) {
        case 0:
                drop(scene.vms, vm_json(name, "", 1, 0));
                break;
        case 1:
                drop(scene.migrations, migration_json(m, name, "Pending", ""));
                break;
        case 2:
                drop(scene.hosts, host_json(node, 0, 0, ""));
                break;
        case 3:
        case 4:
                vm(name, rand_r(seed) % 3 ? node : "", 1 + rand_r(seed) % 4);
                break;
        case 5:
                put(scene.migrations, migration_json(m, name, phases[rand_r(seed) % 4], node));
                break;
        default: {
                autobuf struct buf b = buf_new(8192);

                for (int i = 0; i < 3; i++) {
                        snprintf(name, sizeof(name), "v%d", rand_r(seed) % VMS);
                        domain_json(&b, name, states[rand_r(seed) % 4], 1 + rand_r(seed) % 4);
                }
                put(scene.hosts, host_json(node, 0, 3, buf_str(&b)));
        }
        }
}

static void any_order_of_changes(void **state)
{
        unsigned seed = 7;

        (void)state;
        for (int i = 0; i < 5000; i++) {
                change(&seed, 0, VMS);
                as_counted();
        }
}

static void *changer(void *arg)
{
        int first = *(int *)arg;
        unsigned seed = (unsigned)first + 1;

        for (int i = 0; i < 1500; i++)
                change(&seed, first, 3);
        return NULL;
}

/* As many threads feed the stores as like: each change is counted, in whatever order. */
static void from_several_threads(void **state)
{
        pthread_t threads[4];
        int first[4];

        (void)state;
        for (int i = 0; i < 4; i++) {
                first[i] = 3 * i;
                assert_int_equal(pthread_create(&threads[i], NULL, changer, &first[i]), 0);
        }
        for (int i = 0; i < 4; i++)
                pthread_join(threads[i], NULL);
        as_counted();
}

/* --- many workers, few places: exactly so many get one */

#define PLACES  7
#define WORKERS 8
#define EACH    20

static _Atomic int granted, failures;

static void *worker(void *arg)
{
        int me = *(int *)arg;

        for (int i = 0; i < EACH; i++) {
                char name[24], key[48], rv[24];

                snprintf(name, sizeof(name), "w%d-%d", me, i);
                snprintf(key, sizeof(key), "default/%s", name);
                vm(name, "", 2);
                struct kube_ref *ref autoref = kube_store_get(scene.vms, key);
                snprintf(rv, sizeof(rv), "%s", ((const struct vm *)kube_ref_object(ref))->meta.rv);
                for (;;) {
                        struct room_view v = rooms_look(scene.rooms, "n1", key);

                        kube_ref_put(v.host);
                        if (v.promised.guests >= PLACES)
                                break;
                        sched_yield(); /* another's turn, between the look and the decision */
                        int rc = reserve(name, "n1", rv, v.seen);
                        if (rc == -EAGAIN)
                                continue;
                        failures += rc != 0; /* no assertion on a thread */
                        granted++;
                        vm(name, "n1", 2);
                        break;
                }
        }
        return NULL;
}

static void a_place_is_given_once(void **state)
{
        pthread_t threads[WORKERS];
        int me[WORKERS];

        (void)state;
        granted = failures = 0;
        host("n1", "", "", 0);
        for (int i = 0; i < WORKERS; i++) {
                me[i] = i;
                assert_int_equal(pthread_create(&threads[i], NULL, worker, &me[i]), 0);
        }
        for (int i = 0; i < WORKERS; i++)
                pthread_join(threads[i], NULL);
        assert_int_equal(failures, 0);
        assert_int_equal(granted, PLACES);
        expect("n1", PLACES, 2 * PLACES);
}

/* --- without memory nothing is given away by a sum that is not whole */

static void lost_memory_gives_nothing_away(void **state)
{
        struct json *v = vm_json("a", "n1", 2, 0), *h;
        autobuf struct buf b = buf_new(4096);
        int lost = 0;

        (void)state;
        domain_json(&b, "x", "Running", 1);
        h = host_json("n1", 0, 1, buf_str(&b));
        for (unsigned long n = 1; n; n++) {
                world_stop(&scene);
                scene_make(NULL);
                host("n1", "", "", 0);
                vm("b", "", 2);
                oom_arm(n);
                kube_store_event(scene.vms, KUBE_ADDED, v);
                kube_store_event(scene.hosts, KUBE_MODIFIED, h);
                bool failed = oom_disarm();
                if (promised("n1", "nobody").guests == 0 &&
                    kube_store_count(scene.vms) == 2) { /* it is there, and not counted */
                        assert_int_equal(reserve("b", "n1", rv_of("b"), look("n1")), -ENOMEM);
                        lost++;
                }
                rooms_tick(scene.rooms, mono_now());
                as_counted();
                assert_int_equal(reserve("b", "n1", rv_of("b"), look("n1")), 0);
                if (!failed)
                        break;
        }
        assert_true(lost > 0);
        json_free(v);
        json_free(h);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(an_owner_is_promised_what_its_host_does_not_show),
                T(a_target_is_promised_from_the_choice_to_the_end),
                T(a_migration_before_its_vm_is_seen),
                T(a_granted_restart_is_promised_the_difference),
                T(a_reservation_stands_until_the_write_is_seen),
                T(or_that_it_was_not_done),
                T(one_of_which_nothing_is_heard_ends),
                T(a_target_is_reserved_by_its_migration),
                T(nothing_is_promised_of_a_host_that_has_not_reported),
                T(a_node_that_has_changed_is_looked_at_again),
                T(any_order_of_changes),
                T(from_several_threads),
                T(a_place_is_given_once),
                T(lost_memory_gives_nothing_away),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
