#include "migrator/news.h"

#include "base/log.h"
#include "kube/event.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

struct item {
        char ns[64], name[254], uid[64], type[8], reason[64];
        char message[1100]; /* more than an event holds, which is cut where it may be */
};

struct news {
        struct kube_client *client;
        pthread_t thread;
        pthread_mutex_t lock; /* what follows */
        pthread_cond_t changed;
        struct item v[NEWS_MAX]; /* a ring */
        size_t first, n;
        bool stopping;
};

static void record(struct kube_client *client, const struct item *x)
{
        const struct kube_event_about about = {DROVER_API_VERSION, "VirtualMachine", x->ns, x->name,
                                               x->uid};
        struct err e;

        if (kube_event_record(client, &about, "drover-migrator", x->type, x->reason, x->message,
                              &e) < 0)
                log_err(&e, "event not recorded", "vm", x->name, NULL);
}

/* Waits for the oldest; false when it is to end. */
static bool take(struct news *n, struct item *out)
{
        pthread_mutex_lock(&n->lock);
        while (!n->n && !n->stopping)
                pthread_cond_wait(&n->changed, &n->lock);
        bool go_on = !n->stopping;
        if (go_on) {
                *out = n->v[n->first];
                n->first = (n->first + 1) % NEWS_MAX;
                n->n--;
        }
        pthread_mutex_unlock(&n->lock);
        return go_on;
}

static void *run(void *arg)
{
        struct news *n = arg;
        struct item x;

        while (take(n, &x))
                record(n->client, &x);
        return NULL;
}

int news_start(struct kube_client *client, struct news **out, struct err *e)
{
        struct news *n = calloc(1, sizeof(*n));

        if (!n)
                return err_set(e, -ENOMEM, "out of memory");
        n->client = client;
        pthread_mutex_init(&n->lock, NULL);
        pthread_cond_init(&n->changed, NULL);
        int rc = -pthread_create(&n->thread, NULL, run, n);
        if (rc) {
                pthread_mutex_destroy(&n->lock);
                pthread_cond_destroy(&n->changed);
                free(n);
                return err_sys(e, rc, "thread");
        }
        *out = n;
        return 0;
}

void news_stop(struct news *n)
{
        if (!n)
                return;
        pthread_mutex_lock(&n->lock);
        n->stopping = true;
        pthread_cond_signal(&n->changed);
        pthread_mutex_unlock(&n->lock);
        pthread_join(n->thread, NULL);
        pthread_mutex_destroy(&n->lock);
        pthread_cond_destroy(&n->changed);
        free(n);
}

static void fill(struct item *x, const struct meta *vm, const char *type, const char *reason,
                 const char *message)
{
        snprintf(x->ns, sizeof(x->ns), "%s", vm->ns);
        snprintf(x->name, sizeof(x->name), "%s", vm->name);
        snprintf(x->uid, sizeof(x->uid), "%s", vm->uid);
        snprintf(x->type, sizeof(x->type), "%s", type);
        snprintf(x->reason, sizeof(x->reason), "%s", reason);
        snprintf(x->message, sizeof(x->message), "%s", message);
}

void news_tell(struct news *n, const struct vm *vm, const char *type, const char *reason,
               const char *message)
{
        log_msg(LOG_INFO, message, "namespace", vm->meta.ns, "vm", vm->meta.name, "reason", reason,
                NULL);
        if (!n)
                return;
        pthread_mutex_lock(&n->lock);
        bool kept = n->n < NEWS_MAX;
        if (kept) {
                fill(&n->v[(n->first + n->n) % NEWS_MAX], &vm->meta, type, reason, message);
                n->n++;
                pthread_cond_signal(&n->changed);
        }
        pthread_mutex_unlock(&n->lock);
        if (!kept)
                log_msg(LOG_WARN, "too many events wait: one is dropped", "vm", vm->meta.name,
                        "reason", reason, NULL);
}
