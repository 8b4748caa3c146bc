/*
 * This node's Node object: labels by which VMs are placed, conditions that mirror those of the
 * host, and since when it is fit for guests, because a change of the Node wakes pods that the
 * extender has refused. Labels are only ever added here: one that vanished because libvirtd was
 * away for a moment would move every guest.
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

static const char *mirror_of(const char *type)
{
        if (!strcmp(type, "Ready"))
                return DROVER_READY_CONDITION;
        return !strcmp(type, "StorageHealthy") ? DROVER_STORAGE_CONDITION : NULL;
}

/* Adds the condition to the list unless the Node says so already. */
static int mirror(const struct node *n, const struct condition *c, struct json *list)
{
        const char *type = mirror_of(c->type);
        const struct condition *old = type ? condition_get(&n->conditions, type) : NULL;
        char now[RFC3339_MAX];

        if (!type || (old && !strcmp(old->status, c->status) && !strcmp(old->message, c->message)))
                return 0;
        struct json *to = json_add(list, json_new_object());
        rfc3339_format(wall_us(), 0, now);
        json_set_str(to, "type", type);
        json_set_str(to, "status", c->status);
        json_set_str(to, "reason", c->reason);
        json_set_str(to, "message", c->message);
        if (!old || strcmp(old->status, c->status) != 0)
                json_set_str(to, "lastTransitionTime", now);
        return json_set_str(to, "lastHeartbeatTime", now) ? 0 : -ENOMEM;
}

static int write_conditions(struct agent *a, const struct node *n, const struct conditions *host,
                            struct err *e)
{
        autojson struct json *patch = json_new_object();
        struct json *list = json_array_at(json_object_at(patch, "status"), "conditions");
        int rc = 0;

        for (size_t i = 0; i < host->n && !rc; i++)
                rc = mirror(n, &host->v[i], list);
        if (rc)
                return err_set(e, rc, "out of memory");
        return json_count(list) ? kube_patch_strategic(a->kube, &KUBE_NODES, NULL, a->config.node,
                                                       "status", patch, NULL, e)
                                : 0;
}

/*
 * The extender refuses a node for more than its conditions show, such as a heartbeat that was late:
 * a change of this annotation has the scheduler try again whom it has refused.
 */
static int write_usable(struct agent *a, const struct node *n, struct err *e)
{
        autojson struct json *patch = json_new_object();
        int64_t since_us = publish_usable_us(a->publisher);
        const char *have = kvs_get(&n->meta.annotations, DROVER_USABLE_ANNOTATION);
        char text[RFC3339_MAX];

        if (!since_us)
                return 0;
        rfc3339_format(since_us, 6, text);
        if (have && !strcmp(have, text))
                return 0;
        struct json *notes = json_object_at(json_object_at(patch, "metadata"), "annotations");
        if (!json_set_str(notes, DROVER_USABLE_ANNOTATION, text))
                return err_set(e, -ENOMEM, "out of memory");
        return kube_patch(a->kube, &KUBE_NODES, NULL, a->config.node, NULL, patch, NULL, e);
}

int64_t node_work(struct agent *a, const char *rest)
{
        autojson struct json *j = NULL;
        struct node *n = NULL;
        struct err e = {0};
        struct strs models = {0};
        struct conditions host = {0};

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
        if (!rc && !(rc = publish_conditions(a->publisher, arena, &host)))
                rc = write_conditions(a, n, &host, &e);
        if (!rc)
                rc = write_usable(a, n, &e);
        if (n)
                node_free(n);
        if (rc)
                log_err(&e, "cannot keep the Node up to date", NULL);
        return rc ? WORK_RETRY : NODE_MS;
}
