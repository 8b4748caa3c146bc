#include "extender/share.h"
#include "tests/unit/oom.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define LIST(...)                                                                                  \
        &(struct strs)                                                                             \
        {                                                                                          \
                (const char *[]){__VA_ARGS__},                                                     \
                        sizeof((const char *[]){__VA_ARGS__}) / sizeof(char *)                     \
        }

static void equal_lists_are_one(void **state)
{
        struct share s = share_new();
        struct shared_strs *a = share_get(&s, LIST("br0", "br7"));
        struct shared_strs *b = share_get(&s, LIST("br0", "br7"));
        struct shared_strs *c = share_get(&s, LIST("br7", "br0"));

        (void)state;
        assert_ptr_equal(a, b);
        assert_ptr_not_equal(a, c);
        assert_int_equal(shared_strs(a)->n, 2);
        assert_string_equal(shared_strs(a)->v[0], "br0");
        assert_string_equal(shared_strs(a)->v[1], "br7");
        share_put(&s, a);
        assert_string_equal(shared_strs(b)->v[1], "br7");
        assert_int_equal(s.table.count, 2);
        share_put(&s, b);
        share_put(&s, c);
        share_put(&s, NULL);
        assert_int_equal(s.table.count, 0);
        share_free(&s);
}

static void no_list_reads_as_another(void **state)
{
        struct share s = share_new();
        struct shared_strs *r[] = {
                share_get(&s, LIST("a", "b")),
                share_get(&s, LIST("a,1:b")),
                share_get(&s, LIST("a\nb")),
                share_get(&s, LIST("", "ab")),
                share_get(&s, LIST("ab", "")),
                share_get(&s, LIST("ab")),
                share_get(&s, &(struct strs){NULL, 0}),
                share_get(&s, LIST("")),
        };
        const size_t n = sizeof(r) / sizeof(r[0]);

        (void)state;
        assert_int_equal(s.table.count, n);
        assert_int_equal(shared_strs(r[6])->n, 0);
        assert_int_equal(shared_strs(r[7])->n, 1);
        for (size_t i = 0; i < n; i++)
                share_put(&s, r[i]);
        share_free(&s);
}

static void survives_failing_allocations(void **state)
{
        (void)state;
        for (unsigned long n = 1; n; n++) {
                struct share s = share_new();

                oom_arm(n);
                struct shared_strs *r = share_get(&s, LIST("br0", "br7"));
                if (!oom_disarm()) {
                        share_put(&s, r);
                        share_free(&s);
                        break;
                }
                assert_null(r);
                assert_int_equal(s.table.count, 0);
                share_free(&s);
        }
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(equal_lists_are_one),
                cmocka_unit_test(no_list_reads_as_another),
                cmocka_unit_test(survives_failing_allocations),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
