#include "migrator/claims.h"

#include "core/permits.h"
#include "kube/table.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct claim {
        struct ktable_node node;
        struct mono until;
        enum mig_phase phase;
        char uid[40], rv[24];
        char source[CLAIMS_NODE_MAX], target[CLAIMS_NODE_MAX];
};

struct claims {
        pthread_mutex_t lock;
        struct ktable by_uid;
};

struct claims *claims_new(void)
{
        struct claims *c = calloc(1, sizeof(*c));

        if (!c)
                return NULL;
        pthread_mutex_init(&c->lock, NULL);
        c->by_uid = ktable_new();
        return c;
}

static struct claim *find(const struct claims *c, const char *uid)
{
        struct ktable_node *n = ktable_find(&c->by_uid, uid);

        return n ? ktable_entry(n, struct claim, node) : NULL;
}

static void forget(struct claims *c, struct claim *x)
{
        ktable_remove(&c->by_uid, &x->node);
        free(x);
}

void claims_free(struct claims *c)
{
        if (!c)
                return;
        for (struct ktable_node *n; (n = ktable_first(&c->by_uid));)
                forget(c, ktable_entry(n, struct claim, node));
        ktable_free(&c->by_uid);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

/* Those of journals that are gone are asked for by nobody. */
static void forget_old(struct claims *c, struct mono now)
{
        for (struct ktable_node *n = ktable_first(&c->by_uid), *next; n; n = next) {
                struct claim *x = ktable_entry(n, struct claim, node);

                next = ktable_after(&c->by_uid, n);
                if (x->until.ns <= now.ns)
                        forget(c, x);
        }
}

static struct claim *get(struct claims *c, const char *uid)
{
        struct claim *x = find(c, uid);

        if (x)
                return x;
        x = calloc(1, sizeof(*x));
        if (!x)
                return NULL;
        snprintf(x->uid, sizeof(x->uid), "%s", uid);
        x->node.key = x->uid;
        if (ktable_add(&c->by_uid, &x->node) == 0)
                return x;
        free(x);
        return NULL;
}

int claims_note(struct claims *c, const struct migration *next, struct mono now, struct err *e)
{
        struct claim *x;

        if (!permits_held(next))
                return 0;
        pthread_mutex_lock(&c->lock);
        forget_old(c, now);
        x = get(c, next->meta.uid);
        if (x) {
                x->until = mono_add_ms(now, CLAIMS_MS);
                x->phase = next->status.phase;
                snprintf(x->rv, sizeof(x->rv), "%s", next->meta.rv);
                snprintf(x->source, sizeof(x->source), "%s", next->status.source);
                snprintf(x->target, sizeof(x->target), "%s", next->status.target);
        }
        pthread_mutex_unlock(&c->lock);
        return x ? 0 : err_set(e, -ENOMEM, "out of memory");
}

const struct migration *claims_see(struct claims *c, const struct migration *m, struct mono now,
                                   struct claimed *out)
{
        struct claim *x;

        pthread_mutex_lock(&c->lock);
        x = find(c, m->meta.uid);
        if (x && (strcmp(x->rv, m->meta.rv) != 0 || x->until.ns <= now.ns)) {
                forget(c, x);
                x = NULL;
        }
        if (x) {
                out->m = *m;
                out->m.status.permit = true;
                out->m.status.queue_position = 0;
                out->m.status.phase = x->phase;
                memcpy(out->source, x->source, sizeof(out->source));
                memcpy(out->target, x->target, sizeof(out->target));
                out->m.status.source = out->source;
                out->m.status.target = out->target;
        }
        pthread_mutex_unlock(&c->lock);
        return x ? &out->m : m;
}
