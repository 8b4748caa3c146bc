#include "core/eviction.h"

#include <errno.h>
#include <stdio.h>
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

/* What an unfinished migration waits for, by its phase. */
static const char *const WAITS[MIG_PHASES] = {
        [MIG_PENDING] = "a node that can take it",
        [MIG_SCHEDULED] = "the checks of both nodes",
        [MIG_PREFLIGHT] = "the checks of both nodes",
        [MIG_COPYING] = "the end of the copy",
        [MIG_SWITCHING] = "the guest to run on its target",
        [MIG_CONFIRMING] = "the guest to be handed over",
        [MIG_UNKNOWN] = "the agents of both nodes to say where the guest is",
};

static const char *waits_for(struct arena *a, const struct migration *m)
{
        const char *what = m->status.phase < MIG_PHASES ? WAITS[m->status.phase] : NULL;

        if (m->status.queue_position)
                return arena_printf(a, "its turn, as number %lld in the queue",
                                    (long long)m->status.queue_position);
        return arena_printf(a, "%s%s%s", what ? what : "its end", *m->status.message ? ": " : "",
                            m->status.message);
}

/* "migration web-3-drain-1 is Copying, to node2, and waits for the end of the copy" */
static const char *goes(struct arena *a, const struct migration *m)
{
        const char *rest = waits_for(a, m);

        return rest ? arena_printf(a, "migration %s is %s%s%s, and waits for %s", m->meta.name,
                                   mig_phase_name(m->status.phase),
                                   *m->status.target ? ", to " : "", m->status.target, rest)
                    : NULL;
}

static const char *moving(struct arena *a, const struct vm *vm, const struct migration *m)
{
        const char *how = goes(a, m);

        return how ? arena_printf(a, "VM %s/%s is leaving %s: %s", vm->meta.ns, vm->meta.name,
                                  vm->status.owner.node, how)
                   : NULL;
}

static const char *arriving(struct arena *a, const struct evict_facts *f)
{
        const char *how = goes(a, f->current);

        return how ? arena_printf(a, "VM %s/%s is on its way to %s: %s", f->vm->meta.ns,
                                  f->vm->meta.name, f->pod->node, how)
                   : NULL;
}

static const char *stopping(struct arena *a, const struct vm *vm)
{
        return arena_printf(a,
                            "VM %s/%s is %s on %s and is to stop (spec.runStrategy: Halted): the "
                            "end of the guest is waited for",
                            vm->meta.ns, vm->meta.name, vm_phase_name(vm->status.phase),
                            vm->status.owner.node);
}

/* No move can be begun, ever; *why stays NULL when out of memory. */
static bool cannot_move(struct arena *a, const struct vm *vm, const char **why)
{
        const struct condition *c = condition_get(&vm->status.conditions, "LiveMigratable");
        const char *phase = vm_phase_name(vm->status.phase);

        if (vm->spec.eviction == EVICTION_NONE)
                *why = arena_printf(a,
                                    "VM %s/%s is %s on %s and has evictionStrategy None: stop it "
                                    "(spec.runStrategy: Halted) or move it yourself",
                                    vm->meta.ns, vm->meta.name, phase, vm->status.owner.node);
        else if (c && !strcmp(c->status, "False") && strcmp(c->reason, "ClaimUnknown") != 0)
                *why = arena_printf(a,
                                    "VM %s/%s is %s on %s and cannot be migrated: %s; stop it "
                                    "(spec.runStrategy: Halted) to empty the node",
                                    vm->meta.ns, vm->meta.name, phase, vm->status.owner.node,
                                    c->message);
        else
                return false;
        return true;
}

/* After one that has failed, and when all names are taken. */
static const char *again_later(struct arena *a, const struct evict_facts *f)
{
        const struct migration *last = f->asked[f->nasked - 1];
        int64_t left_us = last->status.finished_us + EVICTION_BACKOFF_US - f->now_us;
        const struct vm *vm = f->vm;
        char when[64];

        if (f->nasked == EVICTION_ATTEMPTS)
                snprintf(when, sizeof(when), "when older migrations have been cleared away");
        else
                snprintf(when, sizeof(when), "in %lld s",
                         (long long)((left_us + 999999) / 1000000));
        return arena_printf(a,
                            "VM %s/%s is still %s on %s: migration %s %s: %s; another attempt "
                            "follows %s",
                            vm->meta.ns, vm->meta.name, vm_phase_name(vm->status.phase),
                            vm->status.owner.node, last->meta.name,
                            mig_phase_name(last->status.phase), last->status.message, when);
}

/* The next migration that an eviction may ask for, or what holds it up. */
static void ask(struct arena *a, const struct evict_facts *f, struct evict_answer *out)
{
        const struct vm *vm = f->vm;
        const struct migration *last = f->nasked ? f->asked[f->nasked - 1] : NULL;
        const char *name;

        if (under_way(last)) {
                out->message = moving(a, vm, last);
                return;
        }
        if (f->nasked == EVICTION_ATTEMPTS ||
            (last && last->status.phase == MIG_FAILED &&
             f->now_us - last->status.finished_us < EVICTION_BACKOFF_US)) {
                out->message = again_later(a, f);
                return;
        }
        out->verdict = EVICT_MOVE;
        out->attempt = f->nasked + 1;
        name = evict_migration_name(a, vm, out->attempt);
        out->message = name ? arena_printf(a,
                                           "VM %s/%s is asked to leave %s by a live migration: it "
                                           "is %s, and waits for migration %s to begin",
                                           vm->meta.ns, vm->meta.name, vm->status.owner.node,
                                           vm_phase_name(vm->status.phase), name)
                            : NULL;
}

int evict_judge(struct arena *a, const struct evict_facts *f, struct evict_answer *out)
{
        const struct vm *vm = f->vm;

        *out = (struct evict_answer){.verdict = EVICT_ALLOW, .message = ""};
        if (!stands_for_guest(f))
                return 0;
        /* a user's move that cannot be made gives way, once there is one that the drain asks for */
        bool stuck = f->current && f->current->spec.reason == REASON_USER && mig_stuck(f->current);
        bool current = under_way(f->current) && !stuck;
        bool own = !strcmp(f->pod->meta.name, vm->status.pod_name);
        if (!own && (!current || strcmp(f->current->status.pod, f->pod->meta.name) != 0))
                return 0;
        *out = (struct evict_answer){.verdict = EVICT_WAIT};
        if (!own) { /* once there, it can be asked to leave */
                out->message = arriving(a, f);
        } else if (current) {
                out->message = moving(a, vm, f->current);
        } else if (vm->spec.run == RUN_HALTED) {
                out->message = stopping(a, vm);
        } else if (cannot_move(a, vm, &out->message)) {
                out->verdict = EVICT_REFUSE;
        } else {
                ask(a, f, out);
        }
        return out->message ? 0 : -ENOMEM;
}
