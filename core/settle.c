/* Wishes that change in quick succession, and when the last of them counts. */
#include "core/plan.h"

#include "core/placement.h"

#include <string.h>

/* Until the wish has stood for long enough. A clock that was set back holds nothing up. */
static int64_t left_us(const struct plan *p, const struct vm_wish *w)
{
        int64_t stood = p->in->now_us - w->changed_us;

        return stood >= 0 && stood < REC_SETTLE_MS * 1000 ? REC_SETTLE_MS * 1000 - stood : 0;
}

void plan_note_wish(struct plan *p)
{
        const struct vm_status *was = &p->vm->status;
        int64_t changes = p->vm->meta.generation - was->observed_generation;
        char hash[17];

        if (!changes) /* of whatever in the spec: at most so many are of the placement */
                return;
        placement_hash(p->vm, hash);
        if (changes == 1 && !strcmp(hash, was->wish.placement))
                return; /* after several it may be the same one again */
        p->next->status.wish = (struct vm_wish){
                .placement = plan_text(p, "%s", hash),
                .changed_us = p->in->now_us,
                .wavers = was->observed_generation && (changes > 1 || left_us(p, &was->wish)),
        };
}

bool plan_wish_settled(struct plan *p)
{
        int64_t left = left_us(p, &p->next->status.wish);

        if (left)
                plan_again(p, left / 1000 + 1);
        return !left;
}

bool plan_wish_wavers(struct plan *p)
{
        return p->next->status.wish.wavers && !plan_wish_settled(p);
}
