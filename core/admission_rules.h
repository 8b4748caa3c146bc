/* What the files of admission share. */
#ifndef DROVER_CORE_ADMISSION_RULES_H
#define DROVER_CORE_ADMISSION_RULES_H

#include "core/admission.h"

#define REQUIRED  "requiredDuringSchedulingIgnoredDuringExecution"
#define PREFERRED "preferredDuringSchedulingIgnoredDuringExecution"
#define TERMS     "spec.affinity.nodeAffinity." REQUIRED ".nodeSelectorTerms"

#define NOT_A_KEY "\"%s\" is no key of a label like topology.kubernetes.io/zone"
#define NOT_A_VALUE                                                                                \
        "\"%s\" is no value of a label: at most 63 letters, digits, -, _ and ., beginning and "    \
        "ending with a letter or digit"

struct admit {
        struct arena *a;
        const struct admission_facts *f;
        const struct vm *vm, *old;
        const struct wishes *wishes;
        struct admission_report *out;
        enum admission_rule rule; /* being checked */
        size_t more_warnings;     /* than the report has room for */
};

/* Where in the object: its path is written when something is told, and only then. */
struct spot {
        const struct spot *up; /* NULL: name begins the path */
        const char *name;      /* of a member, or several with dots */
        enum { SPOT_MEMBER, SPOT_ELEMENT, SPOT_KEY } kind;
        size_t index;    /* SPOT_ELEMENT: of the list `name` */
        const char *key; /* SPOT_KEY: of the map `name` */
};
#define spot(up, name)             (&(const struct spot){(up), (name), SPOT_MEMBER, 0, NULL})
#define spot_at(up, name, i)       (&(const struct spot){(up), (name), SPOT_ELEMENT, (i), NULL})
#define spot_key(up, name, string) (&(const struct spot){(up), (name), SPOT_KEY, 0, (string)})

/*
 * core/admission_tell.c. What is wrong, in half a KiB at most; a path that is a constant.
 */
void admit_tell(struct admit *c, const char *path, const char *fmt, ...) printf_like(3, 4);
void admit_tell_at(struct admit *c, const struct spot *at, const char *fmt, ...) printf_like(3, 4);
void admit_warn(struct admit *c, const char *fmt, ...) printf_like(2, 3);
/* The last warning makes room for the number of those that there was none for. */
void admit_count_warnings(struct admit *c);
/* Tells when n is out of bounds. */
void admit_count(struct admit *c, const struct spot *at, size_t n, size_t most);
void admit_between(struct admit *c, const struct spot *at, int64_t v, int64_t min, int64_t max);
/* Tells when s is none of words, which end with NULL. */
void admit_one_of(struct admit *c, const struct spot *at, const char *s, const char *const *words);

/* core/syntax.c: names as Kubernetes writes them. */
bool is_dns_label(const char *s);
bool is_dns_subdomain(const char *s);
bool is_label_name(const char *s);  /* what may follow the slash of a label's key */
bool is_label_key(const char *s);   /* "zone", "topology.kubernetes.io/zone" */
bool is_label_value(const char *s); /* may be empty */
bool is_mac(const char *s);         /* six pairs of hexadecimal digits, no group address */
bool is_ssh_public_key(const char *s);

/* core/admission_selectors.c: what selectors are made of, wherever they stand. */
void admit_label_key(struct admit *c, const struct spot *at, const char *key);
void admit_labels(struct admit *c, const struct spot *up, const char *name, const struct kvs *m);
void admit_node_term(struct admit *c, const struct spot *at, const struct selector_term *t);
void admit_label_selector(struct admit *c, const struct spot *at, const struct label_selector *s);

/* core/admission_place.c: the rules on nodes. */
void admit_node_name(struct admit *c);
void admit_node_selector(struct admit *c);
void admit_affinity(struct admit *c);
void admit_preferred(struct admit *c);
void admit_tolerations(struct admit *c);
void admit_contradiction(struct admit *c);
void admit_priority_class(struct admit *c);

/* core/admission_pods.c: the rules on other VMs. */
void admit_pod_affinity(struct admit *c);
void admit_spread(struct admit *c);

/* core/admission_change.c: the rules on what an update changes, and what of it has to wait. */
void admit_disk_changes(struct admit *c);
void admit_claim_changes(struct admit *c);
const struct vm_disk *admit_old_disk(const struct admit *c, const char *name); /* or NULL */
void admit_warn_of_waiting(struct admit *c);

/* core/admission_warn.c: what is allowed, but not what one may think. */
void admit_warnings(struct admit *c);

#endif
