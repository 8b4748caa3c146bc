/* kube-scheduler extender v1 wire types (k8s.io/kube-scheduler/extender/v1; Go field names on the
 * wire). */
#ifndef DROVER_API_EXTENDER_H
#define DROVER_API_EXTENDER_H

#include "api/codec.h"

struct extender_args {
        struct arena *arena;
        struct pod *pod;   /* owned, own arena */
        bool has_names;    /* NodeNames given (nodeCacheCapable), else full nodes */
        struct strs names; /* of the nodes in either case */
        const struct json
                *nodes;    /* NodeList.items, borrowed from the body's tree; NULL with names */
        struct json *tree; /* owned */
};
/* Parses the body. */
must_check int extender_args_decode(const char *body, size_t len, size_t max,
                                    struct extender_args *out, struct err *e);
void extender_args_free(struct extender_args *args);

struct extender_failure {
        const char *node, *message;
        bool unresolvable; /* preemption cannot help */
};
struct extender_filter_result {
        const size_t *fit; /* indices into args->names, ascending */
        size_t nfit;
        const struct extender_failure *failures;
        size_t nfailures;
        const char *error; /* NULL when none; then the rest is ignored */
};
/* Appends the reply's JSON to b. */
must_check int extender_filter_encode(const struct extender_args *args,
                                      const struct extender_filter_result *r, struct buf *b);
/* scores[i] (0-10) of names[i]. */
must_check int extender_priorities_encode(const struct extender_args *args, const int *scores,
                                          struct buf *b);

#endif
