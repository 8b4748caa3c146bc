/* The pods of a VM that has an owner: one handle, which the guest has at every moment. */
#include "core/labels.h"
#include "core/plan.h"

#include <stdlib.h>
#include <string.h>

void plan_delete_pods(struct plan *p, const char *keep)
{
        for (size_t i = 0; i < p->in->npods; i++) {
                const struct pod *pod = p->in->pods[i];

                if (!pod->meta.deleting && strcmp(pod->meta.name, keep) != 0)
                        plan_add(p, REC_DELETE_POD, pod->meta.name);
        }
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

/* The pod that stands for the guest on the owner's node; NULL when there is none that lives. */
static const struct pod *handle(const struct plan *p, const char *migration_pod)
{
        const char *node = p->vm->status.owner.node;
        const struct pod *pod = plan_pod(p, p->vm->status.pod_name);

        if (pod && pod_alive(pod) && (!*pod->node || !strcmp(pod->node, node)))
                return pod;
        for (size_t i = 0; i < p->in->npods; i++) {
                pod = p->in->pods[i];
                if (pod_alive(pod) && !strcmp(pod->node, node) &&
                    strcmp(pod->meta.name, migration_pod) != 0)
                        return pod;
        }
        return NULL;
}

static void replace(struct plan *p)
{
        const struct vm_owner *owner = &p->vm->status.owner;
        const char *name = next_name(p, p->vm->status.pod_name);
        struct rec_action *act;

        while (plan_pod(p, name)) /* that one is lost too */
                name = next_name(p, name);
        act = plan_add(p, REC_CREATE_POD, name);
        act->epoch = owner->epoch;
        act->pin = owner->node;
        act->adopts = true;
        p->next->status.pod_name = name;
}

/*
 * The guest has moved, and its new handle is not Ready yet: the move is not over, and the old one
 * stays for a while, so that no budget of disruptions is asked for the next before this one is
 * made good. Not for ever: a kubelet that is down on the target would hold up every drain of the
 * source, for a pod that no longer stands for anything; and not for a source that is lost.
 */
static bool awaits_ready(struct plan *p, const struct migration *m, const struct pod *mine)
{
        const struct rec_node *source;
        int64_t left_us;

        if (!m || m->status.phase != MIG_CONFIRMING ||
            strcmp(p->vm->status.owner.node, m->status.target) != 0 ||
            (mine && condition_true(&mine->conditions, "Ready")))
                return false;
        source = plan_node(p, m->status.source);
        if (source && rec_node_fenced(source))
                return false;
        left_us = m->status.confirming_us + REC_READY_WAIT_S * INT64_C(1000000) - p->in->now_us;
        if (left_us <= 0)
                return false;
        plan_again(p, left_us / 1000 + 1);
        return true;
}

/*
 * A handle that is lost is replaced by one pinned to the same node, which adopts the guest; one too
 * many is deleted, but never that on the owner's node.
 */
void plan_handles(struct plan *p, const struct migration *m)
{
        const char *migration_pod = m ? m->status.pod : "";
        const struct pod *mine = handle(p, migration_pod);
        bool wait = awaits_ready(p, m, mine);

        if (mine)
                p->next->status.pod_name = mine->meta.name;
        else
                replace(p);
        for (size_t i = 0; i < p->in->npods; i++) {
                const struct pod *pod = p->in->pods[i];

                if (pod->meta.deleting || !strcmp(pod->meta.name, p->next->status.pod_name) ||
                    !strcmp(pod->meta.name, migration_pod) ||
                    (wait && !strcmp(pod->node, m->status.source)))
                        continue;
                plan_add(p, REC_DELETE_POD, pod->meta.name)->why = "not the guest's handle";
        }
}

void plan_labels(struct plan *p, const struct migration *m)
{
        const char *names[] = {p->vm->status.pod_name, m ? m->status.pod : ""};

        for (size_t i = 0; i < countof(names); i++) {
                const struct pod *pod = plan_pod(p, names[i]);

                if (pod && pod_alive(pod) && labels_stale(p->vm, pod))
                        plan_add(p, REC_LABEL_POD, pod->meta.name);
        }
}
