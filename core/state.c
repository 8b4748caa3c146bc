/* The conditions of a VM that has an owner. */
#include "core/plan.h"

#include <string.h>

/* A guest that an I/O error has stopped says so, whatever its pools look like by now. */
static void storage_condition(struct plan *p, const struct rec_node *owner,
                              const struct host_domain *d)
{
        bool stopped = d && d->state == DOMAIN_IO_ERROR && d->epoch == p->vm->status.owner.epoch;

        for (size_t i = 0; owner && owner->host && i < p->vm->spec.ndisks; i++) {
                const struct host_mount *m = host_mount_of(owner->host, p->vm->spec.disks[i].pool);

                if (p->vm->spec.disks[i].kind != DISK_PVC && (!m || m->health == MOUNT_UNHEALTHY)) {
                        plan_condition(p, "StorageHealthy", false, "PoolUnhealthy",
                                       plan_text(p, "%s: pool %s: %s%s", owner->name,
                                                 p->vm->spec.disks[i].pool,
                                                 m ? m->reason : "not on this node",
                                                 stopped ? "; the guest stands still" : ""));
                        return;
                }
        }
        if (stopped) {
                plan_condition(p, "StorageHealthy", false, "IOError",
                               plan_text(p,
                                         "%s: %s; its pools are healthy, so it is tried again and "
                                         "again to let it run on",
                                         p->vm->status.owner.node, d->reason));
                return;
        }
        plan_condition(p, "StorageHealthy", true, "Healthy", "");
}

/* QEMU before 9.0 forgets, when it emulates CPUs, to send pages that were written again. */
static bool may_lose_writes(const struct rec_node *owner)
{
        return owner && owner->host && !strcmp(owner->host->virt_type, "qemu") &&
               *owner->host->qemu_version && version_cmp(owner->host->qemu_version, "9.0") < 0;
}

/* That nothing is known of the claims for a moment, after a start or a move, changes nothing. */
static void migratable_condition(struct plan *p, const struct rec_node *owner,
                                 const struct host_domain *d)
{
        bool said = condition_get(&p->vm->status.conditions, "LiveMigratable");
        const char *why;
        enum sharing disks = plan_disks(p, &why);

        if (disks == SHARING_UNKNOWN && said && !(d && *d->claims_reason))
                return;
        if (disks != SHARING_SHARED)
                plan_condition(p, "LiveMigratable", false,
                               disks == SHARING_UNKNOWN ? "ClaimUnknown" : "DiskNotShared", why);
        else if (may_lose_writes(owner))
                plan_condition(
                        p, "LiveMigratable", true, "EmulatedCPU",
                        plan_text(p,
                                  "%s emulates CPUs with QEMU %s: before 9.0 a live migration "
                                  "may lose what the guest writes meanwhile; use KVM or QEMU 9",
                                  owner->name, owner->host->qemu_version));
        else
                plan_condition(p, "LiveMigratable", true, "Migratable", "");
}

static void restart_condition(struct plan *p, const struct rec_node *owner)
{
        const char *why = plan_restart_waits(p, owner);

        if (why)
                plan_condition(p, "RestartRequired", true, "NoRoom",
                               plan_text(p,
                                         "%s; the guest runs on as it is, and is restarted when "
                                         "there is room",
                                         why));
        else if (vm_restore_pending(p->next))
                plan_condition(p, "RestartRequired", true, "RestorePending",
                               plan_text(p,
                                         "spec.restore asks for the snapshot %s; the disks are set "
                                         "back at the next restart",
                                         p->vm->spec.restore.snapshot));
        else if (vm_same_shape(&p->vm->spec.shape, &p->next->status.running))
                plan_condition(p, "RestartRequired", false, "UpToDate", "");
        else
                plan_condition(p, "RestartRequired", true, "SpecChanged",
                               "spec.cpu or spec.memory differs from what runs; it takes effect "
                               "at the next restart");
}

/* Where the guest may be, and whether it is moved when it is not there. */
static void placement_condition(struct plan *p)
{
        const char *misplaced = plan_misplaced(p), *reason = "Unsatisfied";
        const char *stays = misplaced ? plan_stays(p, &reason) : NULL;

        if (misplaced)
                plan_condition(p, "PlacementSatisfied", false, reason, stays ? stays : misplaced);
        else
                plan_condition(p, "PlacementSatisfied", true, "Satisfied", "");
}

void plan_conditions(struct plan *p, const struct rec_node *owner, const struct host_domain *d)
{
        bool runs = d && d->state == DOMAIN_RUNNING && d->epoch == p->vm->status.owner.epoch;

        plan_condition(p, "Ready", runs, runs ? "Running" : "NotRunning", p->next->status.reason);
        plan_condition(p, "AgentConnected", owner && owner->alive,
                       owner && owner->alive ? "Heartbeat" : "Silent",
                       owner && owner->alive
                               ? ""
                               : plan_text(p, "the agent of %s is silent; the node keeps the guest",
                                           p->vm->status.owner.node));
        restart_condition(p, owner);
        storage_condition(p, owner, d);
        migratable_condition(p, owner, d);
        placement_condition(p);
}
