#include "core/sharing.h"

#include "base/cleanup.h"

#include <stdio.h>
#include <string.h>

#define PEER_MS 100 /* of the period, for each node beyond SHARING_AT_ONCE */

int64_t sharing_period_ms(size_t peers)
{
        int64_t more = peers > SHARING_AT_ONCE ? (int64_t)(peers - SHARING_AT_ONCE) : 0;

        return SHARING_PERIOD_MS + more * PEER_MS;
}

int64_t sharing_fresh_ms(size_t peers)
{
        int64_t three = 3 * sharing_period_ms(peers);

        return three > SHARING_FRESH_MS ? three : SHARING_FRESH_MS;
}

const char *sharing_reason(enum sharing_flaw f)
{
        static const char *const REASONS[] = {
                [SHARING_FINE] = "",
                [SHARING_SILENT] = "no new word of it arrives here",
                [SHARING_GONE] = "its word was here and is gone: another directory is mounted on "
                                 "one of the two",
                [SHARING_BACKWARDS] = "older words of it take the place of newer ones: a copy",
                [SHARING_LOCKLESS] = "it holds no lock here that could be refused to this node",
                [SHARING_LOCAL] = "this node's mount keeps locks to itself (nolock or local_lock)",
                [SHARING_OPEN] = "the lock that it holds is not refused here: a copy of the "
                                 "directory, or locks that do not reach other nodes",
        };
        _Static_assert(countof(REASONS) == SHARING_FLAWS, "a sentence each");

        return (unsigned)f < SHARING_FLAWS ? REASONS[f] : "";
}

/* --- what one node sees of another */

/* Of a new word. One that dies after its word leaves one such behind, who lives another. */
static void take_grant(struct sharing_track *t, const struct sharing_look *l, bool same)
{
        if (!l->holds || l->lock != SHARING_GRANTED)
                t->granted = 0;
        else
                t->granted = same ? t->granted + 1 : 1;
}

static void take_word(struct sharing_track *t, const struct sharing_look *l, int64_t now_ms)
{
        bool same = t->last.word && !strcmp(t->last.instance, l->instance);

        if (same && l->number < t->last.number) {
                t->backwards = true;
                return;
        }
        if (same && l->number == t->last.number)
                return;
        take_grant(t, l, same);
        t->moving |= t->seen;
        t->seen = true;
        t->backwards = false;
        t->word_ms = now_ms;
        t->last = *l;
}

static bool lately(int64_t ms, const struct sharing_clock *c)
{
        return ms && c->now_ms - ms <= c->fresh_ms;
}

static enum sharing_flaw find_flaw(const struct sharing_track *t, const struct sharing_look *l,
                                   const struct sharing_clock *c)
{
        if (!lately(t->word_ms, c))
                return t->backwards ? SHARING_BACKWARDS : l->word ? SHARING_SILENT : SHARING_GONE;
        if (lately(t->refused_ms, c))
                return SHARING_FINE;
        if (!t->moving) /* a word of long ago: whoever wrote it may be gone, and its lock with it */
                return SHARING_SILENT;
        if (c->local_locks)
                return SHARING_LOCAL;
        return t->granted > 1 && l->lock == SHARING_GRANTED ? SHARING_OPEN : SHARING_LOCKLESS;
}

static enum sharing state_of(enum sharing_flaw f)
{
        switch (f) {
        case SHARING_FINE:
                return SHARING_SHARED;
        case SHARING_GONE:
        case SHARING_BACKWARDS:
        case SHARING_OPEN:
                return SHARING_NOT_SHARED;
        default:
                return SHARING_UNKNOWN;
        }
}

bool sharing_step(struct sharing_track *t, const struct sharing_look *l,
                  const struct sharing_clock *c)
{
        if (l->word)
                take_word(t, l, c->now_ms);
        if (l->word && l->lock == SHARING_REFUSED)
                t->refused_ms = c->now_ms;
        enum sharing_flaw flaw = find_flaw(t, l, c);
        enum sharing state = state_of(flaw);
        bool locks = flaw == SHARING_FINE && !c->local_locks;
        bool changed = flaw != t->flaw || locks != t->locks || !t->since_us;

        if (state != t->state || !t->since_us)
                t->since_us = c->now_us;
        t->state = state;
        t->flaw = flaw;
        t->locks = locks;
        t->looked_ms = c->now_ms;
        return changed;
}

bool sharing_forgotten(const struct sharing_track *t, int64_t now_ms)
{
        return now_ms - t->word_ms > SHARING_FORGET_MS;
}

/* --- what two of them say */

/* One that refutes says more than one that does not know. */
static int weight(const struct host_peer *p)
{
        if (!p || p->state == SHARING_UNKNOWN)
                return 1;
        return p->state == SHARING_NOT_SHARED ? 2 : 0;
}

/* The sentence is that of speaker, who says p of other. */
static enum sharing tell(const char *pool, const char *speaker, const char *other,
                         const struct host_peer *p, char message[SHARING_MESSAGE_MAX])
{
        bool refuted = weight(p) == 2;

        snprintf(message, SHARING_MESSAGE_MAX,
                 "storage pool %s is not %sshared between %s and %s: %s says of %s: %s", pool,
                 refuted ? "" : "proven to be ", speaker, other, speaker, other,
                 !p ? "no word of it was ever here" : p->reason);
        return refuted ? SHARING_NOT_SHARED : SHARING_UNKNOWN;
}

static bool other_identity(const struct host_mount *a, const struct host_mount *b)
{
        return *a->identity && *b->identity && strcmp(a->identity, b->identity) != 0;
}

bool sharing_refuted(const struct host_mount *a, const char *node_a, const struct host_mount *b,
                     const char *node_b)
{
        return other_identity(a, b) || weight(host_peer_of(a, node_b)) == 2 ||
               weight(host_peer_of(b, node_a)) == 2;
}

enum sharing sharing_pair(const struct host *a, const struct host *b, const char *pool,
                          char message[SHARING_MESSAGE_MAX])
{
        const struct host_mount *ma = host_mount_of(a, pool), *mb = host_mount_of(b, pool);
        const char *na = a->meta.name, *nb = b->meta.name;
        const struct host_peer *pa = host_peer_of(ma, nb), *pb = host_peer_of(mb, na);

        message[0] = '\0';
        if (other_identity(ma, mb)) {
                snprintf(message, SHARING_MESSAGE_MAX,
                         "storage pool %s is not the same directory on %s and %s: there is %.60s "
                         "on the one, %.60s on the other",
                         pool, na, nb, ma->source, mb->source);
                return SHARING_NOT_SHARED;
        }
        int wa = weight(pa), wb = weight(pb);
        if (wb == 1 && !wa && ma->health == MOUNT_UNHEALTHY)
                wb = 0;
        if (wa || wb)
                return wa >= wb ? tell(pool, na, nb, pa, message) : tell(pool, nb, na, pb, message);
        if (*ma->identity && *mb->identity)
                return SHARING_SHARED;
        snprintf(message, SHARING_MESSAGE_MAX,
                 "storage pool %s is not proven to be shared between %s and %s: %s has not found "
                 "its identity",
                 pool, na, nb, *ma->identity ? nb : na);
        return SHARING_UNKNOWN;
}

bool sharing_locks(const struct host *a, const struct host *b, const char *pool)
{
        const struct host_mount *ma = host_mount_of(a, pool), *mb = host_mount_of(b, pool);
        const struct host_peer *pa = ma ? host_peer_of(ma, b->meta.name) : NULL;
        const struct host_peer *pb = mb ? host_peer_of(mb, a->meta.name) : NULL;

        return pa && pb && pa->locks && pb->locks;
}
