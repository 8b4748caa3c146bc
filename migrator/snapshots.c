#include "migrator/snapshots.h"

#include "api/codec.h"
#include "base/log.h"
#include "core/snapshot.h"
#include "kube/event.h"
#include "migrator/images.h"
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
        struct mono until; /* as in act.c */
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

static int patch_it(const struct turn *t, struct json *patch, const char *subresource, bool last,
                    struct err *e)
{
        const struct meta *m = &t->snapshot->meta;
        struct json *answer autojson = NULL;
        struct mono until = subresource ? t->until : (struct mono){0};

        json_set_str(json_object_at(patch, "metadata"), "resourceVersion", m->rv);
        int rc = kube_patch_until(world(t)->client, until, &KUBE_SNAPSHOTS, m->ns, m->name,
                                  subresource, patch, &answer, e);
        if (!rc && !last)
                kube_store_apply(world(t)->snapshots, answer);
        return rc;
}

/* It goes with its VM. */
static bool add_owner(struct json *meta, const struct vm *vm)
{
        struct json *owner = json_add(json_array_at(meta, "ownerReferences"), json_new_object());

        json_set_str(owner, "apiVersion", DROVER_API_VERSION);
        json_set_str(owner, "kind", "VirtualMachine");
        json_set_str(owner, "name", vm->meta.name);
        return json_set_str(owner, "uid", vm->meta.uid);
}

static int set_finalizer(const struct turn *t, bool ours, struct err *e)
{
        struct json *patch autojson = json_new_object();
        struct json *meta = json_object_at(patch, "metadata");
        struct json *list = json_array_at(meta, "finalizers");
        const struct strs *had = &t->snapshot->meta.finalizers;

        for (size_t i = 0; i < had->n; i++)
                if (strcmp(had->v[i], DROVER_SNAPSHOT_FINALIZER) != 0)
                        json_add(list, json_new_string(had->v[i]));
        if (!list || (ours && (!json_add(list, json_new_string(DROVER_SNAPSHOT_FINALIZER)) ||
                               !add_owner(meta, t->vm))))
                return no_memory(e);
        return patch_it(t, patch, NULL, !ours, e);
}

static void tell(const struct turn *t, const struct snapshot *next)
{
        const struct meta *m = &t->snapshot->meta;
        const struct kube_event_about about = {DROVER_API_VERSION, "VirtualMachineSnapshot", m->ns,
                                               m->name, m->uid};
        bool ready = !strcmp(next->phase, "Ready");
        struct err e;

        if (!strcmp(next->phase, t->snapshot->phase) ||
            (!ready && strcmp(next->phase, "Failed") != 0))
                return;
        metrics_snapshot(ready);
        if (kube_event_record(world(t)->client, &about, "drover-migrator",
                              ready ? "Normal" : "Warning", ready ? "Taken" : "NotTaken",
                              ready ? next->made.quiesced ? "taken, quiesced by the guest's agent"
                                                          : "taken, not quiesced"
                                    : next->message,
                              &e) < 0)
                log_err(&e, "event not recorded", "snapshot", m->name, NULL);
}

/* One that nobody has written to yet says nothing, where its decoded form says Take. */
static struct json *written(const struct snapshot *s)
{
        return *s->phase ? snapshot_status_encode(s) : json_new_object();
}

static int set_status(const struct turn *t, const struct snapshot *next, struct err *e)
{
        struct json *was autojson = written(t->snapshot);
        struct json *is autojson = snapshot_status_encode(next);
        struct json *patch autojson = json_new_object();
        struct json *diff = was && is ? json_merge_diff(was, is) : NULL;

        if (!json_set(patch, "status", diff))
                return no_memory(e);
        int rc = patch_it(t, patch, "status", false, e);
        if (!rc)
                tell(t, next);
        return rc;
}

static bool leads(struct turn *t)
{
        const struct actor *a = t->actor;
        struct mono until = {0};

        if (a->election && !kube_election_leads(a->election, a->term, &until))
                return false;
        t->until = a->election ? mono_add_ms(until, -ACT_MARGIN_MS) : until;
        return true;
}

static int act(struct turn *t, const struct snap_plan *plan, struct err *e)
{
        if (plan->kind != SNAP_REST && !leads(t))
                return err_set(e, -EAGAIN, "the Lease is lost");
        switch (plan->kind) {
        case SNAP_HOLD:
        case SNAP_FREE:
                return set_finalizer(t, plan->kind == SNAP_HOLD, e);
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
        if (images_nodes(world(t), t->a, &t->hosts, &nodes) < 0)
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
