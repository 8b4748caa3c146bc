#include "kubectl/cluster.h"

#include "base/mono.h"
#include "base/x509.h"
#include "core/types.h"
#include "kube/base64.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define NAME_LABEL "app.kubernetes.io/name"
#define SILENT_S   20 /* as long as the extender waits for an agent */
#define PEM_MAX    ((size_t)64 << 10)
#define WEBHOOK    "drover-webhook." DROVER_NAMESPACE ".svc"

static const struct json *items(const struct json *list)
{
        return json_first(json_get(list, "items"));
}

static const char *name_of(const struct json *object)
{
        return json_str(json_get(object, "metadata"), "name", "");
}

static const char *label_of(const struct json *object, const char *label)
{
        return json_str(json_path(object, "metadata", "labels", NULL), label, "");
}

static bool is(const struct json *object, const char *kind, const char *name)
{
        return !strcmp(json_str(object, "kind", ""), kind) &&
               (!name || !strcmp(name_of(object), name));
}

static const struct json *find(const struct json *list, const char *kind, const char *name)
{
        for (const struct json *o = items(list); o; o = json_next(o))
                if (is(o, kind, name))
                        return o;
        return NULL;
}

/* The condition of that type in status.conditions. */
static const struct json *condition(const struct json *object, const char *type)
{
        const struct json *c = json_first(json_path(object, "status", "conditions", NULL));

        while (c && strcmp(json_str(c, "type", ""), type) != 0)
                c = json_next(c);
        return c;
}

static bool is_true(const struct json *object, const char *type)
{
        return !strcmp(json_str(condition(object, type), "status", ""), "True");
}

/* --- components */

static void judge_deployment(const struct json *workloads, const char *name, bool needed,
                             struct findings *f)
{
        const struct json *d = find(workloads, "Deployment", name), *status = json_get(d, "status");
        int64_t want = json_int(json_get(d, "spec"), "replicas", 1);
        int64_t have = json_int(status, "availableReplicas", 0);
        char mend[256];

        snprintf(mend, sizeof(mend),
                 "kubectl describe pods -n " DROVER_NAMESPACE " -l " NAME_LABEL
                 "=%s; kubectl logs -n " DROVER_NAMESPACE " deployment/%s",
                 name, name);
        if (!d && needed)
                findings_add(f, DOCTOR_COMPONENTS, "", name, DOCTOR_FAULT,
                             "Install Drover: docs/install.md.", "there is no Deployment %s", name);
        else if (d && !have)
                findings_add(f, DOCTOR_COMPONENTS, "", name, DOCTOR_FAULT, mend,
                             "no pod of %s is available", name);
        else if (d)
                findings_add(f, DOCTOR_COMPONENTS, "", name,
                             have < want ? DOCTOR_WARNING : DOCTOR_OK, mend,
                             "%" PRId64 " of %" PRId64 " pods of %s are available", have, want,
                             name);
}

void judge_components(const struct json *workloads, struct findings *f)
{
        if (!workloads)
                return;
        /* cert-manager may stand in for drover-certs */
        judge_deployment(workloads, "drover-certs", false, f);
        judge_deployment(workloads, "drover-webhook", true, f);
        judge_deployment(workloads, "drover-extender", true, f);
        judge_deployment(workloads, "drover-migrator", true, f);
        judge_deployment(workloads, "drover-scheduler", false, f);
}

/* --- agents */

static bool is_agent(const struct json *object)
{
        return is(object, "Pod", NULL) && !strcmp(label_of(object, NAME_LABEL), "drover-agent") &&
               *json_str(json_get(object, "spec"), "nodeName", "");
}

static const struct json *agent_on(const struct json *workloads, const char *node)
{
        const struct json *found = NULL;

        for (const struct json *o = items(workloads); o; o = json_next(o))
                if (is_agent(o) && !strcmp(json_str(json_get(o, "spec"), "nodeName", ""), node) &&
                    (!found || is_true(o, "Ready")))
                        found = o;
        return found;
}

static void judge_agent(const struct json *pod, struct findings *f)
{
        const char *node = json_str(json_get(pod, "spec"), "nodeName", "");
        const struct json *ready = condition(pod, "Ready");

        if (is_true(pod, "Ready"))
                findings_add(f, DOCTOR_AGENTS, node, "", DOCTOR_OK, NULL, "its agent runs");
        else
                findings_add(f, DOCTOR_AGENTS, node, "", DOCTOR_FAULT,
                             "kubectl describe pod and kubectl logs of it, in the "
                             "namespace " DROVER_NAMESPACE ".",
                             "the agent's pod %s is not Ready: %s", name_of(pod),
                             json_str(ready, "message", json_str(ready, "reason", "not started")));
}

void judge_agents(const struct json *workloads, const struct json *nodes, struct findings *f)
{
        size_t before = f->n;

        if (!workloads)
                return;
        for (const struct json *o = items(workloads); o; o = json_next(o))
                if (is_agent(o) &&
                    agent_on(workloads, json_str(json_get(o, "spec"), "nodeName", "")) == o)
                        judge_agent(o, f);
        for (const struct json *o = items(nodes); o; o = json_next(o))
                if (!strcmp(label_of(o, DROVER_HYPERVISOR_LABEL), "true") &&
                    !agent_on(workloads, name_of(o)))
                        findings_add(f, DOCTOR_AGENTS, name_of(o), "", DOCTOR_FAULT,
                                     "Look at nodeSelector and tolerations of the DaemonSet "
                                     "drover-agent, or take the label " DROVER_HYPERVISOR_LABEL
                                     " off the node.",
                                     "a hypervisor on which no agent runs");
        if (f->n == before)
                findings_add(f, DOCTOR_AGENTS, "", "", DOCTOR_FAULT,
                             "Is the DaemonSet drover-agent installed, and does its nodeSelector "
                             "fit any node?",
                             "no agent runs anywhere");
}

size_t cluster_agents(const struct json *workloads, const char *const *nodes, size_t n,
                      struct agent_pod *out, size_t max)
{
        size_t count = 0;

        for (const struct json *o = items(workloads); o && count < max; o = json_next(o)) {
                const char *node = json_str(json_get(o, "spec"), "nodeName", "");
                bool wanted = n == 0;

                for (size_t i = 0; i < n; i++)
                        wanted |= !strcmp(nodes[i], node);
                if (!wanted || !is_agent(o) || agent_on(workloads, node) != o ||
                    strcmp(json_str(json_get(o, "status"), "phase", ""), "Running") != 0)
                        continue;
                size_t at = count++;
                for (; at && strcmp(out[at - 1].node, node) > 0; at--)
                        out[at] = out[at - 1];
                out[at] = (struct agent_pod){node, name_of(o)};
        }
        return count;
}

/* --- definitions, admission */

void judge_crds(const struct json *crds, struct findings *f)
{
        static const char *const NAMES[] = {"virtualmachines", "virtualmachinehosts",
                                            "virtualmachineimages", "virtualmachinemigrations",
                                            "virtualmachinesnapshots"};
        const char *mend = "kubectl apply --server-side the manifests of this version again "
                           "(docs/install.md).";
        size_t good = 0;

        if (!crds)
                return;
        for (size_t i = 0; i < countof(NAMES); i++) {
                char name[64];
                bool served = false;

                snprintf(name, sizeof(name), "%s." DROVER_GROUP, NAMES[i]);
                const struct json *crd = find(crds, "CustomResourceDefinition", name);
                const struct json *v = json_first(json_path(crd, "spec", "versions", NULL));
                for (; v; v = json_next(v))
                        served |= !strcmp(json_str(v, "name", ""), "v1alpha1") &&
                                  json_bool(v, "served", false) && json_bool(v, "storage", false);
                if (!crd)
                        findings_add(f, DOCTOR_CRDS, "", NAMES[i], DOCTOR_FAULT, mend,
                                     "%s is not defined", name);
                else if (!served)
                        findings_add(f, DOCTOR_CRDS, "", NAMES[i], DOCTOR_FAULT, mend,
                                     "%s is not served and stored as v1alpha1", name);
                else if (!is_true(crd, "Established"))
                        findings_add(f, DOCTOR_CRDS, "", NAMES[i], DOCTOR_FAULT, mend,
                                     "%s is not Established: %s", name,
                                     json_str(condition(crd, "Established"), "message", ""));
                else
                        good++;
        }
        if (good == countof(NAMES))
                findings_add(f, DOCTOR_CRDS, "", "", DOCTOR_OK, NULL,
                             "all %zu kinds are served as v1alpha1", good);
}

/* A member of a Secret, or a caBundle, as text in b; false when it is not there. */
static bool decode(const struct json *object, const char *key, struct buf *b)
{
        return !kube_base64_decode(json_str(object, key, ""), b) && b->len;
}

/* Why a caller would not believe the webhook, "" when it would, or that is not known. */
static const char *flaw_of_bundle(const struct json *webhook, const struct json *secrets)
{
        autobuf struct buf ca = buf_new(PEM_MAX), cert = buf_new(PEM_MAX);
        const struct json *secret = find(secrets, "Secret", "drover-webhook-tls");
        struct x509_facts x;
        struct err e;

        if (!decode(json_get(webhook, "clientConfig"), "caBundle", &ca))
                return "has no caBundle";
        if (!decode(json_get(secret, "data"), "tls.crt", &cert))
                return "";
        if (x509_look(buf_str(&cert), WEBHOOK, buf_str(&ca), &x, &e))
                return "has a caBundle that is no certificate";
        if (!x.signed_by)
                return "has a caBundle of another CA than the webhook's certificate";
        return x.names ? "" : "would meet a certificate that does not name " WEBHOOK;
}

void judge_admission(const struct json *configurations, const struct json *secrets,
                     struct findings *f)
{
        const char *KINDS[] = {"MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"};
        const char *mend =
                "drover-certs (or cert-manager) fills it in: kubectl logs -n " DROVER_NAMESPACE
                " deployment/drover-certs";
        size_t good = 0, before = f->n;

        if (!configurations)
                return;
        for (size_t i = 0; i < countof(KINDS); i++) {
                const struct json *c = find(configurations, KINDS[i], "drover");

                if (!c)
                        findings_add(f, DOCTOR_ADMISSION, "", KINDS[i], DOCTOR_FAULT,
                                     "Apply the manifests again (docs/install.md).",
                                     "there is no %s drover: VMs are not validated, or their pods "
                                     "not placed",
                                     KINDS[i]);
                for (const struct json *w = json_first(json_get(c, "webhooks")); w;
                     w = json_next(w), good++) {
                        const char *flaw = flaw_of_bundle(w, secrets);
                        if (*flaw)
                                findings_add(f, DOCTOR_ADMISSION, "", json_str(w, "name", ""),
                                             DOCTOR_FAULT, mend, "webhook %s %s",
                                             json_str(w, "name", ""), flaw);
                }
        }
        if (f->n == before)
                findings_add(f, DOCTOR_ADMISSION, "", "", DOCTOR_OK, NULL,
                             "%zu webhooks are registered with a CA%s", good,
                             secrets ? " that fits the webhook's certificate" : "");
}

/* --- certificates */

static bool judge_secret(const struct json *secret, const char *key, int64_t now_s,
                         struct findings *f)
{
        const char *mend = "kubectl logs -n " DROVER_NAMESPACE " deployment/drover-certs; "
                           "docs/operations.md, Certificates.";
        autobuf struct buf pem = buf_new(PEM_MAX);
        struct x509_facts x;
        struct err e;

        if (!decode(json_get(secret, "data"), key, &pem))
                return false;
        if (x509_look(buf_str(&pem), NULL, NULL, &x, &e))
                findings_add(f, DOCTOR_SECRETS, "", name_of(secret), DOCTOR_FAULT, mend,
                             "%s of Secret %s is no certificate", key, name_of(secret));
        else if (x.until_s <= now_s)
                findings_add(f, DOCTOR_SECRETS, "", name_of(secret), DOCTOR_FAULT, mend,
                             "%s of Secret %s has expired", key, name_of(secret));
        else if ((x.until_s - now_s) < (x.until_s - x.from_s) / 6) /* renewed at a third */
                findings_add(f, DOCTOR_SECRETS, "", name_of(secret), DOCTOR_WARNING, mend,
                             "%s of Secret %s ends in %" PRId64
                             " days and should have been renewed",
                             key, name_of(secret), (x.until_s - now_s) / 86400);
        else
                findings_add(f, DOCTOR_SECRETS, "", name_of(secret), DOCTOR_OK, NULL,
                             "%s of Secret %s is good for %" PRId64 " days", key, name_of(secret),
                             (x.until_s - now_s) / 86400);
        return true;
}

void judge_secrets(const struct json *secrets, int64_t now_s, struct findings *f)
{
        for (const struct json *o = items(secrets); o; o = json_next(o))
                if (!judge_secret(o, "tls.crt", now_s, f))
                        (void)judge_secret(o, "ca.crt", now_s, f);
}

/* --- the scheduler */

static bool has_config(const struct json *pod)
{
        const struct json *c = json_first(json_path(pod, "spec", "containers", NULL));

        for (; c; c = json_next(c)) {
                const char *const KEYS[] = {"command", "args"};
                for (size_t i = 0; i < countof(KEYS); i++)
                        for (const struct json *w = json_first(json_get(c, KEYS[i])); w;
                             w = json_next(w))
                                if (json_string(w) && !strncmp(json_string(w), "--config", 8))
                                        return true;
        }
        return false;
}

void judge_scheduler(const struct json *pending, const struct json *schedulers,
                     const struct json *workloads, struct findings *f)
{
        const char *mend = "Give the scheduler the extender (docs/install.md, The scheduler), or "
                           "install manifests/overlays/second-scheduler.";
        size_t bare = 0, seen = 0;

        for (const struct json *o = items(pending); o; o = json_next(o)) {
                const char *why = json_str(condition(o, "PodScheduled"), "message", "");

                if (!strstr(why, "Insufficient " DROVER_VM_RESOURCE))
                        continue;
                findings_add(f, DOCTOR_SCHEDULER, "", name_of(o), DOCTOR_FAULT, mend,
                             "the scheduler of pod %s does not know the extender: %.200s",
                             name_of(o), why);
                return;
        }
        for (const struct json *o = items(schedulers); o; o = json_next(o), seen++)
                bare += !has_config(o);
        if (find(workloads, "Deployment", "drover-scheduler"))
                findings_add(f, DOCTOR_SCHEDULER, "", "", DOCTOR_OK, NULL,
                             "VM pods are placed by the Deployment drover-scheduler");
        else if (bare)
                findings_add(f, DOCTOR_SCHEDULER, "", "", DOCTOR_FAULT, mend,
                             "kube-scheduler runs without --config: nobody asks the extender");
        else
                findings_add(f, DOCTOR_SCHEDULER, "", "", DOCTOR_OK, NULL,
                             seen ? "kube-scheduler has a configuration file, and no VM's pod "
                                    "waits for want of the extender"
                                  : "the scheduler's configuration cannot be seen from here; no "
                                    "VM's pod waits for want of the extender");
}

/* --- hosts */

static void judge_mounts(const struct json *host, struct findings *f)
{
        const struct json *m = json_first(json_path(host, "status", "mounts", NULL));

        for (; m; m = json_next(m)) {
                const char *health = json_str(m, "health", "Unknown");
                bool good = !strcmp(health, "Healthy"), bad = !strcmp(health, "Unhealthy");

                findings_add(f, DOCTOR_POOL_HEALTH, name_of(host), json_str(m, "pool", ""),
                             good  ? DOCTOR_OK
                             : bad ? DOCTOR_FAULT
                                   : DOCTOR_WARNING,
                             "docs/troubleshooting.md, Storage is unhealthy.",
                             good ? "the agent's probes find it healthy%s"
                                  : "the agent's probes do not find it healthy: %.300s",
                             good ? "" : json_str(m, "reason", "not probed yet"));
        }
}

static const struct json *host_of(const struct json *hosts, const char *node)
{
        const struct json *o = items(hosts);

        while (o && strcmp(name_of(o), node) != 0)
                o = json_next(o);
        return o;
}

void judge_hosts(const struct json *hosts, const struct json *workloads, struct findings *f)
{
        if (!hosts)
                return;
        for (const struct json *o = items(hosts); o; o = json_next(o)) {
                const struct json *ready = condition(o, "Ready");

                if (is_true(o, "Ready"))
                        findings_add(f, DOCTOR_HOSTS, name_of(o), "", DOCTOR_OK, NULL,
                                     "its VirtualMachineHost is Ready");
                else
                        findings_add(f, DOCTOR_HOSTS, name_of(o), "", DOCTOR_FAULT,
                                     "systemctl status libvirtd on the node; if the node is gone "
                                     "for good, delete its VirtualMachineHost.",
                                     "its VirtualMachineHost is not Ready: %.300s",
                                     json_str(ready, "message", "no word yet"));
                judge_mounts(o, f);
        }
        for (const struct json *o = items(workloads); o; o = json_next(o)) {
                const char *node = json_str(json_get(o, "spec"), "nodeName", "");

                if (is_agent(o) && agent_on(workloads, node) == o && !host_of(hosts, node))
                        findings_add(f, DOCTOR_HOSTS, node, "", DOCTOR_FAULT,
                                     "kubectl logs -n " DROVER_NAMESPACE " of the agent's pod.",
                                     "its agent runs, but has made no VirtualMachineHost");
        }
}

void judge_heartbeats(const struct json *leases, const struct json *workloads, struct findings *f)
{
        int64_t newest = 0, at;

        if (!leases || !workloads)
                return;
        for (const struct json *o = items(leases); o; o = json_next(o))
                if (!rfc3339_parse(json_str(json_get(o, "spec"), "renewTime", ""), &at) &&
                    at > newest)
                        newest = at;
        for (const struct json *o = items(workloads); o; o = json_next(o)) {
                const char *node = json_str(json_get(o, "spec"), "nodeName", "");
                char name[300];

                if (!is_agent(o) || agent_on(workloads, node) != o)
                        continue;
                snprintf(name, sizeof(name), "drover-node-%s", node);
                const struct json *lease = find(leases, "Lease", name);
                const char *mend = "Can the node reach the API server, and is its clock right? "
                                   "kubectl logs of the agent's pod.";
                if (rfc3339_parse(json_str(json_get(lease, "spec"), "renewTime", ""), &at)) {
                        findings_add(f, DOCTOR_HEARTBEAT, node, "", DOCTOR_FAULT, mend,
                                     "its agent has sent no heartbeat");
                        continue;
                }
                bool fresh = newest - at <= (int64_t)SILENT_S * 1000000;
                findings_add(f, DOCTOR_HEARTBEAT, node, "", fresh ? DOCTOR_OK : DOCTOR_FAULT, mend,
                             fresh ? "its agent was heard from %" PRId64
                                     " s before the newest word of all"
                                   : "its agent has not been heard from for %" PRId64 " s",
                             (newest - at) / 1000000);
        }
}
