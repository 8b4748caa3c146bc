#include "core/health.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

/*
 * A transcript: letters are results (o ok, f failed, t timeout, s stuck, n not mounted, i another
 * identity), each one second after the one before; want says the state after each (? unknown,
 * + healthy, - unhealthy).
 */
static void play(struct health *h, int64_t *now_ms, const char *results, const char *want)
{
        static const char LETTERS[] = "oftsni";

        assert_int_equal(strlen(results), strlen(want));
        for (size_t i = 0; results[i]; i++) {
                enum mount_health before = h->state;
                enum probe_result r = (enum probe_result)(strchr(LETTERS, results[i]) - LETTERS);
                *now_ms += 1000;
                bool changed = health_step(h, r, *now_ms);
                char got = "?+-"[h->state];
                if (got != want[i])
                        fail_msg("step %zu of %s: %c, want %c", i, results, got, want[i]);
                assert_int_equal(changed, before != h->state);
        }
}

static void first_result_decides(void **state)
{
        static const char *const ROWS[][2] = {{"o", "+"}, {"f", "-"}, {"t", "-"},
                                              {"s", "-"}, {"n", "-"}, {"i", "-"}};

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                struct health h = {0};
                int64_t now = 0;
                assert_int_equal(h.state, MOUNT_UNKNOWN);
                play(&h, &now, ROWS[i][0], ROWS[i][1]);
        }
}

static void one_bad_answer_is_forgiven(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "ofofoto", "+++++++");
        play(&h, &now, "ff", "+-");
        memset(&h, 0, sizeof(h));
        play(&h, &now, "oft", "++-");
}

static void certain_results_count_at_once(void **state)
{
        static const char *const ROWS[] = {"os", "on", "oi"};

        (void)state;
        for (size_t i = 0; i < 3; i++) {
                struct health h = {0};
                int64_t now = 0;
                play(&h, &now, ROWS[i], "+-");
        }
}

static void recovery_takes_three_and_doubles(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "o", "+");
        play(&h, &now, "tt", "+-");
        assert_int_equal(health_needed(&h), 6);
        play(&h, &now, "ooooo", "-----");
        assert_int_equal(health_needed(&h), 1);
        play(&h, &now, "f", "-"); /* starts over */
        assert_int_equal(health_needed(&h), 6);
        play(&h, &now, "oooooo", "-----+");
        assert_int_equal(health_needed(&h), 0);
        play(&h, &now, "s", "-");
        assert_int_equal(health_needed(&h), 12);
        play(&h, &now, "oooooooooooo", "-----------+");
        play(&h, &now, "s", "-");
        assert_int_equal(health_needed(&h), 24);
        play(&h, &now, "oooooooooooooooooooooooo", "-----------------------+");
        play(&h, &now, "s", "-");
        assert_int_equal(health_needed(&h), 24); /* not for ever */
}

static void long_health_forgives_relapses(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "os", "+-");
        play(&h, &now, "oooooo", "-----+");
        now += HEALTH_FORGIVE_MS;
        play(&h, &now, "s", "-");
        assert_int_equal(health_needed(&h), 3);
        play(&h, &now, "ooo", "--+");
}

static void starts_unhealthy_and_recovers(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "n", "-");
        assert_int_equal(health_needed(&h), 3);
        play(&h, &now, "ooo", "--+");
}

static void a_change_is_confirmed_soon(void **state)
{
        struct health h = {0};

        (void)state;
        assert_int_equal(health_next_ms(&h), HEALTH_PERIOD_MS);
        health_step(&h, PROBE_OK, 0);
        assert_int_equal(health_next_ms(&h), HEALTH_PERIOD_MS);
        health_step(&h, PROBE_TIMEOUT, 1);
        assert_int_equal(health_next_ms(&h), HEALTH_CONFIRM_MS);
        health_step(&h, PROBE_TIMEOUT, 2);
        assert_int_equal(health_next_ms(&h), HEALTH_PERIOD_MS);
        health_step(&h, PROBE_OK, 3);
        assert_true(health_next_ms(&h) < HEALTH_PERIOD_MS);
}

static void results_have_names(void **state)
{
        (void)state;
        for (int r = 0; r < PROBE_RESULTS; r++)
                assert_true(strlen(probe_result_name((enum probe_result)r)) > 1);
        assert_string_equal(probe_result_name((enum probe_result)99), "?");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_result_decides),
                cmocka_unit_test(one_bad_answer_is_forgiven),
                cmocka_unit_test(certain_results_count_at_once),
                cmocka_unit_test(recovery_takes_three_and_doubles),
                cmocka_unit_test(long_health_forgives_relapses),
                cmocka_unit_test(starts_unhealthy_and_recovers),
                cmocka_unit_test(a_change_is_confirmed_soon),
                cmocka_unit_test(results_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
