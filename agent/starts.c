#include "agent/starts.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEADY_MS    60000 /* a guest that ran this long starts again at once */
#define PACE_MIN_MS  2000  /* doubled for each quick restart */
#define PACE_MAX_MS  300000
#define RETRY_MAX_MS 30000 /* a retry costs nothing, and somebody waits for it */
#define RETRY_FIRST  2     /* step of the pace: 4 s */

struct start {
        struct start *next;
        char uuid[40];
        int64_t started_ms, stop_ms, stood_ms; /* -1: never; last seen to stand still */
        int64_t retried_ms;                    /* or since when it stands still */
        unsigned quick, retries;               /* in quick succession */
};

struct starts {
        pthread_mutex_t lock;
        struct start *first;
};

struct starts *starts_new(void)
{
        struct starts *s = calloc(1, sizeof(*s));

        if (s)
                pthread_mutex_init(&s->lock, NULL);
        return s;
}

void starts_free(struct starts *s)
{
        if (!s)
                return;
        while (s->first) {
                struct start *x = s->first;
                s->first = x->next;
                free(x);
        }
        pthread_mutex_destroy(&s->lock);
        free(s);
}

static struct start *find(struct starts *s, const char *uuid, bool add)
{
        for (struct start *x = s->first; x; x = x->next)
                if (!strcmp(x->uuid, uuid))
                        return x;
        struct start *x = add ? calloc(1, sizeof(*x)) : NULL;
        if (x) {
                snprintf(x->uuid, sizeof(x->uuid), "%s", uuid);
                x->started_ms = x->stop_ms = x->stood_ms = -1;
                x->next = s->first;
                s->first = x;
        }
        return x;
}

static int64_t pace(unsigned quick, int64_t max_ms)
{
        int64_t ms = PACE_MIN_MS;

        if (!quick)
                return 0;
        while (--quick && ms < max_ms)
                ms *= 2;
        return ms < max_ms ? ms : max_ms;
}

int64_t starts_wait_ms(struct starts *s, const char *uuid, int64_t now_ms)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, false);
        int64_t wait = 0;
        if (x && x->started_ms >= 0)
                wait = x->started_ms + pace(x->quick, PACE_MAX_MS) - now_ms;
        pthread_mutex_unlock(&s->lock);
        return wait > 0 ? wait : 0;
}

void starts_started(struct starts *s, const char *uuid, int64_t now_ms)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, true);
        if (x) {
                bool steady = x->started_ms < 0 ||
                              now_ms - x->started_ms >= STEADY_MS + pace(x->quick, PACE_MAX_MS);
                x->quick = steady || x->stop_ms >= 0 ? 0 : x->quick + 1;
                x->started_ms = now_ms;
                x->stop_ms = -1;
        }
        pthread_mutex_unlock(&s->lock);
}

/* It has not stood still, or not for a long while. */
static bool ran(const struct start *x, int64_t now_ms)
{
        return x->stood_ms < 0 || now_ms - x->stood_ms >= STEADY_MS;
}

int64_t starts_retry_wait_ms(struct starts *s, const char *uuid, int64_t now_ms)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, true);
        int64_t wait = 0;
        if (x && ran(x, now_ms)) {
                x->retried_ms = now_ms;
                x->retries = RETRY_FIRST;
        }
        if (x) {
                x->stood_ms = now_ms;
                wait = x->retried_ms + pace(x->retries, RETRY_MAX_MS) - now_ms;
        }
        pthread_mutex_unlock(&s->lock);
        return wait > 0 ? wait : 0;
}

void starts_retried(struct starts *s, const char *uuid, int64_t now_ms)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, true);
        if (x) {
                x->retries++;
                x->retried_ms = x->stood_ms = now_ms;
        }
        pthread_mutex_unlock(&s->lock);
}

unsigned starts_retries(struct starts *s, const char *uuid, int64_t now_ms)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, false);
        unsigned n =
                x && !ran(x, now_ms) && x->retries > RETRY_FIRST ? x->retries - RETRY_FIRST : 0;
        pthread_mutex_unlock(&s->lock);
        return n;
}

int64_t starts_stopping(struct starts *s, const char *uuid, int64_t now_ms, bool *first)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, true);
        *first = !x || x->stop_ms < 0;
        if (x && *first)
                x->stop_ms = now_ms;
        int64_t since = x ? x->stop_ms : now_ms;
        pthread_mutex_unlock(&s->lock);
        return since;
}

void starts_unstop(struct starts *s, const char *uuid)
{
        pthread_mutex_lock(&s->lock);
        struct start *x = find(s, uuid, false);
        if (x)
                x->stop_ms = -1;
        pthread_mutex_unlock(&s->lock);
}

void starts_forget(struct starts *s, const char *uuid)
{
        pthread_mutex_lock(&s->lock);
        for (struct start **at = &s->first; *at; at = &(*at)->next) {
                if (strcmp((*at)->uuid, uuid) != 0)
                        continue;
                struct start *x = *at;
                *at = x->next;
                free(x);
                break;
        }
        pthread_mutex_unlock(&s->lock);
}
