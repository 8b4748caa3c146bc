#include "core/permits.h"

#include <string.h>

struct outbound {
        const char *node;
        int64_t used, waiting; /* waiting: of those that are served before ours */
};

struct permits_count {
        struct arena *a;
        const struct migration *mine;
        const char *source, *target;
        struct outbound *v; /* a source each; few: they have moves under way */
        size_t n, cap;
        int64_t used;
        int64_t inbound, inbound_waiting; /* likewise, for the target */
        bool failed;
};

static int urgency(enum mig_reason r)
{
        switch (r) {
        case REASON_STORAGE: /* a guest that stands still, or is about to */
                return 3;
        case REASON_DRAIN:
                return 2;
        case REASON_USER:
                return 1;
        default:
                return 0;
        }
}

bool permits_before(const struct migration *x, const struct migration *y)
{
        if (urgency(x->spec.reason) != urgency(y->spec.reason))
                return urgency(x->spec.reason) > urgency(y->spec.reason);
        if (x->meta.created_us != y->meta.created_us)
                return x->meta.created_us < y->meta.created_us;
        return strcmp(x->meta.uid, y->meta.uid) < 0;
}

static bool copies(const struct migration *m)
{
        return m->status.phase >= MIG_COPYING && !mig_finished(m->status.phase);
}

bool permits_held(const struct migration *m)
{
        return copies(m) || (m->status.permit && !mig_finished(m->status.phase));
}

/* Without a position in the queue it waits for something else, and for no place. */
static bool waits_before(const struct migration *other, const struct migration *mine)
{
        return other->status.queue_position > 0 && permits_before(other, mine);
}

/* Who has a place out of its source waits for nothing but one into its target. */
static void add_inbound(struct permits_count *c, const struct migration *other)
{
        if (!*c->target || strcmp(other->status.target, c->target) != 0)
                return;
        if (copies(other))
                c->inbound++;
        else if (permits_held(other) && waits_before(other, c->mine))
                c->inbound_waiting++;
}

struct permits_count *permits_begin(struct arena *a, const struct migration *m, const char *source,
                                    const char *target)
{
        struct permits_count *c = arena_alloc(a, sizeof(*c));

        if (c)
                *c = (struct permits_count){.a = a, .mine = m, .source = source, .target = target};
        return c;
}

static struct outbound *outbound_of(struct permits_count *c, const char *node)
{
        for (size_t i = 0; i < c->n; i++)
                if (!strcmp(c->v[i].node, node))
                        return &c->v[i];
        if (c->n == c->cap) {
                size_t cap = c->cap ? 2 * c->cap : 8;
                struct outbound *v = arena_array(c->a, cap, sizeof(*v));

                if (!v)
                        return NULL;
                if (c->n)
                        memcpy(v, c->v, c->n * sizeof(*v));
                c->v = v;
                c->cap = cap;
        }
        c->v[c->n] = (struct outbound){.node = arena_strdup(c->a, node)};
        return c->v[c->n].node ? &c->v[c->n++] : NULL;
}

void permits_add(struct permits_count *c, const struct migration *other)
{
        struct outbound *o;

        if (mig_finished(other->status.phase) || !strcmp(other->meta.uid, c->mine->meta.uid) ||
            !*other->status.source)
                return; /* one without a source has not asked yet */
        add_inbound(c, other);
        if (!permits_held(other) && !waits_before(other, c->mine))
                return;
        o = outbound_of(c, other->status.source);
        if (!o) {
                c->failed = true;
                return;
        }
        if (!permits_held(other)) {
                o->waiting++;
                return;
        }
        o->used++;
        c->used++;
}

struct permits permits_judge(const struct permits_count *c, const struct permit_limits *limits)
{
        struct permits p = {
                .target_free = !c->failed && c->inbound + c->inbound_waiting < limits->per_node,
                .ahead_in = c->inbound_waiting,
        };
        int64_t free = limits->total - c->used, own = limits->per_node;

        for (size_t i = 0; i < c->n; i++) {
                const struct outbound *o = &c->v[i];
                int64_t places = limits->per_node - o->used;

                p.ahead += o->waiting;
                if (places > 0) /* these can go now, and take a place of the cluster's */
                        free -= o->waiting < places ? o->waiting : places;
                if (!strcmp(o->node, c->source))
                        own = places - o->waiting;
        }
        p.granted = !c->failed && free > 0 && own > 0;
        return p;
}
