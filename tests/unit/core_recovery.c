/*
 * Every combination of what can be known of a migration, judged by a second, independent statement
 * of the invariant: in terms of what may be true of the two guests, not of rules.
 */
#include "core/recovery.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#define JOBS (TRANSFER_LOST + 1)

static bool before(enum mig_phase p)
{
        return p == MIG_PENDING || p == MIG_SCHEDULED || p == MIG_PREFLIGHT;
}

/* The source cannot be running, nor run again. */
static bool source_over(const struct recovery *r)
{
        return r->job == TRANSFER_SWITCHED || r->job == TRANSFER_DONE || r->source == RCV_NONE ||
               r->source == RCV_FENCED || (!r->fast && r->target == RCV_RUNS);
}

/* The target has the guest as it was when its source ended. */
static bool target_has_it(const struct recovery *r)
{
        return r->job == TRANSFER_DONE || r->target == RCV_RUNS ||
               (r->job == TRANSFER_SWITCHED && r->target == RCV_RECEIVED);
}

/* Neither the source's agent, nor anybody, may run the target after this. */
static bool target_never_runs(const struct recovery *r)
{
        bool settled = r->job == TRANSFER_FAILED || r->job == TRANSFER_CANCELLED;
        bool agent_dead = r->source == RCV_FENCED;
        bool seen_not_to_run = r->target == RCV_FENCED ||
                               (r->answered && r->target != RCV_RUNS && r->target != RCV_UNSEEN);

        if (before(r->phase))
                return true;
        return r->target != RCV_RUNS && (settled || (agent_dead && seen_not_to_run));
}

static void judge(const struct recovery *r, enum rcv_action a)
{
        bool over = mig_finished(r->phase);

        assert_int_equal(a == RCV_REST, over);
        switch (a) {
        case RCV_PROCEED:
                assert_true(before(r->phase) && r->owner == RCV_OWNER_SOURCE);
                break;
        case RCV_CONFIRM:
                assert_false(before(r->phase));
                assert_true(r->owner == RCV_OWNER_TARGET ||
                            (r->owner == RCV_OWNER_SOURCE && source_over(r) && target_has_it(r)));
                break;
        case RCV_FINISH:
                assert_true(r->phase == MIG_CONFIRMING && r->owner == RCV_OWNER_TARGET);
                break;
        case RCV_FAIL:
        case RCV_CANCEL:
                if (r->owner == RCV_OWNER_SOURCE)
                        assert_true(target_never_runs(r));
                assert_true(r->owner != RCV_OWNER_TARGET || before(r->phase));
                /* what could be saved is not thrown away */
                assert_false(r->owner == RCV_OWNER_SOURCE && !before(r->phase) && source_over(r) &&
                             target_has_it(r));
                break;
        case RCV_COPY:
                assert_true(r->phase == MIG_UNKNOWN && r->source == RCV_RUNS);
                break;
        case RCV_SWITCH:
                assert_int_equal(r->job, TRANSFER_SWITCHED);
                break;
        default:
                break;
        }
}

/* The journal must be able to write what is decided, by one legal move or by way of another. */
static void legal(enum mig_phase from, enum rcv_action a)
{
        static const enum mig_phase TO[RCV_ACTIONS] = {
                [RCV_ASK] = MIG_UNKNOWN,      [RCV_COPY] = MIG_COPYING,
                [RCV_SWITCH] = MIG_SWITCHING, [RCV_CONFIRM] = MIG_CONFIRMING,
                [RCV_FINISH] = MIG_SUCCEEDED, [RCV_FAIL] = MIG_FAILED,
                [RCV_CANCEL] = MIG_CANCELLED,
        };
        enum mig_phase to = TO[a];

        if (a == RCV_REST || a == RCV_PROCEED || a == RCV_WAIT || from == to)
                return;
        if (mig_may_move(from, to))
                return;
        if (a == RCV_CONFIRM)
                assert_true(mig_may_move(from, MIG_SWITCHING) &&
                            mig_may_move(MIG_SWITCHING, MIG_CONFIRMING));
        else
                assert_true(mig_may_move(from, MIG_UNKNOWN) && mig_may_move(MIG_UNKNOWN, to));
}

/*
 * Nothing waits for ever: with every host in sight and the last word of the source's agent spoken,
 * or the agent fenced, something is done - unless two hosts say that they run the guest.
 */
static void moves_on(const struct recovery *r, enum rcv_action a)
{
        bool seen = r->source != RCV_UNSEEN && r->target != RCV_UNSEEN &&
                    (r->answered || r->source != RCV_FENCED);
        bool spoken = r->job == TRANSFER_DONE || r->job == TRANSFER_FAILED ||
                      r->job == TRANSFER_CANCELLED || r->source == RCV_FENCED;
        bool both = r->target == RCV_RUNS && r->source != RCV_NONE && r->source != RCV_FENCED;

        if (seen && spoken && !both)
                assert_int_not_equal(a, RCV_WAIT);
}

static void one(const struct recovery *r, unsigned *hits)
{
        size_t rule = recovery_rules();
        enum rcv_action a = recovery_decide(r, &rule);

        assert_true(rule < recovery_rules() && a < RCV_ACTIONS);
        hits[rule]++;
        judge(r, a);
        legal(r->phase, a);
        moves_on(r, a);
}

static void every_combination(void **state)
{
        unsigned hits[64] = {0}, n = 0;
        const int all = MIG_PHASES * RCV_OWNERS * RCV_HOSTS * RCV_HOSTS * JOBS * 2 * 2;

        (void)state;
        assert_true(recovery_rules() <= 64);
        for (int i = 0; i < all; i++) {
                int x = i;
                struct recovery r;

                r.phase = (enum mig_phase)(x % MIG_PHASES), x /= MIG_PHASES;
                r.owner = (enum rcv_owner)(x % RCV_OWNERS), x /= RCV_OWNERS;
                r.source = (enum rcv_host)(x % RCV_HOSTS), x /= RCV_HOSTS;
                r.target = (enum rcv_host)(x % RCV_HOSTS), x /= RCV_HOSTS;
                r.job = (enum transfer_state)(x % JOBS), x /= JOBS;
                r.fast = x % 2, x /= 2;
                r.answered = x % 2;
                one(&r, hits);
                n++;
        }
        assert_int_equal(n, 10 * 3 * 6 * 6 * 7 * 2 * 2);
        for (size_t i = 0; i < recovery_rules(); i++)
                if (!hits[i])
                        fail_msg("rule %zu decides nothing", i);
}

static void stories(void **state)
{
        static const struct {
                struct recovery r;
                enum rcv_action want;
        } ROWS[] = {
                /* the straight path */
                {{MIG_PENDING, RCV_OWNER_SOURCE, RCV_RUNS, RCV_NONE, TRANSFER_NONE, false, false},
                 RCV_PROCEED},
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_RUNS, RCV_RECEIVING, TRANSFER_RUNNING, false,
                  false},
                 RCV_WAIT},
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_NONE, RCV_RECEIVING, TRANSFER_SWITCHED, false,
                  false},
                 RCV_SWITCH},
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_RUNS, RCV_RUNS, TRANSFER_DONE, false, false},
                 RCV_CONFIRM},
                {{MIG_CONFIRMING, RCV_OWNER_TARGET, RCV_NONE, RCV_RUNS, TRANSFER_DONE, false,
                  false},
                 RCV_FINISH},
                /* the migrator fell between the journal and the owner */
                {{MIG_CONFIRMING, RCV_OWNER_SOURCE, RCV_NONE, RCV_RUNS, TRANSFER_DONE, false,
                  false},
                 RCV_CONFIRM},
                /* the source's node fell after its agent had said that the guest is dead there */
                {{MIG_SWITCHING, RCV_OWNER_SOURCE, RCV_UNSEEN, RCV_RECEIVED, TRANSFER_SWITCHED,
                  false, false},
                 RCV_CONFIRM},
                /* ... before it could say so: the target may be of the past */
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_UNSEEN, RCV_RECEIVED, TRANSFER_RUNNING, false,
                  false},
                 RCV_WAIT},
                /* and it may run by now: the question is put when nobody is left to resume it */
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_FENCED, RCV_RECEIVED, TRANSFER_RUNNING, false,
                  false},
                 RCV_ASK},
                {{MIG_UNKNOWN, RCV_OWNER_SOURCE, RCV_FENCED, RCV_RECEIVED, TRANSFER_RUNNING, false,
                  false},
                 RCV_WAIT},
                {{MIG_UNKNOWN, RCV_OWNER_SOURCE, RCV_FENCED, RCV_RECEIVED, TRANSFER_RUNNING, false,
                  true},
                 RCV_FAIL},
                {{MIG_UNKNOWN, RCV_OWNER_SOURCE, RCV_FENCED, RCV_RUNS, TRANSFER_RUNNING, false,
                  true},
                 RCV_CONFIRM},
                /* ... after the resume: the proven handover's target would not run without proof */
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_UNSEEN, RCV_RUNS, TRANSFER_RUNNING, false,
                  false},
                 RCV_CONFIRM},
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_UNSEEN, RCV_RUNS, TRANSFER_RUNNING, true,
                  false},
                 RCV_WAIT},
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_FENCED, RCV_RUNS, TRANSFER_RUNNING, true,
                  false},
                 RCV_CONFIRM},
                /* the target's node fell */
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_RUNS, RCV_FENCED, TRANSFER_FAILED, false,
                  false},
                 RCV_FAIL},
                {{MIG_SWITCHING, RCV_OWNER_SOURCE, RCV_NONE, RCV_UNSEEN, TRANSFER_SWITCHED, false,
                  false},
                 RCV_WAIT},
                /* the agent cannot say, then the job turns out to go on */
                {{MIG_COPYING, RCV_OWNER_SOURCE, RCV_UNSEEN, RCV_UNSEEN, TRANSFER_LOST, false,
                  false},
                 RCV_ASK},
                {{MIG_UNKNOWN, RCV_OWNER_SOURCE, RCV_RUNS, RCV_RECEIVING, TRANSFER_RUNNING, false,
                  false},
                 RCV_COPY},
                /* somebody has given the VM away */
                {{MIG_COPYING, RCV_OWNER_OTHER, RCV_RUNS, RCV_RECEIVING, TRANSFER_RUNNING, false,
                  false},
                 RCV_FAIL},
        };

        (void)state;
        for (size_t i = 0; i < sizeof(ROWS) / sizeof(ROWS[0]); i++) {
                enum rcv_action got = recovery_decide(&ROWS[i].r, NULL);

                if (got != ROWS[i].want)
                        fail_msg("story %zu: %s, want %s", i, rcv_action_name(got),
                                 rcv_action_name(ROWS[i].want));
        }
}

static void actions_have_names(void **state)
{
        (void)state;
        for (int a = 0; a < RCV_ACTIONS; a++)
                assert_true(strlen(rcv_action_name((enum rcv_action)a)) > 1);
        assert_string_equal(rcv_action_name((enum rcv_action)99), "?");
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(every_combination),
                cmocka_unit_test(stories),
                cmocka_unit_test(actions_have_names),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
