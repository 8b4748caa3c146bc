#include "certs/ensure.h"
#include "certs/secret.h"
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
                                      .settle_s = 600,
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
        int written, failed, looked_at;
        int64_t ca_ends, client_ends;
        char last[512];
};
static void on_report(void *ctx, const char *object, const char *why, const struct err *failure)
{
        struct reports *r = ctx;

        r->written += !failure;
        r->failed += !!failure;
        snprintf(r->last, sizeof(r->last), "%.100s: %.400s", object, failure ? failure->msg : why);
}

static void on_expires(void *ctx, const char *secret, int64_t at_s)
{
        struct reports *r = ctx;

        r->looked_at++;
        if (strcmp(secret, "drover-ca-key") == 0)
                r->ca_ends = at_s;
        if (strcmp(secret, "drover-scheduler-client") == 0)
                r->client_ends = at_s;
}

static int ensure(const struct ensure_config *cfg, struct reports *r, struct err *e)
{
        const struct kube_config kube = {.server = fake_url(server), .ns = "drover-system"};
        const struct ensure_hooks hooks = {on_report, on_expires, r};
        struct kube_client *client = NULL;

        *r = (struct reports){0};
        int rc = kube_client_new(&kube, "drover-certs", &client, e);
        if (rc < 0)
                return rc;
        rc = ensure_all(client, cfg, &hooks, e);
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
        assert_int_equal(r.looked_at, 4);
        assert_int_equal(r.ca_ends, NOW + 3650 * PKI_DAY_S);
        assert_int_equal(r.client_ends, NOW + 365 * PKI_DAY_S);
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

static void annotate(const char *annotation, int64_t at_s)
{
        struct json *ca = fake_objects_get(&objects, SECRETS "drover-ca");

        assert_true(secret_set_time(ca, annotation, at_s));
        json_set(objects.by_path, SECRETS "drover-ca", ca);
}

/* In each run: the turn, a bundle, three leaves and two webhook configurations, and the next turn.
 */
static void the_ca_is_renewed_when_that_is_asked_for(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        annotate("drover.dev/renew-ca", NOW + 1);
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        cfg.now_s = NOW + 1;
        assert_int_equal(ensure(&cfg, &r, &e), 1);
        assert_int_equal(r.written, 8);
        assert_string_equal(r.last, "secrets/drover-ca-key: the next CA stands in every bundle");
        cfg.now_s += 599;
        assert_int_equal(ensure(&cfg, &r, &e), 1);
        assert_int_equal(r.written, 0);
        cfg.now_s++;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 8);
        assert_string_equal(r.last,
                            "secrets/drover-ca-key: no certificate of the CA before is left "
                            "in a Secret");
        assert_int_equal(r.ca_ends, NOW + 1 + 3650 * PKI_DAY_S);
        cfg.now_s++;
        annotate("drover.dev/retire-ca", cfg.now_s);
        assert_int_equal(ensure(&cfg, &r, &e), 1);
        assert_int_equal(r.written, 0);
        cfg.now_s += 600;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 7);
}

static void a_spoilt_bundle_is_trusted_by_nobody(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        annotate("drover.dev/renew-ca", cfg.now_s = NOW + 1);
        assert_int_equal(ensure(&cfg, &r, &e), 1);
        put(HOOKS "validatingwebhookconfigurations/drover",
            "{\"metadata\":{\"name\":\"drover\",\"resourceVersion\":\"1\"},\"webhooks\":[{"
            "\"clientConfig\":{}}]}");
        cfg.now_s += 600;
        assert_int_equal(ensure(&cfg, &r, &e), 1);
        assert_int_equal(r.written, 3); /* not trusted, the bundle, trusted from now on */
        cfg.now_s += 600;
        assert_int_equal(ensure(&cfg, &r, &e), 0);
        assert_int_equal(r.written, 8);
}

static void a_slip_in_an_annotation_stops_rotations_alone(void **state)
{
        struct ensure_config cfg = config();
        struct reports r;
        struct err e;

        (void)state;
        put(SECRETS "drover-ca", "{\"metadata\":{\"name\":\"drover-ca\",\"resourceVersion\":\"1\","
                                 "\"annotations\":{\"drover.dev/renew-ca\":\"now\"}}}");
        assert_int_equal(ensure(&cfg, &r, &e), -EINVAL);
        assert_non_null(strstr(e.msg, "drover.dev/renew-ca: now is not a time"));
        assert_int_equal(r.written, 7);
        assert_int_equal(r.failed, 1);
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
                cmocka_unit_test_setup_teardown(the_ca_is_renewed_when_that_is_asked_for, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(a_spoilt_bundle_is_trusted_by_nobody, setup,
                                                teardown),
                cmocka_unit_test_setup_teardown(a_slip_in_an_annotation_stops_rotations_alone,
                                                setup, teardown),
                cmocka_unit_test_setup_teardown(several_at_once_agree, setup, teardown),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
