/*
 * Sums of what guests take of a host, kept by adding and taking away. Amounts wrap instead of
 * stopping at a bound, so that what was added can be taken away again.
 */
#ifndef DROVER_CORE_LOAD_H
#define DROVER_CORE_LOAD_H

#include "core/capacity.h"

struct capacity_load load_of_shape(const struct vm_shape *shape);
void load_add(struct capacity_load *sum, const struct capacity_load *x);
void load_take(struct capacity_load *sum, const struct capacity_load *x);
/* Member by member. */
struct capacity_load load_max(const struct capacity_load *x, const struct capacity_load *y);
bool load_within(const struct capacity_load *x, const struct capacity_load *y); /* x <= y */

/*
 * What a VM that is to have `want` on a host still needs there beyond what the host reports of its
 * guest (d, NULL: nothing): all of it while there is no guest, the difference while there is a
 * smaller one. has is the shape that the guest there runs with, of which the report says only CPUs
 * and memory.
 */
struct capacity_load load_owed(const struct capacity_load *want, const struct host_domain *d,
                               const struct vm_shape *has);

#endif
