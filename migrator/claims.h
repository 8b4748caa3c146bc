/*
 * Permits that are being written. A place is counted from the journals (core/permits.h), which the
 * store shows a moment after they are written, or much later where nobody knows whether a write was
 * done: the answer was lost, or did not come in time. So a place is claimed before it is written,
 * and counts as taken until the journal is seen at another version, which shows whether it was. If
 * it is not, not even when the watch, had it been silent, would have been renewed, nothing was
 * written and no longer can be.
 *
 * Thread safe; calls nobody, so that it may be asked with a store's lock held.
 */
#ifndef DROVER_MIGRATOR_CLAIMS_H
#define DROVER_MIGRATOR_CLAIMS_H

#include "base/err.h"
#include "base/mono.h"
#include "core/migration.h"

#define CLAIMS_MS       200000 /* a request lives 30 s, a watch is silent for 90 s at most */
#define CLAIMS_NODE_MAX 254    /* bytes of a node's name */

struct claims;
struct claims *claims_new(void); /* NULL when out of memory */
void claims_free(struct claims *c);

/*
 * Before the status of next is written in place of that of the same version in the store: the place
 * that it takes, if any. -ENOMEM: nothing may be written.
 */
must_check int claims_note(struct claims *c, const struct migration *next, struct mono now,
                           struct err *e);

struct claimed {
        struct migration m;
        char source[CLAIMS_NODE_MAX], target[CLAIMS_NODE_MAX];
};
/*
 * The store's m as it counts for others: itself, or a copy of it in *out that has the place claimed
 * for it. A claim that does not count any more is forgotten.
 */
const struct migration *claims_see(struct claims *c, const struct migration *m, struct mono now,
                                   struct claimed *out);

#endif
