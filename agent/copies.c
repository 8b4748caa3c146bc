#include "agent/copies.h"

#include "agent/child.h"
#include "agent/disks.h"
#include "agent/domain.h"
#include "agent/fresh.h"
#include "agent/publish.h"
#include "agent/tool.h"
#include "base/log.h"
#include "core/storage.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COPIES_MAX   32 /* moves toward one node at a time; permits keep them far below that */
#define UID_SIZE     64
#define WHY_SIZE     ERR_MSG_MAX
#define NOT_YET_MS   500
#define LEFT_SOON_MS 2000
#define LEFT_MS      30000 /* until what could not be removed is looked at again */
#define FOLDERS_MAX  ((size_t)4 << 20)

struct copies {
        /* Held while files of moves are made or removed: neither is done on facts of before the
         * other. */
        pthread_mutex_t files;
        pthread_mutex_t lock; /* what follows */
        struct {
                char uid[UID_SIZE], why[WHY_SIZE];
        } v[COPIES_MAX];
        size_t n;
};

struct copies *copies_new(void)
{
        struct copies *c = calloc(1, sizeof(*c));

        if (c) {
                pthread_mutex_init(&c->files, NULL);
                pthread_mutex_init(&c->lock, NULL);
        }
        return c;
}

void copies_free(struct copies *c)
{
        if (!c)
                return;
        pthread_mutex_destroy(&c->files);
        pthread_mutex_destroy(&c->lock);
        free(c);
}

/* --- what is said of them */

/* Lock held. */
static size_t find(const struct copies *c, const char *uid)
{
        size_t i = 0;

        while (i < c->n && strcmp(c->v[i].uid, uid) != 0)
                i++;
        return i;
}

static bool said(struct copies *c, const char *uid)
{
        pthread_mutex_lock(&c->lock);
        bool yes = find(c, uid) < c->n;
        pthread_mutex_unlock(&c->lock);
        return yes;
}

static void say(struct agent *a, const char *uid, const char *why)
{
        struct copies *c = a->copies;

        pthread_mutex_lock(&c->lock);
        size_t i = find(c, uid);
        if (i < COPIES_MAX) {
                snprintf(c->v[i].uid, UID_SIZE, "%s", uid);
                snprintf(c->v[i].why, WHY_SIZE, "%s", why);
                c->n += i == c->n;
        }
        pthread_mutex_unlock(&c->lock);
        publish_soon(a->publisher);
}

static void forget(struct agent *a, const char *uid)
{
        struct copies *c = a->copies;

        pthread_mutex_lock(&c->lock);
        size_t i = find(c, uid);
        bool had = i < c->n;
        if (had)
                c->v[i] = c->v[--c->n];
        pthread_mutex_unlock(&c->lock);
        if (had)
                publish_soon(a->publisher);
}

int copies_view(struct agent *a, struct arena *ar, struct host_prepared **out, size_t *n)
{
        struct copies *c = a->copies;
        int rc = 0;

        pthread_mutex_lock(&c->lock);
        struct host_prepared *v = arena_array(ar, c->n, sizeof(*v));
        *n = v ? c->n : 0;
        for (size_t i = 0; i < *n && !rc; i++) {
                v[i] = (struct host_prepared){arena_strdup(ar, c->v[i].uid),
                                              arena_strdup(ar, c->v[i].why)};
                rc = v[i].migration && v[i].refused ? 0 : -ENOMEM;
        }
        pthread_mutex_unlock(&c->lock);
        *out = v;
        return v ? rc : -ENOMEM;
}

/* --- files for what arrives */

/* Its source waits for our word. */
static bool to_prepare(const struct agent *a, const struct migration *m)
{
        return m->status.phase == MIG_COPYING && m->status.transfer.state == TRANSFER_RUNNING &&
               m->status.transfer.ndisks && !strcmp(m->status.target, a->config.node);
}

void copies_arriving_gone(struct agent *a, const struct migration *m)
{
        forget(a, m->meta.uid);
        agent_poke(a, 0, "stale");
}

void copies_arriving(struct agent *a, const struct migration *m)
{
        if (mig_finished(m->status.phase)) {
                copies_arriving_gone(a, m);
        } else if (to_prepare(a, m) && !said(a->copies, m->meta.uid)) {
                agent_poke(a, 0, "prepare/%s/%s", m->meta.ns, m->meta.name);
        }
}

/* Where the VM's disks are by its status is known to be another directory than ours. */
static int check_apart(struct agent *a, const struct vm *vm, const char *pool, struct err *e)
{
        const char *there = kvs_get(&vm->status.pools, pool);
        char here[MOUNT_IDENTITY_MAX];

        mounts_identity(a->mounts, pool, here);
        if (!*here)
                return err_set(e, -EAGAIN, "pool %s is not healthy", pool);
        if (!there || !*there)
                return err_set(e, -EINVAL,
                               "the VM's status does not say in which directory of pool %s its "
                               "disks are",
                               pool);
        return strcmp(here, there) ? 0
                                   : err_set(e, -EINVAL,
                                             "pool %s is the very directory where the VM's disks "
                                             "are: it is not local to a node",
                                             pool);
}

static int make_one(struct agent *a, const struct vm *vm, const struct transfer_disk *d,
                    struct err *e)
{
        int rc = check_apart(a, vm, d->pool, e);

        if (rc)
                return rc;
        return *d->name ? disks_make_new(a, vm->meta.uid, d->pool, d->name, d->size, e)
                        : disks_make_seed(a, vm, d->pool, e);
}

static int make_all(struct agent *a, const struct vm *vm, const struct migration *m, struct err *e)
{
        const struct transfer *t = &m->status.transfer;
        int rc = 0;

        if (vm->spec.migration.storage != STORAGE_COPY)
                return err_set(e, -EINVAL, "the VM does not ask for its disks to be copied");
        for (size_t i = 0; i < t->ndisks && !rc; i++)
                if ((rc = make_one(a, vm, &t->disks[i], e)))
                        err_wrap(e, "%s: disk %s in pool %s", a->config.node, t->disks[i].name,
                                 t->disks[i].pool);
        return rc;
}

/* 1: there is nothing to be said of it. */
static int prepare(struct agent *a, const struct migration *m, struct err *e)
{
        autofresh struct fresh f = {0};
        int rc = fresh_read(a->kube, m->meta.ns, m->spec.vm, &f, e);

        if (rc)
                return rc;
        if (!to_prepare(a, m) || m->spec.cancel || said(a->copies, m->meta.uid))
                return 1;
        if (!f.vm || strcmp(f.vm->meta.uid, m->status.vm_uid) != 0)
                return err_set(e, -EINVAL, "the VM is gone");
        return make_all(a, f.vm, m, e);
}

int64_t prepare_work(struct agent *a, const char *rest)
{
        char ns[64], name[254];
        autojson struct json *j = NULL;
        struct migration *m = NULL;
        struct err e = {0};

        if (!agent_split(rest, ns, name))
                return WORK_DONE;
        if (!a->synced)
                return NOT_YET_MS;
        pthread_mutex_lock(&a->copies->files);
        int rc = kube_get(a->kube, &KUBE_MIGRATIONS, ns, name, &j, &e);
        if (!rc)
                rc = migration_decode(j, &m, &e);
        if (!m) {
                pthread_mutex_unlock(&a->copies->files);
                return rc == -ENOENT ? WORK_DONE : WORK_RETRY;
        }
        rc = prepare(a, m, &e);
        pthread_mutex_unlock(&a->copies->files);
        if (rc < 0)
                log_err(&e, "cannot make files for disks that arrive", "migration", rest, NULL);
        if (rc <= 0)
                say(a, m->meta.uid, rc ? e.msg : "");
        migration_free(m);
        return WORK_DONE;
}

/* --- what is left over */

static bool domain_gone(struct agent *a, const char *uid)
{
        struct domain_facts f;
        struct table_entry x;
        struct err e;
        autoconnect virConnectPtr c = virt_connect(a->virt, &e);

        return c && domain_read(c, uid, &f, &e) == -ENOENT &&
               !(table_get(a->table, uid, &x) && x.known);
}

/* It would be left over, but for a domain that is about to go, or libvirtd, which is about to come.
 */
static bool soon(const struct storage_left *l)
{
        struct storage_left calm = *l;

        calm.domain = false;
        return l->domain && storage_stale(&calm);
}

/* 0: gone, or to be left where it is, at least until a move ends, which tells us; else to be looked
 * at again. */
static int judge(struct agent *a, const struct agent_pool *pool, const struct vm *seen,
                 struct err *e)
{
        autofresh struct fresh f = {0};
        char identity[MOUNT_IDENTITY_MAX];
        const char *uid = seen->meta.uid;
        int rc = fresh_read(a->kube, seen->meta.ns, seen->meta.name, &f, e);

        if (rc)
                return rc;
        mounts_identity(a->mounts, pool->name, identity);
        const struct storage_left l = {
                .vm = f.vm && !strcmp(f.vm->meta.uid, uid) ? f.vm : NULL,
                .node = a->config.node,
                .pool = pool->name,
                .identity = identity,
                .moves = fresh_migrating(&f, uid),
                .domain = !domain_gone(a, uid),
        };
        if (!storage_stale(&l))
                return soon(&l) ? err_set(e, -EAGAIN, "its domain is still here") : 0;
        log_msg(LOG_INFO, "removing copies of disks that are on another node", "pool", pool->name,
                "vm", seen->meta.name, "uid", uid, "home", f.vm->status.storage_node, NULL);
        return disks_sweep(a, uid, pool, e);
}

/* The VMs of which there are folders in the pool: judged one by one. */
static int judge_all(struct agent *a, const struct agent_pool *pool, const char *folders,
                     const struct json *vms)
{
        int left = 0;

        for (const struct json *j = json_first(vms); j; j = json_next(j)) {
                const char *uid = json_str(json_get(j, "metadata"), "uid", "");
                char line[UID_SIZE + 2];
                struct vm *vm;
                struct err e;

                snprintf(line, sizeof(line), "%s\n", uid);
                const char *at = *uid ? strstr(folders, line) : NULL;
                if (!at || (at != folders && at[-1] != '\n') || vm_decode(j, &vm, &e))
                        continue;
                if (strcmp(vm->status.owner.node, a->config.node) != 0) {
                        pthread_mutex_lock(&a->copies->files);
                        int rc = judge(a, pool, vm, &e);
                        pthread_mutex_unlock(&a->copies->files);
                        if (rc && rc != -EAGAIN)
                                log_err(&e, "cannot remove what a move has left", "uid", uid, NULL);
                        left += rc != 0;
                }
                vm_free(vm);
        }
        return left;
}

static int look(struct agent *a, const struct agent_pool *pool, int *left, struct err *e)
{
        const char *const argv[] = {AGENT_SELF, "tool", "folders", pool->path, "disks", NULL};
        autobuf struct buf out = buf_new(FOLDERS_MAX);
        autojson struct json *vms = NULL;
        int rc = child_run(argv, a->config.probe_deadline_ms, &out, e);

        if (rc || !out.len)
                return rc;
        rc = kube_list(a->kube, &KUBE_VMS, NULL, NULL, NULL, &vms, e);
        if (!rc)
                *left += judge_all(a, pool, buf_str(&out), vms);
        return rc;
}

int64_t stale_work(struct agent *a, const char *rest)
{
        int64_t next = WORK_DONE;
        char why[320];
        int left = 0;

        (void)rest;
        if (!a->synced)
                return NOT_YET_MS;
        for (size_t i = 0; i < a->config.npools; i++) {
                const struct agent_pool *pool = &a->config.pools[i];
                struct err e;

                if (!pool->local)
                        continue;
                if (!mounts_usable(a->mounts, pool->name, why)) {
                        next = LEFT_MS;
                } else if (look(a, pool, &left, &e)) {
                        log_err(&e, "cannot look for what moves have left", "pool", pool->name,
                                NULL);
                        next = LEFT_MS;
                }
        }
        return left ? LEFT_SOON_MS : next;
}
