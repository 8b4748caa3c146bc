/* Each rule of the preflight: a pair of hosts that passes, and the one thing that makes it refuse.
 */
#include "core/placement.h"
#include "core/preflight.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static struct scene {
        struct vm vm;
        struct vm_disk disk;
        struct vm_network network;
        struct host hosts[2];
        struct host_mount mounts[2];
        struct host_peer peers[2];
        struct condition ready[2];
        struct node nodes[2];
        struct kv labels[2][4];
        struct rec_node rec[2];
        const char *bridges[1], *models[1];
} s;

static void make(int i)
{
        static const char *const NAMES[] = {"here", "there"};
        struct host *h = &s.hosts[i];

        s.ready[i] = (struct condition){"Ready", "True", "", "", 0};
        s.mounts[i] = (struct host_mount){.pool = "default",
                                          .path = "/p",
                                          .reason = "",
                                          .identity = "nonce",
                                          .source = "nas:/x",
                                          .health = MOUNT_HEALTHY,
                                          .shared_with = &s.peers[i],
                                          .nshared_with = 1};
        s.peers[i] = (struct host_peer){
                .node = NAMES[!i], .state = SHARING_SHARED, .locks = true, .reason = ""};
        *h = (struct host){.meta.name = NAMES[i]};
        h->capacity.memory = (int64_t)8 << 30;
        h->capacity.cpus = 8;
        h->qemu_version = "8.2.1";
        h->virt_type = "kvm";
        h->migration_address = "10.0.0.1";
        h->libvirt_uri = "qemu+tls://x/system";
        h->cannot_receive = "";
        h->bridges = (struct strs){s.bridges, 1};
        h->cpu_models = (struct strs){s.models, 1};
        h->mounts = &s.mounts[i];
        h->nmounts = 1;
        h->conditions = (struct conditions){&s.ready[i], 1};
        s.labels[i][0] = (struct kv){DROVER_HYPERVISOR_LABEL, "true"};
        s.labels[i][1] = (struct kv){DROVER_POOL_LABEL_PREFIX "default", "true"};
        s.labels[i][2] = (struct kv){"cpu-model.drover.dev/EPYC", "true"};
        s.labels[i][3] = (struct kv){"zone", "a"};
        s.nodes[i] = (struct node){.meta.name = NAMES[i]};
        s.nodes[i].meta.labels = (struct kvs){s.labels[i], 4};
        s.rec[i] = (struct rec_node){NAMES[i], &s.nodes[i], h, true, false, {0}, 0};
}

static int setup(void **state)
{
        (void)state;
        s = (struct scene){.bridges = {"br0"}, .models = {"EPYC"}};
        make(0);
        make(1);
        s.disk = (struct vm_disk){
                .name = "root", .kind = DISK_BLANK, .image = "", .claim = "", .pool = "default"};
        s.network = (struct vm_network){"lan", "br0", "", "virtio"};
        s.vm.meta.name = "web";
        s.vm.meta.uid = "u1";
        s.vm.spec.disks = &s.disk;
        s.vm.spec.ndisks = 1;
        s.vm.spec.networks = &s.network;
        s.vm.spec.nnetworks = 1;
        s.vm.spec.placement.node_name = "";
        s.vm.status.has_running = true;
        s.vm.status.running = (struct vm_shape){1, "EPYC", (int64_t)1 << 30, ""};
        return 0;
}

static void refuses(enum preflight_rule want, bool passes_by_itself, const char *says)
{
        char message[PREFLIGHT_MESSAGE_MAX];
        bool transient;
        enum preflight_rule got = preflight(&s.vm, &s.rec[0], &s.rec[1], &transient, message);

        if (got != want || !strstr(message, says))
                fail_msg("rule %d (want %d): %s", (int)got, (int)want, message);
        assert_int_equal(transient, passes_by_itself);
        setup(NULL);
}

static void a_good_pair_passes(void **state)
{
        char message[PREFLIGHT_MESSAGE_MAX];
        bool transient;

        (void)state;
        assert_int_equal(preflight(&s.vm, &s.rec[0], &s.rec[1], &transient, message), PREFLIGHT_OK);
        assert_string_equal(message, "");
}

static void hosts_must_speak(void **state)
{
        (void)state;
        s.rec[0].alive = false;
        refuses(PREFLIGHT_SOURCE_SILENT, true, "here");
        s.rec[0].host = NULL;
        refuses(PREFLIGHT_SOURCE_SILENT, true, "here");
        s.rec[1].alive = false;
        refuses(PREFLIGHT_TARGET_SILENT, true, "there");
        s.ready[1].status = "False";
        s.ready[1].message = "libvirtd closed the connection";
        refuses(PREFLIGHT_TARGET_NOT_READY, true, "libvirtd closed");
        s.hosts[1].migration_address = "";
        refuses(PREFLIGHT_NO_ADDRESS, true, "there");
        s.hosts[1].libvirt_uri = "";
        refuses(PREFLIGHT_NO_ADDRESS, true, "there");
        s.hosts[0].resolve_ms = PREFLIGHT_RESOLVE_MS;
        refuses(PREFLIGHT_NAMES_SLOW, false, "here: looking up a node's name takes 50 ms");
        s.hosts[1].resolve_ms = 4000;
        refuses(PREFLIGHT_NAMES_SLOW, false, "there: looking up a node's name takes 4000 ms");
}

static void who_cannot_receive_is_no_target(void **state)
{
        (void)state;
        s.hosts[1].cannot_receive = "nothing listens on port 16514";
        refuses(PREFLIGHT_NO_PORT, true, "there: nothing listens on port 16514");
        s.hosts[0].cannot_receive = "all ports are taken"; /* it only sends */
        refuses(PREFLIGHT_OK, false, "");
}

static void the_machine_type_must_be_known(void **state)
{
        static const char *types[] = {"pc-q35-7.2", "pc-q35-8.1", "q35"};
        struct host_domain d = {.uid = "u1", .machine = "pc-q35-8.2"};

        (void)state;
        s.hosts[0].domains = &d;
        s.hosts[0].ndomains = 1;
        refuses(PREFLIGHT_OK, false, ""); /* the target does not tell: libvirt will */
        for (size_t n = 0; n <= 3; n++) {
                d.machine = n < 2 ? "pc-q35-8.2" : n == 2 ? "pc-q35-8.1" : "";
                s.hosts[0].domains = &d;
                s.hosts[0].ndomains = 1;
                s.hosts[1].machine_types = (struct strs){types, 3};
                if (n < 2)
                        refuses(PREFLIGHT_MACHINE, false,
                                "there: its QEMU knows no machine type "
                                "pc-q35-8.2");
                else
                        refuses(PREFLIGHT_OK, false, "");
        }
        d = (struct host_domain){.uid = "former", .machine = "pc-q35-9.0"}; /* another guest's */
        s.hosts[0].domains = &d;
        s.hosts[0].ndomains = 1;
        s.hosts[1].machine_types = (struct strs){types, 3};
        refuses(PREFLIGHT_OK, false, "");
}

static void the_machine_must_fit(void **state)
{
        (void)state;
        s.hosts[1].cpu_models.n = 0;
        refuses(PREFLIGHT_CPU_MODEL, false, "EPYC");
        s.network.bridge = "br-lan";
        refuses(PREFLIGHT_BRIDGE, false, "br-lan");
        s.hosts[1].used.memory = ((int64_t)7 << 30) + 1;
        refuses(PREFLIGHT_ROOM, false, "there: 1.11 GiB of memory are needed");
        s.hosts[1].used.cpus = 8;
        refuses(PREFLIGHT_ROOM, false, "there: 1 CPUs are asked for, 0 of 8 are free");
        s.rec[1].promised.cores = 8;
        refuses(PREFLIGHT_ROOM, false, "there: 1 CPUs are asked for, 0 of 8 are free");
        s.hosts[1].capacity.slots = 3;
        s.hosts[1].used.domains = 2;
        s.rec[1].promised.guests = 1;
        refuses(PREFLIGHT_ROOM, false, "there: all of its 3 VM slots are taken");
        s.hosts[1].virt_type = "qemu";
        refuses(PREFLIGHT_VIRT_TYPE, false, "kvm");
        s.hosts[1].qemu_version = "8.2.0";
        refuses(PREFLIGHT_QEMU_OLDER, false, "8.2.0 is older than 8.2.1");
        s.hosts[0].qemu_version = "10.0.0";
        s.hosts[1].qemu_version = "9.2.4";
        refuses(PREFLIGHT_QEMU_OLDER, false, "9.2.4");
}

static void storage_must_be_the_same(void **state)
{
        (void)state;
        s.hosts[1].nmounts = 0;
        refuses(PREFLIGHT_POOL_MISSING, false, "default");
        s.mounts[1].health = MOUNT_UNHEALTHY;
        s.mounts[1].reason = "no answer within 3000 ms";
        refuses(PREFLIGHT_POOL_UNHEALTHY, true, "there: storage pool default at /p is unhealthy");
        s.mounts[0].health = MOUNT_UNKNOWN;
        refuses(PREFLIGHT_POOL_UNHEALTHY, true, "here");
        s.mounts[1].identity = "another";
        refuses(PREFLIGHT_POOL_NOT_SHARED, false, "not the same directory");
        s.mounts[0].identity = s.mounts[1].identity = "";
        refuses(PREFLIGHT_POOL_UNPROVEN, true, "has not found its identity");
        s.vm.spec.migration.handover = HANDOVER_FAST;
        s.peers[1].locks = false;
        refuses(PREFLIGHT_FAST_UNPROVEN, false, "lock arbitration");
}

/* Rules 10 and 20: a disk in a pool that is the source's own stays, or is copied into another. */
static void local_disks_stay_or_are_copied(void **state)
{
        static const struct {
                enum storage_move how;
                enum disk_kind kind;
                bool full, at_target;
                int64_t size, free;
                enum preflight_rule rule;
                const char *says;
        } ROWS[] = {
                {STORAGE_SHARED, DISK_BLANK, false, true, 1, 10, PREFLIGHT_LOCAL_DISK,
                 "disk root lies in pool default, which is local to here"},
                {STORAGE_COPY, DISK_BLANK, false, true, 10, 10, PREFLIGHT_OK, ""},
                {STORAGE_COPY, DISK_BLANK, false, true, 11, 10, PREFLIGHT_COPY,
                 "there: its pool default has 0 MiB free"},
                {STORAGE_COPY, DISK_BLANK, false, false, 10, 10, PREFLIGHT_COPY,
                 "there: has no local pool default"},
                {STORAGE_COPY, DISK_IMAGE, true, true, 10, 10, PREFLIGHT_OK, ""},
                {STORAGE_COPY, DISK_IMAGE, false, true, 10, 10, PREFLIGHT_LOCAL_DISK,
                 "clone: Full"},
        };

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                s.vm.spec.migration.storage = ROWS[i].how;
                s.disk.kind = ROWS[i].kind;
                s.disk.full = ROWS[i].full;
                s.disk.size = ROWS[i].size;
                s.mounts[0].local = true;
                s.mounts[1].local = ROWS[i].at_target;
                s.mounts[1].free_bytes = ROWS[i].free;
                s.mounts[1].identity = "another";
                s.mounts[0].nshared_with = s.mounts[1].nshared_with = 0;
                refuses(ROWS[i].rule, false, ROWS[i].says);
        }
        s.vm.spec.migration.storage = STORAGE_COPY; /* from a shared pool into a local one: no */
        s.mounts[1].local = true;
        s.mounts[1].identity = "another";
        refuses(PREFLIGHT_POOL_NOT_SHARED, false, "not the same directory");
        assert_int_equal(PREFLIGHT_LOCAL_DISK, 10);
        assert_int_equal(PREFLIGHT_COPY, 20);
}

/* Rules 10 and 21: by what the source's agent says of its guest. */
static void claims_must_be_shared(void **state)
{
        static const struct {
                bool told;
                enum sharing claims;
                const char *reason;
                enum preflight_rule rule;
                const char *says;
        } t[] = {
                {false, SHARING_UNKNOWN, "", PREFLIGHT_CLAIM_UNKNOWN,
                 "disk root is a PersistentVolumeClaim, of which the agent has not said"},
                {true, SHARING_UNKNOWN, "", PREFLIGHT_CLAIM_UNKNOWN, "has not said"},
                {true, SHARING_UNKNOWN, "claim c is bound to no volume", PREFLIGHT_CLAIM_UNKNOWN,
                 "bound to no volume"},
                {true, SHARING_NOT_SHARED, "disk root: claim c is ReadWriteOnce",
                 PREFLIGHT_LOCAL_DISK, "claim c is ReadWriteOnce"},
                {true, SHARING_SHARED, "", PREFLIGHT_OK, ""},
        };
        struct host_domain d = {.uid = "u1", .machine = ""};

        (void)state;
        for (size_t i = 0; i < sizeof(t) / sizeof(*t); i++) {
                d.claims = t[i].claims;
                d.claims_reason = t[i].reason;
                s.disk.kind = DISK_PVC;
                s.disk.pool = "nowhere"; /* it is in none */
                s.hosts[0].domains = &d;
                s.hosts[0].ndomains = t[i].told;
                refuses(t[i].rule, t[i].rule == PREFLIGHT_CLAIM_UNKNOWN, t[i].says);
        }
        s.disk.kind = DISK_PVC;
        s.hosts[0].domains = &d;
        s.hosts[0].ndomains = 1;
        s.vm.spec.migration.handover = HANDOVER_FAST; /* nobody has tried its locks */
        refuses(PREFLIGHT_FAST_UNPROVEN, false, "which a claim has not (disk root)");
        assert_int_equal(PREFLIGHT_LOCAL_DISK, 10);
        assert_int_equal(PREFLIGHT_CLAIM_UNKNOWN, 21);
}

/* Rule 19, and rule 9 where one of the two has refuted it: each in both directions. */
static void sharedness_must_be_proven(void **state)
{
        (void)state;
        for (int i = 0; i < 2; i++) {
                s.peers[i].state = SHARING_UNKNOWN;
                s.peers[i].reason = "no new word of it arrives here";
                refuses(PREFLIGHT_POOL_UNPROVEN, true,
                        i ? "storage pool default is not proven to be shared between there and "
                            "here: there says of here: no new word of it arrives here"
                          : "here says of there: no new word");
                s.mounts[i].nshared_with = 0;
                refuses(PREFLIGHT_POOL_UNPROVEN, true, "no word of it was ever here");
                s.peers[i].state = SHARING_NOT_SHARED;
                s.peers[i].reason = "a copy";
                refuses(PREFLIGHT_POOL_NOT_SHARED, false, "a copy");
        }
        assert_int_equal(PREFLIGHT_POOL_UNPROVEN, 19);
}

static void the_placement_must_allow_it(void **state)
{
        (void)state;
        s.vm.spec.placement.node_name = "here";
        refuses(PREFLIGHT_PLACEMENT, false, "there");
        s.rec[1].node = NULL;
        refuses(PREFLIGHT_PLACEMENT, false, "no such Node");
}

/* Those that the placement allows first; the source is no candidate; a bound on their number. */
static void all_candidates(void **state)
{
        static struct rec_node many[40];
        static char names[40][8];
        struct arena *a = arena_new(1 << 20);
        size_t n, more;

        (void)state;
        s.vm.spec.placement.node_name = "n39";
        for (int i = 0; i < 40; i++) {
                many[i] = s.rec[1];
                snprintf(names[i], sizeof(names[i]), "n%02d", i);
                many[i].name = names[i];
                struct node *node = arena_alloc(a, sizeof(*node));
                *node = s.nodes[1];
                node->meta.name = names[i];
                many[i].node = node;
        }
        many[7] = s.rec[0];
        struct verdict *v = preflight_all(a, &s.vm, &s.rec[0], many, 40, &n, &more);
        assert_non_null(v);
        assert_int_equal(n, PREFLIGHT_VERDICTS_MAX);
        assert_int_equal(n + more, 39);
        assert_string_equal(v[0].node, "n39");
        assert_int_equal(v[0].rule, PREFLIGHT_OK);
        for (size_t i = 1; i < n; i++) {
                assert_int_equal(v[i].rule, PREFLIGHT_PLACEMENT);
                assert_string_not_equal(v[i].node, "here");
        }
        arena_free(a);
}

/* However many are refused: that one would do is not left out. */
static void who_fits_is_told_first(void **state)
{
        static struct rec_node many[40];
        static char names[40][8];
        struct arena *a = arena_new(1 << 20);
        size_t n, more;

        (void)state;
        for (int i = 0; i < 40; i++) {
                many[i] = s.rec[1];
                many[i].alive = i == 30;
                snprintf(names[i], sizeof(names[i]), "n%02d", i);
                many[i].name = names[i];
        }
        struct verdict *v = preflight_all(a, &s.vm, &s.rec[0], many, 40, &n, &more);
        assert_non_null(v);
        assert_int_equal(n, PREFLIGHT_VERDICTS_MAX);
        assert_int_equal(more, 40 - PREFLIGHT_VERDICTS_MAX);
        assert_string_equal(v[0].node, "n30");
        assert_int_equal(v[0].rule, PREFLIGHT_OK);
        assert_int_equal(v[1].rule, PREFLIGHT_TARGET_SILENT);
        assert_non_null(strstr(v[1].message, "silent"));
        arena_free(a);
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
        const struct CMUnitTest tests[] = {
                T(a_good_pair_passes),
                T(hosts_must_speak),
                T(the_machine_must_fit),
                T(the_machine_type_must_be_known),
                T(who_cannot_receive_is_no_target),
                T(storage_must_be_the_same),
                T(local_disks_stay_or_are_copied),
                T(claims_must_be_shared),
                T(sharedness_must_be_proven),
                T(the_placement_must_allow_it),
                T(all_candidates),
                T(who_fits_is_told_first),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
