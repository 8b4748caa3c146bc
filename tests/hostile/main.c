/*
 * Each attack on each program: what the honest client is told, how fast, and what it costs the
 * program in memory; and that nothing of it is left.
 */
#include "tests/hostile/hostile.h"

#define CALM        100         /* answers of the honest client before an attack */
#define ANSWER_MS   50.0        /* what it may wait for an answer under attack */
#define NOISE       10          /* or that much longer than before it, on a machine that is busy */
#define PATIENCE_MS 20000       /* for what is to be given back */
#define TLS_KIB     64          /* of a session: its keys, and a record each way */
#define LEFT_KIB    (32L << 10) /* what the allocator may keep of what was freed */

static struct target *target;
static long rss_before;
static int fds_before;

/* What the documented limits add up to, see http/server.h. */
static long bound_kib(bool large)
{
        long conns = HTTP_CONNECTIONS *
                     (long)(HTTP_HEADER_MAX / 1024 + HTTP_SMALL_BODY / 1024 + TLS_KIB);
        long bodies = large ? (long)(HTTP_LARGE_BODIES * target->max_body / 1024) : 0;

        return rss_before + conns + bodies + (large ? target->busy_kib : 0);
}

static void figure(const char *attack, const char *what, double value, const char *unit,
                   double most)
{
        printf("figure hostile_%s_%s_%s %.1f %s target <= %.0f %s\n", target->name, attack, what,
               value, unit, most, value <= most ? "ok" : "short");
        fflush(stdout);
        if (value > most)
                complain("%s under %s: %.1f %s, not %.0f", what, attack, value, unit, most);
}

/* What is not worth a line unless it is too much. */
static void check(const char *attack, const char *what, double value, const char *unit, double most)
{
        if (value > most)
                figure(attack, what, value, unit, most);
}

static double most_ms(double calm)
{
        return calm * NOISE > ANSWER_MS ? calm * NOISE : ANSWER_MS;
}

/* What the attackers took is given back, some of it only when the housekeeper has looked. */
static void settle(const char *attack)
{
        struct mono limit = mono_add_ms(mono_now(), PATIENCE_MS);
        long most = rss_before + LEFT_KIB;

        while ((target_fds(target) > fds_before || target_rss_kib(target) > most) &&
               mono_ms_between(mono_now(), limit) > 0)
                nap_ms(20);
        if (target_fds(target) > fds_before)
                complain("%d descriptors are open, %d were before", target_fds(target), fds_before);
        check(attack, "left", (double)target_rss_kib(target) / 1024, "MiB", (double)most / 1024);
}

static struct latency calm_latency(void)
{
        honest_latency(true);
        honest_latency(false);
        honest_await(CALM);
        honest_latency(true);
        return honest_latency(false);
}

static void suffer(void **state)
{
        const struct attack *a = *state;
        struct latency before = calm_latency();
        struct mono began = mono_now();

        target_peak_kib(target);
        a->run(target);
        struct latency kept = honest_latency(false), first = honest_latency(true);
        bool large = a->large || fds_before < 0; /* then an earlier peak is not forgotten either */
        long peak = target_peak_kib(target);
        settle(a->name);
        struct latency after = calm_latency();
        double p50 = before.p50 > after.p50 ? before.p50 : after.p50;
        double p95 = before.p95 > after.p95 ? before.p95 : after.p95;

        printf("%s, %s: %.1f s, %zu answers, calm p50 %.1f p95 %.1f ms, attacked p50 %.1f p95 %.1f "
               "p99 "
               "%.1f ms; new connections p50 %.1f p95 %.1f ms\n",
               target->name, a->name, (double)mono_ms_between(began, mono_now()) / 1000, kept.n,
               p50, p95, kept.p50, kept.p95, kept.p99, first.p50, first.p95);
        figure(a->name, "p50", kept.p50, "ms", most_ms(p50));
        figure(a->name, "p95", kept.p95, "ms", most_ms(p95));
        check(a->name, "connect_p50", first.p50, "ms", most_ms(p50));
        figure(a->name, "peak", (double)peak / 1024, "MiB", (double)bound_kib(large) / 1024);
        no_complaints();
}

static void bounds_fit_into_the_container(void **state)
{
        (void)state;
        assert_true(bound_kib(true) <= target->limit_kib);
}

static int begin(struct target *t)
{
        scene_start();
        target = t;
        target_start(t);
        honest_start(t);
        honest_await(CALM);
        fds_before = target_fds(t);
        rss_before = target_rss_kib(t);
        if (fds_before < 0)
                printf("descriptors are not counted: only root may\n");
        no_complaints();
        return 0;
}

static int begin_webhook(void **state)
{
        (void)state;
        return begin(&webhook);
}

static int begin_extender(void **state)
{
        (void)state;
        return begin(&extender);
}

static int finish(void **state)
{
        (void)state;
        honest_stop();
        target_stop(target);
        scene_stop();
        return 0;
}

int main(void)
{
        struct CMUnitTest tests[16] = {cmocka_unit_test(bounds_fit_into_the_container)};

        setvbuf(stdout, NULL, _IOLBF, 0);
        if (getenv("CMOCKA_TEST_FILTER"))
                cmocka_set_test_filter(getenv("CMOCKA_TEST_FILTER"));
        for (size_t i = 0; i < NATTACKS; i++)
                tests[i + 1] = (struct CMUnitTest){.name = ATTACKS[i].name,
                                                   .test_func = suffer,
                                                   .initial_state = (void *)(uintptr_t)&ATTACKS[i]};
        int failed = _cmocka_run_group_tests("webhook", tests, NATTACKS + 1, begin_webhook, finish);
        return failed +
               _cmocka_run_group_tests("extender", tests, NATTACKS + 1, begin_extender, finish);
}
