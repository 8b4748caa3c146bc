#include "base/mono.h"
#include "kube/table.h"
#include "migrator/world.h"

#include <string.h>

#define LEASE_PREFIX "drover-node-"

struct beat {
        struct ktable_node node;
        struct mono changed;
        char renewed[RFC3339_MAX];
        bool alive; /* as of the last check */
        char name[];
};

struct heartbeats {
        pthread_mutex_t lock;
        struct ktable beats;
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

static bool fresh(const struct beat *b)
{
        return mono_ms_between(b->changed, mono_now()) < REC_SILENT_MS;
}

/*
 * The first sight of a Lease is dated by its own time, so that after our start a node that fell
 * silent long ago is not taken for alive; after that only our clock counts.
 */
static struct beat *first_sight(const char *node, const char *renewed)
{
        size_t size = strlen(node) + 1;
        struct beat *b = calloc(1, sizeof(*b) + size);
        int64_t us, age_ms = 0;

        if (!b)
                return NULL;
        b->node.key = memcpy(b->name, node, size);
        if (rfc3339_parse(renewed, &us) == 0 && wall_us() > us)
                age_ms = (wall_us() - us) / 1000;
        b->changed = mono_add_ms(mono_now(), -age_ms);
        return b;
}

static void beat(struct heartbeats *h, const char *node, const char *renewed)
{
        struct beat *b = find(h, node);

        if (!b) {
                b = first_sight(node, renewed);
                if (!b || ktable_add(&h->beats, &b->node) < 0) {
                        free(b); /* unknown is silent: the safe side */
                        return;
                }
        } else if (strcmp(b->renewed, renewed) != 0) {
                b->changed = mono_now();
        }
        strncpy(b->renewed, renewed, sizeof(b->renewed) - 1);
}

void heartbeats_event(void *heartbeats, enum kube_event type, const struct json *lease)
{
        struct heartbeats *h = heartbeats;
        const char *name = json_str(json_get(lease, "metadata"), "name", "");
        struct beat *b;

        if (strncmp(name, LEASE_PREFIX, strlen(LEASE_PREFIX)) != 0)
                return;
        name += strlen(LEASE_PREFIX);
        pthread_mutex_lock(&h->lock);
        if (type != KUBE_DELETED) {
                beat(h, name, json_str(json_get(lease, "spec"), "renewTime", ""));
        } else if ((b = find(h, name))) {
                b->changed = (struct mono){0};
        }
        pthread_mutex_unlock(&h->lock);
}

bool heartbeats_alive(struct heartbeats *h, const char *node)
{
        struct beat *b;
        bool alive;

        pthread_mutex_lock(&h->lock);
        b = find(h, node);
        alive = b && fresh(b);
        pthread_mutex_unlock(&h->lock);
        return alive;
}

void heartbeats_check(struct heartbeats *h, void (*changed)(void *ctx, const char *node), void *ctx)
{
        pthread_mutex_lock(&h->lock);
        for (struct ktable_node *n = ktable_first(&h->beats); n; n = ktable_after(&h->beats, n)) {
                struct beat *b = ktable_entry(n, struct beat, node);
                bool alive = fresh(b);

                if (alive != b->alive) {
                        b->alive = alive;
                        changed(ctx, b->name);
                }
        }
        pthread_mutex_unlock(&h->lock);
}
