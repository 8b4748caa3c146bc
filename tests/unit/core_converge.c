#include "core/converge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define MIB ((int64_t)1 << 20)

static struct vm_migration_policy policy = {.completion_timeout_s_per_gib = 10};

static void time_allowed(void **state)
{
        (void)state;
        assert_int_equal(converge_allowed_ms(&policy, 0), 10000);
        assert_int_equal(converge_allowed_ms(&policy, 1024 * MIB), 10000);
        assert_int_equal(converge_allowed_ms(&policy, 1025 * MIB), 20000);
        assert_int_equal(converge_allowed_ms(&policy, 64 * 1024 * MIB), 640000);
}

static void a_copy_that_ends_is_left_alone(void **state)
{
        struct converge c = {0};
        int64_t left = 1024 * MIB;

        (void)state;
        for (int64_t pass = 1; pass < 20; pass++, left /= 2)
                assert_int_equal(converge_step(&c, &policy, pass, left, pass * 100, 10000),
                                 CONVERGE_GO_ON);
        assert_int_equal(c.stalls, 0);
}

static void timeout_by_policy(void **state)
{
        static const enum on_timeout WISH[] = {TIMEOUT_ABORT, TIMEOUT_PAUSE};
        static const enum converge_action WANT[] = {CONVERGE_ABORT, CONVERGE_PAUSE};

        (void)state;
        for (int i = 0; i < 2; i++) {
                struct vm_migration_policy p = {.on_timeout = WISH[i]};
                struct converge c = {0};

                assert_int_equal(converge_step(&c, &p, 9, MIB, 10000, 10000), CONVERGE_GO_ON);
                assert_int_equal(converge_step(&c, &p, 9, MIB, 10001, 10000), WANT[i]);
                assert_int_equal(converge_step(&c, &p, 9, MIB, 10002, 10000), CONVERGE_GO_ON);
                c = (struct converge){0};
                assert_int_equal(converge_step(&c, &p, 9, MIB, 1000000, 0), CONVERGE_GO_ON);
        }
}

static void post_copy_by_consent_when_nothing_is_gained(void **state)
{
        struct vm_migration_policy p = {.post_copy = true};

        (void)state;
        for (int consents = 0; consents < 2; consents++) {
                struct converge c = {0};
                int64_t at = 0;

                p.post_copy = consents;
                for (int64_t pass = 1; pass < 10 && !at; pass++)
                        for (int look = 0; look < 3 && !at; look++)
                                if (converge_step(&c, &p, pass, 500 * MIB, pass, 0) ==
                                    CONVERGE_POST_COPY)
                                        at = pass;
                assert_int_equal(at, consents ? 2 + CONVERGE_STALLS : 0);
                assert_int_equal(converge_step(&c, &p, 20, MIB, 99, 1) == CONVERGE_ABORT,
                                 !consents);
        }
}

static void time_goes_on_through_restarts(void **state)
{
        struct vm_migration_policy p = {.on_timeout = TIMEOUT_ABORT};
        const int64_t began = INT64_C(1700000000000000);
        struct converge c = {0};

        (void)state;
        /* the second agent has looked for a second only, and time is up all the same */
        assert_int_equal(converge_elapsed_ms(began, began + 601000000), 601000);
        assert_int_equal(converge_step(&c, &p, 0, MIB,
                                       converge_elapsed_ms(began, began + 601000000), 600000),
                         CONVERGE_ABORT);
        assert_int_equal(converge_elapsed_ms(began, began), 0);
        assert_int_equal(converge_elapsed_ms(began, began - 5000000), 0);
        assert_int_equal(converge_elapsed_ms(0, began), 0);
}

static void bandwidth(void **state)
{
        (void)state;
        assert_int_equal(converge_bandwidth(0, 0, 3), 0);
        assert_int_equal(converge_bandwidth(50, 0, 3), 50);
        assert_int_equal(converge_bandwidth(0, 100, 2), 50);
        assert_int_equal(converge_bandwidth(20, 100, 2), 20);
        assert_int_equal(converge_bandwidth(80, 100, 2), 50);
        assert_int_equal(converge_bandwidth(0, 2, 5), 1);
        assert_int_equal(converge_bandwidth(0, 100, 0), 100);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(time_allowed),
                cmocka_unit_test(a_copy_that_ends_is_left_alone),
                cmocka_unit_test(timeout_by_policy),
                cmocka_unit_test(post_copy_by_consent_when_nothing_is_gained),
                cmocka_unit_test(time_goes_on_through_restarts),
                cmocka_unit_test(bandwidth),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
