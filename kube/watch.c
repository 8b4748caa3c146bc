/* A reflector on the I/O thread: kube/reflect.h decides, here requests are sent and waited for. */
#include "kube/io.h"
#include "kube/random.h"
#include "kube/reflect.h"
#include "kube/status.h"
#include "kube/url.h"

#include <errno.h>
#include <stdatomic.h>
#include <string.h>

#define WATCH_LIFE_MS ((600 + 60) * 1000) /* a server that forgets timeoutSeconds is left */

struct kube_watch {
        struct kube_watch *next; /* of the client's, on the I/O thread */
        struct kube_client *client;
        struct kube_watch_config cfg; /* strings copied */
        struct kube_task task;
        struct kube_timer timer;
        struct kube_transfer transfer;
        struct kube_reflect reflect;
        struct buf url;
        _Atomic int64_t said_ns; /* when the server last said anything */
};

static struct kube_watch *of_task(struct kube_task *t)
{
        return (struct kube_watch *)(void *)((char *)t - offsetof(struct kube_watch, task));
}

static struct kube_watch *of_timer(struct kube_timer *t)
{
        return (struct kube_watch *)(void *)((char *)t - offsetof(struct kube_watch, timer));
}

static struct kube_watch *of_transfer(struct kube_transfer *t)
{
        return (struct kube_watch *)(void *)((char *)t - offsetof(struct kube_watch, transfer));
}

static void note_progress(struct kube_watch *w, uint64_t heard_before)
{
        if (w->reflect.heard != heard_before)
                atomic_store(&w->said_ns, mono_now().ns);
}

static int on_data(struct kube_transfer *t, const char *data, size_t len, struct err *e)
{
        struct kube_watch *w = of_transfer(t);
        uint64_t heard = w->reflect.heard;
        int rc = kube_reflect_data(&w->reflect, data, len, e);

        note_progress(w, heard);
        return rc;
}

/* The server serves us from where we are, though there may be nothing to say. */
static void on_answer(struct kube_transfer *t)
{
        struct kube_watch *w = of_transfer(t);

        if (w->reflect.phase == KUBE_WATCHING)
                atomic_store(&w->said_ns, mono_now().ns);
}

static void next_in(struct kube_watch *w, int64_t ms)
{
        kube_timer_set(w->client, &w->timer, mono_add_ms(mono_now(), ms));
}

static void on_done(struct kube_transfer *t)
{
        struct kube_watch *w = of_transfer(t);
        uint64_t heard = w->reflect.heard;
        struct kube_reflect_end end = {.http = t->http,
                                       .code = t->code,
                                       .err = &t->err,
                                       .retry_after_ms = t->retry_after_ms,
                                       .lived_ms = mono_ms_between(t->started, mono_now())};

        if (t->code == 0 && (t->http < 200 || t->http > 299))
                kube_status_error(&t->err, t->http, &(struct kube_asked){0}, buf_str(&t->problem),
                                  t->problem.len);
        kube_transfer_free(t);
        int64_t wait = kube_reflect_end(&w->reflect, &end, kube_random());
        note_progress(w, heard);
        next_in(w, wait);
}

static void send_request(struct kube_timer *timer)
{
        struct kube_watch *w = of_timer(timer);
        struct kube_client *c = w->client;
        struct kube_transfer *t = &w->transfer;
        bool listing = w->reflect.phase == KUBE_LISTING;
        struct err e;

        buf_reset(&w->url);
        if (kube_reflect_url(&w->reflect, c->cfg.server, kube_random(), &w->url, &e) < 0) {
                struct kube_reflect_end end = {.code = e.code, .err = &e};
                next_in(w, kube_reflect_end(&w->reflect, &end, kube_random()));
                return;
        }
        t->client = c;
        t->method = "GET";
        t->url = buf_str(&w->url);
        t->answered = on_answer;
        t->sink = on_data;
        t->done = on_done;
        t->token_retried = false;
        t->deadline_ms = listing ? c->tune.page_ms : WATCH_LIFE_MS;
        t->answer_ms = c->tune.answer_ms;
        t->silence_ms = listing ? c->tune.page_silence_ms : c->tune.watch_silence_ms;
        kube_transfer_start(t);
}

static void start(struct kube_task *task)
{
        struct kube_watch *w = of_task(task);

        w->next = w->client->watches;
        w->client->watches = w;
        next_in(w, 0);
}

static void stop(struct kube_task *task)
{
        struct kube_watch *w = of_task(task);
        struct kube_watch **p = &w->client->watches;

        kube_timer_clear(w->client, &w->timer);
        kube_transfer_cancel(&w->transfer);
        kube_transfer_free(&w->transfer);
        while (*p != w)
                p = &(*p)->next;
        *p = w->next;
}

static void free_watch(struct kube_watch *w)
{
        kube_reflect_free(&w->reflect);
        buf_free(&w->url);
        free((char *)(uintptr_t)w->cfg.ns);
        free((char *)(uintptr_t)w->cfg.label_selector);
        free((char *)(uintptr_t)w->cfg.field_selector);
        free(w);
}

void kube_watches_end(struct kube_client *c)
{
        while (c->watches) {
                struct kube_watch *w = c->watches;

                stop(&w->task);
                free_watch(w);
        }
}

static int copy(const char *from, const char **to)
{
        *to = from ? strdup(from) : NULL;
        return from && !*to ? -ENOMEM : 0;
}

static int copy_config(const struct kube_watch_config *from, struct kube_watch_config *to)
{
        *to = *from;
        to->ns = to->label_selector = to->field_selector = NULL;
        if (copy(from->ns, &to->ns) || copy(from->label_selector, &to->label_selector) ||
            copy(from->field_selector, &to->field_selector))
                return -ENOMEM;
        return 0;
}

int kube_watch_start(struct kube_client *c, const struct kube_watch_config *cfg,
                     struct kube_watch **out, struct err *e)
{
        struct backoff backoff = {.min_ms = c->tune.backoff_min_ms,
                                  .max_ms = c->tune.backoff_max_ms};
        struct kube_watch *w = calloc(1, sizeof(*w));
        int rc;

        if (!w)
                return err_sys(e, -ENOMEM, "watch %s", cfg->resource->plural);
        rc = copy_config(cfg, &w->cfg);
        w->client = c;
        w->task.run = start;
        w->timer.fire = send_request;
        w->url = buf_new(KUBE_URL_MAX);
        w->said_ns = mono_now().ns;
        kube_reflect_init(&w->reflect, &w->cfg, backoff, c->tune.healthy_ms);
        if (rc == 0)
                rc = kube_io_call(c, &w->task);
        if (rc < 0) {
                free_watch(w);
                return err_sys(e, rc, "watch %s", cfg->resource->plural);
        }
        *out = w;
        return 0;
}

void kube_watch_stop(struct kube_watch *w)
{
        if (!w)
                return;
        w->task.run = stop;
        if (kube_io_call(w->client, &w->task) < 0)
                return; /* the client is being freed and takes the watch with it */
        free_watch(w);
}

bool kube_watch_synced(const struct kube_watch *w)
{
        return atomic_load(&w->reflect.synced);
}

int64_t kube_watch_silence_ms(const struct kube_watch *w)
{
        return mono_ms_between((struct mono){atomic_load(&w->said_ns)}, mono_now());
}
