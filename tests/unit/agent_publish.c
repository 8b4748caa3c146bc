#include "agent/publish.h"
#include "api/codec.h"
#include "tests/fake/objects.h"
#include "tests/unit/oom.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PATH "/apis/drover.dev/v1alpha1/virtualmachinehosts/n1"

static struct agent a;
static struct fake_objects objects;
static struct fake *server;

static int64_t no_work(void *ctx, const char *key)
{
        (void)ctx;
        (void)key;
        return WORK_DONE;
}

static void quiet(void *ctx)
{
        (void)ctx;
}

static int begin(void **state)
{
        struct kube_config cfg = {.ns = "default"};
        struct err e;

        (void)state;
        setenv("DROVER_LOG", "error", 1);
        fake_objects_init(&objects);
        server = fake_start(fake_objects_script, &objects);
        cfg.server = fake_url(server);
        a = (struct agent){.config = {.node = "n1",
                                      .pools = {{.name = "default", .path = "/no/such/mount"}},
                                      .npools = 1,
                                      .probe_deadline_ms = 1000,
                                      .libvirt_run = "/nowhere",
                                      .peer_uri = "qemu+tls://%s/system",
                                      .migration_address = "10.0.0.1"}};
        a.table = table_new();
        a.work = work_new(2, no_work, NULL);
        return kube_client_new(&cfg, "test", &a.kube, &e) ||
                               mounts_start(&a.config, quiet, NULL, &a.mounts, &e) ||
                               publish_start(&a, &a.publisher, &e)
                       ? -1
                       : 0;
}

static int end(void **state)
{
        (void)state;
        publish_stop(a.publisher);
        mounts_stop(a.mounts);
        mounts_free(a.mounts);
        work_free(a.work, 5000);
        kube_client_free(a.kube);
        fake_stop(server);
        fake_objects_free(&objects);
        table_free(a.table);
        return 0;
}

static bool is(const char *field, const char *value)
{
        autojson struct json *host = fake_objects_get(&objects, PATH);

        return !strcmp(json_str(json_get(host, "status"), field, ""), value);
}

static void until(const char *field, const char *value)
{
        for (int i = 0; i < 2000 && !is(field, value); i++)
                nanosleep(&(struct timespec){.tv_nsec = 5000000}, NULL);
        if (!is(field, value))
                fail_msg("%s has not become \"%s\"", field, value);
}

/* As somebody who may do that, behind the agent's back. */
static void write_as_another(const char *text)
{
        struct json *j = NULL;
        struct err e;

        assert_int_equal(json_parse(text, strlen(text), 1000, &j, &e), 0);
        pthread_mutex_lock(&objects.lock);
        json_set(objects.by_path, PATH, j);
        pthread_mutex_unlock(&objects.lock);
}

static void what_another_has_written_is_put_right(void **state)
{
        (void)state;
        until("libvirtURI", "qemu+tls://n1/system");
        write_as_another(
                "{\"metadata\":{\"name\":\"n1\"},\"status\":{\"libvirtURI\":\"qemu+tls://evil/"
                "system\",\"migrationAddress\":\"10.6.6.6\",\"made\":\"up\"}}");
        publish_look(a.publisher);
        until("libvirtURI", "qemu+tls://n1/system");
        assert_true(is("migrationAddress", "10.0.0.1"));
        assert_true(is("made", ""));
}

static void what_another_has_deleted_is_made_anew(void **state)
{
        (void)state;
        until("libvirtURI", "qemu+tls://n1/system");
        pthread_mutex_lock(&objects.lock);
        json_remove(objects.by_path, PATH);
        pthread_mutex_unlock(&objects.lock);
        publish_look(a.publisher);
        until("libvirtURI", "qemu+tls://n1/system");
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, end)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(what_another_has_written_is_put_right),
                T(what_another_has_deleted_is_made_anew),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
