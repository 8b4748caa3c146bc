/*
 * Leader election on a coordination.k8s.io Lease (client-go tools/leaderelection semantics: the
 * clock of other machines is not trusted, a lease counts as expired when it has not changed for
 * its duration on OUR clock) and plain heartbeats on a Lease of one's own.
 */
#ifndef DROVER_KUBE_LEASE_H
#define DROVER_KUBE_LEASE_H

#include "base/mono.h"
#include "kube/client.h"

struct kube_election_config {
        const char *ns, *name, *identity;
        int64_t lease_ms, renew_ms, retry_ms; /* 15000, 10000, 2000 */
        /* Each request that failed, on the election's thread; may be NULL. */
        void (*error)(void *ctx, const struct err *e);
        void *ctx;
};
struct kube_election;
/* All strings copied. The thread runs until stop. */
must_check int kube_election_start(struct kube_client *c, const struct kube_election_config *cfg,
                                   struct kube_election **out, struct err *e);
/* True while we hold the lease and its renew deadline has not passed (checked against the clock
 * now). */
bool kube_election_leading(const struct kube_election *el);
/*
 * The number of this time of leading without a break, 0 when not leading. What was decided in one
 * is not to be written in another: somebody else may have led between them.
 */
uint64_t kube_election_term(const struct kube_election *el);
/*
 * Whether we still lead in that term; if so nobody else does before *until, when the Lease may be
 * taken from us, whatever our clock and the server's do: a write is to be sent before.
 */
bool kube_election_leads(const struct kube_election *el, uint64_t term, struct mono *until);
/* Waits until leading (true), or stopped, or for ms (false): a standby has a signal to look for. */
bool kube_election_wait(struct kube_election *el, int64_t ms);
/* Releases the lease when held, so that another can take over at once. */
void kube_election_stop(struct kube_election *el);

/* Creates or renews the Lease ns/name held by identity, now. */
must_check int kube_lease_renew(struct kube_client *c, const char *ns, const char *name,
                                const char *identity, int duration_s, struct err *e);

#endif
