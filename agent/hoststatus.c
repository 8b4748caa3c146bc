#include "agent/hoststatus.h"

#include "agent/publish.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Up to the next of 1, 2, 5, 10, 20 ... milliseconds. */
int64_t publish_round_latency(int64_t us)
{
        for (int64_t step = 1000; step <= 100000000; step *= 10) {
                if (us <= step)
                        return step;
                if (us <= 2 * step)
                        return 2 * step;
                if (us <= 5 * step)
                        return 5 * step;
        }
        return us;
}

/* Down to 16 MiB steps below 1 GiB, to 256 MiB steps above, to whole GiB from 64 GiB on. */
int64_t publish_round_bytes(int64_t bytes)
{
        const int64_t mib = 1 << 20, gib = 1 << 30;
        int64_t step = bytes < gib ? 16 * mib : bytes < 64 * gib ? 256 * mib : gib;

        return bytes / step * step;
}

/* Down to two digits. */
int64_t publish_round_count(int64_t n)
{
        int64_t step = 1;

        while (n / step >= 100)
                step *= 10;
        return n / step * step;
}

static int build_mounts(const struct host_sources *s, struct arena *a, struct host *h)
{
        size_t n = s->config->npools;

        h->mounts = arena_array(a, n, sizeof(*h->mounts));
        if (!h->mounts)
                return -ENOMEM;
        h->nmounts = n;
        for (size_t i = 0; i < n; i++) {
                const struct mount_view *v = &s->mounts[i];
                const struct proof_view *proof = &s->proofs[i];
                h->mounts[i] = (struct host_mount){
                        .pool = v->pool,
                        .local = v->local,
                        .path = v->path,
                        .fstype = v->fstype,
                        .source = v->source,
                        .health = v->health,
                        .verdict = v->verdict,
                        .reason = v->reason,
                        .identity = v->identity,
                        .latency_us = v->latency_us ? publish_round_latency(v->latency_us) : 0,
                        .free_bytes = publish_round_bytes(v->free_bytes),
                        .free_inodes = publish_round_count(v->free_inodes),
                        .lock_arbitration = v->locked && !proof->local_locks,
                        .shared_with = proof->peers,
                        .nshared_with = proof->n,
                };
        }
        return 0;
}

static int build_domain(const struct host_sources *s, const struct table_entry *x, struct arena *a,
                        struct host_domain *d)
{
        const struct domain_facts *f = &x->facts;

        *d = (struct host_domain){
                .uid = f->uuid,
                .ns = f->meta.ns,
                .name = f->meta.name,
                .epoch = f->meta.epoch,
                .migration = f->meta.migration,
                .state = x->known                           ? f->state
                         : !strcmp(x->notice, TABLE_HALTED) ? DOMAIN_ABSENT
                         : !strcmp(x->notice, TABLE_ERASED) ? DOMAIN_ERASED
                                                            : DOMAIN_SHUTOFF,
                .reason = *x->notice ? x->notice
                          : x->known ? domain_reason(f)
                                     : "",
                .restarted_at = f->meta.restarted_at,
                .restored = f->meta.restored,
                .cores = f->cores,
                .memory = f->memory,
                .machine = f->machine,
                .claims = x->claims,
                .claims_reason = x->claims_reason,
        };
        if (d->state == DOMAIN_IO_ERROR && s->starts)
                d->retries = starts_retries(s->starts, d->uid, s->mono_ms);
        d->addresses.v = arena_array(a, x->naddresses, sizeof(char *));
        if (!d->addresses.v)
                return -ENOMEM;
        for (size_t i = 0; i < x->naddresses; i++)
                d->addresses.v[d->addresses.n++] = x->addresses[i];
        return 0;
}

static int build_domains(const struct host_sources *s, struct arena *a, struct host *h)
{
        h->ndomains = 0;
        h->inbound = 0;
        h->used.cpus = h->used.memory = h->used.domains = 0;
        h->domains = arena_array(a, s->nentries, sizeof(*h->domains));
        if (!h->domains)
                return -ENOMEM;
        for (size_t i = 0; i < s->nentries; i++) {
                const struct table_entry *x = &s->entries[i];
                if (x->known && x->facts.active) {
                        h->used.cpus += x->facts.cores;
                        h->used.memory += x->facts.memory;
                        h->used.domains++;
                        h->inbound += x->facts.own == OWN_RECEIVING;
                }
                if (x->facts.ours && build_domain(s, x, a, &h->domains[h->ndomains++]))
                        return -ENOMEM;
        }
        return 0;
}

/* The pool that is worst off, the first of them; NULL when all are healthy. */
static const struct mount_view *worst_pool(const struct host_sources *s)
{
        const struct mount_view *worst = NULL;

        for (size_t i = 0; i < s->config->npools; i++) {
                const struct mount_view *v = &s->mounts[i];
                if (v->health == MOUNT_UNHEALTHY)
                        return v;
                if (v->health != MOUNT_HEALTHY && !worst)
                        worst = v;
        }
        return worst;
}

static size_t pools_that_ail(const struct host_sources *s)
{
        size_t n = 0;

        for (size_t i = 0; i < s->config->npools; i++)
                n += s->mounts[i].health != MOUNT_HEALTHY;
        return n;
}

/* What is wrong with it, how to mend it, and how many more there are. */
static const char *storage_message(const struct host_sources *s, const struct mount_view *v,
                                   struct arena *a)
{
        size_t n = pools_that_ail(s);
        char more[48] = "";

        if (!v)
                return "all pools answer";
        if (n > 1)
                snprintf(more, sizeof(more), " (and %zu more)", n - 1);
        return arena_printf(a, "pool %s at %s: %s%s%s%s", v->pool, v->path, v->reason,
                            *v->mend ? ". " : "", v->mend, more);
}

static struct condition condition(const struct host_sources *s, const char *type,
                                  const char *status, const char *reason, const char *message)
{
        const struct condition *old = s->before ? condition_get(s->before, type) : NULL;
        bool same = old && !strcmp(old->status, status);

        return (struct condition){type, status, reason, message, same ? old->since_us : s->now_us};
}

static int build_conditions(const struct host_sources *s, struct arena *a, struct host *h)
{
        const struct mount_view *worst = worst_pool(s);
        const char *message = storage_message(s, worst, a);
        struct condition *c = arena_array(a, 2, sizeof(*c));
        bool up = !*s->libvirt_why;

        if (!c || !message)
                return -ENOMEM;
        if (!up)
                c[0] = condition(s, "Ready", "False", "LibvirtUnreachable", s->libvirt_why);
        else if (!s->synced || !s->facts)
                c[0] = condition(s, "Ready", "False", "Starting", "the agent is taking stock");
        else
                c[0] = condition(s, "Ready", "True", "Running", "libvirtd answers");
        c[1] = condition(s, "StorageHealthy",
                         !worst                             ? "True"
                         : worst->health == MOUNT_UNHEALTHY ? "False"
                                                            : "Unknown",
                         worst ? worst->verdict : "Healthy", message);
        h->conditions = (struct conditions){c, 2};
        return 0;
}

static const char *peer_uri(const struct agent_config *c, struct arena *a)
{
        char uri[AGENT_URI_MAX];

        agent_peer_uri(c, c->node, uri);
        return arena_strdup(a, uri);
}

int host_status_build(const struct host_sources *s, struct arena *a, struct host *out)
{
        struct host h = {.qemu_version = "",
                         .libvirt_version = "",
                         .virt_type = "",
                         .cannot_receive = "",
                         .resolve_ms = -1};
        const struct host *base = s->facts ? s->facts : s->kept;

        if (base)
                h = *base;
        h.arena = a;
        h.meta = (struct meta){.name = s->config->node, .ns = "", .uid = "", .rv = ""};
        h.migration_address = s->address;
        h.outbound = s->outbound;
        h.prepared = s->prepared;
        h.nprepared = s->nprepared;
        h.libvirt_uri = peer_uri(s->config, a);
        if (!h.libvirt_uri || build_mounts(s, a, &h) || build_conditions(s, a, &h))
                return -ENOMEM;
        if (s->synced) {
                if (build_domains(s, a, &h))
                        return -ENOMEM;
        } else if (s->kept) {
                h.domains = s->kept->domains;
                h.ndomains = s->kept->ndomains;
                h.used.cpus = s->kept->used.cpus;
                h.used.memory = s->kept->used.memory;
                h.used.domains = s->kept->used.domains;
                h.inbound = s->kept->inbound;
        }
        *out = h;
        return 0;
}
