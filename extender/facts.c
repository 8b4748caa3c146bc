#include "extender/facts.h"

#include <string.h>

#define FACTS_MAX ((size_t)1 << 20)
#define FACTS_FEW 400 /* an arena's first block holds that much */

static bool copy_mounts(struct arena *a, const struct host *from, struct host *to)
{
        struct host_mount *m = arena_array(a, from->nmounts, sizeof(*m));

        for (size_t i = 0; m && i < from->nmounts; i++) {
                m[i] = from->mounts[i];
                m[i].fstype = m[i].source = m[i].identity = "";
                m[i].pool = arena_strdup(a, m[i].pool);
                m[i].path = arena_strdup(a, m[i].path);
                m[i].reason = *m[i].reason ? arena_strdup(a, m[i].reason) : "";
                if (!m[i].pool || !m[i].path || !m[i].reason)
                        return false;
        }
        to->mounts = m;
        to->nmounts = from->nmounts;
        return m;
}

/* Of the conditions only Ready is looked at, and of it the time is not. */
static bool copy_ready(struct arena *a, const struct host *from, struct host *to)
{
        const struct condition *ready = condition_get(&from->conditions, "Ready");
        struct condition *c;

        if (!ready)
                return true;
        c = arena_alloc(a, sizeof(*c));
        if (!c)
                return false;
        c->type = "Ready";
        c->status = arena_strdup(a, ready->status);
        c->reason = arena_strdup(a, ready->reason);
        c->message = *ready->message ? arena_strdup(a, ready->message) : "";
        to->conditions = (struct conditions){c, 1};
        return c->status && c->reason && c->message;
}

static bool copy_guests(struct arena *a, const struct host *from, struct strs *to)
{
        to->v = arena_array(a, from->ndomains, sizeof(*to->v));
        for (size_t i = 0; to->v && i < from->ndomains; i++) {
                if (!domain_takes_room(from->domains[i].state))
                        continue;
                to->v[to->n] = arena_strdup(a, from->domains[i].uid);
                if (!to->v[to->n++])
                        return false;
        }
        return to->v;
}

struct host_facts *host_facts_new(struct share *s, const struct host *h)
{
        struct arena *a = arena_new(FACTS_MAX);
        struct host_facts *f = a ? arena_alloc(a, sizeof(*f)) : NULL;

        if (!f) {
                arena_free(a);
                return NULL;
        }
        f->arena = a;
        f->host.capacity = h->capacity;
        f->host.used = h->used;
        f->host.inbound = h->inbound;
        f->host.outbound = h->outbound;
        f->cpu_models = share_get(s, &h->cpu_models);
        f->bridges = share_get(s, &h->bridges);
        if (!f->cpu_models || !f->bridges || !copy_mounts(a, h, &f->host) ||
            !copy_ready(a, h, &f->host) || !copy_guests(a, h, &f->guests)) {
                host_facts_free(s, f);
                return NULL;
        }
        f->host.cpu_models = *shared_strs(f->cpu_models);
        f->host.bridges = *shared_strs(f->bridges);
        return f;
}

void host_facts_free(struct share *s, struct host_facts *f)
{
        if (!f)
                return;
        share_put(s, f->cpu_models);
        share_put(s, f->bridges);
        arena_free(f->arena);
}

/* Replaces borrowed strings by copies. */
static bool own(struct arena *a, const char **s)
{
        *s = arena_strdup(a, *s);
        return *s;
}

static bool own_all(struct arena *a, const struct strs *list)
{
        for (size_t i = 0; i < list->n; i++)
                if (!own(a, &list->v[i]))
                        return false;
        return true;
}

/* An arena that has room for the facts of this VM and, if they are few, for nothing else. */
static struct arena *vm_arena(const struct vm *vm, const struct vm_shape *shape)
{
        size_t pointers = vm->spec.ndisks + vm->spec.nnetworks;
        size_t size = sizeof(struct vm_facts) + pointers * sizeof(char *) +
                      3 * sizeof(max_align_t) + strlen(vm->meta.uid) + strlen(shape->cpu_model) + 2;

        for (size_t i = 0; i < vm->spec.ndisks; i++)
                size += strlen(vm->spec.disks[i].pool) + 1;
        for (size_t i = 0; i < vm->spec.nnetworks; i++)
                size += strlen(vm->spec.networks[i].bridge) + 1;
        return arena_new(size <= FACTS_FEW ? size : FACTS_MAX);
}

struct vm_facts *vm_facts_new(const struct vm *vm)
{
        bool running = vm->status.has_running && *vm->status.owner.node;
        struct arena *a = vm_arena(vm, running ? &vm->status.running : &vm->spec.shape);
        struct vm_facts *f = a ? arena_alloc(a, sizeof(*f)) : NULL;

        if (!f || capacity_demand_of(a, vm, running, &f->demand) < 0) {
                arena_free(a);
                return NULL;
        }
        f->arena = a;
        f->uid = vm->meta.uid;
        if (own(a, &f->uid) && own(a, &f->demand.cpu_model) && own_all(a, &f->demand.pools) &&
            own_all(a, &f->demand.bridges))
                return f;
        arena_free(a);
        return NULL;
}

void vm_facts_free(struct vm_facts *f)
{
        if (f)
                arena_free(f->arena);
}
