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

/* Of the part of an address that one owner has: an IPv6 host has its network's lower half. */
static unsigned home_of(const struct http_server *s, const struct sockaddr *a)
{
        union {
                struct sockaddr sa;
                struct sockaddr_in in;
                struct sockaddr_in6 in6;
        } u = {.in6 = {0}};
        const unsigned char *bytes = (const unsigned char *)&u.in.sin_addr;
        size_t n = 4;
        uint64_t h = s->seed;

        memcpy(&u, a, a->sa_family == AF_INET6 ? sizeof(u.in6) : sizeof(u.in));
        if (a->sa_family == AF_INET6) {
                bool v4 = IN6_IS_ADDR_V4MAPPED(&u.in6.sin6_addr);
                bytes = u.in6.sin6_addr.s6_addr + (v4 ? 12 : 0);
                n = v4 ? 4 : 8;
        }
        for (size_t i = 0; i < n; i++)
                h = (h ^ bytes[i]) * 0x100000001b3;
        return (unsigned)(h >> 32) % HOMES;
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
static bool rather(const struct http_server *s, const struct conn *a, const struct conn *b,
                   struct mono now)
{
        if (waits(a, now) != waits(b, now))
                return waits(a, now);
        if (s->homes[a->home] != s->homes[b->home])
                return s->homes[a->home] > s->homes[b->home];
        return since(a) < since(b);
}

static struct conn *victim(const struct http_server *s, const struct conn *for_whom)
{
        struct mono now = mono_now();
        struct conn *worst = NULL;

        for (struct conn *c = s->conns; c; c = c->next)
                if (c != for_whom && !c->dropped && phase_of(c) != CONN_OURS &&
                    s->homes[c->home] >= s->homes[for_whom->home] &&
                    (!worst || rather(s, c, worst, now)))
                        worst = c;
        return worst;
}

/* Its worker sees the end of the stream and closes it. */
static void drop(struct http_server *s, struct conn *c, const char *why)
{
        c->dropped = true;
        s->homes[c->home]--;
        s->nconns--;
        shutdown(c->fd, SHUT_RDWR);
        metric_add(s->drops, why, 1);
}

void crowd_join(struct http_server *s, struct conn *c, const struct sockaddr *from)
{
        c->home = home_of(s, from);
        s->homes[c->home]++;
        s->nconns++;
        if (s->nconns <= s->max_conns)
                return;
        struct conn *v = victim(s, c);
        if (v)
                drop(s, v, phase_of(v) == CONN_IDLE ? "idle" : "slow");
        else
                drop(s, c, "crowded");
}

void crowd_leave(struct http_server *s, const struct conn *c)
{
        if (c->dropped)
                return;
        s->homes[c->home]--;
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
