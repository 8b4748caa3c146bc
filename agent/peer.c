/* The other side of a migration: where it is, that it sees the same disks, and what stands in its
 * way. */
#include "agent/carry.h"
#include "agent/claims.h"
#include "agent/disks.h"
#include "agent/domain.h"
#include "agent/locks.h"
#include "agent/move.h"
#include "agent/names.h"
#include "agent/offers.h"
#include "api/codec.h"
#include "base/log.h"
#include "core/preflight.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define OPEN_MS  10000
#define OFFER_MS 5000  /* for the target's agent to hear of the move */
#define FILES_MS 60000 /* ... and to make files for what comes along */
#define LOOK_MS  200

static int read_offer(struct move *m, const struct mount_view *pool, struct err *e)
{
        int rc = offer_seen(pool->path, m->mig->status.target, m->mig->meta.uid, OFFER_MS, e);

        return rc ? err_wrap(e, "pool %s at %s here", pool->pool, pool->path) : 0;
}

/*
 * Sharedness is proved, not guessed from the type of a file system: lately words of the target have
 * come and its lock was refused here (agent/proofs.h), and, as the last word, the target's agent
 * has left this move's uid in the pool's directory (agent/offers.h). That the identities differ
 * refutes it at once; that they are the same proves nothing, a copy of the directory has the same.
 * Our own pool need not be healthy, a guest may be leaving for that: but it must be read. Where it
 * hangs QEMU could not be stopped in the switch-over, and nothing is begun.
 */
static int prove_shared(struct move *m, const struct host *target, const char *pool, struct err *e)
{
        struct mount_view ours[AGENT_POOLS_MAX];
        const struct host_mount *theirs = host_mount_of(target, pool);
        char why[320];
        bool locks;

        if (!proofs_shared(m->a->proofs, pool, m->mig->status.target, &locks, why))
                return err_set(e, -EAGAIN, "%s", why);
        if (!theirs || theirs->health != MOUNT_HEALTHY)
                return err_set(e, -EAGAIN, "pool %s is not healthy on %s%s%s", pool,
                               m->mig->status.target, theirs ? ": " : "",
                               theirs ? theirs->reason : "");
        mounts_view(m->a->mounts, ours);
        for (size_t i = 0; i < m->a->config.npools; i++)
                if (!strcmp(ours[i].pool, pool) && *ours[i].identity &&
                    !strcmp(ours[i].identity, theirs->identity))
                        return read_offer(m, &ours[i], e);
        return err_set(
                e, -EINVAL,
                "pool %s on %s is not the one on this node: no proof that both see the same disks",
                pool, m->mig->status.target);
}

/* What both nodes have found of late, and tried out now: the lock that the target's agent holds in
 * the pool is refused to us. */
static bool locks_arbitrate(struct move *m, const struct host *target, const char *pool)
{
        const struct agent_pool *p = agent_pool_of(&m->a->config, pool);
        const struct host_mount *theirs = host_mount_of(target, pool);
        const struct host_peer *us = theirs ? host_peer_of(theirs, m->a->config.node) : NULL;
        bool locks = false;
        char why[320];
        struct err e;

        if (!p || !us || !us->locks ||
            !proofs_shared(m->a->proofs, pool, m->mig->status.target, &locks, why) || !locks)
                return false;
        if (!lock_refused(p->path, m->mig->status.target, m->a->config.probe_deadline_ms, &e))
                return true;
        log_err(&e, "no proof that storage locks arbitrate: the proven handover is used",
                "migration", m->key, "pool", pool, NULL);
        return false;
}

/* Fast is by consent, and only where locks are known to keep two instances apart. */
static bool fast_allowed(struct move *m, const struct host *target, const char *const *pools,
                         size_t n)
{
        if (m->mig->status.handover != HANDOVER_FAST || vm_claimed_disk(m->vm))
                return false; /* nobody has tried the locks of claims */
        for (size_t i = 0; i < n; i++)
                if (!locks_arbitrate(m, target, pools[i]))
                        return false;
        return n > 0;
}

/* Told at once: the migrator and the next agent here go by it. Until it is known they take the
 * handover for libvirt's, which assumes less. */
static void tell_handover(struct move *m)
{
        pthread_mutex_lock(&m->lock);
        m->transfer.proven = m->proven && m->mig->status.handover == HANDOVER_FAST;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
}

static int read_target(struct move *m, struct host **out, struct err *e)
{
        autojson struct json *j = NULL;
        const char *target = m->mig->status.target;
        int rc = kube_get(m->a->kube, &KUBE_HOSTS, NULL, target, &j, e);

        if (rc) {
                err_wrap(e, "target %s", target);
                return rc;
        }
        rc = host_decode(j, out, e);
        if (!rc && (!*(*out)->libvirt_uri || !*(*out)->migration_address)) {
                host_free(*out);
                rc = err_set(e, -EAGAIN, "%s has not said where its libvirtd is", target);
        }
        return rc;
}

/* The memory stream goes to an address, not a name: libvirt would look a name up inside of the
 * pause. */
int peer_addresses(const struct agent_config *c, const char *target, const struct host *h,
                   char peer_uri[AGENT_URI_MAX], char migration_uri[300], struct err *e)
{
        unsigned char ip[sizeof(struct in6_addr)];
        bool six = inet_pton(AF_INET6, h->migration_address, ip) == 1;

        if (!six && inet_pton(AF_INET, h->migration_address, ip) != 1)
                return err_set(e, -EINVAL, "%s: migrationAddress \"%.64s\" is no IP address",
                               target, h->migration_address);
        agent_peer_uri(c, target, peer_uri);
        snprintf(migration_uri, 300, "tcp://%s%s%s", six ? "[" : "", h->migration_address,
                 six ? "]" : "");
        return 0;
}

static int take_addresses(struct move *m, const struct host *h, struct err *e)
{
        return peer_addresses(&m->a->config, m->mig->status.target, h, m->peer_uri,
                              m->migration_uri, e);
}

/* One that says something else has been written by another, or its agent is set up otherwise. */
static int check_published(const struct move *m, const struct host *h, struct err *e)
{
        if (!strcmp(h->libvirt_uri, m->peer_uri))
                return 0;
        return err_set(e, -EINVAL, "%s is said to have its libvirtd at %.200s, which is not %s",
                       m->mig->status.target, h->libvirt_uri, m->peer_uri);
}

static int connect_target(struct move *m, struct err *e)
{
        return m->peer ? 0 : virt_open_peer(m->peer_uri, OPEN_MS, &m->peer, e);
}

int peer_find(struct move *m, struct err *e)
{
        struct host *h;
        int rc = read_target(m, &h, e);

        if (rc)
                return rc;
        rc = take_addresses(m, h, e);
        m->proven = m->mig->status.handover != HANDOVER_FAST || m->mig->status.transfer.proven;
        host_free(h);
        return rc ? rc : connect_target(m, e);
}

int peer_clear(struct move *m, struct err *e)
{
        struct domain_facts f;
        int rc = domain_read(m->peer, m->uuid, &f, e);

        if (rc == -ENOENT)
                return 0;
        if (rc)
                return rc;
        if (f.own == OWN_RUNNING || !f.ours)
                return err_set(e, -EEXIST, "a domain with the guest's uuid %s on %s",
                               f.own == OWN_RUNNING ? "runs" : "exists", m->mig->status.target);
        log_msg(LOG_WARN, "removing what a migration left on the target", "migration", m->key,
                "state", domain_reason(&f), NULL);
        return domain_remove(m->peer, m->uuid, e);
}

/* The target's agent has looked up ours, or leaves no word for us (agent/offers.h). */
static int check_name(const struct move *m, struct err *e)
{
        int64_t ms = names_lookup_ms(m->mig->status.target);

        if (ms < PREFLIGHT_RESOLVE_MS)
                return 0;
        return err_set(e, -EAGAIN, "looking up the name of %s takes %lld ms here",
                       m->mig->status.target, (long long)ms);
}

/* --- what is not shared, and comes along */

static bool is_local(const struct agent_config *c, const char *pool)
{
        const struct agent_pool *p = agent_pool_of(c, pool);

        return p && p->local;
}

static bool called_off(struct move *m)
{
        pthread_mutex_lock(&m->lock);
        bool yes = m->cancel;
        pthread_mutex_unlock(&m->lock);
        return yes;
}

/* 1: the target's agent has not said anything of it yet. */
static int read_word(struct move *m, struct err *e)
{
        struct host *h;
        int rc = read_target(m, &h, e);

        if (rc)
                return rc;
        rc = 1;
        for (size_t i = 0; i < h->nprepared && rc > 0; i++)
                if (!strcmp(h->prepared[i].migration, m->mig->meta.uid))
                        rc = *h->prepared[i].refused
                                     ? err_set(e, -EINVAL, "%s", h->prepared[i].refused)
                                     : 0;
        host_free(h);
        return rc;
}

/* Until the target has a file for each disk, where there was none. */
static int await_files(struct move *m, struct err *e)
{
        struct mono end = mono_add_ms(mono_now(), FILES_MS);
        int rc;

        while ((rc = read_word(m, e)) > 0) {
                if (called_off(m))
                        return err_set(e, -ECANCELED, "cancelled before the copy began");
                if (mono_ms_between(mono_now(), end) <= 0)
                        return err_set(e, -ETIMEDOUT,
                                       "%s does not say that there are files for the disks that "
                                       "come along",
                                       m->mig->status.target);
                nanosleep(&(struct timespec){.tv_nsec = LOOK_MS * 1000000}, NULL);
        }
        return rc;
}

/*
 * Local disks are told to the target, which makes files for them. What the running guest has is
 * what counts: a disk that libvirt took for shared would be another one on the target.
 */
static int take_along(struct move *m, struct err *e)
{
        int rc = carry_find(m->a, m->vm, &m->carried, e);

        if (rc || !m->carried.n)
                return rc;
        pthread_mutex_lock(&m->lock);
        m->transfer.disks = m->carried.v;
        m->transfer.ndisks = m->carried.n;
        pthread_cond_broadcast(&m->wake);
        pthread_mutex_unlock(&m->lock);
        return await_files(m, e);
}

static int prove(struct move *m, const struct host *target, struct err *e)
{
        const char *pools[AGENT_POOLS_MAX];
        char uri[AGENT_URI_MAX]; /* m->peer_uri, which is in use by now */
        size_t n = disks_pools(m->vm, pools);
        int rc = peer_addresses(&m->a->config, m->mig->status.target, target, uri, m->migration_uri,
                                e);

        if (!rc)
                rc = check_published(m, target, e);
        if (!rc)
                rc = check_name(m, e);
        for (size_t i = 0; i < n && !rc; i++)
                if (!is_local(&m->a->config, pools[i]))
                        rc = prove_shared(m, target, pools[i], e);
        if (!rc)
                rc = take_along(m, e);
        if (rc)
                return rc;
        m->proven = !fast_allowed(m, target, pools, n);
        tell_handover(m);
        return 0;
}

static int seek_proof(void *move, struct err *e)
{
        struct move *m = move;
        struct host *target;
        int rc = read_target(m, &target, e);

        if (rc)
                return rc;
        rc = prove(m, target, e);
        host_free(target);
        return rc;
}

static int seek_link(void *move, struct err *e)
{
        return connect_target(move, e);
}

int peer_begin(struct move *m, struct err *e)
{
        agent_peer_uri(&m->a->config, m->mig->status.target, m->peer_uri);
        int rc = errand_begin(&m->proof, seek_proof, m, e);

        return rc ? rc : errand_begin(&m->link, seek_link, m, e);
}

int peer_end(struct move *m, struct err *e)
{
        errand_drop(&m->link);
        if (!m->proof.begun)
                return err_set(e, -EINVAL, "no proof of sharedness was sought");
        return errand_end(&m->proof, e);
}

int peer_prepare(struct move *m, struct err *e)
{
        int rc = errand_end(&m->link, e);

        if (!rc)
                rc = peer_clear(m, e);
        if (!rc && vm_claimed_disk(m->vm))
                rc = claims_target_pod(m->a, m->mig, m->claims_pod, e);
        return rc;
}

int peer_xml(const struct move *m, const char *xml, const struct domain_meta *meta, struct buf *out,
             struct err *e)
{
        autobuf struct buf here = buf_new(DOMXML_MAX);
        size_t wanted = vm_claims(m->vm), n;
        int rc = wanted ? domain_meta_replace(xml, meta, &here, e)
                        : domain_meta_replace(xml, meta, out, e);

        if (rc || !wanted)
                return rc;
        rc = claimpath_move(m->a->config.kubelet_root, buf_str(&here), m->claims_pod, out, &n, e);
        if (!rc && n != wanted)
                rc = err_set(e, -EINVAL,
                             "the guest runs with %zu claims of this kubelet's, not with the %zu "
                             "of the VM",
                             n, wanted);
        return rc;
}
