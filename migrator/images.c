#include "migrator/images.h"

#include "api/codec.h"
#include "base/log.h"
#include "core/import.h"
#include "kube/event.h"
#include "migrator/metrics.h"

#include <errno.h>
#include <string.h>

struct turn {
        const struct actor *actor;
        const struct image *image;
        struct arena *a;
        struct kube_refs hosts;
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

const char *images_key(const char *key)
{
        size_t n = strlen(IMAGES_PREFIX);

        return strncmp(key, IMAGES_PREFIX, n) ? NULL : key + n;
}

/* --- what is known */

int images_nodes(struct world *w, struct arena *a, struct kube_refs *hosts,
                 struct import_node **out)
{
        struct import_node *v;

        if (kube_store_all(w->hosts, hosts) < 0)
                return -ENOMEM;
        v = arena_array(a, hosts->n, sizeof(*v));
        if (!v && hosts->n)
                return -ENOMEM;
        for (size_t i = 0; i < hosts->n; i++) {
                const struct host *h = kube_ref_object(hosts->v[i]);
                enum liveness live = world_liveness(w, h->meta.name);

                v[i] = (struct import_node){h->meta.name, h, live != LIVE_SILENT};
        }
        *out = v;
        return 0;
}

struct search {
        const struct turn *t;
        const char *found; /* in the turn's arena */
};

static bool names_it(const struct vm *vm, const struct image *i)
{
        for (size_t d = 0; d < vm->spec.ndisks; d++)
                if (vm->spec.disks[d].kind == DISK_IMAGE &&
                    !strcmp(vm->spec.disks[d].image, i->meta.name))
                        return !strcmp(vm->meta.ns, i->meta.ns);
        return false;
}

static bool look_at(void *ctx, const void *object)
{
        struct search *s = ctx;
        const struct vm *vm = object;

        if (names_it(vm, s->t->image))
                s->found = arena_strdup(s->t->a, vm->meta.name);
        return !s->found;
}

static int look_at_listed(struct search *s, const struct json *j, struct err *e)
{
        struct vm *vm;
        int rc = vm_decode(j, &vm, e);

        if (rc)
                return rc;
        look_at(s, vm);
        vm_free(vm);
        return 0;
}

/*
 * A VM that was made before the image was deleted may be about to have a disk made of it. The watch
 * may lag: that there is none counts only when the API server says so, asked after the deletion.
 */
static int find_user(const struct turn *t, const char **out, struct err *e)
{
        struct search s = {t, NULL};
        struct json *items autojson = NULL;

        kube_store_each(world(t)->vms, look_at, &s);
        if (!s.found) {
                int rc = kube_list(world(t)->client, &KUBE_VMS, t->image->meta.ns, NULL, NULL,
                                   &items, e);
                for (const struct json *j = json_first(items); !rc && j && !s.found;
                     j = json_next(j))
                        rc = look_at_listed(&s, j, e);
                if (rc)
                        return rc;
        }
        *out = s.found ? s.found : "";
        return 0;
}

/* --- what is written, each by compare-and-swap */

static int patch_it(const struct turn *t, struct json *patch, const char *subresource, bool last,
                    struct err *e)
{
        const struct meta *m = &t->image->meta;
        struct json *answer autojson = NULL;
        struct mono until = subresource ? t->until : (struct mono){0};

        json_set_str(json_object_at(patch, "metadata"), "resourceVersion", m->rv);
        int rc = kube_patch_until(world(t)->client, until, &KUBE_IMAGES, m->ns, m->name,
                                  subresource, patch, &answer, e);
        if (!rc && !last)
                kube_store_apply(world(t)->images, answer);
        return rc;
}

static int set_finalizer(const struct turn *t, bool ours, struct err *e)
{
        struct json *patch autojson = json_new_object();
        struct json *list = json_array_at(json_object_at(patch, "metadata"), "finalizers");
        const struct strs *had = &t->image->meta.finalizers;

        for (size_t i = 0; i < had->n; i++)
                if (strcmp(had->v[i], DROVER_IMAGE_FINALIZER) != 0)
                        json_add(list, json_new_string(had->v[i]));
        if (!list || (ours && !json_add(list, json_new_string(DROVER_IMAGE_FINALIZER))))
                return no_memory(e);
        return patch_it(t, patch, NULL, !ours, e);
}

static void tell(const struct turn *t, const struct image *next)
{
        const struct meta *m = &t->image->meta;
        const struct kube_event_about about = {DROVER_API_VERSION, "VirtualMachineImage", m->ns,
                                               m->name, m->uid};
        bool ready = !strcmp(next->phase, "Ready");
        struct err e;

        if (!strcmp(next->phase, t->image->phase) || (!ready && strcmp(next->phase, "Failed") != 0))
                return;
        metrics_image(ready);
        if (kube_event_record(world(t)->client, &about, "drover-migrator",
                              ready ? "Normal" : "Warning", ready ? "Imported" : "ImportRefused",
                              ready ? "the image is in its pool" : next->message, &e) < 0)
                log_err(&e, "event not recorded", "image", m->name, NULL);
}

/* An image that nobody has written to yet says nothing, where its decoded form says Fetch. */
static struct json *written(const struct image *i)
{
        return i->importer.epoch ? image_status_encode(i) : json_new_object();
}

static int set_status(const struct turn *t, const struct image *next, struct err *e)
{
        struct json *was autojson = written(t->image);
        struct json *is autojson = image_status_encode(next);
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

static int act(struct turn *t, const struct import_plan *plan, struct err *e)
{
        if (plan->kind != IMPORT_REST && !leads(t))
                return err_set(e, -EAGAIN, "the Lease is lost");
        switch (plan->kind) {
        case IMPORT_HOLD:
        case IMPORT_FREE:
                return set_finalizer(t, plan->kind == IMPORT_HOLD, e);
        case IMPORT_SET:
                return set_status(t, &plan->next, e);
        case IMPORT_REST:
                break;
        }
        return 0;
}

static int plan_and_act(struct turn *t, bool *settled, struct err *e)
{
        struct import_input in = {.image = t->image, .user = ""};
        struct import_plan plan;
        struct import_node *nodes;

        if (images_nodes(world(t), t->a, &t->hosts, &nodes) < 0)
                return no_memory(e);
        in.nodes = nodes;
        in.nnodes = t->hosts.n;
        if (t->image->meta.deleting && t->image->importer.task != IMPORT_REMOVE &&
            t->image->importer.epoch) {
                int rc = find_user(t, &in.user, e);
                if (rc)
                        return rc;
        }
        if (import_plan(t->a, &in, &plan) < 0)
                return no_memory(e);
        *settled = plan.settled;
        return act(t, &plan, e);
}

int images_work(const struct actor *actor, const char *key, struct err *e)
{
        struct world *w = actor->world;
        struct kube_ref *ref autoref = kube_store_get(w->images, images_key(key));
        struct turn t = {.actor = actor};
        bool settled = false;

        if (!ref)
                return 0;
        t.image = kube_ref_object(ref);
        t.a = arena_new((size_t)4 << 20);
        int rc = t.a ? plan_and_act(&t, &settled, e) : no_memory(e);
        kube_refs_put(&t.hosts);
        arena_free(t.a);
        if (!rc && !settled) /* what was written comes back as an event at once */
                kube_queue_add_after(w->queue, key, IMPORT_AGAIN_MS);
        return rc;
}
