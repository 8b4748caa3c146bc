#include "agent/pods.h"

#include "api/codec.h"
#include "base/log.h"
#include "base/mono.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Runs here, and it is the instance that the handle stands for. */
static bool gate_open(struct agent *a, const struct pod *p)
{
        struct table_entry x;

        return table_get(a->table, p->vm_uid, &x) && x.known && x.facts.ours &&
               x.facts.own == OWN_RUNNING && x.facts.meta.epoch == p->epoch;
}

static int write_gate(struct agent *a, const struct pod *p, const char *status, struct err *e)
{
        autojson struct json *patch = json_new_object();
        char now[RFC3339_MAX];

        /* The uid makes it a precondition: a pod made anew under the name is another one. */
        json_set_str(json_object_at(patch, "metadata"), "uid", p->meta.uid);
        struct json *list = json_array_at(json_object_at(patch, "status"), "conditions");
        struct json *c = json_add(list, json_new_object());
        rfc3339_format(wall_us(), 0, now);
        json_set_str(c, "type", DROVER_RUNNING_GATE);
        json_set_str(c, "status", status);
        json_set_str(c, "reason", *status == 'T' ? "GuestRuns" : "GuestDoesNotRunHere");
        if (!json_set_str(c, "lastTransitionTime", now))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch_strategic(a->kube, &KUBE_PODS, p->meta.ns, p->meta.name, "status", patch,
                                    NULL, e);
}

int64_t pod_work(struct agent *a, const char *rest)
{
        autoref struct kube_ref *ref = kube_store_get(a->pods, rest);
        const struct pod *p = ref ? kube_ref_object(ref) : NULL;
        struct err e;

        if (!p || !pod_alive(p) || !a->synced)
                return WORK_DONE;
        const struct condition *have = condition_get(&p->conditions, DROVER_RUNNING_GATE);
        const char *want = gate_open(a, p) ? "True" : "False";
        if (have ? !strcmp(have->status, want) : *want == 'F')
                return WORK_DONE;
        int rc = write_gate(a, p, want, &e);
        if (!rc || rc == -ENOENT)
                return WORK_DONE;
        log_err(&e, "cannot write the readiness gate", "pod", rest, NULL);
        return WORK_RETRY;
}

static int decode(const struct json *j, void **out, struct err *e)
{
        struct pod *p;
        int rc = pod_decode(j, &p, e);

        if (!rc)
                *out = p;
        return rc;
}

static void changed(void *ctx, const void *before, const void *after)
{
        const struct pod *p = after, *was = before;

        if (!p) { /* links to its devices go with it */
                agent_poke(ctx, 0, "claims/%s/%s", was->meta.ns, was->vm);
                return;
        }
        agent_poke(ctx, 0, "pod/%s/%s", p->meta.ns, p->meta.name);
        if (p->phase == POD_RUNNING && (!was || was->phase != POD_RUNNING))
                agent_poke(ctx, 0, "vm/%s/%s", p->meta.ns, p->vm); /* its claims are mounted */
}

static void undecodable(void *ctx, const char *key, const struct err *e)
{
        (void)ctx;
        log_err(e, "pod is not understood", "pod", key, NULL);
}

static void watch_error(void *ctx, const struct err *e)
{
        (void)ctx;
        log_err(e, "watch of pods", NULL);
}

int pods_start(struct agent *a, struct kube_watch **out, struct err *e)
{
        static const struct kube_store_type TYPE = {.decode = decode, .free = pod_free};
        const struct kube_store_hooks hooks = {changed, undecodable, a};
        char selector[300];

        a->pods = kube_store_new(&TYPE, &hooks);
        if (!a->pods)
                return err_set(e, -ENOMEM, "out of memory");
        snprintf(selector, sizeof(selector), "spec.nodeName=%s", a->config.node);
        struct kube_watch_config cfg = kube_store_feed(&KUBE_PODS, a->pods);
        cfg.label_selector = DROVER_VM_LABEL;
        cfg.field_selector = selector;
        cfg.error = watch_error;
        return kube_watch_start(a->kube, &cfg, out, e);
}

struct want {
        struct agent *a;
        const char *ns, *vm;
};

static bool poke(void *ctx, const void *object)
{
        const struct want *w = ctx;
        const struct pod *p = object;

        if (!w->vm || (!strcmp(p->meta.ns, w->ns) && !strcmp(p->vm, w->vm)))
                agent_poke(w->a, 0, "pod/%s/%s", p->meta.ns, p->meta.name);
        return true;
}

void pods_poke(struct agent *a, const char *ns, const char *vm)
{
        struct want w = {a, ns, vm};

        kube_store_each(a->pods, poke, &w);
}
