/*
 * Cache of decoded objects fed by a watch: key -> immutable, reference-counted object. A newer
 * resourceVersion never gives way to an older one (resourceVersions of one resource compare as
 * integers, KEP-5504), so that a component may apply the answer to its own write at once.
 * Thread safe; readers hold a reference, not a lock.
 */
#ifndef DROVER_KUBE_STORE_H
#define DROVER_KUBE_STORE_H

#include "base/err.h"
#include "kube/client.h"

struct kube_store;

/* Objects are handed out as references. */
struct kube_ref; /* opaque */

struct kube_store_type {
        /* Decodes into an object of the caller's type; called on the I/O thread. */
        int (*decode)(const struct json *object, void **out, struct err *e);
        void (*free)(void *object);
        /* Secondary index: the key's text in buf (false: not indexed). May be NULL. */
        bool (*index)(const void *object, char *buf, size_t size);
};
/*
 * changed (may be NULL) is called after the store has changed, on the thread that changed it,
 * without a lock held: before is NULL for a new object, after is NULL for a deleted one; both are
 * valid during the call. undecodable objects are reported and the older version stays.
 */
struct kube_store_hooks {
        void (*changed)(void *ctx, const void *before, const void *after);
        void (*undecodable)(void *ctx, const char *key, const struct err *e);
        void *ctx;
};
struct kube_store *kube_store_new(const struct kube_store_type *type,
                                  const struct kube_store_hooks *hooks);
void kube_store_free(struct kube_store *s);

/* A watch of r that feeds the store; the caller adds selectors and who is told of errors. */
struct kube_watch_config kube_store_feed(const struct kube_resource *r, struct kube_store *s);
/* What it is made of: the callbacks of a kube_watch_config whose ctx is the store. What a list does
 * not show is gone, unless it is newer than the list. */
void kube_store_event(void *store, enum kube_event type, const struct json *object);
void kube_store_listing(void *store);
void kube_store_listed(void *store, const char *rv);
/* Applies an object that the caller has just read or written (ADDED/MODIFIED semantics). */
void kube_store_apply(struct kube_store *s, const struct json *object);

/* key is "namespace/name", or "name" for cluster-scoped ones. NULL when absent. */
struct kube_ref *kube_store_get(struct kube_store *s, const char *key);
const void *kube_ref_object(const struct kube_ref *r);
struct kube_ref *kube_ref_hold(struct kube_ref *r); /* one more reference, to the same object */
void kube_ref_put(struct kube_ref *r);              /* NULL is fine */
static inline void cleanup_kube_ref(struct kube_ref **r)
{
        kube_ref_put(*r);
}
#define autoref cleanup(cleanup_kube_ref)

/* Arrays of references, sorted by key; freed by kube_refs_put. */
struct kube_refs {
        struct kube_ref **v;
        size_t n;
};
must_check int kube_store_all(struct kube_store *s, struct kube_refs *out);
must_check int kube_store_indexed(struct kube_store *s, const char *index_key,
                                  struct kube_refs *out);
void kube_refs_put(struct kube_refs *r);
#define autorefs cleanup(kube_refs_put)
size_t kube_store_count(struct kube_store *s);

/* Calls visit for each object under a read lock: short, no store calls inside. Stops at false. */
void kube_store_each(struct kube_store *s, bool (*visit)(void *ctx, const void *object), void *ctx);

#endif
