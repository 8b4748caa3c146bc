/*
 * Kubernetes API client over libcurl. One I/O thread per client owns a curl multi handle and with
 * it all connections; requests are handed to it and waited for, watches run on it for ever.
 * Thread safe. Sources: https://kubernetes.io/docs/reference/using-api/api-concepts/ (list, watch,
 * bookmarks, 410), client-go tools/cache/reflector.go (behaviour, not code).
 */
#ifndef DROVER_KUBE_CLIENT_H
#define DROVER_KUBE_CLIENT_H

#include "base/err.h"
#include "base/json.h"
#include "base/mono.h"
#include "kube/config.h"

#include <stdbool.h>

#define KUBE_OBJECT_MAX                                                                            \
        ((size_t)8 << 20) /* one object or one watch event; larger ones are an error */
#define KUBE_LIST_PAGE 500

struct kube_client;

/* cfg is copied. userAgent is the component's name. */
must_check int kube_client_new(const struct kube_config *cfg, const char *user_agent,
                               struct kube_client **out, struct err *e);
/*
 * Ends what is under way: callers that wait get -ECANCELED and are waited for; watches that run are
 * stopped and freed, so their pointers are void afterwards. NULL is fine.
 */
void kube_client_free(struct kube_client *c);

/* A resource: its path below the server and whether it is namespaced. Constant data. */
struct kube_resource {
        const char *group_version; /* "v1", "drover.dev/v1alpha1" */
        const char *plural;
        bool namespaced;
        bool metadata_only; /* of kube_list and kube_list_each: nothing else is sent (the API
                               server's PartialObjectMetadataList) */
};
extern const struct kube_resource KUBE_PODS, KUBE_NODES, KUBE_EVENTS, KUBE_LEASES, KUBE_SECRETS,
        KUBE_MUTATING_WEBHOOKS, KUBE_VALIDATING_WEBHOOKS, KUBE_VMS, KUBE_MIGRATIONS, KUBE_HOSTS,
        KUBE_IMAGES, KUBE_CLAIMS, KUBE_SNAPSHOTS;
extern const struct kube_resource KUBE_NODES_METADATA;

/*
 * Each call returns 0 or a negative errno mapped from the answer with e->http set: 404 -ENOENT when
 * it says that this very object does not exist and -ENXIO when anything else is missing (its kind,
 * its namespace, or all of it on a server that has only half started), 409 -EEXIST for a create
 * (AlreadyExists) and -EAGAIN (conflict: read again) for all else, 403 -EACCES, 401 -EPERM, 422/400
 * -EINVAL, 410 -ESTALE, 413 -E2BIG, 429 and 5xx -EBUSY after bounded retries that honour
 * Retry-After (a create that got a 5xx without Retry-After may have been done and is not retried),
 * -ETIMEDOUT past the deadline (kube_config.request_ms), -ECONNREFUSED etc. when out of reach,
 * -EKEYREJECTED where TLS fails, -EBADMSG for an answer that is not JSON. The Status message of the
 * API server is in e->msg. *out (may be NULL) is owned by the caller. ns is ignored for
 * cluster-scoped resources. subresource may be NULL ("status", "eviction").
 */
must_check int kube_get(struct kube_client *c, const struct kube_resource *r, const char *ns,
                        const char *name, struct json **out, struct err *e);
/* All pages; *out is an array of the items. selectors may be NULL. */
must_check int kube_list(struct kube_client *c, const struct kube_resource *r, const char *ns,
                         const char *label_selector, const char *field_selector, struct json **out,
                         struct err *e);
/*
 * All pages, as they are at least by now (no cache may answer): each object is handed on as it
 * arrives, on the client's I/O thread, and kept nowhere. When pages expire it begins anew, so an
 * object may come twice. A negative result of `each` ends it and is its own.
 */
must_check int kube_list_each(struct kube_client *c, const struct kube_resource *r, const char *ns,
                              const char *label_selector,
                              int (*each)(void *ctx, const struct json *object, struct err *e),
                              void *ctx, struct err *e);
must_check int kube_create(struct kube_client *c, const struct kube_resource *r, const char *ns,
                           const struct json *object, struct json **out, struct err *e);
/* JSON merge patch (RFC 7386). Include metadata.resourceVersion in it for compare-and-swap. */
must_check int kube_patch(struct kube_client *c, const struct kube_resource *r, const char *ns,
                          const char *name, const char *subresource, const struct json *patch,
                          struct json **out, struct err *e);
/*
 * Likewise, for who may write only until then: nothing is sent later, however long this thread or
 * the client's has not run meanwhile, and an answer is waited for no longer (-ETIMEDOUT). .ns 0: as
 * kube_patch.
 */
must_check int kube_patch_until(struct kube_client *c, struct mono until,
                                const struct kube_resource *r, const char *ns, const char *name,
                                const char *subresource, const struct json *patch,
                                struct json **out, struct err *e);
/* application/strategic-merge-patch+json, for conditions of built-in types (Node, Pod). */
must_check int kube_patch_strategic(struct kube_client *c, const struct kube_resource *r,
                                    const char *ns, const char *name, const char *subresource,
                                    const struct json *patch, struct json **out, struct err *e);
/* PUT with the object's own resourceVersion. */
must_check int kube_update(struct kube_client *c, const struct kube_resource *r, const char *ns,
                           const char *name, const struct json *object, struct json **out,
                           struct err *e);
/* A missing object is success. uid (may be NULL) is a precondition. grace_s < 0: the default. */
must_check int kube_delete(struct kube_client *c, const struct kube_resource *r, const char *ns,
                           const char *name, const char *uid, int grace_s, struct err *e);

enum kube_event { KUBE_ADDED, KUBE_MODIFIED, KUBE_DELETED };

/*
 * A reflector: paginated list, then watch with bookmarks; reconnects from the last
 * resourceVersion with jittered backoff, lists again on 410, asks for a new list when an event
 * cannot be parsed. Each event is parsed once, as its line completes. After a relist the objects
 * that vanished are reported KUBE_DELETED (needs the key only: metadata.namespace and .name are
 * set, the rest may be missing). Callbacks come on the client's I/O thread and must not block nor
 * call the client's synchronous functions.
 */
struct kube_watch_config {
        const struct kube_resource *resource;
        const char *ns;             /* NULL: all namespaces */
        const char *label_selector; /* NULL: none */
        const char *field_selector; /* NULL: none */
        void (*event)(void *ctx, enum kube_event type, const struct json *object);
        /* After each complete list, with its resourceVersion; may be NULL. */
        void (*synced)(void *ctx, const char *rv);
        void (*error)(void *ctx,
                      const struct err *e); /* each failure, before the backoff; may be NULL */
        /*
         * Before each list, or NULL. For who keeps the objects by their names, which then are not
         * kept here too: what has not been shown since is gone when `synced` comes, and is not
         * reported; ADDED and MODIFIED are not told apart.
         */
        void (*listing)(void *ctx);
        void *ctx;
};
struct kube_watch;
must_check int kube_watch_start(struct kube_client *c, const struct kube_watch_config *cfg,
                                struct kube_watch **out, struct err *e);
/* Returns when no callback runs any more; not to be called from one. NULL is fine. */
void kube_watch_stop(struct kube_watch *w);
/* True once the first list was delivered whole. */
bool kube_watch_synced(const struct kube_watch *w);
/*
 * Milliseconds since the API server last said anything on this watch (event, bookmark, list, or
 * that it serves the watch). Where nothing changes it sends nothing; a watch that has been silent
 * for 90 s is renewed, so that much more than that means that the server is not there.
 */
int64_t kube_watch_silence_ms(const struct kube_watch *w);

#endif
