#include "core/snapshot.h"

#include "base/cleanup.h"
#include "core/names.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char *const QUIESCE[] = {"Auto", "Required", "Never"};
static const char *const TASKS[] = {"Take", "Remove"};
static const char *const STATES[] = {"",      "Waiting", "Taking", "Removing",
                                     "Taken", "Refused", "Removed"};

_Static_assert(countof(QUIESCE) == QUIESCE_BAD, "a name each");
_Static_assert(countof(TASKS) == SNAP_REMOVE + 1, "a name each");
_Static_assert(countof(STATES) == SNAP_REMOVED + 1, "a name each");

const char *snap_quiesce_name(enum snap_quiesce q)
{
        return name_at(QUIESCE, countof(QUIESCE), q);
}

enum snap_quiesce snap_quiesce_parse(const char *s)
{
        return *s ? name_index(QUIESCE, countof(QUIESCE), s, QUIESCE_BAD) : QUIESCE_AUTO;
}

const char *snap_task_name(enum snap_task t)
{
        return name_at(TASKS, countof(TASKS), t);
}

enum snap_task snap_task_parse(const char *s)
{
        return name_index(TASKS, countof(TASKS), s, SNAP_TAKE);
}

const char *snap_state_name(enum snap_state s)
{
        return name_at(STATES, countof(STATES), s);
}

enum snap_state snap_state_parse(const char *s)
{
        return name_index(STATES, countof(STATES), s, SNAP_UNSAID);
}

void snap_prefix(const struct snapshot *s, char out[SNAP_TAG_MAX])
{
        snprintf(out, SNAP_TAG_MAX, "drover-%.64s-", s->meta.uid);
}

void snap_tag(const struct snapshot *s, int64_t epoch, char out[SNAP_TAG_MAX])
{
        snprintf(out, SNAP_TAG_MAX, "drover-%.64s-%" PRId64, s->meta.uid, epoch);
}

struct plan_of {
        struct arena *a;
        const struct snap_input *in;
        const struct snapshot *snapshot;
        const struct vm *vm;
        struct snapshot *next;
        bool failed;
};

static void say(struct plan_of *p, const char *phase, const char *text)
{
        if (!text)
                p->failed = true;
        else
                p->next->message = text;
        p->next->phase = phase;
}

/* What the worker of this epoch says, and not one before. */
static enum snap_state state_of(const struct snapshot *s)
{
        return s->worker.epoch && s->progress.epoch == s->worker.epoch ? s->progress.state
                                                                       : SNAP_UNSAID;
}

/* The VM that it is of is gone, or going, and its disks with it. */
static bool vm_is_gone(const struct plan_of *p)
{
        return !p->vm || p->vm->meta.deleting ||
               (*p->snapshot->vm_uid && strcmp(p->snapshot->vm_uid, p->vm->meta.uid) != 0);
}

/* --- nodes */

static const struct import_node *node_of(const struct plan_of *p, const char *name)
{
        return import_node_of(p->in->nodes, p->in->nnodes, name);
}

/* A lock that is taken there on the VM's disks holds wherever they can be seen. */
static bool has_pool(const struct plan_of *p, const struct import_node *n, const char *pool)
{
        const struct host_mount *m = n->host ? host_mount_of(n->host, pool) : NULL;

        if (m && m->local)
                return import_ready(n, pool) && !strcmp(n->name, p->vm->status.storage_node);
        return import_suits(n, pool) && m->lock_arbitration;
}

static bool suits(const struct plan_of *p, const struct import_node *n)
{
        for (size_t i = 0; i < p->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &p->vm->spec.disks[i];

                /* a VM with claims has no snapshots */
                if (d->kind != DISK_PVC && !has_pool(p, n, d->pool))
                        return false;
        }
        return true;
}

/* Who is to do it: the owner, wherever it is; else whoever is at it, or somebody. */
static const struct import_node *wanted(const struct plan_of *p)
{
        const struct snapshot *s = p->snapshot;
        const struct import_node *best = node_of(p, s->worker.node);
        const char *owner = p->vm->status.owner.node, *uid = s->meta.uid;

        if (*owner)
                return node_of(p, owner);
        if (s->worker.epoch && best && suits(p, best))
                return best;
        best = NULL;
        for (size_t i = 0; i < p->in->nnodes; i++) {
                const struct import_node *n = &p->in->nodes[i];

                if (suits(p, n) &&
                    (!best || import_weight(uid, n->name) < import_weight(uid, best->name)))
                        best = n;
        }
        return best;
}

/* The worker of this task is the one that is wanted. */
static bool has_worker(const struct plan_of *p, enum snap_task task)
{
        const struct snap_worker *w = &p->snapshot->worker;
        const struct import_node *n = wanted(p);

        return w->epoch && w->task == task && n && !strcmp(n->name, w->node);
}

/* False when there is nobody, or it has to wait: that is said. Then the last one stays. */
static bool appoint(struct plan_of *p, enum snap_task task, const char *phase)
{
        const struct import_node *n = wanted(p);
        const char *owner = p->vm->status.owner.node;

        if (*p->in->moving)
                say(p, phase,
                    arena_printf(p->a, "waits for the migration %s to end", p->in->moving));
        else if (!n && *owner)
                say(p, phase,
                    arena_printf(p->a, "waits for %s, which has the VM and says nothing", owner));
        else if (!n)
                say(p, phase,
                    "waits for a node that has the pools of all disks, healthy and with locks that "
                    "hold on other nodes, and whose agent speaks");
        else
                p->next->worker =
                        (struct snap_worker){n->name, p->snapshot->worker.epoch + 1, task};
        return !*p->in->moving && n;
}

/* What the worker waits for, or that there is one. */
static void say_working(struct plan_of *p, const char *phase, const char *does)
{
        const struct snapshot *s = p->snapshot;
        const struct import_node *n = node_of(p, s->worker.node);

        if (n && !n->alive)
                say(p, phase, arena_printf(p->a, "the agent of %s is silent", n->name));
        else if (state_of(s) == SNAP_WAITING)
                say(p, phase, arena_printf(p->a, "%s: %s", s->worker.node, s->progress.message));
        else
                say(p, phase, arena_printf(p->a, "%s %s it", s->worker.node, does));
}

/* --- taking it */

/* The first disk that is not a file of ours; NULL when all are. */
static const struct vm_disk *claim_of(const struct vm *vm)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind == DISK_PVC)
                        return &vm->spec.disks[i];
        return NULL;
}

/* Why it can never be taken; NULL when it can. */
static const char *unsuitable(struct plan_of *p)
{
        const struct vm_disk *claim = p->vm ? claim_of(p->vm) : NULL;
        const char *text;

        if (!p->vm)
                text = arena_printf(p->a, "there is no VirtualMachine %s", p->snapshot->vm);
        else if (vm_is_gone(p))
                text = arena_printf(p->a, "the VirtualMachine %s is gone", p->snapshot->vm);
        else if (!p->vm->spec.ndisks)
                text = "the VM has no disks";
        else if (claim)
                text = arena_printf(p->a,
                                    "disk %s is a PersistentVolumeClaim, which Drover takes no "
                                    "snapshots of: make a VolumeSnapshot of the claim %s, and of "
                                    "the other disks with the VM halted",
                                    claim->name, claim->claim);
        else
                return NULL;
        p->failed |= !text;
        return text ? text : "";
}

static void taken(struct plan_of *p)
{
        p->next->made = p->snapshot->progress.made;
        p->next->taken = p->snapshot->worker.epoch;
        say(p, "Ready", p->snapshot->progress.message);
}

static void plan_taking(struct plan_of *p)
{
        if (has_worker(p, SNAP_TAKE)) {
                say_working(p, "InProgress", "takes");
        } else if (appoint(p, SNAP_TAKE, "Pending")) {
                p->next->vm_uid = p->vm->meta.uid;
                say(p, "InProgress", arena_printf(p->a, "%s takes it", p->next->worker.node));
        }
}

static void plan_take(struct plan_of *p)
{
        const char *never = unsuitable(p);

        if (never)
                say(p, "Failed", never);
        else if (state_of(p->snapshot) == SNAP_TAKEN)
                taken(p);
        else if (state_of(p->snapshot) == SNAP_REFUSED)
                say(p, "Failed", p->snapshot->progress.message);
        else
                plan_taking(p);
}

/* --- removing it */

/* The VM's disks are to be set back to it, and have not been. */
static bool wanted_back(const struct plan_of *p)
{
        return vm_restore_pending(p->vm) &&
               !strcmp(p->vm->spec.restore.snapshot, p->snapshot->meta.name);
}

static void plan_removal(struct plan_of *p)
{
        if (p->snapshot->worker.task != SNAP_REMOVE && wanted_back(p))
                say(p, p->snapshot->phase,
                    arena_printf(
                            p->a,
                            "deleted, and kept until the disks of the VM %s have been set back "
                            "to it, or its spec.restore is another",
                            p->vm->meta.name));
        else if (has_worker(p, SNAP_REMOVE))
                say_working(p, "Deleting", "removes");
        else if (appoint(p, SNAP_REMOVE, "Deleting"))
                say(p, "Deleting", arena_printf(p->a, "%s removes it", p->next->worker.node));
}

static bool removed(const struct plan_of *p)
{
        const struct snapshot *s = p->snapshot;

        return !s->worker.epoch || vm_is_gone(p) ||
               (s->worker.task == SNAP_REMOVE && state_of(s) == SNAP_REMOVED);
}

bool snap_settled(const struct snapshot *s)
{
        return !s->meta.deleting && (!strcmp(s->phase, "Ready") || !strcmp(s->phase, "Failed"));
}

bool snap_in_disks(const struct snapshot *s, const char *vm_uid)
{
        return !strcmp(s->vm_uid, vm_uid) && (s->taken || !strcmp(s->phase, "InProgress"));
}

static bool differs(const struct snapshot *x, const struct snapshot *y)
{
        return strcmp(x->phase, y->phase) != 0 || strcmp(x->message, y->message) != 0 ||
               strcmp(x->worker.node, y->worker.node) != 0 || x->worker.epoch != y->worker.epoch ||
               x->worker.task != y->worker.task;
}

int snap_plan(struct arena *a, const struct snap_input *in, struct snap_plan *out)
{
        const struct snapshot *s = in->snapshot;
        struct plan_of p = {a, in, s, in->vm, &out->next, false};
        bool held = strs_has(&s->meta.finalizers, DROVER_SNAPSHOT_FINALIZER);

        *out = (struct snap_plan){.next = *s};
        if (snap_settled(s) || (s->meta.deleting && !held)) {
                out->settled = true;
                return 0;
        }
        if (s->meta.deleting && removed(&p)) {
                out->kind = SNAP_FREE;
                return 0;
        }
        if (!held && !vm_is_gone(&p)) { /* it goes with the VM, whatever becomes of it */
                out->kind = SNAP_HOLD;
                return 0;
        }
        if (s->meta.deleting)
                plan_removal(&p);
        else
                plan_take(&p);
        if (p.failed)
                return -ENOMEM;
        out->kind = differs(s, &out->next) ? SNAP_SET : SNAP_REST;
        return 0;
}

/* --- for whoever sets the disks back */

const char *snap_unusable(struct arena *a, const struct snapshot *s, const struct vm *vm)
{
        const char *text = NULL;

        if (strcmp(s->vm, vm->meta.name) != 0)
                text = arena_printf(a, "it is of the VM %s", s->vm);
        else if (*s->vm_uid && strcmp(s->vm_uid, vm->meta.uid) != 0)
                text = "it is of an earlier VM of this name";
        else if (s->meta.deleting && s->worker.task == SNAP_REMOVE) /* else it waits for us */
                text = "it is being removed";
        else if (strcmp(s->phase, "Ready") != 0 || !s->taken)
                text = arena_printf(a, "it is not Ready%s%s", *s->message ? ": " : "", s->message);
        else
                return NULL;
        return text ? text : "out of memory";
}
