#include "agent/moves.h"

#include "agent/fresh.h"
#include "agent/holds.h"
#include "agent/journals.h"
#include "agent/move.h"
#include "agent/publish.h"
#include "agent/snapshots.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NOT_YET_MS    500
#define LOST_AGAIN_MS 10000 /* until the nodes are asked anew about a lost guest */

struct moves {
        struct agent *a;
        pthread_mutex_t lock;
        struct move *first;
        size_t n;
};

static struct metric *transfers_metric, *downtime_metric;

/* --- the registry */

/* Lock held. */
static struct move *find(struct moves *r, const char *key)
{
        for (struct move *m = r->first; m; m = m->next)
                if (!strcmp(m->key, key))
                        return m;
        return NULL;
}

size_t moves_count(struct moves *r)
{
        if (!r)
                return 0;
        pthread_mutex_lock(&r->lock);
        size_t n = r->n;
        pthread_mutex_unlock(&r->lock);
        return n;
}

bool moves_has(struct moves *r, const char *uuid)
{
        bool found = false;

        pthread_mutex_lock(&r->lock);
        for (struct move *m = r->first; m; m = m->next)
                found |= !strcmp(m->uuid, uuid);
        pthread_mutex_unlock(&r->lock);
        return found;
}

/* True when the migration is under way here; a wish to cancel is passed on. */
static bool under_way(struct moves *r, const char *key, bool cancel)
{
        pthread_mutex_lock(&r->lock);
        struct move *m = find(r, key);
        if (m && cancel) {
                pthread_mutex_lock(&m->lock);
                m->cancel = true;
                pthread_cond_broadcast(&m->wake);
                pthread_mutex_unlock(&m->lock);
        }
        pthread_mutex_unlock(&r->lock);
        return m;
}

bool moves_domain_event(struct moves *r, const char *uuid, int event, int detail)
{
        struct mono now = mono_now();
        bool pausing = false;

        if (!r || (event != VIR_DOMAIN_EVENT_SUSPENDED && event != VIR_DOMAIN_EVENT_RESUMED))
                return false;
        pthread_mutex_lock(&r->lock);
        for (struct move *m = r->first; m; m = m->next) {
                if (strcmp(m->uuid, uuid) != 0)
                        continue;
                bool near = event == VIR_DOMAIN_EVENT_SUSPENDED &&
                            detail == VIR_DOMAIN_EVENT_SUSPENDED_MIGRATED;
                pthread_mutex_lock(&m->lock);
                if (near)
                        m->paused = now;
                pthread_mutex_unlock(&m->lock);
                m->near = near;
                pausing |= near;
                handover_wake(m);
        }
        pthread_mutex_unlock(&r->lock);
        return pausing;
}

void moves_iteration(struct moves *r, const char *uuid, int iteration)
{
        if (!r)
                return;
        pthread_mutex_lock(&r->lock);
        for (struct move *m = r->first; m; m = m->next) {
                if (strcmp(m->uuid, uuid) != 0)
                        continue;
                pthread_mutex_lock(&m->lock);
                if (!m->transfer.first_byte_us)
                        m->transfer.first_byte_us = wall_us();
                if (iteration > m->transfer.iteration)
                        m->transfer.iteration = iteration;
                pthread_mutex_unlock(&m->lock);
        }
        pthread_mutex_unlock(&r->lock);
}

/* --- a move's thread */

static void unregister(struct moves *r, struct move *m)
{
        pthread_mutex_lock(&r->lock);
        for (struct move **at = &r->first; *at; at = &(*at)->next)
                if (*at == m) {
                        *at = m->next;
                        break;
                }
        r->n--;
        pthread_mutex_unlock(&r->lock);
}

static void count(const struct transfer *t)
{
        metric_add(transfers_metric, transfer_state_name(t->state), 1);
        if (t->state == TRANSFER_DONE && t->downtime_ms)
                metric_observe(downtime_metric, NULL, (double)t->downtime_ms / 1000);
}

static void *run(void *arg)
{
        struct move *m = arg;
        struct agent *a = m->a;

        move_run(m);
        count(&m->transfer);
        unregister(a->moves, m);
        if (m->transfer.state == TRANSFER_LOST || !m->finished)
                agent_poke(a, LOST_AGAIN_MS, "move/%s", m->key);
        agent_poke(a, 0, "domain/%s", m->uuid);
        agent_poke(a, 0, "vm/%s/%s", m->vm->meta.ns, m->vm->meta.name);
        move_free(m);
        publish_soon(a->publisher);
        return NULL;
}

/*
 * The first word on a migration is a compare-and-swap: whoever wins it copies. The proof and the
 * connection are sought meanwhile, which changes nothing.
 */
static int claim(struct move *m, struct err *e)
{
        const struct transfer first = m->transfer; /* the proof will add to it */
        int rc = peer_begin(m, e);

        return rc ? rc : report_write(m->a->kube, m->mig, m->mig->meta.rv, &first, e);
}

/* Takes mig and vm over, also on failure. */
static int begin(struct moves *r, struct migration *mig, struct vm *vm, bool rejoin, struct err *e)
{
        struct move *m;
        pthread_attr_t attr;
        pthread_t t;
        int rc = move_new(r->a, mig, vm, rejoin, &m, e);

        if (rc) {
                migration_free(mig);
                vm_free(vm);
                return rc;
        }
        rc = rejoin ? 0 : claim(m, e);
        if (rc) {
                pthread_mutex_lock(&m->lock);
                m->cancel = true; /* whoever seeks its proof need not wait any more */
                pthread_mutex_unlock(&m->lock);
                move_free(m);
                return rc;
        }
        pthread_mutex_lock(&r->lock);
        m->next = r->first;
        r->first = m;
        r->n++;
        pthread_mutex_unlock(&r->lock);
        pthread_attr_init(&attr);
        pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
        rc = -pthread_create(&t, &attr, run, m);
        pthread_attr_destroy(&attr);
        if (rc) {
                unregister(r, m);
                move_free(m);
                return err_sys(e, rc, "thread");
        }
        publish_soon(r->a->publisher);
        return 0;
}

/* --- what a migration asks of us */

struct vm_reading {
        struct agent *a;
        const char *ns, *name;
        struct vm *vm; /* NULL: there is none of that name */
};

static int read_vm(void *reading, struct err *e)
{
        struct vm_reading *r = reading;
        autojson struct json *j = NULL;
        int rc = kube_get(r->a->kube, &KUBE_VMS, r->ns, r->name, &j, e);

        if (!rc)
                rc = vm_decode(j, &r->vm, e);
        return rc == -ENOENT ? 0 : rc;
}

static int read_migration(struct agent *a, const char *ns, const char *name, struct migration **out,
                          struct err *e)
{
        autojson struct json *j = NULL;
        int rc = kube_get(a->kube, &KUBE_MIGRATIONS, ns, name, &j, e);

        return rc ? rc : migration_decode(j, out, e);
}

/*
 * The migration and its VM, fresh, and both at once, since a move waits for them. *vm is NULL when
 * there is none of the name that the migration had when it was seen last.
 */
static int read_both(struct agent *a, const char *ns, const char *name, const char *vm_name,
                     struct migration **mig, struct vm **vm, struct err *e)
{
        struct vm_reading reading = {.a = a, .ns = ns, .name = vm_name};
        struct errand errand = {0};
        struct migration *m = NULL;
        struct err other;
        int rc = errand_begin(&errand, read_vm, &reading, e);

        if (!rc)
                rc = read_migration(a, ns, name, &m, e);
        if (errand_end(&errand, &other) && !rc) {
                *e = other;
                rc = e->code;
        }
        if (!rc && strcmp(m->spec.vm, vm_name) != 0)
                rc = err_set(e, -EAGAIN, "another migration has the name now");
        if (rc) {
                if (m)
                        migration_free(m);
                if (reading.vm)
                        vm_free(reading.vm);
                return rc;
        }
        *mig = m;
        *vm = reading.vm;
        return 0;
}

/* Why the copy must not begin; NULL when it may. */
static const char *refusal(const struct agent *a, const struct migration *m, const struct vm *vm)
{
        if (!vm || strcmp(vm->meta.uid, m->status.vm_uid) != 0)
                return "the VM is gone";
        if (m->status.phase != MIG_COPYING)
                return "the copy was never begun";
        if (strcmp(vm->status.owner.node, a->config.node) != 0)
                return "this node is not the VM's owner";
        if (vm->status.owner.epoch != m->status.epoch)
                return "the VM's owner has changed since the migration was made";
        if (!*m->status.target || !strcmp(m->status.target, a->config.node))
                return "the migration has no target but this node";
        return NULL;
}

/* The only word on a migration that is not begun; a compare-and-swap, too. */
static int decline(struct agent *a, const struct migration *m, enum transfer_state state,
                   const char *message, struct err *e)
{
        int64_t now = wall_us();
        const struct transfer t = {
                .state = state, .message = message, .started_us = now, .ended_us = now};

        return report_write(a->kube, m, m->meta.rv, &t, e);
}

static bool over(const struct migration *m)
{
        enum transfer_state s = m->status.transfer.state;

        return mig_finished(m->status.phase) || s == TRANSFER_DONE || s == TRANSFER_FAILED ||
               s == TRANSFER_CANCELLED;
}

static bool our_turn(const struct agent *a, const struct migration *m)
{
        bool phase = m->status.phase == MIG_COPYING || m->status.phase == MIG_SWITCHING ||
                     m->status.phase == MIG_UNKNOWN;

        return phase && !over(m) && !strcmp(m->status.source, a->config.node);
}

static int begin_new(struct agent *a, struct migration *m, struct vm *vm, struct err *e)
{
        const char *no = refusal(a, m, vm);
        int rc;

        if (!no && !m->spec.cancel)
                return begin(a->moves, m, vm, false, e);
        if (no)
                rc = decline(a, m, TRANSFER_FAILED, no, e);
        else
                rc = decline(a, m, TRANSFER_CANCELLED, "cancelled before the copy began", e);
        migration_free(m);
        if (vm)
                vm_free(vm);
        return rc;
}

/* What keeps the guest from being moved just now; NULL: nothing. */
static const char *not_now(struct agent *a, const struct vm *vm, const struct hold *hold)
{
        if (moves_has(a->moves, vm->meta.uid))
                return "an earlier migration of the guest is still being cleared up";
        /* from here until the move is known to be under way nobody begins one */
        if (!hold || snapshots_open(a, vm->meta.uid))
                return "a snapshot of the guest is being taken or removed";
        return NULL;
}

static int take_up(struct agent *a, const char *ns, const char *name, const char *vm_name,
                   struct err *e)
{
        struct migration *m = NULL;
        struct vm *vm = NULL;
        int rc = read_both(a, ns, name, vm_name, &m, &vm, e);

        if (rc)
                return rc;
        enum transfer_state s = m->status.transfer.state;
        autohold struct hold *hold = vm ? hold_take(a->holds, vm->meta.uid) : NULL;
        const char *wait = vm ? not_now(a, vm, hold) : NULL;
        if (wait) {
                rc = err_set(e, -EAGAIN, "%s", wait);
                migration_free(m);
                vm_free(vm);
                return rc;
        }
        if (our_turn(a, m) && s == TRANSFER_NONE)
                return begin_new(a, m, vm, e);
        if (our_turn(a, m) && s != TRANSFER_NONE && vm && !strcmp(vm->meta.uid, m->status.vm_uid))
                return begin(a->moves, m, vm, true, e);
        migration_free(m);
        if (vm)
                vm_free(vm);
        return 0;
}

int64_t move_work(struct agent *a, const char *rest)
{
        char ns[64], name[254];
        struct err e = {0};
        autoref struct kube_ref *ref = kube_store_get(a->moving, rest);
        const struct migration *m = ref ? kube_ref_object(ref) : NULL;

        if (!m || !agent_split(rest, ns, name) || under_way(a->moves, rest, m->spec.cancel) ||
            !our_turn(a, m))
                return WORK_DONE;
        if (!a->synced || !virt_connected(a->virt))
                return NOT_YET_MS;
        int rc = take_up(a, ns, name, m->spec.vm, &e);
        if (!rc || rc == -ENOENT)
                return WORK_DONE;
        if (rc == -EAGAIN)
                return NOT_YET_MS; /* or another has written it: read anew */
        log_err(&e, "cannot take up a migration", "migration", rest, NULL);
        return WORK_RETRY;
}

/* --- the cache */

static void changed(void *ctx, const void *before, const void *after)
{
        struct agent *a = ctx;
        const struct migration *m = after ? after : before;

        if (after)
                agent_poke(a, 0, "move/%s/%s", m->meta.ns, m->meta.name);
        if (!after || mig_finished(m->status.phase)) { /* what had to wait for it */
                agent_poke(a, 0, "vm/%s/%s", m->meta.ns, m->spec.vm);
                agent_poke(a, 0, "stale");
        }
}

int moves_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        static const double BOUNDS[] = {0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 1, 2, 5};
        struct moves *r = calloc(1, sizeof(*r));

        if (!r)
                return err_set(e, -ENOMEM, "out of memory");
        r->a = a;
        pthread_mutex_init(&r->lock, NULL);
        a->moves = r;
        transfers_metric =
                metric_counter("drover_agent_transfers", "Migrations from this node.", "result");
        downtime_metric = metric_histogram("drover_agent_downtime_seconds",
                                           "Pause of guests that left this node.", NULL, BOUNDS,
                                           countof(BOUNDS));
        return journals_watch(a, "status.source", changed, &a->moving, out, e);
}

void moves_stop(struct moves *r)
{
        if (!r)
                return;
        pthread_mutex_lock(&r->lock);
        bool empty = !r->first;
        pthread_mutex_unlock(&r->lock);
        if (!empty)
                return; /* their threads hold it: the process is about to end */
        pthread_mutex_destroy(&r->lock);
        free(r);
}
