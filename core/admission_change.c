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
               !strcmp(x->pool, y->pool);
}

/* A disk is made once, at the first start; what would be ignored afterwards is refused. */
void admit_disk_changes(struct admit *c)
{
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];
                const struct vm_disk *was = admit_old_disk(c, d->name);

                if (was && !same_source(was, d))
                        admit_tell(c, admit_text(c, "spec.disks[%zu]", i),
                                   admit_text(c,
                                              "the source of disk %s cannot change: its contents "
                                              "exist already",
                                              d->name));
                else if (was && was->size != d->size)
                        admit_tell(c, admit_text(c, "spec.disks[%zu]", i),
                                   admit_text(c,
                                              "the size of disk %s cannot change: it is made "
                                              "once",
                                              d->name));
        }
}

/* --- what is allowed, but not what one may think */

static bool same_shape(const struct vm_shape *x, const struct vm_shape *y)
{
        return x->cores == y->cores && x->memory == y->memory &&
               !strcmp(x->cpu_model, y->cpu_model) && !strcmp(x->huge_pages, y->huge_pages);
}

static bool same_devices(const struct vm *x, const struct vm *y)
{
        if (x->spec.ndisks != y->spec.ndisks || x->spec.nnetworks != y->spec.nnetworks)
                return false;
        for (size_t i = 0; i < x->spec.ndisks; i++)
                if (strcmp(x->spec.disks[i].name, y->spec.disks[i].name) != 0)
                        return false;
        for (size_t i = 0; i < x->spec.nnetworks; i++) {
                const struct vm_network *p = &x->spec.networks[i], *q = &y->spec.networks[i];

                if (strcmp(p->name, q->name) != 0 || strcmp(p->bridge, q->bridge) != 0 ||
                    strcmp(p->mac, q->mac) != 0 || strcmp(p->model, q->model) != 0)
                        return false;
        }
        return true;
}

/* The guest runs, and this update does not restart it. */
static bool runs_on(const struct admit *c)
{
        return c->old && c->vm->status.has_running && c->vm->spec.run != RUN_HALTED &&
               !strcmp(c->vm->spec.restarted_at, c->old->spec.restarted_at);
}

void admit_warnings(struct admit *c)
{
        if (runs_on(c) && !same_shape(&c->vm->spec.shape, &c->old->spec.shape))
                admit_warn(c, "spec.cpu, spec.memory: the guest runs; changes take effect when it "
                              "is restarted (spec.restartedAt)");
        if (runs_on(c) && !same_devices(c->vm, c->old))
                admit_warn(c, "spec.disks, spec.networks: the guest runs; changes take effect when "
                              "it is restarted (spec.restartedAt)");
        for (size_t i = 0; i < c->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &c->vm->spec.disks[i];

                if (d->kind == DISK_PVC && !admit_old_disk(c, d->name))
                        admit_warn(c,
                                   admit_text(c,
                                              "spec.disks[%zu].persistentVolumeClaim: a claim is "
                                              "in no storage pool, so the guest cannot be moved "
                                              "while it runs",
                                              i));
        }
        if (c->vm->spec.migration.post_copy && !(c->old && c->old->spec.migration.post_copy))
                admit_warn(c, "spec.migration.postCopy: a failure during post-copy loses what the "
                              "guest has in memory");
}
