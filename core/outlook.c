/* From the copy on: the facts that core/recovery.c decides from. */
#include "core/move.h"

#include <string.h>

static bool speaks(const struct rec_node *n)
{
        const struct condition *ready;

        if (!n || !n->alive || n->unheard || !n->host)
                return false;
        ready = condition_get(&n->host->conditions, "Ready");
        return ready && !strcmp(ready->status, "True");
}

/* What the node says of the guest at that epoch; migration is "" or the uid that must have sent it.
 */
static enum rcv_host seen(const struct move *mv, const char *node, int64_t epoch,
                          const char *migration)
{
        const struct rec_node *n = plan_node(mv->p, node);
        const struct host_domain *d = plan_domain(mv->p, node);

        if (n && rec_node_fenced(n))
                return RCV_FENCED;
        if (!speaks(n))
                return RCV_UNSEEN;
        if (!d || d->epoch != epoch || (*migration && strcmp(d->migration, migration) != 0))
                return RCV_NONE;
        switch (d->state) {
        case DOMAIN_RUNNING:
        case DOMAIN_PAUSED:
        case DOMAIN_IO_ERROR:
                return RCV_RUNS;
        case DOMAIN_INCOMING:
                return RCV_RECEIVING;
        case DOMAIN_RECEIVED:
                return RCV_RECEIVED;
        case DOMAIN_UNKNOWN:
                return RCV_UNSEEN;
        default:
                return RCV_NONE;
        }
}

static enum rcv_host answered(enum arrival_state s)
{
        switch (s) {
        case ARRIVAL_RECEIVING:
                return RCV_RECEIVING;
        case ARRIVAL_RECEIVED:
                return RCV_RECEIVED;
        case ARRIVAL_RUNNING:
                return RCV_RUNS;
        default:
                return RCV_NONE;
        }
}

enum rcv_owner move_owner(const struct move *mv)
{
        const struct vm_owner *o = &mv->p->vm->status.owner;

        if (!strcmp(o->node, mv->m->status.source) && o->epoch == mv->m->status.epoch)
                return RCV_OWNER_SOURCE;
        if (*o->node && !strcmp(o->node, mv->m->status.target) &&
            o->epoch == mv->m->status.epoch + 1)
                return RCV_OWNER_TARGET;
        return RCV_OWNER_OTHER;
}

/*
 * Disks that came along may be the newer ones on a target that is lost, if the guest ran there for
 * a moment: as long as there is such a Node it is waited for, whatever was declared of it. Where
 * the disks are not, the guest cannot start anyway.
 */
static bool has_newer(const struct move *mv)
{
        const struct rec_node *target = plan_node(mv->p, mv->m->status.target);

        return mv->m->status.transfer.ndisks && target && target->node;
}

enum rcv_action move_decide(const struct move *mv)
{
        struct recovery r = {
                .phase = mv->m->status.phase,
                .owner = move_owner(mv),
                .source = seen(mv, mv->m->status.source, mv->m->status.epoch, ""),
                .target = seen(mv, mv->m->status.target, mv->m->status.epoch + 1, mv->m->meta.uid),
                .job = mv->m->status.transfer.state,
                .fast = mv->m->status.handover == HANDOVER_FAST,
                .answered = mv->m->status.arrival != ARRIVAL_UNSAID,
        };

        if (r.target == RCV_FENCED && has_newer(mv))
                r.target = RCV_UNSEEN;
        if (r.answered)
                r.target = answered(mv->m->status.arrival);
        return recovery_decide(&r, NULL);
}

/* The source is lost for good, so nobody is left who could resume the target: now its agent's word
 * is the last one. */
void move_ask_target(struct move *mv)
{
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);

        if (move_at(mv, MIG_UNKNOWN) && source && rec_node_fenced(source))
                mv->m->status.asked = true;
}

/* Why a migration fails, in the words of who knows. */
const char *move_failure(const struct move *mv)
{
        const struct transfer *t = &mv->m->status.transfer;
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);

        if (move_owner(mv) != RCV_OWNER_SOURCE)
                return "the VM has changed hands without this migration";
        if (*t->message)
                return t->message;
        if (source && rec_node_fenced(source))
                return plan_text(mv->p, "%s was lost with the guest", mv->m->status.source);
        return "the copy failed";
}
