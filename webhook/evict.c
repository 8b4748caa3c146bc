#include "webhook/evict.h"

#include "api/codec.h"
#include "base/mono.h"

#include <errno.h>

#define ASKING_MS 4000 /* no request is begun after it; each has the client's time */

struct gathered {
        struct pod *pod;
        struct vm *vm;
        struct migration *current, *asked[EVICTION_ATTEMPTS];
        int nasked;
        struct mono until; /* requests are begun until then */
};

static void gathered_free(struct gathered *g)
{
        for (int i = 0; i < g->nasked; i++)
                migration_free(g->asked[i]);
        migration_free(g->current);
        vm_free(g->vm);
        pod_free(g->pod);
}

static int in_time(const struct gathered *g, struct err *e)
{
        if (mono_ms_between(mono_now(), g->until) > 0)
                return 0;
        return err_set(e, -ETIMEDOUT, "the API server is too slow");
}

/* *j stays NULL when there is no such object. */
static int get(struct kube_client *c, const struct gathered *g, const struct kube_resource *r,
               const char *ns, const char *name, struct json **j, struct err *e)
{
        int rc = in_time(g, e);

        if (rc == 0)
                rc = kube_get(c, r, ns, name, j, e);
        return rc == -ENOENT ? 0 : rc;
}

static int get_migration(struct kube_client *c, const struct gathered *g, const char *ns,
                         const char *name, struct migration **out, struct err *e)
{
        struct json *j autojson = NULL;
        int rc = get(c, g, &KUBE_MIGRATIONS, ns, name, &j, e);

        return rc || !j ? rc : migration_decode(j, out, e);
}

static int get_asked(struct kube_client *c, struct arena *a, struct gathered *g, struct err *e)
{
        while (g->nasked < EVICTION_ATTEMPTS) {
                const char *name = evict_migration_name(a, g->vm, g->nasked + 1);
                struct migration *m = NULL;

                if (!name)
                        return err_set(e, -ENOMEM, "out of memory");
                int rc = get_migration(c, g, g->vm->meta.ns, name, &m, e);
                if (rc || !m)
                        return rc;
                g->asked[g->nasked++] = m;
        }
        return 0;
}

static int gather(struct kube_client *c, const struct admission_request *req, struct arena *a,
                  struct gathered *g, struct err *e)
{
        struct json *pod autojson = NULL, *vm autojson = NULL;
        int rc = get(c, g, &KUBE_PODS, req->ns, req->name, &pod, e);

        if (!rc && pod)
                rc = pod_decode(pod, &g->pod, e);
        if (rc || !g->pod || !*g->pod->vm)
                return rc;
        rc = get(c, g, &KUBE_VMS, req->ns, g->pod->vm, &vm, e);
        if (!rc && vm)
                rc = vm_decode(vm, &g->vm, e);
        if (rc || !g->vm)
                return rc;
        if (*g->vm->status.migration.name)
                rc = get_migration(c, g, req->ns, g->vm->status.migration.name, &g->current, e);
        return rc ? rc : get_asked(c, a, g, e);
}

static int ask_to_move(struct kube_client *c, struct arena *a, const struct gathered *g,
                       int attempt, struct err *e)
{
        const char *name = evict_migration_name(a, g->vm, attempt);
        struct json *m autojson = name ? migration_encode(g->vm, name, REASON_DRAIN) : NULL;

        if (!m)
                return err_set(e, -ENOMEM, "out of memory");
        int rc = in_time(g, e);
        if (rc == 0)
                rc = kube_create(c, &KUBE_MIGRATIONS, g->vm->meta.ns, m, NULL, e);
        return rc == -EEXIST ? 0 : rc; /* another eviction was a moment faster */
}

bool evict_is_dry_run(const struct admission_request *req)
{
        const struct json *how = json_path(req->object, "deleteOptions", "dryRun", NULL);

        return req->dry_run || json_count(how) > 0;
}

static int decide(struct kube_client *client, const struct admission_request *req, struct arena *a,
                  struct gathered *g, struct evict_answer *out, struct err *e)
{
        int rc = gather(client, req, a, g, e);

        if (rc)
                return rc;
        if (!g->pod) { /* the API server will say so */
                *out = (struct evict_answer){.verdict = EVICT_ALLOW, .message = ""};
                return 0;
        }
        const struct evict_facts f = {g->pod,     g->vm,
                                      g->current, (const struct migration *const *)g->asked,
                                      g->nasked,  wall_us()};
        if (evict_judge(a, &f, out))
                return err_set(e, -ENOMEM, "out of memory");
        if (out->verdict == EVICT_MOVE && !evict_is_dry_run(req))
                return ask_to_move(client, a, g, out->attempt, e);
        return 0;
}

int evict(struct kube_client *client, const struct admission_request *req, struct arena *a,
          struct evict_answer *out, struct err *e)
{
        struct gathered g cleanup(gathered_free) = {.until = mono_add_ms(mono_now(), ASKING_MS)};
        int rc = decide(client, req, a, &g, out, e);

        if (rc < 0 && g.vm)
                err_wrap(e, "VM %s/%s is %s on %s and whether it can leave cannot be told now",
                         req->ns, g.vm->meta.name, vm_phase_name(g.vm->status.phase),
                         g.vm->status.owner.node);
        else if (rc < 0 && g.pod)
                err_wrap(e, "VM %s/%s of pod %s cannot be looked up now", req->ns, g.pod->vm,
                         req->name);
        else if (rc < 0)
                err_wrap(e, "pod %s/%s cannot be looked up now", req->ns, req->name);
        return rc;
}
