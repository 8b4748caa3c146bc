#include "agent/disks.h"
#include "agent/fresh.h"
#include "agent/moves.h"
#include "agent/vms.h"

#include <errno.h>
#include <string.h>

/*
 * A guest that crashed starts again as it was; one that a person restarts, or that starts for the
 * first time, gets what the spec says.
 */
static const struct vm_shape *shape_of(const struct vm *vm)
{
        bool restart = strcmp(vm->spec.restarted_at, vm->status.restarted_at) != 0;

        return vm->status.has_running && !restart ? &vm->status.running : &vm->spec.shape;
}

/* Made anew by each start: whatever an older one left behind is overwritten. */
static int define(struct agent *a, virConnectPtr c, const struct vm *vm,
                  const struct vm_files *files, struct err *e)
{
        autobuf struct buf xml = buf_new(DOMXML_MAX);
        const struct domain_plan plan = {
                .config = &a->config,
                .virt_type = a->virt_type == VIRT_KVM ? "kvm" : "qemu",
                .vm = vm,
                .shape = shape_of(vm),
                .disks = files->disks,
                .seed = files->seed,
        };
        int rc = domxml_print(&plan, &xml, e);

        return rc ? rc : domain_define(c, buf_str(&xml), e);
}

/* The decision once more, now that the disks are made. */
static int still_wanted(struct agent *a, virConnectPtr c, const struct vm *vm, struct fresh *now,
                        struct err *e)
{
        struct ownership o = {0};
        struct domain_facts f = {0};
        int rc = fresh_read(a->kube, vm->meta.ns, vm->meta.name, now, e);

        if (rc)
                return rc;
        rc = domain_read(c, vm->meta.uid, &f, e);
        if (rc && rc != -ENOENT)
                return rc;
        bool same = now->vm && !strcmp(now->vm->meta.uid, vm->meta.uid);
        bool has_domain = !rc && f.ours;
        ownership_of(same ? now->vm : NULL, a->config.node, has_domain, f.meta.epoch,
                     f.meta.restarted_at, &o);
        o.domain = rc ? OWN_ABSENT : f.own;
        o.migrating = now->migrating || moves_has(a->moves, vm->meta.uid);
        if (ownership_decide(&o, NULL) != OWN_START)
                return err_set(e, -EAGAIN, "no longer to be started here");
        return 0;
}

int vm_start(struct agent *a, const struct vm *vm, struct err *e)
{
        autoconnect virConnectPtr c = virt_connect(a->virt, e);
        autofresh struct fresh now = {0};
        struct vm_files files;

        if (!c)
                return e->code;
        if (a->virt_type == VIRT_UNKNOWN)
                return err_set(e, -EAGAIN, "the hypervisor has not been looked at yet");
        int rc = disks_prepare(a, vm, &files, e);
        if (rc)
                return rc;
        rc = still_wanted(a, c, vm, &now, e);
        if (!rc)
                rc = define(a, c, now.vm, &files, e);
        if (!rc)
                rc = domain_create(c, vm->meta.uid, e);
        disks_free(&files);
        return rc;
}
