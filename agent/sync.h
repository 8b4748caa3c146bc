/* Condition variables that wait for so many milliseconds of monotonic time. */
#ifndef DROVER_AGENT_SYNC_H
#define DROVER_AGENT_SYNC_H

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <time.h>

static inline void cond_init(pthread_cond_t *c)
{
        pthread_condattr_t a;

        pthread_condattr_init(&a);
        pthread_condattr_setclock(&a, CLOCK_MONOTONIC);
        pthread_cond_init(c, &a);
        pthread_condattr_destroy(&a);
}

/* The point in time, for several waits up to the same one. */
static inline struct timespec cond_until(int64_t ms)
{
        struct timespec t;

        clock_gettime(CLOCK_MONOTONIC, &t);
        t.tv_sec += ms / 1000;
        t.tv_nsec += ms % 1000 * 1000000;
        if (t.tv_nsec >= 1000000000) {
                t.tv_sec++;
                t.tv_nsec -= 1000000000;
        }
        return t;
}

/* False when the time has come. */
static inline bool cond_wait_until(pthread_cond_t *c, pthread_mutex_t *m,
                                   const struct timespec *until)
{
        return pthread_cond_timedwait(c, m, until) != ETIMEDOUT;
}

#endif
