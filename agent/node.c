/*
 * This node's Node object: labels by which VMs are placed, and a condition that mirrors the pools'
 * health, because a change of the Node wakes pods that the extender has refused. Labels are only
 * ever added here: one that vanished because libvirtd was away for a moment would move every guest.
 */
#include "agent/agent.h"
#include "agent/publish.h"
#include "api/codec.h"
#include "base/log.h"
#include "base/mono.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define NODE_MS 300000 /* between looks when nothing changes */

static int want_label(const struct node *n, struct json *labels, const char *key, int *changes)
{
        const char *have = kvs_get(&n->meta.labels, key);

        if (have && !strcmp(have, "true"))
                return 0;
        (*changes)++;
        return json_set_str(labels, key, "true") ? 0 : -ENOMEM;
}

/* A CPU model's name is a label's, or it is left out: "Opteron_G1" is one, names with spaces are
 * not. */
static bool label_name_ok(const char *s)
{
        return *s && strlen(s) <= 63 &&
               s[strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")] ==
                       '\0';
}

static int write_labels(struct agent *a, const struct node *n, const struct strs *models,
                        struct err *e)
{
        autojson struct json *patch = json_new_object();
        struct json *labels = json_object_at(json_object_at(patch, "metadata"), "labels");
        int changes = 0, rc = want_label(n, labels, DROVER_HYPERVISOR_LABEL, &changes);
        char key[128];

        for (size_t i = 0; i < models->n && !rc; i++) {
                if (!label_name_ok(models->v[i]))
                        continue;
                snprintf(key, sizeof(key), DROVER_CPU_LABEL_PREFIX "%.63s", models->v[i]);
                rc = want_label(n, labels, key, &changes);
        }
        for (size_t i = 0; i < a->config.npools && !rc; i++) {
                snprintf(key, sizeof(key), DROVER_POOL_LABEL_PREFIX "%.63s",
                         a->config.pools[i].name);
                rc = want_label(n, labels, key, &changes);
        }
        if (rc)
                return err_set(e, rc, "out of memory");
        return changes ? kube_patch(a->kube, &KUBE_NODES, NULL, a->config.node, NULL, patch, NULL,
                                    e)
                       : 0;
}

/* True, False or Unknown of all pools together, and why. */
static const char *storage(struct agent *a, char message[512])
{
        struct mount_view v[AGENT_POOLS_MAX];

        mounts_view(a->mounts, v);
        snprintf(message, 512, "all pools answer");
        for (size_t i = 0; i < a->config.npools; i++) {
                if (v[i].health == MOUNT_HEALTHY)
                        continue;
                snprintf(message, 512, "pool %s: %s", v[i].pool, v[i].reason);
                return v[i].health == MOUNT_UNKNOWN ? "Unknown" : "False";
        }
        return "True";
}

static int write_condition(struct agent *a, const struct node *n, struct err *e)
{
        const struct condition *old = condition_get(&n->conditions, DROVER_STORAGE_CONDITION);
        char message[512], now[RFC3339_MAX];
        const char *status = storage(a, message);

        if (old && !strcmp(old->status, status) && !strcmp(old->message, message))
                return 0;
        autojson struct json *patch = json_new_object();
        struct json *list = json_array_at(json_object_at(patch, "status"), "conditions");
        struct json *c = json_add(list, json_new_object());
        rfc3339_format(wall_us(), 0, now);
        json_set_str(c, "type", DROVER_STORAGE_CONDITION);
        json_set_str(c, "status", status);
        json_set_str(c, "reason",
                     !strcmp(status, "True")    ? "PoolsAnswer"
                     : !strcmp(status, "False") ? "PoolUnhealthy"
                                                : "NotProbedYet");
        json_set_str(c, "message", message);
        if (!old || strcmp(old->status, status) != 0)
                json_set_str(c, "lastTransitionTime", now);
        if (!json_set_str(c, "lastHeartbeatTime", now))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch_strategic(a->kube, &KUBE_NODES, NULL, a->config.node, "status", patch,
                                    NULL, e);
}

int64_t node_work(struct agent *a, const char *rest)
{
        autojson struct json *j = NULL;
        struct node *n = NULL;
        struct err e = {0};
        struct strs models = {0};

        (void)rest;
        int rc = kube_get(a->kube, &KUBE_NODES, NULL, a->config.node, &j, &e);
        if (!rc)
                rc = node_decode(j, &n, &e);
        if (!rc && n->addresses.n)
                publish_address(a->publisher, n->addresses.v[0]);
        autoarena struct arena *arena = arena_new((size_t)1 << 20);
        if (!rc && a->virt_type != VIRT_UNKNOWN &&
            !(rc = publish_cpu_models(a->publisher, arena, &models)))
                rc = write_labels(a, n, &models, &e);
        if (!rc)
                rc = write_condition(a, n, &e);
        if (n)
                node_free(n);
        if (rc)
                log_err(&e, "cannot keep the Node up to date", NULL);
        return rc ? WORK_RETRY : NODE_MS;
}
