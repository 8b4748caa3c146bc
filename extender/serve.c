#include "extender/serve.h"

#include "api/extender.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>

#define ANSWER_ARENA_MAX ((size_t)32 << 20)

const struct http_route SERVE_ROUTES[3] = {
        {"POST", "/filter", serve_filter},
        {"POST", "/prioritize", serve_prioritize},
        {"POST", "/preempt", serve_preempt},
};

void service_init(struct service *s, struct fleet *fleet, size_t max_body)
{
        static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025,
                                        0.005,  0.01,    0.05,   0.25,  1};
        const size_t n = countof(bounds);

        s->fleet = fleet;
        s->clock = mono_now;
        s->max_body = max_body;
        s->client = NULL;
        s->filter_seconds = metric_histogram("drover_filter_seconds",
                                             "Time to answer a filter call.", NULL, bounds, n);
        s->filter_total =
                metric_counter("drover_filter", "Filter calls by how they ended.", "result");
        s->refusals_total = metric_counter("drover_filter_refusals",
                                           "Nodes refused, by the rule that refused.", "rule");
        s->prioritize_seconds = metric_histogram(
                "drover_prioritize_seconds", "Time to answer a prioritize call.", NULL, bounds, n);
        s->preempt_total =
                metric_counter("drover_preempt", "Preempt calls by how they ended.", "result");
        s->known = metric_gauge("drover_extender_known",
                                "Objects that the extender knows, silent hosts apart.", "kind");
}

void service_count(struct service *s)
{
        struct fleet_count c = fleet_count(s->fleet, s->clock());

        metric_set(s->known, "host", (double)c.hosts);
        metric_set(s->known, "vm", (double)c.vms);
        metric_set(s->known, "handle", (double)c.handles);
        metric_set(s->known, "silent-host", (double)c.silent);
}

static void finish(struct metric *m, struct mono began)
{
        metric_observe(m, NULL, (double)(mono_now().ns - began.ns) / 1e9);
}

/* Another certificate of the same authority serves another purpose. The reply is made then. */
static bool stranger(const struct service *s, const struct http_request *req,
                     struct http_reply *rep)
{
        const char *cn = req->peer_cn ? req->peer_cn : "";
        char text[ERR_MSG_MAX];

        if (!s->client || strcmp(cn, s->client) == 0)
                return false;
        snprintf(text, sizeof(text), "the client's certificate is for \"%s\", not for \"%s\"", cn,
                 s->client);
        http_reply_error(rep, 403, text);
        return true;
}

static void answer_error(struct http_reply *rep, const char *message)
{
        const struct extender_filter_result r = {.error = message};
        const struct extender_args none = {.has_names = true};

        if (extender_filter_encode(&none, &r, &rep->body) < 0)
                http_reply_error(rep, 500, message);
}

static void refuse(const struct service *s, const struct http_request *req, const struct err *e,
                   struct http_reply *rep)
{
        http_reply_error(rep, req->body_len > s->max_body ? 413 : 400, e->msg);
}

static void count_verdict(struct service *s, const struct fleet_verdict *v)
{
        for (int i = CAPACITY_FITS + 1; i < CAPACITY_RULES; i++)
                if (v->refused[i])
                        metric_add(s->refusals_total, capacity_rule_name((enum capacity_rule)i),
                                   (double)v->refused[i]);
        metric_add(s->filter_total, v->result.nfit ? "fit" : "none", 1);
}

static void answer_filter(struct service *s, const struct extender_args *args,
                          struct http_reply *rep)
{
        autoarena struct arena *a = arena_new(ANSWER_ARENA_MAX);
        struct fleet_verdict v;
        struct err e = {.code = -ENOMEM, .msg = "out of memory"};
        int rc = a ? fleet_filter(s->fleet, args->pod, &args->names, s->clock(), a, &v, &e)
                   : -ENOMEM;

        if (rc < 0) {
                metric_add(s->filter_total, "error", 1);
                answer_error(rep, e.msg);
                return;
        }
        count_verdict(s, &v);
        if (extender_filter_encode(args, &v.result, &rep->body) < 0) {
                buf_reset(&rep->body);
                answer_error(rep, "the answer does not fit into memory");
        }
}

void serve_filter(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        struct mono began = mono_now();
        struct service *s = ctx;
        struct extender_args args;
        struct err e;

        if (stranger(s, req, rep))
                return;
        if (extender_args_decode(req->body, req->body_len, s->max_body, &args, &e) < 0) {
                metric_add(s->filter_total, "bad-request", 1);
                if (extender_call(req->body, req->body_len, s->max_body))
                        answer_error(rep, e.msg);
                else
                        refuse(s, req, &e, rep);
                return;
        }
        answer_filter(s, &args, rep);
        extender_args_free(&args);
        finish(s->filter_seconds, began);
}

/*
 * The scheduler adds a score, times the weight, to what it has of the node: what all of them have
 * in common decides nothing. Without it most nodes of a fleet have nothing to be told, and to read
 * a score costs the scheduler more than it costs us to find it.
 */
static void keep_differences(int *scores, size_t n)
{
        int least = INT_MAX;

        for (size_t i = 0; i < n; i++)
                least = scores[i] < least ? scores[i] : least;
        for (size_t i = 0; i < n; i++)
                scores[i] = scores[i] > least ? scores[i] - least : EXTENDER_UNNAMED;
}

static void answer_scores(struct service *s, const struct extender_args *args,
                          struct http_reply *rep)
{
        autoarena struct arena *a = arena_new(ANSWER_ARENA_MAX);
        int *scores = a ? arena_array(a, args->names.n, sizeof(*scores)) : NULL;
        struct err e;

        /* The scheduler has no use for an error here: hosts that cannot be told apart score alike.
         */
        if (scores &&
            fleet_scores(s->fleet, args->pod, &args->names, s->clock(), a, scores, &e) < 0)
                memset(scores, 0, args->names.n * sizeof(*scores));
        if (scores)
                keep_differences(scores, args->names.n);
        if (scores && extender_priorities_encode(args, scores, &rep->body) == 0)
                return;
        buf_reset(&rep->body);
        http_reply_error(rep, 500, "out of memory");
}

void serve_prioritize(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        struct mono began = mono_now();
        struct service *s = ctx;
        struct extender_args args;
        struct err e;

        if (stranger(s, req, rep))
                return;
        if (extender_args_decode(req->body, req->body_len, s->max_body, &args, &e) < 0) {
                refuse(s, req, &e, rep);
                return;
        }
        answer_scores(s, &args, rep);
        extender_args_free(&args);
        finish(s->prioritize_seconds, began);
}

static void answer_preemption(struct service *s, const struct extender_preemption *p,
                              struct http_reply *rep)
{
        autofree bool *keep = calloc(p->n + 1, sizeof(*keep));
        size_t kept = 0;
        struct err e;

        int rc = keep ? fleet_preempt(s->fleet, p, s->clock(), keep, &e) : -ENOMEM;
        if (keep && rc < 0)
                memset(keep, 0, p->n);
        for (size_t i = 0; keep && i < p->n; i++)
                kept += keep[i];
        metric_add(s->preempt_total, rc < 0 ? "error" : kept ? "some" : "none", 1);
        if (keep && extender_preemption_encode(p, keep, &rep->body) == 0)
                return;
        buf_reset(&rep->body);
        http_reply_error(rep, 500, "out of memory");
}

void serve_preempt(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        struct service *s = ctx;
        struct extender_preemption p;
        struct err e;

        if (stranger(s, req, rep))
                return;
        if (extender_preemption_decode(req->body, req->body_len, s->max_body, &p, &e) < 0) {
                metric_add(s->preempt_total, "bad-request", 1);
                refuse(s, req, &e, rep);
                return;
        }
        answer_preemption(s, &p, rep);
        extender_preemption_free(&p);
}
