#include "agent/restore.h"

#include "agent/child.h"
#include "agent/disks.h"
#include "agent/tool.h"
#include "api/codec.h"
#include "base/log.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define PATH_SIZE 512

struct restoring {
        struct agent *a;
        const struct vm *vm;
        char token[VM_RESTORE_TOKEN], tag[SNAP_TAG_MAX];
};

static void folder_of(const struct vm *vm, char out[PATH_SIZE])
{
        snprintf(out, PATH_SIZE, "disks/%s", vm->meta.uid);
}

/* --- the marks: one in each pool, since any disk may be taken out of the VM one day */

static int is_marked(const struct restoring *r, const char *pool, bool *out, struct err *e)
{
        const struct agent_pool *p = agent_pool_of(&r->a->config, pool);
        autobuf struct buf said = buf_new(256);
        char folder[PATH_SIZE], want[VM_RESTORE_TOKEN + 1];

        folder_of(r->vm, folder);
        snprintf(want, sizeof(want), "%s\n", r->token);
        const char *const argv[] = {AGENT_SELF, "tool", "marked", p->path, folder, NULL};
        int rc = child_run(argv, r->a->config.disk_deadline_s * 1000, &said, e);
        if (!rc)
                *out = !strcmp(buf_str(&said), want);
        return rc;
}

static int mark(const struct restoring *r, const char *pool, struct err *e)
{
        const struct agent_pool *p = agent_pool_of(&r->a->config, pool);
        char folder[PATH_SIZE];

        folder_of(r->vm, folder);
        const char *const argv[] = {AGENT_SELF, "tool", "mark", p->path, folder, r->token, NULL};
        return child_run(argv, r->a->config.disk_deadline_s * 1000, NULL, e);
}

/* The mark is in one of the pools: then in all of them. */
static int see_marks(const struct restoring *r, const char *const *pools, size_t n, bool *done,
                     struct err *e)
{
        bool marked[AGENT_POOLS_MAX] = {false};
        int rc = 0;

        *done = false;
        for (size_t i = 0; i < n && !rc; i++) {
                rc = is_marked(r, pools[i], &marked[i], e);
                *done |= marked[i];
        }
        for (size_t i = 0; i < n && !rc && *done; i++)
                rc = marked[i] ? 0 : mark(r, pools[i], e);
        return rc;
}

/* --- the snapshot */

static int usable(struct restoring *r, const struct snapshot *s, struct err *e)
{
        autoarena struct arena *ar = arena_new(4096);
        const char *why = ar ? snap_unusable(ar, s, r->vm) : "out of memory";

        if (why)
                return err_set(e, -EAGAIN, "%s", why);
        snap_tag(s, s->taken, r->tag);
        return 0;
}

static int find_snapshot(struct restoring *r, struct err *e)
{
        const char *name = r->vm->spec.restore.snapshot;
        autojson struct json *j = NULL;
        struct snapshot *s;
        int rc = kube_get(r->a->kube, &KUBE_SNAPSHOTS, r->vm->meta.ns, name, &j, e);

        if (rc == -ENOENT)
                return err_set(e, -EAGAIN, "there is no VirtualMachineSnapshot %s", name);
        if (!rc)
                rc = snapshot_decode(j, &s, e);
        if (rc)
                return rc;
        rc = usable(r, s, e);
        if (rc)
                err_wrap(e, "the snapshot %s", name);
        snapshot_free(s);
        return rc;
}

/* One that was asked for before is of the disks as they are before. */
static int none_to_be_taken(const struct restoring *r, struct err *e)
{
        autojson struct json *all = NULL;
        char selector[300];

        snprintf(selector, sizeof(selector), "spec.vm=%s", r->vm->meta.name);
        int rc = kube_list(r->a->kube, &KUBE_SNAPSHOTS, r->vm->meta.ns, NULL, selector, &all, e);
        for (const struct json *j = json_first(all); j && !rc; j = json_next(j)) {
                struct snapshot *s;
                rc = snapshot_decode(j, &s, e);
                if (rc)
                        break;
                if (!snap_settled(s) && !s->meta.deleting)
                        rc = err_set(e, -EAGAIN, "the snapshot %s is to be taken before",
                                     s->meta.name);
                snapshot_free(s);
        }
        return rc;
}

/* --- the disks */

static int run(const struct restoring *r, const struct vm_disk *d, const char *verb,
               struct buf *said, struct err *e)
{
        const struct agent_pool *p = agent_pool_of(&r->a->config, d->pool);
        char file[PATH_SIZE];

        snprintf(file, sizeof(file), "disks/%s/%s.qcow2", r->vm->meta.uid, d->name);
        const char *const argv[] = {AGENT_SELF, "tool", verb, p->path, file, r->tag, NULL};
        return child_run(argv, r->a->config.copy_deadline_s * 1000, said, e);
}

/* Before the first of them is touched. */
static int all_have_it(const struct restoring *r, struct err *e)
{
        for (size_t i = 0; i < r->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &r->vm->spec.disks[i];
                autobuf struct buf said = buf_new(256);

                if (d->kind == DISK_PVC)
                        return err_set(e, -EAGAIN,
                                       "disk %s is a PersistentVolumeClaim, and not in the "
                                       "snapshot",
                                       d->name);
                int rc = run(r, d, "snap-has", &said, e);
                if (rc)
                        return err_wrap(e, "disk %s", d->name);
                if (strcmp(buf_str(&said), "there\n") != 0)
                        return err_set(e, -EAGAIN,
                                       "disk %s is not in the snapshot: take the disk out of the "
                                       "VM, or the restore out of its spec",
                                       d->name);
        }
        return 0;
}

static int set_back(const struct restoring *r, struct err *e)
{
        int rc = all_have_it(r, e);

        for (size_t i = 0; i < r->vm->spec.ndisks && !rc; i++) {
                rc = run(r, &r->vm->spec.disks[i], "snap-apply", NULL, e);
                if (rc)
                        err_wrap(e, "disk %s", r->vm->spec.disks[i].name);
        }
        return rc;
}

static int carry_out(struct restoring *r, const char *const *pools, size_t n, struct err *e)
{
        int rc = find_snapshot(r, e);

        if (!rc)
                rc = none_to_be_taken(r, e);
        if (!rc)
                rc = set_back(r, e);
        for (size_t i = 0; i < n && !rc; i++)
                rc = mark(r, pools[i], e);
        if (!rc)
                log_msg(LOG_INFO, "disks set back", "namespace", r->vm->meta.ns, "vm",
                        r->vm->meta.name, "snapshot", r->vm->spec.restore.snapshot, "requestedAt",
                        r->vm->spec.restore.requested_at, NULL);
        return rc;
}

int restore_apply(struct agent *a, const struct vm *vm, struct err *e)
{
        struct restoring r = {.a = a, .vm = vm};
        const char *pools[AGENT_POOLS_MAX];
        size_t n = disks_pools_of_disks(vm, pools);
        bool done;

        if (!vm_restore_pending(vm))
                return 0;
        vm_restore_token(&vm->spec.restore, r.token);
        for (size_t i = 0; i < n; i++)
                if (!agent_pool_of(&a->config, pools[i]))
                        return err_set(e, -EAGAIN, "this node has no pool %s", pools[i]);
        int rc = see_marks(&r, pools, n, &done, e);
        if (!rc && !done)
                rc = carry_out(&r, pools, n, e);
        return rc ? err_wrap(e, "restore") : 0;
}
