/* What an update changes: what it must not, and what of it waits until the guest is started anew.
 */
#include "core/admission_rules.h"

#include <string.h>

const struct vm_disk *admit_old_disk(const struct admit *c, const char *name)
{
        for (size_t i = 0; c->old && i < c->old->spec.ndisks; i++)
                if (!strcmp(c->old->spec.disks[i].name, name))
                        return &c->old->spec.disks[i];
        return NULL;
}

static bool same_source(const struct vm_disk *x, const struct vm_disk *y)
{
        return x->kind == y->kind && !strcmp(x->image, y->image) && !strcmp(x->claim, y->claim) &&
               !strcmp(x->pool, y->pool) && x->full == y->full;
}

/* A disk is made once, at the first start; what would be ignored afterwards is refused. */
void admit_disk_changes(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct spot *at = spot_at(NULL, "spec.disks", i);
                const struct vm_disk *d = &c->vm->spec.disks[i];
                const struct vm_disk *was = admit_old_disk(c, d->name);

                if (was && !same_source(was, d))
                        admit_tell_at(c, at,
                                      "the source of disk %s cannot change: its contents exist "
                                      "already",
                                      d->name);
                else if (was && was->size != d->size)
                        admit_tell_at(c, at, "the size of disk %s cannot change: it is made once",
                                      d->name);
        }
}

static bool has_disk(const struct vm *vm, const char *name)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (!strcmp(vm->spec.disks[i].name, name))
                        return true;
        return false;
}

/*
 * Claims are mounted for the VM's pod, and a pod's volumes are for ever: a guest that is restarted
 * in its place would not find a claim that is new, nor would a move leave one behind.
 */
void admit_claim_changes(struct admit *c)
{
        const char *owner = c->old ? c->old->status.owner.node : "";

        for (size_t i = 0; *owner && i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_PVC && !admit_old_disk(c, d->name))
                        admit_tell_at(c, spot_at(NULL, "spec.disks", i),
                                      "disk %s is a PersistentVolumeClaim, which can only be added "
                                      "while the VM is halted: it is on %s",
                                      d->name, owner);
        }
        for (size_t i = 0; *owner && i < c->old->spec.ndisks; i++) {
                const struct vm_disk *d = &c->old->spec.disks[i];

                if (d->kind == DISK_PVC && !has_disk(c->vm, d->name))
                        admit_tell_at(c, spot(NULL, "spec.disks"),
                                      "disk %s is a PersistentVolumeClaim, which can only be taken "
                                      "away while the VM is halted: it is on %s",
                                      d->name, owner);
        }
}

/* --- what has to wait */

#define AT_RESTART "from the next restart of the guest on (spec.restartedAt)"
#define AT_START   "from the next start of the guest on"

/* The guest runs, and this update does not restart it. */
static bool runs_on(const struct admit *c)
{
        return c->old && c->old->status.has_running && c->vm->spec.run != RUN_HALTED &&
               !strcmp(c->vm->spec.restarted_at, c->old->spec.restarted_at);
}

static const char *or_default(const char *text)
{
        return *text ? text : "the default";
}

/* What is changed back to what the guest runs with waits for nothing. */
static void shape_waits(struct admit *c)
{
        const struct vm_shape *now = &c->vm->spec.shape, *was = &c->old->spec.shape,
                              *runs = &c->old->status.running;

        if (now->cores != was->cores && now->cores != runs->cores)
                admit_warn(c, "spec.cpu.cores: %lld " AT_RESTART, (long long)now->cores);
        if (strcmp(now->cpu_model, was->cpu_model) && strcmp(now->cpu_model, runs->cpu_model))
                admit_warn(c, "spec.cpu.model: %s " AT_RESTART, or_default(now->cpu_model));
        if (now->memory != was->memory && now->memory != runs->memory)
                admit_warn(c, "spec.memory.guest: %lld MiB " AT_RESTART,
                           (long long)(now->memory >> 20));
        if (strcmp(now->huge_pages, was->huge_pages) && strcmp(now->huge_pages, runs->huge_pages))
                admit_warn(c, "spec.memory.hugePages: %s " AT_RESTART,
                           *now->huge_pages ? now->huge_pages : "none");
}

/* Their order is that in which the guest sees them. */
static void disks_wait(struct admit *c)
{
        const struct vm *vm = c->vm, *old = c->old;

        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const char *name = vm->spec.disks[i].name;
                const struct vm_disk *was = admit_old_disk(c, name);

                if (!was)
                        admit_warn(c, "spec.disks[%zu]: disk %s is there " AT_START, i, name);
                else if (was != &old->spec.disks[i])
                        admit_warn(c, "spec.disks[%zu]: disk %s is number %zu " AT_START, i, name,
                                   i);
        }
        for (size_t i = 0; i < old->spec.ndisks; i++)
                if (!has_disk(vm, old->spec.disks[i].name))
                        admit_warn(c,
                                   "spec.disks: disk %s, which was number %zu, is gone " AT_START,
                                   old->spec.disks[i].name, i);
}

/* A network is to the guest what stands at its place in the list; its name is for people. */
static void networks_wait(struct admit *c)
{
        const struct vm *vm = c->vm, *old = c->old;
        size_t both =
                vm->spec.nnetworks < old->spec.nnetworks ? vm->spec.nnetworks : old->spec.nnetworks;

        for (size_t i = 0; i < both; i++) {
                const struct vm_network *n = &vm->spec.networks[i], *o = &old->spec.networks[i];
                char mac[18], was[18];

                vm_mac(vm, i, mac);
                vm_mac(old, i, was);
                if (strcmp(n->bridge, o->bridge) != 0)
                        admit_warn(c, "spec.networks[%zu].bridge: %s " AT_START, i, n->bridge);
                if (strcasecmp(mac, was) != 0)
                        admit_warn(c, "spec.networks[%zu].mac: %s " AT_START, i, mac);
                if (strcmp(n->model, o->model) != 0)
                        admit_warn(c, "spec.networks[%zu].model: %s " AT_START, i, n->model);
        }
        for (size_t i = both; i < vm->spec.nnetworks; i++)
                admit_warn(c, "spec.networks[%zu]: %s is there " AT_START, i,
                           vm->spec.networks[i].name);
        for (size_t i = both; i < old->spec.nnetworks; i++)
                admit_warn(c, "spec.networks: %s, which was number %zu, is gone " AT_START,
                           old->spec.networks[i].name, i);
}

/*
 * cloud-init looks at most of this at the first boot of an instance, and a VM is one instance for
 * all of its life.
 */
#define ONCE                                                                                       \
        "the guest finds it at its next start, but cloud-init takes most of it at the first boot " \
        "of a VM only"

static void seed_waits(struct admit *c)
{
        const struct strs *keys = &c->vm->spec.ssh_keys, *were = &c->old->spec.ssh_keys;

        if (strcmp(c->vm->spec.user_data, c->old->spec.user_data) != 0)
                admit_warn(c, "spec.cloudInit.userData: " ONCE);
        if (strcmp(c->vm->spec.network_data, c->old->spec.network_data) != 0)
                admit_warn(c, "spec.cloudInit.networkData: " ONCE);
        for (size_t i = 0; i < keys->n; i++)
                if (!strs_has(were, keys->v[i]))
                        admit_warn(c, "spec.sshKeys[%zu]: " ONCE, i);
        for (size_t i = 0; i < were->n; i++)
                if (!strs_has(keys, were->v[i]))
                        admit_warn(c,
                                   "spec.sshKeys: the one that was number %zu: cloud-init does "
                                   "not take it away from a guest that has booted",
                                   i);
}

void admit_warn_of_waiting(struct admit *c)
{
        if (runs_on(c)) {
                shape_waits(c);
                disks_wait(c);
                networks_wait(c);
        }
        if (c->old && c->old->status.owner.epoch) /* it has been started before */
                seed_waits(c);
}
