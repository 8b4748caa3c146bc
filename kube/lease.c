/* Leader election: one thread that looks at the Lease each retry_ms and acts on what it sees. */
#include "kube/lease.h"

#include "kube/backoff.h"
#include "kube/random.h"
#include "kube/request.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

struct kube_election {
        struct kube_client *client;
        struct kube_election_config cfg; /* strings are ours */
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t cond;
        int waiters;
        bool stopping;
        bool held;           /* the last thing known: the Lease is ours */
        struct mono renewed; /* when the request that last renewed it was sent */
        uint64_t term;       /* how often it became ours */

        /* The thread's own: the Lease as last seen, and since when. */
        char seen[256];
        struct mono seen_at;
};

/* --- the object */

static const char *holder_of(const struct json *lease)
{
        return json_str(json_get(lease, "spec"), "holderIdentity", "");
}

static int seconds(int64_t ms)
{
        return ms < 1000 ? 1 : (int)((ms + 999) / 1000);
}

/* Writes holder, duration and renewal into a Lease; acquire: it changes hands. */
static bool fill(struct json *lease, const char *identity, int duration_s, bool acquire)
{
        struct json *spec = json_object_at(lease, "spec");
        int64_t transitions = json_int(spec, "leaseTransitions", -1);
        char now[RFC3339_MAX];

        rfc3339_format(wall_us(), 1, now);
        if (!json_set_str(spec, "holderIdentity", identity) ||
            !json_set_str(spec, "renewTime", now) ||
            !json_set_int(spec, "leaseDurationSeconds", duration_s))
                return false;
        return !acquire || (json_set_str(spec, "acquireTime", now) &&
                            json_set_int(spec, "leaseTransitions", transitions + 1));
}

static struct json *new_lease(const char *ns, const char *name, const char *identity,
                              int duration_s)
{
        struct json *o = json_new_object(), *meta = json_object_at(o, "metadata");

        if (json_set_str(o, "apiVersion", "coordination.k8s.io/v1") &&
            json_set_str(o, "kind", "Lease") && json_set_str(meta, "name", name) &&
            json_set_str(meta, "namespace", ns) && fill(o, identity, duration_s, true))
                return o;
        json_free(o);
        return NULL;
}

/* --- requests of the election: short, not retried, since the loop asks again anyhow */

static int request(struct kube_election *el, const char *method, const struct json *body,
                   struct json **out)
{
        bool create = strcmp(method, "POST") == 0;
        struct kube_call call = {.method = method,
                                 .resource = &KUBE_LEASES,
                                 .ns = el->cfg.ns,
                                 .name = create ? NULL : el->cfg.name,
                                 .content_type = "application/json",
                                 .body = body,
                                 .deadline_ms = el->cfg.renew_ms / 2,
                                 .once = true};
        struct err e;
        int rc = kube_call_run(el->client, &call, out, &e);

        /* Not there yet, or another candidate was faster: nothing to tell. */
        if (rc < 0 && rc != -ENOENT && rc != -EAGAIN && rc != -EEXIST && el->cfg.error) {
                err_wrap(&e, "election %s/%s", el->cfg.ns, el->cfg.name);
                el->cfg.error(el->cfg.ctx, &e);
        }
        return rc;
}

static int create(struct kube_election *el)
{
        autojson struct json *lease =
                new_lease(el->cfg.ns, el->cfg.name, el->cfg.identity, seconds(el->cfg.lease_ms));

        return lease ? request(el, "POST", lease, NULL) : -ENOMEM;
}

/* The update carries the resourceVersion that was read: of two candidates one wins. */
static int take(struct kube_election *el, struct json *lease, bool acquire)
{
        if (!fill(lease, el->cfg.identity, seconds(el->cfg.lease_ms), acquire))
                return -ENOMEM;
        return request(el, "PUT", lease, NULL);
}

/* --- judgement */

/* Remembers the Lease; the time of the look that first saw it as it is starts its duration. */
static void look(struct kube_election *el, const struct json *lease, struct mono now)
{
        const struct json *spec = json_get(lease, "spec");
        char mark[sizeof(el->seen)];

        snprintf(mark, sizeof(mark), "%s %s", json_str(spec, "renewTime", ""), holder_of(lease));
        if (strcmp(mark, el->seen) == 0)
                return;
        memcpy(el->seen, mark, sizeof(mark));
        el->seen_at = now;
}

static bool expired(const struct kube_election *el, const struct json *lease, struct mono now)
{
        int64_t s = json_int(json_get(lease, "spec"), "leaseDurationSeconds", 0);
        int64_t ms = s > 0 && s < 86400 ? s * 1000 : el->cfg.lease_ms;

        return mono_ms_between(el->seen_at, now) >= ms;
}

/* With the lock held. */
static bool leading(const struct kube_election *el)
{
        return el->held && mono_ms_between(el->renewed, mono_now()) < el->cfg.renew_ms;
}

static void set_held(struct kube_election *el, bool held, struct mono renewed)
{
        pthread_mutex_lock(&el->lock);
        el->term += held && !leading(el);
        el->held = held;
        if (held)
                el->renewed = renewed;
        pthread_cond_broadcast(&el->cond);
        pthread_mutex_unlock(&el->lock);
}

/* One look at the Lease and what follows from it. */
static void step(struct kube_election *el)
{
        autojson struct json *lease = NULL;
        struct mono sent = mono_now();
        bool ours;
        int rc = request(el, "GET", NULL, &lease);

        if (rc == -ENOENT) {
                rc = create(el);
                if (rc == 0)
                        set_held(el, true, sent);
                return;
        }
        if (rc < 0)
                return; /* not known: what is held stays held until its renew deadline */
        look(el, lease, mono_now());
        ours = strcmp(holder_of(lease), el->cfg.identity) == 0;
        if (!ours) {
                set_held(el, false, sent);
                if (*holder_of(lease) && !expired(el, lease, mono_now()))
                        return;
        }
        sent = mono_now();
        rc = take(el, lease, !ours);
        if (rc == 0)
                set_held(el, true, sent);
}

/* --- the thread */

/* On the condition's clock. */
static struct timespec deadline_in(int64_t ms)
{
        struct mono until = mono_add_ms(mono_now(), ms);

        return (struct timespec){.tv_sec = until.ns / 1000000000, .tv_nsec = until.ns % 1000000000};
}

/* Waits for about retry_ms; false when told to stop. */
static bool pause_between(struct kube_election *el)
{
        int64_t ms =
                el->cfg.retry_ms + (int64_t)(kube_random() % (uint64_t)(el->cfg.retry_ms / 5 + 1));
        struct timespec t = deadline_in(ms);
        int rc = 0;

        pthread_mutex_lock(&el->lock);
        while (!el->stopping && rc != ETIMEDOUT)
                rc = pthread_cond_timedwait(&el->cond, &el->lock, &t);
        bool go_on = !el->stopping;
        pthread_mutex_unlock(&el->lock);
        return go_on;
}

static void release(struct kube_election *el)
{
        autojson struct json *lease = NULL;

        if (!el->held || request(el, "GET", NULL, &lease) < 0)
                return;
        if (strcmp(holder_of(lease), el->cfg.identity) != 0 || !fill(lease, "", 1, false))
                return;
        (void)!request(el, "PUT", lease, NULL); /* else it expires */
}

static void *election_thread(void *arg)
{
        struct kube_election *el = arg;

        do
                step(el);
        while (pause_between(el));
        release(el);
        return NULL;
}

static void dispose(struct kube_election *el)
{
        free((char *)(uintptr_t)el->cfg.ns);
        free((char *)(uintptr_t)el->cfg.name);
        free((char *)(uintptr_t)el->cfg.identity);
        pthread_cond_destroy(&el->cond);
        pthread_mutex_destroy(&el->lock);
        free(el);
}

static struct kube_election *allocate(struct kube_client *c, const struct kube_election_config *cfg)
{
        struct kube_election *el = calloc(1, sizeof(*el));
        pthread_condattr_t attr;

        if (!el)
                return NULL;
        el->client = c;
        el->cfg = *cfg;
        el->cfg.ns = strdup(cfg->ns);
        el->cfg.name = strdup(cfg->name);
        el->cfg.identity = strdup(cfg->identity);
        pthread_mutex_init(&el->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&el->cond, &attr);
        pthread_condattr_destroy(&attr);
        if (el->cfg.ns && el->cfg.name && el->cfg.identity)
                return el;
        dispose(el);
        return NULL;
}

int kube_election_start(struct kube_client *c, const struct kube_election_config *cfg,
                        struct kube_election **out, struct err *e)
{
        struct kube_election *el;
        sigset_t all, old;
        int rc;

        if (!*cfg->identity || cfg->retry_ms <= 0 || cfg->renew_ms <= cfg->retry_ms ||
            cfg->lease_ms <= cfg->renew_ms)
                return err_set(e, -EINVAL,
                               "election %s: needs an identity and retry < renew < lease times",
                               cfg->name);
        el = allocate(c, cfg);
        if (!el)
                return err_sys(e, -ENOMEM, "election %s", cfg->name);
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&el->thread, NULL, election_thread, el);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (rc) {
                dispose(el);
                return err_sys(e, -rc, "election %s", cfg->name);
        }
        *out = el;
        return 0;
}

bool kube_election_leading(const struct kube_election *el)
{
        return kube_election_term(el) != 0;
}

uint64_t kube_election_term(const struct kube_election *el)
{
        struct kube_election *unlocked = (struct kube_election *)(uintptr_t)el;
        uint64_t term;

        pthread_mutex_lock(&unlocked->lock);
        term = leading(el) && !el->stopping ? el->term : 0;
        pthread_mutex_unlock(&unlocked->lock);
        return term;
}

bool kube_election_leads(const struct kube_election *el, uint64_t term, struct mono *until)
{
        struct kube_election *unlocked = (struct kube_election *)(uintptr_t)el;
        bool v;

        pthread_mutex_lock(&unlocked->lock);
        v = leading(el) && !el->stopping && el->term == term;
        if (v)
                *until = mono_add_ms(el->renewed, el->cfg.lease_ms);
        pthread_mutex_unlock(&unlocked->lock);
        return v;
}

bool kube_election_wait(struct kube_election *el, int64_t ms)
{
        struct timespec t = deadline_in(ms);
        int rc = 0;

        pthread_mutex_lock(&el->lock);
        el->waiters++;
        while (!el->stopping && !leading(el) && rc != ETIMEDOUT)
                rc = pthread_cond_timedwait(&el->cond, &el->lock, &t);
        bool v = !el->stopping && leading(el);
        el->waiters--;
        pthread_cond_broadcast(&el->cond);
        pthread_mutex_unlock(&el->lock);
        return v;
}

void kube_election_stop(struct kube_election *el)
{
        if (!el)
                return;
        pthread_mutex_lock(&el->lock);
        el->stopping = true;
        pthread_cond_broadcast(&el->cond);
        while (el->waiters)
                pthread_cond_wait(&el->cond, &el->lock);
        pthread_mutex_unlock(&el->lock);
        pthread_join(el->thread, NULL);
        dispose(el);
}

/* --- heartbeats */

int kube_lease_renew(struct kube_client *c, const char *ns, const char *name, const char *identity,
                     int duration_s, struct err *e)
{
        autojson struct json *patch = json_new_object();
        int rc;

        if (!fill(patch, identity, duration_s, false))
                return err_sys(e, -ENOMEM, "renew lease %s", name);
        rc = kube_patch(c, &KUBE_LEASES, ns, name, NULL, patch, NULL, e);
        if (rc != -ENOENT)
                return rc;
        autojson struct json *lease = new_lease(ns, name, identity, duration_s);
        if (!lease)
                return err_sys(e, -ENOMEM, "renew lease %s", name);
        return kube_create(c, &KUBE_LEASES, ns, lease, NULL, e);
}
