#include "webhook/hosts.h"

#include "api/codec.h"
#include "base/log.h"

#include <errno.h>

#define COUNT_AGAIN_MS 60000
#define ASK_AGAIN_MS   10000 /* after a failure */

void hosts_init(struct hosts *h, struct kube_client *client)
{
        *h = (struct hosts){.client = client};
        pthread_mutex_init(&h->lock, NULL);
}

void hosts_free(struct hosts *h)
{
        pthread_mutex_destroy(&h->lock);
}

static bool within(struct mono then, int64_t ms)
{
        return then.ns && mono_ms_between(then, mono_now()) < ms;
}

/* One question, and its objects as they come. */
struct question {
        struct mono until;
        struct admission_room largest;
        bool (*visit)(void *arg, const struct node *node);
        void *arg;
};

static int too_late(const struct question *q, struct err *e)
{
        return mono_ms_between(mono_now(), q->until) > 0
                       ? 0
                       : err_set(e, -ETIMEDOUT, "it takes too long");
}

static int64_t max(int64_t a, int64_t b)
{
        return a > b ? a : b;
}

static int count_host(void *ctx, const struct json *object, struct err *e)
{
        struct question *q = ctx;
        struct host *host;
        int rc = too_late(q, e);

        if (rc || (rc = host_decode(object, &host, e)))
                return rc;
        const struct host_capacity *c = &host->capacity;
        q->largest.cpus = max(q->largest.cpus, c->cpus * c->cpu_overcommit_percent / 100);
        q->largest.memory = max(q->largest.memory, c->memory - c->reserved_memory);
        host_free(host);
        return 0;
}

static int show_node(void *ctx, const struct json *object, struct err *e)
{
        const struct question *q = ctx;
        struct node *node;
        int rc = too_late(q, e);

        if (rc || (rc = node_decode(object, &node, e)))
                return rc;
        bool more = q->visit(q->arg, node);
        node_free(node);
        return more ? 0 : err_set(e, -ECANCELED, "enough");
}

/* Under the lock. */
static bool ask(struct hosts *h, const struct kube_resource *r, const char *labels,
                int (*each)(void *ctx, const struct json *object, struct err *e),
                struct question *q)
{
        struct err e;
        int rc = within(h->failed, ASK_AGAIN_MS)
                         ? -EAGAIN
                         : kube_list_each(h->client, r, NULL, labels, each, q, &e);

        if (rc == 0 || rc == -ECANCELED)
                return true;
        if (rc != -EAGAIN) {
                log_err(&e, "cannot tell whether a VM fits the hypervisors", NULL);
                h->failed = mono_now();
        }
        return false;
}

bool hosts_largest(struct hosts *h, struct mono until, struct admission_room *out)
{
        struct question q = {.until = until};

        if (pthread_mutex_trylock(&h->lock))
                return false;
        bool known = within(h->counted, COUNT_AGAIN_MS);
        if (!known && ask(h, &KUBE_HOSTS, NULL, count_host, &q)) {
                h->largest = q.largest;
                h->counted = mono_now();
                known = true;
        }
        *out = h->largest;
        pthread_mutex_unlock(&h->lock);
        return known && out->cpus; /* without hypervisors there is no largest one */
}

bool hosts_nodes(struct hosts *h, struct mono until,
                 bool (*visit)(void *arg, const struct node *node), void *arg)
{
        struct question q = {.until = until, .visit = visit, .arg = arg};

        if (pthread_mutex_trylock(&h->lock))
                return false;
        bool known = ask(h, &KUBE_NODES_METADATA, DROVER_HYPERVISOR_LABEL "=true", show_node, &q);
        pthread_mutex_unlock(&h->lock);
        return known;
}
