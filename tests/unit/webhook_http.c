/* The webhook behind its server, as kube-apiserver and others that are no friends reach it. */
#include "base/log.h"
#include "tests/unit/http_client.h"
#include "tests/unit/webhook_scene.h"
#include "webhook/review.h"

#define SLOW   4
#define API_MS 1000

static struct http_server *server;
static struct webhook hook = {.scheduler = ""};

static int setup(void **state)
{
        const struct http_config cfg = {.address = "127.0.0.1",
                                        .max_body = REVIEW_BODY_MAX,
                                        .slow_threads = SLOW,
                                        .request_seconds = 6};
        struct err e;

        scene_setup(state);
        scene.client->tune.request_ms = API_MS;
        hook.cache = scene.cache;
        hook.client = scene.client;
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

/* --- what has to be looked up */

#define REVIEW(kind, name, sub, object)                                                            \
        "{\"kind\":\"AdmissionReview\",\"apiVersion\":\"admission.k8s.io/v1\",\"request\":{"       \
        "\"uid\":\"705ab4f5\",\"kind\":{\"kind\":\"" kind "\"},\"name\":\"" name                   \
        "\",\"subResource\":\"" sub "\",\"namespace\":\"shop\",\"operation\":\"CREATE\","          \
        "\"userInfo\":{\"username\":\"system:serviceaccount:drover-system:drover-migrator\"},"     \
        "\"object\":" object "}}"
static const char EVICTION[] = REVIEW("Eviction", "drover-vm-web-e1", "eviction", "{}");
static const char NEW_POD[] = REVIEW(
        "Pod", "p", "",
        "{\"metadata\":{\"labels\":{\"drover.dev/vm\":\"ghost\"}},\"spec\":{\"containers\":[{}]}}");
static const char NEW_IMAGE[] =
        REVIEW("VirtualMachine", "v", "",
               "{\"metadata\":{\"name\":\"v\",\"namespace\":\"shop\"},\"spec\":{\"memory\":{"
               "\"guest\":\"1Gi\"},\"disks\":[{\"name\":\"a\",\"image\":{\"name\":\"fresh\"}},"
               "{\"name\":\"b\",\"image\":{\"name\":\"fresher\"}}]}}");

static void post_review(struct client *c, const char *path, const char *body)
{
        char head[512];
        int n = snprintf(head, sizeof(head),
                         "POST %s HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                         "Content-Length: %zu\r\n\r\n",
                         path, strlen(body));

        assert_true(client_open(c, http_server_port(server), NULL));
        assert_true(client_send(c, head, (size_t)n) && client_send(c, body, strlen(body)));
}

/* Answered as they should be, by way of the slow threads. */
static void looked_up(void **state)
{
        struct client c;
        struct answer a;

        (void)state;
        post_review(&c, "/validate", EVICTION);
        assert_true(client_read(&c, &a, false));
        assert_non_null(strstr(a.body, "\"allowed\":true")); /* there is no such pod */
        client_close(&c);
        int gets = scene_count(&scene.image_gets); /* of all that are no VMs */
        post_review(&c, "/validate", NEW_IMAGE);
        assert_true(client_read(&c, &a, false));
        assert_int_equal(a.status, 200);
        assert_non_null(strstr(a.body, "spec.disks[1].image.name"));
        client_close(&c);
        assert_int_equal(scene_count(&scene.image_gets), gets + 2);
        scene_set(scene.stored, VM_JSON("ghost", "u9", "20", "ssd"));
        post_review(&c, "/mutate", NEW_POD);
        assert_true(client_read(&c, &a, false));
        assert_non_null(strstr(a.body, "\"patchType\":\"JSONPatch\""));
        client_close(&c);
}

static int by_value(const void *a, const void *b)
{
        return *(const int64_t *)a < *(const int64_t *)b ? -1 : 1;
}

/*
 * The API server hangs, and all slow threads with it: reviews that need no look-up are answered as
 * ever, the others within a bound that kube-apiserver's patience of ten seconds contains.
 */
static void lookups_that_hang(void **state)
{
        static struct client stalled[2 * SLOW];
        static const char *const bodies[] = {EVICTION, NEW_POD, NEW_IMAGE};
        int64_t ms[100];
        struct client c;
        struct answer a;

        (void)state;
        scene.hang = true;
        struct mono began = mono_now();
        for (size_t i = 0; i < countof(stalled); i++)
                post_review(&stalled[i], "/validate", bodies[i % countof(bodies)]);
        assert_true(client_open(&c, http_server_port(server), NULL));
        for (size_t i = 0; i < countof(ms); i++) {
                struct mono t = mono_now();
                assert_int_equal(ask(&c, "POST", "/validate", GOOD, sizeof(GOOD) - 1, &a), 200);
                ms[i] = mono_ms_between(t, mono_now());
        }
        assert_true(mono_ms_between(began, mono_now()) < API_MS); /* they hang all the while */
        qsort(ms, countof(ms), sizeof(ms[0]), by_value);
        assert_true(ms[95] < 50);
        for (size_t i = 0; i < countof(stalled); i++) {
                assert_true(client_read(&stalled[i], &a, false));
                /* an image that cannot be looked for may be there */
                if (a.status == 200 && !strstr(a.body, "\"allowed\":true"))
                        assert_non_null(strstr(a.body, "\"code\":429"));
                else if (a.status != 200)
                        assert_int_equal(a.status, 503);
                client_close(&stalled[i]);
        }
        /* a second in the queue, two of waiting for the watch, one request */
        assert_true(mono_ms_between(began, mono_now()) < 1000 + 2000 + 2 * API_MS);
        client_close(&c);
}

/* Large ones one after the other, and never in the way of small ones. */
static void large_reviews(void **state)
{
        static struct client c[12];
        size_t len = (size_t)2 << 20, pad = len - sizeof(GOOD);
        char *body = malloc(len + 1);
        int ok = 0, busy = 0;

        (void)state;
        memset(body, ' ', pad);
        memcpy(body + pad, GOOD, sizeof(GOOD));
        for (size_t i = 0; i < countof(c); i++)
                post_review(&c[i], "/validate", body);
        for (size_t i = 0; i < countof(c); i++) {
                struct answer a;

                assert_true(client_read(&c[i], &a, false));
                ok += a.status == 200;
                busy += a.status == 503 && strstr(a.head, "Retry-After: 1\r\n");
                assert_serves(&c[i]);
                client_close(&c[i]);
        }
        assert_int_equal(ok + busy, countof(c));
        assert_true(ok >= 1);
        free(body);
}

#define served_test(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
        const struct CMUnitTest tests[] = {
                served_test(on_one_connection), served_test(hostile_bodies),
                served_test(cut_bodies),        served_test(looked_up),
                served_test(lookups_that_hang), served_test(large_reviews),
        };

        log_init("test");
        review_register_metrics();
        return cmocka_run_group_tests(tests, NULL, NULL);
}
