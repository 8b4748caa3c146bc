#include "base/buf.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void appends(void **state)
{
        autobuf struct buf b = buf_new(1000);

        (void)state;
        assert_string_equal(buf_str(&b), "");
        assert_null(b.data);
        assert_int_equal(buf_add(&b, "ab", 2), 0);
        assert_int_equal(buf_adds(&b, "cd"), 0);
        assert_int_equal(buf_addf(&b, "%d%s", 5, "e"), 0);
        assert_int_equal(buf_add(&b, NULL, 0), 0);
        assert_string_equal(buf_str(&b), "abcd5e");
        assert_int_equal(b.len, 6);
        buf_drop(&b, 2);
        assert_string_equal(buf_str(&b), "cd5e");
        buf_cut(&b, 3);
        assert_string_equal(buf_str(&b), "cd5");
        buf_drop(&b, 3);
        assert_string_equal(buf_str(&b), "");
        buf_reset(&b);
        assert_non_null(b.data);
        buf_free(&b);
        buf_free(&b);
        assert_null(b.data);
        buf_drop(&b, 0);
        assert_int_equal(b.limit, 1000);
}

static void bound_is_exact(void **state)
{
        (void)state;
        for (size_t limit = 0; limit < 300; limit++) {
                autobuf struct buf b = buf_new(limit);
                for (size_t i = 0; i < limit; i++)
                        assert_int_equal(buf_add(&b, "x", 1), 0);
                assert_int_equal(b.len, limit);
                assert_true(b.cap <= limit + 1);
                assert_int_equal(buf_add(&b, "y", 1), -E2BIG);
                assert_int_equal(b.len, limit);
                assert_int_equal(strlen(buf_str(&b)), limit);
        }
        autobuf struct buf whole = buf_new(5);
        assert_int_equal(buf_addf(&whole, "%s", "12345"), 0);
        assert_int_equal(buf_addf(&whole, "%s", "6"), -E2BIG);
        assert_string_equal(buf_str(&whole), "12345");
}

static void failure_stays_until_reset(void **state)
{
        autobuf struct buf b = buf_new(4);

        (void)state;
        buf_adds(&b, "abc");
        assert_int_equal(buf_adds(&b, "de"), -E2BIG);
        assert_true(b.failed);
        assert_int_equal(b.error, -E2BIG);
        assert_int_equal(buf_adds(&b, "d"), -E2BIG); /* would fit, but the text has a hole */
        assert_int_equal(buf_adds(&b, ""), -E2BIG);
        assert_int_equal(buf_addf(&b, "d"), -E2BIG);
        assert_string_equal(buf_str(&b), "abc");
        buf_cut(&b, 2);
        assert_int_equal(buf_adds(&b, "z"), 0);
        assert_string_equal(buf_str(&b), "abz");
        buf_adds(&b, "too long");
        buf_reset(&b);
        assert_int_equal(buf_adds(&b, "1234"), 0);
        assert_string_equal(buf_str(&b), "1234");
}

static void huge_lengths_fail(void **state)
{
        autobuf struct buf b = buf_new(SIZE_MAX);

        (void)state;
        assert_int_equal(buf_adds(&b, "abc"), 0);
        assert_int_equal(buf_add(&b, "x", SIZE_MAX), -E2BIG);
        buf_cut(&b, 3);
        assert_int_equal(buf_add(&b, "x", SIZE_MAX - 3), -E2BIG);
        assert_string_equal(buf_str(&b), "abc");
}

static void memory_outside_the_heap(void **state)
{
        char room[8];
        struct buf b = {.data = room, .cap = sizeof(room), .limit = sizeof(room) - 1};

        (void)state;
        oom_arm_from(1);
        assert_int_equal(buf_adds(&b, "1234567"), 0);
        assert_int_equal(buf_adds(&b, "8"), -E2BIG);
        assert_false(oom_disarm());
        assert_string_equal(room, "1234567");
}

/* What is known to come needs one allocation and no more than its size. */
static void reserved_room_is_exact(void **state)
{
        autobuf struct buf b = buf_new(100000);

        (void)state;
        assert_int_equal(buf_adds(&b, "head"), 0);
        oom_arm(1);
        assert_int_equal(buf_reserve(&b, 70000), -ENOMEM);
        assert_true(oom_disarm());
        assert_false(b.failed);
        assert_string_equal(buf_str(&b), "head");
        assert_int_equal(buf_reserve(&b, 70000), 0);
        assert_int_equal(b.cap, 70001);
        assert_string_equal(buf_str(&b), "head");
        oom_arm_from(1);
        assert_int_equal(buf_reserve(&b, 10), 0);
        while (b.len < 70000)
                assert_int_equal(buf_add(&b, "x", 1), 0);
        assert_false(oom_disarm());
        assert_int_equal(b.cap, 70001);
        assert_int_equal(buf_reserve(&b, 100001), -E2BIG);
        assert_int_equal(buf_adds(&b, "more"), 0);
}

static void numbers_read_back(void **state)
{
        static const struct {
                double v;
                const char *text;
        } ROWS[] = {{0, "0"},        {1, "1"},
                    {-2.5, "-2.5"},  {0.1, "0.1"},
                    {1e21, "1e+21"}, {0.30000000000000004, "0.30000000000000004"},
                    {1e-7, "1e-07"}, {123456789, "123456789"}};

        (void)state;
        for (size_t i = 0; i < countof(ROWS); i++) {
                autobuf struct buf b = buf_new(40);
                buf_add_num(&b, ROWS[i].v);
                assert_string_equal(buf_str(&b), ROWS[i].text);
        }
        for (int i = 0; i < 20000; i++) {
                double v = ldexp((double)random() * 4503599.0 + (double)random(),
                                 (int)(random() % 200) - 100);
                autobuf struct buf b = buf_new(40);
                buf_add_num(&b, v);
                assert_true(strtod(buf_str(&b), NULL) == v);
        }
}

static void each_allocation_fails_in_turn(void **state)
{
        (void)state;
        for (unsigned long n = 1; n; n++) {
                autobuf struct buf b = buf_new(100000);
                int rc = 0;
                oom_arm(n);
                for (int i = 0; i < 1000 && rc == 0; i++)
                        rc = i % 2 ? buf_addf(&b, "%d", i) : buf_adds(&b, "some text ");
                if (!oom_disarm()) {
                        assert_int_equal(rc, 0);
                        assert_true(n > 5);
                        break;
                }
                assert_int_equal(rc, -ENOMEM);
                assert_int_equal(b.error, -ENOMEM);
                assert_int_equal(buf_adds(&b, "x"), -ENOMEM);
                assert_int_equal(strlen(buf_str(&b)), b.len);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(appends),
                cmocka_unit_test(bound_is_exact),
                cmocka_unit_test(failure_stays_until_reset),
                cmocka_unit_test(huge_lengths_fail),
                cmocka_unit_test(memory_outside_the_heap),
                cmocka_unit_test(reserved_room_is_exact),
                cmocka_unit_test(numbers_read_back),
                cmocka_unit_test(each_allocation_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
