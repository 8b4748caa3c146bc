/*
 * A guest whose storage fails on its node, and on its node alone, is moved to where it does not.
 * What fails everywhere is the server's fault: moving would not mend it. How long a pool has ailed
 * is known from the VM's condition, so that a new leader waits no longer and no shorter.
 */
#include "core/plan.h"
#include "core/preflight.h"

#include <string.h>

/* The first pool of the VM that the host finds unhealthy; NULL when none is, or nothing is known.
 */
static const struct host_mount *ailing_pool(const struct vm *vm, const struct rec_node *owner)
{
        for (size_t i = 0; owner && owner->alive && owner->host && i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                const struct host_mount *m =
                        d->kind == DISK_PVC ? NULL : host_mount_of(owner->host, d->pool);

                if (m && m->health == MOUNT_UNHEALTHY)
                        return m;
        }
        return NULL;
}

/* Until it has ailed for long enough; -1: it does not. A clock that was set back delays nothing. */
static int64_t left_us(const struct vm *vm, int64_t now_us)
{
        const struct condition *c = condition_get(&vm->status.conditions, "StorageHealthy");
        int64_t stood;

        if (!c || strcmp(c->status, "False") != 0)
                return -1;
        stood = now_us - c->since_us;
        return stood >= 0 && stood < REC_AILING_MS * 1000 ? REC_AILING_MS * 1000 - stood : 0;
}

bool rec_ailing(const struct rec_input *in)
{
        const struct plan p = {.in = in, .vm = in->vm};

        return !rec_current(in) && left_us(in->vm, in->now_us) == 0 &&
               ailing_pool(in->vm, plan_node(&p, in->vm->status.owner.node));
}

const char *plan_ails(struct plan *p)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        const struct host_mount *m = ailing_pool(p->vm, owner);

        return m ? plan_text(p, "%s: pool %s: %s", owner->name, m->pool, m->reason) : NULL;
}

/* Until its pools have been healthy for long enough; 0 also when nothing is known of that. */
static int64_t unproven_us(const struct rec_node *n, int64_t now_us)
{
        const struct condition *c = condition_get(&n->host->conditions, "StorageHealthy");
        int64_t stood = c ? now_us - c->since_us : 0;

        if (!c || strcmp(c->status, "True") != 0 || stood < 0 || stood >= REC_REFUGE_MS * 1000)
                return 0;
        return REC_REFUGE_MS * 1000 - stood;
}

/*
 * A node that could take the guest, whose pools have been healthy all the while. When a server
 * returns the nodes do not find it healthy at the same moment: that is no reason to move.
 */
static bool has_refuge(struct plan *p)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);

        for (size_t i = 0; i < p->in->ncandidates; i++) {
                const struct rec_node *n = &p->in->candidates[i];
                int64_t left;

                if (!preflight_suits(p->vm, owner, n))
                        continue;
                left = unproven_us(n, p->in->now_us);
                if (!left)
                        return true;
                plan_again(p, left / 1000 + 1);
        }
        return false;
}

const char *plan_flees(struct plan *p)
{
        const char *why = plan_ails(p);
        int64_t left = left_us(p->next, p->in->now_us);

        if (!why || left < 0 || plan_disks(p, NULL) != SHARING_SHARED ||
            p->vm->spec.eviction == EVICTION_NONE)
                return NULL;
        if (left) {
                plan_again(p, left / 1000 + 1);
                return NULL;
        }
        return has_refuge(p) ? why : NULL;
}
