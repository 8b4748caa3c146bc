/*
 * Node selectors as kube-scheduler evaluates them (k8s.io/component-helpers nodeaffinity):
 * terms are ORed, the expressions and fields of a term ANDed; a term without any matches nothing;
 * NotIn and DoesNotExist match a node that lacks the label; Gt and Lt compare integers. What is
 * malformed (an unknown operator, In without values, Exists with some) matches nothing.
 */
#ifndef DROVER_CORE_AFFINITY_H
#define DROVER_CORE_AFFINITY_H

#include "base/arena.h"
#include "core/types.h"

enum selector_op { OP_IN, OP_NOT_IN, OP_EXISTS, OP_DOES_NOT_EXIST, OP_GT, OP_LT, OP_BAD };

struct requirement {
        const char *key;
        enum selector_op op; /* OP_BAD: op_text is what was written */
        const char *op_text;
        struct strs values;
};
struct requirements {
        struct requirement *v;
        size_t n;
};
struct selector_term {
        struct requirements exprs;  /* on labels */
        struct requirements fields; /* on metadata.name */
};
struct node_selector {
        struct selector_term *v;
        size_t n;
};
#define SELECTOR_TERMS_MAX 256 /* of a product; Kubernetes objects stay far below */

enum selector_op selector_op_parse(const char *text);
const char *selector_op_name(enum selector_op op);

bool requirement_matches(const struct requirement *r, const char *value_or_null);
/* Of matchFields: metadata.name In or NotIn one value. */
bool field_matches(const struct requirement *r, const char *node_name);
/* labels and name are the node's. present == false (no required affinity at all) matches all. */
bool node_selector_matches(const struct node_selector *s, bool present, const struct kvs *labels,
                           const char *name);
/*
 * The conjunction of two selectors, each possibly absent (NULL): the cross product of their terms,
 * of which those that contradict themselves stay (they match nothing and do no harm). *out is NULL
 * when both are. -ENOMEM, or -E2BIG past SELECTOR_TERMS_MAX terms.
 */
int node_selector_and(struct arena *a, const struct node_selector *x, const struct node_selector *y,
                      struct node_selector **out);

/*
 * Does x, read as text, contain y: has every term of x all requirements of some term of y? Then x
 * matches only nodes that y matches, and node_selector_and(x, y) would add nothing to it.
 */
bool node_selector_implies(const struct node_selector *x, const struct node_selector *y);

/*
 * metav1.LabelSelector with its own operators In, NotIn, Exists, DoesNotExist: checked at admission
 * and written to the pods, among which the scheduler selects.
 */
struct label_selector {
        struct kvs match_labels;
        struct requirements exprs;
};

#endif
