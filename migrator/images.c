#include "migrator/images.h"

#include "api/codec.h"
#include "migrator/charge.h"
#include "migrator/metrics.h"

#include <errno.h>
#include <string.h>

struct turn {
        const struct actor *actor;
        const struct image *image;
        struct arena *a;
        struct kube_refs hosts;
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

static struct charge charge_of(const struct turn *t)
{
        return (struct charge){.actor = t->actor,
                               .resource = &KUBE_IMAGES,
                               .store = world(t)->images,
                               .meta = &t->image->meta,
                               .kind = "VirtualMachineImage",
                               .finalizer = DROVER_IMAGE_FINALIZER};
}

static void tell(const struct charge *c, const struct image *was, const struct image *next)
{
        bool ready = !strcmp(next->phase, "Ready");

        if (!strcmp(next->phase, was->phase) || (!ready && strcmp(next->phase, "Failed") != 0))
                return;
        metrics_image(ready);
        charge_tell(c, ready, ready ? "Imported" : "ImportRefused",
                    ready ? "the image is in its pool" : next->message);
}

/* An image that nobody has written to yet says nothing, where its decoded form says Fetch. */
static struct json *written(const struct image *i)
{
        return i->importer.epoch ? image_status_encode(i) : json_new_object();
}

static int set_status(const struct turn *t, const struct image *next, struct err *e)
{
        const struct charge c = charge_of(t);
        struct json *was autojson = written(t->image);
        struct json *is autojson = image_status_encode(next);
        int rc = charge_set(&c, was, is, e);

        if (!rc)
                tell(&c, t->image, next);
        return rc;
}

static int act(const struct turn *t, const struct import_plan *plan, struct err *e)
{
        const struct charge c = charge_of(t);

        switch (plan->kind) {
        case IMPORT_HOLD:
                return charge_hold(&c, NULL, e);
        case IMPORT_FREE:
                return charge_free(&c, e);
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

        if (charge_nodes(world(t), t->a, &t->hosts, &nodes) < 0)
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
