/*
 * What of a VM's placement the scheduler alone evaluates: nearness to other VMs, preferences,
 * spreading. Decoded where it is judged, which is at admission: everybody else hands it on as
 * written.
 */
#ifndef DROVER_CORE_WISHES_H
#define DROVER_CORE_WISHES_H

#include "core/affinity.h"

struct pod_term {
        bool has_selector;
        struct label_selector selector;
        const char *topology_key;
        struct strs namespaces;                   /* empty, and no selector of them: the VM's own */
        struct label_selector namespace_selector; /* on labels of namespaces; an empty one: all */
        struct strs match_keys, mismatch_keys;    /* matchLabelKeys, mismatchLabelKeys */
};
struct pod_preference {
        int64_t weight; /* 0 when not given */
        struct pod_term term;
};
/* podAffinity or podAntiAffinity. */
struct pod_wishes {
        struct pod_term *required;
        size_t nrequired;
        struct pod_preference *preferred;
        size_t npreferred;
};
struct node_preference {
        int64_t weight;
        struct selector_term term;
};
/* One of topologySpreadConstraints. Words as written, "" when absent. */
struct spread {
        int64_t max_skew;    /* 0 when not given */
        int64_t min_domains; /* 1 when not given */
        bool has_min_domains;
        const char *topology_key, *unsatisfiable, *affinity_policy, *taints_policy;
        bool has_selector;
        struct label_selector selector;
        struct strs match_keys;
};
struct wishes {
        struct arena *arena;
        struct node_preference *preferred;
        size_t npreferred;
        struct pod_wishes near, apart;
        struct spread *spread;
        size_t nspread;
};

#endif
