#include "base/metrics.h"
#include "tests/unit/oom.h"

#include <errno.h>
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct buf text(void)
{
        struct buf b = buf_new(1 << 20);

        assert_int_equal(metrics_print(&b), 0);
        return b;
}

static void assert_shows(const char *part)
{
        autobuf struct buf b = text();

        if (!strstr(buf_str(&b), part))
                fail_msg("no\n%s\nin\n%s", part, buf_str(&b));
}

static void counters_and_gauges(void **state)
{
        struct metric *c = metric_counter("t_moves", "Moves \"made\".", "result");
        struct metric *g = metric_gauge("t_depth", "Depth.", NULL);

        (void)state;
        assert_shows(
                "# TYPE t_depth gauge\n# HELP t_depth Depth.\nt_depth 0\n"); /* before a sample */
        metric_add(c, "ok", 1);
        metric_add(c, "ok", 2);
        metric_add(c, "failed", 1);
        metric_add(c, "ok", -5); /* a counter never falls */
        metric_set(c, "ok", 0);
        metric_observe(c, "ok", 1);
        metric_set(g, NULL, 7);
        metric_add(g, "ignored", -0.5);
        assert_true(metric_get(c, "ok") == 3);
        assert_true(metric_get(c, "none") == 0);
        assert_true(metric_get(g, NULL) == 6.5);
        assert_shows("# TYPE t_moves counter\n# HELP t_moves Moves \\\"made\\\".\n");
        assert_shows("\nt_moves_total{result=\"ok\"} 3\n");
        assert_shows("\nt_moves_total{result=\"failed\"} 1\n");
        assert_shows("\nt_depth 6.5\n");
        metric_set(g, NULL, HUGE_VAL);
        assert_shows("\nt_depth +Inf\n");
        metric_set(g, NULL, -HUGE_VAL);
        assert_shows("\nt_depth -Inf\n");
        metric_set(g, NULL, (double)NAN);
        assert_shows("\nt_depth NaN\n");
}

static void labels_are_escaped(void **state)
{
        struct metric *g = metric_gauge("t_label", "x", "path");

        (void)state;
        metric_set(g, "a\"b\\c\nd", 1);
        metric_set(g, NULL, 2);
        assert_shows("t_label{path=\"a\\\"b\\\\c\\nd\"} 1\n");
        assert_shows("t_label{path=\"\"} 2\n");
}

static void histograms(void **state)
{
        struct metric *h = metric_histogram("t_seconds", "x", NULL, (double[]){0.1, 1, 2.5}, 3);
        struct metric *l = metric_histogram("t_by", "x", "verb", (double[]){1}, 1);

        (void)state;
        metric_observe(h, NULL, 0.05);
        metric_observe(h, NULL, 0.1); /* a bound is inclusive */
        metric_observe(h, NULL, 2);
        metric_observe(h, NULL, 9);
        metric_add(h, NULL, 100);
        assert_shows("# TYPE t_seconds histogram\n# HELP t_seconds x\n"
                     "t_seconds_bucket{le=\"0.1\"} 2\n"
                     "t_seconds_bucket{le=\"1.0\"} 2\n"
                     "t_seconds_bucket{le=\"2.5\"} 3\n"
                     "t_seconds_bucket{le=\"+Inf\"} 4\n"
                     "t_seconds_count 4\n"
                     "t_seconds_sum 11.15\n");
        metric_observe(l, "get", 0.5);
        assert_shows("t_by_bucket{verb=\"get\",le=\"1.0\"} 1\n"
                     "t_by_bucket{verb=\"get\",le=\"+Inf\"} 1\n"
                     "t_by_count{verb=\"get\"} 1\n"
                     "t_by_sum{verb=\"get\"} 0.5\n");
        assert_null(metric_histogram("t_many", "x", NULL, (double[17]){0}, 17));
        struct metric *bare = metric_histogram("t_bare", "x", NULL, NULL, 0);
        metric_observe(bare, NULL, 3);
        assert_shows("t_bare_bucket{le=\"+Inf\"} 1\n");
}

static void series_are_bounded(void **state)
{
        struct metric *c = metric_counter("t_bound", "x", "who");
        char label[16];
        size_t lines = 0;

        (void)state;
        for (int i = 0; i < 3 * METRIC_SERIES_MAX; i++) {
                snprintf(label, sizeof(label), "w%d", i);
                metric_add(c, label, 1);
        }
        autobuf struct buf b = text();
        for (const char *p = buf_str(&b); (p = strstr(p, "\nt_bound_total{")); p++)
                lines++;
        assert_int_equal(lines, METRIC_SERIES_MAX);
        assert_true(metric_get(c, "other") == 2 * METRIC_SERIES_MAX + 1);
        assert_true(metric_get(c, "w5") == 1);
}

static void same_name_is_same_metric(void **state)
{
        struct metric *a = metric_counter("t_twice", "x", "l");

        (void)state;
        assert_non_null(a);
        assert_ptr_equal(metric_counter("t_twice", "y", "l"), a);
        assert_null(metric_gauge("t_twice", "x", "l"));
        assert_null(metric_counter("t_twice", "x", NULL));
        metric_add(NULL, "x", 1);
        metric_set(NULL, "x", 1);
        metric_observe(NULL, "x", 1);
        assert_true(metric_get(NULL, "x") == 0);
}

static void text_is_whole(void **state)
{
        autobuf struct buf b = text();
        long rss = 0;

        (void)state;
        assert_string_equal(b.data + b.len - 6, "# EOF\n");
        const char *p = strstr(b.data, "\nprocess_resident_memory_bytes ");
        assert_non_null(p);
        rss = strtol(p + 31, NULL, 10);
        assert_true(rss > 100000);
        for (size_t limit = 0; limit < 300; limit++) {
                autobuf struct buf small = buf_new(limit);
                assert_int_equal(metrics_print(&small), -E2BIG);
        }
}

enum { THREADS = 4, ROUNDS = 20000 };
static struct metric *shared_counter, *shared_histogram;

static void *hammer(void *arg)
{
        char label[16];

        (void)arg;
        for (int i = 0; i < ROUNDS; i++) {
                snprintf(label, sizeof(label), "l%d", i % 50);
                metric_add(shared_counter, label, 1);
                metric_observe(shared_histogram, NULL, i % 2 ? 0.5 : 5);
                if (i % 5000 == 0) {
                        struct buf b = text();
                        buf_free(&b);
                        metric_gauge("t_late", "x", NULL);
                }
        }
        return NULL;
}

static void threads_lose_nothing(void **state)
{
        pthread_t t[THREADS];

        (void)state;
        shared_counter = metric_counter("t_threads", "x", "l");
        shared_histogram = metric_histogram("t_thread_seconds", "x", NULL, (double[]){1}, 1);
        for (int i = 0; i < THREADS; i++)
                assert_int_equal(pthread_create(&t[i], NULL, hammer, NULL), 0);
        for (int i = 0; i < THREADS; i++)
                pthread_join(t[i], NULL);
        assert_int_equal((int)metric_get(shared_counter, "l7"), THREADS * ROUNDS / 50);
        assert_true(metric_get(shared_histogram, NULL) == THREADS * ROUNDS * 2.75);
        assert_shows("t_thread_seconds_bucket{le=\"1.0\"} 40000\n");
        assert_shows("t_thread_seconds_count 80000\n");
}

static void each_allocation_fails_in_turn(void **state)
{
        char name[32];

        (void)state;
        for (unsigned long n = 1; n; n++) {
                snprintf(name, sizeof(name), "t_oom%lu", n);
                oom_arm(n);
                struct metric *m = metric_counter(name, "x", "l");
                metric_add(m, "a", 1);
                bool failed = oom_disarm();
                assert_int_equal(metric_get(m, "a") == 1, !failed);
                if (!failed) {
                        assert_true(n > 2); /* 7 where strdup is wrapped too */
                        break;
                }
                metric_add(m, "a", 1); /* m may be NULL; recovers otherwise */
                assert_true(!m || metric_get(m, "a") == 1);
        }
        oom_arm(1);
        autobuf struct buf b = buf_new(1 << 20);
        assert_int_equal(metrics_print(&b), -ENOMEM);
        assert_true(oom_disarm());
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(counters_and_gauges),
                cmocka_unit_test(labels_are_escaped),
                cmocka_unit_test(histograms),
                cmocka_unit_test(series_are_bounded),
                cmocka_unit_test(same_name_is_same_metric),
                cmocka_unit_test(text_is_whole),
                cmocka_unit_test(threads_lose_nothing),
                cmocka_unit_test(each_allocation_fails_in_turn),
        };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
