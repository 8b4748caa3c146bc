#include "agent/mounts.h"

#include "agent/child.h"
#include "agent/locks.h"
#include "agent/mountinfo.h"
#include "agent/proc.h"
#include "agent/sync.h"
#include "agent/tool.h"
#include "base/mono.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>

struct prober {
        struct mounts *owner;
        const struct agent_pool *pool;
        pthread_t thread;
        struct child child; /* the one that is stuck */
        bool stuck;
        struct lock_holder holder;
        struct health health;
        char expected[40]; /* identity since it became healthy, "" while it is not */
        char device[32];
        struct mount_view view; /* under the owner's lock */
};

struct mounts {
        const struct agent_config *config;
        void (*changed)(void *ctx);
        void *ctx;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool stopping;
        pid_t libvirtd; /* 0: unknown, under lock */
        size_t n, started;
        struct prober probers[];
};

void mounts_new_libvirtd(struct mounts *m)
{
        pid_t pid = proc_socket_owner(m->config->libvirt_run);

        pthread_mutex_lock(&m->lock);
        m->libvirtd = pid;
        pthread_mutex_unlock(&m->lock);
}

/* What is mounted for libvirtd, and that it is the same for us: 0, or PROBE_NOT_MOUNTED and why. */
static enum probe_result look_at_mount(struct prober *p, struct mount_entry *out, char why[256])
{
        struct mount_entry theirs, ours;
        char file[64];
        struct err e;

        pthread_mutex_lock(&p->owner->lock);
        pid_t pid = p->owner->libvirtd;
        pthread_mutex_unlock(&p->owner->lock);
        int rc = mountinfo_read("/proc/self/mountinfo", p->pool->path, &ours, &e);
        if (rc) {
                snprintf(why, 256, "%.255s", e.msg);
                return PROBE_NOT_MOUNTED;
        }
        *out = ours;
        if (!pid)
                return PROBE_OK;
        snprintf(file, sizeof(file), "/proc/%d/mountinfo", pid);
        rc = mountinfo_read(file, p->pool->path, &theirs, &e);
        if (rc == -ENODEV) {
                snprintf(why, 256, "%.200s on the host", e.msg);
                return PROBE_NOT_MOUNTED;
        }
        if (!rc && strcmp(theirs.device, ours.device) != 0) {
                snprintf(why, 256, "the agent sees another mount at %.150s than libvirtd",
                         p->pool->path);
                return PROBE_NOT_MOUNTED;
        }
        return PROBE_OK; /* libvirtd is gone: what we see ourselves is the best there is */
}

/* The tool's line into the view. */
static enum probe_result judge_output(struct prober *p, const char *text, struct mount_view *v,
                                      char why[256])
{
        if (sscanf(text, "identity=%39s latency=%" SCNd64 " bytes=%" SCNd64 " inodes=%" SCNd64,
                   v->identity, &v->latency_us, &v->free_bytes, &v->free_inodes) != 4) {
                snprintf(why, 256, "the probe said \"%.200s\"", text);
                return PROBE_FAILED;
        }
        if (*p->expected && strcmp(p->expected, v->identity) != 0) {
                snprintf(why, 256, "another directory is mounted at %.180s than before",
                         p->pool->path);
                return PROBE_OTHER_MOUNT;
        }
        return PROBE_OK;
}

static enum probe_result ask_child(struct prober *p, struct mount_view *v, char why[256])
{
        const char *const argv[] = {
                AGENT_SELF, "tool", "probe", p->pool->path, p->owner->config->node, NULL};
        long long deadline = (long long)p->owner->config->probe_deadline_ms;
        struct child c;
        struct err e;

        if (child_start(&c, argv, &e)) {
                snprintf(why, 256, "%.255s", e.msg);
                return PROBE_FAILED;
        }
        enum probe_result r = PROBE_FAILED;
        if (!child_wait(&c, deadline)) {
                child_kill(&c);
                snprintf(why, 256, "no answer within %lld ms", deadline);
                r = PROBE_TIMEOUT;
                if (!child_wait(&c, CHILD_KILL_MS)) {
                        snprintf(why, 256, "hangs: a probe cannot even be killed");
                        p->child = c;
                        p->stuck = true;
                        return PROBE_STUCK;
                }
        } else if (WIFEXITED(c.status) && WEXITSTATUS(c.status) == 0) {
                r = judge_output(p, buf_str(&c.text), v, why);
        } else {
                snprintf(why, 256, "%.250s", c.text.len ? buf_str(&c.text) : "the probe crashed");
                why[strcspn(why, "\n")] = '\0';
        }
        child_free(&c);
        return r;
}

static enum probe_result probe_once(struct prober *p, struct mount_view *v, char why[256])
{
        struct mount_entry m;

        why[0] = '\0';
        if (p->stuck) {
                if (!child_wait(&p->child, 0)) {
                        snprintf(why, 256, "hangs: a probe cannot even be killed");
                        return PROBE_STUCK;
                }
                child_free(&p->child);
                p->stuck = false;
        }
        enum probe_result r = look_at_mount(p, &m, why);
        if (r != PROBE_OK)
                return r;
        snprintf(v->fstype, sizeof(v->fstype), "%s", m.fstype);
        snprintf(v->source, sizeof(v->source), "%s", m.source);
        return ask_child(p, v, why);
}

static void take_in(struct prober *p, enum probe_result r, struct mount_view *v, const char *why)
{
        struct mounts *m = p->owner;
        bool changed = health_step(&p->health, r, mono_now().ns / 1000000);

        if (p->health.state == MOUNT_UNHEALTHY)
                p->expected[0] = '\0';
        else if (r == PROBE_OK)
                memcpy(p->expected, v->identity, sizeof(p->expected));
        v->health = p->health.state;
        v->reason[0] = '\0';
        if (v->health == MOUNT_UNHEALTHY && r == PROBE_OK)
                snprintf(v->reason, sizeof(v->reason), "answers again, must go on doing so");
        else if (v->health == MOUNT_UNHEALTHY)
                snprintf(v->reason, sizeof(v->reason), "%s", why);
        pthread_mutex_lock(&m->lock);
        changed |= strcmp(p->view.identity, v->identity) != 0 || p->view.locked != v->locked ||
                   strcmp(p->view.source, v->source) != 0 || strcmp(p->view.reason, v->reason) != 0;
        p->view = *v;
        pthread_mutex_unlock(&m->lock);
        if (changed)
                m->changed(m->ctx);
}

static bool sleep_until_next(struct prober *p)
{
        struct timespec until = cond_until(health_next_ms(&p->health));
        struct mounts *m = p->owner;

        pthread_mutex_lock(&m->lock);
        while (!m->stopping && cond_wait_until(&m->wake, &m->lock, &until))
                ;
        bool go_on = !m->stopping;
        pthread_mutex_unlock(&m->lock);
        return go_on;
}

static void *probe_pool(void *arg)
{
        struct prober *p = arg;
        struct mount_view v = p->view;
        char why[256];

        do {
                enum probe_result r = probe_once(p, &v, why);
                v.locked = r == PROBE_OK &&
                           lock_hold(&p->holder, p->pool->path, p->owner->config->node);
                take_in(p, r, &v, why);
                (void)child_reap();
        } while (sleep_until_next(p));
        if (p->stuck)
                child_free(&p->child);
        lock_release(&p->holder);
        return NULL;
}

int mounts_start(const struct agent_config *c, void (*changed)(void *ctx), void *ctx,
                 struct mounts **out, struct err *e)
{
        struct mounts *m = calloc(1, sizeof(*m) + c->npools * sizeof(m->probers[0]));

        if (!m)
                return err_set(e, -ENOMEM, "out of memory");
        m->config = c;
        m->changed = changed;
        m->ctx = ctx;
        m->n = c->npools;
        pthread_mutex_init(&m->lock, NULL);
        cond_init(&m->wake);
        *out = m;
        for (size_t i = 0; i < m->n; i++) {
                struct prober *p = &m->probers[i];
                p->owner = m;
                p->pool = &c->pools[i];
                p->view.pool = c->pools[i].name;
                p->view.path = c->pools[i].path;
                snprintf(p->view.reason, sizeof(p->view.reason), "not probed yet");
        }
        for (size_t i = 0; i < m->n; i++) {
                int rc = -pthread_create(&m->probers[i].thread, NULL, probe_pool, &m->probers[i]);
                if (rc) {
                        mounts_stop(m);
                        *out = NULL;
                        return err_sys(e, rc, "thread");
                }
                m->started++;
        }
        return 0;
}

void mounts_stop(struct mounts *m)
{
        if (!m)
                return;
        pthread_mutex_lock(&m->lock);
        m->stopping = true;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
        for (size_t i = 0; i < m->started; i++)
                pthread_join(m->probers[i].thread, NULL);
        pthread_mutex_destroy(&m->lock);
        pthread_cond_destroy(&m->wake);
        free(m);
}

void mounts_view(struct mounts *m, struct mount_view *out)
{
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->n; i++)
                out[i] = m->probers[i].view;
        pthread_mutex_unlock(&m->lock);
}

bool mounts_usable(struct mounts *m, const char *pool, char why[320])
{
        bool usable = false;

        snprintf(why, 320, "this node has no pool %.200s", pool);
        pthread_mutex_lock(&m->lock);
        for (size_t i = 0; i < m->n; i++) {
                const struct mount_view *v = &m->probers[i].view;
                if (strcmp(v->pool, pool) != 0)
                        continue;
                usable = v->health == MOUNT_HEALTHY;
                snprintf(why, 320, "pool %.60s is not healthy: %.220s", pool, v->reason);
        }
        pthread_mutex_unlock(&m->lock);
        return usable;
}
