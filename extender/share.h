/*
 * Lists of strings that many hosts have in common (CPU models, bridges), kept once. Not thread
 * safe.
 */
#ifndef DROVER_EXTENDER_SHARE_H
#define DROVER_EXTENDER_SHARE_H

#include "core/types.h"
#include "kube/table.h"

struct share {
        struct ktable table;
};
struct shared_strs; /* one reference */

struct share share_new(void);
/* All references must have been put. */
void share_free(struct share *s);

/* A reference to a list that equals `list`, in its order; NULL when out of memory. */
struct shared_strs *share_get(struct share *s, const struct strs *list);
const struct strs *shared_strs(const struct shared_strs *r);
/* NULL is fine. */
void share_put(struct share *s, struct shared_strs *r);

#endif
