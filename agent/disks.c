#include "agent/disks.h"

#include "agent/child.h"
#include "agent/claims.h"
#include "agent/place.h"
#include "agent/restore.h"
#include "agent/seed.h"
#include "agent/tool.h"
#include "api/codec.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define FILES_MAX ((size_t)1 << 20)

/* Names become parts of paths: nothing that leads out of its folder. */
static bool safe_name(const char *s)
{
        return *s && *s != '.' && strlen(s) <= 253 && !strchr(s, '/');
}

static bool add_pool(const char *pools[AGENT_POOLS_MAX], size_t *n, const char *pool)
{
        for (size_t i = 0; i < *n; i++)
                if (!strcmp(pools[i], pool))
                        return true;
        if (*n == AGENT_POOLS_MAX)
                return false;
        pools[(*n)++] = pool;
        return true;
}

/* The seed lies beside the first disk that is in a pool. */
static const char *seed_pool(const struct vm *vm)
{
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind != DISK_PVC)
                        return vm->spec.disks[i].pool;
        return "default";
}

size_t disks_pools_of_disks(const struct vm *vm, const char *pools[AGENT_POOLS_MAX])
{
        size_t n = 0;

        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind != DISK_PVC)
                        add_pool(pools, &n, vm->spec.disks[i].pool);
        return n;
}

size_t disks_pools(const struct vm *vm, const char *pools[AGENT_POOLS_MAX])
{
        size_t n = disks_pools_of_disks(vm, pools);

        if (seed_wanted(vm))
                add_pool(pools, &n, seed_pool(vm));
        return n;
}

static int check_pools(struct agent *a, const struct vm *vm, struct err *e)
{
        const char *pools[AGENT_POOLS_MAX];
        size_t n = disks_pools(vm, pools);
        char why[320];

        for (size_t i = 0; i < n; i++)
                if (!mounts_usable(a->mounts, pools[i], why))
                        return err_set(e, -EAGAIN, "%s", why);
        return 0;
}

/* A file of a pool: how the tools name it, which work in the pool, and its full path. */
struct pool_file {
        const struct agent_pool *pool;
        const char *name, *path;
};

static int pool_file(const struct agent_pool *pool, struct arena *ar, const char *name,
                     struct pool_file *out, struct err *e)
{
        const char *path = name ? arena_printf(ar, "%s/%s", pool->path, name) : NULL;

        if (!path)
                return err_set(e, -ENOMEM, "out of memory");
        *out = (struct pool_file){pool, name, path};
        return 0;
}

/* Where the image's file is, -EAGAIN with the reason when none is to be made of it now. */
static int image_file(struct agent *a, const struct image *i, struct arena *ar,
                      struct pool_file *out, struct err *e)
{
        const struct agent_pool *pool = agent_pool_of(&a->config, i->pool);
        const char *file = *i->file ? i->file : i->meta.uid;
        char why[320];

        if (!pool || !mounts_usable(a->mounts, i->pool, why))
                return err_set(e, -EAGAIN, "%s", pool ? why : "its pool is not on this node");
        if (pool->local)
                return err_set(e, -EINVAL, "its pool is local to a node");
        if (i->meta.deleting)
                return err_set(e, -EAGAIN, "it is being deleted");
        if (*i->url && strcmp(i->phase, "Ready") != 0)
                return err_set(e, -EAGAIN, "it has not been imported%s%s", *i->message ? ": " : "",
                               i->message);
        if (!safe_name(file))
                return err_set(e, -EINVAL, "\"%s\" is not a file name", file);
        return pool_file(pool, ar, arena_printf(ar, "%s/%s", *i->file ? "images" : IMPORTED, file),
                         out, e);
}

/* The file of the image that the disk is made of. */
static int find_image(struct agent *a, const struct vm *vm, const struct vm_disk *d,
                      struct arena *ar, struct pool_file *out, struct err *e)
{
        autojson struct json *j = NULL;
        struct image *image;
        int rc = kube_get(a->kube, &KUBE_IMAGES, vm->meta.ns, d->image, &j, e);

        if (rc == -ENOENT)
                return err_set(e, -EAGAIN, "there is no VirtualMachineImage %s", d->image);
        if (rc || (rc = image_decode(j, &image, e)))
                return rc;
        rc = image_file(a, image, ar, out, e);
        if (rc)
                err_wrap(e, "image %s", d->image);
        image_free(image);
        return rc;
}

/* 1 when the disk has been made: it needs no image any more. */
static int is_made(struct agent *a, const struct pool_file *f, struct err *e)
{
        const char *const argv[] = {AGENT_SELF, "tool", "have", f->pool->path, f->name, NULL};
        autobuf struct buf out = buf_new(256);
        int rc = child_run(argv, a->config.disk_deadline_s * 1000, &out, e);

        return rc ? rc : !strcmp(buf_str(&out), "there\n");
}

static int make_file(struct agent *a, const struct vm *vm, const struct vm_disk *d,
                     const struct pool_file *f, struct arena *ar, struct err *e)
{
        int64_t deadline_s = d->full ? a->config.copy_deadline_s : a->config.disk_deadline_s;
        struct pool_file image = {0};
        char size[32], max[32];
        int rc = 0;

        snprintf(size, sizeof(size), "%" PRId64, d->size);
        snprintf(max, sizeof(max), "%" PRId64, a->config.image_virtual_max);
        /* before an image is removed nobody looks into the pools of every node */
        if (d->kind == DISK_IMAGE && !d->full && f->pool->local)
                rc = err_set(e, -EINVAL,
                             "pool %s is local to this node: no overlay of an image can be there, "
                             "it must be made with clone: Full",
                             f->pool->name);
        else if (d->kind == DISK_IMAGE)
                rc = find_image(a, vm, d, ar, &image, e);
        else if (d->kind != DISK_BLANK)
                rc = err_set(e, -EINVAL, "its source is none that this agent knows");
        if (rc)
                return rc;
        const char *const blank[] = {AGENT_SELF, "tool", "blank", f->pool->path,
                                     f->name,    size,   NULL};
        if (!image.pool)
                return child_run(blank, deadline_s * 1000, NULL, e);
        const char *const clone[] = {AGENT_SELF, "tool", d->full ? "copy" : "clone", f->pool->path,
                                     f->name,    size,   image.pool->path,           image.name,
                                     max,        NULL};
        return child_run(clone, deadline_s * 1000, NULL, e);
}

/*
 * A local pool holds the VM's disks only where its status says so: elsewhere there may be an old
 * copy of them, or nothing.
 */
static int check_home(struct agent *a, const struct vm *vm, const struct agent_pool *pool,
                      struct err *e)
{
        const char *home = vm->status.storage_node;

        if (!pool->local || !strcmp(home, a->config.node))
                return 0;
        return err_set(e, -EAGAIN, "pool %s is local to this node, and the VM's disks are %s%s",
                       pool->name, *home ? "on " : "not said to be here yet", home);
}

/*
 * A disk that is not in the directory where those of this pool were is not missing: another
 * directory is mounted there, and none is made in its stead.
 */
static int check_directory(struct agent *a, const struct vm *vm, const struct agent_pool *pool,
                           struct err *e)
{
        const char *was = kvs_get(&vm->status.pools, pool->name);
        char is[MOUNT_IDENTITY_MAX];

        mounts_identity(a->mounts, pool->name, is);
        if (!was || !strcmp(was, is))
                return 0;
        if (!*is)
                return err_set(e, -EAGAIN, "pool %s is not healthy", pool->name);
        return err_set(e, -EAGAIN,
                       "it is not in pool %s here, which is another directory (%s) than the one "
                       "where the VM's disks are (%s): none is made in its stead",
                       pool->name, is, was);
}

static int make_disk(struct agent *a, const struct vm *vm, const struct vm_disk *d,
                     struct arena *ar, struct disk_source *out, struct err *e)
{
        const struct agent_pool *pool = agent_pool_of(&a->config, d->pool);

        if (!pool)
                return err_set(e, -EAGAIN, "this node has no pool %s", d->pool);
        if (!safe_name(d->name))
                return err_set(e, -EINVAL, "\"%s\" is not a disk name", d->name);
        struct pool_file f = {0};
        int rc = check_home(a, vm, pool, e);
        if (!rc)
                rc = pool_file(pool, ar,
                               arena_printf(ar, "disks/%s/%s.qcow2", vm->meta.uid, d->name), &f, e);
        if (!rc)
                rc = is_made(a, &f, e);
        if (!rc)
                rc = check_directory(a, vm, pool, e);
        if (!rc)
                rc = make_file(a, vm, d, &f, ar, e);
        if (rc < 0)
                return rc;
        *out = (struct disk_source){.path = f.path};
        return 0;
}

static int make_seed(struct agent *a, const struct vm *vm, struct vm_files *f, struct err *e)
{
        const struct agent_pool *pool = agent_pool_of(&a->config, seed_pool(vm));

        if (!seed_wanted(vm))
                return 0;
        if (!pool)
                return err_set(e, -EAGAIN, "this node has no pool %s", seed_pool(vm));
        struct pool_file iso = {0};
        int rc = pool_file(pool, f->arena,
                           arena_printf(f->arena, "seeds/%s/cidata.iso", vm->meta.uid), &iso, e);
        if (rc)
                return rc;
        f->seed = iso.path;
        return seed_make(vm, pool->path, iso.name, a->config.disk_deadline_s * 1000, e);
}

static int prepare(struct agent *a, const struct vm *vm, struct vm_files *f, struct err *e)
{
        int rc = check_pools(a, vm, e);

        if (rc)
                return rc;
        if (vm->spec.ndisks > DOMXML_DISKS)
                return err_set(e, -EINVAL, "%zu disks are more than %d", vm->spec.ndisks,
                               DOMXML_DISKS);
        if (!safe_name(vm->meta.uid))
                return err_set(e, -EINVAL, "\"%s\" is not a uid", vm->meta.uid);
        rc = claims_attach(a, vm, f->arena, f->disks, e);
        if (rc)
                return rc;
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                if (d->kind == DISK_PVC)
                        continue;
                rc = make_disk(a, vm, d, f->arena, &f->disks[i], e);
                if (rc) {
                        err_wrap(e, "disk %s", d->name);
                        return rc;
                }
        }
        rc = restore_apply(a, vm, e);
        if (rc)
                return rc;
        rc = make_seed(a, vm, f, e);
        if (rc)
                err_wrap(e, "cloud-init volume");
        return rc;
}

int disks_prepare(struct agent *a, const struct vm *vm, struct vm_files *out, struct err *e)
{
        struct vm_files f = {.arena = arena_new(FILES_MAX)};

        if (!f.arena)
                return err_set(e, -ENOMEM, "out of memory");
        int rc = prepare(a, vm, &f, e);
        if (rc)
                disks_free(&f);
        else
                *out = f;
        return rc;
}

void disks_free(struct vm_files *f)
{
        arena_free(f->arena);
        f->arena = NULL;
}

/* Out of the way of the removal. The name of its new folder is that of no VM to come. */
static int retain(struct agent *a, const char *uid, const struct vm_disk *d, struct err *e)
{
        const struct agent_pool *pool = agent_pool_of(&a->config, d->pool);
        char file[4096], folder[4096], why[320];

        if (!pool || !mounts_usable(a->mounts, d->pool, why))
                return err_set(e, -EAGAIN, "disk %s cannot be retained: %s", d->name,
                               pool ? why : "its pool is not on this node");
        if (!safe_name(d->name))
                return err_set(e, -EINVAL, "\"%s\" is not a disk name", d->name);
        snprintf(file, sizeof(file), "disks/%s/%s.qcow2", uid, d->name);
        snprintf(folder, sizeof(folder), "retained/%s", uid);
        const char *const argv[] = {AGENT_SELF, "tool", "retain", pool->path, file, folder, NULL};
        return child_run(argv, a->config.disk_deadline_s * 1000, NULL, e);
}

static int remove_with(struct agent *a, const char *verb, const char *uid,
                       const struct agent_pool *pool, struct err *e)
{
        static const char *const FOLDERS[] = {"disks", "seeds"};
        char path[4096], why[320];
        int rc = 0;

        if (!safe_name(uid))
                return err_set(e, -EINVAL, "\"%s\" is not a uid", uid);
        if (!mounts_usable(a->mounts, pool->name, why))
                return err_set(e, -EAGAIN, "%s", why);
        for (size_t k = 0; k < countof(FOLDERS) && !rc; k++) {
                snprintf(path, sizeof(path), "%s/%s", FOLDERS[k], uid);
                const char *const argv[] = {AGENT_SELF, "tool", verb, pool->path, path, NULL};
                rc = child_run(argv, a->config.disk_deadline_s * 1000, NULL, e);
        }
        return rc;
}

int disks_sweep(struct agent *a, const char *uid, const struct agent_pool *pool, struct err *e)
{
        return remove_with(a, "sweep", uid, pool, e);
}

static int local_pool(struct agent *a, const char *name, const struct agent_pool **out,
                      struct err *e)
{
        char why[320];

        *out = agent_pool_of(&a->config, name);
        if (!*out || !(*out)->local)
                return err_set(e, -EINVAL, "this node has no local pool %s", name);
        return mounts_usable(a->mounts, name, why) ? 0 : err_set(e, -EAGAIN, "%s", why);
}

int disks_make_new(struct agent *a, const char *uid, const char *pool, const char *name,
                   int64_t size, struct err *e)
{
        const struct agent_pool *p;
        char file[4096], bytes[32];
        int rc = local_pool(a, pool, &p, e);

        if (rc)
                return rc;
        if (!safe_name(uid) || !safe_name(name) || size <= 0)
                return err_set(e, -EINVAL, "\"%s\" of \"%s\" with %" PRId64 " bytes is no disk",
                               name, uid, size);
        snprintf(file, sizeof(file), "disks/%s/%s.qcow2", uid, name);
        snprintf(bytes, sizeof(bytes), "%" PRId64, size);
        const char *const argv[] = {AGENT_SELF, "tool", "new", p->path, file, bytes, NULL};
        return child_run(argv, a->config.disk_deadline_s * 1000, NULL, e);
}

int disks_make_seed(struct agent *a, const struct vm *vm, const char *pool, struct err *e)
{
        const struct agent_pool *p;
        char file[4096];
        int rc = local_pool(a, pool, &p, e);

        if (rc)
                return rc;
        if (!safe_name(vm->meta.uid))
                return err_set(e, -EINVAL, "\"%s\" is not a uid", vm->meta.uid);
        snprintf(file, sizeof(file), "seeds/%s/cidata.iso", vm->meta.uid);
        return seed_make(vm, p->path, file, a->config.disk_deadline_s * 1000, e);
}

int disks_erase(struct agent *a, const char *uid, const struct vm *vm, struct err *e)
{
        int rc = 0;

        if (!safe_name(uid))
                return err_set(e, -EINVAL, "\"%s\" is not a uid", uid);
        for (size_t i = 0; vm && i < vm->spec.ndisks && !rc; i++)
                if (vm->spec.disks[i].retain && vm->spec.disks[i].kind != DISK_PVC)
                        rc = retain(a, uid, &vm->spec.disks[i], e);
        for (size_t i = 0; i < a->config.npools && !rc; i++)
                rc = remove_with(a, "remove", uid, &a->config.pools[i], e);
        return rc;
}
