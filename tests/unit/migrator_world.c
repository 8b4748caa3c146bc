/* What a new leader knows before it decides anything. */
#include "kube/io.h"
#include "migrator/gather.h"
#include "tests/fake/apiserver.h"
#include "tests/unit/migrator_scene.h"

#include <errno.h>

static struct {
        struct fake *server;
        struct kube_client *client;
        char vms[8192], migrations[8192]; /* elements of the lists */
        int status;                       /* of all answers, when not 0 */
} s;

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        autobuf struct buf b = buf_new(65536);

        (void)ctx;
        if (s.status) {
                fake_answer(c, s.status, "", "{\"kind\":\"Status\",\"message\":\"no\"}");
                return;
        }
        buf_addf(&b, "{\"metadata\":{\"resourceVersion\":\"90\"},\"items\":[%s]}",
                 strstr(r->target, "virtualmachinemigrations") ? s.migrations : s.vms);
        fake_answer(c, 200, "", buf_str(&b));
}

static int setup(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        *s.vms = *s.migrations = 0;
        s.status = 0;
        s.server = fake_start(script, NULL);
        cfg.server = fake_url(s.server);
        assert_int_equal(kube_client_new(&cfg, "test", &s.client, &e), 0);
        s.client->tune.backoff_min_ms = 1;
        s.client->tune.request_ms = 2000;
        scene_make(s.client);
        return 0;
}

static int teardown(void **state)
{
        (void)state;
        world_stop(&scene);
        kube_client_free(s.client);
        fake_stop(s.server);
        return 0;
}

/* Takes j. */
static void list(char *where, struct json *j)
{
        autobuf struct buf b = buf_new(8192);

        assert_int_equal(json_print(j, &b), 0);
        snprintf(where + strlen(where), 8192 - strlen(where), "%s%s", *where ? "," : "",
                 buf_str(&b));
        json_free(j);
}

/* The watches have shown the VM when nobody owned it; its owner was the last thing written. */
static void the_last_leaders_promises_count(void **state)
{
        char key[KUBE_KEY_MAX];
        struct err e;

        (void)state;
        put(scene.hosts, host_json("n1", 0, 0, ""));
        put(scene.hosts, host_json("n2", 0, 0, ""));
        put(scene.vms, vm_json("a", "", 2, 0));
        assert_int_equal(promised("n1", "nobody").guests, 0);
        list(s.vms, vm_json("a", "n1", 2, 0));
        list(s.vms, vm_json("b", "n1", 3, 0));
        list(s.migrations, migration_json("m", "b", "Copying", "n2"));
        while (kube_queue_take(scene.queue, key, 0))
                kube_queue_done(scene.queue, key);
        if (world_take_over(&scene, &e) < 0)
                fail_msg("%s", e.msg);
        assert_int_equal(promised("n1", "nobody").guests, 2);
        assert_int_equal(promised("n1", "nobody").cores, 5);
        assert_int_equal(promised("n2", "nobody").cores, 3);
        assert_int_equal(kube_queue_len(scene.queue), 2);
}

static void without_a_list_nothing_is_taken_over(void **state)
{
        struct err e;

        (void)state;
        s.status = 500;
        assert_int_equal(world_take_over(&scene, &e), -EBUSY);
}

/* --- who is woken */

/* Empties the queue; how many were in it, and whether "default/vm" was. */
static size_t woken(const char *vm, bool *found)
{
        char key[KUBE_KEY_MAX], wanted[KUBE_KEY_MAX];
        size_t n = 0;

        snprintf(wanted, sizeof(wanted), "default/%s", vm);
        *found = false;
        while (kube_queue_take(scene.queue, key, 0)) {
                *found |= !strcmp(key, wanted);
                kube_queue_done(scene.queue, key);
                n++;
        }
        return n;
}

static void only_woken(const char *vm)
{
        bool found;

        assert_int_equal(woken(vm, &found), 1);
        assert_true(found);
}

static void nobody_woken(void)
{
        bool found;

        assert_int_equal(woken("", &found), 0);
}

static struct json *node_json(const char *name, int label)
{
        return object("{'metadata':{'name':'%s','uid':'n-%s','resourceVersion':'%lld',"
                      "'labels':{'x':'%d'}}}",
                      name, name, (long long)next_rv(), label);
}

/* a runs on n1, b moves from n1 to n2, c waits for any node; n2 and n3 own nothing. */
static void three_vms(void)
{
        bool found;

        put(scene.nodes, node_json("n1", 0));
        put(scene.nodes, node_json("n2", 0));
        put(scene.hosts, host_json("n2", 0, 0, ""));
        put(scene.vms, vm_json("a", "n1", 1, 0));
        put(scene.vms, vm_json("b", "n1", 1, 0));
        put(scene.vms, vm_json("c", "n4", 1, 0));
        put(scene.migrations, migration_json("mb", "b", "Preflight", "n2"));
        put(scene.migrations, migration_json("mc", "c", "Pending", ""));
        world_tick(&scene, (struct mono){1});
        (void)woken("", &found);
}

static void a_node_wakes_what_moves_to_it(void **state)
{
        struct json *h;

        (void)state;
        three_vms();
        put(scene.nodes, node_json("n2", 1));
        only_woken("b");
        h = host_json("n2", 0, 0, "");
        json_set(json_mut(h, "status"), "conditions", json_of("[]"));
        put(scene.hosts, h);
        only_woken("b");
        put(scene.hosts, host_json("n2", 0, 0, ""));
        only_woken("b");
        put(scene.hosts, host_json("n2", 0, 1, "")); /* how much is used is no news to a guest */
        nobody_woken();
        drop(scene.nodes, node_json("n2", 1));
        only_woken("b");
}

static void beat(const char *lease, struct mono now)
{
        struct json *j = object("{'metadata':{'name':'%s'},'spec':{'renewTime':'%lld'}}", lease,
                                (long long)next_rv());

        heartbeats_take(scene.heartbeats, KUBE_MODIFIED, j, now);
        json_free(j);
}

/* The agent of a target falls silent: its move is looked at, and nobody else. */
static void silence_wakes_what_moves_there(void **state)
{
        struct mono now = mono_add_ms((struct mono){1}, 1000);

        (void)state;
        three_vms();
        scene.resynced = scene.woken = mono_add_ms(now, 3600000);
        beat("drover-node-n2", now);
        world_tick(&scene, now);
        only_woken("b");
        for (int second = 0; second < 14; second++) {
                now = mono_add_ms(now, 1000);
                beat("drover-migrator", now);
                world_tick(&scene, now);
                nobody_woken();
        }
        now = mono_add_ms(now, 1000);
        beat("drover-migrator", now);
        world_tick(&scene, now);
        only_woken("b");
}

static struct json *pending_json(const char *vm, bool permit, int position)
{
        return object("{'metadata':{'name':'m%s','namespace':'default','uid':'m-%s',"
                      "'resourceVersion':'%lld'},'spec':{'vm':'%s'},'status':{'phase':'Pending',"
                      "'source':'n1','permit':%s,'queuePosition':%d,'vmUID':'u-%s'}}",
                      vm, vm, (long long)next_rv(), vm, permit ? "true" : "false", position, vm);
}

/* Who gives its permit back has not ended, and yet the others may go on. */
static void a_permit_given_back_wakes_who_waits(void **state)
{
        bool found;

        (void)state;
        put(scene.migrations, pending_json("a", true, 0));
        put(scene.migrations, pending_json("b", false, 1));
        (void)woken("", &found);
        put(scene.migrations, pending_json("a", true, 0));
        only_woken("a");
        put(scene.migrations, pending_json("a", false, 0));
        assert_int_equal(woken("b", &found), 2);
        assert_true(found);
        put(scene.migrations, pending_json("a", false, 2)); /* and who queues moves the others */
        assert_int_equal(woken("b", &found), 2);
}

static void put_domain(const char *more)
{
        struct json *h = host_json("n1", 0, 0, "");

        json_set(json_mut(h, "status"), "domains",
                 object("[{'uid':'u-a','namespace':'default','name':'a','epoch':1,"
                        "'state':'Running'%s}]",
                        more));
        put(scene.hosts, h);
}

/* Each word about a guest by which what is said of its VM may be another one. */
static void what_is_told_of_a_guest_wakes_its_vm(void **state)
{
        static const char *const WORDS[] = {
                ",'claims':'Shared'",
                ",'claims':'NotShared'",
                ",'claims':'NotShared','claimsReason':'disk data: claim c is ReadWriteOnce'",
                ",'restored':'1'",
                ",'restartedAt':'now'",
                ",'reason':'IOError'",
                ",'retries':3",
                ",'addresses':['10.0.0.1']",
                "",
        };
        bool found;

        (void)state;
        three_vms();
        put_domain("");
        (void)woken("", &found);
        for (size_t i = 0; i < countof(WORDS); i++) {
                put_domain(WORDS[i]);
                assert_true(woken("a", &found) > 0);
                assert_true(found);
                put_domain(WORDS[i]);
                nobody_woken();
        }
}

/* The VM's name in the queue, and what is gathered of the snapshots that its disks have. */
static void snapshot_told(const char *words, const char *in_disks)
{
        const struct permit_limits limits = {0};
        struct gathered g;
        struct err e;
        bool found;

        (void)woken("", &found);
        put(scene.snapshots,
            object("{'metadata':{'name':'s','namespace':'default','uid':'u-s','generation':1,"
                   "'creationTimestamp':'2026-01-01T00:00:00Z','resourceVersion':'%lld'},"
                   "'spec':{'vm':'a'},'status':{%s}}",
                   (long long)next_rv(), words));
        assert_int_equal(gather(&scene, &limits, "default/a", &g, &e), 0);
        assert_string_equal(g.in.snapshot ? g.in.snapshot : "", in_disks);
        gathered_free(&g);
}

static void a_snapshot_in_its_disks_wakes_its_vm(void **state)
{
        bool found;

        (void)state;
        three_vms();
        snapshot_told("'phase':'Pending','vmUID':'u-a'", "");
        (void)woken("a", &found);
        assert_false(found);
        snapshot_told("'phase':'InProgress','vmUID':'u-a'", "s");
        (void)woken("a", &found);
        assert_true(found);
        snapshot_told("'phase':'Ready','vmUID':'u-a','takenBy':1", "s");
        (void)woken("a", &found);
        assert_false(found);
        snapshot_told("'phase':'Ready','vmUID':'of another','takenBy':1", "");
        snapshot_told("'phase':'Failed','vmUID':'u-a'", "");
        (void)woken("a", &found);
        assert_true(found);
}

static void cordon_is_a_change(void **state)
{
        struct json *n;

        (void)state;
        three_vms();
        n = node_json("n2", 0);
        json_set_bool(json_object_at(n, "spec"), "unschedulable", true);
        put(scene.nodes, n);
        only_woken("b");
}

/* Whatever happens meanwhile: every WORLD_WAKE_MS at most. */
static void a_storm_wakes_who_waits_now_and_then(void **state)
{
        struct mono now = mono_add_ms((struct mono){1}, 1000);
        int turns = 0;
        bool found;

        (void)state;
        three_vms();
        scene.resynced = mono_add_ms(now, 3600000);
        scene.woken = scene.changed = (struct mono){0};
        for (int second = 0; second < 60; second++) {
                put(scene.nodes, node_json("n3", second));
                nobody_woken();
                world_tick(&scene, now);
                (void)woken("c", &found);
                turns += found;
                now = mono_add_ms(now, 1000);
        }
        assert_int_equal(turns, 60000 / WORLD_WAKE_MS);
        put(scene.nodes, node_json("n3", 60));
        world_tick(&scene, now);
        nobody_woken();
        now = mono_add_ms(now, WORLD_WAKE_MS);
        world_tick(&scene, now);
        (void)woken("c", &found);
        assert_true(found); /* the last change is not forgotten */
        now = mono_add_ms(now, WORLD_WAKE_MS);
        world_tick(&scene, now);
        nobody_woken();
}

static void put_n3(const char *status)
{
        put(scene.hosts, object("{'metadata':{'name':'n3','resourceVersion':'%lld'},"
                                "'status':{'outbound':%lld%s}}",
                                (long long)next_rv(), (long long)next_rv(), status));
}

/* Nobody but who waits is woken, when the extender, who is asked then, has heard of it, too. */
static void what_a_move_may_wait_for_wakes_it(void **state)
{
        static const char *const WORDS[] = {
                "",
                ",'mounts':[{'pool':'default','sharedWith':[{'node':'n4','state':'NotShared'}]}]",
                ",'mounts':[{'pool':'default','sharedWith':[{'node':'n4','state':'Shared'}]}]",
                ",'mounts':[{'pool':'default','sharedWith':[{'node':'n5','state':'Shared'}]}]",
                ",'bridges':['br0']",
                ",'cpuModels':['EPYC']",
                ",'machineTypes':['q35']",
                ",'cannotReceive':'no certificate'",
                ",'capacity':{'memory':4096}",
                ",'used':{'memory':4096}",
                ",'resolveMs':60000",
        };
        struct mono now = mono_add_ms((struct mono){1}, WORLD_WAKE_MS);
        bool found;

        (void)state;
        three_vms();
        put_n3(WORDS[countof(WORDS) - 1]);
        (void)woken("", &found);
        for (size_t i = 0; i < countof(WORDS); i++) {
                now = mono_add_ms(now, 2 * WORLD_WAKE_MS);
                scene.resynced = mono_add_ms(now, 3600000);
                scene.nodes_changed = false;
                scene.changed = (struct mono){0};
                put_n3(WORDS[i]);
                world_tick(&scene, now);
                world_tick(&scene, mono_add_ms(now, WORLD_HEARD_MS - 1));
                nobody_woken();
                world_tick(&scene, mono_add_ms(now, WORLD_HEARD_MS));
                (void)woken("c", &found);
                assert_true(found);
                put_n3(WORDS[i]);
                world_tick(&scene, mono_add_ms(now, WORLD_WAKE_MS + WORLD_HEARD_MS));
                world_tick(&scene, mono_add_ms(now, WORLD_WAKE_MS + 2 * WORLD_HEARD_MS));
                nobody_woken();
        }
}

static void everybody_has_a_turn(void **state)
{
        enum { VMS = 300 };
        struct mono now = {1};
        size_t turns = 0, most = 0;
        bool found;

        (void)state;
        for (int i = 0; i < VMS; i++) {
                char name[16];

                snprintf(name, sizeof(name), "v%d", i);
                put(scene.vms, vm_json(name, "n1", 1, 0));
        }
        (void)woken("", &found);
        for (int i = 0; i < WORLD_SLICES; i++) {
                size_t n;

                world_tick(&scene, now);
                n = woken("", &found);
                turns += n;
                most = n > most ? n : most;
                world_tick(&scene, mono_add_ms(now, WORLD_SLICE_MS - 1));
                nobody_woken();
                now = mono_add_ms(now, WORLD_SLICE_MS);
        }
        assert_int_equal(turns, VMS);
        assert_in_range(most, 1, VMS / 4);
}

static void put_claimer(const char *name, const char *owner, const char *run, const char *claim)
{
        put(scene.vms,
            object("{'metadata':{'name':'%s','namespace':'default','uid':'u-%s','generation':1,"
                   "'creationTimestamp':'2026-01-0%dT00:00:00Z','resourceVersion':'%lld'},"
                   "'spec':{'runStrategy':'%s','memory':{'guest':'64Mi'},'disks':[{'name':'data',"
                   "'persistentVolumeClaim':{'claimName':'%s'}}]},"
                   "'status':{'owner':{'node':'%s','epoch':1}}}",
                   name, name, name[0] - 'a' + 1, (long long)next_rv(), run, claim, owner));
}

/* What keeps the VM from its claim, "" for nothing. */
static void waits_for(const char *name, const char *says)
{
        const struct permit_limits limits = {0};
        char key[KUBE_KEY_MAX];
        struct gathered g;
        struct err e;

        snprintf(key, sizeof(key), "default/%s", name);
        assert_int_equal(gather(&scene, &limits, key, &g, &e), 0);
        const char *got = g.in.claim_taken ? g.in.claim_taken : "";
        if (*says ? !strstr(got, says) : *got)
                fail_msg("%s: %s", name, got);
        gathered_free(&g);
}

static void a_claim_has_one_vm(void **state)
{
        (void)state;
        put_claimer("a", "", "Always", "c");
        put_claimer("b", "", "Always", "c");
        put_claimer("x", "", "Always", "d");
        waits_for("a", "");
        waits_for("x", "");
        waits_for("b", "disk data: claim c is a disk of VirtualMachine a, which goes first");
        put_claimer("a", "", "Halted", "c");
        waits_for("b", "");
        put_claimer("b", "n1", "Always", "c");
        put_claimer("a", "", "Always", "c");
        waits_for("a", "a disk of VirtualMachine b");
        waits_for("b", ""); /* its guest is there, whatever others wish */
}

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(the_last_leaders_promises_count),
                T(without_a_list_nothing_is_taken_over),
                T(a_node_wakes_what_moves_to_it),
                T(cordon_is_a_change),
                T(silence_wakes_what_moves_there),
                T(a_permit_given_back_wakes_who_waits),
                T(what_is_told_of_a_guest_wakes_its_vm),
                T(a_snapshot_in_its_disks_wakes_its_vm),
                T(a_storm_wakes_who_waits_now_and_then),
                T(what_a_move_may_wait_for_wakes_it),
                T(everybody_has_a_turn),
                T(a_claim_has_one_vm),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
