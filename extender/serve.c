#include "extender/serve.h"

#include "api/extender.h"

#include <errno.h>
#include <malloc.h>
#include <string.h>

#define ANSWER_ARENA_MAX ((size_t)32 << 20)
#define BIG_BODY         ((size_t)1 << 20)

const struct http_route SERVE_ROUTES[2] = {
        {"POST", "/filter", serve_filter},
        {"POST", "/prioritize", serve_prioritize},
};

void service_init(struct service *s, struct fleet *fleet, size_t max_body)
{
        static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.0025,
                                        0.005,  0.01,    0.05,   0.25,  1};
        const size_t n = countof(bounds);

        s->fleet = fleet;
        s->clock = mono_now;
        s->max_body = max_body;
        s->filter_seconds = metric_histogram("drover_filter_seconds",
                                             "Time to answer a filter call.", NULL, bounds, n);
        s->filter_total =
                metric_counter("drover_filter", "Filter calls by how they ended.", "result");
        s->refusals_total = metric_counter("drover_filter_refusals",
                                           "Nodes refused, by the rule that refused.", "rule");
        s->prioritize_seconds = metric_histogram(
                "drover_prioritize_seconds", "Time to answer a prioritize call.", NULL, bounds, n);
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

static void finish(struct metric *m, struct mono began, const struct http_request *req)
{
        metric_observe(m, NULL, (double)(mono_now().ns - began.ns) / 1e9);
        if (req->body_len > BIG_BODY)
                malloc_trim(0); /* a tree takes many times its text, and such calls are rare */
}

/* Valid JSON of an object with members of ExtenderArgs: the scheduler sent it, and should hear why
 * not. */
static bool from_scheduler(const struct service *s, const struct http_request *req)
{
        autojson struct json *j = NULL;
        struct err ignored;

        if (json_parse(req->body, req->body_len, s->max_body, &j, &ignored) < 0)
                return false;
        return json_get(j, "Pod") || json_get(j, "Nodes") || json_get(j, "NodeNames");
}

static void answer_error(struct http_reply *rep, const char *message)
{
        const struct extender_filter_result r = {.error = message};
        const struct extender_args none = {.has_names = true};

        if (extender_filter_encode(&none, &r, &rep->body) < 0)
                http_reply_error(rep, 500, message);
}

/* 0, or the reply is made. */
static int take_args(const struct service *s, const struct http_request *req, bool filter,
                     struct extender_args *args, struct http_reply *rep)
{
        struct err e;
        int rc = extender_args_decode(req->body, req->body_len, s->max_body, args, &e);

        if (rc == 0)
                return 0;
        if (filter && from_scheduler(s, req))
                answer_error(rep, e.msg);
        else
                http_reply_error(rep, req->body_len > s->max_body ? 413 : 400, e.msg);
        return rc;
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

        if (take_args(s, req, true, &args, rep) < 0) {
                metric_add(s->filter_total, "bad-request", 1);
                return;
        }
        answer_filter(s, &args, rep);
        extender_args_free(&args);
        finish(s->filter_seconds, began, req);
}

void serve_prioritize(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        struct mono began = mono_now();
        struct service *s = ctx;
        struct extender_args args;
        struct err e;

        if (take_args(s, req, false, &args, rep) < 0)
                return;
        autofree int *scores = calloc(args.names.n + 1, sizeof(*scores));
        /* The scheduler has no use for an error here: hosts that cannot be told apart score alike.
         */
        if (scores && fleet_scores(s->fleet, args.pod, &args.names, s->clock(), scores, &e) < 0)
                memset(scores, 0, args.names.n * sizeof(*scores));
        if (!scores || extender_priorities_encode(&args, scores, &rep->body) < 0) {
                buf_reset(&rep->body);
                http_reply_error(rep, 500, "out of memory");
        }
        extender_args_free(&args);
        finish(s->prioritize_seconds, began, req);
}
