#include "webhook/review.h"

#include "api/admission.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "core/admission.h"
#include "webhook/pod.h"

#include <errno.h>
#include <string.h>

#define MIGRATOR "system:serviceaccount:" DROVER_NAMESPACE ":drover-migrator"

static struct metric *seconds, *verdicts;

void review_register_metrics(void)
{
        static const double bounds[] = {0.0001, 0.00025, 0.0005, 0.001, 0.002,
                                        0.005,  0.01,    0.1,    1,     2};

        seconds = metric_histogram("drover_admission_seconds", "Time to answer a review.", "path",
                                   bounds, countof(bounds));
        verdicts = metric_counter("drover_admission", "Reviews by verdict.", "verdict");
}

/* One review being answered. */
struct review {
        const struct webhook *hook;
        const struct admission_request *req;
        struct admission_answer ans;
        struct json *patch;
        struct buf message; /* of the denial */
};

static void deny(struct review *r, int code, const char *reason, const char *message)
{
        buf_reset(&r->message);
        buf_adds(&r->message, message);
        r->ans = (struct admission_answer){
                .code = code, .reason = reason, .message = buf_str(&r->message)};
}

/* What cannot be told now may be told later: the API server's caller is asked to try again. */
static void deny_for_now(struct review *r, const struct err *e)
{
        deny(r, 429, "TooManyRequests", e->msg);
        r->ans.retry_after_s = 1;
}

/* --- VirtualMachines */

static bool has_image(void *ctx, const char *name)
{
        const struct review *r = ctx;

        return cache_image(r->hook->cache, r->req->ns, name);
}

static void deny_problems(struct review *r, const struct admission_report *report)
{
        struct buf text autobuf = buf_new((size_t)64 << 10);

        for (size_t i = 0; i < report->n; i++)
                buf_addf(&text, "%s%s: %s", i ? "; " : "", report->v[i].path, report->v[i].message);
        deny(r, 422, "Invalid", buf_str(&text));
}

static int check_vm(struct review *r, struct err *e)
{
        struct arena *a autoarena = arena_new((size_t)1 << 20);
        struct vm *vm = NULL, *old = NULL;
        struct admission_report report;
        int rc = a ? vm_decode(r->req->object, &vm, e) : err_set(e, -ENOMEM, "out of memory");

        if (rc == -ENOMEM)
                return rc;
        if (rc < 0) {
                deny(r, 422, "Invalid", e->msg);
                return 0;
        }
        if (r->req->old_object && vm_decode(r->req->old_object, &old, e) < 0)
                old = NULL; /* what is stored was never admitted by us: judge the new one alone */
        if (!vm->meta.deleting) {
                const struct admission_facts facts = {vm, old, has_image, r};

                admission_check(a, &facts, &report);
                if (report.n)
                        deny_problems(r, &report);
        }
        vm_free(old);
        vm_free(vm);
        return 0;
}

/* --- handle pods */

static const char *vm_label(const struct json *pod)
{
        return json_str(json_path(pod, "metadata", "labels", NULL), DROVER_VM_LABEL, "");
}

/* The VM of the pod, or a verdict. */
static int vm_of(struct review *r, struct vm **out, struct err *e)
{
        int rc = cache_vm(r->hook->cache, r->req->ns, vm_label(r->req->object), out, e);

        if (rc == -ENOENT)
                deny(r, 422, "Invalid",
                     "metadata.labels[" DROVER_VM_LABEL "]: there is no such VirtualMachine");
        else if (rc < 0)
                deny_for_now(r, e);
        return rc;
}

static int mutate_pod(struct review *r, struct err *e)
{
        struct vm *vm;
        int rc;

        if (strcmp(r->req->operation, "CREATE") != 0 || !*vm_label(r->req->object))
                return 0;
        if (vm_of(r, &vm, e) < 0)
                return 0;
        rc = pod_patch(r->req->object, vm, r->hook->scheduler, &r->patch, e);
        vm_free(vm);
        if (rc == -EINVAL) {
                deny(r, 422, "Invalid", e->msg);
                return 0;
        }
        if (rc == 0 && json_count(r->patch))
                r->ans.patch = r->patch;
        return rc;
}

static int check_new_pod(struct review *r, struct err *e)
{
        struct vm *vm;
        int rc;

        if (!*vm_label(r->req->object))
                return 0;
        if (strcmp(r->req->user, MIGRATOR) != 0) {
                deny(r, 403, "Forbidden",
                     "pods with the label " DROVER_VM_LABEL
                     " stand for running guests; only " MIGRATOR
                     " makes them. Create a VirtualMachine instead");
                return 0;
        }
        if (vm_of(r, &vm, e) < 0)
                return 0;
        rc = pod_check(r->req->object, vm, e);
        vm_free(vm);
        if (rc == -EINVAL) {
                deny(r, 422, "Invalid", e->msg);
                return 0;
        }
        return rc;
}

static int check_pod(struct review *r, struct err *e)
{
        if (!strcmp(r->req->operation, "CREATE"))
                return check_new_pod(r, e);
        if (!strcmp(r->req->operation, "UPDATE") &&
            strcmp(vm_label(r->req->object), vm_label(r->req->old_object)) != 0)
                deny(r, 403, "Forbidden",
                     "metadata.labels[" DROVER_VM_LABEL
                     "]: says which guest the pod stands for and cannot change");
        return 0;
}

/* --- both */

static int mutate(struct review *r, struct err *e)
{
        return !strcmp(r->req->kind, "Pod") && !*r->req->subresource ? mutate_pod(r, e) : 0;
}

static int validate(struct review *r, struct err *e)
{
        if (*r->req->subresource || !strcmp(r->req->operation, "DELETE"))
                return 0;
        if (!strcmp(r->req->kind, "Pod"))
                return check_pod(r, e);
        return !strcmp(r->req->kind, "VirtualMachine") ? check_vm(r, e) : 0;
}

static void log_denial(const struct review *r)
{
        log_msg(LOG_INFO, "denied", "kind", r->req->kind, "namespace", r->req->ns, "name",
                r->req->name, "user", r->req->user, "reason", r->ans.message, NULL);
}

static void answer(const struct webhook *hook, const struct http_request *req,
                   struct http_reply *rep, int (*judge)(struct review *r, struct err *e))
{
        struct mono began = mono_now();
        struct admission_request request;
        struct review r = {.hook = hook, .req = &request, .ans = {.allowed = true}};
        struct err e;
        int rc;

        if (admission_decode(req->body, req->body_len, REVIEW_BODY_MAX, &request, &e) < 0) {
                metric_add(verdicts, "malformed", 1);
                http_reply_error(rep, e.code == -E2BIG ? 413 : 400, e.msg);
                return;
        }
        r.message = buf_new((size_t)64 << 10);
        rc = judge(&r, &e);
        if (rc == 0)
                rc = admission_encode(&request, &r.ans, &rep->body);
        if (rc < 0) {
                log_err(&e, "review not answered", "path", req->path, NULL);
                http_reply_error(rep, 500, "cannot answer now");
                rep->retry_after = 1;
        } else if (!r.ans.allowed) {
                log_denial(&r);
        }
        metric_add(verdicts, rc < 0 ? "failed" : r.ans.allowed ? "allowed" : "denied", 1);
        metric_observe(seconds, req->path, (double)(mono_now().ns - began.ns) / 1e9);
        json_free(r.patch);
        buf_free(&r.message);
        admission_free(&request);
}

static void on_mutate(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        answer(ctx, req, rep, mutate);
}

static void on_validate(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        answer(ctx, req, rep, validate);
}

const struct http_route REVIEW_ROUTES[2] = {
        {"POST", "/mutate", on_mutate},
        {"POST", "/validate", on_validate},
};
