#include "core/admission_rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HOSTNAME "kubernetes.io/hostname"
#define REQUIRED "requiredDuringSchedulingIgnoredDuringExecution"
#define TERMS    "spec.affinity.nodeAffinity." REQUIRED ".nodeSelectorTerms"

#define NOT_A_KEY "\"%s\" is no key of a label like topology.kubernetes.io/zone"
#define NOT_A_VALUE                                                                                \
        "\"%s\" is no value of a label: at most 63 letters, digits, -, _ and ., beginning and "    \
        "ending with a letter or digit"

void admit_node_name(struct admit *c)
{
        const char *name = c->vm->spec.placement.node_name;

        if (*name && !is_dns_subdomain(name))
                admit_tell(c, "spec.nodeName", admit_text(c, "\"%s\" is no name of a node", name));
}

static void check_labels(struct admit *c, const char *path, const struct kvs *m)
{
        for (size_t i = 0; i < m->n; i++) {
                if (!is_label_key(m->v[i].key))
                        admit_tell(c, path, admit_text(c, NOT_A_KEY, m->v[i].key));
                if (!is_label_value(m->v[i].value))
                        admit_tell(c, admit_text(c, "%s[%s]", path, m->v[i].key),
                                   admit_text(c, NOT_A_VALUE, m->v[i].value));
        }
}

void admit_node_selector(struct admit *c)
{
        check_labels(c, "spec.nodeSelector", &c->vm->spec.placement.node_selector);
}

/* --- requirements */

static bool whole_number(const char *s)
{
        char *end;

        if (!*s || isspace((unsigned char)*s))
                return false;
        errno = 0;
        strtoll(s, &end, 10);
        return !errno && !*end;
}

static void check_values(struct admit *c, const char *path, const struct requirement *r)
{
        for (size_t i = 0; i < r->values.n; i++)
                if (!is_label_value(r->values.v[i]))
                        admit_tell(c, admit_text(c, "%s.values[%zu]", path, i),
                                   admit_text(c, NOT_A_VALUE, r->values.v[i]));
}

/* most: the last operator that may stand here. */
static void check_operator(struct admit *c, const char *path, const struct requirement *r,
                           enum selector_op most)
{
        size_t n = r->values.n;
        const char *values = admit_text(c, "%s.values", path);

        if (r->op > most)
                admit_tell(c, admit_text(c, "%s.operator", path),
                           admit_text(c, "\"%s\" is none of In, NotIn, Exists, DoesNotExist%s",
                                      r->op_text, most == OP_LT ? ", Gt, Lt" : ""));
        else if ((r->op == OP_IN || r->op == OP_NOT_IN) && !n)
                admit_tell(c, values, admit_text(c, "operator %s needs values", r->op_text));
        else if ((r->op == OP_EXISTS || r->op == OP_DOES_NOT_EXIST) && n)
                admit_tell(c, values, admit_text(c, "operator %s takes no values", r->op_text));
        else if (r->op >= OP_GT && (n != 1 || !whole_number(r->values.v[0])))
                admit_tell(c, values,
                           admit_text(c, "operator %s needs one whole number, not \"%s\"",
                                      r->op_text, n ? r->values.v[0] : ""));
}

static void check_expression(struct admit *c, const char *path, const struct requirement *r,
                             enum selector_op most)
{
        if (!is_label_key(r->key))
                admit_tell(c, admit_text(c, "%s.key", path), admit_text(c, NOT_A_KEY, r->key));
        check_operator(c, path, r, most);
        if (r->op < OP_GT)
                check_values(c, path, r);
}

static void check_field(struct admit *c, const char *path, const struct requirement *r)
{
        if (strcmp(r->key, "metadata.name") != 0)
                admit_tell(c, admit_text(c, "%s.key", path),
                           admit_text(c, "\"%s\": of a node only metadata.name can be matched",
                                      r->key));
        if (r->op != OP_IN && r->op != OP_NOT_IN)
                admit_tell(c, admit_text(c, "%s.operator", path),
                           admit_text(c, "\"%s\" is neither In nor NotIn", r->op_text));
        else if (r->values.n != 1)
                admit_tell(c, admit_text(c, "%s.values", path),
                           admit_text(c, "operator %s of a field needs exactly one value",
                                      r->op_text));
}

void admit_affinity(struct admit *c)
{
        const struct placement *p = &c->vm->spec.placement;

        if (p->has_required && !p->required.n)
                admit_tell(c, TERMS, "must have at least one term: without any no node matches");
        for (size_t i = 0; i < p->required.n; i++) {
                const struct selector_term *t = &p->required.v[i];

                for (size_t k = 0; k < t->exprs.n; k++)
                        check_expression(c,
                                         admit_text(c, TERMS "[%zu].matchExpressions[%zu]", i, k),
                                         &t->exprs.v[k], OP_LT);
                for (size_t k = 0; k < t->fields.n; k++)
                        check_field(c, admit_text(c, TERMS "[%zu].matchFields[%zu]", i, k),
                                    &t->fields.v[k]);
        }
}

/* --- (anti-)affinity to other VMs, the required terms */

static void check_label_selector(struct admit *c, const char *path, const struct label_selector *s)
{
        check_labels(c, admit_text(c, "%s.matchLabels", path), &s->match_labels);
        for (size_t i = 0; i < s->exprs.n; i++)
                check_expression(c, admit_text(c, "%s.matchExpressions[%zu]", path, i),
                                 &s->exprs.v[i], OP_DOES_NOT_EXIST);
}

static void check_pod_terms(struct admit *c, const char *kind, const struct pod_terms *all)
{
        for (size_t i = 0; i < all->n; i++) {
                const struct pod_term *t = &all->v[i];
                const char *path = admit_text(c, "spec.affinity.%s." REQUIRED "[%zu]", kind, i);

                if (!is_label_key(t->topology_key))
                        admit_tell(c, admit_text(c, "%s.topologyKey", path),
                                   admit_text(c, NOT_A_KEY, t->topology_key));
                check_label_selector(c, admit_text(c, "%s.labelSelector", path), &t->selector);
                check_label_selector(c, admit_text(c, "%s.namespaceSelector", path),
                                     &t->namespace_selector);
        }
}

void admit_pod_affinity(struct admit *c)
{
        check_pod_terms(c, "podAffinity", &c->vm->spec.placement.pod_affinity);
        check_pod_terms(c, "podAntiAffinity", &c->vm->spec.placement.pod_anti_affinity);
}

/* --- tolerations */

static bool one_of(const char *s, const char *const *words)
{
        for (; *words; words++)
                if (!strcmp(s, *words))
                        return true;
        return false;
}

static void check_toleration(struct admit *c, const char *path, const struct toleration *t)
{
        static const char *const ops[] = {"", "Equal", "Exists", NULL};
        static const char *const effects[] = {"", "NoSchedule", "PreferNoSchedule", "NoExecute",
                                              NULL};
        bool exists = !strcmp(t->op, "Exists");

        if (*t->key && !is_label_key(t->key))
                admit_tell(c, admit_text(c, "%s.key", path), admit_text(c, NOT_A_KEY, t->key));
        if (!one_of(t->op, ops))
                admit_tell(c, admit_text(c, "%s.operator", path),
                           admit_text(c, "\"%s\" is neither Equal nor Exists", t->op));
        else if (!*t->key && !exists)
                admit_tell(c, admit_text(c, "%s.operator", path),
                           "must be Exists when key is empty, which stands for all taints");
        if (exists && *t->value)
                admit_tell(c, admit_text(c, "%s.value", path),
                           "must be empty when operator is Exists");
        else if (!is_label_value(t->value))
                admit_tell(c, admit_text(c, "%s.value", path),
                           admit_text(c, NOT_A_VALUE, t->value));
        if (!one_of(t->effect, effects))
                admit_tell(c, admit_text(c, "%s.effect", path),
                           admit_text(c,
                                      "\"%s\" is none of NoSchedule, PreferNoSchedule, NoExecute",
                                      t->effect));
        else if (t->seconds != -1 && strcmp(t->effect, "NoExecute") != 0)
                admit_tell(c, admit_text(c, "%s.effect", path),
                           "must be NoExecute when tolerationSeconds is given");
}

void admit_tolerations(struct admit *c)
{
        const struct tolerations *all = &c->vm->spec.placement.tolerations;

        for (size_t i = 0; i < all->n; i++)
                check_toleration(c, admit_text(c, "spec.tolerations[%zu]", i), &all->v[i]);
}

/* --- nodeName against the rest */

/* What can be judged of a node of which only the name is known: its fields and its host-name label.
 */
static bool term_allows(const struct selector_term *t, const char *node)
{
        for (size_t i = 0; i < t->fields.n; i++)
                if (!field_matches(&t->fields.v[i], node))
                        return false;
        for (size_t i = 0; i < t->exprs.n; i++)
                if (!strcmp(t->exprs.v[i].key, HOSTNAME) &&
                    !requirement_matches(&t->exprs.v[i], node))
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
        if (host && strcmp(host, p->node_name) != 0)
                admit_tell(c, "spec.nodeSelector",
                           admit_text(c, "%s: %s contradicts spec.nodeName: %s", HOSTNAME, host,
                                      p->node_name));
        while (i < p->required.n && !term_allows(&p->required.v[i], p->node_name))
                i++;
        if (p->required.n && i == p->required.n && !told(c, ADMIT_AFFINITY))
                admit_tell(c, TERMS,
                           admit_text(c, "every term contradicts spec.nodeName: %s", p->node_name));
}

void admit_priority_class(struct admit *c)
{
        const char *name = c->vm->spec.placement.priority_class;

        if (*name && !is_dns_subdomain(name))
                admit_tell(c, "spec.priorityClassName",
                           admit_text(c, "\"%s\" is no name of a PriorityClass", name));
}
