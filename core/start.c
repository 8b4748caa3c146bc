/* From no owner to one: a handle pod finds a node, and the node must really have the room. */
#include "core/placement.h"
#include "core/plan.h"
#include "core/room.h"
#include "core/storage.h"

#include <errno.h>
#include <string.h>

#define HOME_AGAIN_MS 10000

/* Why the scheduler has not bound the pod yet, "" when it has not said. */
static const char *unschedulable(const struct pod *pod)
{
        const struct condition *c = condition_get(&pod->conditions, "PodScheduled");

        return c && !strcmp(c->status, "False") ? c->message : "";
}

static void pending(struct plan *p, const char *reason)
{
        plan_phase(p, VM_PENDING, reason);
}

/*
 * With disks in local pools a VM starts on their node or not at all: on another one it would be
 * given empty ones.
 */
static const char *home(const struct plan *p)
{
        return p->vm->status.storage_node;
}

/*
 * What keeps its pod from being bound, and that no other node is asked for: where that one does not
 * suit the VM, in our words, for the scheduler sees nothing but two wishes that contradict each
 * other.
 */
static const char *waits_for(struct plan *p, const struct pod *pod)
{
        const struct rec_node *n = plan_node(p, home(p));
        const char *why = unschedulable(pod);
        char message[PLACEMENT_MESSAGE_MAX];

        if (!*home(p) || !*why)
                return why;
        if (n && n->node && placement_check(p->vm, n->node, false, message) != PLACE_OK)
                why = plan_text(p, "%s", message);
        return plan_text(p, "its disks lie on %s, and it starts nowhere else: %s", home(p), why);
}

/* There is no such node, nor a pod on it: it may come back, and the disks with it. */
static bool homeless(struct plan *p)
{
        const struct rec_node *n = plan_node(p, home(p));

        if (!*home(p) || (n && n->node))
                return false;
        pending(p, plan_text(p,
                             "its disks lie on %s, and there is no such Node: it starts nowhere "
                             "else",
                             home(p)));
        plan_again(p, HOME_AGAIN_MS);
        return true;
}

/*
 * Made of the epoch to be, so that however often this is decided there is one pod, and of how many
 * nodes had no room, so that the next pod need not wait for the end of the last.
 */
static const char *pod_name(struct plan *p)
{
        const struct refusals *r = &p->vm->status.refused;
        long long epoch = (long long)p->vm->status.owner.epoch + 1;

        if (!r->count)
                return plan_text(p, DROVER_POD_PREFIX "%s-e%lld", p->vm->meta.name, epoch);
        return plan_text(p, DROVER_POD_PREFIX "%s-e%lld-t%lld", p->vm->meta.name, epoch,
                         (long long)r->count);
}

/* After a refusal the scheduler is asked again a little later, or at once when the wish is new. */
static void make_pod(struct plan *p, const char *name)
{
        int64_t wait_us = room_wait_us(&p->vm->status.refused, p->in->now_us);
        bool news = p->vm->status.observed_generation != p->vm->meta.generation;
        struct rec_action *act;

        if (wait_us > 0 && !news) {
                plan_again(p, wait_us / 1000 + 1);
                return; /* what is said of it stays said */
        }
        act = plan_add(p, REC_CREATE_POD, name);
        act->epoch = p->vm->status.owner.epoch + 1;
        act->pin = home(p);
        pending(p, "");
}

static void own(struct plan *p, const struct pod *pod)
{
        const struct rec_node *n = plan_node(p, pod->node);
        struct vm_status *next = &p->next->status;

        next->owner = (struct vm_owner){.node = pod->node, .epoch = next->owner.epoch + 1};
        next->pod_name = pod->meta.name;
        next->has_running = true;
        next->running = p->vm->spec.shape;
        next->restarted_at = p->vm->spec.restarted_at;
        next->refused = (struct refusals){0};
        if (storage_note(p->a, p->next, pod->node, n ? n->host : NULL, false))
                p->rc = -ENOMEM;
        plan_phase(p, VM_STARTING, "");
}

_Static_assert(STORAGE_MESSAGE_MAX == CAPACITY_MESSAGE_MAX, "one buffer for both");

/* The scheduler has chosen; whether by what is true now is checked by the only one who decides. */
static void bound(struct plan *p, const struct pod *pod)
{
        const struct rec_node none = {.name = pod->node};
        const struct rec_node *n = plan_node(p, pod->node);
        char message[CAPACITY_MESSAGE_MAX];
        struct capacity_demand demand;

        if (capacity_demand_of(p->a, p->vm, false, &demand) < 0) {
                p->rc = -ENOMEM;
                return;
        }
        if (!(n && storage_elsewhere(p->vm, n->host, message)) &&
            room_check(n ? n : &none, p->vm, &demand, message) == CAPACITY_FITS) {
                own(p, pod);
                return;
        }
        pending(p, plan_text(p, "%s", message));
        plan_add(p, REC_DELETE_POD, pod->meta.name)->why = p->next->status.reason;
        room_refused(&p->next->status.refused, p->in->now_us);
        plan_again(p, room_wait_us(&p->next->status.refused, p->in->now_us) / 1000 + 1);
}

/* Bound where its disks are not. */
static bool astray(const struct plan *p, const struct pod *pod)
{
        return *home(p) && *pod->node && strcmp(pod->node, home(p)) != 0;
}

static void with_pod(struct plan *p, const struct pod *pod)
{
        char hash[17];

        placement_hash(p->vm, hash);
        if (pod->meta.deleting) {
                pending(p, "waiting for the former pod to end");
        } else if (!pod_alive(pod) || astray(p, pod) ||
                   (!*pod->node && strcmp(pod->placement, hash) != 0)) {
                plan_add(p, REC_DELETE_POD, pod->meta.name)->why =
                        "dead, astray, or made for a former placement";
                pending(p, "");
        } else if (!*pod->node) {
                pending(p, waits_for(p, pod));
        } else {
                bound(p, pod);
        }
}

/* Its pod would be bound, and two guests would write to one disk. */
static void await_claim(struct plan *p)
{
        pending(p, p->in->claim_taken);
        plan_again(p, REC_ROOM_AGAIN_MS);
}

void plan_start(struct plan *p)
{
        const char *name = pod_name(p);
        const struct pod *pod = plan_pod(p, name);
        bool lost = homeless(p), waits = lost || p->in->claim_taken;

        plan_clear_running(p);
        plan_delete_pods(p, waits ? "" : name);
        if (p->in->claim_taken)
                await_claim(p);
        else if (pod && !waits)
                with_pod(p, pod);
        else if (!waits)
                make_pod(p, name);
        plan_condition(p, "Ready", false,
                       lost                            ? "DisksAway"
                       : p->next->status.refused.count ? "NoRoom"
                                                       : "NotRunning",
                       p->next->status.reason);
}
