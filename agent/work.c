#include "agent/work.h"

#include "agent/sync.h"
#include "kube/queue.h"

#include <stdlib.h>

#define BACKOFF_MIN_MS 500
#define BACKOFF_MAX_MS 60000
#define IDLE_MS        10000 /* a thread too many ends after that */

struct work {
        struct kube_queue *queue;
        work_fn run;
        void *ctx;
        pthread_mutex_t lock;
        pthread_cond_t changed;
        size_t max, threads, idle;
        bool stopping;
};

static void *worker(void *arg);

/* Called with the lock held. */
static void ensure_idle(struct work *w)
{
        pthread_t t;
        pthread_attr_t a;

        if (w->idle || w->threads >= w->max || w->stopping)
                return;
        pthread_attr_init(&a);
        pthread_attr_setdetachstate(&a, PTHREAD_CREATE_DETACHED);
        if (!pthread_create(&t, &a, worker, w)) {
                w->threads++;
                w->idle++; /* it will be */
        }
        pthread_attr_destroy(&a);
}

static void work_on(struct work *w, const char *key)
{
        int64_t r = w->run(w->ctx, key);

        if (r == WORK_RETRY)
                kube_queue_retry(w->queue, key);
        else
                kube_queue_forget(w->queue, key);
        if (r > 0)
                kube_queue_add_after(w->queue, key, r);
        kube_queue_done(w->queue, key);
}

static void *worker(void *arg)
{
        struct work *w = arg;
        char key[KUBE_KEY_MAX];

        for (;;) {
                bool taken = kube_queue_take(w->queue, key, IDLE_MS);
                pthread_mutex_lock(&w->lock);
                if (w->stopping || (!taken && w->idle > 1))
                        break;
                if (taken) {
                        w->idle--;
                        ensure_idle(w);
                        pthread_mutex_unlock(&w->lock);
                        work_on(w, key);
                        pthread_mutex_lock(&w->lock);
                        w->idle++;
                }
                pthread_mutex_unlock(&w->lock);
        }
        w->idle--;
        w->threads--;
        pthread_cond_broadcast(&w->changed);
        pthread_mutex_unlock(&w->lock);
        return NULL;
}

struct work *work_new(size_t max_threads, work_fn run, void *ctx)
{
        struct work *w = calloc(1, sizeof(*w));

        if (!w)
                return NULL;
        w->queue = kube_queue_new(BACKOFF_MIN_MS, BACKOFF_MAX_MS);
        w->run = run;
        w->ctx = ctx;
        w->max = max_threads;
        pthread_mutex_init(&w->lock, NULL);
        cond_init(&w->changed);
        pthread_mutex_lock(&w->lock);
        if (w->queue)
                ensure_idle(w);
        bool ok = w->threads > 0;
        pthread_mutex_unlock(&w->lock);
        if (ok)
                return w;
        if (w->queue)
                kube_queue_free(w->queue);
        free(w);
        return NULL;
}

bool work_free(struct work *w, int64_t ms)
{
        struct timespec until = cond_until(ms);

        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        kube_queue_close(w->queue);
        while (w->threads && cond_wait_until(&w->changed, &w->lock, &until))
                ;
        bool ended = !w->threads;
        pthread_mutex_unlock(&w->lock);
        if (!ended)
                return false;
        kube_queue_free(w->queue);
        pthread_mutex_destroy(&w->lock);
        pthread_cond_destroy(&w->changed);
        free(w);
        return true;
}

void work_add(struct work *w, const char *key)
{
        kube_queue_add(w->queue, key);
}

void work_add_after(struct work *w, const char *key, int64_t ms)
{
        kube_queue_add_after(w->queue, key, ms);
}

size_t work_busy(struct work *w)
{
        pthread_mutex_lock(&w->lock);
        size_t n = w->threads - w->idle;
        pthread_mutex_unlock(&w->lock);
        return n;
}
