#include "migrator/act.h"

#include "api/codec.h"
#include "base/log.h"
#include "migrator/handle.h"
#include "migrator/metrics.h"

#include <errno.h>
#include <string.h>

struct doing {
        const struct actor *actor;
        const struct gathered *g;
        const struct vm *vm;
        struct mono until; /* by then a status is written or not at all; .ns 0: nobody else leads */
        bool again;
};

static struct kube_client *client(const struct doing *d)
{
        return d->actor->world->client;
}

static int no_memory(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

static void tell(const struct doing *d, const char *type, const char *reason, const char *message)
{
        news_tell(d->actor->news, d->vm, type, reason, message);
}

/* --- compare-and-swap of an object's status or metadata */

static struct json *guarded(const struct meta *meta)
{
        struct json *patch = json_new_object();

        json_set_str(json_object_at(patch, "metadata"), "resourceVersion", meta->rv);
        return patch;
}

static int apply_patch(const struct doing *d, const struct kube_resource *r,
                       struct kube_store *store, const struct meta *meta, const char *subresource,
                       const struct json *patch, struct err *e)
{
        struct json *answer autojson = NULL;
        struct mono until =
                subresource ? d->until : (struct mono){0}; /* the rest may wait for webhooks */
        int rc = kube_patch_until(client(d), until, r, meta->ns, meta->name, subresource, patch,
                                  &answer, e);

        if (rc == 0)
                kube_store_apply(store, answer);
        return rc;
}

/* Writes what differs; 1 when nothing does. */
static int set_status(const struct doing *d, const struct kube_resource *r,
                      struct kube_store *store, const struct meta *meta, struct json *was,
                      struct json *is, struct err *e)
{
        struct json *diff = was && is ? json_merge_diff(was, is) : NULL;
        struct json *patch autojson = NULL;
        bool nothing = diff && !json_count(diff);

        json_free(was);
        json_free(is);
        if (!diff)
                return no_memory(e);
        if (nothing) {
                json_free(diff);
                return 1;
        }
        patch = guarded(meta);
        if (!json_set(patch, "status", diff))
                return no_memory(e);
        return apply_patch(d, r, store, meta, "status", patch, e);
}

/* Whom the placement would have elsewhere, and who stays: said once, when it becomes so. */
static void tell_stays(const struct doing *d, const struct vm *next)
{
        const struct condition *was =
                condition_get(&d->vm->status.conditions, "PlacementSatisfied");
        const struct condition *is = condition_get(&next->status.conditions, "PlacementSatisfied");

        if (is &&
            (!strcmp(is->reason, "EvictionStrategyNone") ||
             !strcmp(is->reason, "NotLiveMigratable")) &&
            (!was || strcmp(was->reason, is->reason) != 0))
                tell(d, "Warning", "PlacementUnsatisfied", is->message);
}

static void tell_vm(const struct doing *d, const struct vm *next)
{
        tell_stays(d, next);
        if (next->status.refused.count > d->vm->status.refused.count)
                tell(d, "Warning", "NoRoom", next->status.reason);
        if (next->status.phase == d->vm->status.phase)
                return;
        if (next->status.phase == VM_RUNNING && d->vm->status.phase == VM_STARTING)
                tell(d, "Normal", "Started", "the guest runs");
        else if (next->status.phase == VM_HALTED && *d->vm->status.owner.node)
                tell(d, "Normal", "Halted", "the guest has stopped");
        else if (next->status.phase == VM_PAUSED)
                tell(d, "Warning", "IOError", next->status.reason);
        else if (next->status.phase == VM_RUNNING && d->vm->status.phase == VM_PAUSED)
                tell(d, "Normal", "Resumed", "the guest runs on after an I/O error");
        else if (next->status.phase == VM_FAILED || next->status.phase == VM_UNKNOWN)
                tell(d, "Warning", vm_phase_name(next->status.phase), next->status.reason);
}

/*
 * An object that nobody has written to yet says nothing, where its decoded form says Pending: that
 * is news then.
 */
static struct json *vm_written(const struct vm *vm)
{
        return vm->status.observed_generation ? vm_status_encode(vm) : json_new_object();
}

static struct json *migration_written(const struct migration *m)
{
        return *m->status.source ? migration_status_encode(m) : json_new_object();
}

/* --- what fills a node's room is decided by the state of the node that was looked at, or not at
 * all */

static int reserve(const struct doing *d, const char *node, const struct vm_shape *shape,
                   const struct meta *written, struct err *e)
{
        uint64_t seen = 0;

        for (size_t i = 0; i < d->g->in.nnodes; i++)
                if (!strcmp(d->g->in.nodes[i].name, node))
                        seen = d->g->in.nodes[i].seen;
        return rooms_reserve(d->actor->world->rooms, node, seen, d->g->key, shape, written, e);
}

/* A first owner, and a restart with another shape; with a move the owner has the target's room. */
static int reserve_for_vm(const struct doing *d, const struct vm *next, struct err *e)
{
        const struct vm_grant *grant = vm_granted(next);

        if (!next->status.has_running) /* no guest is to run there: a deleted VM's disks remain */
                return 0;
        if (!*d->vm->status.owner.node && *next->status.owner.node)
                return reserve(d, next->status.owner.node, &next->status.running, &d->vm->meta, e);
        if (grant && !vm_granted(d->vm))
                return reserve(d, next->status.owner.node, &grant->shape, &d->vm->meta, e);
        return 0;
}

static int reserve_target(const struct doing *d, const struct migration *was,
                          const struct migration *next, struct err *e)
{
        if (was->status.phase != MIG_PENDING || next->status.phase == MIG_PENDING ||
            mig_finished(next->status.phase))
                return 0;
        return reserve(d, next->status.target, &d->vm->status.running, &next->meta, e);
}

static int set_vm(struct doing *d, const struct rec_action *act, struct err *e)
{
        int rc = reserve_for_vm(d, act->vm, e);

        if (rc == 0)
                rc = set_status(d, &KUBE_VMS, d->actor->world->vms, &d->vm->meta, vm_written(d->vm),
                                vm_status_encode(act->vm), e);
        if (rc == 0) {
                d->again = true;
                tell_vm(d, act->vm);
        }
        return rc < 0 ? rc : 0;
}

static void tell_move(const struct doing *d, const struct migration *m)
{
        struct arena *a autoarena = arena_new(4096);
        const char *from = m->status.source, *to = m->status.target;

        if (!a)
                return;
        switch (m->status.phase) {
        case MIG_COPYING:
                tell(d, "Normal", "Migrating",
                     arena_printf(a, "%s: from %s to %s", m->meta.name, from, to));
                break;
        case MIG_SUCCEEDED:
                tell(d, "Normal", "Migrated",
                     arena_printf(a, "%s: from %s to %s, paused for %lld ms", m->meta.name, from,
                                  to, (long long)m->status.downtime_ms));
                break;
        case MIG_FAILED:
        case MIG_CANCELLED:
        case MIG_UNKNOWN:
                tell(d, m->status.phase == MIG_CANCELLED ? "Normal" : "Warning",
                     m->status.phase == MIG_CANCELLED ? "MigrationCancelled" : "MigrationFailed",
                     arena_printf(a, "%s: %s", m->meta.name, m->status.message));
                break;
        default:
                break;
        }
}

static int set_migration(struct doing *d, const struct rec_action *act, struct err *e)
{
        struct world *w = d->actor->world;
        struct kube_ref *ref autoref = NULL;
        struct arena *a autoarena = arena_new(4096);
        const struct migration *was;
        const char *key = a ? meta_key(a, &act->migration->meta) : NULL;
        int rc;

        if (!key)
                return no_memory(e);
        ref = kube_store_get(w->migrations, key);
        if (!ref)
                return err_set(e, -EAGAIN, "migration %s is gone", key);
        was = kube_ref_object(ref);
        rc = reserve_target(d, was, act->migration, e);
        if (rc == 0)
                rc = claims_note(w->claims, act->migration, mono_now(), e);
        if (rc == 0)
                rc = set_status(d, &KUBE_MIGRATIONS, w->migrations, &act->migration->meta,
                                migration_written(was), migration_status_encode(act->migration), e);
        if (rc)
                return rc < 0 ? rc : 0;
        d->again = true;
        if (act->migration->status.refused.count > was->status.refused.count)
                tell(d, "Warning", "NoRoom", act->migration->status.message);
        if (was->status.phase != act->migration->status.phase) {
                tell_move(d, act->migration);
                metrics_migration(act->migration);
        }
        return 0;
}

/* --- the finalizer, which keeps a deleted VM until its guest is gone, and a journal to its end */

static int set_finalizer(struct doing *d, const struct kube_resource *r, struct kube_store *store,
                         const struct meta *meta, bool ours, struct err *e)
{
        struct json *patch autojson = guarded(meta);
        struct json *list = json_array_at(json_mut(patch, "metadata"), "finalizers");
        const struct strs *had = &meta->finalizers;

        for (size_t i = 0; i < had->n; i++)
                if (strcmp(had->v[i], DROVER_FINALIZER) != 0)
                        json_add(list, json_new_string(had->v[i]));
        if (ours && !json_add(list, json_new_string(DROVER_FINALIZER)))
                return no_memory(e);
        if (!list)
                return no_memory(e);
        d->again |= ours;
        if (ours || !meta->deleting)
                return apply_patch(d, r, store, meta, NULL, patch, e);
        return kube_patch(client(d), r, meta->ns, meta->name, NULL, patch, NULL, e);
}

/* What is in no object any more once the VM is gone. */
static void tell_retained(const struct doing *d)
{
        struct arena *a autoarena = arena_new(65536);

        for (size_t i = 0; a && d->vm->status.owner.epoch && i < d->vm->spec.ndisks; i++) {
                const struct vm_disk *disk = &d->vm->spec.disks[i];
                const char *text =
                        arena_printf(a, "disk %s stays in the pool %s as retained/%s/%s.qcow2",
                                     disk->name, disk->pool, d->vm->meta.uid, disk->name);

                if (text && disk->retain && disk->kind != DISK_PVC)
                        tell(d, "Normal", "DiskRetained", text);
        }
}

/* --- pods and migrations come and go by name, so that twice is once */

static int create(struct doing *d, const struct kube_resource *r, struct kube_store *store,
                  const struct json *object, struct err *e)
{
        struct json *answer autojson = NULL;
        int rc = kube_create(client(d), r, d->vm->meta.ns, object, &answer, e);

        if (rc == -EEXIST)
                return 0; /* made by us before; the watch brings it */
        if (rc == 0) {
                kube_store_apply(store, answer);
                d->again = true;
        }
        return rc;
}

/*
 * How the pod uses the claim: a container has a device where another has a folder. One that is not
 * there yet is taken for a file system, as most are; the scheduler says of the pod that it is
 * missing.
 */
static int is_block(struct doing *d, const char *name, bool *out, struct err *e)
{
        struct json *j autojson = NULL;
        struct claim *claim;
        int rc = kube_get(client(d), &KUBE_CLAIMS, d->vm->meta.ns, name, &j, e);

        if (rc == -ENOENT)
                return 0;
        if (!rc)
                rc = claim_decode(j, &claim, e);
        if (rc)
                return err_wrap(e, "claim %s", name);
        *out = claim->block;
        claim_free(claim);
        return 0;
}

static int create_pod(struct doing *d, const struct rec_action *act, struct err *e)
{
        struct arena *a autoarena = arena_new(4096);
        bool *block = a ? arena_array(a, d->vm->spec.ndisks + 1, sizeof(*block)) : NULL;
        struct json *pod autojson = NULL;
        int rc = block ? 0 : no_memory(e);

        for (size_t i = 0; !rc && i < d->vm->spec.ndisks; i++)
                if (d->vm->spec.disks[i].kind == DISK_PVC)
                        rc = is_block(d, d->vm->spec.disks[i].claim, &block[i], e);
        if (rc)
                return rc;
        pod = handle_pod(d->vm, act, d->actor->handle_image, block);
        return pod ? create(d, &KUBE_PODS, d->actor->world->pods, pod, e) : no_memory(e);
}

static int patch_pod(struct doing *d, const struct rec_action *act, struct err *e)
{
        struct arena *a autoarena = arena_new(4096);
        struct kube_store *store = d->actor->world->pods;
        struct json *patch autojson = NULL, *answer autojson = NULL;
        struct kube_ref *ref autoref = NULL;
        const char *key = a ? arena_printf(a, "%s/%s", d->vm->meta.ns, act->name) : NULL;
        int rc;

        if (!key)
                return no_memory(e);
        ref = kube_store_get(store, key);
        if (!ref)
                return 0;
        patch = act->kind == REC_LABEL_POD ? handle_labels(d->vm, kube_ref_object(ref))
                                           : handle_fit(act->fit);
        if (!patch)
                return no_memory(e);
        rc = kube_patch(client(d), &KUBE_PODS, d->vm->meta.ns, act->name, NULL, patch, &answer, e);
        if (rc == -ENOENT)
                return 0;
        if (rc == 0)
                kube_store_apply(store, answer);
        return rc;
}

static int create_migration(struct doing *d, const struct rec_action *act, struct err *e)
{
        struct json *m autojson = migration_encode(d->vm, act->name, act->reason);

        if (!m)
                return no_memory(e);
        tell(d, "Normal",
             act->reason == REASON_STORAGE ? "StorageUnhealthy" : "PlacementUnsatisfied", act->why);
        return create(d, &KUBE_MIGRATIONS, d->actor->world->migrations, m, e);
}

static int delete (struct doing *d, const struct kube_resource *r, struct kube_store *store,
                   const char *name, struct err *e)
{
        struct arena *a autoarena = arena_new(4096);
        struct kube_ref *ref autoref = NULL;
        const struct meta *meta;
        const char *key = a ? arena_printf(a, "%s/%s", d->vm->meta.ns, name) : NULL;

        if (!key)
                return no_memory(e);
        ref = kube_store_get(store, key);
        if (!ref)
                return 0;
        /* the uid is a precondition: never its namesake that came after */
        meta = r == &KUBE_PODS ? &((const struct pod *)kube_ref_object(ref))->meta
                               : &((const struct migration *)kube_ref_object(ref))->meta;
        return kube_delete(client(d), r, d->vm->meta.ns, name, meta->uid, -1, e);
}

static int cancel(struct doing *d, const char *name, struct err *e)
{
        struct json *patch autojson = json_new_object();

        if (!json_set_bool(json_object_at(patch, "spec"), "cancel", true))
                return no_memory(e);
        return kube_patch(client(d), &KUBE_MIGRATIONS, d->vm->meta.ns, name, NULL, patch, NULL, e);
}

static int hold_migration(struct doing *d, const char *name, bool hold, struct err *e)
{
        struct arena *a autoarena = arena_new(4096);
        struct kube_store *store = d->actor->world->migrations;
        struct kube_ref *ref autoref = NULL;
        const char *key = a ? arena_printf(a, "%s/%s", d->vm->meta.ns, name) : NULL;

        if (!key)
                return no_memory(e);
        ref = kube_store_get(store, key);
        if (!ref)
                return 0;
        return set_finalizer(d, &KUBE_MIGRATIONS, store,
                             &((const struct migration *)kube_ref_object(ref))->meta, hold, e);
}

static int act_one(struct doing *d, const struct rec_action *act, struct err *e)
{
        struct world *w = d->actor->world;

        switch (act->kind) {
        case REC_REMOVE_FINALIZER:
                tell_retained(d);
                return set_finalizer(d, &KUBE_VMS, w->vms, &d->vm->meta, false, e);
        case REC_ADD_FINALIZER:
                return set_finalizer(d, &KUBE_VMS, w->vms, &d->vm->meta, true, e);
        case REC_CREATE_POD:
                return create_pod(d, act, e);
        case REC_DELETE_POD:
                return delete (d, &KUBE_PODS, w->pods, act->name, e);
        case REC_LABEL_POD:
        case REC_RETRY_POD:
                return patch_pod(d, act, e);
        case REC_CREATE_MIGRATION:
                return create_migration(d, act, e);
        case REC_CANCEL_MIGRATION:
                return cancel(d, act->name, e);
        case REC_DELETE_MIGRATION:
                return delete (d, &KUBE_MIGRATIONS, w->migrations, act->name, e);
        case REC_HOLD_MIGRATION:
        case REC_FREE_MIGRATION:
                return hold_migration(d, act->name, act->kind == REC_HOLD_MIGRATION, e);
        case REC_SET_MIGRATION:
                return set_migration(d, act, e);
        case REC_SET_VM:
                return set_vm(d, act, e);
        }
        return err_set(e, -EINVAL, "no such action: %d", (int)act->kind);
}

/* In the term that we took over in; what was decided before another is not to be written. */
bool actor_leads(const struct actor *a, struct mono *until)
{
        *until = (struct mono){0};
        if (!a->election)
                return true;
        if (!kube_election_leads(a->election, a->term, until))
                return false;
        *until = mono_add_ms(*until, -ACT_MARGIN_MS);
        return true;
}

int act_all(const struct actor *actor, const struct gathered *g, const struct rec_output *out,
            bool *again, struct err *e)
{
        struct doing d = {.actor = actor, .g = g, .vm = g->in.vm};

        for (size_t i = 0; i < out->n; i++) {
                int rc;

                if (!actor_leads(actor, &d.until))
                        return err_set(e, -EAGAIN, "the Lease is lost");
                rc = act_one(&d, &out->v[i], e);
                if (rc < 0)
                        return err_wrap(e, "%s", out->v[i].name);
        }
        *again = d.again;
        return 0;
}
