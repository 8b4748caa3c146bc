/*
 * The slow threads: what has to wait does so here, a few at a time, so that the workers never do.
 * The connection is suspended meanwhile: microhttpd lets it alone until it is resumed, whatever its
 * peer does. (A peer that has ended its side by then is taken for one that has gone, and gets no
 * answer.)
 */
#include "http/internal.h"

#include <errno.h>
#include <signal.h>

#define QUEUE_PER_THREAD 4
#define QUEUE_MS         1000 /* the client's own patience ends some seconds later */

struct pool {
        pthread_mutex_t lock;
        pthread_cond_t work; /* a job has come, or the end */
        struct job *first, **last;
        unsigned queued, room;
        bool ending;
        unsigned n;
        pthread_t threads[];
};

/* With the lock held. */
static struct job *next(struct pool *p)
{
        struct job *j = p->first;

        p->first = j->next;
        if (!p->first)
                p->last = &p->first;
        p->queued--;
        return j;
}

static void *work(void *arg)
{
        struct pool *p = arg;

        pthread_mutex_lock(&p->lock);
        while (p->first || !p->ending) {
                if (!p->first) {
                        pthread_cond_wait(&p->work, &p->lock);
                        continue;
                }
                struct job *j = next(p);
                struct MHD_Connection *c = j->connection;
                bool run = !p->ending && mono_ms_between(j->since, mono_now()) <= QUEUE_MS;
                pthread_mutex_unlock(&p->lock);
                j->run(j, run);
                MHD_resume_connection(c); /* and with it the job is gone */
                pthread_mutex_lock(&p->lock);
        }
        pthread_mutex_unlock(&p->lock);
        return NULL;
}

int pool_start(unsigned threads, struct pool **out)
{
        struct pool *p = calloc(1, sizeof(*p) + threads * sizeof(p->threads[0]));
        sigset_t all, old;
        int rc = 0;

        if (!p)
                return -ENOMEM;
        pthread_mutex_init(&p->lock, NULL);
        pthread_cond_init(&p->work, NULL);
        p->last = &p->first;
        p->room = threads * QUEUE_PER_THREAD;
        sigfillset(&all); /* signals are the main program's */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        while (p->n < threads && rc == 0) {
                rc = -pthread_create(&p->threads[p->n], NULL, work, p);
                p->n += rc == 0;
        }
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (rc < 0) {
                pool_end(p);
                pool_free(p);
                return rc;
        }
        *out = p;
        return 0;
}

bool pool_take(struct pool *p, struct job *j)
{
        pthread_mutex_lock(&p->lock);
        bool taken = !p->ending && p->queued < p->room;
        if (taken) {
                MHD_suspend_connection(j->connection);
                j->since = mono_now();
                j->next = NULL;
                *p->last = j;
                p->last = &j->next;
                p->queued++;
                pthread_cond_signal(&p->work);
        }
        pthread_mutex_unlock(&p->lock);
        return taken;
}

void pool_end(struct pool *p)
{
        if (!p)
                return;
        pthread_mutex_lock(&p->lock);
        p->ending = true;
        pthread_cond_broadcast(&p->work);
        pthread_mutex_unlock(&p->lock);
        while (p->n)
                pthread_join(p->threads[--p->n], NULL);
}

void pool_free(struct pool *p)
{
        if (!p)
                return;
        pthread_cond_destroy(&p->work);
        pthread_mutex_destroy(&p->lock);
        free(p);
}
