#include "kube/store_impl.h"

#include <string.h>

#define TOMBSTONES 1024 /* an answer older than so many deletions would have to be very late */

static struct tombstone *tomb_of(struct ktable_node *n)
{
        return n ? ktable_entry(n, struct tombstone, node) : NULL;
}

static void forget_oldest(struct kube_store *s)
{
        struct tombstone *t = s->oldest;

        s->oldest = t->younger;
        if (!s->oldest)
                s->youngest = NULL;
        ktable_remove(&s->dead, &t->node);
        free(t);
}

/* Without memory the deletion is not remembered, nothing worse. */
void store_bury(struct kube_store *s, const char *key, uint64_t rv)
{
        struct tombstone *t = tomb_of(ktable_find(&s->dead, key));
        size_t size = strlen(key) + 1;

        if (t) {
                if (store_older(t->rv, rv))
                        t->rv = rv;
                return;
        }
        if (!rv || !(t = malloc(sizeof(*t) + size)))
                return;
        *t = (struct tombstone){.node.key = t->key, .rv = rv};
        memcpy(t->key, key, size);
        if (ktable_add(&s->dead, &t->node) < 0) {
                free(t);
                return;
        }
        *(s->youngest ? &s->youngest->younger : &s->oldest) = t;
        s->youngest = t;
        if (s->dead.count > TOMBSTONES)
                forget_oldest(s);
}

uint64_t store_died(const struct kube_store *s, const char *key)
{
        const struct tombstone *t = tomb_of(ktable_find(&s->dead, key));

        return t ? t->rv : 0;
}

void store_forget_dead(struct kube_store *s)
{
        while (s->oldest)
                forget_oldest(s);
}
