/* The machine of a migration: every move that there is, against a second statement of what is
 * legal. */
#include "core/move.h"
#include "tests/unit/oom.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

enum owner { SOURCE, TARGET, OTHER, OWNERS };

static struct arena *arena;

static int begin(void **state)
{
        (void)state;
        arena = arena_new((size_t)1 << 20);
        return arena ? 0 : -1;
}

static int end(void **state)
{
        (void)state;
        arena_free(arena);
        return 0;
}

/* From one phase to another; the phase that it is in then, and whether a defect was told. */
static enum mig_phase go(enum mig_phase from, enum mig_phase to, enum owner o, const char *target,
                         bool *told)
{
        static const struct vm_owner OWNER[OWNERS] = {{"n1", 3}, {"n2", 4}, {"", 5}};
        struct vm vm = {.status.owner = OWNER[o]};
        struct rec_input in = {.vm = &vm, .now_us = 1000000};
        struct rec_output out = {0};
        struct migration m = {.meta = {.name = "web-3-1"}};
        struct plan p = {.a = arena, .in = &in, .out = &out, .vm = &vm, .next = &vm};
        struct move mv = {.p = &p, .was = &m, .m = &m};

        m.status.source = "n1";
        m.status.target = target;
        m.status.epoch = 3;
        m.status.phase = from;
        m.status.message = "";
        move_go(&mv, to);
        *told = out.defect != NULL;
        assert_int_equal(p.rc, 0);
        if (m.status.phase == from) /* not made: nothing is noted of it */
                assert_int_equal(m.status.finished_us + m.status.copying_us + m.status.scheduled_us,
                                 0);
        return m.status.phase;
}

/* A phase begins as the one before it ends; it may be called off until the handover; and once that
 * has begun only who has asked both hosts may turn back. */
static bool in_order(enum mig_phase from, enum mig_phase to)
{
        bool off = to == MIG_FAILED || to == MIG_CANCELLED;

        if (from == MIG_SUCCEEDED || from == MIG_FAILED || from == MIG_CANCELLED)
                return false;
        if (from == MIG_UNKNOWN)
                return off || (to >= MIG_COPYING && to <= MIG_CONFIRMING);
        if (to == MIG_UNKNOWN)
                return from >= MIG_COPYING;
        return off ? from <= MIG_COPYING : to == from + 1;
}

static bool legal(enum mig_phase from, enum mig_phase to, enum owner o, bool has_target)
{
        bool off = to == MIG_FAILED || to == MIG_CANCELLED;

        if (!in_order(from, to))
                return false;
        if (off)
                return !(from >= MIG_COPYING && o == TARGET && has_target);
        if (!has_target)
                return false;
        if (to == MIG_COPYING)
                return o == SOURCE;
        return to != MIG_SUCCEEDED || o == TARGET;
}

static void every_move(void **state)
{
        static const char *const TARGETS[] = {"n2", "", "n1"};
        int made = 0;

        (void)state;
        for (int from = 0; from < MIG_PHASES; from++)
                for (int to = 0; to < MIG_PHASES; to++)
                        for (int o = 0; o < OWNERS; o++)
                                for (size_t t = 0; t < countof(TARGETS); t++) {
                                        bool told,
                                                ok = legal((enum mig_phase)from, (enum mig_phase)to,
                                                           (enum owner)o, t == 0);
                                        int at = (int)go((enum mig_phase)from, (enum mig_phase)to,
                                                         (enum owner)o, TARGETS[t], &told);

                                        made += ok;
                                        if (at != (ok ? to : from) || told != (!ok && from != to))
                                                fail_msg(
                                                        "%s to %s, owner %d, target \"%s\": %s, %s",
                                                        mig_phase_name((enum mig_phase)from),
                                                        mig_phase_name((enum mig_phase)to), o,
                                                        TARGETS[t], at == to ? "made" : "not made",
                                                        told ? "told" : "not told");
                                }
        assert_true(made > 0);
}

static void a_defect_says_what_it_is(void **state)
{
        struct vm vm = {.status.owner = {"n1", 3}};
        struct rec_input in = {.vm = &vm};
        struct rec_output out = {0};
        struct migration m = {.meta = {.name = "web-3-1"}};
        struct plan p = {.a = arena, .in = &in, .out = &out, .vm = &vm, .next = &vm};
        struct move mv = {.p = &p, .was = &m, .m = &m};

        (void)state;
        m.status.source = "n1";
        m.status.target = "n2";
        m.status.epoch = 3;
        m.status.phase = MIG_CONFIRMING;
        move_go(&mv, MIG_SUCCEEDED);
        assert_string_equal(out.defect,
                            "web-3-1: from Confirming to Succeeded: the target does not own "
                            "the guest");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test_setup_teardown(every_move, begin, end),
                cmocka_unit_test_setup_teardown(a_defect_says_what_it_is, begin, end),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
