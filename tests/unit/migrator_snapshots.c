/* A snapshot's turns, with an API server that keeps it: from its creation to its end. */
#include "api/codec.h"
#include "migrator/snapshots.h"
#include "tests/fake/objects.h"
#include "tests/unit/migrator_scene.h"

#include <errno.h>

#define BASE    "/apis/drover.dev/v1alpha1/namespaces/default/"
#define PATH    BASE "virtualmachinesnapshots/before"
#define VM_PATH BASE "virtualmachines/web"
#define KEY     SNAPSHOTS_PREFIX "default/before"

static struct fake_objects objects;
static struct fake *server;
static struct kube_client *client;

static int begin(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        setenv("DROVER_LOG", "error", 1);
        fake_objects_init(&objects);
        server = fake_start(fake_objects_script, &objects);
        cfg.server = fake_url(server);
        assert_int_equal(kube_client_new(&cfg, "test", &client, &e), 0);
        scene_make(client);
        put(scene.hosts, host_json("node1", 10, 0, ""));
        return 0;
}

static int finish(void **state)
{
        (void)state;
        world_stop(&scene);
        kube_client_free(client);
        fake_stop(server);
        fake_objects_free(&objects);
        return 0;
}

/* As the watch would bring it. */
static void brought(void)
{
        autojson struct json *j = fake_objects_get(&objects, PATH);

        assert_non_null(j);
        kube_store_apply(scene.snapshots, j);
}

static void created(const struct kube_resource *r, struct json *made)
{
        autojson struct json *j = made;
        struct err e = {0};

        if (kube_create(client, r, "default", j, NULL, &e))
                fail_msg("%s", e.msg);
}

/* Takes patch. */
static void change(const struct kube_resource *r, const char *name, struct json *patch)
{
        autojson struct json *j = patch;
        struct err e = {0};

        if (kube_patch(client, r, "default", name, NULL, j, NULL, &e))
                fail_msg("%s", e.msg);
}

static struct json *web_json(void)
{
        return object("{'metadata':{'name':'web','namespace':'default','uid':'%s'},"
                      "'spec':{'disks':[{'name':'d','blank':{'size':'1Gi'}}]},"
                      "'status':{'owner':{'node':'node1','epoch':2}}}",
                      "v-1");
}

static void made(void)
{
        created(&KUBE_SNAPSHOTS, object("{'metadata':{'name':'before','namespace':'default',"
                                        "'uid':'u-1'},'spec':{'vm':'%s'}}",
                                        "web"));
        brought();
}

static void turns(int n)
{
        const struct actor actor = {.world = &scene};
        struct err e = {0};

        for (int i = 0; i < n; i++) {
                if (snapshots_work(&actor, KEY, &e))
                        fail_msg("%s", e.msg);
                brought();
        }
}

static void has(const char *part, const char *key, const char *want)
{
        autojson struct json *j = fake_objects_get(&objects, PATH);
        autobuf struct buf b = buf_new(8192);

        json_print(json_path(j, part, key, NULL), &b);
        if (!strstr(buf_str(&b), want))
                fail_msg("%s is %s, not %s", key, buf_str(&b), want);
}

static bool held(void)
{
        autojson struct json *j = fake_objects_get(&objects, PATH);

        return json_count(json_path(j, "metadata", "finalizers", NULL)) == 1;
}

static void taken_and_removed(void **state)
{
        (void)state;
        created(&KUBE_VMS, web_json()); /* the watch has not shown it yet */
        made();
        turns(1);
        assert_true(held());
        has("metadata", "ownerReferences", "\"uid\":\"v-1\"");
        has("metadata", "ownerReferences", "\"kind\":\"VirtualMachine\"");
        turns(1);
        has("status", "worker", "\"node\":\"node1\",\"epoch\":1,\"task\":\"Take\"");
        has("status", "vmUID", "v-1");
        change(&KUBE_SNAPSHOTS, "before",
               object("{'status':{'progress':{'epoch':1,'state':'%s','quiesced':true,"
                      "'createdAt':'2026-01-01T00:00:00Z','disks':[{'name':'d','size':7}]}}}",
                      "Taken"));
        brought();
        int writes = objects.writes;
        turns(3);
        has("status", "phase", "Ready");
        has("status", "quiesced", "true");
        has("status", "createdAt", "2026-01-01T00:00:00");
        has("status", "disks", "{\"name\":\"d\",\"size\":7}");
        has("status", "takenBy", "1");
        assert_int_equal(objects.writes, writes + 2); /* and an Event */
        /* a wish to go back to it, which the watch has not shown either */
        put(scene.vms, web_json());
        change(&KUBE_VMS, "web",
               object("{'spec':{'restore':{'snapshot':'before','requestedAt':'%s'}}}", "1"));
        change(&KUBE_SNAPSHOTS, "before",
               object("{'metadata':{'deletionTimestamp':'%s'}}", "2026-01-01T00:00:00Z"));
        brought();
        turns(2);
        has("status", "message", "kept until the disks of the VM web have been set back");
        has("status", "worker", "Take");
        change(&KUBE_VMS, "web",
               object("{'status':{'restored':{'snapshot':'before','requestedAt':'%s'}}}", "1"));
        turns(1);
        has("status", "worker", "\"epoch\":2,\"task\":\"Remove\"");
        has("status", "phase", "Deleting");
        assert_true(held());
        change(&KUBE_SNAPSHOTS, "before",
               object("{'status':{'progress':{'epoch':2,'state':'%s'}}}", "Removed"));
        brought();
        turns(1);
        assert_false(held());
}

static void without_a_vm(void **state)
{
        (void)state;
        made();
        turns(2);
        has("status", "phase", "Failed");
        has("status", "message", "there is no VirtualMachine web");
        assert_false(held());
}

static void while_it_moves(void **state)
{
        (void)state;
        created(&KUBE_VMS, web_json());
        put(scene.vms, web_json());
        put(scene.migrations, object("{'metadata':{'name':'m','namespace':'default','uid':'u-m'},"
                                     "'spec':{'vm':'%s'},'status':{'phase':'Copying'}}",
                                     "web"));
        made();
        turns(3);
        has("status", "phase", "Pending");
        has("status", "message", "waits for the migration m to end");
        drop(scene.migrations,
             object("{'metadata':{'name':'m','namespace':'%s','uid':'u-m'}}", "default"));
        turns(1);
        has("status", "worker", "node1");
        assert_null(snapshots_key("default/web"));
        assert_string_equal(snapshots_key(KEY), "default/before");
}

/* What was decided by an older state of it is not written. */
static void stale(void **state)
{
        const struct actor actor = {.world = &scene};
        struct err e = {0};

        (void)state;
        created(&KUBE_VMS, web_json());
        made();
        change(&KUBE_SNAPSHOTS, "before", object("{'metadata':{'labels':{'a':'%s'}}}", "b"));
        assert_int_equal(snapshots_work(&actor, KEY, &e), -EAGAIN);
        assert_false(held());
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
        const struct CMUnitTest tests[] = {T(taken_and_removed), T(without_a_vm), T(while_it_moves),
                                           T(stale)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
