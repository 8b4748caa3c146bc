#include "base/mono.h"
#include "kube/io.h"
#include "kube/lease.h"
#include "tests/fake/objects.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define PATH "/apis/coordination.k8s.io/v1/namespaces/drover/leases/migrator"

#define LONG_MS 60000

static struct fake_objects objects;
static struct fake *server;
static struct kube_client *client;

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

static _Atomic int errors;

static void on_error(void *ctx, const struct err *e)
{
        (void)ctx;
        (void)e;
        errors++;
}

static struct kube_election *candidate(const char *name)
{
        struct kube_election_config cfg = {.ns = "drover",
                                           .name = "migrator",
                                           .identity = name,
                                           .lease_ms = 1000,
                                           .renew_ms = 600,
                                           .retry_ms = 50,
                                           .error = on_error};
        struct kube_election *el;
        struct err e;

        assert_int_equal(kube_election_start(client, &cfg, &el, &e), 0);
        return el;
}

static void nap(int ms)
{
        nanosleep(&(struct timespec){.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}, NULL);
}

static bool holder_is(const char *who)
{
        autojson struct json *lease = fake_objects_get(&objects, PATH);

        return strcmp(json_str(json_get(lease, "spec"), "holderIdentity", "nobody"), who) == 0;
}

static int transitions(void)
{
        autojson struct json *lease = fake_objects_get(&objects, PATH);

        return (int)json_int(json_get(lease, "spec"), "leaseTransitions", -1);
}

static void one_alone(void **state)
{
        (void)state;
        struct kube_election *a = candidate("a");
        assert_true(kube_election_wait(a, LONG_MS));
        assert_true(kube_election_leading(a));
        autojson struct json *lease = fake_objects_get(&objects, PATH);
        const struct json *spec = json_get(lease, "spec");
        int64_t us;
        assert_string_equal(json_str(spec, "holderIdentity", ""), "a");
        assert_int_equal(json_int(spec, "leaseDurationSeconds", 0), 1);
        assert_int_equal(json_int(spec, "leaseTransitions", -1), 0);
        assert_int_equal(rfc3339_parse(json_str(spec, "renewTime", ""), &us), 0);
        assert_int_equal(strlen(json_str(spec, "acquireTime", "")),
                         strlen("2026-01-02T03:04:05.000000Z"));
        nap(1500); /* it goes on */
        assert_true(kube_election_leading(a));
        assert_int_equal(transitions(), 0);
        kube_election_stop(a);
        assert_true(holder_is(""));
        kube_election_stop(NULL);
}

static void two_candidates_one_leader(void **state)
{
        (void)state;
        struct kube_election *el[2] = {candidate("a"), candidate("b")};
        int led[2] = {0};
        for (int i = 0; i < 600; i++) {
                bool a = kube_election_leading(el[0]), b = kube_election_leading(el[1]);
                assert_false(a && b);
                led[0] += a;
                led[1] += b;
                nap(2);
        }
        assert_true((led[0] > 300 && !led[1]) || (led[1] > 300 && !led[0]));
        int leader = led[1] > 0;
        struct mono start = mono_now();
        kube_election_stop(el[leader]); /* released: the other need not wait for the expiry */
        assert_true(kube_election_wait(el[!leader], LONG_MS));
        assert_true(mono_ms_between(start, mono_now()) < 800);
        assert_int_equal(transitions(), 1);
        kube_election_stop(el[!leader]);
}

static void put_lease(const char *holder, const char *renewed, int seconds)
{
        char text[512];
        struct json *j = NULL;

        snprintf(text, sizeof(text),
                 "{\"metadata\":{\"name\":\"migrator\",\"resourceVersion\":\"77\",\"labels\":{"
                 "\"k\":\"v\"}},"
                 "\"spec\":{\"holderIdentity\":\"%s\",\"renewTime\":\"%s\","
                 "\"leaseDurationSeconds\":%d,"
                 "\"leaseTransitions\":4}}",
                 holder, renewed, seconds);
        assert_int_equal(json_parse(text, strlen(text), 1000, &j, NULL), 0);
        pthread_mutex_lock(&objects.lock);
        json_set(objects.by_path, PATH, j);
        pthread_mutex_unlock(&objects.lock);
}

/* The dead holder's clock is not looked at: neither far past nor far future. */
static void expiry_is_by_our_own_clock(void **state)
{
        static const char *const times[] = {"1999-01-01T00:00:00.000000Z",
                                            "2999-01-01T00:00:00.000000Z"};

        (void)state;
        for (int i = 0; i < 2; i++) {
                put_lease("dead", times[i], 1);
                struct mono start = mono_now();
                struct kube_election *b = candidate("b");
                assert_true(kube_election_wait(b, LONG_MS));
                assert_in_range(mono_ms_between(start, mono_now()), 1000, 2000);
                assert_int_equal(transitions(), 5);
                autojson struct json *lease = fake_objects_get(&objects, PATH);
                assert_string_equal(json_str(json_path(lease, "metadata", "labels", NULL), "k", ""),
                                    "v");
                kube_election_stop(b);
        }
}

static void the_holders_duration_counts(void **state)
{
        (void)state;
        put_lease("slow", "2020-01-01T00:00:00.000000Z", 2);
        struct mono start = mono_now();
        struct kube_election *b = candidate("b");
        assert_true(kube_election_wait(b, LONG_MS));
        assert_in_range(mono_ms_between(start, mono_now()), 2000, 3000);
        kube_election_stop(b);
}

static void a_renewing_holder_keeps_it(void **state)
{
        char time[64];

        (void)state;
        put_lease("alive", "2020-01-01T00:00:00.000000Z", 1);
        struct kube_election *b = candidate("b");
        for (int i = 0; i < 20; i++) {
                nap(100);
                snprintf(time, sizeof(time), "2020-01-01T00:00:%02d.000000Z", i);
                put_lease("alive", time, 1);
                assert_false(kube_election_leading(b));
        }
        assert_true(holder_is("alive"));
        kube_election_stop(b);
        assert_true(holder_is("alive")); /* what is not ours is not released */
}

static void a_leader_that_cannot_renew_stops_in_time(void **state)
{
        (void)state;
        struct kube_election *a = candidate("a");
        assert_true(kube_election_wait(a, LONG_MS));
        pthread_mutex_lock(&objects.lock);
        objects.refuse = 1000000;
        pthread_mutex_unlock(&objects.lock);
        struct mono start = mono_now();
        errors = 0;
        while (kube_election_leading(a))
                nap(1);
        assert_in_range(mono_ms_between(start, mono_now()), 400,
                        900); /* renew_ms, before lease_ms */
        assert_true(errors > 0);
        pthread_mutex_lock(&objects.lock);
        objects.refuse = 0;
        pthread_mutex_unlock(&objects.lock);
        assert_true(kube_election_wait(a, LONG_MS)); /* and leads again once it can */
        assert_int_equal(transitions(), 0);
        kube_election_stop(a);
}

static void a_deposed_leader_knows(void **state)
{
        (void)state;
        struct kube_election *a = candidate("a");
        assert_true(kube_election_wait(a, LONG_MS));
        put_lease("usurper", "2999-01-01T00:00:00.000000Z", 60);
        struct mono start = mono_now();
        while (kube_election_leading(a))
                nap(1);
        assert_true(mono_ms_between(start, mono_now()) < 500);
        kube_election_stop(a);
        assert_true(holder_is("usurper"));
}

/* Between two terms another has led: what was decided in the first is not written in the second. */
static void each_term_is_another(void **state)
{
        struct mono until, start = mono_now();
        uint64_t first;

        (void)state;
        struct kube_election *a = candidate("a");
        assert_true(kube_election_wait(a, LONG_MS));
        first = kube_election_term(a);
        assert_int_not_equal(first, 0);
        assert_true(kube_election_leads(a, first, &until));
        assert_true(mono_ms_between(start, until) >= 1000);
        assert_true(mono_ms_between(mono_now(), until) <= 1000);
        put_lease("usurper", "2999-01-01T00:00:00.000000Z", 60);
        while (kube_election_term(a))
                nap(1);
        assert_false(kube_election_leads(a, first, &until));
        put_lease("", "2999-01-01T00:00:00.000000Z", 60);
        assert_true(kube_election_wait(a, LONG_MS));
        assert_false(kube_election_leads(a, first, &until));
        assert_true(kube_election_leads(a, kube_election_term(a), &until));
        kube_election_stop(a);
}

static void *waiter(void *arg)
{
        return kube_election_wait(arg, LONG_MS) ? arg : NULL;
}

static void stop_ends_the_wait(void **state)
{
        pthread_t t;
        void *result;

        (void)state;
        put_lease("other", "2999-01-01T00:00:00.000000Z", 60);
        struct kube_election *a = candidate("a");
        pthread_create(&t, NULL, waiter, a);
        nap(50);
        kube_election_stop(a);
        pthread_join(t, &result);
        assert_null(result);
}

static void a_standby_does_not_wait_for_ever(void **state)
{
        (void)state;
        put_lease("other", "2999-01-01T00:00:00.000000Z", 60);
        struct kube_election *a = candidate("a");
        assert_false(kube_election_wait(a, 20));
        assert_false(kube_election_wait(a, 0));
        assert_true(holder_is("other"));
        kube_election_stop(a);
}

static void times_must_fit(void **state)
{
        struct kube_election_config cfg = {.ns = "n", .name = "x", .identity = "me"};
        struct kube_election *el;
        struct err e;

        (void)state;
        assert_int_equal(kube_election_start(client, &cfg, &el, &e), -EINVAL);
        cfg.lease_ms = 10, cfg.renew_ms = 10, cfg.retry_ms = 2;
        assert_int_equal(kube_election_start(client, &cfg, &el, &e), -EINVAL);
        cfg.renew_ms = 5, cfg.identity = "";
        assert_int_equal(kube_election_start(client, &cfg, &el, &e), -EINVAL);
}

static void heartbeats(void **state)
{
        struct err e;
        char first[64];

        (void)state;
        assert_int_equal(kube_lease_renew(client, "drover", "migrator", "node-1", 40, &e), 0);
        autojson struct json *lease = fake_objects_get(&objects, PATH);
        const struct json *spec = json_get(lease, "spec");
        assert_string_equal(json_str(spec, "holderIdentity", ""), "node-1");
        assert_int_equal(json_int(spec, "leaseDurationSeconds", 0), 40);
        snprintf(first, sizeof(first), "%s", json_str(spec, "renewTime", ""));
        int requests = fake_requests(server);
        assert_int_equal(kube_lease_renew(client, "drover", "migrator", "node-1", 40, &e), 0);
        assert_int_equal(fake_requests(server), requests + 1);
        autojson struct json *again = fake_objects_get(&objects, PATH);
        assert_true(strcmp(json_str(json_get(again, "spec"), "renewTime", ""), first) > 0);
        assert_int_equal(json_int(json_get(again, "spec"), "leaseTransitions", -1), 0);
}

#define T(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)

int main(void)
{
        const struct CMUnitTest tests[] = {
                T(one_alone),
                T(two_candidates_one_leader),
                T(expiry_is_by_our_own_clock),
                T(the_holders_duration_counts),
                T(a_renewing_holder_keeps_it),
                T(a_leader_that_cannot_renew_stops_in_time),
                T(a_deposed_leader_knows),
                T(each_term_is_another),
                T(stop_ends_the_wait),
                T(a_standby_does_not_wait_for_ever),
                T(times_must_fit),
                T(heartbeats),
        };
        return cmocka_run_group_tests_name("kube_lease", tests, NULL, NULL);
}
