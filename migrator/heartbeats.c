#include "base/mono.h"
#include "kube/table.h"
#include "migrator/world.h"

#include <string.h>

#define LEASE_PREFIX "drover-node-"
/*
 * A watch that shows nothing for longer has been stuck or away: the Lease of the migrator's own
 * election is among what it shows, and changes every two seconds while anybody leads.
 */
#define GAP_MS 5000

struct beat {
        struct ktable_node node;
        struct mono changed; /* .ns 0: its Lease is gone */
        char renewed[RFC3339_MAX];
        enum liveness checked; /* as of the last check */
        char name[];
};

struct heartbeats {
        pthread_mutex_t lock;
        struct ktable beats;
        struct mono heard; /* the last event of the watch; .ns 0: there was none */
        struct mono since; /* from here on without a gap */
};

struct heartbeats *heartbeats_new(void)
{
        struct heartbeats *h = calloc(1, sizeof(*h));

        if (h) {
                pthread_mutex_init(&h->lock, NULL);
                h->beats = ktable_new();
        }
        return h;
}

void heartbeats_free(struct heartbeats *h)
{
        struct ktable_node *n;

        if (!h)
                return;
        while ((n = ktable_first(&h->beats))) {
                ktable_remove(&h->beats, n);
                free(ktable_entry(n, struct beat, node));
        }
        ktable_free(&h->beats);
        pthread_mutex_destroy(&h->lock);
        free(h);
}

static struct beat *find(struct heartbeats *h, const char *node)
{
        struct ktable_node *n = ktable_find(&h->beats, node);

        return n ? ktable_entry(n, struct beat, node) : NULL;
}

static bool recent(struct mono at, struct mono now)
{
        return at.ns && mono_ms_between(at, now) < REC_SILENT_MS;
}

/* Who has not been listened to for so long cannot have been silent for so long. */
static bool deaf(const struct heartbeats *h, struct mono now)
{
        return !h->heard.ns || mono_ms_between(h->heard, now) > GAP_MS || recent(h->since, now);
}

static enum liveness judge(const struct heartbeats *h, const struct beat *b, struct mono now)
{
        if (b && recent(b->changed, now))
                return LIVE_FRESH;
        return deaf(h, now) ? LIVE_UNHEARD : LIVE_SILENT;
}

/*
 * The first sight of a Lease is dated by its own time, so that after our start a node that fell
 * silent long ago is not taken for fresh; after that only our clock counts.
 */
static struct beat *first_sight(const char *node, const char *renewed, struct mono now)
{
        size_t size = strlen(node) + 1;
        struct beat *b = calloc(1, sizeof(*b) + size);
        int64_t us, age_ms = 0;

        if (!b)
                return NULL;
        b->node.key = memcpy(b->name, node, size);
        if (rfc3339_parse(renewed, &us) == 0 && wall_us() > us)
                age_ms = (wall_us() - us) / 1000;
        b->changed = mono_add_ms(now, -age_ms);
        return b;
}

static void beat(struct heartbeats *h, const char *node, const char *renewed, struct mono now)
{
        struct beat *b = find(h, node);

        if (!b) {
                b = first_sight(node, renewed, now);
                if (!b || ktable_add(&h->beats, &b->node) < 0) {
                        free(b); /* unknown is silent: the safe side */
                        return;
                }
        } else if (strcmp(b->renewed, renewed) != 0) {
                b->changed = now;
        }
        strncpy(b->renewed, renewed, sizeof(b->renewed) - 1);
}

static void listen(struct heartbeats *h, struct mono now)
{
        if (!h->heard.ns || mono_ms_between(h->heard, now) > GAP_MS)
                h->since = now;
        h->heard = now;
}

void heartbeats_take(struct heartbeats *h, enum kube_event type, const struct json *lease,
                     struct mono now)
{
        const char *name = json_str(json_get(lease, "metadata"), "name", "");
        bool of_node = !strncmp(name, LEASE_PREFIX, strlen(LEASE_PREFIX));
        struct beat *b;

        name += of_node ? strlen(LEASE_PREFIX) : 0;
        pthread_mutex_lock(&h->lock);
        listen(h, now);
        if (of_node && type != KUBE_DELETED)
                beat(h, name, json_str(json_get(lease, "spec"), "renewTime", ""), now);
        else if (of_node && (b = find(h, name)))
                b->changed = (struct mono){0};
        pthread_mutex_unlock(&h->lock);
}

void heartbeats_event(void *heartbeats, enum kube_event type, const struct json *lease)
{
        heartbeats_take(heartbeats, type, lease, mono_now());
}

enum liveness heartbeats_of(struct heartbeats *h, const char *node, struct mono now)
{
        enum liveness l;

        pthread_mutex_lock(&h->lock);
        l = judge(h, find(h, node), now);
        pthread_mutex_unlock(&h->lock);
        return l;
}

void heartbeats_check(struct heartbeats *h, struct mono now,
                      void (*changed)(void *ctx, const char *node), void *ctx)
{
        pthread_mutex_lock(&h->lock);
        for (struct ktable_node *n = ktable_first(&h->beats); n; n = ktable_after(&h->beats, n)) {
                struct beat *b = ktable_entry(n, struct beat, node);
                enum liveness l = judge(h, b, now);

                if (l != b->checked) {
                        b->checked = l;
                        changed(ctx, b->name);
                }
        }
        pthread_mutex_unlock(&h->lock);
}
