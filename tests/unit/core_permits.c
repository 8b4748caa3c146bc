#include "core/permits.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define MANY 40

static struct scene {
        struct migration m[MANY];
        char uid[MANY][8];
        size_t n;
} s;

/* queue: its position, 0: it holds a permit. */
static struct migration *add(enum mig_reason reason, const char *source, int64_t queue)
{
        struct migration *m = &s.m[s.n];

        snprintf(s.uid[s.n], sizeof(s.uid[0]), "%03zu", s.n);
        *m = (struct migration){.meta.uid = s.uid[s.n]};
        m->meta.created_us = (int64_t)s.n;
        m->spec.reason = reason;
        m->status.source = source;
        m->status.target = "";
        m->status.queue_position = queue;
        m->status.permit = !queue;
        s.n++;
        return m;
}

static struct permits judge(const struct migration *m, int64_t total, int64_t per_node)
{
        struct arena *a = arena_new(100000);
        struct permits_count *c = permits_begin(a, m, m->status.source, m->status.target);
        const struct permit_limits limits = {total, per_node};

        for (size_t i = 0; i < s.n; i++)
                permits_add(c, &s.m[i]);
        struct permits p = permits_judge(c, &limits);
        arena_free(a);
        return p;
}

static int setup(void **state)
{
        (void)state;
        s.n = 0;
        return 0;
}

static void alone(void **state)
{
        (void)state;
        struct permits p = judge(add(REASON_USER, "a", 1), 1, 1);

        assert_true(p.granted && p.target_free);
        assert_int_equal(p.ahead, 0);
        assert_false(judge(&s.m[0], 0, 1).granted);
        assert_false(judge(&s.m[0], 1, 0).granted);
}

static void limits_hold(void **state)
{
        (void)state;
        add(REASON_USER, "a", 0);
        add(REASON_USER, "a", 0);
        struct migration *m = add(REASON_USER, "a", 1), *other = add(REASON_USER, "b", 1);

        assert_false(judge(m, 5, 2).granted); /* two out of a */
        assert_true(judge(m, 5, 3).granted);
        assert_true(judge(other, 5, 2).granted);  /* and what waits for a is not in b's way */
        assert_false(judge(other, 2, 2).granted); /* but the cluster's places are */
        s.m[0].status.phase = MIG_SUCCEEDED;
        assert_true(judge(m, 5, 2).granted);
}

static void inbound_counts_from_the_copy_on(void **state)
{
        (void)state;
        struct migration *x = add(REASON_USER, "a", 0), *m = add(REASON_USER, "b", 0);

        x->status.target = m->status.target = "c";
        x->status.phase = MIG_PREFLIGHT;
        m->status.phase = MIG_PREFLIGHT;
        assert_true(judge(m, 5, 1).target_free);
        x->status.phase = MIG_COPYING;
        assert_false(judge(m, 5, 1).target_free);
        x->status.target = "d";
        assert_true(judge(m, 5, 1).target_free);
}

/* Into a node as out of it: by class, then by age, among those that wait for nothing else. */
static void inbound_follows_the_class(void **state)
{
        struct migration *copy, *user, *drain;

        (void)state;
        copy = add(REASON_USER, "a", 0);
        user = add(REASON_USER, "b", 0);
        drain = add(REASON_DRAIN, "d", 0);
        copy->status.target = user->status.target = drain->status.target = "c";
        copy->status.phase = MIG_COPYING;
        user->status.phase = drain->status.phase = MIG_PREFLIGHT;
        assert_false(judge(user, 5, 1).target_free);
        user->status.queue_position = 1;
        assert_false(judge(drain, 5, 1).target_free);
        assert_int_equal(judge(drain, 5, 1).ahead_in, 0);
        drain->status.queue_position = 1;
        assert_int_equal(judge(user, 5, 1).ahead_in, 1);
        copy->status.phase = MIG_SUCCEEDED;
        assert_false(judge(user, 5, 1).target_free); /* older, and asks first */
        assert_true(judge(drain, 5, 1).target_free);
        assert_true(judge(user, 5, 2).target_free);
        drain->status.target = "e";
        assert_true(judge(user, 5, 1).target_free);
        drain->status.target = "c";
        drain->status.queue_position = 0; /* is held up by something else */
        assert_true(judge(user, 5, 1).target_free);
}

/* Who cannot go on neither holds a place nor stands before anybody. */
static void without_a_node_no_place_is_taken(void **state)
{
        struct migration *stuck, *next;

        (void)state;
        stuck = add(REASON_DRAIN, "a", 0);
        next = add(REASON_PLACEMENT, "a", 1);
        assert_false(judge(next, 5, 1).granted);
        stuck->status.permit = false;
        assert_true(judge(next, 1, 1).granted);
        assert_int_equal(judge(next, 1, 1).ahead, 0);
        /* its node has come while the other runs: it waits as the others do */
        next->status.permit = true;
        next->status.queue_position = 0;
        assert_false(judge(stuck, 1, 1).granted);
        /* and no copy is without a place, whatever is said of it */
        next->status.permit = false;
        next->status.phase = MIG_UNKNOWN;
        assert_false(judge(stuck, 1, 1).granted);
        next->status.phase = MIG_PREFLIGHT;
        assert_true(judge(stuck, 1, 1).granted);
}

static void classes_and_age(void **state)
{
        (void)state;
        struct migration *placement = add(REASON_PLACEMENT, "a", 1);
        struct migration *user = add(REASON_USER, "a", 1);
        struct migration *drain = add(REASON_DRAIN, "a", 1);
        struct migration *younger = add(REASON_DRAIN, "a", 1);

        assert_int_equal(judge(drain, 5, 1).ahead, 0);
        assert_int_equal(judge(younger, 5, 1).ahead, 1);
        assert_int_equal(judge(user, 5, 1).ahead, 2);
        assert_int_equal(judge(placement, 5, 1).ahead, 3);
        struct migration *storage = add(REASON_STORAGE, "a", 1); /* the youngest, and first */
        assert_int_equal(judge(storage, 5, 1).ahead, 0);
        assert_int_equal(judge(drain, 5, 1).ahead, 1);
        storage->status.phase = MIG_FAILED;
        assert_true(judge(drain, 5, 1).granted);
        assert_false(judge(younger, 5, 1).granted);
        assert_true(judge(younger, 5, 2).granted);
        assert_false(judge(user, 5, 2).granted);
}

/* Served again and again, nobody is forgotten and no limit is passed. */
static void a_drain_ends(void **state)
{
        size_t finished = 0;

        (void)state;
        for (int i = 0; i < 20; i++)
                add(REASON_DRAIN, i % 3 ? "a" : "b", 1);
        for (int round = 0; finished < 20; round++) {
                int running = 0, out[2] = {0, 0};

                assert_true(round < 20);
                for (size_t i = 0; i < s.n; i++)
                        if (!mig_finished(s.m[i].status.phase) && judge(&s.m[i], 3, 2).granted) {
                                s.m[i].status.permit = true;
                                s.m[i].status.queue_position = 0;
                        }
                for (size_t i = 0; i < s.n; i++)
                        if (!mig_finished(s.m[i].status.phase) && s.m[i].status.permit) {
                                running++;
                                out[*s.m[i].status.source - 'a']++;
                        }
                assert_in_range(running, 1, 3);
                assert_true(out[0] <= 2 && out[1] <= 2);
                for (size_t i = 0; i < s.n; i++)
                        if (!mig_finished(s.m[i].status.phase) && s.m[i].status.permit) {
                                s.m[i].status.phase = MIG_SUCCEEDED;
                                finished++;
                        }
        }
}

int main(void)
{
#define T(f) cmocka_unit_test_setup(f, setup)
        const struct CMUnitTest tests[] = {
                T(alone),
                T(limits_hold),
                T(inbound_counts_from_the_copy_on),
                T(inbound_follows_the_class),
                T(without_a_node_no_place_is_taken),
                T(classes_and_age),
                T(a_drain_ends),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
