#include "core/placement.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define TRUE_LABEL "true"

/* The model that the guest has or will have: of a running one what it was started with. */
static const char *cpu_model(const struct vm *vm)
{
        return vm->status.has_running ? vm->status.running.cpu_model : vm->spec.shape.cpu_model;
}

/* --- the selector */

static struct requirement in_values(const char *key, const char *const *value)
{
        return (struct requirement){.key = key,
                                    .op = OP_IN,
                                    .op_text = "In",
                                    .values = {.v = (const char **)(uintptr_t)value, .n = 1}};
}

static int in_value(struct arena *a, const char *key, const char *value, struct requirements *to)
{
        const char **v = arena_array(a, 1, sizeof(*v));

        if (!v || !key)
                return -ENOMEM;
        v[0] = value;
        to->v[to->n++] = in_values(key, v);
        return 0;
}

static int add_labels(struct arena *a, const struct vm *vm, struct requirements *r)
{
        const struct kvs *wanted = &vm->spec.placement.node_selector;
        int rc = 0;

        for (size_t i = 0; !rc && i < wanted->n; i++)
                rc = in_value(a, wanted->v[i].key, wanted->v[i].value, r);
        if (!rc)
                rc = in_value(a, DROVER_HYPERVISOR_LABEL, TRUE_LABEL, r);
        if (!rc && *cpu_model(vm))
                rc = in_value(a, arena_printf(a, DROVER_CPU_LABEL_PREFIX "%s", cpu_model(vm)),
                              TRUE_LABEL, r);
        for (size_t i = 0; !rc && i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind != DISK_PVC)
                        rc = in_value(a,
                                      arena_printf(a, DROVER_POOL_LABEL_PREFIX "%s",
                                                   vm->spec.disks[i].pool),
                                      TRUE_LABEL, r);
        return rc;
}

/* All but affinity.nodeAffinity, as one term. */
static int own_term(struct arena *a, const struct vm *vm, struct node_selector *out)
{
        struct selector_term *t = arena_alloc(a, sizeof(*t));
        size_t most = vm->spec.placement.node_selector.n + vm->spec.ndisks + 2;
        int rc;

        if (!t)
                return -ENOMEM;
        t->exprs.v = arena_array(a, most, sizeof(*t->exprs.v));
        t->fields.v = arena_array(a, 1, sizeof(*t->fields.v));
        if (!t->exprs.v || !t->fields.v)
                return -ENOMEM;
        rc = add_labels(a, vm, &t->exprs);
        if (!rc && *vm->spec.placement.node_name)
                rc = in_value(a, "metadata.name", vm->spec.placement.node_name, &t->fields);
        out->v = t;
        out->n = 1;
        return rc;
}

int placement_selector(struct arena *a, const struct vm *vm, struct node_selector **out)
{
        const struct placement *p = &vm->spec.placement;
        struct node_selector own = {0};
        int rc = own_term(a, vm, &own);

        if (rc)
                return rc;
        return node_selector_and(a, p->has_required ? &p->required : NULL, &own, out);
}

/* --- the judgement */

struct judge {
        const struct vm *vm;
        const struct node *node;
        char *message;
};

static bool refuse(struct judge *j, const char *fmt, const char *x, const char *y, const char *z)
{
        int n = snprintf(j->message, PLACEMENT_MESSAGE_MAX, "%s: ", j->node->meta.name);

        if (n > 0 && n < PLACEMENT_MESSAGE_MAX) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
                snprintf(j->message + n, PLACEMENT_MESSAGE_MAX - (size_t)n, fmt, x, y, z);
#pragma GCC diagnostic pop
        }
        return false;
}

static bool node_name(struct judge *j)
{
        const char *want = j->vm->spec.placement.node_name;

        if (!*want || !strcmp(want, j->node->meta.name))
                return true;
        return refuse(j, "spec.nodeName wants %s", want, "", "");
}

static bool node_selector(struct judge *j)
{
        const struct kvs *want = &j->vm->spec.placement.node_selector;

        for (size_t i = 0; i < want->n; i++) {
                const char *have = kvs_get(&j->node->meta.labels, want->v[i].key);

                if (!have)
                        return refuse(j, "has no label %s, spec.nodeSelector wants \"%s\"",
                                      want->v[i].key, want->v[i].value, "");
                if (strcmp(have, want->v[i].value))
                        return refuse(j, "label %s is \"%s\", spec.nodeSelector wants \"%s\"",
                                      want->v[i].key, have, want->v[i].value);
        }
        return true;
}

static bool node_affinity(struct judge *j)
{
        const struct placement *p = &j->vm->spec.placement;

        if (node_selector_matches(&p->required, p->has_required, &j->node->meta.labels,
                                  j->node->meta.name))
                return true;
        return refuse(j, "no term of spec.affinity.nodeAffinity matches its labels", "", "", "");
}

static bool is_true(const struct judge *j, const char *label)
{
        const char *have = kvs_get(&j->node->meta.labels, label);

        return have && !strcmp(have, TRUE_LABEL);
}

static bool hypervisor(struct judge *j)
{
        if (is_true(j, DROVER_HYPERVISOR_LABEL))
                return true;
        return refuse(j, "is no hypervisor (label %s is not \"true\")", DROVER_HYPERVISOR_LABEL, "",
                      "");
}

static bool has_label(struct judge *j, const char *prefix, const char *name)
{
        char label[PLACEMENT_MESSAGE_MAX];

        snprintf(label, sizeof(label), "%s%s", prefix, name);
        return is_true(j, label);
}

static bool cpu(struct judge *j)
{
        const char *model = cpu_model(j->vm);

        if (!*model || has_label(j, DROVER_CPU_LABEL_PREFIX, model))
                return true;
        return refuse(j, "cannot run CPU model %s", model, "", "");
}

static bool pools(struct judge *j)
{
        for (size_t i = 0; i < j->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &j->vm->spec.disks[i];

                if (d->kind != DISK_PVC && !has_label(j, DROVER_POOL_LABEL_PREFIX, d->pool))
                        return refuse(j, "has no storage pool %s, which disk %s is in", d->pool,
                                      d->name, "");
        }
        return true;
}

bool toleration_tolerates(const struct toleration *t, const struct taint *taint)
{
        if (*t->effect && strcmp(t->effect, taint->effect) != 0)
                return false;
        if (*t->key && strcmp(t->key, taint->key) != 0)
                return false;
        if (!strcmp(t->op, "Exists"))
                return true;
        return *t->key && (!*t->op || !strcmp(t->op, "Equal")) && !strcmp(t->value, taint->value);
}

static bool taints(struct judge *j, const char *effect)
{
        const struct tolerations *all = &j->vm->spec.placement.tolerations;

        for (size_t i = 0; i < j->node->ntaints; i++) {
                const struct taint *taint = &j->node->taints[i];
                size_t k = 0;

                if (strcmp(taint->effect, effect) != 0)
                        continue;
                while (k < all->n && !toleration_tolerates(&all->v[k], taint))
                        k++;
                if (k == all->n)
                        return refuse(j, "taint %s=%s:%s is not tolerated", taint->key,
                                      taint->value, effect);
        }
        return true;
}

/*
 * A NoExecute taint that Kubernetes itself puts on a node that it cannot reach is no reason to
 * move: the guest may run there unharmed, nobody could copy it away, and what is to be done with a
 * lost node is decided by fencing.
 */
static bool lost(const struct node *node)
{
        for (size_t i = 0; i < node->ntaints; i++)
                if (!strcmp(node->taints[i].key, "node.kubernetes.io/unreachable") ||
                    !strcmp(node->taints[i].key, "node.kubernetes.io/not-ready"))
                        return true;
        return false;
}

static bool no_execute(struct judge *j)
{
        return lost(j->node) || taints(j, "NoExecute");
}

static bool no_schedule(struct judge *j)
{
        return taints(j, "NoSchedule");
}

static bool cordoned(struct judge *j)
{
        return !j->node->unschedulable || refuse(j, "is cordoned", "", "", "");
}

static const struct {
        enum placement_rule rule;
        bool (*holds)(struct judge *j);
        bool binds_running;
} rules[] = {
        {PLACE_NODE_NAME, node_name, true},
        {PLACE_NODE_SELECTOR, node_selector, true},
        {PLACE_NODE_AFFINITY, node_affinity, true},
        {PLACE_HYPERVISOR, hypervisor, true},
        {PLACE_CPU_MODEL, cpu, true},
        {PLACE_POOL, pools, true},
        {PLACE_NO_EXECUTE, no_execute, true},
        {PLACE_NO_SCHEDULE, no_schedule, false},
        {PLACE_CORDONED, cordoned, false},
};

enum placement_rule placement_check(const struct vm *vm, const struct node *node, bool running,
                                    char message[PLACEMENT_MESSAGE_MAX])
{
        struct judge j = {.vm = vm, .node = node, .message = message};

        message[0] = 0;
        for (size_t i = 0; i < countof(rules); i++)
                if ((rules[i].binds_running || !running) && !rules[i].holds(&j))
                        return rules[i].rule;
        return PLACE_OK;
}

/* --- the hash: FNV-1a over the fields, each closed by a byte that cannot stand in one */

static uint64_t mix(uint64_t h, const char *s)
{
        for (; *s; s++)
                h = (h ^ (unsigned char)*s) * 0x100000001b3u;
        return (h ^ 0xff) * 0x100000001b3u;
}

/* Independent of the order of the members, which JSON does not promise. */
static uint64_t mix_map(uint64_t h, const struct kvs *m)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < m->n; i++)
                sum += mix(mix(0xcbf29ce484222325u, m->v[i].key), m->v[i].value);
        return (h ^ sum) * 0x100000001b3u;
}

void placement_hash(const struct vm *vm, char out[17])
{
        const struct placement *p = &vm->spec.placement;
        uint64_t h = 0xcbf29ce484222325u;

        h = mix(h, p->node_name);
        h = mix_map(h, &p->node_selector);
        h = mix(h, p->affinity_json);
        h = mix(h, p->tolerations_json);
        h = mix(h, p->spread_json);
        snprintf(out, 17, "%016llx", (unsigned long long)h);
}
