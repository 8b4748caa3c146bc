#include "core/affinity.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char *const op_names[] = {
        [OP_IN] = "In",         [OP_NOT_IN] = "NotIn",
        [OP_EXISTS] = "Exists", [OP_DOES_NOT_EXIST] = "DoesNotExist",
        [OP_GT] = "Gt",         [OP_LT] = "Lt",
};

enum selector_op selector_op_parse(const char *text)
{
        for (size_t i = 0; i < countof(op_names); i++)
                if (!strcmp(text, op_names[i]))
                        return (enum selector_op)i;
        return OP_BAD;
}

const char *selector_op_name(enum selector_op op)
{
        return (size_t)op < countof(op_names) ? op_names[op] : "";
}

/* As Go's strconv.ParseInt(s, 10, 64), by which the scheduler reads the values of Gt and Lt. */
static bool whole_number(const char *s, int64_t *out)
{
        char *end;
        long long v;

        if (isspace((unsigned char)*s) || !*s)
                return false;
        errno = 0;
        v = strtoll(s, &end, 10);
        if (errno || *end)
                return false;
        *out = v;
        return true;
}

static bool compares(const struct requirement *r, const char *value)
{
        int64_t have, want;

        if (!value || r->values.n != 1 || !whole_number(value, &have) ||
            !whole_number(r->values.v[0], &want))
                return false;
        return r->op == OP_GT ? have > want : have < want;
}

bool requirement_matches(const struct requirement *r, const char *value)
{
        switch (r->op) {
        case OP_IN:
                return value && strs_has(&r->values, value);
        case OP_NOT_IN:
                return r->values.n && (!value || !strs_has(&r->values, value));
        case OP_EXISTS:
                return !r->values.n && value;
        case OP_DOES_NOT_EXIST:
                return !r->values.n && !value;
        case OP_GT:
        case OP_LT:
                return compares(r, value);
        default:
                return false;
        }
}

bool field_matches(const struct requirement *r, const char *name)
{
        return !strcmp(r->key, "metadata.name") && (r->op == OP_IN || r->op == OP_NOT_IN) &&
               r->values.n == 1 && requirement_matches(r, name);
}

static bool term_matches(const struct selector_term *t, const struct kvs *labels, const char *name)
{
        if (!t->exprs.n && !t->fields.n)
                return false;
        for (size_t i = 0; i < t->exprs.n; i++)
                if (!requirement_matches(&t->exprs.v[i], kvs_get(labels, t->exprs.v[i].key)))
                        return false;
        for (size_t i = 0; i < t->fields.n; i++)
                if (!field_matches(&t->fields.v[i], name))
                        return false;
        return true;
}

bool node_selector_matches(const struct node_selector *s, bool present, const struct kvs *labels,
                           const char *name)
{
        if (!present)
                return true;
        for (size_t i = 0; i < s->n; i++)
                if (term_matches(&s->v[i], labels, name))
                        return true;
        return false;
}

static bool same_requirement(const struct requirement *x, const struct requirement *y)
{
        if (x->op != y->op || strcmp(x->key, y->key) || x->values.n != y->values.n)
                return false;
        for (size_t i = 0; i < x->values.n; i++)
                if (strcmp(x->values.v[i], y->values.v[i]))
                        return false;
        return true;
}

/* Both lists behind each other, a requirement that stands in both once. */
static int join(struct arena *a, const struct requirements *x, const struct requirements *y,
                struct requirements *out)
{
        size_t n = x->n;

        out->v = arena_array(a, x->n + y->n, sizeof(*out->v));
        if (!out->v)
                return -ENOMEM;
        if (x->n)
                memcpy(out->v, x->v, x->n * sizeof(*x->v));
        for (size_t i = 0; i < y->n; i++) {
                size_t k = 0;

                while (k < n && !same_requirement(&out->v[k], &y->v[i]))
                        k++;
                if (k == n)
                        out->v[n++] = y->v[i];
        }
        out->n = n;
        return 0;
}

static bool empty(const struct selector_term *t)
{
        return !t->exprs.n && !t->fields.n;
}

/* A term without requirements matches nothing, so the pair of it and another is such a term again.
 */
static int join_terms(struct arena *a, const struct selector_term *x, const struct selector_term *y,
                      struct selector_term *out)
{
        int rc;

        if (empty(x) || empty(y)) {
                *out = (struct selector_term){0};
                return 0;
        }
        rc = join(a, &x->exprs, &y->exprs, &out->exprs);
        return rc ? rc : join(a, &x->fields, &y->fields, &out->fields);
}

int node_selector_and(struct arena *a, const struct node_selector *x, const struct node_selector *y,
                      struct node_selector **out)
{
        struct node_selector *s;

        if (!x && !y) {
                *out = NULL;
                return 0;
        }
        s = arena_alloc(a, sizeof(*s));
        if (!s)
                return -ENOMEM;
        if (!x || !y) {
                *s = x ? *x : *y;
                *out = s;
                return 0;
        }
        if (x->n && y->n > SELECTOR_TERMS_MAX / x->n)
                return -E2BIG;
        s->v = arena_array(a, x->n * y->n, sizeof(*s->v));
        if (!s->v)
                return -ENOMEM;
        for (size_t i = 0; i < x->n; i++)
                for (size_t k = 0; k < y->n; k++) {
                        int rc = join_terms(a, &x->v[i], &y->v[k], &s->v[s->n++]);

                        if (rc)
                                return rc;
                }
        *out = s;
        return 0;
}

static bool contains(const struct requirements *x, const struct requirements *y)
{
        for (size_t i = 0; i < y->n; i++) {
                size_t k = 0;

                while (k < x->n && !same_requirement(&x->v[k], &y->v[i]))
                        k++;
                if (k == x->n)
                        return false;
        }
        return true;
}

bool node_selector_implies(const struct node_selector *x, const struct node_selector *y)
{
        for (size_t i = 0; i < x->n; i++) {
                const struct selector_term *t = &x->v[i];
                size_t k = 0;

                if (empty(t))
                        continue;
                while (k < y->n && (empty(&y->v[k]) || !contains(&t->exprs, &y->v[k].exprs) ||
                                    !contains(&t->fields, &y->v[k].fields)))
                        k++;
                if (k == y->n)
                        return false;
        }
        return true;
}
