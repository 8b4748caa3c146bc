#include "certs/turn.h"

#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define NOW    INT64_C(1767225600)
#define SETTLE 600
#define LEAF   (INT64_C(365) * 86400)

/* A CA that was made a day ago, and nothing to do. */
static const struct turn_facts calm = {.now_s = NOW,
                                       .settle_s = SETTLE,
                                       .leaf_s = LEAF,
                                       .issued_s = NOW - 86400,
                                       .renewable = true};

static void is(const struct turn_facts *f, enum turn turn, const char *word)
{
        const char *why = NULL;

        assert_int_equal(turn_next(f, &why), turn);
        if (!strstr(why, word))
                fail_msg("\"%s\" does not say \"%s\"", why, word);
        assert_int_equal(turn == TURN_NONE, !*why);
}

static void a_calm_ca_stays(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        is(&f, TURN_NONE, "");
}

static void a_ca_is_succeeded_when_it_ages_or_when_asked(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        f.ageing = true;
        is(&f, TURN_STAGE, "lifetime");
        f.renewable = false;
        is(&f, TURN_NONE, "");
        f = calm;
        f.renew_s = NOW;
        is(&f, TURN_STAGE, "asked for");
        f.renewable = false;
        is(&f, TURN_NONE, "");
        f = calm;
        f.renew_s = NOW + 1; /* yet to come */
        is(&f, TURN_NONE, "");
        f.renew_s = f.issued_s; /* done */
        is(&f, TURN_NONE, "");
        f.renew_s = f.issued_s + 1;
        is(&f, TURN_STAGE, "asked for");
}

static void trust_must_stand_everywhere_and_settle(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        f.staged = f.ageing = true;
        is(&f, TURN_TRUSTED, "every bundle");
        f.trusted_s = NOW - SETTLE + 1;
        is(&f, TURN_NONE, "");
        f.trusted_s = NOW - SETTLE;
        is(&f, TURN_SWITCH, "signs from now on");
        f.trusted_s = NOW + 1; /* by a clock that was wrong */
        is(&f, TURN_TRUSTED, "every bundle");
        f.trusted_s = NOW;
        f.expired = true; /* who would wait for whom? */
        is(&f, TURN_SWITCH, "signs from now on");
}

static void no_trust_is_taken_away_to_make_room(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        f.staged = f.former = f.full = true;
        f.trusted_s = f.replaced_s = NOW - SETTLE;
        is(&f, TURN_NONE, "");
        f.retire_s = NOW;
        is(&f, TURN_RETIRE, "as was said");
}

static void the_old_is_forgotten_when_nothing_of_it_can_be_left(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        f.former = true;
        is(&f, TURN_REPLACED, "left in a Secret");
        f.replaced_s = NOW + 1; /* by a clock that was wrong */
        is(&f, TURN_REPLACED, "left in a Secret");
        f.replaced_s = NOW - LEAF + 1;
        is(&f, TURN_NONE, "");
        f.replaced_s = NOW - LEAF;
        is(&f, TURN_RETIRE, "have expired");
}

static void the_old_is_forgotten_earlier_when_that_is_said(void **state)
{
        struct turn_facts f = calm;

        (void)state;
        f.former = true;
        f.retire_s = NOW - SETTLE;
        f.replaced_s = NOW - SETTLE; /* said of a CA that was replaced earlier */
        is(&f, TURN_NONE, "");
        f.replaced_s = NOW - SETTLE - 1;
        is(&f, TURN_RETIRE, "as was said");
        f.retire_s = NOW + 1; /* yet to come */
        is(&f, TURN_NONE, "");
        f.retire_s = NOW;
        f.replaced_s = NOW - SETTLE + 1; /* pods may still show its certificates */
        is(&f, TURN_NONE, "");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(a_calm_ca_stays),
                cmocka_unit_test(a_ca_is_succeeded_when_it_ages_or_when_asked),
                cmocka_unit_test(trust_must_stand_everywhere_and_settle),
                cmocka_unit_test(no_trust_is_taken_away_to_make_room),
                cmocka_unit_test(the_old_is_forgotten_when_nothing_of_it_can_be_left),
                cmocka_unit_test(the_old_is_forgotten_earlier_when_that_is_said),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
