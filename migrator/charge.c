#include "migrator/charge.h"

#include "base/log.h"
#include "kube/event.h"

#include <errno.h>
#include <string.h>

static int no_memory(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

int charge_nodes(struct world *w, struct arena *a, struct kube_refs *hosts,
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

/* Of a status only, what is sent must be there before the Lease may be another's: the rest may wait
 * for webhooks. With its last finalizer an object that is deleted is gone. */
static int patch_it(const struct charge *c, struct json *patch, const char *subresource, bool last,
                    struct err *e)
{
        struct kube_client *client = c->actor->world->client;
        struct json *answer autojson = NULL;
        struct mono until;

        if (!actor_leads(c->actor, &until))
                return err_set(e, -EAGAIN, "the Lease is lost");
        if (!subresource)
                until = (struct mono){0};
        json_set_str(json_object_at(patch, "metadata"), "resourceVersion", c->meta->rv);
        int rc = kube_patch_until(client, until, c->resource, c->meta->ns, c->meta->name,
                                  subresource, patch, &answer, e);
        if (!rc && !last)
                kube_store_apply(c->store, answer);
        return rc;
}

static bool add_owner(struct json *meta, const struct vm *vm)
{
        struct json *owner = json_add(json_array_at(meta, "ownerReferences"), json_new_object());

        json_set_str(owner, "apiVersion", DROVER_API_VERSION);
        json_set_str(owner, "kind", "VirtualMachine");
        json_set_str(owner, "name", vm->meta.name);
        return json_set_str(owner, "uid", vm->meta.uid);
}

static int set_finalizer(const struct charge *c, bool ours, const struct vm *owner, struct err *e)
{
        struct json *patch autojson = json_new_object();
        struct json *meta = json_object_at(patch, "metadata");
        struct json *list = json_array_at(meta, "finalizers");
        const struct strs *had = &c->meta->finalizers;

        for (size_t i = 0; i < had->n; i++)
                if (strcmp(had->v[i], c->finalizer) != 0)
                        json_add(list, json_new_string(had->v[i]));
        if (!list || (ours && !json_add(list, json_new_string(c->finalizer))) ||
            (owner && !add_owner(meta, owner)))
                return no_memory(e);
        return patch_it(c, patch, NULL, !ours, e);
}

int charge_hold(const struct charge *c, const struct vm *owner, struct err *e)
{
        return set_finalizer(c, true, owner, e);
}

int charge_free(const struct charge *c, struct err *e)
{
        return set_finalizer(c, false, NULL, e);
}

int charge_set(const struct charge *c, const struct json *was, const struct json *is, struct err *e)
{
        struct json *patch autojson = json_new_object();
        struct json *diff = was && is ? json_merge_diff(was, is) : NULL;

        if (!json_set(patch, "status", diff))
                return no_memory(e);
        return patch_it(c, patch, "status", false, e);
}

void charge_tell(const struct charge *c, bool good, const char *reason, const char *note)
{
        const struct kube_event_about about = {DROVER_API_VERSION, c->kind, c->meta->ns,
                                               c->meta->name, c->meta->uid};
        struct err e;

        if (kube_event_record(c->actor->world->client, &about, "drover-migrator",
                              good ? "Normal" : "Warning", reason, note, &e) < 0)
                log_err(&e, "event not recorded", "kind", c->kind, "name", c->meta->name, NULL);
}
