/* A VM's moves: the journal of a migration, driven from its first wish to its end. */
#include "core/plan.h"

#include "core/placement.h"
#include "core/preflight.h"
#include "core/recovery.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define SECOND_US 1000000

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

/* Microseconds to wait after the failures in a row of this placement, counted from the last one. */
static int64_t backoff(const struct plan *p, const char *hash)
{
        int64_t wait_s = 0, last_us = 0;

        for (size_t i = 0; i < p->in->nmigrations; i++) {
                const struct migration *m = p->in->migrations[i];

                if (m->status.phase != MIG_FAILED || m->status.epoch != p->vm->status.owner.epoch ||
                    strcmp(m->status.placement, hash) != 0)
                        continue;
                wait_s = wait_s ? wait_s * 2 : REC_BACKOFF_MIN_S;
                if (wait_s > REC_BACKOFF_MAX_S)
                        wait_s = REC_BACKOFF_MAX_S;
                if (m->status.finished_us > last_us)
                        last_us = m->status.finished_us;
        }
        return wait_s ? last_us + wait_s * SECOND_US - p->in->now_us : 0;
}

void plan_begin_move(struct plan *p, const char *why)
{
        int64_t last = 0, wait_us;
        char hash[17];

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
        plan_add(p, REC_CREATE_MIGRATION,
                 plan_text(p, "%s-%lld-%lld", p->vm->meta.name,
                           (long long)p->vm->status.owner.epoch, (long long)last + 1))
                ->why = why;
}

/* --- one migration */

struct move {
        struct plan *p;
        const struct migration *was;
        struct migration *m; /* its status to be */
};

static bool at(const struct move *mv, enum mig_phase phase)
{
        return mv->m->status.phase == phase;
}

/* Every move of the machine goes through here: the table decides whether it is legal. */
static void go(struct move *mv, enum mig_phase to)
{
        int64_t now = mv->p->in->now_us;

        if (!mig_may_move(mv->m->status.phase, to))
                return;
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
                mv->m->status.total_ms = (now - mv->m->meta.created_us) / 1000;
                break;
        default:
                break;
        }
}

static void say(struct move *mv, const char *message)
{
        mv->m->status.message = message;
}

/*
 * Ends a move that left the guest where it was. The target's pod goes first: were the journal
 * closed first and we died, nobody would know the pod for a leftover until the next look at the VM;
 * this way round there is none.
 */
static void give_up(struct move *mv, enum mig_phase end, const char *message)
{
        const struct pod *pod = plan_pod(mv->p, mv->m->status.pod);

        say(mv, message);
        if (!mig_may_move(mv->m->status.phase, end)) {
                go(mv, MIG_UNKNOWN); /* the handover has begun: both hosts are asked first */
                return;
        }
        if (pod && !pod->meta.deleting && strcmp(pod->meta.name, mv->p->next->status.pod_name) != 0)
                plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why = message;
        go(mv, end);
}

static void init(struct move *mv)
{
        const struct vm *vm = mv->p->vm;
        char hash[17];

        placement_hash(vm, hash);
        mv->m->status.source = vm->status.owner.node;
        mv->m->status.epoch = vm->status.owner.epoch;
        mv->m->status.vm_uid = vm->meta.uid;
        mv->m->status.placement = plan_text(mv->p, "%s", hash);
        mv->m->status.pod = mv->m->meta.name;
        mv->m->status.handover =
                vm->spec.migration.handover == HANDOVER_FAST ? HANDOVER_FAST : HANDOVER_PROVEN;
}

/* Why the move is no longer wanted, NULL while it is. */
static const char *unwanted(struct move *mv)
{
        const struct plan *p = mv->p;
        const struct rec_node *target;
        char hash[17], message[PLACEMENT_MESSAGE_MAX];

        if (mv->m->meta.deleting)
                return "cancelled: the migration was deleted";
        if (mv->m->spec.cancel)
                return "cancelled on request";
        if (!plan_wants_run(p->vm))
                return "cancelled: the VM is to stop";
        if (mv->m->spec.reason != REASON_PLACEMENT)
                return NULL;
        if (!plan_misplaced(mv->p))
                return "cancelled: the placement is satisfied where the VM is";
        placement_hash(p->vm, hash);
        if (!strcmp(hash, mv->m->status.placement))
                return NULL;
        if (!*mv->m->status.target)
                return "cancelled: a newer placement takes its place";
        target = plan_node(p, mv->m->status.target);
        if (!target || !target->node ||
            placement_check(p->vm, target->node, true, message) != PLACE_OK)
                return "cancelled: the target does not satisfy the newer placement";
        return NULL;
}

/* The guest has not been touched yet: ends here and now. While it is copied the agent must be
 * asked. */
static bool cancelled(struct move *mv)
{
        const char *why;

        if (at(mv, MIG_SWITCHING) || at(mv, MIG_CONFIRMING) || at(mv, MIG_UNKNOWN))
                return false; /* too late: the move is completed, and the next one follows */
        why = unwanted(mv);
        if (!why)
                return false;
        if (!at(mv, MIG_COPYING)) {
                give_up(mv, MIG_CANCELLED, why);
                return true;
        }
        if (!mv->m->spec.cancel) {
                plan_add(mv->p, REC_CANCEL_MIGRATION, mv->m->meta.name)->why = why;
                say(mv, why);
        }
        return false;
}

static void create_target(struct move *mv)
{
        const struct rec_permits *free = &mv->p->in->permits;
        struct rec_action *act;

        if (free->ahead >= free->total_free || free->source_free <= 0) {
                mv->m->status.queue_position = free->ahead + 1;
                say(mv, "waiting for a permit");
                return;
        }
        mv->m->status.queue_position = 0;
        say(mv, "");
        act = plan_add(mv->p, REC_CREATE_POD, mv->m->status.pod);
        act->epoch = mv->m->status.epoch + 1;
        act->for_migration = true;
        act->avoid = mv->m->status.source;
        act->pin = mv->m->spec.target_node;
}

/* Writes the verdict of the node that the scheduler has chosen. */
static void check_target(struct move *mv)
{
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);
        const struct rec_node *target = plan_node(mv->p, mv->m->status.target);
        struct rec_node silent = {.name = mv->m->status.target};
        struct rec_node none = {.name = mv->m->status.source};
        char message[PREFLIGHT_MESSAGE_MAX];
        struct verdict *v = arena_alloc(mv->p->a, sizeof(*v));
        enum preflight_rule rule;
        bool transient;

        if (!v) {
                mv->p->rc = -ENOMEM;
                return;
        }
        rule = preflight(mv->p->vm, source ? source : &none, target ? target : &silent, &transient,
                         message);
        *v = (struct verdict){mv->m->status.target, rule, plan_text(mv->p, "%s", message)};
        mv->m->status.verdicts = v;
        mv->m->status.nverdicts = 1;
        if (rule != PREFLIGHT_OK && !transient) {
                give_up(mv, MIG_FAILED, v->message);
        } else if (rule != PREFLIGHT_OK) {
                say(mv, v->message);
        } else if (mv->p->in->permits.target_free <= 0) {
                say(mv, plan_text(mv->p, "waiting for a permit of %s", mv->m->status.target));
        } else {
                say(mv, "");
                go(mv, MIG_COPYING);
        }
}

static void seek_target(struct move *mv)
{
        const struct pod *pod = plan_pod(mv->p, mv->m->status.pod);
        const struct condition *c;

        if (!pod) {
                create_target(mv);
                return;
        }
        if (!pod_alive(pod)) {
                if (!pod->meta.deleting)
                        plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why =
                                "the target's pod has died";
                return;
        }
        if (!*pod->node) {
                c = condition_get(&pod->conditions, "PodScheduled");
                say(mv, c && !strcmp(c->status, "False") ? c->message : "");
                if (*mv->m->status.message)
                        plan_condition(mv->p, "PlacementSatisfied", false, "Unschedulable",
                                       mv->m->status.message);
                return;
        }
        mv->m->status.target = pod->node;
        mv->m->status.queue_position = 0;
        go(mv, MIG_SCHEDULED);
}

/* --- from the copy on: what core/recovery.c decides */

static bool speaks(const struct rec_node *n)
{
        const struct condition *ready;

        if (!n || !n->alive || !n->host)
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

static enum rcv_owner owner_of(const struct move *mv)
{
        const struct vm_owner *o = &mv->p->vm->status.owner;

        if (!strcmp(o->node, mv->m->status.source) && o->epoch == mv->m->status.epoch)
                return RCV_OWNER_SOURCE;
        if (*o->node && !strcmp(o->node, mv->m->status.target) &&
            o->epoch == mv->m->status.epoch + 1)
                return RCV_OWNER_TARGET;
        return RCV_OWNER_OTHER;
}

static enum rcv_action decide(const struct move *mv)
{
        struct recovery r = {
                .phase = mv->m->status.phase,
                .owner = owner_of(mv),
                .source = seen(mv, mv->m->status.source, mv->m->status.epoch, ""),
                .target = seen(mv, mv->m->status.target, mv->m->status.epoch + 1, mv->m->meta.uid),
                .job = mv->m->status.transfer.state,
                .fast = mv->m->status.handover == HANDOVER_FAST,
                .answered = mv->m->status.arrival != ARRIVAL_UNSAID,
        };

        if (r.answered)
                r.target = answered(mv->m->status.arrival);
        return recovery_decide(&r, NULL);
}

/* The source is lost for good, so nobody is left who could resume the target: now its agent's word
 * is the last one. */
static void ask_target(struct move *mv)
{
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);

        if (at(mv, MIG_UNKNOWN) && source && rec_node_fenced(source))
                mv->m->status.asked = true;
}

/* Why a migration fails, in the words of who knows. */
static const char *failure(const struct move *mv)
{
        const struct transfer *t = &mv->m->status.transfer;
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);

        if (owner_of(mv) != RCV_OWNER_SOURCE)
                return "the VM has changed hands without this migration";
        if (*t->message)
                return t->message;
        if (source && rec_node_fenced(source))
                return plan_text(mv->p, "%s was lost with the guest", mv->m->status.source);
        return "the copy failed";
}

/* The guest is the target's: first it becomes the owner, and only then the old pod goes. */
static void confirm(struct move *mv)
{
        struct vm_status *next = &mv->p->next->status;

        go(mv, MIG_SWITCHING); /* no phase is skipped */
        go(mv, MIG_CONFIRMING);
        mv->m->status.downtime_ms = mv->m->status.transfer.downtime_ms;
        if (owner_of(mv) == RCV_OWNER_TARGET || !at(mv, MIG_CONFIRMING))
                return;
        next->owner = (struct vm_owner){mv->m->status.target, mv->m->status.epoch + 1};
        next->pod_name = mv->m->status.pod;
}

/* one_handle(), seeing the new owner, has planned the old pod's end. */
static void complete(struct move *mv)
{
        for (size_t i = 0; i < mv->p->in->npods; i++)
                if (strcmp(mv->p->in->pods[i]->meta.name, mv->p->next->status.pod_name) != 0 &&
                    !mv->p->in->pods[i]->meta.deleting)
                        return;
        go(mv, MIG_SUCCEEDED);
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
        if (under_way && *mv->m->status.target && next->status.phase == VM_RUNNING)
                next->status.phase = VM_MIGRATING;
}

/* Before the copy: a target is found and checked. */
static void proceed(struct move *mv)
{
        if (at(mv, MIG_PENDING))
                seek_target(mv);
        if (at(mv, MIG_SCHEDULED))
                go(mv, MIG_PREFLIGHT);
        if (at(mv, MIG_PREFLIGHT))
                check_target(mv);
}

static void advance(struct move *mv)
{
        const struct transfer *t = &mv->m->status.transfer;
        enum rcv_action action = decide(mv);

        if ((action == RCV_PROCEED || at(mv, MIG_COPYING)) && cancelled(mv))
                return;
        switch (action) {
        case RCV_PROCEED:
                proceed(mv);
                break;
        case RCV_ASK:
                say(mv, t->message);
                go(mv, MIG_UNKNOWN);
                break;
        case RCV_COPY:
                go(mv, MIG_COPYING);
                break;
        case RCV_SWITCH:
                go(mv, MIG_SWITCHING);
                break;
        case RCV_CONFIRM:
                confirm(mv);
                break;
        case RCV_FINISH:
                complete(mv);
                break;
        case RCV_FAIL:
                give_up(mv, MIG_FAILED, failure(mv));
                break;
        case RCV_CANCEL:
                give_up(mv, MIG_CANCELLED, *t->message ? t->message : "cancelled while copying");
                break;
        default:
                break;
        }
        ask_target(mv);
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
                        give_up(&mv, MIG_FAILED, "the VM is not running");
        }
        if (!mig_finished(mv.m->status.phase))
                advance(&mv);
        show(&mv);
        /* The target's pod before the phase that needs it, the journal before the owner: see
         * confirm(). */
        set = plan_add(p, REC_SET_MIGRATION, m->meta.name);
        set->migration = mv.m;
}
