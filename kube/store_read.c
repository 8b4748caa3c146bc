/* References and reading. */
#include "kube/store_impl.h"

#include <errno.h>
#include <string.h>

const void *kube_ref_object(const struct kube_ref *r)
{
        return r->object;
}

struct kube_ref *kube_ref_hold(struct kube_ref *r)
{
        return store_hold(r);
}

void kube_ref_put(struct kube_ref *r)
{
        if (!r || atomic_fetch_sub(&r->refs, 1) != 1)
                return;
        r->free(r->object);
        free(r);
}

struct kube_ref *kube_store_get(struct kube_store *s, const char *key)
{
        pthread_rwlock_rdlock(&s->lock);
        struct kube_ref *r = store_hold(store_ref_of(ktable_find(&s->refs, key)));
        pthread_rwlock_unlock(&s->lock);
        return r;
}

size_t kube_store_count(struct kube_store *s)
{
        pthread_rwlock_rdlock(&s->lock);
        size_t n = s->refs.count;
        pthread_rwlock_unlock(&s->lock);
        return n;
}

static int by_key(const void *a, const void *b)
{
        const struct kube_ref *const *x = a, *const *y = b;

        return strcmp((*x)->key, (*y)->key);
}

static void sort(struct kube_refs *refs)
{
        if (refs->n > 1)
                qsort(refs->v, refs->n, sizeof(*refs->v), by_key);
}

/* Room for n references; never NULL for success. */
static struct kube_ref **room(size_t n)
{
        return calloc(n ? n : 1, sizeof(struct kube_ref *));
}

int kube_store_all(struct kube_store *s, struct kube_refs *out)
{
        struct kube_refs refs = {0};

        pthread_rwlock_rdlock(&s->lock);
        refs.v = room(s->refs.count);
        if (refs.v)
                for (struct ktable_node *n = ktable_first(&s->refs); n;
                     n = ktable_after(&s->refs, n))
                        refs.v[refs.n++] = store_hold(store_ref_of(n));
        pthread_rwlock_unlock(&s->lock);
        if (!refs.v)
                return -ENOMEM;
        sort(&refs);
        *out = refs;
        return 0;
}

int kube_store_indexed(struct kube_store *s, const char *index_key, struct kube_refs *out)
{
        struct kube_refs refs = {0};

        pthread_rwlock_rdlock(&s->lock);
        struct ktable_node *node = ktable_find(&s->buckets, index_key);
        struct bucket *b = node ? ktable_entry(node, struct bucket, node) : NULL;
        refs.v = room(b ? b->n : 0);
        if (refs.v && b)
                for (struct kube_ref *r = b->first; r; r = r->next)
                        refs.v[refs.n++] = store_hold(r);
        pthread_rwlock_unlock(&s->lock);
        if (!refs.v)
                return -ENOMEM;
        sort(&refs);
        *out = refs;
        return 0;
}

void kube_refs_put(struct kube_refs *refs)
{
        for (size_t i = 0; i < refs->n; i++)
                kube_ref_put(refs->v[i]);
        free(refs->v);
        *refs = (struct kube_refs){0};
}

void kube_store_each(struct kube_store *s, bool (*visit)(void *ctx, const void *object), void *ctx)
{
        pthread_rwlock_rdlock(&s->lock);
        for (struct ktable_node *n = ktable_first(&s->refs); n; n = ktable_after(&s->refs, n))
                if (!visit(ctx, store_ref_of(n)->object))
                        break;
        pthread_rwlock_unlock(&s->lock);
}
