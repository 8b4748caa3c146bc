/*
 * What an image and a snapshot have in common: an object for whose work the migrator appoints a
 * node, and of which it writes the status and holds the finalizer. Each write is a compare-and-swap
 * and is sent only while the Lease is ours.
 */
#ifndef DROVER_MIGRATOR_CHARGE_H
#define DROVER_MIGRATOR_CHARGE_H

#include "core/import.h"
#include "migrator/act.h"

struct charge {
        const struct actor *actor;
        const struct kube_resource *resource;
        struct kube_store *store; /* that the object is from, and what is written goes into */
        const struct meta *meta;  /* the object's */
        const char *kind, *finalizer;
};

/*
 * All hypervisors, as whoever chooses one for work on a pool looks at them: hosts->n in a, of which
 * the caller puts hosts back. -ENOMEM.
 */
must_check int charge_nodes(struct world *w, struct arena *a, struct kube_refs *hosts,
                            struct import_node **out);

/* All three: -EAGAIN when what was known is stale, or the Lease is lost. */

/* Adds the finalizer; and owner (NULL: none), with which the object goes from then on. */
must_check int charge_hold(const struct charge *c, const struct vm *owner, struct err *e);
must_check int charge_free(const struct charge *c, struct err *e);
/* What differs between the two statuses; NULL for either is taken for want of memory. */
must_check int charge_set(const struct charge *c, const struct json *was, const struct json *is,
                          struct err *e);

/* Records an event of the object; a failure is logged. */
void charge_tell(const struct charge *c, bool good, const char *reason, const char *note);

#endif
