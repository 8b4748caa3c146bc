#include "migrator/snapshots.h"

#include "api/codec.h"
#include "core/snapshot.h"
#include "migrator/charge.h"
#include "migrator/metrics.h"

#include <errno.h>
#include <string.h>

struct turn {
        const struct actor *actor;
        const struct snapshot *snapshot;
        struct arena *a;
        struct kube_ref *ref; /* of the VM, when it is the watch's */
        struct vm *asked;     /* when it is not */
        const struct vm *vm;  /* either, or NULL */
        struct kube_refs hosts, migrations;
};

static struct world *world(const struct turn *t)
{
        return t->actor->world;
}

static int no_memory(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

const char *snapshots_key(const char *key)
{
        size_t n = strlen(SNAPSHOTS_PREFIX);

        return strncmp(key, SNAPSHOTS_PREFIX, n) ? NULL : key + n;
}

/* --- what is known */

static int ask_vm(struct turn *t, struct err *e)
{
        struct json *j autojson = NULL;
        int rc =
                kube_get(world(t)->client, &KUBE_VMS, t->snapshot->meta.ns, t->snapshot->vm, &j, e);

        if (rc == -ENOENT)
                return 0;
        if (rc)
                return rc;
        rc = vm_decode(j, &t->asked, e);
        if (!rc)
                t->vm = t->asked;
        return rc;
}

/*
 * The watch may lag behind: that there is no such VM counts only when the API server says so. That
 * a snapshot may be removed, too: a wish to go back to it that was there when the owner's agent
 * read it must be seen here.
 */
static int find_vm(struct turn *t, struct err *e)
{
        const struct snapshot *s = t->snapshot;
        const char *key = arena_printf(t->a, "%s/%s", s->meta.ns, s->vm);

        if (!key)
                return no_memory(e);
        t->ref = kube_store_get(world(t)->vms, key);
        if (!t->ref || (s->meta.deleting && s->worker.task != SNAP_REMOVE))
                return ask_vm(t, e);
        t->vm = kube_ref_object(t->ref);
        return 0;
}

static int find_move(struct turn *t, struct snap_input *in, struct err *e)
{
        const char *key = arena_printf(t->a, "%s/%s", t->snapshot->meta.ns, t->snapshot->vm);

        if (!key || kube_store_indexed(world(t)->migrations, key, &t->migrations) < 0)
                return no_memory(e);
        for (size_t i = 0; t->vm && i < t->migrations.n; i++) {
                const struct migration *m = kube_ref_object(t->migrations.v[i]);

                if (!mig_finished(m->status.phase) &&
                    (!*m->status.vm_uid || !strcmp(m->status.vm_uid, t->vm->meta.uid)))
                        in->moving = m->meta.name;
        }
        return 0;
}

/* --- what is written, each by compare-and-swap */

static struct charge charge_of(const struct turn *t)
{
        return (struct charge){.actor = t->actor,
                               .resource = &KUBE_SNAPSHOTS,
                               .store = world(t)->snapshots,
                               .meta = &t->snapshot->meta,
                               .kind = "VirtualMachineSnapshot",
                               .finalizer = DROVER_SNAPSHOT_FINALIZER};
}

static void tell(const struct charge *c, const struct snapshot *was, const struct snapshot *next)
{
        bool ready = !strcmp(next->phase, "Ready");

        if (!strcmp(next->phase, was->phase) || (!ready && strcmp(next->phase, "Failed") != 0))
                return;
        metrics_snapshot(ready);
        charge_tell(c, ready, ready ? "Taken" : "NotTaken",
                    !ready                ? next->message
                    : next->made.quiesced ? "taken, quiesced by the guest's agent"
                                          : "taken, not quiesced");
}

/* One that nobody has written to yet says nothing, where its decoded form says Take. */
static struct json *written(const struct snapshot *s)
{
        return *s->phase ? snapshot_status_encode(s) : json_new_object();
}

static int set_status(const struct turn *t, const struct snapshot *next, struct err *e)
{
        const struct charge c = charge_of(t);
        struct json *was autojson = written(t->snapshot);
        struct json *is autojson = snapshot_status_encode(next);
        int rc = charge_set(&c, was, is, e);

        if (!rc)
                tell(&c, t->snapshot, next);
        return rc;
}

static int act(const struct turn *t, const struct snap_plan *plan, struct err *e)
{
        const struct charge c = charge_of(t);

        switch (plan->kind) {
        case SNAP_HOLD:
                return charge_hold(&c, t->vm, e);
        case SNAP_FREE:
                return charge_free(&c, e);
        case SNAP_SET:
                return set_status(t, &plan->next, e);
        case SNAP_REST:
                break;
        }
        return 0;
}

static int plan_and_act(struct turn *t, bool *settled, struct err *e)
{
        struct snap_input in = {.snapshot = t->snapshot, .moving = ""};
        struct import_node *nodes;
        struct snap_plan plan;
        int rc;

        if (snap_settled(t->snapshot)) {
                *settled = true;
                return 0;
        }
        if (charge_nodes(world(t), t->a, &t->hosts, &nodes) < 0)
                return no_memory(e);
        in.nodes = nodes;
        in.nnodes = t->hosts.n;
        rc = find_vm(t, e);
        if (!rc)
                rc = find_move(t, &in, e);
        if (rc)
                return rc;
        in.vm = t->vm;
        if (snap_plan(t->a, &in, &plan) < 0)
                return no_memory(e);
        *settled = plan.settled;
        return act(t, &plan, e);
}

int snapshots_work(const struct actor *actor, const char *key, struct err *e)
{
        struct world *w = actor->world;
        struct kube_ref *ref autoref = kube_store_get(w->snapshots, snapshots_key(key));
        struct turn t = {.actor = actor};
        bool settled = false;

        if (!ref)
                return 0;
        t.snapshot = kube_ref_object(ref);
        t.a = arena_new((size_t)4 << 20);
        int rc = t.a ? plan_and_act(&t, &settled, e) : no_memory(e);
        kube_refs_put(&t.hosts);
        kube_refs_put(&t.migrations);
        kube_ref_put(t.ref);
        vm_free(t.asked);
        arena_free(t.a);
        if (!rc && !settled) /* what was written comes back as an event at once */
                kube_queue_add_after(w->queue, key, SNAP_AGAIN_MS);
        return rc;
}
