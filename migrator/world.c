#include "migrator/world.h"

#include "api/codec.h"
#include "base/log.h"
#include "core/preflight.h"
#include "migrator/images.h"
#include "migrator/metrics.h"
#include "migrator/snapshots.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static void queue_vm(struct world *w, const char *ns, const char *name)
{
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), "%s/%s", ns, name);
        kube_queue_add(w->queue, key);
}

/* What is promised is known before anybody decides by it. */
static void changed_vm(struct world *w, const char *ns, const char *name)
{
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), "%s/%s", ns, name);
        rooms_vm_changed(w->rooms, key);
        kube_queue_add(w->queue, key);
}

/* --- indexes */

static bool pod_by_vm(const void *object, char *buf, size_t size)
{
        const struct pod *pod = object;

        return *pod->vm && (size_t)snprintf(buf, size, "%s/%s", pod->meta.ns, pod->vm) < size;
}

static bool migration_by_vm(const void *object, char *buf, size_t size)
{
        const struct migration *m = object;

        return (size_t)snprintf(buf, size, "%s/%s", m->meta.ns, m->spec.vm) < size;
}

static bool snapshot_by_vm(const void *object, char *buf, size_t size)
{
        const struct snapshot *s = object;

        return (size_t)snprintf(buf, size, "%s/%s", s->meta.ns, s->vm) < size;
}

/* --- what an event means for the queue */

static bool queue_snapshot(void *ctx, const void *object)
{
        struct world *w = ctx;
        const struct snapshot *s = object;
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), SNAPSHOTS_PREFIX "%s/%s", s->meta.ns, s->meta.name);
        kube_queue_add(w->queue, key);
        return true;
}

static bool in_disks(const struct snapshot *s)
{
        return s && snap_in_disks(s, s->vm_uid);
}

static void on_snapshot(void *ctx, const void *before, const void *after)
{
        const struct snapshot *s = after ? after : before;

        if (after)
                queue_snapshot(ctx, after);
        if (in_disks(before) != in_disks(after)) /* it may keep the VM where its disks are */
                queue_vm(ctx, s->meta.ns, s->vm);
}

/* Those that wait for something of the VM. */
static void queue_snapshots_of(struct world *w, const struct vm *vm)
{
        struct kube_refs refs autorefs = {0};
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), "%s/%s", vm->meta.ns, vm->meta.name);
        if (kube_store_indexed(w->snapshots, key, &refs) < 0)
                return; /* they are looked at again anyway */
        for (size_t i = 0; i < refs.n; i++)
                if (!snap_settled(kube_ref_object(refs.v[i])))
                        queue_snapshot(w, kube_ref_object(refs.v[i]));
}

static void on_vm(void *ctx, const void *before, const void *after)
{
        const struct vm *vm = after ? after : before;

        metrics_vm_phase(before, after);
        changed_vm(ctx, vm->meta.ns, vm->meta.name);
        queue_snapshots_of(ctx, vm);
}

static void on_pod(void *ctx, const void *before, const void *after)
{
        const struct pod *pod = after ? after : before;

        if (*pod->vm)
                queue_vm(ctx, pod->meta.ns, pod->vm);
}

static bool queue_waiting(void *ctx, const void *object)
{
        const struct migration *m = object;

        if (m->status.phase == MIG_PENDING || m->status.phase == MIG_PREFLIGHT)
                queue_vm(ctx, m->meta.ns, m->spec.vm);
        return true;
}

/* Whom its storage would have elsewhere, should it be well there by now. */
static bool queue_ailing(void *ctx, const void *object)
{
        const struct vm *vm = object;
        const struct condition *c = condition_get(&vm->status.conditions, "StorageHealthy");

        if (c && !strcmp(c->status, "False"))
                queue_vm(ctx, vm->meta.ns, vm->meta.name);
        return true;
}

/* As others are told. */
static bool holds(struct world *w, const struct migration *m)
{
        struct claimed copy;

        return m && permits_held(claims_see(w->claims, m, mono_now(), &copy));
}

static bool queues(const struct migration *m)
{
        return m && !mig_finished(m->status.phase) && m->status.queue_position > 0;
}

static void on_migration(void *ctx, const void *before, const void *after)
{
        struct world *w = ctx;
        const struct migration *was = before, *is = after;
        const struct migration *m = is ? is : was;
        bool held = holds(w, was);

        changed_vm(w, m->meta.ns, m->spec.vm);
        /* a permit has come free, or the others in the queue move up or down */
        if ((held && !holds(w, is)) || queues(was) != queues(is))
                kube_store_each(w->migrations, queue_waiting, w);
}

static bool same_strs(const struct strs *x, const struct strs *y)
{
        for (size_t i = 0; i < x->n && i < y->n; i++)
                if (strcmp(x->v[i], y->v[i]) != 0)
                        return false;
        return x->n == y->n;
}

static bool same_domain(const struct host_domain *x, const struct host_domain *y)
{
        return x && y && x->epoch == y->epoch && x->state == y->state &&
               !strcmp(x->reason, y->reason) && !strcmp(x->restarted_at, y->restarted_at) &&
               !strcmp(x->restored, y->restored) && x->claims == y->claims &&
               x->retries == y->retries && !strcmp(x->claims_reason, y->claims_reason) &&
               same_strs(&x->addresses, &y->addresses);
}

static void queue_changed_domains(struct world *w, const struct host *in, const struct host *other)
{
        for (size_t i = 0; in && i < in->ndomains; i++) {
                const struct host_domain *d = &in->domains[i];

                if (!same_domain(d, other ? host_domain_of(other, d->uid) : NULL))
                        queue_vm(w, d->ns, d->name);
        }
}

static void queue_key(void *ctx, const char *key)
{
        kube_queue_add(((struct world *)ctx)->queue, key);
}

/*
 * The node is another now: that concerns the VMs that it owns and those that move to it at once;
 * and those that wait for any node at the next tick that wakes them, since many nodes may change
 * in a row.
 */
static void node_changed(struct world *w, const char *node)
{
        rooms_each_vm(w->rooms, node, queue_key, w);
        w->nodes_changed = true;
}

static bool same_mounts(const struct host *x, const struct host *y)
{
        for (size_t i = 0; i < x->nmounts && i < y->nmounts; i++)
                if (x->mounts[i].health != y->mounts[i].health ||
                    x->mounts[i].local != y->mounts[i].local)
                        return false;
        return x->nmounts == y->nmounts;
}

/* With whom each of its mounts is known to be shared; by name, as agents tell it. */
static bool same_peers(const struct host *x, const struct host *y)
{
        for (size_t i = 0; i < x->nmounts && i < y->nmounts; i++) {
                const struct host_mount *a = &x->mounts[i], *b = &y->mounts[i];

                if (a->nshared_with != b->nshared_with)
                        return false;
                for (size_t k = 0; k < a->nshared_with; k++)
                        if (a->shared_with[k].state != b->shared_with[k].state ||
                            strcmp(a->shared_with[k].node, b->shared_with[k].node) != 0)
                                return false;
        }
        return x->nmounts == y->nmounts;
}

/* In what else a move that seeks a target chooses it by: such moves are looked at now and then. */
static bool same_offer(const struct host *x, const struct host *y)
{
        return same_peers(x, y) && same_strs(&x->bridges, &y->bridges) &&
               same_strs(&x->cpu_models, &y->cpu_models) &&
               same_strs(&x->machine_types, &y->machine_types) &&
               !strcmp(x->cannot_receive, y->cannot_receive) &&
               !memcmp(&x->capacity, &y->capacity, sizeof(x->capacity)) &&
               !memcmp(&x->used, &y->used, sizeof(x->used)) &&
               (x->resolve_ms >= PREFLIGHT_RESOLVE_MS) == (y->resolve_ms >= PREFLIGHT_RESOLVE_MS);
}

static bool same_readiness(const struct host *x, const struct host *y)
{
        const struct condition *a = condition_get(&x->conditions, "Ready");
        const struct condition *b = condition_get(&y->conditions, "Ready");

        return a && b ? !strcmp(a->status, b->status) : a == b;
}

/* In what a guest that is there, or a move that waits for the host, depends on. */
static bool same_host(const struct host *x, const struct host *y)
{
        return same_mounts(x, y) && same_readiness(x, y) &&
               !strcmp(x->libvirt_uri, y->libvirt_uri) &&
               !strcmp(x->migration_address, y->migration_address) &&
               !strcmp(x->virt_type, y->virt_type) && !strcmp(x->qemu_version, y->qemu_version);
}

static void on_host(void *ctx, const void *before, const void *after)
{
        struct world *w = ctx;
        const struct host *was = before, *is = after;

        rooms_host_changed(w->rooms, (is ? is : was)->meta.name);
        queue_changed_domains(ctx, is, was);
        queue_changed_domains(ctx, was, is);
        if (!was || !is || !same_host(was, is))
                node_changed(w, (is ? is : was)->meta.name);
        else if (!same_offer(was, is))
                w->nodes_changed = true;
}

static bool same_kvs(const struct kvs *x, const struct kvs *y)
{
        for (size_t i = 0; i < x->n; i++) {
                const char *have = kvs_get(y, x->v[i].key);

                if (!have || strcmp(have, x->v[i].value) != 0)
                        return false;
        }
        return x->n == y->n;
}

static bool same_taints(const struct node *x, const struct node *y)
{
        for (size_t i = 0; i < x->ntaints && i < y->ntaints; i++)
                if (strcmp(x->taints[i].key, y->taints[i].key) != 0 ||
                    strcmp(x->taints[i].value, y->taints[i].value) != 0 ||
                    strcmp(x->taints[i].effect, y->taints[i].effect) != 0)
                        return false;
        return x->ntaints == y->ntaints;
}

static void on_node(void *ctx, const void *before, const void *after)
{
        const struct node *was = before, *is = after;

        if (!was || !is || was->unschedulable != is->unschedulable ||
            !same_kvs(&was->meta.labels, &is->meta.labels) || !same_taints(was, is))
                node_changed(ctx, (is ? is : was)->meta.name);
}

static bool queue_image(void *ctx, const void *object)
{
        struct world *w = ctx;
        const struct image *i = object;
        char key[KUBE_KEY_MAX];

        snprintf(key, sizeof(key), IMAGES_PREFIX "%s/%s", i->meta.ns, i->meta.name);
        kube_queue_add(w->queue, key);
        return true;
}

static void on_image(void *ctx, const void *before, const void *after)
{
        (void)before;
        if (after)
                queue_image(ctx, after);
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "object not understood, its last state stays in use", "key", key, NULL);
}

static void watch_failed(void *ctx, const struct err *e)
{
        (void)ctx;
        log_msg(LOG_WARN, "watch interrupted", "error", e->msg, NULL);
}

/* --- start and end */

static struct kube_store *store(struct world *w, const struct kube_store_type *type,
                                void (*changed)(void *, const void *, const void *))
{
        const struct kube_store_hooks hooks = {changed, undecodable, w};

        return kube_store_new(type, &hooks);
}

static bool make_stores(struct world *w)
{
        w->vms = store(w, &(struct kube_store_type){vm_decode_any, vm_free, NULL}, on_vm);
        w->pods = store(w, &(struct kube_store_type){pod_decode_any, pod_free, pod_by_vm}, on_pod);
        w->migrations = store(
                w, &(struct kube_store_type){migration_decode_any, migration_free, migration_by_vm},
                on_migration);
        w->hosts = store(w, &(struct kube_store_type){host_decode_any, host_free, NULL}, on_host);
        w->nodes = store(w, &(struct kube_store_type){node_decode_any, node_free, NULL}, on_node);
        w->images =
                store(w, &(struct kube_store_type){image_decode_any, image_free, NULL}, on_image);
        w->snapshots = store(
                w, &(struct kube_store_type){snapshot_decode_any, snapshot_free, snapshot_by_vm},
                on_snapshot);
        w->heartbeats = heartbeats_new();
        w->queue = kube_queue_new(100, 30000);
        if (!w->vms || !w->pods || !w->migrations || !w->hosts || !w->nodes || !w->images ||
            !w->snapshots || !w->heartbeats || !w->queue)
                return false;
        w->rooms = rooms_new(w->vms, w->migrations, w->hosts);
        w->claims = claims_new();
        return w->rooms && w->claims;
}

int world_make(struct kube_client *client, struct world *w, struct err *e)
{
        *w = (struct world){.client = client};
        return make_stores(w) ? 0 : err_set(e, -ENOMEM, "out of memory");
}

int world_start(struct kube_client *client, struct world *w, struct err *e)
{
        if (world_make(client, w, e) < 0)
                return e->code;
        struct kube_watch_config pods = kube_store_feed(&KUBE_PODS, w->pods);
        pods.label_selector = DROVER_VM_LABEL;
        const struct kube_watch_config cfg[] = {
                kube_store_feed(&KUBE_NODES, w->nodes),
                kube_store_feed(&KUBE_HOSTS, w->hosts),
                {.resource = &KUBE_LEASES,
                 .ns = DROVER_NAMESPACE,
                 .event = heartbeats_event,
                 .ctx = w->heartbeats},
                pods,
                kube_store_feed(&KUBE_IMAGES, w->images),
                kube_store_feed(&KUBE_SNAPSHOTS, w->snapshots),
                kube_store_feed(&KUBE_MIGRATIONS, w->migrations),
                kube_store_feed(&KUBE_VMS, w->vms),
        };
        _Static_assert(countof(cfg) == countof(((struct world *)0)->watches), "one each");

        for (size_t i = 0; i < countof(cfg); i++) {
                struct kube_watch_config c = cfg[i];
                int rc;

                c.error = watch_failed;
                rc = kube_watch_start(client, &c, &w->watches[i], e);
                if (rc < 0)
                        return err_wrap(e, "watch %s", c.resource->plural);
        }
        return 0;
}

void world_stop(struct world *w)
{
        for (size_t i = 0; i < countof(w->watches); i++)
                kube_watch_stop(w->watches[i]);
        claims_free(w->claims);
        rooms_free(w->rooms);
        kube_store_free(w->vms);
        kube_store_free(w->pods);
        kube_store_free(w->migrations);
        kube_store_free(w->hosts);
        kube_store_free(w->nodes);
        kube_store_free(w->images);
        kube_store_free(w->snapshots);
        heartbeats_free(w->heartbeats);
        kube_queue_free(w->queue);
}

bool world_synced(const struct world *w)
{
        for (size_t i = 0; i < countof(w->watches); i++)
                if (!kube_watch_synced(w->watches[i]))
                        return false;
        return true;
}

static bool queue_one(void *ctx, const void *object)
{
        const struct vm *vm = object;

        queue_vm(ctx, vm->meta.ns, vm->meta.name);
        return true;
}

static int take_in(void *store, const struct json *object, struct err *e)
{
        (void)e;
        kube_store_apply(store, object);
        return 0;
}

int world_take_over(struct world *w, struct err *e)
{
        int rc = kube_list_each(w->client, &KUBE_MIGRATIONS, NULL, NULL, take_in, w->migrations, e);

        if (rc == 0)
                rc = kube_list_each(w->client, &KUBE_VMS, NULL, NULL, take_in, w->vms, e);
        if (rc == 0) {
                kube_store_each(w->vms, queue_one, w);
                kube_store_each(w->images, queue_image, w);
                kube_store_each(w->snapshots, queue_snapshot, w);
        }
        return rc;
}

/* --- now and then */

static void liveness_changed(void *ctx, const char *node)
{
        node_changed(ctx, node);
}

static void wake_waiting(struct world *w, struct mono now)
{
        if (!w->nodes_changed)
                return;
        if (!w->changed.ns)
                w->changed = now;
        if (mono_ms_between(w->changed, now) < WORLD_HEARD_MS ||
            (w->woken.ns && mono_ms_between(w->woken, now) < WORLD_WAKE_MS))
                return;
        w->woken = now;
        w->changed = (struct mono){0};
        w->nodes_changed = false; /* before the look: what changes now counts for the next one */
        kube_store_each(w->migrations, queue_waiting, w);
        kube_store_each(w->vms, queue_ailing, w);
}

struct slice {
        struct world *w;
        unsigned number;
};

static bool queue_of_slice(void *ctx, const void *object)
{
        const struct slice *s = ctx;
        const struct vm *vm = object;
        unsigned hash = 5381;

        for (const char *c = vm->meta.uid; *c; c++)
                hash = hash * 33 + (unsigned char)*c;
        if (hash % WORLD_SLICES == s->number)
                queue_vm(s->w, vm->meta.ns, vm->meta.name);
        return true;
}

/* One part of the VMs after the other, so that there is never a moment at which all are looked at.
 */
static void resync(struct world *w, struct mono now)
{
        struct slice s = {w, w->slice};

        if (w->resynced.ns && mono_ms_between(w->resynced, now) < WORLD_SLICE_MS)
                return;
        w->resynced = now;
        w->slice = (w->slice + 1) % WORLD_SLICES;
        kube_store_each(w->vms, queue_of_slice, &s);
}

void world_tick(struct world *w, struct mono now)
{
        heartbeats_check(w->heartbeats, now, liveness_changed, w);
        rooms_tick(w->rooms, now);
        wake_waiting(w, now);
        resync(w, now);
}

enum liveness world_liveness(struct world *w, const char *node)
{
        return heartbeats_of(w->heartbeats, node, mono_now());
}
