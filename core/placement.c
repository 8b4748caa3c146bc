#include "core/placement.h"

#include "base/fnv.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define TRUE_LABEL "true"

/* The model that the guest has or will have: of a running one what it was started with. */
static const char *cpu_model(const struct vm *vm)
{
        return vm->status.has_running ? vm->status.running.cpu_model : vm->spec.shape.cpu_model;
}

/* --- the selector */

/* key In (value), once: several disks may be in one pool. */
static int in_value(struct arena *a, const char *key, const char *value, struct requirements *to)
{
        const char **v;

        if (!key)
                return -ENOMEM;
        for (size_t i = 0; i < to->n; i++)
                if (!strcmp(to->v[i].key, key) && !strcmp(to->v[i].values.v[0], value))
                        return 0;
        v = arena_array(a, 1, sizeof(*v));
        if (!v)
                return -ENOMEM;
        v[0] = value;
        to->v[to->n++] = (struct requirement){
                .key = key, .op = OP_IN, .op_text = "In", .values = {.v = v, .n = 1}};
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
        bool running;
        char *message;
        size_t len;
};

/* Appends; what does not fit is cut, and ends with "...". */
static void say(struct judge *j, const char *fmt, ...) printf_like(2, 3);

static void say(struct judge *j, const char *fmt, ...)
{
        size_t room = PLACEMENT_MESSAGE_MAX - j->len;
        va_list ap;
        int n;

        if (!j->message)
                return;
        va_start(ap, fmt);
        n = vsnprintf(j->message + j->len, room, fmt, ap);
        va_end(ap);
        if (n < 0)
                return;
        if ((size_t)n < room) {
                j->len += (size_t)n;
                return;
        }
        j->len = PLACEMENT_MESSAGE_MAX - 1;
        memcpy(j->message + j->len - 3, "...", 4);
}

#define refuse(j, ...) (say(j, __VA_ARGS__), false)

static void say_label(struct judge *j, const char *key)
{
        const char *have = kvs_get(&j->node->meta.labels, key);

        if (have)
                say(j, "label %s is \"%s\"", key, have);
        else
                say(j, "has no label %s", key);
}

static bool node_name(struct judge *j)
{
        const char *want = j->vm->spec.placement.node_name;

        return !*want || !strcmp(want, j->node->meta.name) ||
               refuse(j, "spec.nodeName wants %s", want);
}

static bool node_selector(struct judge *j)
{
        const struct kvs *want = &j->vm->spec.placement.node_selector;

        for (size_t i = 0; i < want->n; i++) {
                const char *have = kvs_get(&j->node->meta.labels, want->v[i].key);

                if (have && !strcmp(have, want->v[i].value))
                        continue;
                say_label(j, want->v[i].key);
                return refuse(j, ", spec.nodeSelector wants \"%s\"", want->v[i].value);
        }
        return true;
}

/* --- required node affinity: of several terms the one that fails least is told */

static bool expr_holds(const struct judge *j, const struct requirement *r)
{
        return requirement_matches(r, kvs_get(&j->node->meta.labels, r->key));
}

static size_t failing(const struct judge *j, const struct selector_term *t,
                      const struct requirement **first, bool *field)
{
        size_t n = 0;

        for (size_t i = 0; i < t->exprs.n; i++)
                if (!expr_holds(j, &t->exprs.v[i]) && !n++) {
                        *first = &t->exprs.v[i];
                        *field = false;
                }
        for (size_t i = 0; i < t->fields.n; i++)
                if (!field_matches(&t->fields.v[i], j->node->meta.name) && !n++) {
                        *first = &t->fields.v[i];
                        *field = true;
                }
        return n;
}

static void say_values(struct judge *j, const struct strs *values)
{
        for (size_t i = 0; i < values->n; i++)
                say(j, "%s\"%s\"", i ? ", " : "", values->v[i]);
}

static void say_wish(struct judge *j, const struct requirement *r)
{
        static const char *const words[] = {
                [OP_IN] = " one of ",    [OP_NOT_IN] = " none of ",     [OP_EXISTS] = " it",
                [OP_GT] = " more than ", [OP_DOES_NOT_EXIST] = " none", [OP_LT] = " less than ",
        };

        if ((size_t)r->op >= countof(words)) {
                say(j, " \"%s\", which is no operator", r->op_text);
                return;
        }
        say(j, "%s", r->op == OP_IN && r->values.n == 1 ? " " : words[r->op]);
        say_values(j, &r->values);
}

static bool node_affinity(struct judge *j)
{
        const struct placement *p = &j->vm->spec.placement;
        const struct requirement *nearest = NULL;
        bool nearest_field = false;
        size_t least = SIZE_MAX;

        if (node_selector_matches(&p->required, p->has_required, &j->node->meta.labels,
                                  j->node->meta.name))
                return true;
        for (size_t i = 0; i < p->required.n; i++) {
                const struct requirement *first = NULL;
                bool field = false;
                size_t n = failing(j, &p->required.v[i], &first, &field);

                if (!n || n >= least) /* none fails in a term without any, which matches nothing */
                        continue;
                least = n;
                nearest = first;
                nearest_field = field;
        }
        if (!nearest)
                return refuse(j, "spec.affinity.nodeAffinity has no term that matches any node");
        if (nearest_field)
                say(j, "the node's name is \"%s\"", j->node->meta.name);
        else
                say_label(j, nearest->key);
        say(j, ", spec.affinity.nodeAffinity wants");
        say_wish(j, nearest);
        if (p->required.n > 1)
                say(j, " (the nearest of %zu terms)", p->required.n);
        return false;
}

/* --- what the node must be able to do */

static bool is_true(const struct judge *j, const char *label)
{
        const char *have = kvs_get(&j->node->meta.labels, label);

        return have && !strcmp(have, TRUE_LABEL);
}

static bool hypervisor(struct judge *j)
{
        return is_true(j, DROVER_HYPERVISOR_LABEL) ||
               refuse(j, "is no hypervisor (label %s is not \"true\")", DROVER_HYPERVISOR_LABEL);
}

static bool has_label(const struct judge *j, const char *prefix, const char *name)
{
        const struct kvs *labels = &j->node->meta.labels;
        size_t len = strlen(prefix);

        for (size_t i = 0; i < labels->n; i++)
                if (!strncmp(labels->v[i].key, prefix, len) &&
                    !strcmp(labels->v[i].key + len, name))
                        return !strcmp(labels->v[i].value, TRUE_LABEL);
        return false;
}

static bool cpu(struct judge *j)
{
        const char *model = cpu_model(j->vm);

        return !*model || has_label(j, DROVER_CPU_LABEL_PREFIX, model) ||
               refuse(j, "cannot run CPU model %s", model);
}

static bool pools(struct judge *j)
{
        for (size_t i = 0; i < j->vm->spec.ndisks; i++) {
                const struct vm_disk *d = &j->vm->spec.disks[i];

                if (d->kind != DISK_PVC && !has_label(j, DROVER_POOL_LABEL_PREFIX, d->pool))
                        return refuse(j, "has no storage pool %s, which disk %s is in", d->pool,
                                      d->name);
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

static bool tolerated(const struct vm *vm, const struct taint *taint)
{
        const struct tolerations *all = &vm->spec.placement.tolerations;

        for (size_t i = 0; i < all->n; i++)
                if (toleration_tolerates(&all->v[i], taint))
                        return true;
        return false;
}

static bool taints(struct judge *j, const char *effect)
{
        for (size_t i = 0; i < j->node->ntaints; i++) {
                const struct taint *t = &j->node->taints[i];

                if (!strcmp(t->effect, effect) && !tolerated(j->vm, t))
                        return refuse(j, "taint %s%s%s:%s is not tolerated", t->key,
                                      *t->value ? "=" : "", t->value, effect);
        }
        return true;
}

/*
 * A node that Kubernetes cannot reach is no reason to move, whatever its taints: the guest may run
 * there unharmed, nobody could copy it away, and what is to be done with a lost node is decided by
 * fencing. It is no place for a guest that does not run there yet.
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
        return (j->running && lost(j->node)) || taints(j, "NoExecute");
}

static bool no_schedule(struct judge *j)
{
        return taints(j, "NoSchedule");
}

/* Also the taint that Kubernetes gives to such a node is this rule's, for it says more. */
static bool cordoned(struct judge *j)
{
        static const struct taint taint = {"node.kubernetes.io/unschedulable", "", "NoSchedule"};

        return !j->node->unschedulable || tolerated(j->vm, &taint) || refuse(j, "is cordoned");
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
        {PLACE_CORDONED, cordoned, false},
        {PLACE_NO_SCHEDULE, no_schedule, false},
};

enum placement_rule placement_check(const struct vm *vm, const struct node *node, bool running,
                                    char *message)
{
        struct judge j = {.vm = vm, .node = node, .running = running, .message = message};

        say(&j, "%s: ", node->meta.name);
        for (size_t i = 0; i < countof(rules); i++)
                if ((rules[i].binds_running || !running) && !rules[i].holds(&j))
                        return rules[i].rule;
        if (message)
                message[0] = 0;
        return PLACE_OK;
}

/* --- the hash: FNV-1a over the fields, each closed by a byte that cannot stand in one */

static uint64_t mix(uint64_t h, const char *s)
{
        return fnv64_byte(fnv64(h, s), 0xff);
}

/* Independent of the order of the members, which JSON does not promise. */
static uint64_t mix_map(uint64_t h, const struct kvs *m)
{
        uint64_t sum = 0;

        for (size_t i = 0; i < m->n; i++)
                sum += mix(mix(FNV64_START, m->v[i].key), m->v[i].value);
        return (h ^ sum) * FNV64_PRIME;
}

void placement_hash(const struct vm *vm, char out[17])
{
        const struct placement *p = &vm->spec.placement;
        uint64_t h = FNV64_START;

        h = mix(h, p->node_name);
        h = mix_map(h, &p->node_selector);
        h = mix(h, p->affinity_json);
        h = mix(h, p->tolerations_json);
        h = mix(h, p->spread_json);
        for (size_t i = 0; i < vm->spec.ndisks; i++)
                if (vm->spec.disks[i].kind == DISK_PVC) /* a pod that lacks it is of no use */
                        h = mix(h, vm->spec.disks[i].claim);
        snprintf(out, 17, "%016llx", (unsigned long long)h);
}
