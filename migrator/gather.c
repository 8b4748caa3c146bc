#include "migrator/gather.h"

#include "core/claim.h"
#include "core/snapshot.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mono.h"

void gathered_free(struct gathered *g)
{
        kube_ref_put(g->vm);
        kube_refs_put(&g->pods);
        kube_refs_put(&g->migrations);
        for (size_t i = 0; i < g->nheld; i++)
                kube_ref_put(g->held[i]);
        for (size_t i = 0; g->candidate_nodes && i < g->hosts.n; i++)
                kube_ref_put(g->candidate_nodes[i]);
        kube_refs_put(&g->hosts);
        arena_free(g->arena);
        *g = (struct gathered){0};
}

static int no_memory(struct err *e)
{
        return err_set(e, -ENOMEM, "out of memory");
}

/* --- the VM's own objects */

/* Objects of a former VM of the same name are none of ours. */
static bool is_ours(const struct vm *vm, const char *uid)
{
        return !*uid || !strcmp(uid, vm->meta.uid);
}

static int oldest_first(const void *a, const void *b)
{
        const struct migration *x = *(const struct migration *const *)a;
        const struct migration *y = *(const struct migration *const *)b;

        if (x->meta.created_us != y->meta.created_us)
                return x->meta.created_us < y->meta.created_us ? -1 : 1;
        if (x->status.finished_us != y->status.finished_us)
                return x->status.finished_us < y->status.finished_us ? -1 : 1;
        return strcmp(x->meta.name, y->meta.name);
}

static int own_objects(struct world *w, const char *key, struct gathered *g)
{
        const struct vm *vm = g->in.vm;
        const struct migration **m;
        const struct pod **p;

        if (kube_store_indexed(w->pods, key, &g->pods) < 0 ||
            kube_store_indexed(w->migrations, key, &g->migrations) < 0)
                return -ENOMEM;
        p = arena_array(g->arena, g->pods.n, sizeof(*p));
        m = arena_array(g->arena, g->migrations.n, sizeof(*m));
        if (!p || !m)
                return -ENOMEM;
        for (size_t i = 0; i < g->pods.n; i++) {
                const struct pod *pod = kube_ref_object(g->pods.v[i]);

                if (is_ours(vm, pod->vm_uid))
                        p[g->in.npods++] = pod;
        }
        for (size_t i = 0; i < g->migrations.n; i++) {
                const struct migration *mig = kube_ref_object(g->migrations.v[i]);

                if (is_ours(vm, mig->status.vm_uid))
                        m[g->in.nmigrations++] = mig;
        }
        qsort(m, g->in.nmigrations, sizeof(*m), oldest_first);
        g->in.pods = p;
        g->in.migrations = m;
        return 0;
}

/* --- the nodes that matter to it */

/* Borrows from node (may be NULL) and host (likewise). */
static struct rec_node node_as_seen(struct world *w, const char *name, const struct kube_ref *node,
                                    const struct host *host, const struct room_view *room)
{
        enum liveness live = world_liveness(w, name);

        return (struct rec_node){
                .name = name,
                .node = node ? kube_ref_object(node) : NULL,
                .host = host,
                .alive = live != LIVE_SILENT,
                .unheard = live == LIVE_UNHEARD,
                .promised = room->promised,
                .seen = room->seen,
        };
}

static void add_node(struct world *w, struct gathered *g, struct rec_node *nodes, const char *name)
{
        struct kube_ref *node;
        struct room_view room;

        if (!*name)
                return;
        for (size_t i = 0; i < g->in.nnodes; i++)
                if (!strcmp(nodes[i].name, name))
                        return;
        node = kube_store_get(w->nodes, name);
        room = rooms_look(w->rooms, name, g->key);
        if (node)
                g->held[g->nheld++] = node;
        if (room.host)
                g->held[g->nheld++] = room.host;
        nodes[g->in.nnodes++] =
                node_as_seen(w, name, node, room.host ? kube_ref_object(room.host) : NULL, &room);
}

/* The move that is to take a permit and find a target. */
static const struct migration *asking(const struct rec_input *in)
{
        const struct migration *m = rec_current(in);

        return m && m->status.phase < MIG_COPYING ? m : NULL;
}

/*
 * Every hypervisor, for a move that seeks its target, for a guest whose storage ails, and for disks
 * that somebody is to remove.
 */
static int candidates(struct world *w, struct gathered *g)
{
        const struct migration *m = asking(&g->in);
        struct rec_node *v;

        if (!(m && m->status.phase == MIG_PENDING) && !rec_ailing(&g->in) && !rec_erasing(g->in.vm))
                return 0;
        if (kube_store_all(w->hosts, &g->hosts) < 0)
                return -ENOMEM;
        v = arena_array(g->arena, g->hosts.n, sizeof(*v));
        g->candidate_nodes = arena_array(g->arena, g->hosts.n, sizeof(struct kube_ref *));
        if (!v || !g->candidate_nodes)
                return -ENOMEM;
        for (size_t i = 0; i < g->hosts.n; i++) {
                const struct host *h = kube_ref_object(g->hosts.v[i]);
                struct kube_ref *node = kube_store_get(w->nodes, h->meta.name);
                struct room_view room = rooms_look(w->rooms, h->meta.name, g->key);

                g->candidate_nodes[i] = node;
                v[i] = node_as_seen(w, h->meta.name, node, h, &room);
                kube_ref_put(room.host);
        }
        g->in.candidates = v;
        g->in.ncandidates = g->hosts.n;
        return 0;
}

static int nodes_of(struct world *w, struct gathered *g)
{
        size_t most = 2 + g->in.npods + 2 * g->in.nmigrations;
        struct rec_node *nodes = arena_array(g->arena, most, sizeof(*nodes));

        g->held = arena_array(g->arena, 2 * most, sizeof(*g->held));
        if (!nodes || !g->held)
                return -ENOMEM;
        add_node(w, g, nodes, g->in.vm->status.owner.node);
        add_node(w, g, nodes, g->in.vm->status.storage_node);
        for (size_t i = 0; i < g->in.npods; i++)
                add_node(w, g, nodes, g->in.pods[i]->node);
        for (size_t i = 0; i < g->in.nmigrations; i++) {
                const struct migration *m = g->in.migrations[i];

                if (mig_finished(m->status.phase))
                        continue;
                add_node(w, g, nodes, m->status.source);
                add_node(w, g, nodes, m->status.target);
        }
        g->in.nodes = nodes;
        return 0;
}

/* --- its disks' snapshots */

static int snapshot_of(struct world *w, const char *key, struct gathered *g)
{
        struct kube_refs refs autorefs = {0};

        if (kube_store_indexed(w->snapshots, key, &refs) < 0)
                return -ENOMEM;
        for (size_t i = 0; i < refs.n && !g->in.snapshot; i++) {
                const struct snapshot *s = kube_ref_object(refs.v[i]);

                if (!snap_in_disks(s, g->in.vm->meta.uid))
                        continue;
                g->in.snapshot = arena_strdup(g->arena, s->meta.name);
                if (!g->in.snapshot)
                        return -ENOMEM;
        }
        return 0;
}

/* --- permits: counted when a move waits for one */

struct counting {
        struct permits_count *count;
        struct claims *claims;
        struct mono now;
};

static bool count_one(void *ctx, const void *object)
{
        const struct counting *c = ctx;
        struct claimed copy;

        permits_add(c->count, claims_see(c->claims, object, c->now, &copy));
        return true;
}

static const char *target_of(const struct rec_input *in, const struct migration *m)
{
        for (size_t i = 0; !*m->status.target && i < in->npods; i++)
                if (!strcmp(in->pods[i]->meta.name, m->status.pod))
                        return in->pods[i]->node;
        return m->status.target;
}

static int permits(struct world *w, const struct permit_limits *limits, struct gathered *g)
{
        const struct migration *m = asking(&g->in);
        struct counting c = {.claims = w->claims, .now = mono_now()};

        if (!m)
                return 0;
        c.count = permits_begin(g->arena, m, g->in.vm->status.owner.node, target_of(&g->in, m));
        if (!c.count)
                return -ENOMEM;
        kube_store_each(w->migrations, count_one, &c);
        g->in.permits = permits_judge(c.count, limits);
        return 0;
}

/* --- claims: whoever starts has them alone */

struct rival {
        const struct vm *vm;
        char text[400]; /* "": none */
};

static bool look_at_rival(void *ctx, const void *object)
{
        struct rival *r = ctx;
        const struct vm *other = object;
        const struct vm_disk *d = claim_taken(r->vm, other);

        if (d)
                snprintf(r->text, sizeof(r->text),
                         "disk %.63s: claim %.100s is a disk of VirtualMachine %.100s, which goes "
                         "first",
                         d->name, d->claim, other->meta.name);
        return !d;
}

static int rivals(struct world *w, struct gathered *g)
{
        struct rival r = {.vm = g->in.vm, .text = ""};

        if (*r.vm->status.owner.node || !vm_claimed_disk(r.vm))
                return 0;
        kube_store_each(w->vms, look_at_rival, &r);
        g->in.claim_taken = *r.text ? arena_strdup(g->arena, r.text) : NULL;
        return *r.text && !g->in.claim_taken ? -ENOMEM : 0;
}

int gather(struct world *w, const struct permit_limits *limits, const char *key,
           struct gathered *out, struct err *e)
{
        struct gathered g = {.vm = kube_store_get(w->vms, key), .key = key};

        if (!g.vm)
                return err_set(e, -ENOENT, "no VirtualMachine %s", key);
        g.arena = arena_new((size_t)8 << 20);
        g.in.vm = kube_ref_object(g.vm);
        g.in.now_us = wall_us();
        if (!g.arena || own_objects(w, key, &g) < 0 || nodes_of(w, &g) < 0 ||
            candidates(w, &g) < 0 || permits(w, limits, &g) < 0 || rivals(w, &g) < 0 ||
            snapshot_of(w, key, &g) < 0) {
                gathered_free(&g);
                return no_memory(e);
        }
        *out = g;
        return 0;
}
