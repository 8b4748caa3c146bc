/*
 * kube-scheduler extender v1 wire types (k8s.io/kube-scheduler/extender/v1; Go field names on the
 * wire). Calls may bring hundreds of whole Nodes: their text is read in place, and what of it goes
 * back is copied as it came. The body must outlive the arguments decoded from it.
 */
#ifndef DROVER_API_EXTENDER_H
#define DROVER_API_EXTENDER_H

#include "api/codec.h"
#include "base/json_scan.h"

#define EXTENDER_NODES_MAX   (1 << 15) /* of a call */
#define EXTENDER_VICTIMS_MAX (1 << 16)

/* A node that a call asks about. */
struct extender_node {
        struct json_span text; /* its name (nodeCacheCapable) or the whole Node */
        struct json_span name;
};
struct extender_args {
        struct arena *arena;
        struct pod *pod;   /* its metadata, and no more; owned, own arena */
        bool has_names;    /* NodeNames given (nodeCacheCapable), else whole Nodes */
        struct strs names; /* in either case */
        const struct extender_node *nodes; /* names.n of them */
        struct buf memory;                 /* owned */
};
/*
 * Reads the body of filter and prioritize. -EINVAL with the field's path for what is no
 * ExtenderArgs, -E2BIG past max bytes or the bounds above, -ENOMEM.
 */
must_check int extender_args_decode(const char *body, size_t len, size_t max,
                                    struct extender_args *out, struct err *e);
void extender_args_free(struct extender_args *args);
/* The body is JSON and has members of a call: the scheduler has sent it. */
bool extender_call(const char *body, size_t len, size_t max);

struct extender_failure {
        size_t node; /* index into args->names */
        const char *message;
};
struct extender_filter_result {
        const size_t *fit; /* indices into args->names, ascending */
        size_t nfit;
        /* All are told as ones that preemption cannot help, see core/capacity.h. */
        const struct extender_failure *failures;
        size_t nfailures;
        const char *error; /* NULL when none; then the rest is ignored */
};
/* Appends the reply's JSON to b. */
must_check int extender_filter_encode(const struct extender_args *args,
                                      const struct extender_filter_result *r, struct buf *b);
#define EXTENDER_UNNAMED (-1) /* a score that goes unsaid: for the scheduler that is a 0 */
/* scores[i] (0-10, or EXTENDER_UNNAMED) of names[i]. */
must_check int extender_priorities_encode(const struct extender_args *args, const int *scores,
                                          struct buf *b);

/* --- preempt: which pods would have to go, for each node that might do */

struct extender_victim {
        struct json_span uid_text;
        const char *uid;
        bool handle; /* the call says that it stands for a VM; only whole Pods can */
};
struct extender_candidate {
        struct json_span name_text;
        const char *name;
        struct json_span violations; /* of disruption budgets: a number, or no text */
        const struct extender_victim *victims;
        size_t nvictims;
};
struct extender_preemption {
        struct arena *arena;
        struct pod *pod;              /* as in extender_args */
        struct extender_candidate *v; /* n of them */
        size_t n;
        struct buf candidates, victims; /* owned: the memory of the two lists */
};
/* NodeNameToMetaVictims (nodeCacheCapable) or NodeNameToVictims; otherwise as above. */
must_check int extender_preemption_decode(const char *body, size_t len, size_t max,
                                          struct extender_preemption *out, struct err *e);
void extender_preemption_free(struct extender_preemption *p);
/* Appends the reply: the candidates i for which keep[i], with all of their victims. */
must_check int extender_preemption_encode(const struct extender_preemption *p, const bool *keep,
                                          struct buf *b);

#endif
