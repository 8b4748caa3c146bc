#include "migrator/rooms.h"

#include "base/mono.h"
#include "core/host.h"
#include "core/migration.h"
#include "core/reconcile.h"
#include "kube/queue.h"
#include "kube/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS 1000

struct place;
struct room {
        struct ktable_node node;
        struct kube_ref *host; /* NULL: not reported */
        struct place *places;
        struct capacity_load promised; /* sum of the places' owed */
        uint64_t seen;                 /* another number with each change */
        char name[];
};

struct guest {
        struct ktable_node node;
        struct place *places;
        char uid[40];
        struct vm_shape shape;          /* of what runs; no model, and huge_pages is a constant */
        struct capacity_load own, move; /* on the owner's node; on a target */
        char key[];
};

/* A guest's part of a room. */
struct place {
        struct guest *guest;
        struct room *room;
        struct place *next;             /* of the guest */
        struct place *before, *further; /* in the room */
        struct capacity_load want;      /* by the objects; all zero: nothing */
        struct capacity_load owed;      /* of it and of what is reserved, as counted in the room */
        /* a reservation: until the object of this uid is no longer at this version */
        struct capacity_load reserved;
        struct mono until; /* .ns 0: there is none */
        char by_uid[40], by_rv[24];
};

struct rooms {
        struct kube_store *vms, *migrations, *hosts;
        pthread_mutex_t lock;
        struct ktable rooms, guests;
        uint64_t changes;
        size_t reservations;
        struct mono ticked; /* when reservations were last looked at */
        bool lost;          /* something could not be counted: nothing is given away until it is */
};

struct rooms *rooms_new(struct kube_store *vms, struct kube_store *migrations,
                        struct kube_store *hosts)
{
        struct rooms *r = calloc(1, sizeof(*r));

        if (!r)
                return NULL;
        *r = (struct rooms){.vms = vms, .migrations = migrations, .hosts = hosts};
        pthread_mutex_init(&r->lock, NULL);
        r->rooms = ktable_new();
        r->guests = ktable_new();
        return r;
}

/* --- entries: made when first referred to, dropped when nothing refers to them any more */

static struct room *room_find(const struct rooms *r, const char *name)
{
        struct ktable_node *n = ktable_find(&r->rooms, name);

        return n ? ktable_entry(n, struct room, node) : NULL;
}

static struct room *room_get(struct rooms *r, const char *name)
{
        struct room *x = room_find(r, name);
        size_t size = strlen(name) + 1;

        if (x)
                return x;
        x = calloc(1, sizeof(*x) + size);
        if (!x)
                return NULL;
        x->node.key = memcpy(x->name, name, size);
        x->seen = ++r->changes;
        if (ktable_add(&r->rooms, &x->node) == 0)
                return x;
        free(x);
        return NULL;
}

static void room_drop_unused(struct rooms *r, struct room *x)
{
        if (!x || x->host || x->places)
                return;
        ktable_remove(&r->rooms, &x->node);
        free(x);
}

static struct guest *guest_find(const struct rooms *r, const char *key)
{
        struct ktable_node *n = ktable_find(&r->guests, key);

        return n ? ktable_entry(n, struct guest, node) : NULL;
}

static struct guest *guest_get(struct rooms *r, const char *key)
{
        struct guest *g = guest_find(r, key);
        size_t size = strlen(key) + 1;

        if (g)
                return g;
        g = calloc(1, sizeof(*g) + size);
        if (!g)
                return NULL;
        g->node.key = memcpy(g->key, key, size);
        g->shape.cpu_model = g->shape.huge_pages = "";
        if (ktable_add(&r->guests, &g->node) == 0)
                return g;
        free(g);
        return NULL;
}

static void guest_drop_unused(struct rooms *r, struct guest *g)
{
        if (!g || g->places)
                return;
        ktable_remove(&r->guests, &g->node);
        free(g);
}

static struct place *place_find(const struct guest *g, const char *node)
{
        struct place *p = g ? g->places : NULL;

        while (p && strcmp(p->room->name, node) != 0)
                p = p->next;
        return p;
}

static struct place *place_get(struct rooms *r, struct guest *g, const char *node)
{
        struct place *p = place_find(g, node);
        struct room *x;

        if (p)
                return p;
        x = room_get(r, node);
        p = x ? calloc(1, sizeof(*p)) : NULL;
        if (!p) {
                room_drop_unused(r, x);
                return NULL;
        }
        *p = (struct place){.guest = g, .room = x, .next = g->places, .further = x->places};
        if (x->places)
                x->places->before = p;
        g->places = x->places = p;
        return p;
}

static void place_drop(struct rooms *r, struct place *p)
{
        struct place **at = &p->guest->places;
        struct room *x = p->room;

        while (*at != p)
                at = &(*at)->next;
        *at = p->next;
        if (p->before)
                p->before->further = p->further;
        else
                x->places = p->further;
        if (p->further)
                p->further->before = p->before;
        free(p);
        room_drop_unused(r, x);
}

/* --- what a place is owed, and the sum of it */

static bool is_nothing(const struct capacity_load *x)
{
        const struct capacity_load none = {0};

        return load_within(x, &none);
}

static void count(struct rooms *r, struct place *p)
{
        const struct host *h = p->room->host ? kube_ref_object(p->room->host) : NULL;
        const struct host_domain *d = h ? host_domain_of(h, p->guest->uid) : NULL;
        struct capacity_load want = load_max(&p->want, &p->reserved), owed = {0};

        if (!is_nothing(&want))
                owed = load_owed(&want, d, &p->guest->shape);
        if (memcmp(&owed, &p->owed, sizeof(owed)) == 0)
                return;
        load_take(&p->room->promised, &p->owed);
        load_add(&p->room->promised, &owed);
        p->owed = owed;
        p->room->seen = ++r->changes;
}

static void end_reservation(struct rooms *r, struct place *p)
{
        if (!p->until.ns)
                return;
        p->until.ns = 0;
        p->reserved = (struct capacity_load){0};
        r->reservations--;
}

/* Counts all places of the guest anew; those that stand for nothing any more go. */
static void settle(struct rooms *r, struct guest *g)
{
        for (struct place *p = g->places, *next; p; p = next) {
                next = p->next;
                count(r, p);
                if (is_nothing(&p->want) && !p->until.ns)
                        place_drop(r, p);
        }
        guest_drop_unused(r, g);
}

/* --- a VM */

struct objects {
        struct kube_ref *vm;
        struct kube_refs migrations;
};

static bool is_version(const struct meta *m, const struct place *p)
{
        return !strcmp(m->uid, p->by_uid) && !strcmp(m->rv, p->by_rv);
}

/* The object that the reservation waits for has not changed since. */
static bool is_current(const struct objects *o, const struct place *p)
{
        if (o->vm && is_version(&((const struct vm *)kube_ref_object(o->vm))->meta, p))
                return true;
        for (size_t i = 0; i < o->migrations.n; i++)
                if (is_version(
                            &((const struct migration *)kube_ref_object(o->migrations.v[i]))->meta,
                            p))
                        return true;
        return false;
}

static const char *constant(const char *huge_pages)
{
        return !strcmp(huge_pages, "2Mi") ? "2Mi" : !strcmp(huge_pages, "1Gi") ? "1Gi" : "";
}

static void describe(struct guest *g, const struct vm *vm)
{
        const struct vm_grant *grant = vm_granted(vm);

        snprintf(g->uid, sizeof(g->uid), "%s", vm->meta.uid);
        g->shape = vm->status.has_running ? vm->status.running : vm->spec.shape;
        g->shape.cpu_model = "";
        g->shape.huge_pages = constant(g->shape.huge_pages);
        g->own = g->move = load_of_shape(&g->shape);
        if (grant) {
                struct capacity_load to_be = load_of_shape(&grant->shape);

                g->own = load_max(&g->own, &to_be);
        }
}

static void want(struct rooms *r, struct guest *g, const char *node,
                 const struct capacity_load *load)
{
        struct place *p = place_get(r, g, node);

        if (p)
                p->want = load_max(&p->want, load);
        else
                r->lost = true;
}

/* Its target holds room from the choice to the end, when the target's is the owner. */
static bool holds_target(const struct migration *m, const char *vm_uid)
{
        return !mig_finished(m->status.phase) && m->status.phase != MIG_PENDING &&
               *m->status.target && !strcmp(m->status.vm_uid, vm_uid);
}

static void wants(struct rooms *r, struct guest *g, const struct objects *o)
{
        const struct vm *vm = kube_ref_object(o->vm);

        describe(g, vm);
        if (*vm->status.owner.node && !rec_erasing(vm))
                want(r, g, vm->status.owner.node, &g->own);
        for (size_t i = 0; i < o->migrations.n; i++) {
                const struct migration *m = kube_ref_object(o->migrations.v[i]);

                if (holds_target(m, vm->meta.uid))
                        want(r, g, m->status.target, &g->move);
        }
}

static void vm_changed(struct rooms *r, const char *key)
{
        struct objects o = {.vm = kube_store_get(r->vms, key)};
        struct guest *g = o.vm ? guest_get(r, key) : guest_find(r, key);
        bool known = kube_store_indexed(r->migrations, key, &o.migrations) == 0;

        if (!known || (o.vm && !g)) {
                r->lost = true;
        } else if (g) {
                for (struct place *p = g->places; p; p = p->next) {
                        p->want = (struct capacity_load){0};
                        if (p->until.ns && !is_current(&o, p))
                                end_reservation(r, p);
                }
                if (o.vm)
                        wants(r, g, &o);
                settle(r, g);
        }
        kube_refs_put(&o.migrations);
        kube_ref_put(o.vm);
}

void rooms_vm_changed(struct rooms *r, const char *vm_key)
{
        pthread_mutex_lock(&r->lock);
        vm_changed(r, vm_key);
        pthread_mutex_unlock(&r->lock);
}

/* --- a host */

static void host_changed(struct rooms *r, const char *node)
{
        struct kube_ref *host = kube_store_get(r->hosts, node);
        struct room *x = host ? room_get(r, node) : room_find(r, node);

        if (!x) {
                r->lost |= host != NULL;
                kube_ref_put(host);
                return;
        }
        kube_ref_put(x->host);
        x->host = host;
        x->seen = ++r->changes;
        for (struct place *p = x->places; p; p = p->further)
                count(r, p);
        room_drop_unused(r, x);
}

void rooms_host_changed(struct rooms *r, const char *node)
{
        pthread_mutex_lock(&r->lock);
        host_changed(r, node);
        pthread_mutex_unlock(&r->lock);
}

/* --- questions and reservations */

struct room_view rooms_look(struct rooms *r, const char *node, const char *vm_key)
{
        struct room_view v = {0};

        pthread_mutex_lock(&r->lock);
        const struct room *x = room_find(r, node);
        const struct place *own = x ? place_find(guest_find(r, vm_key), node) : NULL;
        if (x) {
                v.host = x->host ? kube_ref_hold(x->host) : NULL;
                v.promised = x->promised;
                v.seen = x->seen;
        }
        if (own)
                load_take(&v.promised, &own->owed);
        pthread_mutex_unlock(&r->lock);
        return v;
}

void rooms_each_vm(struct rooms *r, const char *node, void (*visit)(void *ctx, const char *vm_key),
                   void *ctx)
{
        const struct room *x;

        pthread_mutex_lock(&r->lock);
        x = room_find(r, node);
        for (const struct place *p = x ? x->places : NULL; p; p = p->further)
                visit(ctx, p->guest->key);
        pthread_mutex_unlock(&r->lock);
}

static int reserve(struct rooms *r, const char *node, const char *vm_key,
                   const struct vm_shape *shape, const struct meta *written)
{
        struct guest *g = guest_get(r, vm_key);
        struct place *p = g ? place_get(r, g, node) : NULL;

        if (!p) {
                guest_drop_unused(r, g);
                return -ENOMEM;
        }
        r->reservations += !p->until.ns;
        p->reserved = load_of_shape(shape);
        p->until = mono_add_ms(mono_now(), ROOMS_RESERVED_MS);
        snprintf(p->by_uid, sizeof(p->by_uid), "%s", written->uid);
        snprintf(p->by_rv, sizeof(p->by_rv), "%s", written->rv);
        count(r, p);
        return 0;
}

int rooms_reserve(struct rooms *r, const char *node, uint64_t seen, const char *vm_key,
                  const struct vm_shape *shape, const struct meta *written, struct err *e)
{
        int rc = -ENOMEM;

        pthread_mutex_lock(&r->lock);
        const struct room *x = room_find(r, node);
        if (!r->lost)
                rc = x && x->host && x->seen == seen ? reserve(r, node, vm_key, shape, written)
                                                     : -EAGAIN;
        pthread_mutex_unlock(&r->lock);
        if (rc == -EAGAIN)
                return err_set(e, rc, "%s: what is promised there has changed meanwhile", node);
        return rc < 0 ? err_sys(e, rc, "keep room on %s", node) : 0;
}

/* --- now and then */

static void expire(struct rooms *r, struct mono now)
{
        for (struct ktable_node *n = ktable_first(&r->guests), *next; n; n = next) {
                struct guest *g = ktable_entry(n, struct guest, node);
                bool ended = false;

                next = ktable_after(&r->guests, n);
                for (struct place *p = g->places; p; p = p->next)
                        if (p->until.ns && p->until.ns <= now.ns) {
                                end_reservation(r, p);
                                ended = true;
                        }
                if (ended)
                        settle(r, g);
        }
}

static void each_key(struct rooms *r, struct kube_store *s,
                     const struct meta *(*meta_of)(const void *object),
                     void (*f)(struct rooms *r, const char *key))
{
        struct kube_refs refs autorefs = {0};
        char key[KUBE_KEY_MAX];

        if (kube_store_all(s, &refs) < 0)
                r->lost = true;
        for (size_t i = 0; i < refs.n; i++) {
                const struct meta *m = meta_of(kube_ref_object(refs.v[i]));

                snprintf(key, sizeof(key), "%s%s%s", m->ns, *m->ns ? "/" : "", m->name);
                f(r, key);
        }
}

static const struct meta *host_meta(const void *object)
{
        return &((const struct host *)object)->meta;
}

static const struct meta *vm_meta(const void *object)
{
        return &((const struct vm *)object)->meta;
}

static void count_all(struct rooms *r)
{
        r->lost = false;
        for (struct ktable_node *n = ktable_first(&r->guests), *next; n; n = next) {
                next = ktable_after(&r->guests, n);
                vm_changed(r, ktable_entry(n, struct guest, node)->key);
        }
        each_key(r, r->hosts, host_meta, host_changed);
        each_key(r, r->vms, vm_meta, vm_changed);
}

void rooms_tick(struct rooms *r, struct mono now)
{
        pthread_mutex_lock(&r->lock);
        if (r->reservations && mono_ms_between(r->ticked, now) >= TICK_MS) {
                r->ticked = now;
                expire(r, now);
        }
        if (r->lost)
                count_all(r);
        pthread_mutex_unlock(&r->lock);
}

void rooms_free(struct rooms *r)
{
        if (!r)
                return;
        for (struct ktable_node *n; (n = ktable_first(&r->guests));) {
                struct guest *g = ktable_entry(n, struct guest, node);

                while (g->places)
                        place_drop(r, g->places);
                guest_drop_unused(r, g);
        }
        for (struct ktable_node *n; (n = ktable_first(&r->rooms));) {
                struct room *x = ktable_entry(n, struct room, node);

                kube_ref_put(x->host);
                x->host = NULL;
                room_drop_unused(r, x);
        }
        ktable_free(&r->guests);
        ktable_free(&r->rooms);
        pthread_mutex_destroy(&r->lock);
        free(r);
}
