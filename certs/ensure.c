#include "certs/ensure.h"

#include "base/mono.h"
#include "certs/secret.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#define ATTEMPTS    10
#define PAUSE_MS    100
#define CLUSTER_IPS 2 /* one of each address family at most */
#define NAME_TEXT   320
#define ROUNDS      4 /* of one run: a turn each; the rest is for the next */
#define CA_SECRET   "drover-ca-key"

static const struct kube_resource services = {"v1", "services", true, false};

struct run {
        struct kube_client *client;
        const struct ensure_config *cfg;
        const struct ensure_hooks *hooks;
        struct estate estate;
        struct mono began; /* to look at the estate */
        bool wrote;        /* by the step that was done last */
};

struct step {
        const struct kube_resource *resource;
        plan_fn *plan;
        struct plan_object object;
};

static int write_object(struct run *r, const struct step *s, bool exists, const struct json *wanted,
                        struct err *e)
{
        const char *ns = s->resource->namespaced ? r->cfg->ns : NULL;

        /* An update carries the resourceVersion that was read: nobody's work is overwritten. */
        if (exists)
                return kube_update(r->client, s->resource, ns, s->object.name, wanted, NULL, e);
        return kube_create(r->client, s->resource, ns, wanted, NULL, e);
}

static int converge(struct run *r, const struct step *s, struct err *e);

/* For what is to be written now; see estate.behind. */
static int distrust_first(struct run *r, struct err *e)
{
        static const struct step distrust = {&KUBE_SECRETS, plan_distrust, {CA_SECRET, NULL}};

        if (!r->estate.behind || !r->estate.authority.next.cert)
                return 0;
        r->estate.behind = false; /* distrusting gives nobody anything */
        return converge(r, &distrust, e);
}

/*
 * A process that stood still for long and then signed by a CA that others have retired meanwhile
 * would be believed by nobody: what a round has learned is good for half the time to settle.
 */
static int still_true(const struct run *r, struct err *e)
{
        if (mono_ms_between(r->began, mono_now()) <= r->cfg->settle_s * 500)
                return 0;
        return err_set(e, -ETIMEDOUT, "this run took too long to go by what it began with");
}

/* 1 when it was written or is as it should be, 0 when another was faster, or an error. */
static int attempt(struct run *r, const struct step *s, struct err *e)
{
        const char *ns = s->resource->namespaced ? r->cfg->ns : NULL;
        autosecretjson struct json *current = NULL;
        autosecretjson struct json *wanted = NULL;
        char why[PLAN_WHY_MAX] = "", object[NAME_TEXT];
        int rc = still_true(r, e);

        if (rc < 0)
                return rc;
        rc = kube_get(r->client, s->resource, ns, s->object.name, &current, e);
        if (rc < 0 && rc != -ENOENT)
                return rc;
        rc = s->plan(&r->estate, &s->object, current, &wanted, why, e);
        if (rc < 0)
                return rc;
        if (!wanted)
                return 1;
        rc = distrust_first(r, e);
        if (rc < 0)
                return rc;
        rc = write_object(r, s, current, wanted, e);
        if (rc == -EEXIST || rc == -EAGAIN || (rc == -ENOENT && current))
                return 0;
        if (rc < 0)
                return rc;
        snprintf(object, sizeof(object), "%s/%s", s->resource->plural, s->object.name);
        r->wrote = true;
        r->hooks->report(r->hooks->ctx, object, why, NULL);
        return 1;
}

static int converge(struct run *r, const struct step *s, struct err *e)
{
        char object[NAME_TEXT];
        int rc = 0;

        r->wrote = false;
        snprintf(object, sizeof(object), "%s/%s", s->resource->plural, s->object.name);
        for (int i = 0; rc == 0 && i < ATTEMPTS; i++) {
                const struct timespec pause = {0, PAUSE_MS * 1000000L};

                if (i)
                        nanosleep(&pause, NULL);
                rc = attempt(r, s, e);
        }
        if (rc > 0)
                return 0;
        if (rc == 0)
                rc = err_set(e, -EAGAIN, "others kept changing it for %d attempts", ATTEMPTS);
        err_wrap(e, "%s", object);
        r->hooks->report(r->hooks->ctx, object, "", e);
        return rc;
}

/* The addresses of a Service; none when it is headless or not there (yet). */
static int cluster_ips(struct run *r, const char *name, struct json **keep, struct strs *out,
                       struct err *e)
{
        int rc = kube_get(r->client, &services, r->cfg->ns, name, keep, e);

        if (rc == -ENOENT)
                return 0;
        if (rc < 0)
                return err_wrap(e, "services/%s", name);
        for (const struct json *ip = json_first(json_path(*keep, "spec", "clusterIPs", NULL));
             ip && out->n < CLUSTER_IPS; ip = json_next(ip)) {
                const char *text = json_string(ip);

                if (text && *text && strcmp(text, "None") != 0)
                        out->v[out->n++] = text;
        }
        return 0;
}

/* A leaf's names: SERVICE.NAMESPACE.svc, as webhooks are called, and SERVICE. */
struct serving {
        char full[NAME_TEXT];
        const char *dns[2], *ips[CLUSTER_IPS];
        struct pki_leaf leaf;
};

static void serving_set(struct serving *s, const char *service, const struct ensure_config *cfg)
{
        snprintf(s->full, sizeof(s->full), "%s.%s.svc", service, cfg->ns);
        s->dns[0] = s->full;
        s->dns[1] = service;
        s->leaf = (struct pki_leaf){
                .name = service,
                .dns = {s->dns, countof(s->dns)},
                .ips = {s->ips, 0},
                .days = cfg->serving_days,
        };
}

static int run_steps(struct run *r, const struct step *steps, size_t n, bool stop, struct err *e)
{
        int first = 0;

        for (size_t i = 0; i < n; i++) {
                struct err failure;
                int rc = converge(r, &steps[i], &failure);

                if (rc == 0 && (steps[i].plan == plan_ca || steps[i].plan == plan_leaf))
                        r->hooks->expires(r->hooks->ctx, steps[i].object.name, r->estate.expires_s);
                if (rc < 0 && first == 0) {
                        first = rc;
                        *e = failure;
                }
                if (rc < 0 && stop)
                        break;
        }
        return first;
}

static int ensure_leaves(struct run *r, struct err *e)
{
        const struct pki_leaf client = {
                .name = "drover-scheduler", .client = true, .days = r->cfg->client_days};
        const char *config = r->cfg->webhook_config;
        autojson struct json *service = NULL;
        struct serving webhook = {0}, extender = {0};

        serving_set(&webhook, r->cfg->webhook_service, r->cfg);
        serving_set(&extender, r->cfg->extender_service, r->cfg);
        int rc = cluster_ips(r, r->cfg->extender_service, &service, &extender.leaf.ips, e);
        if (rc < 0) {
                r->hooks->report(r->hooks->ctx, "secrets/drover-extender-tls", "", e);
                return rc;
        }
        const struct step steps[] = {
                {&KUBE_SECRETS, plan_leaf, {"drover-webhook-tls", &webhook.leaf}},
                {&KUBE_SECRETS, plan_leaf, {"drover-extender-tls", &extender.leaf}},
                {&KUBE_SECRETS, plan_leaf, {"drover-scheduler-client", &client}},
                {&KUBE_MUTATING_WEBHOOKS, plan_webhooks, {config, NULL}},
                {&KUBE_VALIDATING_WEBHOOKS, plan_webhooks, {config, NULL}},
        };
        return run_steps(r, steps, countof(steps), false, e);
}

/* What people wish comes first and stops nothing: a slip in an annotation must not let leaves end.
 */
static int ensure_objects(struct run *r, struct err *e)
{
        static const struct step wishes = {&KUBE_SECRETS, plan_wishes, {"drover-ca", NULL}};
        static const struct step cas[] = {
                {&KUBE_SECRETS, plan_ca, {CA_SECRET, NULL}},
                {&KUBE_SECRETS, plan_bundle, {"drover-ca", NULL}},
        };
        struct err slip;
        int slipped = converge(r, &wishes, &slip);
        int rc = run_steps(r, cas, countof(cas), true, e);

        if (rc == 0)
                rc = ensure_leaves(r, e);
        if (rc == 0 && slipped < 0) {
                rc = slipped;
                *e = slip;
        }
        return rc;
}

int ensure_all(struct kube_client *c, const struct ensure_config *cfg,
               const struct ensure_hooks *hooks, struct err *e)
{
        static const struct step turn = {&KUBE_SECRETS, plan_turn, {CA_SECRET, NULL}};
        struct run r = {c, cfg, hooks, {.ns = cfg->ns}, mono_now(), true};
        bool rotating = false;
        int rc = 0;

        r.estate.now_s = cfg->now_s;
        r.estate.ca_days = cfg->ca_days;
        r.estate.settle_s = cfg->settle_s;
        r.estate.leaf_days =
                cfg->client_days > cfg->serving_days ? cfg->client_days : cfg->serving_days;
        estate_init(&r.estate);
        for (int i = 0; rc == 0 && r.wrote && i < ROUNDS; i++) { /* anew after each turn */
                r.began = mono_now();
                rc = ensure_objects(&r, e);
                if (rc == 0)
                        rc = converge(&r, &turn, e);
                rotating = r.wrote || r.estate.rotating;
                estate_reset(&r.estate);
        }
        return rc < 0 ? rc : rotating;
}
