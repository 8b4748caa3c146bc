#include "core/storage.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static bool lies_local(const struct vm_disk *d, const struct host *h)
{
        const struct host_mount *m = d->kind == DISK_PVC || !h ? NULL : host_mount_of(h, d->pool);

        return m && m->local;
}

const struct vm_disk *storage_local_disk(const struct vm *vm, const struct host *h)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (lies_local(&vm->spec.disks[i], h))
                        return &vm->spec.disks[i];
        return NULL;
}

/* What is copied is the disk's own file: not what it is a difference to. */
static const struct vm_disk *local_overlay(const struct vm *vm, const struct host *h)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];

                if (lies_local(d, h) && d->kind == DISK_IMAGE && !d->full)
                        return d;
        }
        return NULL;
}

bool storage_keeps(const struct vm *vm, const struct host *h, const char *snapshot,
                   char message[STORAGE_MESSAGE_MAX])
{
        const struct vm_disk *local = storage_local_disk(vm, h), *d;

        message[0] = '\0';
        if (!local)
                return false;
        if (vm->spec.migration.storage != STORAGE_COPY) {
                snprintf(message, STORAGE_MESSAGE_MAX,
                         "disk %.50s lies in pool %.50s, which is local to %.50s: with "
                         "spec.migration.storage: Copy it is copied along",
                         local->name, local->pool, h->meta.name);
                return true;
        }
        d = local_overlay(vm, h);
        if (d)
                snprintf(message, STORAGE_MESSAGE_MAX,
                         "disk %.50s, in the local pool %.50s, is an overlay of an image, which is "
                         "not copied along: a disk that is to be is made with clone: Full",
                         d->name, d->pool);
        else if (snapshot)
                snprintf(message, STORAGE_MESSAGE_MAX,
                         "disk %.50s, in the local pool %.50s, has snapshots, such as %.50s, which "
                         "are not copied along: delete them first",
                         local->name, local->pool, snapshot);
        return *message;
}

static int64_t plus(int64_t a, int64_t b)
{
        return a > INT64_MAX - b ? INT64_MAX : a + b;
}

/* Of all local disks in that pool; the size of one that is its image's own is not known here. */
static int64_t bytes_in(const struct vm *vm, const struct host *source, const char *pool)
{
        int64_t sum = 0;

        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];

                if (lies_local(d, source) && !strcmp(d->pool, pool) && d->size > 0)
                        sum = plus(sum, d->size);
        }
        return sum;
}

bool storage_fits(const struct vm *vm, const struct host *source, const struct host *target,
                  char message[STORAGE_MESSAGE_MAX])
{
        message[0] = '\0';
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                const struct host_mount *m = host_mount_of(target, d->pool);

                if (!lies_local(d, source))
                        continue;
                if (!m || !m->local) {
                        snprintf(message, STORAGE_MESSAGE_MAX,
                                 "%.63s: has no local pool %.63s, to which disk %.63s could be "
                                 "copied",
                                 target->meta.name, d->pool, d->name);
                        return false;
                }
                int64_t need = bytes_in(vm, source, d->pool);
                if (need <= m->free_bytes)
                        continue;
                snprintf(message, STORAGE_MESSAGE_MAX,
                         "%.50s: its pool %.50s has %lld MiB free, and the disks that are to be "
                         "copied there may take %lld",
                         target->meta.name, d->pool, (long long)(m->free_bytes >> 20),
                         (long long)(need >> 20));
                return false;
        }
        return true;
}

bool storage_elsewhere(const struct vm *vm, const struct host *h, char message[STORAGE_MESSAGE_MAX])
{
        message[0] = '\0';
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                const char *was = kvs_get(&vm->status.pools, d->pool);

                if (!lies_local(d, h) || !was)
                        continue;
                const struct host_mount *m = host_mount_of(h, d->pool);
                if (!*m->identity || !strcmp(was, m->identity))
                        continue;
                snprintf(message, STORAGE_MESSAGE_MAX,
                         "%.63s: its pool %.63s is another directory than where the VM's disks are",
                         h->meta.name, d->pool);
                return true;
        }
        return false;
}

/* --- what the status says of it */

static int set(struct arena *a, struct kvs *all, const char *key, const char *value)
{
        struct kv *v = arena_array(a, all->n + 1, sizeof(*v)); /* it may still be the object's */
        size_t i = 0;

        if (!v)
                return -ENOMEM;
        if (all->n)
                memcpy(v, all->v, all->n * sizeof(*v));
        while (i < all->n && strcmp(v[i].key, key) != 0)
                i++;
        v[i] = (struct kv){key, value};
        all->v = v;
        all->n += i == all->n;
        return 0;
}

/*
 * The first directory counts, but where the disks have left it. What is found in a pool that ails
 * may be another one; a guest that has just arrived has its disks open, whatever ails since.
 */
static int note_pool(struct arena *a, struct vm *vm, const struct host_mount *m, bool moved)
{
        const char *was = kvs_get(&vm->status.pools, m->pool);

        moved &= m->local;
        if (!*m->identity || (was && (!moved || !strcmp(was, m->identity))) ||
            (!moved && m->health != MOUNT_HEALTHY))
                return 0;
        return set(a, &vm->status.pools, m->pool, m->identity);
}

int storage_note(struct arena *a, struct vm *vm, const char *node, const struct host *h, bool moved)
{
        const char *was = vm->status.storage_node;

        if (moved ? *was || storage_local_disk(vm, h) : !*was && storage_local_disk(vm, h))
                vm->status.storage_node = node;
        for (size_t i = 0; h && i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                const struct host_mount *m = d->kind == DISK_PVC ? NULL : host_mount_of(h, d->pool);

                if (m && note_pool(a, vm, m, moved))
                        return -ENOMEM;
        }
        return 0;
}

bool storage_stale(const struct storage_left *l)
{
        const char *home = l->vm ? kvs_get(&l->vm->status.pools, l->pool) : NULL;

        return home && *home && *l->identity && strcmp(home, l->identity) != 0 &&
               *l->vm->status.storage_node && strcmp(l->vm->status.storage_node, l->node) != 0 &&
               strcmp(l->vm->status.owner.node, l->node) != 0 && !l->moves && !l->domain;
}
