#include "kube/store_impl.h"

#include <errno.h>
#include <string.h>

static struct bucket *bucket_at(struct kube_store *s, const char *key)
{
        struct ktable_node *n = ktable_find(&s->buckets, key);
        size_t size = strlen(key) + 1;
        struct bucket *b;

        if (n)
                return ktable_entry(n, struct bucket, node);
        b = malloc(sizeof(*b) + size);
        if (!b)
                return NULL;
        *b = (struct bucket){.node.key = b->key};
        memcpy(b->key, key, size);
        if (ktable_add(&s->buckets, &b->node) < 0) {
                free(b);
                return NULL;
        }
        return b;
}

static void bucket_trim(struct kube_store *s, struct bucket *b)
{
        if (!b || b->first)
                return;
        ktable_remove(&s->buckets, &b->node);
        free(b);
}

void store_unindex(struct kube_store *s, struct kube_ref *r)
{
        struct bucket *b = r->bucket;

        if (!b)
                return;
        if (r->prev)
                r->prev->next = r->next;
        else
                b->first = r->next;
        if (r->next)
                r->next->prev = r->prev;
        r->bucket = NULL;
        b->n--;
        bucket_trim(s, b);
}

int store_index(struct kube_store *s, struct kube_ref *r)
{
        char key[STORE_KEY_MAX];
        struct bucket *b;

        if (!s->type.index || !s->type.index(r->object, key, sizeof(key)))
                return 0;
        b = bucket_at(s, key);
        if (!b)
                return -ENOMEM;
        r->bucket = b;
        r->prev = NULL;
        r->next = b->first;
        if (b->first)
                b->first->prev = r;
        b->first = r;
        b->n++;
        return 0;
}
