#include "webhook/review.h"

#include "api/admission.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/mono.h"
#include "core/admission.h"
#include "webhook/evict.h"
#include "webhook/pod.h"

#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#define ARENA_MAX                                                                                  \
        ((size_t)8 << 20) /* the texts about the longest VM that the CRD lets pass are 1 MiB */
#define MESSAGE_MAX        ((size_t)64 << 10)
#define EVICTION_ARENA_MAX ((size_t)256 << 10) /* the texts about one pod */
#define ASKING_MS          4000 /* images are asked for; what is left after it is not */
#define WARNING_MS         1000 /* ... and what is only warned of */
#define LARGE              ((size_t)256 << 10) /* a body that takes milliseconds to read; so do */
#define LARGE_VALUES       20000               /* so many values */
#define LARGE_AT_ONCE      2
#define MIGRATOR           "system:serviceaccount:" DROVER_NAMESPACE ":drover-migrator"

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
        struct mono began;
        bool may_block;
        bool later; /* it would have to wait, and must not */
        struct admission_answer ans;
        struct arena *arena; /* of what the answer borrows */
        struct admission_report report;
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

/* When it cannot be told, yes: the agent will say at the start of the VM. */
static bool has_image(void *ctx, const char *name)
{
        struct review *r = ctx;
        bool hurry = mono_ms_between(r->began, mono_now()) > ASKING_MS;
        struct err e;
        int rc = cache_image(r->hook->cache, r->req->ns, name, !r->may_block || hurry, &e);

        r->later |= rc == -EWOULDBLOCK && !r->may_block;
        return rc != -ENOENT;
}

/* Likewise: the agent looks at it before it sets any disk back. */
static const char *snapshot_fault(void *ctx, const struct vm *vm, const char *name)
{
        struct review *r = ctx;
        bool hurry = mono_ms_between(r->began, mono_now()) > ASKING_MS;
        struct snapshot *s = NULL;
        struct err e;
        int rc = cache_snapshot(r->hook->cache, r->req->ns, name, !r->may_block || hurry, &s, &e);

        r->later |= rc == -EWOULDBLOCK && !r->may_block;
        if (rc == -ENOENT)
                return arena_printf(r->arena,
                                    "there is no VirtualMachineSnapshot \"%s\" in namespace %s",
                                    name, r->req->ns);
        const char *why = NULL;
        if (!rc && strcmp(s->vm, vm->meta.name) != 0)
                why = arena_printf(r->arena, "%s is a snapshot of the VM %s", name, s->vm);
        else if (!rc && *s->vm_uid && *vm->meta.uid && strcmp(s->vm_uid, vm->meta.uid) != 0)
                why = arena_printf(r->arena, "%s is a snapshot of an earlier VM of this name",
                                   name);
        else if (!rc && !strcmp(s->phase, "Failed"))
                why = arena_printf(r->arena, "%s was not taken: %s", name, s->message);
        snapshot_free(s);
        return why;
}

static bool largest_host(void *ctx, struct admission_room *out)
{
        struct review *r = ctx;

        r->later |= !r->may_block;
        return r->may_block &&
               hosts_largest(r->hook->hosts, mono_add_ms(r->began, WARNING_MS), out);
}

static bool each_node(void *ctx, bool (*visit)(void *arg, const struct node *node), void *arg)
{
        struct review *r = ctx;

        r->later |= !r->may_block;
        return r->may_block &&
               hosts_nodes(r->hook->hosts, mono_add_ms(r->began, WARNING_MS), visit, arg);
}

static int deny_problems(struct review *r, struct err *e)
{
        struct buf text autobuf = buf_new(MESSAGE_MAX);

        for (size_t i = 0; i < r->report.n; i++)
                buf_addf(&text, "%s%s: %s", i ? "; " : "", r->report.v[i].path,
                         r->report.v[i].message);
        if (text.failed)
                return err_set(e, text.error, "tell what is wrong");
        deny(r, 422, "Invalid", buf_str(&text));
        return 0;
}

/*
 * Who changes nothing of the spec is not asked to better it: finalizers must come and go though a
 * rule is stricter than when the VM was made.
 */
static bool spec_unchanged(const struct admission_request *req)
{
        return req->old_object &&
               json_equal(json_get(req->object, "spec"), json_get(req->old_object, "spec"));
}

static int judge_vm(struct review *r, const struct vm *vm, const struct wishes *wishes,
                    const struct vm *old, struct err *e)
{
        const struct admission_facts facts = {.vm = vm,
                                              .wishes = wishes,
                                              .old = old,
                                              .image = has_image,
                                              .snapshot = snapshot_fault,
                                              .largest = r->hook->hosts ? largest_host : NULL,
                                              .nodes = r->hook->hosts ? each_node : NULL,
                                              .ctx = r};

        r->arena = arena_new(ARENA_MAX);
        if (!r->arena)
                return err_set(e, -ENOMEM, "out of memory");
        admission_check(r->arena, &facts, &r->report);
        if (r->report.rc)
                return err_set(e, r->report.rc, "out of memory");
        if (r->report.n)
                return deny_problems(r, e);
        r->ans.warnings = r->report.warnings;
        r->ans.nwarnings = r->report.nwarnings;
        return 0;
}

/* One that is stored and cannot be read was not admitted by us: the new one is judged alone. */
static int decode_old(const struct json *j, struct vm **out, struct err *e)
{
        int rc = j ? vm_decode(j, out, e) : 0;

        return rc == -ENOMEM ? rc : 0;
}

static int check_vm(struct review *r, struct err *e)
{
        struct vm *vm = NULL, *old = NULL;
        struct wishes *wishes = NULL;
        int rc;

        if (spec_unchanged(r->req))
                return 0;
        rc = vm_decode(r->req->object, &vm, e);
        if (!rc)
                rc = wishes_decode(r->req->object, &wishes, e);
        if (rc == -EINVAL || rc == -E2BIG) {
                deny(r, 422, "Invalid", e->msg);
                rc = 0;
        } else if (!rc && !vm->meta.deleting) {
                rc = decode_old(r->req->old_object, &old, e);
                if (!rc)
                        rc = judge_vm(r, vm, wishes, old, e);
        }
        vm_free(old);
        wishes_free(wishes);
        vm_free(vm);
        return rc;
}

/* --- VirtualMachineSnapshots */

/* What cannot be told now the migrator will say in the snapshot's status. */
static int check_snapshot(struct review *r, struct err *e)
{
        const char *name = json_str(json_get(r->req->object, "spec"), "vm", "");
        const struct vm_sought sought = {.ns = r->req->ns,
                                         .name = name,
                                         .uid = "",
                                         .placement = "",
                                         .at_once = !r->may_block};
        char text[512];
        struct vm *vm;
        int rc = cache_vm(r->hook->cache, &sought, &vm, e);

        r->later |= rc == -EWOULDBLOCK;
        if (rc == -ENOENT || rc == -ESRCH) {
                snprintf(text, sizeof(text),
                         "spec.vm: there is no VirtualMachine \"%s\" in namespace %s", name,
                         r->req->ns);
                deny(r, 422, "Invalid", text);
        }
        if (!rc)
                vm_free(vm);
        return 0;
}

/* --- handle pods */

static const char *vm_label(const struct json *pod)
{
        return json_str(json_path(pod, "metadata", "labels", NULL), DROVER_VM_LABEL, "");
}

static const char *annotation(const struct json *pod, const char *key)
{
        return json_str(json_path(pod, "metadata", "annotations", NULL), key, "");
}

static bool by_migrator(const struct review *r)
{
        return !strcmp(r->req->user, MIGRATOR);
}

/* The VM of the pod, or a verdict. */
static int vm_of(struct review *r, struct vm **out, struct err *e)
{
        const struct json *pod = r->req->object;
        const struct vm_sought sought = {
                .ns = r->req->ns,
                .name = vm_label(pod),
                .uid = annotation(pod, DROVER_UID_ANNOTATION),
                .placement = annotation(pod, DROVER_PLACEMENT_ANNOTATION),
                .at_once = !r->may_block,
        };
        int rc = cache_vm(r->hook->cache, &sought, out, e);

        if (rc == -EWOULDBLOCK) {
                r->later = true;
        } else if (rc == -ESRCH) {
                err_wrap(e, "metadata.labels[" DROVER_VM_LABEL "]");
                deny(r, 422, "Invalid", e->msg);
        } else if (rc == -ENOENT) {
                err_set(e, rc,
                        "metadata.labels[" DROVER_VM_LABEL
                        "]: VirtualMachine %s/%s has not been seen yet; try again",
                        sought.ns, sought.name);
                deny_for_now(r, e);
        } else if (rc < 0) {
                err_wrap(e, "VirtualMachine %s/%s cannot be looked up now, try again", sought.ns,
                         sought.name);
                deny_for_now(r, e);
        }
        return rc;
}

/* Asked first, so that nobody else can make the webhook wait for a VM that is not there. */
static bool from_migrator(struct review *r)
{
        if (by_migrator(r))
                return true;
        deny(r, 403, "Forbidden",
             "pods with the label " DROVER_VM_LABEL " stand for running guests; only " MIGRATOR
             " makes them. Create a VirtualMachine instead");
        return false;
}

/* What cannot be made right is the pod's fault; all else may pass. */
static int verdict_on_pod(struct review *r, int rc, const struct err *e)
{
        if (rc != -EINVAL)
                return rc;
        deny(r, 422, "Invalid", e->msg);
        return 0;
}

static int mutate_pod(struct review *r, struct err *e)
{
        struct vm *vm;
        int rc;

        if (!from_migrator(r) || vm_of(r, &vm, e) < 0)
                return 0;
        rc = pod_patch(r->req->object, vm, r->hook->scheduler, &r->patch, e);
        vm_free(vm);
        if (rc == 0 && json_count(r->patch))
                r->ans.patch = r->patch;
        return verdict_on_pod(r, rc, e);
}

static int check_new_pod(struct review *r, struct err *e)
{
        struct vm *vm;
        int rc;

        if (!from_migrator(r) || vm_of(r, &vm, e) < 0)
                return 0;
        rc = pod_check(r->req->object, vm, r->hook->scheduler, e);
        vm_free(vm);
        return verdict_on_pod(r, rc, e);
}

/* A handle pod says by its label and its annotations which guest it stands for: nobody may change
 * the label, and only the migrator the others. */
static void check_changed_pod(struct review *r)
{
        static const char *const kept[] = {DROVER_UID_ANNOTATION, DROVER_EPOCH_ANNOTATION,
                                           DROVER_MIGRATION_ANNOTATION, DROVER_PLACEMENT_ANNOTATION,
                                           DROVER_LABELS_ANNOTATION};
        const struct json *pod = r->req->object, *was = r->req->old_object;

        if (strcmp(vm_label(pod), vm_label(was)) != 0) {
                deny(r, 403, "Forbidden",
                     "metadata.labels[" DROVER_VM_LABEL
                     "]: says which guest the pod stands for and cannot change");
                return;
        }
        for (size_t i = 0; i < countof(kept) && r->ans.allowed && !by_migrator(r); i++)
                if (strcmp(annotation(pod, kept[i]), annotation(was, kept[i])) != 0) {
                        char text[160];

                        snprintf(text, sizeof(text),
                                 "metadata.annotations[%s]: only " MIGRATOR " may change it",
                                 kept[i]);
                        deny(r, 403, "Forbidden", text);
                }
}

static int check_pod(struct review *r, struct err *e)
{
        bool labelled = *vm_label(r->req->object) || *vm_label(r->req->old_object);

        if (labelled && !strcmp(r->req->operation, "UPDATE"))
                check_changed_pod(r);
        return labelled && !strcmp(r->req->operation, "CREATE") ? check_new_pod(r, e) : 0;
}

/* --- evictions */

/* A dry run says what would be: that the node can be emptied of this guest, and how. */
static void would_move(struct review *r, const struct evict_answer *ans)
{
        const char **warning = arena_array(r->arena, 1, sizeof(*warning));

        if (!warning)
                return;
        warning[0] = ans->message;
        r->ans.warnings = warning;
        r->ans.nwarnings = 1;
}

static int judge_eviction(struct review *r, struct err *e)
{
        struct evict_answer ans;

        if (!r->may_block) {
                r->later = true;
                return 0;
        }
        r->arena = arena_new(EVICTION_ARENA_MAX);
        if (!r->arena)
                return err_set(e, -ENOMEM, "out of memory");
        int rc = evict(r->hook->client, r->req, r->arena, &ans, e);
        if (rc < 0) /* anything but 429 would end the drain that asks */
                deny(r, 429, "TooManyRequests", e->msg);
        else if (ans.verdict == EVICT_REFUSE)
                deny(r, 403, "Forbidden", ans.message);
        else if (ans.verdict != EVICT_ALLOW && evict_is_dry_run(r->req))
                would_move(r, &ans);
        else if (ans.verdict != EVICT_ALLOW)
                deny(r, 429, "TooManyRequests", ans.message);
        return 0;
}

/* --- all */

static int mutate(struct review *r, struct err *e)
{
        bool mine = !strcmp(r->req->kind, "Pod") && !*r->req->subresource &&
                    !strcmp(r->req->operation, "CREATE") && *vm_label(r->req->object);

        return mine ? mutate_pod(r, e) : 0;
}

static int validate(struct review *r, struct err *e)
{
        if (!strcmp(r->req->kind, "Eviction") && !strcmp(r->req->subresource, "eviction"))
                return judge_eviction(r, e);
        if (*r->req->subresource || !r->req->object)
                return 0;
        if (!strcmp(r->req->kind, "Pod"))
                return check_pod(r, e);
        if (!strcmp(r->req->kind, "VirtualMachineSnapshot"))
                return strcmp(r->req->operation, "CREATE") ? 0 : check_snapshot(r, e);
        return !strcmp(r->req->kind, "VirtualMachine") ? check_vm(r, e) : 0;
}

static void log_denial(const struct review *r)
{
        char code[16];

        snprintf(code, sizeof(code), "%d", r->ans.code);
        log_msg(LOG_INFO, "denied", "operation", r->req->operation, "kind", r->req->kind,
                "namespace", r->req->ns, "name", r->req->name, "user", r->req->user, "code", code,
                "reason", r->ans.message, NULL);
}

static const char *verdict_of(const struct review *r, int rc)
{
        if (rc < 0)
                return "failed";
        return r->ans.allowed ? "allowed" : r->ans.code == 429 ? "later" : "denied";
}

/* Whatever goes wrong in here may pass: the API server is told to ask again. */
static int answer_request(struct review *r, const struct http_request *req, struct http_reply *rep,
                          int (*judge)(struct review *r, struct err *e))
{
        struct err e;
        int rc = judge(r, &e);

        rep->later = r->later;
        if (r->later)
                return 0;
        if (rc == 0 && r->message.failed)
                rc = err_set(&e, r->message.error, "out of memory");
        if (rc == 0 && (rc = admission_encode(r->req, &r->ans, &rep->body)) < 0)
                err_sys(&e, rc, "the answer");
        if (rc < 0) {
                log_err(&e, "review not answered", "path", req->path, NULL);
                buf_reset(&rep->body);
                http_reply_error(rep, 503, "cannot answer now");
                rep->retry_after = 1;
        } else if (!r->ans.allowed) {
                log_denial(r);
        }
        return rc;
}

/*
 * A value takes some 80 bytes of memory however short it is written, so a body within its bound may
 * still be one that would exhaust us. All values but one stand behind one of these bytes.
 */
static size_t values_at_most(const char *body, size_t len)
{
        size_t n = 1;

        for (size_t i = 0; i < len; i++)
                n += (body[i] == ',') | (body[i] == '[') | (body[i] == '{');
        return n;
}

static int decode(const struct http_request *req, struct admission_request *out, struct err *e)
{
        if (values_at_most(req->body, req->body_len) > REVIEW_VALUES_MAX)
                return err_set(e, -E2BIG, "JSON of more than %d values", REVIEW_VALUES_MAX);
        return admission_decode(req->body, req->body_len, REVIEW_BODY_MAX, out, e);
}

static void answer(const struct webhook *hook, const struct http_request *req,
                   struct http_reply *rep, int (*judge)(struct review *r, struct err *e))
{
        struct admission_request request;
        struct review r = {.hook = hook,
                           .req = &request,
                           .began = mono_now(),
                           .may_block = req->may_block,
                           .ans = {.allowed = true}};
        struct err e;
        int rc = decode(req, &request, &e);

        if (rc < 0) {
                metric_add(verdicts, "malformed", 1);
                log_err(&e, "no review", "path", req->path, NULL);
                http_reply_error(rep, rc == -E2BIG ? 413 : rc == -ENOMEM ? 503 : 400, e.msg);
                return;
        }
        r.message = buf_new(MESSAGE_MAX);
        rc = answer_request(&r, req, rep, judge);
        if (!r.later) {
                metric_add(verdicts, verdict_of(&r, rc), 1);
                metric_observe(seconds, req->path, (double)(mono_now().ns - r.began.ns) / 1e9);
        }
        json_free(r.patch);
        buf_free(&r.message);
        arena_free(r.arena);
        admission_free(&request);
}

static bool is_large(const struct http_request *req)
{
        return req->body_len > LARGE || values_at_most(req->body, req->body_len) > LARGE_VALUES;
}

/* Large ones take time and, as trees, many times their size: not on a worker, and few at once. */
static void admit(const struct webhook *hook, const struct http_request *req,
                  struct http_reply *rep, int (*judge)(struct review *r, struct err *e))
{
        static atomic_int large;

        if (!is_large(req)) {
                answer(hook, req, rep, judge);
                return;
        }
        if (!req->may_block) {
                rep->later = true;
                return;
        }
        if (atomic_fetch_add(&large, 1) < LARGE_AT_ONCE) {
                answer(hook, req, rep, judge);
        } else {
                http_reply_error(rep, 503, "too many large reviews at a time");
                rep->retry_after = 1;
        }
        atomic_fetch_sub(&large, 1);
}

static void on_mutate(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        admit(ctx, req, rep, mutate);
}

static void on_validate(void *ctx, const struct http_request *req, struct http_reply *rep)
{
        admit(ctx, req, rep, validate);
}

const struct http_route REVIEW_ROUTES[2] = {
        {"POST", "/mutate", on_mutate},
        {"POST", "/validate", on_validate},
};
