/* A VM's life but for its moves: start, adoption, stop, and what its status says. */
#include "core/plan.h"

#include "core/placement.h"

#include <stdlib.h>
#include <string.h>

static bool owned(const struct vm *vm)
{
        return *vm->status.owner.node != 0;
}

static struct rec_action *create_pod(struct plan *p, const char *name, int64_t epoch)
{
        struct rec_action *act = plan_add(p, REC_CREATE_POD, name);

        act->epoch = epoch;
        return act;
}

/* Why the scheduler has not bound the pod yet, "" when it has not said. */
static const char *unschedulable(const struct pod *pod)
{
        const struct condition *c = condition_get(&pod->conditions, "PodScheduled");

        return c && !strcmp(c->status, "False") ? c->message : "";
}

static void set_phase(struct plan *p, enum vm_phase phase, const char *reason)
{
        p->next->status.phase = phase;
        p->next->status.reason = reason;
}

static void clear_running(struct plan *p)
{
        p->next->status.pod_name = "";
        p->next->status.addresses = (struct strs){0};
        p->next->status.has_running = false;
        p->next->status.migration.name = "";
}

static void delete_pods(struct plan *p, const char *keep)
{
        for (size_t i = 0; i < p->in->npods; i++) {
                const struct pod *pod = p->in->pods[i];

                if (!pod->meta.deleting && strcmp(pod->meta.name, keep) != 0)
                        plan_add(p, REC_DELETE_POD, pod->meta.name);
        }
}

/*
 * Nobody owns the VM and it should run: a handle pod finds the node, which then becomes the owner.
 * The pod's name is made of the epoch to be, so that however often this is decided there is one
 * pod.
 */
static void start(struct plan *p)
{
        int64_t epoch = p->vm->status.owner.epoch + 1;
        const char *name =
                plan_text(p, DROVER_POD_PREFIX "%s-e%lld", p->vm->meta.name, (long long)epoch);
        const struct pod *pod = plan_pod(p, name);
        char hash[17];

        clear_running(p);
        delete_pods(p, name);
        if (!pod) {
                create_pod(p, name, epoch);
                set_phase(p, VM_PENDING, "");
                return;
        }
        placement_hash(p->vm, hash);
        if (pod->meta.deleting) {
                set_phase(p, VM_PENDING, "waiting for the former pod to end");
                return;
        }
        if (!pod_alive(pod) || (!*pod->node && strcmp(pod->placement, hash) != 0)) {
                plan_add(p, REC_DELETE_POD, name)->why = "dead, or made for a former placement";
                set_phase(p, VM_PENDING, "");
                return;
        }
        if (!*pod->node) {
                set_phase(p, VM_PENDING, unschedulable(pod));
                return;
        }
        p->next->status.owner = (struct vm_owner){.node = pod->node, .epoch = epoch};
        p->next->status.pod_name = name;
        p->next->status.has_running = true;
        p->next->status.running = p->vm->spec.shape;
        p->next->status.restarted_at = p->vm->spec.restarted_at;
        set_phase(p, VM_STARTING, "");
}

/* "x-e3" -> "x-e3-r1" -> "x-e3-r2": each replacement of a handle has a name of its own. */
static const char *next_name(struct plan *p, const char *last)
{
        const char *r = strstr(last, "-r");
        long n = 0;

        for (const char *at = r; at; at = strstr(at + 1, "-r"))
                r = at;
        if (r) {
                char *end;
                long v = strtol(r + 2, &end, 10);

                n = end != r + 2 && !*end ? v : 0;
        }
        return plan_text(p, DROVER_POD_PREFIX "%s-e%lld-r%ld", p->vm->meta.name,
                         (long long)p->vm->status.owner.epoch, n + 1);
}

/*
 * The owner's guest has exactly one handle: one that is lost is replaced by one pinned to the same
 * node, which adopts the guest; one too many is deleted, but never that on the owner's node.
 */
static void one_handle(struct plan *p, const char *migration_pod)
{
        const struct vm_owner *owner = &p->vm->status.owner;
        const struct pod *mine = plan_pod(p, p->vm->status.pod_name);
        const char *name;

        if (!mine || !pod_alive(mine) || (*mine->node && strcmp(mine->node, owner->node) != 0)) {
                mine = NULL;
                for (size_t i = 0; !mine && i < p->in->npods; i++) {
                        const struct pod *pod = p->in->pods[i];

                        if (pod_alive(pod) && !strcmp(pod->node, owner->node) &&
                            strcmp(pod->meta.name, migration_pod) != 0)
                                mine = pod;
                }
        }
        if (mine) {
                p->next->status.pod_name = mine->meta.name;
        } else {
                name = next_name(p, p->vm->status.pod_name);
                while (plan_pod(p, name)) /* that one is lost too */
                        name = next_name(p, name);
                create_pod(p, name, owner->epoch)->pin = owner->node;
                p->next->status.pod_name = name;
        }
        for (size_t i = 0; i < p->in->npods; i++) {
                const struct pod *pod = p->in->pods[i];

                if (!pod->meta.deleting && strcmp(pod->meta.name, p->next->status.pod_name) != 0 &&
                    strcmp(pod->meta.name, migration_pod) != 0)
                        plan_add(p, REC_DELETE_POD, pod->meta.name)->why = "not the guest's handle";
        }
}

/*
 * The owner's agent has said, of this epoch, that there is no guest. Silence is no answer: the
 * agent may be about to start it.
 */
static bool gone(const struct vm *vm, const struct host_domain *d)
{
        return d && d->epoch == vm->status.owner.epoch && d->state == DOMAIN_ABSENT;
}

static void stop(struct plan *p, const struct host_domain *d)
{
        if (!gone(p->vm, d)) {
                set_phase(p, VM_STOPPING, d ? d->reason : "");
                return;
        }
        p->next->status.owner.node = "";
        clear_running(p);
        delete_pods(p, "");
        set_phase(p, VM_HALTED, "");
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
                set_phase(p, VM_RUNNING, "");
                if (d && d->epoch == p->vm->status.owner.epoch && d->addresses.n)
                        p->next->status.addresses = d->addresses;
                return;
        }
        if (!d || d->epoch != p->vm->status.owner.epoch) {
                if (p->vm->status.phase != VM_RUNNING && p->vm->status.phase != VM_MIGRATING)
                        set_phase(p, VM_STARTING, "");
                return;
        }
        switch (d->state) {
        case DOMAIN_RUNNING:
                set_phase(p, VM_RUNNING, "");
                if (d->addresses.n)
                        p->next->status.addresses = d->addresses;
                if (*d->restarted_at && strcmp(d->restarted_at, p->vm->status.restarted_at) != 0) {
                        p->next->status.restarted_at = d->restarted_at;
                        p->next->status.running = p->vm->spec.shape;
                }
                break;
        case DOMAIN_PAUSED:
        case DOMAIN_INCOMING:
        case DOMAIN_RECEIVED:
                set_phase(p, VM_RUNNING, *d->reason ? d->reason : "the guest is paused");
                break;
        default:
                set_phase(p, p->vm->spec.run == RUN_RERUN_ON_FAILURE ? VM_FAILED : VM_STARTING,
                          d->reason);
        }
}

static bool same_shape(const struct vm_shape *x, const struct vm_shape *y)
{
        return x->cores == y->cores && x->memory == y->memory &&
               !strcmp(x->cpu_model, y->cpu_model) && !strcmp(x->huge_pages, y->huge_pages);
}

static void storage_condition(struct plan *p, const struct rec_node *owner)
{
        for (size_t i = 0; owner && owner->host && i < p->vm->spec.ndisks; i++) {
                const struct host_mount *m = host_mount_of(owner->host, p->vm->spec.disks[i].pool);

                if (p->vm->spec.disks[i].kind != DISK_PVC && (!m || m->health == MOUNT_UNHEALTHY)) {
                        plan_condition(p, "StorageHealthy", false, "PoolUnhealthy",
                                       plan_text(p, "%s: pool %s: %s", owner->name,
                                                 p->vm->spec.disks[i].pool,
                                                 m ? m->reason : "not on this node"));
                        return;
                }
        }
        plan_condition(p, "StorageHealthy", true, "Healthy", "");
}

/* QEMU before 9.0 forgets, when it emulates CPUs, to send pages that were written again. */
static bool may_lose_writes(const struct rec_node *owner)
{
        return owner && owner->host && !strcmp(owner->host->virt_type, "qemu") &&
               *owner->host->qemu_version && version_cmp(owner->host->qemu_version, "9.0") < 0;
}

static void migratable_condition(struct plan *p, const struct rec_node *owner)
{
        for (size_t i = 0; i < p->vm->spec.ndisks; i++)
                if (p->vm->spec.disks[i].kind == DISK_PVC) {
                        plan_condition(p, "LiveMigratable", false, "DiskNotShared",
                                       plan_text(p, "disk %s is a PersistentVolumeClaim",
                                                 p->vm->spec.disks[i].name));
                        return;
                }
        if (may_lose_writes(owner))
                plan_condition(
                        p, "LiveMigratable", true, "EmulatedCPU",
                        plan_text(p,
                                  "%s emulates CPUs with QEMU %s: before 9.0 a live migration "
                                  "may lose what the guest writes meanwhile; use KVM or QEMU 9",
                                  owner->name, owner->host->qemu_version));
        else
                plan_condition(p, "LiveMigratable", true, "Migratable", "");
}

static void conditions(struct plan *p, const struct rec_node *owner, const struct host_domain *d)
{
        bool runs = d && d->state == DOMAIN_RUNNING && d->epoch == p->vm->status.owner.epoch;
        bool shaped = same_shape(&p->vm->spec.shape, &p->vm->status.running);

        plan_condition(p, "Ready", runs, runs ? "Running" : "NotRunning", p->next->status.reason);
        plan_condition(p, "AgentConnected", owner && owner->alive,
                       owner && owner->alive ? "Heartbeat" : "Silent",
                       owner && owner->alive
                               ? ""
                               : plan_text(p, "the agent of %s is silent; the node keeps the guest",
                                           p->vm->status.owner.node));
        plan_condition(p, "RestartRequired", !shaped, shaped ? "UpToDate" : "SpecChanged",
                       shaped ? ""
                              : "spec.cpu or spec.memory differs from what runs; it takes effect "
                                "at the next restart");
        storage_condition(p, owner);
        migratable_condition(p, owner);
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
        clear_running(p);
        delete_pods(p, "");
        set_phase(p, plan_wants_run(p->vm) ? VM_PENDING : VM_HALTED,
                  plan_text(p, "%s was lost with the guest", p->vm->status.owner.node));
        plan_condition(p, "Ready", false, "NodeLost", p->next->status.reason);
        return true;
}

static void owned_life(struct plan *p, const struct migration *m)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        const struct host_domain *d = plan_domain(p, p->vm->status.owner.node);
        const char *why;

        if (fenced(p, owner, m))
                return;
        if (!plan_wants_run(p->vm) && !m) {
                stop(p, d);
                if (!*p->next->status.owner.node)
                        return;
        } else {
                observe(p, d, m);
                one_handle(p, m ? m->status.pod : "");
        }
        if (!owner || !owner->alive)
                set_phase(p, VM_UNKNOWN, "the agent of its node is silent");
        conditions(p, owner, d);
        why = plan_misplaced(p);
        if (why)
                plan_condition(p, "PlacementSatisfied", false, "Unsatisfied", why);
        else
                plan_condition(p, "PlacementSatisfied", true, "Satisfied", "");
        if (why && !m && d && d->state == DOMAIN_RUNNING && owner && owner->alive &&
            d->epoch == p->vm->status.owner.epoch && plan_wants_run(p->vm))
                plan_begin_move(p, why);
}

void plan_life(struct plan *p, const struct migration *m)
{
        if (!m)
                p->next->status.migration.name = "";
        if (owned(p->vm)) {
                owned_life(p, m);
        } else if (plan_wants_run(p->vm)) {
                start(p);
                plan_condition(p, "Ready", false, "NotRunning", p->next->status.reason);
        } else {
                delete_pods(p, "");
                clear_running(p);
                set_phase(p, VM_HALTED, "");
                plan_condition(p, "Ready", false, "Halted", "");
        }
}
