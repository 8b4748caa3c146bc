#include "tests/hostile/hostile.h"

#define OWN_ADDRESS "127.0.0.1"
#define PACE_MS     2
#define FIRST_EVERY 10 /* every so many requests, one on a connection of its own */
#define SAMPLES_MAX 65536

struct samples {
        double ms[SAMPLES_MAX];
        size_t n;
};

static struct {
        const struct target *target;
        pthread_t thread;
        pthread_mutex_t lock;
        pthread_cond_t answered;
        size_t count;
        struct samples kept, first;
        bool stop;
} honest = {.lock = PTHREAD_MUTEX_INITIALIZER, .answered = PTHREAD_COND_INITIALIZER};

static bool ask_once(struct client *c, struct answer *a)
{
        const struct target *t = honest.target;

        return ask(c, "POST", t->path, t->ask, strlen(t->ask), a) == 200 &&
               strstr(a->body, t->answer);
}

static void note(struct samples *s, struct mono began)
{
        double ms = (double)(mono_now().ns - began.ns) / 1e6;

        pthread_mutex_lock(&honest.lock);
        if (s->n < SAMPLES_MAX)
                s->ms[s->n++] = ms;
        honest.count++;
        pthread_cond_broadcast(&honest.answered);
        pthread_mutex_unlock(&honest.lock);
}

static void ask_anew(struct answer *a)
{
        static struct client c;
        struct mono began = mono_now();

        if (!client_open_from(&c, OWN_ADDRESS, honest.target->port, honest.target->tls)) {
                complain("honest client: no connection: %s", strerror(errno));
                return;
        }
        if (ask_once(&c, a))
                note(&honest.first, began);
        else
                complain("honest client, new connection: %d %s", a->status, a->body);
        client_close(&c);
}

static bool stopped(void)
{
        pthread_mutex_lock(&honest.lock);
        bool stop = honest.stop;
        pthread_mutex_unlock(&honest.lock);
        return stop;
}

/* A connection that was kept is never lost: its address has no more of them than any other. */
static void *run(void *arg)
{
        static struct client c;
        static struct answer a;

        (void)arg;
        if (!client_open_from(&c, OWN_ADDRESS, honest.target->port, honest.target->tls))
                complain("honest client: no connection at the start");
        for (int i = 0; c.fd >= 0 && !stopped(); i++) {
                if (i % FIRST_EVERY == 0)
                        ask_anew(&a);
                struct mono began = mono_now();
                if (ask_once(&c, &a)) {
                        note(&honest.kept, began);
                        nap_ms(PACE_MS);
                        continue;
                }
                complain("honest client: after %.0f ms: %s; %d %s",
                         (double)(mono_now().ns - began.ns) / 1e6, strerror(errno), a.status,
                         a.body);
                client_close(&c);
                client_open_from(&c, OWN_ADDRESS, honest.target->port, honest.target->tls);
        }
        pthread_mutex_lock(&honest.lock);
        honest.stop = true; /* nobody is to wait for more */
        pthread_cond_broadcast(&honest.answered);
        pthread_mutex_unlock(&honest.lock);
        if (c.fd >= 0)
                client_close(&c);
        return NULL;
}

void honest_start(const struct target *t)
{
        honest.target = t;
        honest.count = honest.kept.n = honest.first.n = 0;
        honest.stop = false;
        assert_int_equal(pthread_create(&honest.thread, NULL, run, NULL), 0);
}

void honest_stop(void)
{
        pthread_mutex_lock(&honest.lock);
        honest.stop = true;
        pthread_mutex_unlock(&honest.lock);
        pthread_join(honest.thread, NULL);
}

void honest_await(size_t n)
{
        pthread_mutex_lock(&honest.lock);
        size_t until = honest.count + n;
        while (honest.count < until && !honest.stop)
                pthread_cond_wait(&honest.answered, &honest.lock);
        pthread_mutex_unlock(&honest.lock);
}

static int by_value(const void *a, const void *b)
{
        double x = *(const double *)a, y = *(const double *)b;

        return (x > y) - (x < y);
}

struct latency honest_latency(bool first)
{
        struct samples *s = first ? &honest.first : &honest.kept;
        struct latency l = {0};

        pthread_mutex_lock(&honest.lock);
        qsort(s->ms, s->n, sizeof(s->ms[0]), by_value);
        if (s->n)
                l = (struct latency){.n = s->n,
                                     .p50 = s->ms[s->n / 2],
                                     .p95 = s->ms[s->n * 95 / 100],
                                     .p99 = s->ms[s->n * 99 / 100]};
        s->n = 0;
        pthread_mutex_unlock(&honest.lock);
        return l;
}
