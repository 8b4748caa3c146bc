/* A VM's life but for its moves: what runs, what is to stop, what was lost. */
#include "core/plan.h"
#include "core/storage.h"

#include <errno.h>
#include <string.h>

static bool owned(const struct vm *vm)
{
        return *vm->status.owner.node != 0;
}

void plan_phase(struct plan *p, enum vm_phase phase, const char *reason)
{
        p->next->status.phase = phase;
        p->next->status.reason = reason;
}

void plan_clear_running(struct plan *p)
{
        p->next->status.pod_name = "";
        p->next->status.addresses = (struct strs){0};
        p->next->status.has_running = false;
        p->next->status.granted.epoch = 0;
        p->next->status.migration.name = "";
}

/*
 * The owner's agent has said, of this VM (d is of its uid) and this epoch, that there is no guest;
 * and of one that is being deleted, no disk either: what it said before it knew of that does not
 * count. Silence is no answer: the agent may be about to start it.
 */
static bool gone(const struct vm *vm, const struct host_domain *d)
{
        if (!d || d->epoch != vm->status.owner.epoch)
                return false;
        return d->state == DOMAIN_ERASED || (d->state == DOMAIN_ABSENT && !vm->meta.deleting);
}

static void stop(struct plan *p, const struct host_domain *d)
{
        if (!gone(p->vm, d)) {
                plan_phase(p, VM_STOPPING, d ? d->reason : "");
                return;
        }
        p->next->status.owner.node = "";
        plan_clear_running(p);
        plan_delete_pods(p, "");
        plan_phase(p, VM_HALTED, "");
        if (p->vm->meta.deleting)
                plan_condition(p, PLAN_DISKS_REMOVED, true, "Removed", "");
}

/* While a guest is handed over its owner may have none: that is no news. */
static bool between(const struct migration *m)
{
        return m && (m->status.phase == MIG_COPYING || m->status.phase == MIG_SWITCHING ||
                     m->status.phase == MIG_CONFIRMING || m->status.phase == MIG_UNKNOWN);
}

static void observe(struct plan *p, const struct host_domain *d, const struct migration *m)
{
        if (between(m)) {
                plan_phase(p, VM_RUNNING, "");
                if (d && d->epoch == p->vm->status.owner.epoch && d->addresses.n)
                        p->next->status.addresses = d->addresses;
                return;
        }
        if (!d || d->epoch != p->vm->status.owner.epoch) {
                if (p->vm->status.phase != VM_RUNNING && p->vm->status.phase != VM_PAUSED &&
                    p->vm->status.phase != VM_MIGRATING)
                        plan_phase(p, VM_STARTING, "");
                return;
        }
        switch (d->state) {
        case DOMAIN_RUNNING:
                plan_phase(p, VM_RUNNING, "");
                if (d->addresses.n)
                        p->next->status.addresses = d->addresses;
                plan_restarted(p, d);
                plan_restored(p, d);
                break;
        case DOMAIN_IO_ERROR:
                plan_phase(p, VM_PAUSED, d->reason);
                break;
        case DOMAIN_PAUSED:
        case DOMAIN_INCOMING:
        case DOMAIN_RECEIVED:
                plan_phase(p, VM_RUNNING, *d->reason ? d->reason : "the guest is paused");
                break;
        default:
                plan_phase(p, p->vm->spec.run == RUN_RERUN_ON_FAILURE ? VM_FAILED : VM_STARTING,
                           d->reason);
        }
}

/*
 * The node is lost for good, and the guest with it: nobody owns it now, and it starts anew wherever
 * there is room, at the next epoch, by which the lost node's agent knows its domain for stale
 * should it return. A migration under way is settled first: its target may hold the guest.
 */
static bool fenced(struct plan *p, const struct rec_node *owner, const struct migration *m)
{
        struct rec_node lost = {.name = p->vm->status.owner.node};

        if (m || !rec_node_fenced(owner ? owner : &lost))
                return false;
        p->next->status.owner.node = "";
        plan_clear_running(p);
        plan_delete_pods(p, "");
        plan_phase(p, plan_wants_run(p->vm) ? VM_PENDING : VM_HALTED,
                   plan_text(p, "%s was lost with the guest", p->vm->status.owner.node));
        plan_condition(p, "Ready", false, "NodeLost", p->next->status.reason);
        return true;
}

/* Its agent has a guest of this very epoch that can be copied: one that an I/O error stopped, too.
 */
static bool movable(const struct plan *p, const struct rec_node *owner, const struct host_domain *d)
{
        return owner && owner->alive && d && d->epoch == p->vm->status.owner.epoch &&
               (d->state == DOMAIN_RUNNING || d->state == DOMAIN_IO_ERROR) && plan_wants_run(p->vm);
}

/* The placement first: where it leads, the storage is healthy as well. */
static void begin_due_move(struct plan *p)
{
        const char *why = plan_misplaced(p);

        if (why && !plan_stays(p, NULL))
                plan_begin_move(p, REASON_PLACEMENT, why);
        else if ((why = plan_flees(p)))
                plan_begin_move(p, REASON_STORAGE, why);
}

static void owned_life(struct plan *p, const struct migration *m)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        const struct host_domain *d = plan_domain(p, p->vm->status.owner.node);

        if (fenced(p, owner, m))
                return;
        if (!plan_wants_run(p->vm) && !m) {
                stop(p, d);
                if (!*p->next->status.owner.node)
                        return;
                if (rec_erasing(p->vm) && !(owner && owner->alive)) {
                        plan_erase(p);
                        return;
                }
        } else {
                observe(p, d, m);
                plan_handles(p, m);
                if (!m)
                        plan_restart(p, owner);
        }
        if (!owner || !owner->alive)
                plan_phase(p, VM_UNKNOWN, "the agent of its node is silent");
        if (owner && owner->alive && !p->vm->meta.deleting &&
            storage_note(p->a, p->next, owner->name, owner->host, false))
                p->rc = -ENOMEM;
        plan_conditions(p, owner, d);
        if (!m && movable(p, owner, d))
                begin_due_move(p);
}

void plan_life(struct plan *p, const struct migration *m)
{
        if (!m)
                p->next->status.migration.name = "";
        if (owned(p->vm)) {
                owned_life(p, m);
        } else if (plan_wants_run(p->vm)) {
                plan_start(p);
        } else {
                plan_delete_pods(p, "");
                plan_clear_running(p);
                plan_phase(p, VM_HALTED, "");
                plan_condition(p, "Ready", false, "Halted", "");
                if (!m && rec_erasing(p->next))
                        plan_erase(p);
        }
}
