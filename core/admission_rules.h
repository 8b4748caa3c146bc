/* What the files of admission share. */
#ifndef DROVER_CORE_ADMISSION_RULES_H
#define DROVER_CORE_ADMISSION_RULES_H

#include "core/admission.h"

struct admit {
        struct arena *a;
        const struct admission_facts *f;
        const struct vm *vm, *old;
        struct admission_report *out;
        enum admission_rule rule; /* being checked */
};

/* A text in the arena, cut at half a KiB. */
const char *admit_text(struct admit *c, const char *fmt, ...) printf_like(2, 3);
void admit_tell(struct admit *c, const char *path, const char *message);
void admit_warn(struct admit *c, const char *message);

/* core/syntax.c: names as Kubernetes writes them. */
bool is_dns_label(const char *s);
bool is_dns_subdomain(const char *s);
bool is_label_name(const char *s);  /* what may follow the slash of a label's key */
bool is_label_key(const char *s);   /* "zone", "topology.kubernetes.io/zone" */
bool is_label_value(const char *s); /* may be empty */
bool is_mac(const char *s);         /* six pairs of hexadecimal digits, no group address */
bool is_ssh_public_key(const char *s);

/* core/admission_place.c: the rules on placement. */
void admit_node_name(struct admit *c);
void admit_node_selector(struct admit *c);
void admit_affinity(struct admit *c);
void admit_pod_affinity(struct admit *c);
void admit_tolerations(struct admit *c);
void admit_contradiction(struct admit *c);
void admit_priority_class(struct admit *c);

/* core/admission_change.c: the rules on what an update changes, and the warnings. */
void admit_disk_changes(struct admit *c);
void admit_warnings(struct admit *c);
const struct vm_disk *admit_old_disk(const struct admit *c, const char *name); /* or NULL */

#endif
