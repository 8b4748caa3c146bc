#include "core/plan.h"

#include "core/claim.h"
#include "core/placement.h"
#include "core/storage.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define PRUNED_AT_ONCE 4

struct rec_action *plan_add(struct plan *p, enum rec_kind kind, const char *name)
{
        static _Thread_local struct rec_action scratch;
        struct rec_action *act = &scratch;

        if (p->out->n < REC_ACTIONS_MAX)
                act = &p->out->v[p->out->n++];
        else if (!p->rc)
                p->rc = -E2BIG;
        *act = (struct rec_action){
                .kind = kind, .name = name, .pin = "", .avoid = "", .fit = "", .why = ""};
        return act;
}

const char *plan_text(struct plan *p, const char *fmt, ...)
{
        char text[ERR_MSG_MAX];
        const char *copy;
        va_list ap;

        va_start(ap, fmt);
        vsnprintf(text, sizeof(text), fmt, ap);
        va_end(ap);
        copy = arena_strdup(p->a, text);
        if (!copy)
                p->rc = -ENOMEM;
        return copy ? copy : "";
}

void plan_again(struct plan *p, int64_t ms)
{
        if (!p->out->again_ms || ms < p->out->again_ms)
                p->out->again_ms = ms;
}

const struct rec_node *plan_node(const struct plan *p, const char *name)
{
        for (size_t i = 0; i < p->in->nnodes; i++)
                if (!strcmp(p->in->nodes[i].name, name))
                        return &p->in->nodes[i];
        return NULL;
}

bool plan_held(const struct meta *m)
{
        return strs_has(&m->finalizers, DROVER_FINALIZER);
}

bool rec_node_fenced(const struct rec_node *n)
{
        if (n->alive || !n->node)
                return !n->alive;
        for (size_t i = 0; i < n->node->ntaints; i++)
                if (!strcmp(n->node->taints[i].key, "node.kubernetes.io/out-of-service"))
                        return true;
        return false;
}

const struct host_domain *plan_domain(const struct plan *p, const char *node)
{
        const struct rec_node *n = plan_node(p, node);

        return n && n->host ? host_domain_of(n->host, p->vm->meta.uid) : NULL;
}

const struct pod *plan_pod(const struct plan *p, const char *name)
{
        for (size_t i = 0; i < p->in->npods; i++)
                if (!strcmp(p->in->pods[i]->meta.name, name))
                        return p->in->pods[i];
        return NULL;
}

void plan_condition(struct plan *p, const char *type, bool is_true, const char *reason,
                    const char *message)
{
        struct conditions *all = &p->next->status.conditions;
        const char *status = is_true ? "True" : "False";
        struct condition *v;
        size_t i = 0;

        while (i < all->n && strcmp(all->v[i].type, type) != 0)
                i++;
        /* copied before it is changed: the array may still be the decoded object's */
        v = arena_array(p->a, all->n + 1, sizeof(*v));
        if (!v) {
                p->rc = -ENOMEM;
                return;
        }
        if (all->n)
                memcpy(v, all->v, all->n * sizeof(*v));
        if (i == all->n || strcmp(v[i].status, status) != 0)
                v[i].since_us = p->in->now_us;
        v[i].type = type;
        v[i].status = status;
        v[i].reason = reason;
        v[i].message = message;
        all->v = v;
        if (i == all->n)
                all->n++;
}

bool plan_wants_run(const struct vm *vm)
{
        return !vm->meta.deleting &&
               (vm->spec.run == RUN_ALWAYS || vm->spec.run == RUN_RERUN_ON_FAILURE);
}

const char *plan_misplaced(struct plan *p)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        char message[PLACEMENT_MESSAGE_MAX];

        if (!owner || !owner->node ||
            placement_check(p->vm, owner->node, true, message) == PLACE_OK)
                return NULL;
        return plan_text(p, "%s", message);
}

enum sharing plan_disks(struct plan *p, const char **why)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        const struct host_domain *d = plan_domain(p, p->vm->status.owner.node);
        char message[CLAIM_MESSAGE_MAX];
        enum sharing s = claims_sharing(p->vm, d, message);

        if (s == SHARING_SHARED &&
            storage_keeps(p->vm, owner ? owner->host : NULL, p->in->snapshot, message))
                s = SHARING_NOT_SHARED;
        if (why)
                *why = s == SHARING_SHARED ? "" : plan_text(p, "%s", message);
        return s;
}

const char *plan_stays(struct plan *p, const char **reason)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        char message[PLACEMENT_MESSAGE_MAX];
        enum sharing disks;
        const char *why;
        enum placement_rule rule;

        if (!owner || !owner->node)
                return NULL;
        rule = placement_check(p->vm, owner->node, true, message);
        if (rule == PLACE_OK)
                return NULL;
        disks = plan_disks(p, &why);
        if (disks == SHARING_UNKNOWN)
                return plan_text(p, "%s; the VM stays there until it is known to be movable: %s",
                                 message, why);
        if (disks == SHARING_NOT_SHARED) {
                if (reason)
                        *reason = "NotLiveMigratable";
                return plan_text(
                        p, "%s; the VM stays there, for it cannot be moved: %s%s", message, why,
                        *p->vm->status.storage_node ? "" : "; halt it to have it start elsewhere");
        }
        if (rule != PLACE_NO_EXECUTE || p->vm->spec.eviction != EVICTION_NONE)
                return NULL;
        if (reason)
                *reason = "EvictionStrategyNone";
        return plan_text(p,
                         "%s; the VM stays there, for its evictionStrategy is None: halt it or "
                         "move it yourself",
                         message);
}

const struct migration *rec_current(const struct rec_input *in)
{
        const struct migration *found = NULL;

        for (size_t i = 0; i < in->nmigrations; i++) {
                const struct migration *m = in->migrations[i];

                if (!mig_finished(m->status.phase) &&
                    (!found || (!*found->status.source && *m->status.source)))
                        found = m;
        }
        return found;
}

/* The history: all but the newest finished ones go, a few in one pass. */
static void prune(struct plan *p)
{
        size_t finished = 0, gone = 0;

        for (size_t i = p->in->nmigrations; i-- > 0;) {
                const struct migration *m = p->in->migrations[i];

                if (!mig_finished(m->status.phase) || gone == PRUNED_AT_ONCE)
                        continue;
                if (plan_held(&m->meta))
                        plan_add(p, REC_FREE_MIGRATION, m->meta.name);
                if (++finished > REC_MIGRATIONS_KEPT && !m->meta.deleting && ++gone)
                        plan_add(p, REC_DELETE_MIGRATION, m->meta.name);
        }
}

/* A VM that is gone leaves no journals behind, whoever made them. */
static void drop_journals(struct plan *p)
{
        for (size_t i = 0, n = 0; i < p->in->nmigrations && n < PRUNED_AT_ONCE; i++)
                if (!p->in->migrations[i]->meta.deleting) {
                        plan_add(p, REC_DELETE_MIGRATION, p->in->migrations[i]->meta.name);
                        n++;
                }
}

int reconcile(struct arena *a, const struct rec_input *in, struct rec_output *out)
{
        struct plan p = {.a = a, .in = in, .out = out, .vm = in->vm};
        const struct migration *m = rec_current(in);

        *out = (struct rec_output){0};
        p.next = arena_alloc(a, sizeof(*p.next));
        if (!p.next)
                return -ENOMEM;
        *p.next = *in->vm;
        if (!in->vm->meta.deleting && !plan_held(&in->vm->meta)) {
                plan_add(&p, REC_ADD_FINALIZER, in->vm->meta.name);
                return p.rc;
        }
        plan_note_wish(&p);
        p.next->status.observed_generation = in->vm->meta.generation;
        plan_life(&p, m);
        if (m)
                plan_move(&p, m);
        prune(&p);
        /* written always; the shell drops a write that changes nothing */
        plan_add(&p, REC_SET_VM, in->vm->meta.name)->vm = p.next;
        plan_labels(&p, m); /* last: whoever forbids a label holds up nothing else */
        if (!in->vm->meta.deleting || *in->vm->status.owner.node || m || in->npods ||
            !plan_erased(in->vm))
                return p.rc;
        if (in->nmigrations)
                drop_journals(&p);
        else if (plan_held(&in->vm->meta))
                plan_add(&p, REC_REMOVE_FINALIZER, in->vm->meta.name);
        return p.rc;
}
