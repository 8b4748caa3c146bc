#include "base/arena.h"
#include "tests/unit/oom.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void memory_is_zero_and_aligned(void **state)
{
        autoarena struct arena *a = arena_new(1 << 20);

        (void)state;
        for (size_t size = 1; size < 3000; size += 7) {
                char *p = arena_alloc(a, size);
                assert_non_null(p);
                assert_int_equal((uintptr_t)p % _Alignof(max_align_t), 0);
                for (size_t i = 0; i < size; i++)
                        assert_int_equal(p[i], 0);
                memset(p, 0xAA, size); /* must not show up in a later one */
                assert_non_null(arena_strdup(a, "some text"));
        }
}

static void objects_do_not_overlap(void **state)
{
        enum { N = 500 };
        autoarena struct arena *a = arena_new(1 << 20);
        unsigned char *p[N];
        char *s[N], text[32];

        (void)state;
        for (int i = 0; i < N; i++) {
                p[i] = arena_alloc(a, (size_t)(i % 90));
                memset(p[i], i, (size_t)(i % 90));
                s[i] = arena_printf(a, "string %d", i);
                assert_non_null(s[i]);
        }
        for (int i = 0; i < N; i++) {
                for (int k = 0; k < i % 90; k++)
                        assert_int_equal(p[i][k], i & 0xFF);
                snprintf(text, sizeof(text), "string %d", i);
                assert_string_equal(s[i], text);
        }
}

static void bound_is_kept(void **state)
{
        for (size_t limit = 0; limit < 5000; limit += 61) {
                autoarena struct arena *a = arena_new(limit);
                size_t got = 0;
                assert_non_null(a);
                while (arena_alloc(a, 16))
                        got += 16;
                assert_true(got <= limit);
                assert_true(arena_size(a) <= limit + 1000); /* plus the headers */
                assert_true(got + limit / 3 + 64 >= limit);
        }
        (void)state;
        autoarena struct arena *b = arena_new(1000);
        assert_non_null(arena_alloc(b, 1000 - 448)); /* one large piece in a block of its own */
        assert_null(arena_alloc(b, 1000));
        assert_non_null(arena_alloc(b, 100)); /* a failure harms nothing */
}

static void sizes_that_overflow_fail(void **state)
{
        autoarena struct arena *a = arena_new(SIZE_MAX);

        (void)state;
        assert_null(arena_array(a, SIZE_MAX / 2, 3));
        assert_null(arena_array(a, SIZE_MAX, SIZE_MAX));
        assert_null(arena_alloc(a, SIZE_MAX));
        assert_null(arena_alloc(a, SIZE_MAX - 20));
        assert_non_null(arena_array(a, 0, 8));
        assert_non_null(arena_alloc(a, 0));
}

static void strings(void **state)
{
        autoarena struct arena *a = arena_new(100000);
        char big[5000];

        (void)state;
        assert_null(arena_strdup(a, NULL));
        assert_string_equal(arena_strdup(a, ""), "");
        assert_string_equal(arena_printf(a, "%d-%s", 7, "x"), "7-x");
        memset(big, 'b', sizeof(big) - 1);
        big[sizeof(big) - 1] = 0;
        assert_string_equal(arena_strdup(a, big), big);
        assert_string_equal(arena_printf(a, "%s", big), big);
        assert_string_equal(arena_printf(a, "%s", ""), "");
}

static void little_is_wasted(void **state)
{
        autoarena struct arena *a = arena_new(10 << 20);
        size_t used = 0;

        (void)state;
        assert_true(arena_size(a) <= 512);
        for (int i = 0; i < 100000; i++) {
                assert_non_null(arena_strdup(a, "0123456"));
                used += 8;
                assert_true(arena_size(a) <= 512 + used * 2);
        }
        assert_true(arena_size(a) < used * 5 / 4);
}

static void each_allocation_fails_in_turn(void **state)
{
        (void)state;
        for (unsigned long n = 1; n; n++) {
                oom_arm(n);
                struct arena *a = arena_new(1 << 20);
                bool ok = a && arena_alloc(a, 4000) && arena_strdup(a, "text") &&
                          arena_alloc(a, 9000) && arena_printf(a, "%9000d", 1);
                bool failed = oom_disarm();
                if (a)
                        assert_non_null(arena_alloc(a, 3000)); /* goes on afterwards */
                arena_free(a);
                assert_int_equal(ok, !failed);
                if (!failed) {
                        assert_true(n > 3);
                        break;
                }
        }
        arena_free(NULL);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(memory_is_zero_and_aligned),
                cmocka_unit_test(objects_do_not_overlap),
                cmocka_unit_test(bound_is_kept),
                cmocka_unit_test(sizes_that_overflow_fail),
                cmocka_unit_test(strings),
                cmocka_unit_test(little_is_wasted),
                cmocka_unit_test(each_allocation_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
