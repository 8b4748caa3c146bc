#include "agent/mounts.h"

#include "agent/locks.h"
#include "agent/mountpools.h"
#include "agent/prober.h"
#include "agent/proc.h"
#include "base/file.h"
#include "base/log.h"
#include "base/metrics.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>

#define MOUNTINFO_MAX ((size_t)16 << 20)
#define WATCH_FDS     (PROBER_FDS + LOCK_FDS)

/* A mount and what is known of it: the thread's own, but for the view. */
struct watch {
        const struct agent_pool *pool;
        struct prober prober;
        bool probing;
        struct mono next; /* probe, when none is under way */
        struct lock_holder holder;
        struct health health;
        char device[32];         /* of what was mounted at the last look, "": nothing */
        char expected[40];       /* identity since it became healthy, "" while it is not */
        struct mount_view now;   /* as the thread goes along */
        struct mount_view shown; /* to all, under the lock */
};

struct mounts {
        const struct agent_config *config;
        struct health_limits limits;
        void (*changed)(void *ctx);
        void *ctx;
        pthread_t thread;
        int wake; /* an eventfd: ends the thread's wait */
        atomic_bool stopping;
        pthread_mutex_t lock;
        pid_t libvirtd; /* 0: unknown, under lock */
        struct pollfd *fds;
        size_t n;
        struct watch watches[];
};

static struct metric *healthy_metric, *latency_metric, *bytes_metric, *inodes_metric, *stuck_metric,
        *probes_metric;

/* Once: the threads of all that were started before use them. */
static pthread_once_t registered = PTHREAD_ONCE_INIT;
static void register_metrics(void)
{
        static const double BOUNDS[] = {0.001, 0.002, 0.005, 0.01, 0.02, 0.05,
                                        0.1,   0.2,   0.5,   1,    2,    5};

        healthy_metric =
                metric_gauge("drover_mount_healthy", "1 when the pool's mount is healthy.", "pool");
        latency_metric =
                metric_histogram("drover_mount_probe_seconds",
                                 "Writing, forcing out and reading back a small file in the pool.",
                                 "pool", BOUNDS, countof(BOUNDS));
        bytes_metric = metric_gauge("drover_mount_free_bytes", "Free bytes in the pool.", "pool");
        inodes_metric =
                metric_gauge("drover_mount_free_inodes", "Free inodes in the pool.", "pool");
        stuck_metric = metric_gauge("drover_mount_stuck_children",
                                    "Probes of the pool that not even SIGKILL ends.", "pool");
        probes_metric =
                metric_counter("drover_mount_probes", "Probes of all pools by verdict.", "verdict");
        for (int r = 0; r < PROBE_RESULTS; r++)
                metric_add(probes_metric, probe_result_name((enum probe_result)r), 0);
}

/* --- what is mounted */

/* The tables of mounts as they are now, read once for all mounts whose time has come. */
struct tables {
        bool read;
        struct buf ours, theirs;
        bool have_ours, have_theirs; /* libvirtd's may be out of sight */
        char why[PROBE_WHY_MAX];
};

static void read_tables(struct mounts *m, struct tables *t)
{
        char file[64];
        struct err e;

        if (t->read)
                return;
        *t = (struct tables){
                .read = true, .ours = buf_new(MOUNTINFO_MAX), .theirs = buf_new(MOUNTINFO_MAX)};
        t->have_ours = !file_read("/proc/self/mountinfo", &t->ours, &e);
        if (!t->have_ours)
                snprintf(t->why, sizeof(t->why), "%.255s", e.msg);
        pthread_mutex_lock(&m->lock);
        pid_t pid = m->libvirtd;
        pthread_mutex_unlock(&m->lock);
        if (!pid)
                return;
        snprintf(file, sizeof(file), "/proc/%d/mountinfo", pid);
        t->have_theirs = !file_read(file, &t->theirs, &e);
}

static void free_tables(struct tables *t)
{
        buf_free(&t->ours);
        buf_free(&t->theirs);
        t->read = false;
}

/* The source that must be mounted there, "" when nobody has said so. */
static void wanted_source(const struct agent_pool *pool, char out[MOUNT_SOURCE_MAX])
{
        if (pool->source)
                snprintf(out, MOUNT_SOURCE_MAX, "%s", pool->source);
        else if (!mount_pools_source(MOUNT_POOLS_FILE, pool->path, out))
                *out = '\0';
}

static enum probe_result look_at_source(const struct agent_pool *pool, const struct mount_entry *m,
                                        char why[PROBE_WHY_MAX])
{
        char want[MOUNT_SOURCE_MAX];

        wanted_source(pool, want);
        if (*want && mountplan_decide(want, m->source) == MOUNTPLAN_REFUSE) {
                snprintf(why, PROBE_WHY_MAX, "%.100s is mounted at %.60s, and not %.60s", m->source,
                         pool->path, want);
                return PROBE_WRONG_EXPORT;
        }
        if (m->read_only) {
                snprintf(why, PROBE_WHY_MAX, "%.100s is mounted read-only at %.100s", m->source,
                         pool->path);
                return PROBE_READ_ONLY;
        }
        return PROBE_OK;
}

/* What is mounted for libvirtd, and that it is the same for us: PROBE_OK and out, or why not. */
static enum probe_result look_at_mount(const struct agent_pool *pool, const struct tables *t,
                                       struct mount_entry *out, char why[PROBE_WHY_MAX])
{
        struct mount_entry theirs;

        if (!t->have_ours) {
                snprintf(why, PROBE_WHY_MAX, "%s", t->why);
                return PROBE_FAILED;
        }
        if (!mountinfo_find(buf_str(&t->ours), pool->path, out)) {
                snprintf(why, PROBE_WHY_MAX, "nothing is mounted at %.200s", pool->path);
                return PROBE_NOT_MOUNTED;
        }
        /* libvirtd is gone: what we see ourselves is the best there is */
        if (t->have_theirs && !mountinfo_find(buf_str(&t->theirs), pool->path, &theirs)) {
                snprintf(why, PROBE_WHY_MAX, "nothing is mounted at %.200s on the host",
                         pool->path);
                return PROBE_NOT_MOUNTED;
        }
        if (t->have_theirs && !mountinfo_same(out, &theirs)) {
                snprintf(why, PROBE_WHY_MAX, "the agent sees another mount at %.150s than libvirtd",
                         pool->path);
                return PROBE_NOT_MOUNTED;
        }
        out->read_only |= t->have_theirs && theirs.read_only; /* a mount's own flag is not shared */
        return look_at_source(pool, out, why);
}

/* --- results */

static void show(struct mounts *m, struct watch *w, bool changed)
{
        const struct mount_view *was = &w->shown, *is = &w->now;

        pthread_mutex_lock(&m->lock);
        changed |= strcmp(was->identity, is->identity) != 0 || was->locked != is->locked ||
                   strcmp(was->source, is->source) != 0 || strcmp(was->reason, is->reason) != 0 ||
                   strcmp(was->verdict, is->verdict) != 0 || was->stuck != is->stuck;
        w->shown = w->now;
        pthread_mutex_unlock(&m->lock);
        if (changed)
                m->changed(m->ctx);
}

static void measure(const struct watch *w, const struct probe_report *r)
{
        const char *pool = w->pool->name;

        metric_add(probes_metric, probe_result_name(r->verdict), 1);
        metric_set(healthy_metric, pool, w->health.state == MOUNT_HEALTHY);
        metric_set(stuck_metric, pool, w->prober.stuck);
        if (!*r->identity)
                return;
        metric_observe(latency_metric, pool, (double)r->latency_us / 1e6);
        metric_set(bytes_metric, pool, (double)r->free_bytes);
        metric_set(inodes_metric, pool, (double)r->free_inodes);
}

/*
 * Sentences say nothing that differs from probe to probe, or each would be published.
 *
 * The probe itself went well: is it the directory that it was, fast, and with room?
 */
static void judge(const struct mounts *m, const struct watch *w, struct probe_report *r)
{
        if (*w->expected && strcmp(w->expected, r->identity) != 0) {
                r->verdict = PROBE_WRONG_EXPORT;
                snprintf(r->why, sizeof(r->why),
                         "another directory is mounted at %.180s than before", w->pool->path);
                return;
        }
        r->verdict = health_judge(&m->limits, r->latency_us, r->free_bytes, r->free_inodes,
                                  r->counts_inodes);
        if (r->verdict == PROBE_FULL)
                snprintf(r->why, sizeof(r->why), "less than %lld bytes or %lld inodes are free",
                         (long long)m->limits.min_free_bytes, (long long)m->limits.min_free_inodes);
        else if (r->verdict == PROBE_SLOW)
                snprintf(r->why, sizeof(r->why), "a small write takes longer than %lld ms",
                         (long long)m->limits.slow_ms);
}

static void explain(struct watch *w, const struct probe_report *r)
{
        struct mount_view *v = &w->now;

        v->verdict = health_verdict(&w->health);
        v->mend = "";
        v->reason[0] = '\0';
        if (v->health != MOUNT_UNHEALTHY)
                return;
        if (r->verdict == PROBE_OK) {
                snprintf(v->reason, sizeof(v->reason), "%s: answers again, must go on doing so",
                         v->verdict);
                return;
        }
        v->mend = probe_result_mend(r->verdict);
        snprintf(v->reason, sizeof(v->reason), "%s: %s", v->verdict, r->why);
}

static void take_in(struct mounts *m, struct watch *w, struct probe_report *r)
{
        struct mount_view *v = &w->now;
        struct mono now = mono_now();

        if (r->verdict == PROBE_OK)
                judge(m, w, r);
        bool changed = health_step(&w->health, &m->limits, r->verdict, mono_ms(now));
        if (w->health.state == MOUNT_UNHEALTHY)
                w->expected[0] = '\0';
        else if (r->verdict == PROBE_OK)
                snprintf(w->expected, sizeof(w->expected), "%s", r->identity);
        if (*r->identity) {
                memcpy(v->identity, r->identity, sizeof(v->identity));
                v->latency_us = r->latency_us;
                v->free_bytes = r->free_bytes;
                v->free_inodes = r->free_inodes;
        }
        v->health = w->health.state;
        v->stuck = w->prober.stuck;
        v->reads = probe_result_reads(r->verdict);
        v->locked = r->verdict == PROBE_OK && !w->pool->local &&
                    lock_hold(&w->holder, w->pool->path, m->config->node);
        explain(w, r);
        measure(w, r);
        if (changed)
                log_msg(v->health == MOUNT_HEALTHY ? LOG_INFO : LOG_WARN,
                        v->health == MOUNT_HEALTHY ? "a pool is healthy" : "a pool is unhealthy",
                        "pool", v->pool, "reason", v->reason, NULL);
        w->probing = false;
        w->next = mono_add_ms(now, health_next_ms(&w->health, &m->limits));
        show(m, w, changed);
}

/* --- the thread */

/* A lock on what was mounted before proves nothing of what is mounted now. */
static void note_device(struct watch *w, const char *device)
{
        if (strcmp(w->device, device) == 0)
                return;
        snprintf(w->device, sizeof(w->device), "%s", device);
        lock_kill(&w->holder);
}

static void begin(struct mounts *m, struct watch *w, struct tables *t, struct mono now)
{
        struct probe_report r = {0};
        struct mount_entry entry = {0};

        read_tables(m, t);
        r.verdict = look_at_mount(w->pool, t, &entry, r.why);
        note_device(w, entry.device);
        if (*entry.source) {
                snprintf(w->now.fstype, sizeof(w->now.fstype), "%s", entry.fstype);
                snprintf(w->now.source, sizeof(w->now.source), "%s", entry.source);
        }
        if (r.verdict != PROBE_OK) {
                take_in(m, w, &r);
                return;
        }
        w->probing = true;
        prober_begin(&w->prober, &entry, now);
}

static void step(struct mounts *m, struct watch *w, struct tables *t, struct mono now)
{
        bool locked = lock_held(&w->holder) && w->health.last == PROBE_OK;

        if (locked != w->now.locked) {
                w->now.locked = locked;
                show(m, w, false);
        }
        if (w->probing && prober_step(&w->prober, now))
                take_in(m, w, &w->prober.report);
        if (!w->probing && (prober_released(&w->prober) || mono_ms_between(now, w->next) <= 0))
                begin(m, w, t, now);
}

static size_t gather(struct mounts *m, struct mono now, int *wait_ms)
{
        size_t n = 0;
        int64_t wait = m->limits.period_ms;

        m->fds[n++] = (struct pollfd){.fd = m->wake, .events = POLLIN};
        for (size_t i = 0; i < m->n; i++) {
                const struct watch *w = &m->watches[i];
                int64_t rest = w->probing ? prober_wait_ms(&w->prober, now)
                                          : mono_ms_between(now, w->next) + 1;
                wait = rest < wait ? rest : wait;
                n += prober_fds(&w->prober, m->fds + n);
                n += lock_fds(&w->holder, m->fds + n);
        }
        *wait_ms = wait > 0 ? (int)wait : 0;
        return n;
}

static void *look_after_all(void *arg)
{
        struct mounts *m = arg;

        while (!m->stopping) {
                struct tables t = {0};
                uint64_t ignored;
                int wait_ms;

                for (size_t i = 0; i < m->n; i++)
                        step(m, &m->watches[i], &t, mono_now());
                free_tables(&t);
                (void)child_reap();
                size_t n = gather(m, mono_now(), &wait_ms);
                if (poll(m->fds, n, wait_ms) > 0 && m->fds[0].revents)
                        (void)!read(m->wake, &ignored, sizeof(ignored));
        }
        return NULL;
}

/* --- beginning and end */

static void wake(struct mounts *m)
{
        (void)!write(m->wake, &(uint64_t){1}, sizeof(uint64_t));
}

void mounts_new_libvirtd(struct mounts *m)
{
        pid_t pid = proc_socket_owner(m->config->libvirt_run);

        pthread_mutex_lock(&m->lock);
        m->libvirtd = pid;
        pthread_mutex_unlock(&m->lock);
}

static void init_watch(struct watch *w, const struct agent_config *c, const struct agent_pool *pool)
{
        w->pool = pool;
        w->prober = (struct prober){
                .path = pool->path, .node = c->node, .deadline_ms = c->probe_deadline_ms};
        w->now.pool = pool->name;
        w->now.path = pool->path;
        w->now.local = pool->local;
        w->now.verdict = health_verdict(&w->health);
        w->now.mend = "";
        snprintf(w->now.reason, sizeof(w->now.reason), "not probed yet");
        w->shown = w->now;
}

static struct mounts *new_mounts(const struct agent_config *c)
{
        struct mounts *m = calloc(1, sizeof(*m) + c->npools * sizeof(m->watches[0]));

        if (!m)
                return NULL;
        m->fds = calloc(1 + c->npools * WATCH_FDS, sizeof(*m->fds));
        m->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        pthread_mutex_init(&m->lock, NULL);
        m->config = c;
        m->limits = c->health;
        if (!m->limits.period_ms)
                m->limits = (struct health_limits)HEALTH_DEFAULTS;
        m->n = c->npools;
        for (size_t i = 0; i < m->n; i++)
                init_watch(&m->watches[i], c, &c->pools[i]);
        return m;
}

int mounts_start(const struct agent_config *c, void (*changed)(void *ctx), void *ctx,
                 struct mounts **out, struct err *e)
{
        struct mounts *m = new_mounts(c);

        if (!m || !m->fds || m->wake < 0) {
                if (m)
                        mounts_free(m);
                return err_set(e, -ENOMEM, "out of memory or of descriptors");
        }
        pthread_once(&registered, register_metrics);
        m->changed = changed;
        m->ctx = ctx;
        *out = m;
        int rc = -pthread_create(&m->thread, NULL, look_after_all, m);
        if (rc) {
                *out = NULL;
                mounts_free(m);
                return err_sys(e, rc, "thread");
        }
        return 0;
}

void mounts_stop(struct mounts *m)
{
        if (!m)
                return;
        m->stopping = true;
        wake(m);
        pthread_join(m->thread, NULL);
        for (size_t i = 0; i < m->n; i++) {
                prober_kill(&m->watches[i].prober);
                lock_kill(&m->watches[i].holder);
        }
        struct mono end = mono_add_ms(mono_now(), CHILD_KILL_MS);
        for (size_t i = 0; i < m->n; i++) {
                prober_free(&m->watches[i].prober, end);
                lock_free(&m->watches[i].holder, end);
        }
}

void mounts_free(struct mounts *m)
{
        if (!m)
                return;
        if (m->wake >= 0)
                close(m->wake);
        pthread_mutex_destroy(&m->lock);
        free(m->fds);
        free(m);
}

void mounts_view(struct mounts *m, struct mount_view *out)
{
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->n; i++)
                out[i] = m->watches[i].shown;
        pthread_mutex_unlock(&m->lock);
}

bool mounts_usable(struct mounts *m, const char *pool, char why[320])
{
        bool usable = false;

        snprintf(why, 320, "this node has no pool %.200s", pool);
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->n; i++) {
                const struct mount_view *v = &m->watches[i].shown;
                if (strcmp(v->pool, pool) != 0)
                        continue;
                usable = v->health == MOUNT_HEALTHY;
                snprintf(why, 320, "pool %.60s is not healthy: %.220s", pool, v->reason);
        }
        pthread_mutex_unlock(&m->lock);
        return usable;
}

void mounts_identity(struct mounts *m, const char *pool, char out[MOUNT_IDENTITY_MAX])
{
        *out = '\0';
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->n; i++) {
                const struct mount_view *v = &m->watches[i].shown;
                if (!strcmp(v->pool, pool) && v->health == MOUNT_HEALTHY)
                        memcpy(out, v->identity, MOUNT_IDENTITY_MAX);
        }
        pthread_mutex_unlock(&m->lock);
}
