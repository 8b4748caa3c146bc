/* The thread itself: tasks in, transfers and timers served, until it is told to stop. */
#include "kube/io.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>

struct call {
        struct kube_task task;
        struct kube_task *inner;
        struct kube_client *client;
        bool ran;
};

void kube_timer_set(struct kube_client *c, struct kube_timer *t, struct mono at)
{
        t->at = at;
        if (t->armed)
                return;
        t->armed = true;
        t->next = c->timers;
        c->timers = t;
}

void kube_timer_clear(struct kube_client *c, struct kube_timer *t)
{
        struct kube_timer **p = &c->timers;

        if (!t->armed)
                return;
        while (*p != t)
                p = &(*p)->next;
        *p = t->next;
        t->armed = false;
}

static struct kube_timer *due(struct kube_client *c, struct mono now)
{
        for (struct kube_timer *t = c->timers; t; t = t->next)
                if (t->at.ns <= now.ns)
                        return t;
        return NULL;
}

static void run_timers(struct kube_client *c)
{
        struct mono now = mono_now();
        struct kube_timer *t;

        while ((t = due(c, now))) {
                kube_timer_clear(c, t);
                t->fire(t);
        }
}

/* How long the thread may sleep. */
static int wait_ms(const struct kube_client *c)
{
        int64_t ms = 60000;
        struct mono now = mono_now();

        for (const struct kube_timer *t = c->timers; t; t = t->next) {
                int64_t left = (t->at.ns - now.ns + 999999) / 1000000;
                if (left < ms)
                        ms = left < 0 ? 0 : left;
        }
        return (int)ms;
}

static void run_tasks(struct kube_client *c)
{
        struct kube_task *t;

        pthread_mutex_lock(&c->lock);
        while ((t = c->tasks)) {
                c->tasks = t->next;
                if (!c->tasks)
                        c->tasks_end = &c->tasks;
                pthread_mutex_unlock(&c->lock);
                t->run(t);
                pthread_mutex_lock(&c->lock);
        }
        pthread_mutex_unlock(&c->lock);
}

static void reap(struct kube_client *c)
{
        CURLMsg *m;
        int left;

        while ((m = curl_multi_info_read(c->multi, &left))) {
                CURLcode result = m->data.result;
                char *t = NULL;

                if (m->msg != CURLMSG_DONE)
                        continue;
                curl_easy_getinfo(m->easy_handle, CURLINFO_PRIVATE, &t);
                kube_transfer_finish((struct kube_transfer *)(void *)t, result);
        }
}

static bool stopping(struct kube_client *c)
{
        pthread_mutex_lock(&c->lock);
        bool v = c->stopping && !c->tasks;
        pthread_mutex_unlock(&c->lock);
        return v;
}

static void *io_thread(void *arg)
{
        struct kube_client *c = arg;
        struct err e;
        int running;

        while (!stopping(c)) {
                run_tasks(c);
                run_timers(c);
                curl_multi_perform(c->multi, &running);
                reap(c);
                curl_multi_poll(c->multi, NULL, 0, wait_ms(c), NULL);
        }
        kube_watches_end(c);
        err_set(&e, -ECANCELED, "the client was stopped");
        while (c->transfers)
                kube_transfer_fail(c->transfers, &e);
        return NULL;
}

static void init_lock(struct kube_client *c)
{
        pthread_condattr_t attr;

        pthread_mutex_init(&c->lock, NULL);
        pthread_condattr_init(&attr);
        pthread_condattr_setclock(&attr, CLOCK_MONOTONIC);
        pthread_cond_init(&c->cond, &attr);
        pthread_condattr_destroy(&attr);
}

static void destroy(struct kube_client *c)
{
        curl_multi_cleanup(c->multi);
        pthread_cond_destroy(&c->cond);
        pthread_mutex_destroy(&c->lock);
}

int kube_io_start(struct kube_client *c, struct err *e)
{
        sigset_t all, old;
        int rc;

        c->multi = curl_multi_init();
        if (!c->multi)
                return err_sys(e, -ENOMEM, "start the I/O thread");
        c->tasks_end = &c->tasks;
        init_lock(c);
        /* Signals are the program's; a SIGPIPE of a TLS write must not end it. */
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&c->thread, NULL, io_thread, c);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
        if (rc) {
                destroy(c);
                return err_sys(e, -rc, "start the I/O thread");
        }
        return 0;
}

void kube_io_stop(struct kube_client *c)
{
        pthread_mutex_lock(&c->lock);
        c->stopping = true;
        pthread_cond_broadcast(&c->cond);
        pthread_mutex_unlock(&c->lock);
        curl_multi_wakeup(c->multi);
        pthread_join(c->thread, NULL);
        pthread_mutex_lock(&c->lock);
        while (c->callers)
                pthread_cond_wait(&c->cond, &c->lock);
        pthread_mutex_unlock(&c->lock);
        destroy(c);
}

int kube_io_enter(struct kube_client *c)
{
        int rc = 0;

        if (pthread_equal(pthread_self(), c->thread))
                return -EDEADLK;
        pthread_mutex_lock(&c->lock);
        if (c->stopping)
                rc = -ECANCELED;
        else
                c->callers++;
        pthread_mutex_unlock(&c->lock);
        return rc;
}

void kube_io_leave(struct kube_client *c)
{
        pthread_mutex_lock(&c->lock);
        if (--c->callers == 0 && c->stopping)
                pthread_cond_broadcast(&c->cond);
        pthread_mutex_unlock(&c->lock);
}

bool kube_io_sleep(struct kube_client *c, int64_t ms)
{
        struct mono until = mono_add_ms(mono_now(), ms);
        struct timespec t = {.tv_sec = until.ns / 1000000000, .tv_nsec = until.ns % 1000000000};
        int rc = 0;

        pthread_mutex_lock(&c->lock);
        while (!c->stopping && rc != ETIMEDOUT)
                rc = pthread_cond_timedwait(&c->cond, &c->lock, &t);
        bool go_on = !c->stopping;
        pthread_mutex_unlock(&c->lock);
        return go_on;
}

int kube_io_post(struct kube_client *c, struct kube_task *t)
{
        t->next = NULL;
        pthread_mutex_lock(&c->lock);
        if (c->stopping) {
                pthread_mutex_unlock(&c->lock);
                return -ECANCELED;
        }
        *c->tasks_end = t;
        c->tasks_end = &t->next;
        pthread_mutex_unlock(&c->lock);
        curl_multi_wakeup(c->multi);
        return 0;
}

static void run_call(struct kube_task *t)
{
        struct call *call = (struct call *)t;
        struct kube_client *c = call->client;

        call->inner->run(call->inner);
        pthread_mutex_lock(&c->lock);
        call->ran = true;
        pthread_cond_broadcast(&c->cond);
        pthread_mutex_unlock(&c->lock);
}

int kube_io_call(struct kube_client *c, struct kube_task *t)
{
        struct call call = {.task.run = run_call, .inner = t, .client = c};
        int rc = kube_io_enter(c);

        if (rc < 0)
                return rc;
        rc = kube_io_post(c, &call.task);
        if (rc == 0) {
                pthread_mutex_lock(&c->lock);
                while (!call.ran)
                        pthread_cond_wait(&c->cond, &c->lock);
                pthread_mutex_unlock(&c->lock);
        }
        kube_io_leave(c);
        return rc;
}
