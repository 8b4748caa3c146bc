#include "core/handover.h"

#include "base/cleanup.h"
#include "tests/unit/oom.h"

#include <stdio.h>
#include <string.h>

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define SOURCE(x) HO_SOURCE_##x
#define TARGET(x) HO_TARGET_##x

/* A row for each rule, in their order. */
static const struct {
        enum ho_source source;
        enum ho_target target;
        enum ho_word word;
        bool over;
        enum ho_action action;
} ROWS[] = {
        {SOURCE(RUNS), TARGET(COMPLETE), HO_MOVED, true, HO_STAYS},
        {SOURCE(COPIES), TARGET(RECEIVING), HO_UNASKED, false, HO_JOIN},
        {SOURCE(UNSEEN), TARGET(COMPLETE), HO_MOVED, true, HO_WAIT},
        {SOURCE(DEAD), TARGET(UNSEEN), HO_MOVED, true, HO_LOOK},
        {SOURCE(FORGOT), TARGET(RUNS), HO_UNASKED, true, HO_END_SOURCE},
        {SOURCE(FORGOT), TARGET(OTHER), HO_UNASKED, true, HO_WAIT},
        {SOURCE(FORGOT), TARGET(COMPLETE), HO_UNASKED, true, HO_GO_ON},
        {SOURCE(DEAD), TARGET(RUNS), HO_UNASKED, false, HO_DONE},
        {SOURCE(DEAD), TARGET(ABSENT), HO_MOVED, true, HO_LOST},
        {SOURCE(DEAD), TARGET(COMPLETE), HO_MOVED, false, HO_RESUME},
        {SOURCE(DEAD), TARGET(COMPLETE), HO_ENDED, false, HO_LOST},
        {SOURCE(DEAD), TARGET(COMPLETE), HO_UNASKED, false, HO_ASK},
        {SOURCE(DEAD), TARGET(RECEIVING), HO_MOVED, false, HO_LOOK},
        {SOURCE(DEAD), TARGET(RECEIVING), HO_MOVED, true, HO_LOST},
};

static void each_rule(void **state)
{
        (void)state;
        assert_int_equal(handover_rules(), countof(ROWS));
        for (size_t i = 0; i < countof(ROWS); i++) {
                const struct handover_state s = {ROWS[i].source, ROWS[i].target, ROWS[i].word,
                                                 ROWS[i].over};
                size_t rule;
                enum ho_action a = handover_decide(&s, &rule);

                if (rule != i || a != ROWS[i].action)
                        fail_msg("row %zu: %s by rule %zu", i, ho_action_name(a), rule);
        }
}

/* What must never be, said once more and otherwise than the table does. */
static const char *wrong(const struct handover_state *s, enum ho_action a)
{
        bool dead = s->source == HO_SOURCE_DEAD, forgot = s->source == HO_SOURCE_FORGOT;
        bool whole = s->target == HO_TARGET_COMPLETE;

        if (a == HO_RESUME && !(dead && whole && s->word == HO_MOVED))
                return "the target is resumed without all three proofs";
        if (a == HO_GO_ON && (!forgot || s->target == HO_TARGET_RUNS ||
                              s->target == HO_TARGET_OTHER || s->target == HO_TARGET_UNSEEN))
                return "the source goes on though the target may run";
        if (a == HO_END_SOURCE && !(forgot && s->target == HO_TARGET_RUNS))
                return "a source is ended whose guest does not run there";
        if (a == HO_DONE && s->target != HO_TARGET_RUNS)
                return "done, though it does not run there";
        if (a == HO_LOST && (!dead || s->target == HO_TARGET_RUNS || s->target == HO_TARGET_UNSEEN))
                return "given up though it may run";
        if (a == HO_LOST && whole && s->word != HO_ENDED)
                return "a whole guest is given up unasked";
        if (a == HO_STAYS && s->source != HO_SOURCE_RUNS)
                return "stays, though it does not run here";
        if (a == HO_ASK && s->word != HO_UNASKED)
                return "asked twice: it never ends";
        if ((a == HO_WAIT || a == HO_LOOK) && dead && s->over && s->target != HO_TARGET_UNSEEN)
                return "all is known and nothing is done";
        return NULL;
}

static void every_combination(void **state)
{
        int seen[HO_ACTIONS] = {0};

        (void)state;
        for (int i = 0; i < HO_SOURCES * HO_TARGETS * HO_WORDS * 2; i++) {
                const struct handover_state s = {(enum ho_source)(i / 2 / HO_WORDS / HO_TARGETS),
                                                 (enum ho_target)(i / 2 / HO_WORDS % HO_TARGETS),
                                                 (enum ho_word)(i / 2 % HO_WORDS), i % 2};
                enum ho_action a = handover_decide(&s, NULL);
                const char *why = wrong(&s, a);

                seen[a]++;
                if (why)
                        fail_msg("source %d, target %d, word %d, over %d: %s: %s", s.source,
                                 s.target, s.word, s.over, ho_action_name(a), why);
        }
        for (int a = 0; a < HO_ACTIONS; a++)
                assert_true(seen[a] > 0);
}

int main(void)
{
        const struct CMUnitTest tests[] = {
                cmocka_unit_test(each_rule),
                cmocka_unit_test(every_combination),
        };

        return cmocka_run_group_tests(tests, NULL, NULL);
}
