/*
 * A restart of a guest on its own node may bring it another shape. The agent carries it out, but
 * only when the migrator has granted it, for that the host has the room: else the guest runs on as
 * it is, which is better than to end it and not to be able to start it.
 */
#include "core/load.h"
#include "core/ownership.h"
#include "core/plan.h"
#include "core/room.h"

#include <errno.h>
#include <string.h>

static bool due(const struct plan *p)
{
        const char *wish = p->vm->spec.restarted_at;

        return *wish && strcmp(wish, p->next->status.restarted_at) != 0 && !vm_granted(p->next);
}

/* It needs nothing that it has not already. */
static bool not_larger(const struct vm *vm)
{
        struct capacity_load wants = load_of_shape(&vm->spec.shape);
        struct capacity_load has = load_of_shape(&vm->status.running);

        return load_within(&wants, &has) &&
               !strcmp(vm->spec.shape.cpu_model, vm->status.running.cpu_model);
}

const char *plan_restart_waits(struct plan *p, const struct rec_node *owner)
{
        const struct rec_node none = {.name = p->vm->status.owner.node};
        char message[CAPACITY_MESSAGE_MAX];
        struct capacity_demand demand;

        if (!due(p) || not_larger(p->vm))
                return NULL;
        if (capacity_demand_of(p->a, p->vm, false, &demand) < 0) {
                p->rc = -ENOMEM;
                return "";
        }
        if (room_check(owner ? owner : &none, p->vm, &demand, message) == CAPACITY_FITS)
                return NULL;
        return plan_text(p, "%s", message);
}

void plan_restart(struct plan *p, const struct rec_node *owner)
{
        const struct vm *vm = p->vm;

        if (!plan_wants_run(vm) || !due(p))
                return;
        if (plan_restart_waits(p, owner)) {
                plan_again(p, REC_ROOM_AGAIN_MS);
                return;
        }
        p->next->status.granted = (struct vm_grant){
                .epoch = vm->status.owner.epoch,
                .restarted_at = vm->spec.restarted_at,
                .shape = vm->spec.shape,
        };
}

void plan_restored(struct plan *p, const struct host_domain *d)
{
        char token[VM_RESTORE_TOKEN];

        vm_restore_token(&p->vm->spec.restore, token);
        if (*token && !strcmp(token, d->restored))
                p->next->status.restored = p->vm->spec.restore;
}

void plan_restarted(struct plan *p, const struct host_domain *d)
{
        const struct vm_grant *g = vm_granted(p->vm);
        struct vm_status *next = &p->next->status;

        if (!g || !*d->restarted_at || !ownership_same_restart(g->restarted_at, d->restarted_at))
                return;
        next->restarted_at = g->restarted_at;
        next->running = g->shape;
        next->granted.epoch = 0;
}
