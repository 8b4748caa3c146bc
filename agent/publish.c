#include "agent/publish.h"

#include "agent/copies.h"
#include "agent/facts.h"
#include "agent/hoststatus.h"
#include "agent/moves.h"
#include "agent/sync.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "kube/lease.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define COALESCE_MS   20  /* changes this close together go into one write */
#define RETRY_MIN_MS  500 /* after a failed write, doubled up to the maximum */
#define RETRY_MAX_MS  10000
#define LOOK_BEATS    12 /* heartbeats between looks at what is stored: a minute */
#define STATUS_MAX    ((size_t)8 << 20)
#define NODE_AFTER_MS 500 /* for the watches of those who read the host to have told them */

struct publisher {
        struct agent *a;
        pthread_t writer, heart;
        bool heart_started;
        pthread_mutex_t lock;
        pthread_cond_t wake;
        bool dirty, look, stopping;
        int64_t usable_us; /* when something that keeps guests away ended last, 0: never yet */
        char libvirt_why[256];
        char address[64];
        struct host *facts;
        /* the writer's own */
        struct host *kept;   /* as it was before us */
        bool kept_known;     /* asked for it, whatever the answer */
        struct json *sent;   /* the status last written */
        struct host *before; /* sent, decoded; replaced under the lock */
};

static struct metric *guests_metric, *io_error_metric, *libvirt_metric;

void publish_soon(struct publisher *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->dirty = true;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
}

void publish_look(struct publisher *p)
{
        pthread_mutex_lock(&p->lock);
        p->look = p->dirty = true;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
}

void publish_facts(struct publisher *p, struct host *facts)
{
        pthread_mutex_lock(&p->lock);
        struct host *old = p->facts;
        p->facts = facts;
        p->dirty = true;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
        facts_free(old);
}

int publish_cpu_models(struct publisher *p, struct arena *a, struct strs *out)
{
        int rc = 0;

        *out = (struct strs){0};
        pthread_mutex_lock(&p->lock);
        size_t n = p->facts ? p->facts->cpu_models.n : 0;
        out->v = arena_array(a, n, sizeof(char *));
        if (!out->v)
                rc = -ENOMEM;
        for (size_t i = 0; i < n && !rc; i++)
                if (!(out->v[out->n++] = arena_strdup(a, p->facts->cpu_models.v[i])))
                        rc = -ENOMEM;
        pthread_mutex_unlock(&p->lock);
        return rc;
}

int64_t publish_usable_us(struct publisher *p)
{
        pthread_mutex_lock(&p->lock);
        int64_t us = p->usable_us;
        pthread_mutex_unlock(&p->lock);
        return us;
}

int publish_conditions(struct publisher *p, struct arena *a, struct conditions *out)
{
        int rc = 0;

        *out = (struct conditions){0};
        pthread_mutex_lock(&p->lock);
        const struct conditions *all = p->before ? &p->before->conditions : out;
        struct condition *v = arena_array(a, all->n, sizeof(*v));
        for (size_t i = 0; i < all->n && v; i++) {
                const struct condition *c = &all->v[i];

                v[i] = (struct condition){arena_strdup(a, c->type), arena_strdup(a, c->status),
                                          arena_strdup(a, c->reason), arena_strdup(a, c->message),
                                          c->since_us};
                if (!v[i].type || !v[i].status || !v[i].reason || !v[i].message)
                        rc = -ENOMEM;
        }
        if (!v && all->n)
                rc = -ENOMEM;
        else if (!rc)
                *out = (struct conditions){v, all->n};
        pthread_mutex_unlock(&p->lock);
        return rc;
}

void publish_libvirt(struct publisher *p, const char *why)
{
        pthread_mutex_lock(&p->lock);
        if (strcmp(p->libvirt_why, why) != 0) {
                snprintf(p->libvirt_why, sizeof(p->libvirt_why), "%s", why);
                p->dirty = true;
                pthread_cond_broadcast(&p->wake);
        }
        pthread_mutex_unlock(&p->lock);
        metric_set(libvirt_metric, NULL, *why ? 0 : 1);
}

void publish_address(struct publisher *p, const char *address)
{
        pthread_mutex_lock(&p->lock);
        if (strcmp(p->address, address) != 0) {
                snprintf(p->address, sizeof(p->address), "%s", address);
                p->dirty = true;
                pthread_cond_broadcast(&p->wake);
        }
        pthread_mutex_unlock(&p->lock);
}

static void count(const struct table_entry *x, size_t n)
{
        size_t running = 0, io_error = 0;

        for (size_t i = 0; i < n; i++) {
                bool ours = x[i].known && x[i].facts.ours;
                running += ours && x[i].facts.own == OWN_RUNNING;
                io_error += ours && x[i].facts.state == DOMAIN_IO_ERROR;
        }
        metric_set(guests_metric, NULL, (double)running);
        metric_set(io_error_metric, NULL, (double)io_error);
}

/* The status as it should be now; NULL when out of memory. */
static struct json *build(struct publisher *p)
{
        struct mount_view mounts[AGENT_POOLS_MAX];
        struct proof_view proofs[AGENT_POOLS_MAX] = {{0}};
        bool synced = p->a->synced;
        struct host_prepared *prepared = NULL;
        size_t n, nprepared = 0;
        autofree struct table_entry *entries = table_all(p->a->table, &n);
        autoarena struct arena *arena = arena_new(STATUS_MAX);
        struct json *out = NULL;
        struct host h;

        if (!arena || (p->a->proofs && proofs_view(p->a->proofs, arena, proofs)) ||
            (p->a->copies && copies_view(p->a, arena, &prepared, &nprepared)))
                return NULL;
        mounts_view(p->a->mounts, mounts);
        count(entries, n);
        pthread_mutex_lock(&p->lock);
        const struct host_sources s = {
                .config = &p->a->config,
                .facts = p->facts,
                .kept = p->kept,
                .starts = p->a->starts,
                .mono_ms = mono_ms(mono_now()),
                .entries = entries,
                .nentries = n,
                .synced = synced,
                .mounts = mounts,
                .proofs = proofs,
                .libvirt_why = p->libvirt_why,
                .address = *p->a->config.migration_address ? p->a->config.migration_address
                                                           : p->address,
                .prepared = prepared,
                .nprepared = nprepared,
                .outbound = (int64_t)moves_count(p->a->moves),
                .now_us = wall_us(),
                .before = p->before ? &p->before->conditions
                          : p->kept ? &p->kept->conditions
                                    : NULL,
        };
        if (!host_status_build(&s, arena, &h)) {
                /* read after the guests: what one of them has taken is never told as free */
                facts_huge_pages(&h);
                out = host_status_encode(&h);
        }
        pthread_mutex_unlock(&p->lock);
        return out;
}

/* What was published before we came: its domains are told on until we know better. */
static int ask_for_kept(struct publisher *p, struct err *e)
{
        autojson struct json *j = NULL;
        int rc = kube_get(p->a->kube, &KUBE_HOSTS, NULL, p->a->config.node, &j, e);

        if (rc == -ENOENT)
                return 0;
        if (rc)
                return rc;
        p->sent = json_clone(json_get(j, "status"));
        return host_decode(j, &p->kept, e);
}

static int create(struct publisher *p, struct err *e)
{
        autojson struct json *host = json_new_object();

        json_set_str(host, "apiVersion", DROVER_API_VERSION);
        json_set_str(host, "kind", "VirtualMachineHost");
        json_set_str(json_object_at(host, "metadata"), "name", p->a->config.node);
        json_object_at(host, "spec");
        return kube_create(p->a->kube, &KUBE_HOSTS, NULL, host, NULL, e);
}

/* Who was refused for what we were is to be tried again; by then the extender must know. */
static void usable_again(struct publisher *p)
{
        pthread_mutex_lock(&p->lock);
        p->usable_us = wall_us();
        pthread_mutex_unlock(&p->lock);
        agent_poke(p->a, NODE_AFTER_MS, "node");
}

/* The Node follows. */
static void tell_the_node(struct publisher *p, const struct host *was, const struct host *is)
{
        bool worse = false, better = false; /* worse: or in another way */

        for (size_t i = 0; i < is->conditions.n; i++) {
                const struct condition *c = &is->conditions.v[i];
                const struct condition *old = was ? condition_get(&was->conditions, c->type) : NULL;

                if (old && !strcmp(old->status, c->status)) {
                        worse |= strcmp(old->message, c->message) != 0;
                        continue;
                }
                better |= !strcmp(c->status, "True");
                worse |= strcmp(c->status, "True") != 0;
        }
        if (worse)
                agent_poke(p->a, 0, "node");
        if (better)
                usable_again(p);
}

static void take_published(struct publisher *p, struct host *h)
{
        struct host *was = p->before;

        pthread_mutex_lock(&p->lock);
        p->before = h;
        pthread_mutex_unlock(&p->lock);
        tell_the_node(p, was, h);
        if (was)
                host_free(was);
}

/* stored: what it is now, when that is known for sure. */
static int write_status(struct publisher *p, const struct json *stored, const struct json *status,
                        struct err *e)
{
        autojson struct json *patch = json_new_object(), *answer = NULL;
        struct host *h;

        if (!json_set(patch, "status",
                      stored ? json_merge_diff(stored, status) : json_clone(status)))
                return err_set(e, -ENOMEM, "out of memory");
        int rc = kube_patch(p->a->kube, &KUBE_HOSTS, NULL, p->a->config.node, "status", patch,
                            &answer, e);
        if (rc == -ENOENT && !(rc = create(p, e)))
                rc = kube_patch(p->a->kube, &KUBE_HOSTS, NULL, p->a->config.node, "status", patch,
                                &answer, e);
        if (rc)
                return rc;
        if (!host_decode(answer, &h, e))
                take_published(p, h);
        return 0;
}

/* The status as it is stored, NULL when there is none: not by us alone, whatever we have sent. */
static int look(struct publisher *p, struct json **stored, struct err *e)
{
        autojson struct json *j = NULL;
        int rc = kube_get(p->a->kube, &KUBE_HOSTS, NULL, p->a->config.node, &j, e);

        if (rc == -ENOENT)
                rc = 0;
        if (rc)
                return rc;
        json_free(p->sent);
        p->sent = NULL;
        *stored = json_get(j, "status") ? json_clone(json_get(j, "status")) : NULL;
        return 0;
}

static bool same(const struct json *a, const struct json *b)
{
        return a && json_equal(a, b);
}

static bool take_look(struct publisher *p)
{
        pthread_mutex_lock(&p->lock);
        bool due = p->look;
        p->look = false;
        pthread_mutex_unlock(&p->lock);
        return due;
}

static int publish(struct publisher *p, struct err *e)
{
        autojson struct json *stored = NULL;
        int rc;

        if (!p->kept_known) {
                rc = ask_for_kept(p, e);
                if (rc)
                        return rc;
                p->kept_known = true;
        }
        if (take_look(p) && (rc = look(p, &stored, e))) {
                publish_look(p);
                return rc;
        }
        struct json *status = build(p);
        if (!status)
                return err_set(e, -ENOMEM, "out of memory");
        rc = same(p->sent, status) || same(stored, status) ? 0 : write_status(p, stored, status, e);
        if (rc) {
                json_free(status);
                return rc;
        }
        json_free(p->sent);
        p->sent = status;
        return 0;
}

/* Waits for something to do; false at the end. */
static bool wait_dirty(struct publisher *p)
{
        pthread_mutex_lock(&p->lock);
        while (!p->dirty && !p->stopping)
                pthread_cond_wait(&p->wake, &p->lock);
        struct timespec until = cond_until(COALESCE_MS);
        while (!p->stopping && cond_wait_until(&p->wake, &p->lock, &until))
                ;
        p->dirty = false;
        bool go_on = !p->stopping;
        pthread_mutex_unlock(&p->lock);
        return go_on;
}

static bool pause_for(struct publisher *p, int64_t ms)
{
        struct timespec until = cond_until(ms);

        pthread_mutex_lock(&p->lock);
        while (!p->stopping && cond_wait_until(&p->wake, &p->lock, &until))
                ;
        bool go_on = !p->stopping;
        pthread_mutex_unlock(&p->lock);
        return go_on;
}

static void *write_loop(void *arg)
{
        struct publisher *p = arg;
        int64_t retry = RETRY_MIN_MS;

        while (wait_dirty(p)) {
                struct err e;
                if (!publish(p, &e)) {
                        retry = RETRY_MIN_MS;
                        continue;
                }
                log_err(&e, "cannot publish the host's status", NULL);
                if (!pause_for(p, retry))
                        break;
                retry = retry * 2 > RETRY_MAX_MS ? RETRY_MAX_MS : retry * 2;
                publish_soon(p);
        }
        return NULL;
}

static void *heart_loop(void *arg)
{
        struct publisher *p = arg;
        char name[300];
        struct mono last = mono_now(); /* heartbeat that was heard */
        bool silent = false;
        int beats = 0;

        snprintf(name, sizeof(name), "drover-node-%s", p->a->config.node);
        do {
                struct err e;
                int rc = kube_lease_renew(p->a->kube, DROVER_NAMESPACE, name, p->a->config.node,
                                          HEARTBEAT_S, &e);
                if (rc && !silent)
                        log_err(&e, "heartbeat fails", NULL);
                else if (!rc && silent)
                        log_msg(LOG_INFO, "heartbeat is back", NULL);
                if (!rc && mono_ms_between(last, mono_now()) > (int64_t)HEARTBEAT_S * 1000)
                        usable_again(p);
                if (!rc)
                        last = mono_now();
                silent = rc != 0;
                if (++beats % LOOK_BEATS == 0)
                        publish_look(p);
        } while (pause_for(p, HEARTBEAT_MS));
        return NULL;
}

static void publisher_free(struct publisher *p)
{
        facts_free(p->facts);
        if (p->kept)
                host_free(p->kept);
        if (p->before)
                host_free(p->before);
        json_free(p->sent);
        pthread_mutex_destroy(&p->lock);
        pthread_cond_destroy(&p->wake);
        free(p);
}

int publish_start(struct agent *a, struct publisher **out, struct err *e)
{
        struct publisher *p = calloc(1, sizeof(*p));

        if (!p)
                return err_set(e, -ENOMEM, "out of memory");
        p->a = a;
        p->dirty = true;
        snprintf(p->libvirt_why, sizeof(p->libvirt_why), "not connected yet");
        pthread_mutex_init(&p->lock, NULL);
        cond_init(&p->wake);
        guests_metric = metric_gauge("drover_agent_guests", "Guests running on this node.", NULL);
        io_error_metric =
                metric_gauge("drover_agent_guests_io_error",
                             "Guests of this node that stand still after an I/O error.", NULL);
        libvirt_metric = metric_gauge("drover_agent_libvirt_up", "1 when libvirtd answers.", NULL);
        int rc = -pthread_create(&p->writer, NULL, write_loop, p);
        if (rc) {
                publisher_free(p);
                return err_sys(e, rc, "thread");
        }
        p->heart_started = !pthread_create(&p->heart, NULL, heart_loop, p);
        *out = p;
        if (!p->heart_started) {
                publish_stop(p);
                *out = NULL;
                return err_set(e, -EAGAIN, "no thread for the heartbeat");
        }
        return 0;
}

void publish_stop(struct publisher *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->stopping = true;
        pthread_cond_broadcast(&p->wake);
        pthread_mutex_unlock(&p->lock);
        pthread_join(p->writer, NULL);
        if (p->heart_started)
                pthread_join(p->heart, NULL);
        publisher_free(p);
}
