/*
 * A deleted VM takes its disks with it, and is let go only when an agent has said that they are
 * gone. That of its guest's node removes them together with the guest; a VM that nobody owns is
 * given, for this alone, to a node that sees all pools. Removing twice is removing once, so that
 * another node may be asked whenever the last one falls silent.
 */
#include "core/plan.h"

#include <string.h>

#define NO_NODE_AGAIN_MS 5000

bool plan_erased(const struct vm *vm)
{
        return !vm->status.owner.epoch ||
               condition_true(&vm->status.conditions, PLAN_DISKS_REMOVED);
}

bool rec_erasing(const struct vm *vm)
{
        return vm->meta.deleting && !vm->status.has_running && !plan_erased(vm);
}

/*
 * Disks in local pools are removed by their own node, however long that is away. If its Node is
 * gone, so are they, and the rest can be removed by any other.
 */
static bool has_disks(const struct plan *p, const struct rec_node *n)
{
        const char *home = p->vm->status.storage_node;
        const struct rec_node *there = plan_node(p, home);

        return !*home || !strcmp(n->name, home) || (there && !there->node && !there->alive);
}

static bool sees_disks(const struct rec_node *n, const struct vm *vm)
{
        const struct condition *ready =
                n->alive && n->host ? condition_get(&n->host->conditions, "Ready") : NULL;

        if (!ready || strcmp(ready->status, "True") != 0 || !n->host->nmounts)
                return false;
        /* the agent looks in all of its pools: those that the VM once named are not known any more
         */
        for (size_t i = 0; i < n->host->nmounts; i++)
                if (n->host->mounts[i].health != MOUNT_HEALTHY)
                        return false;
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind != DISK_PVC &&
                    !host_mount_of(n->host, vm->spec.disks[i].pool))
                        return false;
        return true;
}

/* By name, so that however often this is decided it is the same. */
static const struct rec_node *choose(const struct plan *p)
{
        const struct rec_node *best = NULL;

        for (size_t i = 0; i < p->in->ncandidates; i++) {
                const struct rec_node *n = &p->in->candidates[i];

                if (has_disks(p, n) && sees_disks(n, p->vm) &&
                    (!best || strcmp(n->name, best->name) < 0))
                        best = n;
        }
        return best;
}

void plan_erase(struct plan *p)
{
        struct vm_owner *owner = &p->next->status.owner;
        const struct rec_node *n = choose(p);

        if (!n) {
                plan_condition(
                        p, PLAN_DISKS_REMOVED, false, "NoNode",
                        *p->vm->status.storage_node
                                ? plan_text(p,
                                            "its disks lie on %s, which cannot remove them now: "
                                            "its agent must speak and its pools be healthy",
                                            p->vm->status.storage_node)
                                : "its disks can be removed by no node now: none whose agent "
                                  "speaks has all pools, and all of them healthy");
                plan_phase(p, *owner->node ? VM_UNKNOWN : VM_HALTED,
                           condition_get(&p->next->status.conditions, PLAN_DISKS_REMOVED)->message);
                plan_again(p, NO_NODE_AGAIN_MS);
                return;
        }
        *owner = (struct vm_owner){n->name, owner->epoch + 1};
        plan_condition(p, PLAN_DISKS_REMOVED, false, "Removing",
                       plan_text(p, "its disks are being removed by %s", n->name));
        plan_phase(p, VM_STOPPING, "its disks are being removed");
}
