/* Changes to the store: what is news is decoded and put in place. */
#include "kube/store_impl.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct kube_store *kube_store_new(const struct kube_store_type *type,
                                  const struct kube_store_hooks *hooks)
{
        struct kube_store *s = calloc(1, sizeof(*s));

        if (!s)
                return NULL;
        s->type = *type;
        if (hooks)
                s->hooks = *hooks;
        pthread_rwlock_init(&s->lock, NULL);
        s->refs = ktable_new();
        s->buckets = ktable_new();
        s->dead = ktable_new();
        return s;
}

void kube_store_free(struct kube_store *s)
{
        if (!s)
                return;
        for (struct ktable_node *n; (n = ktable_first(&s->refs));) {
                struct kube_ref *r = store_ref_of(n);

                store_unindex(s, r);
                ktable_remove(&s->refs, n);
                kube_ref_put(r);
        }
        store_forget_dead(s);
        ktable_free(&s->refs);
        ktable_free(&s->buckets);
        ktable_free(&s->dead);
        pthread_rwlock_destroy(&s->lock);
        free(s);
}

static bool key_of(const struct json *object, char key[STORE_KEY_MAX])
{
        const struct json *meta = json_get(object, "metadata");
        const char *ns = json_str(meta, "namespace", ""), *name = json_str(meta, "name", "");
        int n = snprintf(key, STORE_KEY_MAX, "%s%s%s", ns, *ns ? "/" : "", name);

        return *name && n < STORE_KEY_MAX;
}

/* 0 for what is none. */
static uint64_t rv_parse(const char *s)
{
        uint64_t v = 0;

        for (; *s >= '0' && *s <= '9'; s++)
                if (__builtin_mul_overflow(v, 10u, &v) ||
                    __builtin_add_overflow(v, (uint64_t)(*s - '0'), &v))
                        return 0;
        return *s ? 0 : v;
}

static uint64_t rv_of(const struct json *object)
{
        return rv_parse(json_str(json_get(object, "metadata"), "resourceVersion", ""));
}

/* True where a version rv of key is no news: a newer one is held, or it is of before a deletion. */
static bool stale(const struct kube_store *s, const char *key, uint64_t rv)
{
        const struct kube_ref *r = store_ref_of(ktable_find(&s->refs, key));
        uint64_t held = r ? r->rv : store_died(s, key);

        return rv && held && rv <= held;
}

static void undecodable(struct kube_store *s, const char *key, const struct err *e)
{
        if (s->hooks.undecodable)
                s->hooks.undecodable(s->hooks.ctx, key, e);
}

static void changed(struct kube_store *s, struct kube_ref *before, struct kube_ref *after)
{
        if (s->hooks.changed && (before || after))
                s->hooks.changed(s->hooks.ctx, before ? before->object : NULL,
                                 after ? after->object : NULL);
        kube_ref_put(before);
        kube_ref_put(after);
}

/* Takes r out; the caller has its reference. Under the write lock. */
static void take_out(struct kube_store *s, struct kube_ref *r)
{
        store_unindex(s, r);
        ktable_remove(&s->refs, &r->node);
}

/* Puts r (whose reference is taken over) in place of the held version, unless it is no news. */
static int replace(struct kube_store *s, struct kube_ref *r, struct kube_ref **before,
                   struct kube_ref **after)
{
        struct kube_ref *old;
        int rc;

        pthread_rwlock_wrlock(&s->lock);
        if (stale(s, r->key, r->rv)) {
                pthread_rwlock_unlock(&s->lock);
                kube_ref_put(r);
                return 0;
        }
        old = store_ref_of(ktable_find(&s->refs, r->key));
        r->shown = old ? old->shown : 0;
        rc = store_index(s, r);
        if (rc == 0 && old)
                take_out(s, old);
        if (rc == 0)
                rc = ktable_add(&s->refs, &r->node);
        if (rc == 0) {
                *before = old;
                *after = store_hold(r);
        } else {
                store_unindex(s, r);
        }
        pthread_rwlock_unlock(&s->lock);
        if (rc < 0)
                kube_ref_put(r);
        return rc;
}

static int decode(struct kube_store *s, const char *key, const struct json *object,
                  struct kube_ref **out, struct err *e)
{
        size_t size = strlen(key) + 1;
        struct kube_ref *r = malloc(sizeof(*r) + size);
        int rc;

        if (!r)
                return err_sys(e, -ENOMEM, "keep an object");
        *r = (struct kube_ref){.node.key = r->key, .refs = 1, .free = s->type.free};
        memcpy(r->key, key, size);
        r->rv = rv_of(object);
        rc = s->type.decode(object, &r->object, e);
        if (rc < 0) {
                free(r);
                return rc;
        }
        *out = r;
        return 0;
}

void kube_store_apply(struct kube_store *s, const struct json *object)
{
        struct kube_ref *r = NULL, *before = NULL, *after = NULL;
        struct err e = {0};
        char key[STORE_KEY_MAX];
        bool old;

        if (!key_of(object, key)) {
                err_set(&e, -EINVAL, "an object without a name");
                undecodable(s, "", &e);
                return;
        }
        pthread_rwlock_rdlock(&s->lock);
        old = stale(s, key, rv_of(object));
        pthread_rwlock_unlock(&s->lock);
        if (old)
                return;
        if (decode(s, key, object, &r, &e) < 0) {
                undecodable(s, key, &e);
        } else if (replace(s, r, &before, &after) < 0) {
                err_sys(&e, -ENOMEM, "keep an object");
                undecodable(s, key, &e);
        }
        changed(s, before, after);
}

static void delete_key(struct kube_store *s, const char *key, uint64_t rv)
{
        struct kube_ref *r;

        pthread_rwlock_wrlock(&s->lock);
        r = store_ref_of(ktable_find(&s->refs, key));
        if (r && store_older(rv, r->rv)) {
                r = NULL; /* made again since */
        } else {
                store_bury(s, key, rv);
                if (r)
                        take_out(s, r);
        }
        pthread_rwlock_unlock(&s->lock);
        changed(s, r, NULL);
}

static void mark_shown(struct kube_store *s, const char *key)
{
        pthread_rwlock_wrlock(&s->lock);
        struct kube_ref *r = store_ref_of(ktable_find(&s->refs, key));
        if (r)
                r->shown = s->lists;
        pthread_rwlock_unlock(&s->lock);
}

void kube_store_event(void *store, enum kube_event type, const struct json *object)
{
        char key[STORE_KEY_MAX];

        if (type != KUBE_DELETED)
                kube_store_apply(store, object);
        if (!key_of(object, key))
                return;
        if (type == KUBE_DELETED)
                delete_key(store, key, rv_of(object));
        else
                mark_shown(store, key);
}

void kube_store_listing(void *store)
{
        struct kube_store *s = store;

        pthread_rwlock_wrlock(&s->lock);
        s->lists++;
        pthread_rwlock_unlock(&s->lock);
}

void kube_store_listed(void *store, const char *rv)
{
        struct kube_store *s = store;
        struct ktable_node *gone = NULL, *next;
        uint64_t listed = rv_parse(rv);

        pthread_rwlock_wrlock(&s->lock);
        for (struct ktable_node *n = ktable_first(&s->refs); n; n = next) {
                struct kube_ref *r = store_ref_of(n);

                next = ktable_after(&s->refs, n);
                if (r->shown == s->lists || store_older(listed, r->rv))
                        continue;
                store_bury(s, r->key, listed);
                take_out(s, r);
                n->next = gone;
                gone = n;
        }
        pthread_rwlock_unlock(&s->lock);
        for (; gone; gone = next) {
                next = gone->next;
                changed(s, store_ref_of(gone), NULL);
        }
}

struct kube_watch_config kube_store_feed(const struct kube_resource *r, struct kube_store *s)
{
        return (struct kube_watch_config){.resource = r,
                                          .event = kube_store_event,
                                          .listing = kube_store_listing,
                                          .synced = kube_store_listed,
                                          .ctx = s};
}
