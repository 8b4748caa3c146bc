/* An image's turns, with an API server that keeps it: from its creation to its end. */
#include "api/codec.h"
#include "migrator/images.h"
#include "tests/fake/objects.h"
#include "tests/unit/migrator_scene.h"

#include <errno.h>

#define PATH "/apis/drover.dev/v1alpha1/namespaces/default/virtualmachineimages/debian"
#define KEY  IMAGES_PREFIX "default/debian"

static struct fake_objects objects;
static struct fake *server;
static struct kube_client *client;
static char listed[1024]; /* items of the list of VMs, single quotes */
static int lists;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void answer_list(struct fake_conn *c)
{
        autobuf struct buf b = buf_new(4096);

        pthread_mutex_lock(&lock);
        lists++;
        buf_addf(&b, "{\"kind\":\"List\",\"metadata\":{\"resourceVersion\":\"1\"},\"items\":[");
        for (const char *s = listed; *s; s++)
                buf_add(&b, *s == '\'' ? "\"" : s, 1);
        buf_adds(&b, "]}");
        pthread_mutex_unlock(&lock);
        fake_answer(c, 200, "", buf_str(&b));
}

static void script(struct fake_conn *c, const struct fake_request *r, void *ctx)
{
        if (!strcmp(r->method, "GET") && strstr(r->target, "/virtualmachines")) {
                if (!strstr(r->target, "/virtualmachineimages")) {
                        answer_list(c);
                        return;
                }
        }
        fake_objects_script(c, r, ctx);
}

static int begin(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        setenv("DROVER_LOG", "error", 1);
        listed[0] = '\0';
        lists = 0;
        fake_objects_init(&objects);
        server = fake_start(script, &objects);
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
        kube_store_apply(scene.images, j);
}

/* Takes patch. */
static void change(struct json *patch)
{
        autojson struct json *j = patch;
        struct err e = {0};

        if (kube_patch(client, &KUBE_IMAGES, "default", "debian", NULL, j, NULL, &e))
                fail_msg("%s", e.msg);
        brought();
}

static void made(const char *source)
{
        autojson struct json *j =
                object("{'metadata':{'name':'debian','namespace':'default','uid':'u-1'},"
                       "'spec':{'source':%s,'pool':'default'}}",
                       source);
        struct err e = {0};

        if (kube_create(client, &KUBE_IMAGES, "default", j, NULL, &e))
                fail_msg("%s", e.msg);
        brought();
}

static void turns(int n)
{
        const struct actor actor = {.world = &scene};
        struct err e = {0};

        for (int i = 0; i < n; i++) {
                if (images_work(&actor, KEY, &e))
                        fail_msg("%s", e.msg);
                brought();
        }
}

static void has(const char *path, const char *want)
{
        autojson struct json *j = fake_objects_get(&objects, PATH);
        autobuf struct buf b = buf_new(8192);
        char key[64];

        snprintf(key, sizeof(key), "%s", path);
        const struct json *at = json_get(j, "status");
        json_print(json_get(at, key), &b);
        if (!strstr(buf_str(&b), want))
                fail_msg("%s is %s, not %s", path, buf_str(&b), want);
}

static bool held(void)
{
        autojson struct json *j = fake_objects_get(&objects, PATH);

        return json_count(json_path(j, "metadata", "finalizers", NULL)) == 1;
}

static void an_import(void **state)
{
        (void)state;
        made("{'url':'https://x/y'}");
        turns(1);
        assert_true(held()); /* before anybody is asked */
        turns(2);
        has("importer", "\"node\":\"node1\"");
        has("importer", "\"epoch\":1");
        has("phase", "Importing");
        change(object("{'status':{'progress':{'epoch':1,'state':'%s','message':''}}}", "Done"));
        int writes = objects.writes;
        turns(3);
        has("phase", "Ready");
        assert_int_equal(objects.writes, writes + 2); /* and an Event */
}

static void an_end(void **state)
{
        static const char VM[] = "{'metadata':{'name':'web','namespace':'default','uid':'u-w'},"
                                 "'spec':{'disks':[{'name':'d','image':{'name':'debian'}}]}}";

        (void)state;
        made("{'url':'https://x/y'}");
        turns(2);
        snprintf(listed, sizeof(listed), "%s", VM); /* the watch has not shown it yet */
        change(object("{'metadata':{'deletionTimestamp':'%s'}}", "2026-01-01T00:00:00Z"));
        turns(1);
        has("message", "VM web");
        has("importer", "Fetch");
        assert_int_equal(lists, 1);
        put(scene.vms, object("%s", VM));
        turns(1);
        assert_int_equal(lists, 1); /* who is known need not be asked for */
        listed[0] = '\0';
        drop(scene.vms, object("%s", VM));
        turns(1);
        has("importer", "Remove");
        has("importer", "\"epoch\":2");
        assert_true(held());
        change(object("{'status':{'progress':{'epoch':2,'state':'%s','message':''}}}", "Removed"));
        turns(1);
        assert_false(held());
}

/* What was decided by an older state of it is not written. */
static void stale(void **state)
{
        const struct actor actor = {.world = &scene};
        autojson struct json *patch = object("{'metadata':{'labels':{'a':'%s'}}}", "b");
        struct err e = {0};

        (void)state;
        made("{'url':'https://x/y'}");
        assert_int_equal(
                kube_patch(client, &KUBE_IMAGES, "default", "debian", NULL, patch, NULL, &e), 0);
        assert_int_equal(images_work(&actor, KEY, &e), -EAGAIN);
        assert_false(held());
}

static void a_file(void **state)
{
        (void)state;
        made("{'file':'x.qcow2'}");
        int writes = objects.writes;
        turns(2);
        assert_int_equal(objects.writes, writes);
        assert_null(images_key("default/debian"));
        assert_string_equal(images_key(KEY), "default/debian");
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, finish)

int main(void)
{
        const struct CMUnitTest tests[] = {T(an_import), T(an_end), T(stale), T(a_file)};

        return cmocka_run_group_tests(tests, NULL, NULL);
}
