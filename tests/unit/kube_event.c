#include "kube/event.h"
#include "tests/fake/objects.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct fake_objects objects;
static struct fake *server;
static struct kube_client *client;

static const struct kube_event_about vm = {
        "drover.dev/v1alpha1", "VirtualMachine", "prod", "db", "uid-1",
};

static int set_up(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        fake_objects_init(&objects);
        server = fake_start(fake_objects_script, &objects);
        cfg.server = fake_url(server);
        return kube_client_new(&cfg, "drover-test", &client, &e);
}

static int tear_down(void **state)
{
        (void)state;
        kube_client_free(client);
        fake_stop(server);
        fake_objects_free(&objects);
        return 0;
}

static int record(const struct kube_event_about *about, const char *reason, const char *message)
{
        struct err e;

        return kube_event_record(client, about, "drover-migrator", "Normal", reason, message, &e);
}

static void as_the_api_wants_it(void **state)
{
        (void)state;
        assert_int_equal(record(&vm, "Migrated", "to node-2"), 0);
        assert_int_equal(json_count(objects.by_path), 1);
        const struct json *ev = json_first(objects.by_path),
                          *about = json_get(ev, "involvedObject");
        assert_int_equal(strncmp(json_key(ev), "/api/v1/namespaces/prod/events/db.", 34), 0);
        assert_string_equal(json_str(ev, "apiVersion", ""), "v1");
        assert_string_equal(json_str(ev, "kind", ""), "Event");
        assert_string_equal(json_str(ev, "type", ""), "Normal");
        assert_string_equal(json_str(ev, "reason", ""), "Migrated");
        assert_string_equal(json_str(ev, "message", ""), "to node-2");
        assert_int_equal(json_int(ev, "count", 0), 1);
        assert_string_equal(json_str(json_get(ev, "source"), "component", ""), "drover-migrator");
        assert_string_equal(json_str(about, "apiVersion", ""), "drover.dev/v1alpha1");
        assert_string_equal(json_str(about, "kind", ""), "VirtualMachine");
        assert_string_equal(json_str(about, "namespace", ""), "prod");
        assert_string_equal(json_str(about, "name", ""), "db");
        assert_string_equal(json_str(about, "uid", ""), "uid-1");
        assert_int_equal(strlen(json_str(ev, "firstTimestamp", "")), 20);
}

static void repeats_are_counted(void **state)
{
        struct kube_event_about reborn = vm;

        (void)state;
        for (int i = 0; i < 3; i++)
                assert_int_equal(record(&vm, "Migrated", "to node-2"), 0);
        assert_int_equal(json_count(objects.by_path), 1);
        assert_int_equal(json_int(json_first(objects.by_path), "count", 0), 3);
        assert_string_equal(json_str(json_first(objects.by_path), "message", ""), "to node-2");
        assert_int_equal(record(&vm, "Migrated", "to node-3"), 0);
        assert_int_equal(record(&vm, "Failed", "to node-2"), 0);
        reborn.uid = "uid-2";
        assert_int_equal(record(&reborn, "Migrated", "to node-2"), 0);
        assert_int_equal(json_count(objects.by_path), 4);
}

static void cluster_scoped_ones_go_to_default(void **state)
{
        struct kube_event_about node = {"v1", "Node", NULL, "n1", "uid-n"};

        (void)state;
        assert_int_equal(record(&node, "Lost", "x"), 0);
        assert_non_null(
                strstr(json_key(json_first(objects.by_path)), "/namespaces/default/events/n1."));
        assert_null(json_path(json_first(objects.by_path), "involvedObject", "namespace", NULL));
}

static void long_ones_are_cut(void **state)
{
        char name[300], message[3000];
        struct kube_event_about about = vm;

        (void)state;
        memset(name, 'n', 253);
        name[253] = 0;
        for (size_t i = 0; i + 2 < sizeof(message); i += 2)
                memcpy(message + i, "\xc3\xa9", 3);
        about.name = name;
        assert_int_equal(record(&about, "Long", message), 0);
        const struct json *ev = json_first(objects.by_path);
        assert_int_equal(strlen(json_str(json_get(ev, "metadata"), "name", "")), 253);
        const char *kept = json_str(ev, "message", "");
        assert_in_range(strlen(kept), 1000, 1023);
        assert_int_equal(strlen(kept) % 2, 0); /* no half character */
}

static void failures_are_returned(void **state)
{
        (void)state;
        objects.refuse = 100;
        assert_int_equal(record(&vm, "Migrated", "to node-2"), -EBUSY);
        objects.refuse = 0;
        assert_int_equal(record(&vm, "Migrated", "to node-2"), 0);
}

static void without_memory(void **state)
{
        (void)state;
        for (unsigned long n = 1;; n++) {
                oom_arm(n);
                int rc = record(&vm, "Migrated", "to node-2"); /* made once, counted later */
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
        }
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(as_the_api_wants_it),
                T(repeats_are_counted),
                T(cluster_scoped_ones_go_to_default),
                T(long_ones_are_cut),
                T(failures_are_returned),
                T(without_memory),
        };
        return cmocka_run_group_tests_name("kube_event", tests, NULL, NULL);
}
