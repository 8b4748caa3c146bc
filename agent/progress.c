/* Watches a running migration job: figures for the report, the allowed pause, and when to give up.
 */
#include "agent/move.h"
#include "agent/moves.h"
#include "base/log.h"
#include "core/converge.h"
#include "core/ramp.h"

#include <libvirt/virterror.h>
#include <stdio.h>

#define LOOK_MS      250
#define PAUSE_MAX_MS 2000000 /* the most that QEMU takes */

static int64_t now_ms(void)
{
        return mono_ms(mono_now());
}

static int64_t figure(virTypedParameterPtr p, int n, const char *name)
{
        unsigned long long v = 0;

        virTypedParamsGetULLong(p, n, name, &v);
        return v > INT64_MAX ? INT64_MAX : (int64_t)v;
}

/* Reads the running job's figures; the pass it is in, 0 when there is no job. */
static int64_t read_job(struct move *m, virDomainPtr dom)
{
        virTypedParameterPtr p = NULL;
        int n = 0, type = VIR_DOMAIN_JOB_NONE;

        if (virDomainGetJobStats(dom, &type, &p, &n, 0) < 0) {
                virResetLastError();
                return 0;
        }
        int64_t pass = figure(p, n, VIR_DOMAIN_JOB_MEMORY_ITERATION);
        if (type == VIR_DOMAIN_JOB_UNBOUNDED) {
                pthread_mutex_lock(&m->lock);
                struct transfer *t = &m->transfer;
                t->bytes_total = figure(p, n, VIR_DOMAIN_JOB_MEMORY_TOTAL) +
                                 figure(p, n, VIR_DOMAIN_JOB_DISK_TOTAL);
                t->bytes_done = figure(p, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED) +
                                figure(p, n, VIR_DOMAIN_JOB_DISK_PROCESSED);
                t->bytes_left = figure(p, n, VIR_DOMAIN_JOB_MEMORY_REMAINING) +
                                figure(p, n, VIR_DOMAIN_JOB_DISK_REMAINING);
                t->dirty_bytes_per_s = figure(p, n, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) *
                                       figure(p, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
                t->expected_downtime_ms = figure(p, n, VIR_DOMAIN_JOB_DOWNTIME);
                int throttle = 0;
                virTypedParamsGetInt(p, n, VIR_DOMAIN_JOB_AUTO_CONVERGE_THROTTLE, &throttle);
                t->throttle_percent = throttle;
                if (pass > t->iteration)
                        t->iteration = pass;
                if (!t->first_byte_us && t->bytes_done > 0)
                        t->first_byte_us = wall_us();
                pthread_mutex_unlock(&m->lock);
        }
        virTypedParamsFree(p, n);
        return pass;
}

int64_t progress_downtime(struct move *m)
{
        autodomain virDomainPtr dom = virDomainLookupByUUIDString(m->peer, m->uuid);
        virTypedParameterPtr p = NULL;
        int n = 0, type;
        int64_t ms = 0;

        if (dom && !virDomainGetJobStats(dom, &type, &p, &n, VIR_DOMAIN_JOB_STATS_COMPLETED))
                ms = figure(p, n, VIR_DOMAIN_JOB_DOWNTIME);
        virResetLastError();
        virTypedParamsFree(p, n);
        return ms;
}

/* Until the next look, a wish to cancel, or the end; false for the end. */
static bool wait_next(struct move *m, bool aborted)
{
        struct timespec until = cond_until(LOOK_MS);

        pthread_mutex_lock(&m->lock);
        while (!m->finished && !m->copied && (aborted || !m->cancel) &&
               cond_wait_until(&m->wake, &m->lock, &until))
                ;
        bool go_on = !m->finished && !m->copied;
        pthread_mutex_unlock(&m->lock);
        return go_on;
}

/* That is to be copied: memory, and the disks that come along. */
static int64_t bytes_of(struct move *m)
{
        const struct vm *vm = m->vm;

        pthread_mutex_lock(&m->lock);
        int64_t disks = carry_bytes(&m->transfer);
        pthread_mutex_unlock(&m->lock);
        return disks + (vm->status.has_running ? vm->status.running.memory : vm->spec.shape.memory);
}

/* The message of a transfer under way, and what will be said of it when it has ended. */
static void tell(struct move *m, const char *text, const char *remark)
{
        pthread_mutex_lock(&m->lock);
        if (m->transfer.state == TRANSFER_RUNNING)
                move_say(m, "%s", text);
        m->remark = remark;
        pthread_mutex_unlock(&m->lock);
        log_msg(LOG_WARN, text, "migration", m->key, NULL);
}

static bool tried(struct move *m, int rc, const char *what)
{
        struct err e;

        if (rc == 0)
                return true;
        virt_error(&e, "%s", what);
        log_err(&e, "libvirt refuses (yet)", "migration", m->key, NULL);
        return false;
}

/* QEMU ends the copy as soon as the rest takes no longer than this: always. */
static bool pause_guest(struct move *m, virDomainPtr dom)
{
        return tried(m, virDomainMigrateSetMaxDowntime(dom, PAUSE_MAX_MS, 0), "maximum downtime");
}

struct control {
        struct ramp ramp;
        struct converge converge;
        enum converge_action wish; /* decided, and not carried out yet */
        bool aborted, widest;
        int64_t bandwidth; /* last told to libvirt */
};

static void decide(struct move *m, struct control *c, int64_t pass)
{
        struct vm_migration_policy policy = m->vm->spec.migration;
        int64_t allowed = converge_allowed_ms(&policy, bytes_of(m));
        enum converge_action a;

        policy.post_copy &=
                !m->proven; /* it runs the target early: not where that is to be proven */
        pthread_mutex_lock(&m->lock);
        a = converge_step(&c->converge, &policy, pass, m->transfer.bytes_left,
                          mono_ms_between(m->began, mono_now()), allowed);
        /* a guest that stood still would wait for its disks first, which nobody hurries */
        if (a == CONVERGE_PAUSE && !pass && carry_copies(&m->transfer))
                a = CONVERGE_ABORT;
        m->timed_out |= a == CONVERGE_ABORT;
        if (m->cancel)
                a = CONVERGE_ABORT;
        pthread_mutex_unlock(&m->lock);
        if (a != CONVERGE_GO_ON)
                c->wish = a;
}

static void carry_out(struct move *m, virDomainPtr dom, struct control *c)
{
        switch (c->wish) {
        case CONVERGE_GO_ON:
                return;
        case CONVERGE_ABORT:
                if (!c->aborted && tried(m, virDomainAbortJob(dom), "abort"))
                        c->aborted = true;
                return;
        case CONVERGE_PAUSE:
                if (!pause_guest(m, dom))
                        return;
                c->widest = true;
                tell(m,
                     "not complete within the time allowed: the guest stands still until the "
                     "rest is sent (onTimeout: Pause)",
                     "; it stood still until the rest was sent (onTimeout: Pause)");
                break;
        case CONVERGE_POST_COPY:
                if (!tried(m, virDomainMigrateStartPostCopy(dom, 0), "post-copy"))
                        return;
                tell(m,
                     "the guest writes memory as fast as it is sent: it runs on the target, "
                     "which fetches the rest (postCopy)",
                     "; it ran there while the rest was fetched (postCopy)");
                break;
        }
        c->wish = CONVERGE_GO_ON;
}

/* The node's bandwidth is shared by the guests that leave it now. */
static void share(struct move *m, virDomainPtr dom, struct control *c)
{
        int64_t mibps = converge_bandwidth(m->vm->spec.migration.bandwidth_mibps,
                                           m->a->config.migration_bandwidth_mibps,
                                           moves_count(m->a->moves));

        if (mibps == c->bandwidth)
                return;
        if (tried(m, virDomainMigrateSetMaxSpeed(dom, (unsigned long)mibps, 0), "bandwidth"))
                c->bandwidth = mibps;
}

static void widen(struct move *m, virDomainPtr dom, struct control *c, int64_t pass)
{
        if (!c->widest && ramp_step(&c->ramp, pass, now_ms()))
                (void)tried(
                        m,
                        virDomainMigrateSetMaxDowntime(dom, (unsigned long long)c->ramp.now_ms, 0),
                        "maximum downtime");
}

/*
 * From the moment that the source's CPUs stand still nobody asks libvirt anything: an answer would
 * take the domain's lock inside of the pause.
 */
void *progress_run(void *move)
{
        struct move *m = move;
        struct err e;
        struct control ctl = {.bandwidth = m->vm->spec.migration.bandwidth_mibps};

        ramp_begin(&ctl.ramp, m->vm->spec.migration.max_downtime_ms, now_ms());
        while (wait_next(m, ctl.aborted)) {
                if (m->near)
                        continue;
                autoconnect virConnectPtr c = virt_connect(m->a->virt, &e);
                autodomain virDomainPtr dom = c ? virDomainLookupByUUIDString(c, m->uuid) : NULL;
                if (!dom)
                        continue;
                int64_t pass = read_job(m, dom);
                decide(m, &ctl, pass);
                carry_out(m, dom, &ctl);
                share(m, dom, &ctl);
                widen(m, dom, &ctl, pass);
        }
        virResetLastError();
        return NULL;
}
