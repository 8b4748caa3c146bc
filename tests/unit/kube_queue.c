#include "base/mono.h"
#include "kube/queue.h"
#include "tests/unit/oom.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void take(struct kube_queue *q, const char *want, int64_t within_ms)
{
        char key[KUBE_KEY_MAX];

        if (!kube_queue_take(q, key, within_ms))
                fail_msg("no key within %d ms, wanted %s", (int)within_ms, want);
        assert_string_equal(key, want);
}

static void nothing_for(struct kube_queue *q, int64_t ms)
{
        struct mono start = mono_now();
        char key[KUBE_KEY_MAX];

        assert_false(kube_queue_take(q, key, ms));
        assert_true(mono_ms_between(start, mono_now()) >= ms);
}

static void each_key_once(void **state)
{
        struct kube_queue *q = kube_queue_new(10, 100);

        (void)state;
        kube_queue_add(q, "a");
        kube_queue_add(q, "b");
        kube_queue_add(q, "a");
        assert_int_equal(kube_queue_len(q), 2);
        take(q, "a", 0);
        take(q, "b", 0);
        nothing_for(q, 0);
        assert_int_equal(kube_queue_len(q), 0);
        kube_queue_done(q, "a");
        kube_queue_done(q, "b");
        nothing_for(q, 20);
        kube_queue_add(q, "a");
        take(q, "a", 0);
        kube_queue_done(q, "a");
        kube_queue_free(q);
}

static void added_while_worked_on(void **state)
{
        struct kube_queue *q = kube_queue_new(10, 100);

        (void)state;
        kube_queue_add(q, "a");
        take(q, "a", 0);
        kube_queue_add(q, "a");
        kube_queue_add(q, "a");
        nothing_for(q, 20); /* never by two at once */
        kube_queue_done(q, "a");
        take(q, "a", 0);
        kube_queue_done(q, "a");
        nothing_for(q, 20);
        kube_queue_free(q);
}

static void the_earliest_delay_wins(void **state)
{
        struct kube_queue *q = kube_queue_new(10, 100);
        struct mono start = mono_now();

        (void)state;
        kube_queue_add_after(q, "late", 300);
        kube_queue_add_after(q, "late", 60);
        kube_queue_add_after(q, "late", 400);
        kube_queue_add_after(q, "soon", 30);
        assert_int_equal(kube_queue_len(q), 0);
        take(q, "soon", 1000);
        assert_true(mono_ms_between(start, mono_now()) >= 29);
        take(q, "late", 1000);
        assert_in_range(mono_ms_between(start, mono_now()), 59, 290);
        kube_queue_done(q, "late");
        kube_queue_done(q, "soon");
        nothing_for(q, 350);
        kube_queue_free(q);
}

static void delay_of_a_key_in_work(void **state)
{
        struct kube_queue *q = kube_queue_new(10, 100);

        (void)state;
        kube_queue_add(q, "a");
        take(q, "a", 0);
        kube_queue_add_after(q, "a", 20);
        nothing_for(q, 60);
        kube_queue_done(q, "a");
        take(q, "a", 0);
        kube_queue_done(q, "a");
        kube_queue_free(q);
}

static void many_delays_come_in_order(void **state)
{
        struct kube_queue *q = kube_queue_new(10, 100);
        unsigned seed = 7;
        int last = -1;

        (void)state;
        for (int i = 0; i < 500; i++) {
                int ms = 1 + rand_r(&seed) % 400;
                char key[32];
                snprintf(key, sizeof(key), "%03d-%d", ms, i);
                kube_queue_add_after(q, key, ms * 10); /* far enough apart to be ordered */
        }
        for (int i = 0; i < 500; i++) { /* sooner, in the opposite order of their names */
                char key[32];
                snprintf(key, sizeof(key), "%d", i);
                kube_queue_add_after(q, key, 600 - i);
        }
        for (int i = 0; i < 150; i++) {
                char key[KUBE_KEY_MAX];
                assert_true(kube_queue_take(q, key, 2000));
                kube_queue_done(q, key);
                if (strchr(key, '-'))
                        continue;
                assert_true(last < 0 || atoi(key) < last);
                last = atoi(key);
        }
        kube_queue_free(q);
}

static int64_t time_of_retry(struct kube_queue *q)
{
        struct mono start = mono_now();

        kube_queue_retry(q, "a");
        take(q, "a", 5000);
        kube_queue_done(q, "a");
        return mono_ms_between(start, mono_now());
}

static void retries_back_off(void **state)
{
        struct kube_queue *q = kube_queue_new(50, 400);
        static const int64_t whole[] = {50, 100, 200, 400, 400};

        (void)state;
        for (int i = 0; i < 5; i++)
                assert_in_range(time_of_retry(q), whole[i] / 2 - 1, whole[i] + 200);
        kube_queue_forget(q, "a");
        assert_in_range(time_of_retry(q), 24, 190);
        kube_queue_forget(q, "a");
        kube_queue_forget(q, "never seen");
        kube_queue_free(q);
}

static void *waiter(void *arg)
{
        char key[KUBE_KEY_MAX];

        return kube_queue_take(arg, key, -1) ? arg : NULL;
}

static void close_wakes_all(void **state)
{
        struct kube_queue *q = kube_queue_new(20, 160);
        pthread_t t[3];
        char key[KUBE_KEY_MAX];
        void *result;

        (void)state;
        for (int i = 0; i < 3; i++)
                pthread_create(&t[i], NULL, waiter, q);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        kube_queue_close(q);
        for (int i = 0; i < 3; i++) {
                pthread_join(t[i], &result);
                assert_null(result);
        }
        kube_queue_add(q, "a");
        assert_false(kube_queue_take(q, key, -1));
        kube_queue_free(q);
}

static void a_sleeper_hears_of_an_earlier_key(void **state)
{
        struct kube_queue *q = kube_queue_new(20, 160);
        struct mono start = mono_now();
        pthread_t t;
        void *result;

        (void)state;
        kube_queue_add_after(q, "late", 5000);
        pthread_create(&t, NULL, waiter, q);
        nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        kube_queue_add_after(q, "soon", 10);
        pthread_join(t, &result);
        assert_ptr_equal(result, q);
        assert_true(mono_ms_between(start, mono_now()) < 2000);
        kube_queue_free(q);
}

static _Atomic int64_t last_take;

static void *slow_worker(void *arg)
{
        char key[KUBE_KEY_MAX];

        kube_queue_take(arg, key, -1);
        last_take = mono_now().ns;
        nanosleep(&(struct timespec){.tv_nsec = 500000000}, NULL); /* at work, not in the queue */
        return NULL;
}

static void the_next_delay_wakes_another(void **state)
{
        struct kube_queue *q = kube_queue_new(20, 160);
        struct mono start = mono_now();
        pthread_t t[2];

        (void)state;
        for (int i = 0; i < 2; i++)
                pthread_create(&t[i], NULL, slow_worker, q);
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL); /* both sleep without an end */
        kube_queue_add_after(q, "a", 30);
        kube_queue_add_after(q, "b", 60);
        nanosleep(&(struct timespec){.tv_nsec = 400000000}, NULL);
        int64_t taken = mono_ms_between(start, (struct mono){last_take});
        kube_queue_add(q, "so that both end");
        for (int i = 0; i < 2; i++)
                pthread_join(t[i], NULL);
        assert_in_range(taken, 110, 400); /* by the one that still slept */
        kube_queue_free(q);
}

#define KEYS 50

static struct {
        struct kube_queue *q;
        _Atomic int busy[KEYS], adds[KEYS], worked[KEYS];
        _Atomic int clashes;
} crowd;

static void *producer(void *arg)
{
        unsigned seed = (unsigned)(uintptr_t)arg;
        char key[16];

        for (int i = 0; i < 3000; i++) {
                int k = rand_r(&seed) % KEYS;
                snprintf(key, sizeof(key), "%d", k);
                crowd.adds[k]++;
                if (i % 3)
                        kube_queue_add(crowd.q, key);
                else
                        kube_queue_add_after(crowd.q, key, rand_r(&seed) % 5);
        }
        return NULL;
}

static void *worker(void *arg)
{
        char key[KUBE_KEY_MAX];

        while (kube_queue_take(crowd.q, key, 300)) {
                int k = atoi(key);
                if (crowd.busy[k]++)
                        crowd.clashes++;
                crowd.worked[k]++;
                crowd.busy[k]--;
                kube_queue_done(crowd.q, key);
        }
        return arg;
}

static void no_key_is_lost_or_worked_on_twice_at_once(void **state)
{
        pthread_t t[6];

        (void)state;
        crowd.q = kube_queue_new(1, 10);
        for (int i = 0; i < 6; i++)
                pthread_create(&t[i], NULL, i < 3 ? producer : worker, (void *)(uintptr_t)(i + 1));
        for (int i = 0; i < 6; i++)
                pthread_join(t[i], NULL);
        assert_int_equal(crowd.clashes, 0);
        assert_int_equal(kube_queue_len(crowd.q), 0);
        for (int k = 0; k < KEYS; k++)
                assert_true(crowd.worked[k] > 0 && crowd.worked[k] <= crowd.adds[k]);
        kube_queue_free(crowd.q);
}

static void without_memory(void **state)
{
        char key[KUBE_KEY_MAX];
        char huge[KUBE_KEY_MAX + 1];

        (void)state;
        for (unsigned long n = 1; n < 100; n++) {
                oom_arm(n);
                struct kube_queue *q = kube_queue_new(1, 10);
                if (q) {
                        kube_queue_add(q, "a");
                        kube_queue_add_after(q, "b", 1);
                        kube_queue_retry(q, "b");
                }
                bool failed = oom_disarm();
                if (!failed)
                        take(q, "a", 0);
                while (q && kube_queue_take(q, key, 20))
                        kube_queue_done(q, key);
                kube_queue_free(q);
                if (!failed)
                        break;
                assert_true(n < 50);
        }
        memset(huge, 'x', KUBE_KEY_MAX);
        huge[KUBE_KEY_MAX] = 0;
        struct kube_queue *q = kube_queue_new(1, 10);
        kube_queue_add(q, huge);
        nothing_for(q, 0);
        kube_queue_add(q, huge + 1);
        take(q, huge + 1, 0);
        kube_queue_free(q);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_key_once),
                cmocka_unit_test(added_while_worked_on),
                cmocka_unit_test(the_earliest_delay_wins),
                cmocka_unit_test(delay_of_a_key_in_work),
                cmocka_unit_test(many_delays_come_in_order),
                cmocka_unit_test(retries_back_off),
                cmocka_unit_test(close_wakes_all),
                cmocka_unit_test(a_sleeper_hears_of_an_earlier_key),
                cmocka_unit_test(the_next_delay_wakes_another),
                cmocka_unit_test(no_key_is_lost_or_worked_on_twice_at_once),
                cmocka_unit_test(without_memory),
        };
        return cmocka_run_group_tests_name("kube_queue", tests, NULL, NULL);
}
