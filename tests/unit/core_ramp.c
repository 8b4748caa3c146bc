#include "core/ramp.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void starts_small_and_ends_at_the_maximum(void **state)
{
        struct ramp r;
        int64_t now = 0, last = 0;
        int steps = 0;

        (void)state;
        ramp_begin(&r, 300, now);
        assert_int_equal(r.now_ms, RAMP_START_MS);
        for (int64_t pass = 1; pass < 100; pass++) {
                now += RAMP_DWELL_MS;
                if (ramp_step(&r, pass, now)) {
                        assert_true(r.now_ms > last && r.now_ms <= 300);
                        last = r.now_ms;
                        steps++;
                }
        }
        assert_int_equal(r.now_ms, 300);
        assert_int_equal(steps, RAMP_STEPS);
}

static void the_first_passes_are_left_alone(void **state)
{
        struct ramp r;

        (void)state;
        ramp_begin(&r, 300, 0);
        assert_false(ramp_step(&r, 1, 100000));
        assert_false(ramp_step(&r, 2, 200000));
        assert_true(ramp_step(&r, 3, 300000));
        assert_false(ramp_step(&r, 3, 400000)); /* one pass is one step at most */
        assert_true(ramp_step(&r, 4, 500000));
}

static void quick_passes_wait(void **state)
{
        struct ramp r;

        (void)state;
        ramp_begin(&r, 300, 0);
        assert_false(ramp_step(&r, 10, RAMP_DWELL_MS - 1));
        assert_true(ramp_step(&r, 10, RAMP_DWELL_MS));
        assert_false(ramp_step(&r, 20, RAMP_DWELL_MS + 1));
}

static void a_low_maximum_is_kept(void **state)
{
        struct ramp r;

        (void)state;
        ramp_begin(&r, 20, 0);
        assert_int_equal(r.now_ms, 20);
        for (int64_t pass = 1; pass < 50; pass++)
                assert_false(ramp_step(&r, pass, pass * 1000));
        assert_int_equal(r.now_ms, 20);
        ramp_begin(&r, 0, 0);
        assert_int_equal(r.now_ms, RAMP_START_MS);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(starts_small_and_ends_at_the_maximum),
                cmocka_unit_test(the_first_passes_are_left_alone),
                cmocka_unit_test(quick_passes_wait),
                cmocka_unit_test(a_low_maximum_is_kept),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
