#include "agent/snapshots.h"

#include "agent/child.h"
#include "agent/disks.h"
#include "agent/domain.h"
#include "agent/fresh.h"
#include "agent/guestsnap.h"
#include "agent/holds.h"
#include "agent/moves.h"
#include "agent/tool.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NOT_YET_MS    500
#define LOOK_AGAIN_MS 5000
#define THAW_TRIES    3
#define PATH_SIZE     512

static struct metric *results;

/* --- what is to be done */

static bool ours(const struct agent *a, const struct snapshot *s)
{
        return !strcmp(s->worker.node, a->config.node) && s->worker.epoch > 0;
}

static bool said(const struct snapshot *s, enum snap_state state)
{
        return s->progress.epoch == s->worker.epoch && s->progress.state == state;
}

static bool to_take(const struct agent *a, const struct snapshot *s)
{
        return ours(a, s) && s->worker.task == SNAP_TAKE && !snap_settled(s) && !s->meta.deleting &&
               !said(s, SNAP_TAKEN) && !said(s, SNAP_REFUSED);
}

static bool to_remove(const struct agent *a, const struct snapshot *s)
{
        return ours(a, s) && s->worker.task == SNAP_REMOVE && s->meta.deleting &&
               !said(s, SNAP_REMOVED);
}

/* An agent has asked QEMU for something, and has not come to tell its end. */
static bool open_end(const struct snapshot *s)
{
        return s->progress.state == SNAP_TAKING || s->progress.state == SNAP_REMOVING;
}

static bool to_do(const struct agent *a, const struct snapshot *s)
{
        return to_take(a, s) || to_remove(a, s) || (ours(a, s) && open_end(s));
}

struct job {
        struct agent *a;
        struct snapshot *s;  /* fresh */
        const struct vm *vm; /* fresh, of the snapshot's uid */
        virConnectPtr conn;
        bool runs; /* QEMU has the disks open */
        char tag[SNAP_TAG_MAX], prefix[SNAP_TAG_MAX];
};

/* --- status.progress */

static int report(const struct job *j, enum snap_state state, const char *message,
                  const struct snap_made *made, struct err *e)
{
        autojson struct json *patch = json_new_object();
        struct snap_progress p = {j->s->worker.epoch, state, message, {0}};

        if (made)
                p.made = *made;
        if (!json_set(json_object_at(patch, "status"), "progress", snap_progress_encode(&p)))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch(j->a->kube, &KUBE_SNAPSHOTS, j->s->meta.ns, j->s->meta.name, "status",
                          patch, NULL, e);
}

static bool is_told(const struct job *j, enum snap_state state, const char *message)
{
        return said(j->s, state) && !strcmp(j->s->progress.message, message);
}

/* That it cannot be told is for the log; the work is done again, and tells it then. */
static int64_t end(const struct job *j, enum snap_state state, const char *message,
                   const struct snap_made *made, int64_t next)
{
        struct err e = {0};

        if (is_told(j, state, message))
                return next;
        int rc = report(j, state, message, made, &e);
        log_msg(state == SNAP_WAITING || state == SNAP_REFUSED ? LOG_WARN : LOG_INFO, "snapshot",
                "namespace", j->s->meta.ns, "snapshot", j->s->meta.name, "state",
                snap_state_name(state), "message", message, NULL);
        if (!rc || rc == -ENOENT)
                return next;
        log_err(&e, "cannot report on a snapshot", "snapshot", j->s->meta.name, NULL);
        return WORK_RETRY;
}

static int64_t wait_for(const struct job *j, const char *why)
{
        return end(j, SNAP_WAITING, why, NULL, LOOK_AGAIN_MS);
}

static int64_t refuse(const struct job *j, const char *why)
{
        metric_add(results, "refused", 1);
        return end(j, SNAP_REFUSED, why, NULL, WORK_DONE);
}

static int64_t take_note(const struct job *j, const char *message, const struct snap_made *made)
{
        metric_add(results, "taken", 1);
        return end(j, SNAP_TAKEN, message, made, WORK_DONE);
}

/* On a pool that hangs QEMU would wait for it, and its guest, maybe frozen, with it. */
static int pools_usable(const struct job *j, struct err *e)
{
        const char *pools[AGENT_POOLS_MAX];
        size_t n = disks_pools_of_disks(j->vm, pools);
        char why[320];

        for (size_t i = 0; i < n; i++)
                if (!mounts_usable(j->a->mounts, pools[i], why))
                        return err_set(e, -EAGAIN, "%s", why);
        return 0;
}

/* --- of a guest that runs */

/*
 * Until it has answered, or has been asked often enough: the file systems that went on then, or
 * negative.
 */
static int thaw(const struct job *j, struct err *e)
{
        int n = -1;

        for (int i = 0; i < THAW_TRIES && n < 0; i++)
                n = guest_thaw(j->conn, j->vm->meta.uid, e);
        if (n < 0)
                log_err(e, "guest is not thawed", "vm", j->vm->meta.name, NULL);
        return n;
}

struct quiet {
        int frozen; /* file systems; negative: the guest's agent was not asked, or did not do it */
        struct err e; /* then, why */
};

static void freeze(const struct job *j, struct quiet *q)
{
        struct err e;

        *q = (struct quiet){.frozen = -1};
        if (j->s->quiesce == QUIESCE_NEVER) {
                err_set(&q->e, -ECANCELED, "its quiesce is Never");
                return;
        }
        q->frozen = guest_freeze(j->conn, j->vm->meta.uid, &q->e);
        if (q->frozen < 0) /* it may have heard us all the same */
                (void)!guest_thaw(j->conn, j->vm->meta.uid, &e);
}

/* The truth of it shows only at the thaw: a guest that was reset meanwhile has none frozen. */
static bool was_quiet(const struct job *j, struct quiet *q)
{
        int thawed = q->frozen < 0 ? -1 : thaw(j, &q->e);

        if (q->frozen >= 0 && thawed >= 0 && thawed < q->frozen)
                err_set(&q->e, -EIO, "of %d frozen file systems %d were so in the end", q->frozen,
                        thawed);
        return q->frozen >= 0 && thawed >= q->frozen;
}

/* Nobody wants it; what cannot be taken back now goes when the snapshot is deleted. */
static void take_back(const struct job *j)
{
        struct guest_disks d;
        struct err e;

        if (guest_disks_read(j->conn, j->vm->meta.uid, &d, &e))
                return;
        if (guest_snapshot_drop(j->conn, j->vm->meta.uid, &d, j->prefix, &e))
                log_err(&e, "not taken back", "snapshot", j->s->meta.name, NULL);
        guest_disks_free(&d);
}

static int64_t tell_taken(const struct job *j, const struct guest_disks *d, const struct quiet *q,
                          struct snap_made *made)
{
        struct snap_disk disks[DOMXML_DISKS];
        char message[ERR_MSG_MAX + 32] = "";

        for (size_t i = 0; i < d->n; i++)
                disks[i] = (struct snap_disk){d->v[i].name, d->v[i].size};
        made->disks = disks;
        made->ndisks = d->n;
        if (!made->quiesced)
                snprintf(message, sizeof(message), "not quiesced: %s", q->e.msg);
        if (!made->quiesced && j->s->quiesce == QUIESCE_REQUIRED) {
                take_back(j);
                return refuse(j, message);
        }
        return take_note(j, message, made);
}

/* The part in which the guest may be frozen. Whatever happens in it, it is thawed. */
static int64_t take_quietly(const struct job *j, const struct guest_disks *d)
{
        struct snap_made made = {0};
        struct err e = {0};
        struct quiet q;

        freeze(j, &q);
        if (q.frozen < 0 && j->s->quiesce == QUIESCE_REQUIRED)
                return refuse(j, q.e.msg);
        made.taken_us = wall_us();
        int rc = guest_snapshot_take(j->conn, j->vm->meta.uid, d, j->tag, &e);
        made.quiesced = was_quiet(j, &q);
        if (rc)
                return wait_for(j, e.msg);
        return tell_taken(j, d, &q, &made);
}

static int64_t take_running(const struct job *j)
{
        struct guest_disks d;
        struct err e = {0};
        int rc = pools_usable(j, &e);

        if (!rc)
                rc = guest_disks_read(j->conn, j->vm->meta.uid, &d, &e);
        if (rc == -EINVAL)
                return refuse(j, e.msg);
        if (rc)
                return wait_for(j, e.msg);
        int64_t next;
        if (report(j, SNAP_TAKING, "", NULL, &e)) /* so that the next agent thaws the guest */
                next = WORK_RETRY;
        /* what is there is of a run whose end was not told: of another moment, and maybe not of
         * all disks */
        else if (guest_snapshot_drop(j->conn, j->vm->meta.uid, &d, j->prefix, &e))
                next = wait_for(j, e.msg);
        else
                next = take_quietly(j, &d);
        guest_disks_free(&d);
        return next;
}

static int64_t remove_running(const struct job *j)
{
        struct guest_disks d;
        struct err e = {0};
        int rc = pools_usable(j, &e);

        if (!rc)
                rc = guest_disks_read(j->conn, j->vm->meta.uid, &d, &e);
        if (rc == -EINVAL) /* none of it can have been taken then */
                return end(j, SNAP_REMOVED, "", NULL, WORK_DONE);
        if (rc)
                return wait_for(j, e.msg);
        rc = report(j, SNAP_REMOVING, "", NULL, &e);
        if (!rc)
                rc = guest_snapshot_drop(j->conn, j->vm->meta.uid, &d, j->prefix, &e);
        guest_disks_free(&d);
        if (rc)
                return wait_for(j, e.msg);
        metric_add(results, "removed", 1);
        return end(j, SNAP_REMOVED, "", NULL, WORK_DONE);
}

/* --- of a guest that does not */

/* A tool on one disk; what it said goes to out. */
static int on_disk(const struct job *j, const struct vm_disk *d, const char *verb, const char *tag,
                   const char *prefix, struct buf *out, struct err *e)
{
        const struct agent_pool *pool = agent_pool_of(&j->a->config, d->pool);
        char file[PATH_SIZE];

        if (!pool || strchr(d->name, '/'))
                return err_set(e, -EAGAIN, "disk %s: this node has no pool %s", d->name, d->pool);
        snprintf(file, sizeof(file), "disks/%s/%s.qcow2", j->vm->meta.uid, d->name);
        const char *const argv[] = {AGENT_SELF, "tool", verb, pool->path, file, tag, prefix, NULL};
        int rc = child_run(argv, j->a->config.copy_deadline_s * 1000, out, e);
        return rc ? err_wrap(e, "disk %s", d->name) : 0;
}

/* Nobody has started the guest since, on another node: its disks were as one finds them. */
static int same_owner(const struct job *j, struct err *e)
{
        autofresh struct fresh now = {0};
        int rc = fresh_read(j->a->kube, j->vm->meta.ns, j->vm->meta.name, &now, e);

        if (rc)
                return rc;
        if (!now.vm || strcmp(now.vm->meta.uid, j->vm->meta.uid) != 0 ||
            now.vm->status.owner.epoch != j->vm->status.owner.epoch ||
            strcmp(now.vm->status.owner.node, j->vm->status.owner.node) != 0)
                return err_set(e, -EAGAIN, "the VM has been given to a node meanwhile");
        return 0;
}

/* 1 when it is, as is every disk of a VM that was never started. */
static int is_missing(const struct job *j, const struct vm_disk *d, struct err *e)
{
        autobuf struct buf there = buf_new(256);
        int rc = on_disk(j, d, "snap-has", j->tag, NULL, &there, e);

        return rc ? rc : !strcmp(buf_str(&there), "no file\n");
}

/* -ESRCH when a disk has never been made. */
static int take_files(const struct job *j, struct snap_disk *disks, struct err *e)
{
        const struct vm *vm = j->vm;

        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                int rc = is_missing(j, &vm->spec.disks[i], e);
                if (rc)
                        return rc < 0 ? rc
                                      : err_set(e, -ESRCH,
                                                "disk %s has never been made: start the VM once",
                                                vm->spec.disks[i].name);
        }
        for (size_t i = 0; i < vm->spec.ndisks; i++) {
                const struct vm_disk *d = &vm->spec.disks[i];
                autobuf struct buf size = buf_new(4096);
                int rc = on_disk(j, d, "snap-take", j->tag, j->prefix, &size, e);
                if (rc)
                        return rc;
                disks[i] = (struct snap_disk){d->name, strtoll(buf_str(&size), NULL, 10)};
        }
        return same_owner(j, e);
}

static int64_t take_halted(const struct job *j)
{
        struct snap_made made = {.taken_us = wall_us(), .ndisks = j->vm->spec.ndisks};
        struct snap_disk disks[DOMXML_DISKS];
        struct err e = {0};

        if (j->s->quiesce == QUIESCE_REQUIRED)
                return refuse(j, "the guest does not run, and nobody can tell whether it left its "
                                 "file systems in order: make one whose quiesce is Auto");
        if (j->vm->spec.ndisks > DOMXML_DISKS)
                return refuse(j, "the VM has too many disks");
        made.disks = disks;
        int rc = pools_usable(j, &e);
        if (!rc)
                rc = take_files(j, disks, &e);
        if (rc == -ESRCH)
                return refuse(j, e.msg);
        if (rc)
                return wait_for(j, e.msg);
        return take_note(j, "not quiesced: the guest did not run", &made);
}

static int64_t remove_halted(const struct job *j)
{
        struct err e = {0};
        int rc = pools_usable(j, &e);

        for (size_t i = 0; i < j->vm->spec.ndisks && !rc; i++)
                if (j->vm->spec.disks[i].kind != DISK_PVC)
                        rc = on_disk(j, &j->vm->spec.disks[i], "snap-drop", j->prefix, NULL, NULL,
                                     &e);
        if (rc)
                return wait_for(j, e.msg);
        metric_add(results, "removed", 1);
        return end(j, SNAP_REMOVED, "", NULL, WORK_DONE);
}

/* --- the work */

static bool wanted_back(const struct job *j)
{
        return vm_restore_pending(j->vm) && !strcmp(j->vm->spec.restore.snapshot, j->s->meta.name);
}

/* The disks are here, and nobody else has them open: why not, else NULL. */
static const char *not_here(struct job *j, const struct domain_facts *f)
{
        const struct vm_owner *owner = &j->vm->status.owner;
        bool mine = !strcmp(owner->node, j->a->config.node);

        j->runs = f && f->active;
        if (!mine && *owner->node)
                return "another node has the VM";
        if (j->runs && !mine)
                return "a guest of the VM runs here, and nobody has the VM";
        if (j->runs && f->own != OWN_RUNNING && f->own != OWN_PAUSED)
                return "the guest is on its way";
        if (j->runs && f->meta.epoch != owner->epoch)
                return "the guest that runs here is of an earlier time";
        return NULL;
}

/*
 * After an agent that was killed. What it had asked QEMU for may come to it late still: a snapshot
 * to be removed that is not there any more does no harm then, not even to a QEMU that has handed
 * its guest over. No move is under way, for none begins with an open end.
 */
static void clear_up(const struct job *j)
{
        struct err e;

        if (j->s->quiesce != QUIESCE_NEVER)
                (void)!thaw(j, &e);
        if (!pools_usable(j, &e))
                take_back(j);
}

static int64_t work_on(struct job *j, const struct fresh *f)
{
        struct domain_facts facts;
        struct err e = {0};
        int rc = domain_read(j->conn, j->vm->meta.uid, &facts, &e);

        if (rc && rc != -ENOENT)
                return wait_for(j, e.msg);
        const char *no = not_here(j, rc ? NULL : &facts);
        snap_tag(j->s, j->s->worker.epoch, j->tag);
        snap_prefix(j->s, j->prefix);
        if (j->runs && open_end(j->s))
                clear_up(j);
        if (fresh_migrating(f, j->vm->meta.uid) || moves_has(j->a->moves, j->vm->meta.uid))
                return wait_for(j, "a migration of the VM is under way");
        if (no)
                return wait_for(j, no);
        if (to_take(j->a, j->s))
                return j->runs ? take_running(j) : take_halted(j);
        if (!to_remove(j->a, j->s)) /* its end was not told, and is not wanted any more */
                return wait_for(j, "interrupted");
        if (wanted_back(j)) /* asked for since it was to be removed, and read before the start is */
                return wait_for(j, "the VM's disks are to be set back to it first");
        return j->runs ? remove_running(j) : remove_halted(j);
}

static int64_t with_vm(struct agent *a, struct snapshot *s)
{
        struct job j = {.a = a, .s = s};
        autofresh struct fresh f = {0};
        struct err e = {0};

        if (!to_do(a, s) || strchr(s->meta.uid, '/') || !*s->meta.uid)
                return WORK_DONE;
        autoconnect virConnectPtr conn = virt_connect(a->virt, &e);
        if (!conn)
                return LOOK_AGAIN_MS;
        if (fresh_read(a->kube, s->meta.ns, s->vm, &f, &e)) {
                log_err(&e, "cannot read VM and migrations", "namespace", s->meta.ns, "vm", s->vm,
                        NULL);
                return WORK_RETRY;
        }
        if (!f.vm || strcmp(f.vm->meta.uid, s->vm_uid) != 0)
                return WORK_DONE; /* the migrator lets it go */
        j.vm = f.vm;
        j.conn = conn;
        return work_on(&j, &f);
}

static int64_t read_and_work(struct agent *a, const char *ns, const char *name)
{
        autojson struct json *j = NULL;
        struct snapshot *s;
        struct err e = {0};
        int rc = kube_get(a->kube, &KUBE_SNAPSHOTS, ns, name, &j, &e);

        if (rc == -ENOENT)
                return WORK_DONE;
        if (!rc)
                rc = snapshot_decode(j, &s, &e);
        if (rc) {
                log_err(&e, "cannot read a snapshot", "namespace", ns, "snapshot", name, NULL);
                return WORK_RETRY;
        }
        int64_t next = with_vm(a, s);
        snapshot_free(s);
        return next;
}

int64_t snapshot_work(struct agent *a, const char *rest)
{
        autoref struct kube_ref *ref = kube_store_get(a->snapshots, rest);
        const struct snapshot *s = ref ? kube_ref_object(ref) : NULL;
        char ns[64], name[254];

        if (!s || !to_do(a, s) || !agent_split(rest, ns, name) || a->ending)
                return WORK_DONE;
        if (!a->synced)
                return NOT_YET_MS;
        autohold struct hold *hold = hold_take(a->holds, s->vm_uid);
        return hold ? read_and_work(a, ns, name) : NOT_YET_MS;
}

/* --- the cache */

struct search {
        const struct agent *a;
        const char *uid;
        bool found;
};

static bool look_at(void *ctx, const void *object)
{
        struct search *x = ctx;
        const struct snapshot *s = object;

        x->found |= ours(x->a, s) && open_end(s) && !strcmp(s->vm_uid, x->uid);
        return !x->found;
}

bool snapshots_open(struct agent *a, const char *vm_uid)
{
        struct search x = {a, vm_uid, false};

        if (!kube_watch_synced(a->snapshot_watch))
                return true;
        kube_store_each(a->snapshots, look_at, &x);
        return x.found;
}

/* Our own progress is no news, and least of all a failure, which is tried again in its own time. */
static void changed(void *ctx, const void *before, const void *after)
{
        const struct snapshot *s = after, *old = before;
        bool news = !s || !old || old->worker.epoch != s->worker.epoch ||
                    old->meta.deleting != s->meta.deleting;

        if (news && s && to_do(ctx, s))
                agent_poke(ctx, 0, "snapshot/%s/%s", s->meta.ns, s->meta.name);
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "snapshot is not understood", "snapshot", key, NULL);
}

static void watch_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "watch of snapshots", NULL);
}

int snapshots_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        static const struct kube_store_type TYPE = {.decode = snapshot_decode_any,
                                                    .free = snapshot_free};
        const struct kube_store_hooks hooks = {changed, undecodable, a};
        char selector[300];

        results = metric_counter("drover_agent_snapshots", "Snapshots by what became of them.",
                                 "result");
        metric_add(results, "taken", 0);
        metric_add(results, "refused", 0);
        metric_add(results, "removed", 0);
        a->snapshots = kube_store_new(&TYPE, &hooks);
        if (!a->snapshots)
                return err_set(e, -ENOMEM, "out of memory");
        snprintf(selector, sizeof(selector), "status.worker.node=%s", a->config.node);
        struct kube_watch_config cfg = kube_store_feed(&KUBE_SNAPSHOTS, a->snapshots);
        cfg.field_selector = selector;
        cfg.error = watch_error;
        int rc = kube_watch_start(a->kube, &cfg, out, e);
        if (!rc)
                a->snapshot_watch = *out;
        return rc;
}
