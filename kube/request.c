/* Hands a request to the I/O thread, waits for it, retries what is worth it within the deadline. */
#include "kube/request.h"

#include "kube/backoff.h"
#include "kube/io.h"
#include "kube/random.h"
#include "kube/status.h"
#include "kube/url.h"

#include <errno.h>
#include <string.h>

#define ATTEMPTS         5
#define RETRY_MAX_MS     4000
#define REQUEST_BODY_MAX KUBE_OBJECT_MAX

/* One request of a waiting thread. */
struct request {
        struct kube_task task;
        struct kube_transfer transfer;
        pthread_cond_t cond;
        bool done; /* under the client's lock */
        bool once;
        struct kube_asked asked;
        int64_t deadline_ms;
        int (*sink)(void *ctx, const char *data, size_t len, struct err *e);
        void *ctx;
};

static struct request *request_of(struct kube_transfer *t)
{
        return (struct request *)(void *)((char *)t - offsetof(struct request, transfer));
}

static void start(struct kube_task *task)
{
        kube_transfer_start(&((struct request *)task)->transfer);
}

static int on_data(struct kube_transfer *t, const char *data, size_t len, struct err *e)
{
        struct request *r = request_of(t);

        return r->sink(r->ctx, data, len, e);
}

static void on_done(struct kube_transfer *t)
{
        struct request *r = request_of(t);
        struct kube_client *c = t->client;

        pthread_mutex_lock(&c->lock);
        r->done = true;
        pthread_cond_signal(&r->cond);
        pthread_mutex_unlock(&c->lock);
}

/* One attempt: 0 or what it failed with. */
static int attempt(struct request *r, struct err *e)
{
        struct kube_transfer *t = &r->transfer;
        struct kube_client *c = t->client;
        int rc;

        r->done = false;
        t->token_retried = false;
        rc = kube_io_post(c, &r->task);
        if (rc < 0)
                return err_set(e, rc, "the client was stopped");
        pthread_mutex_lock(&c->lock);
        while (!r->done)
                pthread_cond_wait(&r->cond, &c->lock);
        pthread_mutex_unlock(&c->lock);
        if (t->code < 0) {
                if (e)
                        *e = t->err;
                rc = t->code;
        } else if (t->http < 200 || t->http > 299) {
                rc = kube_status_error(e, t->http, &r->asked, buf_str(&t->problem), t->problem.len);
        }
        kube_transfer_free(t);
        return rc;
}

/* A create that may have been done is not asked for again unless the server says when. */
static bool worth_retry(const struct request *r)
{
        const struct kube_transfer *t = &r->transfer;

        if (r->once || t->code < 0 || !kube_status_transient(t->http))
                return false;
        return !r->asked.create || t->http == 429 || t->retry_after_ms > 0;
}

static int run(struct request *r, struct err *e)
{
        struct kube_client *c = r->transfer.client;
        struct backoff backoff = {.min_ms = c->tune.backoff_min_ms, .max_ms = RETRY_MAX_MS};
        struct mono end = mono_add_ms(mono_now(), r->deadline_ms);
        int rc = kube_io_enter(c);

        if (rc == -EDEADLK)
                return err_set(e, rc, "a watch's callback may not wait for a request");
        if (rc < 0)
                return err_set(e, rc, "the client was stopped");
        r->task.run = start;
        r->transfer.sink = on_data;
        r->transfer.done = on_done;
        r->transfer.deadline_ms = r->deadline_ms;
        pthread_cond_init(&r->cond, NULL);
        for (int i = 1;; i++) {
                rc = attempt(r, e);
                if (rc == 0 || i == ATTEMPTS || !worth_retry(r))
                        break;
                int64_t wait = backoff_next(&backoff, kube_random());
                if (wait < r->transfer.retry_after_ms)
                        wait = r->transfer.retry_after_ms;
                r->transfer.deadline_ms = mono_ms_between(mono_now(), end) - wait;
                if (r->transfer.deadline_ms <= 0)
                        break;
                if (!kube_io_sleep(c, wait))
                        break;
        }
        pthread_cond_destroy(&r->cond);
        kube_io_leave(c);
        return rc;
}

static int collect(void *ctx, const char *data, size_t len, struct err *e)
{
        struct buf *b = ctx;
        int rc = buf_add(b, data, len);

        if (rc == -E2BIG)
                return err_set(e, rc, "the answer is larger than %zu bytes", b->limit);
        return rc < 0 ? err_sys(e, rc, "read the answer") : 0;
}

static int print_body(const struct json *body, struct buf *b, struct err *e)
{
        int rc = json_print(body, b);

        return rc < 0 ? err_sys(e, rc, "write the request") : 0;
}

static int parse_answer(const struct buf *b, struct json **out, struct err *e)
{
        struct err why;
        int rc = json_parse(buf_str(b), b->len, KUBE_OBJECT_MAX, out, &why);

        if (rc == -ENOMEM)
                return err_sys(e, rc, "read the answer");
        return rc < 0 ? err_set(e, -EBADMSG, "the API server's answer: %s", why.msg) : 0;
}

int kube_call_run(struct kube_client *c, const struct kube_call *call, struct json **out,
                  struct err *e)
{
        autobuf struct buf url = buf_new(KUBE_URL_MAX), body = buf_new(REQUEST_BODY_MAX);
        autobuf struct buf answer = buf_new(KUBE_OBJECT_MAX);
        struct request r = {
                .transfer.client = c,
                .transfer.method = call->method,
                .transfer.until = call->until,
                .once = call->once,
                .asked = {strcmp(call->method, "POST") == 0, call->resource->plural, call->name},
                .deadline_ms = call->deadline_ms ? call->deadline_ms : c->tune.request_ms,
                .sink = collect,
                .ctx = &answer};
        int rc;

        if (!call->name && !r.asked.create)
                return err_set(e, -EINVAL, "no name given");
        rc = kube_url(&url, c->cfg.server, call->resource, call->ns, call->name, call->subresource,
                      e);
        if (rc == 0 && call->body) {
                rc = print_body(call->body, &body, e);
                r.transfer.body = buf_str(&body);
                r.transfer.body_len = body.len;
                r.transfer.content_type = call->content_type;
        }
        r.transfer.url = buf_str(&url);
        if (rc == 0)
                rc = run(&r, e);
        return rc == 0 && out ? parse_answer(&answer, out, e) : rc;
}

int kube_fetch(struct kube_client *c, const char *url, const char *accept,
               int (*sink)(void *ctx, const char *data, size_t len, struct err *e), void *ctx,
               struct err *e)
{
        struct request r = {.transfer.client = c,
                            .transfer.method = "GET",
                            .transfer.url = url,
                            .transfer.accept = accept,
                            .deadline_ms = c->tune.request_ms,
                            .sink = sink,
                            .ctx = ctx};

        return run(&r, e);
}
