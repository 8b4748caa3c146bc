#include "webhook/cache.h"

#include "api/codec.h"
#include "base/log.h"
#include "core/placement.h"
#include "kube/queue.h"
#include "kube/store.h"
#include "webhook/brief.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define WAIT_MS 2000

struct cache {
        struct kube_client *client;
        struct kube_store *vms, *images;
        struct kube_watch *vm_watch, *image_watch;
        pthread_mutex_t lock;
        pthread_cond_t news; /* a VM has come or changed */
};

/* VMs are kept in brief: there may be very many, and a pod of one is admitted now and then. */
static int decode_brief(const struct json *j, void **out, struct err *e)
{
        return brief_new(j, (struct brief **)out, e);
}

static void free_brief(void *object)
{
        brief_free(object);
}

static int decode_image(const struct json *j, void **out, struct err *e)
{
        static char there;

        (void)j;
        (void)e;
        *out = &there;
        return 0;
}

static void keep(void *object)
{
        (void)object;
}

static void vm_changed(void *ctx, const void *before, const void *after)
{
        struct cache *c = ctx;

        (void)before;
        (void)after;
        pthread_mutex_lock(&c->lock);
        pthread_cond_broadcast(&c->news);
        pthread_mutex_unlock(&c->lock);
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "object not understood, its last state stays in use", "key", key, NULL);
}

static void watch_failed(void *ctx, const struct err *e)
{
        (void)ctx;
        log_msg(LOG_WARN, "watch interrupted", "error", e->msg, NULL);
}

static int start_watch(struct cache *c, const struct kube_resource *r, struct kube_store *s,
                       struct kube_watch **w, struct err *e)
{
        struct kube_watch_config cfg = kube_store_feed(r, s);

        cfg.error = watch_failed;
        return kube_watch_start(c->client, &cfg, w, e);
}

int cache_start(struct kube_client *client, struct cache **out, struct err *e)
{
        const struct kube_store_type vm_type = {decode_brief, free_brief, NULL};
        const struct kube_store_type image_type = {decode_image, keep, NULL};
        struct cache *c = calloc(1, sizeof(*c));
        const struct kube_store_hooks hooks = {vm_changed, undecodable, c};
        pthread_condattr_t attr;
        int rc = 0;

        if (!c)
                return err_set(e, -ENOMEM, "out of memory");
        c->client = client;
        pthread_mutex_init(&c->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&c->news, &attr);
        pthread_condattr_destroy(&attr);
        c->vms = kube_store_new(&vm_type, &hooks);
        c->images = kube_store_new(&image_type, NULL);
        if (!c->vms || !c->images)
                rc = err_set(e, -ENOMEM, "out of memory");
        if (!rc)
                rc = start_watch(c, &KUBE_VMS, c->vms, &c->vm_watch, e);
        if (!rc)
                rc = start_watch(c, &KUBE_IMAGES, c->images, &c->image_watch, e);
        if (rc)
                cache_stop(c);
        else
                *out = c;
        return rc;
}

void cache_stop(struct cache *c)
{
        if (!c)
                return;
        kube_watch_stop(c->vm_watch);
        kube_watch_stop(c->image_watch);
        kube_store_free(c->vms);
        kube_store_free(c->images);
        pthread_cond_destroy(&c->news);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

bool cache_synced(const struct cache *c)
{
        return kube_watch_synced(c->vm_watch) && kube_watch_synced(c->image_watch);
}

static bool key_of(char key[KUBE_KEY_MAX], const char *ns, const char *name)
{
        return (size_t)snprintf(key, KUBE_KEY_MAX, "%s/%s", ns, name) < KUBE_KEY_MAX;
}

static struct kube_ref *wait_for(struct cache *c, const char *key)
{
        struct kube_ref *ref = NULL;
        struct timespec until;
        int rc = 0;

        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_sec += WAIT_MS / 1000;
        pthread_mutex_lock(&c->lock);
        while (!(ref = kube_store_get(c->vms, key)) && rc == 0)
                rc = pthread_cond_timedwait(&c->news, &c->lock, &until);
        pthread_mutex_unlock(&c->lock);
        return ref;
}

/* What the watch will show sooner or later is shown to it now: the pod's next review needs it. */
static int ask(struct cache *c, const struct vm_sought *sought, struct vm **out, struct err *e)
{
        struct json *j autojson = NULL;
        int rc = kube_get(c->client, &KUBE_VMS, sought->ns, sought->name, &j, e);

        if (rc)
                return rc;
        kube_store_apply(c->vms, j);
        return vm_decode(j, out, e);
}

static bool is_uid(const struct vm *vm, const struct vm_sought *sought)
{
        return !*sought->uid || !strcmp(vm->meta.uid, sought->uid);
}

static bool is_current(const struct vm *vm, const struct vm_sought *sought)
{
        char hash[17];

        placement_hash(vm, hash);
        return is_uid(vm, sought) && (!*sought->placement || !strcmp(hash, sought->placement));
}

int cache_vm(struct cache *c, const struct vm_sought *sought, struct vm **out, struct err *e)
{
        struct kube_ref *ref autoref = NULL;
        struct vm *vm = NULL;
        char key[KUBE_KEY_MAX];
        int rc;

        if (!key_of(key, sought->ns, sought->name))
                return err_set(e, -ESRCH, "no VirtualMachine has such a name");
        ref = kube_store_get(c->vms, key);
        if (!ref && !sought->at_once)
                ref = wait_for(c, key);
        rc = ref ? brief_decode(kube_ref_object(ref), &vm, e) : 0;
        if (rc)
                return rc;
        if (!vm || !is_current(vm, sought)) {
                vm_free(vm);
                vm = NULL;
                rc = sought->at_once ? err_set(e, -EWOULDBLOCK, "%s is not known yet", key)
                                     : ask(c, sought, &vm, e);
        }
        if (rc)
                return rc;
        if (!is_uid(vm, sought)) {
                vm_free(vm);
                return err_set(e, -ESRCH, "the VirtualMachine %s with uid %s is gone", key,
                               sought->uid);
        }
        *out = vm;
        return 0;
}

int cache_image(struct cache *c, const char *ns, const char *name, bool at_once, struct err *e)
{
        struct kube_ref *ref autoref = NULL;
        char key[KUBE_KEY_MAX];

        if (!key_of(key, ns, name))
                return err_set(e, -ENOENT, "no name of a VirtualMachineImage");
        ref = kube_store_get(c->images, key);
        if (ref)
                return 0;
        if (at_once)
                return err_set(e, -EWOULDBLOCK, "%s is not known yet", key);
        /* the watch may not have shown one that was created a moment ago */
        return kube_get(c->client, &KUBE_IMAGES, ns, name, NULL, e);
}

int cache_snapshot(struct cache *c, const char *ns, const char *name, bool at_once,
                   struct snapshot **out, struct err *e)
{
        struct json *j autojson = NULL;

        if (at_once)
                return err_set(e, -EWOULDBLOCK, "%s is not known", name);
        int rc = kube_get(c->client, &KUBE_SNAPSHOTS, ns, name, &j, e);
        return rc ? rc : snapshot_decode(j, out, e);
}
