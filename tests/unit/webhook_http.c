/* The webhook behind its server, as kube-apiserver and others that are no friends reach it. */
#include "base/log.h"
#include "tests/unit/http_client.h"
#include "tests/unit/webhook_scene.h"
#include "webhook/review.h"

static struct http_server *server;
static struct webhook hook = {.scheduler = ""};

static int setup(void **state)
{
        const struct http_config cfg = {
                .address = "127.0.0.1", .max_body = REVIEW_BODY_MAX, .request_seconds = 2};
        struct err e;

        scene_setup(state);
        hook.cache = scene.cache;
        if (http_server_start(&cfg, REVIEW_ROUTES, countof(REVIEW_ROUTES), &hook, &server, &e) < 0)
                fail_msg("%s", e.msg);
        http_server_ready(server, true);
        return 0;
}

static int teardown(void **state)
{
        http_server_stop(server, 0, 100);
        return scene_teardown(state);
}

static const char GOOD[] =
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{\"uid\":"
        "\"705ab4f5\",\"kind\":{\"kind\":\"VirtualMachine\"},\"namespace\":\"shop\",\"operation\":"
        "\"CREATE\",\"userInfo\":{\"username\":\"anna\"},\"object\":{\"metadata\":{\"name\":"
        "\"web\","
        "\"namespace\":\"shop\"},\"spec\":{\"memory\":{\"guest\":\"1Gi\"}}}}}";

static void assert_serves(struct client *c)
{
        static const char *const paths[] = {"/validate", "/mutate", "/validate?timeout=10s",
                                            "/mutate?timeout=1s&x"};
        struct answer a;

        for (size_t i = 0; i < countof(paths); i++) {
                assert_int_equal(ask(c, "POST", paths[i], GOOD, sizeof(GOOD) - 1, &a), 200);
                assert_non_null(strstr(a.body, "\"uid\":\"705ab4f5\""));
                assert_non_null(strstr(a.body, "\"allowed\":true"));
        }
}

static void on_one_connection(void **state)
{
        struct client c;
        struct answer a;

        (void)state;
        assert_true(client_open(&c, http_server_port(server), NULL));
        for (int i = 0; i < 20; i++)
                assert_serves(&c);
        assert_int_equal(get(&c, "/validate", &a), 405);
        assert_int_equal(ask(&c, "POST", "/", GOOD, sizeof(GOOD) - 1, &a), 404);
        assert_int_equal(get(&c, "/readyz", &a), 200);
        assert_int_equal(get(&c, "/metrics", &a), 200);
        assert_serves(&c);
        client_close(&c);
}

static void expect(const char *body, size_t len, int status)
{
        struct client c;
        struct answer a;

        assert_true(client_open(&c, http_server_port(server), NULL));
        ask(&c, "POST", "/validate", body, len, &a);
        if (a.status != status)
                fail_msg("%zu bytes: %d %s", len, a.status, a.body);
        assert_int_equal(strncmp(a.body, "{\"error\":\"", 10), 0);
        if (!a.close)
                assert_serves(&c);
        client_close(&c);
        assert_true(client_open(&c, http_server_port(server), NULL));
        assert_serves(&c);
        client_close(&c);
}

static void hostile_bodies(void **state)
{
        size_t huge = REVIEW_BODY_MAX + 1;
        char *big = malloc(huge), *p = big;

        (void)state;
        expect("", 0, 400);
        expect("hello", 5, 400);
        expect(GOOD, sizeof(GOOD) / 2, 400);
        while (p + 5 < big + huge) {
                memcpy(p, "{\"a\":", 5);
                p += 5;
        }
        expect(big, 500000, 413); /* too deep */
        expect(big, huge, 413);   /* too long */
        free(big);
}

/* Cut in mid-body by a client that goes, and one that stops sending. */
static void cut_bodies(void **state)
{
        static const char head[] = "POST /validate HTTP/1.1\r\nHost: x\r\nContent-Type: "
                                   "application/json\r\nContent-Length: 1000\r\n\r\n{\"kind\":";
        struct client gone, silent, c;

        (void)state;
        assert_true(client_open(&silent, http_server_port(server), NULL));
        assert_true(client_send(&silent, head, sizeof(head) - 1));
        for (int i = 0; i < 20; i++) {
                assert_true(client_open(&gone, http_server_port(server), NULL));
                assert_true(client_send(&gone, head, sizeof(head) - 1));
                client_close(&gone);
        }
        assert_true(client_open(&c, http_server_port(server), NULL));
        assert_serves(&c);
        assert_true(client_ended(&silent));
        client_close(&silent);
        assert_serves(&c);
        client_close(&c);
}

#define served_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                served_test(on_one_connection),
                served_test(hostile_bodies),
                served_test(cut_bodies),
        };

        log_init("test");
        review_register_metrics();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
