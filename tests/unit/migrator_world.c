/* What a new leader knows before it decides anything. */
#include "kube/io.h"
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

int main(void)
{
#define T(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
        const struct CMUnitTest tests[] = {
                T(the_last_leaders_promises_count),
                T(without_a_list_nothing_is_taken_over),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
