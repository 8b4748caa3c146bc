/*
 * A guest whose storage fails on its node, and on its node alone, is moved to where it does not.
 * What fails everywhere is the server's fault: moving would not mend it. How long it has failed is
 * known from the VM's condition, so that a new leader waits no longer and no shorter.
 *
 * A pool can be healthy while a guest's files in it are not: an NFS client that could not claim
 * them from a server that was restarted has errors for them for good, until they are opened anew.
 * So a guest that stands still there, whatever is tried, is moved as well; once in a while only,
 * since it may be the files themselves.
 */
#include "core/health.h"
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

/* From then until ms later. A clock that was set back delays nothing. */
static int64_t rest_us(int64_t since_us, int64_t ms, int64_t now_us)
{
        int64_t stood = now_us - since_us;

        return stood >= 0 && stood < ms * 1000 ? ms * 1000 - stood : 0;
}

static const struct condition *storage_of(const struct conditions *all)
{
        return condition_get(all, "StorageHealthy");
}

/* After an I/O error; how often it was let run on in vain, -1: it does not. */
static int64_t stands_still(const struct plan *p, const struct rec_node *owner)
{
        const struct host_domain *d = plan_domain(p, p->vm->status.owner.node);

        return owner && owner->alive && owner->host && d && d->state == DOMAIN_IO_ERROR &&
                               d->epoch == p->vm->status.owner.epoch
                       ? d->retries
                       : -1;
}

/* Until it may be moved once more for the sake of its storage: it may be the disk itself. */
static int64_t moved_us(const struct rec_input *in)
{
        int64_t soonest = INT64_MAX;
        int moves = 0;

        for (size_t i = 0; i < in->nmigrations; i++) {
                const struct migration *m = in->migrations[i];
                int64_t rest = rest_us(m->status.finished_us, REC_STUCK_MOVES_MS, in->now_us);

                if (!mig_finished(m->status.phase) || m->spec.reason != REASON_STORAGE || !rest)
                        continue;
                moves++;
                soonest = rest < soonest ? rest : soonest;
        }
        return moves >= REC_STUCK_MOVES ? soonest : 0;
}

/* Until the fault has lasted for long enough, by the conditions of vm; -1: it has not, or there
 * is none. */
static int64_t left_us(const struct plan *p, const struct vm *vm)
{
        const struct rec_node *owner = plan_node(p, vm->status.owner.node);
        const struct condition *c = storage_of(&vm->status.conditions);

        if (!c || strcmp(c->status, "False") != 0)
                return -1;
        const struct host_mount *m = ailing_pool(vm, owner);
        if (m && !strcmp(m->verdict, HEALTH_RECOVERING)) /* no reason to flee it any more */
                return REC_RECOVERS_MS * 1000;
        if (m)
                return rest_us(c->since_us, REC_AILING_MS, p->in->now_us);
        return stands_still(p, owner) >= REC_STUCK_RETRIES ? moved_us(p->in) : -1;
}

bool rec_ailing(const struct rec_input *in)
{
        const struct plan p = {.in = in, .vm = in->vm};

        return !rec_current(in) && left_us(&p, in->vm) == 0;
}

const char *plan_ails(struct plan *p)
{
        const struct rec_node *owner = plan_node(p, p->vm->status.owner.node);
        const struct host_mount *m = ailing_pool(p->vm, owner);

        if (m)
                return plan_text(p, "%s: pool %s: %s", owner->name, m->pool, m->reason);
        return stands_still(p, owner) >= 0
                       ? plan_text(p, "%s: the guest stands still, although its pools are healthy",
                                   owner->name)
                       : NULL;
}

/* Until its pools have been healthy for long enough; 0 also when nothing is known of that. */
static int64_t unproven_us(const struct rec_node *n, int64_t now_us)
{
        const struct condition *c = storage_of(&n->host->conditions);

        return c && !strcmp(c->status, "True") ? rest_us(c->since_us, REC_REFUGE_MS, now_us) : 0;
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
        int64_t left = left_us(p, p->next);

        if (!why || left < 0 || plan_disks(p, NULL) != SHARING_SHARED ||
            p->vm->spec.eviction == EVICTION_NONE)
                return NULL;
        if (left) {
                plan_again(p, left / 1000 + 1);
                return NULL;
        }
        return has_refuge(p) ? why : NULL;
}
