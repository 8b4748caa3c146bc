/* A VM's moves: the journal of a migration, driven from its first wish to its end. */
#include "core/move.h"

#include "core/placement.h"
#include "core/storage.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CALM_S     30 /* what was called off so long ago is forgotten */
#define CALM_MIN_S 1
#define SECOND_US  1000000

/* The attempt's number in "VM-EPOCH-N"; migrations that users named do not count. */
static int64_t attempt(const struct vm *vm, const struct migration *m)
{
        char prefix[320];
        int64_t n = 0;
        const char *s;
        int len = snprintf(prefix, sizeof(prefix), "%s-%lld-", vm->meta.name,
                           (long long)vm->status.owner.epoch);

        if (len < 0 || strncmp(m->meta.name, prefix, (size_t)len) != 0)
                return 0;
        for (s = m->meta.name + len; *s >= '0' && *s <= '9' && n < 1000000; s++)
                n = n * 10 + (*s - '0');
        return *s ? 0 : n;
}

/*
 * Microseconds to wait after the failures in a row of this placement, counted from the last one.
 * Moves that were called off a moment ago count too, whatever their placement: a wish that changes
 * that often is waited out.
 */
static int64_t backoff(const struct plan *p, const char *hash)
{
        int64_t wait_s = 0, last_us = 0, calm_s = 0, called_off_us = 0;

        for (size_t i = 0; i < p->in->nmigrations; i++) {
                const struct migration *m = p->in->migrations[i];

                if (m->status.phase == MIG_CANCELLED &&
                    p->in->now_us - m->status.finished_us < CALM_S * SECOND_US) {
                        calm_s = calm_s ? calm_s * 2 : CALM_MIN_S;
                        called_off_us = m->status.finished_us;
                }
                if (m->status.phase != MIG_FAILED || m->status.epoch != p->vm->status.owner.epoch ||
                    strcmp(m->status.placement, hash) != 0)
                        continue;
                wait_s = wait_s ? wait_s * 2 : REC_BACKOFF_MIN_S;
                if (wait_s > REC_BACKOFF_MAX_S)
                        wait_s = REC_BACKOFF_MAX_S;
                if (m->status.finished_us > last_us)
                        last_us = m->status.finished_us;
        }
        if (called_off_us + calm_s * SECOND_US > last_us + wait_s * SECOND_US)
                return called_off_us + calm_s * SECOND_US - p->in->now_us;
        return wait_s ? last_us + wait_s * SECOND_US - p->in->now_us : 0;
}

/*
 * The VM shows its move from the write on that notes the wish for it: nothing is left to be said of
 * it until a target is chosen, and no write stands between that and the copy.
 */
static void show_begun(struct plan *p, const char *name)
{
        struct vm *next = p->next;

        next->status.migration.name = name;
        next->status.migration.phase = mig_phase_name(MIG_PENDING);
        next->status.migration.target = "";
        next->status.migration.percent = 0;
}

void plan_begin_move(struct plan *p, enum mig_reason reason, const char *why)
{
        struct rec_action *act;
        int64_t last = 0, wait_us;
        const char *name;
        char hash[17];

        if (plan_wish_wavers(p))
                return;
        placement_hash(p->vm, hash);
        wait_us = backoff(p, hash);
        if (wait_us > 0) {
                plan_again(p, wait_us / 1000 + 1);
                return;
        }
        for (size_t i = 0; i < p->in->nmigrations; i++) {
                int64_t n = attempt(p->vm, p->in->migrations[i]);

                last = n > last ? n : last;
        }
        name = plan_text(p, "%s-%lld-%lld", p->vm->meta.name, (long long)p->vm->status.owner.epoch,
                         (long long)last + 1);
        act = plan_add(p, REC_CREATE_MIGRATION, name);
        act->reason = reason;
        act->why = why;
        show_begun(p, name);
}

/* --- one migration */

bool move_at(const struct move *mv, enum mig_phase phase)
{
        return mv->m->status.phase == phase;
}

/* What must hold where the move leads; NULL when it does, else what does not. */
static const char *broken(const struct move *mv, enum mig_phase to)
{
        enum mig_phase from = mv->m->status.phase;
        enum rcv_owner owner = move_owner(mv);
        bool copied = from >= MIG_COPYING; /* Unknown, too */

        if (!mig_may_move(from, to))
                return "no such move";
        if (to == MIG_FAILED || to == MIG_CANCELLED)
                return copied && owner == RCV_OWNER_TARGET ? "the target owns the guest" : NULL;
        if (!*mv->m->status.target || !strcmp(mv->m->status.target, mv->m->status.source))
                return "it has no target";
        if (to == MIG_COPYING && owner != RCV_OWNER_SOURCE)
                return "the source does not own the guest";
        if (to == MIG_SUCCEEDED && owner != RCV_OWNER_TARGET)
                return "the target does not own the guest";
        return NULL;
}

void move_go(struct move *mv, enum mig_phase to)
{
        int64_t now = mv->p->in->now_us;
        const char *why;

        if (move_at(mv, to))
                return;
        why = broken(mv, to);
        if (why) {
                mv->p->out->defect =
                        plan_text(mv->p, "%s: from %s to %s: %s", mv->m->meta.name,
                                  mig_phase_name(mv->m->status.phase), mig_phase_name(to), why);
                return;
        }
        mv->m->status.phase = to;
        switch (to) {
        case MIG_SCHEDULED:
                mv->m->status.scheduled_us = now;
                break;
        case MIG_COPYING:
                mv->m->status.copying_us = now;
                break;
        case MIG_SWITCHING:
                mv->m->status.switching_us = now;
                break;
        case MIG_CONFIRMING:
                mv->m->status.confirming_us = now;
                break;
        case MIG_SUCCEEDED:
        case MIG_FAILED:
        case MIG_CANCELLED:
                mv->m->status.finished_us = now;
                mv->m->status.permit = false;
                mv->m->status.queue_position = 0;
                mv->m->status.total_ms = (now - mv->m->meta.created_us) / 1000;
                break;
        default:
                break;
        }
}

void move_say(struct move *mv, const char *message)
{
        mv->m->status.message = message;
}

/*
 * Ends a move that left the guest where it was. The target's pod goes first: were the journal
 * closed first and we died, nobody would know the pod for a leftover until the next look at the VM;
 * this way round there is none.
 */
void move_give_up(struct move *mv, enum mig_phase end, const char *message)
{
        const struct pod *pod = plan_pod(mv->p, mv->m->status.pod);

        move_say(mv, message);
        if (!mig_may_move(mv->m->status.phase, end)) {
                move_go(mv, MIG_UNKNOWN); /* the handover has begun: both hosts are asked first */
                return;
        }
        if (pod && !pod->meta.deleting && strcmp(pod->meta.name, mv->p->next->status.pod_name) != 0)
                plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why = message;
        move_go(mv, end);
}

static void init(struct move *mv)
{
        const struct vm *vm = mv->p->vm;
        const struct rec_node *source;
        char hash[17];

        placement_hash(vm, hash);
        mv->m->status.source = vm->status.owner.node;
        mv->m->status.epoch = vm->status.owner.epoch;
        mv->m->status.vm_uid = vm->meta.uid;
        mv->m->status.placement = plan_text(mv->p, "%s", hash);
        move_name_pod(mv);
        source = plan_node(mv->p, vm->status.owner.node);
        mv->m->status.cordoned = source && source->node && source->node->unschedulable;
        mv->m->status.handover =
                vm->spec.migration.handover == HANDOVER_FAST ? HANDOVER_FAST : HANDOVER_PROVEN;
}

/* The node was to be emptied and takes guests again; a guest on its way goes on. */
static bool uncordoned(const struct move *mv)
{
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);

        return mv->m->spec.reason == REASON_DRAIN && mv->m->status.cordoned && source &&
               source->node && !source->node->unschedulable && !move_at(mv, MIG_COPYING);
}

/* "VM-EPOCH-drain-N" was asked for at another epoch: the guest has left that node since. */
static bool drained_before(const struct vm *vm, const struct migration *m)
{
        size_t len = strlen(vm->meta.name);
        const char *s = m->meta.name;
        char *end;
        long long epoch;

        if (m->spec.reason != REASON_DRAIN || strncmp(s, vm->meta.name, len) != 0 || s[len] != '-')
                return false;
        epoch = strtoll(s + len + 1, &end, 10);
        return !strncmp(end, "-drain-", 7) && epoch != vm->status.owner.epoch;
}

/* Made by us, for the VM's own good: it lasts as long as what it is for. */
static bool ours(const struct move *mv)
{
        return mv->m->spec.reason == REASON_PLACEMENT || mv->m->spec.reason == REASON_STORAGE;
}

/*
 * What the move is for has passed: why, else NULL. A copy that leaves failing storage is let end: a
 * pool that has just come back is no better than the one the guest is on its way to.
 */
static const char *needless(struct move *mv)
{
        if (mv->m->spec.reason == REASON_STORAGE)
                return move_at(mv, MIG_COPYING) || plan_ails(mv->p)
                               ? NULL
                               : "cancelled: the storage is healthy again where the VM is";
        if (!plan_misplaced(mv->p))
                return "cancelled: the placement is satisfied where the VM is";
        return plan_stays(mv->p, NULL) ? "cancelled: the VM is to stay where it is" : NULL;
}

/* Why there is no use for the move as it stands now; NULL while there is. */
static const char *useless(struct move *mv)
{
        const struct plan *p = mv->p;
        const struct rec_node *target;
        char hash[17], message[PLACEMENT_MESSAGE_MAX];
        const char *why = needless(mv);

        if (why)
                return why;
        placement_hash(p->vm, hash);
        if (!strcmp(hash, mv->m->status.placement))
                return NULL;
        if (!*mv->m->status.target)
                return NULL; /* its pod is made anew */
        target = plan_node(p, mv->m->status.target);
        if (!target || !target->node ||
            placement_check(p->vm, target->node, true, message) != PLACE_OK)
                return "cancelled: the target does not satisfy the newer placement";
        return NULL;
}

/* Why the move is to be called off; NULL while it is not, or not yet. */
static const char *unwanted(struct move *mv)
{
        const char *why;

        if (mv->m->meta.deleting)
                return "cancelled: the migration was deleted";
        if (mv->m->spec.cancel)
                return "cancelled on request";
        if (!plan_wants_run(mv->p->vm))
                return "cancelled: the VM is to stop";
        if (uncordoned(mv))
                return "cancelled: the node is schedulable again";
        if (!ours(mv))
                return NULL;
        why = useless(mv);
        return why && plan_wish_settled(mv->p) ? why : NULL;
}

/* A copy that has not begun is not begun either for a wish that may be another one in a moment. */
static bool undecided(struct move *mv)
{
        return ours(mv) && (plan_wish_wavers(mv->p) || (useless(mv) && !plan_wish_settled(mv->p)));
}

/* The guest has not been touched yet: ends here and now. While it is copied the agent must be
 * asked. */
static bool cancelled(struct move *mv)
{
        const char *why;

        if (move_at(mv, MIG_SWITCHING) || move_at(mv, MIG_CONFIRMING) || move_at(mv, MIG_UNKNOWN))
                return false; /* too late: the move is completed, and the next one follows */
        why = unwanted(mv);
        if (!why)
                return false;
        if (!move_at(mv, MIG_COPYING)) {
                move_give_up(mv, MIG_CANCELLED, why);
                return true;
        }
        if (!mv->m->spec.cancel) {
                plan_add(mv->p, REC_CANCEL_MIGRATION, mv->m->meta.name)->why = why;
                move_say(mv, why);
        }
        return false;
}

/* The guest is the target's: first it becomes the owner, and only then the old pod goes. */
static void confirm(struct move *mv)
{
        const struct rec_node *target = plan_node(mv->p, mv->m->status.target);
        struct vm_status *next = &mv->p->next->status;

        if (!move_at(mv, MIG_CONFIRMING)) {
                move_go(mv, MIG_SWITCHING); /* no phase is skipped */
                move_go(mv, MIG_CONFIRMING);
        }
        mv->m->status.downtime_ms = mv->m->status.transfer.downtime_ms;
        if (move_owner(mv) == RCV_OWNER_TARGET || !move_at(mv, MIG_CONFIRMING))
                return;
        next->owner = (struct vm_owner){mv->m->status.target, mv->m->status.epoch + 1};
        next->pod_name = mv->m->status.pod;
        next->granted.epoch = 0; /* was the old owner's */
        if (storage_note(mv->p->a, mv->p->next, mv->m->status.target, target ? target->host : NULL,
                         true))
                mv->p->rc = -ENOMEM;
}

/* one_handle(), seeing the new owner, has planned the old pod's end. */
static void complete(struct move *mv)
{
        for (size_t i = 0; i < mv->p->in->npods; i++)
                if (strcmp(mv->p->in->pods[i]->meta.name, mv->p->next->status.pod_name) != 0 &&
                    !mv->p->in->pods[i]->meta.deleting)
                        return;
        move_go(mv, MIG_SUCCEEDED);
}

static int64_t percent(const struct transfer *t)
{
        if (t->state >= TRANSFER_SWITCHED && t->state <= TRANSFER_DONE)
                return 100;
        if (t->bytes_total <= 0 || t->bytes_left > t->bytes_total)
                return 0;
        return 100 * (t->bytes_total - t->bytes_left) / t->bytes_total;
}

static void show(struct move *mv)
{
        struct vm *next = mv->p->next;
        bool under_way = !mig_finished(mv->m->status.phase);

        next->status.migration.name = under_way ? mv->m->meta.name : "";
        next->status.migration.phase = under_way ? mig_phase_name(mv->m->status.phase) : "";
        next->status.migration.target = under_way ? mv->m->status.target : "";
        next->status.migration.percent = under_way ? percent(&mv->m->status.transfer) : 0;
        if (under_way && *mv->m->status.target &&
            (next->status.phase == VM_RUNNING || next->status.phase == VM_PAUSED))
                next->status.phase = VM_MIGRATING;
}

static void advance(struct move *mv)
{
        const struct transfer *t = &mv->m->status.transfer;
        enum rcv_action action;

        if (t->proven) /* what the source's agent does counts, not what was asked of it */
                mv->m->status.handover = HANDOVER_PROVEN;
        action = move_decide(mv);
        if ((action == RCV_PROCEED || move_at(mv, MIG_COPYING)) && cancelled(mv))
                return;
        switch (action) {
        case RCV_PROCEED:
                if (undecided(mv))
                        move_wait(mv, "waiting for the placement to settle");
                else
                        move_proceed(mv);
                break;
        case RCV_ASK:
                move_say(mv, t->message);
                move_go(mv, MIG_UNKNOWN);
                break;
        case RCV_COPY:
                move_go(mv, MIG_COPYING);
                break;
        case RCV_SWITCH:
                move_go(mv, MIG_SWITCHING);
                break;
        case RCV_CONFIRM:
                confirm(mv);
                break;
        case RCV_FINISH:
                complete(mv);
                break;
        case RCV_FAIL:
                move_give_up(mv, MIG_FAILED, move_failure(mv));
                break;
        case RCV_CANCEL:
                move_give_up(mv, MIG_CANCELLED,
                             *t->message ? t->message : "cancelled while copying");
                break;
        default:
                break;
        }
        move_ask_target(mv);
}

static const struct migration *drain_waits(const struct move *mv)
{
        for (size_t i = 0; i < mv->p->in->nmigrations; i++) {
                const struct migration *m = mv->p->in->migrations[i];

                if (m != mv->was && m->spec.reason == REASON_DRAIN && !m->spec.cancel &&
                    !m->meta.deleting && !mig_finished(m->status.phase))
                        return m;
        }
        return NULL;
}

/*
 * A VM makes one move at a time. What a user has wished for once and cannot be made stands in the
 * way of no need: of a drain, and of the VM's own placement or storage where the wish is for less
 * than that allows.
 */
static void give_way(struct move *mv)
{
        const struct migration *drain;
        bool narrower;

        if (mv->m->spec.reason != REASON_USER || !mig_stuck(mv->m))
                return;
        drain = drain_waits(mv);
        narrower = *mv->m->spec.target_node || !move_at(mv, MIG_PENDING);
        if (drain)
                move_give_up(mv, MIG_CANCELLED,
                             plan_text(mv->p, "gave way to %s: %s", drain->meta.name,
                                       mv->m->status.message));
        else if (narrower && plan_misplaced(mv->p) && !plan_stays(mv->p, NULL))
                move_give_up(mv, MIG_CANCELLED,
                             plan_text(mv->p, "gave way to the VM's placement: %s",
                                       mv->m->status.message));
        else if (narrower && plan_flees(mv->p))
                move_give_up(mv, MIG_CANCELLED,
                             plan_text(mv->p, "gave way to the VM's storage: %s",
                                       mv->m->status.message));
}

void plan_move(struct plan *p, const struct migration *m)
{
        struct move mv = {.p = p, .was = m, .m = arena_alloc(p->a, sizeof(*m))};
        struct rec_action *set;

        if (!plan_held(&m->meta)) {
                if (!m->meta.deleting)
                        plan_add(p, REC_HOLD_MIGRATION, m->meta.name);
                return;
        }
        if (!mv.m) {
                p->rc = -ENOMEM;
                return;
        }
        *mv.m = *m;
        if (!*m->status.source) {
                init(&mv);
                if (!*mv.m->status.source)
                        move_give_up(&mv, MIG_FAILED, "the VM is not running");
                else if (drained_before(p->vm, m))
                        move_give_up(&mv, MIG_CANCELLED,
                                     "cancelled: the guest has left the node meanwhile");
        }
        if (!mig_finished(mv.m->status.phase))
                advance(&mv);
        give_way(&mv);
        show(&mv);
        /* The target's pod before the phase that needs it, the journal before the owner: see
         * confirm(). */
        set = plan_add(p, REC_SET_MIGRATION, m->meta.name);
        set->migration = mv.m;
}
