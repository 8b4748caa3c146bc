#include "agent/vms.h"

#include "agent/disks.h"
#include "agent/fresh.h"
#include "agent/moves.h"
#include "agent/proc.h"
#include "agent/publish.h"
#include "agent/starts.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"

#include <errno.h>
#include <libvirt/virterror.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define LOOK_AGAIN_MS 5000 /* at what is not ours to decide yet */
#define STOP_STEP_MS  1000
#define KILL_MS       5000
#define NOT_YET_MS    500

static struct metric *retries_metric;

static int64_t now_ms(void)
{
        return mono_ms(mono_now());
}

/* --- what one VM's domain needs */

struct job {
        struct agent *a;
        virConnectPtr conn;
        const char *ns, *name, *uuid;
        const struct vm *vm; /* fresh; NULL when there is none with that uuid */
        const struct fresh *fresh;
        struct domain_facts facts; /* fresh; meaningful unless absent */
        bool absent;
};

static int64_t failed(const struct job *j, const struct err *e, const char *what)
{
        log_err(e, what, "namespace", j->ns, "vm", j->name, "uid", j->uuid, NULL);
        return WORK_RETRY;
}

static void note(const struct job *j, const char *text)
{
        int64_t epoch = j->vm ? j->vm->status.owner.epoch : 0;

        if (table_notice(j->a->table, j->uuid, j->ns, j->name, epoch, text))
                publish_soon(j->a->publisher);
}

static int64_t reread(const struct job *j)
{
        return domain_work(j->a, j->uuid);
}

static int64_t do_start(const struct job *j)
{
        int64_t wait = starts_wait_ms(j->a->starts, j->uuid, now_ms());
        struct err e = {0};

        if (wait)
                return wait;
        if (!j->absent && j->facts.vir_state == VIR_DOMAIN_CRASHED &&
            domain_destroy(j->conn, j->uuid, &e))
                return failed(j, &e, "cannot clear a crashed guest away");
        log_msg(LOG_INFO, "starting guest", "namespace", j->ns, "vm", j->name, "uid", j->uuid,
                NULL);
        if (vm_start(j->a, j->vm, &e)) {
                note(j, e.msg);
                reread(j);
                return failed(j, &e, "cannot start guest");
        }
        starts_started(j->a->starts, j->uuid, now_ms());
        note(j, "");
        reread(j);
        return WORK_DONE;
}

/* As the VM says now, which may change while the guest shuts down. */
static int64_t grace_ms(const struct job *j)
{
        int64_t s = j->vm ? j->vm->spec.stop_grace_s : VM_GRACE_DEFAULT;

        return 1000 * (s == VM_GRACE_DEFAULT ? j->a->config.stop_grace_s : s);
}

/* Asks first; insists after the grace, or at once where there is nobody to ask. */
static int64_t do_stop(const struct job *j)
{
        int64_t grace = grace_ms(j);
        struct err e = {0};
        bool first;
        int64_t since = starts_stopping(j->a->starts, j->uuid, now_ms(), &first);

        if (j->facts.own == OWN_RUNNING && now_ms() - since < grace) {
                if (first) {
                        log_msg(LOG_INFO, "asking guest to shut down", "namespace", j->ns, "vm",
                                j->name, NULL);
                        if (domain_shutdown(j->conn, j->uuid, &e))
                                log_err(&e, "guest cannot be asked", "vm", j->name, NULL);
                }
                int64_t rest = since + grace - now_ms();
                return rest < 1 ? 1 : rest < STOP_STEP_MS ? rest : STOP_STEP_MS;
        }
        log_msg(LOG_INFO, "ending guest", "namespace", j->ns, "vm", j->name, NULL);
        if (domain_destroy(j->conn, j->uuid, &e))
                return failed(j, &e, "cannot end guest");
        reread(j);
        return 1; /* and on with what follows */
}

/*
 * A VM that is being deleted takes its disks with it, before its domain is reported gone. Nobody
 * starts one any more, so nobody makes them anew.
 */
static int erase_if_deleting(const struct job *j, struct err *e)
{
        return j->vm && j->vm->meta.deleting ? disks_erase(j->a, j->uuid, j->vm, e) : 0;
}

static int64_t do_remove(const struct job *j, const char *what)
{
        struct err e = {0};

        log_msg(LOG_INFO, what, "namespace", j->ns, "vm", j->name, "uid", j->uuid, NULL);
        if (erase_if_deleting(j, &e)) {
                note(j, e.msg);
                return failed(j, &e, "cannot remove the guest's disks");
        }
        if (domain_undefine(j->conn, j->uuid, &e))
                return failed(j, &e, "cannot remove domain");
        starts_forget(j->a->starts, j->uuid);
        note(j, "");
        reread(j);
        return 1;
}

static bool as_judged(const struct job *j, const struct domain_facts *now)
{
        return now->active && now->own == j->facts.own && now->meta.epoch == j->facts.meta.epoch &&
               !strcmp(now->meta.migration, j->facts.meta.migration);
}

/* Until libvirt has noticed that the process is dead. */
static int await_inactive(const struct job *j, struct err *e)
{
        struct mono end = mono_add_ms(mono_now(), KILL_MS);
        struct domain_facts now;

        for (;;) {
                int rc = domain_read(j->conn, j->uuid, &now, e);
                if (rc || !now.active)
                        return rc == -ENOENT ? 0 : rc;
                if (mono_ms_between(mono_now(), end) <= 0)
                        return err_set(e, -ETIMEDOUT, "libvirt does not notice its end");
                nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
        }
}

/*
 * Ends the very process that was judged. By its name libvirt might end what has arrived here since:
 * a pidfd that was taken before the domain was read once more cannot.
 */
static int end_judged(const struct job *j, struct err *e)
{
        struct guest_process p;
        struct domain_facts now;
        int rc =
                guest_process_open(j->a->config.libvirt_run, j->facts.libvirt_name, j->uuid, &p, e);

        if (rc == -ENOENT) /* not a process of ours to see: by its name after all */
                return domain_destroy(j->conn, j->uuid, e);
        if (rc)
                return rc;
        rc = domain_read(j->conn, j->uuid, &now, e);
        if (!rc && !as_judged(j, &now))
                rc = err_set(e, -EAGAIN, "the domain is another by now");
        if (!rc)
                rc = guest_process_kill(&p, KILL_MS, e);
        guest_process_close(&p);
        return rc ? rc : await_inactive(j, e);
}

static int64_t do_destroy(const struct job *j)
{
        struct err e = {0};

        if (!j->absent && j->facts.active) {
                log_msg(LOG_INFO, "ending stale guest", "namespace", j->ns, "vm", j->name, "uid",
                        j->uuid, "state", domain_reason(&j->facts), NULL);
                int rc = end_judged(j, &e);
                if (rc == -EAGAIN)
                        return 1;
                if (rc)
                        return failed(j, &e, "cannot end stale guest");
        }
        return do_remove(j, "removing stale domain");
}

/*
 * Until a guest that an I/O error has stopped may be tried again: its pools are well, and it has
 * not just been tried. A pool may answer a probe and have no room for a guest. 0: now.
 */
static int64_t retry_wait_ms(const struct job *j)
{
        const char *pools[AGENT_POOLS_MAX];
        char why[320];
        size_t n = disks_pools(j->vm, pools);
        int64_t wait = starts_retry_wait_ms(j->a->starts, j->uuid, now_ms());

        for (size_t i = 0; i < n; i++)
                if (!mounts_usable(j->a->mounts, pools[i], why))
                        return LOOK_AGAIN_MS; /* or as soon as it is */
        return wait;
}

/* What it had asked of its disks is asked again; if that fails once more it stops once more. */
static int64_t do_retry(const struct job *j)
{
        int64_t wait = retry_wait_ms(j);
        struct err e = {0};

        if (wait)
                return wait;
        starts_retried(j->a->starts, j->uuid, now_ms());
        metric_add(retries_metric, NULL, 1);
        log_msg(LOG_INFO, "resuming guest after a storage error", "namespace", j->ns, "vm", j->name,
                NULL);
        if (domain_resume(j->conn, j->uuid, &e))
                return failed(j, &e, "cannot resume guest");
        return LOOK_AGAIN_MS;
}

static int64_t do_keep(const struct job *j)
{
        struct err e = {0};

        if (j->absent) {
                bool mine = j->vm && !strcmp(j->vm->status.owner.node, j->a->config.node);
                if (!mine || fresh_migrating(j->fresh, j->uuid)) {
                        note(j, "");
                        return WORK_DONE;
                }
                if (erase_if_deleting(j, &e)) {
                        note(j, e.msg);
                        return failed(j, &e, "cannot remove the guest's disks");
                }
                /* ours and kept absent. The migrator waits to hear it before it lets go. */
                note(j, j->vm->meta.deleting ? TABLE_ERASED : TABLE_HALTED);
                return WORK_DONE;
        }
        note(j, "");
        starts_unstop(j->a->starts, j->uuid);
        return domain_io_error(&j->facts) ? do_retry(j) : WORK_DONE;
}

static int64_t do_resume(const struct job *j)
{
        struct err e = {0};

        if (fresh_still_sent(j->a->kube, j->fresh, j->facts.meta.migration, j->a->config.node,
                             j->facts.meta.epoch, &e))
                return failed(j, &e, "cannot resume received guest");
        log_msg(LOG_INFO, "resuming received guest as its owner", "namespace", j->ns, "vm", j->name,
                NULL);
        if (domain_resume(j->conn, j->uuid, &e))
                return failed(j, &e, "cannot resume received guest");
        reread(j);
        return WORK_DONE;
}

/*
 * A move that is still looking for its target keeps no guest standing: it may look for long. From
 * the copy on the guest is the move's. A copy begins in this process alone, and one that begins
 * just now keeps libvirt from resuming its source.
 */
static bool retried_meanwhile(const struct job *j, const struct ownership *o)
{
        struct ownership calm = *o;

        calm.migrating = false;
        return !j->absent && domain_io_error(&j->facts) && !fresh_copying(j->fresh, j->uuid) &&
               !moves_has(j->a->moves, j->uuid) && ownership_decide(&calm, NULL) == OWN_KEEP;
}

static int64_t act(const struct job *j, enum own_action action)
{
        switch (action) {
        case OWN_KEEP:
                return do_keep(j);
        case OWN_START:
                return do_start(j);
        case OWN_RESUME:
                return do_resume(j);
        case OWN_STOP:
        case OWN_REBOOT:
                return do_stop(j);
        case OWN_DESTROY:
                return do_destroy(j);
        case OWN_UNDEFINE:
                return do_remove(j, "removing definition of halted guest");
        case OWN_LEAVE:
        case OWN_ACTIONS:
                break;
        }
        return LOOK_AGAIN_MS;
}

/* Reads the domain, decides and acts. A domain of that uuid without our metadata is none of ours.
 */
static int64_t judge(struct job *j)
{
        struct ownership o;
        struct err e = {0};
        int rc = domain_read(j->conn, j->uuid, &j->facts, &e);

        if (rc && rc != -ENOENT)
                return failed(j, &e, "cannot read domain");
        j->absent = rc == -ENOENT;
        if (!j->absent && !j->facts.ours) {
                note(j, "a domain with the VM's uuid exists that was not made by Drover");
                return LOOK_AGAIN_MS;
        }
        ownership_gather(j->a, j->fresh, j->uuid, j->absent ? NULL : &j->facts, &o);
        enum own_action action = ownership_decide(&o, NULL);
        if (action == OWN_LEAVE && retried_meanwhile(j, &o))
                return do_retry(j);
        if (action != OWN_KEEP && action != OWN_LEAVE)
                log_msg(LOG_DEBUG, "decided", "vm", j->name, "action", own_action_name(action),
                        NULL);
        return act(j, action);
}

static int64_t sooner(int64_t a, int64_t b)
{
        if (a == WORK_RETRY || b == WORK_RETRY)
                return WORK_RETRY;
        return !a ? b : !b ? a : a < b ? a : b;
}

/* The VM itself, and domains of its name that are of another uid. */
static int64_t judge_all(struct agent *a, virConnectPtr conn, const char *ns, const char *name,
                         const struct fresh *f, const struct table_entry *known, size_t n)
{
        struct job j = {.a = a, .conn = conn, .ns = ns, .name = name, .fresh = f};
        int64_t next = WORK_DONE;
        bool done = false;

        for (size_t i = 0; i < n; i++) {
                j.uuid = known[i].facts.uuid;
                j.vm = f->vm && !strcmp(f->vm->meta.uid, j.uuid) ? f->vm : NULL;
                done |= j.vm != NULL;
                next = sooner(next, judge(&j));
        }
        if (f->vm && !done && !strcmp(f->vm->status.owner.node, a->config.node)) {
                j.uuid = f->vm->meta.uid;
                j.vm = f->vm;
                next = sooner(next, judge(&j));
        }
        return next;
}

/* Nothing to do by what is cached: the usual case, which costs no request. */
static bool settled(struct agent *a, const struct vm *vm, const struct table_entry *known, size_t n)
{
        struct ownership o;

        if (!vm || n != 1 || !known->known || *known->notice || known->facts.own != OWN_RUNNING ||
            strcmp(known->facts.uuid, vm->meta.uid) != 0)
                return false;
        ownership_of(vm, a->config.node, true, known->facts.meta.epoch,
                     known->facts.meta.restarted_at, &o);
        o.domain = OWN_RUNNING;
        o.migrating = false;
        return ownership_decide(&o, NULL) == OWN_KEEP;
}

int64_t vm_work(struct agent *a, const char *rest)
{
        char ns[64], name[254];
        size_t n;

        if (!agent_split(rest, ns, name))
                return WORK_DONE;
        if (!a->synced)
                return NOT_YET_MS;
        autoref struct kube_ref *ref = kube_store_get(a->vms, rest);
        autofree struct table_entry *known = table_of(a->table, ns, name, &n);
        const struct vm *vm = ref ? kube_ref_object(ref) : NULL;
        if (!vm && !n)
                return WORK_DONE;
        if (settled(a, vm, known, n)) {
                starts_unstop(a->starts, vm->meta.uid);
                return WORK_DONE;
        }
        struct err e = {0};
        autoconnect virConnectPtr conn = virt_connect(a->virt, &e);
        if (!conn)
                return LOOK_AGAIN_MS; /* and at once when it is back */
        autofresh struct fresh f = {0};
        if (fresh_read(a->kube, ns, name, &f, &e)) {
                log_err(&e, "cannot read VM and migrations", "namespace", ns, "vm", name, NULL);
                return WORK_RETRY;
        }
        return judge_all(a, conn, ns, name, &f, known, n);
}

/* --- disks of a VM whose deletion we saw to its end */

int64_t erase_work(struct agent *a, const char *rest)
{
        char ns[64], name[254], *slash;
        autofresh struct fresh f = {0};
        struct table_entry x;
        struct err e = {0};

        if (!agent_split(rest, ns, name) || !(slash = strchr(name, '/')))
                return WORK_DONE;
        *slash = '\0';
        const char *uuid = slash + 1;
        if (fresh_read(a->kube, ns, name, &f, &e))
                return WORK_RETRY;
        if (f.vm && !strcmp(f.vm->meta.uid, uuid))
                return WORK_DONE; /* it only moved away */
        if (table_get(a->table, uuid, &x) && x.known)
                return LOOK_AGAIN_MS; /* its domain goes first */
        if (disks_erase(a, uuid, NULL, &e)) {
                log_err(&e, "cannot remove the disks of a deleted VM", "vm", name, "uid", uuid,
                        NULL);
                return WORK_RETRY;
        }
        return WORK_DONE;
}

/* --- the cache */

static int decode(const struct json *j, void **out, struct err *e)
{
        struct vm *vm;
        int rc = vm_decode(j, &vm, e);

        if (!rc)
                *out = vm;
        return rc;
}

static void changed(void *ctx, const void *before, const void *after)
{
        struct agent *a = ctx;
        const struct vm *old = before, *vm = after ? after : before;

        agent_poke(a, 0, "vm/%s/%s", vm->meta.ns, vm->meta.name);
        if (after && vm_claimed_disk(vm))
                agent_poke(a, 0, "claims/%s/%s", vm->meta.ns, vm->meta.name);
        /* where something is to be retained, what else is left of it is left */
        if (!after && old->meta.deleting && !vm_retains(old))
                agent_poke(a, 0, "erase/%s/%s/%s", vm->meta.ns, vm->meta.name, vm->meta.uid);
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "VM is not understood", "vm", key, NULL);
}

static void watch_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "watch of VMs", NULL);
}

int vms_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        static const struct kube_store_type TYPE = {.decode = decode, .free = vm_free};
        const struct kube_store_hooks hooks = {changed, undecodable, a};
        char selector[300];

        retries_metric = metric_counter("drover_agent_guest_retries",
                                        "Guests let run on after an I/O error.", NULL);
        metric_add(retries_metric, NULL, 0);
        a->vms = kube_store_new(&TYPE, &hooks);
        if (!a->vms)
                return err_set(e, -ENOMEM, "out of memory");
        snprintf(selector, sizeof(selector), "status.owner.node=%s", a->config.node);
        struct kube_watch_config cfg = kube_store_feed(&KUBE_VMS, a->vms);
        cfg.field_selector = selector;
        cfg.error = watch_error;
        return kube_watch_start(a->kube, &cfg, out, e);
}
