#include "core/health.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const struct health_limits LIMITS = HEALTH_DEFAULTS;

/*
 * A transcript: letters are results (o ok, n not mounted, w wrong export, r read-only, e stale,
 * f full, h hung, s stuck, l slow, q server silent, i I/O error, d forbidden, p not made), each one
 * second after the one before; want says the state after each (? unknown, + healthy, - unhealthy).
 */
static const char LETTERS[] = "onwrefhslqidp";
_Static_assert(sizeof(LETTERS) - 1 == PROBE_RESULTS, "a letter each");

static void play(struct health *h, int64_t *now_ms, const char *results, const char *want)
{
        assert_int_equal(strlen(results), strlen(want));
        for (size_t i = 0; results[i]; i++) {
                enum mount_health before = h->state;
                enum probe_result r = (enum probe_result)(strchr(LETTERS, results[i]) - LETTERS);
                *now_ms += 1000;
                bool changed = health_step(h, &LIMITS, r, *now_ms);
                char got = "?+-"[h->state];
                if (got != want[i])
                        fail_msg("step %zu of %s: %c, want %c", i, results, got, want[i]);
                assert_int_equal(changed, before != h->state);
        }
}

static void first_result_decides(void **state)
{
        (void)state;
        for (size_t i = 0; LETTERS[i]; i++) {
                struct health h = {0};
                int64_t now = 0;
                assert_int_equal(h.state, MOUNT_UNKNOWN);
                assert_string_equal(health_verdict(&h), "NotProbedYet");
                play(&h, &now, (char[]){LETTERS[i], '\0'}, i ? "-" : "+");
                assert_string_equal(health_verdict(&h), probe_result_name((enum probe_result)i));
        }
}

static void one_bad_answer_is_forgiven(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "oiohodoqofolopo", "+++++++++++++++");
        assert_string_equal(health_verdict(&h), "Healthy");
        play(&h, &now, "i", "+");
        assert_string_equal(health_verdict(&h), "Healthy");
        play(&h, &now, "f", "-");
        assert_string_equal(health_verdict(&h), "Full");
        memset(&h, 0, sizeof(h));
        play(&h, &now, "oih", "++-");
}

static void what_is_certain_counts_at_once(void **state)
{
        static const char *const ROWS[] = {"os", "on", "ow", "or", "oe"};

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                struct health h = {0};
                int64_t now = 0;
                play(&h, &now, ROWS[i], "+-");
        }
}

static void the_limits_are_those_given(void **state)
{
        const struct health_limits l = {.bad = 3, .good = 1, .period_ms = 100};
        struct health h = {0};

        (void)state;
        health_step(&h, &l, PROBE_OK, 0);
        assert_false(health_step(&h, &l, PROBE_HUNG, 1));
        assert_false(health_step(&h, &l, PROBE_HUNG, 2));
        assert_int_equal(health_next_ms(&h, &l), 100); /* never longer than between any two */
        assert_true(health_step(&h, &l, PROBE_HUNG, 3));
        assert_int_equal(health_needed(&h, &l), 2);
        health_step(&h, &l, PROBE_OK, 4);
        assert_string_equal(health_verdict(&h), "Recovering");
        assert_true(health_step(&h, &l, PROBE_OK, 5));
}

static void recovery_takes_three_and_doubles(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "o", "+");
        play(&h, &now, "hh", "+-");
        assert_int_equal(health_needed(&h, &LIMITS), 6);
        play(&h, &now, "ooooo", "-----");
        assert_int_equal(health_needed(&h, &LIMITS), 1);
        play(&h, &now, "i", "-"); /* starts over */
        assert_int_equal(health_needed(&h, &LIMITS), 6);
        play(&h, &now, "oooooo", "-----+");
        assert_int_equal(health_needed(&h, &LIMITS), 0);
        play(&h, &now, "s", "-");
        assert_int_equal(health_needed(&h, &LIMITS), 6); /* not for ever */
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
        assert_int_equal(health_needed(&h, &LIMITS), 3);
        play(&h, &now, "ooo", "--+");
}

static void starts_unhealthy_and_recovers(void **state)
{
        struct health h = {0};
        int64_t now = 0;

        (void)state;
        play(&h, &now, "n", "-");
        assert_int_equal(health_needed(&h, &LIMITS), 3);
        play(&h, &now, "ooo", "--+");
}

static void a_change_is_confirmed_soon(void **state)
{
        struct health h = {0};

        (void)state;
        assert_int_equal(health_next_ms(&h, &LIMITS), LIMITS.period_ms);
        health_step(&h, &LIMITS, PROBE_OK, 0);
        assert_int_equal(health_next_ms(&h, &LIMITS), LIMITS.period_ms);
        health_step(&h, &LIMITS, PROBE_HUNG, 1);
        assert_int_equal(health_next_ms(&h, &LIMITS), HEALTH_CONFIRM_MS);
        health_step(&h, &LIMITS, PROBE_HUNG, 2);
        assert_int_equal(health_next_ms(&h, &LIMITS), LIMITS.period_ms);
        health_step(&h, &LIMITS, PROBE_OK, 3);
        assert_int_equal(health_next_ms(&h, &LIMITS), HEALTH_CONFIRM_MS);
}

/* Within ten seconds, with the agent's deadline for a probe, whatever came before. */
static void the_defaults_are_quick_enough(void **state)
{
        const int64_t deadline = 3000, most_good = LIMITS.good << HEALTH_RELAPSE_MAX;

        (void)state;
        assert_true(LIMITS.period_ms + LIMITS.bad * deadline +
                            (LIMITS.bad - 1) * HEALTH_CONFIRM_MS <
                    9000);
        assert_true(LIMITS.period_ms + (most_good - 1) * (HEALTH_CONFIRM_MS + 500) < 8000);
        assert_true(LIMITS.slow_ms < deadline);
}

static void space_and_time_are_judged(void **state)
{
        const struct health_limits l = {
                .slow_ms = 100, .min_free_bytes = 1000, .min_free_inodes = 10};
        const struct health_limits none = {0};

        (void)state;
        assert_int_equal(health_judge(&l, 100000, 1000, 10, true), PROBE_OK);
        assert_int_equal(health_judge(&l, 100001, 1000, 10, true), PROBE_SLOW);
        assert_int_equal(health_judge(&l, 1, 999, 10, true), PROBE_FULL);
        assert_int_equal(health_judge(&l, 1, 1000, 9, true), PROBE_FULL);
        assert_int_equal(health_judge(&l, 1, 1000, 0, false), PROBE_OK); /* it has no inodes */
        assert_int_equal(health_judge(&none, INT64_MAX, 0, 0, true), PROBE_OK);
}

static void errors_have_their_verdicts(void **state)
{
        static const struct {
                int error;
                enum probe_result want;
        } ROWS[] = {{EROFS, PROBE_READ_ONLY},
                    {ESTALE, PROBE_STALE},
                    {ENOSPC, PROBE_FULL},
                    {EDQUOT, PROBE_FULL},
                    {EACCES, PROBE_FORBIDDEN},
                    {EPERM, PROBE_FORBIDDEN},
                    {ENOTCONN, PROBE_SERVER_SILENT},
                    {EHOSTDOWN, PROBE_SERVER_SILENT},
                    {ENODEV, PROBE_NOT_MOUNTED},
                    {ENOMEM, PROBE_FAILED},
                    {EIO, PROBE_IO_ERROR},
                    {EINVAL, PROBE_IO_ERROR}};

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++)
                assert_int_equal(probe_result_of(ROWS[i].error), ROWS[i].want);
}

static void results_have_names(void **state)
{
        (void)state;
        for (int i = 0; i < PROBE_RESULTS; i++) {
                enum probe_result r = (enum probe_result)i;
                assert_true(strlen(probe_result_name(r)) > 1);
                assert_int_equal(probe_result_parse(probe_result_name(r)), r);
                assert_int_equal(*probe_result_mend(r) == '\0', r == PROBE_OK);
        }
        assert_string_equal(probe_result_name((enum probe_result)99), "?");
        assert_string_equal(probe_result_mend((enum probe_result)99), "");
        assert_int_equal(probe_result_parse("nonsense"), PROBE_FAILED);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(first_result_decides),
                cmocka_unit_test(one_bad_answer_is_forgiven),
                cmocka_unit_test(what_is_certain_counts_at_once),
                cmocka_unit_test(the_limits_are_those_given),
                cmocka_unit_test(recovery_takes_three_and_doubles),
                cmocka_unit_test(long_health_forgives_relapses),
                cmocka_unit_test(starts_unhealthy_and_recovers),
                cmocka_unit_test(a_change_is_confirmed_soon),
                cmocka_unit_test(the_defaults_are_quick_enough),
                cmocka_unit_test(space_and_time_are_judged),
                cmocka_unit_test(errors_have_their_verdicts),
                cmocka_unit_test(results_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
