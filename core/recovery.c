#include "core/recovery.h"

#include "base/cleanup.h"
#include "core/names.h"
#include "core/rules.h"

static const char *const ACTIONS[] = {"rest",   "proceed", "wait",   "ask",  "copy",
                                      "switch", "confirm", "finish", "fail", "cancel"};
_Static_assert(countof(ACTIONS) == RCV_ACTIONS, "a name each");

const char *rcv_action_name(enum rcv_action a)
{
        return name_at(ACTIONS, countof(ACTIONS), a);
}

struct rule {
        unsigned phase, owner, source, target, job, fast, answered;
        enum rcv_action action;
};

#define OVER    IN3(MIG_SUCCEEDED, MIG_FAILED, MIG_CANCELLED)
#define BEFORE  IN3(MIG_PENDING, MIG_SCHEDULED, MIG_PREFLIGHT)
#define ASKED   IN1(MIG_UNKNOWN)
#define UNASKED (IN3(MIG_COPYING, MIG_SWITCHING, MIG_CONFIRMING))

static const struct rule RULES[] = {
        {OVER, ANY, ANY, ANY, ANY, ANY, ANY, RCV_REST},
        /* The VM was halted, deleted or fenced and has another owner, or none. */
        {ANY, IN1(RCV_OWNER_OTHER), ANY, ANY, ANY, ANY, ANY, RCV_FAIL},

        /* Nothing has been copied: nothing to lose. */
        {BEFORE, IN1(RCV_OWNER_TARGET), ANY, ANY, ANY, ANY, ANY, RCV_FAIL},
        {BEFORE, ANY, IN1(RCV_FENCED), ANY, ANY, ANY, ANY, RCV_FAIL},
        {BEFORE, ANY, ANY, ANY, ANY, ANY, ANY, RCV_PROCEED},

        /* The owner has moved, so it was decided before: on to the end. */
        {IN1(MIG_CONFIRMING), IN1(RCV_OWNER_TARGET), ANY, ANY, ANY, ANY, ANY, RCV_FINISH},
        {ANY, IN1(RCV_OWNER_TARGET), ANY, ANY, ANY, ANY, ANY, RCV_CONFIRM},

        /* The guest runs on the target. Done is said after the proof that the source is dead. */
        {ANY, ANY, ANY, ANY, IN1(TRANSFER_DONE), ANY, ANY, RCV_CONFIRM},
        {ANY, ANY, IN2(RCV_NONE, RCV_FENCED), IN1(RCV_RUNS), ANY, ANY, ANY, RCV_CONFIRM},
        /* The proven handover resumes nothing before that proof; libvirt's own does. */
        {ANY, ANY, IN1(RCV_UNSEEN), IN1(RCV_RUNS), ANY, NO, ANY, RCV_CONFIRM},
        {UNASKED, ANY, ANY, IN1(RCV_RUNS), IN1(TRANSFER_LOST), ANY, ANY, RCV_ASK},
        {ANY, ANY, ANY, IN1(RCV_RUNS), ANY, ANY, ANY, RCV_WAIT},

        /*
         * The source is proven dead and never ran on. Its agent resumes the target, but if it
         * cannot get there, the target's own agent can, as the owner's.
         */
        {ANY, ANY, ANY, IN1(RCV_RECEIVED), IN1(TRANSFER_SWITCHED), ANY, ANY, RCV_CONFIRM},

        /* The source's agent has seen to it that the target will not run. */
        {ANY, ANY, ANY, ANY, IN1(TRANSFER_FAILED), ANY, ANY, RCV_FAIL},
        {ANY, ANY, ANY, ANY, IN1(TRANSFER_CANCELLED), ANY, ANY, RCV_CANCEL},

        /*
         * The source is dead with its agent, who alone could have resumed the target. What the
         * target holds may be older than the disks: the source may have run on until it died. But
         * it may have been resumed just before: its agent is asked, now that nobody can any more.
         */
        {ANY, ANY, IN1(RCV_FENCED), IN1(RCV_FENCED), ANY, ANY, ANY, RCV_FAIL},
        {ASKED, ANY, IN1(RCV_FENCED), IN3(RCV_NONE, RCV_RECEIVING, RCV_RECEIVED), ANY, ANY, YES,
         RCV_FAIL},
        {ASKED, ANY, IN1(RCV_FENCED), ANY, ANY, ANY, ANY, RCV_WAIT},
        {ANY, ANY, IN1(RCV_FENCED), ANY, ANY, ANY, ANY, RCV_ASK},

        /*
         * The source's agent settles it, or the next agent there does: as long as one may live,
         * nobody else gives the migration up.
         */
        {IN1(MIG_COPYING), ANY, ANY, ANY, IN1(TRANSFER_SWITCHED), ANY, ANY, RCV_SWITCH},
        {IN1(MIG_CONFIRMING), ANY, ANY, ANY, IN1(TRANSFER_SWITCHED), ANY, ANY, RCV_ASK},
        {ANY, ANY, ANY, ANY, IN1(TRANSFER_SWITCHED), ANY, ANY, RCV_WAIT},
        {UNASKED, ANY, ANY, ANY, IN1(TRANSFER_LOST), ANY, ANY, RCV_ASK},
        {ASKED, ANY, IN1(RCV_RUNS), ANY, IN2(TRANSFER_NONE, TRANSFER_RUNNING), ANY, ANY, RCV_COPY},
        {IN2(MIG_SWITCHING, MIG_CONFIRMING), ANY, ANY, ANY, IN2(TRANSFER_NONE, TRANSFER_RUNNING),
         ANY, ANY, RCV_ASK},
        {ANY, ANY, ANY, ANY, ANY, ANY, ANY, RCV_WAIT},
};

enum rcv_action recovery_decide(const struct recovery *r, size_t *rule)
{
        size_t i = 0;

        while (!(rule_fits(RULES[i].phase, r->phase) && rule_fits(RULES[i].owner, r->owner) &&
                 rule_fits(RULES[i].source, r->source) && rule_fits(RULES[i].target, r->target) &&
                 rule_fits(RULES[i].job, r->job) && rule_fits(RULES[i].fast, r->fast) &&
                 rule_fits(RULES[i].answered, r->answered)))
                i++; /* the last one fits all */
        if (rule)
                *rule = i;
        return RULES[i].action;
}

size_t recovery_rules(void)
{
        return countof(RULES);
}
