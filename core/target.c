/* Where a guest goes: a place in the queue, a target that the scheduler chooses, and its checks. */
#include "core/move.h"

#include "core/claim.h"
#include "core/placement.h"
#include "core/preflight.h"
#include "core/room.h"

#include <errno.h>
#include <string.h>

#define SENTENCES_MAX 5   /* nodes named in a condition, or in the note of a pod */
#define UNFIT_MAX_S   60  /* for a target that was chosen, and that time may mend */
#define CLAIMS_MAX_S  180 /* for its kubelet to attach and mount volumes */

/* The verdicts on all nodes, before the scheduler is asked or while it finds none. */
static void judge_candidates(struct move *mv)
{
        const struct rec_input *in = mv->p->in;
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);
        size_t n, more;
        struct verdict *v;

        if (!source || !in->ncandidates)
                return;
        v = preflight_all(mv->p->a, mv->p->vm, source, in->candidates, in->ncandidates, &n, &more);
        if (!v) {
                mv->p->rc = -ENOMEM;
                return;
        }
        mv->m->status.verdicts = v;
        mv->m->status.nverdicts = n;
        mv->m->status.more_verdicts = (int64_t)more;
}

/* The move can go on: with a place of its own, which is taken now unless it has one. */
static bool has_permit(struct move *mv)
{
        const struct permits *permits = &mv->p->in->permits;

        mv->m->status.permit |= permits->granted;
        mv->m->status.queue_position = mv->m->status.permit ? 0 : permits->ahead + 1;
        if (!mv->m->status.permit)
                move_say(mv, "waiting for a permit");
        return mv->m->status.permit;
}

/*
 * It cannot go on, for another reason than the other moves: its place is for those that can. It is
 * not in the queue either, where nobody would be served for it.
 */
static void give_back_permit(struct move *mv)
{
        mv->m->status.permit = false;
        mv->m->status.queue_position = 0;
}

void move_wait(struct move *mv, const char *message)
{
        give_back_permit(mv);
        move_say(mv, message);
}

/* A claim that only one node may have is not to be asked for by another one's pod. */
static bool claims_allow(struct move *mv)
{
        char why[CLAIM_MESSAGE_MAX];

        switch (claims_sharing(mv->p->vm, plan_domain(mv->p, mv->m->status.source), why)) {
        case SHARING_SHARED:
                return true;
        case SHARING_NOT_SHARED:
                move_give_up(mv, MIG_FAILED, plan_text(mv->p, "%s", why));
                return false;
        default:
                move_wait(mv, plan_text(mv->p, "%s", why));
                return false;
        }
}

static void create_target(struct move *mv)
{
        struct rec_action *act;

        if (!claims_allow(mv) || !has_permit(mv))
                return;
        move_say(mv, "");
        judge_candidates(mv);
        act = plan_add(mv->p, REC_CREATE_POD, mv->m->status.pod);
        act->epoch = mv->m->status.epoch + 1;
        act->for_migration = true;
        act->avoid = mv->m->status.source;
        act->pin = mv->m->spec.target_node;
}

/* Why no node can take the guest, node by node; what the scheduler says when one could by our
 * rules. */
static const char *no_node(struct move *mv, const char *scheduler)
{
        int64_t more = (int64_t)mv->m->status.nverdicts - SENTENCES_MAX;
        const char *text = "";

        more = more > 0 ? more : 0;
        for (size_t i = 0; i < mv->m->status.nverdicts; i++) {
                const struct verdict *v = &mv->m->status.verdicts[i];

                if (v->rule == PREFLIGHT_OK)
                        return scheduler;
                if (i < SENTENCES_MAX)
                        text = plan_text(mv->p, "%s%s%s", text, i ? "; " : "", v->message);
        }
        more += mv->m->status.more_verdicts;
        if (more > 0)
                text = plan_text(mv->p, "%s; and %lld more nodes", text, (long long)more);
        return *text ? text : scheduler;
}

/* The verdict of the node that the scheduler has chosen goes first. */
static void put_verdict(struct move *mv, const struct verdict *v)
{
        size_t n = mv->m->status.nverdicts;
        struct verdict *all = arena_array(mv->p->a, n + 1, sizeof(*all));

        if (!all) {
                mv->p->rc = -ENOMEM;
                return;
        }
        all[0] = *v;
        mv->m->status.nverdicts = 1;
        for (size_t i = 0; i < n; i++)
                if (strcmp(mv->m->status.verdicts[i].node, v->node) != 0)
                        all[mv->m->status.nverdicts++] = mv->m->status.verdicts[i];
        mv->m->status.verdicts = all;
}

/* So many seconds have passed since the scheduler chose the target; if not, it is looked at again
 * when they have. */
static bool scheduled_for(struct move *mv, int64_t seconds)
{
        int64_t left_us =
                mv->m->status.scheduled_us + seconds * INT64_C(1000000) - mv->p->in->now_us;

        if (left_us > 0)
                plan_again(mv->p, left_us / 1000 + 1);
        return left_us <= 0;
}

/* Another node may do, but the scheduler is not asked again as long as this move goes on. */
static bool unfit_for_long(struct move *mv, enum preflight_rule rule)
{
        if (rule != PREFLIGHT_TARGET_SILENT && rule != PREFLIGHT_TARGET_NOT_READY &&
            rule != PREFLIGHT_NO_ADDRESS && rule != PREFLIGHT_POOL_UNPROVEN &&
            rule != PREFLIGHT_CLAIM_UNKNOWN)
                return false;
        return scheduled_for(mv, UNFIT_MAX_S);
}

/*
 * The target's kubelet mounts claims before it starts the pod's container; a copy that begins
 * earlier finds no disks there. A guest without claims needs no container.
 */
static bool has_claims_mounted(struct move *mv)
{
        const struct pod *pod = plan_pod(mv->p, mv->m->status.pod);
        const char *node = mv->m->status.target;

        if (!vm_claimed_disk(mv->p->vm) || (pod && pod_alive(pod) && pod->phase == POD_RUNNING))
                return true;
        if (scheduled_for(mv, CLAIMS_MAX_S))
                move_give_up(mv, MIG_FAILED,
                             plan_text(mv->p,
                                       "%s has not mounted the claims of the VM within %d s: see "
                                       "the events of pod %s",
                                       node, CLAIMS_MAX_S, mv->m->status.pod));
        else
                move_wait(mv, plan_text(mv->p,
                                        "waiting for %s to mount the claims of the VM for pod %s",
                                        node, mv->m->status.pod));
        return false;
}

static void check_target(struct move *mv)
{
        const struct rec_node *source = plan_node(mv->p, mv->m->status.source);
        const struct rec_node *target = plan_node(mv->p, mv->m->status.target);
        struct rec_node silent = {.name = mv->m->status.target};
        struct rec_node none = {.name = mv->m->status.source};
        char message[PREFLIGHT_MESSAGE_MAX];
        enum preflight_rule rule;
        struct verdict v;
        bool transient;

        rule = preflight(mv->p->vm, source ? source : &none, target ? target : &silent, &transient,
                         message);
        v = (struct verdict){mv->m->status.target, rule, plan_text(mv->p, "%s", message)};
        put_verdict(mv, &v);
        if (rule != PREFLIGHT_OK && (!transient || unfit_for_long(mv, rule))) {
                move_give_up(mv, MIG_FAILED, v.message);
        } else if (rule != PREFLIGHT_OK) {
                move_wait(mv, v.message);
        } else if (!has_claims_mounted(mv) || !has_permit(mv)) {
                return;
        } else if (!mv->p->in->permits.target_free) {
                mv->m->status.queue_position = mv->p->in->permits.ahead_in + 1;
                move_say(mv, plan_text(mv->p, "waiting for a permit of %s", mv->m->status.target));
        } else {
                move_say(mv, "");
                move_go(mv, MIG_COPYING);
        }
}

/*
 * Made for a former placement, by its mark or by where it is bound: the webhook may have seen the
 * VM at another moment than we.
 */
static bool outdated(struct move *mv, const struct pod *pod)
{
        const struct rec_node *n = plan_node(mv->p, pod->node);
        char message[PLACEMENT_MESSAGE_MAX];

        if (!*pod->node)
                return strcmp(pod->placement, mv->m->status.placement) != 0;
        return !n || !n->node || placement_check(mv->p->vm, n->node, true, message) != PLACE_OK;
}

void move_name_pod(struct move *mv)
{
        const char *name = mv->m->meta.name;
        int64_t n = mv->m->status.refused.count;

        mv->m->status.pod =
                n ? plan_text(mv->p, DROVER_MOVE_POD_PREFIX "%s-t%lld", name, (long long)n)
                  : plan_text(mv->p, DROVER_MOVE_POD_PREFIX "%s", name);
}

static void unschedulable(struct move *mv, const char *reason)
{
        if (*mv->m->status.message)
                plan_condition(mv->p, "PlacementSatisfied", false, reason, mv->m->status.message);
}

/* No pod stands for the target: one is made, after a refusal a little later. */
static void ask_for_target(struct move *mv)
{
        const struct refusals *r = &mv->m->status.refused;
        int64_t wait_us = room_wait_us(r, mv->p->in->now_us);

        if (wait_us <= 0) {
                create_target(mv);
                return;
        }
        unschedulable(mv, "NoRoom");
        plan_again(mv->p, wait_us / 1000 + 1);
}

/*
 * The node that the scheduler has chosen has no room any more: another guest was faster. Or nobody
 * knows what room it has, for no agent has reported it: that is none, and nothing is promised of
 * it. The scheduler is asked anew, with a pod of another name, so that it need not wait for this
 * one's end.
 */
static bool has_no_room(struct move *mv, const struct pod *pod)
{
        const struct capacity_demand d = capacity_shape_demand(&mv->p->vm->status.running);
        const struct rec_node *n = plan_node(mv->p, pod->node);
        const struct rec_node none = {.name = pod->node};
        char message[CAPACITY_MESSAGE_MAX];
        enum capacity_rule rule = room_check(n ? n : &none, mv->p->vm, &d, message);
        struct verdict v = {pod->node, PREFLIGHT_ROOM, ""};

        if (rule == CAPACITY_NO_HOST)
                v.rule = PREFLIGHT_TARGET_SILENT;
        else if (!room_is_short(rule))
                return false;
        v.message = plan_text(mv->p, "%s", message);
        put_verdict(mv, &v);
        give_back_permit(mv);
        move_say(mv, v.message);
        plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why = v.message;
        room_refused(&mv->m->status.refused, mv->p->in->now_us);
        move_name_pod(mv);
        ask_for_target(mv);
        return true;
}

/* The first of those that preflight finds fit, "" when there are none. */
static const char *fit_nodes(struct move *mv)
{
        const char *text = "";
        size_t named = 0;

        for (size_t i = 0; i < mv->m->status.nverdicts && named < SENTENCES_MAX; i++)
                if (mv->m->status.verdicts[i].rule == PREFLIGHT_OK)
                        text = plan_text(mv->p, "%s%s%s", text, named++ ? "," : "",
                                         mv->m->status.verdicts[i].node);
        return text;
}

/*
 * The scheduler tries a pod again when it hears of something that may mend what kept it, and it
 * does not watch our hosts: that two nodes have become proven to share a pool, say, it would find
 * out after five minutes. A change of the pod itself is always heard.
 */
static void retry_for_fit_nodes(struct move *mv, const struct pod *pod)
{
        const char *fit = fit_nodes(mv);

        if (strcmp(pod->fit, fit) != 0)
                plan_add(mv->p, REC_RETRY_POD, pod->meta.name)->fit = fit;
}

/* Its pod waits for the scheduler; who has no node to go to does not keep others waiting. */
static void await_node(struct move *mv, const struct pod *pod)
{
        const struct condition *c = condition_get(&pod->conditions, "PodScheduled");

        if (c && !strcmp(c->status, "False")) {
                give_back_permit(mv);
                judge_candidates(mv);
                retry_for_fit_nodes(mv, pod);
                move_say(mv, no_node(mv, c->message));
                unschedulable(mv, "Unschedulable");
        } else if (has_permit(mv)) {
                move_say(mv, "");
        }
}

static void seek_target(struct move *mv)
{
        const struct pod *pod = plan_pod(mv->p, mv->m->status.pod);
        char hash[17];

        placement_hash(mv->p->vm, hash);
        mv->m->status.placement = plan_text(mv->p, "%s", hash);
        if (!pod) {
                ask_for_target(mv);
                return;
        }
        if (!pod_alive(pod)) {
                if (!pod->meta.deleting)
                        plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why =
                                "the target's pod has died";
                give_back_permit(mv); /* a kubelet that is down may never let it go */
                return;
        }
        if (outdated(mv, pod)) {
                plan_add(mv->p, REC_DELETE_POD, pod->meta.name)->why =
                        "made for a former placement";
                return;
        }
        if (!*pod->node) {
                await_node(mv, pod);
                return;
        }
        if (has_no_room(mv, pod) || !has_permit(mv))
                return;
        mv->m->status.target = pod->node;
        move_go(mv, MIG_SCHEDULED);
}

/* Before the copy: a target is found and checked. */
void move_proceed(struct move *mv)
{
        if (move_at(mv, MIG_PENDING))
                seek_target(mv);
        if (move_at(mv, MIG_SCHEDULED))
                move_go(mv, MIG_PREFLIGHT);
        if (move_at(mv, MIG_PREFLIGHT))
                check_target(mv);
}
