#include "agent/errand.h"

#include <errno.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static int yield_seven(void *ctx, struct err *e)
{
        *(int *)ctx = 7;
        (void)e;
        return 0;
}

static int come_to_nothing(void *ctx, struct err *e)
{
        *(int *)ctx = 8;
        return err_set(e, -ENOTCONN, "no way");
}

static void what_came_of_it_is_known_once_at_its_end(void **state)
{
        struct errand x = {0};
        struct err e = {0};
        int value = 0;

        (void)state;
        assert_int_equal(errand_begin(&x, yield_seven, &value, &e), 0);
        assert_int_equal(errand_end(&x, &e), 0);
        assert_int_equal(value, 7);
        assert_int_equal(errand_begin(&x, come_to_nothing, &value, &e), 0);
        assert_int_equal(errand_end(&x, &e), -ENOTCONN);
        assert_int_equal(value, 8);
        assert_non_null(strstr(e.msg, "no way"));
        assert_int_equal(errand_end(&x, &e), 0);
}

static void one_that_is_dropped_is_waited_for(void **state)
{
        struct errand x = {0};
        struct err e = {0};
        int value = 0;

        (void)state;
        errand_drop(&x); /* none */
        assert_int_equal(errand_begin(&x, come_to_nothing, &value, &e), 0);
        errand_drop(&x);
        assert_int_equal(value, 8);
        assert_false(x.begun);
        assert_string_equal(e.msg, "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(what_came_of_it_is_known_once_at_its_end),
                cmocka_unit_test(one_that_is_dropped_is_waited_for),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
