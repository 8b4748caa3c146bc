#include "core/admission_rules.h"

#include <string.h>

#define HOSTNAME "kubernetes.io/hostname"

void admit_node_name(struct admit *c)
{
        const char *name = c->vm->spec.placement.node_name;

        if (*name && !is_dns_subdomain(name))
                admit_tell(c, "spec.nodeName", "\"%s\" is no name of a node", name);
}

void admit_node_selector(struct admit *c)
{
        admit_labels(c, NULL, "spec.nodeSelector", &c->vm->spec.placement.node_selector);
}

/* --- node affinity */

void admit_affinity(struct admit *c)
{
        const struct placement *p = &c->vm->spec.placement;

        if (p->has_required && !p->required.n)
                admit_tell(c, TERMS, "must have at least one term: without any no node matches");
        for (size_t i = 0; i < p->required.n; i++)
                admit_node_term(c, spot_at(NULL, TERMS, i), &p->required.v[i]);
}

void admit_preferred(struct admit *c)
{
        const struct spot *up = spot(NULL, "spec.affinity.nodeAffinity");

        for (size_t i = 0; i < c->wishes->npreferred; i++) {
                const struct node_preference *p = &c->wishes->preferred[i];
                const struct spot *at = spot_at(up, PREFERRED, i);

                admit_between(c, spot(at, "weight"), p->weight, 1, 100);
                admit_node_term(c, spot(at, "preference"), &p->term);
        }
}

/* --- tolerations */

static void check_toleration(struct admit *c, const struct spot *at, const struct toleration *t)
{
        static const char *const ops[] = {"", "Equal", "Exists", NULL};
        static const char *const effects[] = {"", "NoSchedule", "PreferNoSchedule", "NoExecute",
                                              NULL};
        bool exists = !strcmp(t->op, "Exists");

        if (*t->key)
                admit_label_key(c, spot(at, "key"), t->key);
        admit_one_of(c, spot(at, "operator"), t->op, ops);
        if (!*t->key && (!*t->op || !strcmp(t->op, "Equal")))
                admit_tell_at(c, spot(at, "operator"),
                              "must be Exists when key is empty, which stands for all taints");
        if (exists && *t->value)
                admit_tell_at(c, spot(at, "value"), "must be empty when operator is Exists");
        else if (!is_label_value(t->value))
                admit_tell_at(c, spot(at, "value"), NOT_A_VALUE, t->value);
        admit_one_of(c, spot(at, "effect"), t->effect, effects);
        if (t->seconds != -1 && strcmp(t->effect, "NoExecute") != 0)
                admit_tell_at(c, spot(at, "effect"),
                              "must be NoExecute when tolerationSeconds is given");
}

void admit_tolerations(struct admit *c)
{
        const struct tolerations *all = &c->vm->spec.placement.tolerations;

        for (size_t i = 0; i < all->n; i++)
                check_toleration(c, spot_at(NULL, "spec.tolerations", i), &all->v[i]);
}

/* --- nodeName against the rest */

/* The node that spec.nodeName names, as far as it matters: its host-name label may be another. */
struct named {
        const char *name;
        const char *host; /* NULL: it has no such label */
};

static bool is_named(void *arg, const struct node *node)
{
        struct named *n = arg;

        if (strcmp(node->meta.name, n->name) != 0)
                return true;
        n->host = kvs_get(&node->meta.labels, HOSTNAME);
        return false;
}

/* Of a node that is not known the label is what kubelets make it: the name. */
static struct named find_named(const struct admit *c)
{
        const char *name = c->vm->spec.placement.node_name;
        struct named n = {name, name};

        if (c->f->nodes)
                (void)c->f->nodes(c->f->ctx, is_named, &n);
        return n;
}

/* What can be judged by that: the fields and the host-name label. */
static bool term_allows(const struct selector_term *t, const struct named *node)
{
        for (size_t i = 0; i < t->fields.n; i++)
                if (!field_matches(&t->fields.v[i], node->name))
                        return false;
        for (size_t i = 0; i < t->exprs.n; i++)
                if (!strcmp(t->exprs.v[i].key, HOSTNAME) &&
                    !requirement_matches(&t->exprs.v[i], node->host))
                        return false;
        return true;
}

static bool told(const struct admit *c, enum admission_rule rule)
{
        for (size_t i = 0; i < c->out->n; i++)
                if (c->out->v[i].rule == rule)
                        return true;
        return false;
}

void admit_contradiction(struct admit *c)
{
        const struct placement *p = &c->vm->spec.placement;
        const char *host = kvs_get(&p->node_selector, HOSTNAME);
        size_t i = 0;

        if (!*p->node_name)
                return;
        const struct named node = find_named(c);
        if (host && (!node.host || strcmp(host, node.host) != 0))
                admit_tell(c, "spec.nodeSelector", "%s: %s contradicts spec.nodeName: %s", HOSTNAME,
                           host, p->node_name);
        while (i < p->required.n && !term_allows(&p->required.v[i], &node))
                i++;
        if (p->required.n && i == p->required.n && !told(c, ADMIT_AFFINITY))
                admit_tell(c, TERMS, "every term contradicts spec.nodeName: %s", p->node_name);
}

void admit_priority_class(struct admit *c)
{
        const char *name = c->vm->spec.placement.priority_class;

        if (*name && !is_dns_subdomain(name))
                admit_tell(c, "spec.priorityClassName", "\"%s\" is no name of a PriorityClass",
                           name);
}
