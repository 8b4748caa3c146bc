#include "agent/proofs.h"

#include "agent/child.h"
#include "agent/mountinfo.h"
#include "agent/tool.h"
#include "agent/words.h"
#include "base/hex.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "core/mountopts.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/wait.h>

#define WITHOUT_PIDFD_MS 50   /* between looks whether such a child has ended */
#define PEER_MS          100  /* of a look's deadline, for each other node */
#define STUCK_MS         1000 /* between looks at a child that cannot be killed */

struct pool_proof {
        const struct agent_pool *pool;
        struct child child;
        bool running, killed, failing;
        struct mono due, deadline;
        int64_t number; /* of this node's last word */
        /* under the lock */
        struct sharing_track *peers; /* sorted by node; grows, up to SHARING_PEERS_MAX */
        size_t n, size;
        int64_t looked_ms; /* when a look succeeded last; 0: never */
        bool local_locks, shown;
};

struct proofs {
        const struct agent_config *config;
        struct mounts *mounts;
        void (*changed)(void *ctx);
        void *ctx;
        pthread_t thread;
        int wake; /* eventfd: something has changed, or it is to end */
        atomic_bool stopping, nudged;
        char instance[SHARING_INSTANCE_MAX];
        pthread_mutex_t lock;
        size_t n;
        struct pool_proof pools[];
};

static struct metric *shared_metric, *not_shared_metric;

static pthread_once_t registered = PTHREAD_ONCE_INIT;
static void register_metrics(void)
{
        shared_metric =
                metric_gauge("drover_mount_shared_nodes",
                             "Other nodes with which the pool is proven to be shared.", "pool");
        not_shared_metric = metric_gauge("drover_mount_not_shared_nodes",
                                         "Other nodes known not to see the same pool.", "pool");
}

static int64_t now_ms(void)
{
        return mono_ms(mono_now()) + 1; /* 0 is never */
}

/* --- a look begins */

static void read_options(struct proofs *p, struct pool_proof *x)
{
        struct mount_entry m;
        struct mountopt o;
        struct err e;

        if (mountinfo_read("/proc/self/mountinfo", x->pool->path, &m, &e))
                return;
        pthread_mutex_lock(&p->lock);
        x->local_locks = mountopts_local_locks(m.fstype, m.options, &o);
        pthread_mutex_unlock(&p->lock);
}

/*
 * An unhealthy pool is not written to, but looked at where that may do: a guest that leaves it
 * wants the proof of where it goes. This node says that it holds its lock only where others could
 * be refused it.
 */
static void begin(struct proofs *p, struct pool_proof *x)
{
        struct mount_view views[AGENT_POOLS_MAX];
        const struct mount_view *v = &views[x - p->pools];
        char number[24];
        struct err e;

        x->due = mono_add_ms(mono_now(), sharing_period_ms(x->n));
        if (x->pool->local) /* nobody shares it: there is nothing to prove */
                return;
        mounts_view(p->mounts, views);
        if (!v->reads)
                return;
        read_options(p, x);
        snprintf(number, sizeof(number), "%" PRId64,
                 v->health == MOUNT_HEALTHY ? ++x->number : WORDS_NONE);
        const char *const argv[] = {AGENT_SELF,
                                    "tool",
                                    "words",
                                    x->pool->path,
                                    p->config->node,
                                    p->instance,
                                    number,
                                    v->locked && !x->local_locks ? "1" : "0",
                                    NULL};
        x->killed = false;
        x->deadline =
                mono_add_ms(mono_now(), p->config->probe_deadline_ms + (int64_t)x->n * PEER_MS);
        x->running = child_start(&x->child, argv, &e) == 0;
        if (!x->running)
                log_err(&e, "cannot look at the other nodes' words", "pool", x->pool->name, NULL);
}

/* --- a look has ended */

static bool grow(struct pool_proof *x)
{
        size_t size = x->size ? 2 * x->size : 8;

        if (x->n < x->size)
                return true;
        struct sharing_track *peers =
                size <= SHARING_PEERS_MAX ? realloc(x->peers, size * sizeof(*peers)) : NULL;
        if (!peers)
                return false;
        x->peers = peers;
        x->size = size;
        return true;
}

/* The node's, made where its name belongs; NULL when there is no room for it. */
static struct sharing_track *track_of(struct pool_proof *x, const char *node)
{
        size_t i = 0;

        while (i < x->n && strcmp(x->peers[i].node, node) < 0)
                i++;
        if (i < x->n && !strcmp(x->peers[i].node, node))
                return &x->peers[i];
        if (!grow(x))
                return NULL;
        memmove(&x->peers[i + 1], &x->peers[i], (x->n - i) * sizeof(*x->peers));
        x->n++;
        x->peers[i] = (struct sharing_track){0};
        snprintf(x->peers[i].node, sizeof(x->peers[i].node), "%s", node);
        return &x->peers[i];
}

/* Those of whom this look has shown nothing; whoever is silent for long is forgotten. */
static bool step_unseen(struct pool_proof *x, const struct sharing_clock *c)
{
        static const struct sharing_look NOTHING;
        bool changed = false;
        size_t kept = 0;

        for (size_t i = 0; i < x->n; i++) {
                struct sharing_track *t = &x->peers[i];

                if (t->looked_ms != c->now_ms)
                        changed |= sharing_step(t, &NOTHING, c);
                if (sharing_forgotten(t, c->now_ms))
                        changed = true;
                else
                        x->peers[kept++] = *t;
        }
        x->n = kept;
        return changed;
}

/* Under the lock; true when there is something to tell. */
static bool take_looks(struct pool_proof *x, const char *text)
{
        const struct sharing_clock c = {.now_ms = now_ms(),
                                        .now_us = wall_us(),
                                        .fresh_ms = sharing_fresh_ms(x->n),
                                        .local_locks = x->local_locks};
        bool changed = !x->shown;
        struct sharing_look look;
        char node[254];

        for (const char *end; (end = strchr(text, '\n')); text = end + 1) {
                struct sharing_track *t = NULL;

                if (words_line(text, (size_t)(end - text), node, &look))
                        t = track_of(x, node);
                if (t)
                        changed |= sharing_step(t, &look, &c);
        }
        changed |= step_unseen(x, &c);
        x->looked_ms = c.now_ms;
        x->shown = true;
        return changed;
}

static void count(const struct pool_proof *x)
{
        size_t by_state[3] = {0};

        for (size_t i = 0; i < x->n; i++)
                by_state[x->peers[i].state]++;
        metric_set(shared_metric, x->pool->name, (double)by_state[SHARING_SHARED]);
        metric_set(not_shared_metric, x->pool->name, (double)by_state[SHARING_NOT_SHARED]);
}

static void finish(struct proofs *p, struct pool_proof *x)
{
        bool ok = WIFEXITED(x->child.status) && WEXITSTATUS(x->child.status) == 0, changed = false;

        if (ok) {
                pthread_mutex_lock(&p->lock);
                changed = take_looks(x, buf_str(&x->child.text));
                count(x);
                pthread_mutex_unlock(&p->lock);
        } else if (!x->failing && !x->killed) {
                log_msg(LOG_WARN, "cannot look at the other nodes' words", "pool", x->pool->name,
                        "why", buf_str(&x->child.text), NULL);
        }
        x->failing = !ok;
        x->running = false;
        child_free(&x->child);
        if (changed)
                p->changed(p->ctx);
}

/* --- the thread */

static bool outdated(const struct pool_proof *x)
{
        return now_ms() - x->looked_ms > sharing_fresh_ms(x->n);
}

/* What was shown counts no more, as no look succeeds. */
static void expire(struct proofs *p, struct pool_proof *x)
{
        pthread_mutex_lock(&p->lock);
        bool changed = x->shown && outdated(x);
        if (changed) {
                x->shown = false;
                metric_set(shared_metric, x->pool->name, 0);
        }
        pthread_mutex_unlock(&p->lock);
        if (changed)
                p->changed(p->ctx);
}

/* What there is to do for the pool now; the milliseconds until there is more. */
static int64_t turn(struct proofs *p, struct pool_proof *x)
{
        if (x->running && child_wait(&x->child, 0))
                finish(p, x);
        if (!x->running && mono_ms_between(mono_now(), x->due) <= 0)
                begin(p, x);
        expire(p, x);
        if (!x->running)
                return mono_ms_between(mono_now(), x->due);
        if (x->killed)
                return STUCK_MS;
        int64_t left = mono_ms_between(mono_now(), x->deadline);
        if (left <= 0) {
                child_kill(&x->child);
                x->killed = true;
                return 0;
        }
        return x->child.pidfd < 0 && left > WITHOUT_PIDFD_MS ? WITHOUT_PIDFD_MS : left;
}

static void await(struct proofs *p, int64_t ms)
{
        struct pollfd fds[1 + 2 * AGENT_POOLS_MAX];
        nfds_t n = 0;
        uint64_t sum;

        fds[n++] = (struct pollfd){.fd = p->wake, .events = POLLIN};
        for (size_t i = 0; i < p->n; i++) {
                const struct pool_proof *x = &p->pools[i];

                if (!x->running)
                        continue;
                fds[n++] = (struct pollfd){.fd = x->child.pidfd, .events = POLLIN};
                fds[n++] = (struct pollfd){.fd = x->child.out, .events = POLLIN};
        }
        if (poll(fds, n, ms < 0 ? 0 : (int)ms) > 0 && fds[0].revents)
                (void)!read(p->wake, &sum, sizeof(sum));
}

static void *prove(void *arg)
{
        struct proofs *p = arg;

        while (!p->stopping) {
                int64_t next = SHARING_PERIOD_MS;
                bool nudged = atomic_exchange(&p->nudged, false);

                for (size_t i = 0; i < p->n; i++) {
                        if (nudged)
                                p->pools[i].due = mono_now();
                        int64_t ms = turn(p, &p->pools[i]);
                        next = ms < next ? ms : next;
                }
                await(p, next);
        }
        return NULL;
}

static void wake(struct proofs *p)
{
        uint64_t one = 1;

        (void)!write(p->wake, &one, sizeof(one));
}

void proofs_nudge(struct proofs *p)
{
        if (!p)
                return;
        p->nudged = true;
        wake(p);
}

/* --- what is known */

static int copy(const struct pool_proof *x, struct arena *a, struct proof_view *v)
{
        v->local_locks = x->local_locks;
        v->n = 0;
        if (!x->shown)
                return 0;
        v->peers = arena_array(a, x->n, sizeof(*v->peers));
        for (size_t i = 0; i < x->n && v->peers; i++) {
                const struct sharing_track *t = &x->peers[i];
                const char *node = arena_strdup(a, t->node);

                if (!node)
                        return -ENOMEM;
                v->peers[v->n++] = (struct host_peer){node, t->state, t->locks, t->since_us,
                                                      sharing_reason(t->flaw)};
        }
        return v->peers ? 0 : -ENOMEM;
}

int proofs_view(struct proofs *p, struct arena *a, struct proof_view *out)
{
        int rc = 0;

        pthread_mutex_lock(&p->lock);
        for (size_t i = 0; i < p->n && !rc; i++)
                rc = copy(&p->pools[i], a, &out[i]);
        pthread_mutex_unlock(&p->lock);
        return rc;
}

static const struct sharing_track *find(const struct pool_proof *x, const char *node)
{
        for (size_t i = 0; i < x->n; i++)
                if (!strcmp(x->peers[i].node, node))
                        return &x->peers[i];
        return NULL;
}

bool proofs_shared(struct proofs *p, const char *pool, const char *node, bool *locks, char why[320])
{
        bool shared = false;

        *locks = false;
        snprintf(why, 320, "this node has no pool %.200s", pool);
        pthread_mutex_lock(&p->lock);
        for (size_t i = 0; i < p->n; i++) {
                const struct pool_proof *x = &p->pools[i];
                if (strcmp(x->pool->name, pool) != 0)
                        continue;
                const struct sharing_track *t = outdated(x) ? NULL : find(x, node);
                shared = t && t->state == SHARING_SHARED;
                *locks = shared && t->locks;
                snprintf(why, 320, "no proof that %.60s sees the same pool %.60s as this node: %s",
                         node, pool, t ? sharing_reason(t->flaw) : "no word of it was ever here");
        }
        pthread_mutex_unlock(&p->lock);
        return shared;
}

/* --- beginning and end */

int proofs_start(const struct agent_config *c, struct mounts *m, void (*changed)(void *ctx),
                 void *ctx, struct proofs **out, struct err *e)
{
        struct proofs *p = calloc(1, sizeof(*p) + c->npools * sizeof(p->pools[0]));

        if (!p)
                return err_set(e, -ENOMEM, "out of memory");
        p->config = c;
        p->mounts = m;
        p->changed = changed;
        p->ctx = ctx;
        p->n = c->npools;
        for (size_t i = 0; i < p->n; i++)
                p->pools[i].pool = &c->pools[i];
        hex_random(p->instance, (SHARING_INSTANCE_MAX - 1) / 2);
        pthread_mutex_init(&p->lock, NULL);
        pthread_once(&registered, register_metrics);
        p->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        int rc = p->wake < 0 ? -errno : -pthread_create(&p->thread, NULL, prove, p);
        if (rc) {
                proofs_free(p);
                return err_sys(e, rc, "the thread of proofs");
        }
        *out = p;
        return 0;
}

void proofs_stop(struct proofs *p)
{
        if (!p)
                return;
        p->stopping = true;
        wake(p);
        pthread_join(p->thread, NULL);
        for (size_t i = 0; i < p->n; i++)
                if (p->pools[i].running)
                        child_free(&p->pools[i].child);
}

void proofs_free(struct proofs *p)
{
        if (!p)
                return;
        for (size_t i = 0; i < p->n; i++)
                free(p->pools[i].peers);
        if (p->wake >= 0)
                close(p->wake);
        pthread_mutex_destroy(&p->lock);
        free(p);
}
