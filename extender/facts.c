#include "extender/facts.h"

#include "base/arena.h"

#include <ctype.h>
#include <string.h>

#define DEMAND_MAX ((size_t)1 << 20)
#define UUID_TEXT  36

/* --- UIDs */

static bool uuid_parse(const char *text, struct uid *out)
{
        uint64_t v[2] = {0, 0};
        int digits = 0;

        for (int i = 0; i < UUID_TEXT; i++) {
                unsigned char c = (unsigned char)text[i];

                if (i == 8 || i == 13 || i == 18 || i == 23) {
                        if (c != '-')
                                return false;
                        continue;
                }
                if (!isdigit(c) && (c < 'a' || c > 'f')) /* the end too */
                        return false;
                v[digits / 16] =
                        v[digits / 16] << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
                digits++;
        }
        *out = (struct uid){v[0], v[1]};
        return !text[UUID_TEXT];
}

struct uid uid_of(const char *text)
{
        struct uid u = {0, 0};

        if (!*text || uuid_parse(text, &u))
                return u;
        u = (struct uid){0xcbf29ce484222325, 0x9ae16a3b2f90404f};
        for (const unsigned char *p = (const unsigned char *)text; *p; p++) { /* FNV-1a, twice */
                u.hi = (u.hi ^ *p) * 0x100000001b3;
                u.lo = (u.lo ^ *p) * 0x100000001b3;
                u.lo ^= u.lo >> 29;
        }
        return u;
}

/* --- hosts */

/* Whoever is shared with, or not known to be, is not kept: there are many of them. */
static bool take_apart(struct share *s, const struct host_mount *m, struct mount_facts *f)
{
        autofree const char **names = calloc(m->nshared_with + 1, sizeof(*names));
        size_t n = 0;

        for (size_t i = 0; names && i < m->nshared_with; i++)
                if (m->shared_with[i].state == SHARING_NOT_SHARED)
                        names[n++] = m->shared_with[i].node;
        if (!names || !n)
                return names;
        f->names = share_get(s, &(struct strs){names, n});
        f->apart = calloc(n, sizeof(*f->apart));
        for (size_t i = 0; f->names && f->apart && i < n; i++)
                f->apart[i] = (struct host_peer){.node = shared_strs(f->names)->v[i],
                                                 .state = SHARING_NOT_SHARED,
                                                 .reason = ""};
        return f->names && f->apart;
}

static bool take_mounts(struct share *s, const struct host *h, struct host_facts *f)
{
        for (; f->nmounts < h->nmounts; f->nmounts++) {
                const struct host_mount *m = &h->mounts[f->nmounts];
                struct mount_facts *out = &f->mounts[f->nmounts];
                const char *about[] = {m->pool, m->path, m->reason, m->identity};

                *out = (struct mount_facts){
                        .about = share_get(s, &(struct strs){about, countof(about)}),
                        .free_bytes = m->free_bytes,
                        .health = m->health,
                        .local = m->local,
                };
                if (!out->about || !take_apart(s, m, out)) {
                        f->nmounts++; /* to be freed, as far as it is there */
                        return false;
                }
        }
        return true;
}

/* Of the conditions only Ready is looked at, and of it the time is not. */
static bool take_ready(struct share *s, const struct host *h, struct host_facts *f)
{
        const struct condition *c = condition_get(&h->conditions, "Ready");

        if (!c)
                return true;
        f->ready =
                share_get(s, &(struct strs){(const char *[]){c->status, c->reason, c->message}, 3});
        return f->ready;
}

struct host_facts *host_facts_new(struct share *s, const struct host *h)
{
        size_t mounts = h->nmounts * sizeof(struct mount_facts);
        struct host_facts *f = calloc(1, sizeof(*f) + mounts + h->ndomains * sizeof(*f->guests));

        if (!f)
                return NULL;
        f->guests = (struct uid *)(void *)(f->mounts + h->nmounts);
        for (size_t i = 0; i < h->ndomains; i++)
                if (domain_takes_room(h->domains[i].state))
                        f->guests[f->nguests++] = uid_of(h->domains[i].uid);
        f->capacity = h->capacity;
        f->used = h->used;
        f->inbound = h->inbound;
        f->outbound = h->outbound;
        f->cpu_models = share_get(s, &h->cpu_models);
        f->bridges = share_get(s, &h->bridges);
        if (f->cpu_models && f->bridges && take_mounts(s, h, f) && take_ready(s, h, f))
                return f;
        host_facts_free(s, f);
        return NULL;
}

void host_facts_free(struct share *s, struct host_facts *f)
{
        if (!f)
                return;
        share_put(s, f->cpu_models);
        share_put(s, f->bridges);
        share_put(s, f->ready);
        for (size_t i = 0; i < f->nmounts; i++) {
                share_put(s, f->mounts[i].about);
                share_put(s, f->mounts[i].names);
                free(f->mounts[i].apart);
        }
        free(f);
}

bool host_facts_hold(const struct host_facts *f, struct uid guest)
{
        for (size_t i = 0; uid_given(guest) && i < f->nguests; i++)
                if (uid_same(f->guests[i], guest))
                        return true;
        return false;
}

/* The first mount of a pool, as in host_mount_of. */
static const struct mount_facts *mount_of(const struct host_facts *f, const char *pool)
{
        for (size_t i = 0; i < f->nmounts; i++)
                if (strcmp(shared_strs(f->mounts[i].about)->v[0], pool) == 0)
                        return &f->mounts[i];
        return NULL;
}

void host_facts_show(const struct host_facts *f, const char *node, const struct capacity_demand *d,
                     struct host_sight *out)
{
        struct host *h = &out->host;

        memset(h, 0, sizeof(*h));
        h->meta.name = node;
        h->capacity = f->capacity;
        h->used = f->used;
        h->inbound = f->inbound;
        h->outbound = f->outbound;
        h->cpu_models = *shared_strs(f->cpu_models);
        h->bridges = *shared_strs(f->bridges);
        if (f->ready) {
                const char *const *v = shared_strs(f->ready)->v;

                out->ready = (struct condition){"Ready", v[0], v[1], v[2], 0};
                h->conditions = (struct conditions){&out->ready, 1};
        }
        h->mounts = out->mounts;
        for (size_t i = 0; i < d->pools.n; i++) {
                const struct mount_facts *m = mount_of(f, d->pools.v[i]);

                if (!m)
                        continue;
                const char *const *v = shared_strs(m->about)->v;
                out->mounts[h->nmounts++] = (struct host_mount){
                        .pool = v[0],
                        .local = m->local,
                        .path = v[1],
                        .fstype = "",
                        .source = "",
                        .health = m->health,
                        .reason = v[2],
                        .identity = v[3],
                        .free_bytes = m->free_bytes,
                        .shared_with = m->apart,
                        .nshared_with = m->apart ? shared_strs(m->names)->n : 0};
        }
}

/* --- VMs */

bool vm_facts_take(struct share *s, const struct vm *vm, struct vm_facts *out)
{
        bool running = vm->status.has_running && *vm->status.owner.node;
        autoarena struct arena *a = arena_new(DEMAND_MAX);
        const char *owner = vm->status.owner.node;
        struct capacity_demand d;

        if (!a || capacity_demand_of(a, vm, running, &d) < 0)
                return false;
        struct vm_facts f = {
                .uid = uid_of(vm->meta.uid),
                .owner = share_get(s, &(struct strs){&owner, 1}),
                .cores = d.cores,
                .memory = d.memory,
                .huge = d.huge,
                .copies = d.copies,
                .cpu_model = share_get(s, &(struct strs){&d.cpu_model, 1}),
                .pools = share_get(s, &d.pools),
                .bridges = share_get(s, &d.bridges),
        };
        if (f.owner && f.cpu_model && f.pools && f.bridges) {
                *out = f;
                return true;
        }
        vm_facts_drop(s, &f);
        return false;
}

void vm_facts_drop(struct share *s, struct vm_facts *f)
{
        share_put(s, f->owner);
        share_put(s, f->cpu_model);
        share_put(s, f->pools);
        share_put(s, f->bridges);
}

const char *vm_facts_owner(const struct vm_facts *f)
{
        return shared_strs(f->owner)->v[0];
}

struct capacity_demand vm_facts_demand(const struct vm_facts *f)
{
        return (struct capacity_demand){
                .cores = f->cores,
                .memory = f->memory,
                .huge = f->huge,
                .copies = f->copies,
                .cpu_model = shared_strs(f->cpu_model)->v[0],
                .pools = *shared_strs(f->pools),
                .bridges = *shared_strs(f->bridges),
        };
}
