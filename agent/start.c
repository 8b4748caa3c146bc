#include "agent/disks.h"
#include "agent/fresh.h"
#include "agent/holds.h"
#include "agent/moves.h"
#include "agent/vms.h"

#include <errno.h>
#include <string.h>

/* Made anew by each start: whatever an older one left behind is overwritten. */
static int define(struct agent *a, virConnectPtr c, const struct vm *vm,
                  const struct vm_files *files, struct err *e)
{
        autobuf struct buf xml = buf_new(DOMXML_MAX);
        const struct domain_plan plan = {
                .config = &a->config,
                .virt_type = a->virt_type == VIRT_KVM ? "kvm" : "qemu",
                .vm = vm,
                .shape = vm_start_shape(vm),
                .disks = files->disks,
                .seed = files->seed,
        };
        int rc = domxml_print(&plan, &xml, e);

        return rc ? rc : domain_define(c, buf_str(&xml), e);
}

void ownership_gather(struct agent *a, const struct fresh *now, const char *uuid,
                      const struct domain_facts *f, struct ownership *out)
{
        const struct vm *vm = now->vm && !strcmp(now->vm->meta.uid, uuid) ? now->vm : NULL;

        ownership_of(vm, a->config.node, f != NULL, f ? f->meta.epoch : 0,
                     f ? f->meta.restarted_at : "", out);
        out->domain = f ? f->own : OWN_ABSENT;
        if (out->domain == OWN_RECEIVED &&
            !fresh_sent(now, f->meta.migration, a->config.node, f->meta.epoch))
                out->domain = OWN_LEFTOVER;
        out->migrating = fresh_migrating(now, uuid) || moves_has(a->moves, uuid);
}

static bool same_restore(const struct vm *x, const struct vm *y)
{
        char a[VM_RESTORE_TOKEN], b[VM_RESTORE_TOKEN];

        vm_restore_token(&x->spec.restore, a);
        vm_restore_token(&y->spec.restore, b);
        return !strcmp(a, b);
}

/* The decision once more, now that the disks are made. */
static int still_wanted(struct agent *a, virConnectPtr c, const struct vm *vm, struct fresh *now,
                        struct err *e)
{
        struct ownership o;
        struct domain_facts f = {0};
        int rc = fresh_read(a->kube, vm->meta.ns, vm->meta.name, now, e);

        if (rc)
                return rc;
        rc = domain_read(c, vm->meta.uid, &f, e);
        if (rc && rc != -ENOENT)
                return rc;
        ownership_gather(a, now, vm->meta.uid, rc ? NULL : &f, &o);
        if (ownership_decide(&o, NULL) != OWN_START)
                return err_set(e, -EAGAIN, "no longer to be started here");
        /* what is asked for now is not what the disks were set back to: once more */
        return same_restore(vm, now->vm)
                       ? 0
                       : err_set(e, -EAGAIN, "spec.restore has changed meanwhile");
}

int vm_start(struct agent *a, const struct vm *vm, struct err *e)
{
        autoconnect virConnectPtr c = virt_connect(a->virt, e);
        autofresh struct fresh now = {0};
        autohold struct hold *hold = hold_take(a->holds, vm->meta.uid);
        struct vm_files files;

        if (!c)
                return e->code;
        if (!hold)
                return err_set(e, -EAGAIN, "a snapshot of its disks is being taken or removed");
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
