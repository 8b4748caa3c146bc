/* Watches a running migration job: figures for the report, the allowed pause, and when to give up.
 */
#include "agent/move.h"
#include "base/log.h"
#include "core/ramp.h"

#include <libvirt/virterror.h>
#include <stdio.h>

#define LOOK_MS 250

static int64_t now_ms(void)
{
        return mono_now().ns / 1000000;
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
                t->bytes_total = figure(p, n, VIR_DOMAIN_JOB_MEMORY_TOTAL);
                t->bytes_done = figure(p, n, VIR_DOMAIN_JOB_MEMORY_PROCESSED);
                t->bytes_left = figure(p, n, VIR_DOMAIN_JOB_MEMORY_REMAINING);
                t->dirty_bytes_per_s = figure(p, n, VIR_DOMAIN_JOB_MEMORY_DIRTY_RATE) *
                                       figure(p, n, VIR_DOMAIN_JOB_MEMORY_PAGE_SIZE);
                t->expected_downtime_ms = figure(p, n, VIR_DOMAIN_JOB_DOWNTIME);
                if (pass > t->iteration)
                        t->iteration = pass;
                if (!t->first_byte_us && t->bytes_done > 0)
                        t->first_byte_us = wall_us();
                pthread_mutex_unlock(&m->lock);
        }
        virTypedParamsFree(p, n);
        return pass;
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

/* Seconds that the copy may take. */
static int64_t time_allowed(const struct move *m)
{
        const int64_t gib = 1 << 30;
        int64_t memory =
                m->vm->status.has_running ? m->vm->status.running.memory : m->vm->spec.shape.memory;
        int64_t gibs = (memory + gib - 1) / gib;

        return m->vm->spec.migration.completion_timeout_s_per_gib * (gibs > 0 ? gibs : 1);
}

static bool must_end(struct move *m)
{
        int64_t allowed = time_allowed(m);

        pthread_mutex_lock(&m->lock);
        if (allowed > 0 && mono_ms_between(m->began, mono_now()) > allowed * 1000)
                m->timed_out = true;
        bool yes = m->cancel || m->timed_out;
        pthread_mutex_unlock(&m->lock);
        return yes;
}

static bool abort_job(struct move *m, virDomainPtr dom)
{
        struct err e;

        if (virDomainAbortJob(dom) == 0)
                return true;
        virt_error(&e, "abort");
        log_err(&e, "cannot abort the migration (yet)", "migration", m->key, NULL);
        return false;
}

static void widen(struct move *m, virDomainPtr dom, struct ramp *r, int64_t pass)
{
        struct err e;

        if (!ramp_step(r, pass, now_ms()))
                return;
        if (virDomainMigrateSetMaxDowntime(dom, (unsigned long long)r->now_ms, 0) < 0) {
                virt_error(&e, "maximum downtime");
                log_err(&e, "cannot widen the allowed pause", "migration", m->key, NULL);
        }
}

/*
 * From the moment that the source's CPUs stand still nobody asks libvirt anything: an answer would
 * take the domain's lock inside of the pause.
 */
void *progress_run(void *move)
{
        struct move *m = move;
        struct err e;
        struct ramp ramp;
        bool aborted = false;

        ramp_begin(&ramp, m->vm->spec.migration.max_downtime_ms, now_ms());
        while (wait_next(m, aborted)) {
                if (m->near)
                        continue;
                autoconnect virConnectPtr c = virt_connect(m->a->virt, &e);
                autodomain virDomainPtr dom = c ? virDomainLookupByUUIDString(c, m->uuid) : NULL;
                if (!dom)
                        continue;
                if (!aborted && must_end(m))
                        aborted = abort_job(m, dom);
                widen(m, dom, &ramp, read_job(m, dom));
        }
        virResetLastError();
        return NULL;
}
