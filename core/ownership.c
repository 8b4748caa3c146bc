#include "core/ownership.h"

#include "base/cleanup.h"
#include "core/names.h"
#include "core/rules.h"

#include <string.h>

static const char *const ACTIONS[OWN_ACTIONS] = {
        [OWN_KEEP] = "keep",         [OWN_START] = "start",   [OWN_RESUME] = "resume",
        [OWN_STOP] = "stop",         [OWN_REBOOT] = "reboot", [OWN_DESTROY] = "destroy",
        [OWN_UNDEFINE] = "undefine", [OWN_LEAVE] = "leave",
};

const char *own_action_name(enum own_action a)
{
        return name_at(ACTIONS, countof(ACTIONS), a);
}

struct rule {
        unsigned vm, epoch, domain, want, migrating;
        enum own_action action;
};

static const struct rule RULES[] = {
        /* What cannot be seen cannot be judged. */
        {ANY, ANY, IN1(OWN_UNSEEN), ANY, ANY, OWN_LEAVE},
        /* Ownership has reached an incoming guest: it may run, whoever else fell on the way. */
        {IN1(OWN_MINE), IN1(OWN_EQUAL), IN1(OWN_RECEIVED), IN3(OWN_RUN, OWN_RERUN, OWN_RESTART),
         ANY, OWN_RESUME},
        /* A move under way belongs to the source's worker and the migrator. */
        {ANY, ANY, ANY, ANY, YES, OWN_LEAVE},
        /* Nothing is here. */
        {IN2(OWN_GONE, OWN_OTHERS), ANY, IN1(OWN_ABSENT), ANY, NO, OWN_KEEP},
        {IN1(OWN_MINE), ANY, IN1(OWN_ABSENT), IN1(OWN_HALT), NO, OWN_KEEP},
        {IN1(OWN_MINE), ANY, IN1(OWN_ABSENT), ANY, NO, OWN_START},
        /* Stale ones: the VM is gone, or lives elsewhere at this epoch or a later one. */
        {IN1(OWN_GONE), ANY, ANY, ANY, NO, OWN_DESTROY},
        {IN1(OWN_OTHERS), IN2(OWN_OLDER, OWN_EQUAL), ANY, ANY, NO, OWN_DESTROY},
        /* What a migration that ended otherwise left behind: nobody will resume it. */
        {IN1(OWN_OTHERS), ANY, IN1(OWN_LEFTOVER), ANY, NO, OWN_DESTROY},
        /* Newer than the owner's epoch: a move whose owner has not been written yet. */
        {ANY, IN1(OWN_NEWER), ANY, ANY, NO, OWN_LEAVE},
        /* Ours again, but left over from an earlier time: its disks have moved on without it. */
        {IN1(OWN_MINE), IN1(OWN_OLDER), ANY, ANY, NO, OWN_DESTROY},
        /* Sent by a migration that ended otherwise: the guest has run on since, elsewhere. */
        {IN1(OWN_MINE), IN1(OWN_EQUAL), IN1(OWN_LEFTOVER), ANY, NO, OWN_DESTROY},
        /* From here on: ours, at our epoch, nothing moves. */
        {ANY, ANY, IN1(OWN_RECEIVING), ANY, NO, OWN_LEAVE},
        {ANY, ANY, IN2(OWN_ENDED, OWN_CRASHED), IN1(OWN_HALT), NO, OWN_UNDEFINE},
        {ANY, ANY, ANY, IN1(OWN_HALT), NO, OWN_STOP},
        {ANY, ANY, IN2(OWN_RUNNING, OWN_PAUSED), IN1(OWN_RESTART), NO, OWN_REBOOT},
        {ANY, ANY, IN2(OWN_RUNNING, OWN_PAUSED), ANY, NO, OWN_KEEP},
        {ANY, ANY, IN1(OWN_ENDED), IN1(OWN_RERUN), NO, OWN_KEEP},
        {ANY, ANY, IN2(OWN_ENDED, OWN_CRASHED), ANY, NO, OWN_START},
};

enum own_action ownership_decide(const struct ownership *o, size_t *rule)
{
        for (size_t i = 0; i < countof(RULES); i++) {
                const struct rule *r = &RULES[i];
                if (rule_fits(r->vm, o->vm) && rule_fits(r->epoch, o->epoch) &&
                    rule_fits(r->domain, o->domain) && rule_fits(r->want, o->want) &&
                    rule_fits(r->migrating, o->migrating)) {
                        if (rule)
                                *rule = i;
                        return r->action;
                }
        }
        if (rule)
                *rule = countof(RULES);
        return OWN_LEAVE; /* the test shows that no combination comes here */
}

size_t ownership_rules(void)
{
        return countof(RULES);
}

bool ownership_same_restart(const char *wanted, const char *domain)
{
        for (size_t i = 0; i < OWN_RESTARTED_MAX; i++) {
                bool control = (unsigned char)wanted[i] < 0x20;
                if (wanted[i] && control ? domain[i] != '?' : wanted[i] != domain[i])
                        return false;
                if (!wanted[i])
                        return true;
        }
        return true;
}

static enum own_want want_of(const struct vm *vm, bool has_domain, const char *restarted_at)
{
        if (vm->meta.deleting || vm->spec.run == RUN_HALTED)
                return OWN_HALT;
        const struct vm_grant *g = vm_granted(vm);

        if (has_domain && g && !ownership_same_restart(g->restarted_at, restarted_at))
                return OWN_RESTART;
        return vm->spec.run == RUN_RERUN_ON_FAILURE ? OWN_RERUN : OWN_RUN;
}

void ownership_of(const struct vm *vm, const char *node, bool has_domain, int64_t domain_epoch,
                  const char *restarted_at, struct ownership *out)
{
        out->epoch = OWN_EQUAL;
        out->want = OWN_RUN;
        out->vm = OWN_GONE;
        if (!vm)
                return;
        out->vm = strcmp(vm->status.owner.node, node) == 0 ? OWN_MINE : OWN_OTHERS;
        if (has_domain && domain_epoch != vm->status.owner.epoch)
                out->epoch = domain_epoch < vm->status.owner.epoch ? OWN_OLDER : OWN_NEWER;
        out->want = want_of(vm, has_domain, restarted_at);
}
