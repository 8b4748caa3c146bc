#include "core/eviction.h"

#include <errno.h>
#include <string.h>

const char *evict_migration_name(struct arena *a, const struct vm *vm, int attempt)
{
        return arena_printf(a, "%s-%lld-drain-%d", vm->meta.name, (long long)vm->status.owner.epoch,
                            attempt);
}

/* The guest that the pod stands for: its own, and not one that has left or not come yet. */
static bool stands_for_guest(const struct evict_facts *f)
{
        const struct vm *vm = f->vm;

        return vm && pod_alive(f->pod) && !strcmp(vm->meta.uid, f->pod->vm_uid) &&
               !vm->meta.deleting && *vm->status.owner.node;
}

static bool under_way(const struct migration *m)
{
        return m && !m->meta.deleting && !mig_finished(m->status.phase);
}

static const char *waits_for(struct arena *a, const struct migration *m)
{
        if (m->status.queue_position)
                return arena_printf(a, ", number %lld in the queue",
                                    (long long)m->status.queue_position);
        if (*m->status.message)
                return arena_printf(a, ": %s", m->status.message);
        if (*m->status.target)
                return arena_printf(a, ", to %s", m->status.target);
        return "";
}

static const char *moving(struct arena *a, const struct vm *vm, const struct migration *m)
{
        const char *rest = waits_for(a, m);

        return rest ? arena_printf(a, "VM %s/%s is leaving %s: migration %s is %s%s", vm->meta.ns,
                                   vm->meta.name, vm->status.owner.node, m->meta.name,
                                   mig_phase_name(m->status.phase), rest)
                    : NULL;
}

/* Why no move can be begun, ever; NULL when one can. */
static const char *cannot_move(struct arena *a, const struct vm *vm)
{
        const struct condition *c = condition_get(&vm->status.conditions, "LiveMigratable");

        if (vm->spec.eviction == EVICTION_NONE)
                return arena_printf(a,
                                    "VM %s/%s runs on %s and has evictionStrategy None: stop it "
                                    "(spec.runStrategy: Halted) or move it yourself",
                                    vm->meta.ns, vm->meta.name, vm->status.owner.node);
        if (c && !strcmp(c->status, "False"))
                return arena_printf(a,
                                    "VM %s/%s runs on %s and cannot be migrated: %s; stop it "
                                    "(spec.runStrategy: Halted) to empty the node",
                                    vm->meta.ns, vm->meta.name, vm->status.owner.node, c->message);
        return NULL;
}

/* The next migration that an eviction may ask for, or what holds it up. */
static void ask(struct arena *a, const struct evict_facts *f, struct evict_answer *out)
{
        const struct vm *vm = f->vm;
        const struct migration *last = f->nasked ? f->asked[f->nasked - 1] : NULL;

        if (under_way(last)) {
                out->message = moving(a, vm, last);
                return;
        }
        if (f->nasked == EVICTION_ATTEMPTS ||
            (last && last->status.phase == MIG_FAILED &&
             f->now_us - last->status.finished_us < EVICTION_BACKOFF_US)) {
                out->message = arena_printf(a,
                                            "VM %s/%s is still on %s, another attempt follows: "
                                            "migration %s %s: %s",
                                            vm->meta.ns, vm->meta.name, vm->status.owner.node,
                                            last->meta.name, mig_phase_name(last->status.phase),
                                            last->status.message);
                return;
        }
        out->verdict = EVICT_MOVE;
        out->attempt = f->nasked + 1;
        out->message = arena_printf(a, "VM %s/%s is asked to leave %s by a live migration",
                                    vm->meta.ns, vm->meta.name, vm->status.owner.node);
}

int evict_judge(struct arena *a, const struct evict_facts *f, struct evict_answer *out)
{
        const struct vm *vm = f->vm;

        *out = (struct evict_answer){.verdict = EVICT_ALLOW, .message = ""};
        if (!stands_for_guest(f))
                return 0;
        bool current = under_way(f->current);
        if (strcmp(f->pod->meta.name, vm->status.pod_name) != 0) {
                if (!current || strcmp(f->current->status.pod, f->pod->meta.name) != 0)
                        return 0;
                out->verdict = EVICT_WAIT; /* once there, it can be asked to leave */
                out->message =
                        arena_printf(a, "VM %s/%s is on its way to %s by migration %s", vm->meta.ns,
                                     vm->meta.name, f->pod->node, f->current->meta.name);
                return out->message ? 0 : -ENOMEM;
        }
        out->verdict = EVICT_WAIT;
        if (current) {
                out->message = moving(a, vm, f->current);
        } else if ((out->message = cannot_move(a, vm))) {
                out->verdict = EVICT_REFUSE;
        } else {
                ask(a, f, out);
        }
        return out->message ? 0 : -ENOMEM;
}
