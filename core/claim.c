#include "core/claim.h"

#include <stdio.h>
#include <string.h>

/* "ReadWriteOnce, ReadOnlyMany" */
static void modes(const struct claim *c, char out[128])
{
        size_t n = 0;

        out[0] = '\0';
        for (size_t i = 0; i < c->access_modes.n && n + 1 < 128; i++)
                n += (size_t)snprintf(out + n, 128 - n, "%s%s", i ? ", " : "",
                                      c->access_modes.v[i]);
}

enum sharing claim_sharing(const struct claim *c, const char *disk, char message[CLAIM_MESSAGE_MAX])
{
        char text[128];

        message[0] = '\0';
        if (!strs_has(&c->access_modes, "ReadWriteMany")) {
                modes(c, text);
                snprintf(message, CLAIM_MESSAGE_MAX,
                         "disk %.63s: claim %.100s is %s: no other node may write to it", disk,
                         c->meta.name, *text ? text : "of no access mode");
                return SHARING_NOT_SHARED;
        }
        if (*c->volume)
                return SHARING_SHARED;
        snprintf(message, CLAIM_MESSAGE_MAX, "disk %.63s: claim %.100s is bound to no volume", disk,
                 c->meta.name);
        return SHARING_UNKNOWN;
}

enum sharing claims_sharing(const struct vm *vm, const struct host_domain *d,
                            char message[CLAIM_MESSAGE_MAX])
{
        const struct vm_disk *disk = vm_claimed_disk(vm);

        message[0] = '\0';
        if (!disk || (d && d->claims == SHARING_SHARED))
                return SHARING_SHARED;
        if (d && *d->claims_reason)
                snprintf(message, CLAIM_MESSAGE_MAX, "%s", d->claims_reason);
        else
                snprintf(message, CLAIM_MESSAGE_MAX,
                         "disk %.63s is a PersistentVolumeClaim, of which the agent has not said "
                         "yet whether other nodes may write to it",
                         disk->name);
        return d ? d->claims : SHARING_UNKNOWN;
}

static bool wants_to_run(const struct vm *vm)
{
        return !vm->meta.deleting && vm->spec.run != RUN_HALTED;
}

static bool older(const struct vm *x, const struct vm *y)
{
        if (x->meta.created_us != y->meta.created_us)
                return x->meta.created_us < y->meta.created_us;
        return strcmp(x->meta.uid, y->meta.uid) < 0;
}

static bool has_claim(const struct vm *vm, const char *claim)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind == DISK_PVC && !strcmp(vm->spec.disks[i].claim, claim))
                        return true;
        return false;
}

const struct vm_disk *claim_taken(const struct vm *vm, const struct vm *other)
{
        bool first = *other->status.owner.node || (wants_to_run(other) && older(other, vm));

        if (!first || !strcmp(vm->meta.uid, other->meta.uid) ||
            strcmp(vm->meta.ns, other->meta.ns) != 0)
                return NULL;
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];

                if (d->kind == DISK_PVC && has_claim(other, d->claim))
                        return d;
        }
        return NULL;
}
