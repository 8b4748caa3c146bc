#include "certs/ensure.h"
#include "tests/fake/objects.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW     INT64_C(1767225600) /* 2026-01-01 */
#define SECRETS "/api/v1/namespaces/drover-system/secrets/"
#define HOOKS   "/apis/admissionregistration.k8s.io/v1/"

static struct fake_objects objects;
static struct fake *server;

static struct ensure_config config(void)
{
        return (struct ensure_config){.ns = "drover-system",
                                      .webhook_service = "drover-webhook",
                                      .extender_service = "drover-extender",
                                      .webhook_config = "drover",
                                      .ca_days = 3650,
                                      .serving_days = 90,
                                      .client_days = 365,
                                      .now_s = NOW};
}

static void put(const char *path, const char *text)
{
        struct json *j = NULL;
        struct err e;

        assert_int_equal(json_parse(text, strlen(text), 4096, &j, &e), 0);
        json_set(objects.by_path, path, j);
}

static int setup(void **state)
{
        (void)state;
        fake_objects_init(&objects);
        put(HOOKS "mutatingwebhookconfigurations/drover",
            "{\"metadata\":{\"name\":\"drover\",\"resourceVersion\":\"1\"},\"webhooks\":[{"
            "\"clientConfig\":{}},{\"clientConfig\":{}}]}");
        put(HOOKS "validatingwebhookconfigurations/drover",
            "{\"metadata\":{\"name\":\"drover\",\"resourceVersion\":\"1\"},\"webhooks\":[{"
            "\"clientConfig\":{}}]}");
        put("/api/v1/namespaces/drover-system/services/drover-extender",
            "{\"metadata\":{\"name\":\"drover-extender\"},\"spec\":{\"clusterIP\":\"10.96.0.20\","
            "\"clusterIPs\":[\"10.96.0.20\"]}}");
        server = fake_start(fake_objects_script, &objects);
        return server ? 0 : -1;
}

static int teardown(void **state)
{
        (void)state;
        fake_stop(server);
        fake_objects_free(&objects);
        return 0;
}

struct reports {
        int written, failed;
        char last[512];
};
static void on_report(void *ctx, const char *object, const char *why, const struct err *failure)
{
        struct reports *r = ctx;

        r->written += !failure;
        r->failed += !!failure;
        snprintf(r->last, sizeof(r->last), "%.100s: %.400s", object, failure ? failure->msg : why);
}

static int ensure(const struct ensure_config *cfg, struct reports *r, struct err *e)
{
        const struct kube_config kube = {.server = fake_url(server), .ns = "drover-system"};
        struct kube_client *client = NULL;

        *r = (struct reports){0};
        int rc = kube_client_new(&kube, "drover-certs", &client, e);
        if (rc < 0)
                return rc;
        rc = ensure_all(client, cfg, on_report, r, e);
        kube_client_free(client);
        return rc;
}

static void makes_all_and_then_nothing(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        if (ensure(&cfg, &r, &e) < 0)
                fail_msg("%s", e.msg);
        assert_int_equal(r.written, 7);
        assert_int_equal(objects.writes, 7);
        autojson struct json *ca = fake_objects_get(&objects, SECRETS "drover-ca");
        autojson struct json *hooks =
                fake_objects_get(&objects, HOOKS "mutatingwebhookconfigurations/drover");
        const struct json *first = json_first(json_get(hooks, "webhooks"));
        const char *bundle = json_str(json_get(ca, "data"), "ca.crt", "");
        assert_true(strlen(bundle) > 100);
        assert_string_equal(json_str(json_get(first, "clientConfig"), "caBundle", ""), bundle);
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 0);
        assert_int_equal(objects.writes, 7);
}

static void another_cluster_ip_makes_another_certificate(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        put("/api/v1/namespaces/drover-system/services/drover-extender",
            "{\"metadata\":{\"name\":\"drover-extender\"},\"spec\":{\"clusterIPs\":[\"10.96.0.21\","
            "\"fd00::21\"]}}");
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 1);
        assert_string_equal(r.last,
                            "secrets/drover-extender-tls: it has other names than are wanted");
        put("/api/v1/namespaces/drover-system/services/drover-extender",
            "{\"metadata\":{\"name\":\"drover-extender\"},\"spec\":{\"clusterIPs\":[\"None\"]}}");
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 1);
        json_remove(objects.by_path, "/api/v1/namespaces/drover-system/services/drover-extender");
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 0);
}

static void a_missing_webhook_configuration_stops_nothing_else(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        json_remove(objects.by_path, HOOKS "mutatingwebhookconfigurations/drover");
        assert_int_equal(ensure(&cfg, &r, &e), -ENOENT);
        assert_string_equal(e.msg,
                            "mutatingwebhookconfigurations/drover: drover does not exist yet");
        assert_int_equal(r.written, 6);
        assert_int_equal(r.failed, 1);
}

static void a_ca_of_nonsense_stops_all(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        put(SECRETS "drover-ca-key", "{\"metadata\":{\"name\":\"drover-ca-key\"},\"data\":{}}");
        assert_int_equal(ensure(&cfg, &r, &e), -ENOENT);
        assert_non_null(strstr(e.msg, "delete it to have a new CA made"));
        assert_int_equal(r.written, 0);
        assert_int_equal(objects.writes, 0);
}

static void *ensure_thread(void *arg)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)arg;
        return ensure(&cfg, &r, &e) < 0 ? strdup(e.msg) : NULL;
}

static void several_at_once_agree(void **state)
{
        struct ensure_config cfg = config();
        pthread_t threads[4];
        struct reports r;
        struct err e;

        (void)state;
        for (size_t i = 0; i < countof(threads); i++)
                pthread_create(&threads[i], NULL, ensure_thread, NULL);
        for (size_t i = 0; i < countof(threads); i++) {
                autofree void *failure = NULL;

                pthread_join(threads[i], &failure);
                if (failure)
                        fail_msg("%s", (char *)failure);
        }
        assert_int_equal(objects.writes, 7);
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(makes_all_and_then_nothing, setup, teardown),
                cmocka_unit_test_setup_teardown(another_cluster_ip_makes_another_certificate, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(a_missing_webhook_configuration_stops_nothing_else,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(a_ca_of_nonsense_stops_all, setup, teardown),
                cmocka_unit_test_setup_teardown(several_at_once_agree, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
