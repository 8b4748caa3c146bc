#include "core/handover.h"

#include "base/cleanup.h"
#include "core/names.h"
#include "core/rules.h"

static const char *const ACTIONS[] = {"wait",   "join", "stays", "look",       "ask",
                                      "resume", "done", "lost",  "end source", "go on"};
_Static_assert(countof(ACTIONS) == HO_ACTIONS, "a name each");

const char *ho_action_name(enum ho_action a)
{
        return name_at(ACTIONS, countof(ACTIONS), a);
}

struct rule {
        unsigned source, target, word, over;
        enum ho_action action;
};

static const struct rule RULES[] = {
        /* The source is as it was. */
        {IN1(HO_SOURCE_RUNS), ANY, ANY, ANY, HO_STAYS},
        {IN1(HO_SOURCE_COPIES), ANY, ANY, ANY, HO_JOIN},
        {IN2(HO_SOURCE_UNSEEN, HO_SOURCE_WAITS), ANY, ANY, ANY, HO_WAIT},

        /* From here on the target is needed. */
        {ANY, IN1(HO_TARGET_UNSEEN), ANY, ANY, HO_LOOK},

        /* Paused, and libvirt has forgotten why. Only its own handover can have made the target
           run. */
        {IN1(HO_SOURCE_FORGOT), IN1(HO_TARGET_RUNS), ANY, ANY, HO_END_SOURCE},
        {IN1(HO_SOURCE_FORGOT), IN1(HO_TARGET_OTHER), ANY, ANY, HO_WAIT},
        {IN1(HO_SOURCE_FORGOT), ANY, ANY, ANY, HO_GO_ON},

        /* The source is dead. */
        {ANY, IN1(HO_TARGET_RUNS), ANY, ANY, HO_DONE},
        {ANY, IN2(HO_TARGET_ABSENT, HO_TARGET_OTHER), ANY, ANY, HO_LOST},
        {ANY, IN1(HO_TARGET_COMPLETE), IN1(HO_MOVED), ANY, HO_RESUME},
        {ANY, IN1(HO_TARGET_COMPLETE), IN1(HO_ENDED), ANY, HO_LOST},
        {ANY, IN1(HO_TARGET_COMPLETE), ANY, ANY, HO_ASK},
        /* Its libvirtd completes it, or ends it, when it notices what became of the source. */
        {ANY, IN1(HO_TARGET_RECEIVING), ANY, NO, HO_LOOK},
        {ANY, ANY, ANY, ANY, HO_LOST},
};

enum ho_action handover_decide(const struct handover_state *s, size_t *rule)
{
        size_t i = 0;

        while (!(rule_fits(RULES[i].source, s->source) && rule_fits(RULES[i].target, s->target) &&
                 rule_fits(RULES[i].word, s->word) && rule_fits(RULES[i].over, s->over)))
                i++; /* the last one fits all */
        if (rule)
                *rule = i;
        return RULES[i].action;
}

size_t handover_rules(void)
{
        return countof(RULES);
}
