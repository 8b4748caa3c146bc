/* What is allowed, but not what one may think. */
#include "core/admission_rules.h"

#include "core/capacity.h"
#include "core/placement.h"

#include <string.h>

/* Once is enough: an update that leaves it as it was is not warned of again. */
static bool nobody_logs_in(const struct vm *vm)
{
        return !vm->spec.ssh_keys.n && !*vm->spec.user_data;
}

static void login(struct admit *c)
{
        if (nobody_logs_in(c->vm) && !(c->old && nobody_logs_in(c->old)))
                admit_warn(c, "spec.sshKeys, spec.cloudInit.userData: neither is given, so nobody "
                              "can log in unless the image itself allows it");
}

static void post_copy(struct admit *c)
{
        if (c->vm->spec.migration.post_copy && !(c->old && c->old->spec.migration.post_copy))
                admit_warn(c, "spec.migration.postCopy: a failure during post-copy loses what the "
                              "guest has in memory");
}

/* --- hypervisors as they are now */

static void size(struct admit *c)
{
        const struct vm_shape *s = &c->vm->spec.shape;
        int64_t more = capacity_overhead(1, s->cores, s->memory);
        struct admission_room most;

        if (c->old && c->old->spec.shape.cores == s->cores &&
            c->old->spec.shape.memory == s->memory)
                return;
        if (!c->f->largest || !c->f->largest(c->f->ctx, &most))
                return;
        if (s->cores > most.cpus)
                admit_warn(c, "spec.cpu.cores: %lld, but no hypervisor offers more than %lld",
                           (long long)s->cores, (long long)most.cpus);
        if (s->memory > most.memory - more)
                admit_warn(c,
                           "spec.memory.guest: %lld MiB and %lld MiB for QEMU itself, but no "
                           "hypervisor offers more than %lld MiB",
                           (long long)(s->memory >> 20), (long long)(more >> 20),
                           (long long)(most.memory >> 20));
}

/* The node that satisfies the VM, or else the one that gets furthest through the rules. */
struct search {
        const struct vm *vm;
        size_t seen;
        bool found;
        enum placement_rule furthest;
        char message[PLACEMENT_MESSAGE_MAX];
};

static bool look(void *arg, const struct node *node)
{
        struct search *s = arg;
        bool running = !strcmp(s->vm->status.owner.node, node->meta.name);
        enum placement_rule rule = placement_check(s->vm, node, running, NULL);

        s->seen++;
        s->found = rule == PLACE_OK;
        if (rule > s->furthest) {
                s->furthest = rule;
                placement_check(s->vm, node, running, s->message);
        }
        return !s->found;
}

static bool same_pools(const struct vm *x, const struct vm *y)
{
        if (x->spec.ndisks != y->spec.ndisks)
                return false;
        for (size_t i = 0; i < x->spec.ndisks; i++)
                if (x->spec.disks[i].kind != y->spec.disks[i].kind ||
                    strcmp(x->spec.disks[i].pool, y->spec.disks[i].pool) != 0)
                        return false;
        return true;
}

/* All that placement_check looks at. */
static bool same_place(const struct vm *x, const struct vm *y)
{
        char hx[17], hy[17];

        placement_hash(x, hx);
        placement_hash(y, hy);
        return !strcmp(hx, hy) && !strcmp(x->spec.shape.cpu_model, y->spec.shape.cpu_model) &&
               same_pools(x, y);
}

static void nodes(struct admit *c)
{
        const char *owner = c->vm->status.owner.node;
        struct search s = {.vm = c->vm};
        const char *then = *owner ? "the guest stays where it is" : "the guest waits for one";

        if (!c->f->nodes || (c->old && same_place(c->vm, c->old)))
                return;
        if (!c->f->nodes(c->f->ctx, look, &s) || s.found)
                return;
        if (s.seen)
                admit_warn(c, "no node satisfies the placement now, %s: %s%s", then, s.message,
                           s.seen > 1 ? " (the nearest node)" : "");
        else
                admit_warn(c, "no node is a hypervisor (" DROVER_HYPERVISOR_LABEL "=true) now, %s",
                           then);
}

void admit_warnings(struct admit *c)
{
        login(c);
        post_copy(c);
        size(c);
        nodes(c);
}
