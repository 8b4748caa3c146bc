/* What the files of the store share. */
#ifndef DROVER_KUBE_STORE_IMPL_H
#define DROVER_KUBE_STORE_IMPL_H

#include "kube/store.h"
#include "kube/table.h"

#include <pthread.h>
#include <stdatomic.h>

#define STORE_KEY_MAX 512

/* One version of one object. Immutable but for the count and the links, which the lock guards. */
struct kube_ref {
        struct ktable_node node; /* of store->refs */
        _Atomic unsigned refs;
        unsigned shown; /* the store's `lists` when the API server last showed it */
        void (*free)(void *object);
        void *object;
        uint64_t rv; /* 0: unknown */
        struct bucket *bucket;
        struct kube_ref *prev, *next; /* of the bucket */
        char key[];
};

/* Objects with one index key. */
struct bucket {
        struct ktable_node node;
        struct kube_ref *first;
        size_t n;
        char key[];
};

struct tombstone {
        struct ktable_node node;
        struct tombstone *younger;
        uint64_t rv;
        char key[];
};

struct kube_store {
        struct kube_store_type type;
        struct kube_store_hooks hooks;
        pthread_rwlock_t lock;
        struct ktable refs, buckets, dead;
        unsigned lists; /* begun so far */
        struct tombstone *oldest, *youngest;
};

static inline struct kube_ref *store_ref_of(struct ktable_node *n)
{
        return n ? ktable_entry(n, struct kube_ref, node) : NULL;
}

static inline struct kube_ref *store_hold(struct kube_ref *r)
{
        if (r)
                atomic_fetch_add(&r->refs, 1);
        return r;
}

/* True where both versions are known and a is before b. */
static inline bool store_older(uint64_t a, uint64_t b)
{
        return a && b && a < b;
}

/* store_index.c: the secondary index; under the write lock. */
must_check int store_index(struct kube_store *s, struct kube_ref *r);
void store_unindex(struct kube_store *s, struct kube_ref *r);

/* store_dead.c: what was deleted lately; under the write lock, store_died under any. */
void store_bury(struct kube_store *s, const char *key, uint64_t rv);
/* The version at which key was deleted, 0 when that is not known. */
uint64_t store_died(const struct kube_store *s, const char *key);
void store_forget_dead(struct kube_store *s);

#endif
