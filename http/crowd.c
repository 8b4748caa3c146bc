/*
 * Who makes room when there are more connections than may be. An address pushes out only those of
 * addresses that have as many as itself or more: a few addresses that open thousands get into one
 * another's way alone. Of those go, in this order,
 *   1. the ones that are idle, shake hands, or have kept us waiting for a second, before the ones
 *      that bring their request or take their answer; never one that we work for,
 *   2. the ones of the address that has the most,
 *   3. the ones that have been so for the longest.
 * Large bodies, of which few fit into memory, make room for one another alike.
 */
#include "http/internal.h"

#include <netinet/in.h>
#include <string.h>

#define SLOW_MS 1000

/* The part of an address that one owner has: an IPv6 host has its network's lower half. */
static uint64_t owner_of(const struct sockaddr *a)
{
        union {
                struct sockaddr sa;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        } u = {.in6 = {0}};
        uint64_t owner = 0;
        uint32_t v4;

        memcpy(&u, a, a->sa_family == AF_INET6 ? sizeof(u.in6) : sizeof(u.in));
        if (a->sa_family == AF_INET)
                return u.in.sin_addr.s_addr;
        if (IN6_IS_ADDR_V4MAPPED(&u.in6.sin6_addr)) {
                memcpy(&v4, u.in6.sin6_addr.s6_addr + 12, sizeof(v4));
                return v4;
        }
        memcpy(&owner, u.in6.sin6_addr.s6_addr, sizeof(owner));
        return owner;
}

/* Counts one more of its connections; NULL: out of memory. */
static struct home *home_enter(struct http_server *s, uint64_t owner)
{
        struct home **list = &s->homes[(owner * 0x9e3779b97f4a7c15) >> (64 - HOME_BITS)];
        struct home *h = *list;

        while (h && h->owner != owner)
                h = h->next;
        if (!h) {
                h = calloc(1, sizeof(*h));
                if (!h)
                        return NULL;
                *h = (struct home){.owner = owner, .next = *list, .link = list};
                if (h->next)
                        h->next->link = &h->next;
                *list = h;
        }
        h->conns++;
        return h;
}

static void home_leave(struct home *h)
{
        if (!h || --h->conns)
                return;
        *h->link = h->next;
        if (h->next)
                h->next->link = h->link;
        free(h);
}

static enum conn_phase phase_of(const struct conn *c)
{
        return (enum conn_phase)atomic_load_explicit(&c->phase, memory_order_relaxed);
}

static int64_t since(const struct conn *c)
{
        return atomic_load_explicit(&c->since, memory_order_relaxed);
}

static bool is_slow(const struct conn *c, struct mono now)
{
        return mono_ms_between((struct mono){since(c)}, now) >= SLOW_MS;
}

static bool waits(const struct conn *c, struct mono now)
{
        return phase_of(c) == CONN_IDLE || is_slow(c, now);
}

/* Is a to go rather than b? */
static bool rather(const struct conn *a, const struct conn *b, struct mono now)
{
        if (waits(a, now) != waits(b, now))
                return waits(a, now);
        if (a->home->conns != b->home->conns)
                return a->home->conns > b->home->conns;
        return since(a) < since(b);
}

static struct conn *victim(const struct http_server *s, const struct conn *for_whom)
{
        struct mono now = mono_now();
        struct conn *worst = NULL;

        for (struct conn *c = s->conns; c; c = c->next)
                if (c != for_whom && !c->dropped && phase_of(c) != CONN_OURS &&
                    c->home->conns >= for_whom->home->conns && (!worst || rather(c, worst, now)))
                        worst = c;
        return worst;
}

/* Its worker sees the end of the stream and closes it. */
static void drop(struct http_server *s, struct conn *c, const char *why)
{
        c->dropped = true;
        home_leave(c->home);
        c->home = NULL;
        s->nconns--;
        shutdown(c->fd, SHUT_RDWR);
        metric_add(s->drops, why, 1);
}

void crowd_join(struct http_server *s, struct conn *c, const struct sockaddr *from)
{
        struct conn *v = NULL;

        c->home = home_enter(s, owner_of(from));
        s->nconns++;
        if (c->home && s->nconns <= s->max_conns)
                return;
        if (c->home)
                v = victim(s, c);
        if (v)
                drop(s, v, phase_of(v) == CONN_IDLE ? "idle" : "slow");
        else
                drop(s, c, "crowded");
}

void crowd_leave(struct http_server *s, struct conn *c)
{
        if (c->dropped)
                return;
        home_leave(c->home);
        s->nconns--;
}

void crowd_press(struct http_server *s)
{
        struct mono now = mono_now();
        struct conn *worst = NULL;

        pthread_mutex_lock(&s->lock);
        for (struct conn *c = s->conns; c; c = c->next)
                if (!c->dropped && phase_of(c) == CONN_PEER && is_slow(c, now) &&
                    atomic_load_explicit(&c->large, memory_order_relaxed) &&
                    (!worst || since(c) < since(worst)))
                        worst = c;
        if (worst)
                drop(s, worst, "large");
        pthread_mutex_unlock(&s->lock);
}
