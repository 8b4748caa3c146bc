/* Requirements on labels and fields, as Kubernetes asks them of a pod. */
#include "core/admission_rules.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

void admit_label_key(struct admit *c, const struct spot *at, const char *key)
{
        if (!is_label_key(key))
                admit_tell_at(c, at, NOT_A_KEY, key);
}

void admit_labels(struct admit *c, const struct spot *up, const char *name, const struct kvs *m)
{
        for (size_t i = 0; i < m->n; i++) {
                admit_label_key(c, spot(up, name), m->v[i].key);
                if (!is_label_value(m->v[i].value))
                        admit_tell_at(c, spot_key(up, name, m->v[i].key), NOT_A_VALUE,
                                      m->v[i].value);
        }
}

static bool whole_number(const char *s)
{
        char *end;

        if (!*s || isspace((unsigned char)*s))
                return false;
        errno = 0;
        strtoll(s, &end, 10);
        return !errno && !*end;
}

/* most: the last operator that may stand here. */
static void check_operator(struct admit *c, const struct spot *at, const struct requirement *r,
                           enum selector_op most)
{
        const struct spot *values = spot(at, "values");
        size_t n = r->values.n;

        if (r->op > most)
                admit_tell_at(c, spot(at, "operator"),
                              "\"%s\" is none of In, NotIn, Exists, DoesNotExist%s", r->op_text,
                              most == OP_LT ? ", Gt, Lt" : "");
        else if ((r->op == OP_IN || r->op == OP_NOT_IN) && !n)
                admit_tell_at(c, values, "operator %s needs values", r->op_text);
        else if ((r->op == OP_EXISTS || r->op == OP_DOES_NOT_EXIST) && n)
                admit_tell_at(c, values, "operator %s takes no values", r->op_text);
        else if (r->op >= OP_GT && (n != 1 || !whole_number(r->values.v[0])))
                admit_tell_at(c, values, "operator %s needs one whole number, not \"%s\"",
                              r->op_text, n ? r->values.v[0] : "");
}

static void check_expression(struct admit *c, const struct spot *at, const struct requirement *r,
                             enum selector_op most)
{
        admit_label_key(c, spot(at, "key"), r->key);
        check_operator(c, at, r, most);
        admit_count(c, spot(at, "values"), r->values.n, ADMISSION_VALUES_MAX);
        for (size_t i = 0; r->op < OP_GT && i < r->values.n; i++)
                if (!is_label_value(r->values.v[i]))
                        admit_tell_at(c, spot_at(at, "values", i), NOT_A_VALUE, r->values.v[i]);
}

static void check_field(struct admit *c, const struct spot *at, const struct requirement *r)
{
        if (strcmp(r->key, "metadata.name") != 0)
                admit_tell_at(c, spot(at, "key"),
                              "\"%s\": of a node only metadata.name can be matched", r->key);
        if (r->op != OP_IN && r->op != OP_NOT_IN)
                admit_tell_at(c, spot(at, "operator"), "\"%s\" is neither In nor NotIn",
                              r->op_text);
        else if (r->values.n != 1)
                admit_tell_at(c, spot(at, "values"),
                              "operator %s of a field needs exactly one value", r->op_text);
        else if (!is_dns_subdomain(r->values.v[0]))
                admit_tell_at(c, spot_at(at, "values", 0), "\"%s\" is no name of a node",
                              r->values.v[0]);
}

void admit_node_term(struct admit *c, const struct spot *at, const struct selector_term *t)
{
        admit_count(c, spot(at, "matchExpressions"), t->exprs.n, ADMISSION_TERMS_MAX);
        admit_count(c, spot(at, "matchFields"), t->fields.n, ADMISSION_FIELDS_MAX);
        for (size_t i = 0; i < t->exprs.n; i++)
                check_expression(c, spot_at(at, "matchExpressions", i), &t->exprs.v[i], OP_LT);
        for (size_t i = 0; i < t->fields.n; i++)
                check_field(c, spot_at(at, "matchFields", i), &t->fields.v[i]);
}

void admit_label_selector(struct admit *c, const struct spot *at, const struct label_selector *s)
{
        admit_count(c, spot(at, "matchLabels"), s->match_labels.n, ADMISSION_LIST_MAX);
        admit_count(c, spot(at, "matchExpressions"), s->exprs.n, ADMISSION_POD_TERMS_MAX);
        admit_labels(c, at, "matchLabels", &s->match_labels);
        for (size_t i = 0; i < s->exprs.n; i++)
                check_expression(c, spot_at(at, "matchExpressions", i), &s->exprs.v[i],
                                 OP_DOES_NOT_EXIST);
}
