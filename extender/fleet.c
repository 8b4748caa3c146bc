#include "api/codec.h"
#include "extender/entries.h"
#include "kube/queue.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct fleet *fleet_new(const struct fleet_config *cfg)
{
        struct fleet *f = calloc(1, sizeof(*f));
        pthread_rwlockattr_t attr;

        if (!f)
                return NULL;
        f->cfg = *cfg;
        f->hosts = ktable_new();
        f->vms = ktable_new();
        f->pods = ktable_new();
        f->share = share_new();
        /* Questions never end; an event must get its turn among them. */
        pthread_rwlockattr_init(&attr);
        pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
        pthread_rwlock_init(&f->lock, &attr);
        pthread_rwlockattr_destroy(&attr);
        return f;
}

void fleet_free(struct fleet *f)
{
        struct ktable_node *n, *next;

        if (!f)
                return;
        for (n = ktable_first(&f->pods); n; n = next) {
                next = ktable_after(&f->pods, n);
                free(ktable_entry(n, struct pod_entry, node));
        }
        for (n = ktable_first(&f->vms); n; n = next) {
                struct vm_entry *vm = ktable_entry(n, struct vm_entry, node);

                next = ktable_after(&f->vms, n);
                if (vm->known)
                        vm_facts_drop(&f->share, &vm->facts);
                free(vm);
        }
        for (n = ktable_first(&f->hosts); n; n = next) {
                struct host_entry *h = ktable_entry(n, struct host_entry, node);

                next = ktable_after(&f->hosts, n);
                host_facts_free(&f->share, h->facts);
                free(h);
        }
        ktable_free(&f->pods);
        ktable_free(&f->vms);
        ktable_free(&f->hosts);
        share_free(&f->share);
        pthread_rwlock_destroy(&f->lock);
        free(f);
}

static int no_memory(struct err *e)
{
        return err_sys(e, -ENOMEM, "keep an object");
}

/* "namespace/name" or "name"; all that a DELETED event is sure to have. */
static int event_key(const struct json *object, char key[KUBE_KEY_MAX], struct err *e)
{
        const struct json *meta = json_get(object, "metadata");
        const char *ns = json_str(meta, "namespace", ""), *name = json_str(meta, "name", "");
        int n = snprintf(key, KUBE_KEY_MAX, "%s%s%s", ns, *ns ? "/" : "", name);

        if (!*name || n < 0 || n >= KUBE_KEY_MAX)
                return err_set(e, -EINVAL, "an object without a proper metadata.name");
        return 0;
}

/* --- entries: made when first referred to, dropped when nothing refers to them any more */

static struct host_entry *host_get(struct fleet *f, const char *name)
{
        struct host_entry *h = host_find(f, name);
        size_t size = strlen(name) + 1;

        if (h)
                return h;
        h = calloc(1, sizeof(*h) + size);
        if (!h)
                return NULL;
        h->node.key = memcpy(h->name, name, size);
        if (ktable_add(&f->hosts, &h->node) == 0)
                return h;
        free(h);
        return NULL;
}

static void host_drop_unused(struct fleet *f, struct host_entry *h)
{
        if (!h || h->facts || h->pods || h->heard)
                return;
        ktable_remove(&f->hosts, &h->node);
        free(h);
}

static struct vm_entry *vm_get(struct fleet *f, const char *key)
{
        struct vm_entry *vm = vm_find(f, key);
        size_t size = strlen(key) + 1;

        if (vm)
                return vm;
        vm = calloc(1, sizeof(*vm) + size);
        if (!vm)
                return NULL;
        vm->node.key = memcpy(vm->key, key, size);
        if (ktable_add(&f->vms, &vm->node) == 0)
                return vm;
        free(vm);
        return NULL;
}

static void vm_drop_unused(struct fleet *f, struct vm_entry *vm)
{
        if (!vm || vm->known || vm->pods)
                return;
        ktable_remove(&f->vms, &vm->node);
        free(vm);
}

/* An earlier pod at the same host stands for the same VM: its room is counted already. */
static bool counted(const struct pod_entry *p)
{
        for (const struct pod_entry *q = p->host->pods; q != p; q = q->next_at_host)
                if (q->vm == p->vm)
                        return true;
        return false;
}

static void host_sum(struct host_entry *h)
{
        h->promised = (struct capacity_load){0};
        for (const struct pod_entry *p = h->pods; p; p = p->next_at_host) {
                if (host_holds(h, pod_vm_uid(p)) || counted(p))
                        continue;
                if (p->vm->known) {
                        struct capacity_demand d = vm_facts_demand(&p->vm->facts);

                        capacity_load_add(&h->promised, &d);
                } else {
                        h->promised.guests++;
                }
        }
}

/* --- hosts */

static int host_replace(struct fleet *f, const char *name, const struct host *host, struct err *e)
{
        struct host_entry *h = host_get(f, name);
        struct host_facts *facts = h ? host_facts_new(&f->share, host) : NULL;

        if (!facts) {
                host_drop_unused(f, h);
                return no_memory(e);
        }
        f->nhosts += !h->facts;
        host_facts_free(&f->share, h->facts);
        h->facts = facts;
        host_sum(h);
        return 0;
}

static void host_forget(struct fleet *f, const char *name)
{
        struct host_entry *h = host_find(f, name);

        if (!h || !h->facts)
                return;
        f->nhosts--;
        host_facts_free(&f->share, h->facts);
        h->facts = NULL;
        host_sum(h);
        host_drop_unused(f, h);
}

int fleet_host_event(struct fleet *f, enum kube_event type, const struct json *object,
                     struct err *e)
{
        char name[KUBE_KEY_MAX];
        struct host *host = NULL;
        int rc = event_key(object, name, e);

        if (rc < 0)
                return rc;
        if (type != KUBE_DELETED)
                rc = host_decode(object, &host, e);
        pthread_rwlock_wrlock(&f->lock);
        if (host)
                rc = host_replace(f, name, host, e);
        else if (type == KUBE_DELETED)
                host_forget(f, name);
        struct host_entry *h = host_find(f, name);
        if (h)
                h->shown = f->lists[FLEET_HOSTS];
        pthread_rwlock_unlock(&f->lock);
        host_free(host);
        return rc;
}

/* --- VMs */

static void vm_sum(struct vm_entry *vm)
{
        for (struct pod_entry *p = vm->pods; p; p = p->next_of_vm)
                if (p->host)
                        host_sum(p->host);
}

static int vm_replace(struct fleet *f, const char *key, const struct vm *vm, struct err *e)
{
        struct vm_entry *entry = vm_get(f, key);
        struct vm_facts facts;

        if (!entry || !vm_facts_take(&f->share, vm, &facts)) {
                vm_drop_unused(f, entry);
                return no_memory(e);
        }
        if (entry->known)
                vm_facts_drop(&f->share, &entry->facts);
        else
                f->nvms++;
        entry->known = true;
        entry->facts = facts;
        vm_sum(entry);
        return 0;
}

static void vm_forget(struct fleet *f, const char *key)
{
        struct vm_entry *vm = vm_find(f, key);

        if (!vm || !vm->known)
                return;
        f->nvms--;
        vm_facts_drop(&f->share, &vm->facts);
        vm->known = false;
        vm_sum(vm);
        vm_drop_unused(f, vm);
}

int fleet_vm_event(struct fleet *f, enum kube_event type, const struct json *object, struct err *e)
{
        char key[KUBE_KEY_MAX];
        struct vm *vm = NULL;
        int rc = event_key(object, key, e);

        if (rc < 0)
                return rc;
        if (type != KUBE_DELETED)
                rc = vm_decode(object, &vm, e);
        pthread_rwlock_wrlock(&f->lock);
        if (vm)
                rc = vm_replace(f, key, vm, e);
        else if (type == KUBE_DELETED)
                vm_forget(f, key);
        struct vm_entry *entry = vm_find(f, key);
        if (entry)
                entry->shown = f->lists[FLEET_VMS];
        pthread_rwlock_unlock(&f->lock);
        vm_free(vm);
        return rc;
}

/* --- handle pods */

static void pod_link(struct fleet *f, struct pod_entry *p)
{
        struct pod_entry **list = p->host ? &p->host->pods : &f->unbound;

        p->next_of_vm = p->vm->pods;
        p->vm->pods = p;
        p->next_at_host = *list;
        p->link_at_host = list;
        if (*list)
                (*list)->link_at_host = &p->next_at_host;
        *list = p;
}

static void pod_unlink(struct pod_entry *p)
{
        struct pod_entry **at = &p->vm->pods;

        while (*at != p)
                at = &(*at)->next_of_vm;
        *at = p->next_of_vm;
        *p->link_at_host = p->next_at_host;
        if (p->next_at_host)
                p->next_at_host->link_at_host = p->link_at_host;
}

static struct pod_entry *pod_find(const struct fleet *f, const char *key)
{
        struct ktable_node *n = ktable_find(&f->pods, key);

        return n ? ktable_entry(n, struct pod_entry, node) : NULL;
}

static void pod_forget(struct fleet *f, const char *key)
{
        struct pod_entry *p = pod_find(f, key);

        if (!p)
                return;
        ktable_remove(&f->pods, &p->node);
        pod_unlink(p);
        if (p->host)
                host_sum(p->host);
        host_drop_unused(f, p->host);
        vm_drop_unused(f, p->vm);
        free(p);
}

/* In place of what stands under the key. */
static int pod_replace(struct fleet *f, const char *key, const struct pod *pod, struct err *e)
{
        size_t size = strlen(key) + 1;
        struct pod_entry *p = calloc(1, sizeof(*p) + size);
        char vm_key[KUBE_KEY_MAX];

        if (!p)
                return no_memory(e);
        snprintf(vm_key, sizeof(vm_key), "%s/%s", pod->meta.ns, pod->vm);
        p->node.key = memcpy(p->key, key, size);
        p->vm_uid = uid_of(pod->vm_uid);
        p->uid = uid_of(pod->meta.uid);
        p->vm = vm_get(f, vm_key);
        p->host = *pod->node ? host_get(f, pod->node) : NULL;
        if (!p->vm || (*pod->node && !p->host))
                goto fail;
        pod_link(f, p); /* first, so that the two entries outlive the pod that is replaced */
        pod_forget(f, key);
        if (ktable_add(&f->pods, &p->node) == 0) {
                if (p->host)
                        host_sum(p->host);
                return 0;
        }
        pod_unlink(p);
fail:
        vm_drop_unused(f, p->vm);
        host_drop_unused(f, p->host);
        free(p);
        return no_memory(e);
}

/* Most events of a pod change nothing that matters here. */
static bool pod_same(const struct pod_entry *p, const struct pod *pod)
{
        const char *vm = strchr(p->vm->key, '/');

        return strcmp(p->host ? p->host->name : "", pod->node) == 0 &&
               uid_same(p->vm_uid, uid_of(pod->vm_uid)) &&
               uid_same(p->uid, uid_of(pod->meta.uid)) && vm && strcmp(vm + 1, pod->vm) == 0;
}

int fleet_pod_event(struct fleet *f, enum kube_event type, const struct json *object, struct err *e)
{
        char key[KUBE_KEY_MAX];
        struct pod *pod = NULL;
        int rc = event_key(object, key, e);

        if (rc < 0)
                return rc;
        if (type != KUBE_DELETED)
                rc = pod_decode(object, &pod, e);
        bool counts = pod && pod_alive(pod) && *pod->vm;
        pthread_rwlock_wrlock(&f->lock);
        struct pod_entry *p = pod_find(f, key);
        if (rc == 0 && !counts)
                pod_forget(f, key);
        else if (rc == 0 && (!p || !pod_same(p, pod)))
                rc = pod_replace(f, key, pod, e);
        p = pod_find(f, key);
        if (p)
                p->shown = f->lists[FLEET_PODS];
        pthread_rwlock_unlock(&f->lock);
        pod_free(pod);
        return rc;
}

/* --- heartbeats */

static int renewed_at(const struct json *lease, int64_t *us, struct err *e)
{
        const char *text = json_str(json_get(lease, "spec"), "renewTime", "");

        if (rfc3339_parse(text, us) < 0)
                return err_set(e, -EINVAL, "spec.renewTime \"%s\" is not a time", text);
        return 0;
}

static int heartbeat(struct fleet *f, const char *node, int64_t renewed_us, struct mono now,
                     int64_t wall_us_now, struct err *e)
{
        struct host_entry *h = host_get(f, node);
        int64_t age_ms = (wall_us_now - renewed_us) / 1000;

        if (!h)
                return no_memory(e);
        if (!h->heard)
                h->heard_at = mono_add_ms(now, age_ms > 0 ? -age_ms : 0);
        else if (h->renewed_us != renewed_us)
                h->heard_at = now;
        h->heard = true;
        h->renewed_us = renewed_us;
        return 0;
}

static void heartbeat_forget(struct fleet *f, struct host_entry *h)
{
        if (!h)
                return;
        h->heard = false;
        host_drop_unused(f, h);
}

int fleet_lease_event(struct fleet *f, enum kube_event type, const struct json *object,
                      struct mono now, int64_t wall_us_now, struct err *e)
{
        const size_t skip = sizeof(FLEET_LEASE_PREFIX) - 1;
        const char *name = json_str(json_get(object, "metadata"), "name", "");
        int64_t renewed_us = 0;
        int rc = 0;

        if (strncmp(name, FLEET_LEASE_PREFIX, skip) != 0)
                return 0;
        if (type != KUBE_DELETED)
                rc = renewed_at(object, &renewed_us, e);
        pthread_rwlock_wrlock(&f->lock);
        if (type == KUBE_DELETED)
                heartbeat_forget(f, host_find(f, name + skip));
        else if (rc == 0)
                rc = heartbeat(f, name + skip, renewed_us, now, wall_us_now, e);
        struct host_entry *h = host_find(f, name + skip);
        if (h)
                h->lease_shown = f->lists[FLEET_LEASES];
        pthread_rwlock_unlock(&f->lock);
        return rc;
}

/* --- lists: what they do not show is gone */

void fleet_listing(struct fleet *f, enum fleet_kind kind)
{
        pthread_rwlock_wrlock(&f->lock);
        f->lists[kind]++;
        pthread_rwlock_unlock(&f->lock);
}

static void hosts_listed(struct fleet *f, bool leases)
{
        struct ktable_node *next;

        for (struct ktable_node *n = ktable_first(&f->hosts); n; n = next) {
                struct host_entry *h = ktable_entry(n, struct host_entry, node);

                next = ktable_after(&f->hosts, n);
                if (leases && h->lease_shown != f->lists[FLEET_LEASES])
                        heartbeat_forget(f, h);
                else if (!leases && h->shown != f->lists[FLEET_HOSTS])
                        host_forget(f, h->name);
        }
}

static void vms_listed(struct fleet *f)
{
        struct ktable_node *next;

        for (struct ktable_node *n = ktable_first(&f->vms); n; n = next) {
                struct vm_entry *vm = ktable_entry(n, struct vm_entry, node);

                next = ktable_after(&f->vms, n);
                if (vm->shown != f->lists[FLEET_VMS])
                        vm_forget(f, vm->key);
        }
}

static void pods_listed(struct fleet *f)
{
        struct ktable_node *next;

        for (struct ktable_node *n = ktable_first(&f->pods); n; n = next) {
                struct pod_entry *p = ktable_entry(n, struct pod_entry, node);

                next = ktable_after(&f->pods, n);
                if (p->shown != f->lists[FLEET_PODS])
                        pod_forget(f, p->key);
        }
}

void fleet_listed(struct fleet *f, enum fleet_kind kind)
{
        pthread_rwlock_wrlock(&f->lock);
        if (kind == FLEET_VMS)
                vms_listed(f);
        else if (kind == FLEET_PODS)
                pods_listed(f);
        else
                hosts_listed(f, kind == FLEET_LEASES);
        pthread_rwlock_unlock(&f->lock);
}
