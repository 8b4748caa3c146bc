#include "kube/backoff.h"
#include "kube/table.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define N 3000

struct thing {
        int number;
        struct ktable_node node;
        char key[16];
        bool present;
};

static void as_a_model(void **state)
{
        static struct thing things[N];
        struct ktable t = ktable_new();
        size_t count = 0;
        unsigned seed = 1;

        (void)state;
        for (int i = 0; i < N; i++) {
                things[i] = (struct thing){.number = i};
                snprintf(things[i].key, sizeof(things[i].key), "ns/%d", i);
                things[i].node.key = things[i].key;
        }
        for (int step = 0; step < 20 * N; step++) {
                struct thing *x = &things[(unsigned)rand_r(&seed) % N];
                struct ktable_node *n = ktable_find(&t, x->key);

                assert_ptr_equal(n, x->present ? &x->node : NULL);
                if (n) {
                        assert_ptr_equal(ktable_entry(n, struct thing, node), x);
                        ktable_remove(&t, n);
                } else {
                        assert_int_equal(ktable_add(&t, &x->node), 0);
                }
                x->present = !x->present;
                count = x->present ? count + 1 : count - 1;
                assert_int_equal(t.count, count);
        }
        size_t walked = 0;
        for (struct ktable_node *n = ktable_first(&t), *next; n; n = next, walked++) {
                next = ktable_after(&t, n);
                assert_true(ktable_entry(n, struct thing, node)->present);
                ktable_remove(&t, n);
        }
        assert_int_equal(walked, count);
        assert_null(ktable_first(&t));
        ktable_free(&t);
}

static void seeds_differ(void **state)
{
        struct ktable a = ktable_new(), b = ktable_new();

        (void)state;
        assert_true(a.seed != b.seed);
}

static void table_without_memory(void **state)
{
        struct ktable t = ktable_new();
        struct ktable_node n[64];
        char keys[64][8];

        (void)state;
        n[0].key = "x";
        assert_null(ktable_find(&t, "x"));
        oom_arm_from(1);
        int rc = ktable_add(&t, &n[0]);
        assert_true(oom_disarm());
        assert_int_equal(rc, -ENOMEM);
        assert_int_equal(t.count, 0);
        assert_int_equal(ktable_add(&t, &n[0]), 0);
        oom_arm_from(1); /* it cannot grow, but it goes on */
        for (int i = 1; i < 64; i++) {
                snprintf(keys[i], sizeof(keys[i]), "k%d", i);
                n[i].key = keys[i];
                rc |= ktable_add(&t, &n[i]) ? 1 : 0;
        }
        oom_disarm();
        assert_int_equal(rc, -ENOMEM); /* nothing more has failed */
        for (int i = 1; i < 64; i++)
                assert_ptr_equal(ktable_find(&t, keys[i]), &n[i]);
        ktable_free(&t);
}

static void backoff_doubles_within_its_jitter(void **state)
{
        static const int64_t whole[] = {250,  500,   1000,  2000,  4000,
                                        8000, 16000, 30000, 30000, 30000};
        struct backoff low = {.min_ms = 250, .max_ms = 30000}, high = low;
        uint64_t random = 1;

        (void)state;
        for (int round = 0; round < 2; round++) {
                for (size_t i = 0; i < sizeof(whole) / sizeof(whole[0]); i++) {
                        struct backoff any = high;

                        assert_int_equal(backoff_next(&high, 0), whole[i]);
                        assert_int_equal(backoff_next(&low, (uint64_t)whole[i] / 2), whole[i] / 2);
                        for (int k = 0; k < 100; k++) {
                                struct backoff b = any;
                                int64_t ms = backoff_next(
                                        &b, random = random * 6364136223846793005u + 1);
                                assert_true(ms >= whole[i] / 2 && ms <= whole[i]);
                        }
                }
                backoff_reset(&high);
                backoff_reset(&low);
        }
        for (int i = 0; i < 1000; i++)
                assert_int_equal(backoff_next(&high, 0), i < 7 ? whole[i] : 30000);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(as_a_model),
                cmocka_unit_test(seeds_differ),
                cmocka_unit_test(table_without_memory),
                cmocka_unit_test(backoff_doubles_within_its_jitter),
        };
        return cmocka_run_group_tests_name("kube_table", tests, NULL, NULL);
}
